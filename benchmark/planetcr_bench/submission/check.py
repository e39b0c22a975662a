"""An entry that was sent in, what may be believed of it out, or every reason why it is refused.

Where the board has the dataset, the entry is held against what the board measures itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from planetcr_bench.api import evaluate
from planetcr_bench.constants import OPTICAL_SIZE
from planetcr_bench.data.layout import SceneFiles
from planetcr_bench.errors import SubmissionError
from planetcr_bench.evaluation.inputs import Dataset, find_dataset
from planetcr_bench.evaluation.runner import measure, protocols_of
from planetcr_bench.evaluation.segmenters import Segmenter, SegmenterPool
from planetcr_bench.gallery.thumbnails import SAMPLES
from planetcr_bench.leaderboard.card import EntryCard
from planetcr_bench.leaderboard.consistency import (
    DRIFT,
    OF_THE_INPUT,
    differing,
    floor_columns,
    misplaced,
    segmenter_input,
)
from planetcr_bench.leaderboard.entries import Entry, read_entries
from planetcr_bench.leaderboard.sent_ledger import LARGEST_RECORD, public_run
from planetcr_bench.metrics.sums import SUMS, segmenter_columns
from planetcr_bench.predictions.format import Card, Predictions
from planetcr_bench.results.ledger import Ledger, further_columns
from planetcr_bench.submission.entry import LEDGER, RUN, SentEntry, attempt, open_entry, read_entry
from planetcr_bench.submission.manifest import digests_of
from planetcr_bench.utils.untrusted import printable, read_json

SAMPLE: Final = 32
"""Scenes that are measured again, if not told otherwise."""

ALIKE: Final = 0.01
"""Relative difference of sums between two machines that simulated the same; and of segmenters'
counts, which threads and devices move at ties."""

_WITNESSES: Final = 3
"""Runs on the board that a ledger is held against, and all verified ones of the same images."""

_COPIED: Final = 0.1
"""Share of predictions in common with another run from which it is told."""

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """What the receiving side holds an entry against.

    Attributes:
        data: Dataset; without one, nothing is measured again.
        scene_list: Authors' CSV list to take the scenes from.
        results: Folder of results that are believed; the entry's input must be theirs.
        sample: Scenes to measure again; None for all, which verifies an entry with predictions.
        seed: Of the choice; the sender must not know it before.
        segmenters: That read the measured scenes again.
        workers: See ``worker_count``.
        command: Written into the ``run.json`` of a verified entry.
        quiet: Show no progress.
    """

    data: Path | None = None
    scene_list: Path | None = None
    results: Path | None = None
    sample: int | None = SAMPLE
    seed: int = 0
    segmenters: Sequence[Segmenter] = ()
    workers: int | None = None
    command: Sequence[str] = ()
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What may be believed of an entry.

    Attributes:
        card: Who and how.
        ledger: The one that was sent or, if all was measured again, the board's own.
        run: Of that ledger.
        status: ``verified`` or ``claimed``.
        told: What was checked and what was not, a line each.
        samples: Pictures of the predictions as JPEG; empty but for verified simulated ones.
    """

    card: EntryCard
    ledger: Ledger
    run: dict[str, Any]
    status: str
    told: list[str]
    samples: bytes = b""


@dataclass(slots=True)
class _Case:
    """An entry with a ledger, what it is held against, and what came of it so far."""

    sent: SentEntry
    ledger: Ledger
    scrutiny: CheckConfig
    work: Path
    told: list[str] = field(default_factory=list)
    own: tuple[Ledger, dict[str, Any], bytes] | None = None

    @property
    def record(self) -> Record:
        return self.ledger.provenance

    @property
    def measured_whole(self) -> Predictions | None:
        """All predictions, if the board measures them itself: nothing overrules what it finds."""
        everything = self.scrutiny.data is not None and self.scrutiny.sample is None
        return self.sent.predictions if everything else None

    def refuse(self, faults: Sequence[str]) -> None:
        self.sent.faults += [f"{LEDGER}: {fault}" for fault in faults]


