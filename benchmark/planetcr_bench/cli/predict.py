"""``planetcr-bench predict``: make a folder of predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from planetcr_bench.cli import options
from planetcr_bench.errors import UsageError


def predict(
    method: Annotated[
        str,  # written out: reading the methods would make --help wait for numpy and PyTorch
        typer.Argument(
            help="copy-cloudy, mean-fill or sar-regression, which need no training; a network of "
            "`planetcr-bench models`; or one of your own, net.py:build."
        ),
    ],
    weights: options.Weights = None,
    data: options.DataOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to.", show_default="preds/METHOD")
    ] = None,
    split: options.Split = "test",
    scene_list: options.SceneList = None,
    workers: options.Workers = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Scenes, or tiles, that a network sees at a time.",
            show_default="1; on a GPU 8",
        ),
    ] = None,
    device: options.Device = "auto",
    precision: options.InferencePrecision = None,
    window: options.Window = None,
    tile: options.Tile = None,
    overlap: options.Overlap = None,
    model_arg: options.ModelArgs = None,
    seed: options.Seed = None,
    as_json: options.Json = False,
) -> None:
    """Write one prediction per scene, as GeoTIFF, in the form that `evaluate` takes.

    net.py:build is a function that returns a torch.nn.Module with forward(cloudy, sar) -> clear.

    The same command continues a run that was stopped: predictions that are there are kept.
    """
    from planetcr_bench.evaluation.inputs import data_folder
    from planetcr_bench.predictions.baselines import METHODS
    from planetcr_bench.predictions.predict import predict as run
    from planetcr_bench.predictions.predict import predict_with
    from planetcr_bench.utils.devices import choose_device

    common: dict[str, Any] = {
        "split": split, "scene_list": scene_list, "workers": workers, "quiet": as_json
    }  # fmt: skip
    if method in METHODS:
        _refuse(
            method,
            weights=weights, precision=precision, window=window, tile=tile, overlap=overlap,
            model_arg=model_arg or None, seed=seed,
        )  # fmt: skip
        out = out or Path("preds", method)
        written, kept = run(method, data_folder(data), out, batch=batch or 16, **common)
    else:
        from planetcr_bench.utils.extras import need_networks

        need_networks()
        from planetcr_bench.networks.loading import Settings, as_function, open_network

        if overlap is not None and tile is None:
            raise UsageError("--overlap is of tiles: give --tile too")
        place = choose_device(device)
        settings = Settings(
            device=place,
            batch=batch or (1 if place == "cpu" else 8),
            precision=precision or "32",
            tile=tile,
            overlap=tile // 4 if tile and overlap is None else overlap or 0,
        )
        out = out or Path("preds", Path(method.partition(":")[0]).stem)
        network, card = open_network(
            method, weights=weights, options=model_arg or (), seed=seed or 0, settings=settings
        )
        written, kept = predict_with(
            as_function(network, settings),
            data_folder(data),
            out,
            card=card,
            window=window or "whole",
            batch=settings.batch,
            **common,
        )
    scenes = written + kept
    if as_json:
        said = {"method": method, "out": str(out), "scenes": scenes, "kept": kept}
        typer.echo(json.dumps(said))
        return
    noun = "prediction" if scenes == 1 else "predictions"
    before = f" ({kept} of them there before)" if kept else ""
    typer.echo(f"{scenes} {noun} in {out}{before}; next: planetcr-bench evaluate {out}")


def _refuse(method: str, **given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"--{name} is for networks, and {method} is none")
