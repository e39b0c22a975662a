"""Give all figures one style, legend, caption and way to be saved."""

from __future__ import annotations

import io
import math
import re
import textwrap
import zlib
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
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from planetcr_bench.figures.fonts import ignore_missing_glyphs, text_width, write_all_letters
from planetcr_bench.utils.files import atomic_write

WIDTH_INCH: Final = 7.0
"""Of a figure across a page."""

CAPTION_CHARACTERS: Final = 150
"""In a line of a caption across a page."""

_NAME_CHARACTERS: Final = 42

_LEGEND_LINE: Final = 0.17  # inches

_HANDLE: Final = 4.8  # sizes of the font before a name of a legend and between names

FEW_SCENES: Final = 10
"""A point with fewer scenes than this behind it has a hollow marker."""

LOG_SPREAD: Final = 4.0
"""MAE and SAM get a logarithmic axis where the largest is more than this many times the smallest:
the cloudy input would otherwise press all methods into one line at the bottom."""

Styles = Mapping[str, Mapping[str, str]]
"""Row of a table to colour and marker, as matplotlib names them."""

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Of Okabe and Ito, for what is no method: distinct for colour-blind readers."""

METHOD_STYLES: Final = {
    "mcgan": ("#CC79A7", "D"),
    "spa_gan": ("#882255", "h"),
    "sar_opt_cgan": ("#000000", "X"),
    "dsen2_cr": ("#009E73", "^"),
    "dsen2_cr_no_sar": ("#999933", "<"),
    "glf_cr": ("#E69F00", "P"),
    "align_cr": ("#0072B2", "o"),
    "align_cr_no_sar": ("#56B4E9", "v"),
    "align_cr_no_align": ("#332288", "p"),
    "copy_cloudy": ("#808080", "d"),
    "mean_fill": ("#A6761D", "*"),
    "sar_regression": ("#6A8CAF", ">"),
}
"""Colour and marker of known methods, the same in all figures; legible side by side in grey by
their markers, and for colour-blind readers."""

OTHER_STYLES: Final = (
    ("#D55E00", "s"), ("#117733", "H"), ("#AA4499", "8"), ("#88CCEE", "D"), ("#661100", "^"),
    ("#DDAA33", "o"), ("#004488", "X"), ("#BB5566", "v"), ("#44AA99", "P"), ("#777711", "p"),
)  # fmt: skip
"""Of all other methods: of each by its name, so that it keeps its style from figure to figure."""

EDGE: Final[dict[str, Any]] = {"markeredgecolor": "white", "markeredgewidth": 0.5}
"""Of a marker: separates overlapping ones."""

REGION_STYLE: Final = {
    "cloud": {"color": "#0072B2", "marker": "o"},
    "edge": {"color": "#E69F00", "marker": "s"},
    "clear": {"color": "#009E73", "marker": "^"},
}
"""Colour and marker of each region, distinct for colour-blind readers too."""

INPUT_STYLE: Final = {"color": "#808080", "marker": "d", "linestyle": "--"}

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
        "pdf.fonttype": 42,
    },
]

PRINT: Final[dict[str, object]] = {
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 6.5,
    "lines.linewidth": 1.0,
    "lines.markersize": 4.2,
    "grid.linewidth": 0.5,
}
"""Of figures in a paper, which are printed in their size."""

PRINT_DPI: Final = 300

_NO_DATES: Final[dict[str, dict[str, Any]]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}
"""Metadata that would differ between files of the same figure, by format."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve over bins, or an entry of a legend: its name, its bins and its style."""

    name: str
    is_input: bool
    bins: pd.DataFrame
    line: dict[str, Any]

    def values(self, metric: str) -> NDArray[np.float64]:
        """One per bin, nan where there is none."""
        return self.bins[metric].to_numpy(np.float64)

    @property
    def few(self) -> NDArray[np.bool_]:
        """Bins with so few scenes that their marker is hollow."""
        return self.bins["scenes"].to_numpy(np.float64) < FEW_SCENES


@contextmanager
def new_figure(settings: Mapping[str, object] | None = None) -> Iterator[Figure]:
    """Start an empty figure in the benchmark's style; call :func:`finish_figure` in the block.

    Args:
        settings: Of matplotlib, beside :data:`STYLE`.
    """
    with matplotlib.style.context([*STYLE, dict(settings or {})]), ignore_missing_glyphs():
        yield Figure(layout="constrained", dpi=200)


