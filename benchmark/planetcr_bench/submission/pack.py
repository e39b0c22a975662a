"""Score predictions and pack them as an entry, checked as the receiving side does."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from planetcr_bench.api import check_name, evaluate
from planetcr_bench.constants import UNNAMED
from planetcr_bench.data.descriptions import is_built_in, to_text
from planetcr_bench.data.masks import OtherMasks
from planetcr_bench.errors import SubmissionError, UsageError
from planetcr_bench.evaluation.inputs import find_dataset
from planetcr_bench.evaluation.segmenters import Segmenter
from planetcr_bench.leaderboard.card import EntryCard, read_entry_card, to_toml
from planetcr_bench.leaderboard.ledgers import LARGEST_RECORD
from planetcr_bench.predictions.card import PATHS, read_card, write_card
from planetcr_bench.predictions.folder import scene_name
from planetcr_bench.report.report import report
from planetcr_bench.results.files import CARD, LEDGER, REPORT, RUN
from planetcr_bench.results.ledger import Ledger, rows_table, write_ledger
from planetcr_bench.submission.archive import DESCRIPTION, PREDICTIONS, ZIP, is_entry
from planetcr_bench.submission.check import CheckConfig, check
from planetcr_bench.submission.record import NAME_IT, public_run
from planetcr_bench.submission.staging import MADE, overlap, staged
from planetcr_bench.utils.folders import IMAGES, ending, image_files
from planetcr_bench.utils.untrusted import read_json


def pack(
    predictions: Path,
    card: Path,
    out: Path | None = None,
    *,
    data: Path | None = None,
    described: str | Path | None = None,
    split: str | None = None,
    scene_list: Path | None = None,
    masks: OtherMasks | None = None,
    name: str | None = None,
    results: Path | None = None,
    with_predictions: bool = False,
    allow_missing: bool = False,
    optical_thickness: Path | None = None,
    segmenters: Sequence[Segmenter] = (),
    workers: int | None = None,
    command: Sequence[str] = (),
    replace_old: bool = False,
    quiet: bool = False,
) -> tuple[Path, Ledger, list[str]]:
    """Score predictions and pack them, with the card of the entry, as a folder or ``.zip``.

    The entry goes to ``out``, by default ``submissions/<name>``; one that is there is replaced only
    with ``replace_old``. The run goes to ``results`` too, with its tables, if that is given.
    ``with_predictions`` packs the images, for the board to measure again. ``described`` is the name
    or file of the dataset's description, which is packed if it is not built in; all other options
    are those of ``evaluate``.

    Returns:
        What was written, the ledger, and the problems that ``allow_missing`` let pass.

    Raises:
        SubmissionError: The card is invalid, ``out`` exists, the dataset has no name, or the entry
            would be refused.
        UsageError: The name or ``out`` is not allowed, or what is to be replaced is not an entry.
        BenchError: See ``evaluate``.
    """
    entry_card = read_entry_card(card)
    name = name or predictions.resolve().name
    check_name(name)
    out = out or Path("submissions", name)
    _check_out(out, predictions, results)
    dataset = find_dataset(
        predictions, read_card(predictions), data=data, split=split, scene_list=scene_list,
        dataset=described, masks=masks, workers=workers, quiet=quiet,
    )  # fmt: skip
    if dataset.track in (UNNAMED, f"{UNNAMED}-{dataset.split}"):  # the board has no such track
        raise SubmissionError(f"{dataset.folder}: {NAME_IT}")
    with (
        staged(out, is_entry, replace_old=replace_old) as folder,
        _results(results, out) as results_folder,
    ):
        ledger, run_folder, problems = evaluate(
            predictions, results_folder, data=data, dataset=described, split=split,
            scene_list=scene_list, masks=None if masks is None else masks.folder,
            mask_rule=None if masks is None else masks.rule or None, name=name, workers=workers,
            allow_missing=allow_missing, segmenters=segmenters,
            optical_thickness=optical_thickness, command=command, tables=results is not None,
            quiet=quiet,
        )  # fmt: skip
        entry = folder / "entry"
        entry.mkdir()
        run = public_run(read_json(run_folder / RUN, LARGEST_RECORD))
        write_parts(entry, entry_card, ledger, run)
        page = report(ledger, run, pictures=False)
        (entry / REPORT).write_text(page, encoding="utf-8")
        if not is_built_in(dataset.scenes[0].description):
            text = to_text(dataset.scenes[0].description)
            (entry / DESCRIPTION).write_text(text, encoding="utf-8")
        if with_predictions:
            starts = dataset.scenes[0].description.file_starts
            _copy_predictions(predictions, entry / PREDICTIONS, ledger, starts)
        (folder / "work").mkdir()
        try:
            check(entry, folder / "work", CheckConfig(workers=workers, quiet=True))
        except SubmissionError as error:
            message = f"{predictions}: expected what the receiving side takes, it would refuse this"
            raise SubmissionError(message, error.problems or [error.message]) from error
        if out.suffix.lower() == ZIP:
            entry = _zip(entry)
        entry.rename(folder / MADE)
    return out, ledger, problems


@contextmanager
def _results(given: Path | None, out: Path) -> Iterator[Path]:
    """The folder of results that is given, or one beside ``out`` until everything is measured."""
    folder = given or out.with_name(f".{out.name}.measured")
    try:
        yield folder
    finally:
        if given is None and not any(folder.glob("*/.*.unfinished")):
            shutil.rmtree(folder, ignore_errors=True)


def _check_out(out: Path, predictions: Path, results: Path | None) -> None:
    """Refuse a path that is, holds or lies in another folder of the call."""
    if out.name.lower().endswith((".tar", ".gz", ".tgz", ".xz", ".7z", ".rar")):
        raise UsageError(f"--out: expected a folder or {ZIP}, got {out}")
    if overlap(out, predictions):
        raise UsageError(f"--out: expected a place apart from the predictions, got {out}")
    if results is not None and overlap(out, results):
        raise UsageError(f"--out: expected a place apart from --results, got {out}")


def write_parts(folder: Path, card: EntryCard, ledger: Ledger, run: Mapping[str, Any]) -> None:
    """Write card, ledger and record of a run anew, with nothing else that was in their files."""
    (folder / CARD).write_text(to_toml(card), encoding="utf-8")
    write_checked_ledger(folder / LEDGER, ledger)
    write_json(folder / RUN, run)


def write_checked_ledger(path: Path, ledger: Ledger) -> None:
    """Write a ledger from its rows and record."""
    write_ledger(path, rows_table(ledger), ledger.provenance)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object for people and programs."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def _zip(folder: Path) -> Path:
    """Zip a folder, uncompressed: what packs as well as constant images is refused as a bomb."""
    archive = folder.with_suffix(ZIP)
    with zipfile.ZipFile(archive, "w") as members:
        for path in sorted(folder.rglob("*")):
            members.write(path, path.relative_to(folder.parent))
    return archive


def _copy_predictions(
    predictions: Path, target: Path, ledger: Ledger, starts: Sequence[str]
) -> None:
    """Copy the images of the ledger's scenes, named after them, and the card without its paths."""
    target.mkdir()
    scenes = set(ledger.frame["scene"].unique())
    for path in image_files(predictions):
        name = scene_name(path, starts)
        if ending(path) in IMAGES and name in scenes:
            shutil.copyfile(path, target / f"{name}{ending(path)}")
    write_card(target, read_card(predictions).model_copy(update=dict.fromkeys(PATHS)))
