"""A survey and a window in, the state of the ground out: materials, objects, reflectance.

Every renderer reads this state and none another's product, so what SAR, optical images and land
cover have in common is the ground and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from planetcr_bench.simulate.catalogue import BARE, CROP
from planetcr_bench.simulate.land import (
    Fields,
    Index,
    Kinds,
    Mask,
    Parcels,
    divide,
    fields_on,
    kinds_on,
    parcels_on,
    turned,
)
from planetcr_bench.simulate.materials import ROOF_KINDS, TREE_KINDS, Materials, materials_of
from planetcr_bench.simulate.noise import (
    Field,
    Grid,
    compiled,
    fractal,
    noise,
    uniforms,
    white,
)
from planetcr_bench.simulate.place import Line, Place
from planetcr_bench.simulate.resampling import blur, taps
from planetcr_bench.simulate.survey import Survey, window_of

MARGIN_PX: Final = 34
"""Optical pixels around a patch that its products reach for: SAR that is 40 m off, what leans over
it, its blur; and the light around it, apart from where the window's own border is felt."""

_QUANTILES: Final = np.array(
    [NormalDist().inv_cdf(min(max(i / 4096, 1e-4), 1 - 1e-4)) for i in range(4097)], np.float32
)
_ONE_PIXEL_BLUR: Final = taps(0.8)
_OPTICS: Final = taps(0.75)
"""Blur of the camera and of the resampling to 3 m, standard deviation in pixels."""

_TREES_ON: Final = np.array((0.06, 0.7, 1.3, 0.2), np.float32)  # crop, grass, shrub, bare
_FAR: Final = 60.0


@dataclass(frozen=True, slots=True)
class Town:
    """The settled part of a window.

    Attributes:
        streets: Where streets are.
        buildings: Where buildings are.
        roof: Kind of roof of each building's pixels.
        tree_cover: Share of the ground under trees.
    """

    streets: Mask
    buildings: Mask
    roof: Index
    tree_cover: float


@dataclass(frozen=True, slots=True)
class Surface:
    """The state of the ground on a window with its margin.

    Attributes:
        place: The AOI.
        grid: The window.
        margin: Pixels around the patch.
        fields: What the land follows.
        kinds: Kinds of land.
        materials: Properties of each material.
        top: Material seen from above, shape of the grid.
        ground: Material under trees and roofs.
        vigour: Deviation of the plants from their material's mean.
        crowns: Where trees stand.
        woods: Forest, with the belts along rivers.
        water: Lakes and rivers.
        town: Streets and buildings; None where there are none.
        slope_x: Rise of the ground to the right per pixel.
        reflectance: Of the clear date at 3 m, shape (4, H, W), after the camera's blur.
    """

    place: Place
    grid: Grid
    margin: int
    fields: Fields
    kinds: Kinds
    materials: Materials
    top: Index
    ground: Index
    vigour: Field
    crowns: Mask
    woods: Mask
    water: Mask
    town: Town | None
    slope_x: Field
    reflectance: Field

    @property
    def inner(self) -> tuple[slice, slice]:
        """The patch itself, within its margin."""
        return (slice(self.margin, -self.margin),) * 2


