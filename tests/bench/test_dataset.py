"""Finding and reading the official layout."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import rasterio

from planetcr_bench.dataset import (
    ALL_PRODUCTS,
    SceneFiles,
    find_files,
    find_scenes,
    find_splits,
    missing_products,
    pixel_digest,
    read_product,
    read_scene,
    read_scene_list,
    read_track,
    scene_digest,
    split_fingerprint,
)
from planetcr_bench.errors import DatasetError, SceneError
from planetcr_bench.fingerprint import digest_scenes, fingerprint_of
from planetcr_bench.vocabulary import PLANET_CR_SAMPLES, PRODUCTS
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
    with pytest.raises(DatasetError, match="cannot be read"):
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
    monkeypatch.setattr("planetcr_bench.dataset.PLANET_CR_SAMPLES", known)
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
