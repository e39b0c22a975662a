"""Test that STAC items say where and when a scene is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from orders import CORNER, NAME, write_image
from planetcr_bench.restoration.stac import UNKNOWN, make_item, taken


@pytest.mark.parametrize(
    ("tag", "name", "when"),
    [
        ("2017:09:15 02:07:28", NAME, datetime(2017, 9, 15, 2, 7, 28, tzinfo=UTC)),
        ("2017-09-15T02:07:28+00:00", "", datetime(2017, 9, 15, 2, 7, 28, tzinfo=UTC)),
        ("0000:00:00 00:00:00", NAME, datetime(2022, 6, 14, 10, 15, 30, tzinfo=UTC)),
        ("", "S2A_MSIL1C_20220614T101601_N0400", datetime(2022, 6, 14, 10, 16, 1, tzinfo=UTC)),
        ("", "5629000_3363910_2021-08-10_2257_BGRN_SR", datetime(2021, 8, 10, tzinfo=UTC)),
        ("", "20221399_101530_SR", UNKNOWN),
        ("", "scene_123456789", UNKNOWN),
    ],
)
def test_a_date_is_found_in_tags_and_names(tag: str, name: str, when: datetime) -> None:
    assert taken(tag, name) == when


def item_of(folder: Path, transform: Affine, **tags: str) -> dict:
    image = write_image(
        folder / "image.tif", np.ones((4, 40, 60), np.uint16), transform=transform, **tags
    )
    made = make_item(image, folder / "a_restored.tif", folder / "a_quicklook.png", Path("a.tif"))
    return made.to_dict()


def test_a_scene_without_a_date_lies_in_an_interval(tmp_path: Path) -> None:
    properties = item_of(tmp_path, CORNER)["properties"]
    assert properties["datetime"] is None
    assert properties["start_datetime"] == "1970-01-01T00:00:00Z"
    assert properties["end_datetime"] > "2024"


def test_the_outline_of_a_rotated_image_is_its_own(tmp_path: Path) -> None:
    plain, turned = (
        item_of(tmp_path, transform, TIFFTAG_DATETIME="2022:06:14 10:15:30")
        for transform in (CORNER, CORNER @ Affine.rotation(30))
    )
    assert plain["properties"]["datetime"] == "2022-06-14T10:15:30Z"
    west, south, east, north = plain["bbox"]
    corners = np.array(plain["geometry"]["coordinates"][0])
    assert corners.min(0) == pytest.approx([west, south])
    assert corners.max(0) == pytest.approx([east, north])
    rotated = np.array(turned["geometry"]["coordinates"][0])
    sides = [np.hypot(*np.diff(each, axis=0).T * [[0.66], [1]]) for each in (corners, rotated)]
    assert sides[0] == pytest.approx(sides[1], rel=0.02)
    assert turned["bbox"] != pytest.approx(plain["bbox"], abs=1e-5)
    assert {url.split("/")[3] for url in plain["stac_extensions"]} == {"projection", "processing"}
