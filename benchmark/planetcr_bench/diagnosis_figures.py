"""Ledgers in, pictures of where a method fails out: by sky, by class and cover, by thickness."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from planetcr_bench.diagnosis import (
    TRIANGLE,
    failure_table,
    harm_table,
    paste_table,
    signature,
    thickness_table,
    told_truth,
)
from planetcr_bench.figures import (
    COLOURS,
    FEW_SCENES,
    LOG_SPREAD,
    MARKERS,
    STYLE,
    Row,
    caption_lines,
    draw_row,
    finish,
)
from planetcr_bench.ledger import Ledger
from planetcr_bench.protocols import Protocol
from planetcr_bench.tables import INPUT
from planetcr_bench.vocabulary import COVER_BINS, LAND_COVER, SKY

SKY_LOOK: Final = {
    "cloud": {"color": "#0072B2", "marker": "o"},
    "rim": {"color": "#E69F00", "marker": "s"},
    "clear": {"color": "#009E73", "marker": "^"},
}
"""Colour and marker of each sky, apart for all eyes."""

SHARE_TITLE: Final = {
    "residual": "Residual cloud ↓ [%]",
    "recovery": "Recovery ↑ [%]",
    "invention": "Invention ↓ [%]",
}

_SKY_READING: Final = (
    "Cloud: under the mask. Rim: within 30 m of it. Clear: farther away; the mask misses haze and "
    "the two dates differ, so the input's error there is not zero. Worse: error of the pixel above "
    "the input's."
)
_GAIN_READING: Final = (
    "Gain: MAE as predicted minus MAE with the input's pixels kept; right of 0 pasting helps."
)
_HEAT_READING: Final = (
    "Upper number: MAE in 10⁻³ reflectance (darker: larger, one scale for all panels)"
)
_THICKNESS_READING: Final = (
    "Optical thickness: of the simulated cloud above the pixel; 0–0.25 holds the pixels without "
    "cloud. Lower lines of an axis: scenes and pixels of the bin."
)
_PASTE_LOOK: Final[dict[str, dict[str, Any]]] = {
    "clear": {"color": "#000000", "marker": "D", "markersize": 4.5},
    "clear and rim": {"color": "#000000", "marker": "D", "markersize": 4.5, "fillstyle": "none"},
}
_TICK: Final[dict[str, Any]] = {"marker": "|", "markersize": 7, "markeredgewidth": 1.3}
_BAND: Final = "#F4F4F4"
_GREY: Final = "#808080"
_COLUMNS: Final = 3
_SMALL: Final = 6.0


def sky_figure(ledgers: Sequence[Ledger], protocol: Protocol, *, note: str = "") -> Figure:
    """What each method did under cloud, on its rim and under clear sky, and what pasting gains.

    Args:
        ledgers: Runs on one dataset.
        protocol: Which to report.
        note: Last line of the caption.

    Returns:
        A figure 7 inches wide that belongs to no window and to no pyplot state, one band per
        method: MAE by sky beside that of the input on the same pixels, share of pixels made worse,
        and the gain in MAE of keeping the input's clear pixels.
    """
    harm, paste = harm_table(ledgers, protocol), paste_table(ledgers, protocol)
    names = list(dict.fromkeys(harm["row"]))
    with matplotlib.style.context([*STYLE, {"axes.grid.axis": "x"}]):
        figure = Figure(layout="constrained", dpi=200)
        errors, worse, gains = figure.subplots(1, 3, sharey=True, width_ratios=(1.25, 1, 1))
        _draw_errors(errors, harm, names)
        _draw_worse(worse, harm, names)
        _draw_gains(gains, paste, names)
        for axes in figure.axes:
            _draw_bands(axes, names)
        legend = [
            *(_entry(name, **look) for name, look in SKY_LOOK.items()),
            _entry("input on the same pixels", color=_GREY, **_TICK),
            *(_entry(f"{name} pasted back", **look) for name, look in _PASTE_LOOK.items()),
        ]
        sentences = [
            _SKY_READING,
            _GAIN_READING,
            behind(ledgers, harm[harm["sky"] == "all"]),
        ]
        caption = caption_lines(sentences, [signature(protocol, "mae")], note)
        finish(figure, legend, caption, height_inch=0.75 + 0.4 * len(names))
    return figure


def _entry(name: str, **look: Any) -> Row:
    """An entry of a legend without a line."""
    return Row(name, False, pd.DataFrame(), {"linestyle": "none", **look})


def behind(ledgers: Sequence[Ledger], overall: pd.DataFrame) -> str:
    """How many scenes and pixels a figure shows, in a sentence."""
    lines = overall.sort_values("scenes", ascending=False, kind="stable")
    scenes, pixels = int(lines["scenes"].iloc[0]), int(lines["pixels"].iloc[0])
    text = f"n = {scenes:,} scene{'s' * (scenes != 1)}, {short(pixels)} pixels"
    fewer = any(not run.provenance["complete"] for run in ledgers)
    return f"{text}{'; fewer where a name says so' if fewer else ''}."


def short(count: int) -> str:
    """A count in three digits: 512, 25.6k, 1.23M."""
    for power, letter in ((9, "G"), (6, "M"), (3, "k")):
        if count >= 10**power:
            return f"{count / 10**power:.3g}{letter}"
    return str(count)


def _draw_bands(axes: Axes, names: Sequence[str]) -> None:
    """Name the methods from the top down, every second one on grey."""
    for position in range(0, len(names), 2):
        axes.axhspan(position - 0.5, position + 0.5, color=_BAND, linewidth=0, zorder=0)
    axes.set_yticks(range(len(names)), [textwrap.fill(name, 20) for name in names])
    for label in axes.get_yticklabels():
        label.set_parse_math(False)  # a run may be named a$b$
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _heights(names: Sequence[str], index: int, count: int) -> NDArray[np.float64]:
    """Heights of one of several lines within each method's band."""
    middle = np.arange(len(names), dtype=np.float64)
    return middle + 0.25 * (index - (count - 1) / 2)


