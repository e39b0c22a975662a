"""Read the parts of an entry from a stranger, and check that they agree with each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import numpy as np

from planetcr_bench.constants import INPUT_WINDOWS, OPTICAL_SIZE, UNKNOWN_INPUT
from planetcr_bench.data.fingerprint import pixel_digest
from planetcr_bench.data.reading import read_raster
from planetcr_bench.errors import BenchError, SubmissionError
from planetcr_bench.leaderboard.card import EntryCard, read_entry_card
from planetcr_bench.leaderboard.entries import CARD, LEDGER, RUN
from planetcr_bench.leaderboard.ledgers import (
    LARGEST_RECORD,
    RunFacts,
    decode_ledger,
    differing_keys,
    nested_text_errors,
    refuse,
)
from planetcr_bench.predictions.card import CARD as PREDICTIONS_CARD
from planetcr_bench.predictions.card import Card, read_card
from planetcr_bench.predictions.folder import Predictions
from planetcr_bench.predictions.format import CROP_SIZE, header_size
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.submission.archive import FILES, MANIFEST, PREDICTIONS, REPORT
from planetcr_bench.submission.manifest import Listed, digests_of, manifest_errors, read_manifest
from planetcr_bench.submission.plausibility import ledger_errors, sent_record_errors
from planetcr_bench.utils.folders import is_litter, with_small_ending
from planetcr_bench.utils.parallel import run_ordered, track
from planetcr_bench.utils.untrusted import read_json
from planetcr_bench.utils.validation import unknown_key, validate

LARGEST_REPORT: Final = 1_000_000
"""Bytes; nobody reads it but its sender, the board writes its own."""


@dataclass(slots=True)
class SentEntry:
    """The parts of an entry that could be read.

    Attributes:
        folder: Where they lie.
        errors: Everything that is wrong, one line each; empty if all parts are there and agree.
        card: Who and how.
        ledger: The sums.
        run: What ``run.json`` says.
        predictions: Scale and size of the images; None if none were sent, or not those of the
            ledger.
        files: Scene to image.
    """

    folder: Path
    errors: list[str] = field(default_factory=list)
    card: EntryCard | None = None
    ledger: Ledger | None = None
    run: dict[str, Any] | None = None
    predictions: Predictions | None = None
    files: dict[str, Path] = field(default_factory=dict)


_P = ParamSpec("_P")
_R = TypeVar("_R")


def collect_errors(
    errors: list[str], step: Callable[_P, _R], *arguments: _P.args, **options: _P.kwargs
) -> _R | None:
    """What a function returns; None where it refuses, and its reasons are added to ``errors``."""
    try:
        return step(*arguments, **options)
    except BenchError as error:
        errors += error.problems or [error.message]
        return None


def read_entry(folder: Path, *, workers: int | None = None, quiet: bool = False) -> SentEntry:
    """Read the parts of an entry and compare them with each other.

    Args:
        folder: From ``open_entry``.
        workers: For decoding predictions, see ``worker_count``.
        quiet: Show no progress.
    """
    sent = SentEntry(folder)
    errors, there = sent.errors, [name for name in FILES if (folder / name).is_file()]
    errors += [f"{name}: expected this file, found none" for name in FILES if name not in there]
    if REPORT in there and (folder / REPORT).stat().st_size > LARGEST_REPORT:
        errors.append(f"{REPORT}: expected at most {LARGEST_REPORT} bytes")
    listed = None
    if CARD in there:
        sent.card = collect_errors(errors, read_entry_card, folder / CARD)
    if LEDGER in there:
        sent.ledger = collect_errors(errors, read_sent_ledger, folder / LEDGER)
    if MANIFEST in there:
        listed = collect_errors(errors, read_manifest, folder / MANIFEST)
    if sent.ledger is None:
        return sent  # nothing to compare the others with
    if RUN in there:
        sent.run = collect_errors(errors, read_sent_run, folder / RUN, sent.ledger.provenance)
    if listed is not None:
        errors += [f"{MANIFEST}: {line}" for line in manifest_errors(listed, sent.ledger)]
        if (folder / PREDICTIONS).is_dir():
            _read_predictions(sent, sent.ledger, listed, workers=workers, quiet=quiet)
    return sent


def read_sent_ledger(path: Path) -> Ledger:
    """Read a ledger of which nothing is believed.

    Raises:
        SubmissionError: Lists everything that is wrong with it.
    """
    ledger = decode_ledger(path, sent_record_errors)
    refuse(path, ledger_errors(ledger))
    return ledger


# --- run.json ---------------------------------------------------------------------------------


def read_sent_run(path: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Read a stranger's ``run.json``.

    Args:
        path: The file.
        record: What the ledger says of the run; must be said here too.

    Raises:
        SubmissionError: Lists everything that is wrong with it.
    """
    run = read_json(path, LARGEST_RECORD, error=SubmissionError)
    facts = RunFacts.model_fields
    known = [*record, *facts]
    errors = [unknown_key(key, known) for key in run if key not in known]
    errors += [
        f"{key}: expected this key, found none"
        for key in known
        if key not in run and key != "notes"  # there only if something is to be said
    ]
    errors += differing_keys(run, {key: record[key] for key in record if key in run})
    if record["complete"] and run.get("problems"):
        errors.append("problems: expected none of a complete run")
    own = {key: run[key] for key in facts if key in run}
    errors += nested_text_errors(own, depth=3)
    lines = [f"{path}: {line}" for line in errors]
    collect_errors(lines, validate, RunFacts, run, str(path), error=SubmissionError)
    if lines:
        raise SubmissionError(f"{path}: expected the record of the ledger's run", lines)
    return run


