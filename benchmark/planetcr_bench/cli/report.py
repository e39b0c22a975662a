"""``planetcr-bench report``: make the full report of a run that was scored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planetcr_bench.cli import options


def report(
    run: Annotated[Path, typer.Argument(help="Results folder: results/<track>/<name>.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for report.md, report.html, tables and figures.", show_default="RUN"
        ),
    ] = None,
    class_average: options.ClassAverage = None,
) -> None:
    """Rewrite the report of a run with the full error analysis and all figures.

    Everything follows from the ledger: no image is opened. Of a compact ledger, tables of single
    scenes and of optical thickness are left out.
    """
    from planetcr_bench.errors import LedgerError
    from planetcr_bench.leaderboard.entries import read_run
    from planetcr_bench.report.report import write_report
    from planetcr_bench.results.compact_file import read_any_ledger
    from planetcr_bench.results.files import RUN

    if not run.is_dir():
        raise LedgerError(f"{run}: expected a results folder, found none")
    ledger = read_any_ledger(run)
    facts = read_run(run / RUN, ledger.provenance)
    out = out or run
    out.mkdir(parents=True, exist_ok=True)
    write_report(out, ledger, facts, pool=class_average, full=True)
    typer.echo(f"Report: {out / 'report.md'}")