def panel_grid(figure: Figure, count: int, columns: int) -> list[tuple[Axes, bool, bool]]:
    """Add panels to a figure line by line; the rest of the last line stays empty.

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


def finish_figure(
    figure: Figure,
    curves: Sequence[Curve],
    caption: str = "",
    *,
    height_inch: float,
    width_inch: float = WIDTH_INCH,
) -> None:
    """Put a legend above the panels and a caption below them, and settle the layout for good.

    Args:
        figure: With its panels, laid out by constraints.
        curves: Entries of the legend; none: no legend.
        caption: Lines of text; none: no caption.
        height_inch: Of the figure without legend and caption.
        width_inch: Of the figure.
    """
    lines = _add_legend(figure, curves, width_inch) if curves else 0
    if caption:
        figure.supxlabel(caption, x=0.01, ha="left", fontsize=6, color="#404040", parse_math=False)
    height_inch += _LEGEND_LINE * lines + 0.1 * len(caption.splitlines())
    figure.set_size_inches(width_inch, height_inch)
    write_all_letters(figure)
    settle_layout(figure)


def settle_layout(figure: Figure) -> None:
    """Lay a figure out once; all formats share that, where an engine would draw twice."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)  # what drawing would do first
    figure.set_layout_engine(None)


def take_caption(figure: Figure) -> str:
    """Remove the caption of a finished figure from it, and its height with it; return its text."""
    caption = figure.get_supxlabel()
    width, height = figure.get_size_inches()
    with matplotlib.style.context(STYLE), ignore_missing_glyphs():
        figure.supxlabel("")
        figure.set_size_inches(width, height - 0.1 * len(caption.splitlines()))
        figure.set_layout_engine("constrained")
        settle_layout(figure)
    return caption


def letter_panel(axes: Axes, position: int) -> None:
    """Put (a), (b), … before the title of a panel, at its left."""
    title, name = axes.get_title(), f"({chr(ord('a') + position)})"
    axes.set_title("")
    axes.set_title(f"{name} {title}", loc="left", parse_math=False)


