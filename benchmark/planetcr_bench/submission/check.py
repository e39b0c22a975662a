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
from planetcr_bench.leaderboard.card import EntryCard
from planetcr_bench.leaderboard.entries import Entry, Status, read_entries
from planetcr_bench.leaderboard.ledgers import LARGEST_RECORD
from planetcr_bench.predictions.card import Card
from planetcr_bench.predictions.folder import Predictions
from planetcr_bench.results.files import LEDGER, RUN, SAMPLES
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.submission.archive import PREDICTIONS, open_entry
from planetcr_bench.submission.comparison import differences, same_dataset, shared_segmenters
from planetcr_bench.submission.entry import SentEntry, read_entry
from planetcr_bench.submission.manifest import digests_of
from planetcr_bench.submission.record import public_run
from planetcr_bench.utils.untrusted import printable, read_json
from planetcr_bench.utils.validation import collect_errors

SAMPLE: Final = 32
"""Scenes that are measured again by default."""


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

    def measures_all(self, sent: SentEntry) -> bool:
        """Whether all predictions are measured again: nothing overrules what that gives."""
        return None not in (self.data, sent.predictions) and self.sample is None


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


@dataclass(frozen=True, slots=True)
class Findings:
    """Errors, and what was checked and what was not, a line each."""

    errors: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)

    def refuse(self, errors: Sequence[str], what: str = "") -> None:
        """Add errors of the ledger."""
        self.errors.extend(f"{LEDGER}: {what}{error}" for error in errors)


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
    findings = Findings()
    sent = collect_errors(
        findings.errors, read_entry, folder, workers=config.workers, quiet=config.quiet
    )
    own = None
    if sent is not None:
        _compare_with_board(sent, config, findings)
        own = _compare_with_dataset(sent, config, work, findings)
    if sent is None or findings.errors:
        lines = [_short(line.replace(f"{folder}/", "")) for line in findings.errors]
        raise SubmissionError(f"{path}: expected an entry without errors, got {len(lines)}", lines)
    images = f"predictions of {len(sent.files)} scenes" if sent.files else "no predictions"
    first = f"card, record, ledger and manifest are sound and agree; {images} were sent"
    ledger, run, samples = own or (sent.ledger, public_run(sent.run), b"")
    return CheckResult(
        card=sent.card,
        ledger=ledger,
        run=run,
        status="claimed" if own is None else "verified",
        checked=[first, *findings.checked],
        samples=samples,
    )


def _short(line: str) -> str:
    shown = printable(line)
    return shown if len(shown) <= 1000 else f"{shown[:1000]}…"


# --- With runs that are believed --------------------------------------------------------------


def _compare_with_board(sent: SentEntry, config: CheckConfig, findings: Findings) -> None:
    """Compare with other runs what follows from the dataset, and sums of the same images."""
    results, ledger = config.results, sent.ledger
    if results is None:
        return
    entries, problems = read_entries(results)
    findings.checked.extend(f"not compared with a run of the board: {line}" for line in problems)
    if not entries:
        return  # a folder that a killed command began is none
    digests, known = digests_of(ledger), []
    for entry in entries:
        verified, where = entry.status == "verified", results / entry.folder
        same = {scene for scene, _ in digests.items() & digests_of(entry.ledger).items()}
        if same:
            line = f"{len(same)} of its {len(digests)} predictions are those of {where}"
            findings.checked.append(f"{line}, verified" if verified else line)
        if entry.name == ledger.name and len(same) == len(digests) and not verified:
            continue  # what was sent before, and may have been wrong
        if same_dataset(entry.ledger.provenance, ledger.provenance):
            known.append(entry)
            if same and verified and not config.measures_all(sent):
                # with another scale, the images must be sent, and all be measured again
                part = replace(ledger, frame=ledger.frame[ledger.frame["scene"].isin(same)])
                what = f"{where}, verified, of the same images (--sample all overrules it)"
                wrong = differences(part, entry.ledger, whole=True)
                findings.refuse(wrong, f"differs from {what}: ")
    if known:
        reference = max(known, key=lambda entry: entry.status == "verified")
        _compare_input(ledger, reference.ledger, results / reference.folder, findings)
    else:
        _compare_track(ledger, entries, results, findings)


def _compare_input(ledger: Ledger, known: Ledger, where: Path, findings: Findings) -> None:
    """What follows from the dataset alone must be as in another run on it."""
    wrong = differences(ledger, known, whole=False)
    surplus = sorted(digests_of(ledger).keys() - digests_of(known).keys())
    if surplus and known.provenance["complete"]:
        wrong.append(f"{len(surplus)} scenes are not in it, first {surplus[0]}")
    findings.refuse(wrong, f"differs from {where}, a run on the same dataset: ")
    findings.checked.append(f"its input was compared with {where}")


def _compare_track(
    ledger: Ledger, entries: Sequence[Entry], results: Path, findings: Findings
) -> None:
    """A track has one dataset: that of its verified runs, none of which is on this one."""
    track, got = ledger.provenance["track"], ledger.provenance["fingerprint"]
    for entry in entries:
        if entry.status == "verified" and entry.run["track"] == track:
            expected, where = entry.run["fingerprint"], results / entry.folder
            findings.refuse(
                [f"fingerprint: expected {expected[:12]}… of {where}, verified, got {got[:12]}…"]
            )
            return
    line = f"its input was not compared: no other run in {results} is on its dataset"
    findings.checked.append(line)


