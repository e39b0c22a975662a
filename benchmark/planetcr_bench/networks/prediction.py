"""Predict the scenes of a split with a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from planetcr_bench.data.descriptions import describe
from planetcr_bench.errors import UsageError
from planetcr_bench.networks.loading import InferenceSettings, as_function, open_network
from planetcr_bench.predictions.predict import Window, predict_with
from planetcr_bench.utils.devices import choose_device
from planetcr_models.inference import InferencePrecision


def predict_with_network(
    name: str,
    data: Path,
    out: Path,
    *,
    weights: str | Path | None = None,
    options: Sequence[str] = (),
    seed: int = 0,
    split: str = "test",
    dataset: str | Path | None = None,
    scene_list: Path | None = None,
    window: Window = "whole",
    device: str = "auto",
    batch: int | None = None,
    precision: InferencePrecision = "32",
    tile: int | None = None,
    overlap: int | None = None,
    workers: int | None = None,
    quiet: bool = False,
) -> tuple[int, int]:
    """Write one prediction per scene of a split; a stopped run is resumed.

    Args:
        name: A method, or a user's file and function, such as ``net.py:build``.
        data: Folder that holds ``train/`` and ``test/``.
        out: Folder to write to; see :func:`predict_with`.
        weights: See :func:`open_network`, like ``options`` and ``seed``.
        options: ``key=value`` each.
        seed: Of weights that come from no file.
        split: Split to predict.
        dataset: Name or file of its description; see ``descriptions.describe``.
        scene_list: Authors' CSV list to take the scenes from.
        window: What the network sees, and what is written.
        device: See :func:`choose_device`.
        batch: Scenes, or tiles, at a time; by default 1, and 8 on a GPU.
        precision: ``32`` or ``bf16``.
        tile: Side of tiles in pixels; None for whole images.
        overlap: Minimum overlap of tiles; by default a quarter of a tile.
        workers: Processes that read; see ``worker_count``.
        quiet: Show no progress.

    Returns:
        How many predictions were written, and how many were kept.

    Raises:
        UsageError: No such method, option or device, or no weights.
        BenchError: Invalid dataset, folder or network.
        ModelError: There are no such weights, or they are not this network's.
    """
    if overlap is not None and tile is None:
        raise UsageError("--overlap applies to tiles: give --tile too")
    chosen = choose_device(device)
    settings = InferenceSettings(
        device=chosen,
        batch=batch or (1 if chosen == "cpu" else 8),
        precision=precision,
        tile=tile,
        overlap=tile // 4 if tile and overlap is None else overlap or 0,
    )
    network, card = open_network(
        name,
        weights=weights,
        options=options,
        seed=seed,
        settings=settings,
        described=describe(data, dataset),
    )
    return predict_with(
        as_function(network, settings),
        data,
        out,
        card=card,
        split=split,
        scene_list=scene_list,
        dataset=dataset,
        window=window,
        workers=workers,
        batch=settings.batch,
        quiet=quiet,
    )
