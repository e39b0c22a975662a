"""Read georeferenced images of any size, window by window."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from planetcr_bench.data.grids import crs_name, crs_text, grid_name, same_crs
from planetcr_bench.data.raster import UNREADABLE, openable, reason
from planetcr_bench.errors import BenchError
from planetcr_bench.utils.untrusted import printable

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

LARGEST: Final = 2**40
"""Bytes of the largest image."""

_NEAR: Final = 1e-3
"""Pixels by which the corners of equal grids may differ."""


class SceneFileError(BenchError):
    """An image of the user, or what belongs to it, cannot be used."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the pixels of an image lie.

    Attributes:
        crs: Coordinate system.
        transform: Pixel coordinates to coordinates.
        height: Pixels.
        width: Pixels.
    """

    crs: CRS
    transform: Affine
    height: int
    width: int

    @property
    def pixel_m(self) -> float:
        """Size of a pixel in metres, the mean of its two sides."""
        a, b, _, d, e, _ = self.transform[:6]
        wide, high = math.hypot(a, d), math.hypot(b, e)
        if self.crs.is_geographic:
            latitude = (self.transform @ (self.width / 2, self.height / 2))[1]
            return (wide * math.cos(math.radians(latitude)) + high) / 2 * 111_320
        return (wide + high) / 2 * float(self.crs.linear_units_factor[1])

    def resampled(self, height: int, width: int) -> Grid:
        """A grid over the same extent with another number of pixels."""
        scale = Affine.scale(self.width / width, self.height / height)
        return Grid(self.crs, self.transform @ scale, height, width)

    def same_as(self, other: Grid) -> bool:
        """Whether two grids have the same pixels."""
        if (self.height, self.width) != (other.height, other.width):
            return False
        if not same_crs(crs_text(self.crs), crs_text(other.crs)):
            return False
        corners = ((0, 0), (self.width, 0), (0, self.height), (self.width, self.height))
        apart = [
            math.dist(corner, ~self.transform @ (other.transform @ corner)) for corner in corners
        ]
        return max(apart) < _NEAR

    def offset_of(self, other: Grid) -> tuple[int, int] | None:
        """Row and column at which another grid begins within this one; None if it is no part."""
        if not same_crs(crs_text(self.crs), crs_text(other.crs)):
            return None
        column, row = ~self.transform @ (other.transform @ (0, 0))
        top, left = round(row), round(column)
        inside = 0 <= top <= self.height - other.height and 0 <= left <= self.width - other.width
        part = self.transform @ Affine.translation(left, top)
        moved = Grid(self.crs, part, other.height, other.width)
        return (top, left) if inside and moved.same_as(other) else None

    def __str__(self) -> str:
        size = f"{self.width} × {self.height} pixels"
        return f"{crs_name(crs_text(self.crs))}, {size} {grid_name(self.transform)}"


class Raster:
    """An opened image; every error of reading it names the file.

    Args:
        path: The file.
        source: Opened by rasterio: the file, or a view of it on another grid.
        part: A part of its own grid to be all that is seen of it.

    Attributes:
        grid: Where its pixels lie.
        declared_nodata: What its tags say; None if nothing.
        has_alpha: Whether the last band is no measurement but says which pixels have data.
    """

    def __init__(
        self, path: Path, source: DatasetReader | WarpedVRT, *, part: Grid | None = None
    ) -> None:
        self.path, self._source = path, source
        own = Grid(source.crs, source.transform, source.height, source.width)
        self.grid = part or own
        self._top, self._left = (part and own.offset_of(part)) or (0, 0)
        self.bands: int = source.count
        self.dtype: str = source.dtypes[0]
        self.names: tuple[str, ...] = tuple(name or "" for name in source.descriptions)
        self.tags: dict[str, str] = dict(source.tags())
        self.scales: tuple[float, ...] = tuple(source.scales)
        self.offsets: tuple[float, ...] = tuple(source.offsets)
        self.declared_nodata: float | None = source.nodata
        self.has_alpha: bool = source.colorinterp[-1] == ColorInterp.alpha
        self._alpha: int | None = source.count if self.has_alpha else None
        flags = {flag for band in source.mask_flag_enums for flag in band}
        self._masked = MaskFlags.per_dataset in flags  # an alpha band, or an internal mask

    def read(self, bands: Sequence[int], rows: slice, columns: slice) -> NDArray[Any]:
        """Digital numbers of a window.

        Args:
            bands: Their numbers, from 1.
            rows: Within the image.
            columns: Within the image.

        Returns:
            Shape (bands, rows, columns), in the file's data type.

        Raises:
            SceneFileError: It cannot be read.
        """
        return self._reading(lambda window: self._source.read(list(bands), window=window),
                             rows, columns)  # fmt: skip

    def hidden(self, rows: slice, columns: slice) -> NDArray[np.bool_] | None:
        """Pixels of a window that the file's own mask or alpha band hides; None if it has none."""
        if self._alpha is not None:  # GDAL takes it for a mask beside one or three bands only
            return np.asarray(self.read([self._alpha], rows, columns)[0] == 0)
        if not self._masked:
            return None
        mask = self._reading(lambda window: self._source.dataset_mask(window=window), rows, columns)
        return np.asarray(mask == 0)

    def overview(self, bands: Sequence[int], height: int, width: int) -> NDArray[Any]:
        """The whole image at another size, by nearest neighbour: shape (bands, height, width)."""
        whole = slice(0, self.grid.height), slice(0, self.grid.width)
        return self._reading(
            lambda window: self._source.read(
                list(bands), window=window, out_shape=(len(bands), height, width),
                resampling=Resampling.nearest,
            ),
            *whole,
        )  # fmt: skip

    def _reading(self, read: Any, rows: slice, columns: slice) -> NDArray[Any]:
        rows = slice(rows.start + self._top, rows.stop + self._top)
        columns = slice(columns.start + self._left, columns.stop + self._left)
        try:
            return np.asarray(read(Window.from_slices(rows, columns)))
        except UNREADABLE as problem:
            raise SceneFileError(
                f"{printable(self.path)}: cannot be read ({reason(problem)})"
            ) from problem