# --- With the dataset -------------------------------------------------------------------------

Own = tuple[Ledger, dict[str, Any], bytes]
"""Ledger, ``run.json`` and sample pictures that the board has made of an entry itself."""


def _compare_with_dataset(
    sent: SentEntry, config: CheckConfig, work: Path, findings: Findings
) -> Own | None:
    """Measure again what can be measured; return that if it is all."""
    if config.data is None:
        findings.checked.append("it was not compared with the dataset; give that with --data")
        return None
    dataset = find_dataset(
        sent.folder,
        Card(),
        data=config.data,
        split=sent.ledger.provenance["split"],
        scene_list=config.scene_list,
        workers=config.workers,
        quiet=config.quiet,
    )
    by_name = {files.name: files for files in dataset.scenes}
    if wrong := _dataset_errors(sent.ledger, dataset, by_name):
        findings.refuse(wrong)
        return None
    if config.measures_all(sent):
        return _verify(sent, dataset, config, work, findings)
    scenes = sorted(by_name[name] for name in digests_of(sent.ledger))
    count = len(scenes) if config.sample is None else min(config.sample, len(scenes))
    drawn = np.random.default_rng(config.seed).choice(len(scenes), count, replace=False)
    chosen = [scenes[index] for index in drawn]
    if chosen:
        own = _measure(sent, dataset, chosen, config, work, findings)
        images = sent.predictions is not None
        what = (
            "measured again from the predictions" if images else "compared with the dataset's input"
        )
        line = f"{count} scenes, drawn with seed {config.seed}, were {what}"
        _compare_measured(sent.ledger, own, line, findings, whole=images)
    else:
        findings.checked.append("it is of the dataset; nothing was measured again")
    return None


def _compare_measured(
    ledger: Ledger, own: Ledger, line: str, findings: Findings, *, whole: bool
) -> None:
    """Compare with what was measured again, and name the segmenters that were not run again."""
    findings.refuse(differences(ledger, own, whole=whole), "measured again, ")
    findings.checked.append(line)
    shared = shared_segmenters(ledger, own)
    findings.checked.extend(
        f"segmenter {facts['name']} was not run again; give it with --segmenter"
        for key, facts in ledger.provenance["segmenters"].items()
        if key not in shared
    )


def _dataset_errors(
    ledger: Ledger, dataset: Dataset, by_name: Mapping[str, SceneFiles]
) -> list[str]:
    """Where the record of a ledger is not of a dataset."""
    record = ledger.provenance
    expected = {
        "track": dataset.track,
        "simulation": dataset.simulation,
        "expected_scenes": len(dataset.scenes),
    }
    if dataset.simulation is None or record["simulation"] != dataset.simulation:
        expected["fingerprint"] = dataset.fingerprint  # else another machine rounds otherwise
    errors = [
        f"{key}: expected {value} by the dataset, got {record[key]}"
        for key, value in expected.items()
        if record[key] != value
    ]
    surplus = sorted(digests_of(ledger).keys() - by_name.keys())
    if surplus:
        errors.append(f"{len(surplus)} scenes are not in the dataset, first {surplus[0]}")
    return errors


def _measure(
    sent: SentEntry,
    dataset: Dataset,
    chosen: Sequence[SceneFiles],
    config: CheckConfig,
    work: Path,
    findings: Findings,
) -> Ledger:
    """Measure some scenes from the predictions; without them, the input as if it was predicted."""
    if sent.predictions is not None:
        files = {scene: sent.files[scene.name] for scene in chosen}
        predictions = replace(sent.predictions, files=files)
    else:
        files = {scene: scene.path("planet_cloudy") for scene in chosen}
        predictions = Predictions(dataset.folder, Card(), files, OPTICAL_SIZE)
    protocols = protocols_of(predictions.size)
    segmenters = [each for each in config.segmenters if each.key in sent.ledger.segmenters]
    table, problems = measure(
        predictions,
        {},
        work / "parts",
        pool=SegmenterPool(segmenters, dataset.fingerprint, protocols) if segmenters else None,
        workers=config.workers,
        quiet=config.quiet,
    )
    findings.errors.extend(problems)
    provenance = {
        "fingerprint": dataset.fingerprint,
        "protocols": {protocol.name: protocol.signature("all") for protocol in protocols},
        "segmenters": {segmenter.key: segmenter.facts for segmenter in segmenters},
    }
    return Ledger(table.to_pandas(ignore_metadata=True), provenance)


def _verify(
    sent: SentEntry, dataset: Dataset, config: CheckConfig, work: Path, findings: Findings
) -> Own | None:
    """Evaluate the predictions as if they were the board's own."""
    record = sent.ledger.provenance
    done = collect_errors(
        findings.errors,
        evaluate,
        sent.folder / PREDICTIONS,
        work / "results",
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
        return None
    own, out, _ = done
    scenes = own.provenance["scenes"]
    if scenes != record["scenes"]:
        findings.refuse([f"measured again, expected {scenes} scenes, got {record['scenes']}"])
    line = f"all {scenes} scenes were measured again from the predictions"
    _compare_measured(sent.ledger, own, line, findings, whole=True)
    samples = (out / SAMPLES).read_bytes() if (out / SAMPLES).exists() else b""
    return own, public_run(read_json(out / RUN, LARGEST_RECORD)), samples
