"""Put a checked entry among the results that the board is built from."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from planetcr_bench.errors import LedgerError, SubmissionError, UsageError
from planetcr_bench.leaderboard.entries import read_status, runs_named, status_of
from planetcr_bench.report.report import ALWAYS, SOMETIMES, write_report
from planetcr_bench.results.files import (
    CARD,
    COMPACT,
    FIGURES,
    LEDGER,
    RUN,
    SAMPLES,
    STATUS,
    TABLES,
)
from planetcr_bench.submission.check import CheckResult
from planetcr_bench.submission.pack import write_json, write_parts
from planetcr_bench.submission.staging import MADE, overlap, staged
from planetcr_bench.utils.folders import is_litter


def check_results(entry: Path, results: Path) -> None:
    """Refuse a folder of results in which an entry cannot be accepted.

    Args:
        entry: Folder or archive that was sent.
        results: Need not be there.

    Raises:
        UsageError: It is a run itself, or it and the folder of the entry overlap.
    """
    if any((results / name).exists() for name in (LEDGER, COMPACT, RUN)):
        raise UsageError(f"--results: expected a folder of runs, {results} is a run itself")
    if entry.is_dir() and overlap(entry, results):  # the board would take the entry for a run
        raise UsageError(
            f"--results: expected a folder apart from the entry {entry}, got {results}"
        )


def accept(result: CheckResult, results: Path, *, replace_old: bool = False) -> Path:
    """Put a checked entry among the results.

    Everything is written anew from the ledger that was checked; of what was sent, the card's
    fields, the sums and the record of the run alone remain.

    Args:
        result: From ``check``.
        results: Folder of results that :func:`check_results` accepts.
        replace_old: Replace the run of the same name and track, wherever it lies; a verified one
            by a verified one alone.

    Returns:
        Its folder, ``<results>/<track>/<name>`` if it replaces none.

    Raises:
        SubmissionError: A run of this name and track is there, or several are; or it is verified
            and the entry is not.
        UsageError: The folder to be replaced holds anything else.
        BenchError: Another process accepts the same entry.
    """
    track, name = str(result.run["track"]), result.ledger.name
    same = runs_named(results, track, name)
    if len(same) > 1:
        message = f"{results}: expected one run {name} of track {track} to replace, found several"
        raise SubmissionError(message, [str(path) for path in same])
    out = same[0] if same else results / track / name
    if replace_old and result.status == "claimed" and _is_verified(out):
        raise SubmissionError(
            f"{out}: a verified run, expected a verified one in its place, got a claimed one; have "
            "all predictions sent, and measure them again with --data and --sample all"
        )
    with staged(out, partial(_is_run, track, name), replace_old=replace_old) as folder:
        run = folder / MADE
        run.mkdir()
        write_parts(run, result.card, result.ledger, result.run)
        write_report(run, result.ledger, result.run)
        write_json(run / STATUS, status_of(run, result.status, result.checked))
        if result.samples:
            (run / SAMPLES).write_bytes(result.samples)
    return out


def _is_verified(run: Path) -> bool:
    try:
        return read_status(run) == "verified"
    except LedgerError:  # the status of another ledger, which is no longer there
        return False


def _is_run(track: str, name: str, folder: Path) -> bool:
    """Whether a folder holds the run and nothing else that would be lost with it."""
    known = {*ALWAYS, *SOMETIMES, LEDGER, COMPACT, RUN, CARD, STATUS, SAMPLES, FIGURES, TABLES}
    return folder in runs_named(folder, track, name) and all(
        path.relative_to(folder).as_posix() in known or is_litter(path.name)
        for path in folder.rglob("*")
    )
