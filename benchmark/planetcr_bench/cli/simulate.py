"""``planetcr-bench simulate``: make the simulated benchmark."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from planetcr_bench.cli import options
from planetcr_bench.errors import UsageError


def simulate(
    out: Annotated[
        Path, typer.Argument(help="Folder to write to: new, empty, or begun by this command.")
    ],
    size: Annotated[
        str | None,
        typer.Option(
            help="tiny (10 test and 4 training scenes), demo (108, 60) or full (3,000, 6,600; "
            "16 GB).",
            show_default="demo",
        ),
    ] = None,
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
    aois: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Write so many whole AOIs instead, as rasters with their dates: input of `curate`."
            " 170 MB each.",
        ),
    ] = None,
    aoi_side: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --aois: patches along a side of each AOI.", show_default="12"
        ),
    ] = None,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    as_json: options.Json = False,
) -> None:
    """Make the simulated benchmark, in the official layout; one seed gives the same everywhere.

    An interrupted run resumes when the same command is run again.
    """
    if aois is not None:
        if size is not None or train is not None or truth is not None:
            raise UsageError("--aois: leave out --size, --train and --truth, which are of scenes")
        _whole_aois(out, aois, aoi_side, seed, preset, options.one_of(workers, cluster), as_json)
        return
    if aoi_side is not None:
        raise UsageError("--aoi-side: belongs to --aois")
    from planetcr_bench.simulation.writer import simulate as run

    if cluster is not None:  # paths that are the same to all workers
        out, truth = out.absolute(), truth and truth.absolute()
    simulation = run(
        out, size=size or "demo", seed=seed, train=train, preset=preset, truth=truth,
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


def _whole_aois(
    out: Path, aois: int, side: int | None, seed: int, preset: str, workers: int | str | None,
    as_json: bool,
) -> None:  # fmt: skip
    from planetcr_bench.simulation.areas import simulate_areas
    from planetcr_bench.simulation.place import WINDOWS

    table = simulate_areas(
        out.absolute() if isinstance(workers, str) else out, aois=aois, seed=seed, preset=preset,
        side=side or WINDOWS, workers=workers, quiet=as_json,
    )  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"table": str(table), "aois": aois}))
        return
    command = shlex.join(["planetcr-bench", "curate", str(table), "--out", "DATA"])
    typer.echo(f"{aois} AOIs in {out}; next: {command}")
