"""Test that training patches from files and from a cache agree, or are refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from described import S2, write_description, write_png, write_s2
from planetcr_bench.constants import LAND_COVER_NAMES
from planetcr_bench.data import patch_cache
from planetcr_bench.data.fingerprint import fingerprint_of
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.patch_cache import CachedPatches, build_cache
from planetcr_bench.data.patches import FilePatches, TrainingPatch, record_dtype
from planetcr_bench.data.reading import read_scene
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import BenchError, DatasetError, SceneError, UsageError
from scenes import write_dataset, write_scene, write_tif

FIELDS = {"cloudy": 1, "clear": 1, "sar": 0.3, "cloud_mask": 1, "land_cover": 1}
"""Arrays of a patch, and pixels of each along an optical pixel."""
DTYPES = ("float32", "float32", "float32", "bool", "uint8")

cells = st.integers(0, 29)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[SceneFiles]:
    """Six scenes; one with reflectance above 1, holes in SAR, land cover without a class."""
    root = write_dataset(tmp_path_factory.mktemp("data"), test=6)
    scenes = find_scenes(root, "test")
    rng = np.random.default_rng(1)
    optical = rng.integers(0, 30_000, (4, 300, 300), np.uint16)
    write_tif(scenes[1].path("cloudy"), optical, (0, 0), 3, None)
    sar = rng.uniform(-40, 5, (2, 90, 90)).astype(np.float32)
    sar[:, 10:20] = np.nan
    write_tif(scenes[1].path("sar"), sar, (0, 0), 10, None)
    codes = rng.choice(np.array([0, 10, 70, 80, 95, 100], np.uint8), (1, 90, 90))
    write_tif(scenes[1].path("land_cover"), codes, (0, 0), 10, None)
    return scenes


@pytest.fixture(scope="module")
def cache(scenes: list[SceneFiles], tmp_path_factory: pytest.TempPathFactory) -> CachedPatches:
    """Their cache, made by worker processes; read only."""
    return build_cache(
        scenes, tmp_path_factory.mktemp("cache"), name="train", workers=2, quiet=True
    )


@pytest.fixture(scope="module")
def few(scenes: list[SceneFiles]) -> list[SceneFiles]:
    return scenes[:2]


def assert_equal(patch: TrainingPatch, other: object) -> None:
    for field in FIELDS:
        assert_array_equal(getattr(patch, field), getattr(other, field), err_msg=field)


def assert_cache_of(cache: CachedPatches, scenes: list[SceneFiles]) -> None:
    assert cache.names == [files.name for files in scenes]
    for index, files in enumerate(scenes):
        assert_equal(cache.read(index), read_scene(files))


def copy_of(scenes: list[SceneFiles], folder: Path) -> list[SceneFiles]:
    """The same scenes in a folder of their own, free to be broken."""
    root = Path(scenes[0].split_folder).parent
    shutil.copytree(root, folder)
    names = {files.name for files in scenes}
    return [files for files in find_scenes(folder, "test") if files.name in names]


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


# --- The same numbers -----------------------------------------------------------------------


def test_files_and_cache_give_the_numbers_of_the_authors_loader(
    scenes: list[SceneFiles], cache: CachedPatches
) -> None:
    patches = FilePatches(scenes)
    assert len(patches) == len(cache) == 6
    assert patches.names == cache.names
    assert (patches.smallest, patches.cell) == (cache.smallest, cache.cell) == (300, 10)
    assert patches.size(5) == cache.size(5) == (300, 300)
    for index, files in enumerate(scenes):
        scene = read_scene(files)
        assert_equal(patches.read(index), scene)
        assert_equal(cache.read(index), scene)


@settings(max_examples=40, deadline=None)
@given(index=st.integers(0, 5), top=cells, left=cells, cut=st.integers(1, 30))
def test_a_window_equals_that_part_of_the_patch(
    scenes: list[SceneFiles], cache: CachedPatches, index: int, top: int, left: int, cut: int
) -> None:
    size = 10 * min(cut, 30 - max(top, left))
    window = {"top": 10 * top, "left": 10 * left, "size": size}
    whole = read_scene(scenes[index])
    expected = {}
    for field, ratio in FIELDS.items():
        rows, columns = (
            slice(round(start * ratio), round((start + size) * ratio))
            for start in (10 * top, 10 * left)
        )
        expected[field] = getattr(whole, field)[..., rows, columns]
    for patches in (FilePatches(scenes), cache):
        assert_equal(patches.read(index, **window), SimpleNamespace(**expected))


def test_arrays_are_contiguous_copies(scenes: list[SceneFiles], cache: CachedPatches) -> None:
    for patches in (FilePatches(scenes), cache):
        for window in ({}, {"top": 10, "left": 30, "size": 160}):
            patch = patches.read(1, **window)
            for field, dtype in zip(FIELDS, DTYPES, strict=True):
                array = getattr(patch, field)
                assert array.dtype == dtype
                assert array.flags.c_contiguous
                assert array.flags.writeable
                array[:] = 0
            assert patches.read(1, **window).clear.max() > 0
    assert cache.read(1).cloudy.max() == 1
    assert LAND_COVER_NAMES[cache.read(1).land_cover.max()] == "unknown"


def test_a_cache_is_an_npy_file(scenes: list[SceneFiles], cache: CachedPatches) -> None:
    records = np.load(cache.path)
    assert records.dtype.names == tuple(FIELDS)
    scene = read_scene(scenes[1])
    assert_array_equal(records["cloudy"][1], np.rint(1e4 * scene.cloudy))
    assert_array_equal(records["clear"][1], np.rint(1e4 * scene.clear))
    assert_array_equal(records["sar"][1], scene.sar)
    contents = json.loads(cache.path.with_suffix(".json").read_text())
    assert contents["fingerprint"] == fingerprint_of(scenes)
    assert (contents["version"], contents["count"], contents["names"]) == (1, 6, cache.names)


def test_scenes_keep_the_given_order(few: list[SceneFiles], tmp_path: Path) -> None:
    for order in (few, few[::-1]):
        assert_cache_of(build_cache(order, tmp_path, name="train", quiet=True), order)


def test_only_the_path_is_pickled(cache: CachedPatches) -> None:
    whole = cache.read(2)
    pickled = pickle.dumps(cache)
    assert len(pickled) < 1000
    assert_equal(pickle.loads(pickled).read(2), whole)


# --- Refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "window",
    [
        {"top": 5},
        {"left": 12, "size": 160},
        {"size": 155},
        {"size": 0},
        {"top": -10, "size": 10},
        {"left": 150, "size": 160},
        {"top": 10},
        {"size": 310},
    ],
)
def test_a_window_off_the_sar_grid_or_outside_is_refused(
    scenes: list[SceneFiles], cache: CachedPatches, window: dict[str, int]
) -> None:
    for patches in (FilePatches(scenes), cache):
        with pytest.raises(UsageError, match=r"multiples of 10 optical pixels \(3 SAR pixels\)"):
            patches.read(0, **window)


def test_a_missing_index_ends_the_sequence(scenes: list[SceneFiles], cache: CachedPatches) -> None:
    for patches in (FilePatches(scenes), cache):
        with pytest.raises(IndexError):
            patches.read(6)


def test_a_broken_scene_is_named_and_leaves_nothing(few: list[SceneFiles], tmp_path: Path) -> None:
    broken = copy_of(few, tmp_path / "data")
    path = broken[1].path("sar")
    write_tif(path, np.zeros((2, 90, 80), np.float32), (0, 0), 10, None)
    for read in (
        lambda: FilePatches(broken).read(1),
        lambda: build_cache(broken, tmp_path / "cache", name="train", quiet=True),
    ):
        with pytest.raises(DatasetError, match=f"{path}: expected shape"):
            read()
    assert files_in(tmp_path / "cache") == set()


def test_products_on_two_grids_are_refused(tmp_path: Path) -> None:
    files = write_scene(tmp_path / "data")
    sar = np.full((2, 90, 90), -10, np.float32)
    write_tif(files.path("sar"), sar, (0, 0), 10, "EPSG:32601")
    for read in (
        lambda: FilePatches([files]).read(0),
        lambda: build_cache([files], tmp_path / "cache", name="train", quiet=True),
    ):
        with pytest.raises(SceneError, match=r"S1_summer_500_p_1.tif: expected the clear image's"):
            read()
    assert files_in(tmp_path / "cache") == set()


def test_a_cache_without_scenes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected scenes to cache, got none"):
        build_cache([], tmp_path, name="val")


def test_a_disk_without_room_is_refused_before_the_work(
    few: list[SceneFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by_one_that_was_killed = tmp_path / ".train.npy.partial"
    room = 2 * record_dtype(few[0].description, FilePatches(few).grids[0]).itemsize - 1

    def usage(_: Path) -> SimpleNamespace:
        return SimpleNamespace(free=0 if left_by_one_that_was_killed.exists() else room)

    monkeypatch.setattr(patch_cache.shutil, "disk_usage", usage)
    with pytest.raises(BenchError, match=r"expected 4 MB .* found 3; .* leave out --cache"):
        build_cache(few, tmp_path, name="train", quiet=True)
    assert files_in(tmp_path) == set()
    room += 1
    left_by_one_that_was_killed.touch()
    assert_cache_of(build_cache(few, tmp_path, name="train", quiet=True), few)


def test_a_disk_that_fills_up_leaves_nothing(
    few: list[SceneFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(patch_cache.os, "fsync", full)
    with pytest.raises(BenchError, match=r"train.npy: cannot be written \(No space left on device"):
        build_cache(few, tmp_path, name="train", quiet=True)
    assert files_in(tmp_path) == set()


def test_a_folder_that_cannot_be_made_is_refused(few: list[SceneFiles], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match="cannot be written"):
        build_cache(few, tmp_path / "file", name="train")


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("name", ["train.npy", "train.json"])
def test_a_pipe_in_place_of_a_cache_is_not_waited_for(
    few: list[SceneFiles], tmp_path: Path, name: str
) -> None:
    cache = build_cache(few, tmp_path, name="train", quiet=True)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(DatasetError, match=f"{name}: expected a regular file, got a FIFO"):
        len(CachedPatches(cache.path, cache.fingerprint))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda whole: whole[:-1], "expected a whole file"),
        (lambda whole: whole + b"more", "expected 3206056 bytes, got 3206060"),
        (lambda whole: whole[:100], "expected a whole file"),
        (lambda _: b"", "expected a whole file"),
        (lambda whole: whole.replace(b"(2,)", b"(1,)"), "expected 1603156 bytes, got 3206056"),
        (lambda whole: whole.replace(b"<f4", b"<i4"), "expected records of scenes"),
    ],
)
def test_a_damaged_cache_is_refused_until_it_is_deleted(
    few: list[SceneFiles], tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = build_cache(few, tmp_path, name="train", quiet=True).path
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DatasetError, match=f"{path}: damaged cache: {message}.* delete it"):
        build_cache(few, tmp_path, name="train", quiet=True)
    path.unlink()
    assert_cache_of(build_cache(few, tmp_path, name="train", quiet=True), few)


# --- One cache, whatever happens -------------------------------------------------------------


def test_a_cache_is_built_once(
    few: list[SceneFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_cache(few, tmp_path, name="train", quiet=True)
    assert files_in(tmp_path) == {"train.npy", "train.json"}
    monkeypatch.setattr(patch_cache, "_build", None)
    assert_cache_of(build_cache(few, tmp_path, name="train", quiet=True), few)


@pytest.mark.parametrize("words", ["", "[]", '{"version": 0}', "missing"])
def test_an_unidentified_cache_is_rebuilt(
    few: list[SceneFiles], tmp_path: Path, words: str
) -> None:
    path = build_cache(few[:1], tmp_path, name="train", quiet=True).path
    path.with_suffix(".json").write_text(words)
    if words == "missing":
        path.with_suffix(".json").unlink()
    assert_cache_of(build_cache(few, tmp_path, name="train", quiet=True), few)


def test_a_cache_of_another_version_is_rebuilt(few: list[SceneFiles], tmp_path: Path) -> None:
    path = build_cache(few, tmp_path, name="train", quiet=True).path
    contents = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**contents, "version": 0}))
    with pytest.raises(DatasetError, match="found another"):
        CachedPatches(path, contents["fingerprint"]).read(0)
    build_cache(few, tmp_path, name="train", quiet=True).read(0)
    assert json.loads(path.with_suffix(".json").read_text()) == contents


def test_other_pixels_make_another_cache_and_the_old_one_is_refused(
    few: list[SceneFiles], tmp_path: Path
) -> None:
    mine = copy_of(few, tmp_path / "data")
    old = build_cache(mine, tmp_path, name="train", quiet=True)
    before = old.read(0).cloud_mask
    np.save(mine[0].path("cloud_mask"), ~before)
    new = build_cache(mine, tmp_path, name="train", quiet=True)
    assert_cache_of(new, mine)
    assert_array_equal(old.read(0).cloud_mask, before)
    with pytest.raises(DatasetError, match=r"train.npy: .* found another; it has been replaced"):
        pickle.loads(pickle.dumps(old)).read(0)


def test_pixels_that_change_while_they_are_cached_are_refused(
    few: list[SceneFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patch_cache, "fingerprint_of", lambda *_, **__: "0" * 64)
    with pytest.raises(DatasetError, match="changed while they were cached"):
        build_cache(few, tmp_path, name="train", quiet=True)
    assert files_in(tmp_path) == set()


SCRIPT = """
import pickle, sys, time
from pathlib import Path
from planetcr_bench.data import patch_cache

