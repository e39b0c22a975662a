"""Survey an AOI: what each of its windows lacks, shows and is covered by, in one pass.

Everything is counted in blocks of 30 m first, so that windows of any stride are sums of blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from planetcr_bench.constants import LAND_COVER_NAMES, OPTICAL_SIZE, PLANET_CR
from planetcr_bench.curation.frame import BLOCK_COARSE, BLOCK_PX, Frame
from planetcr_bench.curation.pair import Pair, PairFiles, open_pair
from planetcr_bench.curation.registration import Shift, measure_shift
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.data.scene import land_cover_classes
from planetcr_bench.restoration.products import ProductName
from planetcr_bench.restoration.rasters import SceneFileError
from planetcr_bench.utils.untrusted import printable

Counts = NDArray[np.int32]

_STRIP: Final = 5
"""Rows of blocks that are read at a time."""

_SIDE: Final = OPTICAL_SIZE // BLOCK_PX
"""Blocks along a side of a window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Counts of each block of 30 m, shape (rows, columns) unless stated.

    Attributes:
        empty: Optical pixels that a date lacks.
        cloudy: Optical pixels under cloud.
        compared: Optical pixels that both dates show without cloud.
        change: Sum over these of the mean absolute difference of the bands, reflectance.
        no_sar: SAR pixels without data.
        no_land_cover: Land-cover pixels without data.
        classes: Land-cover pixels of each of ``LAND_COVER_NAMES``, shape (7, rows, columns).
    """

    empty: Counts
    cloudy: Counts
    compared: Counts
    change: NDArray[np.float64]
    no_sar: Counts
    no_land_cover: Counts
    classes: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaSurvey:
    """What is known of an AOI before anything of it is chosen.

    Attributes:
        frame: Its grids.
        product: What its scenes are.
        tags: Of the cloudy and of the clear scene.
        shift: Registration of the two dates.
        windows: One row for each window: ``patch`` (from 1), ``top`` and ``left`` (optical pixels),
            ``missing`` (largest share of its pixels that one of the products lacks), ``cover``
            (share under cloud; nan without a mask), ``change`` (mean absolute difference of the
            dates where both are clear; nan where nothing is), and the share of each of
            ``LAND_COVER_NAMES`` (nan without a map).
    """

    frame: Frame
    product: ProductName
    tags: tuple[dict[str, str], dict[str, str]]
    shift: Shift
    windows: pd.DataFrame


def survey_pair(files: PairFiles, *, stride: int) -> AreaSurvey:
    """Read all products of an AOI once.

    Args:
        files: Its files.
        stride: Optical pixels from one window to the next, a multiple of ten.

    Raises:
        SceneFileError: A file cannot be used.
    """
    with ExitStack() as stack:
        pair = open_pair(files, stack, like_cloudy=False)
        if pair.product.name == "sentinel-2":
            raise SceneFileError(
                f"{printable(files.cloudy)}: expected a PlanetScope scene, got {pair.product}"
            )
        blocks = count_blocks(pair)
        if int(blocks.empty.min()) == BLOCK_PX**2:
            raise SceneFileError(
                f"{printable(files.clear)}: expected data where the cloudy scene has some, got none"
            )
        shift = measure_shift(pair, blocks.empty + blocks.cloudy == 0)
        return AreaSurvey(
            frame=pair.frame,
            product=pair.product.name,
            tags=pair.tags,
            shift=shift,
            windows=windows_of(
                blocks, stride, mask=pair.mask is not None, land_cover=pair.land_cover is not None
            ),
        )


def count_blocks(pair: Pair) -> Blocks:
    """Count in every block what a window could lack or show.

    Raises:
        SceneFileError: A file cannot be read.
    """
    strips = list(_strips(pair))
    return Blocks(**{
        name: np.concatenate([strip[name] for strip in strips], axis=-2) for name in strips[0]
    })  # fmt: skip


def _strips(pair: Pair) -> Iterator[dict[str, NDArray[Any]]]:
    down, across = pair.frame.blocks
    for start in range(0, down, _STRIP):
        stop = min(start + _STRIP, down)
        parts = ((start, stop), (0, across))
        fine = (slice(a * BLOCK_PX, b * BLOCK_PX) for a, b in parts)
        coarse = (slice(a * BLOCK_COARSE, b * BLOCK_COARSE) for a, b in parts)
        yield _optical(pair, *fine) | _others(pair, *coarse)


def _optical(pair: Pair, rows: slice, columns: slice) -> dict[str, NDArray[Any]]:
    before, after = pair.cloudy.read(rows, columns), pair.clear.read(rows, columns)
    valid = before.valid & after.valid
    cloudy = np.zeros_like(valid) if pair.mask is None else pair.mask.cloudy(rows, columns)
    both = valid & ~cloudy
    difference = np.abs(before.reflectance - after.reflectance).mean(0)
    return {
        "empty": _sums(~valid, BLOCK_PX), "cloudy": _sums(cloudy, BLOCK_PX),
        "compared": _sums(both, BLOCK_PX),
        "change": _sums(np.where(both, difference, 0), BLOCK_PX, np.float64),
    }  # fmt: skip


def _others(pair: Pair, rows: slice, columns: slice) -> dict[str, NDArray[Any]]:
    shape = rows.stop - rows.start, columns.stop - columns.start
    known = np.ones(shape, bool) if pair.sar is None else pair.sar.known(rows, columns)
    codes = np.zeros(shape, np.uint8)
    mapped = np.ones(shape, bool)
    described = load_description(PLANET_CR).land_cover
    if pair.land_cover is not None:
        codes = pair.land_cover.read(rows, columns)
        mapped = codes != 0
    assert described is not None
    classes = land_cover_classes(codes, described)
    return {
        "no_sar": _sums(~known, BLOCK_COARSE),
        "no_land_cover": _sums(~mapped, BLOCK_COARSE),
        "classes": np.stack([
            _sums(classes == index, BLOCK_COARSE) for index in range(len(LAND_COVER_NAMES))
        ]),
    }  # fmt: skip


def _sums(image: NDArray[Any], side: int, dtype: type[np.generic] = np.int32) -> NDArray[Any]:
    """Sum of each square of a side, shape (H / side, W / side)."""
    height, width = image.shape
    rows = image.reshape(height // side, side, width).sum(1, dtype=dtype)  # whole rows are fast
    return np.asarray(rows.reshape(height // side, width // side, side).sum(2, dtype=dtype))


# --- Windows --------------------------------------------------------------------------------


def windows_of(blocks: Blocks, stride: int, *, mask: bool, land_cover: bool) -> pd.DataFrame:
    """Describe every window of 300 × 300 optical pixels; see :class:`AreaSurvey`.

    Args:
        blocks: Counts of the AOI.
        stride: Optical pixels from one window to the next, a multiple of ten.
        mask: Whether it has a cloud mask.
        land_cover: Whether it has a land-cover map.
    """
    step = stride // BLOCK_PX
    sums = {
        name: _window_sums(getattr(blocks, name), step)
        for name in ("empty", "cloudy", "compared", "change", "no_sar", "no_land_cover")
    }
    down, across = sums["empty"].shape
    optical, coarse = float(OPTICAL_SIZE**2), float((_SIDE * BLOCK_COARSE) ** 2)
    missing = np.max([sums["empty"] / optical, sums["no_sar"] / coarse,
                      sums["no_land_cover"] / coarse], axis=0)  # fmt: skip
    with np.errstate(invalid="ignore", divide="ignore"):
        change = np.where(sums["compared"] > 0, sums["change"] / sums["compared"], np.nan)
    row, column = np.mgrid[:down, :across]
    table = {
        "patch": row * across + column + 1, "top": row * stride, "left": column * stride,
        "missing": missing,
        "cover": sums["cloudy"] / optical if mask else np.full(missing.shape, np.nan),
        "change": change,
    }  # fmt: skip
    for index, name in enumerate(LAND_COVER_NAMES):
        share = _window_sums(blocks.classes[index], step) / coarse
        table[name] = share if land_cover else np.full(missing.shape, np.nan)
    return pd.DataFrame({name: values.ravel() for name, values in table.items()})


def _window_sums(counts: NDArray[Any], step: int) -> NDArray[Any]:
    """Sum over the blocks of each window, shape (windows down, windows across)."""
    total = np.zeros((counts.shape[0] + 1, counts.shape[1] + 1), np.float64)
    np.cumsum(counts.cumsum(0, dtype=np.float64), axis=1, out=total[1:, 1:])
    corners = total[_SIDE:], total[:-_SIDE]
    low, high = (part[:, _SIDE:] - part[:, :-_SIDE] for part in corners)
    return np.asarray((low - high)[::step, ::step])
