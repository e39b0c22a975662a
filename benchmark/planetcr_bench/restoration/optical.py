"""Show the optical image of a scene to a network: reflectance without holes, window by window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from planetcr_bench.data.scene import Image
from planetcr_bench.restoration.masks import CloudMask
from planetcr_bench.restoration.products import Product
from planetcr_bench.restoration.rasters import Raster

_CONTEXT: Final = 64
"""Pixels around a window in which the nearest valid neighbours are looked for."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """A window of a scene.

    Attributes:
        reflectance: Not clipped; 0 where there is none; shape (bands, H, W), float32.
        valid: Pixels with data in at least one band and inside the swath, shape (H, W).
        whole: Valid pixels with data in all bands that the mask does not call unusable.
    """

    reflectance: Image
    valid: NDArray[np.bool_]
    whole: NDArray[np.bool_]


class OpticalScene:
    """The bands that a network takes, as an array of the whole scene that is read in parts.

    What has no data is filled from its nearest valid neighbours, so that a convolution never sees
    it: a border of zeros is black land to a network, which then draws a line along it.

    Args:
        raster: The image.
        product: What it is.
        bands: Names of the bands to read.
        mask: Says which pixels are unusable.
    """

    def __init__(
        self,
        raster: Raster,
        product: Product,
        bands: Sequence[str],
        mask: CloudMask | None = None,
    ) -> None:
        self.raster, self.product, self.mask = raster, product, mask
        self._numbers = product.positions(bands, raster.path)
        self._scale, self._offset = (
            np.array([each[number - 1] for number in self._numbers], np.float32)[:, None, None]
            for each in (product.scale, product.offset)
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Bands, height and width."""
        return len(self._numbers), self.raster.grid.height, self.raster.grid.width

    def read(self, rows: slice, columns: slice) -> Pixels:
        """Reflectance of a window, and where it has any.

        Raises:
            SceneFileError: The file cannot be read.
        """
        numbers = self.raster.read(self._numbers, rows, columns)
        nodata = self.product.nodata
        empty = np.isnan(numbers) if np.isnan(nodata) else numbers == nodata
        if numbers.dtype.kind == "f":
            empty |= ~np.isfinite(numbers)
        hidden = self.raster.hidden(rows, columns)
        if hidden is not None:
            empty |= hidden
        values = self._to_reflectance(numbers)
        valid = ~empty.all(0)
        whole = valid.copy()
        # A single dark band of surface reflectance may be 0, the usual nodata, on water or shadow;
        # only a band that is empty where the others are bright was not measured.
        if empty.any():
            values[empty] = 0
            whole &= ~empty.any(0) | (values.max(0) < _DARK)
        if self.mask is not None:
            blank, unusable = self.mask.unusable(rows, columns)
            valid &= ~blank
            whole &= ~(blank | unusable)
        return Pixels(values, valid, whole)

    def overview(self, bands: Sequence[str], height: int, width: int) -> Image:
        """Reflectance of some of its bands over the whole scene, shape (bands, height, width)."""
        positions = self.product.positions(bands, self.raster.path)
        chosen = [self._numbers.index(position) for position in positions]
        return self._to_reflectance(self.raster.overview(positions, height, width), chosen)

    def _to_reflectance(self, numbers: NDArray[Any], bands: Any = slice(None)) -> Image:
        shifted = numbers.astype(np.float32)
        shifted += self._offset[bands]
        shifted *= self._scale[bands]
        return np.asarray(shifted)

    def __getitem__(self, index: Any) -> Image:
        """Reflectance clipped to [0, 1] and without holes: ``scene[:, rows, columns]``.

        Zeros where no valid pixel is near.
        """
        _, rows, columns = index
        height, width = self.shape[1:]
        wider = [
            slice(max(0, part.start - _CONTEXT), min(size, part.stop + _CONTEXT))
            for part, size in ((rows, height), (columns, width))
        ]
        pixels = self.read(*wider)
        inner = tuple(
            slice(part.start - wide.start, part.stop - wide.start)
            for part, wide in zip((rows, columns), wider, strict=True)
        )
        filled = fill_nearest(pixels.reflectance, pixels.whole)
        return np.ascontiguousarray(np.clip(filled[:, *inner], 0, 1))


_DARK: Final = 0.05
"""Reflectance below which all bands are, where one of them may be measured as 0."""


def fill_nearest(image: Image, known: NDArray[np.bool_]) -> Image:
    """Give every other pixel the values of its nearest known one.

    Args:
        image: Shape (bands, H, W).
        known: Shape (H, W).

    Returns:
        A new array; zeros if nothing is known.
    """
    if known.all():
        return image
    if not known.any():
        return np.zeros_like(image)
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.ascontiguousarray(image[:, nearest[0], nearest[1]])
