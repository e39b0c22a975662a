"""Test the interpretation of pixels by tags, and the plausibility of their values."""

from __future__ import annotations

import numpy as np
import pytest

from planetcr_bench.constants import OPTICAL_BANDS
from planetcr_bench.data.pixel_checks import (
    Tags,
    colour_likeness,
    expect_digital_numbers,
    expect_no_holes,
    is_convention,
    mask_looks_inverted,
    nodata_pixels,
    scaled,
    too_dark,
)
from planetcr_bench.metrics.reflectance import PixelError, expect_reflectance


def image(seed: int = 0, size: int = 40) -> np.ndarray:
    """A dark image with a bright corner, reflectance."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(0.02, 0.3, (4, size, size))
    pixels[:, : size // 4, : size // 4] += 0.5
    return pixels.astype(np.float32)


# --- Nodata and masks -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "nodata", "shown"),
    [
        ("float32", -9999.0, "-9999"),
        ("float32", -3.4028234663852886e38, "-3.402823466e+38"),
        ("float64", -3.4028234663852886e38, "-3.402823466e+38"),
        ("float32", 0.1, "0.1"),  # no number of float32
        ("float32", np.nan, "nan"),
        ("uint16", 0.0, "0"),
        ("uint16", 65535.0, "65535"),
    ],
)
def test_pixels_with_the_nodata_value_are_counted(dtype: str, nodata: float, shown: str) -> None:
    pixels = np.full((4, 9, 9), 7, dtype)
    expect_no_holes(pixels, Tags(nodata=(nodata,) * 4))
    pixels[2, 3:5, 4] = nodata
    pixels[1, 3, 4] = nodata  # the same pixel
    with pytest.raises(PixelError, match=r"2 pixels have its nodata value") as error:
        expect_no_holes(pixels, Tags(nodata=(nodata,) * 4))
    assert f"its nodata value {shown};" in str(error.value)
    expect_no_holes(pixels, Tags(nodata=(nodata, None, None, nodata)))


@pytest.mark.parametrize("nodata", [-9999.0, 0.5, np.nan, 70000.0])
def test_a_nodata_value_outside_the_dtype_matches_nothing(nodata: float) -> None:
    pixels = np.arange(65536, dtype=np.uint16).reshape(1, 256, 256)
    assert nodata_pixels(pixels, (nodata,)) is None


def test_hidden_pixels_are_counted_and_a_mask_that_hides_none_passes() -> None:
    hidden = np.zeros((9, 9), bool)
    expect_no_holes(np.ones((4, 9, 9)), Tags(hidden=hidden))
    hidden[2, 2:5] = True
    with pytest.raises(PixelError, match="3 pixels are hidden by its own mask or alpha band"):
        expect_no_holes(np.ones((4, 9, 9)), Tags(hidden=hidden))


# --- Scale and offset -------------------------------------------------------------------------


def test_scale_and_offset_are_applied_band_by_band() -> None:
    tags = Tags(scales=(0.1, 1e-4), offsets=(0.0, -0.1))
    values = scaled(np.full((2, 1, 1), 2000, np.uint16), tags)
    np.testing.assert_allclose(values.ravel(), [200, 0.1])
    assert is_convention(Tags(scales=(0.0001,) * 4, offsets=(0.0,) * 4), 10_000)
    assert not is_convention(tags, 10_000)


@pytest.mark.parametrize(
    ("scale", "offset"), [(0, 0), (-1e-4, 0), (np.nan, 0), (1e-4, np.inf), (1, -1000)]
)
def test_unusable_scales_and_offsets_are_refused(scale: float, offset: float) -> None:
    with pytest.raises(PixelError, match=r"expected (a usable scale and offset|tags that)"):
        scaled(np.ones((1, 2, 2), np.uint16), Tags(scales=(scale,), offsets=(offset,)))


# --- Units ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: 2 * x - 1, r"looks like the scale \[-1, 1\] of a network's output"),
        (lambda x: 100 * x, "looks like digital numbers"),
        (lambda x: 6.5 * x, "scaled or shifted in some other way"),
        (lambda x: x - 0.3, "far outside it"),
        (
            lambda x: np.where(x > 0.79, -9999, x),
            "values that cannot be one .*without a tag",
        ),
    ],
)
def test_images_in_another_unit_are_refused(change, message: str) -> None:
    with pytest.raises(PixelError, match=message):
        expect_reflectance(change(image()).astype(np.float32), brightest=1.0)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: 0 * x,
        lambda x: 0 * x + 0.2,
        lambda x: x - 0.06,  # a little below 0
        lambda x: np.random.default_rng(0).normal(0.0, 0.05, x.shape),  # noise over black water
        lambda x: x + 0.5,  # bright cloud above 1
    ],
)
def test_a_poor_method_is_not_taken_for_another_unit(change) -> None:
    expect_reflectance(change(image()).astype(np.float32), brightest=1.0)


def test_an_image_may_be_as_bright_as_its_scene() -> None:
    bright = image() + 1.2
    expect_reflectance(bright, brightest=float(bright.max()))
    with pytest.raises(PixelError, match="far outside"):
        expect_reflectance(bright, brightest=1.0)


def test_reflectance_cast_to_integers_is_refused() -> None:
    with pytest.raises(PixelError, match="uint16 whose largest value is 1: it looks like reflect"):
        expect_digital_numbers(np.eye(4, dtype=np.uint16))
    expect_digital_numbers(np.eye(4, dtype=np.uint16) * 2)
    expect_digital_numbers(np.zeros((4, 4), np.uint16))  # black; a folder of them is another matter


def test_a_dataset_that_is_too_dark_for_digital_numbers_says_what_it_looks_like() -> None:
    assert not too_dark([40, 256])
    assert not too_dark([])
    assert "percent or bytes" in too_dark([40, 255])


# --- What looks wrong -------------------------------------------------------------------------


def test_a_mask_that_calls_bright_pixels_clear_looks_inverted() -> None:
    clear = (image(size=80) * 10_000).astype(np.uint16)
    mask = np.zeros((80, 80), bool)
    mask[:, 30:] = True
    cloudy = clear + 3000 * mask.astype(np.uint16)
    assert mask_looks_inverted(cloudy, clear, mask) is False
    assert mask_looks_inverted(cloudy, clear, ~mask) is True
    assert mask_looks_inverted(clear, clear, mask) is False
    assert mask_looks_inverted(cloudy, clear, np.ones_like(mask)) is None


def test_swapped_colours_run_against_the_input() -> None:
    given, clear = image(1), np.ones((40, 40), bool)
    rng = np.random.default_rng(2)
    own = given + rng.normal(0, 0.02, given.shape).astype(np.float32)
    own[2] += 0.1  # a cast of one colour is no swap
    assert colour_likeness(own, given, clear, OPTICAL_BANDS) > 0.9
    assert colour_likeness(own[[2, 1, 0, 3]], given, clear, OPTICAL_BANDS) < -0.9
    assert abs(colour_likeness(image(3)[[2, 1, 0, 3]], given, clear, OPTICAL_BANDS)) < 0.1
    assert colour_likeness(own, given, ~clear, OPTICAL_BANDS) is None
    assert colour_likeness(np.full_like(given, 0.2), given, clear, OPTICAL_BANDS) is None
    assert colour_likeness(own, given, clear, ["red", "green"]) is None