def _add_legend(figure: Figure, curves: Sequence[Curve], width_inch: float) -> int:
    """Put one legend above the panels and say how many lines of text it takes."""
    size = FontProperties(size=matplotlib.rcParams["legend.fontsize"]).get_size_in_points()
    room = 72 * width_inch / size - 0.8  # sizes of the font
    names = [textwrap.fill(curve.name, _NAME_CHARACTERS) for curve in curves]
    longest = max(text_width(line) for name in names for line in name.splitlines())
    columns = min(len(names), max(1, int((room + 2) / (longest + _HANDLE))))
    columns = math.ceil(len(names) / math.ceil(len(names) / columns))  # 5 and 5, not 6 and 4
    legend = figure.legend(
        [Line2D([], [], **curve.line) for curve in curves],
        names,
        loc="outside upper center",
        ncols=columns,
        frameon=False,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a run may be named a$b$
    return math.ceil(sum(name.count("\n") + 1 for name in names) / columns)


def save_figure(figure: Figure, path: Path, formats: Sequence[str] = ("png", "svg")) -> None:
    """Write a figure once per format; the same figure gives the same bytes.

    Args:
        figure: With its layout settled; its ``dpi`` is the resolution of a PNG.
        path: Of the files, without their ending; the folder is made if need be.
        formats: Endings: ``png``, ``svg`` or ``pdf``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for ending in formats:
        kind = ending.lower()
        stream = io.BytesIO()
        with matplotlib.style.context(STYLE), ignore_missing_glyphs():
            figure.savefig(stream, format=kind, dpi=figure.dpi, metadata=_NO_DATES[kind])
        atomic_write(path.with_name(f"{path.name}.{ending}"), stream.getvalue())


def method_styles(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Colour and marker of each method of a figure.

    Known methods, also variants of them such as ``align_cr-small``, have those of
    :data:`METHOD_STYLES`; another has one of :data:`OTHER_STYLES` by its name, which it has in
    other figures too, unless it meets a method there that has the same.
    """
    taken: dict[str, tuple[str, str]] = {}
    others = []
    for name in dict.fromkeys(names):
        known = known_method(name)
        if known and METHOD_STYLES[known] not in taken.values():
            taken[name] = METHOD_STYLES[known]
        else:
            others.append(name)
    pairs = [*OTHER_STYLES, *METHOD_STYLES.values()]
    pairs += [(colour, marker) for colour, _ in pairs for _, marker in OTHER_STYLES]
    for name in others:
        free = [pair for pair in pairs if pair not in taken.values()] or pairs
        first = zlib.crc32(name.encode()) % len(OTHER_STYLES)
        own = OTHER_STYLES[first]
        taken[name] = own if own in free else free[0]
    return {name: dict(zip(("color", "marker"), taken[name], strict=True)) for name in taken}


def known_method(name: str) -> str | None:
    """Key of :data:`METHOD_STYLES` for the name of a run or of a method.

    Example:
        >>> known_method("align_cr-small"), known_method("DSen2-CR without SAR, small")
        ('align_cr', 'dsen2_cr_no_sar')
    """
    words = re.sub(r"[^0-9a-z]+", "_", name.lower())
    words = re.sub(r"_(without|w_o)_", "_no_", f"{words}_")
    found = [key for key in METHOD_STYLES if words.startswith(f"{key}_")]
    return max(found, key=len, default=None)


def legend_entry(name: str, **style: Any) -> Curve:
    """Make an entry of a legend for a marker or line of this style."""
    return Curve(name, False, pd.DataFrame(), {"linestyle": "none", **style})


def needs_log_scale(values: ArrayLike) -> bool:
    """Whether errors need a logarithm: finite ones are positive and spread over the limit."""
    numbers = np.asarray(values, np.float64)
    finite = numbers[np.isfinite(numbers)]
    return bool(finite.size) and 0 < LOG_SPREAD * float(finite.min()) < float(finite.max())


class _ErrorTicks(LogLocator):
    """1, 2, 3 and 5 of each power of ten, and fewer of them where an axis spans several."""

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        decades = math.log10(vmax / vmin) if 0 < vmin < vmax else 0
        self.set_params(subs=(1, 2, 3, 5) if decades < 2 else (1, 3) if decades < 3 else (1,))
        return super().tick_values(vmin, vmax)


def log_ticks(axis: Axis) -> None:
    """Give a logarithmic axis of errors few and plain numbers."""
    axis.set_major_locator(_ErrorTicks())
    axis.set_minor_locator(NullLocator())
    plain_numbers(axis)


def plain_numbers(axis: Axis) -> None:
    """Write numbers without an exponent and without zeros at their end."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def use_log_scale(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis of errors logarithmic and say so in the panel's title."""
    axes.set(**{f"{which}scale": "log"})
    log_ticks(axes.xaxis if which == "x" else axes.yaxis)
    axes.set_title(f"{axes.get_title()}, log scale")


def caption_lines(sentences: Sequence[str], signatures: Sequence[str], note: str = "") -> str:
    """Lines of a caption: sentences, then signatures, then a note; each begins a line."""
    # A signature has no spaces to break at; after "|" it may go on in the next line.
    signed = [_wrap(signature.replace("|", "| ")).replace("| ", "|") for signature in signatures]
    return "\n".join(filter(None, (_wrap(" ".join(sentences)), *signed, _wrap(note))))


def _wrap(text: str) -> str:
    return textwrap.fill(text, CAPTION_CHARACTERS, break_on_hyphens=False)


def sample_size(overall: pd.DataFrame, *, complete: bool) -> str:
    """Say how many scenes and pixels a figure shows.

    Args:
        overall: ``scenes`` and ``pixels`` of each method.
        complete: Whether all methods were scored on all scenes.
    """
    most = overall.sort_values("scenes", ascending=False, kind="stable").iloc[0]
    scenes = int(most["scenes"])
    text = f"n = {scenes:,} scene{'s' * (scenes != 1)}, {short_count(int(most['pixels']))} pixels"
    return f"{text}{'' if complete else '; fewer where a name says so'}."


def short_count(count: int) -> str:
    """A count in three digits: 512, 25.6k, 1.23M."""
    for power, letter in ((9, "G"), (6, "M"), (3, "k")):
        if count >= 10**power:
            return f"{count / 10**power:.3g}{letter}"
    return str(count)
