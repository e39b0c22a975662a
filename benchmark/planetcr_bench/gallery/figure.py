"""Panels in, a page out: blocks of panels under titles, with colour bars, a legend and a caption.

Print decides all sizes: the page is at most as wide and as high as the text of a paper, or there
is none; no text is smaller than 5 points, and every pixel of an image is a pixel of the page.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
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

from planetcr_bench.constants import LAND_COVER_NAMES, OPTICAL_SIZE, UNKNOWN
from planetcr_bench.errors import UsageError
from planetcr_bench.figures.fonts import families, unwarned, write_all_letters
from planetcr_bench.gallery.panels import LAND_COVER_COLOURS, STRIPES, Panel
from planetcr_bench.utils.files import atomic_write

FORMATS: Final = (".png", ".pdf", ".svg")

PAGE_INCH: Final = (7.2, 9.4)
"""Width and height of the text of a paper's page."""

RESOLUTIONS: Final = range(300, 661, 5)
"""Pixels an inch, of which the first that fits the page is taken: panels of 1 to 0.45 inches."""

COMFORTABLE: Final = 410
"""Blocks take another form where a finer resolution would be needed: panels of less than 3/4 inch
are hard to read."""

MOST_STRIPS: Final = 3

FOLD: Final = 1.1
"""How many times as large panels must become for another form, where none are comfortable."""

# All in points, 72 an inch.
_MARGIN, _GUTTER, _LABEL = 3.0, 2.5, 8.0  # around the page; between panels; left of panels
_HEAD, _GAP = 10.5, 4.0  # a block's title; between blocks
_LEADING: Final = 1.15  # lines of text to their size
_LARGE, _SMALL = 6.0, 5.0  # of text, on comfortable pages and on others
_BAR: Final = (110.0, 4.5)
_ENTRY: Final = 10.0  # widest of the legend, to the size of its text
_SPACE: Final = 0.33  # width of a space, to the size of its text

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
        "svg.fonttype": "path",  # a reader without the font would see another one
        "svg.hashsalt": "planetcr-bench",
        "pdf.fonttype": 42,
    },
]


@dataclass(frozen=True, slots=True)
class Bar:
    """A colour bar, in the room that empty panels of its line leave, or below the last block.

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
        caption: Whole sentences.
        beside: Lines that stand at the right of the first instead of below it, and their columns.
    """

    columns: Sequence[str]
    lines: Sequence[Line]
    blocks: Sequence[Block]
    caption: str = ""
    beside: Sequence[tuple[Line, range]] = ()

    @property
    def classes(self) -> list[int]:
        """Of land cover, that the legend explains."""
        panels = (panel for block in self.blocks for line in block.lines for panel in line)
        return sorted({number for panel in panels if panel for number in panel.classes})


def sheet_figure(sheet: Sheet) -> Figure:
    """Lay panels out on a page.

    Returns:
        A figure that belongs to no window and to no pyplot state, at the resolution in which a
        pixel of an image is a pixel of the page.

    Raises:
        UsageError: It does not fit a page; the message says how many scenes do.
    """
    layout = fitting_layout(sheet)
    with matplotlib.style.context([*_STYLE, {"font.size": layout.size}]):
        size = (layout.width / layout.dpi, layout.height / layout.dpi)
        page = _Page(layout, Figure(figsize=size, dpi=layout.dpi))
        for number, block in enumerate(layout.sheet.blocks):
            page.draw_block(number, block)
        page.draw_foot()
        write_all_letters(page.figure)
    return page.figure


def save_figure(figure: Figure, out: Path) -> None:
    """Write the figure as its suffix says, whole or not at all; the same figure, the same bytes."""
    kind = out.suffix.lower().removeprefix(".")
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    stream = io.BytesIO()
    with matplotlib.style.context(_STYLE), unwarned():
        figure.savefig(stream, format=kind, dpi=figure.dpi, metadata=metadata[kind])
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(out, stream.getvalue())


