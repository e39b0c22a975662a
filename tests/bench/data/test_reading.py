"""Test reading the files of a scene, and refusing broken ones by name."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_product, read_scene, read_thickness
from planetcr_bench.errors import DatasetError, SceneError
from scenes import write_scene, write_tif


def test_a_scene_carries_its_identity_and_its_pixels(data: Path) -> None:
    files = find_scenes(data, "test")[0]
    scene = read_scene(files)
    assert (scene.name, scene.aoi, scene.patch) == (files.name, files.aoi, files.patch)
    assert scene.split == "test"
    assert scene.crs.startswith("EPSG:326")
    assert scene.transform.a == 3
    with rasterio.open(files.path("cloudy")) as source:
        assert (scene.cloudy == source.read().astype(np.float32) / np.float32(10_000)).all()
    assert scene.cloud_cover == np.load(files.path("cloud_mask")).mean()


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"x" * 1000])
def test_a_broken_truth_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    files = write_scene(tmp_path)
    (tmp_path / f"{files.name}.npz").write_bytes(content)
    with pytest.raises(
        DatasetError, match="expected the hidden truth of a scene, but it cannot be read"
    ):
        read_thickness(tmp_path, files)


def test_a_truth_file_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    with (
        zipfile.ZipFile(tmp_path / f"{files.name}.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("cloud_thickness.npy", "w") as member,
    ):
        header = {"descr": "<f8", "fortran_order": False, "shape": (2000, 1500)}
        np.lib.format.write_array_header_1_0(member, header)
        member.write(bytes(24_000_000))
    with pytest.raises(DatasetError, match="cannot be read"):
        read_thickness(tmp_path, files)


def test_coordinate_systems_may_be_written_differently(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    zone = int(read_product(files, "sar").crs[-2:])
    for product, crs in {
        "cloudy": f"EPSG:{32600 + zone}+5773", "sar": f"+proj=utm +zone={zone} +ellps=WGS84",
    }.items():  # fmt: skip
        raster = read_product(files, product)
        corner = (raster.transform.c, raster.transform.f)
        write_tif(files.path(product), raster.pixels, corner, raster.transform.a, crs)
    assert read_scene(files).crs == f"EPSG:{32600 + zone}"


def test_a_product_of_pages_says_so(tmp_path: Path) -> None:
    path = write_scene(tmp_path).path("land_cover")
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
        read_product(files, "land_cover")


BREAKAGES = {
    "cannot be read": ("cloudy", lambda path: path.write_bytes(b"II*\0 nonsense")),
    "expected uint16, got float32": (
        "clear",
        lambda path: write_tif(path, np.zeros((4, 300, 300), np.float32), (0, 0), 3, "EPSG:32601"),
    ),
    r"expected shape \(4, 300, 300\), got \(3, 300, 300\)": (
        "cloudy",
        lambda path: write_tif(path, np.ones((3, 300, 300), np.uint16), (0, 0), 3, "EPSG:32601"),
    ),
    "expected bool, got uint8": (
        "cloud_mask",
        lambda path: np.save(path, np.ones((300, 300), "u1")),
    ),
    "a band of only NaN": (
        "sar",
        lambda path: write_tif(path, np.full((2, 90, 90), np.nan), (0, 0), 10, "EPSG:32601"),
    ),
    "no such file": ("land_cover", lambda path: path.unlink()),
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
    np.save(files.path("cloud_mask"), np.array([{}], object), allow_pickle=True)
    with pytest.raises(DatasetError, match="expected numbers, got object"):
        read_product(files, "cloud_mask")


def test_products_within_one_radar_pixel_are_one_grid(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    radar = read_product(files, "sar")
    east, north = radar.transform.c, radar.transform.f
    write_tif(files.path("sar"), radar.pixels, (east + 7, north - 7), 10, radar.crs)
    read_scene(files)
    write_tif(files.path("sar"), radar.pixels, (east + 13, north), 10, radar.crs)
    with pytest.raises(SceneError, match=r"S1_.*expected corners within 10 m"):
        read_scene(files)
    write_tif(files.path("sar"), radar.pixels, (east, north), 10, "EPSG:32733")
    with pytest.raises(SceneError, match="expected the clear image's CRS"):
        read_scene(files)


def test_cloudy_and_clear_share_their_grid_exactly(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    cloudy = read_product(files, "cloudy")
    corner = (cloudy.transform.c + 3, cloudy.transform.f)
    write_tif(files.path("cloudy"), cloudy.pixels, corner, 3, cloudy.crs)
    with pytest.raises(SceneError, match=r"planet_cloudy_.*got 3\.00 m"):
        read_scene(files)
