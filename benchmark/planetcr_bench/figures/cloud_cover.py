"""The table of cloud-cover bins in, Fig. 5 of the paper out: as a figure, then as PNG and SVG.

What any figure needs is here too: colours, markers, style, panels, legend, caption and files; and
what any figure over cloud-cover bins needs: rows, lines and counts.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from planetcr_bench.constants import COVER_BINS
from planetcr_bench.figures.fonts import unwarned, write_all_letters
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS

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

EDGE: Final[dict[str, Any]] = {"markeredgecolor": "white", "markeredgewidth": 0.5}
"""Of a marker: tells overlapping ones apart."""

REGION_STYLE: Final = {
    "cloud": {"color": "#0072B2", "marker": "o"},
    "edge": {"color": "#E69F00", "marker": "s"},
    "clear": {"color": "#009E73", "marker": "^"},
}
"""Colour and marker of each region, apart for all eyes."""

INPUT_LOOK: Final = {"color": "#808080", "marker": "d", "linestyle": "--"}
COUNTS: Final = "n: scenes in the bin. AOIs: areas of interest that they come from."
"""What :func:`label_counts` writes, for the caption."""

WIDTH_INCH: Final = 7.0
"""Of a figure across a page."""

_TOP: Final = 0.94
"""Where a perfect PSNR is drawn, as a share of the panel's height."""
CAPTION_CHARACTERS: Final = 150
"""In a line of a caption across a page."""

