"""Simulate the sky of the cloudy date: cloud, haze, shadow and Planet's mask.

One sky spans the whole AOI. Its cover increases from clear to overcast along some direction, so an
AOI has patches of every cloud cover, whatever its type of cloud.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import OPTICAL_RESOLUTION_M
from planetcr_bench.simulation.catalogue import BACKSCATTERED
from planetcr_bench.simulation.land import Mask
from planetcr_bench.simulation.noise import Field, Grid, fractal, noise, streaks, white
from planetcr_bench.simulation.place import AOI_PX, Place
from planetcr_bench.utils.compiled import compiled

_SURVEY_STEP: Final = 4
"""Optical pixels between the samples for the mask: six to eight per cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sky:
    """The parameters of one sky.

    Attributes:
        thickness: Optical thickness one standard deviation above the edge of a cloud.
        cell_px: Width of its widest features.
        streak_angle: Direction of cirrus, radians.
        haze: Optical thickness of haze in blue.
        base_height_m: Height above ground, which determines the shadows.
        front_angle: Direction in which the cover increases, radians.
        brightness: Reflectance of an infinitely thick cloud, in blue.
        tint: Redness of the clouds, standard deviations from the mean.
    """

    thickness: float
    cell_px: float
    streak_angle: float
    haze: float
    base_height_m: float
    front_angle: float
    brightness: float
    tint: float


@lru_cache(8)
def sky_of(place: Place) -> Sky:
    """Draw the sky of an AOI."""
    family, draws = place.cloud_family, place.draws
    return Sky(
        thickness=draws.log_uniform("thickness", *family.thickness),
        cell_px=draws.log_uniform("cell", *family.cell_px),
        streak_angle=draws.uniform("streaks", 0, math.pi),
        haze=draws.uniform("haze", *family.haze),
        base_height_m=draws.uniform("height", 400, 2200),
        front_angle=draws.uniform("front", 0, 2 * math.pi),
        brightness=draws.uniform("brightness", 0.62, 0.95),
        tint=draws.normal("tint"),
    )


def target_cover(place: Place, grid: Grid) -> Field:
    """Target cloud cover around each sample, 0 to 1."""
    angle = sky_of(place).front_angle
    across = (grid.x - AOI_PX / 2) * math.cos(angle) + (grid.y - AOI_PX / 2) * math.sin(angle)
    ramp = across / (AOI_PX * 0.5 * (abs(math.cos(angle)) + abs(math.sin(angle))))
    cover = 0.5 + 0.62 * ramp + 0.12 * noise(place.key("front"), grid, 700)
    return np.asarray(np.clip(cover, 0.004, 0.996))


def cloud_thickness(place: Place, grid: Grid, *, finest: float = 3.0) -> Field:
    """Optical thickness of the clouds alone, shape of the grid.

    Args:
        place: The AOI.
        grid: Grid of samples.
        finest: Features narrower than this many pixels are left out.
    """
    sky, family = sky_of(place), place.cloud_family
    key = place.key("cloud")
    if place.cloud_family_name == "cirrus":
        shape = streaks(key, grid, sky.cell_px, sky.streak_angle)
    else:
        shape = fractal(key, grid, sky.cell_px, family.beta, 6, finest=finest)
    if place.cloud_family_name == "cumulus":  # cauliflower texture
        knobs = fractal(place.key("knobs"), grid, sky.cell_px / 3, 3.0, 3, finest=finest)
        shape += 0.22 * (np.abs(knobs) - np.float32(0.8))
    cover = target_cover(place, grid)
    shape += np.log(cover / (1 - cover)) * np.float32(1 / 1.702)  # approximates the normal quantile
    np.maximum(shape, 0, out=shape)
    root = np.sqrt(shape)
    grown = shape * np.sqrt(root) if family.power > 1 else root * np.sqrt(root)
    return np.asarray(grown * np.float32(sky.thickness))


def haze_thickness(place: Place, grid: Grid) -> Field:
    """Optical thickness of haze in blue, everywhere and uneven."""
    sky = sky_of(place)
    return np.asarray(np.float32(sky.haze) * np.exp(0.35 * noise(place.key("haze"), grid, 110)))


def reflected(thickness: Field) -> Field:
    """Share of light that a layer reflects: two streams, no absorption, 0 to 1."""
    scaled = np.float32(BACKSCATTERED) * thickness
    return np.asarray(scaled / (1 + scaled))


