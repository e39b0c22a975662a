"""``planetcr-bench evaluate``: score a folder of predictions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from planetcr_bench.cli import options
from planetcr_bench.errors import UsageError
from planetcr_bench.utils.extras import need_segmenters


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(help="Folder of predictions, one file per scene (.tif or .npy).")
    ],
    data: options.DataOption = None,
    dataset: options.Description = None,
    split: Annotated[str | None, typer.Option(help="Split to score.", show_default="test")] = None,
    scene_list: options.SceneList = None,
    masks: options.Masks = None,
    mask_rule: options.MaskRule = None,
    results: options.Results = Path("results"),
    name: Annotated[
        str | None, typer.Option(help="Name of the run.", show_default="the folder's name")
    ] = None,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    batch: options.Batch = 16,
    device: Annotated[
        str, typer.Option(help="Device of the segmenters: auto, cpu, cuda or cuda:N.")
    ] = "auto",
    class_average: options.ClassAverage = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing",
            help="Score what is usable and mark the run as incomplete.",
        ),
    ] = False,
    segmenter: options.Segmenters = None,
    precision: options.InferencePrecision = None,
    optical_thickness: options.OpticalThickness = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Score again what was scored before and has not changed."),
    ] = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Score predictions and write a report: Tab. 2 and Fig. 5 of the paper, errors by region.

    With a segmenter also Tab. 3 and Fig. 6: the land cover that it finds in the predictions.
    `planetcr-bench report` makes the full error analysis of what was scored.
    Nothing is scored unless every scene of the split has one usable prediction.
    """
    from planetcr_bench import api
    from planetcr_bench.utils.untrusted import printable

    if precision is not None and not segmenter:
        raise UsageError("--precision: applies to segmenters; give one with --segmenter")
    if device != "auto" and not segmenter:
        raise UsageError(
            f"--device: applies to segmenters; give one with --segmenter, got {device}"
        )
    if cluster is not None:  # paths that are the same to all workers
        predictions, data = predictions.absolute(), data and data.absolute()
        optical_thickness = optical_thickness and optical_thickness.absolute()
        masks = masks and masks.absolute()
    segmenters = []
    if segmenter:
        need_segmenters()
        from planetcr_bench.networks.segmenter import load_all  # PyTorch is an extra

        segmenters = load_all(segmenter, device=device, precision=precision or "32")
    ledger, folder, problems = api.evaluate(
        predictions,
        results,
        data=data,
        dataset=dataset,
        split=split,
        scene_list=scene_list,
        masks=masks,
        mask_rule=mask_rule,
        name=name,
        workers=options.one_of(workers, cluster),
        batch=batch,
        class_average=class_average,
        allow_missing=allow_missing,
        segmenters=segmenters,
        optical_thickness=optical_thickness,
        command=["planetcr-bench", *sys.argv[1:]],
        force=force,
        quiet=as_json,
    )
    for problem in problems:
        typer.echo(f"left out: {printable(problem)}", err=True)
    if as_json:
        from planetcr_bench.report.scores import summary

        typer.echo(json.dumps(summary(ledger), ensure_ascii=False, allow_nan=False))
        return
    from planetcr_bench.cli.terminal import print_headlines, print_tables
    from planetcr_bench.report.run_tables import RunTables
    from planetcr_bench.results.aggregate import coverage, method_label

    tables = RunTables([ledger], pool=class_average)
    if verbose:
        print_tables(tables)
    typer.echo(f"{method_label(ledger)}: {coverage(ledger)} of {ledger.provenance['track']}\n")
    print_headlines(tables)
    typer.echo(f"\nReport: {folder / 'report.md'}")
