"""Put the products of an AOI on two grids: 3 m for optical images, 10 m for SAR and land cover.

Both begin at the same corner, to 2 m, and share blocks of 30 m: 10 × 10 optical pixels and 3 × 3 of
the others. Patches begin at blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.transform import array_bounds
from rasterio.warp import transform as to_coordinates
from rasterio.warp import transform_bounds

from planetcr_bench.constants import OPTICAL_RESOLUTION_M, OPTICAL_SIZE
from planetcr_bench.data.grids import crs_name, crs_text
from planetcr_bench.data.raster import UNREADABLE, reason
from planetcr_bench.restoration.rasters import Grid, SceneFileError
from planetcr_bench.utils.untrusted import printable

BLOCK_PX: Final = 10
"""Optical pixels along a side of a block."""

BLOCK_COARSE: Final = 3
"""Pixels of SAR and land cover along a side of a block."""

COARSE_M: Final = 10.0
"""Pixels of SAR and land cover."""

COARSE_SIZE: Final = OPTICAL_SIZE // BLOCK_PX * BLOCK_COARSE
"""Pixels along one side of a SAR or land-cover patch: 90 (paper, Sec. 3.1)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The two grids of an AOI.

    Attributes:
        optical: Of 3 m.
        coarse: Of 10 m, for SAR and land cover.
    """

    optical: Grid
    coarse: Grid

    @property
    def blocks(self) -> tuple[int, int]:
        """Whole blocks down and across."""
        return self.optical.height // BLOCK_PX, self.optical.width // BLOCK_PX

    @property
    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of the middle, degrees."""
        return centre_of(self.optical)

    def windows(self, stride: int = OPTICAL_SIZE) -> tuple[int, int]:
        """Patches down and across.

        Args:
            stride: Optical pixels from one to the next.
        """
        down, across = (
            max(0, (size * BLOCK_PX - OPTICAL_SIZE) // stride + 1) for size in self.blocks
        )
        return down, across


def centre_of(grid: Grid) -> tuple[float, float]:
    """Longitude and latitude of the middle of a grid, degrees."""
    east, north = grid.transform @ (grid.width / 2, grid.height / 2)
    (longitude, *_), (latitude, *_) = to_coordinates(grid.crs, "EPSG:4326", [east], [north])
    return longitude, latitude


def frame_of_scene(path: Path, grid: Grid) -> Frame:
    """The grid of a scene itself, with the coarse one from the same corner.

    Args:
        path: Of the scene, for messages.
        grid: Of the scene.

    Raises:
        SceneFileError: Its pixels are not of 3 m in a projected coordinate system, or it is smaller
            than a patch.
    """
    plain = not (grid.transform.b or grid.transform.d) and not grid.crs.is_geographic
    if not plain or abs(grid.pixel_m / OPTICAL_RESOLUTION_M - 1) > 0.01:
        raise SceneFileError(
            f"{printable(path)}: expected pixels of 3 m in a projected coordinate system, as the "
            f"patches have, got {grid}; GDAL's `gdalwarp -t_srs EPSG:326… -tr 3 3` makes them"
        )
    if min(grid.height, grid.width) < OPTICAL_SIZE:
        raise SceneFileError(
            f"{printable(path)}: expected at least {OPTICAL_SIZE} × {OPTICAL_SIZE} pixels, got "
            f"{grid.width} × {grid.height}"
        )
    per_coarse = BLOCK_PX / BLOCK_COARSE
    coarse = Grid(
        grid.crs,
        grid.transform @ Affine.scale(per_coarse),
        int(grid.height / per_coarse),
        int(grid.width / per_coarse),
    )
    return Frame(grid, coarse)


def common_frame(cloudy: tuple[Path, Grid], clear: tuple[Path, Grid]) -> Frame:
    """Grids over what both dates cover, as in the official release.

    The coarse grid begins at multiples of 10 m, the optical one at multiples of 3 m, up to 2 m to
    the upper left of it. The coordinate system is the UTM zone of the cloudy scene, or, where that
    is in another system, the one it lies in.

    Args:
        cloudy: File and grid of the cloudy scene.
        clear: Of the clear one.

    Raises:
        SceneFileError: The pixels of one are not of about 3 m, or the scenes do not overlap by a
            patch.
    """
    for path, grid in (cloudy, clear):
        if not 0.8 < grid.pixel_m / OPTICAL_RESOLUTION_M < 1.25:
            raise SceneFileError(
                f"{printable(path)}: expected PlanetScope's pixels of about 3 m, got {grid}"
            )
    crs = _utm_of(cloudy[1])
    boxes = [_box(path, grid, crs) for path, grid in (cloudy, clear)]
    left, bottom = (max(box[side] for box in boxes) for side in (0, 1))
    right, top = (min(box[side] for box in boxes) for side in (2, 3))
    if left >= right or bottom >= top:
        raise SceneFileError(
            f"{printable(clear[0])}: expected a scene that overlaps the cloudy one "
            f"({_extent(boxes[0])} in {crs_name(crs_text(crs))}), got one of {_extent(boxes[1])}"
        )
    (x_10, x_3), (down_10, down_3) = _corner(left), _corner(-top)
    height, width = (
        math.floor((end - start + _NEAR) / (BLOCK_PX * OPTICAL_RESOLUTION_M)) * BLOCK_PX
        for start, end in ((down_3, -bottom), (x_3, right))
    )
    if min(height, width) < OPTICAL_SIZE:
        raise SceneFileError(
            f"{printable(clear[0])}: expected to share at least {OPTICAL_SIZE} × {OPTICAL_SIZE} "
            f"pixels of 3 m with the cloudy scene, got {width} × {height}"
        )
    fine = Affine(OPTICAL_RESOLUTION_M, 0, x_3, 0, -OPTICAL_RESOLUTION_M, -down_3)
    coarse = Affine(COARSE_M, 0, x_10, 0, -COARSE_M, -down_10)
    blocks = height // BLOCK_PX, width // BLOCK_PX
    return Frame(
        Grid(crs, fine, height, width),
        Grid(crs, coarse, blocks[0] * BLOCK_COARSE, blocks[1] * BLOCK_COARSE),
    )


_NEAR: Final = 0.01
"""Metres by which a corner may miss a pixel's."""


def _corner(edge: float) -> tuple[float, float]:
    """First multiple of 10 m whose pixel of 3 m, snapped outwards, is inside; and that pixel."""
    start = math.floor(edge / COARSE_M) * COARSE_M
    while OPTICAL_RESOLUTION_M * (start // OPTICAL_RESOLUTION_M) < edge - _NEAR:
        start += COARSE_M
    return start, OPTICAL_RESOLUTION_M * (start // OPTICAL_RESOLUTION_M)


def _utm_of(grid: Grid) -> CRS:
    try:
        code = grid.crs.to_epsg() or 0
    except CRSError:
        code = 0
    if code // 100 in (326, 327) and 1 <= code % 100 <= 60:
        return grid.crs
    longitude, latitude = centre_of(grid)
    zone = min(int((longitude + 180) // 6) + 1, 60)
    return CRS.from_epsg((32600 if latitude >= 0 else 32700) + zone)


def _box(path: Path, grid: Grid, crs: CRS) -> tuple[float, float, float, float]:
    bounds = array_bounds(grid.height, grid.width, grid.transform)
    if grid.crs == crs:
        return tuple(bounds)
    try:
        return tuple(transform_bounds(grid.crs, crs, *bounds))
    except UNREADABLE as problem:
        raise SceneFileError(
            f"{printable(path)}: its place cannot be computed in {crs_name(crs_text(crs))} "
            f"({reason(problem)})"
        ) from problem


def _extent(box: tuple[float, float, float, float]) -> str:
    left, bottom, right, top = box
    return f"{left:.0f} to {right:.0f} east and {bottom:.0f} to {top:.0f} north"
