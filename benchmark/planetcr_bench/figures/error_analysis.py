"""Draw errors by region, by class and cloud cover, and by optical thickness."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from planetcr_bench.analysis.error_analysis import TRIANGLE, ErrorAnalysis, signature
from planetcr_bench.constants import COVER_BINS, LAND_COVER, REGIONS
from planetcr_bench.figures.cloud_cover import draw_curve, hollow_marker_note
from planetcr_bench.figures.heat_map import columns_for, ink, name_cells
from planetcr_bench.figures.style import (
    EDGE,
    INPUT_STYLE,
    REGION_STYLE,
    Curve,
    caption_lines,
    finish_figure,
    legend_entry,
    method_styles,
    needs_log_scale,
    new_figure,
    panel_grid,
    plain_numbers,
    sample_size,
    short_count,
    use_log_scale,
)
from planetcr_bench.results.aggregate import INPUT

_SHARE_TITLE: Final = {
    "residual": "Residual cloud ↓ [%]",
    "recovery": "Recovery ↑ [%]",
    "hallucination": "Hallucination ↓ [%]",
}
_REGION_NOTE: Final = (
    "Cloud: under the mask. Edge: within {edge} of it. Clear: farther away; {haze} "
    "and the two dates differ, so the input's error there is not zero. Worse: error of the pixel "
    "above the input's."
)
_GAIN_NOTE: Final = (
    "Gain: MAE as predicted minus MAE with the input's pixels kept; right of 0 pasting helps."
)
_HEAT_NOTE: Final = (
    "Upper number: MAE in 10⁻³ reflectance (darker: larger, one scale for all panels)"
)
_GAINED: Final = " or gain in PSNR (blue: better than the input, red: worse)"
_THICKNESS_NOTE: Final = (
    "Optical thickness: of the simulated cloud above the pixel; 0–0.25 holds the pixels without "
    "cloud. Lower lines of an axis: scenes and pixels of the bin."
)
_PASTE_BACK_STYLE: Final[dict[str, dict[str, Any]]] = {
    "clear": {"color": "#000000", "marker": "D", "markersize": 4.5},
    "clear and edge": {"color": "#000000", "marker": "D", "markersize": 4.5, "fillstyle": "none"},
}
_TICK: Final[dict[str, Any]] = {"marker": "|", "markersize": 7, "markeredgewidth": 1.3}
_HATCHED: Final[dict[str, Any]] = {
    "facecolor": "#F4F4F4",
    "edgecolor": "#B0B0B0",
    "hatch": "////",
    "linewidth": 0,
}
_BAND: Final = "#F4F4F4"
_SMALL: Final = 6.0


def region_figure(analysis: ErrorAnalysis, *, note: str = "") -> Figure:
    """What each method did under cloud, at its edge and in clear pixels, and what pasting gains.

    Args:
        analysis: Runs in one protocol.
        note: Last line of the caption.

    Returns:
        A figure 7 inches wide that belongs to no window and to no pyplot state, one band per
        method: MAE by region beside that of the input on the same pixels, share of pixels made
        worse, and the gain in MAE of keeping the input's clear pixels.
    """
    names = list(analysis.failures()["row"])
    with new_figure({"axes.grid.axis": "x"}) as figure:
        errors, worse, gains = figure.subplots(1, 3, sharey=True, width_ratios=(1.25, 1, 1))
        _draw_errors(errors, analysis.regions, names)
        _draw_worse(worse, analysis.regions, names)
        _draw_gains(gains, analysis.paste_back, names)
        for axes in figure.axes:
            _draw_bands(axes, names)
        sentences = [
            _REGION_NOTE.format(edge=analysis.edge, haze=analysis.ledgers[0].imagery.haze),
            _GAIN_NOTE,
            sample_size(analysis.failures(), complete=analysis.complete),
        ]
        caption = caption_lines(sentences, [signature(analysis.protocol, "mae")], note)
        finish_figure(figure, _region_legend(), caption, height_inch=0.75 + 0.4 * len(names))
    return figure


def _region_legend() -> list[Curve]:
    return [
        *(legend_entry(name, **marker) for name, marker in REGION_STYLE.items()),
        legend_entry("input on the same pixels", color=INPUT_STYLE["color"], **_TICK),
        *(
            legend_entry(f"{name} pasted back", **marker)
            for name, marker in _PASTE_BACK_STYLE.items()
        ),
    ]


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


def _draw_errors(axes: Axes, regions: pd.DataFrame, names: Sequence[str]) -> None:
    axes.set_title("MAE ↓ [reflectance]")
    _widen(axes, "x", regions.loc[regions["region"] != "all", ["mae", "input_mae"]])
    for index, region in enumerate(REGIONS):
        lines = regions[regions["region"] == region].set_index("row").loc[list(names)]
        heights, colour = _heights(names, index, len(REGIONS)), REGION_STYLE[region]["color"]
        axes.hlines(heights, lines["mae"], lines["input_mae"], color=colour, linewidth=0.7)
        axes.plot(lines["mae"], heights, label=region, **_dot(region))
        tick = {"color": colour, "linestyle": "none", **_TICK}
        axes.plot(lines["input_mae"], heights, label=f"_input {region}", **tick)


def _dot(region: str) -> dict[str, Any]:
    return {**REGION_STYLE[region], **EDGE, "markersize": 5, "linestyle": "none"}


def _draw_worse(axes: Axes, regions: pd.DataFrame, names: Sequence[str]) -> None:
    axes.set_title("Pixels made worse ↓ [%]")
    for index, region in enumerate(REGIONS):
        lines = regions[regions["region"] == region].set_index("row").loc[list(names)]
        share = 100 * lines["worse"]
        axes.plot(share, _heights(names, index, len(REGIONS)), label=region, **_dot(region))
    most = max(100 * float(regions["worse"].max()), 1.0)
    axes.set_xlim(-0.06 * most, 1.08 * most)


def _draw_gains(axes: Axes, paste_back: pd.DataFrame, names: Sequence[str]) -> None:
    axes.set_title("MAE gain of pasting [10⁻³]")
    axes.axvline(0, color="black", linewidth=0.8, zorder=1)
    for index, (pasted, marker) in enumerate(_PASTE_BACK_STYLE.items()):
        lines = paste_back[paste_back["pasted"] == pasted].set_index("row").loc[list(names)]
        thousandths = 1000 * lines["gain_mae"]
        heights = _heights(names, index, len(_PASTE_BACK_STYLE))
        axes.plot(thousandths, heights, linestyle="none", label=pasted, **marker)
    low, high = (
        min(0.0, 1000 * paste_back["gain_mae"].min()),
        max(0.0, 1000 * paste_back["gain_mae"].max()),
    )
    margin = 0.12 * (high - low) or 1.0
    axes.set_xlim(low - margin, high + margin)


def _widen(axes: Axes, which: Literal["x", "y"], values: ArrayLike) -> None:
    """Give an axis of errors few and short numbers, and a logarithm where they spread widely."""
    if needs_log_scale(values):
        return use_log_scale(axes, which)
    axis = axes.xaxis if which == "x" else axes.yaxis
    numbers = np.asarray(values, np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if numbers.size:
        margin = 0.06 * (numbers.max() - numbers.min()) or 0.1 * numbers.max() or 0.01
        axes.set(**{f"{which}lim": (numbers.min() - margin, numbers.max() + margin)})
        axis.set_major_locator(MaxNLocator(5))
    return plain_numbers(axis)


@dataclass(frozen=True, slots=True)
class _Heat:
    """One heat map: what is in it and how it is coloured."""

    title: str
    table: pd.DataFrame
    value: str
    colours: Colormap
    norm: Normalize


def class_cover_figure(analysis: ErrorAnalysis, *, note: str = "") -> Figure:
    """Error per land-cover class and cloud-cover bin as heat maps.

    Args:
        analysis: Runs in one protocol.
        note: Last line of the caption.

    Returns:
        A figure 7 inches wide: MAE of the input and of each method in one scale of colours; for
        one method its gain in PSNR, too. A number per cell, and the scenes behind it.
    """
    heats = _heats(analysis.failures("land_cover", "cover_bin"))
    columns = columns_for(len(heats))
    bins = [name.replace("-", "–") for name in COVER_BINS]
    across = "cloud cover of the patch [%]"
    with new_figure({"axes.grid": False, "hatch.linewidth": 0.5}) as figure:
        for heat, (axes, left, below) in zip(
            heats, panel_grid(figure, len(heats), columns), strict=True
        ):
            _draw_heat(axes, heat)
            name_cells(axes, LAND_COVER, bins, left=left, below=below, across=across)
        signed = [signature(analysis.protocol, name) for name in _scores_drawn(analysis)]
        titles = 1 + max(axes.get_title().count("\n") for axes in figure.axes)
        height = 0.45 + math.ceil(len(heats) / columns) * (1.72 + 0.13 * titles)
        caption = caption_lines(_heat_sentences(analysis), signed, note)
        finish_figure(figure, [], caption, height_inch=height)
    return figure


def _scores_drawn(analysis: ErrorAnalysis) -> list[str]:
    """Of one method there is room for its gain in PSNR, too."""
    return ["mae", "psnr"] if len(analysis.ledgers) == 1 else ["mae"]


def _heat_sentences(analysis: ErrorAnalysis) -> list[str]:
    empty = (analysis.failures("land_cover", "cover_bin")["scenes"] == 0).any()
    gained = _GAINED if "psnr" in _scores_drawn(analysis) else ""
    return [
        f"{_HEAT_NOTE}{gained}; lower: scenes with such pixels.",
        *(["Hatched: no such pixels."] if empty else []),
        "Pixels of unknown land are left out.",
        sample_size(analysis.failures(), complete=analysis.complete),
    ]


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


def _draw_cell(axes: Axes, cell: tuple[int, int], heat: _Heat, value: float, scenes: int) -> None:
    column, row = cell
    corner = (column - 0.5, row - 0.5)
    edge: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.8}
    if not scenes:
        axes.add_patch(Rectangle(corner, 1, 1, **_HATCHED))
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, **edge))
        return
    low, high = heat.norm.vmin or 0.0, heat.norm.vmax or 1.0
    colour = heat.colours(float(heat.norm(np.clip(value, low, high))))
    axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, **edge))
    text: dict[str, Any] = {"ha": "center", "color": ink(colour)}
    label = _decibels(value) if heat.value == "gain_psnr" else _thousandths(value)
    axes.text(column, row - 0.02, label, va="bottom", fontsize=7, **text)
    axes.text(column, row + 0.08, f"{scenes:,}", va="top", fontsize=_SMALL, alpha=0.75, **text)


def _thousandths(value: float) -> str:
    return f"{1000 * value:.1f}" if value < 0.1 else f"{1000 * value:.0f}"


def _decibels(value: float) -> str:
    if math.isinf(value):
        return "+∞" if value > 0 else "−∞"
    return f"{value:+.1f}".replace("-", "−")


def thickness_figure(analysis: ErrorAnalysis, *, note: str = "") -> Figure | None:
    """Error and shares of the triangle over the optical thickness of cloud above a pixel.

    Args:
        analysis: Runs in one protocol.
        note: Last line of the caption.

    Returns:
        A figure 7 inches wide of the runs with optical thickness; None where there are none.
    """
    known = analysis.with_optical_thickness
    if known is None:
        return None
    table = known.failures("thickness")
    curves = _thickness_curves(table)
    with new_figure() as figure:
        error, *shares = figure.subplots(2, 2).flat
        error.set_title("MAE ↓ [reflectance]")
        for curve in curves:
            draw_curve(error, curve, curve.values("mae"))
        _widen(error, "y", [curve.values("mae") for curve in curves])
        for axes, share in zip(shares, TRIANGLE, strict=True):
            _draw_share(axes, share, curves[1:])
        _label_thickness(figure.axes, curves[0].bins)
        names = {run.name for run in known.ledgers}
        missing = [run.name for run in analysis.ledgers if run.name not in names]
        sentences = [
            _THICKNESS_NOTE,
            *hollow_marker_note(table),
            *(
                [f"Without optical thickness, so not drawn: {', '.join(missing)}."]
                if missing
                else []
            ),
            sample_size(known.failures(), complete=known.complete),
        ]
        caption = caption_lines(sentences, [signature(analysis.protocol, "mae")], note)
        finish_figure(figure, curves, caption, height_inch=4.6)
    return figure


def _draw_share(axes: Axes, share: str, methods: Sequence[Curve]) -> None:
    axes.set_title(_SHARE_TITLE[share])
    for curve in methods:
        draw_curve(axes, curve, 100 * curve.values(share))
    most = 100 * float(np.nan_to_num([curve.values(share) for curve in methods]).max(initial=0.01))
    axes.set_ylim(-0.04 * most, 1.06 * most)


def _thickness_curves(table: pd.DataFrame) -> list[Curve]:
    """The input, from the run with most scenes, then the methods."""
    parts = [(str(name), part) for name, part in table.groupby("row", sort=False)]
    widest = max((part for _, part in parts), key=lambda part: int(part["pixels"].sum()))
    curves = [Curve(INPUT, True, widest.assign(mae=widest["input_mae"]), {**INPUT_STYLE, **EDGE})]
    styles = method_styles([name for name, _ in parts])
    for name, part in parts:
        curves.append(Curve(name, False, part, {**EDGE, "linestyle": "-", **styles[name]}))
    return curves


def _label_thickness(four: Sequence[Axes], bins: pd.DataFrame) -> None:
    names = [f"{name.rstrip('-').replace('-', '–')}" for name in bins["thickness"]]
    names[-1] = f"≥ {names[-1]}"
    counted = [
        f"{name}\n{scenes:,}\n{short_count(pixels)}"
        for name, scenes, pixels in zip(names, bins["scenes"], bins["pixels"], strict=True)
    ]
    for index, axes in enumerate(four):
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_xticks(range(len(names)), counted if index >= 2 else names, fontsize=_SMALL)
        if index >= 2:
            axes.set_xlabel("optical thickness of cloud")
