"""Render WorldCover codes at 10 m, with the errors of such maps."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import OPTICAL_RESOLUTION_M
from planetcr_bench.simulation.noise import Grid, noise
from planetcr_bench.simulation.place import SAR_RESOLUTION_M, SAR_SIZE
from planetcr_bench.simulation.resampling import box, resample
from planetcr_bench.simulation.surface import Surface

_SCALE: Final = SAR_RESOLUTION_M / OPTICAL_RESOLUTION_M
_FAVOUR: Final = {10: 1.25, 80: 1.15, 50: 1.1, 20: 0.8}
"""Bias of the map: trees, water and towns win over the land between them."""


def fine_codes(surface: Surface) -> NDArray[np.uint8]:
    """True WorldCover code of each 3 m pixel, with the margin."""
    return surface.materials.code[surface.top]


def worldcover(surface: Surface) -> NDArray[np.uint8]:
    """The 10 m map: the class that covers most of a pixel and its neighbours, with some errors.

    Returns:
        Codes 10, 20, 30, 40, 50, 60, 80 and 90, shape (h, w) without the margin. Roads, hedges and
        brooks are too thin to appear.
    """
    place = surface.place
    fine = fine_codes(surface)
    down, right = place.site.coarse_offset_px
    count, edge = SAR_SIZE + 2, surface.margin - _SCALE  # one more on each side for the neighbours
    rows = box(count, surface.grid.height, _SCALE, edge + down)
    columns = box(count, surface.grid.width, _SCALE, edge + right)
    top = (surface.grid.top + surface.margin) / _SCALE
    left = (surface.grid.left + surface.margin) / _SCALE
    grid = Grid(top, left, SAR_SIZE, SAR_SIZE)
    best = np.full(grid.shape, -9, np.float32)
    codes = np.zeros(grid.shape, np.uint8)
    for code in np.flatnonzero(np.bincount(fine.ravel())).tolist():
        share = resample((fine == code).astype(np.float32), rows, columns)
        around = sum(share[i : i + SAR_SIZE, j : j + SAR_SIZE] for i in range(3) for j in range(3))
        error = 0.10 * noise(place.key(f"map error/{code}"), grid, 5)
        score = (0.5 * share[1:-1, 1:-1] + around / 18 + error) * np.float32(_FAVOUR.get(code, 1))
        better = score > best
        best[better], codes[better] = score[better], code
    return codes
