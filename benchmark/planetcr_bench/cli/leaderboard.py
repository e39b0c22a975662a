"""``planetcr-bench leaderboard``: build one static page from a folder of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from planetcr_bench.cli import options


def leaderboard(
    results: Annotated[Path, typer.Argument(help="Folder of results, results/<track>/<name>/.")],
    out: Annotated[
        Path,
        typer.Option(help="Folder for index.html, leaderboard.md, leaderboard.json and .bib."),
    ] = Path("site"),
    verified: Annotated[
        bool, typer.Option("--verified", help="Show and rank verified entries only.")
    ] = False,
    source: Annotated[
        str, typer.Option(metavar="URL", help="Address of the repository, to which the page links.")
    ] = "",
    as_json: options.Json = False,
) -> None:
    """Build the leaderboard: one page that opens from disk, and its tables.

    A broken folder of results is named with its reason and left out; the board is still built.
    """
    from planetcr_bench.errors import LedgerError, UsageError
    from planetcr_bench.leaderboard.entries import read_entries
    from planetcr_bench.leaderboard.page import FILES, write_board
    from planetcr_bench.utils.untrusted import printable

    if source and not source.startswith("https://"):
        raise UsageError(f"--source: expected an address that begins with https://, got {source}")
    entries, problems = read_entries(results)
    for problem in problems:  # printable lines
        typer.secho(f"left out: {problem}", fg="yellow", err=True)
    claimed = [entry.folder for entry in entries if verified and entry.status != "verified"]
    entries = [entry for entry in entries if entry.folder not in claimed]
    if not entries:
        what = "verified results" if claimed else "results of planetcr-bench evaluate"
        raise LedgerError(
            f"{printable(results)}: expected {what}, found no complete ones; nothing is written"
        )
    write_board(out, entries, verified=verified, source=source)
    if as_json:
        facts = {
            "out": str(out),
            "files": list(FILES),
            "entries": [entry.folder for entry in entries],
            "left_out": problems,
            "claimed": claimed,
        }
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    unproven = f", {len(claimed)} claimed and not shown" if claimed else ""
    noun = "entry" if len(entries) == 1 else "entries"
    counts = f"{len(entries)} {noun}, {len(problems)} left out{unproven}"
    typer.echo(f"{counts}; open {out / 'index.html'} in a browser")
