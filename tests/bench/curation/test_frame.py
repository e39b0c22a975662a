"""Test that the products of an AOI get the two grids of the official release."""

from __future__ import annotations

from pathlib import Path

import pytest
from affine import Affine
from rasterio.crs import CRS

from planetcr_bench.curation.frame import common_frame
from planetcr_bench.restoration.rasters import Grid, SceneFileError

UTM = CRS.from_epsg(32632)
A, B = Path("a.tif"), Path("b.tif")


def grid(left: float, top: float, *, height: int = 700, width: int = 900, pixel: float = 3) -> Grid:
    return Grid(UTM, Affine(pixel, 0, left, 0, -pixel, top), height, width)


@pytest.mark.parametrize("left", [500_001, 500_004, 500_007, 500_010, 500_013])
@pytest.mark.parametrize("top", [5_400_000, 5_400_003, 5_400_006])
def test_corners_are_snapped_as_in_the_official_release(left: int, top: int) -> None:
    frame = common_frame((A, grid(left, top)), (B, grid(left - 30, top + 60)))
    x_sar, y_sar = frame.coarse.transform.c, frame.coarse.transform.f
    x, y = frame.optical.transform.c, frame.optical.transform.f
    assert x_sar % 10 == y_sar % 10 == 0
    assert (x, y) == (3 * (x_sar // 3), 3 * -(-y_sar // 3))  # data.md: snapped outwards
    assert 0 <= x - left < 12  # the first one inside
    assert 0 <= top - y < 12
    down, across = frame.blocks
    assert (frame.optical.height, frame.coarse.width) == (10 * down, 3 * across)
    assert across == (left - 30 + 900 * 3 - x) // 30  # to the right edge of the clear scene


def test_only_what_both_dates_cover_counts() -> None:
    frame = common_frame((A, grid(500_010, 5_400_000)), (B, grid(500_610, 5_399_700)))
    assert (frame.optical.transform.c, frame.optical.transform.f) == (500_610, 5_399_700)
    assert (frame.optical.height, frame.optical.width) == (600, 700)
    assert frame.windows() == (2, 2)
    assert frame.windows(100) == (4, 5)


def test_another_system_becomes_the_utm_zone_it_lies_in() -> None:
    degrees = Grid(CRS.from_epsg(4326), Affine(2.7e-5, 0, 9, 0, -2.7e-5, -10), 800, 800)
    frame = common_frame((A, degrees), (B, degrees))
    assert frame.optical.crs.to_epsg() == 32732


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (grid(600_000, 5_400_000), r"b.tif: expected a scene that overlaps the cloudy one"),
        (grid(502_000, 5_400_000), r"b.tif: expected to share at least 300 × 300"),
        (grid(500_001, 5_400_000, pixel=10), r"b.tif: expected PlanetScope's pixels of about 3 m"),
    ],
)
def test_scenes_that_share_no_patch_are_refused(other: Grid, message: str) -> None:
    with pytest.raises(SceneFileError, match=message):
        common_frame((A, grid(500_001, 5_400_000)), (B, other))
