"""Write one prediction per scene, by a baseline or a network; an interrupted run resumes."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.data.fingerprint import fingerprint_of
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.masks import OtherMasks, masks_digest, masks_identity, with_masks
from planetcr_bench.data.reading import read_raster, read_rasters, scene_from_rasters
from planetcr_bench.data.scene import Image
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.data.tracks import simulated_identity
from planetcr_bench.errors import DatasetError, PredictionError, UsageError
from planetcr_bench.metrics.reflectance import PixelError, expect_reflectance
from planetcr_bench.predictions.baselines import DATED, METHODS, first_date
from planetcr_bench.predictions.card import CARD, Card, read_card, write_card
from planetcr_bench.predictions.format import CROP_SIZE, dtype_of, write_prediction
from planetcr_bench.predictions.network_inputs import Inputs, batches, read_inputs
from planetcr_bench.utils.folders import begun, other_spelling
from planetcr_bench.utils.parallel import Workers, run_ordered, track

Restore = Callable[[Image, Image | None], NDArray[np.floating]]
"""Function from cloudy images and SAR to restored images, each of shape (scenes, bands, H, W).

All are float32 in [0, 1]; SAR is on its native grid over the extent of the images, and None where
the dataset has none.
"""

Window = Literal["whole", "official"]
"""Input window of a network: the whole patch, or the centre 160 × 160 pixels."""

RANDOM_WEIGHTS: Final = "random"
"""Prefix in a card for weights that were not trained."""

FARTHEST: Final = 0.15
"""Like that of any image, but larger: a network at the start of its training is accepted."""

READ_TOGETHER: Final = 4
"""Scenes that a worker reads per task; up to three tasks per worker are buffered."""


def predict(
    method: str,
    data: Path,
    out: Path,
    *,
    split: str = "test",
    scene_list: Path | None = None,
    dataset: str | Path | None = None,
    masks: OtherMasks | None = None,
    workers: Workers = None,
    batch: int = 16,
    quiet: bool = False,
) -> tuple[int, int]:
    """Write one prediction per scene of a split by a baseline without training.

    An interrupted run resumes: readable predictions are kept.

    Args:
        method: A key of ``METHODS``.
        data: Folder that holds ``train/`` and ``test/``.
        out: Folder to write to; it must be new, empty, or one that an earlier call wrote.
        split: Split to predict.
        scene_list: Authors' CSV list to take the scenes from.
        dataset: Name or file of its description; see ``descriptions.describe``.
        masks: From elsewhere, in place of the dataset's own.
        workers: See ``Workers``.
        batch: Scenes sent to a worker at a time.
        quiet: Show no progress.

    Returns:
        How many predictions were written, and how many were kept.

    Raises:
        DatasetError: The dataset is invalid.
        PredictionError: ``out`` holds something else.
    """
    card = Card(method=method, window="whole")
    scenes = _begin(
        card,
        data,
        out,
        split=split,
        scene_list=scene_list,
        dataset=dataset,
        masks=masks,
        workers=workers,
        quiet=quiet,
    )
    waiting = _unwritten(scenes, out, None, workers=workers)
    kept = len(scenes) - len(waiting)
    write = partial(_predict_scene, method, out)
    folders = {out, *(folder for files in waiting for folder in files.folders)}
    written = run_ordered(write, waiting, workers=workers, folders=folders, batch=batch)
    return sum(track(written, f"Predict {method}", len(scenes), done=kept, quiet=quiet)), kept


def predict_with(
    restore: Restore,
    data: Path,
    out: Path,
    *,
    card: Card,
    split: str = "test",
    scene_list: Path | None = None,
    dataset: str | Path | None = None,
    window: Window = "whole",
    workers: int | None = None,
    batch: int = 1,
    quiet: bool = False,
) -> tuple[int, int]:
    """Write one prediction per scene of a split by a function of batches, such as a network.

    It runs in this process while others read the next scenes. An interrupted run resumes: readable
    predictions are kept. The card must therefore name everything that changes the predictions.

    Args:
        restore: The function.
        data: Folder that holds ``train/`` and ``test/``.
        out: Folder to write to; it must be new, empty, or one that an earlier call wrote.
        card: Names the method and its weights; the rest is completed here.
        split: Split to predict.
        scene_list: Authors' CSV list to take the scenes from.
        dataset: Name or file of its description; see ``descriptions.describe``.
        window: What the function sees and what is written.
        workers: Processes that read; see ``worker_count``.
        batch: Scenes per call of the function; those of a batch have the same shape.
        quiet: Show no progress.

    Returns:
        Numbers of predictions that were written and that were kept.

    Raises:
        DatasetError: The dataset is invalid.
        PredictionError: ``out`` holds something else, or a result has another shape, values that
            are not finite, or is not in reflectance.
    """
    card = card.model_copy(update={"window": window})
    scenes = _begin(
        card,
        data,
        out,
        split=split,
        scene_list=scene_list,
        dataset=dataset,
        workers=workers,
        quiet=quiet,
    )
    size = None if window == "whole" else CROP_SIZE
    waiting = _unwritten(scenes, out, size, workers=workers)
    kept = len(scenes) - len(waiting)
    inputs = run_ordered(
        partial(read_inputs, size=size), waiting, workers=workers, batch=READ_TOGETHER
    )
    if not quiet:
        restore = _with_forecast(restore, len(waiting))
    written = _restore_all(restore, batches(inputs, batch), out, card)
    progress = track(written, f"Predict {card.method}", len(scenes), done=kept, quiet=quiet)
    return sum(progress), kept


def _begin(
    card: Card,
    data: Path,
    out: Path,
    *,
    split: str,
    scene_list: Path | None,
    dataset: str | Path | None,
    masks: OtherMasks | None = None,
    workers: Workers,
    quiet: bool,
) -> list[SceneFiles]:
    """Claim the folder and list the scenes to predict."""
    scenes = find_scenes(data, split, scene_list, dataset=dataset)
    has_dates = scenes[0].description.has_dates
    if has_dates and card.method not in METHODS:
        raise DatasetError(
            f"{data}: expected one cloudy image per scene for a network, got several dates"
        )
    if card.window == "official" and "official" not in scenes[0].description.protocols:
        raise UsageError(
            f"--window official: is of the protocol official, which {scenes[0].description.title} "
            "does not have; leave it out"
        )
    if not has_dates and card.method in DATED:
        raise DatasetError(
            f"{data}: expected several cloudy images per scene for {card.method}, got one"
        )
    masked = with_masks(scenes, masks)
    card = card.model_copy(
        update={
            "split": split,
            "dataset": str(data.resolve()),
            "description": None if dataset is None else _address(dataset),
            "fingerprint": fingerprint_of(scenes, workers=workers, quiet=quiet),
            "simulation": simulated_identity(data, split, scene_list),
            "masks": None
            if masks is None
            else masks_identity(masks.source, masks_digest(masked, workers=workers, quiet=quiet)),
        }
    )
    _claim(out, card)
    return masked


def _address(description: str | Path) -> str:
    """A name of the catalogue as it is, a file by its absolute path."""
    is_file = str(description).endswith(".toml")
    return str(Path(description).resolve()) if is_file else str(description)


def _claim(out: Path, card: Card) -> None:
    """Claim the folder, or refuse: predictions of two methods must never be mixed."""
    if begun(out, CARD, error=PredictionError) - {CARD}:
        # fingerprint and weights say more than these
        others = {"dataset", "description", "simulation", "pretrained"}
        old, new = (c.model_dump(exclude=others) for c in (read_card(out), card))
        changes = [
            f"{key}: {_shorten(old[key])} in the folder, {_shorten(new[key])} now"
            for key in new
            if old[key] != new[key]
        ]
        if changes:
            raise PredictionError(
                f"{out}: holds predictions of {old['method']} that were made with other settings; "
                "choose a new folder with --out, or delete this one",
                changes,
            )
    out.mkdir(parents=True, exist_ok=True)
    write_card(out, card)


def _shorten(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) < 64 else f"{text[:12]}…"  # a hash


def _predict_scene(method: str, out: Path, files: SceneFiles) -> int:
    """Predict and write one scene; returns 1, the number of predictions."""
    rasters = read_rasters(files)
    scene = scene_from_rasters(files, rasters)
    image = METHODS[method](scene if method in DATED else first_date(scene))
    dtype = dtype_of(files.description)
    write_prediction(_file(out, files), image, rasters["clear"], dtype=dtype)
    return 1


def _file(out: Path, files: SceneFiles) -> Path:
    """Path of the prediction of a scene; an earlier one may spell its extension differently."""
    rule = out / f"{files.name}.tif"
    return rule if rule.exists() else other_spelling(rule) or rule


def _unwritten(
    scenes: Sequence[SceneFiles], out: Path, size: int | None, *, workers: Workers
) -> list[SceneFiles]:
    """Scenes of which an earlier run left no prediction that can be read."""
    present = [files for files in scenes if _file(out, files).exists()]
    readable = run_ordered(
        partial(_is_readable, out, size), present, workers=workers, folders=[out]
    )
    kept = {files for files, is_readable in zip(present, readable, strict=True) if is_readable}
    return [files for files in scenes if files not in kept]


def _is_readable(out: Path, size: int | None, files: SceneFiles) -> bool:
    bands = len(files.description.bands)
    try:
        pixels = read_raster(_file(out, files), bands=bands).pixels
    except DatasetError:
        return False
    whole = files.description.read_size_of("clear") or pixels.shape[-2:]
    expected = (bands, *(whole if size is None else (size, size)))
    return pixels.shape == expected and pixels.dtype == dtype_of(files.description)


# --- Networks -------------------------------------------------------------------------------


def _with_forecast(restore: Restore, scenes: int) -> Restore:
    """Print after the first batch how long all will take, if that is long."""
    printed = False

    def restore_and_print(cloudy: Image, sar: Image | None) -> NDArray[np.floating]:
        nonlocal printed
        started = time.perf_counter()
        images = restore(cloudy, sar)
        if not printed:
            printed = True
            message = forecast((time.perf_counter() - started) / len(cloudy), scenes)
            if message:
                print(message, file=sys.stderr, flush=True)
        return images

    return restore_and_print


def forecast(seconds: float, scenes: int) -> str:
    """Say how long all scenes will take, if that is long; else an empty text.

    Args:
        seconds: Time of one scene. Below two it may be start-up time alone.
        scenes: Number of scenes.

    Example:
        >>> forecast(40, 3000)
        'about 40 s per scene, 3,000 scenes: 33 hours'
    """
    total = seconds * scenes
    if seconds < 2 or total < 60:
        return ""
    time_ = f"{total / 3600:,.0f} hours" if total >= 7200 else f"{total / 60:.0f} minutes"
    return f"about {seconds:.0f} s per scene, {scenes:,} scenes: {time_}"


def _restore_all(
    restore: Restore, batches: Iterator[list[Inputs]], out: Path, card: Card
) -> Iterator[int]:
    """Restore and write the batches; a thread compresses one while the next is restored."""
    with ThreadPoolExecutor(1) as writer:
        writing: deque[Future[None]] = deque()
        for group in batches:
            cloudy = np.stack([scene.cloudy.pixels for scene in group])
            radar = [scene.sar for scene in group if scene.sar is not None]
            images = restore(cloudy, np.stack(radar) if radar else None)
            _expect_images(images, group, cloudy.shape, card)
            while writing:
                writing.popleft().result()
                yield 1
            for scene, image in zip(group, images, strict=True):
                path, dtype = _file(out, scene.files), dtype_of(scene.files.description)
                write = partial(write_prediction, dtype=dtype)
                writing.append(writer.submit(write, path, image, scene.cloudy))
        while writing:
            writing.popleft().result()
            yield 1


def _expect_images(
    images: NDArray[np.floating], group: Sequence[Inputs], shape: tuple[int, ...], card: Card
) -> None:
    method = card.method or "the method"
    if images.shape != shape:
        raise PredictionError(f"{method}: expected images of shape {shape}, got {images.shape}")
    problems = [
        f"{scene.files.name}: NaN or infinite numbers: {count}"
        for scene, count in zip(group, (~np.isfinite(images)).sum((1, 2, 3)), strict=True)
        if count
    ]
    if problems:
        raise PredictionError(
            f"{method}: expected a number for every pixel, got NaN or infinity", problems
        )
    if (card.weights or "").startswith(RANDOM_WEIGHTS):
        return  # a trial of the command: what it returns means nothing
    for scene, image in zip(group, images, strict=True):
        try:
            expect_reflectance(image, farthest=FARTHEST)
        except PixelError as error:
            raise PredictionError(f"{method}: {scene.files.name}: {error}") from error
