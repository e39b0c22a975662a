"""A folder of results in, the entries of the board out; what is broken is named and left out."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from planetcr_bench.entry_card import EntryCard, read_entry_card
from planetcr_bench.errors import BenchError, LedgerError
from planetcr_bench.ledger import Ledger, read_ledger
from planetcr_bench.samples import SAMPLES

CARD: Final = "card.toml"
STATUS: Final = "status.json"
STATUSES: Final = ("verified", "claimed")
"""Scored by the board from the predictions, or known from a ledger that was sent."""

LARGEST_SAMPLES: Final = 200_000
"""Bytes of a strip; larger ones would make the page slow to load."""

_JPEG: Final = b"\xff\xd8\xff"


@dataclass(frozen=True, slots=True)
class Entry:
    """One run of a method, as the board shows it.

    Attributes:
        folder: Its results folder, relative to that of all results, with ``/`` between parts.
        ledger: Its sums.
        run: What ``run.json`` holds.
        card: Who made it and how; None where no card lies beside the run.
        status: One of :data:`STATUSES`.
        samples: Data URI of a strip of pictures, empty where there is none.
    """

    folder: str
    ledger: Ledger
    run: dict[str, Any]
    card: EntryCard | None
    status: str
    samples: str = ""

    @property
    def name(self) -> str:
        """Name of the run, unique within its track."""
        return self.ledger.name

    @property
    def method(self) -> str:
        """Name of the method: the card's, else the run's."""
        return self.card.method if self.card else self.name


def read_entries(results: Path) -> tuple[list[Entry], list[str]]:
    """Read every run below a folder of results.

    Args:
        results: Folder that holds ``<track>/<name>/`` at any depth.

    Returns:
        The entries in the order of their folders, and one line for each folder that is broken or
        unfinished and was left out.

    Raises:
        LedgerError: There is no such folder.
    """
    if not results.is_dir():
        raise LedgerError(f"{results}: expected a folder of results, found no such folder")
    entries, problems = [], []
    for folder in _runs(results):
        try:
            entries.append(_read_entry(folder, folder.relative_to(results).as_posix()))
        except BenchError as error:
            problems.append(str(error))
        except (OSError, ValueError) as error:
            problems.append(f"{folder}: cannot be read ({error})")
    return _without_repeats(entries, results, problems)


def _runs(results: Path) -> list[Path]:
    """Folders that hold a ledger or the record of a run; hidden ones are unfinished runs."""
    found = {path.parent for name in ("ledger.parquet", "run.json") for path in results.rglob(name)}
    visible = [
        folder
        for folder in found
        if not any(part.startswith(".") for part in folder.relative_to(results).parts)
    ]
    return sorted(visible, key=lambda folder: folder.relative_to(results).as_posix())


def _read_entry(folder: Path, where: str) -> Entry:
    ledger = read_ledger(folder)
    run = _read_object(folder / "run.json")
    for key, value in ledger.provenance.items():
        if run.get(key) != value:
            raise LedgerError(
                f"{folder / 'run.json'}: expected {key} as in ledger.parquet, {value!r}, got "
                f"{run.get(key)!r}; run.json and the ledger are of two runs"
            )
    card = read_entry_card(folder / CARD) if (folder / CARD).exists() else None
    return Entry(where, ledger, run, card, _status(folder), _samples(folder / SAMPLES))


def status_of(folder: Path, status: str) -> dict[str, str]:
    """What ``status.json`` of a run says: the status, and of which ledger it is."""
    ledger = (folder / "ledger.parquet").read_bytes()
    return {"status": status, "ledger_sha256": hashlib.sha256(ledger).hexdigest()}


def _status(folder: Path) -> str:
    path = folder / STATUS
    if not path.exists():
        return "claimed"
    told = _read_object(path)
    status = told.get("status", "")
    if status not in STATUSES:
        raise LedgerError(f"{path}: expected status {' or '.join(STATUSES)}, got {status!r}")
    if told.get("ledger_sha256") != status_of(folder, status)["ledger_sha256"]:
        raise LedgerError(
            f"{path}: expected the status of this ledger.parquet, it is of another one; accept the "
            "entry again, or delete this file: then the run is claimed"
        )
    return str(status)


def runs_named(results: Path, track: str, name: str) -> list[Path]:
    """Folders of runs of a name in a track, wherever below a folder of results they lie."""
    found = []
    for folder in _runs(results) if results.is_dir() else []:
        try:
            run = _read_object(folder / "run.json")
        except (OSError, LedgerError):
            continue  # the board names it and leaves it out
        if (run.get("track"), run.get("name")) == (track, name):
            found.append(folder)
    return found


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise LedgerError(f"{path}: expected JSON, cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise LedgerError(f"{path}: expected an object, got {type(value).__name__}")
    return value


def _samples(path: Path) -> str:
    if not path.exists():
        return ""
    data = path.read_bytes()
    if not data.startswith(_JPEG) or len(data) > LARGEST_SAMPLES:
        raise LedgerError(f"{path}: expected a JPEG of at most {LARGEST_SAMPLES} bytes")
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _without_repeats(
    entries: Sequence[Entry], results: Path, problems: list[str]
) -> tuple[list[Entry], list[str]]:
    """Two runs of one name in one track cannot both be meant: neither is shown."""
    by_name: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        by_name.setdefault((entry.run["track"], entry.name), []).append(entry)
    kept = [group[0] for group in by_name.values() if len(group) == 1]
    for (track, name), group in by_name.items():
        if len(group) > 1:
            folders = ", ".join(str(results / entry.folder) for entry in group)
            problems.append(f"{folders}: expected one run {name} in track {track}, got several")
    return kept, problems
