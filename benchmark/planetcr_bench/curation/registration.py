"""Measure by how much the two dates of an AOI are displaced, where both are clear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import OPTICAL_BANDS, OPTICAL_RESOLUTION_M
from planetcr_bench.curation.frame import BLOCK_PX
from planetcr_bench.curation.pair import Pair

_TILE: Final = 10
"""Blocks along a side of the tiles that are compared: 300 m."""

_MOST: Final = 24
"""Tiles that are compared; more make the median hardly better."""

_PER_PIXEL: Final = 10
"""Steps per pixel of the measured displacement."""

_FEWEST: Final = 3
"""Tiles from which a displacement is believed."""

_FLAT: Final = 0.01
"""Standard deviation of reflectance below which a tile shows nothing, such as water."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Displacement of the cloudy date against the clear one, the median over tiles.

    Attributes:
        down_m: Metres towards the south; nan where too few tiles are clear.
        right_m: Metres towards the east.
        tiles: Tiles that were compared.
    """

    down_m: float
    right_m: float
    tiles: int

    @property
    def metres(self) -> float:
        """Its length."""
        return float(np.hypot(self.down_m, self.right_m))


def measure_shift(pair: Pair, clear: NDArray[np.bool_]) -> Shift:
    """Compare tiles that both dates show without cloud, by phase correlation in near-infrared.

    Haze and the thin cloud that masks miss are faintest in that band. Tiles without contrast, such
    as water, are left out.

    Args:
        pair: The two dates.
        clear: Blocks that both dates show and no cloud covers.

    Raises:
        SceneFileError: A file cannot be read.
    """
    from skimage.registration import phase_cross_correlation

    found = []
    for top, left in _tiles(clear):
        before, after = (
            scene.read(*_pixels(top, left)).reflectance[OPTICAL_BANDS.index("nir")]
            for scene in (pair.cloudy, pair.clear)
        )
        if min(before.std(), after.std()) < _FLAT:
            continue
        moved, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
            _faded(before), _faded(after), upsample_factor=_PER_PIXEL
        )
        found.append(moved)
    if len(found) < _FEWEST:
        return Shift(float("nan"), float("nan"), len(found))
    down, right = np.median(found, axis=0) * OPTICAL_RESOLUTION_M
    return Shift(float(down), float(right), len(found))


def _tiles(clear: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Row and column of the first block of tiles without cloud, evenly from all over the AOI."""
    down, across = (size // _TILE for size in clear.shape)
    whole = clear[: down * _TILE, : across * _TILE].reshape(down, _TILE, across, _TILE)
    there = np.argwhere(whole.all((1, 3))) * _TILE
    step = max(1, -(-len(there) // _MOST))
    return [(int(row), int(column)) for row, column in there[::step]]


def _pixels(top: int, left: int) -> tuple[slice, slice]:
    return (
        slice(top * BLOCK_PX, (top + _TILE) * BLOCK_PX),
        slice(left * BLOCK_PX, (left + _TILE) * BLOCK_PX),
    )


def _faded(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without its mean, and faded towards the borders, whose jump would look like no shift."""
    rows, columns = (np.hanning(size).astype(np.float32) for size in image.shape)
    return np.asarray((image - image.mean()) * rows[:, None] * columns[None, :], np.float32)
