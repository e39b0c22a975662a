"""Separable sums against scipy, and the laws that weights obey."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage

from planetcr_bench.simulation.resampling import blur, box, gaussian, linear, resample, taps

IMAGE = np.random.default_rng(0).normal(0, 1, (60, 50)).astype(np.float32)


@pytest.mark.parametrize(("sigma", "reach"), [(0.75, 2), (2.5, 4)])
def test_blur_is_the_filter_of_scipy_with_a_continued_border(sigma: float, reach: int) -> None:
    weights = taps(sigma, reach)
    expected = ndimage.correlate1d(
        ndimage.correlate1d(IMAGE, weights, 0, mode="nearest"), weights, 1, mode="nearest"
    )
    assert_allclose(blur(IMAGE, weights), expected, atol=1e-5)


def test_a_box_holds_the_mean_of_what_it_covers() -> None:
    fine = np.repeat(np.repeat(IMAGE, 3, 0), 3, 1)  # thirds of pixels: 10 m are ten of them
    expected = fine[:150, :150].reshape(15, 10, 15, 10).mean((1, 3))
    got = resample(IMAGE, box(15, 60, 10 / 3, 0), box(15, 50, 10 / 3, 0))
    assert_allclose(got, expected, atol=1e-5)


def test_linear_interpolation_is_that_of_scipy() -> None:
    rows, columns = np.mgrid[0:40, 0:30]
    expected = ndimage.map_coordinates(IMAGE, [rows + 3.3, columns + 7.8], order=1)
    got = resample(IMAGE, linear(40, 60, 1, 3.3), linear(30, 50, 1, 7.8))
    assert_allclose(got, expected, atol=1e-5)


def test_a_gaussian_keeps_the_values_of_a_ramp() -> None:
    ramp = np.tile(np.arange(50, dtype=np.float32) + 0.5, (60, 1))  # value = position
    got = resample(ramp, gaussian(6, 60, 5, 12, 2), gaussian(6, 50, 3.3, 12.7, 2))
    assert_allclose(got[0], 12.7 + (np.arange(6) + 0.5) * 3.3, atol=2e-3)


@pytest.mark.parametrize(
    "axis", [gaussian(9, 50, 10 / 3, -4, 2.7), box(9, 50, 10 / 3, 30), linear(9, 50, 9, -5)]
)
def test_weights_sum_to_one_even_where_they_reach_beyond_the_image(axis) -> None:
    assert_allclose(axis.weights.sum(1), 1, atol=1e-6)
    assert axis.first.min() >= 0
    assert axis.first.max() + axis.weights.shape[1] <= 50
