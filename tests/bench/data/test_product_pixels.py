"""Test which values mean cloud, and that other units of SAR and other codes are refused."""

from __future__ import annotations

import numpy as np
import pytest

from planetcr_bench.constants import SAR_BANDS
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.data.product_pixels import clouds, expect_codes, expect_decibels
from planetcr_bench.metrics.reflectance import PixelError

LAND_COVER = load_description("planet-cr").land_cover


def decibels() -> np.ndarray:
    rng = np.random.default_rng(0)
    means = np.array([-10.0, -17.0])[:, None, None]
    return means + rng.normal(0, 2, (2, 30, 30))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: 10 ** (x / 10), "no negative value in VV and VH .*linear power"),
        (lambda x: 10 ** (x / 10) - 0.05, "hardly a value .*linear power"),
        (lambda x: -x, "dB without their sign"),
        (lambda x: (x + 40) * 6, "bytes or digital numbers"),
        (lambda x: np.stack([x[0], -x[1]]), "no negative value in VH"),
    ],
)
def test_backscatter_in_another_unit_is_refused(change, message: str) -> None:
    with pytest.raises(PixelError, match=message):
        expect_decibels(change(decibels()), SAR_BANDS)


def test_backscatter_in_decibels_passes() -> None:
    expect_decibels(decibels(), SAR_BANDS)
    expect_decibels(decibels() - 15, SAR_BANDS)  # calm water
    town = decibels()
    town[0] += 9
    expect_decibels(town, SAR_BANDS)
    town[:, 3:9] = np.nan
    expect_decibels(town, SAR_BANDS)


def test_codes_of_land_cover_that_do_not_exist_are_refused() -> None:
    expect_codes(np.array([[0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100]], np.uint8), LAND_COVER)
    with pytest.raises(PixelError, match=r"got 1, 2, 11; are these numbers of classes\?"):
        expect_codes(np.array([[1, 2, 10, 11]], np.uint8), LAND_COVER)
    with pytest.raises(PixelError, match=r"got 255$"):
        expect_codes(np.array([[10, 255]], np.uint8), LAND_COVER)


def test_clouds_are_values_in_any_band_or_colours() -> None:
    white, yellow, black = [255, 255, 255], [255, 255, 0], [0, 0, 0]
    mask = np.array([[white, yellow, black, [0, 0, 7]]], np.uint8).transpose(2, 0, 1)
    assert clouds(mask, []).tolist() == [[True, True, False, True]]
    assert clouds(mask, [255]).tolist() == [[True, True, False, False]]
    assert clouds(mask, [white]).tolist() == [[True, False, False, False]]
    assert clouds(mask, [yellow, 7]).tolist() == [[False, True, False, True]]
    assert clouds(mask[0], [0]).tolist() == [[False, False, True, True]]
    with pytest.raises(PixelError, match="expected a mask of 3 bands, got 1"):
        clouds(mask[0], [white])
