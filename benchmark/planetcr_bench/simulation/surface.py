"""Compute the state of the ground of a patch: materials, light, reflectance.

Every renderer reads this state and never the product of another, so SAR, optical images and land
cover have only the ground in common.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from planetcr_bench.simulation.catalogue import BARE, CROP
from planetcr_bench.simulation.land import Fields, Index, Kinds, Mask, fields_on, kinds_on
from planetcr_bench.simulation.materials import TREE_KINDS, Materials, materials_of
from planetcr_bench.simulation.noise import Field, Grid, noise, white
from planetcr_bench.simulation.objects import Objects, objects_on
from planetcr_bench.simulation.place import Place
from planetcr_bench.simulation.resampling import blur, taps
from planetcr_bench.simulation.survey import Survey, window_of
from planetcr_bench.utils.compiled import compiled

MARGIN_PX: Final = 34
"""Optical pixels around a patch that its products depend on: SAR displaced by 40 m, layover, blur,
and the surrounding light, without effects of the window's border."""

_ONE_PIXEL_BLUR: Final = taps(0.8)
_OPTICS: Final = taps(0.75)
"""Blur of the camera and of the resampling to 3 m, standard deviation in pixels."""


@dataclass(frozen=True, slots=True)
class Surface:
    """The state of the ground on a window with its margin.

    Attributes:
        place: The AOI.
        grid: The window.
        margin: Pixels around the patch.
        fields: Random fields of the land.
        kinds: Kinds of land.
        objects: Objects on it.
        materials: Properties of each material.
        top: Material seen from above, shape of the grid.
        ground: Material under trees and roofs.
        vigour: Deviation of the plants from their material's mean.
        reflectance: Of the clear date at 3 m, shape (4, H, W), after the camera's blur.
    """

    place: Place
    grid: Grid
    margin: int
    fields: Fields
    kinds: Kinds
    objects: Objects
    materials: Materials
    top: Index
    ground: Index
    vigour: Field
    reflectance: Field

    @property
    def inner(self) -> tuple[slice, slice]:
        """The patch itself, within its margin."""
        return (slice(self.margin, -self.margin),) * 2


def surface_of(survey: Survey, patch: int) -> Surface:
    """Compute the ground of a patch.

    Args:
        survey: Of the patch's AOI.
        patch: Number of the patch, 1 … 144.
    """
    place, margin = survey.place, MARGIN_PX
    grid = window_of(patch, margin)
    fields = fields_on(place, grid)
    kinds = kinds_on(place, fields, survey.levels)
    materials = materials_of(place, fields)
    fine, crown_noise = _white_noise(place, grid)

    objects = objects_on(place, fields, kinds, crown_noise)
    ground, top = _materials_on(fields, kinds, materials, objects)
    light = _cultivation(place, fields, kinds, objects) * _shadows(place, objects)
    hill = hillshade(place, fields, objects.water, place.site.to_sun)
    vigour = np.empty(grid.shape, np.float32)
    image = np.empty((4, *grid.shape), np.float32)
    _reflect(
        top, materials.spectrum, materials.plant_slope, materials.texture, fine, crown_noise,
        fields.moisture, fields.mosaic, light, hill, vigour, image,
    )  # fmt: skip
    _blend_roads(place, image, objects)
    np.clip(image, 0.004, 0.95, out=image)
    image = np.stack([blur(band, _OPTICS) for band in image])
    return Surface(
        place, grid, margin, fields, kinds, objects, materials, top, ground, vigour, image
    )


def _materials_on(
    fields: Fields, kinds: Kinds, materials: Materials, objects: Objects
) -> tuple[Index, Index]:
    """Material under trees and roofs, and the one seen from above; later objects cover earlier."""
    town = objects.town
    index = fields.parcels.label * 4 + kinds.open_land
    index[objects.wetland] = materials.wetland
    index[objects.paved] = materials.paved
    if town is not None:
        index[objects.town_area] = materials.yard
        index[town.streets] = materials.street
    index[objects.beach] = materials.beach
    index[objects.water] = materials.water
    index[objects.bridges] = materials.bridge
    tree = (fields.chance[6] * TREE_KINDS).astype(np.intp)[fields.parcels.label]
    ground = np.where(objects.woods, materials.floor + tree, index)
    top = np.where(objects.crowns, materials.tree + tree, ground)
    if town is not None:
        top = np.where(town.buildings, materials.roof + town.roof, top)
    return ground, top


def _white_noise(place: Place, grid: Grid) -> tuple[Field, Field]:
    """Noise of the width of a pixel and of a crown, each of unit variance."""
    top, left = int(grid.top), int(grid.left)
    crown = taps(place.draws.uniform("crown", 0.9, 1.5), 4)
    fields = []
    for name, weights in (("fine", _ONE_PIXEL_BLUR), ("crowns", crown)):
        field = blur(white(place.key(name), top, left, *grid.shape), weights)
        fields.append(field / np.float32((weights.astype(np.float64) ** 2).sum()))
    return fields[0], fields[1]


