"""Test that every defect of a dataset is found and named."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from described import write_png
from planetcr_bench.constants import PRODUCTS
from planetcr_bench.data.fingerprint import fingerprint_of
from planetcr_bench.data.integrity import check_dataset
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_product
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import DatasetError
from scenes import write_dataset, write_scene, write_tif


def rewrite(files: SceneFiles, product: str, change: Callable[[np.ndarray], None]) -> None:
    """Change the pixels of a product and keep its grid."""
    raster = read_product(files, product)
    change(raster.pixels)
    corner = (raster.transform.c, raster.transform.f)
    write_tif(files.path(product), raster.pixels, corner, raster.transform.a, raster.crs)


def put(value: object, where: object = np.s_[0, 5:9, 5:9]) -> Callable[[np.ndarray], None]:
    def change(pixels: np.ndarray) -> None:
        pixels[where] = value

    return change


def test_a_sound_dataset_is_counted_and_fingerprinted(data: Path) -> None:
    report = check_dataset(data, workers=0)
    assert report.ok, report.problems
    test = report.splits["test"]
    assert (test.scenes, test.complete_scenes, test.aois) == (6, 6, 2)
    assert sum(test.cloud_cover.values()) == sum(test.seasons.values()) == 6
    assert sum(test.land_cover.values()) == 6 * 300 * 300
    assert test.fingerprint == fingerprint_of(find_scenes(data, "test"), workers=0)
    assert report.fingerprint is not None
    assert json.loads(json.dumps(report.to_json()))["fingerprint"] == report.fingerprint


def test_worker_processes_change_nothing(data: Path) -> None:
    assert check_dataset(data, workers=2, batch=1) == check_dataset(data, workers=0)


BREAKAGES: dict[str, tuple[str, Callable[[SceneFiles], None]]] = {
    "no such file": ("cloud_mask", lambda files: files.path("cloud_mask").unlink()),
    "cannot be read": ("sar", lambda files: files.path("sar").write_bytes(b"nonsense")),
    "expected uint16, got uint8": (
        "cloudy",
        lambda files: write_tif(
            files.path("cloudy"), np.ones((4, 300, 300), "u1"), (0, 0), 3, "EPSG:32601"
        ),
    ),
    r"expected shape \(2, 90, 90\), got \(1, 90, 90\)": (
        "sar",
        lambda files: write_tif(files.path("sar"), np.ones((1, 90, 90)), (0, 0), 10, "EPSG:32601"),
    ),
    "got one value everywhere": (
        "clear",
        lambda files: rewrite(files, "clear", put(7, np.s_[:])),
    ),
    "expected backscatter in dB": ("sar", lambda files: rewrite(files, "sar", put(5000.0))),
    "expected WorldCover codes, got 7, 77": (
        "land_cover",
        lambda files: rewrite(files, "land_cover", put([[7, 77]], np.s_[0, 5:6, 5:7])),
    ),
    "expected corners within 10 m": (
        "land_cover",
        lambda files: write_tif(
            files.path("land_cover"), np.full((1, 90, 90), 10, "u1"), (0, 0), 10,
            read_product(files, "sar").crs,
        ),
    ),
    "expected pixels of 10 m, got 11 × 11": (
        "sar",
        lambda files: write_tif(
            files.path("sar"), read_product(files, "sar").pixels,
            (read_product(files, "sar").transform.c, read_product(files, "sar").transform.f), 11,
            read_product(files, "sar").crs,
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", BREAKAGES)
def test_a_broken_file_is_named(tmp_path: Path, message: str) -> None:
    product, break_it = BREAKAGES[message]
    write_dataset(tmp_path, test=2)
    files = find_scenes(tmp_path, "test")[1]
    break_it(files)
    report = check_dataset(tmp_path, workers=0)
    assert not report.ok
    assert report.splits["test"].complete_scenes == 1
    lines = [line for line in report.problems if str(files.path(product)) in line]
    assert lines, report.problems
    assert any(re.search(message, line) for line in lines), lines


def test_one_broken_scene_does_not_hide_another(tmp_path: Path) -> None:
    write_dataset(tmp_path, test=3)
    for files in find_scenes(tmp_path, "test")[:2]:
        files.path("sar").unlink()
    report = check_dataset(tmp_path, workers=0)
    assert len(report.problems) == 2
    assert report.fingerprint is None
    assert report.splits["test"].fingerprint is None


def test_strays_are_named(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    stray = files.path("sar").with_name("S1_summer_500_p_1 (copy).tif")
    stray.touch()
    assert any(str(stray) in line for line in check_dataset(tmp_path, workers=0).problems)


def test_a_scene_or_aoi_in_two_splits_is_a_problem(tmp_path: Path) -> None:
    write_scene(tmp_path, "train", aoi=3, patch=1)
    write_scene(tmp_path, "train", aoi=3, patch=2)
    write_scene(tmp_path, "test", aoi=3, patch=2)
    problems = "\n".join(check_dataset(tmp_path, workers=0).problems)
    assert "expected the scene name summer_3_p_2 in one split" in problems
    assert "expected the AOI summer_3 in one split" in problems
    assert "summer_3_p_1" not in problems


def test_overlapping_aois_of_two_splits_are_a_warning(tmp_path: Path) -> None:
    write_scene(tmp_path, "train", "fall", aoi=3)
    write_scene(tmp_path, "test", "summer", aoi=3)
    write_scene(tmp_path, "test", "summer", aoi=4)
    report = check_dataset(tmp_path, workers=0)
    assert report.ok
    (line,) = [line for line in report.warnings if "overlap on the ground" in line]
    assert "test/summer_3" in line
    assert "train/fall_3" in line
    assert "summer_4" not in line


def test_scenes_that_repeat_others_are_a_warning(tmp_path: Path) -> None:
    for seed, product in enumerate(("clear", "cloudy")):
        first = tmp_path / "train" / product / "a.png"
        write_png(first, seed)
        write_png(tmp_path / "test" / product / "d.png", 2 + seed)
        shutil.copy(first, first.with_name("b.png"))
        shutil.copy(first, tmp_path / "test" / product / "c.png")
    report = check_dataset(tmp_path, workers=0)
    assert report.ok, report.problems
    same = [line for line in report.warnings if "the same pixels" in line]
    assert same == [
        "scenes of one split with the same pixels in all files (1): train/a and train/b",
        "scenes of two splits with the same pixels in all files (1): train/a and test/c",
    ]


@pytest.mark.parametrize(
    ("product", "value", "word"),
    [
        ("cloudy", 10_001, "clipped"),
        ("clear", 0, "value 0"),
        ("sar", np.nan, "holes"),
        ("land_cover", 0, "nodata"),
    ],
)
def test_odd_values_are_a_warning(tmp_path: Path, product: str, value: float, word: str) -> None:
    files = write_scene(tmp_path)
    rewrite(files, product, put(value))
    report = check_dataset(tmp_path, workers=0)
    assert report.ok, report.problems
    assert any(word in line and str(files.path(product)) in line for line in report.warnings)


def test_many_files_with_the_same_warning_make_one_line(tmp_path: Path) -> None:
    write_dataset(tmp_path, test=7)
    for files in find_scenes(tmp_path, "test"):
        rewrite(files, "land_cover", put(0))
    (line,) = [line for line in check_dataset(tmp_path, workers=0).warnings if "nodata" in line]
    assert "(7)" in line
    assert line.endswith("and 2 more")


def test_a_broken_dataset_card_is_a_problem(tmp_path: Path) -> None:
    write_dataset(tmp_path, test=1)
    (tmp_path / "dataset.toml").write_text("track = 1")
    report = check_dataset(tmp_path, workers=0)
    assert report.track is None
    assert any("dataset.toml" in line for line in report.problems)
    (tmp_path / "dataset.toml").write_text('track = "A B"\n[simulation]\nversion = "sim-v1"')
    problems = check_dataset(tmp_path, workers=0).problems
    for reason in ("track: expected a name in lower case", "simulation.seed: expected this key"):
        assert any(reason in line for line in problems)


def test_an_empty_split_is_a_problem_and_no_split_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds train/ or test/"):
        check_dataset(tmp_path)
    (tmp_path / "test").mkdir()
    assert not check_dataset(tmp_path).ok


def test_a_file_without_georeference_is_a_warning(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    for product in PRODUCTS[:-1]:
        raster = read_product(files, product)
        write_tif(files.path(product), raster.pixels, (0, 0), 1, None)
    report = check_dataset(tmp_path, workers=0)
    assert report.ok, report.problems
    assert any("no georeference" in line for line in report.warnings)
