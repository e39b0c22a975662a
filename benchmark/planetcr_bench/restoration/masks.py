"""Read what Planet says of each pixel: usable data masks of both generations."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.data.mask_rules import UDM2_COUNT, UDM_CLOUD, is_cloud
from planetcr_bench.metrics.reflectance import PixelError
from planetcr_bench.restoration.rasters import Grid, Raster, SceneFileError
from planetcr_bench.utils.untrusted import printable

Mask = NDArray[np.bool_]

CLOUDY: Final = "udm2:shadow,light-haze,heavy-haze,cloud"
"""What counts as cloud in UDM2; see ``mask_rules``."""

_BLANK: Final = 1
"""Bit 0 of the unusable data mask: no data were taken here."""


class CloudMask:
    """A usable data mask: a UDM2 file of eight bands, or an old one of one band.

    Args:
        raster: The mask.
        grid: Of the scene.
        rule: What counts as cloud in UDM2; see ``mask_rules``.

    Raises:
        SceneFileError: It has another grid, another number of bands, or no whole numbers.
    """

    def __init__(self, raster: Raster, grid: Grid, *, rule: str = CLOUDY) -> None:
        self.raster, self._rule = raster, rule
        path = printable(raster.path)
        if raster.bands not in (1, UDM2_COUNT) or np.dtype(raster.dtype).kind not in "ui":
            raise SceneFileError(
                f"{path}: expected a UDM2 file of {UDM2_COUNT} bands, or a UDM file of one, of "
                f"whole numbers, got {raster.bands} bands of {raster.dtype}"
            )
        if not raster.grid.same_as(grid):
            raise SceneFileError(
                f"{path}: expected the grid of the scene, {grid}, got {raster.grid}; use the mask "
                "that was delivered with the scene, clipped as the scene is"
            )

    @property
    def name(self) -> str:
        """Which kind it is: UDM2 or UDM."""
        return "UDM2" if self.raster.bands == UDM2_COUNT else "UDM"

    def clear(self, rows: slice, columns: slice) -> Mask:
        """Pixels of a window that it calls clear.

        Raises:
            SceneFileError: The file cannot be read.
        """
        if self.raster.bands == 1:
            return np.asarray(self.raster.read([1], rows, columns)[0] == 0)
        clear, unusable = self.raster.read([1, 8], rows, columns)
        return np.asarray((clear == 1) & (unusable == 0))

    def cloudy(self, rows: slice, columns: slice) -> Mask:
        """Pixels of a window under cloud, haze or the shadow of a cloud.

        Raises:
            SceneFileError: The file cannot be read.
        """
        if self.raster.bands == 1:
            return np.asarray(self.raster.read([1], rows, columns)[0] & UDM_CLOUD != 0)
        try:
            cloud: Mask = is_cloud(self.raster.read(range(1, 7), rows, columns), self._rule)[0]
        except PixelError as error:
            raise SceneFileError(f"{printable(self.raster.path)}: {error}") from error
        return cloud

    def unusable(self, rows: slice, columns: slice) -> tuple[Mask, Mask]:
        """Pixels of a window without any data, and pixels in which a band is missing or suspect.

        Raises:
            SceneFileError: The file cannot be read.
        """
        number = self.raster.bands
        bits = self.raster.read([number], rows, columns)[0]
        return (bits & _BLANK) != 0, (bits & (0xFF ^ _BLANK ^ UDM_CLOUD)) != 0
