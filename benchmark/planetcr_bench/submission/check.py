"""Check an entry that was sent: what can be believed of it, or every reason why it is refused.

Where the board has the dataset, the entry is compared with what the board measures itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from planetcr_bench.leaderboard.entries import RUN, Status, read_entries
from planetcr_bench.leaderboard.ledgers import LARGEST_RECORD
from planetcr_bench.predictions.format import Card, Predictions
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.submission.archive import open_entry
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
    own = None
    if sent.ledger is not None:
        _compare_with_board(sent, sent.ledger, config)
        own = _compare_with_dataset(sent, sent.ledger, config, work)
    if sent.errors or sent.card is None or sent.ledger is None or sent.run is None:
        lines = [_short(line.replace(f"{folder}/", "")) for line in sent.errors]
        raise SubmissionError(f"{path}: expected an entry that can be believed, refused", lines)
    images = f"predictions of {len(sent.files)} scenes" if sent.files else "no predictions"
    first = f"card, record, ledger and manifest are sound and agree; {images} were sent"
    ledger, run, samples = own or (sent.ledger, public_run(sent.run), b"")
    return CheckResult(
        card=sent.card,
        ledger=ledger,
        run=run,
        status="claimed" if own is None else "verified",
        checked=[first, *sent.checked],
        samples=samples,
    )


def _short(line: str) -> str:
    shown = printable(line)
    return shown if len(shown) <= 1000 else f"{shown[:1000]}…"


# --- With runs that are believed --------------------------------------------------------------


def _compare_with_board(sent: SentEntry, ledger: Ledger, config: CheckConfig) -> None:
    """Compare with other runs what follows from the dataset, and sums of the same images."""
    results = config.results
    entries, _ = ([], []) if results is None else read_entries(results)
    if results is None or not entries:
        return  # a folder that a killed command began is none
    digests, known = digests_of(ledger), []
    for entry in entries:
        verified, where = entry.status == "verified", results / entry.folder
        same = {scene for scene, _ in digests.items() & digests_of(entry.ledger).items()}
        if same:
            line = f"{len(same)} of its {len(digests)} predictions are those of {where}"
            sent.checked.append(f"{line}, verified" if verified else line)
        if entry.name == ledger.name and len(same) == len(digests) and not verified:
            continue  # what was sent before, and may have been wrong
        if same_dataset(entry.ledger.provenance, ledger.provenance):
            known.append(entry)
            if same and verified and not config.measures_all(sent):
                _compare_images(sent, ledger, entry.ledger, same, where)
    if not known:
        line = f"its input was not compared: no other run in {results} is on its dataset"
        sent.checked.append(line)
        return
    reference = max(known, key=lambda entry: entry.status == "verified")
    _compare_input(sent, ledger, reference.ledger, results / reference.folder)


def _compare_images(
    sent: SentEntry, ledger: Ledger, known: Ledger, scenes: set[str], where: Path
) -> None:
    """Of images that the board has measured itself, all sums must be the same.

    Their scale may be another one: then the images must be sent, and all be measured again.
    """
    part = replace(ledger, frame=ledger.frame[ledger.frame["scene"].isin(scenes)])
    what = f"{where}, verified, of the same images (--sample all overrules it)"
    sent.refuse(differences(part, known, whole=True), f"differs from {what}: ")


def _compare_input(sent: SentEntry, ledger: Ledger, known: Ledger, where: Path) -> None:
    """What follows from the dataset alone must be as in another run on it."""
    wrong = differences(ledger, known, whole=False)
    surplus = sorted(digests_of(ledger).keys() - digests_of(known).keys())
    if surplus and known.provenance["complete"]:
        wrong.append(f"{len(surplus)} scenes are not in it, first {surplus[0]}")
    sent.refuse(wrong, f"differs from {where}, a run on the same dataset: ")
    sent.checked.append(f"its input was compared with {where}")


# --- With the dataset -------------------------------------------------------------------------

Own = tuple[Ledger, dict[str, Any], bytes]
"""Ledger, ``run.json`` and sample pictures that the board has made of an entry itself."""


def _compare_with_dataset(
    sent: SentEntry, ledger: Ledger, config: CheckConfig, work: Path
) -> Own | None:
    """Measure again what can be measured; return that if it is all."""
    if config.data is None:
        sent.checked.append("it was not compared with the dataset; give that with --data")
        return None
    dataset = find_dataset(
        sent.folder,
        Card(),
        data=config.data,
        split=ledger.provenance["split"],
        scene_list=config.scene_list,
        workers=config.workers,
        quiet=config.quiet,
    )
    by_name = {files.name: files for files in dataset.scenes}
    if wrong := _dataset_errors(ledger, dataset, by_name):
        sent.refuse(wrong)
        return None
    if sent.predictions is not None and config.measures_all(sent):
        return _verify(sent, ledger, sent.predictions.folder, dataset, config, work)
    scenes = sorted(by_name[name] for name in digests_of(ledger))
    count = len(scenes) if config.sample is None else min(config.sample, len(scenes))
    drawn = np.random.default_rng(config.seed).choice(len(scenes), count, replace=False)
    if count:
        _measure_again(sent, ledger, dataset, [scenes[index] for index in drawn], config, work)
    else:
        sent.checked.append("it is of the dataset; nothing was measured again")
    return None


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


def _measure_again(
    sent: SentEntry,
    ledger: Ledger,
    dataset: Dataset,
    chosen: Sequence[SceneFiles],
    config: CheckConfig,
    work: Path,
) -> None:
    """Measure some scenes from the predictions; without them, what follows from the input alone."""
    if sent.predictions is not None:
        files = {scene: sent.files[scene.name] for scene in chosen}
        predictions = replace(sent.predictions, files=files)
    else:
        files = {scene: scene.path("planet_cloudy") for scene in chosen}
        predictions = Predictions(dataset.folder, Card(), files, OPTICAL_SIZE)
    protocols = protocols_of(predictions.size)
    segmenters = [one for one in config.segmenters if one.key in ledger.segmenters]
    table, problems = measure(
        predictions,
        {},
        work / "parts",
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
    whole = sent.predictions is not None
    sent.errors += problems
    sent.refuse(differences(ledger, own, whole=whole), "measured again, ")
    what = "measured again from the predictions" if whole else "compared with the dataset's input"
    sent.checked.append(f"{len(chosen)} scenes, drawn with seed {config.seed}, were {what}")
    sent.checked += _unread(ledger, own)


def _verify(
    sent: SentEntry,
    ledger: Ledger,
    predictions: Path,
    dataset: Dataset,
    config: CheckConfig,
    work: Path,
) -> Own | None:
    """Evaluate the predictions as if they were the board's own."""
    record = ledger.provenance
    done = collect_errors(
        sent.errors,
        evaluate,
        predictions,
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
    wrong = differences(ledger, own, whole=True)
    if scenes != record["scenes"]:
        wrong.append(f"expected {scenes} scenes, got {record['scenes']}")
    sent.refuse(wrong, "measured again, ")
    sent.checked.append(f"all {scenes} scenes were measured again from the predictions")
    sent.checked += _unread(ledger, own)
    samples = (out / SAMPLES).read_bytes() if (out / SAMPLES).exists() else b""
    return own, public_run(read_json(out / RUN, LARGEST_RECORD)), samples


def _unread(ledger: Ledger, own: Ledger) -> list[str]:
    """A line for each segmenter whose counts were not measured again."""
    shared = shared_segmenters(ledger, own)
    return [
        f"segmenter {facts['name']} was not run again; give it with --segmenter"
        for key, facts in ledger.provenance["segmenters"].items()
        if key not in shared
    ]
