"""Read the parts of an untrusted entry, and check that they agree with each other."""

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
from planetcr_bench.leaderboard.ledgers import decode_ledger, refuse
from planetcr_bench.predictions.card import CARD as PREDICTIONS_CARD
from planetcr_bench.predictions.card import Card, read_card
from planetcr_bench.predictions.folder import Predictions
from planetcr_bench.predictions.format import CROP_SIZE, header_size
from planetcr_bench.results.files import CARD, LEDGER, RUN
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.submission.archive import MANIFEST, PREDICTIONS
from planetcr_bench.submission.manifest import Listed, digests_of, manifest_errors, read_manifest
from planetcr_bench.submission.plausibility import ledger_errors
from planetcr_bench.submission.record import SentRecord, read_sent_run
from planetcr_bench.utils.folders import is_litter, with_small_ending
from planetcr_bench.utils.parallel import run_ordered, track
from planetcr_bench.utils.validation import collect_errors


@dataclass(frozen=True, slots=True, kw_only=True)
class SentEntry:
    """The parts of an entry, which agree with each other.

    Attributes:
        folder: Where they lie.
        card: Who and how.
        ledger: The sums.
        run: What ``run.json`` says.
        predictions: Scale and size of the images; None if none were sent.
        files: Scene to image.
    """

    folder: Path
    card: EntryCard
    ledger: Ledger
    run: dict[str, Any]
    predictions: Predictions | None = None
    files: dict[str, Path] = field(default_factory=dict)


def read_entry(folder: Path, *, workers: int | None = None, quiet: bool = False) -> SentEntry:
    """Read the parts of an entry and compare them with each other.

    Args:
        folder: From ``open_entry``.
        workers: For decoding predictions, see ``worker_count``.
        quiet: Show no progress.

    Raises:
        SubmissionError: Lists everything that is wrong with the parts.
    """
    errors: list[str] = []
    card = collect_errors(errors, read_entry_card, folder / CARD)
    ledger = collect_errors(errors, read_sent_ledger, folder / LEDGER)
    listed = collect_errors(errors, read_manifest, folder / MANIFEST)
    run, predictions, files = None, None, dict[str, Path]()
    if ledger is not None:  # else there is nothing to compare the others with
        run = collect_errors(errors, read_sent_run, folder / RUN, ledger.provenance)
    if ledger is not None and listed is not None:
        errors += [f"{MANIFEST}: {line}" for line in manifest_errors(listed, ledger)]
        if (folder / PREDICTIONS).is_dir():
            size = OPTICAL_SIZE if "full" in ledger.provenance["protocols"] else CROP_SIZE
            images = _images(folder / PREDICTIONS)
            errors += _file_errors(folder / PREDICTIONS, images, listed)
            files = {
                listing.scene: images[listing.name] for listing in listed if listing.name in images
            }
            errors += _pixel_errors(files, ledger, size, workers=workers, quiet=quiet)
            predictions_card = collect_errors(
                errors, _predictions_card, folder / PREDICTIONS, ledger
            )
            predictions = Predictions(folder / PREDICTIONS, predictions_card or Card(), {}, size)
    if errors or card is None or ledger is None or run is None:
        raise SubmissionError(f"{folder}: expected the sound parts of an entry", errors)
    return SentEntry(
        folder=folder, card=card, ledger=ledger, run=run, predictions=predictions, files=files
    )


def read_sent_ledger(path: Path) -> Ledger:
    """Read a ledger of which nothing is believed.

    Raises:
        SubmissionError: Lists everything that is wrong with it.
    """
    ledger = decode_ledger(path, SentRecord)
    refuse(path, ledger_errors(ledger))
    return ledger


# --- Predictions ------------------------------------------------------------------------------


def _images(folder: Path) -> dict[str, Path]:
    """Images of a folder by their name in a manifest."""
    return {
        with_small_ending(path.name): path
        for path in folder.iterdir()
        if path.is_file() and not is_litter(path.name) and path.name != PREDICTIONS_CARD
    }


def _file_errors(
    folder: Path, images: Mapping[str, Path], listed: Sequence[Listed]
) -> Iterator[str]:
    """Where the images of a folder are not those that the manifest lists."""
    sizes = {listing.name: listing.bytes for listing in listed}
    for name in sorted(sizes.keys() | images.keys()):
        if name not in sizes:
            yield f"{folder / name}: expected only files that {MANIFEST} lists"
        elif name not in images:
            yield f"{folder / name}: expected this file of {MANIFEST}, found none"
        elif sizes[name] != (size := images[name].stat().st_size):
            yield f"{folder / name}: expected {sizes[name]} bytes, got {size}"


def _pixel_errors(
    files: Mapping[str, Path], ledger: Ledger, size: int, *, workers: int | None, quiet: bool
) -> list[str]:
    """Images that are not those that the ledger was measured from."""
    digests = digests_of(ledger)
    work = [(path, digests[scene], size) for scene, path in files.items() if scene in digests]
    lines = run_ordered(_image_error, work, workers=workers)
    return [line for line in track(lines, "Decode predictions", len(work), quiet=quiet) if line]


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
