"""Test metrics of arrays against the ledger, scikit-image and torchmetrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from skimage.metrics import structural_similarity
from torchmetrics.functional import mean_absolute_error
from torchmetrics.functional.image import peak_signal_noise_ratio

import planetcr_bench as pb
from planetcr_bench.constants import LAND_COVER
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.results.aggregate import score_groups

NAMES = {
    "mae": "mae", "psnr": "psnr", "sam": "sam_deg", "ssim": "ssim", "rmse": "rmse",
    "ergas": "ergas", "ndvi_error": "ndvi_error", "gradient_error": "gradient_error",
    "sharpness": "sharpness",
}  # fmt: skip


def darker(scene: pb.Scene) -> np.ndarray:
    return np.clip(scene.cloudy * np.float32(0.9), 0, 1)


@pytest.fixture(scope="module")
def scenes(data: Path) -> list[pb.Scene]:
    return list(pb.open_dataset(data)[:3])


@pytest.fixture(scope="module")
def run(data: Path) -> pb.Run:
    return pb.evaluate(darker, pb.open_dataset(data)[:3], workers=0)


def stacked(scenes: list[pb.Scene]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([darker(scene) for scene in scenes]), np.stack([s.clear for s in scenes])


def test_every_metric_of_the_package_is_tested() -> None:
    assert set(pb.metrics.__all__) == set(NAMES)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_scores_as_the_ledger_of_its_scenes(
    scenes: list[pb.Scene], run: pb.Run, name: str, protocol: str
) -> None:
    metric = getattr(pb.metrics, name)
    expected = run.by(protocol=protocol, metrics=[NAMES[name]])[NAMES[name]].iloc[0]
    assert_allclose(metric(*stacked(scenes), protocol=protocol), expected, rtol=1e-12)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_classes_and_masks_are_those_of_the_ledger(
    scenes: list[pb.Scene], run: pb.Run, protocol: str
) -> None:
    land_cover = np.stack([scene.need_land_cover() for scene in scenes])
    under = np.stack([scene.need_cloud_mask() for scene in scenes])
    by_class = score_groups(run.ledger, PROTOCOLS[protocol], ["land_cover"]).reindex(LAND_COVER)
    by_region = score_groups(run.ledger, PROTOCOLS[protocol], ["region"])
    for name in ("mae", "sam", "ssim", "psnr"):
        metric, column = getattr(pb.metrics, name), NAMES[name]
        classes = metric(*stacked(scenes), land_cover=land_cover, protocol=protocol)
        assert list(classes) == list(LAND_COVER)
        assert_allclose(list(classes.values()), by_class[column], rtol=1e-12)
        cloud = metric(*stacked(scenes), mask=under, protocol=protocol)
        assert_allclose(cloud, by_region.loc["cloud", column], rtol=1e-12)


def test_pools_of_a_batch(scenes: list[pb.Scene]) -> None:
    images, clear = stacked(scenes)
    each = [pb.metrics.psnr(*pair) for pair in zip(images, clear, strict=True)]
    mean = pb.metrics.psnr(images, clear, pool="scene-mean")
    assert_allclose(mean, np.mean(each), rtol=1e-12)
    assert pb.metrics.psnr(images, clear) < mean


def test_libraries_agree(scenes: list[pb.Scene]) -> None:
    images, clear = stacked(scenes)
    p, t = images[0].astype(np.float64), clear[0].astype(np.float64)
    pair = torch.from_numpy(p), torch.from_numpy(t)
    assert_allclose(pb.metrics.mae(p, t), float(mean_absolute_error(*pair)), rtol=1e-12)
    expected = float(peak_signal_noise_ratio(*pair, data_range=1.0))
    assert_allclose(pb.metrics.psnr(p, t), expected, rtol=1e-6)  # whose logarithm is of float32
    similarity = structural_similarity(
        p, t, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0,
        channel_axis=0,
    )  # fmt: skip
    assert_allclose(pb.metrics.ssim(p, t), similarity, rtol=1e-10)


def test_tensors_score_as_arrays(scenes: list[pb.Scene]) -> None:
    images, clear = stacked(scenes)
    grown = torch.tensor(images, requires_grad=True)
    assert pb.metrics.mae(grown, torch.tensor(clear)) == pb.metrics.mae(images, clear)
    assert pb.metrics.sam(grown, clear) == pb.metrics.sam(images, clear)
    half = torch.tensor(images).bfloat16()
    assert pb.metrics.mae(half, clear) == pb.metrics.mae(half.float(), clear)


def test_what_a_person_types_first_is_the_metric() -> None:
    clear = np.full((4, 16, 16), 0.2)
    assert_allclose(pb.scores.mae(clear + 0.1, clear), 0.1)
    from planetcr_bench.metrics import kernels  # noqa: F401  # whose modules must not hide metrics

    assert callable(pb.metrics.ssim)


GOOD = np.full((4, 16, 16), 0.2, np.float32)
BAD = {
    "bands last": (GOOD.transpose(1, 2, 0), "bands first, got (16, 16, 4), bands last"),
    "two axes": (GOOD[0], "expected shape (4, H, W) or (N, 4, H, W), got (16, 16)"),
    "other bands": (GOOD[:3], "(blue, green, red, nir), got (3, 16, 16)"),
    "another grid": (GOOD[:, :12], "expected the shape of clear, (4, 16, 16)"),
    "digital numbers": (GOOD * 1e4, "looks like digital numbers; divide digital numbers by 10000"),
    "integers": ((GOOD * 1e4).astype(np.uint16), "as floats, got uint16; divide digital"),
    "NaN": (np.where(np.arange(16) < 3, np.nan, GOOD), "got 192 values that are NaN or infinite"),
    "[-1, 1]": (GOOD * 0 - 0.9, "looks like the scale [-1, 1] of a network's output"),
    "text": (np.array("image"), "expected reflectance in [0, 1] as floats, got <U5"),
}


@pytest.mark.parametrize("what", BAD)
def test_wrong_arrays_are_refused_in_one_line(what: str) -> None:
    array, words = BAD[what]
    with pytest.raises(pb.BenchError) as refused:
        pb.metrics.mae(array, GOOD)
    assert words in str(refused.value)
    assert str(refused.value).startswith("prediction: ")
    assert "\n" not in str(refused.value)


def test_wrong_maps_and_options_are_refused() -> None:
    other_grid, floats = np.ones((8, 8), bool), np.ones((16, 16))
    for options, words in (
        ({"mask": other_grid}, r"mask: expected the grid of the clear image, \(16, 16\)"),
        ({"mask": floats}, "mask: expected True and False, got float64"),
        ({"land_cover": floats}, "land_cover: expected class indices as whole numbers"),
        ({"land_cover": np.full((16, 16), 9)}, "land_cover: expected class indices from 0 to 6"),
        ({"protocol": "fool"}, "protocol: expected official or full, got 'fool'"),
        ({"protocol": "official"}, "expected at least 160 × 160 pixels, got 16 × 16"),
        ({"pool": "all"}, "pool: expected scene-mean or pixels"),
    ):
        with pytest.raises(pb.BenchError, match=words):
            pb.metrics.mae(GOOD, GOOD, **options)
    with pytest.raises(pb.BenchError, match="expected bands called red and nir"):
        pb.metrics.ndvi_error(GOOD[:3], GOOD[:3])
    with pytest.raises(AttributeError, match="it has ergas"):
        _ = pb.metrics.mse


def test_nothing_counted_has_no_score() -> None:
    assert np.isnan(pb.metrics.mae(GOOD, GOOD, mask=np.zeros((16, 16), bool)))
