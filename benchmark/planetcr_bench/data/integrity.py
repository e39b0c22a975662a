"""Check that a dataset is complete and sound and that its splits do not overlap."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product as pairs
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import (
    COVER_BINS,
    DN_PER_REFLECTANCE,
    LAND_COVER_NAMES,
    OPTICAL_RESOLUTION_M,
    OPTICAL_SIZE,
    PRODUCTS,
    SAR_RESOLUTION_M,
    SEASONS,
    cover_bin,
)
from planetcr_bench.data.fingerprint import dataset_fingerprint, scene_digest, split_fingerprint
from planetcr_bench.data.grids import rotation_name
from planetcr_bench.data.layout import (
    SceneFiles,
    find_files,
    find_splits,
    misnamed,
    no_scenes,
    shortfall,
)
from planetcr_bench.data.metadata import read_simulation
from planetcr_bench.data.pixel_checks import mask_looks_inverted, too_dark
from planetcr_bench.data.reading import (
    Raster,
    corners,
    empty_pixels,
    grid_disagreements,
    read_product,
)
from planetcr_bench.data.scene import land_cover_classes, upsample
from planetcr_bench.data.tracks import read_track
from planetcr_bench.errors import DatasetError
from planetcr_bench.utils.parallel import run_batches, track

PLAUSIBLE_DB: Final = (-80.0, 60.0)
"""Backscatter outside this range is not in decibels."""

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
class Report:
    """Result of :func:`audit`.

    Attributes:
        data: Folder that was audited.
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
        names = SplitReport.__dataclass_fields__
        return {
            "data": self.data,
            "track": self.track,
            "ok": self.ok,
            "fingerprint": self.fingerprint,
            "problems": self.problems,
            "warnings": self.warnings,
            "splits": {
                split: {name: getattr(report, name) for name in names}
                for split, report in self.splits.items()
            },
        }


@dataclass(frozen=True, slots=True)
class SceneState:
    """Result of decoding one scene.

    Attributes:
        files: The scene.
        digest: Of all pixels; None unless all files were decoded.
        land_cover: Pixels at 3 m per class, with unknown; None where not decoded.
        cloud_cover: Cloudy share; None where not decoded.
        place: CRS, left, bottom, right, top of the clear image; None where unknown.
        largest: Largest digital number of the optical images; None where not decoded.
        inverted: Whether the cloud mask looks inverted; None if undecidable.
        problems: Lines that name a file.
        warnings: (kind, file) of each observation.
    """

    files: SceneFiles
    digest: bytes | None
    land_cover: tuple[int, ...] | None
    cloud_cover: float | None
    place: tuple[str, float, float, float, float] | None
    largest: int | None = None
    inverted: bool | None = None
    problems: list[str] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)


def audit(
    data: Path, *, workers: int | None = None, batch: int = 16, quiet: bool = False
) -> Report:
    """Decode every file of a dataset and report its contents and errors.

    Args:
        data: Folder that holds ``train/`` and ``test/``.
        workers: See ``worker_count``.
        batch: Scenes per task.
        quiet: Show no progress.

    Raises:
        DatasetError: The folder holds no split at all.
    """
    problems: list[str] = []
    renamed: set[str] = set()
    warnings: list[tuple[str, str]] = []
    states: dict[str, list[SceneState]] = {}
    for split in find_splits(data):
        found, strays = find_files(data, split)
        others = misnamed(data / split, strays)
        problems += others.lines
        problems += [
            f"{path}: expected nothing here by the official layout" for path in others.strays
        ]
        renamed |= others.missing
        if not found and not others.lines:
            problems.append(no_scenes(data, split))
        problems += _unfinished(data, split, len(found))
        inspected = run_batches(inspect_scenes, sorted(found), workers=workers, batch=batch)
        inspected = track(inspected, f"Check {split}", len(found), quiet=quiet)
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
    return Report(
        data=str(data),
        track=_track(data, problems),
        fingerprint=dataset_fingerprint(fingerprints) if all(fingerprints.values()) else None,
        problems=problems,
        warnings=_summarised(warnings),
        splits=splits,
    )


def _unfinished(data: Path, split: str, found: int) -> list[str]:
    try:
        line = shortfall(data, split, found)
    except DatasetError:
        return []  # reported once, by _track
    return [line] if line else []


