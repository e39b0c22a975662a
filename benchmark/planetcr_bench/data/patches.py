"""Read training patches from the files of scenes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.data.description import Description
from planetcr_bench.data.encodings import Scaling
from planetcr_bench.data.reading import Raster, image_size, read_rasters
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
from planetcr_bench.utils.parallel import run_ordered

_READ_TOGETHER: Final = 64
"""Scenes whose headers a worker reads at a time."""

Size = tuple[int, int]
"""Height and width in pixels."""


def record_dtype(
    description: Description, grids: Grids, stored: np.dtype[Any] | None = None
) -> np.dtype[np.void]:
    """Data type of a cached scene, which has what the dataset has.

    It has optical values as they are stored, clipped; backscatter in [0, 1]; class indices.

    Args:
        description: Of the dataset.
        grids: Sizes of the images.
        stored: Data type of the optical images; by default the one that is described.
    """
    stored = np.dtype(stored or description.dtypes("clear")[0]).newbyteorder("<")
    bands = len(description.bands)
    fields: list[tuple[str, Any, tuple[int, ...]]] = [
        ("cloudy", stored, (bands, *grids.optical)),
        ("clear", stored, (bands, *grids.optical)),
    ]
    if grids.sar is not None:
        fields.append(("sar", "<f4", (len(description.bands_of("sar")), *grids.sar)))
    if description.cloud_mask is not None:
        fields.append(("cloud_mask", "?", grids.optical))
    if grids.land_cover is not None:
        fields.append(("land_cover", "u1", grids.land_cover))
    return np.dtype(fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPatch:
    """Pixels of one place, whole or cropped; each array is contiguous and the caller's own.

    What the dataset lacks is None.

    Attributes:
        cloudy: Reflectance in [0, 1], float32, shape (B, H, W).
        clear: The cloud-free image, likewise.
        sar: Such as VV and VH in [0, 1] on their own grid, float32, shape (B, h, w).
        cloud_mask: True for cloud, shape (H, W).
        land_cover: Index into ``LAND_COVER_NAMES`` of each optical pixel, uint8, shape (H, W).
    """

    cloudy: Image
    clear: Image
    sar: Image | None
    cloud_mask: NDArray[np.bool_] | None
    land_cover: NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class Grids:
    """Sizes of the images of a scene, in pixels; None for those that the dataset lacks."""

    optical: Size
    sar: Size | None
    land_cover: Size | None

    @property
    def coarse(self) -> list[Size]:
        """Sizes of the images that may have another grid than the optical ones."""
        return [size for size in (self.sar, self.land_cover) if size is not None]

    @property
    def cell(self) -> int:
        """Optical pixels after which all grids meet again."""
        pairs = (pair for size in self.coarse for pair in zip(self.optical, size, strict=True))
        return math.lcm(*(fine // math.gcd(fine, coarse) for fine, coarse in pairs))

    @property
    def sizes(self) -> tuple[Size, Size | None, Size | None]:
        """All sizes."""
        return self.optical, self.sar, self.land_cover

    @classmethod
    def of(cls, sizes: Iterable[Sequence[int] | None]) -> Grids:
        """Grids of three sizes, such as :attr:`sizes`."""
        optical, sar, cover = (None if size is None else (size[0], size[1]) for size in sizes)
        assert optical is not None
        return cls(optical, sar, cover)

    @classmethod
    def of_arrays(cls, shapes: Mapping[str, tuple[int, ...]]) -> Grids:
        """Grids of the shapes of products."""
        names = ("clear", "sar", "land_cover")
        return cls.of(shapes[name][-2:] if name in shapes else None for name in names)

    @classmethod
    def largest(cls, grids: Iterable[Grids]) -> Grids:
        """Sizes into which the images of all scenes fit."""
        columns = zip(*(each.sizes for each in grids), strict=True)
        return cls.of(
            None if None in sizes else [max(sides) for sides in zip(*sizes, strict=True)]
            for sizes in columns
        )


class Patches(ABC):
    """Common base of patches from files and from a cache: sizes and windows."""

    @property
    @abstractmethod
    def grids(self) -> Sequence[Grids]:
        """Sizes of the images of each scene; one for all if they are equal."""

    @property
    @abstractmethod
    def scaling(self) -> Scaling:
        """How the optical values of a record become reflectance."""

    @property
    def smallest(self) -> int:
        """Optical pixels along the shortest side of any patch."""
        return min(min(grids.optical) for grids in self.grids)

    @property
    def cell(self) -> int:
        """Optical pixels after which the grids of all products meet again."""
        return math.lcm(*{grids.cell for grids in self.grids})

    def size(self, index: int) -> Size:
        """Height and width of a patch, in optical pixels."""
        return self._grids_of(index).optical

    def _grids_of(self, index: int) -> Grids:
        return self.grids[index if len(self.grids) > 1 else 0]

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
        window = _window_of(self._grids_of(index), top, left, size)
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
    def grids(self) -> Sequence[Grids]:
        """Sizes of the images of each scene; one for all if they are equal.

        Raises:
            DatasetError: See :func:`grids_of`.
        """
        return grids_of(self.scenes)

    @property
    def scaling(self) -> Scaling:
        """How the optical values of a record become reflectance."""
        return self.scenes[0].description.optical.scaling

    def _records_with(self, index: int) -> tuple[NDArray[np.void], int]:
        files = self.scenes[index]
        return record_of(read_rasters(files), files.description), 0


def grids_of(scenes: Sequence[SceneFiles]) -> Sequence[Grids]:
    """Sizes of the images of each scene, by its description or else its files; one if all equal.

    Raises:
        DatasetError: A file cannot be read; or scenes differ in how many optical pixels there are
            to one of SAR.
    """
    described = scenes[0].description
    coarse = [name for name in ("sar", "land_cover") if name in described.products]
    known = all(described.read_size_of(product) for product in ("clear", *coarse))
    grids = list(run_ordered(_grids_of, scenes[:1] if known else scenes, batch=_READ_TOGETHER))
    ratios: dict[tuple[Fraction, ...], int] = {}
    for index, each in enumerate(grids):
        ratios.setdefault(_ratios(each), index)
    if len(ratios) > 1:
        first, other = (scenes[index].name for index in [*ratios.values()][:2])
        raise DatasetError(
            f"{described.title}: expected one number of optical pixels to a pixel of SAR and of "
            f"land cover in all training scenes, got different ones in {first} and {other}"
        )
    return grids[:1] if len(set(grids)) == 1 else grids


def _ratios(grids: Grids) -> tuple[Fraction, ...]:
    pairs = (pair for size in grids.coarse for pair in zip(grids.optical, size, strict=True))
    return tuple(Fraction(*pair) for pair in pairs)


def _grids_of(files: SceneFiles) -> Grids:
    products = files.description.products
    names = [name for name in ("clear", "sar", "land_cover") if name in products]
    return Grids.of_arrays({name: image_size(files, name) for name in names})


def record_of(rasters: Mapping[str, Raster], described: Description) -> NDArray[np.void]:
    """The products of a scene as one record, shape (1,)."""
    grids = Grids.of_arrays({name: raster.pixels.shape for name, raster in rasters.items()})
    stored = np.result_type(*(rasters[product].pixels.dtype for product in ("clear", "cloudy")))
    record = np.empty(1, record_dtype(described, grids, stored))
    for product in ("cloudy", "clear"):
        record[product] = clip(rasters[product].pixels, described.optical.scaling)
    if described.sar is not None:
        record["sar"] = backscatter(rasters["sar"].pixels, described.sar)
    if described.cloud_mask is not None:
        record["cloud_mask"] = rasters["cloud_mask"].pixels
    if described.land_cover is not None:
        codes = rasters["land_cover"].pixels[0]
        record["land_cover"] = land_cover_classes(codes, described.land_cover)
    return record


_Slices = tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class _Window:
    """A window: where it lies on the grids of the optical images, SAR and land cover."""

    optical: _Slices
    sar: _Slices | None
    land_cover: _Slices | None


def _window_of(grids: Grids, top: int, left: int, size: int | None) -> _Window:
    (height, width), cell = grids.optical, grids.cell
    rows, columns = (height, width) if size is None else (size, size)
    inside = min(top, left) >= 0 and rows > 0 and columns > 0
    inside = inside and top + rows <= height and left + columns <= width
    if not inside or (size is not None and any(value % cell for value in (top, left, size))):
        radar = f" ({cell * grids.sar[0] // height} SAR pixels)" if grids.sar else ""
        raise UsageError(
            f"expected a window whose top, left and size are multiples of {cell} optical pixels"
            f"{radar} within {height} × {width}, got top {top}, left {left}, size {size}"
        )

    def on(other: Size | None) -> _Slices | None:
        if other is None:
            return None
        down, across = (
            slice(start * coarse // fine, (start + extent) * coarse // fine)
            for start, extent, coarse, fine in zip(
                (top, left), (rows, columns), other, grids.optical, strict=True
            )
        )
        return down, across

    optical = slice(top, top + rows), slice(left, left + columns)
    return _Window(optical, on(grids.sar), on(grids.land_cover))


def _cut(records: NDArray[np.void], index: int, window: _Window, scaling: Scaling) -> TrainingPatch:
    """Cut a window from one record without reading anything outside it."""
    fine, fields = (index, ..., *window.optical), records.dtype.names or ()
    clear, sar, mask, cover = reflectance(records["clear"][fine], scaling), None, None, None
    if window.sar is not None:
        sar = np.array(records["sar"][(index, ..., *window.sar)], np.float32, order="C")
    if "cloud_mask" in fields:
        mask = np.array(records["cloud_mask"][fine], order="C")
    if window.land_cover is not None:
        classes = records["land_cover"][(index, ..., *window.land_cover)]
        cover = upsample(classes, clear.shape[-2:])
    cloudy = reflectance(records["cloudy"][fine], scaling)
    return TrainingPatch(cloudy=cloudy, clear=clear, sar=sar, cloud_mask=mask, land_cover=cover)
