"""Test that the order of bands is told from their names."""

from __future__ import annotations

import pytest

from planetcr_bench.constants import OPTICAL_BANDS, SAR_BANDS
from planetcr_bench.data.band_names import band_order
from planetcr_bench.metrics.reflectance import PixelError


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
def test_uninformative_band_names_are_accepted(names: tuple[str, ...]) -> None:
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


def test_an_untrusted_name_cannot_control_the_terminal() -> None:
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