def public_run(run: Mapping[str, Any]) -> dict[str, Any]:
    """What ``run.json`` says, without the folders of the machine that it was made on."""
    return {
        key: _without_folders(value) if key in RunFacts.model_fields else value
        for key, value in run.items()
    }


def _without_folders(value: Any) -> Any:
    """The same value with all paths cut to their last part, and no odd characters or markup."""
    if isinstance(value, Mapping):
        return {key: _without_folders(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_folders(one) for one in value]
    if not isinstance(value, str):
        return value
    cut = " ".join(word.rstrip("/").rpartition("/")[2] for word in value.split(" "))[:1000]
    return "".join("?" if one in "<>&`[]|" or not one.isprintable() else one for one in cut)


# --- Predictions ------------------------------------------------------------------------------


def _read_predictions(
    sent: SentEntry, ledger: Ledger, listed: Sequence[Listed], *, workers: int | None, quiet: bool
) -> None:
    folder = sent.folder / PREDICTIONS
    side = OPTICAL_SIZE if "full" in ledger.provenance["protocols"] else CROP_SIZE
    digests = digests_of(ledger)
    there = {
        with_small_ending(path.name): path
        for path in folder.iterdir()
        if path.is_file() and not is_litter(path.name) and path.name != PREDICTIONS_CARD
    }
    errors = list(_file_errors(folder, there, listed))
    files = {one.scene: there[one.name] for one in listed if one.name in there}
    work = [(path, digests.get(scene, ""), side) for scene, path in files.items()]
    lines = run_ordered(_image_error, work, workers=workers)
    errors += [line for line in track(lines, "Decode predictions", len(work), quiet=quiet) if line]
    card = collect_errors(errors, _predictions_card, folder, ledger)
    sent.errors += errors
    if not errors and card is not None:
        sent.files = files
        sent.predictions = Predictions(folder, card, {}, side)


def _file_errors(
    folder: Path, there: Mapping[str, Path], listed: Sequence[Listed]
) -> Sequence[str]:
    """Where the images of a folder are not those that the manifest lists."""
    sizes = {one.name: one.bytes for one in listed}
    found = []
    for name in sorted(sizes.keys() | there.keys()):
        if name not in sizes:
            found.append(f"{folder / name}: expected only files that {MANIFEST} lists")
        elif name not in there:
            found.append(f"{folder / name}: expected this file of {MANIFEST}, found none")
        elif sizes[name] != (size := there[name].stat().st_size):
            found.append(f"{folder / name}: expected {sizes[name]} bytes, got {size}")
    return found


def _image_error(work: tuple[Path, str, int]) -> str:
    """Why a file is not the image that the ledger was measured on; empty if it is."""
    path, sha256, side = work
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
    """What ``predictions.toml`` says, which must be what the ledger says."""
    path, card, record = folder / PREDICTIONS_CARD, read_card(folder), ledger.provenance
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
    window = UNKNOWN_INPUT if card.window is None else INPUT_WINDOWS[card.window]
    if record.get("input_window", window) != window:  # earlier versions did not say
        said = f"input_window {record['input_window']!r} by the ledger"
        wrong.append(f"{path}: expected a window of {said}, got {card.window!r}")
    if wrong:
        raise SubmissionError(f"{path}: expected what the ledger says", wrong)
    return card
