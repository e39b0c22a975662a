"""Measure all scenes of a dataset in one pass, and keep the result until a file changes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform

from planetcr_bench.constants import UNNAMED
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import describe
from planetcr_bench.data.discovery import find_files, find_splits
from planetcr_bench.data.fingerprint import dataset_fingerprint, split_fingerprint
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.masks import OtherMasks, with_masks
from planetcr_bench.data.metadata import read_simulation
from planetcr_bench.data.misplaced import no_scenes
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.data.tracks import read_track
from planetcr_bench.errors import DatasetError
from planetcr_bench.overview.scene_statistics import SceneStatistics, measure_scene
from planetcr_bench.utils.files import cache_folder, cache_write
from planetcr_bench.utils.parallel import Workers, run_ordered, track
from planetcr_bench.utils.untrusted import printable

VERSION: Final = 1
"""Of what is measured; raised whenever that changes, so that kept statistics are made again."""

CURATED: Final = "curation/aois.csv"
"""List of AOIs in a dataset that ``planetcr-bench curate`` made."""

_KEY: Final = b"planetcr_bench"
"""Of the metadata of a Parquet file: fingerprint and histograms of a split, as JSON."""

_ROWS: Final = 1024
"""Scenes that are put into columns at a time."""

Counts = Mapping[str, NDArray[np.int64]]
"""Histograms of a split: ``reflectance`` and perhaps ``backscatter``, as of ``SceneStatistics``."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """What is known of a dataset.

    Attributes:
        data: Its folder.
        description: What it is.
        name: Of its track, or its title where it has none.
        simulated: Whether its images are simulated.
        files: All scenes, by split.
        scenes: One row per scene: ``split``, the columns of ``measure_scene``, ``longitude`` and
            ``latitude`` in degrees.
        counts: Split to its histograms.
        fingerprints: Split to its fingerprint.
        masks: What made the cloud masks; empty if they are the dataset's own.
    """

    data: Path
    description: Description
    name: str
    simulated: bool
    files: Mapping[str, Sequence[SceneFiles]]
    scenes: pd.DataFrame
    counts: Mapping[str, Counts]
    fingerprints: Mapping[str, str]
    masks: str = ""

    @property
    def splits(self) -> list[str]:
        """Names of its splits, in the order of the description."""
        return list(self.files)

    @property
    def fingerprint(self) -> str:
        """Of the dataset, over decoded pixels."""
        return dataset_fingerprint(dict(self.fingerprints))

    @property
    def label(self) -> str:
        """Its name and that of its folder."""
        return printable(f"{self.name} in {self.data.resolve().name}/")

    @property
    def has_masks(self) -> bool:
        """Whether cloud cover is known."""
        return bool(self.scenes["cloud_cover"].notna().any())

    @property
    def cluster(self) -> str:
        """Word for what groups scenes that are not independent, such as ``AOI``; else ``scene``."""
        return self.description.cluster_name if self.description.cluster else "scene"

    def histogram(self, product: str) -> NDArray[np.int64]:
        """Histograms of all splits together; empty where the dataset lacks the product."""
        parts = [counts[product] for counts in self.counts.values() if product in counts]
        return np.sum(parts, axis=0) if parts else np.zeros((0, 0, 0), np.int64)


def measure_dataset(
    data: Path,
    *,
    dataset: str | Path | None = None,
    masks: OtherMasks | None = None,
    workers: Workers = None,
    batch: int = 16,
    quiet: bool = False,
) -> Statistics:
    """Measure all scenes of all splits, each file once.

    Each split is kept in the user's cache as a Parquet file with a row per scene, named after the
    names, sizes and times of all its files, so that nothing is decoded again until one changes.

    Args:
        data: Folder of the dataset.
        dataset: Name or file of its description; see ``descriptions.describe``.
        masks: From elsewhere, in place of the dataset's own.
        workers: See ``Workers``.
        batch: Scenes sent to a worker at a time.
        quiet: Show no progress.

    Raises:
        DatasetError: There is no scene, or a scene is incomplete or cannot be read.
    """
    description = describe(data, dataset)
    splits = [
        split for split in find_splits(data, description) if _has_scenes(data, split, description)
    ]
    if not splits:
        raise DatasetError(no_scenes(data, next(iter(description.splits)), description))
    files = {
        split: with_masks(find_scenes(data, split, dataset=dataset), masks) for split in splits
    }
    tables = {
        split: _kept_or_measured(split, scenes, workers=workers, batch=batch, quiet=quiet)
        for split, scenes in files.items()
    }
    facts = {split: json.loads(table.schema.metadata[_KEY]) for split, table in tables.items()}
    named = read_track(data, dataset=dataset)
    return Statistics(
        data=data,
        description=description,
        name=description.title if named == UNNAMED else named,
        simulated=read_simulation(data) is not None,
        files=files,
        scenes=_with_days(
            pd.concat(
                [table.to_pandas(ignore_metadata=True) for table in tables.values()],
                ignore_index=True,
            ),
            data,
        ),
        counts={
            split: {name: np.array(counts, np.int64) for name, counts in each["counts"].items()}
            for split, each in facts.items()
        },
        fingerprints={split: each["fingerprint"] for split, each in facts.items()},
        masks="" if masks is None else masks.source,
    )


def _has_scenes(data: Path, split: str, description: Description) -> bool:
    """Whether a split must have scenes or has some: a copy may lack one that a rule decides."""
    return not description.is_optional(split) or bool(find_files(data, split, description)[0])


def _with_days(scenes: pd.DataFrame, data: Path) -> pd.DataFrame:
    """Days between dates, where no file says them, from the list of AOIs of a curated dataset."""
    path = data / CURATED
    if not os.path.lexists(path) or scenes["days"].notna().any():
        return scenes
    try:
        areas = pd.read_csv(path, usecols=["season", "aoi", "days"])
        days = pd.Series(
            areas["days"].to_numpy(float), areas["season"] + "_" + areas["aoi"].map(str)
        )
        return scenes.assign(days=scenes["aoi"].map(days))
    except (OSError, ValueError, TypeError, pd.errors.InvalidIndexError) as error:
        raise DatasetError(
            f"{path}: expected the columns season, aoi and days with one row for each AOI, as "
            "`planetcr-bench curate` writes it, got something else"
        ) from error


def _kept_or_measured(
    split: str, scenes: Sequence[SceneFiles], *, workers: Workers, batch: int, quiet: bool
) -> pa.Table:
    path = cache_folder("overview") / f"{state_of(scenes)}.parquet"
    kept = _read(path)
    if kept is not None:
        return kept
    table = _measure(split, scenes, workers=workers, batch=batch, quiet=quiet)
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream, compression="zstd")
    cache_write(path, stream.getvalue().to_pybytes())
    return table


def _read(path: Path) -> pa.Table | None:
    """Statistics that were kept; None if there are none, or the file is damaged."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException):
        return None
    return table if _KEY in (table.schema.metadata or {}) else None


