"""Finding and reading the official layout."""

from __future__ import annotations

import os
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from planetcr_bench.constants import PLANET_CR_SAMPLES, PRODUCTS
from planetcr_bench.data.fingerprint import (
    digest_scenes,
    fingerprint_of,
    pixel_digest,
    scene_digest,
    split_fingerprint,
)
from planetcr_bench.data.integrity import audit
from planetcr_bench.data.layout import (
    ALL_PRODUCTS,
    SceneFiles,
    find_files,
    find_scenes,
    find_splits,
    missing_products,
    read_scene_list,
)
from planetcr_bench.data.reading import read_product, read_scene, read_thickness
from planetcr_bench.data.tracks import read_track
from planetcr_bench.errors import DatasetError, SceneError
from scenes import write_dataset, write_scene, write_tif


def csv_line(files: SceneFiles, *, root: Path | None = None) -> str:
    base = root or Path(files.split_folder)
    return ",".join(str(files.path(product).relative_to(base)) for product in PRODUCTS)


def test_scenes_are_found_in_a_fixed_order(data: Path) -> None:
    names = [files.name for files in find_scenes(data, "test")]
    assert names == [f"summer_50{n}_p_{p}" for n in (0, 1) for p in (1, 2, 3)] or len(names) == 6
    assert find_scenes(data, "test") == sorted(find_scenes(data, "test"))
    assert [files.split for files in find_scenes(data, "train")] == ["train"] * 2
    assert find_splits(data) == ["train", "test"]


def test_a_scene_carries_its_identity_and_its_pixels(data: Path) -> None:
    files = find_scenes(data, "test")[0]
    scene = read_scene(files)
    assert (scene.name, scene.aoi, scene.patch) == (files.name, files.aoi, files.patch)
    assert scene.split == "test"
    assert scene.crs.startswith("EPSG:326")
    assert scene.transform.a == 3
    with rasterio.open(files.path("planet_cloudy")) as source:
        assert (scene.cloudy == source.read().astype(np.float32) / np.float32(10_000)).all()
    assert scene.cloud_cover == np.load(files.path("cloudmask")).mean()


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
        "absent": csv_line(SceneFiles("fall", 999, 1, first.split_folder)),
    }.get(line, line)
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        find_scenes(data, "test", tmp_path / "list.csv")


def test_a_list_that_cannot_be_read_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        read_scene_list(tmp_path / "none.csv", data, "test")


def test_a_folder_that_is_no_dataset_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="found no such folder"):
        find_splits(tmp_path / "none")
    with pytest.raises(DatasetError, match=r"holds train/ or test/, found none$"):
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
    files.path("S1").unlink()
    found, strays = find_files(tmp_path, "test")
    assert missing_products(found[files]) == ["S1"]
    assert not strays
    with pytest.raises(DatasetError, match=r"S1_summer_500_p_1\.tif: no such file"):
        find_scenes(tmp_path, "test")


