"""Draw a map of the areas of interest (AOIs), coloured by error."""

from __future__ import annotations

import math
import textwrap
from functools import partial
from typing import Final

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from planetcr_bench.analysis.error_analysis import ErrorAnalysis, signature
from planetcr_bench.figures.land import SOURCE, draw_land
from planetcr_bench.figures.style import (
    WIDTH_INCH,
    caption_lines,
    finish_figure,
    log_ticks,
    needs_log_scale,
    new_figure,
    panel_grid,
    plain_numbers,
    sample_size,
)
from planetcr_bench.results.imagery import Imagery

_ERROR: Final = colormaps["viridis_r"]
RATIO: Final = 0.45
"""Height of a map to its width."""

_LARGEST_PT: Final = 8.0  # diameter of the point with most scenes, where there are few AOIs
_FEW_AOIS: Final = 60
_ALPHA: Final = 0.75  # overlapping points let each other show


def aoi_figure(analysis: ErrorAnalysis, *, note: str = "") -> Figure | None:
    """Draw a map of the AOIs for each method, coloured by error; points may overlap.

    Args:
        analysis: Runs in one protocol.
        note: Last line of the caption.

    Returns:
        A figure 7 inches wide, one map per method; None where no AOI has known coordinates.
    """
    placed = analysis.aois.dropna(subset=["longitude", "latitude"])
    if placed.empty:
        return None
    maps = list(placed.groupby("row", sort=False))
    columns = min(len(maps), 2)
    lines = math.ceil(len(maps) / columns)
    width = (WIDTH_INCH - 1.1) / columns
    norm = _error_norm(placed["mae"])
    with new_figure({"axes.grid.axis": "both"}) as figure:
        for (name, part), (axes, left, below) in zip(
            maps, panel_grid(figure, len(maps), columns), strict=True
        ):
            axes.set_title(textwrap.fill(str(name), 44), parse_math=False)
            axes.tick_params(labelsize=6.5, length=2, labelleft=left, labelbottom=below)
            draw_land(axes)
            frame_map(axes, placed)
            _draw_aois(axes, part, placed, norm)
        _draw_bar(figure, norm, lines)
        sentences = [
            *_sentences(
                placed,
                analysis.ledgers[0].imagery,
                unplaced=analysis.aois["aoi"].nunique() - placed["aoi"].nunique(),
            ),
            sample_size(analysis.failures(), complete=analysis.complete),
            SOURCE,
        ]
        caption = caption_lines(sentences, [signature(analysis.protocol, "mae")], note)
        finish_figure(figure, [], caption, height_inch=0.35 + lines * (0.3 + width * RATIO))
    return figure


def _sentences(placed: pd.DataFrame, imagery: Imagery, *, unplaced: int) -> list[str]:
    fewest, most = int(placed["scenes"].min()), int(placed["scenes"].max())
    area = f"Area of a point: its scenes, {fewest}{f' to {most}' if most > fewest else ' each'}."
    return [
        f"One point per {imagery.cluster}, {placed['aoi'].nunique():,} in all.",
        *[area] * (not imagery.one_scene_each),
        *(
            [f"{unplaced:,} {imagery.clusters} of unknown coordinates are left out."]
            if unplaced
            else []
        ),
    ]


def frame_map(axes: Axes, placed: pd.DataFrame, *, least: float = 0.1) -> None:
    """Show all AOIs with a margin, true to scale at their middle latitude, with a graticule.

    Args:
        axes: To set up.
        placed: Columns ``longitude`` and ``latitude`` in degrees.
        least: Width of the smallest map, in degrees of latitude.
    """
    low, high = (placed[["longitude", "latitude"]].agg(end).to_numpy() for end in ("min", "max"))
    (x, y), (half_x, half_y) = (low + high) / 2, 0.56 * (high - low)
    degree = math.cos(math.radians(y))  # of longitude, in degrees of latitude
    half = max(half_x * degree, half_y / RATIO, least / 2)
    x_limits, y_limits = (
        (x - half / degree, x + half / degree),
        (y - half * RATIO, y + half * RATIO),
    )
    axes.set(xlim=x_limits, ylim=y_limits, aspect=1 / degree)
    for axis, hemispheres in ((axes.xaxis, "EW"), (axes.yaxis, "NS")):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 6, 10]))
        axis.set_major_formatter(FuncFormatter(partial(_degrees, hemispheres)))
    axes.spines[:].set_visible(True)


def _degrees(hemispheres: str, value: float, _: object = None) -> str:
    hemisphere = "" if value == 0 else f" {hemispheres[int(value < 0)]}"
    return f"{abs(value):.6g}°{hemisphere}"


def _draw_aois(axes: Axes, part: pd.DataFrame, placed: pd.DataFrame, norm: Normalize) -> None:
    """Draw the AOIs of one method, those with few scenes on top."""
    share = part["scenes"] / placed["scenes"].max()
    crowd = min(1.0, _FEW_AOIS / placed["aoi"].nunique())
    points = part.assign(area=_LARGEST_PT**2 * crowd * np.maximum(share, 0.25))
    points = points.sort_values("scenes", ascending=False, kind="stable")
    axes.scatter(
        points["longitude"],
        points["latitude"],
        s=points["area"],
        c=points["mae"],
        cmap=_ERROR,
        norm=norm,
        alpha=_ALPHA,
        edgecolors="#303030",
        linewidths=0.4,
        zorder=2,
    )


def _draw_bar(figure: Figure, norm: Normalize, lines: int) -> None:
    bar = figure.colorbar(
        ScalarMappable(norm, _ERROR),
        ax=figure.axes,
        alpha=_ALPHA,
        aspect=30 * min(lines, 2),
        shrink=0.9,
        pad=0.01,
    ).ax
    bar.set_ylabel("MAE [reflectance]", fontsize=7)
    if isinstance(norm, LogNorm):
        log_ticks(bar.yaxis)
    bar.yaxis.set_minor_locator(NullLocator())
    plain_numbers(bar.yaxis)
    bar.tick_params(labelsize=6.5)


def _error_norm(errors: pd.Series[float]) -> Normalize:
    """Colours of errors, logarithmic where they spread widely."""
    low, high = float(errors.min()), float(errors.max())
    if needs_log_scale(errors):
        return LogNorm(low, high)
    return Normalize(low, high) if high > low else Normalize(0.9 * low, 1.1 * high or 1.0)