def _track(data: Path, problems: list[str]) -> str | None:
    try:
        read_simulation(data)
        return read_track(data)
    except DatasetError as error:
        problems.append(error.message)
        return None


# --- One scene ------------------------------------------------------------------------------


def inspect_scenes(scenes: Sequence[SceneFiles]) -> list[SceneState]:
    """Decode scenes and record their errors; nothing is raised for a bad file."""
    return [inspect_scene(files) for files in scenes]


def inspect_scene(files: SceneFiles) -> SceneState:
    """Decode one scene and record its errors."""
    rasters: dict[str, Raster] = {}
    problems: list[str] = []
    for product in PRODUCTS:
        try:
            rasters[product] = read_product(files, product)
        except DatasetError as error:
            problems.append(error.message)
    clear, mask = rasters.get("planet_cloudfree"), rasters.get("cloudmask")
    codes = rasters.get("landcover")
    optical = [raster for product, raster in rasters.items() if product.startswith("planet")]
    if clear is not None:
        problems += grid_disagreements(files, rasters)
    problems += _pixel_sizes(files, rasters) + _impossible_values(files, rasters)
    return SceneState(
        files,
        digest=scene_digest(rasters) if len(rasters) == len(PRODUCTS) else None,
        land_cover=_class_pixels(codes) if codes is not None else None,
        cloud_cover=float(mask.pixels.mean()) if mask is not None else None,
        place=_place(clear) if clear is not None else None,
        largest=max((int(raster.pixels.max()) for raster in optical), default=None),
        inverted=_inverted(rasters),
        problems=problems,
        warnings=_warnings(files, rasters),
    )


def _inverted(rasters: Mapping[str, Raster]) -> bool | None:
    if not {"planet_cloudy", "planet_cloudfree", "cloudmask"} <= rasters.keys():
        return None
    return mask_looks_inverted(
        *(rasters[name].pixels for name in ("planet_cloudy", "planet_cloudfree", "cloudmask"))
    )


def _class_pixels(codes: Raster) -> tuple[int, ...]:
    classes = upsample(land_cover_classes(codes.pixels[0]), (OPTICAL_SIZE, OPTICAL_SIZE))
    counts = np.bincount(classes.ravel(), minlength=len(LAND_COVER_NAMES))
    return tuple(counts.tolist())


def _place(clear: Raster) -> tuple[str, float, float, float, float] | None:
    if clear.transform is None:
        return None
    (left, right), (bottom, top) = np.sort(corners(clear), axis=0).T.tolist()
    return clear.crs, left, bottom, right, top


def _pixel_sizes(files: SceneFiles, rasters: Mapping[str, Raster]) -> list[str]:
    lines = []
    for product, raster in rasters.items():
        if raster.transform is None:
            continue
        expected = OPTICAL_RESOLUTION_M if product.startswith("planet") else SAR_RESOLUTION_M
        got = raster.transform.a, -raster.transform.e
        if np.abs(np.subtract(got, expected)).max() > 0.01 * expected:
            rotation = rotation_name(raster.transform)
            lines.append(
                f"{files.path(product)}: expected pixels of {expected:g} m, "
                f"got {got[0]:g} × {got[1]:g}" + (f", {rotation}" if rotation else "")
            )
    return lines


def _impossible_values(files: SceneFiles, rasters: Mapping[str, Raster]) -> list[str]:
    lines = [
        f"{files.path(product)}: expected an image, got one value everywhere"
        for product in ("planet_cloudfree", "planet_cloudy")
        if product in rasters and np.ptp(rasters[product].pixels) == 0
    ]
    if "S1" in rasters:
        pixels = rasters["S1"].pixels
        low, high = float(np.nanmin(pixels)), float(np.nanmax(pixels))
        if low < PLAUSIBLE_DB[0] or high > PLAUSIBLE_DB[1]:
            lines.append(
                f"{files.path('S1')}: expected backscatter in dB, got {low:.3g} to {high:.3g}"
            )
    return lines


