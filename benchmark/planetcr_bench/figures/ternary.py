"""Draw ternary plots of residual cloud, recovery and hallucination."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from planetcr_bench.analysis.error_analysis import TRIANGLE, ErrorAnalysis, signature
from planetcr_bench.constants import COVER_BINS, REGIONS
from planetcr_bench.figures.style import (
    EDGE,
    REGION_STYLE,
    Curve,
    Styles,
    caption_lines,
    finish_figure,
    legend_entry,
    method_styles,
    new_figure,
    sample_size,
)

CORNERS: Final = {
    "residual": (0.0, 0.0),
    "recovery": (0.5, math.sqrt(0.75)),
    "hallucination": (1.0, 0),
}
"""Where a share of one lies, in a triangle whose sides are 1 long."""

_TRIANGLE_NOTE: Final = (
    "With the L1 distances a = Σ|prediction − clear|, b = Σ|prediction − cloudy| and "
    "d = Σ|cloudy − clear|: residual cloud (a+d−b)/2, recovery (b+d−a)/2, hallucination "
    "(a+b−d)/2, as shares of their sum in %; each number continues its grid line "
    "(left: residual cloud, right: recovery, below: hallucination). A copy of the input is all "
    "residual cloud, a perfect image all recovery, one far from both all hallucination."
)
_GRID: Final = (0.2, 0.4, 0.6, 0.8)
_LINE: Final[dict[str, Any]] = {"color": "#DADADA", "linewidth": 0.6, "zorder": 1}
_TICK: Final = 0.018  # by which a grid line goes on beyond the side, to its number
_ROTATION: Final = {"residual": -60.0, "recovery": 0.0, "hallucination": 60.0}
"""Degrees by which a number of the grid is tilted: as its line is."""
_MEAN: Final[dict[str, Any]] = {"color": "#D55E00", "marker": "*", "markersize": 11}
_POINT: Final[dict[str, Any]] = {"linestyle": "none", "zorder": 2, **EDGE}
_BIN_COLOURS: Final = [colormaps["viridis"](share) for share in (0.95, 0.72, 0.5, 0.27, 0.0)]
_BIN_MARKERS: Final = ("o", "s", "^", "D", "v")


def position_of(shares: ArrayLike) -> NDArray[np.float64]:
    """Where shares of residual cloud, recovery and hallucination lie in the triangle.

    Args:
        shares: As ``triangle`` gives them, shape (..., 3).

    Returns:
        Right and up, shape (..., 2): the mean of :data:`CORNERS` weighted by the shares.
    """
    corners = np.array([CORNERS[share] for share in TRIANGLE])
    position: NDArray[np.float64] = np.asarray(shares, np.float64) @ corners
    return position


def triangle_figure(
    analysis: ErrorAnalysis, *, note: str = "", styles: Styles | None = None
) -> Figure:
    """Ternary plots of residual cloud, recovery and hallucination, by cover and by region.

    Args:
        analysis: Runs in one protocol.
        note: Last line of the caption.
        styles: Row to colour and marker, if not by the names of the rows.

    Returns:
        A figure 7 inches wide. Left, of one method, its scenes and all pixels; of several, or of a
        compact ledger, a trail over the cloud-cover bins of each. Right, each method under cloud,
        at its edge and clear.
    """
    styles = styles or method_styles(list(analysis.failures()["row"]))
    with new_figure({"axes.grid": False}) as figure:
        left, right = figure.subplots(1, 2)
        for axes in (left, right):
            _draw_triangle(axes)
        one = _has_one_run(analysis)
        if one:
            left.set_title("Scenes by cloud cover")
            _draw_scenes(left, analysis.scenes, analysis.triangle)
            right.set_title("Pixels by region")
            _draw_regions(right, analysis.triangle)
        else:
            left.set_title("Methods over cloud cover")
            _draw_trails(left, analysis.triangle, styles, "cover_bin", COVER_BINS)
            right.set_title("Methods over regions")
            _draw_trails(right, analysis.triangle, styles, "region", REGIONS[::-1])
        legend = _scene_legend() if one else _method_legend(styles)
        caption = caption_lines(_sentences(analysis), [signature(analysis.protocol, "mae")], note)
        finish_figure(figure, legend, caption, height_inch=3.65)
    return figure


def _has_one_run(analysis: ErrorAnalysis) -> bool:
    """Whether there is one run, and its scenes can be drawn."""
    return len(analysis.ledgers) == 1 and analysis.with_scenes is not None


def _sentences(analysis: ErrorAnalysis) -> list[str]:
    sentences = ["Left: one point per scene; star: all pixels."]
    if not _has_one_run(analysis):
        sentences = [
            "Left: from the smallest marker, 0–20 % of cloud cover, to the largest, 80–100 %.",
            "Right: from the smallest marker, clear, over edge to the largest, cloud.",
        ]
    return [
        _TRIANGLE_NOTE,
        *sentences,
        sample_size(analysis.failures(), complete=analysis.complete),
    ]


def _scene_legend() -> list[Curve]:
    bins = [
        legend_entry(f"{name.replace('-', '–')} %", color=colour, marker=marker, **EDGE)
        for name, colour, marker in zip(COVER_BINS, _BIN_COLOURS, _BIN_MARKERS, strict=True)
    ]
    return [*bins, legend_entry("all pixels", **_MEAN, **EDGE)]


def _method_legend(styles: Styles) -> list[Curve]:
    line = {"linestyle": "-", "linewidth": 0.8, **EDGE}
    return [legend_entry(name, **{**line, **own}) for name, own in styles.items()]


def _draw_triangle(axes: Axes) -> None:
    """Draw the frame, the grid at every 20 % with its numbers, and the names of the corners."""
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-0.06, 1.06)
    axes.set_ylim(-0.14, 0.94)
    for index in range(len(TRIANGLE)):
        for share in _GRID:
            _draw_grid_line(axes, index, share)
    ends = [*CORNERS.values(), CORNERS["residual"]]
    axes.plot(*zip(*ends, strict=True), color="black", linewidth=0.9, zorder=1.5, label="_frame")
    bold: dict[str, Any] = {"fontweight": "bold", "fontsize": 7.5}
    axes.text(0.5, CORNERS["recovery"][1] + 0.02, "Recovery", ha="center", va="bottom", **bold)
    axes.text(-0.05, -0.08, "Residual cloud", ha="left", va="top", **bold)
    axes.text(1.05, -0.08, "Hallucination", ha="right", va="top", **bold)


def _draw_grid_line(axes: Axes, index: int, share: float) -> None:
    """Draw where one share is constant, and write it where the line goes on beyond its side.

    Numbers of residual cloud are on the left side, of recovery on the right, of hallucination
    below.
    """
    ends = np.zeros((2, 3))
    ends[:, index] = share
    ends[0, (index + 1) % 3] = ends[1, (index + 2) % 3] = 1 - share
    start, end = position_of(ends)
    outward = (start - end) / np.hypot(*(start - end))
    tip = start + _TICK * outward
    axes.plot(*zip(tip, end, strict=True), label="_grid", **_LINE)
    x, y = tip + 1.4 * _TICK * outward
    axes.text(
        x,
        y,
        f"{100 * share:.0f}",
        fontsize=6,
        color="#606060",
        ha="center",
        va="center",
        rotation=_ROTATION[TRIANGLE[index]],
        rotation_mode="anchor",
    )


def _draw_scenes(axes: Axes, scenes: pd.DataFrame, table: pd.DataFrame) -> None:
    for name, colour, marker in zip(COVER_BINS, _BIN_COLOURS, _BIN_MARKERS, strict=True):
        part = scenes[scenes["cover_bin"] == name]
        size = 5 if len(scenes) <= 100 else 4
        positions = position_of(part[list(TRIANGLE)])
        points = {"color": colour, "marker": marker, "markersize": size, **_POINT}
        axes.plot(positions[:, 0], positions[:, 1], label=name, **points)
    x, y = position_of(table.loc[table["by"] == "all", list(TRIANGLE)])[0]
    axes.plot([x], [y], label="all pixels", zorder=3, **{**_MEAN, **EDGE})


def _draw_trails(
    axes: Axes, table: pd.DataFrame, styles: Styles, by: str, order: Sequence[str]
) -> None:
    """Draw a line per method through its groups, markers growing along it."""
    trails = table[table["by"] == by].groupby("row", sort=False)
    sizes = np.linspace(7, 36, len(order))
    for name, trail in trails:
        positions = position_of(trail.set_index("group").loc[list(order), list(TRIANGLE)])
        kept = np.isfinite(positions).all(axis=1)
        x, y = positions[kept].T
        colour, marker = styles[str(name)]["color"], styles[str(name)]["marker"]
        axes.plot(x, y, label=str(name), color=colour, linewidth=0.8, zorder=2)
        edge: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.4, "zorder": 2.5}
        axes.scatter(x, y, s=sizes[kept], c=colour, marker=marker, **edge)


def _draw_regions(axes: Axes, table: pd.DataFrame) -> None:
    """Draw one method's regions, and name them beside the triangle."""
    for name, marker in REGION_STYLE.items():
        chosen = (table["by"] == "region") & (table["group"] == name)
        x, y = position_of(table.loc[chosen, list(TRIANGLE)])[0]
        axes.plot([x], [y], label=name, markersize=7, **{**marker, **_POINT})
    axes.legend(loc="upper right", frameon=False, fontsize=7, handletextpad=0.3, borderpad=0)
