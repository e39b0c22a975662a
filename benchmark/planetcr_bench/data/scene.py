"""Build scenes: values in [0, 1] on one optical grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from planetcr_bench.constants import PLANET_CR, SAR_BANDS, UNKNOWN, cover_bin
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.data.encodings import LandCover, Radar, Scaling
from planetcr_bench.errors import SceneError

if TYPE_CHECKING:
    import xarray

_T = TypeVar("_T", bound=np.generic)

_MASK: Final = "a cloud mask"

Image = NDArray[np.float32]
"""Reflectance in [0, 1], shape (B, H, W), in the order of the dataset's bands."""


def _planet_cr() -> Description:
    return load_description(PLANET_CR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One scene of a dataset, such as a quartet of the paper (Sec. 3.1) and its cloud mask.

    Attributes:
        name: Of the scene, such as ``summer_33_p_1``.
        split: ``train``, ``val`` or ``test``.
        season: Such as ``summer``; empty if the dataset has none.
        aoi: What groups scenes that are not independent, such as an area of interest.
        patch: Number of the patch within its AOI; 0 if it has none.
        bands: Names of the optical bands.
        resolution: Of an optical pixel in metres; None if it is not known.
        cloudy: Image to restore, (B, H, W) float32 in [0, 1]; of several dates, (T, B, H, W).
        clear: Cloud-free image of a near date, (B, H, W) float32 in [0, 1].
        sar: Backscatter, (B, h, w) float32 in [0, 1], on its own grid; None if there is none.
        land_cover: Class of each optical pixel, (H, W) uint8, index into ``LAND_COVER_NAMES``;
            None if there is none.
        cloud_mask: True where cloudy, (H, W) bool; None if there is none. Planet's mask is coarse
            and misses haze.
        date_masks: The masks of several dates, (T, H, W) bool, the first of which is
            ``cloud_mask``; None of one date, or without masks from elsewhere.
        crs: Coordinate reference system, such as ``EPSG:32736``; empty where unknown.
        transform: Pixel to coordinates of the optical grid.
        sar_bands: Names of the bands of the SAR image.
        description: Of its dataset.
        cloud_cover: Share of cloudy pixels; nan without a mask.
    """

    name: str
    split: str
    season: str
    aoi: str
    patch: int
    bands: Sequence[str]
    resolution: float | None
    cloudy: Image
    clear: Image
    sar: Image | None
    land_cover: NDArray[np.uint8] | None
    cloud_mask: NDArray[np.bool_] | None
    crs: str
    transform: Affine
    sar_bands: Sequence[str] = SAR_BANDS
    description: Description = field(default_factory=_planet_cr, repr=False)
    date_masks: NDArray[np.bool_] | None = None
    cloud_cover: float = field(init=False)

    def __post_init__(self) -> None:
        grid = self.clear.shape[1:]
        self._expect("clear image", self.clear.shape, (len(self.bands), *grid))
        dates = self.cloudy.shape[:-3]
        self._expect("cloudy image", self.cloudy.shape, (*dates, *self.clear.shape))
        if self.land_cover is not None:
            self._expect("land-cover map", self.land_cover.shape, grid)
        if self.cloud_mask is not None:
            self._expect("cloud mask", self.cloud_mask.shape, grid)
        if self.date_masks is not None:
            self._expect("cloud mask", self.date_masks.shape, (*dates, *grid))
        if self.sar is not None:
            bands = len(self.sar_bands)
            self._expect("SAR image", self.sar.shape, (bands, *self.sar.shape[1:][:2]))
        object.__setattr__(self, "cloud_cover", cover_of(self.cloud_mask))

    def _expect(self, what: str, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
        if got != expected:
            raise SceneError(f"{self.name}: expected a {what} of shape {expected}, got {got}")

    def need_sar(self) -> Image:
        """The SAR image, for what cannot do without one; SceneError if there is none."""
        return self._needed(self.sar, "a SAR image")

    def need_land_cover(self) -> NDArray[np.uint8]:
        """The land-cover map, likewise."""
        return self._needed(self.land_cover, "a land-cover map")

    def need_cloud_mask(self) -> NDArray[np.bool_]:
        """The cloud mask, likewise."""
        return self._needed(self.cloud_mask, _MASK)

    def _needed(self, product: NDArray[_T] | None, what: str) -> NDArray[_T]:
        if product is None:
            hint = "; --masks takes one from elsewhere" * (what == _MASK)
            raise SceneError(f"{self.name}: expected {what}, but the dataset has none{hint}")
        return product

    def to_xarray(self) -> xarray.Dataset:
        """The scene as a dataset for xarray and rioxarray; needs the extra ``xarray``.

        Returns:
            ``cloudy`` and ``clear`` (band, y, x), ``sar`` (sar_band, y, x), ``land_cover`` and
            ``cloud_mask`` (y, x), as far as there are any, with CRS, transform and the coordinates
            of the pixels' centres. SAR is resampled to the optical grid, as networks see it.

        Raises:
            MissingExtraError: xarray or rioxarray is not installed.
        """
        from planetcr_bench.data.xarrays import scene_to_xarray

        return scene_to_xarray(self)

    @property
    def cover_bin(self) -> str:
        """Cloud-cover bin of Fig. 5; ``unknown`` without a mask."""
        return cover_bin(self.cloud_cover)


def cover_of(cloud_mask: NDArray[np.bool_] | None) -> float:
    """Cloudy share of a scene; nan without a mask."""
    return math.nan if cloud_mask is None else float(cloud_mask.mean())


def reflectance(stored: NDArray[Any], scaling: Scaling) -> Image:
    """Convert optical values, those of Planet-CR as the authors' loader does (paper, Sec. 5.1).

    Args:
        stored: Values of the files, any shape.
        scaling: What they mean.

    Returns:
        float32: clipped, plus the offset, then divided by the scale.
    """
    clipped = clip(stored, scaling)
    if scaling.offset:
        clipped = clipped.astype(np.float32) + np.float32(scaling.offset)
    image: Image = np.divide(clipped, np.float32(scaling.scale), dtype=np.float32)
    return image


def clip(stored: NDArray[Any], scaling: Scaling) -> NDArray[Any]:
    """Clip stored values to those that count; same dtype and shape."""
    low, high = scaling.limits
    if stored.dtype.kind != "f":
        possible = np.iinfo(stored.dtype)
        low, high = max(low, possible.min), min(high, possible.max)
    clipped: NDArray[Any] = np.minimum(stored, stored.dtype.type(high))
    if stored.dtype.kind != "u" or low > 0:
        np.maximum(clipped, stored.dtype.type(low), out=clipped)
    return clipped


def backscatter(decibels: NDArray[np.floating], encoding: Radar) -> Image:
    """Convert SAR values for networks (paper, Sec. 5.1): clip per band, rescale to [0, 1].

    Holes (NaN or infinite) take the mean of their band before clipping.

    Args:
        decibels: Such as VV and VH in dB, shape (B, h, w), at least one number in each band.
        encoding: Has the range of each band.

    Returns:
        float32 in [0, 1], shape (B, h, w).
    """
    scaled = np.empty(decibels.shape, np.float32)
    for band, (low, high) in enumerate(encoding.range):
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


def land_cover_classes(codes: NDArray[np.uint8], encoding: LandCover) -> NDArray[np.uint8]:
    """Map land-cover codes to the six classes of Sec. 3.1.

    Args:
        codes: Of the file, any shape; codes that do not exist become unknown.
        encoding: Has the codes of each class.

    Returns:
        Index into ``LAND_COVER_NAMES``, uint8, same shape.
    """
    return _class_table(encoding.classes)[codes]


@lru_cache
def _class_table(classes: tuple[tuple[int, int], ...]) -> NDArray[np.uint8]:
    table = np.full(256, UNKNOWN, np.uint8)
    for code, index in classes:
        table[code] = index
    return table
