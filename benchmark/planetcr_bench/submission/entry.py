"""Read the parts of an untrusted entry, and check that they agree with each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planetcr_bench.constants import INPUT_WINDOWS, UNKNOWN_INPUT
from planetcr_bench.data.fingerprint import pixel_digest
from planetcr_bench.data.reading import read_raster
from planetcr_bench.errors import BenchError, SubmissionError
from planetcr_bench.leaderboard.card import EntryCard, read_entry_card
from planetcr_bench.leaderboard.ledgers import decode_ledger, refuse
from planetcr_bench.predictions.card import CARD as PREDICTIONS_CARD
from planetcr_bench.predictions.card import PATHS, read_card
from planetcr_bench.predictions.format import CROP_SIZE, Form, header_size
from planetcr_bench.results.files import CARD, LEDGER, RUN
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.submission.archive import PREDICTIONS
from planetcr_bench.submission.comparison import digests_of
from planetcr_bench.submission.plausibility import ledger_errors
from planetcr_bench.submission.record import SentRecord, read_sent_run
from planetcr_bench.utils.folders import is_litter
from planetcr_bench.utils.parallel import run_ordered, track
from planetcr_bench.utils.validation import collect_errors, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class SentEntry:
    """The parts of an entry, which agree with each other.

    Attributes:
        folder: Where they lie.
        card: Who and how.
        ledger: The sums.
        run: What ``run.json`` says.
        files: Scene to image; empty if none were sent.
    """

    folder: Path
    card: EntryCard
    ledger: Ledger
    run: dict[str, Any]
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
    run, files = None, dict[str, Path]()
    if ledger is not None:  # else there is nothing to compare the others with
        run = collect_errors(errors, read_sent_run, folder / RUN, ledger.provenance)
        if (folder / PREDICTIONS).is_dir():
            files, unmatched = _images(folder / PREDICTIONS, digests_of(ledger))
            errors += unmatched
            errors += _pixel_errors(files, ledger, workers=workers, quiet=quiet)
            collect_errors(errors, _check_predictions_card, folder / PREDICTIONS, ledger)
    if errors or card is None or ledger is None or run is None:
        raise SubmissionError(f"{folder}: expected the sound parts of an entry", errors)
    return SentEntry(folder=folder, card=card, ledger=ledger, run=run, files=files)


def read_sent_ledger(path: Path) -> Ledger:
    """Read a ledger of which nothing is believed.

    Raises:
        SubmissionError: Lists everything that is wrong with it.
    """
    ledger = decode_ledger(path, SentRecord)
    refuse(path, ledger_errors(ledger))
    return ledger


# --- Predictions ------------------------------------------------------------------------------


def _images(folder: Path, scenes: Mapping[str, str]) -> tuple[dict[str, Path], list[str]]:
    """Image of each scene of a ledger, and a line for each that is surplus or missing."""
    images, errors = dict[str, Path](), []
    for path in sorted(folder.iterdir()):
        if is_litter(path.name) or path.name == PREDICTIONS_CARD:
            continue
        if path.stem in scenes and path.stem not in images:
            images[path.stem] = path
        else:
            errors.append(f"{path}: expected one image of each scene of the ledger alone")
    errors += [
        f"{folder / scene}.tif: expected an image of this scene of the ledger, found none"
        for scene in sorted(scenes.keys() - images.keys())
    ]
    return images, errors


def _pixel_errors(
    files: Mapping[str, Path], ledger: Ledger, *, workers: int | None, quiet: bool
) -> list[str]:
    """Images that are not those that the ledger was measured from."""
    bands, grid = ledger.imagery.bands, ledger.imagery.size
    form = Form(bands, grid, "official" in ledger.provenance["protocols"])
    side = (grid and grid[1]) if "full" in ledger.provenance["protocols"] else CROP_SIZE
    digests = digests_of(ledger)
    work = [(path, digests[scene], side, form) for scene, path in files.items()]
    lines = run_ordered(_image_error, work, workers=workers)
    return [line for line in track(lines, "Decode predictions", len(work), quiet=quiet) if line]


def _image_error(work: tuple[Path, str, int | None, Form]) -> str:
    """Why a file is not the image that the ledger was measured on; empty if it is."""
    path, sha256, side, form = work
    try:
        size = header_size(path, form)  # before any pixel is decoded
        if side not in (None, size):
            return f"{path}: expected {side} × {side} pixels, got {size} × {size}"
        pixels = read_raster(path, bands=len(form.bands)).pixels
    except BenchError as error:
        return error.message
    digest = pixel_digest(pixels).hex()
    if digest != sha256:
        return f"{path}: expected pixels of SHA-256 {sha256[:12]}…, got {digest[:12]}…"
    return ""


def _check_predictions_card(folder: Path, ledger: Ledger) -> None:
    """Refuse a ``predictions.toml`` that does not say what the ledger says."""
    path, card, record = folder / PREDICTIONS_CARD, read_card(folder), ledger.provenance
    expected = {"scale": record["scale"], "method": record["method"]}
    expected |= dict.fromkeys(PATHS)
    optional = ["split", "simulation"]
    if card.simulation is None:  # else another machine rounds otherwise
        optional.append("fingerprint")
    expected |= {key: record[key] for key in optional if getattr(card, key) is not None}
    wrong = [
        f"{path}: expected {key} = {shown(value)} by the ledger, got {shown(getattr(card, key))}"
        for key, value in expected.items()
        if getattr(card, key) != value
    ]
    window = UNKNOWN_INPUT if card.window is None else INPUT_WINDOWS[card.window]
    known = record.get("input_window", window)  # earlier versions did not say
    if known != window:
        wrong.append(
            f"{path}: expected a window of input_window {shown(known)} by the ledger, got "
            f"{shown(card.window)}"
        )
    if wrong:
        raise SubmissionError(f"{path}: expected what the ledger says", wrong)
