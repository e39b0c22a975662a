"""Restore scenes by baselines without training.

``sar-regression`` works on the cells of the SAR grid and is fitted to the scene itself: it covers
clear cells with the scene's own cloud mask, mirrored and shifted, and learns to restore them from
the remaining cells. So its training cells are as far from the next clear cell as the cells under
the real cloud; training on cells with clear neighbours would teach it to copy those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.data.scene import Image, Scene, nearest_index, upsample
from planetcr_bench.errors import SceneError

_Planes = NDArray[np.float64]
_Cells = NDArray[np.bool_]

NEIGHBOURS: Final = (40, 8)
"""Half-widths, in SAR cells of 10 m, of the windows over clear neighbours, coarse to fine."""

SPECKLE: Final = (1, 3)
"""Half-widths, in SAR cells, of the windows that smooth the SAR image itself."""

RIDGE: Final = 0.1
"""Weight of the penalty, per example; inputs have unit variance."""

SHRINK: Final = 0.05
"""A window of which this share is clear takes half its mean from the next coarser one."""

HAZIEST: Final = 0.25
"""Share of the clear cells that is left out as probably hazy."""

STEP: Final = 2
"""Every second cell of every second row is used for training: its neighbours are similar."""

FEWEST: Final = 30
"""Fewest cells to train on, and to predict from in training; with fewer, mean-fill is used."""


def copy_cloudy(scene: Scene) -> Image:
    """Return the cloudy image unchanged, the lower bound for any method."""
    return scene.cloudy


def mean_fill(scene: Scene) -> Image:
    """Replace cloudy pixels by the mean of the scene's clear pixels, band by band.

    A scene without clear pixels takes the mean of the whole cloudy image; one without clouds is
    returned unchanged.
    """
    mask = scene.need_cloud_mask()
    known = ~mask if not mask.all() else mask
    filled = scene.cloudy.copy()
    filled[:, mask] = scene.cloudy[:, known].mean(1, dtype=np.float64)[:, None]
    return filled


def sar_regression(scene: Scene, *, with_sar: bool = True) -> Image:
    """Replace cloudy pixels by a ridge regression from SAR and clear neighbours, fitted per scene.

    Planet's mask misses haze and the edges of clouds. Therefore cells within 10 m of a masked
    pixel, and the haziest quarter of the others, are used neither for training nor as inputs.
    Pixels outside the mask are returned unchanged all the same.

    Args:
        scene: Any height and width. One with too few clear cells to train on, or without clouds,
            is passed to :func:`mean_fill`.
        with_sar: False predicts from clear neighbours alone, to measure what SAR adds.

    Returns:
        Shape (4, H, W); masked pixels are constant within a SAR cell and lie within the range of
        the cells that were learned from.
    """
    optical, clear = _to_cells(scene)
    mask = scene.need_cloud_mask()
    radar = _radar_planes(scene.need_sar()) if with_sar else np.empty((0, *clear.shape))
    restored = _restore(optical, radar, _without_haze(optical, clear), ~clear)
    if restored is None:
        return mean_fill(scene)
    filled = scene.cloudy.copy()
    fine = upsample(restored.astype(np.float32), mask.shape)
    filled[:, mask] = fine[:, mask]
    return filled


def least_cloudy(scene: Scene) -> Image:
    """Return the date with the smallest share of masked pixels; of several the first.

    Args:
        scene: Of several dates, with a mask for each.
    """
    cloudy, masks = _dates(scene)
    best: Image = cloudy[masks.mean(axis=(1, 2)).argmin()]
    return best


def temporal_median(scene: Scene) -> Image:
    """Median over the dates that are clear at a pixel, band by band; where none is, over all dates.

    Of an even number of dates it is the mean of the two in the middle.

    Args:
        scene: Of several dates, with a mask for each.
    """
    cloudy, masks = _dates(scene)
    hidden = masks & ~masks.all(axis=0)
    seen = np.where(hidden[:, None], np.float32(np.nan), cloudy)
    median: Image = np.nanmedian(seen, axis=0).astype(np.float32)
    return median


def _dates(scene: Scene) -> tuple[Image, NDArray[np.bool_]]:
    """Images of all dates, shape (T, B, H, W), and their masks, shape (T, H, W)."""
    if scene.date_masks is None:
        raise SceneError(
            f"{scene.name}: expected a cloud mask for each date, but the dataset has none; --masks "
            "takes them from elsewhere"
        )
    return scene.cloudy, scene.date_masks


def first_date(scene: Scene) -> Scene:
    """The scene with its first cloudy image alone, which counts as the input."""
    return (
        scene if scene.cloudy.ndim == 3 else replace(scene, cloudy=scene.cloudy[0], date_masks=None)
    )


METHODS: Final[dict[str, Callable[[Scene], Image]]] = {
    "copy-cloudy": copy_cloudy,
    "mean-fill": mean_fill,
    "sar-regression": sar_regression,
    "least-cloudy": least_cloudy,
    "temporal-median": temporal_median,
}
"""Name on the command line to method; those that are not in :data:`DATED` take the first date."""

DATED: Final = ("least-cloudy", "temporal-median")
"""Methods for datasets with several cloudy images of a scene."""


# --- Inputs of the regression ---------------------------------------------------------------


def _to_cells(scene: Scene) -> tuple[_Planes, _Cells]:
    """Mean of the pixels of each SAR cell, and the cells with no masked pixel in or next to them.

    A pixel belongs to the cell that ``upsample`` would assign to it.
    """
    mask = scene.need_cloud_mask()
    rows, columns = (
        np.searchsorted(nearest_index(fine, coarse), np.arange(coarse + 1))
        for fine, coarse in zip(mask.shape, scene.need_sar().shape[1:], strict=True)
    )
    extents = np.stack([rows[:-1], rows[1:]]), np.stack([columns[:-1], columns[1:]])
    layers = np.concatenate([scene.cloudy, mask[None], np.ones_like(scene.cloudy[:1])])
    *bands, masked, pixels = _sums(_cumulate(layers), *extents)
    doubtful = (masked > 0) | (pixels == 0)
    return np.stack(bands) / np.maximum(pixels, 1), _window_sums(_cumulate(doubtful), 1) == 0


def _radar_planes(sar: Image) -> _Planes:
    """VV and VH, smoothed twice, then squares and product of the finer: shape (7, h, w)."""
    table, cells = _cumulate(sar), _cumulate(np.ones(sar.shape[1:]))
    smooth = [_window_sums(table, width) / _window_sums(cells, width) for width in SPECKLE]
    vv, vh = smooth[0]
    return np.concatenate([*smooth, np.stack([vv**2, vh**2, vv * vh])])


def _without_haze(optical: _Planes, clear: _Cells) -> _Cells:
    """The clear cells without the haziest of them.

    Haze brightens all bands alike, while most land is darker in blue than in red: blue minus half
    of red separates the two better than brightness does.
    """
    if not clear.any():
        return clear
    haze = optical[0] - optical[2] / 2
    hazeless: _Cells = clear & (haze <= np.quantile(haze[clear], 1 - HAZIEST))
    return hazeless


def _inputs(planes: _Planes, known: _Cells, bands: int) -> tuple[_Planes, _Planes]:
    """Inputs of the regression at every cell, computed from the known cells alone.

    Args:
        planes: Optical bands, then SAR planes, shape (P, h, w).
        known: Cells whose optical values may be used, shape (h, w).
        bands: How many of the planes are optical.

    Returns:
        Mean of the known cells of each band, shape (bands, 1, 1), from which the regression
        predicts the deviation; and its inputs: for each window how far the mean of its known cells
        lies from that of the next coarser one, then how far the cell's own SAR values lie from
        the mean of the known cells, shape (F, h, w).
    """
    mean = planes[:, known].mean(1)[:, None, None]
    coarse, steps = np.broadcast_to(mean, planes.shape), []
    table = _cumulate(np.concatenate([planes, np.ones_like(planes[:1])]) * known)
    cells = _cumulate(np.ones(known.shape))
    for width in NEIGHBOURS:
        pull = SHRINK * _window_sums(cells, width)
        *totals, count = _window_sums(table, width)
        fine = (np.stack(totals) + pull * coarse) / (count + pull)
        steps.append(fine - coarse)
        coarse = fine
    return mean[:bands], np.concatenate([*steps, planes[bands:] - mean[bands:]])


# --- The regression -------------------------------------------------------------------------


def _restore(optical: _Planes, radar: _Planes, known: _Cells, hidden: _Cells) -> _Planes | None:
    """Predict the optical bands of every cell, shape (4, h, w); None with too few to train on."""
    holes = [hole & known for hole in _artificial_holes(hidden)]
    holes = [
        hole for hole in holes if min(hole[::STEP, ::STEP].sum(), (known & ~hole).sum()) >= FEWEST
    ]
    if not holes:
        return None
    bands, planes = len(optical), np.concatenate([optical, radar])
    centre = planes[:, known].mean(1)[:, None, None]
    spread = planes[:, known].std(1)[:, None, None]
    planes = (planes - centre) / np.where(spread > 0, spread, 1)
    examples = [_examples(planes, known, hole, bands) for hole in holes]
    weights = _fit(*(np.concatenate(parts, axis=1) for parts in zip(*examples, strict=True)))
    mean, inputs = _inputs(planes, known, bands)
    answer = mean + np.einsum("bf,fyx->byx", weights, inputs)
    seen = planes[:bands, known]
    answer = np.clip(answer, seen.min(1)[:, None, None], seen.max(1)[:, None, None])
    restored: _Planes = answer * spread[:bands] + centre[:bands]
    return restored


def _artificial_holes(hidden: _Cells) -> list[_Cells]:
    """Move the real holes elsewhere: three mirrorings, and three shifts by half a scene."""
    height, width = hidden.shape
    mirrored = [hidden[::-1], hidden[:, ::-1], hidden[::-1, ::-1]]
    shifts = [(height // 2, 0), (0, width // 2), (height // 2, width // 2)]
    return mirrored + [np.roll(hidden, shift, (0, 1)) for shift in shifts]


def _examples(planes: _Planes, known: _Cells, hole: _Cells, bands: int) -> tuple[_Planes, _Planes]:
    """Inputs (F, n) and targets (bands, n) in a hole, computed from the cells around it."""
    mean, inputs = _inputs(planes, known & ~hole, bands)
    hole, inputs = hole[::STEP, ::STEP], inputs[:, ::STEP, ::STEP]
    return inputs[:, hole], (planes[:bands] - mean)[:, ::STEP, ::STEP][:, hole]


def _fit(inputs: _Planes, answers: _Planes) -> _Planes:
    """Ridge regression through the origin.

    Args:
        inputs: Shape (F, n).
        answers: Shape (bands, n).

    Returns:
        Weights, shape (bands, F).
    """
    penalty = RIDGE * inputs.shape[1] * np.eye(len(inputs))
    # einsum does not call BLAS; see _cumulate.
    products = np.einsum("fn,gn->fg", inputs, inputs), np.einsum("fn,bn->fb", inputs, answers)
    return np.linalg.solve(products[0] + penalty, products[1]).T


# --- Sums over windows ----------------------------------------------------------------------


def _cumulate(planes: NDArray[np.generic]) -> _Planes:
    """Table of sums of all that lies above and left, shape (..., H + 1, W + 1).

    Any rectangle's sum is four of its entries. A matrix product would do the same, but a BLAS
    that shares its processors with other workers can be a hundred times slower at this size.
    """
    height, width = planes.shape[-2:]
    table = np.zeros((*planes.shape[:-2], height + 1, width + 1))
    np.cumsum(planes, axis=-2, out=table[..., 1:, 1:])
    np.cumsum(table[..., 1:, 1:], axis=-1, out=table[..., 1:, 1:])
    return table


def _sums(table: _Planes, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> _Planes:
    """Sums over rectangles.

    Args:
        table: What :func:`_cumulate` gives.
        rows: First row, and the one after the last, of each rectangle, shape (2, h).
        columns: Likewise, shape (2, w).

    Returns:
        Shape (..., h, w).
    """
    strips = table[..., rows[1], :] - table[..., rows[0], :]
    sums: _Planes = strips[..., columns[1]] - strips[..., columns[0]]
    return sums


def _window_sums(table: _Planes, width: int) -> _Planes:
    """Sum of the window of ``width`` cells to either side of each cell, cut off at the borders."""
    windows = []
    for lines in table.shape[-2:]:
        cell = np.arange(lines - 1)
        windows.append(np.stack([cell - width, cell + width + 1]).clip(0, lines - 1))
    return _sums(table, *windows)
