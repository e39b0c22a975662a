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
    PLANET_CR,
    SEASONS,
    cover_bin,
)
from planetcr_bench.data.completeness import shortfall
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import describe, load_description
from planetcr_bench.data.discovery import find_files, find_splits
from planetcr_bench.data.fingerprint import dataset_fingerprint, split_fingerprint
from planetcr_bench.data.masks import OtherMasks, with_masks
from planetcr_bench.data.metadata import METADATA
from planetcr_bench.data.misplaced import (
    absent_products,
    misnamed,
    missing_file,
    no_scenes,
    of_products,
    repeated_files,
)
from planetcr_bench.data.pixel_checks import too_dark
from planetcr_bench.data.scene_checks import SceneState, inspect_scene
from planetcr_bench.data.scene_files import CLOUD_MASK, split_folder
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
        complete_scenes: Scenes whose files all passed.
        aois: Areas of interest, or what else groups scenes.
        fingerprint: Over decoded pixels; None where a file could not be decoded.
        seasons: Season to scenes.
        land_cover: Class, or unknown, to pixels of the optical grid; empty without a map.
        cloud_cover: Bin of Fig. 5 to scenes; empty without masks.
        sizes: Height and width of images in pixels, such as ``300 × 300``, to scenes.
    """

    scenes: int
    complete_scenes: int
    aois: int
    fingerprint: str | None
    seasons: dict[str, int]
    land_cover: dict[str, int]
    cloud_cover: dict[str, int]
    sizes: dict[str, int]


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """Result of :func:`check_dataset`.

    Attributes:
        data: Folder that was checked.
        track: Track of results on it; None where ``dataset.toml`` is broken.
        fingerprint: Of all splits together; None where anything could not be decoded.
        masks: What made the cloud masks from elsewhere; None if they are the dataset's own.
        problems: What makes the dataset unusable, one line each, naming the file.
        warnings: What a user should know, but is not a reason for refusal.
        splits: Name of a split to its report.
        bands: Names of the optical bands.
        products: What each scene has.
        cluster: What groups scenes that are not independent, such as ``AOI``; empty if nothing.
    """

    data: str
    track: str | None
    fingerprint: str | None
    masks: str | None
    problems: list[str]
    warnings: list[str]
    splits: dict[str, SplitReport]
    bands: list[str]
    products: list[str]
    cluster: str

    @property
    def ok(self) -> bool:
        """Whether nothing is broken."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        values = asdict(self)
        if self.masks is None:
            del values["masks"]
        return {"data": values.pop("data"), "track": values.pop("track"), "ok": self.ok, **values}


