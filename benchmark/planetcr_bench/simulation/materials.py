"""Build the table of materials that optics, radar and land cover share.

Its rows for a window: four per parcel (as crop, grass, shrub or bare land), then the materials
that the whole AOI shares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.simulation import catalogue as known
from planetcr_bench.simulation.catalogue import BARE, CROP, GRASS, SHRUB
from planetcr_bench.simulation.land import Fields
from planetcr_bench.simulation.noise import Draws, Field
from planetcr_bench.simulation.place import Place

TREE_KINDS: Final = 8
"""Trees of slightly different colour, each with its own forest floor."""

ROOF_KINDS: Final = 256

_FINE_PLANTS: Final = (0.009, 0.020, 0.028, 0.006)  # crop, grass, shrub, bare
_BROAD_PLANTS: Final = (0.0, 0.10, 0.09, 0.045)
_MOIST_DB: Final = np.array((1.3, 0.8), np.float32)
_FLOOD_DB: Final = np.array((5.0, 4.0), np.float32)


@dataclass(frozen=True, slots=True)
class Materials:
    """Properties of n materials.

    Attributes:
        spectrum: Mean reflectance, shape (4, n).
        plant_slope: Change of reflectance per change of plant cover, shape (4, n).
        texture: Response of plant cover to fine noise and broad fields, and of brightness to fine
            noise, moisture and crowns; shape (5, n).
        ground_db: Backscatter in dB, shape (2, n).
        plant_db: Its change per change of plant cover, shape (2, n).
        moist_db: Its change per standard deviation of moisture, shape (2, n).
        code: WorldCover code, shape (n,).
        tree: First of the trees; floor, street and so on likewise.
    """

    spectrum: Field
    plant_slope: Field
    texture: Field
    ground_db: Field
    plant_db: Field
    moist_db: Field
    code: NDArray[np.uint8]
    tree: int
    floor: int
    street: int
    yard: int
    paved: int
    water: int
    beach: int
    wetland: int
    bridge: int
    roof: int


def materials_of(place: Place, fields: Fields) -> Materials:
    """Compute the materials of a window."""
    parcels = 4 * len(fields.parcels.column)
    tree = parcels
    floor = tree + TREE_KINDS
    street = floor + TREE_KINDS
    roof = street + 7
    count = roof + ROOF_KINDS
    table = Materials(
        spectrum=np.zeros((4, count), np.float32),
        plant_slope=np.zeros((4, count), np.float32),
        texture=np.zeros((5, count), np.float32),
        ground_db=np.zeros((2, count), np.float32),
        plant_db=np.zeros((2, count), np.float32),
        moist_db=np.zeros((2, count), np.float32),
        code=np.zeros(count, np.uint8),
        tree=tree, floor=floor, street=street, yard=street + 1, paved=street + 2,
        water=street + 3, beach=street + 4, wetland=street + 5, bridge=street + 6, roof=roof,
    )  # fmt: skip
    table.texture[2] = 0.025
    for cover in (CROP, GRASS, SHRUB, BARE):
        _fill_open_land(table, place, fields.chance, cover)
    _fill_trees(table, place)
    _fill_town(table, place)
    _fill_waters(table, place)
    return table


def _plants(place: Place, chance: Field, cover: int) -> tuple[Field, Field, Field]:
    """Share of each parcel under green and under dry plants, and the jitter of the parcel."""
    jitter = chance[5] - np.float32(0.5)
    if cover == CROP:
        crop = _crop_of(place, chance)
        states = np.array([(state.green, state.dry) for state in place.crops], np.float32)
        green = np.clip(states[crop, 0] + 0.16 * jitter, 0, 0.97)
        dry = states[crop, 1] - 0.1 * jitter
    elif cover == GRASS:
        green = np.clip(0.68 * place.greenness + 0.12 * jitter, 0, 0.95)
        dry = 0.35 * (1 - green) + 0.1 * jitter
    elif cover == SHRUB:
        green = np.clip(0.75 * place.greenness + 0.08 * jitter, 0, 0.95)
        dry = 0.35 * (1 - green)
    else:
        green, dry = np.full_like(jitter, 0.03), np.full_like(jitter, 0.05)
    return green, np.clip(dry, 0, 1 - green), jitter


def _crop_of(place: Place, chance: Field) -> NDArray[np.intp]:
    return np.asarray(chance[4] * np.float32(len(place.crops)), np.intp)


def _fill_open_land(table: Materials, place: Place, chance: Field, cover: int) -> None:
    green, dry, jitter = _plants(place, chance, cover)
    bare = 1 - green - dry
    soil_gain, nir_gain = np.exp(0.10 * jitter), np.ones_like(jitter)
    wet = np.zeros(jitter.shape, bool)
    structure = np.stack([0.8 * jitter, 0.8 * jitter])
    if cover == CROP:
        crop = _crop_of(place, chance)
        states = [(kind.soil_gain, kind.nir_gain, kind.flooded, *kind.db) for kind in place.crops]
        soil, nir, flooded, vv, vh = np.array(states, np.float32).T[:, crop]
        soil_gain, nir_gain, wet = soil * np.exp(0.18 * jitter), nir, flooded > 0
        structure = np.stack([vv, vh]) * (0.4 + 0.6 * green)
    rows = slice(cover, table.tree, 4)
    for band in range(4):
        leaf = known.GREEN_PLANTS[cover, band] * (nir_gain if band == 3 else 1)
        soil = soil_gain * place.soil[band]
        dry_ground = green * leaf + dry * known.DRY_PLANTS[band] + bare * soil
        under_water = 0.55 * known.WATERS["turbid"][band] + 0.32 * dry_ground
        table.spectrum[band, rows] = np.where(wet, under_water, dry_ground)
        slope = leaf - 0.4 * known.DRY_PLANTS[band] - 0.6 * soil
        table.plant_slope[band, rows] = np.where(wet, 0.3, 1) * slope
    mixed = np.minimum(4 * green * (1 - green), 1)
    broad = 0.01 + 0.08 * mixed if cover == CROP else _BROAD_PLANTS[cover]
    table.texture[:4, rows] = np.stack(
        [
            np.full_like(green, _FINE_PLANTS[cover]),
            np.broadcast_to(np.float32(broad), green.shape),
            0.008 + 0.014 * bare,
            -0.03 - 0.09 * bare,
        ]
    )
    canopy = np.minimum(1.05 * green + 0.25 * dry, 1)
    for channel in range(2):
        ground, full = known.GROUND_DB[cover, channel], known.CANOPY_DB[cover, channel]
        calm = np.where(wet, _FLOOD_DB[channel] * (1 - 0.7 * green), 0)
        table.ground_db[channel, rows] = (
            ground + (full - ground) * canopy + structure[channel] - calm
        )
        table.plant_db[channel, rows] = full - ground
        table.moist_db[channel, rows] = _MOIST_DB[channel] * (1 - 0.6 * green)
    table.code[rows] = (40, 30, 20, 60)[cover]
    if cover == GRASS:
        table.code[rows][green < 0.09] = 60


def _fill_trees(table: Materials, place: Place) -> None:
    trees, floors = slice(table.tree, table.floor), slice(table.floor, table.street)
    leaf = place.leaf
    spectrum = leaf * known.LEAVES[place.tree_kind] + (1 - leaf) * known.TWIGS
    gain = np.exp(place.draws.normals("tree", TREE_KINDS, 0.08))
    table.spectrum[:, trees] = spectrum[:, None] * gain
    table.plant_slope[:, trees] = np.array([[-0.012], [-0.012], [-0.012], [0.12]])
    table.texture[:, trees] = np.array([[0], [0.18], [0.015], [0], [0.085]])
    floor = 0.5 * spectrum + 0.25 * place.soil + 0.05 * known.DRY_PLANTS
    table.spectrum[:, floors] = (floor * np.array([0.70, 0.70, 0.70, 0.76]))[:, None]
    table.texture[4, floors] = 0.08
    decibels = known.TWIGS_DB + (known.LEAVES_DB - known.TWIGS_DB) * leaf
    table.ground_db[:, trees] = decibels[:, None]
    table.ground_db[:, floors] = decibels[:, None] - 1.5
    table.moist_db[:, floors] = 0.5
    table.code[table.tree : table.street] = 10


def _fill_town(table: Materials, place: Place) -> None:
    settlement = place.landscape.settlement
    table.spectrum[:, table.street] = known.ASPHALT if settlement == "city" else 1.15 * place.soil
    sealed = place.draws.uniform("sealed", 0.1, 0.6)
    garden = 0.5 * known.GREEN_PLANTS[GRASS] * max(place.greenness, 0.3) + 0.5 * place.soil
    yard = sealed * (0.6 * known.CONCRETE + 0.4 * place.soil) + (1 - sealed) * garden
    table.spectrum[:, table.yard] = yard
    table.spectrum[:, table.paved] = known.ASPHALT
    table.texture[2, [table.street, table.yard]] = 0.06, 0.11
    table.ground_db[:, table.street] = known.STREET_DB
    table.ground_db[:, table.yard] = known.YARD_DB
    table.ground_db[:, table.paved] = known.PAVED_DB
    table.code[[table.street, table.yard, table.paved]] = 50
    roofs = slice(table.roof, None)
    table.spectrum[:, roofs] = _roofs(place)
    table.texture[2, roofs] = 0.04
    table.ground_db[:, roofs] = known.YARD_DB[:, None]
    table.code[roofs] = 50


@lru_cache(4)
def _roofs(place: Place) -> Field:
    """Reflectance of each kind of roof, shape (4, ``ROOF_KINDS``)."""
    draws = Draws(f"{place.draws.name}/roof")
    shares = known.ROOF_SHARES[place.landscape.settlement]
    weights = {str(kind): share for kind, share in enumerate(shares)}
    kinds = [int(draws.one_of(f"kind/{i}", weights)) for i in range(ROOF_KINDS)]
    gain = np.exp(draws.normals("gain", ROOF_KINDS, 0.16))
    return np.asarray(known.ROOFS[kinds].T * gain, np.float32)


def _fill_waters(table: Materials, place: Place) -> None:
    wind = place.draws.normal("wind", 0, 2.2)
    table.spectrum[:, table.water] = place.water
    table.plant_slope[:, table.water] = 0.25 * known.WATERS["turbid"]
    table.texture[:4, table.water] = 0, 0.5, 0.02, 0.12
    table.ground_db[:, table.water] = known.WATER_DB + wind * np.array([1, 0.5])
    table.spectrum[:, table.beach] = 0.8 * known.SOILS["sand"]
    table.texture[2, [table.beach, table.wetland]] = 0.05, 0.12
    table.ground_db[:, table.beach] = known.BEACH_DB
    table.spectrum[:, table.wetland] = (
        0.55 * known.GREEN_PLANTS[GRASS] + 0.45 * known.WATERS["green"]
    )
    table.ground_db[:, table.wetland] = known.WETLAND_DB
    table.spectrum[:, table.bridge] = 1.3 * known.ASPHALT
    table.ground_db[:, table.bridge] = known.BRIDGE_DB
    table.code[table.water : table.roof] = 80, 60, 90, 80


@lru_cache(4)
def roof_echoes(place: Place) -> Field:
    """Echo of each kind of roof relative to the mean building, linear, shape (``ROOF_KINDS``,).

    Streets along or across the look direction of the radar give strong corner echoes.
    """
    corner = 1 + 1.2 * abs(math.cos(2 * place.street_angle))
    spread = Draws(f"{place.draws.name}/echo").normals("roof", ROOF_KINDS, 0.9)
    return np.asarray(np.exp(spread) * corner, np.float32)
