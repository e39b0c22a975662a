"""``planetcr-bench compact``: write runs with ledgers small enough to be committed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compact(
    runs: Annotated[
        list[Path], typer.Argument(help="Results folders (results/<track>/<name>) to copy.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of results: a run goes to OUT/<track>/<name>.")],
    verified: Annotated[
        bool,
        typer.Option(
            "--verified",
            help="Mark the runs as verified: you maintain the board, and scored the predictions.",
        ),
    ] = False,
) -> None:
    """Copy runs with compact ledgers: sums of groups of scenes.

    Of thousands of scenes, they take a small part of the space.

    `compare`, `leaderboard` and `report` read them as they read ledgers of scenes, and give the
    same numbers. Figures of single scenes, of optical thickness and entries that are submitted
    need the ledger of scenes, which keeps its place.
    """
    from planetcr_bench.leaderboard.compacting import compact_run
    from planetcr_bench.results.files import COMPACT

    for run in runs:
        file = compact_run(run, out, verified=verified) / COMPACT
        typer.echo(f"{file}: {file.stat().st_size / 1000:.0f} kB")
