"""``planetcr-bench predict``: write a folder of predictions."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from planetcr_bench.cli import completion, options
from planetcr_bench.errors import UsageError


def predict(
    method: Annotated[
        str,  # written out: reading the methods would make --help wait for numpy and PyTorch
        typer.Argument(
            autocompletion=completion.methods,
            help="copy-cloudy, mean-fill or sar-regression, which need no training, nor do "
            "least-cloudy and temporal-median for scenes of several dates; a network of "
            "`planetcr-bench models`; or one of your own, net.py:build.",
        ),
    ],
    weights: options.Weights = None,
    data: options.DatasetOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to.", show_default="preds/METHOD")
    ] = None,
    dataset: options.Description = None,
    split: options.Split = "test",
    scene_list: options.SceneList = None,
    masks: options.Masks = None,
    mask_rule: options.MaskRule = None,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Scenes, or tiles, that a network restores at a time.",
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
    """Write one prediction per scene, as GeoTIFF, for `evaluate`.

    net.py:build is a function that returns a torch.nn.Module with forward(cloudy, sar) -> clear.

    The same command resumes a stopped run: existing predictions are kept.
    """
    from planetcr_bench.data.masks import other_masks
    from planetcr_bench.evaluation.inputs import data_folder
    from planetcr_bench.predictions.baselines import METHODS

    out = out or Path("preds", Path(method.partition(":")[0]).stem)
    common: dict[str, Any] = {
        "dataset": dataset, "split": split, "scene_list": scene_list, "quiet": as_json,
    }  # fmt: skip
    if method in METHODS:
        _refuse(
            method,
            weights=weights, precision=precision, window=window, tile=tile, overlap=overlap,
            model_arg=model_arg or None, seed=seed, device=None if device == "auto" else device,
        )  # fmt: skip
        from planetcr_bench.predictions.predict import predict as run

        data = data_folder(data)
        if cluster is not None:  # paths that are the same to all workers
            data, out = data.absolute(), out.absolute()
            masks = masks and masks.absolute()
        common["masks"] = other_masks(masks, mask_rule)
        workers_ = options.one_of(workers, cluster)
        written, kept = run(method, data, out, workers=workers_, batch=batch or 16, **common)
    else:
        if cluster is not None:
            raise UsageError(
                f"--cluster: applies to {', '.join(METHODS)}; a network runs on this machine"
            )
        if masks is not None or mask_rule is not None:
            raise UsageError(f"--masks: applies to {', '.join(METHODS)}; a network sees no mask")
        from planetcr_bench.utils.extras import need_networks

        need_networks()
        from planetcr_bench.networks.loading import is_user_file
        from planetcr_bench.networks.methods import check_method
        from planetcr_bench.networks.prediction import predict_with_network

        if not is_user_file(method):  # before a dataset is asked for
            check_method(method, others=() if weights else [*METHODS])
        written, kept = predict_with_network(
            method,
            data_folder(data),
            out,
            weights=weights,
            options=model_arg or (),
            seed=seed or 0,
            window=window or "whole",
            device=device,
            batch=batch,
            precision=precision or "32",
            tile=tile,
            overlap=overlap,
            workers=workers,
            **common,
        )
    scenes = written + kept
    if as_json:
        summary = {"method": method, "out": str(out), "scenes": scenes, "kept": kept}
        typer.echo(json.dumps(summary))
        return
    noun = "prediction" if scenes == 1 else "predictions"
    already = f" ({kept} of them already there)" if kept else ""
    command = ["planetcr-bench", "evaluate", str(out)]
    command += ["--masks", str(masks)] if masks else []
    command += ["--mask-rule", mask_rule] if mask_rule else []
    typer.echo(f"{scenes} {noun} in {out}{already}; next: {shlex.join(command)}")


def _refuse(method: str, **given: object) -> None:
    for name, value in given.items():
        if value is not None:
            option = name.replace("_", "-")
            raise UsageError(f"--{option} applies to networks; {method} is not one")
