"""``planetcr-bench compare``: several runs in one table and one figure."""

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
            help="Folder for table2.*, fig5.*, statistics.*, error_analysis.md and .json with their "
            "pictures and, of segmented runs, table3.*, fig6.* and transitions.*.",
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
    as_json: options.Json = False,
) -> None:
    """Put runs on one dataset side by side: Tab. 2 and Fig. 5 with all of them.

    Every score has a 95 % interval over AOIs, every two runs their paired difference with its p.
    Of runs that a segmenter has read also Tab. 3 and Fig. 6; error_analysis.md says where and how all
    fail.
    """
    from planetcr_bench.analysis.segmentation import check_segmenters, without_segmenters
    from planetcr_bench.report.report import all_comparisons, write_comparison
    from planetcr_bench.report.scores import summary
    from planetcr_bench.results.aggregate import check_comparable, marked, of_protocol
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
    shown = marked(ledgers, always=published)
    told = all_comparisons(shown)
    write_comparison(out, shown, pool=class_average, published=published, told=told)
    if as_json:
        typer.echo(json.dumps([summary(run) for run in ledgers], ensure_ascii=False))
        return
    from planetcr_bench.cli.terminal import print_comparisons, print_runs

    print_runs(shown, pool=class_average, published=published)
    print_comparisons(shown, told)
    typer.echo(f"Tables and figures: {out}")


def _results_folder(run: Path, track: str) -> Path:
    """The folder of all results that a run lies in: <results>/<track>/<name>."""
    beside = run.parent if run.is_dir() else run.parent.parent
    return beside.parent if beside.name == track else beside
