"""Render the PlanetScope images of both dates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import DN_PER_REFLECTANCE
from planetcr_bench.simulation.catalogue import BACKSCATTERED, CROP, DIFFUSE_SHARE, HAZE_COLOUR
from planetcr_bench.simulation.noise import Field, Grid, noise, uniforms, white
from planetcr_bench.simulation.place import Place
from planetcr_bench.simulation.resampling import blur, box, gaussian, linear, resample, taps
from planetcr_bench.simulation.sky import (
    cloud_thickness,
    haze_thickness,
    reflected,
    shadow_shift,
    sky_of,
)
from planetcr_bench.simulation.surface import Surface, hillshade
from planetcr_bench.utils.compiled import compiled

_NOISE_DN: Final = np.array((11.0, 9.0, 10.0, 14.0), np.float32)
"""Standard deviation of the noise of a dark pixel, in digital numbers."""

_NOISE_SHARE: Final = 0.006
"""Standard deviation of the noise of a bright pixel, relative."""

_CLEAR_HAZE_COLOUR: Final = np.array((1.2, 1.0, 0.85, 0.5), np.float32)
_OFFSET_COLOUR: Final = np.array((1.15, 1.0, 0.9, 0.6), np.float32)
_CLOUD_EDGE_PX: Final = 6  # reach of the blur and of the slope of clouds
_ADJACENCY_PX: Final = 20
"""Side of the blocks whose light mixes under a cloud; blurred further to about 150 m."""


def clear_image(surface: Surface) -> NDArray[np.uint16]:
    """Render the cloud-free image.

    Returns:
        Digital numbers, reflectance × 10 000, shape (4, H, W) without the margin.
    """
    haze = surface.place.clear_haze * _CLEAR_HAZE_COLOUR
    image = surface.reflectance[:, *surface.inner] + haze[:, None, None]
    return _recorded(surface, image, "clear")


def _recorded(surface: Surface, image: Field, date: str) -> NDArray[np.uint16]:
    """Add sensor noise and round to digital numbers; 0 is reserved for nodata."""
    margin, grid = surface.margin, surface.grid
    top, left = int(grid.top) + margin, int(grid.left) + margin
    bands, height, width = image.shape
    numbers = np.empty(image.shape, np.uint16)
    for band in range(bands):
        key = surface.place.key(f"sensor/{date}/{band}")
        field = white(key, top - 1, left, height + 1, width)
        grain = 0.86 * field[1:] + 0.5 * field[:-1]  # correlated along the track
        exact = image[band] * np.float32(DN_PER_REFLECTANCE)
        exact += grain * (_NOISE_DN[band] + np.float32(_NOISE_SHARE) * exact)
        numbers[band] = np.clip(np.rint(exact), 1, 65535)
    return numbers


# --- Changes between the dates --------------------------------------------------------------


def changed_surface(surface: Surface) -> Field:
    """Reflectance of the ground on the cloudy date, without clouds.

    The sun has moved by some degrees; the calibration of the satellite and the plants differ a
    little; some fields were worked; the image is displaced by a fraction of a pixel.

    Returns:
        Shape (4, H, W) with the margin.
    """
    place, grid = surface.place, surface.grid
    draws = place.draws
    gain = np.exp(draws.normals("gain", 4, 0.06) + draws.normal("gain of all", 0, 0.05))
    offset = max(draws.normal("offset", 0.006, 0.009), -0.003) * _OFFSET_COLOUR
    drift = np.float32(abs(draws.normal("drift", 0, 0.05))) * noise(place.key("drift"), grid, 80)
    water = surface.objects.water
    light = hillshade(place, surface.fields, water, place.cloudy_to_sun)
    light /= hillshade(place, surface.fields, water, place.site.to_sun)
    visible, infrared = light * np.exp(drift), light * np.exp(-0.6 * drift)
    down, right = np.clip(draws.normals("registration", 2, 0.5), -1.5, 1.5).tolist()
    rows = linear(grid.height, grid.height, 1, down)
    columns = linear(grid.width, grid.width, 1, right)
    worked = np.flatnonzero(_worked_fields(surface))
    changed = np.empty_like(surface.reflectance)
    for band in range(4):
        image = surface.reflectance[band].copy()
        pixels = image.reshape(-1)
        pixels[worked] = 0.55 * pixels[worked] + 0.5 * place.soil[band]
        image *= infrared if band == 3 else visible
        changed[band] = resample(image, rows, columns) * np.float32(gain[band]) + offset[band]
    return changed


def _worked_fields(surface: Surface) -> NDArray[np.bool_]:
    """Fields that were ploughed or mown between the dates, in half of the AOIs."""
    place, parcels = surface.place, surface.fields.parcels
    if not place.draws.happens("work", 0.5):
        return np.zeros(surface.grid.shape, bool)
    worked = uniforms(place.key("work"), parcels.column, parcels.row, 1)[0] < 0.04
    field = surface.kinds.open_land == CROP
    objects = surface.objects
    field &= ~(objects.crowns | objects.woods | surface.kinds.town | objects.water)
    return np.asarray(worked[parcels.label] & field)


# --- Cloud ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Clouds:
    """The sky over a patch.

    Attributes:
        thickness: Optical thickness of the clouds, shape (H, W).
        haze: Optical thickness of the haze in blue.
        sunlight: Share of the direct sunlight that reaches the ground beside or beneath them, 0
            to 1; clouds without a separate shadow leave it at 1.
        shading: Brightness of the clouds: above 1 on sunlit sides, below on shaded sides; 0.75 to
            1.25.
    """

    thickness: Field
    haze: Field
    sunlight: Field
    shading: Field


def clouds_over(place: Place, grid: Grid) -> Clouds:
    """Compute the sky over a patch; clouds beyond its borders cast shadows too."""
    edge = _CLOUD_EDGE_PX
    wide = Grid(grid.top - edge, grid.left - edge, grid.height + 2 * edge, grid.width + 2 * edge)
    patch = np.s_[edge:-edge, edge:-edge]
    thickness = cloud_thickness(place, wide)
    sunlight = np.ones(grid.shape, np.float32)
    if place.cloud_family.casts_shadow:
        above = cloud_thickness(place, wide.moved(*shadow_shift(place)), finest=12)
        dimming = np.float32(1.6 * BACKSCATTERED) * blur(above, taps(2.5, 4))[patch]
        sunlight = np.asarray(1 / (1 + dimming))
    shading = _sides_of_clouds(place, thickness)[patch]
    return Clouds(
        np.ascontiguousarray(thickness[patch]), haze_thickness(place, grid), sunlight, shading
    )


def cloudy_image(surface: Surface, ground: Field, clouds: Clouds) -> NDArray[np.uint16]:
    """Render the cloudy image.

    Args:
        surface: The state of the ground.
        ground: Its reflectance on the cloudy date, with the margin.
        clouds: The sky over the patch.

    Returns:
        Digital numbers, reflectance × 10 000, shape (4, H, W) without the margin.
    """
    place, margin = surface.place, surface.margin
    sky = sky_of(place)
    window = Grid(surface.grid.top + margin, surface.grid.left + margin, *clouds.haze.shape)
    tints = np.array((0, 0.03, 0.05, 0.05)) * sky.tint
    white_cloud = sky.brightness * (np.array((1, 1.045, 1.075, 1.14)) + tints)
    uneven = 0.018 * noise(place.key("cloud colour"), window, 100)
    uneven_nir = 0.014 * noise(place.key("cloud colour nir"), window, 75)
    image = np.empty((4, *window.shape), np.float32)
    for band in range(4):
        colour = 1 + np.float32(band - 1.5) * uneven + (uneven_nir if band == 3 else 0)
        _overlay(
            ground[band][surface.inner], _adjacent_light(ground[band], margin),
            clouds.thickness, clouds.haze * HAZE_COLOUR[band],
            clouds.sunlight + (1 - clouds.sunlight) * DIFFUSE_SHARE[band],
            float(white_cloud[band]) * clouds.shading * colour, image[band],
        )  # fmt: skip
    return _recorded(surface, image, "cloudy")


def _sides_of_clouds(place: Place, thickness: Field) -> Field:
    """Brightness of the sunlit and shaded sides of clouds, 0.75 to 1.25."""
    down, right = np.gradient(blur(reflected(thickness), taps(2, 4)))
    to_sun_down, to_sun_right = place.cloudy_to_sun
    facing = -(right * np.float32(to_sun_right) + down * np.float32(to_sun_down))
    return np.asarray(np.clip(1 + np.float32(3.2) * facing, 0.75, 1.25))


def _adjacent_light(ground: Field, margin: int) -> Field:
    """Reflectance of the surroundings, whose light a cloud mixes: blocks, blurred, enlarged."""
    size, block = ground.shape[0], _ADJACENCY_PX
    blocks = (size - 2 * margin) // block + 2  # one more on each side of the patch
    average = box(blocks, size, block, margin - block)
    smooth = gaussian(blocks, blocks, 1, 0, 1.2)
    means = resample(resample(ground, average, average), smooth, smooth)
    axis = linear(size - 2 * margin, blocks, 1 / block, 1)
    return resample(means, axis, axis)


@compiled
def _overlay(
    ground: Field, around: Field, cloud: Field, haze: Field, light: Field, white_cloud: Field,
    out: Field,
) -> None:  # fmt: skip
    """Light from the cloud, and light from the ground through it: details fade first.

    A two-stream model without absorption: a layer reflects R and transmits (1 − R)(1 − 0.3 R) on
    both ways together, more than (1 − R)² because clouds scatter forwards; light is reflected
    repeatedly between the layer and the ground.
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            thickness = cloud[i, j] + haze[i, j]
            scaled = np.float32(BACKSCATTERED) * thickness
            back = scaled / (np.float32(1) + scaled)
            seen = around[i, j] + math.exp(np.float32(-0.5) * thickness) * (
                ground[i, j] - around[i, j]
            )
            through = (np.float32(1) - back) * (np.float32(1) - np.float32(0.3) * back)
            through /= np.float32(1) - np.float32(0.9) * back * around[i, j]
            out[i, j] = white_cloud[i, j] * back + through * light[i, j] * seen
