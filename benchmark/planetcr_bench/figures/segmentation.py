"""Draw Fig. 6 of the paper, and which classes a segmenter confuses."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
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
    WIDE_INCH,
    counts_note,
    cover_curves,
    coverage_note,
    draw_band,
    draw_curve,
    hollow_marker_note,
    label_counts,
    mark_bins,
    start_panel,
)
from planetcr_bench.figures.heat_map import MOST_COLUMNS, columns_for, ink, name_cells
from planetcr_bench.figures.style import (
    EDGE,
    INPUT_STYLE,
    PRINT,
    PRINT_DPI,
    Curve,
    Styles,
    caption_lines,
    finish_figure,
    legend_entry,
    letter_panel,
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
    table = discrepancies(ledgers, table)
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


def discrepancies(ledgers: Sequence[Ledger], table: pd.DataFrame) -> pd.DataFrame:
    """Rows of Fig. 6: the input and the segmented runs, in each cloud-cover bin.

    Args:
        ledgers: Runs on one dataset, at least one of them with a segmenter.
        table: What ``table3`` returns for them.

    Returns:
        ``row``, ``kind``, ``cover_bin``, counts, and the means over segmenters
        ``miou_discrepancy`` and ``pa_discrepancy``, with ``…_lowest`` and ``…_highest``.
    """
    segmented = [method_label(run) for run in ledgers if run.segmenters]
    return _discrepancies(table[(table["kind"] != "measured") | table["row"].isin(segmented)])


MOST_OVERLAID: Final = 4
"""Methods in one panel; more get a panel each."""


def printed_discrepancy_figure(
    table: pd.DataFrame, *, width_inch: float, styles: Styles | None = None
) -> Figure:
    """Fig. 6 for a paper: panels with letters, intervals as bands, no caption.

    A few methods share a panel for mIoU and one for PA; of more, each has a panel with both.

    Args:
        table: Result of :func:`discrepancies`, with ``…_low`` and ``…_high`` where there are bands.
        width_inch: Of the figure.
        styles: Row to colour and marker, if not by the names of the rows.
    """
    curves = cover_curves(table, styles)
    methods = [curve for curve in curves if not curve.is_input]
    with new_figure(PRINT) as figure:
        figure.set_dpi(PRINT_DPI)
        if len(methods) <= MOST_OVERLAID:
            _overlay(figure, curves)
            finish_figure(figure, curves, height_inch=1.75, width_inch=width_inch)
            return figure
        columns = _panel_columns(len(methods), 5 if width_inch > WIDE_INCH else 3)
        letters = int(17 * width_inch / columns)  # of a title, in a line
        values = [curve.values(f"{score}_discrepancy") for curve in curves for score in SCORES]
        shown_input = next((curve for curve in curves if curve.is_input), None)
        panels = panel_grid(figure, len(methods), columns)
        for position, (curve, (axes, left, below)) in enumerate(zip(methods, panels, strict=True)):
            _draw_method(axes, curve, shown_input)
            axes.set_title(textwrap.fill(curve.name, letters - 4))
            mark_bins(axes, named=below)
            axes.set_ylim(min(0.0, np.nanmin(values) - 2), max(5.0, 1.08 * np.nanmax(values)))
            axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
            axes.tick_params(labelleft=left, labelbottom=below)
            letter_panel(axes, position)
        figure.supylabel("points below Cloud-Free ↓", fontsize=7)
        lines = math.ceil(len(methods) / columns)
        titles = max(axes.get_title(loc="left").count("\n") for axes in figure.axes)
        height = 0.25 + lines * (1.05 + 0.11 * titles)
        finish_figure(figure, _score_legend(), height_inch=height, width_inch=width_inch)
    return figure


def _panel_columns(panels: int, most: int) -> int:
    """Columns of a grid whose last line is nearly as full as the others."""
    return math.ceil(panels / math.ceil(panels / most))


def _overlay(figure: Figure, curves: Sequence[Curve]) -> None:
    for position, (score, axes) in enumerate(zip(SCORES, figure.subplots(1, 2), strict=True)):
        axes.set_title(TITLE[score])
        axes.axhline(0, color="black", linewidth=0.6, zorder=1.5, label="_clear")
        for curve in curves:
            draw_band(axes, curve, f"{score}_discrepancy")
            draw_curve(axes, curve, curve.values(f"{score}_discrepancy"))
        mark_bins(axes)
        letter_panel(axes, position)


_PA_LINE: Final[dict[str, Any]] = {"linestyle": ":", "fillstyle": "none", "markeredgewidth": 0.7}
_INPUT_LINE: Final[dict[str, Any]] = {**INPUT_STYLE, "marker": "", "zorder": 1.7}


def _draw_method(axes: Axes, curve: Curve, shown_input: Curve | None) -> None:
    """Draw both scores of a method, and the input's in grey."""
    axes.axhline(0, color="black", linewidth=0.6, zorder=1.5, label="_clear")
    bins = np.arange(len(curve.bins))
    for score, line in (("miou", {}), ("pa", _PA_LINE)):
        name = f"{score}_discrepancy"
        if shown_input is not None:
            own = {**_INPUT_LINE, "linestyle": line.get("linestyle", "-")}
            axes.plot(bins, shown_input.values(name), label="_input", **own)
        draw_band(axes, curve, name, alpha=0.25 if score == "miou" else 0.12)
        style = {**curve.line, **line}
        if line:
            style["markeredgecolor"] = curve.line["color"]
        axes.plot(bins, curve.values(name), label=score, **style)


def _score_legend() -> list[Curve]:
    dark = {"color": "#303030", "marker": "o", **EDGE}
    hollow = {**dark, **_PA_LINE, "markeredgecolor": "#303030"}
    return [
        legend_entry("mIoU", **{**dark, "linestyle": "-"}),
        legend_entry("PA", **hollow),
        legend_entry("mIoU of Cloudy", **{**_INPUT_LINE, "linestyle": "-"}),
        legend_entry("PA of Cloudy", **{**_INPUT_LINE, "linestyle": ":"}),
    ]


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
