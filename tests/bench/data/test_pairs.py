"""Test folders of pairs, which need no description."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from described import write_png
from planetcr_bench.data.discovery import find_splits
from planetcr_bench.data.integrity import check_dataset
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_scene
from planetcr_bench.data.tracks import read_track
from planetcr_bench.errors import DatasetError
from scenes import write_tif


def write_pairs(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        write_png(root / "clear" / f"{name}.png", 2 * number)
        write_png(root / "cloudy" / f"{name}.png", 2 * number + 1)


def test_pairs_of_pictures_are_read_as_they_are(tmp_path: Path) -> None:
    write_pairs(tmp_path, "b", "a 1")
    assert find_splits(tmp_path) == ["test"]
    scenes = find_scenes(tmp_path, "test")
    assert [files.name for files in scenes] == ["a 1", "b"]
    scene = read_scene(scenes[1])
    assert scene.bands == ["red", "green", "blue"]
    pixels = np.asarray(Image.open(tmp_path / "clear/b.png")).transpose(2, 0, 1)
    assert (scene.clear == pixels / np.float32(255)).all()
    assert scene.sar is scene.land_cover is scene.cloud_mask is None
    assert read_track(tmp_path) == "unnamed"


def test_pairs_without_a_name_in_common_are_one_error(tmp_path: Path) -> None:
    write_png(tmp_path / "clear/1_gt.png", 0)
    write_png(tmp_path / "cloudy/1_cloudy.png", 1)
    with pytest.raises(DatasetError, match=r"such as cloudy/1_cloudy.png and clear/1_gt.png; re"):
        find_scenes(tmp_path, "test")
    with pytest.raises(DatasetError, match=r"such as cloudy/1_cloudy.png"):
        check_dataset(tmp_path, workers=0, quiet=True)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, ["grey"]),
        (2, ["b1", "b2"]),
        (4, ["blue", "green", "red", "nir"]),
        (5, ["b1", "b2", "b3", "b4", "b5"]),
    ],
)
def test_bands_are_named_where_their_number_says_which_they_are(
    count: int, expected: list[str], tmp_path: Path
) -> None:
    for name in ("clear", "cloudy"):
        image = np.random.default_rng(0).integers(100, 4000, (count, 40, 48), np.uint16)
        write_tif(tmp_path / name / "a.tif", image, (0, 0), 10, None)
    (files,) = find_scenes(tmp_path, "test")
    assert read_scene(files).bands == expected


def test_pairs_are_checked_with_a_word_on_clusters(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a", "b")
    report = check_dataset(tmp_path, workers=0)
    assert report.ok, report.problems
    assert report.splits["test"].aois == 2
    (line,) = report.warnings
    assert "no cluster in the description" in line


def test_pairs_may_have_splits(tmp_path: Path) -> None:
    write_pairs(tmp_path / "train", "a", "b")
    write_pairs(tmp_path / "test", "c")
    assert find_splits(tmp_path) == ["train", "test"]
    assert [files.name for files in find_scenes(tmp_path, "test")] == ["c"]
    assert check_dataset(tmp_path, workers=0).ok


def test_masks_land_cover_and_sar_beside_pairs_are_used(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a")
    for folder in ("mask", "landcover"):
        (tmp_path / folder).mkdir()
    mask = np.zeros((40, 48), np.uint8)
    mask[:10] = 255
    Image.fromarray(mask).save(tmp_path / "mask/a.png")
    codes = np.full((1, 20, 24), 80, np.uint8)
    write_tif(tmp_path / "landcover/a.tif", codes, (0, 0), 10, None)
    sar = np.random.default_rng(0).normal(-12, 2, (2, 20, 24)).astype(np.float32)
    write_tif(tmp_path / "sar/a.tif", sar, (0, 0), 10, None)
    scene = read_scene(find_scenes(tmp_path, "test")[0])
    assert scene.cloud_cover == 0.25
    assert scene.cover_bin == "20-40"
    assert scene.land_cover is not None
    assert (scene.land_cover == 5).all()
    assert scene.sar is not None
    assert scene.sar.shape == (2, 20, 24)


@pytest.mark.parametrize(("kind", "bands"), [("uint8", 3), ("uint16", 4), ("float32", 8)])
def test_the_kind_of_file_gives_bands_and_scale(tmp_path: Path, kind: str, bands: int) -> None:
    scale = {"uint8": 255, "uint16": 10_000, "float32": 1}[kind]
    image = np.random.default_rng(0).uniform(0.1, 0.9, (bands, 40, 48)) * scale
    for product in ("clear", "cloudy"):
        write_tif(tmp_path / product / "a.tif", image.astype(kind), (0, 0), 10, "EPSG:32631")
    scene = read_scene(find_scenes(tmp_path, "test")[0])
    assert len(scene.bands) == bands
    np.testing.assert_array_equal(scene.clear, image.astype(kind) / np.float32(scale))


def test_an_alpha_band_is_no_band(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a")
    for product in ("clear", "cloudy"):
        path = tmp_path / product / "a.png"
        Image.open(path).convert("RGBA").save(path)
    assert read_scene(find_scenes(tmp_path, "test")[0]).clear.shape == (3, 40, 48)


def test_jpeg_files_are_read(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a")
    for product in ("clear", "cloudy"):
        path = tmp_path / product / "a.png"
        Image.open(path).save(path.with_suffix(".JPG"))
        path.unlink()
    scene = read_scene(find_scenes(tmp_path, "test")[0])
    assert scene.clear.shape == (3, 40, 48)


def test_a_pair_without_its_other_image_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a", "b")
    (tmp_path / "cloudy/b.png").unlink()
    with pytest.raises(DatasetError) as refused:
        find_scenes(tmp_path, "test")
    assert f"{tmp_path}/cloudy/b.png: no such file" in refused.value.problems


def test_mixed_band_counts_are_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a", "b")
    Image.open(tmp_path / "clear/b.png").convert("L").save(tmp_path / "clear/b.png")
    with pytest.raises(DatasetError, match=r"b.png: expected shape \(3, 40, 48\), got \(1, 40"):
        read_scene(find_scenes(tmp_path, "test")[1])


# --- Files that somebody else wrote ---------------------------------------------------------


def png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that promises so many pixels."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b"\0"),
             (b"IEND", b"")]  # fmt: skip
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(1_000_000, 1_000_000), r"expected at most 10000 pixels a side|cannot be read"),
        (png(5000, 5000), "cannot be read"),
        (b"\x89PNG\r\n\x1a\n", "cannot be read"),
        (b"II*\0 nonsense", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_a_broken_picture_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    write_pairs(tmp_path, "a", "b")
    (tmp_path / "cloudy/b.png").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"cloudy/b.png: .*({message})"):
        read_scene(find_scenes(tmp_path, "test")[1])
    (tmp_path / "clear/a.png").write_bytes(content)
    with pytest.raises(DatasetError, match=r"clear/a.png: "):
        read_scene(find_scenes(tmp_path, "test")[0])


@pytest.mark.parametrize("end", ["png", "jpg"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_picture_that_is_cut_short_is_named(tmp_path: Path, end: str, share: float) -> None:
    for product in ("clear", "cloudy"):
        (tmp_path / product).mkdir()
        values = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
        Image.fromarray(values).save(tmp_path / product / f"a.{end}")
    picture = tmp_path / f"cloudy/a.{end}"
    (scene,) = find_scenes(tmp_path, "test")
    read_scene(scene)
    picture.write_bytes(picture.read_bytes()[: int(share * picture.stat().st_size)])
    with pytest.raises(DatasetError, match=rf"cloudy/a.{end}: cannot be read"):
        read_scene(scene)


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("name", ["clear/a.png", "clear/a.pgw", "cloudy/a.png.aux.xml"])
def test_a_pipe_in_place_of_a_picture_or_beside_it_is_named(tmp_path: Path, name: str) -> None:
    write_pairs(tmp_path, "a")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(DatasetError, match=f"{name}: expected a regular file, got a FIFO"):
        read_scene(find_scenes(tmp_path, "test")[0])
