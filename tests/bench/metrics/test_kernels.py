"""The arithmetic of a measurement against formulas and libraries that were written elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio

from image_pairs import by_name, images, total
from planetcr_bench.constants import OPTICAL_BANDS, REGIONS
from planetcr_bench.errors import BenchError
from planetcr_bench.metrics.further import measure_further
from planetcr_bench.metrics.kernels import _angle_deg, centre_crop, measure, region_of
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import GROUPS

OFFICIAL, FULL = PROTOCOLS["official"], PROTOCOLS["full"]


@given(st.floats(-1, 1))
@example(1.0)
@example(-1.0)
@example(0.5)
@example(-0.5)
@example(1 - 2**-53)
def test_angle_is_the_arccosine(cosine: float) -> None:
    assert_allclose(_angle_deg(cosine), np.degrees(np.arccos(cosine)), rtol=1e-14, atol=0)


def test_the_angle_of_a_cosine_outside_its_range() -> None:
    assert [_angle_deg(cosine) for cosine in (1 + 1e-15, -1 - 1e-15)] == [0, 180]
    assert np.isnan(_angle_deg(np.nan))


def test_full_psnr_is_scikit_image_s() -> None:
    pair, target, group = images()
    sums = total(measure(pair, target, group, FULL, OPTICAL_BANDS))
    expected = peak_signal_noise_ratio(
        target.astype(np.float64), pair[0].astype(np.float64), data_range=1.0
    )
    assert_allclose(-10 * np.log10(sums["squared_error"] / sums["values"]), expected, rtol=1e-12)


def test_full_angle_is_the_arc_cosine_of_the_normalised_dot_product() -> None:
    pair, target, group = images()
    sums = total(measure(pair, target, group, FULL, OPTICAL_BANDS))
    for index, column in ((0, "angle_deg"), (1, "input_angle_deg")):
        p, t = pair[index].astype(np.float64), target.astype(np.float64)
        cosine = (p * t).sum(0) / (np.linalg.norm(p, axis=0) * np.linalg.norm(t, axis=0))
        expected = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        assert_allclose(sums[column], expected.sum(), rtol=1e-10)


@pytest.mark.parametrize(
    ("prediction", "target", "degrees"),
    [
        ((0.0,) * 4, (0.0,) * 4, 90.0),
        ((0.01,) * 4, (0.01,) * 4, 65.82029724121094),
        ((0.015625,) * 4, (0.015625,) * 4, 0.0),
        ((0.02,) * 4, (0.02,) * 4, 0.0),
        ((0.1,) * 4, (0.3,) * 4, 0.0),
        ((0.2, 0.0, 0.0, 0.0), (0.0, 0.2, 0.0, 0.0), 90.0),
        ((-0.1,) * 4, (0.1,) * 4, 180.0),
    ],
)
def test_official_angle_of_dark_and_odd_spectra(
    prediction: tuple[float, ...], target: tuple[float, ...], degrees: float
) -> None:
    """Expected values: the authors' released code, run on these spectra."""
    grid = np.ones((1, 1, 160, 160), np.float32)
    p = grid[0] * np.float32(prediction)[:, None, None]
    t = grid[0] * np.float32(target)[:, None, None]
    sums = total(
        measure(np.stack([p, p]), t, np.zeros((160, 160), np.uint8), OFFICIAL, OPTICAL_BANDS)
    )
    assert_allclose(sums["angle_deg"] / sums["angle_pixels"], degrees, rtol=1e-5, atol=1e-4)


def test_full_leaves_out_pixels_without_an_angle_and_counts_the_rest() -> None:
    pair, target, group = images()
    pair[0, :, :7] = 0
    target[:, :3] = 0
    sums = total(measure(pair, target, group, FULL, OPTICAL_BANDS))
    assert sums["pixels"] - sums["angle_pixels"] == 7 * 200
    assert sums["pixels"] - sums["input_angle_pixels"] == 3 * 200
    assert np.isfinite(sums["angle_deg"])


def test_all_zero_images_have_sums_and_no_angle() -> None:
    pair = np.zeros((2, 4, 40, 40), np.float32)
    sums = total(measure(pair, pair[0], np.zeros((40, 40), np.uint8), FULL, OPTICAL_BANDS))
    assert sums["absolute_error"] == sums["squared_error"] == sums["angle_pixels"] == 0
    assert sums["ndvi_pixels"] == 0
    assert_allclose(sums["ssim"] / sums["ssim_pixels"], 1.0, rtol=1e-12)


@pytest.mark.parametrize("protocol", [OFFICIAL, FULL], ids=lambda protocol: protocol.name)
def test_a_perfect_match_has_no_error_no_angle_and_full_similarity(protocol) -> None:
    _, target, group = images()
    target[:, :20, :20] = 0.5
    sums = total(measure(np.stack([target, target]), target, group, protocol, OPTICAL_BANDS))
    assert sums["absolute_error"] == sums["squared_error"] == sums["angle_deg"] == 0
    assert sums["ndvi_error"] == 0
    assert_allclose(sums["ssim"] / sums["ssim_pixels"], 1.0, rtol=1e-12)


