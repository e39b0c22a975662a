"""Test that every accepted format is read and everything else is refused in one line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_product
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import PredictionError
from planetcr_bench.predictions.card import Card
from planetcr_bench.predictions.folder import find_predictions
from planetcr_bench.predictions.format import read_prediction, write_prediction
from prediction_files import image, problems_of
from scenes import write_tif


@pytest.fixture
def scene(data: Path) -> SceneFiles:
    return find_scenes(data, "test")[0]


@pytest.mark.parametrize("dtype", ["uint16", "float16", "float32", "float64", ">u2", ">f4"])
@pytest.mark.parametrize("size", [300, 160])
def test_arrays_are_read_in_the_scale_of_their_dtype(
    tmp_path: Path, scene: SceneFiles, dtype: str, size: int
) -> None:
    stored = image(size=size)
    integer = np.dtype(dtype).kind == "u"
    stored = (stored * (10_000 if integer else 1)).astype(dtype)
    np.save(tmp_path / f"{scene.name}.npy", stored)
    predictions = find_predictions(tmp_path, Card(), [scene])
    assert predictions.size == size
    read, pixels = read_prediction(predictions.files[scene], Card(), read_product(scene, "clear"))
    assert (pixels == stored).all()
    expected = stored.astype(np.float32) / np.float32(10_000 if integer else 1)
    assert (read == expected).all()
    assert read.dtype == np.float32


def test_a_declared_scale_counts(tmp_path: Path, scene: SceneFiles) -> None:
    np.save(tmp_path / f"{scene.name}.npy", image() * 255)
    clear = read_product(scene, "clear")
    path = tmp_path / f"{scene.name}.npy"
    read, _ = read_prediction(path, Card(scale=255), clear)
    np.testing.assert_allclose(read, image(), rtol=1e-6)
    with pytest.raises(PredictionError, match="looks like digital numbers; declare its scale"):
        read_prediction(path, Card(), clear)
    with pytest.raises(PredictionError, match="declares scale = 1, but its largest value is 2"):
        read_prediction(path, Card(scale=1), clear)


def test_values_out_of_range_are_kept(tmp_path: Path, scene: SceneFiles) -> None:
    np.save(tmp_path / f"{scene.name}.npy", image() * 1.2 - 0.1)
    read, _ = read_prediction(tmp_path / f"{scene.name}.npy", Card(), read_product(scene, "clear"))
    assert read.min() < -0.09
    assert read.max() > 1.09


REFUSED = {
    "expected a prediction, found no such file": lambda _: None,
    "cannot be read": lambda path: path.write_bytes(b"II*\0nonsense"),
    "got uint8": lambda path: write_tif(path, np.ones((4, 300, 300), "u1"), (0, 0), 3, None),
    "got int16": lambda path: write_tif(path, np.ones((4, 300, 300), "i2"), (0, 0), 3, None),
    r"got \(3, 300, 300\)": lambda path: write_tif(
        path, np.ones((3, 300, 300), "u2"), (0, 0), 3, None
    ),
    r"got \(4, 256, 256\)": lambda path: write_tif(
        path, np.ones((4, 256, 256), "u2"), (0, 0), 3, None
    ),
    "put the bands first": lambda path: np.save(path.with_suffix(".npy"), np.ones((300, 300, 4))),
    "got float16|got complex": lambda path: np.save(
        path.with_suffix(".npy"), np.ones((4, 300, 300), complex)
    ),
    "expected numbers, got object": lambda path: np.save(
        path.with_suffix(".npy"), np.array([{}], object), allow_pickle=True
    ),
    "expected .tif, .tiff, .npy, got .png": lambda path: path.with_suffix(".png").touch(),
    "expected one prediction of": lambda path: (
        np.save(path.with_suffix(".npy"), image()),
        write_tif(path, np.ones((4, 300, 300), "u2"), (0, 0), 3, None),
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_unusable_predictions_are_one_line_before_anything_is_read(
    tmp_path: Path, scene: SceneFiles, message: str
) -> None:
    REFUSED[message](tmp_path / f"{scene.name}.tif")
    problems = problems_of(tmp_path, [scene])
    matching = [line for line in problems if re.search(message, line)]
    assert len(matching) == 1, problems
    assert scene.name in matching[0]
    assert "\n" not in matching[0]


@pytest.mark.parametrize("name", ["{}.NPY", "{}.Npy", "planet_cloudy_{}.NPY"])
def test_an_array_is_read_whatever_the_case_of_its_extension(
    tmp_path: Path, scene: SceneFiles, name: str
) -> None:
    path = tmp_path / name.format(scene.name)
    with path.open("wb") as stream:
        np.save(stream, image())
    predictions = find_predictions(tmp_path, Card(), [scene])
    assert predictions.files == {scene: path}
    read, _ = read_prediction(path, Card(), read_product(scene, "clear"))
    assert (read == image()).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_values_are_refused(
    tmp_path: Path, scene: SceneFiles, value: float
) -> None:
    stored = image()
    stored[2, 5, 5:7] = value
    path = tmp_path / f"{scene.name}.npy"
    np.save(path, stored)
    with pytest.raises(PredictionError, match="got 2 values that are NaN or infinite"):
        read_prediction(path, Card(), read_product(scene, "clear"))


def test_values_beyond_float32_are_refused(tmp_path: Path, scene: SceneFiles) -> None:
    path = tmp_path / f"{scene.name}.npy"
    stored = image().astype(np.float64)
    stored[0, 0, 0] = 1e300
    np.save(path, stored)
    with pytest.raises(PredictionError, match="fit float32"):
        read_prediction(path, Card(scale=1), read_product(scene, "clear"))


def test_a_truncated_file_is_refused(tmp_path: Path, scene: SceneFiles) -> None:
    clear = read_product(scene, "clear")
    path = tmp_path / f"{scene.name}.tif"
    write_prediction(path, image(), clear)
    path.write_bytes(path.read_bytes()[:-200_000])
    with pytest.raises(PredictionError, match="cannot be read"):
        read_prediction(path, Card(), clear)


@pytest.mark.parametrize(
    ("size", "shift", "crs", "fits"),
    [
        (300, 0, True, True),
        (300, 3, True, False),
        (300, 210, True, False),
        (160, 210, True, True),
        (160, 0, True, False),
        (300, 0, False, True),
    ],
)
def test_a_georeference_must_be_the_scene_s(
    tmp_path: Path, scene: SceneFiles, size: int, shift: float, crs: bool, fits: bool
) -> None:
    clear = read_product(scene, "clear")
    corner = (clear.transform.c + shift, clear.transform.f - shift)
    path = tmp_path / f"{scene.name}.tif"
    write_tif(path, np.full((4, size, size), 9, "u2"), corner, 3, clear.crs if crs else None)
    if fits:
        read_prediction(path, Card(), clear)
    else:
        with pytest.raises(PredictionError, match="expected the scene's grid"):
            read_prediction(path, Card(), clear)
    write_tif(path, np.ones((4, size, size), "u2"), corner, 3, "EPSG:3857")
    with pytest.raises(PredictionError, match="expected the scene's CRS"):
        read_prediction(path, Card(), clear)


@pytest.mark.parametrize("text", ["EPSG:{}+5773", "+proj=utm +zone={zone} +ellps=WGS84 +units=m"])
def test_the_scene_s_system_written_differently_is_accepted(
    tmp_path: Path, scene: SceneFiles, text: str
) -> None:
    clear = read_product(scene, "clear")
    code = int(clear.crs.removeprefix("EPSG:"))
    corner = (clear.transform.c, clear.transform.f)
    path = tmp_path / f"{scene.name}.tif"
    crs = text.format(code, zone=code % 100)
    write_tif(path, np.full((4, 300, 300), 9, "u2"), corner, 3, crs)
    read_prediction(path, Card(), clear)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("EPSG:{}+5773", "got EPSG:32602"),
        ("+proj=utm +zone={zone} +ellps=bessel", "Unknown based on Bessel 1841 ellipsoid"),
    ],
)
def test_another_system_is_named_as_in_the_file(
    tmp_path: Path, scene: SceneFiles, text: str, reason: str
) -> None:
    clear = read_product(scene, "clear")
    path = tmp_path / f"{scene.name}.tif"
    crs = text.format(32602, zone=int(clear.crs[-2:]))
    write_tif(path, np.ones((4, 300, 300), "u2"), (0, 0), 3, crs)
    with pytest.raises(PredictionError, match=reason) as refusal:
        read_prediction(path, Card(), clear)
    assert len(refusal.value.message) < len(str(path)) + 200


def test_a_rotated_grid_is_reported_as_one(tmp_path: Path, scene: SceneFiles) -> None:
    clear = read_product(scene, "clear")
    path = tmp_path / f"{scene.name}.tif"
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=4, height=300, width=300, crs=clear.crs,
        transform=clear.transform @ Affine.rotation(7),
    ) as target:  # fmt: skip
        target.write(np.ones((4, 300, 300), "u2"))
    with pytest.raises(PredictionError, match="rotated by -7°"):
        read_prediction(path, Card(), clear)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\3\4 and so on", "got a zip"),
        (b"\x93NUMPY\1\0\x06\0(((((\n", "its header is broken"),
        (b"", "cannot be read"),
    ],
)
def test_bytes_other_than_an_array_are_refused_in_one_line(
    tmp_path: Path, scene: SceneFiles, content: bytes, message: str
) -> None:
    (tmp_path / f"{scene.name}.npy").write_bytes(content)
    (line,) = problems_of(tmp_path, [scene])
    assert message in line


@pytest.mark.parametrize("dtype", ["[('a', '<u2')]", "('<u2', (4, 300, 300))"])
def test_arrays_of_structures_are_refused(tmp_path: Path, scene: SceneFiles, dtype: str) -> None:
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': (4, 300, 300), }}\n".encode()
    content = b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + bytes(720_000)
    (tmp_path / f"{scene.name}.npy").write_bytes(content)
    (line,) = problems_of(tmp_path, [scene])
    assert "expected numbers, got" in line


def test_an_array_that_is_cut_off_is_refused_by_its_size(tmp_path: Path, scene: SceneFiles) -> None:
    path = tmp_path / f"{scene.name}.npy"
    np.save(path, image())
    path.write_bytes(path.read_bytes()[:-1])
    (line,) = problems_of(tmp_path, [scene])
    assert "the file is cut off" in line


def test_a_prediction_is_read_back_as_written(tmp_path: Path, scene: SceneFiles) -> None:
    clear = read_product(scene, "clear")
    path = tmp_path / f"{scene.name}.tif"
    write_prediction(path, image(), clear)
    read, _ = read_prediction(path, Card(), clear)
    np.testing.assert_allclose(read, image(), atol=0.5001e-4)
    with rasterio.open(path) as source:
        assert (source.crs.to_string(), source.transform) == (clear.crs, clear.transform)
        assert source.compression.value == "DEFLATE"
        assert source.nodata is None
