"""Test that every accepted format is read and everything else is refused in one line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from planetcr_bench.data.layout import SceneFiles, find_scenes
from planetcr_bench.data.reading import read_product, read_scene
from planetcr_bench.errors import PredictionError
from planetcr_bench.predictions.baselines import METHODS, copy_cloudy, mean_fill
from planetcr_bench.predictions.format import (
    Card,
    find_predictions,
    read_card,
    read_prediction,
    write_card,
    write_prediction,
)
from planetcr_bench.predictions.predict import predict
from scenes import write_tif


@pytest.fixture
def scene(data: Path) -> SceneFiles:
    return find_scenes(data, "test")[0]


def problems_of(folder: Path, scenes: list[SceneFiles]) -> list[str]:
    return find_predictions(folder, Card(), scenes).problems


def image(seed: int = 0, size: int = 300) -> np.ndarray:
    return np.random.default_rng(seed).random((4, size, size)).astype(np.float32)


@pytest.mark.parametrize(
    "place",
    [
        "{name}.tif",
        "{name}.tiff",
        "{name}.TIF",
        "{name}.Tiff",
        "deep/er/{name}.tif",
        "planet_cloudfree_{name}.tif",
        "planet_cloudy_{name}.tif",
        "test/planet_cloudfree_{season}/planet_cloudfree_{aoi}/planet_cloudfree_{name}.tif",
    ],
)
def test_a_file_is_matched_by_its_scene_s_name(
    tmp_path: Path, scene: SceneFiles, place: str
) -> None:
    path = tmp_path / place.format(name=scene.name, season=scene.season, aoi=scene.aoi)
    write_tif(path, np.ones((4, 300, 300), np.uint16), (0, 0), 3, None)
    found = find_predictions(tmp_path, Card(), [scene])
    assert found.files == {scene: path}
    assert not found.problems


@pytest.mark.parametrize("dtype", ["uint16", "float16", "float32", "float64", ">u2", ">f4"])
@pytest.mark.parametrize("size", [300, 160])
def test_arrays_are_read_in_the_scale_of_their_dtype(
    tmp_path: Path, scene: SceneFiles, dtype: str, size: int
) -> None:
    stored = image(size=size)
    integer = np.dtype(dtype).kind == "u"
    stored = (stored * (10_000 if integer else 1)).astype(dtype)
    np.save(tmp_path / f"{scene.name}.npy", stored)
    found = find_predictions(tmp_path, Card(), [scene])
    assert found.size == size
    read, pixels = read_prediction(
        found.files[scene], Card(), read_product(scene, "planet_cloudfree")
    )
    assert (pixels == stored).all()
    expected = stored.astype(np.float32) / np.float32(10_000 if integer else 1)
    assert (read == expected).all()
    assert read.dtype == np.float32


def test_a_declared_scale_counts(tmp_path: Path, scene: SceneFiles) -> None:
    np.save(tmp_path / f"{scene.name}.npy", image() * 255)
    clear = read_product(scene, "planet_cloudfree")
    path = tmp_path / f"{scene.name}.npy"
    read, _ = read_prediction(path, Card(scale=255), clear)
    np.testing.assert_allclose(read, image(), rtol=1e-6)
    with pytest.raises(PredictionError, match="looks like digital numbers; declare its scale"):
        read_prediction(path, Card(), clear)
    with pytest.raises(PredictionError, match="declares scale = 1, but its largest value is 2"):
        read_prediction(path, Card(scale=1), clear)


def test_values_out_of_range_are_kept(tmp_path: Path, scene: SceneFiles) -> None:
    np.save(tmp_path / f"{scene.name}.npy", image() * 1.2 - 0.1)
    read, _ = read_prediction(
        tmp_path / f"{scene.name}.npy", Card(), read_product(scene, "planet_cloudfree")
    )
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
def test_what_cannot_be_scored_is_one_line_before_anything_is_read(
    tmp_path: Path, scene: SceneFiles, message: str
) -> None:
    REFUSED[message](tmp_path / f"{scene.name}.tif")
    found = problems_of(tmp_path, [scene])
    matching = [line for line in found if re.search(message, line)]
    assert len(matching) == 1, found
    assert scene.name in matching[0]
    assert "\n" not in matching[0]


def test_every_surplus_file_is_named(tmp_path: Path, scene: SceneFiles) -> None:
    write_tif(tmp_path / f"{scene.name}.tif", np.ones((4, 300, 300), "u2"), (0, 0), 3, None)
    for name in ("summer_9_p_9.tif", "thumbnail.png", "sub/x.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in (
        "README.md",
        "train.log",
        ".hidden",
        "predictions.toml",
        f"{scene.name}.tif.aux.xml",
    ):
        (tmp_path / name).touch()
    found = problems_of(tmp_path, [scene])
    assert len(found) == 3
    assert all("got a surplus one" in line for line in found)


@pytest.mark.parametrize("name", ["{}.NPY", "{}.Npy", "planet_cloudy_{}.NPY"])
def test_an_array_is_read_whatever_the_capitals_of_its_ending(
    tmp_path: Path, scene: SceneFiles, name: str
) -> None:
    path = tmp_path / name.format(scene.name)
    with path.open("wb") as stream:
        np.save(stream, image())
    found = find_predictions(tmp_path, Card(), [scene])
    assert found.files == {scene: path}
    read, _ = read_prediction(path, Card(), read_product(scene, "planet_cloudfree"))
    assert (read == image()).all()


def test_litter_beside_predictions_changes_nothing(tmp_path: Path, scene: SceneFiles) -> None:
    np.save(tmp_path / f"{scene.name}.npy", image())
    for name in ("Thumbs.db", "desktop.ini", f"{scene.name}.tfw", f"{scene.name}.tif.ovr"):
        (tmp_path / name).touch()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / f"{scene.name}.npy").touch()
    assert not problems_of(tmp_path, [scene])


def test_predictions_in_linked_folders_are_found_once(tmp_path: Path, scene: SceneFiles) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "preds").mkdir()
    np.save(tmp_path / "disk" / f"{scene.name}.npy", image())
    for name, target in {"a": "../disk", "b": "../disk", "c": ".", "d": ".."}.items():
        (tmp_path / "preds" / name).symlink_to(target)
    found = find_predictions(tmp_path / "preds", Card(), [scene])
    assert not found.problems
    assert list(found.files) == [scene]


def test_a_link_that_leads_nowhere_is_named_as_one(tmp_path: Path, scene: SceneFiles) -> None:
    np.save(tmp_path / f"{scene.name}.npy", image())
    (tmp_path / "loop").symlink_to("loop")
    (line,) = problems_of(tmp_path, [scene])
    assert "got a link that leads nowhere" in line


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("{}_pred.tif", "'_pred' behind"),
        ("fake_{}.tif", "'fake_' before"),
        ("my-{}.out.tif", "'my-' before and '.out' behind"),
        ("{}.tif.tif", "'.tif' behind"),
    ],
)
def test_names_that_share_a_beginning_or_an_end_are_one_line(
    tmp_path: Path, data: Path, pattern: str, told: str
) -> None:
    scenes = find_scenes(data, "test")
    for scene in scenes:
        (tmp_path / pattern.format(scene.name)).touch()
    (line,) = problems_of(tmp_path, scenes)
    assert f"got 6 with {told} the scene's name" in line


def test_names_that_differ_in_a_number_are_one_line(tmp_path: Path, data: Path) -> None:
    scenes = find_scenes(data, "test")
    for number, scene in enumerate(scenes):
        (tmp_path / f"{number:03}pred{scene.name}.tif").touch()
    (line,) = problems_of(tmp_path, scenes)
    assert "got 6 with '…pred' before the scene's name" in line


def test_names_in_capitals_are_one_line(tmp_path: Path, data: Path) -> None:
    scenes = find_scenes(data, "test")
    for scene in scenes:
        (tmp_path / f"{scene.name}.tif".upper()).touch()
    (line,) = problems_of(tmp_path, scenes)
    assert "got 6 with capitals" in line


@pytest.mark.parametrize("end", [".png", ".npz", ""])
def test_files_of_an_ending_that_is_not_read_are_one_line(
    tmp_path: Path, data: Path, end: str
) -> None:
    scenes = find_scenes(data, "test")
    for scene in scenes:
        (tmp_path / f"{scene.name}{end}").touch()
    (line,) = problems_of(tmp_path, scenes)
    assert f"expected .tif, .tiff, .npy, got {end or 'no ending'} in 6 files" in line


def test_names_that_share_an_end_hide_no_other_problem(tmp_path: Path, data: Path) -> None:
    scenes = find_scenes(data, "test")
    for scene in scenes[:3]:
        np.save(tmp_path / f"{scene.name}.npy", image())
        (tmp_path / f"{scene.name}_prob.npy").touch()
    (tmp_path / "thumbnail.png").touch()
    problems = problems_of(tmp_path, scenes)
    assert len(problems) == 5
    assert sum("found no such file" in line for line in problems) == 3
    assert sum("got 3 with '_prob' behind" in line for line in problems) == 1


def test_crops_and_whole_patches_do_not_mix(tmp_path: Path, data: Path) -> None:
    first, second = find_scenes(data, "test")[:2]
    np.save(tmp_path / f"{first.name}.npy", image())
    np.save(tmp_path / f"{second.name}.npy", image(size=160))
    (line,) = problems_of(tmp_path, [first, second])
    assert second.name in line
    assert "expected 300 × 300 pixels like other predictions" in line


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(
    tmp_path: Path, scene: SceneFiles, value: float
) -> None:
    stored = image()
    stored[2, 5, 5:7] = value
    path = tmp_path / f"{scene.name}.npy"
    np.save(path, stored)
    with pytest.raises(PredictionError, match="got 2 values that are NaN or infinite"):
        read_prediction(path, Card(), read_product(scene, "planet_cloudfree"))


def test_values_beyond_float32_are_refused(tmp_path: Path, scene: SceneFiles) -> None:
    path = tmp_path / f"{scene.name}.npy"
    stored = image().astype(np.float64)
    stored[0, 0, 0] = 1e300
    np.save(path, stored)
    with pytest.raises(PredictionError, match="fit float32"):
        read_prediction(path, Card(scale=1), read_product(scene, "planet_cloudfree"))


def test_a_truncated_file_is_refused(tmp_path: Path, scene: SceneFiles) -> None:
    clear = read_product(scene, "planet_cloudfree")
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
    clear = read_product(scene, "planet_cloudfree")
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
def test_the_scene_s_system_in_other_words_is_the_scene_s(
    tmp_path: Path, scene: SceneFiles, text: str
) -> None:
    clear = read_product(scene, "planet_cloudfree")
    code = int(clear.crs.removeprefix("EPSG:"))
    corner = (clear.transform.c, clear.transform.f)
    path = tmp_path / f"{scene.name}.tif"
    said = text.format(code, zone=code % 100)
    write_tif(path, np.full((4, 300, 300), 9, "u2"), corner, 3, said)
    read_prediction(path, Card(), clear)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("EPSG:{}+5773", "got EPSG:32602"),
        ("+proj=utm +zone={zone} +ellps=bessel", "Unknown based on Bessel 1841 ellipsoid"),
    ],
)
def test_another_system_is_told_as_the_file_says_it(
    tmp_path: Path, scene: SceneFiles, text: str, told: str
) -> None:
    clear = read_product(scene, "planet_cloudfree")
    path = tmp_path / f"{scene.name}.tif"
    said = text.format(32602, zone=int(clear.crs[-2:]))
    write_tif(path, np.ones((4, 300, 300), "u2"), (0, 0), 3, said)
    with pytest.raises(PredictionError, match=told) as refusal:
        read_prediction(path, Card(), clear)
    assert len(refusal.value.message) < len(str(path)) + 200


def test_a_grid_that_is_turned_is_told_as_one(tmp_path: Path, scene: SceneFiles) -> None:
    clear = read_product(scene, "planet_cloudfree")
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
def test_bytes_that_are_no_array_are_one_line(
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


def test_predict_goes_on_beside_files_whose_endings_are_in_capitals(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "preds"
    predict("mean-fill", data, out, quiet=True)
    for path in out.glob("*.tif"):
        path.rename(path.with_suffix(".TIF"))
    (out / "Thumbs.db").touch()
    predict("mean-fill", data, out, quiet=True)
    assert not problems_of(out, find_scenes(data, "test"))


def test_what_is_written_is_read_back(tmp_path: Path, scene: SceneFiles) -> None:
    clear = read_product(scene, "planet_cloudfree")
    path = tmp_path / f"{scene.name}.tif"
    write_prediction(path, image(), clear)
    read, _ = read_prediction(path, Card(), clear)
    np.testing.assert_allclose(read, image(), atol=0.5001e-4)
    with rasterio.open(path) as source:
        assert (source.crs.to_string(), source.transform) == (clear.crs, clear.transform)
        assert source.compression.value == "DEFLATE"
        assert source.nodata is None


# --- predictions.toml -----------------------------------------------------------------------


def test_a_card_survives_the_disk(tmp_path: Path) -> None:
    card = Card(method='a "b" ü', split="test", scale=10_000, dataset="/d", fingerprint="f")
    write_card(tmp_path, card)
    assert read_card(tmp_path) == card
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.toml"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_card_from_windows_is_read(tmp_path: Path, encoding: str) -> None:
    text = 'method = "mine ü"\r\nscale = 10000\r\n'
    (tmp_path / "predictions.toml").write_bytes(text.encode(encoding))
    assert read_card(tmp_path) == Card(method="mine ü", scale=10_000)


def test_a_card_in_another_encoding_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "predictions.toml").write_bytes('method = "mine ü"'.encode("cp1252"))
    with pytest.raises(PredictionError, match="expected text in UTF-8, line 1 has the byte 0xfc"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scal = 1", "unknown key 'scal'; did you mean 'scale'"),
        ("zzz = 1", "unknown key 'zzz'; known are method"),
        ("scale = 0", "scale: expected a number above 0.0, got 0"),
        ("scale = true", "scale: expected a number, got True"),
        ('scale = "1"', "scale: expected a number, got '1'"),
        ("scale = nan", "scale: expected a finite number, got nan"),
        ("method = 3", "method: expected text"),
        ("= x", "cannot be read as TOML"),
    ],
)
def test_a_card_that_says_nonsense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "predictions.toml").write_text(text)
    with pytest.raises(PredictionError, match=message):
        read_card(tmp_path)


def test_no_folder_is_an_error_and_no_card_is_none(tmp_path: Path) -> None:
    assert read_card(tmp_path) == Card()
    with pytest.raises(PredictionError, match="found no such folder"):
        read_card(tmp_path / "none")


# --- Methods without training ---------------------------------------------------------------


def test_copy_cloudy_returns_the_input(scene: SceneFiles) -> None:
    loaded = read_scene(scene)
    assert (copy_cloudy(loaded) == loaded.cloudy).all()


def test_mean_fill_touches_cloud_alone(scene: SceneFiles) -> None:
    loaded = read_scene(scene)
    filled = mean_fill(loaded)
    mask = loaded.cloud_mask
    assert (filled[:, ~mask] == loaded.cloudy[:, ~mask]).all()
    expected = loaded.cloudy[:, ~mask].mean(1, dtype=np.float64)
    np.testing.assert_allclose(filled[:, mask], np.tile(expected[:, None], mask.sum()), rtol=1e-6)


@pytest.mark.parametrize("all_cloud", [True, False])
def test_mean_fill_of_no_clear_and_of_no_cloudy_pixel(scene: SceneFiles, all_cloud: bool) -> None:
    loaded = read_scene(scene)
    loaded.cloud_mask[:] = all_cloud
    filled = mean_fill(loaded)
    assert np.isfinite(filled).all()
    if all_cloud:
        np.testing.assert_allclose(filled[:, 0, 0], loaded.cloudy.mean((1, 2)), rtol=1e-5)
    else:
        assert (filled == loaded.cloudy).all()


@pytest.mark.parametrize("method", METHODS)
def test_predict_writes_a_folder_that_has_no_problems(
    data: Path, tmp_path: Path, method: str
) -> None:
    out = tmp_path / "preds"
    assert predict(method, data, out, quiet=True) == (6, 0)
    scenes = find_scenes(data, "test")
    (out / f"{scenes[0].name}.tif").write_bytes(b"damaged")
    (out / f"{scenes[1].name}.tif").unlink()
    before = (out / f"{scenes[2].name}.tif").stat().st_mtime_ns
    assert predict(method, data, out, quiet=True) == (2, 4)
    assert (out / f"{scenes[2].name}.tif").stat().st_mtime_ns == before
    assert not problems_of(out, scenes)
    card = read_card(out)
    assert (card.method, card.split, card.scale) == (method, "test", None)
    assert len(list(out.iterdir())) == 7


def test_predict_never_mixes_with_what_is_there(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "preds"
    predict("mean-fill", data, out, quiet=True)
    with pytest.raises(PredictionError, match="holds predictions of mean-fill"):
        predict("copy-cloudy", data, out, quiet=True)
    with pytest.raises(PredictionError, match="holds predictions of mean-fill"):
        predict("mean-fill", data, out, split="train", quiet=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.doc").touch()
    with pytest.raises(PredictionError, match="expected a new or empty folder"):
        predict("mean-fill", data, tmp_path / "other", quiet=True)
    with pytest.raises(PredictionError, match="found a file"):
        predict("mean-fill", data, tmp_path / "other" / "thesis.doc", quiet=True)