def check(path: Path, work: Path, scrutiny: CheckConfig) -> CheckResult:
    """Check an entry.

    Args:
        path: Folder, or archive of one; is only read.
        work: An empty folder for what is unpacked and measured.
        scrutiny: What to hold it against.

    Raises:
        SubmissionError: Lists every reason why it cannot be believed.
        DatasetError: The dataset to hold it against is not found or broken.
    """
    folder = open_entry(path, work / "entry")
    sent = read_entry(folder, workers=scrutiny.workers, quiet=scrutiny.quiet)
    case = None
    if sent.ledger is not None:
        case = _Case(sent, sent.ledger, scrutiny, work)
        _hold_against_board(case)
        _hold_against_dataset(case)
    if sent.faults or case is None or sent.card is None or sent.run is None:
        lines = [_short(line.replace(f"{folder}/", "")) for line in sent.faults]
        raise SubmissionError(f"{path}: expected an entry that can be believed, refused", lines)
    held = f"predictions of {len(sent.files)} scenes" if sent.files else "no predictions"
    told = [f"card, record, ledger and manifest are sound and agree; {held} were sent", *case.told]
    if case.own is None:
        run = public_run(sent.run)
        return CheckResult(card=sent.card, ledger=case.ledger, run=run, status="claimed", told=told)
    ledger, run, samples = case.own
    return CheckResult(
        card=sent.card, ledger=ledger, run=run, status="verified", told=told, samples=samples
    )


def _short(line: str) -> str:
    shown = printable(line)
    return shown if len(shown) <= 1000 else f"{shown[:1000]}…"


# --- Against runs that are believed -----------------------------------------------------------


def _hold_against_board(case: _Case) -> None:
    """What hangs on the dataset alone must be as in other runs on it."""
    results = case.scrutiny.results
    entries, _ = ([], []) if results is None else read_entries(results)
    if results is None or not entries:
        return  # a folder that a killed command began is none
    digests = digests_of(case.ledger)
    others, alike, copied = [], [], []
    for entry in entries:
        where, verified = results / entry.folder, entry.status == "verified"
        shared = {scene for scene, _ in digests.items() & digests_of(entry.ledger).items()}
        if len(shared) >= _COPIED * len(digests):
            told = f"{len(shared)} of its {len(digests)} predictions are those of {where}"
            case.told.append(f"{told}, verified" if verified else told)
        if entry.name == case.ledger.name and len(shared) == len(digests) and not verified:
            continue  # what was sent before, and may have been wrong
        others.append(entry)
        if _alike(entry.ledger.provenance, case.record):
            alike.append(entry)
            copied += [(entry, shared)] if verified and shared else []
    alike.sort(key=lambda entry: entry.status != "verified")
    for entry in alike[:_WITNESSES]:
        _hold_against(case, entry, results)
    if case.measured_whole is None:
        for entry, shared in copied:
            _hold_against_images(case, entry, shared, results)
    if alike:
        count = len(alike[:_WITNESSES])
        case.told.append(f"its input was held against {count} runs in {results}")
    else:
        _hold_against_track(case, others, results)


def _hold_against(case: _Case, entry: Entry, results: Path) -> None:
    """What hangs on the dataset alone must be as in another run on it."""
    known = entry.ledger
    wrong = _differences(case.ledger, known, whole=False)
    expected, got = (one["expected_scenes"] for one in (known.provenance, case.record))
    if expected != got:
        wrong.append(f"expected_scenes: expected {expected}, got {got}")
    strange = sorted(digests_of(case.ledger).keys() - digests_of(known).keys())
    if strange and known.provenance["complete"]:
        wrong.append(f"{len(strange)} scenes are not in it, first {strange[0]}")
    where = results / entry.folder
    case.refuse([f"differs from {where}, a run on the same dataset: {one}" for one in wrong])


