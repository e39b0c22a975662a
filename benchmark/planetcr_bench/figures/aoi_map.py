"""Ledgers in, a map of the AOIs out, coloured by error."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike, NDArray

from planetcr_bench.analysis.error_analysis import ErrorAnalysis, signature
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

_ERROR: Final = colormaps["viridis_r"]
_LARGEST_PT: Final = 8.0  # diameter of the point with most scenes, on a map that is not crowded
_CROWD: Final = 60
_GOLDEN_ANGLE: Final = math.pi * (3 - math.sqrt(5))
_ROUNDS: Final = 400
_FRESH: Final = 8  # rounds after which circles have new neighbours
_MOVED: Final = "A line ties a point that was moved to its place, a dot."


def aoi_figure(of: ErrorAnalysis, *, note: str = "") -> Figure | None:
    """Map of the areas of interest, coloured by error.

    Points that would hide each other stand apart, each tied to its place by a line.

    Args:
        of: Runs in one protocol.
        note: Last line of the caption.

    Returns:
        A figure 7 inches wide, one map per method; None where no AOI has a known place.
    """
    placed = of.aois[of.aois["longitude"].notna() & of.aois["latitude"].notna()]
    if placed.empty:
        return None
    maps = list(placed.groupby("row", sort=False))
    columns = min(len(maps), 2)
    lines = math.ceil(len(maps) / columns)
    width = (WIDTH_INCH - 1.1) / columns
    frame, norm = _Frame.of(placed), _error_norm(placed["mae"])
    circles = _circles(placed, frame, width)
    with new_figure({"axes.grid.axis": "both"}) as figure:
        for (name, part), (axes, left, below) in zip(
            maps, panel_grid(figure, len(maps), columns), strict=True
        ):
            axes.set_title(textwrap.fill(str(name), 44), parse_math=False)
            frame.draw(axes, left=left, below=below)
            _draw_aois(axes, circles.loc[part["aoi"]].assign(mae=part["mae"].to_numpy()), norm)
        _draw_bar(figure, norm, lines)
        sentences = [
            *_sentences(placed, unplaced=of.aois["aoi"].nunique() - len(circles)),
            *([_MOVED] if circles["moved"].any() else []),
            sample_size(of.failures(), complete=of.complete),
        ]
        caption = caption_lines(sentences, [signature(of.protocol, "mae")], note)
        finish_figure(figure, [], caption, height_inch=0.35 + lines * (0.3 + width * frame.ratio))
    return figure


def _draw_bar(figure: Figure, norm: Normalize, lines: int) -> None:
    colours, aspect = ScalarMappable(norm, _ERROR), 30 * min(lines, 2)
    bar = figure.colorbar(colours, ax=figure.axes, shrink=0.9, aspect=aspect, pad=0.01).ax
    bar.set_ylabel("MAE [reflectance]", fontsize=7)
    if isinstance(norm, LogNorm):
        log_ticks(bar.yaxis)
    bar.yaxis.set_minor_locator(NullLocator())
    plain_numbers(bar.yaxis)
    bar.tick_params(labelsize=6.5)


def _sentences(placed: pd.DataFrame, *, unplaced: int) -> list[str]:
    fewest, most = int(placed["scenes"].min()), int(placed["scenes"].max())
    return [
        f"One point per AOI, {placed['aoi'].nunique():,} in all.",
        f"Area of a point: its scenes, {fewest}{f' to {most}' if most > fewest else ' each'}.",
        *([f"{unplaced:,} AOIs of unknown place are left out."] if unplaced else []),
    ]


@dataclass(frozen=True, slots=True)
class _Frame:
    """Part of the Earth that is drawn, in degrees, true to scale at its middle latitude."""

    west: float
    east: float
    south: float
    north: float

    @classmethod
    def of(cls, placed: pd.DataFrame) -> _Frame:
        """Around all places, with a margin, neither a strip nor a tower."""
        low, high = (
            placed[["longitude", "latitude"]].agg(end).to_numpy(np.float64)
            for end in ("min", "max")
        )
        middle = (low + high) / 2
        narrow = np.array([math.cos(math.radians(middle[1])), 1.0])
        half = np.maximum(0.55 * (high - low) * narrow, 0.05)  # in degrees of latitude
        half = np.maximum(half, (half[1] / 0.55, half[0] * 0.4)) / narrow
        (west, south), (east, north) = middle - half, middle + half
        return cls(west, east, south, north)

    @property
    def aspect(self) -> float:
        """How long a degree of latitude is, in degrees of longitude."""
        return 1 / math.cos(math.radians((self.south + self.north) / 2))

    @property
    def ratio(self) -> float:
        """Height of the map over its width."""
        return (self.north - self.south) * self.aspect / (self.east - self.west)

    def draw(self, axes: Axes, *, left: bool, below: bool) -> None:
        """Set the limits of a panel and draw its graticule."""
        axes.set_aspect(self.aspect)
        axes.set_xlim(self.west, self.east)
        axes.set_ylim(self.south, self.north)
        axes.spines[:].set_visible(True)
        for axis, hemispheres, shown in ((axes.xaxis, "EW", below), (axes.yaxis, "NS", left)):
            axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 6, 10]))
            axis.set_major_formatter(
                FuncFormatter(partial(_degrees, hemispheres)) if shown else NullFormatter()
            )
        axes.tick_params(labelsize=6.5, length=2)


def _degrees(hemispheres: str, value: float, _: object = None) -> str:
    hemisphere = "" if value == 0 else f" {hemispheres[int(value < 0)]}"
    return f"{abs(value):.6g}°{hemisphere}"


def spread(places: ArrayLike, radii: ArrayLike, within: ArrayLike) -> NDArray[np.float64]:
    """Move circles apart that would hide each other.

    Args:
        places: Their centres, shape (n, 2).
        radii: In the same unit, shape (n,).
        within: Lower left and upper right of where circles may stand, shape (2, 2).

    Returns:
        Centres at which circles hardly overlap, shape (n, 2); those that stood free stay.
    """
    home, radii = np.asarray(places, np.float64), np.asarray(radii, np.float64)
    low, high = np.asarray(within, np.float64)[:, None] + np.stack([radii, -radii])[..., None]
    turn = _GOLDEN_ANGLE * np.arange(len(home))
    # circles on one place have to part in some direction
    nudge = 1e-3 * radii[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    moved: NDArray[np.float64] = home.copy()
    for count in range(_ROUNDS):
        if count % _FRESH == 0:
            first, second = _neighbours(moved, radii)
        gap = (moved + nudge)[first] - (moved + nudge)[second]
        distance = np.hypot(*gap.T)
        overlap = np.maximum(radii[first] + radii[second] - distance, 0)
        if count % _FRESH == 0 and overlap.max(initial=0) <= 0.02 * radii.max():
            break
        crowd = np.sqrt(np.maximum(np.bincount(first, overlap > 0, len(home)), 1))
        push = 0.5 * gap * (overlap / (distance * crowd[first]))[:, None]  # no crowd may burst
        moved += np.stack([np.bincount(first, each, len(home)) for each in push.T], axis=1)
        moved = np.clip(moved, np.minimum(low, home), np.maximum(high, home))
    alone = (np.hypot(*(moved - home).T) <= 2e-3 * radii)[:, None]
    return np.where(alone, home, moved)


def _neighbours(
    places: NDArray[np.float64], radii: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of circles that overlap or soon may, each in both orders."""
    gap = places[:, None] - places
    near = (gap**2).sum(axis=-1) < (1.5 * (radii[:, None] + radii)) ** 2
    np.fill_diagonal(near, val=False)
    first, second = np.nonzero(near)
    return first, second