def _cultivation(place: Place, fields: Fields, kinds: Kinds, objects: Objects) -> Field:
    """Brightness of fields: margins, rows of tillage; and of dunes."""
    covered = objects.crowns | objects.woods | objects.town_area | objects.water
    grid, parcels, draws = fields.grid, fields.parcels, place.draws
    light = np.ones(grid.shape, np.float32)
    field = (kinds.open_land == CROP) & ~covered
    margin = np.flatnonzero((parcels.edge < 1) & field)
    light.ravel()[margin] += np.float32(draws.uniform("margin", -0.35, 0.35)) * (
        1 - parcels.edge.ravel()[margin]
    )
    if draws.happens("tillage", 0.5):
        rows = np.flatnonzero((fields.chance[1] > 0.6)[parcels.label] & field)
        wave = 2 * math.pi / draws.uniform("row distance", 3.2, 7)
        height = np.float32(draws.uniform("row height", 0.01, 0.05))
        light.ravel()[rows] *= 1 + height * np.cos(np.float32(wave) * fields.along.ravel()[rows])
    if place.landscape_name == "arid":
        dunes = noise(place.key("dunes"), grid, 9)
        light *= 1 + 0.06 * dunes * ((kinds.open_land == BARE) & ~covered)
    return light


def shifted(mask: Mask, down: int, right: int) -> Mask:
    """Shift a mask by whole pixels; pixels from outside are False."""
    moved = np.zeros_like(mask)
    height, width = mask.shape
    moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = mask[
        max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return moved


def _shadows(place: Place, objects: Objects) -> Field:
    """Brightness beside trees and buildings, away from the sun."""
    down, right = (-part for part in place.site.to_sun)
    step = round(1.4 * down), round(1.4 * right)
    crowns, water, town = objects.crowns, objects.water, objects.town
    shade = shifted(crowns, *step) & ~(crowns | objects.woods | water)
    light = np.where(shade, np.float32(0.80), np.float32(1))
    if town is not None:
        metres = 0.6 * place.building_height_m / math.tan(place.site.sun_elevation)
        length = min(4.0, max(1.0, metres / 3))
        step = round(length * down), round(length * right)
        light[shifted(town.buildings, *step) & ~(town.buildings | water)] *= np.float32(0.62)
    return light


def hillshade(place: Place, fields: Fields, water: Mask, to_sun: tuple[float, float]) -> Field:
    """Brightness of slopes by their angle to the sun, 0.6 to 1.4; water is level.

    Args:
        place: The AOI.
        fields: Random fields of the land.
        water: Lakes and rivers.
        to_sun: Unit vector down and right that points to the sun.
    """
    down, right = np.gradient(fields.elevation)
    facing = -(right * np.float32(to_sun[1]) + down * np.float32(to_sun[0]))
    hill = np.asarray(np.clip(1 + np.float32(22 * place.relief) * facing, 0.6, 1.4))
    hill[water] = 1
    return hill


@compiled
def _reflect(
    index: Index, spectrum: Field, plant_slope: Field, texture: Field, fine: Field, crown: Field,
    moisture: Field, mosaic: Field, light: Field, hill: Field, vigour: Field, out: Field,
) -> None:  # fmt: skip
    """Mix material, texture, moisture and light into the reflectance of each pixel."""
    for i in range(index.shape[0]):
        for j in range(index.shape[1]):
            k = index[i, j]
            deviation = texture[0, k] * fine[i, j] + texture[1, k] * np.float32(0.5) * (
                moisture[i, j] + mosaic[i, j]
            )
            bright = (
                np.float32(1)
                + texture[2, k] * fine[i, j]
                + texture[3, k] * moisture[i, j]
                + texture[4, k] * crown[i, j]
            ) * light[i, j]
            bright = min(max(bright, np.float32(0.25)), np.float32(2.2)) * hill[i, j]
            vigour[i, j] = deviation
            for band in range(out.shape[0]):
                out[band, i, j] = (spectrum[band, k] + plant_slope[band, k] * deviation) * bright


def _blend_roads(place: Place, image: Field, objects: Objects) -> None:
    """Mix in unpaved roads, and the edges of paved ones, by their share of the pixel."""
    roads = objects.roads
    where = np.flatnonzero((roads > 0) & ~objects.crowns & ~objects.paved)
    if not where.size:
        return
    share = roads.ravel()[where]
    for band in range(4):
        pixels = image[band].reshape(-1)
        pixels[where] += share * (1.25 * place.soil[band] - pixels[where])