def surface_of(survey: Survey, patch: int) -> Surface:
    """Work out the ground of a patch.

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

    river, belt = _rivers(place, fields)
    water = kinds.water | river
    roads, paved, bridges = _roads(place, fields, water)
    town_area = kinds.town & ~water
    woods = (kinds.forest | belt) & ~(water | town_area)
    town = _town(place, fields, town_area, roads) if town_area.any() else None
    crowns = _crowns(place, fields, kinds, woods, town_area, town, crown_noise)
    crowns &= ~water & (roads < 0.5)
    if town is not None:
        crowns &= ~(town.buildings | town.streets)

    index = fields.parcels.label * 4 + kinds.open_land
    index[_wetland(place, fields, kinds, town_area)] = materials.wetland
    index[paved] = materials.paved
    if town is not None:
        index[town_area] = materials.yard
        index[town.streets] = materials.street
    index[_beach(place, kinds)] = materials.beach
    index[water] = materials.water
    index[bridges] = materials.bridge
    tree = (fields.chance[6] * TREE_KINDS).astype(np.intp)[fields.parcels.label]
    ground = np.where(woods, materials.floor + tree, index)
    top = np.where(woods & ~crowns, ground, index)
    top = np.where(crowns, materials.tree + tree, top)
    if town is not None:
        top = np.where(town.buildings, materials.roof + town.roof, top)

    light = _cultivation(place, fields, kinds, crowns | woods | town_area | water)
    light *= _shadows(place, crowns, woods, water, town)
    hill, slope_x = _hillshade(place, fields, water)
    vigour = np.empty(grid.shape, np.float32)
    image = np.empty((4, *grid.shape), np.float32)
    _reflect(
        top, materials.spectrum, materials.plant_slope, materials.texture, fine, crown_noise,
        fields.moisture, fields.mosaic, light, hill, vigour, image,
    )  # fmt: skip
    _blend_roads(place, image, roads, paved, crowns)
    np.clip(image, 0.004, 0.95, out=image)
    image = np.stack([blur(band, _OPTICS) for band in image])
    return Surface(
        place, grid, margin, fields, kinds, materials, top, ground, vigour, crowns, woods, water,
        town, slope_x, image,
    )  # fmt: skip


def _white_noise(place: Place, grid: Grid) -> tuple[Field, Field]:
    """Noise of a pixel's width and of a crown's, each of unit variance."""
    top, left = int(grid.top), int(grid.left)
    crown = taps(place.draws.uniform("crown", 0.9, 1.5), 4)
    fields = []
    for name, weights in (("fine", _ONE_PIXEL_BLUR), ("crowns", crown)):
        field = blur(white(place.key(name), top, left, *grid.shape), weights)
        fields.append(field / np.float32((weights.astype(np.float64) ** 2).sum()))
    return fields[0], fields[1]


def _signed_distance(line: Line, grid: Grid, bend: Field | float) -> Field:
    """Distance to a line through the AOI, positive on one side, bent by a field."""
    cosine, sine = math.cos(line.angle), math.sin(line.angle)
    distance = (grid.x - line.x) * cosine + (grid.y - line.y) * sine + bend
    return np.asarray(distance, np.float32)


def _comes_near(line: Line, grid: Grid) -> bool:
    middle = Grid(grid.top + grid.height / 2, grid.left + grid.width / 2, 1, 1)
    reach = 0.71 * max(grid.shape) + 3.5 * line.bend + line.half_width + line.belt
    return abs(float(_signed_distance(line, middle, 0.0)[0, 0])) < reach


def _rivers(place: Place, fields: Fields) -> tuple[Mask, Mask]:
    """Water of the rivers, and the trees along them."""
    grid = fields.grid
    river, belt = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    for number, line in enumerate(place.rivers):
        if not _comes_near(line, grid):
            continue
        wander = fractal(place.key(f"river/{number}"), grid, line.cell, 4.6, 3)
        signed = _signed_distance(line, grid, line.bend * wander)
        down, right = np.gradient(signed)
        distance = np.abs(signed) / np.maximum(np.hypot(down, right), np.float32(0.35))
        width = line.half_width * (1 + 0.25 * fields.moisture)
        river |= distance < width
        growth = place.draws.normal(f"belt/{number}", -0.3, 0.8)
        belt |= (distance < width + line.belt) & (fields.moisture + fields.mosaic > growth)
    return river, belt


def _roads(place: Place, fields: Fields, water: Mask) -> tuple[Field, Mask, Mask]:
    """Share of each pixel that is road, where roads are paved, and where they are bridges."""
    grid = fields.grid
    share, paved = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, bool)
    for line in place.roads:
        if _comes_near(line, grid):
            distance = np.abs(_signed_distance(line, grid, line.bend * fields.warp[0]))
            one = np.clip(np.float32(line.half_width + 0.5) - distance, 0, 1)
            np.maximum(share, one, out=share)
            if line.paved:
                paved |= one > 0.5
    bridges = (share > 0.5) & water
    if not place.draws.happens("bridges", 0.6):
        bridges[:] = False
    share[water] = 0
    return share, paved & ~water, bridges


def _town(place: Place, fields: Fields, area: Mask, roads: Field) -> Town:
    """Blocks between streets, lots in blocks, one building on most lots."""
    city = place.landscape.settlement == "city"
    draws, wander = place.draws, 2.0 if city else 7.0
    width = draws.uniform("block", 24 if city else 20, 44 if city else 50)
    division = divide(
        place.key("blocks"), place.street_angle, width, width * draws.uniform("ratio", 0.5, 1.6),
        0.25,
    )  # fmt: skip
    u, v = turned(fields.grid, place.street_angle, wander * fields.warp[1], wander * fields.warp[0])
    blocks = parcels_on(division, u, v)
    streets = area & (blocks.edge < (2.0 if city else 0.8))
    roof, built = _lots(place, blocks, u, v, city=city)
    buildings = area & built & ~streets & (roads < 0.4)
    return Town(streets, buildings, roof, draws.uniform("town trees", 0.12, 0.55))


def _lots(place: Place, blocks: Parcels, u: Field, v: Field, *, city: bool) -> tuple[Index, Mask]:
    """Kind of roof of each pixel's lot, and whether the lot's building covers it."""
    chance = uniforms(place.key("lots"), blocks.column, blocks.row, 2)
    large = chance[0] < (0.35 if city else 0.05)
    size = np.where(large, 10 + 10 * chance[1], 4.5 + 3 * chance[1]).astype(np.float32)
    per_pixel = (1 / size)[blocks.label]
    ratio = np.float32(1 / place.draws.uniform("lot ratio", 0.8, 1.5))
    across, along = u * per_pixel, v * per_pixel * ratio
    column, row = np.floor(across), np.floor(along)
    across -= column
    along -= row
    lot = column.astype(np.intp) * 73856093 ^ row.astype(np.intp) * 19349663
    number = blocks.column * 7919 + blocks.row
    roof = (lot ^ (number * 83492791)[blocks.label]) & (ROOF_KINDS - 1)
    kinds = np.arange(ROOF_KINDS)
    inset, present = uniforms(place.key("roof lots"), kinds, kinds, 2)
    gap = (0.10 + 0.16 * inset)[roof]
    there = (present < (0.92 if city else 0.62))[roof]
    built = there & (across > gap) & (across < 1 - 0.5 * gap)
    return roof, built & (along > 0.7 * gap) & (along < 1 - gap)


def _crowns(
    place: Place, fields: Fields, kinds: Kinds, woods: Mask, town_area: Mask,
    town: Town | None, crown_noise: Field,
) -> Mask:  # fmt: skip
    """Trees: crown-sized blobs of noise, as many as cover the share that each land has."""
    draws, parcels = place.draws, fields.parcels
    on_open = _TREES_ON * np.float32(place.landscape.trees * draws.uniform("trees", 0.2, 1.3))
    cover = on_open[kinds.open_land] * np.exp(0.7 * fields.mosaic - 0.2)
    if draws.happens("hedges", place.landscape.hedges):
        hedge = (fields.chance[3] > 0.45) * np.float32(draws.uniform("hedge", 0.4, 0.95))
        cover += (parcels.edge < 1.3) * hedge[parcels.label] * (kinds.open_land != BARE)
    cover[woods] = 0.985 - 0.16 * abs(draws.normal("canopy", 0, 0.7))
    if town is not None:
        cover[town_area] = town.tree_cover
    steps = ((1 - np.clip(cover, 0, 0.995)) * 4096).astype(np.intp)
    return np.asarray(crown_noise > _QUANTILES[steps])


def _wetland(place: Place, fields: Fields, kinds: Kinds, town_area: Mask) -> Mask:
    """A wet rim of lakes, in some AOIs."""
    if place.shares[5] < 0.03 or not place.draws.happens("wetland", 0.4):
        return np.zeros(fields.grid.shape, bool)
    width = place.draws.uniform("wet rim", 0.03, 0.12)
    near = (kinds.depth > -width) & (kinds.depth <= 0)
    return near & (fields.moisture > -0.3) & ~town_area


def _beach(place: Place, kinds: Kinds) -> Mask:
    width = 0.03 * place.draws.uniform("beach")
    return (kinds.depth > -width) & (kinds.depth <= 0)


def _cultivation(place: Place, fields: Fields, kinds: Kinds, covered: Mask) -> Field:
    """Brightness of fields: margins, rows of tillage; and of dunes."""
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
    """A mask moved by whole pixels; what comes in from outside is False."""
    moved = np.zeros_like(mask)
    height, width = mask.shape
    moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = mask[
        max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return moved


def _shadows(place: Place, crowns: Mask, woods: Mask, water: Mask, town: Town | None) -> Field:
    """Brightness beside trees and buildings, away from the sun."""
    down, right = (-part for part in place.site.to_sun)
    step = round(1.4 * down), round(1.4 * right)
    shade = shifted(crowns, *step) & ~(crowns | woods | water)
    light = np.where(shade, np.float32(0.80), np.float32(1))
    if town is not None:
        metres = 0.6 * place.building_height_m / math.tan(place.site.sun_elevation)
        length = min(4.0, max(1.0, metres / 3))
        step = round(length * down), round(length * right)
        light[shifted(town.buildings, *step) & ~(town.buildings | water)] *= np.float32(0.62)
    return light


def _hillshade(place: Place, fields: Fields, water: Mask) -> tuple[Field, Field]:
    """Brightness of slopes that face the sun or not, and the rise to the right."""
    down, right = np.gradient(fields.elevation)
    to_sun_down, to_sun_right = place.site.to_sun
    facing = right * np.float32(-to_sun_right) + down * np.float32(-to_sun_down)
    hill = np.asarray(np.clip(1 + np.float32(22 * place.relief) * facing, 0.6, 1.4))
    hill[water] = 1
    return hill, np.asarray(right)


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


def _blend_roads(place: Place, image: Field, roads: Field, paved: Mask, crowns: Mask) -> None:
    """Mix in unpaved roads, and the edges of paved ones, by their share of the pixel."""
    where = np.flatnonzero((roads > 0) & ~crowns & ~paved)
    if not where.size:
        return
    share = roads.ravel()[where]
    for band in range(4):
        pixels = image[band].reshape(-1)
        pixels[where] += share * (1.25 * place.soil[band] - pixels[where])
