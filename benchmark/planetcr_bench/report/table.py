"""Make tables of runs, and write them as Markdown or for the terminal; see also ``latex.py``."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.table import Table as RichTable
from rich.text import Text

from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.results.aggregate import coverage, in_paper_order, input_note, rounding_note
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.utils.untrusted import printable

DIGITS: Final = 4
"""Digits after the point, as in the paper's tables."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of ready-made text.

    Attributes:
        title: Printed above it.
        header: Names of the columns; the first names the rows.
        rows: Cells, one list per row.
        kinds: Kind of each row; a line is drawn where it turns into or out of ``published``.
        notes: Lines printed under it: signatures, coverage, sources.
        bold: Positions (row, column) of the best cells and of all tied with them, for LaTeX.
        second: Positions of the second best, underlined in LaTeX.
        heads: What columns after the first have in common, and of how many; empty for those that
            have a name alone. For LaTeX.
        caption: In LaTeX in place of the title.
        label: By which LaTeX refers to it.
        cites: LaTeX that follows the names of some rows.
        rules: Rows before which a line is drawn, if not by their kinds.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    kinds: Sequence[str]
    notes: Sequence[str] = field(default_factory=list)
    bold: frozenset[tuple[int, int]] = frozenset()
    second: frozenset[tuple[int, int]] = frozenset()
    heads: Sequence[tuple[str, int]] = ()
    caption: str = ""
    label: str = ""
    cites: Mapping[int, str] = field(default_factory=dict)
    rules: Sequence[int] = ()

    def breaks(self) -> list[int]:
        """Rows before which a line separates published figures from measured ones, or others."""
        return list(self.rules) or [
            index
            for index in range(1, len(self.rows))
            if (self.kinds[index] == "published") != (self.kinds[index - 1] == "published")
        ]


def shared_heads(names: Sequence[str]) -> list[tuple[str, int]]:
    """What neighbouring columns have in common, as ``Table.heads``."""
    return [(name, len(list(own))) for name, own in itertools.groupby(names)]


def run_table(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    ledgers: Sequence[Ledger],
    protocol: Protocol,
    notes: Sequence[str] = (),
    kinds: Sequence[str] = (),
    bold: frozenset[tuple[int, int]] = frozenset(),
) -> Table:
    """Make a table of runs: its title names the protocol, its last notes are coverage notes."""
    return Table(
        f"{title}, protocol {protocol.name}",
        header,
        rows,
        kinds or ["measured"] * len(rows),
        [*notes, *coverage_notes(ledgers)],
        bold,
    )


def coverage_notes(ledgers: Sequence[Ledger]) -> list[str]:
    """Notes under every table of runs: input windows, masks, incomplete runs, simulation."""
    rounding = rounding_note(ledgers)
    incomplete = [
        f"{run.name} is incomplete: {coverage(run)}."
        for run in in_paper_order(ledgers)
        if not run.provenance["complete"]
    ]
    masks = ledgers[0].imagery.masks_note
    notes = [input_note(ledgers), masks, *incomplete, rounding]
    return [note for note in notes if note]


def number(value: object, *, sign: bool = False, digits: int = DIGITS) -> str:
    """A figure as text: a dash where nothing was measured, ∞ for a perfect match."""
    if not isinstance(value, int | float) or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    rounded = round(value, digits) + 0.0  # no negative zero
    return f"{rounded:+.{digits}f}" if sign else f"{rounded:.{digits}f}"


def to_markdown(table: Table) -> str:
    """Markdown, under the title."""
    lines = [f"**{table.title}**", "", _pipes(table.header)]
    lines.append(_pipes([":--", *["--:"] * (len(table.header) - 1)]))
    lines += [_pipes(row) for row in table.rows]
    lines += ["", *(f"_{note}_  " for note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_PIPE.sub(r"\\|", printable(cell)) for cell in cells) + " |"


_PIPE: Final = re.compile(r"(?<!\\)\|")


def escape_markdown(text: str) -> str:
    r"""Text of others, so that Markdown prints it as it is, in one line.

    Example:
        >>> escape_markdown("a_net | [b](c)")
        'a\\_net \\| \\[b\\](c)'
    """
    return re.sub(r"([\\`*_{}\[\]<>#!|])", r"\\\1", printable(text))


def to_rich(table: Table) -> RichTable:
    """A table for the terminal."""
    printed = RichTable(
        title=Text(printable(table.title)),
        caption=Text("\n".join(map(printable, table.notes))),
        title_justify="left",
        caption_justify="left",
        title_style="bold",
    )
    for index, name in enumerate(table.header):
        printed.add_column(
            Text(printable(name)), justify="right" if index else "left", no_wrap=True
        )
    breaks = {index - 1 for index in table.breaks()}
    styles = {"published": "dim italic", "gain": "cyan", "input": "dim", "spread": "dim"}
    for index, (row, kind) in enumerate(zip(table.rows, table.kinds, strict=True)):
        cells = [Text(printable(cell)) for cell in row]
        printed.add_row(*cells, style=styles.get(kind), end_section=index in breaks)
    return printed
