"""Measure all predictions of a folder, scene by scene, and resume where a run was interrupted.

Measured scenes are kept in small files beside the results until all are done, so that a run that
was killed continues where it stopped and ends with the same ledger.
"""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from planetcr_bench.constants import OPTICAL_BANDS
from planetcr_bench.errors import PredictionError
from planetcr_bench.evaluation.loading import Job, ScenePixels, read_pixels
from planetcr_bench.evaluation.segmenters import SegmenterPool
from planetcr_bench.metrics import kernels
from planetcr_bench.metrics.further import measure_further
from planetcr_bench.metrics.protocols import PROTOCOLS, Protocol
from planetcr_bench.metrics.sums import SceneSums
from planetcr_bench.predictions.card import Card
from planetcr_bench.predictions.folder import Predictions
from planetcr_bench.predictions.units import expect_units
from planetcr_bench.results.ledger import ledger_table
from planetcr_bench.results.schema import schema_of
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.parallel import Workers, run_ordered, track

FLUSH_SECONDS: Final = 2.0
"""Longest time for which measured scenes live in memory alone."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one job: sums, or the line that says why there are none.

    Attributes:
        job: The scene and its prediction.
        state: ``Job.state`` when it was read.
        result: Sums, or a problem of the prediction in one line.
        pixels: Of the scene, if segmenters need them.
    """

    job: Job
    state: str
    result: SceneSums | str
    pixels: ScenePixels | None = None


def protocols_of(size: int, names: Collection[str], *, whole: int | None) -> list[Protocol]:
    """Protocols that predictions can be measured in.

    Args:
        size: The shortest side of all predictions, in pixels.
        names: Protocols that apply to the dataset.
        whole: Shortest side of whole images, of which smaller predictions are the centre; None if
            images differ: then all predictions are whole.
    """
    return [
        protocol
        for name, protocol in PROTOCOLS.items()
        if name in names and (size >= protocol.window if protocol.window else whole in (None, size))
    ]


def measure_scene(pixels: ScenePixels, protocols: Sequence[Protocol]) -> SceneSums:
    """Sums of one scene under each protocol."""
    sums, floor, further = {}, {}, {}
    for protocol in protocols:
        name = protocol.name
        arrays = (pixels.images, pixels.clear, pixels.group)
        sums[name] = kernels.measure(*arrays, protocol, pixels.bands)
        floor[name] = kernels.measure_floor(pixels.clear, pixels.group, protocol)
        further[name] = measure_further(*arrays, protocol, pixels.bands)
    return SceneSums(pixels.identity, sums, floor=floor, further=further, bands=pixels.bands)


def _read(card: Card, job: Job) -> ScenePixels | str:
    """Pixels of a scene, or why its prediction cannot be scored."""
    try:
        return read_pixels(job, card)
    except PredictionError as error:
        return error.message


def _problem(card: Card, job: Job) -> str:
    """Why a prediction cannot be scored; empty if it can."""
    pixels = _read(card, job)
    return pixels if isinstance(pixels, str) else ""


def pixel_problems(
    predictions: Predictions,
    *,
    workers: Workers = None,
    batch: int = 16,
    quiet: bool = False,
) -> list[str]:
    """Decode predictions whose headers passed, without measuring them.

    Args:
        predictions: From ``find_predictions``.
        workers: See ``Workers``.
        batch: Scenes sent to a worker at a time.
        quiet: Show no progress.

    Returns:
        One line for each prediction that cannot be scored.

    Raises:
        DatasetError: A scene of the dataset is broken.
        BenchError: A worker died.
    """
    jobs = [Job(files, path) for files, path in sorted(predictions.files.items())]
    work = functools.partial(_problem, predictions.card)
    lines = run_ordered(work, jobs, workers=workers, folders=_folders(jobs), batch=batch)
    return [line for line in track(lines, "Look for problems", len(jobs), quiet=quiet) if line]


def _folders(jobs: Sequence[Job]) -> set[Path]:
    """Folders that whoever does the jobs must see."""
    return {folder for job in jobs for folder in job.folders}


def _measure_job(card: Card, protocols: Sequence[Protocol], keep: bool, job: Job) -> Outcome:
    """Measure one scene, and keep its pixels if segmenters need them."""
    state, pixels = job.state(), _read(card, job)
    if isinstance(pixels, str):
        return Outcome(job, state, pixels)
    return Outcome(job, state, measure_scene(pixels, protocols), pixels if keep else None)


def _with_segmenters(
    outcomes: Iterator[Outcome], pool: SegmenterPool, batch: int
) -> Iterator[Outcome]:
    while group := list(islice(outcomes, batch)):
        seen = iter(pool.count([outcome.pixels for outcome in group if outcome.pixels is not None]))
        for outcome in group:
            if isinstance(outcome.result, str):
                yield outcome
            else:
                result = replace(outcome.result, segmented=next(seen))
                yield replace(outcome, result=result, pixels=None)


