"""Print tables on the terminal, as wide as they need to be."""

from __future__ import annotations

import sys
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.report.table import to_rich
from planetcr_bench.utils.untrusted import printable

if TYPE_CHECKING:  # decodes images, which printing tables does not need
    from planetcr_bench.data.integrity import DatasetReport


def console() -> Console:
    """Standard output; where it is no terminal, lines are not broken to some width."""
    return Console() if sys.stdout.isatty() else Console(width=160)


def print_headlines(tables: RunTables) -> None:
    """Print the overall scores of each run beside the input's, and what they leave out."""
    for table in tables.headlines():
        printed = to_rich(table)
        printed.title = printed.caption = None
        printed.box, printed.show_edge, printed.pad_edge = None, False, False
        _print_whole(console(), printed)
    for limit in tables.limits:
        console().print(limit)


def print_tables(tables: RunTables) -> None:
    """Print all tables of the report: Tab. 2 and 3, Fig. 5 as a table, regions, statistics."""
    shown = [*tables.table2_tables, *tables.group_tables, *tables.table3_tables]
    shown += tables.statistic_tables if len(tables.ledgers) > 1 else []
    out = console()
    for table in shown:
        _print_whole(out, to_rich(table))
        out.print()


def _print_whole(out: Console, table: Table) -> None:
    """Print a table at its full width: a narrow terminal wraps its lines but cuts no number."""
    needed = Measurement.get(out, out.options.update(max_width=1000), table).maximum
    Console(width=max(out.width, needed)).print(table)


def print_dataset_report(report: DatasetReport) -> None:
    """Print the contents of a dataset, then warnings, then problems."""
    out = console()
    columns = ("seasons", "land_cover", "cloud_cover")
    for split, part in report.splits.items():
        title = f"{split}: {part.scenes} scenes ({part.complete_scenes} sound), {part.aois} AOIs"
        table = Table(title=title, title_justify="left", title_style="bold")
        for name in ("Season", "scenes", "Land cover", "pixels", "Cloud cover [%]", "scenes"):
            table.add_column(name, justify="right" if name in ("scenes", "pixels") else "left")
        for cells in zip_longest(*(getattr(part, column).items() for column in columns)):
            table.add_row(*(str(cell) for pair in cells for cell in pair or ("", "")))
        out.print(table)
        out.print(f"fingerprint of {split}: {part.fingerprint or 'none'}\n", highlight=False)
    if report.masks is not None:
        out.print(f"cloud masks: {printable(report.masks)}", highlight=False, markup=False)
    for warning in report.warnings:
        out.print(f"warning: {printable(warning)}", style="yellow", highlight=False, markup=False)
    for problem in report.problems:
        out.print(f"broken: {printable(problem)}", style="red", highlight=False, markup=False)
    out.print(f"dataset fingerprint: {report.fingerprint or 'none'}", highlight=False)
    verdict = "sound" if report.ok else f"problems: {len(report.problems)}"
    where = printable(f"{report.data} ({report.track})" if report.track else report.data)
    out.print(f"{where}: {verdict}", highlight=False, markup=False)
