r"""Write tables as LaTeX that fits the columns of a two-column document.

A table that is wider than a column becomes a ``table*``; one that is wider than a page is cut into
blocks of columns below each other, and one that is longer into several.
"""

from __future__ import annotations

import itertools
import math
import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from planetcr_bench.report.table import Table
from planetcr_bench.utils.untrusted import printable


@dataclass(frozen=True, slots=True)
class TextArea:
    """Where tables and figures go.

    Attributes:
        column_pt: Width of a column in points.
        page_pt: Width of the text of a page.
    """

    column_pt: float
    page_pt: float


IEEE: Final = TextArea(252.0, 516.0)

HEAD: Final = r"""% In the preamble: \usepackage{booktabs}
\providecommand{\bestscore}[2]{\textbf{#1.}\rlap{\textbf{#2}}\phantom{#2}} % aligned
\providecommand{\secondscore}[1]{\underline{#1}}
\providecommand{\otherletter}[2]{\ifdefined\Umathchar#2\else{\tiny\fbox{#1}\allowbreak}\fi}
"""
"""First lines of a file with tables. ``\\bestscore`` keeps the points of bold figures aligned.
``\\otherletter`` prints a letter in XeLaTeX and LuaLaTeX, else its number."""

_SEPARATION_PT: Final = 2.5  # on both sides of a cell
_WIDEST_PT: Final = 126.0  # of a column of text, where wider ones do not fit
_NARROWEST_PT: Final = 52.0  # of the first column, wrapped so that a table fits a column
_HEADER_LETTERS: Final = 20  # of a line; a run may be a column
_MOST_LINES: Final = 56  # of rows, heads and notes; more would not fit a page
_NUMBER: Final = re.compile(r"(< )?[+\-−]?\d[\d,]*(\.\d+)?\*?|[–∞]|−∞|")

# --- Text ---------------------------------------------------------------------------------------

_POWERS: Final = {
    power: f"$^{{{digit}}}$" for power, digit in zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-", strict=True)
}

_TEX: Final = {
    **_POWERS,
    "\\": r"\textbackslash{}",
    **{char: rf"\{char}" for char in "&%$#{}"},
    "_": r"\_\allowbreak{}",
    "/": r"/\allowbreak{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",  # a bare one is ¡ in the usual encoding
    ">": r"\textgreater{}",
    "|": r"\textbar\allowbreak{}",  # signatures have no blanks to break at
    '"': "''",
    "`": r"\`{}",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
    "\N{NO-BREAK SPACE}": "~",
    "°": r"$^\circ$",
    "µ": r"$\mu$",
    **{
        char: f"${command}$"
        for char, command in {
            "↓": r"\downarrow", "↑": r"\uparrow", "→": r"\to", "∞": r"\infty", "−": "-",
            "±": r"\pm", "×": r"\times", "·": r"\cdot", "≤": r"\leq", "≥": r"\geq", "≈": r"\approx",
            "Σ": r"\Sigma", "∇": r"\nabla", "Δ": r"\Delta",
        }.items()
    },
    **{
        char: rf"$\{name}$"
        for char, name in zip(
            "αβγδεζηθικλμνξπρστυφχψωΓΘΛΞΠΦΨΩ",
            (
                "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota",
                "kappa", "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi",
                "chi", "psi", "omega", "Gamma", "Theta", "Lambda", "Xi", "Pi", "Phi", "Psi",
                "Omega",
            ),
            strict=True,
        )
    },
}  # fmt: skip


def escape_latex(text: object) -> str:
    r"""Text of others, so that pdfLaTeX, XeLaTeX and LuaLaTeX print it as it is, in one line.

    Letters that pdfLaTeX lacks, such as Chinese ones, become ``\otherletter``, see :data:`HEAD`.

    Example:
        >>> print(escape_latex("a_b & c < 50 %"), escape_latex("中"))
        a\_\allowbreak{}b \& c \textless{} 50 \% \otherletter{4E2D}{中}
    """
    parts = re.split("(?<=-)(?=-)", printable(text))  # or two hyphens would be a dash
    return "{}".join("".join(map(_letter, part)) for part in parts)


def _breakable(text: str) -> str:
    """Escaped text whose long words may be broken."""
    parts = re.split(r"(?<=[^\W\d_]{10})(?=[^\W\d_]{3})", text)
    return r"\allowbreak{}".join(map(escape_latex, parts))


def _letter(char: str) -> str:
    if char in _TEX:
        return _TEX[char]
    if is_known(char):
        return char
    plain = unicodedata.normalize("NFKC", char)
    if plain != char and all(map(is_known, plain)):
        return "".join(map(_letter, plain))
    return rf"\otherletter{{{ord(char):04X}}}{{{char}}}"


def is_known(char: str) -> bool:
    """Whether pdfLaTeX prints a letter, or what it is escaped to, in any encoding of fonts."""
    latin = "À" <= char <= "ž" and char.isalpha() and char not in "ĄąĘęĮįŲųÐðÞþĐđŊŋĸŉſ"
    return char in _TEX or char.isascii() or latin