def fitting_layout(sheet: Sheet) -> Layout:
    """The form in which a sheet is drawn; to ask for it early is to refuse it early.

    Raises:
        UsageError: It does not fit a page; the message says how many scenes do.
    """
    layout = _best_layout(sheet)
    if layout is None:
        width, height = PAGE_INCH
        raise UsageError(
            f"expected what fits a page of {width} × {height} in, got {_scenes(len(sheet.blocks))} "
            f"with {len(sheet.columns)} columns and {len(sheet.lines)} rows; {_remedy(sheet)}"
        )
    return layout


def _remedy(sheet: Sheet) -> str:
    fewer = (replace(sheet, blocks=sheet.blocks[:count]) for count in range(1, len(sheet.blocks)))
    if most := sum(1 for _ in itertools.takewhile(_best_layout, fewer)):
        fit = "fits" if most == 1 else "fit"
        return (
            f"at most {_scenes(most)} of this form {fit} on a page; draw fewer (--scenes), fewer "
            "rows (--panels), or fewer methods"
        )
    return "not even one scene of this form fits on a page; draw fewer rows (--panels) or methods"


def _scenes(count: int) -> str:
    return f"{count} {'scene' if count == 1 else 'scenes'}"


def _best_layout(sheet: Sheet) -> Layout | None:
    """The first form that gives panels of a comfortable size; else one of nearly the largest."""
    forms = [(sheet, 1), *([(_unfolded(sheet), 1)] if len(sheet.lines) > 1 else [])]
    forms += [(sheet, strips) for strips in range(2, min(MOST_STRIPS, len(sheet.columns)) + 1)]
    found: list[Layout] = []
    for form, strips in forms:
        layouts = (Layout(form, strips, dpi) for dpi in RESOLUTIONS)
        layout = next((one for one in layouts if one.fits), None)
        if layout and layout.dpi <= COMFORTABLE:
            return layout
        found += [layout] if layout else []
    return min(found, key=lambda one: one.dpi * FOLD**one.folds, default=None)


def _unfolded(sheet: Sheet) -> Sheet:
    """The same panels with all lines of a block in one: few columns use the width of a page so."""
    shown = [
        [column for column, panel in enumerate(panels) if panel is not None]
        for panels in sheet.blocks[0].lines
    ]
    titles = [
        f"{line.name}: {sheet.columns[column]}" if line.name else sheet.columns[column]
        for line, columns in zip(sheet.lines, shown, strict=True)
        for column in columns
    ]
    ends = itertools.accumulate(map(len, shown))
    places = [range(end - len(columns), end) for columns, end in zip(shown, ends, strict=True)]
    blocks = []
    for block in sheet.blocks:
        pairs = zip(block.lines, shown, strict=True)
        blocks.append(Block(block.title, [[line[at] for line, kept in pairs for at in kept]]))
    first, *others = zip(sheet.lines, places, strict=True)
    return Sheet(titles, [first[0]], blocks, sheet.caption, others)


class Layout:
    """Where everything lies, in pixels from the top left corner.

    Args:
        sheet: What is laid out.
        strips: Into how many the columns are folded.
        dpi: Pixels an inch.
    """

    def __init__(self, sheet: Sheet, strips: int, dpi: int) -> None:
        self.sheet, self.dpi = sheet, dpi
        self.size = _LARGE if dpi <= COMFORTABLE else _SMALL
        first = next(panel for panel in sheet.blocks[0].lines[0] if panel is not None)
        side = first.pixels.shape[0]
        self.panel = side * math.ceil(OPTICAL_SIZE / side)
        self.strips = [part.tolist() for part in np.array_split(range(len(sheet.columns)), strips)]
        left = self.points(_MARGIN + (_LABEL if any(line.name for line in sheet.lines) else 0))
        pitch = self.panel + self.points(_GUTTER)
        self.lefts = [left + pitch * place for strip in self.strips for place in range(len(strip))]
        for _, columns in sheet.beside:
            for column in range(columns.start, len(self.lefts)):
                self.lefts[column] += self.points(_GAP)
        self.width = max(self.lefts) + self.panel + self.points(_MARGIN)
        self.titles = [
            "\n".join(_wrapped(re.findall(r"[^\s_/-]*[\s_/-]?", title), self._ems(self.panel)))
            for title in sheet.columns
        ]
        self.texts = any(panel and panel.below for panel in sheet.blocks[0].lines[0])
        self.bars = 0  # top of those below the last block
        self.heads: list[int] = []
        self.tops: list[list[list[int]]] = []  # of block, strip and line
        self.legend = self._stack(len(sheet.blocks), len(sheet.lines))
        self.legend_columns = max(int(self._ems(self.width) / _ENTRY), 1)
        self.classes = sheet.classes
        rows = math.ceil(len(self.classes) / self.legend_columns)
        self.foot = self.legend + self.points(rows * 1.6 * self.size + (2 if rows else 0))
        room = self._ems(self.width - self.lefts[0] - self.points(_MARGIN))
        self.caption = _wrapped(re.findall(r"\S+\s?", sheet.caption), room)
        self.height = self.foot + self.points(self.line(len(self.caption)) + _MARGIN)

    @property
    def folds(self) -> int:
        """How far it is from all columns beside each other with all lines below each other."""
        return len(self.strips) - 1 + bool(self.sheet.beside)

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
        if any(line.bar for line, _ in self.sheet.beside):
            text = self.size * _LEADING
            self.bars = self.tops[-1][-1][-1] + self.panel + self.points(text + 4)
            y = max(y, self.bars + self.points(_BAR[1] + 2.5 + text + _GAP))
        return y