def check_dataset(
    data: Path,
    *,
    dataset: str | Path | None = None,
    masks: OtherMasks | None = None,
    workers: Workers = None,
    batch: int = 16,
    quiet: bool = False,
) -> DatasetReport:
    """Decode every file of a dataset and report its contents and errors.

    Args:
        data: Folder that holds ``train/`` and ``test/``.
        dataset: Name or file of its description; see ``descriptions.describe``.
        masks: From elsewhere, in place of the dataset's own; fingerprints do not depend on them.
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
    description = _description(data, dataset)
    for split in find_splits(data, description):
        scenes, strays = find_files(data, split, description)
        if not scenes and description.is_optional(split):
            continue
        renames = misnamed(data, split, description, strays)
        problems += renames.lines
        absent = {} if renames.lines else absent_products(data, split, description, scenes)
        problems += absent.values()
        renamed |= {missing_file(files.path(name)) for name in absent for files in scenes}
        told = of_products(
            renames.strays, absent if scenes else description.products, data, split, description
        )
        repeated = repeated_files(renames.strays, data, split, description)
        problems += [
            repeated.get(path, f"{path}: expected nothing here by {description.layout_name}")
            for path in renames.strays
            if path not in told
        ]
        renamed |= renames.missing
        if not scenes and not renames.lines:
            problems.append(no_scenes(data, split, description))
        problems += _unfinished(data, split, len(scenes))
        inspected = run_ordered(
            inspect_scene,
            with_masks(sorted(scenes), masks, complete=False),
            workers=workers,
            folders=[data] if masks is None else [data, masks.folder],
            batch=batch,
        )
        inspected = track(inspected, f"Check {split}", len(scenes), quiet=quiet)
        states[split] = list(inspected)
        folder, scale = split_folder(data, split, description), description.optical.scale
        problems += [f"{folder}: {fault}" for fault in _split_faults(states[split], scale)]
    if not states:
        raise DatasetError(no_scenes(data, next(iter(description.splits)), description))
    everything = [state for split in states.values() for state in split]
    lines = [line for state in everything for line in state.problems]
    problems += [line for line in lines if line not in renamed]
    problems += _in_two_splits(states, description)
    warnings += [warning for state in everything for warning in state.warnings]
    warnings += _overlaps(states, description) + _repeated(states) + _inverted_masks(states)
    if description.cluster is None:
        kind = "no cluster in the description: intervals take scenes as independent, and are too "
        warnings.append((f"{kind}narrow where they are not", str(data)))
    splits = {split: _split_report(state, description) for split, state in states.items()}
    fingerprints = {split: report.fingerprint or "" for split, report in splits.items()}
    return DatasetReport(
        data=str(data),
        track=collect_errors(problems, read_track, data, dataset=dataset),
        fingerprint=dataset_fingerprint(fingerprints) if all(fingerprints.values()) else None,
        masks=None if masks is None else masks.source,
        problems=[*dict.fromkeys(problems)],  # splits by a rule share their folders
        warnings=_summarised(warnings),
        splits=splits,
        bands=description.bands,
        products=list(description.products),
        cluster=description.cluster_name if description.cluster else "",
    )


def _description(data: Path, dataset: str | Path | None) -> Description:
    """Description of a dataset; Planet-CR's if ``dataset.toml`` is broken, which is told apart."""
    if dataset is not None:
        return load_description(dataset)
    try:
        return describe(data)
    except DatasetError:
        if not (data / METADATA).exists():
            raise
        return load_description(PLANET_CR)


def _unfinished(data: Path, split: str, count: int) -> list[str]:
    problems: list[str] = []
    line = collect_errors(problems, shortfall, data, split, count)
    return [line] if line else problems


def _split_report(states: Sequence[SceneState], description: Description) -> SplitReport:
    seasons = Counter(state.files.season for state in states)
    usual = (*SEASONS, *sorted(seasons)) if "season" in description.scene_fields else ()
    has_cover = description.land_cover is not None
    has_masks = any(CLOUD_MASK in state.files.products for state in states)
    bins = Counter(cover_bin(s.cloud_cover) for s in states if s.cloud_cover is not None)
    known = [state.land_cover for state in states if state.land_cover is not None]
    pixels = np.sum(known, axis=0, dtype=int) if known else np.zeros(len(LAND_COVER_NAMES), int)
    sizes = Counter(state.size for state in states if state.size is not None)
    digests = [(state.files.name, state.digest) for state in states if state.digest is not None]
    decoded = bool(states) and len(digests) == len(states)
    return SplitReport(
        scenes=len(states),
        complete_scenes=sum(not state.problems for state in states),
        aois=len({state.files.aoi for state in states}),
        fingerprint=split_fingerprint(digests) if decoded else None,
        seasons={season: seasons[season] for season in dict.fromkeys(usual)},
        land_cover=dict(zip(LAND_COVER_NAMES, pixels.tolist(), strict=True)) if has_cover else {},
        cloud_cover={name: bins[name] for name in COVER_BINS} if has_masks else {},
        sizes={f"{height} × {width}": sizes[height, width] for height, width in sorted(sizes)},
    )


def _split_faults(states: Sequence[SceneState], scale: float) -> list[str]:
    """Report what can only be decided from all scenes of a split."""
    faults = [too_dark([state.largest for state in states if state.largest is not None], scale)]
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
        (kind, str(state.files.path("cloud_mask")))
        for split_states in states.values()
        for state in split_states
        if state.inverted
    ]


