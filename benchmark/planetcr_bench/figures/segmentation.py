"""Draw Fig. 6 of the paper, and which classes a segmenter confuses."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from planetcr_bench.analysis.segmentation import (
    OVERALL,
    SCORES,
    segmenters_of,
    signature,
    transitions,
)
from planetcr_bench.analysis.segmentation_tables import over_segmenters, segmented_runs, table3
from planetcr_bench.constants import LAND_COVER
from planetcr_bench.errors import LedgerError
from planetcr_bench.figures.cloud_cover import (
    counts_note,
    cover_curves,
    coverage_note,
    draw_curve,
    hollow_marker_note,
    label_counts,
    start_panel,
)
from planetcr_bench.figures.heat_map import MOST_COLUMNS, columns_for, ink, name_cells
from planetcr_bench.figures.style import (
    Curve,
    caption_lines,
    finish_figure,
    new_figure,
    panel_grid,
    short_count,
)
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.results.aggregate import clusters_of, method_label
from planetcr_bench.results.ledger import Ledger

TITLE: Final = {"miou": "mIoU below Cloud-Free ↓ [points]", "pa": "PA below Cloud-Free ↓ [points]"}

_SHIFT: Final = 0.09  # between curves that have error bars, in bins
_SHADE: Final = 0.6  # exponent of the share: small ones show, too
_KEPT, _TURNED = colormaps["Blues"], colormaps["Oranges"]  # distinct in grey, too
_EMPTY: Final = (0.9, 0.9, 0.9)
_NOTE: Final = (
    "Row: predicted class in the clear image. Column: predicted class in the image that the panel "
    "names. Number: per cent of the row. Blue: the same class; orange: another."
)


def discrepancy_figure(
    ledgers: Sequence[Ledger],
    protocol: Protocol,
    *,
    table: pd.DataFrame | None = None,
    note: str = "",
) -> Figure:
    """Fig. 6: how far mIoU and PA stay below those of the clear image, over cloud-cover bins.

    With several segmenters a point is their mean and its bar goes from the lowest to the highest.

    Args:
        ledgers: Runs on one dataset, at least one of them with a segmenter.
        protocol: Which to report.
        table: What ``table3`` returns for them, if already computed.
        note: Last line of the caption.

    Returns:
        A figure 7 inches wide that belongs to no window and to no pyplot state.

    Raises:
        LedgerError: No run has a segmenter, or they have different ones.
    """
    segmenters = _expect_segmenters(ledgers)
    if table is None:
        table = table3(ledgers, protocol)
    segmented = [method_label(run) for run in ledgers if run.segmenters]
    table = _discrepancies(table[(table["kind"] != "measured") | table["row"].isin(segmented)])
    curves = cover_curves(table)
    with new_figure() as figure:
        for score, axes in zip(SCORES, figure.subplots(1, 2), strict=True):
            start_panel(axes, TITLE[score])
            _draw_score(axes, score, curves, spread=len(segmenters) > 1)
        clusters = clusters_of(ledgers)
        label_counts(figure.axes, curves, clusters)
        bars = (
            f"Point: mean of {len(segmenters)} segmenters. "
            "Bar beside it: from the lowest to the highest."
        )
        sentences = [
            "Line at 0: the cloud-free image.",
            *([bars] if len(segmenters) > 1 else []),
            counts_note(clusters),
            *hollow_marker_note(table),
            *coverage_note(table),
            *_unsegmented(ledgers),
        ]
        signatures = [signature(name, protocol, list(segmenters)) for name in ("mIoU", "PA")]
        finish_figure(figure, curves, caption_lines(sentences, signatures, note), height_inch=2.9)
    return figure


def _expect_segmenters(ledgers: Sequence[Ledger]) -> dict[str, str]:
    segmenters = segmenters_of(ledgers)
    if not segmenters:
        raise LedgerError(
            "expected runs with a segmenter, got none; evaluate them again with --segmenter"
        )
    return segmenters


def _unsegmented(ledgers: Sequence[Ledger]) -> list[str]:
    names = ", ".join(run.name for run in ledgers if not run.segmenters)
    return [f"Not segmented, so not drawn: {names}."] if names else []


def _discrepancies(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the figure: mean over segmenters, with ``…_lowest`` and ``…_highest`` beside it."""
    table = over_segmenters(table)
    table = table[(table["kind"] != "clear") & (table["cover_bin"] != OVERALL)]
    parts = {
        segmenter: part.reset_index(drop=True) for segmenter, part in table.groupby("segmenter")
    }
    names = [f"{score}_discrepancy" for score in SCORES]
    return parts["mean"].join(
        [parts[segmenter][names].add_suffix(f"_{segmenter}") for segmenter in ("lowest", "highest")]
    )


def _draw_score(axes: Axes, score: str, curves: Sequence[Curve], *, spread: bool) -> None:
    axes.axhline(0, color="black", linewidth=0.8, zorder=1.5, label="_clear")
    for index, curve in enumerate(curves):
        if spread:
            shift = _SHIFT * (index - (len(curves) - 1) / 2) * min(1, 7 / len(curves))
            _draw_spread(axes, score, curve, shift)
        draw_curve(axes, curve, curve.values(f"{score}_discrepancy"))