def shadow_shift(place: Place) -> tuple[float, float]:
    """Optical pixels down and right from a point on the ground to the cloud that shadows it."""
    away = sky_of(place).base_height_m / math.tan(place.site.sun_elevation) / OPTICAL_RESOLUTION_M
    down, right = place.cloudy_to_sun
    return away * down, away * right


# --- Planet's mask --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MaskCells:
    """The cloud mask of an AOI: square cells of about 32 m along the scan lines.

    Attributes:
        angle: Of the scan lines, radians.
        size_px: Side of a cell in optical pixels.
        first: Frame row and column of the first cell.
        cloudy: The cells, True where cloudy.
    """

    angle: float
    size_px: float
    first: tuple[int, int]
    cloudy: Mask


def mask_cells(place: Place) -> MaskCells:
    """Make the mask of an AOI, with the imperfections of Planet's.

    A cell is cloudy where its mean reflectance exceeds a threshold, so thin cloud is missed; cloudy
    cells are grown by a margin; a few cells are wrong. Shadows are not masked.
    """
    draws = place.draws
    sign = 1 if draws.happens("mask sign", 0.5) else -1
    angle = sign * math.radians(draws.normal("mask angle", 11, 1.2))
    size = draws.uniform("mask cell", 9.5, 11.5)
    samples = AOI_PX // _SURVEY_STEP + 2  # one beyond each border, so every pixel has a cell
    grid = Grid(-_SURVEY_STEP, -_SURVEY_STEP, samples, samples, _SURVEY_STEP)
    thickness = cloud_thickness(place, grid, finest=8) + haze_thickness(place, grid)
    row, column, first = _frame(grid, angle, size)
    height, width = int(row.max()) + 1, int(column.max()) + 1
    cell = (row * width + column).ravel()
    count = np.bincount(cell, minlength=height * width)
    total = np.bincount(cell, reflected(thickness).ravel(), minlength=height * width)
    mean = (total / np.maximum(count, 1)).reshape(height, width)
    seen = sky_of(place).haze * BACKSCATTERED
    threshold = max(draws.log_uniform("mask threshold", 0.11, 0.33), 1.35 * seen / (1 + seen))
    cloudy = mean > threshold
    corners = draws.happens("mask corners", 0.5)
    for _ in range(int(draws.one_of("mask margin", {"0": 0.4, "1": 0.4, "2": 0.2}))):
        cloudy = _grown(cloudy, corners=corners)
    cloudy ^= white(place.key("mask errors"), *first, height, width) > 3.0  # 0.13 % of the cells
    return MaskCells(angle, size, first, cloudy)


def _frame(
    grid: Grid, angle: float, size: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[int, int]]:
    """Row and column of each sample in the frame of the mask, from 0, and of its first cell."""
    row, column = np.empty(grid.shape, np.int64), np.empty(grid.shape, np.int64)
    _fill_frame(float(grid.top), float(grid.left), float(grid.step), angle, size, row, column)
    first = int(row.min()), int(column.min())
    return row - first[0], column - first[1], first


@compiled
def _fill_frame(
    top: float, left: float, step: float, angle: float, size: float,
    row: NDArray[np.int64], column: NDArray[np.int64],
) -> None:  # fmt: skip
    cosine, sine = math.cos(angle), math.sin(angle)
    for i in range(row.shape[0]):
        y = top + (i + 0.5) * step
        for j in range(row.shape[1]):
            x = left + (j + 0.5) * step
            row[i, j] = math.floor((y * cosine - x * sine) / size)
            column[i, j] = math.floor((x * cosine + y * sine) / size)


def _grown(cells: Mask, *, corners: bool) -> Mask:
    """Add the neighbours of cloudy cells: four of them, or eight."""
    grown = cells.copy()
    grown[1:] |= cells[:-1]
    grown[:-1] |= cells[1:]
    source = grown.copy() if corners else cells
    grown[:, 1:] |= source[:, :-1]
    grown[:, :-1] |= source[:, 1:]
    return grown


def mask_on(cells: MaskCells, grid: Grid) -> Mask:
    """The mask on a grid within the AOI."""
    row, column, first = _frame(grid, cells.angle, cells.size_px)
    return cells.cloudy[row + (first[0] - cells.first[0]), column + (first[1] - cells.first[1])]
