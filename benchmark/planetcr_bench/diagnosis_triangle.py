"""Ledgers in, ternary plots of residual cloud, recovery and invention out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from planetcr_bench.diagnosis import (
    TRIANGLE,
    failure_table,
    scene_table,
    signature,
    triangle_table,
)
from planetcr_bench.diagnosis_figures import SKY_LOOK, behind, looks
from planetcr_bench.figures import STYLE, Row, caption_lines, finish
from planetcr_bench.ledger import Ledger
from planetcr_bench.protocols import Protocol
from planetcr_bench.vocabulary import COVER_BINS, SKY

CORNERS: Final = {"residual": (0.0, 0.0), "recovery": (0.5, math.sqrt(0.75)), "invention": (1.0, 0)}
"""Where a share of one lies, in a triangle whose sides are 1 long."""

_TRIANGLE_READING: Final = (
    "With the L1 distances a = Σ|prediction − clear|, b = Σ|prediction − cloudy| and "
    "d = Σ|cloudy − clear|: residual cloud (a+d−b)/2, recovery (b+d−a)/2, invention (a+b−d)/2, as "
    "shares of their sum in % (numbers on the left, right and lower side). A copy of the input is "
    "all residual cloud, a perfect image all recovery, one far from both all invention."
)
_GRID: Final = (0.2, 0.4, 0.6, 0.8)
_LINE: Final[dict[str, Any]] = {"color": "#DADADA", "linewidth": 0.6, "zorder": 1}
_BESIDE: Final = {
    "residual": (-0.015, 0.0, "right", "center"),
    "recovery": (0.015, 0.0, "left", "center"),
    "invention": (0.0, -0.015, "center", "top"),
}
"""Where a number of the grid stands beside the end of its line, and how."""
_EDGE: Final[dict[str, Any]] = {"markeredgecolor": "white", "markeredgewidth": 0.4}
_MEAN: Final[dict[str, Any]] = {"color": "#D55E00", "marker": "*", "markersize": 11}
_LONE: Final[dict[str, Any]] = {"markersize": 7, "linestyle": "none", "zorder": 2}
_BIN_COLOURS: Final = [colormaps["viridis"](share) for share in (0.95, 0.72, 0.5, 0.27, 0.0)]
_BIN_MARKERS: Final = ("o", "s", "^", "D", "v")


def place_of(shares: ArrayLike) -> NDArray[np.float64]:
    """Where shares of residual cloud, recovery and invention lie in the triangle.

    Args:
        shares: As :func:`~planetcr_bench.diagnosis.triangle` gives them, shape (..., 3).

    Returns:
        Right and up, shape (..., 2): the mean of :data:`CORNERS` weighted by the shares.
    """
    corners = np.array([CORNERS[share] for share in TRIANGLE])
    place: NDArray[np.float64] = np.asarray(shares, np.float64) @ corners
    return place


def triangle_figure(ledgers: Sequence[Ledger], protocol: Protocol, *, note: str = "") -> Figure:
    """Ternary plots of residual cloud, recovery and invention: over cloud cover and over skies.

    Args:
        ledgers: Runs on one dataset.
        protocol: Which to report.
        note: Last line of the caption.

    Returns:
        A figure 7 inches wide. Left, of one method, its scenes and all pixels; of several, a trail
        over the cloud-cover bins of each. Right, each method under cloud, on its rim and clear.
    """
    table = triangle_table(ledgers, protocol)
    names = list(dict.fromkeys(table["row"]))
    with matplotlib.style.context([*STYLE, {"axes.grid": False}]):
        figure = Figure(layout="constrained", dpi=200)
        left, right = figure.subplots(1, 2)
        for axes in (left, right):
            _draw_triangle(axes)
        if len(names) == 1:
            left.set_title("Scenes by cloud cover")
            _draw_scenes(left, scene_table(ledgers, protocol), table)
            right.set_title("Pixels by sky")
            _draw_skies(right, table)
        else:
            left.set_title("Methods over cloud cover")
            _draw_trails(left, table, "cover_bin", COVER_BINS)
            right.set_title("Methods over skies")
            _draw_trails(right, table, "sky", SKY[::-1])
        legend = _scene_legend() if len(names) == 1 else _method_legend(names)
        finish(figure, legend, _triangle_caption(ledgers, protocol, note), height_inch=3.65)
    return figure


def _triangle_caption(ledgers: Sequence[Ledger], protocol: Protocol, note: str) -> str:
    one = ["Left: one point per scene; star: all pixels."]
    many = [
        "Left: from the smallest marker, 0–20 % of cloud cover, to the largest, 80–100 %.",
        "Right: from the smallest marker, clear, over rim to the largest, cloud.",
    ]
    sentences = [
        _TRIANGLE_READING,
        *(many if len(ledgers) > 1 else one),
        behind(ledgers, failure_table(ledgers, protocol)),
    ]
    return caption_lines(sentences, [signature(protocol, "mae")], note)


def _scene_legend() -> list[Row]:
    bins = [
        Row(f"{name.replace('-', '–')} %", False, pd.DataFrame(), _point(colour, marker))
        for name, colour, marker in zip(COVER_BINS, _BIN_COLOURS, _BIN_MARKERS, strict=True)
    ]
    return [
        *bins,
        Row("all pixels", False, pd.DataFrame(), {"linestyle": "none", **_MEAN, **_EDGE}),
    ]


def _method_legend(names: Sequence[str]) -> list[Row]:
    lines = [{"linestyle": "-", "linewidth": 0.8, **look, **_EDGE} for look in looks(len(names))]
    return [Row(name, False, pd.DataFrame(), line) for name, line in zip(names, lines, strict=True)]


def _point(colour: Any, marker: str) -> dict[str, Any]:
    return {"color": colour, "marker": marker, "linestyle": "none", **_EDGE}


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
    axes.text(-0.05, -0.07, "Residual cloud", ha="left", va="top", **bold)
    axes.text(1.05, -0.07, "Invention", ha="right", va="top", **bold)


def _draw_grid_line(axes: Axes, index: int, share: float) -> None:
    """Draw where one share is constant, and write it at the line's end.

    Numbers of residual cloud stand on the left side, of recovery on the right, of invention below.
    """
    ends = np.zeros((2, 3))
    ends[:, index] = share
    ends[0, (index + 1) % 3] = ends[1, (index + 2) % 3] = 1 - share
    (start_x, start_y), (end_x, end_y) = place_of(ends)
    axes.plot([start_x, end_x], [start_y, end_y], label="_grid", **_LINE)
    right, up, ha, va = _BESIDE[TRIANGLE[index]]
    text: dict[str, Any] = {"fontsize": 6, "color": "#606060", "ha": ha, "va": va}
    axes.text(start_x + right, start_y + up, f"{100 * share:.0f}", **text)


def _draw_scenes(axes: Axes, scenes: pd.DataFrame, table: pd.DataFrame) -> None:
    for name, colour, marker in zip(COVER_BINS, _BIN_COLOURS, _BIN_MARKERS, strict=True):
        part = scenes[scenes["cover_bin"] == name]
        size = 5 if len(scenes) <= 100 else 4
        places = place_of(part[list(TRIANGLE)])
        look = {**_point(colour, marker), "markersize": size, "zorder": 2}
        axes.plot(places[:, 0], places[:, 1], label=name, **look)
    x, y = place_of(table.loc[table["by"] == "all", list(TRIANGLE)])[0]
    axes.plot([x], [y], label="all pixels", zorder=3, **{**_MEAN, **_EDGE})


def _draw_trails(axes: Axes, table: pd.DataFrame, by: str, order: Sequence[str]) -> None:
    """Draw a line per method through its groups, markers growing along it."""
    trails = table[table["by"] == by].groupby("row", sort=False)
    sizes = np.linspace(7, 36, len(order))
    for look, (name, trail) in zip(looks(len(trails)), trails, strict=True):
        places = place_of(trail.set_index("group").loc[list(order), list(TRIANGLE)])
        kept = np.isfinite(places).all(axis=1)
        x, y = places[kept].T
        axes.plot(x, y, label=str(name), color=look["color"], linewidth=0.8, zorder=2)
        edge: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.4, "zorder": 2.5}
        axes.scatter(x, y, s=sizes[kept], c=look["color"], marker=look["marker"], **edge)


def _draw_skies(axes: Axes, table: pd.DataFrame) -> None:
    """Draw one method's skies, and name them beside the triangle."""
    for name, look in SKY_LOOK.items():
        chosen = (table["by"] == "sky") & (table["group"] == name)
        x, y = place_of(table.loc[chosen, list(TRIANGLE)])[0]
        axes.plot([x], [y], label=name, **{**look, **_EDGE, **_LONE})
    axes.legend(loc="upper right", frameon=False, fontsize=7, handletextpad=0.3, borderpad=0)
