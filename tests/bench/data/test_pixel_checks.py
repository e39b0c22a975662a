"""Test the interpretation of pixels by tags, and the plausibility of their values."""

from __future__ import annotations

import numpy as np
import pytest

from planetcr_bench.constants import OPTICAL_BANDS, SAR_BANDS
from planetcr_bench.data.pixel_checks import (
    PixelError,
    Tags,
    band_order,
    colour_likeness,
    expect_codes,
    expect_decibels,
    expect_digital_numbers,
    expect_no_holes,
    expect_reflectance,
    is_convention,
    mask_looks_inverted,
    nodata_pixels,
    scaled,
    too_dark,
)


def image(seed: int = 0, size: int = 40) -> np.ndarray:
    """A dark image with a bright corner, reflectance."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(0.02, 0.3, (4, size, size))
    pixels[:, : size // 4, : size // 4] += 0.5
    return pixels.astype(np.float32)


# --- Nodata and masks -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "nodata", "told"),
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
def test_pixels_of_their_own_nodata_are_counted(dtype: str, nodata: float, told: str) -> None:
    pixels = np.full((4, 9, 9), 7, dtype)
    expect_no_holes(pixels, Tags(nodata=(nodata,) * 4))
    pixels[2, 3:5, 4] = nodata
    pixels[1, 3, 4] = nodata  # the same pixel
    with pytest.raises(PixelError, match=r"2 pixels are its own nodata") as error:
        expect_no_holes(pixels, Tags(nodata=(nodata,) * 4))
    assert f"own nodata {told};" in str(error.value)
    expect_no_holes(pixels, Tags(nodata=(nodata, None, None, nodata)))


@pytest.mark.parametrize("nodata", [-9999.0, 0.5, np.nan, 70000.0])
def test_a_nodata_that_the_dtype_does_not_have_is_nowhere(nodata: float) -> None:
    pixels = np.arange(65536, dtype=np.uint16).reshape(1, 256, 256)
    assert nodata_pixels(pixels, (nodata,)) is None


def test_hidden_pixels_are_counted_and_a_mask_that_hides_none_passes() -> None:
    hidden = np.zeros((9, 9), bool)
    expect_no_holes(np.ones((4, 9, 9)), Tags(hidden=hidden))
    hidden[2, 2:5] = True
    with pytest.raises(PixelError, match="3 pixels are hidden by its own mask or alpha band"):
        expect_no_holes(np.ones((4, 9, 9)), Tags(hidden=hidden))


# --- Names of bands ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("red", "green", "blue", "nir"),
        ("R", "G", "B", "NIR"),
        ("r", "g", "b", "n"),
        ("Red", "Green", "Blue", "Near-Infrared"),
        ("RED", "GREEN", "BLUE", "near infrared"),
        ("red (B4)", "green (B3)", "blue (B2)", "Near-IR"),
        ("SurfaceReflectanceRed", "BandGreen", "BandBlue", "BandNir"),
        ("B04", "B03", "B02", "B08"),
        ("B4", "B3", "B2", "B8A"),
        ("SR_B4", "SR_B3", "SR_B2", "SR_B5"),
        ("Band 6", "Band 4", "Band 2", "Band 8"),
    ],
)
def test_bands_are_found_by_their_names(names: tuple[str, ...]) -> None:
    assert band_order(names, OPTICAL_BANDS) == [2, 1, 0, 3]
    right = [names[place] for place in (2, 1, 0, 3)]
    assert band_order(right, OPTICAL_BANDS) is None


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("", "", "", ""),
        ("Band 1", "Band 2", "Band 3", "Band 4"),
        ("B1", "B2", "B3", "B4"),
        ("prediction", "prediction", "prediction", "prediction"),
        ("blue", "", "", ""),
        ("blue", "green", "red", "layer 4"),
    ],
)
def test_names_that_say_nothing_else_prove_nothing(names: tuple[str, ...]) -> None:
    assert band_order(names, OPTICAL_BANDS) is None


@pytest.mark.parametrize(
    "names",
    [
        ("blue", "green", "blue", "nir"),
        ("red", "green", "blue", ""),
        ("blue", "green", "red", "swir1"),
        ("blue", "green", "red edge", "nir"),
        ("blue", "green", "rededge", "nir"),
        ("coastal blue", "green", "red", "nir"),
        ("Band 3", "Band 2", "Band 1", "Band 4"),
        ("VV", "VH", "", ""),
    ],
)
def test_names_of_other_bands_or_of_some_alone_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(PixelError, match="expected the bands blue, green, red, nir, but the file"):
        band_order(names, OPTICAL_BANDS)


def test_a_name_of_a_stranger_cannot_write_to_the_terminal() -> None:
    with pytest.raises(PixelError) as error:
        band_order(("red", "green", "blue", "\x1b[2J"), OPTICAL_BANDS)
    assert "\x1b" not in str(error.value)


def test_radar_bands_are_found_by_their_names() -> None:
    assert band_order(("VH", "VV"), SAR_BANDS) == [1, 0]
    assert band_order(("Sigma0_VH_db", "Sigma0_VV_db"), SAR_BANDS) == [1, 0]
    assert band_order(("vv", "vh"), SAR_BANDS) is None
    for names in (("HH", "HV"), ("VH", ""), ("VV", "VV")):
        with pytest.raises(PixelError, match="expected the bands vv, vh"):
            band_order(names, SAR_BANDS)


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
def test_tags_that_make_no_sense_are_refused(scale: float, offset: float) -> None:
    with pytest.raises(PixelError, match="expected tags that"):
        scaled(np.ones((1, 2, 2), np.uint16), Tags(scales=(scale,), offsets=(offset,)))


# --- Units ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: 2 * x - 1, r"looks like the scale \[-1, 1\] of a network's output"),
        (lambda x: 100 * x, "looks like digital numbers"),
        (lambda x: 6.5 * x, "scaled or shifted otherwise"),
        (lambda x: x - 0.3, "far outside it"),
        (
            lambda x: np.where(x > 0.79, -9999, x),
            "values that cannot be any .*without a tag",
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
def test_a_poor_method_is_no_other_unit(change) -> None:
    expect_reflectance(change(image()).astype(np.float32), brightest=1.0)


def test_an_image_may_be_as_bright_as_its_scene() -> None:
    bright = image() + 1.2
    expect_reflectance(bright, brightest=float(bright.max()))
    with pytest.raises(PixelError, match="far outside"):
        expect_reflectance(bright, brightest=1.0)


def test_whole_numbers_that_were_reflectance_are_refused() -> None:
    with pytest.raises(PixelError, match="uint16 whose largest value is 1: it looks like reflect"):
        expect_digital_numbers(np.eye(4, dtype=np.uint16))
    expect_digital_numbers(np.eye(4, dtype=np.uint16) * 2)
    expect_digital_numbers(np.zeros((4, 4), np.uint16))  # black; a folder of them is another matter


def test_a_dataset_that_is_too_dark_for_digital_numbers_says_what_it_looks_like() -> None:
    assert not too_dark([40, 256])
    assert not too_dark([])
    assert "percent or bytes" in too_dark([40, 255])


# --- Backscatter and land cover ---------------------------------------------------------------


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
        expect_decibels(change(decibels()))


def test_backscatter_in_decibels_passes() -> None:
    expect_decibels(decibels())
    expect_decibels(decibels() - 15)  # calm water
    town = decibels()
    town[0] += 9
    expect_decibels(town)
    town[:, 3:9] = np.nan
    expect_decibels(town)


def test_codes_of_land_cover_that_do_not_exist_are_refused() -> None:
    expect_codes(np.array([[0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100]], np.uint8))
    with pytest.raises(PixelError, match=r"got 1, 2, 11; are these numbers of classes\?"):
        expect_codes(np.array([[1, 2, 10, 11]], np.uint8))
    with pytest.raises(PixelError, match=r"got 255$"):
        expect_codes(np.array([[10, 255]], np.uint8))


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
    assert colour_likeness(own, given, clear) > 0.9
    assert colour_likeness(own[[2, 1, 0, 3]], given, clear) < -0.9
    assert abs(colour_likeness(image(3)[[2, 1, 0, 3]], given, clear)) < 0.1
    assert colour_likeness(own, given, ~clear) is None
    assert colour_likeness(np.full_like(given, 0.2), given, clear) is None
