"""Do the two steps of curation that read images, an AOI at a time, each only once.

What is done lies in the hidden folder ``.curation`` of the dataset: a survey of each AOI, and a
note of each AOI whose patches are written. Both name what they were made from, so that a later run
does again only what was not finished, or has changed.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict, ValidationError

from planetcr_bench.constants import OPTICAL_RESOLUTION_M, PLANET_CR, SPLITS
from planetcr_bench.curation.areas import Area
from planetcr_bench.curation.dates import Season, season_on, taken_on
from planetcr_bench.curation.pair import open_pair, read_patch
from planetcr_bench.curation.patch_files import publish, write_patch
from planetcr_bench.curation.survey import AreaSurvey, survey_pair
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import describe, load_description
from planetcr_bench.data.fingerprint import scene_digest
from planetcr_bench.data.reading import Raster
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import BenchError
from planetcr_bench.restoration.products import ProductName
from planetcr_bench.restoration.rasters import SceneFileError
from planetcr_bench.utils.files import write_shared
from planetcr_bench.utils.untrusted import printable
from planetcr_bench.utils.validation import FileModel

WORK: Final = ".curation"
"""Folder of what is done, in that of the dataset."""

_VERSION: Final = 1
"""Raised whenever a survey or a patch of the same files would differ."""


class AreaFacts(FileModel):
    """What is known of a surveyed AOI, beside its windows.

    Attributes:
        number: Of the AOI.
        key: Digest of what the survey was made from.
        product: What its scenes are.
        season: Of the cloudy date.
        cloudy_date: ISO 8601; None where nothing says it.
        clear_date: Likewise.
        days: Between the dates.
        longitude: Of its centre, degrees.
        latitude: Of its centre, degrees.
        radius_km: Half of its diagonal.
        down_m: Displacement of the cloudy date towards the south; None where it is not known.
        right_m: Towards the east.
        tiles: Tiles that this was measured from.
        windows: Number of windows.
    """

    model_config = ConfigDict(title="a survey")

    number: int
    key: str
    product: ProductName
    season: Season
    cloudy_date: str | None = None
    clear_date: str | None = None
    days: float | None = None
    longitude: float
    latitude: float
    radius_km: float
    down_m: float | None = None
    right_m: float | None = None
    tiles: int
    windows: int

    @property
    def shift_m(self) -> float:
        """Length of the displacement; nan where it is not known."""
        if self.down_m is None or self.right_m is None:
            return math.nan
        return math.hypot(self.down_m, self.right_m)


# --- Survey ---------------------------------------------------------------------------------


def survey_area(out: Path, stride: int, area: Area) -> AreaFacts | str:
    """Survey an AOI and keep the result, unless it is there.

    Args:
        out: Folder of the dataset.
        stride: Optical pixels from one window to the next.
        area: The AOI.

    Returns:
        Facts; or, where a file cannot be used, the line that says so.
    """
    path = _survey_file(out, area.number)
    key = _key(area, stride)
    known = _read_facts(path)
    if known is not None and known.key == key:
        return known
    try:
        survey = survey_pair(area.files, stride=stride)
        facts = _facts(area, survey, key)
    except SceneFileError as problem:
        return f"{area.name}: {problem.message}"
    table = pa.Table.from_pandas(survey.windows, preserve_index=False)
    table = table.replace_schema_metadata({"facts": facts.model_dump_json()})
    stream = io.BytesIO()
    pq.write_table(table, stream)
    write_shared(path, stream.getbuffer())
    return facts


def read_windows(out: Path, number: int) -> pd.DataFrame:
    """Windows of a surveyed AOI; see :class:`~planetcr_bench.curation.survey.AreaSurvey`."""
    frame: pd.DataFrame = pq.read_table(_survey_file(out, number)).to_pandas()
    return frame


def _survey_file(out: Path, number: int) -> Path:
    return out / WORK / "survey" / f"{number}.parquet"


def _read_facts(path: Path) -> AreaFacts | None:
    try:
        metadata = pq.read_schema(path).metadata or {}
        return AreaFacts.model_validate_json(metadata[b"facts"])
    except (OSError, pa.ArrowException, KeyError, ValidationError):
        return None  # missing, or of another version


def _key(area: Area, stride: int) -> str:
    """Digest of what a survey depends on: files by size and time, and what the table says."""
    own = replace(area, split=None)
    states = [
        (str(path), status.st_size, status.st_mtime_ns)
        for path in area.files.given
        for status in (path.stat(),)
    ]
    return _digest(_VERSION, stride, own, states)


def _digest(*words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()


def _facts(area: Area, survey: AreaSurvey, key: str) -> AreaFacts:
    dates = [
        given or taken_on(path, tags)
        for given, path, tags in zip(
            (area.cloudy_date, area.clear_date), (area.files.cloudy, area.files.clear),
            survey.tags, strict=True,
        )
    ]  # fmt: skip
    longitude, latitude = survey.frame.centre
    season = area.season
    if season is None:
        if dates[0] is None:
            raise SceneFileError(
                f"{printable(area.files.cloudy)}: neither its tags, nor its name, nor metadata "
                "beside it say when it was taken; give the table a column cloudy_date or season"
            )
        season = season_on(dates[0], latitude)
    days = None
    if dates[0] is not None and dates[1] is not None:
        days = abs((dates[0] - dates[1]).total_seconds()) / 86_400
    optical, shift = survey.frame.optical, survey.shift
    return AreaFacts(
        number=area.number,
        key=key,
        product=survey.product,
        season=season,
        cloudy_date=None if dates[0] is None else dates[0].isoformat(),
        clear_date=None if dates[1] is None else dates[1].isoformat(),
        days=days,
        longitude=longitude,
        latitude=latitude,
        radius_km=math.hypot(optical.height, optical.width) * OPTICAL_RESOLUTION_M / 2000,
        down_m=None if math.isnan(shift.down_m) else shift.down_m,
        right_m=None if math.isnan(shift.right_m) else shift.right_m,
        tiles=shift.tiles,
        windows=len(survey.windows),
    )


# --- Patches --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CutJob:
    """Patches of one AOI that are to be written.

    Attributes:
        area: The AOI.
        season: In the names of its files.
        split: ``train`` or ``test``.
        survey: Key of the survey that they were chosen from.
        patches: Number, first row and first column of each.
    """

    area: Area
    season: Season
    split: str
    survey: str
    patches: tuple[tuple[int, int, int], ...]

    @property
    def name(self) -> str:
        """Name of the AOI."""
        return f"{self.season}_{self.area.number}"

    @property
    def key(self) -> str:
        """Digest of what the files of the patches depend on."""
        return _digest(self.survey, self.season, self.split, self.patches)

    def scenes(self, folder: Path, description: Description) -> list[SceneFiles]:
        """Files of the patches in a dataset's folder.

        Args:
            folder: Of the dataset.
            description: Of the dataset.
        """
        return [
            SceneFiles((self.season, self.area.number, patch), str(folder), self.split, description)
            for patch, _, _ in self.patches
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class CutArea:
    """What was written of an AOI.

    Attributes:
        job: What was to be written.
        digests: Name and digest of each scene, in hexadecimal digits.
        anew: Whether it was written in this run.
    """

    job: CutJob
    digests: tuple[tuple[str, str], ...]
    anew: bool


def cut_area(out: Path, job: CutJob) -> CutArea:
    """Write the patches of an AOI, unless they are there.

    Args:
        out: Folder of the dataset.
        job: Which patches.

    Raises:
        SceneFileError: A file cannot be read or written.
    """
    note = _note(out, job.area.number)
    known = _read_note(note)
    if known is not None and known["key"] == job.key and _is_there(out, job):
        digests = tuple((str(name), str(digest)) for name, digest in known["scenes"])
        return CutArea(job=job, digests=digests, anew=False)
    remove_area(out, job.area.number)
    staged = out / WORK / "unfinished" / str(job.area.number)
    shutil.rmtree(staged, ignore_errors=True)
    digests = tuple(_write_patches(job, staged))
    publish(staged, out)
    content = {"key": job.key, "scenes": digests}
    try:
        write_shared(note, json.dumps(content).encode())
    except OSError as problem:
        raise BenchError(f"{note}: cannot be written ({problem.strerror})") from problem
    return CutArea(job=job, digests=digests, anew=True)


def _is_there(out: Path, job: CutJob) -> bool:
    """Whether no file of the patches has been removed since they were written."""
    scenes = job.scenes(out, describe(out))
    return all(
        os.path.lexists(files.path(product)) for files in scenes for product in files.products
    )


def remove_area(out: Path, number: int) -> None:
    """Remove all patches of an AOI."""
    _note(out, number).unlink(missing_ok=True)
    for split in SPLITS:
        for folder in (out / split).glob(f"*/*_{number}"):
            shutil.rmtree(folder)


def _note(out: Path, number: int) -> Path:
    return out / WORK / "cut" / f"{number}.json"


def _write_patches(job: CutJob, staged: Path) -> Sequence[tuple[str, str]]:
    digests: list[tuple[str, str]] = []
    if not job.patches:
        return digests
    with ExitStack() as stack:
        pair = open_pair(job.area.files, stack, like_cloudy=False)
        described = load_description(PLANET_CR)
        scenes = zip(job.scenes(staged, described), job.patches, strict=True)
        for files, (_, top, left) in scenes:
            patch = read_patch(pair, top, left)
            write_patch(files, patch, pair.frame, top, left)
            rasters = {name: Raster(pixels) for name, pixels in patch.arrays.items()}
            digests.append((files.name, scene_digest(rasters).hex()))
    return digests


def _read_note(path: Path) -> dict[str, Any] | None:
    try:
        known = json.loads(path.read_text())
        return known if {"key", "scenes"} <= set(known) else None
    except (OSError, ValueError, TypeError):
        return None
