"""Predictions and a card in, an entry to send out; a checked entry in, a run of the board out."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa

from planetcr_bench.api import check_name, evaluate
from planetcr_bench.constants import OPTICAL_BANDS, OPTICAL_SIZE, UNNAMED
from planetcr_bench.data.reading import Raster
from planetcr_bench.data.tracks import read_track
from planetcr_bench.errors import BenchError, PredictionError, SubmissionError, UsageError
from planetcr_bench.evaluation.inputs import find_dataset
from planetcr_bench.gallery.thumbnails import SAMPLES
from planetcr_bench.leaderboard.card import EntryCard, read_entry_card, to_toml
from planetcr_bench.leaderboard.consistency import NAME_IT
from planetcr_bench.leaderboard.entries import CARD, STATUS, runs_named, status_of
from planetcr_bench.leaderboard.sent_ledger import LARGEST_RECORD, public_run
from planetcr_bench.predictions.format import CARD as PREDICTIONS_CARD
from planetcr_bench.predictions.format import (
    Card,
    read_card,
    read_prediction,
    scene_name,
    write_card,
)
from planetcr_bench.report.report import ALWAYS, SOMETIMES, report, write_report
from planetcr_bench.results.ledger import Ledger, schema_of, write_ledger
from planetcr_bench.submission.archive import ARCHIVES, BROKEN, LIMITS
from planetcr_bench.submission.check import CheckConfig, CheckResult, check
from planetcr_bench.submission.entry import FILES, LEDGER, PREDICTIONS, REPORT, RUN
from planetcr_bench.submission.manifest import (
    LARGEST_MANIFEST,
    MANIFEST,
    Listed,
    list_predictions,
    write_manifest,
)
from planetcr_bench.utils.files import exclusive_lock
from planetcr_bench.utils.folders import IMAGES, ending, image_files, is_litter
from planetcr_bench.utils.untrusted import open_regular, parse_json, read_bytes, read_json

ZIP: Final = ".zip"
_STAMP: Final = (1980, 1, 1, 0, 0, 0)
"""Time of all files in an archive, so that the same entry gives the same bytes."""


def pack(
    predictions: Path,
    card: Path,
    out: Path | None,
    *,
    results: Path | None = None,
    with_predictions: bool = False,
    replace_old: bool = False,
    **options: Any,
) -> tuple[Path, Ledger, list[str]]:
    """Score predictions and pack them as an entry, checked as the receiving side does.

    Args:
        predictions: Folder of predictions.
        card: Of the entry, ``card.toml``.
        out: Folder or ``.zip`` to write; None for ``submissions/<name>``.
        results: Folder of results to which the run goes too, with its tables, see
            ``evaluate``; None leaves nothing but the entry.
        with_predictions: Pack the images too, for the board to measure again.
        replace_old: Replace an entry at ``out``.
        options: Of ``evaluate``.

    Returns:
        What was written, the ledger, and the problems that ``allow_missing`` let pass.

    Raises:
        SubmissionError: The card is not as it must be, ``out`` is there, the dataset has no name,
            or the entry would be refused.
        UsageError: The name or ``out`` makes no sense, or what is to be replaced is no entry.
        BenchError: See ``evaluate``.
    """
    entry_card = read_entry_card(card)
    name = options.get("name") or predictions.resolve().name
    check_name(name)
    out = out or Path("submissions", name)
    _check_out(out, predictions, results)
    has_card = partial(_has_card, entry_card)
    _refuse_unnamed(predictions, options)
    with _staged(out, _is_entry, replace_old=replace_old, is_like=has_card) as staged:
        ledger, run_folder, problems = evaluate(
            predictions, results or staged / _MEASURED, tables=results is not None, **options
        )
        run = public_run(read_json(run_folder / RUN, LARGEST_RECORD))
        files = _files_of(predictions, ledger)
        entry = staged / "entry"
        entry.mkdir()
        listed = list_predictions(ledger, files.items())
        _write_entry(entry, entry_card, ledger, run, listed)
        if with_predictions:
            _copy_predictions(predictions, entry / PREDICTIONS, files, listed)
        (staged / "work").mkdir()
        try:
            check(entry, staged / "work", CheckConfig(workers=options.get("workers"), quiet=True))
        except SubmissionError as error:
            message = f"{predictions}: expected what the receiving side takes, it would refuse this"
            raise SubmissionError(message, error.problems or [error.message]) from error
        if out.suffix == ZIP:
            _zip(entry, staged / _MADE, out.stem)
        else:
            entry.rename(staged / _MADE)
    return out, ledger, problems


def _refuse_unnamed(predictions: Path, options: Mapping[str, Any]) -> None:
    """Refuse a dataset without a name before anything is measured: the board has no such track."""
    given = {key: options.get(key) for key in ("data", "split", "scene_list", "workers")}
    quiet = bool(options.get("quiet"))
    dataset = find_dataset(predictions, read_card(predictions), quiet=quiet, **given)
    if read_track(dataset.folder, dataset.split) == UNNAMED:
        raise SubmissionError(f"{dataset.folder}: {NAME_IT}")


def _check_out(out: Path, predictions: Path, results: Path | None) -> None:
    """Refuse a place that is, holds or lies in another folder of the call, or holds this one."""
    if out.suffix != ZIP and out.name.lower().endswith(ARCHIVES):
        raise UsageError(f"--out: expected a folder or {ZIP}, got {out}")
    if _overlap(out, predictions):
        raise UsageError(f"--out: expected a place apart from the predictions, got {out}")
    whole, here = out.resolve(), Path.cwd()
    if whole == here or whole in here.parents:
        raise UsageError(f"--out: expected a folder to make, got {out}, which this one lies in")
    if results is not None and _overlap(out, results):
        raise UsageError(f"--out: expected a place apart from --results, got {out}")


def _overlap(one: Path, other: Path) -> bool:
    """Whether two places are one, or one lies in the other."""
    one, other = one.resolve(), other.resolve()
    return one == other or one in other.parents or other in one.parents


def _is_entry(path: Path) -> bool:
    """Whether nothing is lost by replacing what lies there: an entry and nothing else."""
    if path.is_dir():
        inside = (one.relative_to(path) for one in path.rglob("*"))
        names = {one.as_posix() for one in inside if not any(map(is_litter, one.parts))}
        manifest = path / MANIFEST
        listed = read_bytes(manifest, LARGEST_MANIFEST) if manifest.is_file() else b""
        return not names or _are_of_an_entry(names, listed)
    return path.suffix == ZIP and path.is_file() and _is_archive_of_an_entry(path)


def _is_archive_of_an_entry(path: Path) -> bool:
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            inside = [name for name in archive.namelist() if not name.endswith("/")]
            tops = {name.partition("/")[0] for name in inside}
            top = f"{tops.pop()}/" if len(tops) == 1 else ""
            file.seek(0)
            more = file.read(4) != b"PK\3\4" or archive.comment  # before the archive, or after it
            with archive.open(f"{top}{MANIFEST}") as manifest:
                listed = manifest.read(LARGEST_MANIFEST)
    except BROKEN:
        return False
    return not more and _are_of_an_entry({name.removeprefix(top) for name in inside}, listed)


def _are_of_an_entry(names: set[str], manifest: bytes) -> bool:
    """Whether files and folders are those of an entry with this manifest, and no others."""
    try:
        listed = parse_json(manifest, MANIFEST)["files"]
        images = {f"{PREDICTIONS}/{one['name']}" for one in listed}
    except (BenchError, TypeError, LookupError):
        return False
    known = {*FILES, PREDICTIONS, f"{PREDICTIONS}/{PREDICTIONS_CARD}", *images}
    return {MANIFEST, LEDGER} <= names <= known


def _files_of(predictions: Path, ledger: Ledger) -> dict[str, Path]:
    """Scene of the ledger to the file of its prediction."""
    scenes = set(ledger.frame["scene"].unique())
    images = [path for path in image_files(predictions) if ending(path) in IMAGES]
    found = {scene_name(path): path for path in images}
    return {scene: path for scene, path in found.items() if scene in scenes}


def _write_entry(
    folder: Path,
    card: EntryCard,
    ledger: Ledger,
    run: Mapping[str, Any],
    listed: Sequence[Listed],
) -> None:
    (folder / CARD).write_text(to_toml(card), encoding="utf-8")
    write_manifest(folder / MANIFEST, listed)
    _write_ledger(folder / LEDGER, ledger)
    _write_json(folder / RUN, run)
    page = report(ledger, run, pictures=False)
    (folder / REPORT).write_text(page, encoding="utf-8")


def _write_ledger(path: Path, ledger: Ledger) -> None:
    schema = schema_of(ledger.segmenters, floor=ledger.has_floor, further=ledger.has_further)
    table = pa.Table.from_pandas(ledger.frame, schema, preserve_index=False)
    write_ledger(path, table, ledger.provenance)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def _copy_predictions(
    predictions: Path, target: Path, files: Mapping[str, Path], listed: Sequence[Listed]
) -> None:
    target.mkdir()
    card = read_card(predictions)
    lacking = []
    for one in listed:
        shutil.copyfile(files[one.scene], target / one.name)
        if not _means_the_same(files[one.scene], target / one.name, card):
            lacking.append(f"{files[one.scene]}: the file beside it is not packed")
    if lacking:
        raise SubmissionError(
            f"{predictions}: expected images that say themselves how they are read, but files "
            "beside them (.aux.xml) give scales or names of bands; write these into the images",
            lacking,
        )
    write_card(target, replace(card, dataset=None))


def _means_the_same(image: Path, alone: Path, card: Card) -> bool:
    """Whether an image is read without the file that GDAL keeps beside it as it is with it."""
    if not any(image.with_name(f"{name}.aux.xml").exists() for name in (image.name, image.stem)):
        return True
    nowhere = Raster(np.empty((len(OPTICAL_BANDS), OPTICAL_SIZE, OPTICAL_SIZE), np.uint16))
    try:
        with_it, without = (read_prediction(path, card, nowhere)[0] for path in (image, alone))
    except PredictionError:
        return False
    return np.array_equal(with_it, without)


def _zip(folder: Path, path: Path, name: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            member = zipfile.ZipInfo(f"{name}/{file.relative_to(folder).as_posix()}", _STAMP)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o100644 << 16
            member.file_size = file.stat().st_size
            with file.open("rb") as source, archive.open(member, "w") as target:
                shutil.copyfileobj(source, target, 2**20)


# --- Accepting --------------------------------------------------------------------------------


def check_results(entry: Path, results: Path) -> None:
    """Refuse a folder of results in which an entry cannot be accepted.

    Args:
        entry: Folder or archive that was sent.
        results: Need not be there.

    Raises:
        UsageError: It is a run itself, or it and the folder of the entry overlap.
    """
    _refuse_run(results)
    if entry.is_dir() and _overlap(entry, results):  # the board would take the entry for a run
        raise UsageError(
            f"--results: expected a folder apart from the entry {entry}, got {results}"
        )


def _refuse_run(results: Path) -> None:
    if any((results / name).exists() for name in (LEDGER, RUN)):
        raise UsageError(f"--results: expected a folder of runs, {results} is a run itself")


def accept(entry: CheckResult, results: Path, *, replace_old: bool = False) -> Path:
    """Put a checked entry among the results that the board is built from.

    Everything is written anew from the ledger that was checked; of what was sent, the card's
    fields, the sums and the record of the run alone remain.

    Args:
        entry: From ``check``.
        results: Folder of results.
        replace_old: Replace the run of the same name and track, wherever it lies.

    Returns:
        Its folder, ``<results>/<track>/<name>`` if it replaces none.

    Raises:
        SubmissionError: A run of this name and track is there, or several are.
        UsageError: ``results`` is a run, or the folder to be replaced holds anything else.
        BenchError: Another process accepts the same entry.
    """
    _refuse_run(results)
    track, name = str(entry.run["track"]), entry.ledger.name
    same = runs_named(results, track, name)
    if len(same) > 1:
        message = f"{results}: expected one run {name} of track {track} to replace, found several"
        raise SubmissionError(message, [str(one) for one in same])
    out = same[0] if same else results / track / name
    is_run = partial(_is_run, track, name)
    with _staged(out, is_run, replace_old=replace_old, is_like=is_run) as staged:
        run = staged / _MADE
        run.mkdir()
        _write_ledger(run / LEDGER, entry.ledger)
        write_report(run, entry.ledger, entry.run)
        (run / CARD).write_text(to_toml(entry.card), encoding="utf-8")
        status = status_of(run, entry.status)
        _write_json(run / STATUS, {**status, "checked": entry.told})
        if entry.samples:
            (run / SAMPLES).write_bytes(entry.samples)
        _write_json(run / RUN, entry.run)
    return out


def _is_run(track: str, name: str, path: Path) -> bool:
    """Whether nothing is lost by replacing what lies there: the run, or half of one."""
    known = {*ALWAYS, *SOMETIMES, LEDGER, RUN, CARD, STATUS, SAMPLES}
    inside = (
        {one.name for one in path.iterdir() if not is_litter(one.name)} if path.is_dir() else {""}
    )
    half = not inside or (LEDGER in inside and RUN not in inside)
    return inside <= known and (half or path in runs_named(path, track, name))


_MADE: Final = "made"
"""Name of what takes the place of ``out``."""

_OLD: Final = "old"
"""Name of what is replaced, for as long as nothing is in its place."""

_MEASURED: Final = "measured"
"""Name of a folder of results; an evaluation that was cut off there goes on next time."""


@contextmanager
def _staged(
    out: Path,
    replaces: Callable[[Path], bool],
    *,
    replace_old: bool,
    is_like: Callable[[Path], bool],
) -> Iterator[Path]:
    """A folder beside ``out`` that one process has: ``made`` in it takes its place at the end.

    Args:
        out: What will be written, whole.
        replaces: Whether what is there may go.
        replace_old: It shall.
        is_like: Whether what is there may be what will be made: then that is made and compared. A
            command that was killed when all was in its place must not fail the next time.
    """
    staged = out.with_name(f".{out.name}.entry.unfinished")
    if staged.is_symlink():
        raise UsageError(f"{staged}: expected no link there, what is unfinished goes there")
    maybe_done = os.path.lexists(out) and not replace_old and is_like(out)
    if not maybe_done and not staged.exists():
        _refuse_old(out, replaces, replace_old=replace_old)  # before anything is made
    staged.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(staged / "lock", f"{out}: another process writes there; wait for it"):
        _clear(staged, out)  # what a process that was killed has left
        done = False
        try:
            if not maybe_done:
                _refuse_old(out, replaces, replace_old=replace_old)
            yield staged
            done = maybe_done and _is_same(out, staged / _MADE)
            if not done:
                # what is not replaced may have come there meanwhile
                _refuse_old(out, replaces, replace_old=replace_old)
                if out.exists():
                    out.rename(staged / _OLD)
                (staged / _MADE).rename(out)
                done = True
        finally:
            _clear(staged, out)
            if done or not any((staged / _MEASURED).glob("*/.*.unfinished")):
                shutil.rmtree(staged, ignore_errors=True)


def _has_card(card: EntryCard, path: Path) -> bool:
    """Whether an entry that is there has this card."""
    text = to_toml(card).encode()
    try:
        if path.is_dir():
            return read_bytes(path / CARD) == text
        with open_regular(path, LIMITS.total_bytes) as file, zipfile.ZipFile(file) as archive:
            return archive.open(f"{path.stem}/{CARD}").read(len(text) + 1) == text
    except (BenchError, *BROKEN):
        return False


def _is_same(one: Path, other: Path) -> bool:
    """Whether two entries or runs hold the same, but for when they were measured."""
    if one.is_symlink() or one.is_dir() != other.is_dir() or not one.exists():
        return False
    first, second = _contents(one), _contents(other)
    return first is not None and first == second


def _contents(path: Path) -> dict[str, object] | None:
    """Digest of each file, by its name; of a run's record all but its times; None for no entry."""
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if not file.is_dir())
            return {
                file.relative_to(path).as_posix(): _content(
                    file.name, open_regular(file, LIMITS.file_bytes)
                )
                for file in files
            }
        with open_regular(path, LIMITS.total_bytes) as file, zipfile.ZipFile(file) as archive:
            return {
                info.filename: _content(info.filename, archive.open(info))
                for info in archive.infolist()
            }
    except (BenchError, *BROKEN):
        return None