def hang(*_):
    print("there", flush=True)
    time.sleep(60)

def build_slowly(*args, build=patch_cache._build, **options):
    with open(sys.argv[1] + "/builds", "a") as log:
        log.write("one\\n")
    time.sleep(0.7)
    build(*args, **options)

def build():
    scenes = pickle.loads(bytes.fromhex(sys.argv[2]))
    cache = patch_cache.build_cache(scenes, Path(sys.argv[1]), name="train", workers=0)
    print(cache.read(len(cache) - 1).cloudy.sum())

"""


def started(end: str, folder: Path, scenes: list[SceneFiles]) -> subprocess.Popen[str]:
    arguments = [str(folder), pickle.dumps(scenes).hex()]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT + end, *arguments], stdout=subprocess.PIPE, text=True
    )


BETWEEN_RECORDS = """
patch_cache.track = lambda cached, *_, **__: (
    hang() if index == 1 else one for index, one in enumerate(cached))
build()
"""
BEFORE_THEY_ARE_THERE = """
def replace(path, target, replace=Path.replace):
    return hang() if target.suffix == ".npy" else replace(path, target)

Path.replace = replace
build()
"""
BEFORE_THEY_ARE_NAMED = """
patch_cache.atomic_write = hang
build()
"""


@pytest.mark.parametrize(
    ("end", "left"),
    [
        (BETWEEN_RECORDS, {"train.npy", "train.json"}),
        (BEFORE_THEY_ARE_THERE, {"train.npy"}),
        (BEFORE_THEY_ARE_NAMED, {"train.npy"}),
    ],
    ids=["between records", "before they are there", "before they are named"],
)
def test_a_killed_build_leaves_the_earlier_cache_or_none(
    scenes: list[SceneFiles], few: list[SceneFiles], tmp_path: Path, end: str, left: set[str]
) -> None:
    old = build_cache(few, tmp_path, name="train", quiet=True)
    with started(end, tmp_path, scenes[2:]) as process:
        assert process.stdout.readline() == "there\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert files_in(tmp_path) == left
    again = CachedPatches(old.path, old.fingerprint)
    if "train.json" in left:
        assert_cache_of(again, few)
    else:
        with pytest.raises(DatasetError):
            again.read(0)
    assert_cache_of(build_cache(scenes[2:], tmp_path, name="train", quiet=True), scenes[2:])
    assert files_in(tmp_path) == {"train.npy", "train.json"}


def test_of_two_at_once_one_builds_and_the_other_waits(
    few: list[SceneFiles], tmp_path: Path
) -> None:
    end = "patch_cache._build = build_slowly\nbuild()"
    processes = [started(end, tmp_path, few) for _ in range(2)]
    outputs = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs == {f"{read_scene(few[-1]).cloudy.sum()}\n"}
    assert (tmp_path / "builds").read_text() == "one\n"


# --- Other datasets than Planet-CR ----------------------------------------------------------


def test_scenes_of_several_sizes_without_sar_share_a_cache(tmp_path: Path) -> None:
    for number in range(3):
        for product in ("clear", "cloudy"):
            path = tmp_path / "data" / product / f"{number}.png"
            write_png(path, number, size=(40 + number, 50 - number))
    scenes = find_scenes(tmp_path / "data", "test")
    patches, cache = (
        FilePatches(scenes),
        build_cache(scenes, tmp_path / "cache", name="test", workers=0, quiet=True),
    )
    for each in (patches, cache):
        assert (each.smallest, each.cell) == (40, 1)
        assert [each.size(index) for index in range(3)] == [(40, 50), (41, 49), (42, 48)]
    for index, files in enumerate(scenes):
        assert_equal(patches.read(index), read_scene(files))
        assert_equal(cache.read(index), read_scene(files))
    cut = cache.read(2, top=3, left=5, size=37)
    assert_array_equal(cut.clear, read_scene(scenes[2]).clear[:, 3:40, 5:42])
    assert cut.sar is cut.cloud_mask is cut.land_cover is None
    with pytest.raises(UsageError, match="multiples of 1 optical pixels within 40 × 50, got top 4"):
        cache.read(0, top=4, size=40)
    before = cache.path.stat().st_mtime_ns
    build_cache(scenes, tmp_path / "cache", name="test", workers=0, quiet=True)
    assert cache.path.stat().st_mtime_ns == before


def test_sar_may_be_on_the_optical_grid_and_its_range_is_part_of_a_cache(tmp_path: Path) -> None:
    write_s2(tmp_path / "s2", size=(40, 48))
    described = write_description(tmp_path / "own.toml", S2)
    [files] = find_scenes(tmp_path / "s2", "test", dataset=described)
    patches = FilePatches([files])
    assert (patches.cell, patches.size(0)) == (1, (40, 48))
    cut = patches.read(0, top=1, left=2, size=35)
    assert_array_equal(cut.sar, read_scene(files).sar[:, 1:36, 2:37])
    assert (cut.cloudy.shape, cut.cloud_mask) == ((13, 35, 35), None)
    wider = {**S2, "sar": {**S2["sar"], "range": [[-50.0, 0.0], [-50.0, 0.0]]}}
    [other] = find_scenes(
        tmp_path / "s2", "test", dataset=write_description(tmp_path / "other.toml", wider)
    )
    for each in (files, other):
        cache = build_cache([each], tmp_path / "cache", name="test", workers=0, quiet=True)
        assert_array_equal(cache.read(0).sar, read_scene(each).sar)


def test_a_grid_of_sar_that_differs_between_scenes_is_refused(tmp_path: Path) -> None:
    coarse = {**S2, "sar": {**S2["sar"], "resolution": 20.0}}
    described = write_description(tmp_path / "own.toml", coarse)
    for roi in (7, 8):
        write_s2(tmp_path / "s2", roi, size=(40, 48))
        path = tmp_path / f"s2/ROIs2017_fall_s1/s1_{roi}/ROIs2017_fall_s1_{roi}_p1.tif"
        side = 20 if roi == 7 else 10
        write_tif(path, np.full((2, side, 24), -9, np.float32), (0, 0), 20, None)
    scenes = find_scenes(tmp_path / "s2", "test", dataset=described)
    assert FilePatches(scenes[:1]).cell == 2
    with pytest.raises(
        DatasetError, match=r"one number of optical pixels to a pixel of SAR .* in "
    ):
        _ = FilePatches(scenes).grids
