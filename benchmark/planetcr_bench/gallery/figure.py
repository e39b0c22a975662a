"""Lay out the panels of scenes on a page, with a legend and, for maps, a colour bar each.

The page is one grid whose rows and columns are whole pixels, so that every pixel of an image is a
pixel of the page. It is at most as large as the text of a paper's page, and no text is smaller than
5 points.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle

from planetcr_bench.constants import LAND_COVER_NAMES, UNKNOWN
from planetcr_bench.errors import UsageError
from planetcr_bench.figures.fonts import text_width, wrap_words, write_all_letters
from planetcr_bench.figures.style import new_figure
from planetcr_bench.gallery.panels import LAND_COVER_COLOURS, STRIPES, Panel

PAGE_INCH: Final = (7.2, 9.4)
"""Largest width and height: those of the text of a paper's page."""

PANEL_SIDE: Final = 300
"""About how many pixels of the page the longer side of a panel has at least."""

RESOLUTIONS: Final = range(300, 661, 5)
"""Pixels per inch, of which the first that fits the page is taken: panels of 1 to 0.45 inches.
Larger images have so many more."""

COMFORTABLE: Final = 410
"""Another form is tried above this resolution: panels of less than 3/4 inch are hard to read."""

# All in points, 72 per inch.
_MARGIN, _GUTTER, _ROW_NAME = 3.0, 2.5, 8.0  # around the page; between panels; left of panels
_SCENE_TITLE, _GAP = 10.5, 4.0  # its height; between scenes, and between rows in one line
_LARGE_TEXT, _SMALL_TEXT = 6.0, 5.0  # on pages with comfortable panels, and on others
_LEADING: Final = 1.15  # height of a line of text, in sizes of the font
_BAR: Final = (110.0, 4.5)  # width and height of a colour bar
_LEGEND_ENTRY: Final = 10.0  # width of the widest, in sizes of the font

_WIDEST_BELOW: Final = "MAE 0.0000 | 00.00 dB"

_EPSILON: Final = 1e-6  # of a pixel: matplotlib rounds a page down to whole pixels

Cell = tuple[int, int]
"""Row and column of a panel within its scene."""

Position = tuple[int, int]
"""Line and column of a panel within its scene on the page."""


@dataclass(frozen=True, slots=True)
class PanelRow:
    """Name of a row of panels in all scenes; without a label it has no colour bar."""

    name: str = ""
    bar_label: str = ""


