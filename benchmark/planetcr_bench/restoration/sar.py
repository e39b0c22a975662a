"""Show a Sentinel-1 image to a network, on the grid of the scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import SAR_RANGE_DB
from planetcr_bench.data.scene import Image
from planetcr_bench.restoration.optical import fill_nearest
from planetcr_bench.restoration.rasters import Raster, SceneFileError
from planetcr_bench.utils.untrusted import printable

Unit = Literal["dB", "linear power"]

_SAMPLE: Final = 512
"""Pixels along a side of the sample from which units are recognised."""

_CONTEXT: Final = 32
"""Pixels around a window in which the nearest valid neighbours are looked for."""


class SarScene:
    """VV and VH in [0, 1] over the whole scene, as an array that is read in parts.

    Args:
        raster: Resampled to a grid over the extent of the scene.

    Attributes:
        unit: Of the file, as recognised from its values.
        covered: Share of the scene for which there is SAR, from a sample.

    Raises:
        SceneFileError: It has fewer than two bands, other names, or values that are neither
            decibels nor linear power.
    """

    def __init__(self, raster: Raster) -> None:
        self.raster = raster
        self._numbers = _vv_and_vh(raster)
        height, width = raster.grid.height, raster.grid.width
        sample = raster.overview(self._numbers, min(height, _SAMPLE), min(width, _SAMPLE))
        known = self._known(sample, hidden=None)
        self.covered = float(known.mean())
        self.unit = _unit(raster.path, sample[:, known])
        self._typical = np.median(self._to_decibels(sample, known)[:, known], axis=1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Two bands, height and width."""
        return 2, self.raster.grid.height, self.raster.grid.width

    def __getitem__(self, index: Any) -> Image:
        """A window: ``scene[:, rows, columns]``; what has no data has its nearest neighbour's."""
        _, rows, columns = index
        low, high = np.array(SAR_RANGE_DB, np.float32).T[:, :, None, None]
        clipped = np.clip(self.decibels(rows, columns), low, high)
        return np.asarray((clipped - low) / (high - low), np.float32)

    def known(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Pixels of a window that have data.

        Raises:
            SceneFileError: The file cannot be read.
        """
        numbers = self.raster.read(self._numbers, rows, columns)
        return self._known(numbers, self.raster.hidden(rows, columns))

    def decibels(self, rows: slice, columns: slice) -> NDArray[np.floating]:
        """VV and VH of a window in dB, without holes, shape (2, rows, columns).

        What has no data has the value of its nearest neighbour, or where none is near that of the
        image's median. Floats are as precise as those of the file.

        Raises:
            SceneFileError: The file cannot be read.
        """
        height, width = self.shape[1:]
        wide_rows, wide_columns = (
            slice(max(0, part.start - _CONTEXT), min(size, part.stop + _CONTEXT))
            for part, size in ((rows, height), (columns, width))
        )
        numbers = self.raster.read(self._numbers, wide_rows, wide_columns)
        known = self._known(numbers, self.raster.hidden(wide_rows, wide_columns))
        filled = self._to_decibels(numbers, known)
        if known.any():
            filled = fill_nearest(filled, known)
        else:
            filled[...] = self._typical[:, None, None]
        return np.ascontiguousarray(
            filled[
                :,
                rows.start - wide_rows.start : rows.stop - wide_rows.start,
                columns.start - wide_columns.start : columns.stop - wide_columns.start,
            ]
        )

    def _known(self, numbers: NDArray[Any], hidden: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        known: NDArray[np.bool_] = np.isfinite(numbers).all(0) & (numbers != 0).any(
            0
        )  # borders of GRD images are 0
        if self.raster.declared_nodata is not None:
            known &= (numbers != self.raster.declared_nodata).all(0)
        return known if hidden is None else known & ~hidden

    def _to_decibels(self, numbers: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.floating]:
        values = np.where(known, numbers, 1)
        if values.dtype.kind != "f":
            values = values.astype(np.float32)
        if self.unit == "linear power":
            values = 10 * np.log10(np.maximum(values, 1e-6))
        return np.asarray(values)


def _vv_and_vh(raster: Raster) -> list[int]:
    """Numbers of the two bands in the file."""
    names = [name.strip().lower() for name in raster.names]
    found = [[at for at, name in enumerate(names, 1) if word in name] for word in ("vv", "vh")]
    if all(len(numbers) == 1 for numbers in found):
        return [numbers[0] for numbers in found]
    if raster.bands < 2 or any(name and "band" not in name for name in names[:2]):
        shown = ", ".join(name or "(no name)" for name in raster.names)
        raise SceneFileError(
            f"{printable(raster.path)}: expected two bands, VV and VH, in this order or named so, "
            f"got {raster.bands}: {printable(shown)}"
        )
    return [1, 2]


def _unit(path: Path, values: NDArray[Any]) -> Unit:
    """Decibels have negative values almost everywhere, linear power has none."""
    if not values.size:
        raise SceneFileError(
            f"{printable(path)}: expected an image that overlaps the scene, got no data there"
        )
    low, middle, high = np.percentile(values.astype(np.float64), [1, 50, 99])
    if low > -60 and middle < 0 and high < 40:
        return "dB"
    if low >= 0 and middle < 2 and high < 1_000:
        return "linear power"
    raise SceneFileError(
        f"{printable(path)}: expected VV and VH in decibels, usually −30 to 5, or as linear power, "
        f"usually 0 to 1, got values around {middle:.4g}; calibrate the image first, as SNAP and "
        "Sentinel-1 RTC products do"
    )
