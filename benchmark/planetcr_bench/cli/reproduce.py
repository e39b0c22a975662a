"""``planetcr-bench reproduce``: make the paper's tables from a dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from planetcr_bench.cli import options


def reproduce(
    data: options.Data,
    dataset: options.Description = None,
    out: Annotated[
        Path, typer.Option(help="Working folder: training runs, predictions and a cache.")
    ] = Path("runs/reproduce"),
    results: options.Results = Path("results"),
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config", help="TOML file with methods, and changes to their recipes and options."
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", help="Only this method; repeatable.", show_default="all eight"),
    ] = None,
    device: options.Device = "auto",
    devices: options.Devices = 1,
    precision: options.Precision = "32",
    workers: options.LoaderWorkers = None,
    compiled: options.Compile = False,
    cache: Annotated[
        bool,
        typer.Option(help="Decode the training scenes once, to 1.6 MB per scene; see `train`."),
    ] = True,
    optical_thickness: options.OpticalThickness = None,
    train: Annotated[
        bool,
        typer.Option(
            help="Train, or predict with the weights that the file of --config names as "
            "`pretrained`.",
        ),
    ] = True,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Steps to run at a time, each with its share of the processors and, if there are "
            "several, a GPU of its own.",
        ),
    ] = 1,
    until: Annotated[
        Literal["train", "evaluate", "compare"],
        typer.Option(help="Stop when all steps of this kind are done."),
    ] = "compare",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="List the steps, with their hours as estimated from a few training steps.",
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Train the segmenter and all networks, predict, evaluate, and make the tables and figures.

    Runs `train`, `predict`, `evaluate` and `compare`. Each skips work that is already done, so the
    same command resumes a stopped run. Without --config it makes the tables of the paper, which
    takes days on one GPU.
    """
    from planetcr_bench.utils.extras import need_training

    need_training()
    from planetcr_bench.networks import reproduction

    config = reproduction.load_config(
        config_file,
        reproduction.ReproductionConfig(
            data=data,
            dataset=dataset,
            compile=compiled,
            out=out,
            results=results,
            methods=tuple(method or ()),
            device=device,
            devices=devices,
            precision=precision,
            workers=workers,
            cache=cache,
            optical_thickness=optical_thickness,
            train=train,
            jobs=jobs,
            until=until,
        ),
    )
    steps = reproduction.build_steps(config)
    if dry_run:
        hours = reproduction.estimate_hours(config)
        if as_json:
            rows = [
                {"name": step.name, "command": step.command, "hours": hours.get(step.name)}
                for step in steps
            ]
            typer.echo(json.dumps(rows))
            return
        typer.echo(reproduction.format_dry_run(steps, hours))
        return
    reproduction.reproduce(config, steps, say=lambda line: typer.echo(line, err=True))
    made = {
        "train": ("trained networks", out / "train"),
        "evaluate": ("results", results),
        "compare": ("tables and figures", results / "comparison"),
    }
    what, folder = made[until]
    if as_json:
        typer.echo(json.dumps({"steps": len(steps), "until": until, "folder": str(folder)}))
        return
    typer.echo(f"{len(steps)} steps are done; {what}: {folder}")
