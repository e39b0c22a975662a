"""Test the published samples of Planet-CR against the authors' own figures."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose

from conftest import Cli
from paths import SHARED
from planetcr_bench.constants import LAND_COVER, OPTICAL_BANDS
from planetcr_bench.data.integrity import check_dataset
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_scene
from planetcr_bench.data.scene import Scene, upsample
from planetcr_bench.data.tracks import read_track
from planetcr_bench.metrics import kernels
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import SUMS
from planetcr_bench.results.aggregate import score_groups

DATA = SHARED / "data" / "planet-cr-sample"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not DATA.is_dir(),
        reason="Planet's pixels may not be redistributed; generated scenes cover the same rules",
    ),
]
OFFICIAL, FULL = PROTOCOLS["official"], PROTOCOLS["full"]


def golden() -> dict:
    return json.loads((SHARED / "reference" / "golden_metrics.json").read_text())


def scene_of(split: str) -> Scene:
    return read_scene(find_scenes(DATA, split)[0])


def crop(array: np.ndarray, region: str) -> np.ndarray:
    return kernels.centre_crop(array, 160 if region == "center160" else 0)


@pytest.mark.parametrize("region", ["full300", "center160"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_reader_gives_what_the_authors_loader_gives(split: str, region: str) -> None:
    expected, scene = golden()["samples"][split][region], scene_of(split)
    mask = crop(scene.cloud_mask, region)
    assert (mask.mean(), mask.sum()) == (expected["cloud_fraction"], expected["cloud_pixels"])
    classes = np.bincount(crop(scene.land_cover, region).ravel(), minlength=7)
    assert classes.tolist() == expected["class_pixels"]
    sar = crop(upsample(scene.sar, (300, 300)), region)
    assert_allclose(sar.mean((1, 2), dtype=np.float64), expected["sar_mean"], rtol=1e-9)
    assert [sar.min(), sar.max()] == expected["sar_minmax"]
    assert_allclose(sar.sum(dtype=np.float64), expected["checksums"]["sar_sum"], rtol=1e-12)
    for name, image in (("cloudy", scene.cloudy), ("cloudfree", scene.clear)):
        part = crop(image, region)
        assert_allclose(part.mean((1, 2), dtype=np.float64), expected[f"{name}_mean"], rtol=1e-9)
        total = np.rint(part.astype(np.float64) * 1e4).sum()
        assert total == expected["checksums"][f"{name}_sum_DN"]


@pytest.mark.parametrize("prediction", ["cloudy", "identical"])
@pytest.mark.parametrize("region", ["full300", "center160"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_official_is_the_authors_tester(split: str, region: str, prediction: str) -> None:
    expected, scene = golden()["samples"][split][region][prediction], scene_of(split)
    image = scene.cloudy if prediction == "cloudy" else scene.clear
    pair, clear, group = (
        np.stack([image, scene.cloudy]),
        scene.clear,
        scene.land_cover * np.uint8(3),
    )
    arrays = [crop(array, region) for array in (pair, clear, group)]
    sums = kernels.measure(*arrays, _official_on(region), OPTICAL_BANDS)
    figures = _figures(sums.sum(0))
    per_class = [_figures(sums[3 * index : 3 * index + 3].sum(0)) for index in range(7)]
    for name, twin in expected["twin_f64"].items():
        if name in ("MAE", "PSNR", "SAM", "SSIM"):
            assert_allclose(figures[name], twin, rtol=1e-6, atol=1e-12)
            spread = {"MAE": 1e-7, "PSNR": 1e-6, "SAM": 1e-5, "SSIM": 2e-6}[name]
            assert_allclose(figures[name], expected["official_f32"][name], atol=spread)
        if name in ("MAE_class", "SAM_class"):
            ours = [scores[name.removesuffix("_class")] for scores in per_class]
            for got, want in zip(ours, twin, strict=True):
                assert np.isnan(got) if want is None else np.isclose(got, want, rtol=1e-6)


def _official_on(region: str):
    import dataclasses

    return dataclasses.replace(OFFICIAL, window=160 if region == "center160" else 0)


def _figures(row: np.ndarray) -> dict[str, float]:
    sums = dict(zip(SUMS, row.tolist(), strict=True))
    if not sums["pixels"]:
        return dict.fromkeys(("MAE", "PSNR", "SAM", "SSIM"), float("nan"))
    mse = sums["squared_error"] / sums["values"]
    return {
        "MAE": sums["absolute_error"] / sums["values"],
        "PSNR": -10 * np.log10(mse) if mse else OFFICIAL.perfect_psnr,
        "SAM": sums["angle_deg"] / sums["angle_pixels"],
        "SSIM": sums["ssim"] / sums["ssim_pixels"],
    }


@pytest.mark.usefixtures("ledgers_alone")
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_command_line_gives_the_golden_figures(
    cli: Cli, scores: Callable[..., dict], split: str
) -> None:
    assert cli("predict", "copy-cloudy", "--data", DATA, "--split", split).returncode == 0
    result = scores("preds/copy-cloudy", "--split", split)
    sample = golden()["samples"][split]
    twin = sample["center160"]["cloudy"]["twin_f64"]
    official, full = result["protocols"]["official"], result["protocols"]["full"]
    names = {"mae": "MAE", "psnr": "PSNR", "sam_deg": "SAM", "ssim": "SSIM"}
    for ours, theirs in names.items():
        assert_allclose(official["overall"][ours], twin[theirs], rtol=1e-6)
    for index, land_cover in enumerate(LAND_COVER):
        for ours, theirs in (("mae", "MAE_class"), ("sam_deg", "SAM_class")):
            got, want = official["by_class"][land_cover][ours], twin[theirs][index]
            assert got is None if want is None else np.isclose(got, want, rtol=1e-6)
    skimage = sample["full300"]["cloudy"]["ssim_compare"]["skimage"]
    assert_allclose(full["overall"]["ssim"], skimage, rtol=1e-9)
    assert_allclose(
        full["overall"]["mae"], sample["full300"]["cloudy"]["twin_f64"]["MAE"], rtol=1e-9
    )
    assert (result["scenes"], result["complete"]) == (1, True)


def test_two_samples_are_averaged_as_by_the_authors_functions() -> None:
    """Scene means and pixel pools of both samples together, centre crop, prediction = cloudy."""
    from planetcr_bench.metrics.sums import SceneSums
    from planetcr_bench.results.ledger import ledger_table

    scenes = []
    for split in ("train", "test"):
        scene = scene_of(split)
        pair = np.stack([scene.cloudy, scene.cloudy])
        sums = kernels.measure(
            pair, scene.clear, scene.land_cover * np.uint8(3), OFFICIAL, OPTICAL_BANDS
        )
        identity = {
            "scene": scene.name, "split": split, "season": scene.season, "aoi": scene.aoi,
            "patch": scene.patch, "cloud_cover": scene.cloud_cover, "longitude": 0.0,
            "latitude": 0.0, "prediction_sha256": "",
        }  # fmt: skip
        scenes.append(SceneSums(identity, {"official": sums}, bands=OPTICAL_BANDS))
    frame = ledger_table(scenes).to_pandas()
    twin = golden()["aggregates_of_the_two_samples_f64"]["center160"]["cloudy"]
    overall = score_groups(frame, OFFICIAL).iloc[0]
    for ours, theirs in (("mae", "MAE"), ("psnr", "PSNR"), ("sam_deg", "SAM"), ("ssim", "SSIM")):
        assert_allclose(overall[ours], twin[theirs], rtol=1e-6)
    pooled = score_groups(frame, OFFICIAL, pool="pixels").iloc[0]
    assert_allclose(pooled["psnr"], twin["PSNR_of_pooled_MSE"], rtol=1e-6)
    for pool, suffix in (("scene-mean", "mean_over_images"), ("pixels", "pixel_pooled")):
        table = score_groups(frame, OFFICIAL, ["land_cover"], pool=pool)
        for index, land_cover in enumerate(LAND_COVER):
            for ours, theirs in (("mae", "MAE"), ("sam_deg", "SAM")):
                want = twin[f"{theirs}_class_{suffix}"][index]
                if want is None:
                    assert land_cover not in table.index
                else:
                    assert_allclose(table.loc[land_cover, ours], want, rtol=1e-6)


def test_both_samples_pass_the_check() -> None:
    report = check_dataset(DATA, workers=0)
    assert report.ok, report.problems
    assert report.track == "planet-cr"
    assert {read_track(DATA, split) for split in ("train", "test")} == {"planet-cr"}
    assert [report.splits[split].scenes for split in ("train", "test")] == [1, 1]


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_authors_list_names_the_sample(split: str) -> None:
    listed = find_scenes(DATA, split, DATA / f"one_{split}_sample.csv")
    assert listed == find_scenes(DATA, split)
