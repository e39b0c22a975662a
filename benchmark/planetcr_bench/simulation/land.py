"""Divide the land of an AOI into fields, parcels, forest, towns and lakes.

The same functions work on the pixels of a patch and, at a coarse step, on the whole AOI. The latter
gives the levels at which each kind has its share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.simulation.catalogue import BARE, CROP, GRASS, SHRUB
from planetcr_bench.simulation.noise import Field, Grid, fractal, noise, uniforms
from planetcr_bench.simulation.place import AOI_PX, Place
from planetcr_bench.utils.compiled import compiled

Mask = NDArray[np.bool_]
Index = NDArray[np.intp]

SHRUB_SHARE: Final = 0.45
"""Shrubs among the open land that is neither cropped nor bare."""

CHANCES: Final = 8
"""Number of random numbers per parcel."""


@dataclass(frozen=True, slots=True)
class Division:
    """A plane cut into columns of irregular width, each cut into rows of its own length.

    Attributes:
        angle: Direction of the cuts in radians.
        edges: Where the columns begin, ascending, shape (n + 1,).
        lookup: Column at each whole position from the first edge on.
        length: Length of the rows of each column, shape (n,).
        phase: Where the first row of each column begins.
    """

    angle: float
    edges: Field
    lookup: NDArray[np.int64]
    length: Field
    phase: Field


@dataclass(frozen=True, slots=True)
class Parcels:
    """Parcel of each sample.

    Attributes:
        label: Number of the parcel among those on the grid, from 0.
        column: Column of each parcel in the AOI's division, shape (n,).
        row: Row of each parcel, shape (n,).
        edge: Distance of each sample to the nearest border, pixels.
    """

    label: Index
    column: NDArray[np.int64]
    row: NDArray[np.int64]
    edge: Field


def _extent() -> float:
    """Largest distance of a point of an AOI, with its margins and the warp of its borders."""
    return 1.5 * AOI_PX


@lru_cache(8)
def divide(key: int, angle: float, width: float, length: float, spread: float) -> Division:
    """Cut the plane of an AOI.

    Args:
        key: Names the cuts.
        angle: Their direction in radians.
        width: Typical width of a column, pixels.
        length: Typical length of a row.
        spread: Standard deviation of the logarithm of both.
    """
    count = int(2 * _extent() / width * 1.4) + 8
    numbers = uniforms(key, np.arange(count), np.zeros(count, np.int64), 3)
    widths = np.maximum(width * np.exp(spread * _normal_like(numbers[0])), 3)
    edges = np.concatenate([[0], np.cumsum(widths)]) - _extent()
    lookup = np.searchsorted(edges, np.arange(int(edges[-1] - edges[0])) + edges[0], "right") - 1
    return Division(
        angle=angle,
        edges=edges.astype(np.float32),
        lookup=lookup,
        length=np.maximum(length * np.exp(spread * _normal_like(numbers[1])), 3),
        phase=numbers[2] * np.float32(3 * length),
    )


def _normal_like(uniform: Field) -> Field:
    """Logistic number of unit variance, close enough to a normal one for widths."""
    return np.asarray(np.log(uniform / (1 - uniform)) * np.float32(math.sqrt(3) / math.pi))


@compiled
def _locate(
    u: Field, v: Field, edges: Field, lookup: NDArray[np.int64], length: Field, phase: Field,
    column: NDArray[np.int64], row: NDArray[np.int64], edge: Field,
) -> None:  # fmt: skip
    first = edges[0]
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            c = lookup[int(u[i, j] - first)]
            while edges[c + 1] <= u[i, j]:
                c += 1
            along = (v[i, j] + phase[c]) / length[c]
            r = math.floor(along)
            part = along - r
            column[i, j], row[i, j] = c, np.int64(r)
            across = min(u[i, j] - edges[c], edges[c + 1] - u[i, j])
            edge[i, j] = min(across, min(part, 1 - part) * length[c])


@compiled
def _label(
    column: NDArray[np.int64], row: NDArray[np.int64], seen: NDArray[np.int64], label: Index,
    columns: NDArray[np.int64], rows: NDArray[np.int64],
) -> int:  # fmt: skip
    """Number the (column, row) pairs in order of appearance."""
    first_column, first_row, count = column.min(), row.min(), 0
    for i in range(column.shape[0]):
        for j in range(column.shape[1]):
            c, r = column[i, j] - first_column, row[i, j] - first_row
            if seen[c, r] < 0:
                columns[count], rows[count] = column[i, j], row[i, j]
                seen[c, r] = count
                count += 1
            label[i, j] = seen[c, r]
    return count


def parcels_on(division: Division, u: Field, v: Field) -> Parcels:
    """Find the parcel of each sample.

    Args:
        division: How the AOI is cut.
        u: Position across the columns.
        v: Position along them.
    """
    column, row = np.empty(u.shape, np.int64), np.empty(u.shape, np.int64)
    edge, label = np.empty(u.shape, np.float32), np.empty(u.shape, np.intp)
    _locate(
        u, v, division.edges, division.lookup, division.length, division.phase, column, row, edge
    )
    seen = np.full((np.ptp(column) + 1, np.ptp(row) + 1), -1, np.int64)
    columns, rows = np.empty(u.size, np.int64), np.empty(u.size, np.int64)
    count = _label(column, row, seen, label, columns, rows)
    return Parcels(label, columns[:count], rows[:count], edge)


def turned(grid: Grid, angle: float, warp_u: Field, warp_v: Field) -> tuple[Field, Field]:
    """Positions across and along cuts of a direction, slightly distorted."""
    cosine, sine = math.cos(angle), math.sin(angle)
    u = grid.x * cosine + grid.y * sine + warp_u
    v = grid.y * cosine - grid.x * sine + warp_v
    return u, v


@dataclass(frozen=True, slots=True)
class Fields:
    """Random fields that determine the land, each of unit variance on the grid.

    Attributes:
        grid: The grid.
        mosaic: Small-scale mosaic of plants.
        region: Regions of land use.
        moisture: Wet and dry ground.
        elevation: High and low ground.
        warp: Two fields that distort borders.
        parcels: Parcels of open land.
        along: Position along the parcels, pixels; tillage follows it.
        chance: Numbers in (0, 1) of each parcel, shape (``CHANCES``, parcels).
    """

    grid: Grid
    mosaic: Field
    region: Field
    moisture: Field
    elevation: Field
    warp: tuple[Field, Field]
    parcels: Parcels
    along: Field
    chance: Field


def fields_on(place: Place, grid: Grid) -> Fields:
    """Compute all fields of a place on a grid."""
    warp = noise(place.key("warp u"), grid, 65), noise(place.key("warp v"), grid, 65)
    width, length = place.parcel_px
    division = divide(place.key("parcels"), place.parcel_angle, width, length, 0.45)
    wander = place.landscape.warp_px
    u, v = turned(grid, place.parcel_angle, wander * warp[0], wander * warp[1])
    parcels = parcels_on(division, u, v)
    return Fields(
        grid=grid,
        mosaic=fractal(place.key("mosaic"), grid, 320, 3.4, 6, finest=4),
        region=fractal(place.key("region"), grid, 320, 3.8, 5),
        moisture=fractal(place.key("moisture"), grid, 220, 2.9, 6),
        elevation=fractal(place.key("elevation"), grid, 320, 4.2, 5),
        warp=warp,
        parcels=parcels,
        along=v,
        chance=uniforms(place.key("chance"), parcels.column, parcels.row, CHANCES),
    )


def scores_on(place: Place, fields: Fields) -> dict[str, Field]:
    """Score of each kind of land at each sample; thresholding it gives the kind its share."""
    chance, label = fields.chance, fields.parcels.label
    crop = -0.65 * fields.region + 0.35 * fields.moisture
    bound = 0.5 if place.landscape_name == "forest" else 0.9
    return {
        "crop": -(crop + (1.6 * (chance[0] - 0.5))[label]),
        "shrub": fields.moisture + 0.6 * fields.mosaic,
        "bare": 0.8 * fields.region + 0.5 * fields.moisture,
        "forest": fields.mosaic + (bound * (chance[2] - 0.5))[label],
        "town": fields.region + 0.25 * fields.moisture,
        "water": -(fields.elevation + 0.12 * fields.mosaic),
    }


def levels_of(place: Place, fields: Fields) -> dict[str, float]:
    """Threshold of the score of each kind of land, from fields of the whole AOI.

    Each kind takes its share of what the kinds before it have left.
    """
    crop, _, forest, town, bare, water = place.shares.tolist()
    shares = {"water": water, "town": town, "forest": forest, "crop": crop, "bare": bare}
    scores = scores_on(place, fields)
    levels = {"shrub": float(np.quantile(scores["shrub"], 1 - SHRUB_SHARE))}
    left = np.ones(fields.grid.shape, bool)
    for kind, share in shares.items():
        part = min(share / max(float(left.mean()), 1e-6), 1.0)
        levels[kind] = float(np.quantile(scores[kind][left], 1 - part))
        left &= scores[kind] <= levels[kind]
    return levels


@dataclass(frozen=True, slots=True)
class Kinds:
    """Kinds of land on a grid.

    Attributes:
        open_land: ``CROP``, ``GRASS``, ``SHRUB`` or ``BARE``, whatever covers it.
        forest: Where there is forest.
        town: Where there are towns.
        water: Lakes and sea.
        depth: How far the water score is above its level; negative on land.
    """

    open_land: NDArray[np.uint8]
    forest: Mask
    town: Mask
    water: Mask
    depth: Field

    def __getitem__(self, part: tuple[slice, slice]) -> Kinds:
        """The kinds of land on a part of the grid."""
        return Kinds(*(getattr(self, name)[part] for name in self.__slots__))


def kinds_on(place: Place, fields: Fields, levels: dict[str, float]) -> Kinds:
    """Derive the kinds of land from their scores; water precedes towns, towns precede forest."""
    scores = scores_on(place, fields)
    above = {kind: score > levels[kind] for kind, score in scores.items()}
    open_land = np.where(above["shrub"], np.uint8(SHRUB), np.uint8(GRASS))
    open_land[above["bare"]] = BARE
    open_land[above["crop"]] = CROP
    water = above["water"]
    town = above["town"] & ~water
    forest = above["forest"] & ~(water | town)
    return Kinds(open_land, forest, town, water, scores["water"] - np.float32(levels["water"]))


def class_shares(kinds: Kinds) -> NDArray[np.float64]:
    """Shares of the six land-cover classes of the benchmark, in its order, before any object."""
    covered = kinds.forest | kinds.town | kinds.water
    bare_ground = ~covered
    counts = [
        kinds.forest.sum(),
        (bare_ground & ((kinds.open_land == GRASS) | (kinds.open_land == SHRUB))).sum(),
        (bare_ground & (kinds.open_land == CROP)).sum(),
        kinds.town.sum(),
        (bare_ground & (kinds.open_land == BARE)).sum(),
        kinds.water.sum(),
    ]
    return np.array(counts) / covered.size
