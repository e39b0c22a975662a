"""``planetcr-bench compare``: compare several runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from planetcr_bench.cli import options


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
            help="Leave out Tab. 3 and Fig. 6, for runs with different segmenters.",
        ),
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Add the full error analysis and all figures.")
    ] = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Compare runs on one dataset: Tab. 2 and Fig. 5 with all of them.

    Every score has a 95 % interval over AOIs, or what else groups the dataset's scenes, every two
    runs their paired difference and its p.
    Runs with a segmenter also get Tab. 3 and Fig. 6; an error analysis follows.
    """
    from planetcr_bench import api

    ledgers, tables, folder = api.compare(
        runs,
        out=out,
        protocol=protocol,
        class_average=class_average,
        published=published,
        segmented=not no_segmenter,
        full=full,
    )
    if as_json:
        from planetcr_bench.report.scores import summary

        typer.echo(json.dumps([summary(run) for run in ledgers], ensure_ascii=False))
        return
    from planetcr_bench.cli.terminal import print_headlines, print_tables

    if verbose:
        print_tables(tables)
    print_headlines(tables)
    typer.echo(f"\nReport: {folder / 'report.md'}")