def _hold_against_images(case: _Case, entry: Entry, scenes: set[str], results: Path) -> None:
    """Of images that the board has measured itself, all sums must be the same.

    Their scale may be another one: then the images must be sent, and all be measured again.
    """
    frame = case.ledger.frame
    sent = replace(case.ledger, frame=frame[frame["scene"].isin(scenes)])
    wrong = _differences(sent, entry.ledger, whole=True)
    what = f"{results / entry.folder}, verified, of the same images (--sample all overrules it)"
    case.refuse([f"differs from {what}: {one}" for one in wrong])


def _hold_against_track(case: _Case, others: Sequence[Entry], results: Path) -> None:
    """A track has one dataset: that of its verified runs, none of which is on this one."""
    here = [entry for entry in others if entry.run["track"] == case.record["track"]]
    verified = [entry for entry in here if entry.status == "verified"]
    if verified:
        expected, got = verified[0].run["fingerprint"], case.record["fingerprint"]
        where = results / verified[0].folder
        case.refuse(
            [f"fingerprint: expected {expected[:12]}… of {where}, verified, got {got[:12]}…"]
        )
    told = f"none of {len(here)} other runs of its track" if here else "no other run of its track"
    case.told.append(f"{told} in {results} is on its dataset; its input was held against none")


def _alike(one: Record, other: Record) -> bool:
    """Whether two records are of one dataset, but for rounding."""
    same = one["fingerprint"] == other["fingerprint"]
    return one["track"] == other["track"] and (
        same or (one["simulation"] is not None and one["simulation"] == other["simulation"])
    )


def _differences(sent: Ledger, known: Ledger, *, whole: bool) -> list[str]:
    """Where two ledgers of one dataset differ: in the input alone, or in all sums."""
    same = sent.provenance["fingerprint"] == known.provenance["fingerprint"]
    shared = _shared_segmenters(sent, known)
    segmented = [name for key in shared for name in segmenter_columns(key)]
    sums, counts = (list(SUMS), segmented) if whole else (OF_THE_INPUT, segmenter_input(shared))
    further = further_columns(sent, known, of_input=not whole)
    sums = [*sums, *floor_columns(sent, known), *further]
    drift = DRIFT if same else ALIKE
    found = misplaced(sent, known, drift=drift) + differing(sent, known, sums, drift=drift)
    return found + differing(sent, known, counts, drift=ALIKE)


def _shared_segmenters(one: Ledger, other: Ledger) -> list[str]:
    """Keys of the segmenters that read both runs."""
    ours, theirs = one.provenance["segmenters"], other.provenance["segmenters"]
    return [key for key in ours if key in theirs and ours[key]["sha256"] == theirs[key]["sha256"]]


# --- Against the dataset ----------------------------------------------------------------------


def _hold_against_dataset(case: _Case) -> None:
    """Measure again what can be measured."""
    scrutiny = case.scrutiny
    if scrutiny.data is None:
        case.told.append("it was not held against the dataset; give that with --data")
        return
    dataset = find_dataset(
        case.sent.folder,
        Card(),
        data=scrutiny.data,
        split=case.record["split"],
        scene_list=scrutiny.scene_list,
        workers=scrutiny.workers,
        quiet=scrutiny.quiet,
    )
    by_name = {files.name: files for files in dataset.scenes}
    wrong = _dataset_faults(case.ledger, dataset, by_name)
    if wrong:
        case.refuse(wrong)
        return
    scenes = sorted(by_name[name] for name in digests_of(case.ledger))
    if case.measured_whole is not None:
        _verify(case, case.measured_whole, dataset)
        return
    count = len(scenes) if scrutiny.sample is None else min(scrutiny.sample, len(scenes))
    drawn = np.random.default_rng(scrutiny.seed).choice(len(scenes), count, replace=False)
    if count:
        _measure_again(case, dataset, [scenes[index] for index in drawn])
    else:
        case.told.append("it is of the dataset; nothing was measured again")