def test_files_that_the_layout_does_not_explain_are_strays(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    folder = files.path("S1").parent
    for name in ("S1_summer_501_p_1.tif", "S1_summer_500_p_x.tif", "S1_summer_500_p_01.tif"):
        (folder / name).touch()
    (folder / "S1_summer_500_p_1.tif.aux.xml").touch()
    (folder / ".DS_Store").touch()
    found, strays = find_files(tmp_path, "test")
    assert found == {files: ALL_PRODUCTS}
    assert {path.name for path in strays} == {
        "S1_summer_501_p_1.tif",
        "S1_summer_500_p_x.tif",
        "S1_summer_500_p_01.tif",
    }


def test_endings_count_in_any_capitals(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    before = fingerprint_of([files], workers=0)
    line = csv_line(files)
    for product, suffix in zip(PRODUCTS, (".TIF", ".tiff", ".Tif", ".TIFF", ".NPY"), strict=True):
        files.path(product).rename(files.path(product).with_suffix(suffix))
    assert find_files(tmp_path, "test") == ({files: ALL_PRODUCTS}, [])
    assert fingerprint_of(find_scenes(tmp_path, "test"), workers=0) == before
    (tmp_path / "list.csv").write_text(line.replace(".tif", ".TIF"))
    assert find_scenes(tmp_path, "test", tmp_path / "list.csv") == [files]


def test_one_file_in_two_spellings_is_a_stray(tmp_path: Path) -> None:
    path = write_scene(tmp_path).path("S1")
    path.with_suffix(".TIF").write_bytes(path.read_bytes())
    _, strays = find_files(tmp_path, "test")
    assert strays == [path.with_suffix(".TIF")]


def test_litter_and_links_upwards_are_no_strays(tmp_path: Path) -> None:
    folder = write_scene(tmp_path).path("S1").parent
    for name in ("Thumbs.db", "desktop.ini", "S1_summer_500_p_1.tif.ovr", "._a.tif", "README.txt"):
        (folder / name).touch()
    (folder / "__MACOSX").mkdir()
    (folder / "itself").symlink_to(".")
    (folder.parent / "S1_summer_9").symlink_to("..")
    (tmp_path / "test" / "S1_again").symlink_to("..")
    found, strays = find_files(tmp_path, "test")
    assert len(found) == 1
    assert not strays


def test_folders_of_a_dataset_may_be_links(tmp_path: Path) -> None:
    files = write_scene(tmp_path / "disk")
    (tmp_path / "data" / "test").mkdir(parents=True)
    for folder in (tmp_path / "disk" / "test").iterdir():
        (tmp_path / "data" / "test" / folder.name).symlink_to(folder)
    (found,) = find_scenes(tmp_path / "data", "test")
    assert found.name == files.name


@pytest.mark.parametrize(
    ("place", "given", "remedy"),
    [
        ("PLANET_CR/test", ".", "give {}/PLANET_CR, which does"),
        ("a/PLANET_CR/test", ".", "give {}/a/PLANET_CR, which does"),
        ("test/test", ".", "they lie in {0}/test/test: give {0}/test, or move what is in it"),
        ("test/images", ".", "they lie in {0}/test/images: move what is in it to {0}/test"),
        ("images", ".", "{}/images holds the scenes: name it train, val or test"),
        ("test", "test/S1_summer", "found none; give {}"),
        ("images", "images", "move its folders into one named train, val or test"),
    ],
)
def test_a_dataset_at_another_depth_says_which_folder_to_give(
    tmp_path: Path, place: str, given: str, remedy: str
) -> None:
    write_scene(tmp_path / "made")
    (tmp_path / "d" / place).parent.mkdir(parents=True)
    (tmp_path / "made" / "test").rename(tmp_path / "d" / place)
    with pytest.raises(DatasetError) as refusal:
        find_scenes(tmp_path / "d" / given, "test")
    assert remedy.format(tmp_path / "d") in refusal.value.message
    try:
        told = "\n".join(audit(tmp_path / "d" / given, workers=0).problems)
    except DatasetError as error:
        told = error.message
    assert refusal.value.message in told


@pytest.mark.parametrize(
    ("products", "pattern", "told"),
    [
        (["S1"], "{stem}_db{suffix}", "got 3 files with '_db' behind it"),
        (PRODUCTS, "{stem}_v2{suffix}", "got 15 files with '_v2' behind it"),
        (PRODUCTS, "my_{stem}{suffix}", "got 15 files with 'my_' before it"),
        (["S1"], "{stem}.img", "got 3 files with '.img' behind it"),
    ],
)
def test_names_that_share_a_word_too_much_are_one_line(
    tmp_path: Path, products: list[str], pattern: str, told: str
) -> None:
    write_dataset(tmp_path, test=3)
    for files in find_scenes(tmp_path, "test"):
        for path in map(files.path, products):
            path.rename(path.with_name(pattern.format(stem=path.stem, suffix=path.suffix)))
    with pytest.raises(DatasetError) as refusal:
        find_scenes(tmp_path, "test")
    (line,) = refusal.value.problems
    assert told in line
    assert audit(tmp_path, workers=0).problems == [line]


def test_a_list_of_scenes_hides_neither_depth_nor_names(tmp_path: Path) -> None:
    files = [write_scene(tmp_path, patch=patch) for patch in (1, 2)]
    (tmp_path / "list.csv").write_text("\n".join(map(csv_line, files)))
    for path in (one.path("S1") for one in files):
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
@pytest.mark.parametrize("product", ["S1", "cloudmask"])
def test_a_product_that_is_no_regular_file_is_named(tmp_path: Path, product: str) -> None:
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
def test_what_stands_in_place_of_a_text_or_a_truth_is_named(tmp_path: Path, name: str) -> None:
    files = write_scene(tmp_path)
    os.mkfifo(tmp_path / name)
    read: Callable[[], object] = {
        "dataset.toml": lambda: read_track(tmp_path),
        "list.csv": lambda: find_scenes(tmp_path, "test", tmp_path / name),
        "summer_500_p_1.npz": lambda: read_thickness(tmp_path, files),
    }[name]
    with pytest.raises(DatasetError, match=f"{name}: expected a regular file, got a FIFO"):
        read()


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"x" * 1000])
def test_a_truth_that_is_broken_is_one_line(tmp_path: Path, content: bytes) -> None:
    files = write_scene(tmp_path)
    (tmp_path / f"{files.name}.npz").write_bytes(content)
    with pytest.raises(DatasetError, match="expected the hidden truth of a scene, cannot read it"):
        read_thickness(tmp_path, files)


