"""Test that nodata, masks, alpha, scales and band names are honoured or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from planetcr_bench.data.fingerprint import fingerprint_of
from planetcr_bench.data.reading import read_product, read_scene
from planetcr_bench.data.scene import backscatter
from planetcr_bench.data.scene_checks import inspect_scene
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import DatasetError, PredictionError
from planetcr_bench.predictions.card import Card
from planetcr_bench.predictions.format import header_size, read_prediction
from scenes import write_scene, write_tif

Edit = Callable[[rasterio.io.DatasetWriter], None]
RED_FIRST = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
ALPHA_LAST = (ColorInterp.gray, *[ColorInterp.undefined] * 3, ColorInterp.alpha)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SceneFiles:
    """A scene that is only read."""
    return write_scene(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def scene(tmp_path: Path) -> SceneFiles:
    """A scene that may be changed."""
    return write_scene(tmp_path / "data")


def write(
    path: Path, pixels: np.ndarray, *, nodata: float | None = None, edit: Edit | None = None
) -> Path:
    """Write an image without a place on Earth, then change its tags."""
    write_tif(path, pixels, (0, 0), 3, None, nodata=nodata)
    if edit is not None:
        with rasterio.open(path, "r+") as target:
            edit(target)
    return path


def rewrite(
    files: SceneFiles,
    product: str,
    change: Callable[[np.ndarray], np.ndarray],
    *,
    nodata: float | None = None,
    edit: Edit | None = None,
) -> np.ndarray:
    """Change the pixels and the tags of a product; what they were before."""
    before = read_product(files, product).pixels
    write(files.path(product), change(before.copy()), nodata=nodata, edit=edit)
    return before


def describe(*names: str) -> Edit:
    def edit(target: rasterio.io.DatasetWriter) -> None:
        target.descriptions = names

    return edit


def scale(scale: float, offset: float) -> Edit:
    def edit(target: rasterio.io.DatasetWriter) -> None:
        target.scales, target.offsets = [scale] * target.count, [offset] * target.count

    return edit


def colour(*colours: ColorInterp) -> Edit:
    def edit(target: rasterio.io.DatasetWriter) -> None:
        target.colorinterp = colours

    return edit


def mask(target: rasterio.io.DatasetWriter) -> None:
    valid = np.full(target.shape, 255, np.uint8)
    valid[:4, :5] = 0
    target.write_mask(valid)


# --- Predictions ------------------------------------------------------------------------------

DN = np.random.default_rng(0).integers(300, 4000, (4, 300, 300)).astype(np.uint16)
REFLECTANCE = (DN / 10_000).astype(np.float32)


def read(path: Path, whole: SceneFiles, card: Card | None = None) -> np.ndarray:
    assert header_size(path) == 300
    return read_prediction(path, card or Card(), read_product(whole, "clear"))[0]


def holed(pixels: np.ndarray, value: float) -> np.ndarray:
    pixels = pixels.copy()
    pixels[:, 150:153, 150:153] = value
    return pixels


def with_band(pixels: np.ndarray, value: int) -> np.ndarray:
    alpha = np.full((1, 300, 300), 65535, np.uint16)
    alpha[:, :2, :3] = value
    return np.concatenate([pixels, alpha])


@pytest.mark.parametrize(
    ("pixels", "nodata", "edit", "internal", "message"),
    [
        (holed(REFLECTANCE, -9999), -9999, None, True, "9 pixels have its nodata value -9999"),
        (holed(REFLECTANCE, np.nan), np.nan, None, True, "9 pixels have its nodata value nan"),
        (holed(DN, 65535), 65535, None, True, "9 pixels have its nodata value 65535"),
        (holed(DN, 0), 0, None, True, "9 pixels have its nodata value 0"),
        (DN, None, mask, True, "20 pixels are hidden"),
        (DN, None, mask, False, "20 pixels are hidden"),
        (with_band(DN, 0), None, colour(*ALPHA_LAST), True, "6 pixels are hidden"),
    ],
)
def test_a_prediction_with_holes_is_refused(
    tmp_path: Path, whole: SceneFiles, pixels, nodata, edit, internal: bool, message: str
) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        path = write(tmp_path / "a.tif", pixels, nodata=nodata, edit=edit)
    assert (tmp_path / "a.tif.msk").exists() is not internal
    with pytest.raises(PredictionError, match=message) as error:
        read(path, whole)
    assert str(path) in error.value.message


def test_nodata_of_one_band_counts(tmp_path: Path, whole: SceneFiles) -> None:
    pixels = REFLECTANCE.copy()
    pixels[2, 7, 7] = -3
    path = write(tmp_path / "a.tif", pixels)
    bands = (
        f'<PAMRasterBand band="{n}"><NoDataValue>{-n}</NoDataValue></PAMRasterBand>'
        for n in (1, 2, 3)
    )
    Path(f"{path}.aux.xml").write_text(f"<PAMDataset>{''.join(bands)}</PAMDataset>")
    with pytest.raises(PredictionError, match="1 pixels have its nodata value -3"):
        read(path, whole)


@pytest.mark.parametrize(
    ("pixels", "nodata", "edit"),
    [
        (DN, 0, None),
        (DN, 65535, None),
        (with_band(DN, 65535), None, colour(*ALPHA_LAST)),
        (DN, None, colour(*[ColorInterp.undefined] * 3, ColorInterp.alpha)),  # NIR
        (DN, None, colour(*RED_FIRST, ColorInterp.undefined)),
        (DN, None, describe("Band 1", "Band 2", "Band 3", "Band 4")),
        (DN, None, scale(1e-4, 0)),
        (REFLECTANCE, None, None),
        (REFLECTANCE * 200, None, scale(0.005, 0)),
        (REFLECTANCE + 0.1, None, scale(1, -0.1)),
        (DN + 1000, None, scale(1e-4, -0.1)),
        (np.rint((REFLECTANCE + 0.2) / 2.75e-5).astype(np.uint16), None, scale(2.75e-5, -0.2)),
        (DN[[2, 1, 0, 3]], None, describe("red", "green", "blue", "nir")),
    ],
)  # fmt: skip
def test_the_same_image_is_the_same_however_it_is_tagged(
    tmp_path: Path, whole: SceneFiles, pixels: np.ndarray, nodata: float, edit: Edit
) -> None:
    path = write(tmp_path / "a.tif", pixels, nodata=nodata, edit=edit)
    np.testing.assert_allclose(read(path, whole), REFLECTANCE, atol=3e-5)


@pytest.mark.parametrize(
    ("pixels", "edit", "declared", "message"),
    [
        (
            DN,
            scale(1e-4, -0.1),
            10_000,
            "tags say scale 0.0001 and offset -0.1, but predictions.to",
        ),
        (DN, scale(1, -1000), None, "expected tags that turn uint16 into reflectance"),
        (REFLECTANCE, scale(1e-4, 0), None, "looks like reflectance already; remove the tags"),
        (REFLECTANCE, None, 10_000, "looks like reflectance; remove the scale"),
        (DN, scale(0.01, 0), None, "digital numbers; its tags say scale 0.01 and offset 0"),
        (
            DN,
            describe("red", "green", "blue", ""),
            None,
            "the file names its bands red, green, blu",
        ),
        (REFLECTANCE * 2 - 1, None, None, "write \\(x \\+ 1\\) / 2"),
        ((REFLECTANCE > 0.2).astype(np.uint16), None, None, "largest value is 1"),
    ],
)
def test_tags_and_units_that_contradict_the_numbers_are_refused(
    tmp_path: Path, whole: SceneFiles, pixels, edit, declared, message: str
) -> None:
    path = write(tmp_path / "a.tif", pixels, edit=edit)
    with pytest.raises(PredictionError, match=message):
        read(path, whole, Card(scale=declared))


def test_a_mask_in_another_format_is_never_opened(tmp_path: Path, whole: SceneFiles) -> None:
    path = write(tmp_path / "a.tif", DN)
    Path(f"{path}.msk").write_text('<VRTDataset rasterXSize="300" rasterYSize="300"/>')
    with pytest.raises(PredictionError, match=r"a.tif.msk, is not a GeoTIFF"):
        read(path, whole)


# --- Datasets ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("product", "change", "edit"),
    [
        ("cloudy", lambda x: x[[2, 1, 0, 3]], describe("red", "green", "blue", "nir")),
        ("cloudy", lambda x: x + 1000, scale(1e-4, -0.1)),
        ("cloudy", lambda x: x, scale(1e-4, 0)),
        ("sar", lambda x: x[::-1], describe("VH", "VV")),
        ("sar", lambda x: x / 2, scale(2, 0)),
    ],
)
def test_a_dataset_is_the_same_however_it_is_tagged(
    scene: SceneFiles, product: str, change, edit: Edit
) -> None:
    before_tags = fingerprint_of([scene], workers=0)
    before = rewrite(scene, product, change, edit=edit)
    np.testing.assert_array_equal(read_product(scene, product).pixels, before)
    assert fingerprint_of([scene], workers=0) == before_tags


def put(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(pixels: np.ndarray) -> np.ndarray:
        pixels[:, :20] = value
        return pixels

    return change


@pytest.mark.parametrize(
    ("value", "nodata", "edit"), [(0, 0, None), (-9999, -9999, None), (-9.0, None, mask)]
)
def test_nodata_and_masks_of_the_radar_image_are_holes(
    scene: SceneFiles, value: float, nodata: float, edit: Edit
) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        before = rewrite(scene, "sar", put(value), nodata=nodata, edit=edit)
    hidden = np.zeros((90, 90), bool)
    hidden[np.s_[:20] if nodata is not None else np.s_[:4, :5]] = True
    expected = before.copy() if nodata is not None else put(value)(before.copy())
    expected[:, hidden] = np.nan
    sar = backscatter(expected, scene.description.sar)
    np.testing.assert_array_equal(read_scene(scene).sar, sar)
    (line,) = [where for kind, where in inspect_scene(scene).warnings if kind.startswith("holes")]
    assert line == f"{scene.path('sar')} ({hidden.sum()} pixels)"


def test_infinite_backscatter_is_a_hole(scene: SceneFiles) -> None:
    decibels = np.full((2, 2, 2), -10.0)
    decibels[:, 0, 0] = -np.inf, np.nan
    assert np.ptp(backscatter(decibels, scene.description.sar), axis=(1, 2)).tolist() == [0, 0]


def test_nodata_of_land_cover_is_unknown(scene: SceneFiles) -> None:
    rewrite(scene, "land_cover", put(255), nodata=255)
    assert (read_scene(scene).land_cover[:60] == 6).all()


def test_nodata_0_of_an_image_stays_0_and_is_counted(scene: SceneFiles) -> None:
    rewrite(scene, "clear", put(0), nodata=0)
    assert (read_product(scene, "clear").pixels[:, :20] == 0).all()
    (line,) = [where for kind, where in inspect_scene(scene).warnings if "own nodata" in kind]
    assert line.endswith("(6000 pixels)")


@pytest.mark.parametrize(
    ("product", "change", "nodata", "edit", "message"),
    [
        ("cloudy", put(65535), 65535, None, "6000 pixels have its nodata value 65535"),
        ("cloudy", lambda x: x, None, mask, "20 pixels are hidden"),
        ("cloudy", lambda x: np.minimum(x, 1), None, None, "largest value is 1"),
        ("cloudy", lambda x: x * 0, None, None, "got 0 everywhere"),
        ("cloudy", lambda x: x, None, describe("red", "green", "blue", "swir"), "names its"),
        ("sar", lambda x: 10 ** (x / 10), None, None, "linear power"),
        ("sar", lambda x: x * 0, 0, None, "a band of only NaN or nodata"),
        ("sar", lambda x: x, None, describe("HH", "HV"), "names its bands HH, HV"),
        ("land_cover", put(7), None, None, "expected WorldCover codes, got 7"),
        ("land_cover", lambda x: x, None, scale(10, 0), "expected codes, got a file of scale 10"),
    ],
)
def test_an_implausible_product_is_refused(
    scene: SceneFiles, product: str, change, nodata, edit, message: str
) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        rewrite(scene, product, change, nodata=nodata, edit=edit)
    with pytest.raises(DatasetError, match=message) as error:
        read_product(scene, product)
    assert str(scene.path(product)) in error.value.message
    assert any(message in line for line in inspect_scene(scene).problems)
