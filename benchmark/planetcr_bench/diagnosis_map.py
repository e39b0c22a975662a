"""Ledgers in, a map of the AOIs out, coloured by error."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike, NDArray

from planetcr_bench.diagnosis import aoi_table, failure_table, signature
from planetcr_bench.diagnosis_figures import behind
from planetcr_bench.figures import LOG_SPREAD, STYLE, WIDTH_INCH, caption_lines, finish
from planetcr_bench.ledger import Ledger
from planetcr_bench.protocols import Protocol

_ERROR: Final = colormaps["viridis_r"]
_LARGEST_PT: Final = 8.0  # diameter of the point with most scenes, on a map that is not crowded
_CROWD: Final = 60
_GOLDEN_ANGLE: Final = math.pi * (3 - math.sqrt(5))
_ROUNDS: Final = 400


def aoi_figure(ledgers: Sequence[Ledger], protocol: Protocol, *, note: str = "") -> Figure | None:
    """Map of the areas of interest, coloured by error.

    Points that would hide each other stand apart, each tied to its place by a line.

    Args:
        ledgers: Runs on one dataset.
        protocol: Which to report.
        note: Last line of the caption.

    Returns:
        A figure 7 inches wide, one map per method; None where no AOI has a known place.
    """
    table = aoi_table(ledgers, protocol)
    placed = table[table["longitude"].notna() & table["latitude"].notna()]
    if placed.empty:
        return None
    maps = list(placed.groupby("row", sort=False))
    columns = min(len(maps), 2)
    lines = math.ceil(len(maps) / columns)
    frame = _Frame.of(placed)
    with matplotlib.style.context([*STYLE, {"axes.grid.axis": "both"}]):
        figure = Figure(layout="constrained", dpi=200)
        grid = figure.subplots(lines, columns, squeeze=False)
        norm = _error_norm(placed["mae"])
        width = (WIDTH_INCH - 1.1) / columns
        for index, axes in enumerate(grid.flat):
            if index >= len(maps):
                axes.set_axis_off()
                continue
            name, part = maps[index]
            axes.set_title(textwrap.fill(str(name), 44), parse_math=False)
            frame.draw(axes, left=index % columns == 0, below=index + columns >= len(maps))
            _draw_aois(axes, part, frame, norm, width)
        bar = figure.colorbar(
            ScalarMappable(norm, _ERROR), ax=grid, shrink=0.9, aspect=30 * min(lines, 2), pad=0.01
        )
        _label_errors(bar.ax, norm)
        moved = any(line.get_label() == "_tie" for axes in grid.flat for line in axes.lines)
        sentences = [
            *_sentences(placed, unplaced=table["aoi"].nunique() - placed["aoi"].nunique()),
            *(["A line ties a point that was moved to its place."] if moved else []),
            behind(ledgers, failure_table(ledgers, protocol)),
        ]
        caption = caption_lines(sentences, [signature(protocol, "mae")], note)
        height = 0.35 + lines * (0.3 + width * frame.ratio)
        finish(figure, [], caption, height_inch=height)
    return figure


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


def spread(places: ArrayLike, radii: ArrayLike) -> NDArray[np.float64]:
    """Move circles apart that would hide each other.

    Args:
        places: Their centres, shape (n, 2).
        radii: In the same unit, shape (n,).

    Returns:
        Centres at which circles hardly overlap, shape (n, 2); those that stood free stay.
    """
    home, radii = np.asarray(places, np.float64), np.asarray(radii, np.float64)
    turn = _GOLDEN_ANGLE * np.arange(len(home))
    moved: NDArray[np.float64] = home + 1e-3 * radii[:, None] * np.stack(
        [np.cos(turn), np.sin(turn)], axis=1
    )  # circles on one place have to part in some direction
    reach = radii[:, None] + radii
    np.fill_diagonal(reach, 0)
    for _ in range(_ROUNDS):
        gap = moved[:, None] - moved
        distance = np.hypot(gap[..., 0], gap[..., 1])
        overlap = np.maximum(reach - distance, 0)
        if overlap.max() <= 0.02 * radii.max():
            break
        np.fill_diagonal(distance, 1)
        moved += 0.5 * (gap * (overlap / distance)[..., None]).sum(axis=1)
    alone = (np.hypot(*(moved - home).T) <= 2e-3 * radii)[:, None]
    return np.where(alone, home, moved)


def _draw_aois(
    axes: Axes, part: pd.DataFrame, frame: _Frame, norm: Normalize, width_inch: float
) -> None:
    """Draw the AOIs of one method on a map that is so wide."""
    scenes = part["scenes"].to_numpy(np.float64)
    largest = _LARGEST_PT * min(1.0, math.sqrt(_CROWD / len(part)))
    diameter = largest * np.sqrt(np.maximum(scenes / scenes.max(), 0.25))
    degree = 72 * width_inch / (frame.east - frame.west)  # points per degree of longitude
    scale = np.array([degree, degree * frame.aspect])
    home = part[["longitude", "latitude"]].to_numpy(np.float64)
    shown = spread(home * scale, diameter / 2 + 0.3) / scale
    for start, end in zip(home, shown, strict=True):
        if (start != end).any():
            axes.plot(*zip(start, end, strict=True), color="#606060", linewidth=0.5, label="_tie")
    axes.scatter(
        shown[:, 0],
        shown[:, 1],
        s=diameter**2,
        c=part["mae"].to_numpy(np.float64),
        cmap=_ERROR,
        norm=norm,
        edgecolors="#303030",
        linewidths=0.4,
        zorder=2,
    )


def _error_norm(errors: pd.Series[float]) -> Normalize:
    """Colours of errors, logarithmic where they are far apart."""
    low, high = float(errors.min()), float(errors.max())
    if low > 0 and high > LOG_SPREAD * low:
        return LogNorm(low, high)
    return Normalize(low, high) if high > low else Normalize(0.9 * low, 1.1 * high or 1.0)


def _label_errors(bar: Axes, norm: Normalize) -> None:
    bar.set_title("MAE", fontsize=7, loc="left")
    if isinstance(norm, LogNorm):
        bar.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    bar.yaxis.set_minor_locator(NullLocator())
    bar.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.tick_params(labelsize=6.5)