def test_a_truth_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    with (
        zipfile.ZipFile(tmp_path / f"{files.name}.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("cloud_thickness.npy", "w") as member,
    ):
        header = {"descr": "<f8", "fortran_order": False, "shape": (2000, 1500)}
        np.lib.format.write_array_header_1_0(member, header)
        member.write(bytes(24_000_000))
    with pytest.raises(DatasetError, match="cannot read it"):
        read_thickness(tmp_path, files)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_texts_from_windows_are_read(tmp_path: Path, encoding: str) -> None:
    files = write_scene(tmp_path)
    (tmp_path / "dataset.toml").write_bytes('track = "mine"\r\n'.encode(encoding))
    (tmp_path / "list.csv").write_bytes(f"{csv_line(files)}\r\n".encode(encoding))
    assert read_track(tmp_path) == "mine"
    assert find_scenes(tmp_path, "test", tmp_path / "list.csv") == [files]


def test_a_dataset_s_systems_may_be_written_in_other_words(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    zone = int(read_product(files, "S1").crs[-2:])
    for product, said in {
        "planet_cloudy": f"EPSG:{32600 + zone}+5773", "S1": f"+proj=utm +zone={zone} +ellps=WGS84",
    }.items():  # fmt: skip
        raster = read_product(files, product)
        corner = (raster.transform.c, raster.transform.f)
        write_tif(files.path(product), raster.pixels, corner, raster.transform.a, said)
    assert read_scene(files).crs == f"EPSG:{32600 + zone}"


def test_a_product_of_pages_says_so(tmp_path: Path) -> None:
    path = write_scene(tmp_path).path("landcover")
    raster = rasterio.open(path).read()
    for number in range(3):
        more = {"APPEND_SUBDATASET": "YES"} if number else {}
        with (
            warnings.catch_warnings(action="ignore"),
            rasterio.open(
                path, "w", driver="GTiff", dtype="uint8", count=1, height=90, width=90, **more
            ) as target,
        ):
            target.write(raster)
    (files,) = find_scenes(tmp_path, "test")
    with pytest.raises(DatasetError, match="got 3 pages of one band; write one image of one band"):
        read_product(files, "landcover")


BREAKAGES = {
    "cannot be read": ("planet_cloudy", lambda path: path.write_bytes(b"II*\0 nonsense")),
    "expected uint16, got float32": (
        "planet_cloudfree",
        lambda path: write_tif(path, np.zeros((4, 300, 300), np.float32), (0, 0), 3, "EPSG:32601"),
    ),
    r"expected shape \(4, 300, 300\), got \(3, 300, 300\)": (
        "planet_cloudy",
        lambda path: write_tif(path, np.ones((3, 300, 300), np.uint16), (0, 0), 3, "EPSG:32601"),
    ),
    "expected bool, got uint8": (
        "cloudmask",
        lambda path: np.save(path, np.ones((300, 300), "u1")),
    ),
    "a band of only NaN": (
        "S1",
        lambda path: write_tif(path, np.full((2, 90, 90), np.nan), (0, 0), 10, "EPSG:32601"),
    ),
    "no such file": ("landcover", lambda path: path.unlink()),
}


@pytest.mark.parametrize("message", BREAKAGES)
def test_a_broken_file_is_named_with_what_was_expected(tmp_path: Path, message: str) -> None:
    product, break_it = BREAKAGES[message]
    files = write_scene(tmp_path)
    path = files.path(product)
    break_it(path)
    with pytest.raises(DatasetError, match=message) as refusal:
        read_product(files, product)
    assert str(path) in refusal.value.message


def test_a_mask_that_holds_pickled_objects_is_never_loaded(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    np.save(files.path("cloudmask"), np.array([{}], object), allow_pickle=True)
    with pytest.raises(DatasetError, match="expected numbers, got object"):
        read_product(files, "cloudmask")


def test_products_within_one_radar_pixel_are_one_grid(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    radar = read_product(files, "S1")
    east, north = radar.transform.c, radar.transform.f
    write_tif(files.path("S1"), radar.pixels, (east + 7, north - 7), 10, radar.crs)
    read_scene(files)
    write_tif(files.path("S1"), radar.pixels, (east + 13, north), 10, radar.crs)
    with pytest.raises(SceneError, match=r"S1_.*expected corners within 10 m"):
        read_scene(files)
    write_tif(files.path("S1"), radar.pixels, (east, north), 10, "EPSG:32733")
    with pytest.raises(SceneError, match="expected the clear image's CRS"):
        read_scene(files)


def test_cloudy_and_clear_share_their_grid_exactly(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    cloudy = read_product(files, "planet_cloudy")
    corner = (cloudy.transform.c + 3, cloudy.transform.f)
    write_tif(files.path("planet_cloudy"), cloudy.pixels, corner, 3, cloudy.crs)
    with pytest.raises(SceneError, match=r"planet_cloudy_.*got 3\.00 m"):
        read_scene(files)


def test_a_track_is_named_by_the_dataset_or_there_is_none(tmp_path: Path) -> None:
    assert read_track(tmp_path) == "unnamed"
    (tmp_path / "dataset.toml").write_text("")
    assert read_track(tmp_path) == "unnamed"
    for name in ("sim-v1", "planet-cr"):
        (tmp_path / "dataset.toml").write_text(f'track = "{name}"')
        assert read_track(tmp_path) == name
    for text in ('track = "../x"', "track = 1", "track = ["):
        (tmp_path / "dataset.toml").write_text(text)
        with pytest.raises(DatasetError, match=r"dataset\.toml"):
            read_track(tmp_path)


def test_the_release_is_known_by_the_pixels_of_its_published_scene_of_the_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_scene(tmp_path, "test", "summer", 33, 1)
    write_scene(tmp_path, "train", "fall", 1, 457)
    assert read_track(tmp_path) == "unnamed"  # its names alone prove nothing
    digest = scene_digest({product: read_product(files, product) for product in PRODUCTS}).hex()
    known = {**PLANET_CR_SAMPLES, "test": ("summer", 33, 1, digest)}
    monkeypatch.setattr("planetcr_bench.data.tracks.PLANET_CR_SAMPLES", known)
    assert [read_track(tmp_path, split) for split in ("test", "train", None)] == [
        "planet-cr", "unnamed", "planet-cr",
    ]  # fmt: skip
    mask = np.load(files.path("cloudmask"))
    mask[7, 7] ^= True
    np.save(files.path("cloudmask"), mask)
    assert read_track(tmp_path, "test") == "unnamed"
    files.path("planet_cloudy").write_bytes(b"broken")
    assert read_track(tmp_path, "test") == "unnamed"
    files.path("planet_cloudy").unlink()
    assert read_track(tmp_path, "test") == "unnamed"


def test_the_fingerprint_is_of_the_pixels_not_of_the_files(tmp_path: Path) -> None:
    plain, packed = (
        find_scenes(write_dataset(tmp_path / name, test=2), "test") for name in ("plain", "packed")
    )
    for files in packed:
        radar = read_product(files, "S1")
        corner = (radar.transform.c, radar.transform.f)
        write_tif(files.path("S1"), radar.pixels, corner, 10, radar.crs, compress="deflate")
    assert fingerprint_of(plain, workers=0) == fingerprint_of(packed, workers=0)
    mask = np.load(packed[0].path("cloudmask"))
    mask[7, 7] ^= True
    np.save(packed[0].path("cloudmask"), mask)
    assert fingerprint_of(plain, workers=0) != fingerprint_of(packed, workers=0)


def test_the_fingerprint_does_not_hang_on_the_order_of_scenes(data: Path) -> None:
    digests = digest_scenes(find_scenes(data, "test"))
    assert split_fingerprint(digests) == split_fingerprint(reversed(digests))


def test_digests_tell_dtype_shape_and_byte_order_apart_as_values() -> None:
    a = np.arange(6, dtype="<u2")
    assert pixel_digest(a) == pixel_digest(a.astype(">u2"))
    assert pixel_digest(a) != pixel_digest(a.astype("<u4"))
    assert pixel_digest(a) != pixel_digest(a.reshape(2, 3))
    assert pixel_digest(a.reshape(2, 3)) == pixel_digest(np.asfortranarray(a.reshape(2, 3)))


@pytest.mark.slow
def test_sixty_three_thousand_quartets_index_in_seconds(tmp_path: Path) -> None:
    for aoi in range(1, 781):
        split, patches = ("train", 91) if aoi > 120 else ("test", 25)
        for product in PRODUCTS:
            first = SceneFiles("fall", aoi, 0, str(tmp_path / split)).path(product)
            first.parent.mkdir(parents=True, exist_ok=True)
            for patch in range(patches):
                (first.parent / first.name.replace("_p_0", f"_p_{patch}")).touch()
    start = time.perf_counter()
    count = sum(len(find_scenes(tmp_path, split)) for split in ("train", "test"))
    assert count == 660 * 91 + 120 * 25
    assert time.perf_counter() - start < 30