_NAME_CHARACTERS: Final = 42
STYLE: Final[list[Any]] = [
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
        "svg.fonttype": "path",  # text looks the same where DejaVu Sans is missing
        "svg.hashsalt": "planetcr-bench",
    },
]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a figure: its name, its five bins and how it looks."""

    name: str
    is_input: bool
    bins: pd.DataFrame
    line: dict[str, Any]

    def values(self, metric: str) -> NDArray[np.float64]:
        """One per bin, nan where there is none."""
        return self.bins[metric].to_numpy(np.float64)

    @property
    def few(self) -> NDArray[np.bool_]:
        """Bins with too few scenes to lean on."""
        return self.bins["scenes"].to_numpy(np.float64) < FEW_SCENES


def cover_figure(table: pd.DataFrame, protocol: Protocol, *, note: str = "") -> Figure:
    """Fig. 5: the four metrics over the five cloud-cover bins, one line per method.

    A bin without scenes leaves a gap. An infinite PSNR is drawn at the top of its panel, under ∞.

    Args:
        table: What ``cover_table`` gives.
        protocol: The one that the table was made with; its signature goes into the caption.
        note: Last line of the caption, such as the name of the dataset.

    Returns:
        A figure 7 inches wide that belongs to no window and to no pyplot state.
    """
    rows = cover_rows(table)
    with page() as figure:
        for metric, axes in zip(HEADLINE, figure.subplots(2, 2).flat, strict=True):
            _draw_panel(axes, metric, rows)
        label_counts(figure.axes[2:], rows)
        finish(figure, rows, _caption(figure, table, protocol, note), height_inch=5.1)
    return figure


@contextmanager
def page(settings: Mapping[str, object] | None = None) -> Iterator[Figure]:
    """An empty figure in the benchmark's style, for :func:`finish` to settle within the block.

    Args:
        settings: Of matplotlib, beside :data:`STYLE`.
    """
    with matplotlib.style.context([*STYLE, dict(settings or {})]), unwarned():
        yield Figure(layout="constrained", dpi=200)


def panels(figure: Figure, count: int, columns: int) -> list[tuple[Axes, bool, bool]]:
    """Panels of a figure line by line; places that are left over stay empty.

    Args:
        figure: Without panels.
        count: How many.
        columns: How many side by side.

    Returns:
        Of each the axes, whether it is the first of its line, and the last of its column.
    """
    grid = list(figure.subplots(math.ceil(count / columns), columns, squeeze=False).flat)
    for empty in grid[count:]:
        empty.set_axis_off()
    return [
        (axes, index % columns == 0, index + columns >= count)
        for index, axes in enumerate(grid[:count])
    ]


def finish(figure: Figure, rows: Sequence[Row], caption: str, *, height_inch: float) -> None:
    """Put a legend above the panels and a caption below them, and settle the layout for good.

    Args:
        figure: With its panels, laid out by constraints; becomes 7 inches wide.
        rows: Entries of the legend; none: no legend.
        caption: Lines of text.
        height_inch: Of the figure without legend and caption.
    """
    lines = _add_legend(figure, rows) if rows else 0
    figure.supxlabel(caption, x=0.01, ha="left", fontsize=6, color="#404040", parse_math=False)
    height_inch += 0.17 * lines + 0.1 * len(caption.splitlines())
    figure.set_size_inches(WIDTH_INCH, height_inch)
    write_all_letters(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # PNG and SVG share one layout, however often saved


def save_figure(figure: Figure, folder: Path, stem: str) -> None:
    """Write ``stem.png`` (200 dpi) and ``stem.svg``; the same figure gives the same bytes.

    Args:
        figure: What :func:`cover_figure` returns, or another that :func:`finish` has settled.
        folder: Where to, made if need be.
        stem: Name of both files without suffix.
    """
    folder.mkdir(parents=True, exist_ok=True)
    metadata: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}}
    for suffix, entries in metadata.items():
        stream = io.BytesIO()
        with matplotlib.style.context(STYLE), unwarned():
            figure.savefig(stream, format=suffix, dpi=200, metadata=entries)
        partial = folder / f".{stem}.{suffix}.partial"
        try:
            partial.write_bytes(stream.getvalue())
            partial.replace(folder / f"{stem}.{suffix}")
        finally:
            partial.unlink(missing_ok=True)


def cover_rows(table: pd.DataFrame) -> list[Row]:
    """Lines of a figure, in the order of the table; the input is grey, a method has its own look.

    Args:
        table: Columns ``row``, ``kind``, ``cover_bin``, and what is drawn.
    """
    rows: list[Row] = []
    methods = 0
    for (kind, name), part in table.groupby(["kind", "row"], sort=False):
        line = INPUT_LOOK
        if kind != "input":
            line = {**look(methods), "linestyle": "-"}
            methods += 1
        bins = part.set_index("cover_bin").reindex(COVER_BINS)
        rows.append(Row(str(name), kind == "input", bins, {**EDGE, **line}))
    return rows


def look(method: int) -> dict[str, str]:
    """Colour and marker of a method, by its position among those of a figure."""
    return {
        "color": COLOURS[method % len(COLOURS)],
        "marker": MARKERS[method % len(MARKERS)],
    }


def entry(name: str, **look: Any) -> Row:
    """An entry of a legend that stands for a marker, or for what else it is told to."""
    return Row(name, False, pd.DataFrame(), {"linestyle": "none", **look})


def _draw_panel(axes: Axes, metric: str, rows: Sequence[Row]) -> None:
    methods = [row for row in rows if not row.is_input]
    crowded = len(methods) > CROWD and _finite(methods, metric).size > 0
    shown = _finite(methods if crowded else rows, metric)
    perfect = np.isinf([row.values(metric) for row in rows]).any(axis=0)
    start_panel(axes, METRICS[metric].title)
    axes.margins(y=0.2 if perfect.any() else 0.12 if crowded else 0.06)
    if metric in ("mae", "sam_deg") and far_apart(shown):
        take_logarithm(axes, "y")
    for row in sorted(rows, key=lambda row: row.is_input):
        if row.is_input and crowded:
            axes.set_ylim(axes.get_ylim())  # the methods are drawn: keep what they need
        draw_row(axes, row, row.values(metric))
        if row.is_input:
            _label_beyond(axes, row.values(metric))
    for position in np.flatnonzero(perfect):
        _write(axes, "∞", int(position), _TOP + 0.03, va="bottom")
    if not shown.size:
        axes.set_yticks([])


def start_panel(axes: Axes, title: str) -> None:
    """Give a panel its title and the five bins."""
    axes.set_title(title)
    axes.set_xlim(-0.4, len(COVER_BINS) - 0.6)
    axes.set_xticks(range(len(COVER_BINS)), [_percent(name) for name in COVER_BINS])


def _finite(rows: Sequence[Row], metric: str) -> NDArray[np.float64]:
    values = np.concatenate([row.values(metric) for row in rows])
    return np.extract(np.isfinite(values), values)


def far_apart(values: ArrayLike) -> bool:
    """Whether errors need a logarithm: finite ones are positive and spread over the limit."""
    numbers = np.asarray(values, np.float64)
    finite = numbers[np.isfinite(numbers)]
    return bool(finite.size) and 0 < LOG_SPREAD * float(finite.min()) < float(finite.max())


def log_ticks(axis: Axis) -> None:
    """Give a logarithmic axis of errors few and plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.set_minor_locator(NullLocator())
    plain_numbers(axis)


