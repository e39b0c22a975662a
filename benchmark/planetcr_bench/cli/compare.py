"""``planetcr-bench compare``: put several runs side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from planetcr_bench.cli import options
from planetcr_bench.errors import UsageError


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Results folders (results/<track>/<name>) or ledgers.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for report.md, its tables and its figures.",
            show_default="<results>/comparison/",
        ),
    ] = None,
    published: Annotated[
        bool,
        typer.Option(
            "--published",
            help="Show the paper's Tab. 2 and 3 beside the official protocol, set apart: for runs "
            "on all 3,000 test scenes of Planet-CR.",
        ),
    ] = False,
    protocol: Annotated[
        Literal["official", "full"] | None,
        typer.Option(help="Only this protocol.", show_default="all that every run was measured in"),
    ] = None,
    class_average: options.ClassAverage = None,
    no_segmenter: Annotated[
        bool,
        typer.Option(
            "--no-segmenter",
            help="Leave out Tab. 3 and Fig. 6: runs that different segmenters have read.",
        ),
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Add the full error analysis and all figures.")
    ] = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Put runs on one dataset side by side: Tab. 2 and Fig. 5 with all of them.

    Every score has a 95 % interval over AOIs, every two runs their paired difference with its p.
    Of runs that a segmenter has read also Tab. 3 and Fig. 6; then where and how all fail.
    """
    from planetcr_bench.analysis.segmentation import check_segmenters, without_segmenters
    from planetcr_bench.report.report import write_comparison
    from planetcr_bench.report.scores import summary
    from planetcr_bench.results.aggregate import check_comparable, of_protocol
    from planetcr_bench.results.ledger import read_ledger
    from planetcr_bench.results.published import refuse_published

    if published and protocol == "full":
        raise UsageError("--published: the paper's figures are of protocol official alone")
    ledgers = [read_ledger(run) for run in runs]
    check_comparable(ledgers)
    if published:
        refuse_published(ledgers)
    if protocol is not None:
        ledgers = [of_protocol(ledger, protocol) for ledger in ledgers]
    if no_segmenter:
        ledgers = [without_segmenters(ledger) for ledger in ledgers]
    check_segmenters(ledgers)
    out = out or _results_folder(runs[0], ledgers[0].provenance["track"]) / "comparison"
    out.mkdir(parents=True, exist_ok=True)
    tables = write_comparison(out, ledgers, pool=class_average, published=published, full=full)
    if as_json:
        typer.echo(json.dumps([summary(run) for run in ledgers], ensure_ascii=False))
        return
    from planetcr_bench.cli.terminal import print_headlines, print_tables

    if verbose:
        print_tables(tables)
    print_headlines(tables)
    typer.echo(f"\nReport: {out / 'report.md'}")


def _results_folder(run: Path, track: str) -> Path:
    """The folder of all results that a run lies in: <results>/<track>/<name>."""
    beside = run.parent if run.is_dir() else run.parent.parent
    return beside.parent if beside.name == track else beside
