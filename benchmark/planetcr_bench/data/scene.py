"""Build scenes: values in [0, 1] on one optical grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from planetcr_bench.constants import (
    DN_PER_REFLECTANCE,
    OPTICAL_BANDS,
    SAR_BANDS,
    SAR_RANGE_DB,
    UNKNOWN,
    WORLDCOVER_CLASS,
    cover_bin,
)
from planetcr_bench.errors import SceneError

_T = TypeVar("_T", bound=np.generic)

Image = NDArray[np.float32]
"""Reflectance in [0, 1], shape (4, H, W), bands blue, green, red, near-infrared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One patch of the dataset: the quartet of the paper (Sec. 3.1) and its cloud mask.

    Attributes:
        name: ``<season>_<aoi>_p_<patch>``, the common part of the names of its files.
        split: ``train``, ``val`` or ``test``.
        season: ``spring``, ``summer``, ``fall`` or ``winter``.
        aoi: Area of interest, ``<season>_<number>``; patches of one AOI are not independent.
        patch: Number of the patch within its AOI.
        cloudy: Image to restore, (4, H, W) float32 in [0, 1].
        clear: Cloud-free image of a near date, (4, H, W) float32 in [0, 1].
        sar: VV and VH backscatter at 10 m, (2, h, w) float32 in [0, 1].
        land_cover: Class of each optical pixel, (H, W) uint8, index into ``LAND_COVER_NAMES``.
        cloud_mask: True where cloudy, (H, W) bool; Planet's mask is coarse and misses haze.
        crs: Coordinate reference system, such as ``EPSG:32736``; empty where unknown.
        transform: Pixel to coordinates of the optical grid.
    """

    name: str
    split: str
    season: str
    aoi: str
    patch: int
    cloudy: Image
    clear: Image
    sar: Image
    land_cover: NDArray[np.uint8]
    cloud_mask: NDArray[np.bool_]
    crs: str
    transform: Affine
    cloud_cover: float = field(init=False)

    def __post_init__(self) -> None:
        grid = self.clear.shape[1:]
        self._expect("clear image", self.clear.shape, (len(OPTICAL_BANDS), *grid))
        self._expect("cloudy image", self.cloudy.shape, self.clear.shape)
        self._expect("land-cover map", self.land_cover.shape, grid)
        self._expect("cloud mask", self.cloud_mask.shape, grid)
        self._expect("SAR image", self.sar.shape, (len(SAR_BANDS), *self.sar.shape[1:]))
        object.__setattr__(self, "cloud_cover", float(self.cloud_mask.mean()))

    def _expect(self, what: str, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
        if got != expected:
            raise SceneError(f"{self.name}: expected a {what} of shape {expected}, got {got}")

    @property
    def cover_bin(self) -> str:
        """Cloud-cover bin of Fig. 5."""
        return cover_bin(self.cloud_cover)


def reflectance(digital_numbers: NDArray[np.uint16]) -> Image:
    """Convert optical values as the authors' loader does (paper, Sec. 5.1).

    Args:
        digital_numbers: Reflectance × 10 000, any shape.

    Returns:
        float32 in [0, 1]: clipped at 10 000, then divided by it.
    """
    clipped = np.minimum(digital_numbers, np.uint16(DN_PER_REFLECTANCE))
    return np.divide(clipped, np.float32(DN_PER_REFLECTANCE), dtype=np.float32)


def backscatter(decibels: NDArray[np.floating]) -> Image:
    """Convert SAR values for networks (paper, Sec. 5.1): clip per band, rescale to [0, 1].

    Holes (NaN or infinite) take the mean of their band before clipping.

    Args:
        decibels: VV and VH in dB, shape (2, h, w), at least one number in each band.

    Returns:
        float32 in [0, 1], shape (2, h, w).
    """
    scaled = np.empty(decibels.shape, np.float32)
    for band, (low, high) in enumerate(SAR_RANGE_DB):
        values = decibels[band].astype(np.float32)
        holes = ~np.isfinite(values)
        if holes.any():
            values[holes] = np.mean(decibels[band][~holes], dtype=np.float64)
        scaled[band] = (np.clip(values, low, high) - np.float32(low)) / np.float32(high - low)
    return scaled


def nearest_index(size: int, source_size: int) -> NDArray[np.intp]:
    """Index of the source pixel nearest to the centre of each pixel of a finer grid.

    The rule of GDAL and of torch's ``nearest-exact``: floor((i + 1/2) · source / size), in
    integers. torch's plain ``nearest`` takes floor(i · source / size), a different pixel for 19 %
    of the SAR image.

    Args:
        size: Pixels of the finer axis.
        source_size: Pixels of the source axis.

    Returns:
        Index into the source axis, shape (size,).

    Example:
        >>> nearest_index(10, 3)
        array([0, 0, 0, 1, 1, 1, 1, 2, 2, 2])
    """
    return (2 * np.arange(size, dtype=np.intp) + 1) * source_size // (2 * size)


def upsample(image: NDArray[_T], size: tuple[int, int]) -> NDArray[_T]:
    """Resample an image to a finer grid of the same extent by nearest neighbour.

    Args:
        image: Shape (..., h, w).
        size: (H, W) of the result.

    Returns:
        Same dtype, shape (..., H, W).
    """
    rows = nearest_index(size[0], image.shape[-2])
    columns = nearest_index(size[1], image.shape[-1])
    return image.take(rows, axis=-2).take(columns, axis=-1)


_CLASS_OF_CODE = np.full(256, UNKNOWN, np.uint8)
for _code, _index in WORLDCOVER_CLASS.items():
    _CLASS_OF_CODE[_code] = _index


def land_cover_classes(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Map WorldCover codes to the six classes of Sec. 3.1.

    Args:
        codes: WorldCover codes, any shape; codes that do not exist become unknown.

    Returns:
        Index into ``LAND_COVER_NAMES``, uint8, same shape.
    """
    return _CLASS_OF_CODE[codes]