@dataclass(frozen=True, slots=True)
class ScenePanels:
    """The panels of one scene, one sequence per row; None where a column has no panel."""

    title: str
    rows: Sequence[Sequence[Panel | None]]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its panels in pixels of the image."""
        height, width, *_ = next(panel for panel in self.rows[0] if panel).pixels.shape
        return height, width


@dataclass(frozen=True, slots=True)
class PageContent:
    """The content of a page.

    Attributes:
        columns: Titles, one per panel of a row.
        rows: One per row of a scene; only the first has texts below its panels.
        scenes: At least one; all panels of a scene have the same size.
        caption: Whole sentences; the label of the figure, which is not drawn.
    """

    columns: Sequence[str]
    rows: Sequence[PanelRow]
    scenes: Sequence[ScenePanels]
    caption: str = ""

    @property
    def classes(self) -> list[int]:
        """Land-cover classes that the legend explains."""
        panels = (panel for scene in self.scenes for row in scene.rows for panel in row)
        return sorted({number for panel in panels if panel for number in panel.classes})


def fit_layout(content: PageContent) -> PageLayout:
    """Choose the form in which panels are drawn; ask for it early to refuse early.

    Returns:
        The first form with panels of a comfortable size, else the one with the largest.

    Raises:
        UsageError: None fits a page.
    """
    fitting: list[PageLayout] = []
    for form in _forms(content):
        layouts = (PageLayout(content, form, resolution) for resolution in RESOLUTIONS)
        fitting += [layout for layout in layouts if layout.fits][:1]
        if fitting and fitting[-1].is_comfortable:
            return fitting[-1]
    if not fitting:
        scenes, (width, height) = len(content.scenes), PAGE_INCH
        raise UsageError(
            f"expected a figure that fits a page of {width} × {height} in, got {scenes} "
            f"scene{'s' * (scenes > 1)} with {len(content.columns)} columns and "
            f"{len(content.rows)} rows of panels; draw fewer scenes (--scenes), fewer "
            "--panels, or fewer methods"
        )
    return min(fitting, key=lambda layout: layout.dpi)


def _forms(content: PageContent) -> list[dict[Cell, Position]]:
    """Ways to place the panels of a scene: rows below each other, in one line, columns folded."""
    shown = [
        (row, column)
        for row in range(len(content.rows))
        for column in range(len(content.columns))
        if any(scene.rows[row][column] is not None for scene in content.scenes)
    ]
    rows, half = len(content.rows), math.ceil(len(content.columns) / 2)
    below = {cell: cell for cell in shown}
    in_line = {cell: (0, position) for position, cell in enumerate(shown)}
    folded = {(row, col): (row + rows * (col >= half), col % half) for row, col in shown}
    return [below, in_line, folded] if rows > 1 else [below, folded]


class PageLayout:
    """Widths and heights of the grid of a page, in pixels; panels are its odd columns.

    Args:
        content: What is drawn.
        form: Position of the panels of each scene.
        resolution: Pixels per inch, of images of up to :data:`PANEL_SIDE`.
    """

    def __init__(
        self, content: PageContent, form: Mapping[Cell, Position], resolution: int
    ) -> None:
        self.form = form
        sizes = [scene.size for scene in content.scenes]
        largest = max(PANEL_SIDE, *map(max, sizes))
        self.dpi = round(resolution * largest / PANEL_SIDE)
        self.is_comfortable = resolution <= COMFORTABLE
        self.font_size = _LARGE_TEXT if self.is_comfortable else _SMALL_TEXT
        times = [max(1, round(largest / max(size))) for size in sizes]
        self.sizes = [(h * n, w * n) for (h, w), n in zip(sizes, times, strict=True)]
        self.side = max(width for _, width in self.sizes)
        self.first_lines = {line for (row, _), (line, _) in form.items() if row == 0}
        self.folded = len(self.first_lines) > 1
        self.lines = 1 + max(line for line, _ in form.values())
        self.in_line = len(content.rows) > 1 and self.lines == 1
        self.widths = self._widths(content)
        self.titles = self._titles(content)
        self.title_rows: list[int] = []  # of each scene
        self.panel_rows: dict[tuple[int, int], int] = {}  # of each scene and line
        self.heights = [self.pixels(_MARGIN)]
        for scene in range(len(content.scenes)):
            self._add_scene(scene, content)
        page = self.ems(sum(self.widths[1:-1]))
        self.legend_columns = max(int(page / _LEGEND_ENTRY), 1)
        legend_rows = math.ceil(len(content.classes) / self.legend_columns)
        has_bars = self.in_line and any(row.bar_label for row in content.rows)
        bars = 2 * self.text_height(1) + _BAR[1] if has_bars else 0
        legend = legend_rows * 1.6 * self.font_size + 2 * (legend_rows > 0)
        foot = (bars, legend, _MARGIN)
        self.heights += [self.pixels(height) for height in foot]

    @property
    def fits(self) -> bool:
        """Whether it is at most a page."""
        width, height = PAGE_INCH
        return sum(self.widths) <= width * self.dpi and sum(self.heights) <= height * self.dpi

    @property
    def separator(self) -> str:
        """Separator of texts below a panel: a line break where panels are narrow."""
        return " | " if text_width(_WIDEST_BELOW) <= self.ems(self.side) else "\n"

    def pixels(self, points: float) -> int:
        """Whole pixels of a length in points."""
        return round(points * self.dpi / 72)

    def text_height(self, lines: int) -> float:
        """Points that lines of text need, with the space around them."""
        return lines * self.font_size * _LEADING + 2.5

    def room_for_bar(self, row: int) -> tuple[int, slice]:
        """Line and columns of the grid for a row's colour bar: below its panels, or beside them.

        Beside them is where the row has none: after the first, else under the clear image.
        """
        line, _ = self.form[row, 0]
        own = [
            column
            for cell, (other, column) in self.form.items()
            if cell[0] == row and other == line
        ]
        columns = own if self.in_line else range(1, min(own[1:], default=len(self.widths) // 2))
        if not columns:
            first_line, position = self.form[max(cell for cell in self.form if cell[0] == 0)]
            line, columns = min(first_line + row, self.lines - 1), [position]
        return line, slice(1 + 2 * columns[0], 2 + 2 * columns[-1])

    def ems(self, pixels: float) -> float:
        """A length in sizes of the font."""
        return pixels / (self.font_size * self.dpi / 72)

    def _widths(self, content: PageContent) -> list[int]:
        named = any(row.name for row in content.rows) and not self.in_line
        widths = [self.pixels(_MARGIN + _ROW_NAME * named)]
        rows = {position: row for (row, _), (_, position) in self.form.items()}
        for position in sorted(rows):
            begins_row = self.in_line and rows[position] != rows.get(position + 1)
            widths += [self.side, self.pixels(_GUTTER + _GAP * begins_row)]
        return [*widths[:-1], self.pixels(_MARGIN)]

    def _titles(self, content: PageContent) -> dict[Cell, str]:
        """Titles above panels, broken into lines."""
        titles = {}
        for row, column in self.form:
            if row == 0 or self.in_line:
                title = ": ".join(filter(None, (content.rows[row].name, content.columns[column])))
                words = re.findall(r"[^\s_/-]*[\s_/-]?", title)
                titles[row, column] = "\n".join(wrap_words(words, self.ems(self.side)))
        return titles

    def _add_scene(self, scene: int, content: PageContent) -> None:
        texts = any(panel and panel.below for panel in content.scenes[0].rows[0])
        below = self.text_height(1 + self.separator.count("\n")) if texts else _GUTTER
        self.title_rows.append(len(self.heights))
        self.heights.append(self.pixels(_SCENE_TITLE))
        for line in range(self.lines):
            titles = [title for cell, title in self.titles.items() if self.form[cell][0] == line]
            if titles and (scene == 0 or self.folded):
                lines = 1 + max(title.count("\n") for title in titles)
                self.heights[-1] += self.pixels(self.text_height(lines))
            self.panel_rows[scene, line] = len(self.heights)
            height, _ = self.sizes[scene]
            self.heights += [height, self.pixels(below if titles else _GUTTER)]
        self.heights[-1] += self.pixels(_GAP)


def draw_page(content: PageContent) -> Figure:
    """Draw panels on a page.

    Returns:
        A figure that belongs to no window and to no pyplot state, at the resolution in which a
        pixel of an image is a pixel of the page.

    Raises:
        UsageError: It does not fit a page.
    """
    layout = fit_layout(content)
    with new_figure(_style(layout.font_size)) as figure:
        figure.set_layout_engine(None)  # "none" would draw the figure twice
        figure.set_dpi(layout.dpi)
        page = _Page(figure, content, layout)
        for number in range(len(content.scenes)):
            page.draw_scene(number)
        page.draw_legend()
        figure.set_label(content.caption)
        write_all_letters(figure)
    return figure


def _style(font_size: float) -> dict[str, object]:
    texts = ("font.size", "axes.titlesize", "axes.labelsize", "xtick.labelsize", "legend.fontsize")
    return {
        **dict.fromkeys(texts, font_size),
        "axes.grid": False,
        "axes.spines.top": True,
        "axes.spines.right": True,
        "axes.edgecolor": "#606060",
        "axes.linewidth": 1.0,  # the inner half lies behind the panel
        "hatch.linewidth": 0.5,
        "xtick.major.size": 1.5,
        "xtick.major.width": 0.4,
        "xtick.major.pad": 1,
    }


class _Page:
    """A figure and its grid, to draw into."""

    def __init__(self, figure: Figure, content: PageContent, layout: PageLayout) -> None:
        self.figure, self.content, self.layout = figure, content, layout
        self.width, self.height = sum(layout.widths), sum(layout.heights)
        width, height = self.width + _EPSILON, self.height + _EPSILON
        figure.set_size_inches(width / layout.dpi, height / layout.dpi)
        self.grid = GridSpec(
            len(layout.heights),
            len(layout.widths),
            figure,
            height_ratios=layout.heights,
            width_ratios=layout.widths,
            left=0,
            right=1,
            bottom=0,
            top=1,
            wspace=0,
            hspace=0,
        )

    def draw_scene(self, number: int) -> None:
        """Draw the title and the panels of a scene; with the first, the colour bars of all."""
        layout, scene = self.layout, self.content.scenes[number]
        self.write(layout.title_rows[number], _SCENE_TITLE - 3, scene.title, weight="bold")
        for (row, column), (line, position) in layout.form.items():
            if (panel := scene.rows[row][column]) is None:
                continue
            grid_row, panel_row = layout.panel_rows[number, line], self.content.rows[row]
            axes = self.figure.add_subplot(self.grid[grid_row, 1 + 2 * position])
            self._narrow(axes, layout.side - layout.sizes[number][1])
            image = _draw_panel(axes, panel)
            axes.set_xlabel(layout.separator.join(panel.below), labelpad=1.2, linespacing=1.1)
            if number == 0 or layout.folded:
                title = layout.titles.get((row, column), "")
                axes.set_title(title, pad=2.5, linespacing=1.1, parse_math=False)
            if position == 0 and not layout.in_line:
                axes.set_ylabel(panel_row.name, labelpad=1.5)
            if column == 0 and panel_row.bar_label and number == 0:  # one scale in all scenes
                self._draw_bar(number, row, image)

    def _narrow(self, axes: Axes, spare: int) -> None:
        """Leave pixels of a column empty on both sides of a panel that is not as wide."""
        if spare:
            box = axes.get_position()
            left = box.x0 + spare // 2 / self.width
            axes.set_position((left, box.y0, box.width - spare / self.width, box.height))

    def draw_legend(self) -> None:
        """Explain the classes of land cover, if there are any."""
        if not self.content.classes:
            return
        box = self.grid[-2, 1].get_position(self.figure)
        self.figure.legend(
            handles=[_legend_patch(number) for number in self.content.classes],
            loc="upper left",
            bbox_to_anchor=(box.x0, box.y1),
            ncols=self.layout.legend_columns,
            frameon=False,
            borderpad=0,
            borderaxespad=0,
            handlelength=1.6,
            columnspacing=1.4,
        )

    def write(self, grid_row: int, points: float, text: str, **style: Any) -> None:
        """Write a text at the left of a row of the grid, some points below its top."""
        box = self.grid[grid_row, 1].get_position(self.figure)
        y = box.y1 - self.layout.pixels(points) / self.height
        self.figure.text(box.x0, y, text, parse_math=False, **style)

    def _draw_bar(self, scene: int, row: int, image: AxesImage) -> None:
        """Draw the colour bar of a row in the middle of the room for it."""
        line, columns = self.layout.room_for_bar(row)
        grid_row = -3 if self.layout.in_line else self.layout.panel_rows[scene, line]
        room = self.grid[grid_row, columns].get_position(self.figure)
        width = min(self.layout.pixels(_BAR[0]) / self.width, 0.8 * room.width)
        height = self.layout.pixels(_BAR[1]) / self.height
        left, bottom = (room.x0 + room.x1 - width) / 2, (room.y0 + room.y1 - height) / 2
        axes = self.figure.add_axes((left, bottom, width, height))
        bar = self.figure.colorbar(image, cax=axes, orientation="horizontal", extend="max")
        upper = image.get_clim()[1] or 0.0
        bar.set_ticks([0, upper / 2, upper], labels=["0", f"{upper / 2:g}", f"{upper:g}"])
        bar.outline.set(linewidth=0.4, edgecolor="black")
        words = re.findall(r"\S+\s?", self.content.rows[row].bar_label)
        lines = wrap_words(words, self.layout.ems(room.width * self.width))
        axes.set_title("\n".join(lines), pad=2.5, linespacing=1.1)


def _draw_panel(axes: Axes, panel: Panel) -> AxesImage:
    """Draw a panel above its frame, which covers none of its pixels."""
    axes.set(xticks=[], yticks=[])
    image = axes.imshow(panel.pixels, panel.colours, aspect="auto", interpolation="none", zorder=3)
    if panel.limits:
        image.set_clim(*panel.limits)
    for x, y, size in panel.frames:
        for colour, width in (("black", 1.2), ("white", 0.6)):
            square = Rectangle((x - 0.5, y - 0.5), size, size, fill=False, zorder=4)
            square.set(edgecolor=colour, linewidth=width)
            axes.add_patch(square)
    return image


def _legend_patch(number: int) -> Patch:
    """A class of land cover in the legend."""
    unknown = number == UNKNOWN
    return Patch(
        facecolor=LAND_COVER_COLOURS[number],
        edgecolor=STRIPES if unknown else "#606060",
        hatch="//////" if unknown else None,
        linewidth=0.4,
        label=LAND_COVER_NAMES[number],
    )
