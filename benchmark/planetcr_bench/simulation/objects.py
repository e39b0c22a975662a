"""Place rivers, roads, towns and trees on the land of a window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from planetcr_bench.simulation.catalogue import BARE
from planetcr_bench.simulation.land import (
    Fields,
    Index,
    Kinds,
    Mask,
    Parcels,
    divide,
    parcels_on,
    turned,
)
from planetcr_bench.simulation.materials import ROOF_KINDS
from planetcr_bench.simulation.noise import Field, Grid, fractal, uniforms
from planetcr_bench.simulation.place import Line, Place

_QUANTILES: Final = np.array(
    [NormalDist().inv_cdf(min(max(i / 4096, 1e-4), 1 - 1e-4)) for i in range(4097)], np.float32
)
_TREES_ON: Final = np.array((0.06, 0.7, 1.3, 0.2), np.float32)  # crop, grass, shrub, bare


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
class Objects:
    """Objects of a window; each an array of its shape.

    Attributes:
        water: Lakes and rivers.
        wetland: Wet shores of lakes.
        beach: Dry shores of lakes.
        woods: Forest, with the belts along rivers.
        crowns: Trees, inside and outside of woods.
        roads: Share of each pixel that is road, 0 to 1.
        paved: Paved roads.
        bridges: Roads over rivers.
        town_area: Settled land.
        town: Streets and buildings; None where there are none.
    """

    water: Mask
    wetland: Mask
    beach: Mask
    woods: Mask
    crowns: Mask
    roads: Field
    paved: Mask
    bridges: Mask
    town_area: Mask
    town: Town | None


def objects_on(place: Place, fields: Fields, kinds: Kinds, crown_noise: Field) -> Objects:
    """Place all objects of a window.

    Args:
        place: The AOI.
        fields: Random fields of the land.
        kinds: Kinds of land.
        crown_noise: Noise of the width of a crown, of unit variance.
    """
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
    return Objects(
        water, _wetland(place, fields, kinds, town_area), _beach(place, kinds), woods, crowns,
        roads, paved, bridges & ~kinds.water, town_area, town,
    )  # fmt: skip


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
            line_share = np.clip(np.float32(line.half_width + 0.5) - distance, 0, 1)
            np.maximum(share, line_share, out=share)
            if line.paved:
                paved |= line_share > 0.5
    bridges = (share > 0.5) & water
    if not place.draws.happens("bridges", 0.6):
        bridges[:] = False
    share[water] = 0
    return share, paved & ~water, bridges


def _town(place: Place, fields: Fields, area: Mask, roads: Field) -> Town:
    """Place blocks between streets, lots in blocks, and one building on most lots."""
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
    """Place trees: crown-sized blobs of noise that cover the share of each kind of land."""
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
    """Wet shores of lakes, in some AOIs."""
    if place.shares[5] < 0.03 or not place.draws.happens("wetland", 0.4):
        return np.zeros(fields.grid.shape, bool)
    width = place.draws.uniform("wet rim", 0.03, 0.12)
    near = (kinds.depth > -width) & (kinds.depth <= 0)
    return near & (fields.moisture > -0.3) & ~town_area


def _beach(place: Place, kinds: Kinds) -> Mask:
    width = 0.03 * place.draws.uniform("beach")
    return (kinds.depth > -width) & (kinds.depth <= 0)