def _draw_spread(axes: Axes, score: str, curve: Curve, shift: float) -> None:
    """Draw the bars of a curve beside its points: the line itself stays above its bins."""
    mean, low, high = (
        curve.values(f"{score}_discrepancy{end}") for end in ("", "_lowest", "_highest")
    )
    axes.errorbar(
        np.arange(len(mean)) + shift,
        mean,
        yerr=np.maximum([mean - low, high - mean], 0),  # a mean may round below its least
        fmt="_",
        markersize=3.5,
        color=curve.line["color"],
        elinewidth=0.9,
        zorder=1.8,
        label="_spread",
    )


def transition_figure(ledgers: Sequence[Ledger], protocol: Protocol, *, note: str = "") -> Figure:
    """Confusion of each class between the clear image and the cloudy or restored one.

    Args:
        ledgers: Runs on one dataset, at least one of them with a segmenter.
        protocol: Which to report.
        note: Last line of the caption.

    Returns:
        A figure 7 inches wide with one panel for the cloudy image and one for each segmented run:
        shares of the pixels of each class of the clear image, added over segmenters.

    Raises:
        LedgerError: No run has a segmenter, or they have different ones.
    """
    segmenters = _expect_segmenters(ledgers)
    matrices = list(_matrices(ledgers, protocol, segmenters))
    columns = columns_for(len(matrices))
    lines = math.ceil(len(matrices) / columns)
    across, down = "class in this image", "class in the clear image"
    with new_figure({"axes.grid": False}) as figure:
        for (name, pixels), (axes, left, below) in zip(
            matrices, panel_grid(figure, len(matrices), columns), strict=True
        ):
            _draw_matrix(axes, name, pixels, small=columns == MOST_COLUMNS)
            name_cells(
                axes, LAND_COVER, LAND_COVER, left=left, below=below, across=across, down=down
            )
            for label in axes.get_xticklabels():
                label.set(rotation=40, ha="right", rotation_mode="anchor")
        added = f", added over {len(segmenters)} segmenters" if len(segmenters) > 1 else ""
        empty = any((pixels.sum(1) == 0).any() for _, pixels in matrices)
        sentences = [
            _NOTE,
            f"Right of a row: its pixels{added}. In a title: share of all that stay.",
            *(["Grey row: no such pixels."] if empty else []),
            *_unsegmented(ledgers),
        ]
        signed = [signature("agreement PA", protocol, list(segmenters))]
        caption = caption_lines(sentences, signed, note)
        # Heights at which cells are about square.
        title_lines = 1 + max(axes.get_title().count("\n") for axes in figure.axes)
        panel_inch = 5.1 / columns + 0.05 + 0.15 * title_lines
        hanging = 0.65 * (len(matrices) % columns > 0)  # class names below the last line but one
        finish_figure(figure, [], caption, height_inch=0.85 + lines * panel_inch + hanging)
    return figure


def _matrices(
    ledgers: Sequence[Ledger], protocol: Protocol, segmenters: Iterable[str]
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Name and pixels of each panel."""
    for name, kind, ledger, image in segmented_runs(ledgers):
        if kind != "clear" and ledger.segmenters:
            counts = [transitions(ledger, segmenter, protocol, image) for segmenter in segmenters]
            yield name, np.sum(counts, axis=0)


def _draw_matrix(axes: Axes, name: str, pixels: NDArray[np.int64], *, small: bool) -> None:
    rows = pixels.sum(1, keepdims=True)
    share = pixels / np.maximum(rows, 1)
    shade = 0.85 * share**_SHADE
    same = np.eye(len(pixels), dtype=bool)[..., None]
    image = np.where(same, _KEPT(shade)[..., :3], _TURNED(shade)[..., :3])
    image = np.where(rows[..., None] > 0, image, _EMPTY)
    axes.imshow(image, interpolation="nearest", aspect="auto")
    size = 5.5 if small else 7.5
    for (row, column), value in np.ndenumerate(share):
        axes.text(
            column,
            row,
            _whole_percent(value) if rows[row, 0] else "–",
            ha="center",
            va="center",
            fontsize=size,
            color=ink(image[row, column]),
        )
    for row, count in enumerate(rows[:, 0]):
        axes.text(
            5.62, row, short_count(int(count)), va="center", fontsize=size - 0.5, color="#606060"
        )
    kept = np.trace(pixels) / max(pixels.sum(), 1)
    title = textwrap.fill(f"{name} ({100 * kept:.1f}\N{NO-BREAK SPACE}%)", 27 if small else 32)
    axes.set_title(title, fontsize=7 if small else 9, parse_math=False)


def _whole_percent(share: float) -> str:
    """A share as 0, <1, 1, …, 99, >99 or 100: never rounded to none or all."""
    percent = round(100 * share)
    if share > 0 and percent < 1:
        return "<1"
    return ">99" if share < 1 and percent == 100 else f"{percent}"
