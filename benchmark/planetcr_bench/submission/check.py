"""Check an entry that was sent: what can be believed of it, or every reason why it is refused.

Where the board has the dataset, the entry is compared with what the board measures itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from planetcr_bench.api import evaluate
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.data.encodings import OPTICAL
from planetcr_bench.data.masks import OtherMasks
from planetcr_bench.data.reading import read_rasters
from planetcr_bench.data.scene import reflectance
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.data.variants import catalogue
from planetcr_bench.errors import DatasetError, SubmissionError
from planetcr_bench.evaluation.inputs import Dataset, find_dataset, imagery_of
from planetcr_bench.evaluation.loading import first_date
from planetcr_bench.evaluation.segmenters import Segmenter
from planetcr_bench.leaderboard.card import EntryCard
from planetcr_bench.leaderboard.entries import Entry, Status, read_entries
from planetcr_bench.leaderboard.ledgers import LARGEST_RECORD
from planetcr_bench.predictions.card import Card, read_card, write_card
from planetcr_bench.predictions.format import dtype_of, write_prediction
from planetcr_bench.results.compact import CompactLedger
from planetcr_bench.results.files import LEDGER, RUN, SAMPLES
from planetcr_bench.results.imagery import Imagery, masks_words, same_masks
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.submission.archive import DESCRIPTION, PREDICTIONS, open_entry
from planetcr_bench.submission.comparison import (
    differences,
    digests_of,
    same_dataset,
    shared_segmenters,
)
from planetcr_bench.submission.entry import SentEntry, read_entry
from planetcr_bench.submission.record import public_run
from planetcr_bench.utils.untrusted import printable, read_json
from planetcr_bench.utils.validation import collect_errors, shown

SAMPLE: Final = 32
"""Scenes that are measured again by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """What the receiving side compares an entry with.

    Attributes:
        data: Dataset; without one, nothing is measured again.
        described: Name or file of its description; see ``find_dataset``.
        scene_list: Authors' CSV list to take the scenes from.
        masks: From elsewhere, in place of the dataset's own; an entry says what its masks were.
        results: Folder of results that are believed; the entry's input must be theirs.
        replace_old: The run of its name and track will be replaced, and is not compared with it.
        sample: Scenes to measure again; None for all, which verifies an entry with predictions.
        seed: Of the choice; the sender must not know it before.
        segmenters: To run again on the measured scenes.
        workers: See ``worker_count``.
        command: Written into the ``run.json`` of a verified entry.
        quiet: Show no progress.
    """

    data: Path | None = None
    described: str | Path | None = None
    scene_list: Path | None = None
    masks: OtherMasks | None = None
    results: Path | None = None
    replace_old: bool = False
    sample: int | None = SAMPLE
    seed: int = 0
    segmenters: Sequence[Segmenter] = ()
    workers: int | None = None
    command: Sequence[str] = ()
    quiet: bool = False

    def measures_all(self, sent: SentEntry) -> bool:
        """Whether all predictions are measured again: nothing overrules what that gives."""
        return self.data is not None and self.sample is None and bool(sent.files)


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
    measured = None
    if sent is not None:
        findings.refuse(_description_errors(sent.ledger))
        _compare_with_board(sent, config, findings)
        measured = _compare_with_dataset(sent, config, work, findings)
    if sent is None or findings.errors:
        lines = [line.replace(f"{folder}/", "").replace(f"{work}/", "") for line in findings.errors]
        raise SubmissionError(
            f"{path}: expected an entry without errors, got {len(lines)}", list(map(_short, lines))
        )
    images = f"predictions of {len(sent.files)} scenes" if sent.files else "no predictions"
    first = f"card, record and ledger are sound and agree; {images} were sent"
    ledger, run, samples = sent.ledger, sent.run, b""
    status: Status = "claimed"
    if measured is not None and config.measures_all(sent):
        ledger, out = measured
        run, status = read_json(out / RUN, LARGEST_RECORD), "verified"
        samples = (out / SAMPLES).read_bytes() if (out / SAMPLES).exists() else b""
    return CheckResult(
        card=sent.card,
        ledger=ledger,
        run=public_run(run),
        status=status,
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
    entries = _known_entries(results, ledger, config, findings)
    if config.data is None:  # else the dataset itself says whether the entry is of it
        findings.refuse(_track_errors(entries, ledger, results))
    entries = _with_scenes(entries, results, findings)
    digests, witnesses = digests_of(ledger), []
    for entry in entries:
        verified, where = entry.status == "verified", results / entry.folder
        same = {scene for scene, _ in digests.items() & digests_of(entry.ledger).items()}
        if same:
            line = f"{len(same)} of its {len(digests)} predictions are those of {where}"
            findings.checked.append(f"{line}, verified" if verified else line)
        if not same_dataset(entry.ledger, ledger) or not same_masks(
            entry.ledger.imagery, ledger.imagery
        ):
            continue
        if verified and same and not config.measures_all(sent):
            # with another scale, the images must be sent, and all be measured again
            part = replace(ledger, frame=ledger.frame[ledger.frame["scene"].isin(same)])
            what = f"{where}, verified, of the same images (--sample all overrules it)"
            findings.refuse(differences(part, entry.ledger, whole=True), f"differs from {what}: ")
        if verified or entry.name != ledger.name or len(same) < len(digests):
            witnesses.append(entry)  # any but what was sent before, and may have been wrong
    if witnesses:
        witness = max(witnesses, key=lambda entry: entry.status == "verified")
        _compare_input(ledger, witness.ledger, results / witness.folder, findings)
    elif entries:  # a folder that a killed command began has none
        line = f"its input was not compared: no other run in {results} is on its dataset"
        findings.checked.append(line)


def _known_entries(
    results: Path, ledger: Ledger, config: CheckConfig, findings: Findings
) -> list[Entry]:
    """Runs of the board, but for the one that will be replaced."""
    entries, problems = read_entries(results)
    findings.checked.extend(f"not compared with a run of the board: {line}" for line in problems)
    if not config.replace_old:
        return entries
    replaced = (ledger.provenance["track"], ledger.name)
    return [entry for entry in entries if (entry.run["track"], entry.name) != replaced]


def _with_scenes(entries: Sequence[Entry], results: Path, findings: Findings) -> list[Entry]:
    """Runs whose scenes can be compared, which those of compact ledgers cannot."""
    compact = [entry for entry in entries if isinstance(entry.ledger, CompactLedger)]
    findings.checked.extend(
        f"not compared with {results / entry.folder}, which is compact: needs its ledger of scenes"
        for entry in compact
    )
    return [entry for entry in entries if not isinstance(entry.ledger, CompactLedger)]


def _track_errors(entries: Sequence[Entry], ledger: Ledger, results: Path) -> list[str]:
    """A line if a track has verified runs, and none of them is on a ledger's dataset."""
    record = ledger.provenance
    known = [
        entry
        for entry in entries
        if entry.status == "verified" and entry.run["track"] == record["track"]
    ]
    if not known or any(same_dataset(entry.ledger, ledger) for entry in known):
        return []
    expected, got = known[0].run["fingerprint"][:12], record["fingerprint"][:12]
    where = f"{results / known[0].folder}, verified"
    remedy = "if the track has both datasets, give the entry's with --data"
    return [f"fingerprint: expected {expected}… of {where}, got {got}…; {remedy}"]


def _compare_input(ledger: Ledger, known: Ledger, where: Path, findings: Findings) -> None:
    """What follows from the dataset alone must be as in another run on it."""
    wrong = differences(ledger, known, whole=False)
    surplus = sorted(digests_of(ledger).keys() - digests_of(known).keys())
    if surplus and known.provenance["complete"]:
        wrong.append(f"{len(surplus)} scenes are not in it, first {surplus[0]}")
    findings.refuse(wrong, f"differs from {where}, a run on the same dataset: ")
    findings.checked.append(f"its input was compared with {where}")


# --- With the dataset -------------------------------------------------------------------------


def _compare_with_dataset(
    sent: SentEntry, config: CheckConfig, work: Path, findings: Findings
) -> tuple[Ledger, Path] | None:
    """Measure again what can be measured; return that ledger and its folder."""
    if config.data is None:
        findings.checked.append("it was not compared with the dataset; give that with --data")
        return None
    dataset = _dataset_of(sent, config)
    if wrong := _dataset_errors(sent.ledger, dataset):
        findings.refuse(wrong)
        return None
    digests = digests_of(sent.ledger)
    scenes = [files for files in sorted(dataset.scenes) if files.name in digests]
    which = f"all {len(scenes)} scenes"
    if config.sample is not None and config.sample < len(scenes):
        drawn = np.random.default_rng(config.seed).choice(len(scenes), config.sample, replace=False)
        scenes = [scenes[index] for index in drawn]
        which = f"{len(scenes)} scenes, drawn with seed {config.seed},"
    if not scenes:
        findings.checked.append("it is of the dataset; nothing was measured again")
        return None
    measured = collect_errors(findings.errors, _measure, sent, dataset, scenes, config, work)
    if measured is None:
        return None
    own, _ = measured
    wrong = differences(sent.ledger, own, whole=bool(sent.files))
    findings.refuse(wrong, "measured again, ")
    how = "compared with the dataset's input"
    if sent.files:
        how = "measured again from the predictions"
    findings.checked.append(f"{which} were {how}")
    shared = shared_segmenters(sent.ledger, own)
    findings.checked.extend(
        f"segmenter {facts['name']} was not run again; give it with --segmenter"
        for key, facts in sent.ledger.provenance["segmenters"].items()
        if key not in shared
    )
    return measured


def _dataset_of(sent: SentEntry, config: CheckConfig) -> Dataset:
    """The dataset to compare an entry with.

    Raises:
        DatasetError: It is not found or broken.
    """
    try:
        return find_dataset(
            sent.folder,
            Card(),
            data=config.data,
            split=sent.ledger.provenance["split"],
            scene_list=config.scene_list,
            dataset=config.described,
            masks=config.masks,
            workers=config.workers,
            quiet=config.quiet,
        )
    except DatasetError as error:
        if config.described is not None or not (sent.folder / DESCRIPTION).is_file():
            raise
        raise DatasetError(
            f"{error.message}; the entry has a {DESCRIPTION}: read it, and if it is of this "
            f"dataset, give it with --dataset",
            error.problems,
        ) from error


def _dataset_errors(ledger: Ledger, dataset: Dataset) -> list[str]:
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
        f"{key}: expected {shown(value)} by the dataset, got {shown(record[key])}"
        for key, value in expected.items()
        if record[key] != value
    ]
    errors += _imagery_errors(ledger, dataset.imagery, "the dataset")
    if not same_masks(ledger.imagery, dataset.imagery):
        ours, got = masks_words(dataset.imagery), masks_words(ledger.imagery)
        errors.append(f"masks: expected {ours}, got {got}; give those of the entry with --masks")
    surplus = sorted(digests_of(ledger).keys() - {files.name for files in dataset.scenes})
    if surplus:
        errors.append(f"{len(surplus)} scenes are not in the dataset, first {surplus[0]}")
    return errors