def _circles(placed: pd.DataFrame, frame: _Frame, width_inch: float) -> pd.DataFrame:
    """Where each AOI lies and is drawn, alike on the maps of all methods.

    Args:
        placed: AOIs of known place, of all methods.
        frame: What a map shows.
        width_inch: Of a map.

    Returns:
        Per AOI, by the method with most of its scenes: ``longitude`` and ``latitude``, ``right``
        and ``up`` where its circle stands, in degrees, whether it was ``moved``, and its
        ``diameter`` in points.
    """
    rank = placed.sort_values("scenes", ascending=False, kind="stable")
    aois = rank.drop_duplicates("aoi").set_index("aoi").sort_index()
    share = aois["scenes"].to_numpy(np.float64) / float(aois["scenes"].max())
    largest = _LARGEST_PT * min(1.0, math.sqrt(_CROWD / len(aois)))
    diameter = largest * np.sqrt(np.maximum(share, 0.25))
    degree = 72 * width_inch / (frame.east - frame.west)  # points per degree of longitude
    scale = np.array([degree, degree * frame.aspect])
    home = aois[["longitude", "latitude"]].to_numpy(np.float64)
    corners = np.array([[frame.west, frame.south], [frame.east, frame.north]])
    shown = spread(home * scale, diameter / 2 + 0.3, corners * scale)
    moved = (shown != home * scale).any(axis=1)  # in points, where one that stays is not touched
    right, up = np.where(moved[:, None], shown / scale, home).T
    circles = aois[["longitude", "latitude"]]
    return circles.assign(right=right, up=up, moved=moved, diameter=diameter)


def _draw_aois(axes: Axes, circles: pd.DataFrame, norm: Normalize) -> None:
    """Draw the AOIs of one method: ties below their circles, true places above them."""
    axes.scatter(
        circles["right"],
        circles["up"],
        s=circles["diameter"] ** 2,
        c=circles["mae"],
        cmap=_ERROR,
        norm=norm,
        edgecolors="#303030",
        linewidths=0.4,
        zorder=2,
    )
    moved = circles[circles["moved"]]
    gap = np.full(len(moved), np.nan)  # between one tie and the next
    x = np.stack([moved["longitude"], moved["right"], gap], axis=1).ravel()
    y = np.stack([moved["latitude"], moved["up"], gap], axis=1).ravel()
    axes.plot(x, y, color="#606060", linewidth=0.5, zorder=1.5, label="_tie")
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 1.4, "color": "black"}
    edge: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.3, "zorder": 3}
    axes.plot(moved["longitude"], moved["latitude"], label="_place", **dot, **edge)


def _error_norm(errors: pd.Series[float]) -> Normalize:
    """Colours of errors, logarithmic where they are far apart."""
    low, high = float(errors.min()), float(errors.max())
    if needs_log_scale(errors):
        return LogNorm(low, high)
    return Normalize(low, high) if high > low else Normalize(0.9 * low, 1.1 * high or 1.0)
