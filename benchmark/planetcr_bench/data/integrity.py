"""Check that a dataset is complete and sound and that its splits do not overlap."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product as pairs
from pathlib import Path
from typing import Any, Final

import numpy as np

from planetcr_bench.constants import (
    COVER_BINS,
    LAND_COVER_NAMES,
    OPTICAL_RESOLUTION_M,
    OPTICAL_SIZE,
    SAR_RESOLUTION_M,
    SEASONS,
    cover_bin,
)
from planetcr_bench.data.fingerprint import dataset_fingerprint, split_fingerprint
from planetcr_bench.data.layout import find_files, find_splits, shortfall
from planetcr_bench.data.misplaced import misnamed, no_scenes
from planetcr_bench.data.pixel_checks import too_dark
from planetcr_bench.data.scene_checks import SceneState, inspect_scene
from planetcr_bench.data.tracks import read_track
from planetcr_bench.errors import DatasetError
from planetcr_bench.utils.parallel import Workers, run_ordered, track
from planetcr_bench.utils.validation import collect_errors

SHOWN: Final = 5
"""Number of files that a warning names."""


@dataclass(frozen=True, slots=True)
class SplitReport:
    """What one split holds.

    Attributes:
        scenes: Scenes of which any file was found.
        complete_scenes: Scenes whose five files all passed.
        aois: Areas of interest.
        fingerprint: Over decoded pixels; None where a file could not be decoded.
        seasons: Season to scenes.
        land_cover: Class, or unknown, to pixels at 3 m.
        cloud_cover: Bin of Fig. 5 to scenes.
    """

    scenes: int
    complete_scenes: int
    aois: int
    fingerprint: str | None
    seasons: dict[str, int]
    land_cover: dict[str, int]
    cloud_cover: dict[str, int]


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """Result of :func:`check_dataset`.

    Attributes:
        data: Folder that was checked.
        track: Track of results on it; None where ``dataset.toml`` is broken.
        fingerprint: Of all splits together; None where anything could not be decoded.
        problems: What makes the dataset unusable, one line each, naming the file.
        warnings: What a user should know, but is not a reason for refusal.
        splits: Name of a split to its report.
    """

    data: str
    track: str | None
    fingerprint: str | None
    problems: list[str]
    warnings: list[str]
    splits: dict[str, SplitReport]

    @property
    def ok(self) -> bool:
        """Whether nothing is broken."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        values = asdict(self)
        return {"data": values.pop("data"), "track": values.pop("track"), "ok": self.ok, **values}


def check_dataset(
    data: Path, *, workers: Workers = None, batch: int = 16, quiet: bool = False
) -> DatasetReport:
    """Decode every file of a dataset and report its contents and errors.

    Args:
        data: Folder that holds ``train/`` and ``test/``.
        workers: See ``Workers``.
        batch: Scenes sent to a worker at a time.
        quiet: Show no progress.

    Raises:
        DatasetError: The folder holds no split at all.
    """
    problems: list[str] = []
    renamed: set[str] = set()
    warnings: list[tuple[str, str]] = []
    states: dict[str, list[SceneState]] = {}
    for split in find_splits(data):
        scenes, strays = find_files(data, split)
        renames = misnamed(data / split, strays)
        problems += renames.lines
        problems += [
            f"{path}: expected nothing here by the official layout" for path in renames.strays
        ]
        renamed |= renames.missing
        if not scenes and not renames.lines:
            problems.append(no_scenes(data, split))
        problems += _unfinished(data, split, len(scenes))
        inspected = run_ordered(
            inspect_scene, sorted(scenes), workers=workers, folders=[data], batch=batch
        )
        inspected = track(inspected, f"Check {split}", len(scenes), quiet=quiet)
        states[split] = list(inspected)
        problems += [f"{data / split}: {fault}" for fault in _split_faults(states[split])]
    everything = [state for split in states.values() for state in split]
    lines = [line for state in everything for line in state.problems]
    problems += [line for line in lines if line not in renamed]
    problems += _in_two_splits(states)
    warnings += [warning for state in everything for warning in state.warnings]
    warnings += _overlaps(states) + _inverted_masks(states)
    splits = {split: _split_report(state) for split, state in states.items()}
    fingerprints = {split: report.fingerprint or "" for split, report in splits.items()}
    return DatasetReport(
        data=str(data),
        track=collect_errors(problems, read_track, data),
        fingerprint=dataset_fingerprint(fingerprints) if all(fingerprints.values()) else None,
        problems=problems,
        warnings=_summarised(warnings),
        splits=splits,
    )


def _unfinished(data: Path, split: str, count: int) -> list[str]:
    try:
        line = shortfall(data, split, count)
    except DatasetError:
        return []  # reported once, with the track
    return [line] if line else []