def _in_two_splits(
    states: Mapping[str, Sequence[SceneState]], description: Description
) -> list[str]:
    """Report scenes and AOIs that occur in more than one split: test data in training data."""
    scenes: dict[str, dict[str, Path]] = defaultdict(dict)
    aois: dict[str, dict[str, Path]] = defaultdict(dict)
    for split, split_states in states.items():
        for state in split_states:
            path = state.files.path("clear")
            scenes[state.files.name].setdefault(split, path)
            if description.cluster is not None:
                aois[state.files.aoi].setdefault(split, path.parent)
    lines = []
    hint = (  # without AOIs, a name is often just a number
        "" if description.cluster is not None
        else "; where that is another scene, rename it, or describe names with `{split}` in `scene`"
    )  # fmt: skip
    for what, groups in (("scene name", scenes), (description.cluster_name, aois)):
        for name, by_split in groups.items():
            if len(by_split) > 1:
                *others, last = by_split.values()
                lines.append(
                    f"{last}: expected the {what} {name} in one split, got it also in "
                    f"{', '.join(map(str, others))}{hint}"
                )
    return lines


def _overlaps(
    states: Mapping[str, Sequence[SceneState]], description: Description
) -> list[tuple[str, str]]:
    """Find patches of different splits that overlap, through a grid of patch-sized cells."""
    side, pixel = _longest_side(states), _largest_pixel(description)
    cells: dict[tuple[str, int, int], list[tuple[str, SceneState]]] = defaultdict(list)
    lines: dict[tuple[str, str], None] = {}
    for split, split_states in states.items():
        for state in split_states:
            for cell in _cells(state, side):
                for other_split, other in cells[cell]:
                    if other_split != split and _share_ground(state, other, pixel):
                        pair = f"{split}/{state.files.aoi} and {other_split}/{other.files.aoi}"
                        kind = (
                            f"{description.cluster_name}s of two splits that overlap on the ground"
                        )
                        lines[kind, pair] = None
                cells[cell].append((split, state))
    return list(lines)


def _repeated(states: Mapping[str, Sequence[SceneState]]) -> list[tuple[str, str]]:
    """Find scenes that repeat the pixels of another, of the same split or of another one."""
    first: dict[bytes, tuple[str, str]] = {}
    noted = []
    for split, split_states in states.items():
        for state in split_states:
            if state.digest is None:
                continue
            scene = split, state.files.name
            other = first.setdefault(state.digest, scene)
            if other != scene:
                where = "of two splits" if other[0] != split else "of one split"
                kind = f"scenes {where} with the same pixels in all files"
                noted.append((kind, f"{'/'.join(other)} and {'/'.join(scene)}"))
    return noted


def _longest_side(states: Mapping[str, Sequence[SceneState]]) -> float:
    """Of all patches with a georeference, in units of their CRS."""
    bounds = [state.bounds for split in states.values() for state in split if state.bounds]
    sides = (max(right - left, top - bottom) for _, left, bottom, right, top in bounds)
    return max(sides, default=1.0)


def _largest_pixel(description: Description) -> float:
    """Largest size of a pixel of any product, in metres; 0 if none is known."""
    sizes = (description.resolution_of(product) for product in description.products)
    return max((size for size in sizes if size is not None), default=0.0)


def _cells(state: SceneState, side: float) -> Iterable[tuple[str, int, int]]:
    if state.bounds is None:
        return []
    crs, left, bottom, right, top = state.bounds
    columns = range(int(left // side), int(right // side) + 1)
    rows = range(int(bottom // side), int(top // side) + 1)
    return ((crs, column, row) for column, row in pairs(columns, rows))


def _share_ground(a: SceneState, b: SceneState, pixel: float) -> bool:
    if a.bounds is None or b.bounds is None:
        return False
    _, left, bottom, right, top = a.bounds
    _, other_left, other_bottom, other_right, other_top = b.bounds
    width = min(right, other_right) - max(left, other_left)
    height = min(top, other_top) - max(bottom, other_bottom)
    return min(width, height) > pixel


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
