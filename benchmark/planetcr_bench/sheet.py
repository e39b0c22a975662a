"""Panels in, a page out: blocks of panels under titles, with colour bars, a legend and a caption.

Print decides all sizes: the page is at most as wide and, if it can be, as high as the text of a
paper, no text is smaller than 5 points, and every pixel of an image is a pixel of the page.
"""

from __future__ import annotations

import functools
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch, Rectangle
from matplotlib.textpath import text_to_path

from planetcr_bench.panels import LAND_COVER_COLOURS, STRIPES, Panel
from planetcr_bench.storage import write_whole
from planetcr_bench.vocabulary import LAND_COVER_NAMES, OPTICAL_SIZE, UNKNOWN

FORMATS: Final = (".png", ".pdf", ".svg")

PAGE_INCH: Final = (7.2, 9.4)
"""Width and height of the text of a paper's page."""

RESOLUTIONS: Final = range(300, 601, 5)
"""Pixels an inch, of which the first that fits the page is taken: panels of 1 inch or less."""

COMFORTABLE: Final = 410
"""Blocks are folded into several strips where a finer resolution would be needed: panels of less
than 3/4 inch are hard to read."""

MOST_STRIPS: Final = 3

FOLD: Final = 1.1
"""How many times as large panels must become for another fold, where none are comfortable."""

# All in points, 72 an inch.
_MARGIN, _GUTTER, _LABEL = 3.0, 2.5, 8.0  # around the page; between panels; left of panels
_HEAD, _GAP = 10.5, 4.0  # a block's title; between blocks
_LEADING: Final = 1.15  # lines of text to their size
_LARGE, _SMALL = 6.0, 5.0  # of text, on comfortable pages and on others
_BAR: Final = (110.0, 4.5)
_ENTRY: Final = 10.0  # widest of the legend, to the size of its text

_STYLE: Final[list[Any]] = [
    "default",  # whatever a user's matplotlibrc says, the same images give the same bytes
    {
        "font.family": "DejaVu Sans",
        "axes.linewidth": 0.4,
        "hatch.linewidth": 0.5,
        "hatch.color": STRIPES,
        "xtick.major.size": 1.5,
        "xtick.major.width": 0.4,
        "xtick.major.pad": 1,
        "svg.fonttype": "none",
        "svg.hashsalt": "planetcr-bench",
        "pdf.fonttype": 42,
    },
]


@dataclass(frozen=True, slots=True)
class Bar:
    """A colour bar, in the room that empty panels of its line leave.

    Attributes:
        colours: Of the line's panels.
        upper: Number at its upper end; 0 is at the lower.
        label: What it measures, and the unit.
    """

    colours: Colormap
    upper: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """What a line of every block has in common: the name at its left, and its colour bar."""

    name: str = ""
    bar: Bar | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """One scene: a title, and lines of panels; None leaves the place of a panel empty."""

    title: str
    lines: Sequence[Sequence[Panel | None]]


@dataclass(frozen=True, slots=True)
class Sheet:
    """All that a page shows.

    Attributes:
        columns: Titles, one per panel of a line.
        lines: One per line of a block; only the first has texts below its panels.
        blocks: At least one; panels all of one size.
        classes: Of land cover, that the legend explains.
        caption: Whole sentences.
    """

    columns: Sequence[str]
    lines: Sequence[Line]
    blocks: Sequence[Block]
    classes: Sequence[int] = ()
    caption: str = ""


def sheet_figure(sheet: Sheet) -> Figure:
    """Lay panels out on a page.

    Returns:
        A figure that belongs to no window and to no pyplot state, at the resolution in which a
        pixel of an image is a pixel of the page.
    """
    layout = _best_layout(sheet)
    with matplotlib.style.context([*_STYLE, {"font.size": layout.size}]):
        size = (layout.width / layout.dpi, layout.height / layout.dpi)
        page = _Page(layout, Figure(figsize=size, dpi=layout.dpi))
        for number, block in enumerate(sheet.blocks):
            page.draw_block(number, block, sheet.lines)
        page.draw_foot(sheet.classes)
    return page.figure


def save_figure(figure: Figure, out: Path) -> None:
    """Write the figure as its suffix says, whole or not at all; the same figure, the same bytes."""
    kind = out.suffix.lower().removeprefix(".")
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    stream = io.BytesIO()
    with matplotlib.style.context(_STYLE):
        figure.savefig(stream, format=kind, dpi=figure.dpi, metadata=metadata[kind])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, stream.getvalue())


def _best_layout(sheet: Sheet) -> _Layout:
    """As few strips as give panels of a comfortable size; else as give nearly the largest."""
    found = []
    for strips in range(1, min(MOST_STRIPS, len(sheet.columns)) + 1):
        layouts = (_Layout(sheet, strips, dpi) for dpi in RESOLUTIONS)
        layout = next((one for one in layouts if one.fits), _Layout(sheet, strips, RESOLUTIONS[-1]))
        if layout.dpi <= COMFORTABLE:
            return layout
        found.append(layout)
    return min(found, key=lambda layout: layout.dpi * FOLD ** len(layout.strips))


