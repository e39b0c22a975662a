"""Read the parts of an entry from a stranger, and check that they agree with each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planetcr_bench.constants import INPUT_WINDOWS, OPTICAL_SIZE, UNKNOWN_INPUT
from planetcr_bench.data.fingerprint import pixel_digest
from planetcr_bench.data.reading import read_raster
from planetcr_bench.errors import BenchError, SubmissionError
from planetcr_bench.leaderboard.card import EntryCard, read_entry_card
from planetcr_bench.leaderboard.entries import CARD, LEDGER, RUN
from planetcr_bench.leaderboard.ledgers import decode_ledger, refuse
from planetcr_bench.predictions.format import CARD as PREDICTIONS_CARD
from planetcr_bench.predictions.format import CROP_SIZE, Card, Predictions, header_size, read_card
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.submission.archive import MANIFEST, PREDICTIONS
from planetcr_bench.submission.manifest import Listed, digests_of, manifest_errors, read_manifest
from planetcr_bench.submission.plausibility import ledger_errors
from planetcr_bench.submission.record import SentRecord, read_sent_run
from planetcr_bench.utils.folders import is_litter, with_small_ending
from planetcr_bench.utils.parallel import run_batches, track
from planetcr_bench.utils.validation import collect_errors


@dataclass(slots=True)
class SentEntry:
    """The parts of an entry that could be read, and what was found out about them.

    Attributes:
        folder: Where they lie.
        errors: Everything that is wrong, one line each; empty if all parts are there and agree.
        checked: What was checked beyond that and what was not, one line each.
        card: Who and how.
        ledger: The sums.
        run: What ``run.json`` says.
        predictions: Scale and size of the images; None if none were sent, or not those of the
            ledger.
        files: Scene to image.
    """

    folder: Path
    errors: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    card: EntryCard | None = None
    ledger: Ledger | None = None
    run: dict[str, Any] | None = None
    predictions: Predictions | None = None
    files: dict[str, Path] = field(default_factory=dict)

    def refuse(self, errors: Sequence[str], what: str = "") -> None:
        """Add errors of the ledger."""
        self.errors += [f"{LEDGER}: {what}{error}" for error in errors]


def read_entry(folder: Path, *, workers: int | None = None, quiet: bool = False) -> SentEntry:
    """Read the parts of an entry and compare them with each other.

    Args:
        folder: From ``open_entry``.
        workers: For decoding predictions, see ``worker_count``.
        quiet: Show no progress.
    """
    sent = SentEntry(folder)
    errors = sent.errors
    sent.card = collect_errors(errors, read_entry_card, folder / CARD)
    sent.ledger = collect_errors(errors, read_sent_ledger, folder / LEDGER)
    listed = collect_errors(errors, read_manifest, folder / MANIFEST)
    if sent.ledger is None:
        return sent  # nothing to compare the others with
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
    ledger = decode_ledger(path, SentRecord)
    refuse(path, ledger_errors(ledger))
    return ledger


# --- Predictions ------------------------------------------------------------------------------


def _read_predictions(
    sent: SentEntry, ledger: Ledger, listed: Sequence[Listed], *, workers: int | None, quiet: bool
) -> None:
    """Decode all images, and keep them if they are those that the ledger was measured from."""
    folder = sent.folder / PREDICTIONS
    side = OPTICAL_SIZE if "full" in ledger.provenance["protocols"] else CROP_SIZE
    digests = digests_of(ledger)
    images = {
        with_small_ending(path.name): path
        for path in folder.iterdir()
        if path.is_file() and not is_litter(path.name) and path.name != PREDICTIONS_CARD
    }
    errors = list(_file_errors(folder, images, listed))
    files = {one.scene: images[one.name] for one in listed if one.name in images}
    work = [(path, digests.get(scene, ""), side) for scene, path in files.items()]
    lines = run_batches(_image_errors, work, workers=workers)
    errors += [line for line in track(lines, "Decode predictions", len(work), quiet=quiet) if line]
    card = collect_errors(errors, _predictions_card, folder, ledger)
    sent.errors += errors
    if not errors and card is not None:
        sent.files = files
        sent.predictions = Predictions(folder, card, {}, side)


def _file_errors(
    folder: Path, images: Mapping[str, Path], listed: Sequence[Listed]
) -> Iterator[str]:
    """Where the images of a folder are not those that the manifest lists."""
    sizes = {one.name: one.bytes for one in listed}
    for name in sorted(sizes.keys() | images.keys()):
        if name not in sizes:
            yield f"{folder / name}: expected only files that {MANIFEST} lists"
        elif name not in images:
            yield f"{folder / name}: expected this file of {MANIFEST}, found none"
        elif sizes[name] != (size := images[name].stat().st_size):
            yield f"{folder / name}: expected {sizes[name]} bytes, got {size}"


def _image_errors(work: Sequence[tuple[Path, str, int]]) -> list[str]:
    """One line for each file: empty, or why it is not the image that the ledger was measured on."""
    return [_image_error(*item) for item in work]


def _image_error(path: Path, sha256: str, side: int) -> str:
    try:
        size = header_size(path)  # before any pixel is decoded
        if size != side:
            return f"{path}: expected {side} × {side} pixels, got {size} × {size}"
        pixels = read_raster(path).pixels
    except BenchError as error:
        return error.message
    digest = pixel_digest(pixels).hex()
    if digest != sha256:
        return f"{path}: expected pixels of SHA-256 {sha256[:12]}…, got {digest[:12]}…"
    return ""


def _predictions_card(folder: Path, ledger: Ledger) -> Card:
    """What ``predictions.toml`` says, which must be what the ledger says."""
    path, card, record = folder / PREDICTIONS_CARD, read_card(folder), ledger.provenance
    expected = {"scale": record["scale"], "method": record["method"], "dataset": None}
    optional = ["split", "simulation"]
    if card.simulation is None:  # else another machine rounds otherwise
        optional.append("fingerprint")
    expected |= {key: record[key] for key in optional if getattr(card, key) is not None}
    wrong = [
        f"{path}: expected {key} = {value!r} by the ledger, got {getattr(card, key)!r}"
        for key, value in expected.items()
        if getattr(card, key) != value
    ]
    window = UNKNOWN_INPUT if card.window is None else INPUT_WINDOWS[card.window]
    known = record.get("input_window", window)  # earlier versions did not say
    if known != window:
        wrong.append(
            f"{path}: expected a window of input_window {known!r} by the ledger, got "
            f"{card.window!r}"
        )
    if wrong:
        raise SubmissionError(f"{path}: expected what the ledger says", wrong)
    return card