def measure_scenes(
    predictions: Predictions,
    identity: Mapping[str, object],
    partial_folder: Path,
    *,
    protocols: Sequence[Protocol],
    bands: Sequence[str],
    optical_thickness: Path | None = None,
    pool: SegmenterPool | None = None,
    workers: Workers = None,
    batch: int = 16,
    quiet: bool = False,
) -> tuple[pa.Table, list[str]]:
    """Measure every usable prediction of a folder.

    Args:
        predictions: From ``find_predictions``.
        identity: All settings that change a number, and nothing else; what an earlier run left
            under another identity is deleted.
        partial_folder: Where measured scenes are kept until the caller has published them.
        protocols: Of the dataset, that all predictions are large enough for.
        bands: Names of the bands of the dataset.
        optical_thickness: Folder of the hidden truth of simulated scenes.
        pool: Segmenters to run on the predictions, in this process.
        workers: See ``Workers``.
        batch: Scenes sent to a worker, or shown to a segmenter, at a time.
        quiet: Show no progress.

    Returns:
        Ledger rows, sorted by scene whatever the order of measuring; and one line for each
        prediction that turned out unusable.

    Raises:
        DatasetError: A scene of the dataset is broken.
        PredictionError: All predictions are in a wrong unit.
        BenchError: A worker died.
    """
    expect_units(predictions)
    parts = ResumeStore(partial_folder, identity, pool.keys if pool else (), bands)
    jobs = {
        files: Job(files, path, optical_thickness)
        for files, path in sorted(predictions.files.items())
    }
    done = parts.load({files.name: job.state() for files, job in jobs.items()})
    waiting = [job for files, job in jobs.items() if files.name not in done]
    work = functools.partial(_measure_job, predictions.card, protocols, pool is not None)
    outcomes = run_ordered(work, waiting, workers=workers, folders=_folders(waiting), batch=batch)
    if pool is not None:
        outcomes = _with_segmenters(outcomes, pool, batch)
    problems = []
    for outcome in track(outcomes, "Measure", len(jobs), done=len(done), quiet=quiet):
        if isinstance(outcome.result, str):
            problems.append(outcome.result)
        else:
            parts.add(outcome.result, outcome.state)
    return parts.finish([files.name for files in jobs]), problems


_STAMP: Final = "identity.json"


def holds_other_scenes(folder: Path, identity: Mapping[str, object]) -> bool:
    """Whether a folder keeps scenes that were measured with other settings."""
    stamp = folder / _STAMP
    text = json.dumps(identity, sort_keys=True)
    return stamp.exists() and stamp.read_text(encoding="utf-8") != text


class ResumeStore:
    """Measured scenes of an unfinished run, in small parquet files.

    Args:
        folder: Made if it is absent; parts of another identity in it are deleted.
        identity: All settings that change a number.
        segmenters: Keys of the segmenters that see the scenes.
        bands: Names of their bands.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, object],
        segmenters: Sequence[str] = (),
        bands: Sequence[str] = OPTICAL_BANDS,
    ) -> None:
        self._folder, self._segmenters = folder, segmenters
        self._schema = schema_of(segmenters, floor=True, further=True, bands=bands)
        self._fresh: list[SceneSums] = []
        self._states: list[str] = []
        self._flushed = time.monotonic()
        stamp = folder / _STAMP
        if not stamp.exists() or holds_other_scenes(folder, identity):
            self.clear()
            folder.mkdir(parents=True)
            atomic_write(stamp, json.dumps(identity, sort_keys=True).encode())
        self._tables: list[pa.Table] = []

    def load(self, states: Mapping[str, str]) -> set[str]:
        """Take over parts of an interrupted run.

        Args:
            states: Scene name to the present state of its prediction's file.

        Returns:
            Names of the scenes that need no second measurement.
        """
        done: set[str] = set()
        for path in sorted(self._folder.glob("part-*.parquet")):
            try:
                table = pq.read_table(path)
            except (OSError, pa.ArrowException):
                path.unlink()  # damaged: its scenes are measured again
                continue
            if table.column_names != [*self._schema.names, "state"]:
                path.unlink()  # of a version that measured less: the same
                continue
            scenes = table["scene"].to_pylist()
            fresh = [
                states.get(scene) == state and scene not in done
                for scene, state in zip(scenes, table["state"].to_pylist(), strict=True)
            ]
            self._tables.append(
                table.filter(pa.array(fresh, pa.bool_())).select(self._schema.names)
            )
            done.update(scene for scene, is_fresh in zip(scenes, fresh, strict=True) if is_fresh)
        return done

    def add(self, scene: SceneSums, state: str) -> None:
        """Keep one measured scene; every few seconds the new ones go to disk."""
        self._fresh.append(scene)
        self._states.append(state)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        if not self._fresh:
            return
        table = ledger_table(self._fresh, self._segmenters)
        state_of = {
            str(scene.identity["scene"]): state
            for scene, state in zip(self._fresh, self._states, strict=True)
        }
        states = pa.array([state_of[name] for name in table["scene"].to_pylist()], pa.string())
        sink = pa.BufferOutputStream()
        pq.write_table(table.append_column("state", states), sink)
        name = f"part-{time.time_ns():020d}.parquet"
        atomic_write(self._folder / name, sink.getvalue().to_pybytes())
        self._tables.append(table)
        self._fresh, self._states = [], []

    def finish(self, order: Sequence[str]) -> pa.Table:
        """All rows, scenes in the given order."""
        self._flush()
        if not self._tables:
            return self._schema.empty_table()
        table = pa.concat_tables(self._tables, promote_options="none").combine_chunks()
        rank = {name: position for position, name in enumerate(order)}
        ranks = np.array([rank[name] for name in table["scene"].to_pylist()], np.int64)
        table = table.take(np.argsort(ranks, kind="stable"))
        for index, field in enumerate(self._schema):
            if pa.types.is_dictionary(field.type):  # one dictionary, whatever the parts had
                text = table.column(index).cast(pa.string()).combine_chunks()
                table = table.set_column(index, field, text.dictionary_encode())
        return table

    def clear(self) -> None:
        """Delete the parts: they are published, or belong to another run."""
        if self._folder.exists():
            shutil.rmtree(self._folder)
