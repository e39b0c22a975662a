"""Test that images are recognised by their names, bands and tags."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from orders import COEFFICIENTS, NAME, ground, write_image, write_metadata
from paths import SHARED
from planetcr_bench.restoration.optical import OpticalScene
from planetcr_bench.restoration.products import PLANET_BANDS, SENTINEL_BANDS, Product, recognise
from planetcr_bench.restoration.rasters import SceneFileError, open_raster
from planetcr_bench.restoration.safe import open_optical

TMASK = SHARED / "data/planet-tmask"


def recognised(path: Path, **options: object) -> Product:
    with open_raster(path) as raster:
        return recognise(raster, **options)


def numbers(bands: int = 4) -> np.ndarray:
    return np.full((bands, 40, 40), 1000, np.uint16)


@pytest.mark.parametrize(
    ("name", "bands", "product"),
    [
        (NAME, 4, "planet-sr"),
        ("20220614_101530_11_2415_3B_AnalyticMS_SR", 4, "planet-sr"),
        ("20220614_101530_11_2415_3B_AnalyticMS_SR_8b_clip", 8, "planet-sr"),
        ("20220614_101530_11_2415_3B_AnalyticMS_SR_8b_harmonized_clip", 8, "planet-sr"),
        ("5629000_3363910_2021-08-10_2257_BGRN_SR", 4, "planet-sr"),
        ("20220614_101530_11_2415_3B_AnalyticMS_toar_clip", 4, "planet-toa"),
        ("S2A_MSIL2A_20220614T101601_N0400_R065_T32UQD_20220614T162003", 13, "sentinel-2"),
        ("T32UQD_20220614T101601_stack", 12, "sentinel-2"),
        ("mine", 13, "sentinel-2"),
    ],
)
def test_the_name_of_a_file_says_what_it_is(
    tmp_path: Path, name: str, bands: int, product: str
) -> None:
    found = recognised(write_image(tmp_path / f"{name}.tif", numbers(bands)))
    assert found.name == product
    known = SENTINEL_BANDS if product == "sentinel-2" else PLANET_BANDS
    assert found.bands == known[bands]
    assert found.scale == (1e-4,) * bands


@pytest.mark.parametrize(
    "name",
    ["20220614_101530_11_2415_3B_AnalyticMS", "20220614_101530_11_2415_3B_AnalyticMS_clip",
     "20220614_101530_1054_3B_AnalyticMS_DN"],
)  # fmt: skip
def test_radiance_becomes_reflectance_by_the_coefficients_of_its_metadata(
    tmp_path: Path, name: str
) -> None:
    path = write_image(tmp_path / f"{name}.tif", numbers())
    with pytest.raises(SceneFileError, match=r"radiance needs .* give --metadata"):
        recognised(path)
    xml = write_metadata(tmp_path / f"{name.removesuffix('_clip')}_metadata.xml")
    assert recognised(path).scale == COEFFICIENTS
    xml.rename(tmp_path / "elsewhere.xml")
    assert recognised(path, metadata=tmp_path / "elsewhere.xml").scale == COEFFICIENTS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no xml", "expected Planet's metadata as XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "without a DOCTYPE"),
        ('\ufeff<?xml version="1.0"?><!DOCTYPE a><a/>', "without a DOCTYPE"),
        ("<a/>", "got those of none"),
        ("<a><bandSpecificMetadata><bandNumber>x</bandNumber></bandSpecificMetadata></a>",
         "as numbers"),
    ],
)  # fmt: skip
def test_other_metadata_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = write_image(tmp_path / "a_3B_AnalyticMS.tif", numbers())
    coding = "utf-16" if text.startswith("\ufeff") else "utf-8"
    text = text.removeprefix("\ufeff")
    (tmp_path / "a_3B_AnalyticMS_metadata.xml").write_text(text, coding)
    with pytest.raises(SceneFileError, match=message):
        recognised(path)


def test_metadata_of_another_number_of_bands_are_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a_3B_AnalyticMS.tif", numbers())
    write_metadata(tmp_path / "a_3B_AnalyticMS_metadata.xml", COEFFICIENTS[:3])
    with pytest.raises(SceneFileError, match="of bands 1 to 4, got those of 1, 2, 3"):
        recognised(path)


def test_bands_are_found_by_their_names_in_any_order(tmp_path: Path) -> None:
    names = ("nir", "Red", "green", "blue", "Coastal Blue", "Green I", "Yellow", "RedEdge")
    path = write_image(tmp_path / f"{NAME}.tif", numbers(8), names=names)
    found = recognised(path)
    assert found.positions(["blue", "green", "red", "nir"], path) == [4, 3, 2, 1]
    plain = write_image(tmp_path / "plain" / f"{NAME}.tif", numbers(8))
    assert recognised(plain).positions(["blue", "green", "red", "nir"], plain) == [2, 4, 6, 8]


def test_tags_of_planet_say_surface_reflectance(tmp_path: Path) -> None:
    tag = {"TIFFTAG_IMAGEDESCRIPTION": '{"atmospheric_correction": {"aerosol_model": "x"}}'}
    assert recognised(write_image(tmp_path / "a.tif", numbers(), **tag)).name == "planet-sr"


def test_sentinel_2_since_baseline_4_is_shifted_where_tags_say_so(tmp_path: Path) -> None:
    tag = {"BOA_ADD_OFFSET_BAND1": "-1000"}
    path = write_image(tmp_path / "T32UQD_20220614T101601.tif", numbers(13), **tag)
    assert recognised(path).offset == (-1000,) * 13
    bare = write_image(tmp_path / "T32UQD_20210614T101601.tif", numbers(13))
    assert recognised(bare).offset == (0,) * 13


@pytest.mark.parametrize(
    ("name", "bands", "message"),
    [
        ("a_3B_Visual", 4, "visual one"),
        ("rgb", 3, "four bands or more"),
        ("composite", 4, "--product, one of planet-sr, planet-radiance"),
        (NAME, 6, "expected 4, 5, 8 bands"),
    ],
)
def test_what_is_not_recognised_is_refused(
    tmp_path: Path, name: str, bands: int, message: str
) -> None:
    path = write_image(tmp_path / f"{name}.tif", numbers(bands))
    with pytest.raises(SceneFileError, match=message):
        recognised(path)


def test_the_user_can_say_what_it_is(tmp_path: Path) -> None:
    path = write_image(tmp_path / "composite.tif", numbers())
    assert recognised(path, product="planet-sr").name == "planet-sr"


def test_each_band_has_the_scale_and_offset_of_its_tags(tmp_path: Path) -> None:
    path = write_image(tmp_path / f"{NAME}.tif", numbers())
    with rasterio.open(path, "r+") as image:
        image.scales, image.offsets = (1e-4, 1e-4, 2e-4, 1e-4), (0, 0, -0.1, 0.05)
    found = recognised(path)
    assert found.scale == (1e-4, 1e-4, 2e-4, 1e-4)
    assert found.offset == pytest.approx((0, 0, -500, 500))
    with open_raster(path) as raster:
        image = OpticalScene(raster, found, ["nir", "red"])
        pixels = image.read(slice(0, 1), slice(0, 1)).reflectance[:, 0, 0]
        assert pixels == pytest.approx([0.15, 0.1])


def test_floats_are_reflectance(tmp_path: Path) -> None:
    path = write_image(tmp_path / f"{NAME}.tif", ground(40, 40), nodata=float("nan"))
    assert recognised(path).scale == (1.0,) * 4


def test_an_image_without_a_place_is_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path / f"{NAME}.tif", numbers(), crs=None)
    with pytest.raises(SceneFileError, match="georeferenced GeoTIFF, got one without a coordinate"):
        recognised(path)


@pytest.mark.skipif(not TMASK.exists(), reason="no real scenes beside the checkout")
def test_real_orders_are_recognised() -> None:
    found = recognised(TMASK / "20170915_020728_103d_3B_AnalyticMS.tif")
    assert found.name == "planet-radiance"
    assert found.scale[0] == pytest.approx(1.97703553546e-05)
    with pytest.raises(SceneFileError, match="--product"):
        recognised(TMASK / "633841_1932520_2017-07-19_1004_subarea.tif")


def test_an_alpha_band_is_not_taken_for_near_infrared(tmp_path: Path) -> None:
    values = numbers(5)
    values[4, :, :10] = 0
    path = write_image(tmp_path / f"{NAME}.tif", values, nodata=None)
    with rasterio.open(path, "r+") as image:
        image.colorinterp = (*image.colorinterp[:4], ColorInterp.alpha)
    assert recognised(path).bands == PLANET_BANDS[4]
    with open_raster(path) as raster:
        hidden = raster.hidden(slice(0, 40), slice(0, 40))
    assert hidden is not None
    assert np.array_equal(hidden, values[4] == 0)


@pytest.mark.parametrize("name", ["x_3B_udm2", "composite_udm2", "x_3B_AnalyticMS_DN_udm",
                                  "x_3B_udm2_clip"])  # fmt: skip
def test_a_mask_is_no_scene(tmp_path: Path, name: str) -> None:
    path = write_image(tmp_path / f"{name}.tif", numbers(8).astype(np.uint8), nodata=None)
    with pytest.raises(SceneFileError, match=r"got a usable data mask; give it as --udm"):
        recognised(path, product="planet-sr")


def test_numbers_of_8_bits_are_not_reflectance(tmp_path: Path) -> None:
    path = write_image(tmp_path / f"{NAME}.tif", numbers().astype(np.uint8))
    with pytest.raises(SceneFileError, match=r"got numbers of 8 bits"):
        recognised(path)


def test_archives_and_folders_of_orders_are_refused_with_advice(tmp_path: Path) -> None:
    archive = tmp_path / "S2A.SAFE.zip"
    archive.touch()
    with pytest.raises(SceneFileError, match=r"got an archive; unzip it"), open_raster(archive):
        pass
    (tmp_path / "PSScene").mkdir()
    with (
        pytest.raises(SceneFileError, match=r"give the images in it"),
        open_optical(tmp_path / "PSScene"),
    ):
        pass
