"""Test that two dates of one place become a dataset."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from conftest import Cli
from orders import (
    CORNER,
    NAME,
    ground,
    write_image,
    write_order,
    write_sar,
    write_udm2,
)
from planetcr_bench.curation.cutting import Cut, PairSettings, cut_pair
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_scene
from planetcr_bench.restoration.rasters import SceneFileError

SIZE = (620, 930)  # two rows of three patches, and something over


@pytest.fixture
def order(tmp_path: Path) -> dict[str, Path]:
    """Two dates, a mask, SAR and WorldCover; clouds over the left, nodata at the lower right."""
    clear, cloud = ground(*SIZE), np.zeros(SIZE, bool)
    cloud[:, :200] = True
    inside = np.ones(SIZE, bool)
    inside[-40:, -40:] = False
    codes = np.full((1, 186, 280), 40, np.uint8)
    codes[:, :, 100:] = 10
    coarse = Affine(10, 0, CORNER.c, 0, -10, CORNER.f)
    cloudy = np.where(cloud, 0.7, clear)
    return {
        "cloudy": write_order(tmp_path / "a", cloudy, inside),
        "clear": write_order(
            tmp_path / "b", clear, name="20220624_101530_11_2415_3B_AnalyticMS_SR"
        ),
        "mask": write_udm2(tmp_path / "a", cloud & inside, inside),
        "sar": write_sar(tmp_path / "s1.tif", *SIZE),
        "land_cover": write_image(tmp_path / "wc.tif", codes, transform=coarse, nodata=0),
    }


def cut(order: dict[str, Path], out: Path, **changes: object) -> Cut:
    extras = {name: order[name] for name in ("mask", "sar", "land_cover")}
    settings = replace(PairSettings(**extras), **changes)
    return cut_pair(order["cloudy"], order["clear"], out, settings)


def test_patches_are_what_the_scenes_are_there(order: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "data"
    made = cut(order, out)
    assert made.scenes == [f"summer_1_p_{number}" for number in (1, 2, 3, 4, 5)]
    assert (made.nodata, made.full, made.lacking) == (1, 0, [])
    assert made.bins == {"0-20": 3, "60-80": 2}
    files = find_scenes(out, "test")
    assert [each.name for each in files] == made.scenes
    with rasterio.open(order["clear"]) as image:
        numbers = image.read()
    for number, each in enumerate(files):
        row, column = divmod(number, 3)
        part = numbers[:, row * 300 : row * 300 + 300, column * 300 : column * 300 + 300]
        with rasterio.open(each.path("clear")) as patch:
            assert (patch.read() == part).all()
            assert patch.transform == CORNER @ Affine.translation(column * 300, row * 300)
    scene = read_scene(files[0])
    assert scene.cloud_mask.mean() == pytest.approx(2 / 3)
    assert scene.sar.shape == (2, 90, 90)
    with rasterio.open(files[1].path("sar")) as patch, rasterio.open(order["sar"]) as whole:
        np.testing.assert_allclose(patch.read(), whole.read()[:, :90, 90:180], atol=1e-3)
    with rasterio.open(files[1].path("land_cover")) as patch:
        assert patch.read(1)[0, [0, 9, 10, 89]].tolist() == [40, 40, 10, 10]


@pytest.mark.usefixtures("ledgers_alone")
def test_the_dataset_is_checked_predicted_and_scored(
    order: dict[str, Path], tmp_path: Path, cli: Cli
) -> None:
    arguments = ["--udm", order["mask"], "--sar", order["sar"], "--landcover", order["land_cover"]]
    done = cli("pairs", order["cloudy"], order["clear"], "--out", "data", *arguments)
    assert done.returncode == 0, done.stderr
    assert "5 patches in" in done.stdout
    for words in (["check", "data"], ["predict", "mean-fill", "--data", "data"],
                  ["evaluate", "preds/mean-fill"]):  # fmt: skip
        done = cli(*words)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/own-pairs/mean-fill/ledger.parquet").is_file()


def test_what_no_file_is_given_for_is_left_out(
    order: dict[str, Path], tmp_path: Path, cli: Cli
) -> None:
    out = tmp_path / "data"
    made = cut(order, out, mask=None, sar=None, land_cover=None)
    assert made.lacking == ["sar", "land_cover", "cloud_mask"]
    (first, *_) = find_scenes(out, "test")
    assert first.description.sar is None
    assert cli("check", out).returncode == 0
    with pytest.raises(SceneFileError, match="describes a dataset of other products"):
        cut(order, out)


def test_areas_are_added_one_after_another(order: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "data"
    cut(order, out)
    assert cut(order, out).scenes[0] == "summer_2_p_1"
    assert cut(order, out, season="winter", split="train").scenes[0] == "winter_1_p_1"
    before = sorted(out.rglob("*"))
    with pytest.raises(SceneFileError, match="exists already; choose another area with --aoi"):
        cut(order, out, aoi=2)
    assert [path for path in sorted(out.rglob("*")) if "unfinished" not in str(path)] == before


def test_bins_are_filled_as_asked(order: dict[str, Path], tmp_path: Path) -> None:
    made = cut(order, tmp_path / "data", per_bin=1)
    assert made.bins == {"0-20": 1, "60-80": 1}
    assert made.full == 3
    with pytest.raises(SceneFileError, match="give --udm too"):
        cut(order, tmp_path / "other", per_bin=1, mask=None)


def test_some_nodata_may_be_allowed(order: dict[str, Path], tmp_path: Path) -> None:
    made = cut(order, tmp_path / "data", max_nodata=0.1)
    assert len(made.scenes) == 6
    with rasterio.open(find_scenes(tmp_path / "data", "test")[-1].path("clear")) as patch:
        numbers = patch.read()
    assert (numbers == 0).all(0).sum() == 20 * 10  # what the cloudy date lacks


def test_a_clear_scene_of_another_grid_is_resampled(order: dict[str, Path], tmp_path: Path) -> None:
    shifted = CORNER @ Affine.translation(-10.5, -7.5)
    image = np.full((4, 700, 1000), 0.2, np.float32)
    clear = write_order(tmp_path / "c", image, name="other_SR", transform=shifted)
    made = cut({**order, "clear": clear}, tmp_path / "data")
    assert len(made.scenes) == 5
    with rasterio.open(find_scenes(tmp_path / "data", "test")[0].path("clear")) as patch:
        assert (patch.read() == 2000).all()


def test_a_scene_without_a_date_needs_a_season(order: dict[str, Path], tmp_path: Path) -> None:
    numbers = np.full((4, 310, 310), 2000, np.uint16)
    cloudy = write_image(tmp_path / "x" / "some_SR.tif", numbers)
    with pytest.raises(SceneFileError, match="say when it was taken; give --season"):
        cut({**order, "cloudy": cloudy}, tmp_path / "data", mask=None)
    assert cut({**order, "cloudy": cloudy}, tmp_path / "data", mask=None, season="fall").scenes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transform": Affine(10, 0, 500_000, 0, -10, 5_400_000)}, "expected pixels of 3 m"),
        ({"crs": CRS.from_epsg(4326), "transform": Affine(2.7e-5, 0, 9, 0, -2.7e-5, 48)},
         "expected pixels of 3 m in a projected"),
        ({"size": (200, 400)}, "at least 300 × 300"),
    ],
)  # fmt: skip
def test_scenes_that_cannot_be_cut_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    size = change.pop("size", (310, 310))
    cloudy = write_order(tmp_path / "a", ground(*size), **change)
    clear = write_order(tmp_path / "b", ground(*size), **change)
    with pytest.raises(SceneFileError, match=message):
        cut_pair(cloudy, clear, tmp_path / "data", PairSettings())
    assert not (tmp_path / "data").exists()


def test_scenes_without_a_common_patch_are_refused(tmp_path: Path, cli: Cli) -> None:
    cloudy = write_order(tmp_path / "a", ground(310, 310))
    clear = write_order(tmp_path / "b", ground(310, 310), np.zeros((310, 310), bool))
    done = cli("pairs", cloudy, clear, "--out", "data")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {cloudy}: no patch is left")
    assert NAME in done.stderr
    assert not (tmp_path / "data").exists()


def test_the_command_prints_json(order: dict[str, Path], cli: Cli) -> None:
    done = cli("pairs", order["cloudy"], order["clear"], "--out", "d", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert len(facts["scenes"]) == 5
    assert facts["lacking"] == ["sar", "land_cover", "cloud_mask"]
