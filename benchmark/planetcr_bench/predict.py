"""A dataset and a method in, a folder of predictions out, with the card that ``evaluate`` reads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from planetcr_bench.dataset import (
    SceneFiles,
    find_scenes,
    read_product,
    scene_from_rasters,
    simulated_identity,
)
from planetcr_bench.errors import PredictionError
from planetcr_bench.fingerprint import fingerprint_of
from planetcr_bench.parallel import run_batches, track
from planetcr_bench.predictions import CARD, Card, read_card, write_card, write_prediction
from planetcr_bench.untrained import METHODS
from planetcr_bench.vocabulary import PRODUCTS


def predict(
    method: str,
    data: Path,
    out: Path,
    *,
    split: str = "test",
    scene_list: Path | None = None,
    workers: int | None = None,
    batch: int = 16,
    quiet: bool = False,
) -> int:
    """Write one prediction per scene of a split.

    Args:
        method: A key of :data:`~planetcr_bench.untrained.METHODS`.
        data: Folder that holds ``train/`` and ``test/``.
        out: Folder to write to; it must be new, empty, or one that an earlier call wrote.
        split: Split to predict.
        scene_list: Authors' CSV list to take the scenes from.
        workers: See :func:`~planetcr_bench.parallel.worker_count`.
        batch: Scenes that travel together to a worker.
        quiet: Show no progress.

    Returns:
        How many predictions were written.

    Raises:
        DatasetError: The dataset is not as it must be.
        PredictionError: ``out`` holds something else.
    """
    scenes = find_scenes(data, split, scene_list)
    card = Card(
        method=method,
        split=split,
        dataset=str(data.resolve()),
        fingerprint=fingerprint_of(scenes, workers=workers, quiet=quiet),
        simulation=simulated_identity(data, split, scene_list),
    )
    _claim(out, card)
    write = partial(_predict_batch, method, out)
    written = run_batches(write, scenes, workers=workers, batch=batch)
    return sum(track(written, f"Predict {method}", len(scenes), quiet=quiet))


def _claim(out: Path, card: Card) -> None:
    """Make the folder ours, or refuse: predictions of two methods must never lie mixed."""
    if out.exists() and not out.is_dir():
        raise PredictionError(f"{out}: expected a folder, found a file")
    if out.exists() and any(out.iterdir()):
        if not (out / CARD).exists():
            raise PredictionError(f"{out}: expected a new or empty folder, found other files there")
        there = read_card(out)
        if (there.method, there.split, there.scale, there.fingerprint) != (
            card.method,
            card.split,
            card.scale,
            card.fingerprint,
        ):
            raise PredictionError(
                f"{out}: holds predictions of {there.method} on another method, split or dataset; "
                "choose a new folder with --out, or delete this one"
            )
    out.mkdir(parents=True, exist_ok=True)
    write_card(out, card)


def _predict_batch(method: str, out: Path, scenes: Sequence[SceneFiles]) -> list[int]:
    for files in scenes:
        rasters = {product: read_product(files, product) for product in PRODUCTS}
        image = METHODS[method](scene_from_rasters(files, rasters))
        write_prediction(out / f"{files.name}.tif", image, rasters["planet_cloudfree"])
    return [1] * len(scenes)
