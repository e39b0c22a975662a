"""Check an entry that was sent: what can be believed of it, or every reason why it is refused.

Where the board has the dataset, the entry is compared with what the board measures itself.
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
from planetcr_bench.leaderboard.entries import LEDGER, RUN, Entry, Status, read_entries
from planetcr_bench.leaderboard.ledgers import LARGEST_RECORD
from planetcr_bench.metrics.sums import SUMS, segmenter_columns
from planetcr_bench.predictions.card import Card
from planetcr_bench.predictions.folder import Predictions
from planetcr_bench.results.ledger import Ledger, further_columns
from planetcr_bench.submission.archive import open_entry
from planetcr_bench.submission.entry import SentEntry, collect_errors, public_run, read_entry
from planetcr_bench.submission.manifest import digests_of
from planetcr_bench.submission.plausibility import (
    DRIFT,
    OF_THE_INPUT,
    differing,
    floor_columns,
    misplaced,
    segmenter_input,
)
from planetcr_bench.utils.untrusted import printable, read_json

SAMPLE: Final = 32
"""Scenes that are measured again, if not told otherwise."""

ALIKE: Final = 0.01
"""Relative difference of sums between two machines that simulated the same; and of segmenters'
counts, which threads and devices move at ties."""

_COMPARED: Final = 3
"""Runs on the board whose input is compared, and all verified ones of the same images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """What the receiving side compares an entry with.

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
    """What can be believed of an entry.

    Attributes:
        card: Who and how.
        ledger: The one that was sent or, if all was measured again, the board's own.
        run: Of that ledger.
        status: ``verified`` or ``claimed``.
        checked: What was checked and what was not, a line each.
        samples: Pictures of the predictions as JPEG; empty but for verified simulated ones.
    """

    card: EntryCard
    ledger: Ledger
    run: dict[str, Any]
    status: Status
    checked: list[str]
    samples: bytes = b""


@dataclass(slots=True)
class CheckContext:
    """An entry with a ledger, what it is compared with, and what came of it so far."""

    sent: SentEntry
    ledger: Ledger
    config: CheckConfig
    work: Path
    checked: list[str] = field(default_factory=list)
    own: tuple[Ledger, dict[str, Any], bytes] | None = None

    @property
    def record(self) -> Mapping[str, Any]:
        """What the ledger says of its run."""
        return self.ledger.provenance

    @property
    def measured_whole(self) -> Predictions | None:
        """All predictions, if the board measures them itself: nothing overrules what it finds."""
        everything = self.config.data is not None and self.config.sample is None
        return self.sent.predictions if everything else None

    def refuse(self, errors: Sequence[str], what: str = "") -> None:
        """Add errors of the ledger."""
        self.sent.errors += [f"{LEDGER}: {what}{error}" for error in errors]


def check(path: Path, work: Path, config: CheckConfig) -> CheckResult:
    """Check an entry.

    Args:
        path: Folder, or ``.zip`` of one; is only read.
        work: An empty folder for what is unpacked and measured.
        config: What to compare it with.

    Raises:
        SubmissionError: Lists every reason why it cannot be believed.
        DatasetError: The dataset to compare it with is not found or broken.
    """
    folder = open_entry(path, work / "entry")
    sent = read_entry(folder, workers=config.workers, quiet=config.quiet)
    context = None
    if sent.ledger is not None:
        context = CheckContext(sent, sent.ledger, config, work)
        _compare_with_board(context)
        _compare_with_dataset(context)
    if sent.errors or context is None or sent.card is None or sent.run is None:
        lines = [_short(line.replace(f"{folder}/", "")) for line in sent.errors]
        raise SubmissionError(f"{path}: expected an entry that can be believed, refused", lines)
    held = f"predictions of {len(sent.files)} scenes" if sent.files else "no predictions"
    first = f"card, record, ledger and manifest are sound and agree; {held} were sent"
    ledger, run, samples = context.own or (context.ledger, public_run(sent.run), b"")
    return CheckResult(
        card=sent.card,
        ledger=ledger,
        run=run,
        status="claimed" if context.own is None else "verified",
        checked=[first, *context.checked],
        samples=samples,
    )


def _short(line: str) -> str:
    shown = printable(line)
    return shown if len(shown) <= 1000 else f"{shown[:1000]}…"


# --- With runs that are believed --------------------------------------------------------------


def _compare_with_board(context: CheckContext) -> None:
    """What follows from the dataset alone must be as in other runs on it."""
    results = context.config.results
    entries, _ = ([], []) if results is None else read_entries(results)
    if results is None or not entries:
        return  # a folder that a killed command began is none
    digests = digests_of(context.ledger)
    others, alike = [], []
    for entry in entries:
        verified, where = entry.status == "verified", results / entry.folder
        shared = {scene for scene, _ in digests.items() & digests_of(entry.ledger).items()}
        if shared:
            line = f"{len(shared)} of its {len(digests)} predictions are those of {where}"
            context.checked.append(f"{line}, verified" if verified else line)
        if entry.name == context.ledger.name and len(shared) == len(digests) and not verified:
            continue  # what was sent before, and may have been wrong
        others.append(entry)
        if _alike(entry.ledger.provenance, context.record):
            alike.append(entry)
            if verified and shared and context.measured_whole is None:
                _compare_images(context, entry, shared, where)
    alike.sort(key=lambda entry: entry.status != "verified")
    for entry in alike[:_COMPARED]:
        _compare_input(context, entry, results / entry.folder)
    if alike:
        count = len(alike[:_COMPARED])
        context.checked.append(f"its input was compared with {count} runs in {results}")
    else:
        _compare_track(context, others, results)


def _compare_input(context: CheckContext, entry: Entry, where: Path) -> None:
    """What follows from the dataset alone must be as in another run on it."""
    known = entry.ledger
    wrong = _differences(context.ledger, known, whole=False)
    expected, got = (one["expected_scenes"] for one in (known.provenance, context.record))
    if expected != got:
        wrong.append(f"expected_scenes: expected {expected}, got {got}")
    strange = sorted(digests_of(context.ledger).keys() - digests_of(known).keys())
    if strange and known.provenance["complete"]:
        wrong.append(f"{len(strange)} scenes are not in it, first {strange[0]}")
    context.refuse(wrong, f"differs from {where}, a run on the same dataset: ")


def _compare_images(context: CheckContext, entry: Entry, scenes: set[str], where: Path) -> None:
    """Of images that the board has measured itself, all sums must be the same.

    Their scale may be another one: then the images must be sent, and all be measured again.
    """
    frame = context.ledger.frame
    sent = replace(context.ledger, frame=frame[frame["scene"].isin(scenes)])
    what = f"{where}, verified, of the same images (--sample all overrules it)"
    context.refuse(_differences(sent, entry.ledger, whole=True), f"differs from {what}: ")


def _compare_track(context: CheckContext, others: Sequence[Entry], results: Path) -> None:
    """A track has one dataset: that of its verified runs, none of which is on this one."""
    here = [entry for entry in others if entry.run["track"] == context.record["track"]]
    for entry in [entry for entry in here if entry.status == "verified"][:1]:
        expected, got = entry.run["fingerprint"], context.record["fingerprint"]
        where = results / entry.folder
        context.refuse(
            [f"fingerprint: expected {expected[:12]}… of {where}, verified, got {got[:12]}…"]
        )
    which = f"none of {len(here)} other runs of its track" if here else "no other run of its track"
    context.checked.append(f"{which} in {results} is on its dataset; its input was not compared")


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
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


# --- With the dataset -------------------------------------------------------------------------


def _compare_with_dataset(context: CheckContext) -> None:
    """Measure again what can be measured."""
    config = context.config
    if config.data is None:
        context.checked.append("it was not compared with the dataset; give that with --data")
        return
    dataset = find_dataset(
        context.sent.folder,
        Card(),
        data=config.data,
        split=context.record["split"],
        scene_list=config.scene_list,
        workers=config.workers,
        quiet=config.quiet,
    )
    by_name = {files.name: files for files in dataset.scenes}
    wrong = _dataset_errors(context.ledger, dataset, by_name)
    if wrong:
        context.refuse(wrong)
        return
    scenes = sorted(by_name[name] for name in digests_of(context.ledger))
    if context.measured_whole is not None:
        _verify(context, context.measured_whole, dataset)
        return
    count = len(scenes) if config.sample is None else min(config.sample, len(scenes))
    drawn = np.random.default_rng(config.seed).choice(len(scenes), count, replace=False)
    if count:
        _measure_again(context, dataset, [scenes[index] for index in drawn])
    else:
        context.checked.append("it is of the dataset; nothing was measured again")


def _dataset_errors(
    ledger: Ledger, dataset: Dataset, by_name: Mapping[str, SceneFiles]
) -> list[str]:
    """Where the record of a ledger is not of a dataset."""
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


def _measure_again(context: CheckContext, dataset: Dataset, chosen: Sequence[SceneFiles]) -> None:
    """Measure some scenes from the predictions; without them, what follows from the input alone."""
    sent, config = context.sent, context.config
    whole = sent.predictions is not None
    if sent.predictions is not None:
        files = {scene: sent.files[scene.name] for scene in chosen}
        predictions = replace(sent.predictions, files=files)
    else:
        files = {scene: scene.path("planet_cloudy") for scene in chosen}
        predictions = Predictions(dataset.folder, Card(), files, OPTICAL_SIZE)
    protocols = protocols_of(predictions.size)
    segmenters = [one for one in config.segmenters if one.key in context.ledger.segmenters]
    table, problems = measure(
        predictions,
        {},
        context.work / "parts",
        pool=SegmenterPool(segmenters, dataset.fingerprint, protocols) if segmenters else None,
        workers=config.workers,
        quiet=config.quiet,
    )
    provenance = {
        "fingerprint": dataset.fingerprint,
        "protocols": {protocol.name: protocol.signature("all") for protocol in protocols},
        "segmenters": {segmenter.key: segmenter.facts for segmenter in segmenters},
    }
    own = Ledger(table.to_pandas(ignore_metadata=True), provenance)
    sent.errors += problems
    context.refuse(_differences(context.ledger, own, whole=whole), "measured again, ")
    what = "measured again from the predictions" if whole else "compared with the dataset's input"
    context.checked.append(f"{len(chosen)} scenes, drawn with seed {config.seed}, were {what}")
    _name_unread(context, own)


def _name_unread(context: CheckContext, own: Ledger) -> None:
    """Name the segmenters whose counts nobody here repeated."""
    shared = _shared_segmenters(context.ledger, own)
    context.checked += [
        f"segmenter {facts['name']} was not run again; give it with --segmenter"
        for key, facts in context.record["segmenters"].items()
        if key not in shared
    ]


def _verify(context: CheckContext, predictions: Predictions, dataset: Dataset) -> None:
    """Evaluate the predictions as if they were the board's own."""
    config, record = context.config, context.record
    done = collect_errors(
        context.sent.errors,
        evaluate,
        predictions.folder,
        context.work / "results",
        data=dataset.folder,
        split=dataset.split,
        scene_list=config.scene_list,
        name=record["name"],
        workers=config.workers,
        allow_missing=not record["complete"],
        segmenters=config.segmenters,
        command=config.command,
        tables=False,
        quiet=config.quiet,
    )
    if done is None:
        return
    own, out, _ = done
    scenes = own.provenance["scenes"]
    wrong = _differences(context.ledger, own, whole=True)
    if scenes != record["scenes"]:
        wrong.append(f"expected {scenes} scenes, got {record['scenes']}")
    context.refuse(wrong, "measured again, ")
    context.checked.append(f"all {scenes} scenes were measured again from the predictions")
    _name_unread(context, own)
    strip = out / SAMPLES
    run = public_run(read_json(out / RUN, LARGEST_RECORD))
    context.own = own, run, strip.read_bytes() if strip.exists() else b""
