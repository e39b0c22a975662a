"""Measure what a function or a network returns for each scene, without files in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from planetcr_bench.data.fingerprint import pixel_digest
from planetcr_bench.data.reading import Raster, centre_of, read_scene
from planetcr_bench.data.scene import Image, Scene
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import ArrayError, PredictionError
from planetcr_bench.evaluation.loading import ScenePixels, first_date, scene_pixels
from planetcr_bench.evaluation.runner import measure_scene
from planetcr_bench.evaluation.segmenters import SegmenterPool
from planetcr_bench.metrics.arrays import image_of
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.sums import SceneSums
from planetcr_bench.utils.parallel import run_ordered, track

Restore: TypeAlias = Callable[[Sequence[Scene]], Iterable[Any]]
"""Function from a few scenes to an array or a tensor for each, reflectance, shape (B, H, W)."""


def one_by_one(function: Callable[[Scene], Any]) -> Restore:
    """A function of one scene as one of several."""
    return lambda scenes: map(function, scenes)


def measure_function(
    restore: Restore,
    files: Sequence[SceneFiles],
    protocols: Sequence[Protocol],
    *,
    pool: SegmenterPool | None = None,
    workers: int | None = None,
    batch: int = 1,
    quiet: bool = False,
) -> list[SceneSums]:
    """Measure what a function returns for each scene.

    Args:
        restore: The function; it runs in this process while others read the next scenes.
        files: The scenes.
        protocols: To measure in.
        pool: Segmenters to run on the images.
        workers: Processes that read; see ``worker_count``.
        batch: Scenes per call.
        quiet: Show no progress.

    Raises:
        DatasetError: A scene cannot be read.
        PredictionError: An image cannot be scored: another shape, bands last, digital numbers, NaN.
    """
    scenes = run_ordered(read_scene, files, workers=workers, batch=4)
    measured: list[SceneSums] = []
    for group in _groups(track(scenes, "Measure", len(files), quiet=quiet), batch):
        pixels = [_pixels(*pair) for pair in zip(group, restore(group), strict=True)]
        sums = [measure_scene(each, protocols) for each in pixels]
        if pool is not None:
            seen = pool.count(pixels)
            sums = [replace(s, segmented=maps) for s, maps in zip(sums, seen, strict=True)]
        measured += sums
    return measured


def _groups(scenes: Iterator[Scene], batch: int) -> Iterator[list[Scene]]:
    """Scenes of one size, in order, at most so many at a time."""
    group: list[Scene] = []
    for scene in scenes:
        if group and (len(group) == batch or _sizes(scene) != _sizes(group[0])):
            yield group
            group = []
        group.append(scene)
    if group:
        yield group


def _sizes(scene: Scene) -> tuple[tuple[int, ...], ...]:
    return scene.cloudy.shape, () if scene.sar is None else scene.sar.shape


def _pixels(scene: Scene, image: Any) -> ScenePixels:
    """What a measurement needs of a scene and the image that a function returned."""
    prediction = _checked(scene, image)
    pixels = scene_pixels(scene, prediction)
    longitude, latitude = centre_of(Raster(scene.clear, scene.crs, scene.transform))
    known = {
        "longitude": longitude,
        "latitude": latitude,
        "prediction_sha256": pixel_digest(prediction).hex(),
    }
    return replace(pixels, identity={**pixels.identity, **known})


def _checked(scene: Scene, image: Any) -> Image:
    brightest = max(1.0, float(scene.clear.max()), float(first_date(scene.cloudy).max()))
    try:
        images = image_of("prediction", image, scene.bands, brightest=brightest)
    except ArrayError as error:
        raise PredictionError(f"{scene.name}: {error.message}") from error
    if images.shape != (1, *scene.clear.shape):
        shape = images.shape[1:] if len(images) == 1 else images.shape
        raise PredictionError(
            f"{scene.name}: prediction: expected shape {scene.clear.shape}, got {shape}"
        )
    return np.ascontiguousarray(images[0], np.float32)
