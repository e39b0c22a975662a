"""``planetcr-bench check``: check that a dataset is complete and sound."""

from __future__ import annotations

import json

import typer

from planetcr_bench.cli import options


def check(
    data: options.Data,
    dataset: options.Description = None,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    batch: options.Batch = 16,
    as_json: options.Json = False,
) -> None:
    """Check files, grids, value ranges and splits of a dataset; exit with 1 if any is broken."""
    from planetcr_bench.data.integrity import check_dataset

    if cluster is not None:
        data = data.absolute()  # the same to all workers
    report = check_dataset(
        data,
        dataset=dataset,
        workers=options.one_of(workers, cluster),
        batch=batch,
        quiet=as_json,
    )
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        from planetcr_bench.cli.terminal import print_dataset_report

        print_dataset_report(report)
    if not report.ok:
        raise typer.Exit(1)
