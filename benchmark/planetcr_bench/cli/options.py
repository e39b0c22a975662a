"""Options that several commands share, spelled and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Data = Annotated[Path, typer.Argument(help="Dataset: the folder that holds train/ and test/.")]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Dataset: the folder that holds train/ and test/. Else the environment variable "
        "PLANETCR_DATA, else what predictions.toml names.",
    ),
]
Split = Annotated[str, typer.Option(help="Split of the dataset.")]
SceneList = Annotated[
    Path | None,
    typer.Option("--list", help="Authors' CSV list (five columns, no header) to take scenes from."),
]
Results = Annotated[Path, typer.Option(help="Folder of all results: <results>/<track>/<name>/.")]
Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Worker processes; 0: none. By default one per processor."),
]
Batch = Annotated[int, typer.Option(min=1, help="Scenes that travel together.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Pool = Annotated[
    Literal["scene-mean", "pixels"] | None,
    typer.Option(
        "--class-pool",
        help="Per-class figures as the mean over scenes or over all pixels; by default scene-mean "
        "in official, pixels in full.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
