"""The table of cloud-cover bins in, Fig. 5 of the paper out: as a figure, then as PNG and SVG."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from planetcr_bench.protocols import Protocol
from planetcr_bench.tables import LABEL, METRICS
from planetcr_bench.vocabulary import COVER_BINS

FEW_SCENES: Final = 10
"""A point with fewer scenes than this behind it has a hollow marker."""

LOG_SPREAD: Final = 4.0
"""MAE and SAM get a logarithmic axis where the largest is more than this many times the smallest:
the cloudy input would otherwise press all methods into one line at the bottom."""

CROWD: Final = 3
"""With more methods than this the axes span the methods only, so that they can be told apart;
where the input lies beyond, its value stands at the edge of the panel."""

COLOURS: Final = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"),  # Okabe-Ito
    *("#882255", "#999933", "#332288"),  # those of Tol's muted set that stand apart from these
)
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", "p", ">", "h")
"""One more than the colours, so that a pair of both comes back only after 110 methods."""

_SOLID: Final = {"markeredgecolor": "white", "markeredgewidth": 0.5}  # tells overlaps apart
_INPUT_LINE: Final = {"color": "#808080", "marker": "d", "linestyle": "--"}
_WIDTH_INCH: Final = 7.0
_TOP: Final = 0.94
"""Where a perfect PSNR is drawn, as a share of the panel's height."""
_CAPTION_CHARACTERS: Final = 150
_NAME_CHARACTERS: Final = 42
_STYLE: Final[list[Any]] = [
    "default",  # whatever a user's matplotlibrc says, the same table gives the same bytes
    {
        "font.family": "DejaVu Sans",
        "font.size": 8,
        "axes.titlesize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "axes.formatter.useoffset": False,
        "grid.color": "#E4E4E4",
        "xtick.labelsize": 7,
        "lines.linewidth": 1.2,
        "lines.markersize": 6,
        "svg.fonttype": "none",
        "svg.hashsalt": "planetcr-bench",
    },
]


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the figure: its name, its five bins and how it looks."""

    name: str
    is_input: bool
    bins: pd.DataFrame
    line: dict[str, Any]

    def values(self, metric: str) -> NDArray[np.float64]:
        return self.bins[metric].to_numpy(np.float64)

    @property
    def few(self) -> NDArray[np.bool_]:
        return self.bins["scenes"].to_numpy(np.float64) < FEW_SCENES


def cover_figure(table: pd.DataFrame, protocol: Protocol, *, note: str = "") -> Figure:
    """Fig. 5: the four metrics over the five cloud-cover bins, one line per method.

    A bin without scenes leaves a gap. An infinite PSNR is drawn at the top of its panel, under ∞.

    Args:
        table: What :func:`planetcr_bench.tables.cover_table` gives.
        protocol: The one that the table was made with; its signature goes into the caption.
        note: Last line of the caption, such as the name of the dataset.

    Returns:
        A figure 7 inches wide that belongs to no window and to no pyplot state.
    """
    rows = _rows(table)
    with matplotlib.style.context(_STYLE):
        figure = Figure(layout="constrained", dpi=200)
        for metric, axes in zip(METRICS, figure.subplots(2, 2).flat, strict=True):
            _draw_panel(axes, metric, rows)
        for axes in figure.axes[2:]:
            _label_counts(axes, next(row for row in rows if row.is_input))
        legend_lines = _add_legend(figure, rows)
        caption_lines = _add_caption(figure, table, protocol, note)
        figure.set_size_inches(_WIDTH_INCH, 5.1 + 0.17 * legend_lines + 0.1 * caption_lines)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # PNG and SVG share one layout, however often saved
    return figure


def save_figure(figure: Figure, folder: Path, stem: str) -> None:
    """Write ``stem.png`` (200 dpi) and ``stem.svg``; the same figure gives the same bytes.

    Args:
        figure: What :func:`cover_figure` returns.
        folder: Where to, made if need be.
        stem: Name of both files without suffix.
    """
    folder.mkdir(parents=True, exist_ok=True)
    metadata: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}}
    for suffix, entries in metadata.items():
        stream = io.BytesIO()
        with matplotlib.style.context(_STYLE):
            figure.savefig(stream, format=suffix, dpi=200, metadata=entries)
        partial = folder / f".{stem}.{suffix}.partial"
        try:
            partial.write_bytes(stream.getvalue())
            partial.replace(folder / f"{stem}.{suffix}")
        finally:
            partial.unlink(missing_ok=True)


def _rows(table: pd.DataFrame) -> list[_Row]:
    rows: list[_Row] = []
    methods = 0
    for (kind, name), part in table.groupby(["kind", "row"], sort=False):
        line = _INPUT_LINE
        if kind != "input":
            colour, marker = COLOURS[methods % len(COLOURS)], MARKERS[methods % len(MARKERS)]
            line = {"color": colour, "marker": marker, "linestyle": "-"}
            methods += 1
        bins = part.set_index("cover_bin").reindex(COVER_BINS)
        rows.append(_Row(str(name), kind == "input", bins, {**_SOLID, **line}))
    return rows


def _draw_panel(axes: Axes, metric: str, rows: Sequence[_Row]) -> None:
    methods = [row for row in rows if not row.is_input]
    crowded = len(methods) > CROWD and _finite(methods, metric).size > 0
    shown = _finite(methods if crowded else rows, metric)
    perfect = np.isinf([row.values(metric) for row in rows]).any(axis=0)
    axes.set_title(LABEL[metric])
    axes.set_xlim(-0.4, len(COVER_BINS) - 0.6)
    axes.set_xticks(range(len(COVER_BINS)), [_percent(name) for name in COVER_BINS])
    axes.margins(y=0.2 if perfect.any() else 0.12 if crowded else 0.06)
    if metric in ("mae", "sam_deg"):
        _widen(axes, shown)
    for row in sorted(rows, key=lambda row: row.is_input):
        if row.is_input and crowded:
            axes.set_ylim(axes.get_ylim())  # the methods are drawn: keep what they need
        _draw_row(axes, row, row.values(metric))
        if row.is_input:
            _label_beyond(axes, row.values(metric))
    for position in np.flatnonzero(perfect):
        _write(axes, "∞", int(position), _TOP + 0.03, va="bottom")
    if not shown.size:
        axes.set_yticks([])


def _finite(rows: Sequence[_Row], metric: str) -> NDArray[np.float64]:
    values = np.concatenate([row.values(metric) for row in rows])
    return np.extract(np.isfinite(values), values)


def _widen(axes: Axes, values: NDArray[np.float64]) -> None:
    """Take a logarithmic axis for values that are too far apart for a linear one."""
    if not values.size or values.min() <= 0 or values.max() <= LOG_SPREAD * values.min():
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_title(f"{axes.get_title()}, log scale")


def _draw_row(axes: Axes, row: _Row, values: NDArray[np.float64]) -> None:
    bins = np.arange(len(values))
    finite, infinite = np.isfinite(values), np.isinf(values)
    order = 1.9 if row.is_input else 2.0
    line = {**row.line, "markevery": finite & ~row.few, "zorder": order}
    axes.plot(bins, np.where(finite, values, np.nan), label=row.name, **line)
    solid = {**row.line, "linestyle": "none", "zorder": order}
    hollow = {**solid, "markerfacecolor": "white", "markeredgewidth": 1.0, "zorder": order + 0.5}
    hollow["markeredgecolor"] = row.line["color"]
    axes.plot(bins[finite & row.few], values[finite & row.few], label="_few", **hollow)
    at_top: dict[str, Any] = {"label": "_perfect", "transform": axes.get_xaxis_transform()}
    for which, look in ((infinite & ~row.few, solid), (infinite & row.few, hollow)):
        axes.plot(bins[which], np.full(which.sum(), _TOP), **look, **at_top)


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
    colour = "black" if text == "∞" else _INPUT_LINE["color"]
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    axes.text(position, height, text, color=colour, size=7, zorder=1.95, bbox=paper, **where)


def _percent(cover_bin: str) -> str:
    return f"{cover_bin.replace('-', '–')} %"


def _label_counts(axes: Axes, row: _Row) -> None:
    counts = row.bins[["scenes", "aois"]].fillna(0)
    labels = [
        f"{_percent(str(name))}\nn = {int(scenes):,}\nAOIs = {int(aois):,}"
        for name, scenes, aois in counts.itertuples()
    ]
    axes.set_xticks(range(len(COVER_BINS)), labels)
    axes.set_xlabel("cloud cover of the patch")


def _add_legend(figure: Figure, rows: Sequence[_Row]) -> int:
    """Put one legend above the panels and say how many lines of text it takes."""
    names = [textwrap.fill(row.name, _NAME_CHARACTERS) for row in rows]
    longest = max(len(line) for name in names for line in name.splitlines())
    columns = min(len(names), max(1, int(_WIDTH_INCH / (0.6 + 0.068 * longest))))
    columns = math.ceil(len(names) / math.ceil(len(names) / columns))  # 5 and 5, not 6 and 4
    legend = figure.legend(
        [Line2D([], [], **row.line) for row in rows],
        names,
        loc="outside upper center",
        ncols=columns,
        frameon=False,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a run may be named a$b$
    return math.ceil(sum(name.count("\n") + 1 for name in names) / columns)


def _add_caption(figure: Figure, table: pd.DataFrame, protocol: Protocol, note: str) -> int:
    """Put the caption below the panels and say how many lines it takes."""
    drawn = {text.get_text()[0] for axes in figure.axes for text in axes.texts}
    per_bin = table.pivot_table(index="cover_bin", columns=["kind", "row"], values="scenes")
    sentences = {
        "n: scenes in the bin. AOIs: areas of interest that they come from.": True,
        f"Hollow marker: fewer than {FEW_SCENES} scenes.": (
            table["scenes"].between(1, FEW_SCENES - 1).any()
        ),
        "∞: perfect match.": "∞" in drawn,
        "Number with an arrow: the input, beyond the axis.": bool(drawn & {"↑", "↓"}),
        "Methods scored on fewer than n scenes carry their coverage in the legend.": (
            per_bin.nunique(axis=1).gt(1).any()
        ),
    }
    said = _wrap(" ".join(sentence for sentence, holds in sentences.items() if holds))
    # A signature has no spaces to break at; after "|" it may go on in the next line.
    signature = _wrap(protocol.signature("all").replace("|", "| ")).replace("| ", "|")
    caption = "\n".join(filter(None, (said, signature, _wrap(note))))
    figure.supxlabel(caption, x=0.01, ha="left", fontsize=6, color="#404040", parse_math=False)
    return len(caption.splitlines())


def _wrap(text: str) -> str:
    return textwrap.fill(text, _CAPTION_CHARACTERS, break_on_hyphens=False)