def _content(name: str, opened: IO[bytes]) -> object:
    with opened as stream:
        last = name.rpartition("/")[2]
        if last == REPORT:
            return ""  # follows from the others
        if last not in (RUN, STATUS):
            return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        said = parse_json(stream.read(LARGEST_RECORD), name)
    return {key: said[key] for key in said if key not in _BY_CHANCE}


_BY_CHANCE: Final = ("started", "seconds", "checked")
"""What the next measurement says otherwise: times, and which scenes were drawn."""


def _clear(staged: Path, out: Path) -> None:
    """Put back what was moved out of the way for nothing; delete all but what was measured."""
    if (staged / _OLD).exists() and not out.exists():
        (staged / _OLD).rename(out)
    for left in staged.iterdir():
        if left.is_dir() and left.name != _MEASURED:
            shutil.rmtree(left)
        elif not left.is_dir() and left.name != "lock":
            left.unlink()


def _refuse_old(out: Path, replaces: Callable[[Path], bool], *, replace_old: bool) -> None:
    if not os.path.lexists(out):
        return
    if not replace_old:
        raise SubmissionError(f"{out}: expected nothing of this name, it is there; see --replace")
    if out.is_symlink():
        raise UsageError(f"--replace: expected no link at {out}; give what it points to")
    if not replaces(out):
        what = f"nothing but what it replaces at {out}, whole"
        raise UsageError(f"--replace: expected {what}; found more, or less; move that away")