class _Layout:
    """Where everything lies, in pixels from the top left corner.

    Args:
        sheet: What is laid out.
        strips: Into how many the columns are folded.
        dpi: Pixels an inch.
    """

    def __init__(self, sheet: Sheet, strips: int, dpi: int) -> None:
        self.dpi = dpi
        self.size = _LARGE if dpi <= COMFORTABLE else _SMALL
        first = next(panel for panel in sheet.blocks[0].lines[0] if panel is not None)
        side = first.pixels.shape[0]
        self.panel = side * math.ceil(OPTICAL_SIZE / side)
        self.strips = [part.tolist() for part in np.array_split(range(len(sheet.columns)), strips)]
        left = self.points(_MARGIN + (_LABEL if any(line.name for line in sheet.lines) else 0))
        pitch = self.panel + self.points(_GUTTER)
        self.lefts = [left + pitch * place for strip in self.strips for place in range(len(strip))]
        self.width = max(self.lefts) + self.panel + self.points(_MARGIN)
        self.titles = [
            "\n".join(_wrapped(re.findall(r"[^\s_/-]*[\s_/-]?", title), self._ems(self.panel)))
            for title in sheet.columns
        ]
        self.texts = any(panel and panel.below for panel in sheet.blocks[0].lines[0])
        self.heads: list[int] = []
        self.tops: list[list[list[int]]] = []  # of block, strip and line
        self.legend = self._stack(len(sheet.blocks), len(sheet.lines))
        self.legend_columns = max(int(self._ems(self.width) / _ENTRY), 1)
        rows = math.ceil(len(sheet.classes) / self.legend_columns)
        self.foot = self.legend + self.points(rows * 1.6 * self.size + (2 if rows else 0))
        room = self._ems(self.width - self.lefts[0] - self.points(_MARGIN))
        self.caption = _wrapped(re.findall(r"\S+\s?", sheet.caption), room)
        self.height = self.foot + self.points(self.line(len(self.caption)) + _MARGIN)

    @property
    def fits(self) -> bool:
        """Whether it is a page."""
        width, height = PAGE_INCH
        return self.width <= width * self.dpi and self.height <= height * self.dpi

    def _ems(self, pixels: float) -> float:
        """A length in sizes of the font."""
        return pixels / (self.size * self.dpi / 72)

    def points(self, points: float) -> int:
        """Pixels of a length."""
        return round(points * self.dpi / 72)

    def line(self, count: int) -> float:
        """Points of some lines of text, with the air around them."""
        return count * self.size * _LEADING + 2.5

    def beside(self, texts: Sequence[str]) -> str:
        """Texts below a panel: side by side where panels are wide enough, else below each other."""
        return (" | " if self.dpi <= COMFORTABLE else "\n").join(texts)

    def has_titles(self, block: int) -> bool:
        """Whether the columns of a block have titles; where all are alike, the first block has."""
        return block == 0 or len(self.strips) > 1

    def _stack(self, blocks: int, lines: int) -> int:
        """Place blocks below each other; returns where the last one ends."""
        y = self.points(_MARGIN)
        for block in range(blocks):
            self.heads.append(y)
            y += self.points(_HEAD)
            self.tops.append([])
            for strip in self.strips:
                if self.has_titles(block):
                    rows = max(self.titles[column].count("\n") + 1 for column in strip)
                    y += self.points(self.line(rows))
                texts = self.line(1 if self.dpi <= COMFORTABLE else 2) if self.texts else _GUTTER
                below = [self.points(texts), *[self.points(_GUTTER)] * (lines - 1)]
                tops = [y + self.panel * line + sum(below[:line]) for line in range(lines)]
                self.tops[-1].append(tops)
                y = tops[-1] + self.panel + below[-1] + self.points(1)
            y += self.points(_GAP)
        return y


def _wrapped(words: Sequence[str], room: float) -> list[str]:
    """Lines of words, which bring their own spaces; a word that is too long is cut.

    Args:
        words: To put behind each other.
        room: Width of a line, in sizes of the font.
    """
    pieces = [piece for word in words for piece in ([word] if _width(word) <= room else word)]
    lines = [""]
    for piece in pieces:
        if lines[-1] and _width(lines[-1] + piece) > room:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines if line]


@functools.lru_cache(maxsize=1 << 14)
def _width(text: str) -> float:
    """Of a line of text, in sizes of the font, with a little room for rounding to pixels."""
    font = FontProperties(family="DejaVu Sans", size=100)
    width, _, _ = text_to_path.get_text_width_height_descent(text.rstrip(), font, ismath=False)
    return 1.03 * float(width) / 100