def _draw_errors(axes: Axes, harm: pd.DataFrame, names: Sequence[str]) -> None:
    axes.set_title("MAE ↓")
    widen(axes, "x", harm.loc[harm["sky"] != "all", ["mae", "input_mae"]])
    for index, sky in enumerate(SKY):
        lines = harm[harm["sky"] == sky].set_index("row").loc[list(names)]
        heights, look = _heights(names, index, len(SKY)), SKY_LOOK[sky]
        axes.hlines(heights, lines["mae"], lines["input_mae"], color=look["color"], linewidth=0.7)
        axes.plot(lines["mae"], heights, linestyle="none", label=sky, **_dot(look))
        tick = {"color": look["color"], "linestyle": "none", **_TICK}
        axes.plot(lines["input_mae"], heights, label=f"_input {sky}", **tick)


def _dot(look: dict[str, str]) -> dict[str, Any]:
    return {**look, "markersize": 5, "markeredgecolor": "white", "markeredgewidth": 0.4}


def _draw_worse(axes: Axes, harm: pd.DataFrame, names: Sequence[str]) -> None:
    axes.set_title("Pixels made worse ↓ [%]")
    for index, sky in enumerate(SKY):
        lines = harm[harm["sky"] == sky].set_index("row").loc[list(names)]
        share = 100 * lines["worse"]
        axes.plot(
            share, _heights(names, index, 3), linestyle="none", label=sky, **_dot(SKY_LOOK[sky])
        )
    most = max(100 * float(harm["worse"].max()), 1.0)
    axes.set_xlim(-0.06 * most, 1.08 * most)


def _draw_gains(axes: Axes, paste: pd.DataFrame, names: Sequence[str]) -> None:
    axes.set_title("Gain of pasting [10⁻³]")
    axes.axvline(0, color="black", linewidth=0.8, zorder=1)
    for index, (pasted, look) in enumerate(_PASTE_LOOK.items()):
        lines = paste[paste["pasted"] == pasted].set_index("row").loc[list(names)]
        thousandths = 1000 * lines["gain_mae"]
        heights = _heights(names, index, len(_PASTE_LOOK))
        axes.plot(thousandths, heights, linestyle="none", label=pasted, **look)
    low, high = min(0.0, 1000 * paste["gain_mae"].min()), max(0.0, 1000 * paste["gain_mae"].max())
    margin = 0.12 * (high - low) or 1.0
    axes.set_xlim(low - margin, high + margin)