def test_every_sum_is_the_sum_over_its_group_of_pixels() -> None:
    pair, target, group = images()
    sums = by_name(measure(pair, target, group, FULL, OPTICAL_BANDS))
    p, c, t = pair[0].astype(float), pair[1].astype(float), target.astype(float)
    ndvi_p, ndvi_t = ((i[3] - i[2]) / (i[3] + i[2]) for i in (p, t))
    valid = (p[2] + p[3] > 0) & (t[2] + t[3] > 0)
    for index in range(GROUPS):
        mask = group == index
        assert sums["pixels"][index] == mask.sum()
        assert sums["values"][index] == 4 * mask.sum()
        expected = {
            "absolute_error": abs(p - t)[:, mask].sum(),
            "squared_error": ((p - t) ** 2)[:, mask].sum(),
            "prediction_cloudy": abs(p - c)[:, mask].sum(),
            "cloudy_clear": abs(c - t)[:, mask].sum(),
            "input_squared_error": ((c - t) ** 2)[:, mask].sum(),
            "out_of_range": ((p < 0) | (p > 1))[:, mask].sum(),
            "ndvi_pixels": (mask & valid).sum(),
            "ndvi_error": abs(np.clip(ndvi_p, -1, 1) - np.clip(ndvi_t, -1, 1))[mask & valid].sum(),
        }
        for name, value in expected.items():
            assert_allclose(sums[name][index], value, rtol=1e-11, err_msg=name)


def test_the_groups_add_up_to_the_total() -> None:
    pair, target, group = images()
    parts = measure(pair, target, group, OFFICIAL, OPTICAL_BANDS).sum(0)
    whole = measure(pair, target, np.zeros_like(group), OFFICIAL, OPTICAL_BANDS).sum(0)
    assert_allclose(parts, whole, rtol=1e-12)


def test_official_measures_the_centre_alone() -> None:
    pair, target, group = images(size=300)
    before = measure(pair, target, group, OFFICIAL, OPTICAL_BANDS)
    pair[..., :70, :] = pair[..., 230:, :] = pair[..., :70] = pair[..., 230:] = 7
    assert (measure(pair, target, group, OFFICIAL, OPTICAL_BANDS) == before).all()
    assert centre_crop(np.arange(300 * 300).reshape(300, 300), 160)[0, 0] == 70 * 300 + 70


@given(
    st.integers(12, 60),
    st.integers(12, 60),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_regions_agree_with_a_distance_transform(h: int, w: int, share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((h, w)) < share**6
    if not mask.any():
        assert (region_of(mask, 3.0) == REGIONS.index("clear")).all()
        return
    distance_px = ndimage.distance_transform_edt(~mask)
    expected = np.where(mask, 0, np.where(distance_px <= 10, 1, 2))
    assert (region_of(mask, 3.0) == expected).all()


def test_regions_without_cloud_and_with_nothing_but_cloud() -> None:
    assert (region_of(np.zeros((300, 300), bool), 3.0) == REGIONS.index("clear")).all()
    assert (region_of(np.ones((300, 300), bool), 3.0) == REGIONS.index("cloud")).all()


@pytest.mark.parametrize(("resolution_m", "radius"), [(10.0, 3), (4.0, 7.5), (30.0, 1), (None, 10)])
def test_the_edge_is_as_wide_at_any_resolution(resolution_m: float | None, radius: float) -> None:
    mask = np.random.default_rng(0).random((40, 70)) < 0.005
    expected = np.where(mask, 0, np.where(ndimage.distance_transform_edt(~mask) <= radius, 1, 2))
    assert (region_of(mask, resolution_m) == expected).all()


def test_images_need_not_be_square() -> None:
    rng = np.random.default_rng(0)
    pair, target = rng.random((2, 3, 24, 40), np.float32), rng.random((3, 24, 40), np.float32)
    group = rng.integers(0, GROUPS, (24, 40)).astype(np.uint8)
    bands = ("red", "green", "blue")
    sums = measure(pair, target, group, FULL, bands)
    turned = [np.ascontiguousarray(each.swapaxes(-1, -2)) for each in (pair, target, group)]
    assert_allclose(sums, measure(*turned, FULL, bands), rtol=1e-10)
    assert total(sums)["ssim_pixels"] == 14 * 30
    assert total(sums)["ndvi_pixels"] == total(sums)["ndvi_error"] == 0


def test_images_smaller_than_a_window_are_refused() -> None:
    for protocol, side in ((FULL, 10), (OFFICIAL, 159)):
        pair = np.zeros((2, 4, side, 200), np.float32)
        group = np.zeros((side, 200), np.uint8)
        with pytest.raises(BenchError, match=f"got {side} × 200"):
            measure(pair, pair[0], group, protocol, OPTICAL_BANDS)


def test_images_of_another_number_of_bands_are_refused() -> None:
    pair, target, group = images()
    with pytest.raises(BenchError, match=r"expected 2 bands \(red, nir\), got 4"):
        measure(pair, target, group, FULL, ("red", "nir"))
    with pytest.raises(BenchError, match="expected 4 bands"):
        measure_further(pair[:, :3], target[:3], group, FULL, OPTICAL_BANDS)
