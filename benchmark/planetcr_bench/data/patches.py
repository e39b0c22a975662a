"""Read training patches from the files of scenes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.data.description import Description
from planetcr_bench.data.encodings import Scaling
from planetcr_bench.data.reading import Raster, read_rasters
from planetcr_bench.data.scene import (
    Image,
    backscatter,
    clip,
    land_cover_classes,
    reflectance,
    upsample,
)
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import DatasetError, UsageError

_NEEDED: Final = ("sar", "land_cover", "cloud_mask")


def record_dtype(description: Description) -> np.dtype[np.void]:
    """Data type of a cached scene.

    It has optical values as they are stored, clipped; backscatter in [0, 1]; class indices.

    Raises:
        DatasetError: The dataset lacks a product, or its images have no one size or data type.
    """
    what = f"{description.title}: training patches need"
    for product in _NEEDED:
        if product not in description.products:
            raise DatasetError(f"{what} {product}, but the dataset has none")
    grids = {product: description.read_size_of(product) for product in description.products}
    optical, sar, cover = (grids[product] for product in ("clear", "sar", "land_cover"))
    dtypes = description.dtypes("clear")
    if optical is None or sar is None or cover is None or len(dtypes) != 1 or description.has_dates:
        raise DatasetError(f"{what} one size, one data type and one date in its description")
    if any(height != width for height, width in (optical, sar, cover)):
        raise DatasetError(f"{what} square images, got {optical}, {sar} and {cover}")
    stored = np.dtype(dtypes[0]).newbyteorder("<")
    bands = len(description.bands)
    return np.dtype([
        ("cloudy", stored, (bands, *optical)),
        ("clear", stored, (bands, *optical)),
        ("sar", "<f4", (len(description.bands_of("sar")), *sar)),
        ("cloud_mask", "?", optical),
        ("land_cover", "u1", cover),
    ])  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPatch:
    """Pixels of one place, whole or cropped; each array is contiguous and the caller's own.

    Attributes:
        cloudy: Reflectance in [0, 1], float32, shape (B, H, W).
        clear: The cloud-free image, likewise.
        sar: VV and VH in [0, 1] on their own grid, float32, shape (2, h, w).
        cloud_mask: True for cloud, shape (H, W).
        land_cover: Index into ``LAND_COVER_NAMES`` of each optical pixel, uint8, shape (H, W).
    """

    cloudy: Image
    clear: Image
    sar: Image
    cloud_mask: NDArray[np.bool_]
    land_cover: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Grids:
    """Sides of the images of a record, in pixels."""

    optical: int
    sar: int
    land_cover: int

    @classmethod
    def of(cls, record: np.dtype[np.void]) -> _Grids:
        """Those of a data type of records."""
        return cls(*(record[name].shape[-1] for name in ("clear", "sar", "land_cover")))

    @property
    def cell(self) -> int:
        """Optical pixels after which all grids meet again."""
        sides = (self.sar, self.land_cover)
        return math.lcm(*(self.optical // math.gcd(self.optical, side) for side in sides))


class Patches(ABC):
    """Common base of patches from files and from a cache: size and windows."""

    @property
    @abstractmethod
    def record(self) -> np.dtype[np.void]:
        """Data type of a scene's record."""

    @property
    @abstractmethod
    def scaling(self) -> Scaling:
        """How the optical values of a record become reflectance."""

    @property
    def side(self) -> int:
        """Optical pixels along one side of a patch."""
        return _Grids.of(self.record).optical

    @property
    def cell(self) -> int:
        """Optical pixels after which the grids of all products meet again."""
        return _Grids.of(self.record).cell

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """Name of each scene."""

    @abstractmethod
    def _records_with(self, index: int) -> tuple[NDArray[np.void], int]:
        """Records, and the index of the scene's record."""

    def read(
        self, index: int, *, top: int = 0, left: int = 0, size: int | None = None
    ) -> TrainingPatch:
        """Read a square window of a patch.

        Args:
            index: Of the patch.
            top: First optical row, a multiple of :attr:`cell`, as ``left`` and ``size``.
            left: First optical column.
            size: Side in optical pixels; by default the whole patch.

        Raises:
            UsageError: The window cuts through SAR pixels or leaves the patch.
            DatasetError: A file is missing, unreadable or does not match its description; or a
                cache is missing, damaged, or was replaced by one of other scenes.
            SceneError: The products of a scene do not share one grid.
        """
        window = _window_of(_Grids.of(self.record), top, left, size)
        return _cut(*self._records_with(index), window, self.scaling)