def _warnings(files: SceneFiles, rasters: Mapping[str, Raster]) -> list[tuple[str, str]]:
    noted = []
    for product, raster in rasters.items():
        path, pixels = str(files.path(product)), raster.pixels
        if product.startswith("planet"):
            noted += _optical_warnings(path, raster)
        if product == "S1":
            noted += _radar_warnings(path, pixels)
        if product == "landcover" and (pixels == 0).any():
            noted.append(("WorldCover nodata, counted as unknown", path))
        if product != "cloudmask" and (raster.transform is None or not raster.crs):
            noted.append(("no georeference, so grids cannot be compared", path))
    if files.season not in SEASONS:
        noted.append((f"a season other than {', '.join(SEASONS)}", files.name))
    return noted


def _optical_warnings(path: str, raster: Raster) -> list[tuple[str, str]]:
    noted = []
    if (raster.pixels > DN_PER_REFLECTANCE).any():
        noted.append((f"values above {DN_PER_REFLECTANCE}, which are clipped", path))
    empty, zeros = empty_pixels(raster), int((raster.pixels == 0).any(0).sum())
    if empty:
        kind = "pixels of value 0, which is the file's own nodata and is scored as reflectance 0"
        noted.append((kind, f"{path} ({empty} pixels)"))
    elif zeros:
        noted.append(
            ("pixels of value 0, which are scored as they are", f"{path} ({zeros} pixels)")
        )
    return noted


def _radar_warnings(path: str, pixels: NDArray[np.floating]) -> list[tuple[str, str]]:
    noted = []
    finite = np.isfinite(pixels)
    holes, zeros = int((~finite).any(0).sum()), int((pixels == 0).all(0).sum())
    if holes:
        kind = "holes (NaN, nodata or masked), filled with the mean of their band"
        noted.append((kind, f"{path} ({holes} pixels)"))
    if zeros:
        kind = "pixels of 0 dB in both bands, which are probably holes without a nodata tag"
        noted.append((kind, f"{path} ({zeros} pixels)"))
    vv, vh = (float(band[good].mean()) for band, good in zip(pixels, finite, strict=True))
    if vh > vv:
        noted.append(("VH brighter than VV, so the two bands are probably swapped", path))
    return noted


# --- All scenes -----------------------------------------------------------------------------


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
        for some in states.values()
        for state in some
        if state.inverted
    ]


def _in_two_splits(states: Mapping[str, Sequence[SceneState]]) -> list[str]:
    """Report scenes and AOIs that occur in more than one split: test data in training data."""
    scenes: dict[str, dict[str, Path]] = defaultdict(dict)
    aois: dict[str, dict[str, Path]] = defaultdict(dict)
    for split, some in states.items():
        for state in some:
            path = state.files.path("planet_cloudfree")
            scenes[state.files.name].setdefault(split, path)
            aois[state.files.aoi].setdefault(split, path.parent)
    lines = []
    for what, places in (("scene name", scenes), ("AOI", aois)):
        for name, by_split in places.items():
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
    for split, some in states.items():
        for state in some:
            for cell in _cells(state):
                for other_split, other in cells[cell]:
                    if other_split != split and _share_ground(state, other):
                        pair = f"{split}/{state.files.aoi} and {other_split}/{other.files.aoi}"
                        lines[("AOIs of two splits that overlap on the ground", pair)] = None
                cells[cell].append((split, state))
    return list(lines)


def _cells(state: SceneState) -> Iterable[tuple[str, int, int]]:
    if state.place is None:
        return []
    crs, left, bottom, right, top = state.place
    side = OPTICAL_SIZE * OPTICAL_RESOLUTION_M
    columns = range(int(left // side), int(right // side) + 1)
    rows = range(int(bottom // side), int(top // side) + 1)
    return ((crs, column, row) for column, row in pairs(columns, rows))


def _share_ground(a: SceneState, b: SceneState) -> bool:
    if a.place is None or b.place is None:
        return False
    _, left, bottom, right, top = a.place
    _, other_left, other_bottom, other_right, other_top = b.place
    width = min(right, other_right) - max(left, other_left)
    height = min(top, other_top) - max(bottom, other_bottom)
    return min(width, height) > SAR_RESOLUTION_M


def _summarised(warnings: Iterable[tuple[str, str]]) -> list[str]:
    """Summarise warnings: one line per kind with the number of files and the first of them."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for kind, where in warnings:
        by_kind[kind].append(where)
    lines = []
    for kind, places in by_kind.items():
        more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
        lines.append(f"{kind} ({len(places)}): {', '.join(places[:SHOWN])}{more}")
    return lines