def _description_errors(ledger: Ledger) -> list[str]:
    """Where the record of a ledger is not of the dataset of the catalogue that has its track."""
    record = ledger.provenance
    track = record["track"].removesuffix(f"-{record['split']}")
    described = (load_description(name) for name in catalogue())
    known = next((each for each in described if each.track == track), None)
    return _imagery_errors(ledger, imagery_of(known), f"{track} of the catalogue") if known else []


def _imagery_errors(ledger: Ledger, expected: Imagery, by: str) -> list[str]:
    """A line if the images of a ledger are described otherwise."""
    pairs = [
        (field.name, getattr(expected, field.name), getattr(ledger.imagery, field.name))
        for field in fields(Imagery)
        if not field.name.startswith("masks")
    ]
    wrong = [f"{key} {shown(ours)}, got {shown(got)}" for key, ours, got in pairs if ours != got]
    return [f"expected the description of {by}: {'; '.join(wrong)}"] if wrong else []


def _write_input(path: Path, scene: SceneFiles) -> None:
    """Write the cloudy image as a prediction: what follows from the dataset is compared alone."""
    rasters = read_rasters(scene, OPTICAL)
    stored = first_date(rasters["cloudy"].pixels)
    image = reflectance(stored, scene.description.optical.scaling)
    write_prediction(path, image, rasters["clear"], dtype=dtype_of(scene.description))


