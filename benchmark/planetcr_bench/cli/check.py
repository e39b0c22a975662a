"""``planetcr-bench check``: check that a dataset is complete and sound."""

from __future__ import annotations

import json

import typer

from planetcr_bench.cli import options


def check(
    data: options.Data,
    dataset: options.Description = None,
    masks: options.Masks = None,
    mask_rule: options.MaskRule = None,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    batch: options.Batch = 16,
    as_json: options.Json = False,
) -> None:
    """Check files, grids, value ranges and splits of a dataset; exit with 1 if any is broken."""
    from planetcr_bench.data.integrity import check_dataset
    from planetcr_bench.data.masks import other_masks

    if cluster is not None:
        data, masks = data.absolute(), masks and masks.absolute()  # the same to all workers
    report = check_dataset(
        data,
        dataset=dataset,
        masks=other_masks(masks, mask_rule),
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