def width_pt(text: str) -> float:
    """About how wide a text is in ``footnotesize``, rather more than less."""
    return sum(map(_letter_width, printable(text)))


def _letter_width(char: str) -> float:
    if not (is_known(char) or is_known(unicodedata.normalize("NFKC", char)[:1])):
        return 22.0
    if char in " .,:;'|!()[]ijlft-":
        return 3.1
    if char in "→∞−±×":
        return 8.0
    return 6.5 if char.isupper() or char in "mw%@" else 4.45


# --- Tables -------------------------------------------------------------------------------------


def latex_file(tables: Sequence[Table], stem: str, area: TextArea = IEEE) -> str:
    """A file of tables that compiles wherever it is read in, with the package booktabs.

    Args:
        tables: Those without a label get one from ``stem``.
        stem: Name of the file.
        area: What the tables fit.
    """
    labels = [table.label or f"tab:{stem}-{number}" for number, table in enumerate(tables, 1)]
    texts = [to_latex(table, label, area) for table, label in zip(tables, labels, strict=True)]
    return "\n".join([HEAD, *texts])


def to_latex(table: Table, label: str = "", area: TextArea = IEEE) -> str:
    """LaTeX of one table; see :data:`HEAD` for what it needs.

    Best scores are bold, second ones underlined. The notes follow in small print.
    """
    caption = table.caption or re.sub(r"^Tab\. \d( \(\w\))?:? ?", "", table.title)
    layout, parts = _Layout(table, area), []
    for number, rows in enumerate(layout.row_blocks()):
        more = " (continued)" if number else ""
        named = rf"\label{{{label}}}" if label and not number else ""
        parts.append(_float(layout, rows, rf"{escape_latex(caption)}{more}", named))
    return "\n".join(parts)


def _float(layout: _Layout, rows: range, caption: str, label: str) -> str:
    table = layout.table
    stars = "*" if layout.needs_page else ""
    last = rows.stop == len(table.rows)
    lines = [
        rf"\begin{{table{stars}}}[t]",
        r"\centering",
        rf"\caption{{{caption}}}",
        *([label] if label else []),
        rf"\footnotesize\setlength{{\tabcolsep}}{{{_SEPARATION_PT:g}pt}}",
    ]
    for number, columns in enumerate(layout.blocks):
        lines += [r"\par\medskip"] if number else []
        lines += layout.tabular(columns, rows)
    lines += [
        rf"\par\smallskip\raggedright {escape_latex(note)}"
        for note in (table.notes if last else ())
    ]
    return "\n".join([*lines, rf"\end{{table{stars}}}"]) + "\n"


