"""``planetcr-bench predict``: make a folder of predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from planetcr_bench.cli import options


def predict(
    method: Annotated[
        str,  # written out: reading METHODS would make --help wait for numpy
        typer.Argument(help="copy-cloudy, mean-fill or sar-regression; none needs training."),
    ],
    data: options.DataOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to.", show_default="preds/METHOD")
    ] = None,
    split: options.Split = "test",
    scene_list: options.SceneList = None,
    workers: options.Workers = None,
    batch: options.Batch = 16,
    as_json: options.Json = False,
) -> None:
    """Write one prediction per scene, as GeoTIFF, in the form that `evaluate` takes."""
    from planetcr_bench.evaluate import data_folder
    from planetcr_bench.predict import predict as run
    from planetcr_bench.untrained import METHODS

    if method not in METHODS:
        raise typer.BadParameter(f"expected {', '.join(METHODS)}, got {method!r}")
    out = out or Path("preds", method)
    folder = data_folder(data)
    count = run(
        method,
        folder,
        out,
        split=split,
        scene_list=scene_list,
        workers=workers,
        batch=batch,
        quiet=as_json,
    )
    if as_json:
        typer.echo(json.dumps({"method": method, "out": str(out), "scenes": count}))
    else:
        noun = "prediction" if count == 1 else "predictions"
        typer.echo(f"{count} {noun} in {out}; next: planetcr-bench evaluate {out}")