def plain_numbers(axis: Axis) -> None:
    """Write numbers without an exponent and without zeros at their end."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def take_logarithm(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis of errors logarithmic and say so in the panel's title."""
    axes.set(**{f"{which}scale": "log"})
    log_ticks(axes.xaxis if which == "x" else axes.yaxis)
    axes.set_title(f"{axes.get_title()}, log scale")


def draw_row(axes: Axes, row: Row, values: NDArray[np.float64]) -> None:
    """Draw a row's line: a gap where a value is nan, its top where it is infinite.

    Args:
        axes: The panel.
        row: Its look, and the scenes behind each bin.
        values: One per bin.
    """
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
    colour = "black" if text == "∞" else INPUT_LOOK["color"]
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    axes.text(position, height, text, color=colour, size=7, zorder=1.95, bbox=paper, **where)


def _percent(cover_bin: str) -> str:
    return f"{cover_bin.replace('-', '–')} %"


def label_counts(panels: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Write scenes and AOIs under the bins of panels, as the input has them."""
    counts = next(row for row in rows if row.is_input).bins[["scenes", "aois"]].fillna(0)
    labels = [
        f"{_percent(str(name))}\nn = {int(scenes):,}\nAOIs = {int(aois):,}"
        for name, scenes, aois in counts.itertuples()
    ]
    for axes in panels:
        axes.set_xticks(range(len(COVER_BINS)), labels)
        axes.set_xlabel("cloud cover of the patch")


def _add_legend(figure: Figure, rows: Sequence[Row]) -> int:
    """Put one legend above the panels and say how many lines of text it takes."""
    names = [textwrap.fill(row.name, _NAME_CHARACTERS) for row in rows]
    longest = max(len(line) for name in names for line in name.splitlines())
    columns = min(len(names), max(1, int(WIDTH_INCH / (0.6 + 0.068 * longest))))
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


def _caption(figure: Figure, table: pd.DataFrame, protocol: Protocol, note: str) -> str:
    drawn = {text.get_text()[0] for axes in figure.axes for text in axes.texts}
    arrow = "Number with an arrow: the input, beyond the axis."
    return caption_lines(
        [
            COUNTS,
            *few_sentences(table),
            *(["∞: perfect match."] if "∞" in drawn else []),
            *([arrow] if drawn & {"↑", "↓"} else []),
            *coverage_sentences(table),
        ],
        [protocol.signature("all")],
        note,
    )


def few_sentences(table: pd.DataFrame) -> list[str]:
    """What a hollow marker is, if there is one."""
    few = table["scenes"].between(1, FEW_SCENES - 1).any()
    return [f"Hollow marker: fewer than {FEW_SCENES} scenes."] if few else []


def coverage_sentences(table: pd.DataFrame) -> list[str]:
    """Where to look for coverage, if rows differ in their scenes."""
    per_bin = table.pivot_table(index="cover_bin", columns=["kind", "row"], values="scenes")
    if not per_bin.nunique(axis=1).gt(1).any():
        return []
    return ["Methods scored on fewer than n scenes carry their coverage in the legend."]


def behind(overall: pd.DataFrame, *, complete: bool) -> str:
    """How many scenes and pixels a figure shows, in a sentence.

    Args:
        overall: ``scenes`` and ``pixels`` of each method.
        complete: Whether all methods were scored on all scenes.
    """
    most = overall.sort_values("scenes", ascending=False, kind="stable").iloc[0]
    scenes = int(most["scenes"])
    text = f"n = {scenes:,} scene{'s' * (scenes != 1)}, {short(int(most['pixels']))} pixels"
    return f"{text}{'' if complete else '; fewer where a name says so'}."


def short(count: int) -> str:
    """A count in three digits: 512, 25.6k, 1.23M."""
    for power, letter in ((9, "G"), (6, "M"), (3, "k")):
        if count >= 10**power:
            return f"{count / 10**power:.3g}{letter}"
    return str(count)


def caption_lines(sentences: Sequence[str], signatures: Sequence[str], note: str = "") -> str:
    """Lines of a caption: sentences, then signatures, then a note; each begins a line."""
    # A signature has no spaces to break at; after "|" it may go on in the next line.
    signed = [_wrap(signature.replace("|", "| ")).replace("| ", "|") for signature in signatures]
    return "\n".join(filter(None, (_wrap(" ".join(sentences)), *signed, _wrap(note))))


def _wrap(text: str) -> str:
    return textwrap.fill(text, CAPTION_CHARACTERS, break_on_hyphens=False)