class _Layout:
    """Widths and blocks of the columns of a table."""

    def __init__(self, table: Table, area: TextArea) -> None:
        self.table, self.area = table, area
        self.head_of = ["", *(title for title, count in table.heads for _ in range(count))]
        small = [kind == "interval" for kind in table.kinds]
        columns = [[row[column] for row in table.rows] for column in range(len(table.header))]
        self.is_text = [
            index == 0
            or not all(
                tiny or _NUMBER.fullmatch(cell) for tiny, cell in zip(small, cells, strict=True)
            )
            for index, cells in enumerate(columns)
        ]
        self.cell_widths = [
            max((self._width(row, column) for row in range(len(table.rows))), default=0.0)
            for column in range(len(table.header))
        ]
        self.head_widths = [
            max(map(width_pt, self._header_lines(column))) for column in range(len(table.header))
        ]
        self.wraps = [False] * len(table.header)
        every = range(1, len(table.header))
        whole = self._total(every)
        spare = area.column_pt - (whole - self.widths[0])
        if whole > area.column_pt and spare >= _NARROWEST_PT:
            self._wrap([0], spare - 0.5)
        elif whole > area.page_pt:
            self._wrap([column for column, text in enumerate(self.is_text) if text], _WIDEST_PT)
        whole = self._total(every)
        self.needs_page = whole > area.column_pt
        self.blocks = list(self._blocks(area.page_pt)) if whole > area.page_pt else [
            list(range(1, len(table.header)))
        ]  # fmt: skip

    @property
    def widths(self) -> list[float]:
        """Of the columns."""
        return [
            max(own, head) for own, head in zip(self.cell_widths, self.head_widths, strict=True)
        ]

    def _width(self, row: int, column: int) -> float:
        small = self.table.kinds[row] == "interval"
        factor = 0.875 if small else 1.12 if (row, column) in self.table.bold else 1.0
        cite = 16.0 if column == 0 and row in self.table.cites else 0.0
        return factor * width_pt(self.table.rows[row][column]) + cite

    def _wrap(self, columns: Sequence[int], most: float) -> None:
        """Break the cells of columns that are wider than this."""
        for column in columns:
            self.wraps[column] = self.cell_widths[column] > most
            self.cell_widths[column] = min(self.cell_widths[column], most)

    def _total(self, columns: Sequence[int]) -> float:
        widths = self.widths
        return sum(widths[column] + 2 * _SEPARATION_PT for column in (0, *columns))

    def _blocks(self, page_pt: float) -> Iterator[list[int]]:
        """Columns of each block, which repeats the first column; columns of one head stay united.

        A head that does not fit in a line is cut, too.
        """
        block: list[int] = []
        for columns in self._spans(page_pt):
            if block and self._total([*block, *columns]) > page_pt:
                yield block
                block = []
            block += columns
        yield block

    def _spans(self, page_pt: float) -> Iterator[list[int]]:
        first = 1
        for _, count in self.table.heads or [("", 1)] * (len(self.table.header) - 1):
            span = list(range(first, first + count))
            first += count
            if self._total(span) > page_pt:
                yield from ([column] for column in span)
            else:
                yield span

    def row_blocks(self) -> Iterator[range]:
        """Rows of each of the floats that a long table needs."""
        width = self.area.page_pt if self.needs_page else self.area.column_pt
        notes = sum(math.ceil(1.1 * width_pt(note) / width) for note in self.table.notes)
        most = max(_MOST_LINES - notes - 4 * len(self.blocks), 10)
        start, used = 0, 0
        for row in range(len(self.table.rows)):
            needed = len(self.blocks) * max(
                math.ceil(1.2 * self._width(row, column) / self.cell_widths[column]) if wraps else 1
                for column, wraps in enumerate(self.wraps)
            )
            if used + needed > most and row > start:
                yield range(start, row)
                start, used = row, 0
            used += needed
        yield range(start, len(self.table.rows))

    def tabular(self, columns: Sequence[int], rows: range) -> list[str]:
        """Lines of a block of columns."""
        chosen = [0, *columns]
        kinds = "".join("l" if self.is_text[column] else "r" for column in chosen)
        lines = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", *self._heads(columns)]
        names = [self._header(column) for column in chosen]
        lines += [rf"{' & '.join(names)} \\", r"\midrule"]
        breaks = self.table.breaks()
        for row in rows:
            lines += [r"\midrule"] * (row in breaks and row > rows.start)
            lines.append(rf"{' & '.join(self._cell(row, column) for column in chosen)} \\")
        return [*lines, r"\bottomrule", r"\end{tabular}"]

    def _heads(self, columns: Sequence[int]) -> list[str]:
        """A line with what several columns have in common, and rules below it."""
        cells, rules, position = [""], [], 2
        chosen = [self.head_of[column] for column in columns] if self.table.heads else []
        for title, own in itertools.groupby(chosen):
            count = len(list(own))
            cells.append(rf"\multicolumn{{{count}}}{{c}}{{{escape_latex(title)}}}" if title else "")
            cells += [] if title else [""] * (count - 1)
            if title:
                rules.append(rf"\cmidrule(lr){{{position}-{position + count - 1}}}")
            position += count
        return [rf"{' & '.join(cells)} \\", "".join(rules)] if rules else []

    def _header(self, column: int) -> str:
        lines = self._header_lines(column)
        if len(lines) == 1:
            return escape_latex(lines[0])
        side = "l" if self.is_text[column] else "r"
        stacked = r"\\{}".join(map(escape_latex, lines))  # a bracket would be an option
        return rf"\shortstack[{side}]{{{stacked}}}"

    def _header_lines(self, column: int) -> list[str]:
        """The name of a column below its head; lines for what follows a comma and for the unit."""
        head = self.head_of[column] if self.table.heads else ""
        name = self.table.header[column].removeprefix(head).strip(", ") if head else ""
        parts = (name or self.table.header[column]).split(", ")
        lines = [line for part in parts for line in re.split(r" (?=[↑↓→] \[|\[)", part, maxsplit=1)]
        return [short for line in lines for short in textwrap.wrap(line, _HEADER_LETTERS) or [""]]

    def _cell(self, row: int, column: int) -> str:
        table = self.table
        cell = table.rows[row][column]
        if table.kinds[row] == "interval":
            return rf"{{\scriptsize {escape_latex(cell)}}}" if cell else ""
        wraps = self.wraps[column] and self._width(row, column) > self.cell_widths[column]
        text = _breakable(cell) if wraps else escape_latex(cell)
        if column:
            text = re.sub(r"(?<![\w.])[-+](?=\d)", r"$\g<0>$", text)  # a sign, no hyphen
        text = re.sub(r"(?<=\d)\*$", r"\\rlap{*}", text)
        if (row, column) in table.bold:
            whole, point, decimals = text.partition(".")
            exact = point and _NUMBER.fullmatch(cell)
            text = rf"\bestscore{{{whole}}}{{{decimals}}}" if exact else rf"\textbf{{{text}}}"
        elif (row, column) in table.second:
            text = rf"\secondscore{{{text}}}"
        if column == 0:
            text += table.cites.get(row, "")
        if not wraps:
            return text
        width = self.cell_widths[column]
        return rf"\parbox[t]{{{width:.0f}pt}}{{\raggedright\strut {text}\strut}}"
