"""Draw Fig. 5 of the paper, the metrics over cloud-cover bins, and curves of other figures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from planetcr_bench.constants import COVER_BINS
from planetcr_bench.figures.style import (
    EDGE,
    FEW_SCENES,
    INPUT_STYLE,
    PRINT,
    PRINT_DPI,
    Curve,
    Styles,
    caption_lines,
    finish_figure,
    letter_panel,
    method_styles,
    needs_log_scale,
    new_figure,
    use_log_scale,
)
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS
from planetcr_bench.results.imagery import SCENE

CROWD: Final = 3
"""With more methods than this the axes span the methods only, so that they are legible; the value
of an input that lies beyond is written at the edge of the panel."""

AOIS: Final = "AOIs"

SCENES: Final = f"{SCENE}s"
"""In place of AOIs, where each scene counts as independent."""


def counts_note(clusters: str = AOIS) -> str:
    """What :func:`label_counts` writes, for the caption."""
    if clusters == SCENES:
        return "n: scenes in the bin."
    meaning = "areas of interest" if clusters == AOIS else "those"
    return f"n: scenes in the bin. {clusters}: {meaning} that they come from."


_TOP: Final = 0.94
"""Where a perfect PSNR is drawn, as a share of the panel's height."""


def cover_figure(
    table: pd.DataFrame, protocol: Protocol, *, note: str = "", clusters: str = AOIS
) -> Figure:
    """Fig. 5: the four metrics over the five cloud-cover bins, one line per method.

    A bin without scenes leaves a gap. An infinite PSNR is drawn at the top of its panel, under ∞.

    Args:
        table: Result of ``cover_scores``.
        protocol: The one that the table was made with; its signature goes into the caption.
        note: Last line of the caption, such as the name of the dataset.
        clusters: Word for what groups scenes.

    Returns:
        A figure 7 inches wide that belongs to no window and to no pyplot state.
    """
    curves = cover_curves(table)
    with new_figure() as figure:
        for metric, axes in zip(HEADLINE, figure.subplots(2, 2).flat, strict=True):
            _draw_panel(axes, metric, curves)
        label_counts(figure.axes[2:], curves, clusters)
        caption = _caption(figure, table, protocol, note, clusters)
        finish_figure(figure, curves, caption, height_inch=5.1)
    return figure


def draw_cover(
    panels: Sequence[Axes], table: pd.DataFrame, metrics: Sequence[str] = HEADLINE
) -> None:
    """Draw panels of Fig. 5 on axes of others: one for each metric, the bins by their edges."""
    curves = cover_curves(table)
    for metric, axes in zip(metrics, panels, strict=True):
        _draw_panel(axes, metric, curves)
        mark_bins(axes)
    panels[-1].legend()


def printed_cover_figure(
    table: pd.DataFrame, *, width_inch: float, styles: Styles | None = None
) -> Figure:
    """Fig. 5 for a paper: panels with letters, intervals as bands, no caption.

    The axes span the rows of kind ``measured``. The input and methods of other kinds, such as
    ``baseline``, may lie beyond: a triangle at the edge says where.

    Args:
        table: Result of ``cover_scores``, with ``<metric>_low`` and ``<metric>_high`` where there
            are bands.
        width_inch: Of the figure; four panels side by side need 5.
        styles: See :func:`cover_curves`.
    """
    curves = cover_curves(table, styles)
    spanning = {*table.loc[table["kind"] == "measured", "row"]} or {curve.name for curve in curves}
    columns = 4 if width_inch > WIDE_INCH else 2
    lines = len(HEADLINE) // columns
    with new_figure(PRINT) as figure:
        panels = figure.subplots(lines, columns).flat
        for position, (metric, axes) in enumerate(zip(HEADLINE, panels, strict=True)):
            axes.set_title(METRICS[metric].title)
            _draw_printed(axes, metric, curves, spanning)
            mark_bins(axes, named=position >= len(HEADLINE) - columns)
            letter_panel(axes, position)
        figure.set_dpi(PRINT_DPI)
        finish_figure(figure, curves, height_inch=0.15 + 1.45 * lines, width_inch=width_inch)
    return figure


