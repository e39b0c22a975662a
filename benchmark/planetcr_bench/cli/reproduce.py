"""``planetcr-bench reproduce``: from a dataset to the reference tables."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from planetcr_bench.cli import options


def reproduce(
    data: options.Data,
    out: Annotated[
        Path, typer.Option(help="Working folder: runs of training, predictions, what is done.")
    ] = Path("runs/reproduce"),
    results: options.Results = Path("results"),
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file with methods, and changes of recipes and networks."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", help="Only this method; repeatable.", show_default="all eight"),
    ] = None,
    device: options.Device = "auto",
    devices: options.Devices = 1,
    precision: options.Precision = "32",
    workers: options.LoaderWorkers = None,
    cache: Annotated[
        bool, typer.Option(help="Decode the training scenes once, 1.6 MB a scene; see `train`.")
    ] = True,
    optical_thickness: options.OpticalThickness = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show the plan, with hours measured from a few steps of each method."
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Train the segmenter and all networks, predict, evaluate, and make the tables and figures.

    A step is skipped when its inputs and its output are unchanged; the same command goes on where
    it stopped. Without --config this is the road to the paper's tables; on one GPU it takes days.
    """
    from planetcr_bench.utils.extras import need_training

    need_training()
    from planetcr_bench.networks import reproduction
    from planetcr_bench.networks.plan import describe, run_plan

    wish = reproduction.load_config(
        reproduction.ReproductionConfig(
            data=data,
            out=out,
            results=results,
            config=config,
            methods=tuple(method or ()),
            device=device,
            devices=devices,
            precision=precision,
            workers=workers,
            cache=cache,
            optical_thickness=optical_thickness,
        )
    )
    steps = reproduction.plan_of(wish)
    memory = out / reproduction.MEMORY
    if dry_run:
        steps = reproduction.plan_of(wish, reproduction.estimate(wish, steps))
        rows = describe(steps, memory)
        if as_json:
            typer.echo(json.dumps([asdict(row) for row in rows]))
            return
        typer.echo("\n".join(reproduction.as_lines(rows)))
        return
    ran = run_plan(steps, memory, say=lambda line: typer.echo(line, err=True))
    if as_json:
        typer.echo(json.dumps({"ran": ran, "steps": len(steps)}))
        return
    typer.echo(f"{len(ran)} of {len(steps)} steps ran; tables and figures: {results}/comparison")
