"""Read the inputs of a network for a scene, and batch them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from planetcr_bench.data.reading import Raster, read_rasters
from planetcr_bench.data.scene import Image, backscatter, reflectance
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import SceneError
from planetcr_bench.predictions.format import centre_grid

SEEN: Final = ("clear", "cloudy", "sar")
"""Products that are read for a network; it gets only the grid of the clear image."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Inputs of a network for a scene.

    Attributes:
        files: The scene.
        cloudy: Reflectance (B, H, W), float32 in [0, 1], with its grid.
        sar: Backscatter (B, h, w), float32 in [0, 1], at its native grid over the same extent; None
            if the dataset has none.
    """

    files: SceneFiles
    cloudy: Raster
    sar: Image | None


def read_inputs(files: SceneFiles, size: int | None = None) -> Inputs:
    """Read the inputs of a network for a scene.

    Args:
        files: The scene.
        size: Side of the centre crop, in optical pixels; by default the whole patch.

    Raises:
        DatasetError: A file is missing, unreadable or does not match its description.
        SceneError: The products do not share one grid, or the crop cuts through SAR pixels.
    """
    described = files.description
    rasters = read_rasters(files, SEEN)
    clear, cloudy, sar = rasters["clear"], rasters["cloudy"], rasters.get("sar")
    sources = cloudy.pixels.shape[1:] if sar is None else sar.pixels.shape[1:]
    rows, columns = (
        _crop_slices(files, side, source, size or side)
        for side, source in zip(cloudy.pixels.shape[1:], sources, strict=True)
    )
    radar = None
    if sar is not None and described.sar is not None:
        decibels = backscatter(sar.pixels, described.sar)
        radar = np.ascontiguousarray(decibels[:, rows[1], columns[1]])
    return Inputs(
        files,
        Raster(
            reflectance(cloudy.pixels[:, rows[0], columns[0]], described.optical.scaling),
            clear.crs,
            centre_grid(clear, (rows[0].stop - rows[0].start, columns[0].stop - columns[0].start)),
        ),
        radar,
    )


def _crop_slices(files: SceneFiles, side: int, source: int, size: int) -> tuple[slice, slice]:
    """Centre of an optical axis, and the SAR pixels under it."""
    start = (side - size) // 2
    ends = [divmod(end * source, side) for end in (start, start + size)]
    if any(rest for _, rest in ends):
        raise SceneError(
            f"{files.path('sar')}: expected a grid on which {size} of {side} optical pixels, from "
            f"{start} on, are whole SAR pixels, got {source} SAR pixels over the {side}"
        )
    return slice(start, start + size), slice(ends[0][0], ends[1][0])


def batches(inputs: Iterator[Inputs], batch: int) -> Iterator[list[Inputs]]:
    """Group scenes of one shape, in order, into batches of at most this size."""
    group: list[Inputs] = []
    for scene in inputs:
        if group and (len(group) == batch or _shapes(scene) != _shapes(group[0])):
            yield group
            group = []
        group.append(scene)
    if group:
        yield group


def _shapes(inputs: Inputs) -> tuple[tuple[int, ...], ...]:
    return inputs.cloudy.pixels.shape, inputs.sar.shape if inputs.sar is not None else ()
