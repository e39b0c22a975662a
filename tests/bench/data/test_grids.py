"""Test the comparison and the short names of coordinate systems."""

from __future__ import annotations

import json

import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import WktVersion

from planetcr_bench.data.grids import crs_name, crs_text, grid_name, same_crs

UTM = "EPSG:32648"
TMERC = "+proj=tmerc +lat_0=0 +lon_0=105 +k=0.9996 +x_0=500000 +y_0=0"
HEIGHTS = 'VERT_CS["h",VERT_DATUM["d",2005],UNIT["metre",1],AXIS["Up",UP]]'


def north_first() -> str:
    values = CRS.from_string(UTM).to_dict(projjson=True)
    values["coordinate_system"]["axis"].reverse()
    del values["id"]
    return json.dumps(values)


def with_heights(text: str) -> str:
    return f'COMPD_CS["both",{CRS.from_user_input(text).to_wkt()},{HEIGHTS}]'


@pytest.mark.parametrize(
    "text",
    [
        UTM, f"{UTM}+5773", "+proj=utm +zone=48 +ellps=WGS84", "+proj=utm +zone=48 +datum=WGS84",
        "+proj=utm +zone=48 +ellps=WGS84 +towgs84=0,0,0,0,0,0,0", f"{TMERC} +ellps=WGS84",
        f"{TMERC} +datum=WGS84", "+proj=utm +zone=48 +datum=WGS84 +vunits=m", north_first(),
        with_heights("+proj=utm +zone=48 +ellps=WGS84"),
        CRS.from_string(UTM).to_wkt(version=WktVersion.WKT1_ESRI),
        CRS.from_string(UTM).to_wkt(version=WktVersion.WKT2_2019),
    ],
)  # fmt: skip
def test_the_same_system_written_differently_is_the_same(text: str) -> None:
    crs = crs_text(CRS.from_user_input(text))
    assert same_crs(crs, UTM)
    assert same_crs(UTM, crs)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("EPSG:32649", "EPSG:32649"),
        ("EPSG:32649+5773", "EPSG:32649"),
        ("EPSG:32248", "EPSG:32248"),
        ("EPSG:4326", "EPSG:4326"),
        ("EPSG:3857", "EPSG:3857"),
        ("+proj=utm +zone=48 +south +ellps=WGS84", "UTM zone 48S"),
        ("+proj=utm +zone=48 +ellps=bessel", "Bessel 1841"),
        ("+proj=utm +zone=48 +ellps=GRS80", "GRS 1980"),
        ("+proj=utm +zone=48 +datum=WGS84 +units=us-ft", "without a name"),
        ("+proj=utm +zone=48 +ellps=WGS84 +towgs84=100,0,0,0,0,0,0", "UTM zone 48N"),
        (f'LOCAL_CS["{"long " * 100}",UNIT["metre",1]]', "long long"),
    ],
)
def test_another_system_differs_and_has_a_short_name(text: str, name: str) -> None:
    crs = crs_text(CRS.from_user_input(text))
    assert not same_crs(crs, UTM)
    assert not same_crs(UTM, crs)
    assert name in crs_name(crs)
    assert len(crs_name(crs)) < 120


def test_no_coordinate_system_is_none() -> None:
    assert crs_text(None) == ""
    assert crs_name("") == "none"
    assert not same_crs("", UTM)


def test_a_rotation_is_part_of_the_name() -> None:
    straight = Affine(3, 0, 10, 0, -3, 20)
    assert grid_name(straight) == "(corner 10.00, 20.00; pixel 3, -3 m)"
    turned = grid_name(straight @ Affine.rotation(5))
    assert turned == "(corner 10.00, 20.00; pixel 3, -3 m, rotated by -5°)"
    assert "columns by" in grid_name(Affine(3, 0.1, 10, 0, -3, 20))
