"""Test that GDAL opens only regular files, and nothing too large is decoded."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from planetcr_bench.data.raster import Header, header_of, open_image
from planetcr_bench.errors import DatasetError, PredictionError
from planetcr_bench.predictions.format import expect_image, header_size
from scenes import write_tif


def image(path: Path) -> None:
    write_tif(path, np.ones((4, 300, 300), np.uint16), (0, 0), 3, "EPSG:32601")


def header(width: int, height: int, bands: int) -> bytes:
    """A TIFF of a few bytes that promises so many pixels."""
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 16), (259, 3, 1, 8), (262, 3, 1, 1),
        (273, 4, 1, 8), (277, 3, 1, bands), (278, 4, 1, height), (279, 4, 1, 10),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(60)


IN_PLACE: dict[str, Callable[[Path], None]] = {
    "a FIFO": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a directory": Path.mkdir,
}


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("ending", [".tif", ".npy", ".NPY"])
@pytest.mark.parametrize("kind", IN_PLACE)
def test_anything_but_a_regular_file_is_named_at_once(
    tmp_path: Path, kind: str, ending: str
) -> None:
    path = tmp_path / f"a{ending}"
    IN_PLACE[kind](path)
    with pytest.raises(PredictionError, match=f"expected a regular file, got {kind}"):
        header_size(path)
    linked = tmp_path / f"b{ending}"
    linked.symlink_to(path)
    with pytest.raises(PredictionError, match=f"expected a regular file, got {kind}"):
        header_size(linked)


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize(
    "name", ["a.tif.aux.xml", "a.tif.msk", "a.tif.ovr", "a.aux", "a.tfw", "a.wld", "a.tif.MSK"]
)
def test_a_fifo_beside_an_image_is_not_opened_by_gdal(tmp_path: Path, name: str) -> None:
    image(tmp_path / "a.tif")
    os.mkfifo(tmp_path / name)
    with pytest.raises(PredictionError, match=rf"{name}: expected a regular file, got a FIFO"):
        header_size(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"II*\0", b"<VRTDataset/>", b"/vsicurl/http://127.0.0.1:9/a.tif", b"\x89PNG\r\n\x1a\n",
        b"II*\0\x08\0\0\0\0\0\x08\0\0\0", b"II+\0\x08\0\0\0" + b"\xff" * 16,
    ],
)  # fmt: skip
def test_bytes_other_than_a_tiff_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(PredictionError, match=r"a\.tif: cannot be read") as refusal:
        header_size(path)
    assert "\n" not in refusal.value.message


@pytest.mark.parametrize("size", [(2**31 - 1, 2**31 - 1, 1), (100_000, 100_000, 4)])
def test_a_header_that_promises_gigabytes_is_refused_by_its_shape(
    tmp_path: Path, size: tuple[int, int, int]
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(header(*size))
    with pytest.raises(PredictionError, match=rf"got \({size[2]}, {size[1]}, {size[0]}\)"):
        header_size(path)


def test_broken_strips_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(header(300, 300, 4))
    assert header_size(path) == 300
    with (
        pytest.raises(DatasetError, match="cannot be read") as refusal,
        open_image(path, error=DatasetError) as source,
    ):
        source.read()
    assert "\n" not in refusal.value.message


def test_tiles_of_any_size_are_refused_by_the_header() -> None:
    with pytest.raises(PredictionError, match="expected tiles of at most 2048"):
        expect_image(Path("a.tif"), Header("uint16", (4, 300, 300), 1_000_000))


@pytest.mark.parametrize(
    ("pages", "bands", "got"), [(4, 1, "of one band"), (2, 4, "of four bands")]
)
def test_pages_are_counted(tmp_path: Path, pages: int, bands: int, got: str) -> None:
    path = tmp_path / "a.tif"
    for number in range(pages):
        more = {"APPEND_SUBDATASET": "YES"} if number else {}
        with (
            warnings.catch_warnings(action="ignore"),
            rasterio.open(
                path,
                "w",
                driver="GTiff",
                dtype="uint16",
                count=bands,
                height=300,
                width=300,
                **more,
            ) as target,
        ):
            target.write(np.ones((bands, 300, 300), np.uint16))
    with open_image(path, error=DatasetError) as source:
        assert header_of(source, 4).pages == pages
    wanted = rf"got {pages} pages {got}; write one image of four bands"
    with pytest.raises(PredictionError, match=wanted):
        header_size(path)


def test_overviews_and_masks_are_no_pages(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    image(path)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
        target.build_overviews([2])
        target.write_mask(True)
    assert header_size(path) == 300
