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
    from planetcr_bench.data.integrity import DatasetReport, SplitReport


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
    for split, part in report.splits.items():
        scenes = f"{part.scenes} scene{'s' * (part.scenes != 1)} ({part.complete_scenes} sound)"
        groups = f", {part.aois} {report.cluster}{'s' * (part.aois != 1)}" if report.cluster else ""
        columns = [
            (name, unit, counts)
            for name, unit, counts in (
                ("Season", "scenes", part.seasons),
                ("Land cover", "pixels", part.land_cover),
                ("Cloud cover [%]", "scenes", part.cloud_cover),
                ("Size", "scenes", part.sizes if len(part.sizes) > 1 else {}),
            )
            if counts
        ]
        out.print(f"{split}: {scenes}{groups}", style="bold", highlight=False, markup=False)
        table = Table()
        for name, unit, _ in columns:
            table.add_column(name)
            table.add_column(unit, justify="right")
        for cells in zip_longest(*(counts.items() for _, _, counts in columns)):
            table.add_row(*(str(cell) for pair in cells for cell in pair or ("", "")))
        if columns:
            out.print(table)
        out.print(_images_line(report, part), highlight=False, markup=False)
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


def _images_line(report: DatasetReport, part: SplitReport) -> str:
    """Bands, sizes and products of a split."""
    sizes = [*part.sizes]
    shown = f"{sizes[0]} pixels" if len(sizes) == 1 else f"{len(sizes)} sizes" if sizes else ""
    products = ", ".join(product.replace("_", " ") for product in report.products)
    return "; ".join(filter(None, (f"images of {', '.join(report.bands)}", shown, products)))
