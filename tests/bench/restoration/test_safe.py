"""Test that products of Sentinel-2 are read as ESA delivers them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from orders import SAFE_BANDS, SAFE_ORDER, write_image, write_safe, write_sar
from planetcr_bench.restoration.inputs import RestoreSettings
from planetcr_bench.restoration.products import SENTINEL_BANDS, recognise
from planetcr_bench.restoration.rasters import SceneFileError
from planetcr_bench.restoration.restore import restore_scene
from planetcr_bench.restoration.safe import open_optical

from .conftest import Echo, network

SIZE = (120, 90)
WHOLE = (slice(0, SIZE[0]), slice(0, SIZE[1]))


@pytest.fixture
def numbers() -> np.ndarray:
    """Digital numbers of 13 bands; a corner without data."""
    values = np.random.default_rng(0).integers(1_000, 9_000, (13, *SIZE), np.uint16)
    values[:, -18:, -24:] = 0
    return values


def at_10_m(numbers: np.ndarray, band: str) -> np.ndarray:
    """What a product has of a band, by nearest neighbour."""
    step = next(pixel for pixel, bands in SAFE_BANDS.items() if band in bands) // 10
    coarse = numbers[SAFE_ORDER.index(band), ::step, ::step]
    return coarse.repeat(step, 0).repeat(step, 1)


@pytest.mark.parametrize("level", ["1C", "2A"])
def test_all_bands_are_read_at_10_m(tmp_path: Path, numbers: np.ndarray, level: str) -> None:
    product = write_safe(tmp_path, numbers, level=level)
    bands = [band for band in SAFE_ORDER if level == "1C" or band != "B10"]
    with open_optical(product) as raster:
        assert raster.names == tuple(bands)
        found = raster.read(range(1, raster.bands + 1), *WHOLE)
        recognised = recognise(raster)
        assert raster.tags["TIFFTAG_DATETIME"] == "2022:06:14 10:16:01"
    for band, values in zip(bands, found, strict=True):
        assert (values == at_10_m(numbers, band)).all(), band
    assert recognised.name == "sentinel-2"
    assert recognised.bands == SENTINEL_BANDS[len(bands)]
    assert recognised.nodata == 0
    assert recognised.scale == pytest.approx([1e-4] * len(bands))
    assert recognised.offset == pytest.approx([-1000] * len(bands))


def test_older_products_have_no_offset(tmp_path: Path, numbers: np.ndarray) -> None:
    with open_optical(write_safe(tmp_path, numbers, level="1C", offset=None)) as raster:
        assert recognise(raster).offset == (0,) * 13
        assert str(recognise(raster)) == "Sentinel-2 reflectance, 13 bands"


def test_a_product_is_restored_on_its_grid(tmp_path: Path, numbers: np.ndarray) -> None:
    """A network that changes nothing gives back digital numbers of reflectance, without offset."""
    product = write_safe(tmp_path, numbers)
    model = Echo()
    net = network(model)
    said: list[str] = []
    done = restore_scene(
        product, tmp_path / "out", net, RestoreSettings(quiet=True), say=said.append
    )
    assert said[0].endswith("12 bands, offset -1000, Level-2A; 90 × 120 pixels of 10 m")
    assert "trained on pixels of 3 m" in said[1]
    assert done.path.name == f"{product.stem}_restored.tif"
    expected = [at_10_m(numbers, band).astype(int) for band in ("B02", "B03", "B04", "B08")]
    with rasterio.open(done.path) as image:
        assert image.transform.a == 10
        valid = (np.array(expected) > 0).all(0)
        assert (image.read()[:, valid] == np.clip(expected, 1001, None)[:, valid] - 1000).all()
        assert (image.read()[:, ~valid] == 0).all()


def test_networks_of_13_bands_get_those_of_level_1c(tmp_path: Path, numbers: np.ndarray) -> None:
    from dataclasses import replace

    model = Echo()
    net = replace(network(model), bands=SENTINEL_BANDS[13], pixel_m=10.0)
    sar = write_sar(tmp_path / "s1.tif", 400, 300)  # elsewhere, and not looked at
    settings = RestoreSettings(quiet=True, sar=sar)
    restore_scene(write_safe(tmp_path, numbers, level="1C"), tmp_path / "out", net, settings)
    assert model.seen[0].shape[0] == 13
    with pytest.raises(SceneFileError, match=r"expected the bands coastal, .*cirrus"):
        restore_scene(write_safe(tmp_path, numbers), tmp_path / "out", net, settings)


def test_a_changed_file_of_a_product_is_restored_again(tmp_path: Path, numbers: np.ndarray) -> None:
    product = write_safe(tmp_path, numbers)
    settings = RestoreSettings(tile=64, overlap=16, quiet=True)
    finished = []
    for change in (0, 0, 1):
        if change:
            write_safe(tmp_path, numbers + np.uint16(change))
        with pytest.raises(KeyboardInterrupt):
            restore_scene(product, tmp_path, network(Echo(stop_after=1)), settings)
        finished.append(len(list(tmp_path.glob(".*unfinished/*_*.npy"))))
    assert finished == [1, 2, 1]


# --- Refused --------------------------------------------------------------------------------------


def spoilt(product: Path, old: str, new: str) -> None:
    path = product / "MTD_MSIL2A.xml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("B04_10m<", "B44_10m<", "expected the files of bands B02, B03, B04 and B08"),
        ("IMG_DATA/R10m/", "../../", "expected the files of bands"),
        (">10000<", ">much<", "as numbers"),
        (">10000<", ">0<", "above 0"),
        ("-1000", "-", "as numbers"),
        ("</Granule>", "<IMAGE_FILE>GRANULE/b/IMG_DATA/T_B02</IMAGE_FILE></Granule>",
         "expected a product of one tile, as since 2016, got 2"),
        ("<n1:General_Info>", "", "as XML"),
    ],
)  # fmt: skip
def test_broken_metadata_are_refused(
    tmp_path: Path, numbers: np.ndarray, old: str, new: str, message: str
) -> None:
    product = write_safe(tmp_path, numbers)
    spoilt(product, old, new)
    with pytest.raises(SceneFileError, match=message) as refusal, open_optical(product):
        pass
    assert "MTD_MSIL2A.xml: " in str(refusal.value)


def test_broken_images_are_refused(tmp_path: Path, numbers: np.ndarray) -> None:
    product = write_safe(tmp_path, numbers)
    band = next(product.rglob("*_B05_20m.jp2"))
    whole = band.read_bytes()
    band.write_bytes(whole[:40])
    with pytest.raises(SceneFileError, match=r"B05_20m.jp2: cannot be read"), open_optical(product):
        pass
    band.unlink()
    with pytest.raises(SceneFileError, match=r"B05_20m.jp2: .*No such file"), open_optical(product):
        pass
    shutil.copy(next(product.rglob("*_B8A_20m.jp2")), band)
    write_image(band, numbers[:1])
    with pytest.raises(SceneFileError, match=r"B05_20m.jp2: cannot be read"), open_optical(product):
        pass


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(SceneFileError, match=r"expected a GeoTIFF, or the .SAFE folder"),
        open_optical(tmp_path),
    ):
        pass
