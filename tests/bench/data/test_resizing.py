"""Test shrinking images by whole factors."""

from __future__ import annotations

import numpy as np
import pytest

from planetcr_bench.data.resizing import shrink


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_each_pixel_is_the_mean_of_a_square(dtype: str) -> None:
    image = np.random.default_rng(0).integers(0, 200, (3, 12, 18)).astype(dtype)
    small = shrink(image, 3, "clear")
    assert small.dtype == image.dtype
    expected = image[:, 3:6, 6:9].mean((1, 2), dtype=np.float64)
    np.testing.assert_allclose(small[:, 1, 2], expected, atol=0.5 if dtype[0] == "u" else 1e-5)


def test_the_end_of_an_axis_is_cut_off() -> None:
    image = np.arange(35, dtype=np.uint8).reshape(1, 5, 7)
    assert shrink(image, 2, "clear").shape == shrink(image, 2, "land_cover").shape == (1, 2, 3)
    assert (shrink(image, 2, "clear") == shrink(image[:, :4, :6], 2, "clear")).all()


def test_half_a_square_of_cloud_is_cloud_and_land_cover_keeps_its_codes() -> None:
    mask = np.array([[1, 1, 1, 0], [0, 0, 0, 0]], bool)
    assert shrink(mask, 2, "cloud_mask").tolist() == [[True, False]]
    codes = np.array([[[10, 20, 30, 40], [50, 60, 70, 80]]], np.uint8)
    assert shrink(codes, 2, "land_cover").tolist() == [[[60, 80]]]
