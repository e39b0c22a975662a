"""A dataset and a method in, a folder of predictions out, with the card that ``evaluate`` reads."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import OPTICAL_BANDS, OPTICAL_SIZE, PRODUCTS
from planetcr_bench.data.fingerprint import fingerprint_of
from planetcr_bench.data.layout import (
    Raster,
    SceneFiles,
    find_scenes,
    grid_disagreements,
    read_product,
    read_raster,
    scene_from_rasters,
    simulated_identity,
)
from planetcr_bench.data.pixel_checks import PixelError, expect_reflectance
from planetcr_bench.data.scene import Image, backscatter, reflectance
from planetcr_bench.errors import DatasetError, PredictionError, SceneError
from planetcr_bench.predictions.baselines import METHODS
from planetcr_bench.predictions.format import (
    CARD,
    CROP_SIZE,
    Card,
    centre_grid,
    read_card,
    write_card,
    write_prediction,
)
from planetcr_bench.utils.folders import is_litter, other_spelling
from planetcr_bench.utils.parallel import run_batches, track

Restore = Callable[[Image, Image], NDArray[np.floating]]
"""Cloudy images (B, 4, H, W) and SAR (B, 2, h, w) in, restored images (B, 4, H, W) out.

All are float32 in [0, 1]; SAR has its native grid over the extent of the images.
"""

Window = Literal["whole", "official"]
"""What a network sees: the whole patch, or the centre 160 × 160 pixels, as the authors' does."""

RANDOM_WEIGHTS: Final = "random"
"""How a card begins to name weights that were learnt from nothing."""

FARTHEST: Final = 0.15
"""As of any image, but more: a network that has hardly learnt is none of another scale."""

READ_TOGETHER: Final = 4
"""Scenes that a worker reads at a time; three such batches per worker lie ready."""

