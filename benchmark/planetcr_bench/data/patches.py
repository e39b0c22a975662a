"""Read training patches from the files of scenes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import (
    DN_PER_REFLECTANCE,
    OPTICAL_BANDS,
    OPTICAL_SIZE,
    SAR_BANDS,
    SAR_SIZE,
)
from planetcr_bench.data.layout import SceneFiles
from planetcr_bench.data.reading import Raster, read_rasters
from planetcr_bench.data.scene import Image, backscatter, land_cover_classes, reflectance, upsample
from planetcr_bench.errors import UsageError

CELL: Final = OPTICAL_SIZE // math.gcd(OPTICAL_SIZE, SAR_SIZE)
"""Optical pixels after which the optical and the SAR grid meet again."""

SAR_CELL: Final = CELL * SAR_SIZE // OPTICAL_SIZE
"""SAR pixels over the same distance."""

RECORD: Final = np.dtype(
    [
        ("cloudy", "<u2", (len(OPTICAL_BANDS), OPTICAL_SIZE, OPTICAL_SIZE)),
        ("clear", "<u2", (len(OPTICAL_BANDS), OPTICAL_SIZE, OPTICAL_SIZE)),
        ("sar", "<f4", (len(SAR_BANDS), SAR_SIZE, SAR_SIZE)),
        ("cloud_mask", "?", (OPTICAL_SIZE, OPTICAL_SIZE)),
        ("land_cover", "u1", (SAR_SIZE, SAR_SIZE)),
    ]
)
"""A cached scene: reflectance × 10 000, at most 10 000; backscatter in [0, 1]; class indices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPatch:
    """Pixels of one place, whole or cropped; each array is contiguous and the caller's own.

    Attributes:
        cloudy: Reflectance in [0, 1], float32, shape (4, H, W).
        clear: The cloud-free image, likewise.
        sar: VV and VH in [0, 1] at 10 m, float32, shape (2, 3H/10, 3W/10).
        cloud_mask: True for cloud, shape (H, W).
        land_cover: Index into ``LAND_COVER_NAMES`` of each optical pixel, uint8, shape (H, W).
    """

    cloudy: Image
    clear: Image
    sar: Image
    cloud_mask: NDArray[np.bool_]
    land_cover: NDArray[np.uint8]


class Patches(ABC):
    """Common base of patches from files and from a cache: size and windows."""

    side: ClassVar[int] = OPTICAL_SIZE
    cell: ClassVar[int] = CELL

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
            top: First optical row, a multiple of 10, as ``left`` and ``size``.
            left: First optical column.
            size: Side in optical pixels; by default the whole patch.

        Raises:
            UsageError: The window cuts through SAR pixels or leaves the patch.
            DatasetError: A file is missing, unreadable or does not match the official layout; or a
                cache is missing, damaged, or was replaced by one of other scenes.
            SceneError: The products of a scene do not share one grid.
        """
        window = _window_of(top, left, size)
        return _cut(*self._records_with(index), window)


@dataclass(frozen=True)
class FilePatches(Patches):
    """Patches that are decoded from their five files each time: slow, but without disk space.

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

    def _records_with(self, index: int) -> tuple[NDArray[np.void], int]:
        return record_of(read_rasters(self.scenes[index])), 0


def record_of(rasters: dict[str, Raster]) -> NDArray[np.void]:
    """The five products of a scene as one record, shape (1,)."""
    record = np.empty(1, RECORD)
    limit = np.uint16(DN_PER_REFLECTANCE)
    np.minimum(rasters["cloudy"].pixels, limit, out=record["cloudy"][0])
    np.minimum(rasters["clear"].pixels, limit, out=record["clear"][0])
    record["sar"] = backscatter(rasters["sar"].pixels)
    record["cloud_mask"] = rasters["cloud_mask"].pixels
    record["land_cover"] = land_cover_classes(rasters["land_cover"].pixels[0])
    return record


@dataclass(frozen=True, slots=True)
class _Window:
    """A square window: where it lies on the optical grid and on the SAR grid."""

    size: int
    fine: tuple[slice, slice]
    coarse: tuple[slice, slice]


def _window_of(top: int, left: int, size: int | None) -> _Window:
    size = OPTICAL_SIZE if size is None else size
    inside = min(top, left) >= 0 and size > 0 and max(top, left) + size <= OPTICAL_SIZE
    if not inside or any(value % CELL for value in (top, left, size)):
        raise UsageError(
            f"expected a window whose top, left and size are multiples of {CELL} optical pixels "
            f"({SAR_CELL} SAR pixels) within {OPTICAL_SIZE} × {OPTICAL_SIZE}, got top {top}, left "
            f"{left}, size {size}"
        )
    fine = (slice(top, top + size), slice(left, left + size))
    coarse = [slice(*(end // CELL * SAR_CELL for end in (s.start, s.stop))) for s in fine]
    return _Window(size, fine, (coarse[0], coarse[1]))


def _cut(records: NDArray[np.void], index: int, window: _Window) -> TrainingPatch:
    """Cut a window from one record without reading anything outside it."""
    fine, coarse = (index, ..., *window.fine), (index, ..., *window.coarse)
    return TrainingPatch(
        cloudy=reflectance(records["cloudy"][fine]),
        clear=reflectance(records["clear"][fine]),
        sar=np.array(records["sar"][coarse], np.float32, order="C"),
        cloud_mask=np.array(records["cloud_mask"][fine], order="C"),
        land_cover=upsample(records["land_cover"][coarse], (window.size, window.size)),
    )
