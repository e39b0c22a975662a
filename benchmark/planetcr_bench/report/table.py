"""Write a table as Markdown, as LaTeX or for the terminal."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.table import Table
from rich.text import Text

from planetcr_bench.utils.untrusted import printable

DIGITS: Final = 4
"""Digits after the point, as in the paper's tables."""


@dataclass(frozen=True, slots=True)
class Block:
    """A table of ready-made text.

    Attributes:
        title: Printed above it.
        header: Names of the columns; the first names the rows.
        rows: Cells, one list per row.
        kinds: Kind of each row; a line is drawn where it turns into or out of ``published``.
        notes: Lines printed under it: signatures, coverage, sources.
        bold: Positions (row, column) of the best cells and of all tied with them, for LaTeX.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    kinds: Sequence[str]
    notes: Sequence[str] = field(default_factory=list)
    bold: frozenset[tuple[int, int]] = frozenset()

    def breaks(self) -> list[int]:
        """Rows before which a line separates published figures from measured ones."""
        return [
            index
            for index in range(1, len(self.rows))
            if (self.kinds[index] == "published") != (self.kinds[index - 1] == "published")
        ]


def number(value: object, *, sign: bool = False, digits: int = DIGITS) -> str:
    """A figure as text: a dash where nothing was measured, ∞ for a perfect match."""
    if not isinstance(value, int | float) or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    rounded = round(value, digits) + 0.0  # no negative zero
    return f"{rounded:+.{digits}f}" if sign else f"{rounded:.{digits}f}"


def to_markdown(block: Block) -> str:
    """A block as a Markdown table under its title."""
    lines = [f"**{block.title}**", "", _pipes(block.header)]
    lines.append(_pipes([":--", *["--:"] * (len(block.header) - 1)]))
    lines += [_pipes(row) for row in block.rows]
    lines += ["", *(f"_{note}_  " for note in block.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(printable(cell).replace("|", "\\|") for cell in cells) + " |"


_LATEX: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "|": r"\textbar{}",
        "↓": r"$\downarrow$",
        "↑": r"$\uparrow$",
        "°": r"\textdegree{}",
        "∞": r"$\infty$",
        "−": "$-$",
        "–": "--",
        "±": r"$\pm$",
        "→": r"$\to$",
        "Σ": r"$\Sigma$",
        "∇": r"$\nabla$",
    }
)


def to_latex(block: Block) -> str:
    """A block as a LaTeX table; needs the package booktabs."""
    breaks = block.breaks()
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{block.title.translate(_LATEX)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(block.header) - 1)}}}",
        r"\toprule",
        _ampersands(block.header),
        r"\midrule",
    ]
    for index, row in enumerate(block.rows):
        bold = {column for line, column in block.bold if line == index}
        lines += [r"\midrule"] * (index in breaks) + [_ampersands(row, bold)]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {note.translate(_LATEX)}" for note in block.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _ampersands(cells: Sequence[str], bold: Collection[int] = ()) -> str:
    texts = [printable(cell).translate(_LATEX) for cell in cells]
    shown = [rf"\textbf{{{text}}}" if at in bold else text for at, text in enumerate(texts)]
    return " & ".join(shown) + r" \\"


def to_rich(block: Block) -> Table:
    """A block for the terminal."""
    table = Table(
        title=Text(printable(block.title)),
        caption=Text("\n".join(map(printable, block.notes))),
        title_justify="left",
        caption_justify="left",
        title_style="bold",
    )
    for index, name in enumerate(block.header):
        table.add_column(Text(printable(name)), justify="right" if index else "left", no_wrap=True)
    breaks = {index - 1 for index in block.breaks()}
    styles = {"published": "dim italic", "gain": "cyan", "input": "dim", "spread": "dim"}
    for index, (row, kind) in enumerate(zip(block.rows, block.kinds, strict=True)):
        cells = [Text(printable(cell)) for cell in row]
        table.add_row(*cells, style=styles.get(kind), end_section=index in breaks)
    return table
