"""Read WorldCover on the grid of an AOI, from one file or from a folder of its tiles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rasterio.transform import array_bounds
from rasterio.warp import transform_bounds

from planetcr_bench.constants import PLANET_CR
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.restoration.rasters import Grid, Raster, SceneFileError, open_raster
from planetcr_bench.utils.folders import image_files
from planetcr_bench.utils.untrusted import printable

_TILE: Final = re.compile(r"(?<![A-Za-z0-9])([NS])(\d{2})([EW])(\d{3})(?![0-9])")
"""Lower left corner of a WorldCover tile in its name."""

_TILE_DEG: Final = 3


class LandCoverMap:
    """WorldCover codes on the grid of an AOI.

    Args:
        rasters: Resampled to one grid by nearest neighbour; where one has no data, the next counts.

    Raises:
        SceneFileError: One is no map of codes in bytes.
    """

    def __init__(self, rasters: Sequence[Raster]) -> None:
        for raster in rasters:
            if (raster.bands, raster.dtype) != (1, "uint8"):
                raise SceneFileError(
                    f"{printable(raster.path)}: expected a WorldCover map of one band of bytes, "
                    f"got {raster.bands} of {raster.dtype}"
                )
        self._rasters = tuple(rasters)

    def read(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """Codes of a window, 0 where there are none, shape (rows, columns).

        Raises:
            SceneFileError: A file cannot be read, or has other values than WorldCover's.
        """
        codes = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        for raster in self._rasters:
            there = raster.read([1], rows, columns)[0]
            if raster.declared_nodata not in (None, 0):
                there = np.where(there == raster.declared_nodata, 0, there)
            _expect_codes(raster, there)
            codes = np.where(codes == 0, there, codes)
        return codes


def _expect_codes(raster: Raster, values: NDArray[np.uint8]) -> None:
    """Refuse values that are no codes of WorldCover, such as classes from 1 to 6."""
    known = _codes()
    wrong = ~known[values]
    if wrong.any():
        expected = ", ".join(map(str, np.flatnonzero(known)))
        got = ", ".join(map(str, np.unique(values[wrong])[:5]))
        raise SceneFileError(
            f"{printable(raster.path)}: expected codes of WorldCover, {expected}, got {got}"
        )


@lru_cache
def _codes() -> NDArray[np.bool_]:
    """Whether a byte is a code of WorldCover or no data, shape (256,)."""
    encoding = load_description(PLANET_CR).land_cover
    assert encoding is not None
    return np.isin(np.arange(256), [code for codes in encoding.codes.values() for code in codes])


def open_land_cover(path: Path, grid: Grid, stack: ExitStack) -> LandCoverMap:
    """Open a WorldCover map, or those tiles of a folder that lie on a grid.

    Args:
        path: The file or the folder.
        grid: To resample it to.
        stack: Closes the files.

    Raises:
        SceneFileError: It cannot be used, or does not lie there.
    """
    files = _tiles(path, grid) if path.is_dir() else [path]
    return LandCoverMap([stack.enter_context(open_raster(file, like=grid)) for file in files])


def _tiles(folder: Path, grid: Grid) -> list[Path]:
    """Tiles of a folder that overlap a grid, by the corners in their names."""
    box = array_bounds(grid.height, grid.width, grid.transform)
    west, south, east, north = transform_bounds(grid.crs, "EPSG:4326", *box)
    named = [
        (path, match)
        for path in image_files(folder, error=SceneFileError)
        if (match := _TILE.search(path.name))
    ]
    if not named:
        raise SceneFileError(
            f"{printable(folder)}: expected tiles of WorldCover with their corners in their names, "
            "such as ESA_WorldCover_10m_2021_v200_N48E009_Map.tif, found none"
        )
    there = []
    for path, match in named:
        up, across = (int(match[2]) * (1 if match[1] == "N" else -1),
                      int(match[4]) * (1 if match[3] == "E" else -1))  # fmt: skip
        if across < east and across + _TILE_DEG > west and up < north and up + _TILE_DEG > south:
            there.append(path)
    if not there:
        corner = (
            f"{'N' if south >= 0 else 'S'}{abs(int(south // 3 * 3)):02d}"
            f"{'E' if west >= 0 else 'W'}{abs(int(west // 3 * 3)):03d}"
        )
        raise SceneFileError(
            f"{printable(folder)}: expected the tile {corner}, in which the scene lies, found "
            f"{', '.join(path.name for path, _ in named[:3])}{', …' if len(named) > 3 else ''}"
        )
    return there