def _measure(
    sent: SentEntry,
    dataset: Dataset,
    scenes: Sequence[SceneFiles],
    config: CheckConfig,
    work: Path,
) -> tuple[Ledger, Path]:
    """Evaluate predictions as if they were the board's own; without them, the cloudy images.

    Raises:
        BenchError: Lists the predictions that cannot be scored.
    """
    folder = work / PREDICTIONS
    folder.mkdir()
    for scene in scenes:
        if sent.files:
            image = sent.files[scene.name]
            (folder / f"{scene.name}{image.suffix}").symlink_to(image.resolve())
        else:
            _write_input(folder / f"{scene.name}.tif", scene)
    if sent.files:
        write_card(folder, read_card(sent.folder / PREDICTIONS))
    others = len(dataset.scenes) - len(scenes)
    ledger, out, problems = evaluate(
        folder,
        work / "results",
        data=dataset.folder,
        dataset=config.described,
        split=dataset.split,
        scene_list=config.scene_list,
        masks=None if config.masks is None else config.masks.folder,
        mask_rule=None if config.masks is None else config.masks.rule or None,
        name=sent.ledger.name,
        workers=config.workers,
        allow_missing=others > 0,
        segmenters=config.segmenters,
        command=config.command,
        tables=False,
        quiet=config.quiet,
    )
    if len(problems) > others:  # the first ones say that the other scenes have no prediction
        raise SubmissionError(f"{folder}: expected predictions to score", problems[others:])
    return ledger, out
