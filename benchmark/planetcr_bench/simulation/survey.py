"""Survey an AOI: levels of the land, cloud mask, and the patches to use.

As in the paper (Sec. 3.1), an AOI is cut into windows, from which those are chosen that balance
cloud cover and land cover. The order is fixed, so a smaller dataset is a subset of a larger one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import COVER_BINS, LAND_COVER, OPTICAL_SIZE, cover_bin
from planetcr_bench.simulation.land import class_shares, fields_on, kinds_on, levels_of
from planetcr_bench.simulation.noise import Grid, white
from planetcr_bench.simulation.place import AOI_PX, WINDOWS, Place
from planetcr_bench.simulation.sky import MaskCells, mask_cells, mask_on

_COARSE: Final = 20
"""Optical pixels between the samples for levels and class shares."""

_MASK_STEP: Final = 6

_CHOICE: Final = 3
"""Patches of a bin among which class shares decide."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Properties of a whole AOI, computed before any of its pixels.

    Attributes:
        place: Its parameters.
        levels: See ``levels_of``.
        mask: Its cloud mask.
        patches: Numbers of its patches, 1 … 144 row by row, in the order in which they are used.
    """

    place: Place
    levels: dict[str, float]
    mask: MaskCells
    patches: tuple[int, ...]


@lru_cache(2)
def survey_of(place: Place) -> Survey:
    """Survey an AOI; the last two surveys are cached."""
    samples = AOI_PX // _COARSE
    fields = fields_on(place, Grid(0, 0, samples, samples, _COARSE))
    levels = levels_of(place, fields)
    kinds = kinds_on(place, fields, levels)
    shares = np.array([class_shares(kinds[window]) for window in _windows(samples)])
    mask = mask_cells(place)
    samples = AOI_PX // _MASK_STEP
    cloudy = mask_on(mask, Grid(0, 0, samples, samples, _MASK_STEP))
    covers = np.array([cloudy[window].mean() for window in _windows(samples)])
    return Survey(place, levels, mask, tuple(_order(covers, shares, place)))


def _windows(samples: int) -> list[tuple[slice, slice]]:
    side = samples // WINDOWS
    steps = [slice(i * side, (i + 1) * side) for i in range(WINDOWS)]
    return [(rows, columns) for rows in steps for columns in steps]


def _order(covers: NDArray[np.float64], shares: NDArray[np.float64], place: Place) -> list[int]:
    """Order patches so that any number of the first ones is balanced in bins and classes.

    Each next patch comes from the cloud-cover bin used least so far (AOIs start with different
    bins); of a few patches of this bin, it is the one that best balances the class shares. With all
    instead of a few, every patch would show the one spot where all classes meet.
    """
    bins = np.array([COVER_BINS.index(cover_bin(cover)) for cover in covers])
    start = place.number % len(COVER_BINS)
    shuffle = white(place.key("patches"), 0, 0, 1, len(covers))[0]
    used = np.zeros(len(COVER_BINS), int)
    total = np.zeros(len(LAND_COVER))
    left = set(range(len(covers)))
    order = []
    while left:
        there = {int(bins[window]) for window in left}
        wanted = min(there, key=lambda cover: (used[cover], (cover - start) % len(COVER_BINS)))
        some = sorted((w for w in left if bins[w] == wanted), key=lambda w: shuffle[w])[:_CHOICE]
        uneven = ((total + shares[some]) ** 2).sum(1)
        window = some[int(uneven.argmin())]
        left.remove(window)
        used[wanted] += 1
        total += shares[window]
        order.append(window + 1)
    return order


def window_of(patch: int, margin: int = 0) -> Grid:
    """Optical grid of a patch, with a margin around it."""
    row, column = divmod(patch - 1, WINDOWS)
    side = OPTICAL_SIZE + 2 * margin
    return Grid(row * OPTICAL_SIZE - margin, column * OPTICAL_SIZE - margin, side, side)