def _draw_printed(
    axes: Axes, metric: str, curves: Sequence[Curve], spanning: Collection[str]
) -> None:
    """Draw all curves of a panel that spans some of them."""
    inner = [curve for curve in curves if curve.name in spanning]
    if metric in ("mae", "sam_deg") and needs_log_scale(_finite(inner, metric)):
        use_log_scale(axes, "y")
    axes.margins(y=0.1)
    shade = min(0.18, 1 / len(curves))  # of a dozen bands, too, curves are seen
    for curve in inner:
        draw_band(axes, curve, metric, alpha=shade)
        draw_curve(axes, curve, curve.values(metric))
    if not _finite(inner, metric).size:
        axes.set_yticks([])
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    for curve in curves:
        if curve.name in spanning:
            continue
        values = curve.values(metric)
        draw_band(axes, curve, metric, alpha=shade, zorder=1.3)
        draw_curve(axes, curve, values)
        for beyond, edge, marker in ((values > high, 1, "^"), (values < low, 0, "v")):
            bins = np.flatnonzero(beyond)
            at_edge: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
            style: dict[str, Any] = {"linestyle": "none", "marker": marker, "markersize": 3}
            style["color"] = INPUT_STYLE["color"]
            axes.plot(bins, np.full(len(bins), edge), label="_beyond", **at_edge, **style)
    for artist in (*axes.lines, *axes.collections):
        artist.set_in_layout(False)  # what lies beyond takes no room


WIDE_INCH: Final = 5.0
"""Above this width a figure spans the columns of a page."""


def mark_bins(axes: Axes, *, named: bool = True) -> None:
    """Number the edges of the cloud-cover bins, which takes less room than to name them."""
    edges = [*(name.split("-")[0] for name in COVER_BINS), "100"]
    axes.set_xlim(-0.5, len(COVER_BINS) - 0.5)
    axes.set_xticks(np.arange(len(edges)) - 0.5, edges)
    if named:
        axes.set_xlabel("cloud cover [%]", labelpad=1.5)


def cover_curves(table: pd.DataFrame, styles: Styles | None = None) -> list[Curve]:
    """Lines of a figure, in the order of the table; the input is grey, a method has its own style.

    Args:
        table: Columns ``row``, ``kind``, ``cover_bin``, and what is drawn.
        styles: Row to colour and marker, if not by the names of the rows.
    """
    curves: list[Curve] = []
    styles = styles or method_styles([*table.loc[table["kind"] != "input", "row"]])
    for (kind, name), part in table.groupby(["kind", "row"], sort=False):
        line = INPUT_STYLE
        if kind != "input":
            line = {**styles[str(name)], "linestyle": "-." if kind == "baseline" else "-"}
        bins = part.set_index("cover_bin").reindex(COVER_BINS)
        curves.append(Curve(str(name), kind == "input", bins, {**EDGE, **line}))
    return curves


def _draw_panel(axes: Axes, metric: str, curves: Sequence[Curve], *, crowd: int = CROWD) -> None:
    methods = [curve for curve in curves if not curve.is_input]
    crowded = len(methods) > crowd and _finite(methods, metric).size > 0
    shown = _finite(methods if crowded else curves, metric)
    perfect = np.isinf([curve.values(metric) for curve in curves]).any(axis=0)
    start_panel(axes, METRICS[metric].title)
    axes.margins(y=0.2 if perfect.any() else 0.12 if crowded else 0.06)
    if metric in ("mae", "sam_deg") and needs_log_scale(shown):
        use_log_scale(axes, "y")
    for curve in sorted(curves, key=lambda curve: curve.is_input):
        if curve.is_input and crowded:
            axes.set_ylim(axes.get_ylim())  # the methods are drawn: keep what they need
        draw_curve(axes, curve, curve.values(metric))
        if curve.is_input:
            _label_beyond(axes, curve.values(metric))
    for position in np.flatnonzero(perfect):
        _write(axes, "∞", int(position), _TOP + 0.03, va="bottom")
    if not shown.size:
        axes.set_yticks([])


def start_panel(axes: Axes, title: str) -> None:
    """Give a panel its title and the five bins."""
    axes.set_title(title)
    axes.set_xlim(-0.4, len(COVER_BINS) - 0.6)
    axes.set_xticks(range(len(COVER_BINS)), [_percent(name) for name in COVER_BINS])


def _finite(curves: Sequence[Curve], metric: str) -> NDArray[np.float64]:
    values = np.concatenate([curve.values(metric) for curve in curves])
    return np.extract(np.isfinite(values), values)