def _dataset_faults(
    ledger: Ledger, dataset: Dataset, by_name: Mapping[str, SceneFiles]
) -> list[str]:
    record = ledger.provenance
    here = {
        "track": dataset.track,
        "simulation": dataset.simulation,
        "expected_scenes": len(dataset.scenes),
        "fingerprint": dataset.fingerprint,
    }
    if dataset.simulation is not None and record["simulation"] == dataset.simulation:
        del here["fingerprint"]  # another machine rounds otherwise
    found = [
        f"{key}: expected {value} by the dataset, got {record[key]}"
        for key, value in here.items()
        if record[key] != value
    ]
    surplus = sorted(digests_of(ledger).keys() - by_name.keys())
    if surplus:
        found.append(f"{len(surplus)} scenes are not in the dataset, first {surplus[0]}")
    return found


def _measure_again(case: _Case, dataset: Dataset, chosen: Sequence[SceneFiles]) -> None:
    """Measure some scenes from the predictions; without them, what hangs on the input alone."""
    sent, scrutiny = case.sent, case.scrutiny
    whole = sent.predictions is not None
    if sent.predictions is not None:
        files = {scene: sent.files[scene.name] for scene in chosen}
        predictions = replace(sent.predictions, files=files)
    else:
        files = {scene: scene.path("planet_cloudy") for scene in chosen}
        predictions = Predictions(dataset.folder, Card(), files, OPTICAL_SIZE)
    protocols = protocols_of(predictions.size)
    segmenters = [
        segmenter for segmenter in scrutiny.segmenters if segmenter.key in case.ledger.segmenters
    ]
    table, problems = measure(
        predictions,
        {},
        case.work / "parts",
        pool=SegmenterPool(segmenters, dataset.fingerprint, protocols) if segmenters else None,
        workers=scrutiny.workers,
        quiet=scrutiny.quiet,
    )
    provenance = {
        "fingerprint": dataset.fingerprint,
        "protocols": {protocol.name: protocol.signature("all") for protocol in protocols},
        "segmenters": {segmenter.key: segmenter.facts for segmenter in segmenters},
    }
    own = Ledger(table.to_pandas(ignore_metadata=True), provenance)
    sent.faults += problems
    wrong = _differences(case.ledger, own, whole=whole)
    case.refuse([f"measured again, {one}" for one in wrong])
    what = "measured again from the predictions" if whole else "held against the dataset's input"
    case.told.append(f"{len(chosen)} scenes, drawn with seed {scrutiny.seed}, were {what}")
    _tell_unread(case, own)


def _tell_unread(case: _Case, own: Ledger) -> None:
    """Name the segmenters whose counts nobody here repeated."""
    shared = _shared_segmenters(case.ledger, own)
    for key, facts in case.record["segmenters"].items():
        if key not in shared:
            case.told.append(
                f"segmenter {facts['name']} was not asked again; give it with --segmenter"
            )


def _verify(case: _Case, predictions: Predictions, dataset: Dataset) -> None:
    """Evaluate the predictions as if they were the board's own."""
    scrutiny, record = case.scrutiny, case.record
    done = attempt(
        case.sent.faults,
        evaluate,
        predictions.folder,
        case.work / "results",
        data=dataset.folder,
        split=dataset.split,
        scene_list=scrutiny.scene_list,
        name=record["name"],
        workers=scrutiny.workers,
        allow_missing=not record["complete"],
        segmenters=scrutiny.segmenters,
        command=scrutiny.command,
        tables=False,
        quiet=scrutiny.quiet,
    )
    if done is None:
        return
    own, out, _ = done
    scenes = own.provenance["scenes"]
    wrong = _differences(case.ledger, own, whole=True)
    if scenes != record["scenes"]:
        wrong.append(f"expected {scenes} scenes, got {record['scenes']}")
    case.refuse([f"measured again, {one}" for one in wrong])
    case.told.append(f"all {scenes} scenes were measured again from the predictions")
    _tell_unread(case, own)
    strip = out / SAMPLES
    run = public_run(read_json(out / RUN, LARGEST_RECORD))
    case.own = own, run, strip.read_bytes() if strip.exists() else b""
