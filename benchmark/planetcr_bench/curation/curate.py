"""Make a dataset in the layout of Planet-CR from AOIs, as the paper does (Sec. 3.1).

::

    survey     every AOI -> what its windows lack and show; the dates' distance and displacement
    divide     AOIs -> training and test AOIs, far apart
    select     windows -> even numbers of every cloud cover and land cover
    cut        chosen windows -> patches on disk

Surveying and cutting read images, in workers, and are done once for each AOI. Dividing and
selecting are computed anew in each run, from the surveys.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from planetcr_bench.constants import SPLITS
from planetcr_bench.curation.areas import Area, read_areas, refuse
from planetcr_bench.curation.partition import TEST, TRAIN, Footprint, divide
from planetcr_bench.curation.patch_files import describe_folder
from planetcr_bench.curation.record import (
    CurateSettings,
    Record,
    Result,
    claim,
    write_record,
)
from planetcr_bench.curation.selection import NOTHING, cells_of, histogram, select, shortages
from planetcr_bench.curation.steps import (
    WORK,
    AreaFacts,
    CutArea,
    CutJob,
    cut_area,
    read_windows,
    remove_area,
    survey_area,
)
from planetcr_bench.data.descriptions import describe
from planetcr_bench.data.fingerprint import dataset_fingerprint, split_fingerprint
from planetcr_bench.data.scene_lists import write_scene_list
from planetcr_bench.errors import BenchError, DatasetError
from planetcr_bench.restoration.products import TITLES, ProductName
from planetcr_bench.utils.extras import need_curation
from planetcr_bench.utils.files import atomic_write, exclusive_lock, file_sha256, sweep
from planetcr_bench.utils.parallel import FEW, Workers, run_ordered, track, worker_count
from planetcr_bench.utils.untrusted import printable

TABLES: Final = "curation"
"""Folder of the tables, in that of the dataset."""

PER_AOI: Final = {TRAIN: 60_000 / 660, TEST: 3_000 / 120}
"""Patches for each AOI in the paper (Sec. 3.1)."""

_SCENE_BYTES: Final = 1_672_000

_CHOSEN, _SPARE = "chosen", "not needed"

_REFLECTANCE: Final[dict[ProductName, str]] = {
    "planet-sr": "surface reflectance",
    "planet-radiance": "reflectance at the top of the atmosphere",
    "planet-toa": "reflectance at the top of the atmosphere",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curated:
    """What was made.

    Attributes:
        record: As in ``curation.toml``.
        histograms: Split to the comparison with an even distribution; see ``histogram``.
        areas: One row for each AOI, as in ``curation/aois.csv``.
        anew: Patches that this run has written.
    """

    record: Record
    histograms: dict[str, pd.DataFrame]
    areas: pd.DataFrame
    anew: int


def curate(
    table: Path,
    out: Path,
    settings: CurateSettings,
    *,
    workers: Workers = None,
    quiet: bool = False,
    say: Callable[[str], object] = lambda _: None,
) -> Curated:
    """Make a dataset; the same arguments resume a stopped run and end with the same files.

    Args:
        table: Of the AOIs; see :func:`~planetcr_bench.curation.areas.read_areas`.
        out: Folder of the dataset: new, empty, or begun with the same table and settings.
        settings: What else it depends on.
        workers: See ``Workers``.
        quiet: Show no progress.
        say: Receives lines about each step.

    Raises:
        DatasetError: The table, or a file that it names, cannot be used; the folder holds
            something else; or there are too few AOIs or windows.
        BenchError: A file cannot be written, or the disk is too small.
        MissingExtraError: scikit-image is not installed.
    """
    need_curation()
    areas = read_areas(
        table, layer=settings.layer, product=settings.product, mask_rule=settings.mask_rule
    )
    record = claim(out, table, file_sha256(table), settings)
    (out / WORK).mkdir(exist_ok=True)
    refusal = f"{printable(out)}: another process is writing this dataset; wait until it has ended"
    with exclusive_lock(out / WORK / "lock", refusal):
        sweep(out / WORK)
        facts = _survey(table, out, areas, settings, workers=workers, quiet=quiet, say=say)
        windows = _windows(out, facts, settings)
        _say_quality(facts, windows, settings, say)
        splits = _divide(areas, facts, windows, settings, say)
        windows["split"] = windows["aoi"].map(splits)
        histograms = _select(windows, settings, say)
        _write_tables(out, facts, windows, histograms)
        product = facts[0].product
        describe_folder(
            out, areas[0].files.lacking, title=f"Patches of {_REFLECTANCE[product]}",
            track=settings.track,
        )  # fmt: skip
        jobs = _jobs(areas, facts, windows)
        say(f"4 of 4, {sum(len(job.patches) for job in jobs):,} patches")
        cut = _cut(out, jobs, workers=workers, quiet=quiet)
        record = _finish(out, record, cut, product)
    anew = sum(len(each.digests) for each in cut if each.anew)
    say(f"  {anew:,} of them written now")
    return Curated(
        record=record, histograms=histograms, areas=_area_rows(facts, windows), anew=anew
    )


# --- 1: survey ------------------------------------------------------------------------------


def _survey(
    table: Path, out: Path, areas: Sequence[Area], settings: CurateSettings, *,
    workers: Workers, quiet: bool, say: Callable[[str], object],
) -> list[AreaFacts]:  # fmt: skip
    say(f"1 of 4, survey; AOIs: {len(areas):,}")
    found = run_ordered(
        partial(survey_area, out, settings.stride), areas, workers=_count(workers, areas),
        folders=_folders(out, areas), batch=1,
    )  # fmt: skip
    results = list(track(found, "Survey AOIs", len(areas), quiet=quiet))
    problems = [each for each in results if isinstance(each, str)]
    refuse(problems, f"{printable(table)}: expected AOIs that can be used")
    facts = [each for each in results if isinstance(each, AreaFacts)]
    products = {each.product: each for each in facts}
    if len(products) > 1:
        words = " and ".join(f"{name} (AOI {each.number})" for name, each in products.items())
        raise DatasetError(
            f"{printable(table)}: expected scenes of one product, got {words}; make a dataset of "
            "each, or say with the column product what scenes are"
        )
    product = next(iter(products))
    say(f"  {sum(each.windows for each in facts):,} windows of {TITLES[product]}")
    return facts


def _count(workers: Workers, items: Sequence[object]) -> Workers:
    """Workers for items that take seconds each."""
    if isinstance(workers, str):
        return workers
    return min(worker_count(workers, FEW * len(items)), len(items))


def _folders(out: Path, areas: Sequence[Area]) -> list[Path]:
    """Folders that workers must see."""
    return sorted({out, *(path.parent for area in areas for path in area.files.given)})


def _windows(out: Path, facts: Sequence[AreaFacts], settings: CurateSettings) -> pd.DataFrame:
    """Windows of all AOIs, with their cell, and why each is not to be chosen (``status``)."""
    frames = []
    for each in facts:
        frame = read_windows(out, each.number)
        frame.insert(0, "aoi", each.number)
        frames.append(frame)
    windows = pd.concat(frames, ignore_index=True)
    windows = windows.join(cells_of(windows))
    windows["status"] = _SPARE
    reasons = {
        NOTHING: windows["dominant"] == NOTHING,
        "change": _above(windows["change"], settings.max_change),
        "displaced": windows["aoi"].isin(
            [f.number for f in facts if _exceeds(f.shift_m, settings.max_shift_m)]
        ),
        "days": windows["aoi"].isin(
            [f.number for f in facts if _exceeds(f.days, settings.max_days)]
        ),
        "no data": windows["missing"] > settings.max_nodata,
    }
    for reason, rows in reasons.items():
        windows.loc[rows, "status"] = reason
    return windows


def _exceeds(value: float | None, limit: float | None) -> bool:
    """Whether a value is known and above a limit."""
    return limit is not None and value is not None and value > limit


def _above(values: pd.Series[float], limit: float | None) -> pd.Series[bool]:
    return values > (math.inf if limit is None else limit)


def _say_quality(
    facts: Sequence[AreaFacts], windows: pd.DataFrame, settings: CurateSettings,
    say: Callable[[str], object],
) -> None:  # fmt: skip
    days = [each.days for each in facts if each.days is not None]
    if days:
        say(f"  {np.mean(days):.1f} days between the dates on average, {min(days):.1f} to "
            f"{max(days):.1f}")  # fmt: skip
    if len(days) < len(facts):
        say(f"  dates of {len(facts) - len(days)} AOIs are not known")
    shifts = {each.number: each.shift_m for each in facts if not math.isnan(each.shift_m)}
    if shifts:
        worst = max(shifts, key=lambda number: shifts[number])
        say(f"  displaced by {np.median(list(shifts.values())):.1f} m (median), at most "
            f"{shifts[worst]:.1f} m (AOI {worst})")  # fmt: skip
    usable = windows.loc[windows["missing"] <= settings.max_nodata, "change"]
    if usable.notna().any():
        say(f"  clear pixels differ by {usable.median():.3f} reflectance (median of windows), 5 % "
            f"of windows by more than {usable.quantile(0.95):.3f}")  # fmt: skip
    counts = windows["status"].value_counts()
    for status, count in counts.items():
        if status != _SPARE:
            say(f"  left out: {count:,} windows ({status})")


# --- 2: divide ------------------------------------------------------------------------------


def _divide(
    areas: Sequence[Area], facts: Sequence[AreaFacts], windows: pd.DataFrame,
    settings: CurateSettings, say: Callable[[str], object],
) -> dict[int, str]:  # fmt: skip
    """Split of every AOI of which a window may be chosen."""
    left = set(windows.loc[windows["status"] == _SPARE, "aoi"].tolist())
    table = {area.number: area.split for area in areas}
    footprints = [
        Footprint(each.number, each.longitude, each.latitude, each.radius_km, table[each.number])
        for each in facts
        if each.number in left
    ]
    if not footprints:
        raise DatasetError(_none_left(windows))
    splits = divide(
        footprints, distance_km=settings.min_distance_km, test_aois=_test_aois(settings),
        seed=settings.seed,
    )  # fmt: skip
    counts = {split: list(splits.values()).count(split) for split in (TRAIN, TEST)}
    say(
        f"2 of 4, split: AOIs for training: {counts[TRAIN]:,}, for testing: {counts[TEST]:,}, "
        f"{settings.min_distance_km:g} km apart or more"
    )
    return splits


def _none_left(windows: pd.DataFrame) -> str:
    """Say why no window may be chosen, and what would leave some."""
    counts = ", ".join(
        f"{count:,} {why}" for why, count in windows["status"].value_counts().items()
    )
    least = float(windows["missing"].min())
    return (
        f"expected windows that may be chosen, got none of {len(windows):,} ({counts}); drop less, "
        f"or allow more nodata with --max-nodata: the window with most data lacks {least:.0%}"
    )


def _test_aois(settings: CurateSettings) -> int | None:
    return 0 if settings.test == 0 else settings.test_aois


# --- 3: select ------------------------------------------------------------------------------


def _select(
    windows: pd.DataFrame, settings: CurateSettings, say: Callable[[str], object]
) -> dict[str, pd.DataFrame]:
    """Mark the chosen windows; compare them with an even distribution, split by split."""
    say("3 of 4, selection")
    histograms = {}
    for split, asked in ((TRAIN, settings.train), (TEST, settings.test)):
        mine = windows[windows["split"] == split]
        usable = mine[mine["status"] == _SPARE]
        count = asked
        if count is None:
            count = min(round(PER_AOI[split] * mine["aoi"].nunique()), len(usable))
        elif count > len(usable):
            raise DatasetError(
                f"--{split}: expected {count:,} windows to choose from in {mine['aoi'].nunique():,}"
                f" AOIs, got {len(usable):,}; give --{split} {len(usable)}, a smaller --stride, or "
                "more AOIs"
            )
        chosen = select(usable, count, seed=settings.seed)
        windows.loc[chosen, "status"] = _CHOSEN
        if not count:
            continue
        histograms[split] = histogram(usable, windows.loc[chosen])
        say(f"  {split}: {count:,} of {len(usable):,} windows")
        if short := shortages(histograms[split]):
            say(f"  {split}: too few windows for even numbers: {', '.join(short)}; others fill up")
    if not histograms:
        raise DatasetError("expected patches to write, got --train 0 and --test 0")
    return histograms


def _write_tables(
    out: Path, facts: Sequence[AreaFacts], windows: pd.DataFrame,
    histograms: Mapping[str, pd.DataFrame],
) -> None:  # fmt: skip
    folder = out / TABLES
    folder.mkdir(exist_ok=True)
    frames = [frame.assign(split=split) for split, frame in histograms.items()]
    selection = pd.concat(frames, ignore_index=True)
    _write_csv(folder / "selection.csv", selection[["split", *selection.columns[:-1]]])
    _write_csv(folder / "windows.csv", windows)
    _write_csv(folder / "aois.csv", _area_rows(facts, windows))


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    atomic_write(path, frame.to_csv(index=False, float_format="%.6g").encode())


def _area_rows(facts: Sequence[AreaFacts], windows: pd.DataFrame) -> pd.DataFrame:
    """One row for each AOI: where it is, when it was seen, its quality, and what was chosen."""
    groups = dict(iter(windows.groupby("aoi")))
    rows = []
    for each in facts:
        mine = groups[each.number]
        split = mine["split"].iloc[0]
        rows.append({
            "aoi": each.number, "season": each.season,
            "split": split if isinstance(split, str) else "",
            "longitude": each.longitude, "latitude": each.latitude,
            "cloudy_date": each.cloudy_date, "clear_date": each.clear_date, "days": each.days,
            "shift_m": each.shift_m, "down_m": each.down_m, "right_m": each.right_m,
            "tiles": each.tiles, "change": mine["change"].median(),
            "windows": len(mine), "usable": int(mine["status"].isin([_CHOSEN, _SPARE]).sum()),
            "chosen": int((mine["status"] == _CHOSEN).sum()),
        })  # fmt: skip
    return pd.DataFrame(rows)


# --- 4: cut ---------------------------------------------------------------------------------


def _jobs(areas: Sequence[Area], facts: Sequence[AreaFacts], windows: pd.DataFrame) -> list[CutJob]:
    chosen = windows[windows["status"] == _CHOSEN]
    groups = dict(iter(chosen.groupby("aoi")))
    jobs = []
    for area, each in zip(areas, facts, strict=True):
        rows = groups.get(area.number)
        patches = [] if rows is None else rows[["patch", "top", "left"]].to_numpy().tolist()
        split = "" if rows is None else str(rows["split"].iloc[0])
        jobs.append(CutJob(
            area=area, season=each.season, split=split, survey=each.key,
            patches=tuple((patch, top, left) for patch, top, left in sorted(patches)),
        ))  # fmt: skip
    return jobs


def _cut(out: Path, jobs: Sequence[CutJob], *, workers: Workers, quiet: bool) -> list[CutArea]:
    _remove_others(out, jobs)
    _check_room(out, jobs)
    done = run_ordered(
        partial(cut_area, out), jobs, workers=_count(workers, jobs),
        folders=_folders(out, [job.area for job in jobs]), batch=1,
    )  # fmt: skip
    cut: list[CutArea] = []
    total = sum(len(job.patches) for job in jobs)
    counted = _patch_by_patch(done, cut)
    for _ in track(counted, "Write patches", total, quiet=quiet):
        pass
    return cut


def _patch_by_patch(done: Any, cut: list[CutArea]) -> Any:
    """Pass on one thing for each patch, so that the rate is that of patches."""
    for each in done:
        cut.append(each)
        yield from each.digests


def _remove_others(out: Path, jobs: Sequence[CutJob]) -> None:
    """Remove what a stopped run with another table or other settings has left."""
    wanted = {job.area.number for job in jobs if job.patches}
    numbers = {
        int(path.name.rpartition("_")[2])
        for split in SPLITS
        for path in (out / split).glob("*/*_*")
        if path.name.rpartition("_")[2].isdigit()
    }
    for number in numbers - wanted:
        remove_area(out, number)


def _check_room(out: Path, jobs: Sequence[CutJob]) -> None:
    """Refuse a disk that is too small, before the work."""
    noted = {path.stem for path in (out / WORK / "cut").glob("*.json")}
    left = sum(len(job.patches) for job in jobs if str(job.area.number) not in noted)
    free = shutil.disk_usage(out).free
    if left * _SCENE_BYTES > free:
        raise BenchError(
            f"{printable(out)}: expected {left * _SCENE_BYTES / 1e9:,.1f} GB of free disk space, "
            f"found {free / 1e9:,.1f}; choose another disk, or fewer patches"
        )


def _finish(out: Path, record: Record, cut: Sequence[CutArea], product: ProductName) -> Record:
    """Write the lists of the splits, and the record with the fingerprints."""
    by_split = sorted((each for each in cut if each.digests), key=lambda each: each.job.split)
    fingerprints, counts = {}, {TRAIN: 0, TEST: 0}
    described = describe(out)
    for split, areas in groupby(by_split, key=lambda each: each.job.split):
        mine = list(areas)
        scenes = sorted(files for each in mine for files in each.job.scenes(out, described))
        write_scene_list(out / f"{split}.csv", scenes)
        counts[split] = len(scenes)
        fingerprints[split] = split_fingerprint(
            (name, bytes.fromhex(digest)) for each in mine for name, digest in each.digests
        )
    result = Result(
        product=product, reflectance=_REFLECTANCE[product], train=counts[TRAIN],
        test=counts[TEST], fingerprint=dataset_fingerprint(fingerprints),
        fingerprints=fingerprints,
    )  # fmt: skip
    shutil.rmtree(out / WORK / "unfinished", ignore_errors=True)
    record = record.model_copy(update={"result": result})
    write_record(out, record)
    return record