def _split_report(states: Sequence[SceneState]) -> SplitReport:
    seasons = Counter(state.files.season for state in states)
    bins = Counter(cover_bin(s.cloud_cover) for s in states if s.cloud_cover is not None)
    known = [state.land_cover for state in states if state.land_cover is not None]
    pixels = np.sum(known, axis=0, dtype=int) if known else np.zeros(len(LAND_COVER_NAMES), int)
    digests = [(state.files.name, state.digest) for state in states if state.digest is not None]
    decoded = bool(states) and len(digests) == len(states)
    return SplitReport(
        scenes=len(states),
        complete_scenes=sum(not state.problems for state in states),
        aois=len({state.files.aoi for state in states}),
        fingerprint=split_fingerprint(digests) if decoded else None,
        seasons={season: seasons[season] for season in dict.fromkeys((*SEASONS, *sorted(seasons)))},
        land_cover=dict(zip(LAND_COVER_NAMES, pixels.tolist(), strict=True)),
        cloud_cover={name: bins[name] for name in COVER_BINS},
    )


def _split_faults(states: Sequence[SceneState]) -> list[str]:
    """Report what can only be decided from all scenes of a split."""
    faults = [too_dark([state.largest for state in states if state.largest is not None])]
    inverted = [state.inverted for state in states if state.inverted is not None]
    if sum(inverted) > len(inverted) / 2:
        faults.append(
            "expected cloud masks that are True for cloud, got masks that look inverted, bright "
            f"where clear and dark where cloudy, in {sum(inverted)} of {len(inverted)} scenes"
        )
    return [fault for fault in faults if fault]


def _inverted_masks(states: Mapping[str, Sequence[SceneState]]) -> list[tuple[str, str]]:
    kind = "cloud masks that look inverted: bright where clear, dark where cloudy"
    return [
        (kind, str(state.files.path("cloudmask")))
        for split_states in states.values()
        for state in split_states
        if state.inverted
    ]


def _in_two_splits(states: Mapping[str, Sequence[SceneState]]) -> list[str]:
    """Report scenes and AOIs that occur in more than one split: test data in training data."""
    scenes: dict[str, dict[str, Path]] = defaultdict(dict)
    aois: dict[str, dict[str, Path]] = defaultdict(dict)
    for split, split_states in states.items():
        for state in split_states:
            path = state.files.path("planet_cloudfree")
            scenes[state.files.name].setdefault(split, path)
            aois[state.files.aoi].setdefault(split, path.parent)
    lines = []
    for what, groups in (("scene name", scenes), ("AOI", aois)):
        for name, by_split in groups.items():
            if len(by_split) > 1:
                *others, last = by_split.values()
                lines.append(
                    f"{last}: expected the {what} {name} in one split, got it also in "
                    f"{', '.join(map(str, others))}"
                )
    return lines


def _overlaps(states: Mapping[str, Sequence[SceneState]]) -> list[tuple[str, str]]:
    """Find patches of different splits that overlap, through a grid of patch-sized cells."""
    cells: dict[tuple[str, int, int], list[tuple[str, SceneState]]] = defaultdict(list)
    lines: dict[tuple[str, str], None] = {}
    for split, split_states in states.items():
        for state in split_states:
            for cell in _cells(state):
                for other_split, other in cells[cell]:
                    if other_split != split and _share_ground(state, other):
                        pair = f"{split}/{state.files.aoi} and {other_split}/{other.files.aoi}"
                        lines[("AOIs of two splits that overlap on the ground", pair)] = None
                cells[cell].append((split, state))
    return list(lines)


def _cells(state: SceneState) -> Iterable[tuple[str, int, int]]:
    if state.bounds is None:
        return []
    crs, left, bottom, right, top = state.bounds
    side = OPTICAL_SIZE * OPTICAL_RESOLUTION_M
    columns = range(int(left // side), int(right // side) + 1)
    rows = range(int(bottom // side), int(top // side) + 1)
    return ((crs, column, row) for column, row in pairs(columns, rows))


def _share_ground(a: SceneState, b: SceneState) -> bool:
    if a.bounds is None or b.bounds is None:
        return False
    _, left, bottom, right, top = a.bounds
    _, other_left, other_bottom, other_right, other_top = b.bounds
    width = min(right, other_right) - max(left, other_left)
    height = min(top, other_top) - max(bottom, other_bottom)
    return min(width, height) > SAR_RESOLUTION_M


def _summarised(warnings: Iterable[tuple[str, str]]) -> list[str]:
    """Summarise warnings: one line per kind with the number of files and the first of them."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for kind, where in warnings:
        by_kind[kind].append(where)
    lines = []
    for kind, files in by_kind.items():
        more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
        lines.append(f"{kind} ({len(files)}): {', '.join(files[:SHOWN])}{more}")
    return lines
