"""Test finding scenes in the official layout, and in lists of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from planetcr_bench.constants import PRODUCTS
from planetcr_bench.data.discovery import find_files, find_splits
from planetcr_bench.data.fingerprint import fingerprint_of
from planetcr_bench.data.layout import all_products, find_scenes, missing_products, read_scene_list
from planetcr_bench.data.reading import read_product, read_thickness
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.data.tracks import read_track
from planetcr_bench.errors import DatasetError
from scenes import scene_files, write_scene


def csv_line(files: SceneFiles, *, root: Path | None = None) -> str:
    base = root or Path(files.split_folder)
    return ",".join(str(files.path(product).relative_to(base)) for product in PRODUCTS)


def test_scenes_are_found_in_a_fixed_order(data: Path) -> None:
    names = [files.name for files in find_scenes(data, "test")]
    assert names == [f"summer_50{n}_p_{p}" for n in (0, 1) for p in (1, 2, 3)] or len(names) == 6
    assert find_scenes(data, "test") == sorted(find_scenes(data, "test"))
    assert [files.split for files in find_scenes(data, "train")] == ["train"] * 2
    assert find_splits(data) == ["train", "test"]


@pytest.mark.parametrize("by", ["split", "dataset"])
def test_a_list_of_the_authors_form_chooses_scenes(data: Path, tmp_path: Path, by: str) -> None:
    scenes = find_scenes(data, "test")[2:4]
    lines = [csv_line(files, root=data if by == "dataset" else None) for files in reversed(scenes)]
    (tmp_path / "list.csv").write_bytes("\r\n".join([*lines, ""]).encode())
    assert find_scenes(data, "test", tmp_path / "list.csv") == scenes


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,b,c", "line 1: expected 5 columns, got 3"),
        ("S1,b,c,d,e", "expected the path of a planet_cloudfree file, got 'S1'"),
        ("twice", "expected each scene once"),
        ("mixed", "expected five files of one scene"),
        ("elsewhere", "expected planet_cloudfree_"),
        ("absent", "no such file"),
    ],
)
def test_a_list_that_names_no_scenes_is_refused(
    data: Path, tmp_path: Path, line: str, message: str
) -> None:
    first, second = find_scenes(data, "test")[:2]
    good = csv_line(first)
    text = {
        "twice": f"{good}\n{good}\n",
        "mixed": ",".join(good.split(",")[:4] + csv_line(second).split(",")[4:]),
        "elsewhere": "other/" + good,
        "absent": csv_line(scene_files(first.split_folder, "fall", 999, 1)),
    }.get(line, line)
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        find_scenes(data, "test", tmp_path / "list.csv")


def test_a_list_that_cannot_be_read_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        read_scene_list(tmp_path / "none.csv", data, "test")


def test_a_folder_other_than_a_dataset_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="found no such folder"):
        find_splits(tmp_path / "none")
    with pytest.raises(
        DatasetError, match=r"found none; another dataset than Planet-CR needs --dataset "
    ):
        find_splits(tmp_path)
    with pytest.raises(DatasetError, match=f"give its parent, {data}"):
        find_splits(data / "test")
    with pytest.raises(DatasetError, match="expected a split 'val', found only train, test"):
        find_scenes(data, "val")
    (tmp_path / "test").mkdir()
    with pytest.raises(DatasetError, match="expected scenes in the official layout, found none"):
        find_scenes(tmp_path, "test")


def test_a_scene_without_all_products_names_what_is_missing(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    files.path("sar").unlink()
    products, strays = find_files(tmp_path, "test")
    assert missing_products(products[files], files.description) == ["sar"]
    assert not strays
    with pytest.raises(DatasetError, match=r"S1_summer_500_p_1\.tif: no such file"):
        find_scenes(tmp_path, "test")


def test_unexpected_files_are_strays(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    folder = files.path("sar").parent
    for name in ("S1_summer_501_p_1.tif", "S1_summer_500_p_x.tif", "S1_summer_500_p_01.tif"):
        (folder / name).touch()
    (folder / "S1_summer_500_p_1.tif.aux.xml").touch()
    (folder / ".DS_Store").touch()
    products, strays = find_files(tmp_path, "test")
    assert products == {files: all_products(files.description)}
    assert {path.name for path in strays} == {
        "S1_summer_501_p_1.tif",
        "S1_summer_500_p_x.tif",
        "S1_summer_500_p_01.tif",
    }


def test_extensions_count_in_any_case(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    before = fingerprint_of([files], workers=0)
    line = csv_line(files)
    for product, suffix in zip(PRODUCTS, (".TIF", ".tiff", ".Tif", ".TIFF", ".NPY"), strict=True):
        files.path(product).rename(files.path(product).with_suffix(suffix))
    assert find_files(tmp_path, "test") == ({files: all_products(files.description)}, [])
    assert fingerprint_of(find_scenes(tmp_path, "test"), workers=0) == before
    (tmp_path / "list.csv").write_text(line.replace(".tif", ".TIF"))
    assert find_scenes(tmp_path, "test", tmp_path / "list.csv") == [files]


def test_one_file_in_two_spellings_is_a_stray(tmp_path: Path) -> None:
    path = write_scene(tmp_path).path("sar")
    path.with_suffix(".TIF").write_bytes(path.read_bytes())
    _, strays = find_files(tmp_path, "test")
    assert strays == [path.with_suffix(".TIF")]


def test_litter_and_links_upwards_are_no_strays(tmp_path: Path) -> None:
    folder = write_scene(tmp_path).path("sar").parent
    for name in ("Thumbs.db", "desktop.ini", "S1_summer_500_p_1.tif.ovr", "._a.tif", "README.txt"):
        (folder / name).touch()
    (folder / "__MACOSX").mkdir()
    (folder / "itself").symlink_to(".")
    (folder.parent / "S1_summer_9").symlink_to("..")
    (tmp_path / "test" / "S1_again").symlink_to("..")
    products, strays = find_files(tmp_path, "test")
    assert len(products) == 1
    assert not strays


def test_folders_of_a_dataset_may_be_links(tmp_path: Path) -> None:
    files = write_scene(tmp_path / "disk")
    (tmp_path / "data" / "test").mkdir(parents=True)
    for folder in (tmp_path / "disk" / "test").iterdir():
        (tmp_path / "data" / "test" / folder.name).symlink_to(folder)
    (found,) = find_scenes(tmp_path / "data", "test")
    assert found.name == files.name


def test_a_list_of_scenes_hides_neither_depth_nor_names(tmp_path: Path) -> None:
    files = [write_scene(tmp_path, patch=patch) for patch in (1, 2)]
    (tmp_path / "list.csv").write_text("\n".join(map(csv_line, files)))
    for path in (scene.path("sar") for scene in files):
        path.rename(path.with_name(f"{path.stem}_db.tif"))
    with pytest.raises(DatasetError) as refusal:
        find_scenes(tmp_path, "test", tmp_path / "list.csv")
    (line,) = refusal.value.problems
    assert "got 2 files with '_db' behind it" in line
    (tmp_path / "test").rename(tmp_path / "made")
    (tmp_path / "test").mkdir()
    (tmp_path / "made").rename(tmp_path / "test" / "test")
    with pytest.raises(DatasetError, match=f"give {tmp_path}/test, or move"):
        find_scenes(tmp_path, "test", tmp_path / "list.csv")


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("product", ["sar", "cloud_mask"])
def test_a_product_other_than_a_regular_file_is_named(tmp_path: Path, product: str) -> None:
    files = write_scene(tmp_path)
    path = files.path(product)
    list_of_it = tmp_path / "list.csv"
    list_of_it.write_text(csv_line(files))
    path.unlink()
    os.mkfifo(path)
    for scene_list in (None, list_of_it):
        (found,) = find_scenes(tmp_path, "test", scene_list)
        with pytest.raises(DatasetError, match="expected a regular file, got a FIFO"):
            read_product(found, product)


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("name", ["dataset.toml", "list.csv", "summer_500_p_1.npz"])
def test_a_pipe_in_place_of_a_text_or_truth_file_is_named(tmp_path: Path, name: str) -> None:
    files = write_scene(tmp_path)
    os.mkfifo(tmp_path / name)
    read: Callable[[], object] = {
        "dataset.toml": lambda: read_track(tmp_path),
        "list.csv": lambda: find_scenes(tmp_path, "test", tmp_path / name),
        "summer_500_p_1.npz": lambda: read_thickness(tmp_path, files),
    }[name]
    with pytest.raises(DatasetError, match=f"{name}: expected a regular file, got a FIFO"):
        read()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_texts_from_windows_are_read(tmp_path: Path, encoding: str) -> None:
    files = write_scene(tmp_path)
    (tmp_path / "dataset.toml").write_bytes('track = "mine"\r\n'.encode(encoding))
    (tmp_path / "list.csv").write_bytes(f"{csv_line(files)}\r\n".encode(encoding))
    assert read_track(tmp_path) == "mine"
    assert find_scenes(tmp_path, "test", tmp_path / "list.csv") == [files]


@pytest.mark.slow
def test_sixty_three_thousand_quartets_index_in_seconds(tmp_path: Path) -> None:
    for aoi in range(1, 781):
        split, patches = ("train", 91) if aoi > 120 else ("test", 25)
        for product in PRODUCTS:
            first = scene_files(tmp_path / split, "fall", aoi, 0).path(product)
            first.parent.mkdir(parents=True, exist_ok=True)
            for patch in range(patches):
                (first.parent / first.name.replace("_p_0", f"_p_{patch}")).touch()
    start = time.perf_counter()
    count = sum(len(find_scenes(tmp_path, split)) for split in ("train", "test"))
    assert count == 660 * 91 + 120 * 25
    assert time.perf_counter() - start < 30
