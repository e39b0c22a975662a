"""A folder or an archive from a stranger in, the parts of an entry out, each sound or named.

Nothing in it is trusted: sizes come before contents, and the parts are held against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import numpy as np

from planetcr_bench.constants import INPUT_WINDOWS, OPTICAL_SIZE, UNKNOWN_INPUT
from planetcr_bench.data.fingerprint import pixel_digest
from planetcr_bench.data.reading import read_raster
from planetcr_bench.errors import BenchError, SubmissionError
from planetcr_bench.leaderboard.card import LARGEST_CARD, EntryCard, read_entry_card
from planetcr_bench.leaderboard.entries import CARD
from planetcr_bench.leaderboard.sent_ledger import read_sent_ledger, read_sent_run
from planetcr_bench.predictions.format import CARD as PREDICTIONS_CARD
from planetcr_bench.predictions.format import CROP_SIZE, Card, Predictions, header_size, read_card
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.submission.archive import extract, inspect
from planetcr_bench.submission.manifest import (
    MANIFEST,
    Listed,
    digests_of,
    manifest_faults,
    read_manifest,
)
from planetcr_bench.utils.folders import is_litter, with_small_ending
from planetcr_bench.utils.parallel import run_batches, track

LEDGER: Final = "ledger.parquet"
RUN: Final = "run.json"
REPORT: Final = "report.md"
PREDICTIONS: Final = "predictions"
FILES: Final = (CARD, MANIFEST, LEDGER, RUN, REPORT)
"""What every entry has; :data:`PREDICTIONS` is a folder that it may have."""

LARGEST_REPORT: Final = 1_000_000
"""Bytes; nobody reads it but its sender, the board writes its own."""


@dataclass(slots=True)
class SentEntry:
    """The parts of an entry that could be read.

    Attributes:
        folder: Where they lie.
        faults: Everything that is wrong, one line each; empty if all parts are there and agree.
        card: Who and how.
        ledger: The sums.
        run: What ``run.json`` says.
        predictions: Scale and size of the images; None if none were sent, or not those of the
            ledger.
        files: Scene to image.
    """

    folder: Path
    faults: list[str] = field(default_factory=list)
    card: EntryCard | None = None
    ledger: Ledger | None = None
    run: dict[str, Any] | None = None
    predictions: Predictions | None = None
    files: dict[str, Path] = field(default_factory=dict)


_P = ParamSpec("_P")
_R = TypeVar("_R")


def attempt(
    faults: list[str], step: Callable[_P, _R], *arguments: _P.args, **options: _P.kwargs
) -> _R | None:
    """What a function returns; None where it refuses, and its reasons are added to ``faults``."""
    try:
        return step(*arguments, **options)
    except BenchError as error:
        faults += error.problems or [error.message]
        return None


def open_entry(path: Path, target: Path) -> Path:
    """The folder that holds an entry's files: a folder as it is, an archive unpacked.

    Args:
        path: Folder or archive, of the files or of one folder of them.
        target: Folder to make and to unpack into.

    Raises:
        SubmissionError: Lists everything that is wrong with the folder or archive.
    """
    if not path.exists() and not path.is_symlink():
        raise SubmissionError(f"{path}: expected an entry, found no such file or folder")
    if path.is_file() and not path.is_symlink():
        target.mkdir(parents=True)
        extract(path, target)
        path = target
    else:
        inspect(path)
    inner = _inside(path)
    return inner[0] if len(inner) == 1 and inner[0].is_dir() else path


def _inside(folder: Path) -> list[Path]:
    """What is in a folder, save what systems leave behind."""
    return [path for path in folder.iterdir() if not is_litter(path.name)]


def read_entry(folder: Path, *, workers: int | None = None, quiet: bool = False) -> SentEntry:
    """Read the parts of an entry and hold them against each other.

    Args:
        folder: From :func:`open_entry`.
        workers: For decoding predictions, see ``worker_count``.
        quiet: Show no progress.
    """
    sent = SentEntry(folder)
    present = _present(sent)
    if CARD in present:
        sent.card = attempt(sent.faults, read_entry_card, folder / CARD)
    if LEDGER in present:
        sent.ledger = attempt(sent.faults, read_sent_ledger, folder / LEDGER)
    listed = attempt(sent.faults, read_manifest, folder / MANIFEST) if MANIFEST in present else None
    if sent.ledger is None:
        return sent  # nothing to hold the others against
    if RUN in present:
        sent.run = attempt(sent.faults, read_sent_run, folder / RUN, sent.ledger.provenance)
    if listed is not None:
        wrong = manifest_faults(listed, sent.ledger)
        sent.faults += [f"{MANIFEST}: {fault}" for fault in wrong]
        if PREDICTIONS in present:
            _read_predictions(sent, sent.ledger, listed, workers=workers, quiet=quiet)
    return sent


def _present(sent: SentEntry) -> set[str]:
    """Known names that are there and of the right kind; whatever else is there is a fault."""
    known = {*FILES, PREDICTIONS}
    paths = {path.name: path for path in _inside(sent.folder)}
    lacking = [name for name in FILES if name not in paths]
    surplus = sorted(paths.keys() - known)
    turned = sorted(
        name for name in paths.keys() & known if paths[name].is_dir() != (name == PREDICTIONS)
    )
    sent.faults += [f"{name}: expected this file, found none" for name in lacking]
    sent.faults += [f"{name}: expected only {', '.join(FILES)}, {PREDICTIONS}/" for name in surplus]
    sent.faults += [f"{name}: expected files, and {PREDICTIONS} to be a folder" for name in turned]
    present = (paths.keys() & known) - set(turned)
    if REPORT in present and paths[REPORT].stat().st_size > LARGEST_REPORT:
        sent.faults.append(f"{REPORT}: expected at most {LARGEST_REPORT} bytes")
    return present


# --- Predictions ------------------------------------------------------------------------------


def _read_predictions(
    sent: SentEntry, ledger: Ledger, listed: Sequence[Listed], *, workers: int | None, quiet: bool
) -> None:
    folder = sent.folder / PREDICTIONS
    side = OPTICAL_SIZE if "full" in ledger.provenance["protocols"] else CROP_SIZE
    wrong = _file_faults(folder, listed)
    digests = digests_of(ledger)
    there = {with_small_ending(path.name): path for path in _inside(folder) if path.is_file()}
    files = {one.scene: there[one.name] for one in listed if one.name in there}
    work = [(path, digests.get(scene, ""), side) for scene, path in files.items()]
    lines = run_batches(_image_faults, work, workers=workers)
    wrong += [line for line in track(lines, "Decode predictions", len(work), quiet=quiet) if line]
    card = attempt(wrong, _predictions_card, folder, ledger)
    sent.faults += wrong
    if not wrong and card is not None:
        sent.files = files
        sent.predictions = Predictions(folder, card, {}, side)


def _file_faults(folder: Path, listed: Sequence[Listed]) -> list[str]:
    sizes = {one.name: one.bytes for one in listed}
    there = {with_small_ending(path.name): path.lstat().st_size for path in _inside(folder)}
    there.pop(PREDICTIONS_CARD, None)
    found = []
    for name in sorted(sizes.keys() | there.keys()):
        if name not in sizes:
            found.append(f"{folder / name}: expected only files that {MANIFEST} lists")
        elif name not in there:
            found.append(f"{folder / name}: expected this file of {MANIFEST}, found none")
        elif sizes[name] != there[name]:
            found.append(f"{folder / name}: expected {sizes[name]} bytes, got {there[name]}")
    return found


def _image_faults(work: Sequence[tuple[Path, str, int]]) -> list[str]:
    """One line for each file: empty, or why it is not the image that the ledger was measured on."""
    return [_image_fault(*one) for one in work]


def _image_fault(path: Path, sha256: str, side: int) -> str:
    try:
        size = header_size(path)  # before any pixel is decoded
        if size != side:
            return f"{path}: expected {side} × {side} pixels, got {size} × {size}"
        pixels = read_raster(path).pixels
    except BenchError as error:
        return error.message
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        return f"{path}: expected finite numbers, got others"
    digest = pixel_digest(pixels).hex()
    if digest != sha256:
        return f"{path}: expected pixels of SHA-256 {sha256[:12]}…, got {digest[:12]}…"
    return ""


def _predictions_card(folder: Path, ledger: Ledger) -> Card:
    path = folder / PREDICTIONS_CARD
    if path.exists() and path.stat().st_size > LARGEST_CARD:
        raise SubmissionError(f"{path}: expected at most {LARGEST_CARD} bytes")
    card = read_card(folder)
    record = ledger.provenance
    expected = {"scale": record["scale"], "method": record["method"], "dataset": None}
    for key in ("split", "fingerprint", "simulation"):
        if getattr(card, key) is not None:
            expected[key] = record[key]
    if card.simulation is not None:
        expected.pop("fingerprint", None)  # another machine rounds otherwise
    wrong = [
        f"{path}: expected {key} = {value!r} by the ledger, got {getattr(card, key)!r}"
        for key, value in expected.items()
        if getattr(card, key) != value
    ]
    tag = UNKNOWN_INPUT if card.window is None else INPUT_WINDOWS[card.window]
    if record.get("input_window", tag) != tag:  # earlier versions did not say
        told = f"input_window {record['input_window']!r} by the ledger"
        wrong.append(f"{path}: expected a window of {told}, got {card.window!r}")
    if wrong:
        raise SubmissionError(f"{path}: expected what the ledger says", wrong)
    return card