@contextmanager
def open_raster(path: Path, *, like: Grid | None = None, by: str = "nearest") -> Iterator[Raster]:
    """Open a georeferenced GeoTIFF.

    Args:
        path: The file.
        like: Grid to resample it to; by default its own.
        by: How to resample: ``nearest``, ``bilinear`` or ``average``.

    Yields:
        The image.

    Raises:
        SceneFileError: It cannot be opened, has no georeference, or does not overlap the grid.
    """
    if path.is_dir():
        raise SceneFileError(f"{printable(path)}: expected a GeoTIFF, got a folder")
    if path.suffix.lower() == ".zip":
        raise SceneFileError(f"{printable(path)}: expected an image, got an archive; unzip it")
    absolute = openable(path, LARGEST, error=SceneFileError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            source = rasterio.open(absolute, driver="GTiff")
    except UNREADABLE as problem:
        raise SceneFileError(f"{printable(path)}: cannot be read ({reason(problem)})") from problem
    with source, on_grid(path, source, like, by) as raster:
        yield raster


@contextmanager
def on_grid(path: Path, source: DatasetReader, like: Grid | None, by: str) -> Iterator[Raster]:
    """Show an opened image on its own grid, or resampled to another.

    Args:
        path: For messages.
        source: The image.
        like: See :func:`open_raster`, as for ``by``.
        by: How to resample.

    Yields:
        The image.

    Raises:
        SceneFileError: It has no georeference, or does not overlap the grid.
    """
    if source.crs is None or source.transform.is_identity:
        raise SceneFileError(
            f"{printable(path)}: expected a georeferenced GeoTIFF, got one without "
            f"{'a coordinate system' if source.crs is None else 'a grid'}; GDAL's "
            "`gdal_translate -a_srs EPSG:… -a_ullr …` gives it one"
        )
    raster = Raster(path, source)
    if like is None or raster.grid.same_as(like):
        yield raster
        return
    if raster.grid.offset_of(like) is not None:
        yield Raster(path, source, part=like)
        return
    _expect_overlap(raster, like)
    floats = source.dtypes[0].startswith("f")
    with WarpedVRT(
        source, crs=like.crs, transform=like.transform, height=like.height, width=like.width,
        resampling=Resampling[by],
        nodata=math.nan if source.nodata is None and floats else source.nodata,
        add_alpha=source.nodata is None and not floats,
    ) as view:  # fmt: skip
        resampled = Raster(path, view)
        resampled.bands, resampled.names, resampled.tags = raster.bands, raster.names, raster.tags
        resampled.scales, resampled.offsets = raster.scales, raster.offsets
        resampled.has_alpha = raster.has_alpha
        yield resampled


def _expect_overlap(raster: Raster, grid: Grid) -> None:
    from rasterio.warp import transform_bounds

    boxes = []
    for each in (raster.grid, grid):
        bounds = rasterio.transform.array_bounds(each.height, each.width, each.transform)
        try:
            boxes.append(transform_bounds(each.crs, grid.crs, *bounds))
        except UNREADABLE as problem:
            raise SceneFileError(
                f"{printable(raster.path)}: its place cannot be computed in the coordinate system "
                f"of the scene, {crs_name(crs_text(grid.crs))} ({reason(problem)})"
            ) from problem
    (left, bottom, right, top), (west, south, east, north) = boxes
    if left >= east or right <= west or bottom >= north or top <= south:
        raise SceneFileError(
            f"{printable(raster.path)}: expected an image that overlaps the scene, got one of "
            f"{left:.1f} to {right:.1f} and {bottom:.1f} to {top:.1f}; the scene is at "
            f"{west:.1f} to {east:.1f} and {south:.1f} to {north:.1f} in "
            f"{crs_name(crs_text(grid.crs))}"
        )
