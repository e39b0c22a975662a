"""``planetcr-bench simulate``: make the simulated benchmark."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from planetcr_bench.cli import options


def simulate(
    out: Annotated[
        Path, typer.Argument(help="Folder to write to: new, empty, or begun by this command.")
    ],
    size: Annotated[
        str,
        typer.Option(
            help="tiny (10 test and 4 training scenes), demo (108, 60) or full (3,000, 6,600; "
            "16 GB)."
        ),
    ] = "demo",
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives another world.")] = 0,
    train: Annotated[
        int | None,
        typer.Option(
            min=0, help="Training scenes; full has up to 60,000.", show_default="depends on --size"
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            help="standard, or misaligned (SAR 25 to 40 m off along each axis; a track of its own)."
        ),
    ] = "standard",
    truth: Annotated[
        Path | None,
        typer.Option(
            help="Write the hidden truth of every scene to this folder, outside OUT; it is for "
            "diagnostics, never for a method."
        ),
    ] = None,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    as_json: options.Json = False,
) -> None:
    """Make the simulated benchmark, in the official layout; one seed gives the same everywhere.

    An interrupted run resumes when the same command is run again.
    """
    from planetcr_bench.simulation.writer import simulate as run

    if cluster is not None:  # paths that are the same to all workers
        out, truth = out.absolute(), truth and truth.absolute()
    simulation = run(
        out, size=size, seed=seed, train=train, preset=preset, truth=truth,
        workers=options.one_of(workers, cluster), quiet=as_json,
    )  # fmt: skip
    if as_json:
        typer.echo(
            json.dumps({"out": str(out), "track": simulation.track, **simulation.model_dump()})
        )
        return
    command = shlex.join(["planetcr-bench", "predict", "mean-fill", "--data", str(out)])
    typer.echo(
        f"{simulation.test_scenes} test and {simulation.train_scenes} training scenes of "
        f"{simulation.identity} in {out}; next: {command}"
    )