def draw_curve(axes: Axes, curve: Curve, values: NDArray[np.float64]) -> None:
    """Draw a curve's line: a gap where a value is nan, its top where it is infinite.

    Args:
        axes: The panel.
        curve: Its style, and the scenes behind each bin.
        values: One per bin.
    """
    bins = np.arange(len(values))
    finite, infinite = np.isfinite(values), np.isinf(values)
    order = 1.9 if curve.is_input else 2.0
    line = {**curve.line, "markevery": finite & ~curve.few, "zorder": order}
    axes.plot(bins, np.where(finite, values, np.nan), label=curve.name, **line)
    solid = {**curve.line, "linestyle": "none", "zorder": order}
    hollow = {**solid, "markerfacecolor": "white", "markeredgewidth": 1.0, "zorder": order + 0.5}
    hollow["markeredgecolor"] = curve.line["color"]
    axes.plot(bins[finite & curve.few], values[finite & curve.few], label="_few", **hollow)
    at_top: dict[str, Any] = {"label": "_perfect", "transform": axes.get_xaxis_transform()}
    for which, marker in ((infinite & ~curve.few, solid), (infinite & curve.few, hollow)):
        axes.plot(bins[which], np.full(which.sum(), _TOP), **marker, **at_top)


def draw_band(axes: Axes, curve: Curve, name: str, **style: Any) -> None:
    """Shade the intervals of a curve, where its bins have ``<name>_low`` and ``<name>_high``."""
    if f"{name}_low" not in curve.bins:
        return
    low, high = (curve.values(f"{name}_{end}") for end in ("low", "high"))
    shade = {"color": curve.line["color"], "alpha": 0.18, "linewidth": 0, "zorder": 1.6, **style}
    axes.fill_between(np.arange(len(low)), low, high, **shade)


def _label_beyond(axes: Axes, values: NDArray[np.float64]) -> None:
    """Write the input's values that lie outside the panel at its edge."""
    low, high = axes.get_ylim()
    for position, value in enumerate(values):
        if np.isfinite(value) and value > high:
            _write(axes, f"↑ {value:.3g}", position, 0.99, va="top")
        elif np.isfinite(value) and value < low:
            _write(axes, f"↓ {value:.3g}", position, 0.01, va="bottom")


def _write(axes: Axes, text: str, position: int, height: float, *, va: str) -> None:
    where: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": va}
    colour = "black" if text == "∞" else INPUT_STYLE["color"]
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    axes.text(position, height, text, color=colour, size=7, zorder=1.95, bbox=paper, **where)


def _percent(cover_bin: str) -> str:
    return f"{cover_bin.replace('-', '–')} %"


def label_counts(panels: Sequence[Axes], curves: Sequence[Curve], clusters: str = AOIS) -> None:
    """Write scenes and AOIs under the bins of panels, as the input has them."""
    counts = next(curve for curve in curves if curve.is_input).bins[["scenes", "aois"]].fillna(0)
    labels = [
        f"{_percent(str(name))}\nn = {int(scenes):,}"
        + (f"\n{clusters} = {int(aois):,}" if clusters != SCENES else "")
        for name, scenes, aois in counts.itertuples()
    ]
    for axes in panels:
        axes.set_xticks(range(len(COVER_BINS)), labels)
        axes.set_xlabel("cloud cover of the patch")


def _caption(
    figure: Figure, table: pd.DataFrame, protocol: Protocol, note: str, clusters: str
) -> str:
    drawn = {text.get_text()[0] for axes in figure.axes for text in axes.texts}
    arrow = "Number with an arrow: the input, beyond the axis."
    return caption_lines(
        [
            counts_note(clusters),
            *hollow_marker_note(table),
            *(["∞: perfect match."] if "∞" in drawn else []),
            *([arrow] if drawn & {"↑", "↓"} else []),
            *coverage_note(table),
        ],
        [protocol.signature("all")],
        note,
    )


def hollow_marker_note(table: pd.DataFrame) -> list[str]:
    """Meaning of hollow markers, if there is one."""
    few = table["scenes"].between(1, FEW_SCENES - 1).any()
    return [f"Hollow marker: fewer than {FEW_SCENES} scenes."] if few else []


def coverage_note(table: pd.DataFrame) -> list[str]:
    """Where coverage is stated, if curves differ in their scenes."""
    per_bin = table.pivot_table(index="cover_bin", columns=["kind", "row"], values="scenes")
    if not per_bin.nunique(axis=1).gt(1).any():
        return []
    return ["Methods scored on fewer than n scenes carry their coverage in the legend."]