@dataclass(frozen=True)
class FilePatches(Patches):
    """Patches that are decoded from their files each time: slow, but without disk space.

    Attributes:
        scenes: The scenes, in the order of their indices.
    """

    scenes: Sequence[SceneFiles]

    def __len__(self) -> int:
        return len(self.scenes)

    @property
    def names(self) -> list[str]:
        """Name of each scene."""
        return [files.name for files in self.scenes]

    @cached_property
    def record(self) -> np.dtype[np.void]:
        """Data type of a scene's record."""
        return record_dtype(self.scenes[0].description)

    @property
    def scaling(self) -> Scaling:
        """How the optical values of a record become reflectance."""
        return self.scenes[0].description.optical.scaling

    def _records_with(self, index: int) -> tuple[NDArray[np.void], int]:
        files = self.scenes[index]
        return record_of(read_rasters(files), files.description, self.record), 0


def record_of(
    rasters: dict[str, Raster], description: Description, dtype: np.dtype[np.void]
) -> NDArray[np.void]:
    """The products of a scene as one record, shape (1,)."""
    record = np.empty(1, dtype)
    for product in ("cloudy", "clear"):
        record[product] = clip(rasters[product].pixels, description.optical.scaling)
    assert description.sar is not None
    assert description.land_cover is not None
    record["sar"] = backscatter(rasters["sar"].pixels, description.sar)
    record["cloud_mask"] = rasters["cloud_mask"].pixels
    codes = rasters["land_cover"].pixels[0]
    record["land_cover"] = land_cover_classes(codes, description.land_cover)
    return record


@dataclass(frozen=True, slots=True)
class _Window:
    """A square window: where it lies on the grids of the optical images, SAR and land cover."""

    size: int
    optical: tuple[slice, slice]
    sar: tuple[slice, slice]
    land_cover: tuple[slice, slice]


def _window_of(grids: _Grids, top: int, left: int, size: int | None) -> _Window:
    side, cell = grids.optical, grids.cell
    size = side if size is None else size
    inside = min(top, left) >= 0 and size > 0 and max(top, left) + size <= side
    if not inside or any(value % cell for value in (top, left, size)):
        raise UsageError(
            f"expected a window whose top, left and size are multiples of {cell} optical pixels "
            f"({cell * grids.sar // side} SAR pixels) within {side} × {side}, got top {top}, left "
            f"{left}, size {size}"
        )

    def on(other: int) -> tuple[slice, slice]:
        rows, columns = (
            slice(start * other // side, (start + size) * other // side) for start in (top, left)
        )
        return rows, columns

    return _Window(size, on(side), on(grids.sar), on(grids.land_cover))


def _cut(records: NDArray[np.void], index: int, window: _Window, scaling: Scaling) -> TrainingPatch:
    """Cut a window from one record without reading anything outside it."""
    fine, coarse = (index, ..., *window.optical), (index, ..., *window.sar)
    land_cover = records["land_cover"][(index, ..., *window.land_cover)]
    return TrainingPatch(
        cloudy=reflectance(records["cloudy"][fine], scaling),
        clear=reflectance(records["clear"][fine], scaling),
        sar=np.array(records["sar"][coarse], np.float32, order="C"),
        cloud_mask=np.array(records["cloud_mask"][fine], order="C"),
        land_cover=upsample(land_cover, (window.size, window.size)),
    )