def state_of(scenes: Sequence[SceneFiles]) -> str:
    """Digest of the description and of the names, sizes and times of all files of scenes."""
    state = hashlib.sha256(f"{VERSION} {scenes[0].description.text}\n".encode())
    for files in scenes:
        mask = files.mask.rule if files.mask else ""
        paths = [
            path for product in files.products for date in files.paths(product) for path in date
        ]
        for path in paths:
            status = path.stat()
            state.update(
                f"{path.absolute()} {mask} {status.st_size} {status.st_mtime_ns} "
                f"{status.st_ctime_ns}\n".encode(errors="surrogateescape")
            )
    return state.hexdigest()


def _measure(
    split: str, scenes: Sequence[SceneFiles], *, workers: Workers, batch: int, quiet: bool
) -> pa.Table:
    """Rows of all scenes, with the sum of their histograms and their fingerprint as metadata."""
    folders = {folder for files in scenes for folder in files.folders}
    measured = run_ordered(measure_scene, scenes, workers=workers, folders=folders, batch=batch)
    rows: list[Mapping[str, Any]] = []
    parts: list[pa.Table] = []
    problems: list[str] = []
    digests: list[tuple[str, bytes]] = []
    totals: dict[str, NDArray[np.int64]] = {}
    for scene in track(measured, f"Measure {split}", len(scenes), quiet=quiet):
        problems += scene.problems
        if scene.problems:
            continue
        rows.append({"split": split, **scene.row})
        digests.append((scene.name, scene.digest))
        _add(totals, scene)
        if len(rows) == _ROWS:
            parts.append(_table(rows))
            rows = []
    if problems:
        raise DatasetError(
            f"{scenes[0].split_folder}: expected {len(scenes)} scenes that can be read, got "
            f"{len(digests)}; `planetcr-bench check` shows the whole state",
            problems,
        )
    table = pa.concat_tables([*parts, *([_table(rows)] if rows else [])])
    facts = {
        "fingerprint": split_fingerprint(digests),
        "counts": {name: counts.tolist() for name, counts in totals.items()},
    }
    return _with_positions(table).replace_schema_metadata({_KEY: json.dumps(facts)})


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    hashes = pa.array([row["hash"] for row in rows], pa.uint64())
    table = pa.Table.from_pylist([{**row, "hash": 0} for row in rows])
    return table.set_column(table.schema.get_field_index("hash"), "hash", hashes)


def _add(totals: dict[str, NDArray[np.int64]], scene: SceneStatistics) -> None:
    for name in ("reflectance", "backscatter"):
        counts: NDArray[np.int32] | None = getattr(scene, name)
        if counts is not None:
            totals.setdefault(name, np.zeros(counts.shape, np.int64))
            totals[name] += counts


def _with_positions(table: pa.Table) -> pa.Table:
    """Add longitude and latitude of the centre of each scene, nan where they are not known."""
    bounds = table.select(["crs", "left", "bottom", "right", "top"]).to_pandas()
    position = pd.DataFrame(np.nan, bounds.index, ["longitude", "latitude"])
    for text, part in bounds.groupby("crs"):
        crs = CRS.from_string(str(text)) if text else CRS()
        if crs.is_projected or crs.is_geographic:
            x, y = (part["left"] + part["right"]) / 2, (part["bottom"] + part["top"]) / 2
            degrees = np.transpose(transform(crs, "EPSG:4326", x.to_list(), y.to_list())[:2])
            known = (np.abs(degrees) <= (180, 90)).all(1)
            position.loc[part.index] = np.where(known[:, None], degrees, np.nan)
    for name, column in position.items():
        table = table.append_column(str(name), pa.array(column.to_numpy(np.float64)))
    return table