SEEN: Final = ("planet_cloudfree", "planet_cloudy", "S1")
"""Products that are read for a network; of the clear image it gets nothing but the grid."""


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
        method: A key of ``METHODS``.
        data: Folder that holds ``train/`` and ``test/``.
        out: Folder to write to; it must be new, empty, or one that an earlier call wrote.
        split: Split to predict.
        scene_list: Authors' CSV list to take the scenes from.
        workers: See ``worker_count``.
        batch: Scenes that travel together to a worker.
        quiet: Show no progress.

    Returns:
        How many predictions were written.

    Raises:
        DatasetError: The dataset is not as it must be.
        PredictionError: ``out`` holds something else.
    """
    card = Card(method=method, window="whole")
    scenes = _begin(
        card, data, out, split=split, scene_list=scene_list, workers=workers, quiet=quiet
    )
    write = partial(_predict_batch, method, out)
    written = run_batches(write, scenes, workers=workers, batch=batch)
    return sum(track(written, f"Predict {method}", len(scenes), quiet=quiet))


def predict_with(
    restore: Restore,
    data: Path,
    out: Path,
    *,
    card: Card,
    split: str = "test",
    scene_list: Path | None = None,
    window: Window = "whole",
    workers: int | None = None,
    batch: int = 1,
    quiet: bool = False,
) -> tuple[int, int]:
    """Write one prediction per scene of a split by a function of batches, such as a network.

    It runs in this process while others read what comes next. A run that was stopped goes on:
    predictions that are there and can be read are kept. The card must therefore name all that
    changes a number.

    Args:
        restore: The function.
        data: Folder that holds ``train/`` and ``test/``.
        out: Folder to write to; it must be new, empty, or one that an earlier call wrote.
        card: Names the method and its weights; the rest is filled in.
        split: Split to predict.
        scene_list: Authors' CSV list to take the scenes from.
        window: What the function sees, and what is written.
        workers: Processes that read; see ``worker_count``.
        batch: Scenes that the function sees at a time; those of a batch have one shape.
        quiet: Show no progress.

    Returns:
        How many predictions were written, and how many were kept.

    Raises:
        DatasetError: The dataset is not as it must be.
        PredictionError: ``out`` holds something else, or a result is no image: of another shape,
            with numbers that are not finite, or not in reflectance.
    """
    card = card.model_copy(update={"window": window})
    scenes = _begin(
        card, data, out, split=split, scene_list=scene_list, workers=workers, quiet=quiet
    )
    size = OPTICAL_SIZE if window == "whole" else CROP_SIZE
    there = [files for files in scenes if _file(out, files).exists()]
    kept = {
        files
        for files, whole in zip(
            there, run_batches(partial(_are_whole, out, size), there, workers=workers), strict=True
        )
        if whole
    }
    waiting = [files for files in scenes if files not in kept]
    inputs = run_batches(partial(_read_inputs, size), waiting, workers=workers, batch=READ_TOGETHER)
    if not quiet:
        restore = _foretelling(restore, len(waiting))
    written = _restore_all(restore, _batches(inputs, batch), out, card)
    progress = track(written, f"Predict {card.method}", len(scenes), done=len(kept), quiet=quiet)
    return sum(progress), len(kept)


def _begin(
    card: Card,
    data: Path,
    out: Path,
    *,
    split: str,
    scene_list: Path | None,
    workers: int | None,
    quiet: bool,
) -> list[SceneFiles]:
    """Scenes to predict, once the folder is ours."""
    scenes = find_scenes(data, split, scene_list)
    card = card.model_copy(
        update={
            "split": split,
            "dataset": str(data.resolve()),
            "fingerprint": fingerprint_of(scenes, workers=workers, quiet=quiet),
            "simulation": simulated_identity(data, split, scene_list),
        }
    )
    _claim(out, card)
    return scenes


def _claim(out: Path, card: Card) -> None:
    """Make the folder ours, or refuse: predictions of two methods must never lie mixed."""
    if out.exists() and not out.is_dir():
        raise PredictionError(f"{out}: expected a folder, found a file")
    inside = [path.name for path in out.iterdir()] if out.exists() else []
    files = {name for name in inside if not name.startswith(".") and not is_litter(name)}
    if files and CARD not in files:
        raise PredictionError(f"{out}: expected a new or empty folder, found other files there")
    if any(name != CARD for name in files):
        there, here = (
            c.model_dump(exclude={"dataset", "simulation"}) for c in (read_card(out), card)
        )
        other = [
            f"{key}: {_said(there[key])} there, {_said(here[key])} now"
            for key in here
            if there[key] != here[key]
        ]
        if other:
            raise PredictionError(
                f"{out}: holds predictions of {there['method']} that were made otherwise; choose a "
                "new folder with --out, or delete this one",
                other,
            )
    out.mkdir(parents=True, exist_ok=True)
    write_card(out, card)


def _said(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) < 64 else f"{text[:12]}…"  # a hash


def _predict_batch(method: str, out: Path, scenes: Sequence[SceneFiles]) -> list[int]:
    for files in scenes:
        rasters = {product: read_product(files, product) for product in PRODUCTS}
        image = METHODS[method](scene_from_rasters(files, rasters))
        write_prediction(_file(out, files), image, rasters["planet_cloudfree"])
    return [1] * len(scenes)


def _file(out: Path, files: SceneFiles) -> Path:
    """Where the prediction of a scene belongs; an earlier one's ending may be spelt otherwise."""
    rule = out / f"{files.name}.tif"
    return rule if rule.exists() else other_spelling(rule) or rule


def _are_whole(out: Path, size: int, scenes: Sequence[SceneFiles]) -> list[bool]:
    """Whether the predictions that an earlier run left can be read."""
    return [_is_whole(_file(out, files), size) for files in scenes]


def _is_whole(path: Path, size: int) -> bool:
    try:
        pixels = read_raster(path).pixels
    except DatasetError:
        return False
    return pixels.shape == (len(OPTICAL_BANDS), size, size) and pixels.dtype == np.uint16