def _wrapped(words: Sequence[str], room: float) -> list[str]:
    """Lines of words, which bring their own spaces; a word that is too long is cut.

    Args:
        words: To put behind each other.
        room: Width of a line, in sizes of the font.
    """
    pieces = [piece for word in words for piece in ([word] if _width(word) <= room else word)]
    lines, used = [""], 0.0
    for piece in pieces:
        width = _width(piece.rstrip())
        if lines[-1] and used + width > room:
            lines.append("")
            used = 0.0
        lines[-1] += piece
        used += width + _SPACE * piece.count(" ")
    return [line.rstrip() for line in lines if line]


@functools.lru_cache(maxsize=1 << 14)
def _width(text: str) -> float:
    """Of a word, in sizes of the font, with a little room for rounding to pixels."""
    font = FontProperties(family=families(text), size=100)
    with unwarned():
        width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return 1.03 * float(width) / 100


class _Page:
    """A figure that is drawn into by pixels from its top left corner."""

    def __init__(self, layout: Layout, figure: Figure) -> None:
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

    def draw_block(self, number: int, block: Block) -> None:
        """Title, and all strips."""
        layout = self.layout
        head = layout.heads[number] + layout.points(_HEAD - 3)
        self.write(layout.lefts[0], head, block.title, va="baseline", weight="bold")
        for strip, tops in zip(layout.strips, layout.tops[number], strict=True):
            for column in strip if layout.has_titles(number) else ():
                middle = layout.lefts[column] + layout.panel / 2
                look = {"ha": "center", "va": "baseline", "linespacing": 1.1}
                self.write(middle, tops[0] - layout.points(2.5), layout.titles[column], **look)
            for line, panels, top in zip(layout.sheet.lines, block.lines, tops, strict=True):
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

    def _draw_bar(self, bar: Bar, left: int, right: int, top: float) -> None:
        layout = self.layout
        width = min(layout.points(_BAR[0]), 0.8 * (right - left))
        axes = self.axes((left + right - width) / 2, top, width, layout.points(_BAR[1]))
        colours = ScalarMappable(Normalize(0, bar.upper), bar.colours)
        drawn = self.figure.colorbar(colours, cax=axes, orientation="horizontal", extend="max")
        drawn.set_ticks([0, bar.upper / 2, bar.upper], labels=_ticks(bar.upper))
        axes.set_title(bar.label, fontsize=layout.size, pad=2.5)

    def draw_foot(self) -> None:
        """Colour bars of lines beside the first, the legend of land cover, and the caption."""
        layout = self.layout
        left = layout.lefts[0]
        for line, columns in layout.sheet.beside:
            if line.bar:
                right = layout.lefts[columns[-1]] + layout.panel
                self._draw_bar(line.bar, layout.lefts[columns[0]], right, layout.bars)
        if layout.classes:
            self.figure.legend(
                handles=[_entry(number) for number in layout.classes],
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
