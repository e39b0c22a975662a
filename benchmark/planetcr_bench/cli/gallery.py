"""``planetcr-bench gallery``: look at predictions beside what they should be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planetcr_bench.cli import options


def gallery(
    predictions: Annotated[
        list[Path], typer.Argument(help="One to six folders of predictions; one column each.")
    ],
    data: options.DataOption = None,
    out: Annotated[Path, typer.Option(help="File to write: .png, .pdf or .svg.")] = Path(
        "gallery.png"
    ),
    scenes: Annotated[
        int,
        typer.Option(
            min=1,
            help="How many scenes to choose, evenly over cloud cover; 5 is one per bin of Fig. 5.",
        ),
    ] = 5,
    scene: Annotated[
        list[str] | None,
        typer.Option(help="Scene to draw, by its name; repeatable, and none is chosen then."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split of the dataset.", show_default="test")
    ] = None,
    scene_list: options.SceneList = None,
    infrared: Annotated[
        bool, typer.Option("--infrared", help="Colours from near-infrared, red and green.")
    ] = False,
) -> None:
    """Draw scenes: cloudy, SAR, predictions, clear and errors, as Fig. 4 of the paper does."""
    from planetcr_bench.gallery import gallery as run

    drawn = run(
        predictions,
        out,
        data=data,
        split=split,
        scene_list=scene_list,
        names=scene or (),
        count=scenes,
        infrared=infrared,
    )
    typer.echo(f"{len(drawn)} {'scene' if len(drawn) == 1 else 'scenes'} in {out}")
