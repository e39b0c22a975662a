"""Define the training patches that the loader reads, whole or cropped."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

PRODUCTS: Final = ("cloudy", "clear", "sar", "cloud_mask", "land_cover")
"""Names of the arrays of a patch."""


class Patch(Protocol):
    """A training patch: optical grid H x W, radar grid h x w, over the same extent.

    What the dataset lacks is None.
    """

    @property
    def cloudy(self) -> NDArray[np.float32]:
        """Reflectance in [0, 1], shape (bands, H, W)."""

    @property
    def clear(self) -> NDArray[np.float32]:
        """The cloud-free image, likewise."""

    @property
    def sar(self) -> NDArray[np.float32] | None:
        """Such as VV and VH in [0, 1], shape (bands, h, w)."""

    @property
    def cloud_mask(self) -> NDArray[np.bool_] | None:
        """True for cloud, shape (H, W)."""

    @property
    def land_cover(self) -> NDArray[np.uint8] | None:
        """Class index of each optical pixel, shape (H, W)."""


class Patches(Protocol):
    """A sequence of patches, perhaps of several sizes, with cheap reading of windows."""

    @property
    def smallest(self) -> int:
        """Optical pixels along the shortest side of any patch."""

    @property
    def cell(self) -> int:
        """Optical pixels after which the optical and the radar grid coincide again.

        Windows start and end at multiples of it: 10 for 3 m and 10 m (3 radar pixels).
        """

    def __len__(self) -> int: ...

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of a patch, in optical pixels.

        Args:
            index: Of the patch.
        """

    def read(self, index: int, *, top: int = 0, left: int = 0, size: int | None = None) -> Patch:
        """Read a square window of a patch.

        Args:
            index: Of the patch.
            top: First optical row, a multiple of ``cell``.
            left: First optical column, likewise.
            size: Side in optical pixels, likewise; by default the whole patch.
        """
