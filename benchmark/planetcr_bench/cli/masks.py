"""``planetcr-bench masks``: write cloud masks of a dataset that has none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from planetcr_bench.cli import options


def masks(
    data: options.Data,
    detector: Annotated[
        Literal["s2cloudless", "difference"],
        typer.Option(
            help="s2cloudless: for the bands of Sentinel-2 L1C, from the cloudy image alone. "
            "difference: where the cloudy image is brighter than the clear one, the reference."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Above which a pixel is cloud: of the probability, or of the difference in "
            "reflectance, the mean of the three bands of pictures.",
            show_default="s2cloudless 0.4, difference 0.04",
        ),
    ] = None,
    dataset: options.Description = None,
    split: Annotated[
        str | None, typer.Option(help="Split of the dataset.", show_default="all splits")
    ] = None,
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Write a cloud mask per scene, as GeoTIFF, for --masks of other commands.

    The same command resumes a stopped run: existing masks are kept.
    """
    from planetcr_bench.data.detectors import write_masks

    written, kept = write_masks(
        data,
        out,
        detector=detector,
        threshold=threshold,
        split=split,
        dataset=dataset,
        workers=workers,
        quiet=as_json,
    )
    scenes = written + kept
    if as_json:
        summary = {"detector": detector, "out": str(out), "scenes": scenes, "kept": kept}
        typer.echo(json.dumps(summary))
        return
    noun = "mask" if scenes == 1 else "masks"
    already = f" ({kept} of them already there)" if kept else ""
    typer.echo(f"{scenes} {noun} in {out}{already}; next: give them to evaluate with --masks {out}")
