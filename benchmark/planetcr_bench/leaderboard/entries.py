"""Read the runs below a folder of results; what is broken is named and left out.

Any folder may come from a stranger: files are regular and of modest size, ledgers are decoded in
another process under limits, and every value that the board shows has its type and range.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import ConfigDict, Field

from planetcr_bench.errors import BenchError, LedgerError
from planetcr_bench.leaderboard.card import EntryCard, read_entry_card
from planetcr_bench.leaderboard.ledgers import (
    LARGEST_LEDGER,
    LARGEST_RECORD,
    RunFacts,
    decode_compact,
    decode_ledger,
    differing_keys,
)
from planetcr_bench.results.aggregate import input_window
from planetcr_bench.results.compact import CompactLedger
from planetcr_bench.results.compact_file import check_beside
from planetcr_bench.results.files import CARD, COMPACT, LEDGER, RUN, SAMPLES, STATUS
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.rules import check_rows
from planetcr_bench.results.schema import sums_in
from planetcr_bench.utils.untrusted import check_regular, printable, read_bytes, read_json
from planetcr_bench.utils.validation import FileModel, validate

Status = Literal["verified", "claimed"]
"""Scored by the board from the predictions, or known from a ledger that was sent."""

LARGEST_SAMPLES: Final = 200_000
"""Bytes of a strip; larger ones would make the page slow to load."""

LARGEST_SUM: Final = 1e30
"""Of one row: the largest ledger then adds up to less than the page's float32 can hold."""

LARGEST_COUNT: Final = 10**12
"""Of one row: the largest ledger then adds up to less than int64 can hold."""

MOST_AOIS: Final = 10_000
"""The page leaves out each of them in turn."""

LONGEST_LINE: Final = 500
"""Characters of the reason why a folder is left out."""

_JPEG: Final = b"\xff\xd8\xff"


@dataclass(frozen=True, slots=True)
class Entry:
    """One run of a method, as the board shows it.

    Attributes:
        folder: Its results folder, relative to that of all results, with ``/`` between parts.
        ledger: Its sums.
        run: What ``run.json`` holds.
        card: Who made it and how; None where no card lies beside the run.
        status: Scored by the board from the predictions, or known from a ledger that was sent.
        samples: Data URI of a strip of pictures, empty where there is none.
    """

    folder: str
    ledger: Ledger
    run: dict[str, Any]
    card: EntryCard | None
    status: Status
    samples: str = ""

    @property
    def name(self) -> str:
        """Name of the run, unique within its track."""
        return self.ledger.name

    @property
    def method(self) -> str:
        """Name of the method: the card's, else the run's."""
        return self.card.method if self.card else self.name

    @property
    def simulated(self) -> bool:
        """Whether the scenes were simulated."""
        return bool(self.run.get("simulation")) or str(self.run["track"]).startswith("sim-")

    @property
    def training(self) -> str:
        """How long it was trained on what, in a few words; empty where its card does not say."""
        return self.card.training if self.card else ""

    @property
    def input_window(self) -> str:
        """What the network was shown of a patch: ``160``, ``whole`` or ``unknown``."""
        return input_window(self.ledger)


def read_entries(results: Path) -> tuple[list[Entry], list[str]]:
    """Read every run below a folder of results.

    Args:
        results: Folder that holds ``<track>/<name>/`` at any depth.

    Returns:
        The entries in the order of their folders, and one printable line for each folder that is
        broken or unfinished and was left out.

    Raises:
        LedgerError: There is no such folder.
    """
    if not results.is_dir():
        raise LedgerError(
            f"{printable(results)}: expected a folder of results, found no such folder"
        )
    folders, problems = _runs(results)
    entries = []
    for folder in folders:
        try:
            entries.append(_read_entry(folder, folder.relative_to(results).as_posix()))
        except BenchError as error:
            problems.append(_reason(error))
        except (OSError, ValueError) as error:
            problems.append(f"{folder}: cannot be read ({error})")
    kept = _without_repeats(entries, results, problems)
    return kept, [_line(problem) for problem in problems]


def _reason(error: BenchError) -> str:
    """The first thing that is wrong, and how many more there are."""
    if not error.problems:
        return error.message
    more = len(error.problems) - 1
    return f"{error.problems[0]}, and {more} more" if more else error.problems[0]