class _Page:
    """A figure that is drawn into by pixels from its top left corner."""

    def __init__(self, layout: _Layout, figure: Figure) -> None:
        self.layout, self.figure = layout, figure

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes of the given place and size."""
        whole = self.layout
        x, y = left / whole.width, 1 - (top + height) / whole.height
        return self.figure.add_axes((x, y, width / whole.width, height / whole.height))

    def write(self, left: float, top: float, text: str, **look: Any) -> None:
        """Text at a place."""
        x, y = left / self.layout.width, 1 - top / self.layout.height
        self.figure.text(x, y, text, parse_math=False, **look)

    def draw_block(self, number: int, block: Block, lines: Sequence[Line]) -> None:
        """Title, and all strips."""
        layout = self.layout
        head = layout.heads[number] + layout.points(_HEAD - 3)
        self.write(layout.lefts[0], head, block.title, va="baseline", weight="bold")
        for strip, tops in zip(layout.strips, layout.tops[number], strict=True):
            for column in strip if layout.has_titles(number) else ():
                middle = layout.lefts[column] + layout.panel / 2
                look = {"ha": "center", "va": "baseline", "linespacing": 1.1}
                self.write(middle, tops[0] - layout.points(2.5), layout.titles[column], **look)
            for line, panels, top in zip(lines, block.lines, tops, strict=True):
                self._draw_line(line, {column: panels[column] for column in strip}, top)

    def _draw_line(self, line: Line, panels: dict[int, Panel | None], top: int) -> None:
        layout = self.layout
        if line.name:
            look = {"ha": "center", "va": "center", "rotation": 90}
            left = layout.lefts[0] - layout.points(_LABEL / 2)
            self.write(left, top + layout.panel / 2, line.name, **look)
        for column, panel in panels.items():
            if panel is not None:
                self._draw_panel(panel, layout.lefts[column], top)
        empty = [column for column, panel in panels.items() if panel is None]
        if line.bar and empty[:2] == [1, 2]:  # beside the first panel, not at the end of a strip
            room = [column for place, column in enumerate(empty) if column == place + 1]
            right = layout.lefts[room[-1]] + layout.panel
            self._draw_bar(line.bar, layout.lefts[1], right, top + layout.panel / 2)

    def _draw_panel(self, panel: Panel, left: int, top: int) -> None:
        layout = self.layout
        edge = max(layout.points(0.5), 1)
        side = layout.panel + 2 * edge
        frame = Rectangle(
            ((left - edge) / layout.width, 1 - (top + layout.panel + edge) / layout.height),
            side / layout.width,
            side / layout.height,
            facecolor="#606060",
            linewidth=0,
            transform=self.figure.transFigure,
            zorder=-1,
        )
        self.figure.add_artist(frame)  # behind the panel: it covers none of its pixels
        axes = self.axes(left, top, layout.panel, layout.panel)
        low, high = panel.limits or (None, None)
        axes.imshow(panel.pixels, panel.colours, vmin=low, vmax=high, interpolation="none")
        axes.set_axis_off()
        if panel.below:
            where = (left + layout.panel / 2, top + layout.panel + layout.points(1.2))
            text = layout.beside(panel.below)
            self.write(*where, text, ha="center", va="top", linespacing=1.1)

    def _draw_bar(self, bar: Bar, left: int, right: int, middle: float) -> None:
        layout = self.layout
        width = min(layout.points(_BAR[0]), 0.8 * (right - left))
        axes = self.axes((left + right - width) / 2, middle, width, layout.points(_BAR[1]))
        colours = ScalarMappable(Normalize(0, bar.upper), bar.colours)
        drawn = self.figure.colorbar(colours, cax=axes, orientation="horizontal", extend="max")
        drawn.set_ticks([0, bar.upper / 2, bar.upper], labels=_ticks(bar.upper))
        axes.set_title(bar.label, fontsize=layout.size, pad=2.5)

    def draw_foot(self, classes: Sequence[int]) -> None:
        """The legend of land cover and the caption."""
        layout = self.layout
        left = layout.lefts[0]
        if classes:
            self.figure.legend(
                handles=[_entry(number) for number in classes],
                loc="upper left",
                bbox_to_anchor=(left / layout.width, 1 - layout.legend / layout.height),
                ncols=layout.legend_columns,
                frameon=False,
                borderpad=0,
                borderaxespad=0,
                handlelength=1.6,
                columnspacing=1.4,
            )
        look = {"ha": "left", "va": "top", "linespacing": 1.1, "color": "#303030"}
        self.write(left, layout.foot, "\n".join(layout.caption), **look)


def _ticks(upper: float) -> list[str]:
    return ["0", f"{upper / 2:g}", f"{upper:g}"]


def _entry(number: int) -> Patch:
    """A class in the legend."""
    hatch = "//////" if number == UNKNOWN else None
    look: dict[str, Any] = {"hatch": hatch, "edgecolor": STRIPES if hatch else "#606060"}
    colour, name = LAND_COVER_COLOURS[number], LAND_COVER_NAMES[number]
    return Patch(facecolor=colour, linewidth=0.4, label=name, **look)