def widen(axes: Axes, which: Literal["x", "y"], values: ArrayLike) -> None:
    """Give an axis of errors few and short numbers, and a logarithm where they are far apart."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if finite.size and finite.min() > 0 and finite.max() > LOG_SPREAD * finite.min():
        axes.set(**{f"{which}scale": "log"})
        axes.set_title(f"{axes.get_title()}, log scale")
        axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axis.set_minor_locator(NullLocator())
    elif finite.size:
        margin = 0.06 * (finite.max() - finite.min()) or 0.1 * finite.max() or 0.01
        axes.set(**{f"{which}lim": (finite.min() - margin, finite.max() + margin)})
        axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))


@dataclass(frozen=True, slots=True)
class _Heat:
    """One heat map: what is in it and how it is coloured."""

    title: str
    table: pd.DataFrame
    value: str
    colours: Colormap
    norm: Normalize


def class_cover_figure(ledgers: Sequence[Ledger], protocol: Protocol, *, note: str = "") -> Figure:
    """Error per land-cover class and cloud-cover bin as heat maps.

    Args:
        ledgers: Runs on one dataset.
        protocol: Which to report.
        note: Last line of the caption.

    Returns:
        A figure 7 inches wide: MAE of the input and of each method in one scale of colours; for
        one method its gain in PSNR, too. A number per cell, and the scenes behind it.
    """
    table = failure_table(ledgers, protocol, ["land_cover", "cover_bin"])
    heats = _heats(table)
    columns = _COLUMNS if len(heats) != 4 else 2
    lines = math.ceil(len(heats) / columns)
    with matplotlib.style.context([*STYLE, {"axes.grid": False, "hatch.linewidth": 0.5}]):
        figure = Figure(layout="constrained", dpi=200)
        for index, axes in enumerate(figure.subplots(lines, columns, squeeze=False).flat):
            if index >= len(heats):
                axes.set_axis_off()
                continue
            _draw_heat(axes, heats[index])
            _label_heat(axes, left=index % columns == 0, below=index + columns >= len(heats))
        empty = (table["scenes"] == 0).any()
        one = len(by_method := failure_table(ledgers, protocol)) == 1
        gained = " or gain in PSNR (blue: better than the input, red: worse)" if one else ""
        sentences = [
            f"{_HEAT_READING}{gained}; lower: scenes with such pixels.",
            *(["Hatched: no such pixels."] if empty else []),
            "Pixels of unknown land are left out.",
            behind(ledgers, by_method),
        ]
        signed = [signature(protocol, name) for name in ("mae", "psnr")[: 1 + one]]
        titles = 1 + max(axes.get_title().count("\n") for axes in figure.axes)
        height = 0.45 + lines * (1.72 + 0.13 * titles)
        finish(figure, [], caption_lines(sentences, signed, note), height_inch=height)
    return figure


def _heats(table: pd.DataFrame) -> list[_Heat]:
    errors = table[["mae", "input_mae"]].to_numpy()
    errors = errors[np.isfinite(errors) & (errors > 0)]
    low, high = (errors.min(), errors.max()) if errors.size else (0.1, 1.0)
    norm = LogNorm(low / 1.3, high * 1.3)
    by_row = {str(name): part for name, part in table.groupby("row", sort=False)}
    widest = max(by_row.values(), key=lambda part: int(part["pixels"].sum()))
    heats = [_Heat(f"{INPUT}: MAE", widest, "input_mae", colormaps["Oranges"], norm)]
    for name, part in by_row.items():
        heats.append(_Heat(f"{name}: MAE", part, "mae", colormaps["Oranges"], norm))
    if len(by_row) == 1:
        gains = np.abs(widest["gain_psnr"].to_numpy())
        most = gains[np.isfinite(gains)].max(initial=0.1)
        title = f"{next(iter(by_row))}: gain in PSNR [dB]"
        heats.append(
            _Heat(title, widest, "gain_psnr", colormaps["RdBu"], Normalize(-1.4 * most, 1.4 * most))
        )
    return heats


def _draw_heat(axes: Axes, heat: _Heat) -> None:
    axes.set_title(textwrap.fill(heat.title, 34), fontsize=7.5, parse_math=False)
    axes.set_xlim(-0.5, len(COVER_BINS) - 0.5)
    axes.set_ylim(len(LAND_COVER) - 0.5, -0.5)
    for line in heat.table.to_dict("records"):
        column = COVER_BINS.index(str(line["cover_bin"]))
        row = LAND_COVER.index(str(line["land_cover"]))
        value, scenes = float(line[heat.value]), int(line["scenes"])
        _draw_cell(axes, (column, row), heat, value, scenes)


def _draw_cell(axes: Axes, place: tuple[int, int], heat: _Heat, value: float, scenes: int) -> None:
    column, row = place
    corner = (column - 0.5, row - 0.5)
    edge: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.8}
    if not scenes:
        empty: dict[str, Any] = {
            "facecolor": "#F4F4F4",
            "edgecolor": "#B0B0B0",
            "hatch": "////",
            "linewidth": 0,
        }
        axes.add_patch(Rectangle(corner, 1, 1, **empty))
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, **edge))
        return
    low, high = heat.norm.vmin or 0.0, heat.norm.vmax or 1.0
    colour = heat.colours(float(heat.norm(np.clip(value, low, high))))
    axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, **edge))
    ink = "white" if np.dot(colour[:3], (0.299, 0.587, 0.114)) < 0.5 else "black"
    text: dict[str, Any] = {"ha": "center", "color": ink}
    label = _decibels(value) if heat.value == "gain_psnr" else _thousandths(value)
    axes.text(column, row - 0.02, label, va="bottom", fontsize=7, **text)
    axes.text(column, row + 0.08, f"{scenes:,}", va="top", fontsize=_SMALL, alpha=0.75, **text)


def _thousandths(value: float) -> str:
    return f"{1000 * value:.1f}" if value < 0.1 else f"{1000 * value:.0f}"


def _decibels(value: float) -> str:
    if math.isinf(value):
        return "+∞" if value > 0 else "−∞"
    return f"{value:+.1f}".replace("-", "−")


def _label_heat(axes: Axes, *, left: bool, below: bool) -> None:
    rows, columns = range(len(LAND_COVER)), range(len(COVER_BINS))
    axes.set_yticks(rows, LAND_COVER if left else [""] * len(rows))
    names = [name.replace("-", "–") for name in COVER_BINS]
    axes.set_xticks(columns, names if below else [""] * len(columns))
    axes.tick_params(length=0, labelsize=6.5)
    axes.spines[:].set_visible(False)
    if below:
        axes.set_xlabel("cloud cover of the patch [%]", fontsize=7)


def thickness_figure(
    ledgers: Sequence[Ledger], protocol: Protocol, *, note: str = ""
) -> Figure | None:
    """Error and shares of the triangle over the optical thickness of cloud above a pixel.

    Args:
        ledgers: Runs on one dataset.
        protocol: Which to report.
        note: Last line of the caption.

    Returns:
        A figure 7 inches wide of the runs that were told the truth; None where there are none.
    """
    table = thickness_table(ledgers, protocol)
    if table is None:
        return None
    rows = _thickness_rows(table)
    told = told_truth(ledgers)
    blind = [run.name for run in ledgers if run.name not in {one.name for one in told}]
    with matplotlib.style.context(STYLE):
        figure = Figure(layout="constrained", dpi=200)
        error, *shares = figure.subplots(2, 2).flat
        error.set_title("MAE ↓")
        for row in rows:
            draw_row(error, row, row.values("mae"))
        widen(error, "y", [row.values("mae") for row in rows])
        for axes, share in zip(shares, TRIANGLE, strict=True):
            axes.set_title(SHARE_TITLE[share])
            for row in rows[1:]:
                draw_row(axes, row, 100 * row.values(share))
            most = 100 * float(np.nan_to_num(table[share]).max(initial=0.01))
            axes.set_ylim(-0.04 * most, 1.06 * most)
        _label_thickness(figure.axes, rows[0].bins)
        few = table["scenes"].between(1, FEW_SCENES - 1).any()
        sentences = [
            _THICKNESS_READING,
            *([f"Hollow marker: fewer than {FEW_SCENES} scenes."] if few else []),
            *([f"Not told the truth, and so not drawn: {', '.join(blind)}."] if blind else []),
            behind(told, failure_table(told, protocol)),
        ]
        caption = caption_lines(sentences, [signature(protocol, "mae")], note)
        finish(figure, rows, caption, height_inch=4.6)
    return figure


def _thickness_rows(table: pd.DataFrame) -> list[Row]:
    """The input, from the run with most scenes, then the methods."""
    parts = [(str(name), part) for name, part in table.groupby("row", sort=False)]
    widest = max((part for _, part in parts), key=lambda part: int(part["pixels"].sum()))
    grey = {"color": _GREY, "marker": "d", "linestyle": "--", **_EDGE}
    rows = [Row(INPUT, True, widest.assign(mae=widest["input_mae"]), grey)]
    for look, (name, part) in zip(looks(len(parts)), parts, strict=True):
        rows.append(Row(name, False, part, {**_EDGE, "linestyle": "-", **look}))
    return rows


_EDGE: Final = {"markeredgecolor": "white", "markeredgewidth": 0.5}


def looks(count: int) -> Iterable[dict[str, str]]:
    """Colour and marker of each of several methods, as in every figure."""
    return [
        {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}
        for index in range(count)
    ]


def _label_thickness(panels: Sequence[Axes], bins: pd.DataFrame) -> None:
    names = [f"{name.rstrip('-').replace('-', '–')}" for name in bins["thickness"]]
    names[-1] = f"≥ {names[-1]}"
    counted = [
        f"{name}\n{scenes:,}\n{short(pixels)}"
        for name, scenes, pixels in zip(names, bins["scenes"], bins["pixels"], strict=True)
    ]
    for index, axes in enumerate(panels):
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_xticks(range(len(names)), counted if index >= 2 else names, fontsize=_SMALL)
        if index >= 2:
            axes.set_xlabel("optical thickness of cloud")