def _line(problem: str) -> str:
    shown = printable(problem)
    return shown if len(shown) <= LONGEST_LINE else f"{shown[:LONGEST_LINE]}…"


def _runs(results: Path) -> tuple[list[Path], list[str]]:
    """Folders that hold a ledger or the record of a run, and what cannot be looked into.

    Hidden folders are unfinished runs. Links are not followed: they may lead anywhere, also back.
    """
    runs, problems = [], []
    waiting = [results]
    while waiting:
        folder = waiting.pop()
        try:
            inside = list(os.scandir(folder))
        except OSError as error:
            problems.append(f"{folder}: cannot be read ({error.strerror})")
            continue
        is_run = any(item.name in (LEDGER, COMPACT, RUN) for item in inside)
        runs += [folder] if is_run else []
        for item in _visible(inside):
            if item.is_symlink():
                problems += [] if is_run else _link_errors(Path(item.path))
            elif item.is_dir(follow_symlinks=False):
                waiting.append(Path(item.path))
    runs.sort(key=lambda folder: folder.relative_to(results).as_posix())
    return runs, sorted(problems)


def _visible(inside: Sequence[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    names = (LEDGER, COMPACT, RUN)
    return (item for item in inside if item.name[0] != "." and item.name not in names)


def _link_errors(link: Path) -> list[str]:
    """A link to a folder, or one that leads nowhere, as one to itself does; links to files pass."""
    try:
        leads_to_folder = link.stat() and link.is_dir()
    except OSError as error:
        return [f"{link}: a link that leads nowhere ({error.strerror})"]
    what = "a link to a folder, which the board does not follow; put the folder here"
    return [f"{link}: {what}"] if leads_to_folder else []


def _read_entry(folder: Path, where: str) -> Entry:
    ledger = _read_ledger(folder)
    run = read_run(folder / RUN, ledger.provenance)
    card = read_entry_card(folder / CARD) if os.path.lexists(folder / CARD) else None
    where = printable(where)
    return Entry(where, ledger, run, card, read_status(folder), _samples(folder / SAMPLES))


def _read_ledger(folder: Path) -> Ledger:
    """A ledger whose values the board can add up and show, decoded under limits."""
    path = _ledger_file(folder)
    if not os.path.lexists(path):
        raise LedgerError(f"{folder}: expected a results folder with {LEDGER}, found none")
    if not os.path.lexists(folder / RUN):
        raise LedgerError(
            f"{folder}: expected {RUN} beside the ledger, found none: the evaluation did not "
            "finish; run the same evaluate command again"
        )
    check_regular(path, LARGEST_LEDGER, error=LedgerError)
    compact = folder / COMPACT
    if os.path.lexists(compact):
        check_regular(compact, LARGEST_LEDGER, error=LedgerError)
        compacted = decode_compact(compact)
        if path == compact:
            return _within_limits(path, compacted)
        check_beside(compact, compacted)
    ledger = decode_ledger(path)
    check_rows(ledger.frame, str(path), list(ledger.segmenters), ledger.bands)
    for rule in broken_ledger_rules(ledger):
        raise LedgerError(f"{path}: expected {rule}, found otherwise")
    return ledger


def _ledger_file(folder: Path) -> Path:
    """The ledger of scenes or, where there is none, the compact one."""
    alone = not os.path.lexists(folder / LEDGER) and os.path.lexists(folder / COMPACT)
    return folder / (COMPACT if alone else LEDGER)


def _within_limits(path: Path, ledger: CompactLedger) -> CompactLedger:
    if len(ledger.aois) > MOST_AOIS:
        raise LedgerError(f"{path}: expected at most {MOST_AOIS} AOIs, found otherwise")
    return ledger


def broken_ledger_rules(ledger: Ledger) -> list[str]:
    """Describe the rules for whole ledgers that one breaks: figures would be wrong, or none."""
    frame, record = ledger.frame, ledger.provenance
    identity = frame[["scene", "aoi", "cloud_cover", "prediction_sha256"]].drop_duplicates()
    scenes = frame["scene"].nunique()
    measured = len(frame[["scene", "protocol"]].drop_duplicates())
    counts = frame.select_dtypes(np.integer)
    rules = {
        f"{record['scenes']} scenes as its record says": scenes == record["scenes"],
        "one AOI, cloud cover and prediction of each scene": len(identity) == scenes,
        "the protocols of its record": set(frame["protocol"].unique()) == set(record["protocols"]),
        "each scene in every protocol": measured == scenes * len(record["protocols"]),
        f"at most {MOST_AOIS} AOIs": frame["aoi"].nunique() <= MOST_AOIS,
        f"sums of at most {LARGEST_SUM:g}": bool(
            (frame[sums_in(frame)].abs() <= LARGEST_SUM).all(axis=None)
        ),
        f"counts of at most {LARGEST_COUNT:g}": bool((counts <= LARGEST_COUNT).all(axis=None)),
    }
    return [rule for rule, holds in rules.items() if not holds]


def read_run(path: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """What ``run.json`` says: what the ledger says, and more of known types."""
    run = read_json(path, LARGEST_RECORD, error=LedgerError)
    for line in differing_keys(run, record):
        raise LedgerError(f"{path}: {line}; {RUN} and the ledger are of two runs")
    validate(RunFacts, run, str(path), error=LedgerError)
    return run


class StatusFile(FileModel):
    """What ``status.json`` of a run says.

    Attributes:
        status: Of the run.
        ledger_sha256: Which ledger it is the status of.
        checked: What was checked, a line each.
    """

    model_config = ConfigDict(title="a status as `planetcr-bench submit accept` writes it")

    status: Status
    ledger_sha256: str = ""
    checked: list[str] = Field(default_factory=list)


def status_of(folder: Path, status: Status, checked: Sequence[str] = ()) -> dict[str, Any]:
    """Content of ``status.json`` for a run."""
    ledger = read_bytes(_ledger_file(folder), LARGEST_LEDGER, error=LedgerError)
    digest = hashlib.sha256(ledger).hexdigest()
    return StatusFile(status=status, ledger_sha256=digest, checked=list(checked)).model_dump()


def read_status(folder: Path) -> Status:
    """Status of a run: claimed unless ``status.json`` says otherwise; see :func:`stored_status`."""
    stored = stored_status(folder)
    return stored.status if stored else "claimed"


def stored_status(folder: Path) -> StatusFile | None:
    """What ``status.json`` of a run says; None without one.

    Raises:
        LedgerError: It cannot be read, or is that of another ledger.
    """
    path = folder / STATUS
    if not os.path.lexists(path):
        return None
    stored = validate(StatusFile, read_json(path, error=LedgerError), str(path), error=LedgerError)
    if stored.ledger_sha256 != status_of(folder, stored.status)["ledger_sha256"]:
        name = _ledger_file(folder).name
        raise LedgerError(
            f"{path}: expected the status of this {name}, got that of another one; accept the "
            "entry again, or delete this file: then the run is claimed"
        )
    return stored


def runs_named(results: Path, track: str, name: str) -> list[Path]:
    """Folders of runs of a name in a track, wherever below a folder of results they lie."""
    folders = []
    for folder in _runs(results)[0] if results.is_dir() else []:
        try:
            run = read_json(folder / RUN, LARGEST_RECORD, error=LedgerError)
        except BenchError:
            continue  # the board names it and leaves it out
        if (run.get("track"), run.get("name")) == (track, name):
            folders.append(folder)
    return folders


def _samples(path: Path) -> str:
    if not os.path.lexists(path):
        return ""
    data = read_bytes(path, LARGEST_SAMPLES, error=LedgerError)
    if not data.startswith(_JPEG):
        raise LedgerError(f"{path}: expected a JPEG of at most {LARGEST_SAMPLES} bytes")
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _without_repeats(entries: Sequence[Entry], results: Path, problems: list[str]) -> list[Entry]:
    """Leave out all runs of a name and track if there are several."""
    by_name: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        by_name.setdefault((entry.run["track"], entry.name), []).append(entry)
    for (track, name), group in by_name.items():
        if len(group) > 1:
            folders = ", ".join(str(results / entry.folder) for entry in group)
            problems.append(f"{folders}: expected one run {name} in track {track}, got several")
    return [group[0] for group in by_name.values() if len(group) == 1]
