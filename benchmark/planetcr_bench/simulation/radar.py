"""Render Sentinel-1 backscatter of VV and VH in dB at 10 m."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import OPTICAL_RESOLUTION_M
from planetcr_bench.simulation.catalogue import BUILDING_DB, LOOKS, NOISE_DB
from planetcr_bench.simulation.materials import roof_echoes
from planetcr_bench.simulation.noise import Field, Grid, noise, white
from planetcr_bench.simulation.objects import Town
from planetcr_bench.simulation.place import SAR_RESOLUTION_M, SAR_SIZE, Place
from planetcr_bench.simulation.resampling import Axis, blur, gaussian, resample, taps
from planetcr_bench.simulation.surface import Surface, shifted

_SCALE: Final = SAR_RESOLUTION_M / OPTICAL_RESOLUTION_M
_SAMPLING_PX: Final = 2.7
"""Standard deviation of the point spread function: 20 m between its half-power points."""

_SPECKLE_TAPS: Final = taps(1.18, 4)
_DECIBEL: Final = math.log(10) / 10


def sar_image(surface: Surface) -> NDArray[np.float64]:
    """Render the SAR image, displaced by terrain and geolocation errors.

    Returns:
        dB, not clipped, shape (2, h, w) without the margin.
    """
    place = surface.place
    rough = _roughness(place, surface.grid)
    columns = parallax_columns(surface)
    rows_of = _sampling(surface, 0)
    columns_of = _sampling(surface, 1)
    image = np.empty((2, SAR_SIZE, SAR_SIZE))
    for channel in range(2):
        power = _power(surface, channel, rough if channel == 0 else 0.8 * rough)
        power = np.take_along_axis(power, columns, axis=1)
        intensity = resample(power, rows_of, columns_of) * _speckle(surface, channel)
        image[channel] = 10 * np.log10(np.maximum(intensity, np.float32(1e-5)), dtype=np.float64)
    return image


def _roughness(place: Place, grid: Grid) -> Field:
    """Effects that only radar shows: roughness of the ground and structure of the plants, dB."""
    volume = np.float32(place.draws.normal("volume", 0, 0.5))
    wide, narrow = noise(place.key("rough"), grid, 36), noise(place.key("rougher"), grid, 11)
    return np.asarray(0.6 * wide + 0.45 * narrow + volume)


def parallax_columns(surface: Surface) -> NDArray[np.int64]:
    """Column of the window shown at each column: high ground leans towards the radar."""
    width = surface.grid.width
    lean = np.rint(np.float32(surface.place.parallax_px) * surface.fields.elevation)
    return np.asarray(np.clip(np.arange(width) + lean.astype(np.int64), 0, width - 1))


def displacement_m(surface: Surface) -> Field:
    """Displacement of SAR, in metres down and right of each optical pixel.

    Returns:
        Shape (2, H, W) without the margin: the shift of the AOI plus the terrain displacement.
    """
    down, right = surface.place.sar_shift_m
    height, width = surface.grid.shape
    lean = (parallax_columns(surface) - np.arange(width)) * OPTICAL_RESOLUTION_M
    field = np.stack([np.full((height, width), -down), -right - lean])
    return np.asarray(field[:, *surface.inner], np.float32)


def _sampling(surface: Surface, axis: int) -> Axis:
    shift = surface.place.sar_shift_m[axis] / OPTICAL_RESOLUTION_M
    offset = surface.margin + surface.place.site.coarse_offset_px[axis] + shift
    return gaussian(SAR_SIZE, surface.grid.height, _SCALE, offset, _SAMPLING_PX)


def _power(surface: Surface, channel: int, rough: Field) -> Field:
    """Linear backscatter of each 3 m pixel: the ground, trees that lean over it, buildings."""
    place, table, index = surface.place, surface.materials, surface.ground
    crowns, woods, town = surface.objects.crowns, surface.objects.woods, surface.objects.town
    decibels = table.ground_db[channel][index]
    decibels += table.plant_db[channel][index] * surface.vigour
    decibels += table.moist_db[channel][index] * surface.fields.moisture
    power = np.exp(np.float32(_DECIBEL) * (decibels + rough))
    lean = round(0.5 * place.tree_height_m * place.cot_incidence / 3) * place.look
    leaves = table.ground_db[channel, table.tree]
    tree = np.exp(np.float32(_DECIBEL) * (leaves + 0.7 * rough + 0.6 * surface.fields.mosaic))
    power = np.where(shifted(crowns, 0, lean), tree, power)
    leaning = shifted(woods, 0, lean)
    facing, behind = leaning & ~woods, woods & ~leaning
    power += facing * (0.7 * power + 0.4 * tree)
    power *= 1 - np.float32(0.5) * behind
    if town is not None:
        power += _buildings(place, town) * np.float32(10 ** (BUILDING_DB[channel] / 10))
    rise = np.gradient(surface.fields.elevation, axis=1)
    steep = np.float32(-26 * place.look * place.relief) * rise
    power *= np.exp(np.clip(steep, -0.7, 0.7))
    return np.asarray(power + np.float32(10 ** (NOISE_DB[channel] / 10)))


def _buildings(place: Place, town: Town) -> Field:
    """Echo of the buildings relative to their mean; the wall facing the radar is brightest."""
    lean = round(0.3 * place.building_height_m * place.cot_incidence / 3) * place.look
    wall = town.buildings & ~shifted(town.buildings, 0, -place.look)
    bright = np.float32(0.7) * town.buildings + np.float32(1.9) * wall
    echo = np.asarray(roof_echoes(place)[town.roof] * bright, np.float32)
    moved = np.zeros_like(echo)
    source = echo[:, max(-lean, 0) : echo.shape[1] - max(lean, 0)]
    moved[:, max(lean, 0) : echo.shape[1] - max(-lean, 0)] = source
    return moved


def _speckle(surface: Surface, channel: int) -> Field:
    """Speckle of unit mean on the 10 m grid, correlated as by a resolution of 20 m."""
    place, margin = surface.place, surface.margin
    top = round((surface.grid.top + margin) / _SCALE)
    left = round((surface.grid.left + margin) / _SCALE)
    total = np.zeros((SAR_SIZE, SAR_SIZE), np.float32)
    pad = len(_SPECKLE_TAPS) // 2
    for part in range(2 * LOOKS[channel]):
        field = white(
            place.key(f"speckle/{channel}/{part}"), top - pad, left - pad,
            SAR_SIZE + 2 * pad, SAR_SIZE + 2 * pad,
        )  # fmt: skip
        total += blur(field, _SPECKLE_TAPS)[pad:-pad, pad:-pad] ** 2
    scale = float((_SPECKLE_TAPS.astype(np.float64) ** 2).sum()) ** 2 * 2 * LOOKS[channel]
    return np.asarray(total / np.float32(scale))