# --- Networks -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a network sees of a scene.

    Attributes:
        files: The scene.
        cloudy: Reflectance (4, H, W), float32 in [0, 1], and where it lies.
        sar: Backscatter (2, h, w), float32 in [0, 1], at its native grid over the same extent.
    """

    files: SceneFiles
    cloudy: Raster
    sar: Image


def read_inputs(files: SceneFiles, size: int = OPTICAL_SIZE) -> Inputs:
    """Read what a network sees of a scene.

    Args:
        files: The scene.
        size: Side of the centre crop, in optical pixels; by default the whole.

    Raises:
        DatasetError: A file is missing, unreadable or not as the official layout has it.
        SceneError: The products do not lie on one grid, or the crop cuts through SAR pixels.
    """
    rasters = {product: read_product(files, product) for product in SEEN}
    disagreements = grid_disagreements(files, rasters)
    if disagreements:
        raise SceneError(disagreements[0])
    clear, cloudy, sar = rasters.values()
    rows, columns = (
        _crop_slices(files, side, source, size)
        for side, source in zip(cloudy.pixels.shape[1:], sar.pixels.shape[1:], strict=True)
    )
    return Inputs(
        files,
        Raster(
            reflectance(cloudy.pixels[:, rows[0], columns[0]]),
            clear.crs,
            centre_grid(clear, (size, size)),
        ),
        np.ascontiguousarray(backscatter(sar.pixels)[:, rows[1], columns[1]]),
    )


def _crop_slices(files: SceneFiles, side: int, source: int, size: int) -> tuple[slice, slice]:
    """The centre of an optical axis, and the SAR pixels that lie under it."""
    start = (side - size) // 2
    ends = [divmod(end * source, side) for end in (start, start + size)]
    if any(rest for _, rest in ends):
        raise SceneError(
            f"{files.path('S1')}: expected a grid on which {size} of {side} optical pixels, from "
            f"{start} on, are whole SAR pixels, got {source} SAR pixels over the {side}"
        )
    return slice(start, start + size), slice(ends[0][0], ends[1][0])


def _read_inputs(size: int, scenes: Sequence[SceneFiles]) -> list[Inputs]:
    return [read_inputs(files, size) for files in scenes]


def _batches(inputs: Iterator[Inputs], batch: int) -> Iterator[list[Inputs]]:
    """Scenes of one shape, in order, up to so many."""
    some: list[Inputs] = []
    for one in inputs:
        if some and (len(some) == batch or _shapes(one) != _shapes(some[0])):
            yield some
            some = []
        some.append(one)
    if some:
        yield some


def _shapes(inputs: Inputs) -> tuple[tuple[int, ...], ...]:
    return inputs.cloudy.pixels.shape, inputs.sar.shape


def _foretelling(restore: Restore, scenes: int) -> Restore:
    """Say after the first scenes how long all will take, where that is long."""
    told = False

    def restore_and_tell(cloudy: Image, sar: Image) -> NDArray[np.floating]:
        nonlocal told
        started = time.perf_counter()
        images = restore(cloudy, sar)
        if not told:
            told = True
            said = forecast((time.perf_counter() - started) / len(cloudy), scenes)
            if said:
                print(said, file=sys.stderr, flush=True)
        return images

    return restore_and_tell


def forecast(seconds: float, scenes: int) -> str:
    """What to say of scenes that take long, by what one of them took; nothing of others.

    Args:
        seconds: One scene took. Under two it may be the start alone that took them.
        scenes: There are to do.

    Example:
        >>> forecast(40, 3000)
        'about 40 s per scene, 3,000 scenes: 33 hours'
    """
    whole = seconds * scenes
    if seconds < 2 or whole < 60:
        return ""
    time_ = f"{whole / 3600:,.0f} hours" if whole >= 7200 else f"{whole / 60:.0f} minutes"
    return f"about {seconds:.0f} s per scene, {scenes:,} scenes: {time_}"


def _restore_all(
    restore: Restore, batches: Iterator[list[Inputs]], out: Path, card: Card
) -> Iterator[int]:
    """Restore and write batch after batch; a thread compresses one while the next is restored."""
    with ThreadPoolExecutor(1) as writer:
        writing: deque[Future[None]] = deque()
        for some in batches:
            cloudy = np.stack([one.cloudy.pixels for one in some])
            images = restore(cloudy, np.stack([one.sar for one in some]))
            _expect_images(images, some, cloudy.shape, card)
            while writing:
                writing.popleft().result()
                yield 1
            for one, image in zip(some, images, strict=True):
                path = _file(out, one.files)
                writing.append(writer.submit(write_prediction, path, image, one.cloudy))
        while writing:
            writing.popleft().result()
            yield 1


def _expect_images(
    images: NDArray[np.floating], some: Sequence[Inputs], shape: tuple[int, ...], card: Card
) -> None:
    method = card.method or "the method"
    if images.shape != shape:
        raise PredictionError(f"{method}: expected images of shape {shape}, got {images.shape}")
    problems = [
        f"{one.files.name}: NaN or infinite numbers: {count}"
        for one, count in zip(some, (~np.isfinite(images)).sum((1, 2, 3)), strict=True)
        if count
    ]
    if problems:
        raise PredictionError(f"{method}: expected numbers for every pixel, got others", problems)
    if (card.weights or "").startswith(RANDOM_WEIGHTS):
        return  # a trial of the command: what it returns means nothing
    for one, image in zip(some, images, strict=True):
        try:
            expect_reflectance(image, farthest=FARTHEST)
        except PixelError as error:
            raise PredictionError(f"{method}: {one.files.name}: {error}") from error
