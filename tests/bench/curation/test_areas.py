"""Test that tables of AOIs are read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from planetcr_bench.curation.areas import read_areas
from planetcr_bench.errors import DatasetError

FILES = ("cloudy", "clear", "udm", "sar", "landcover")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / f"{name}.tif").touch()
    return tmp_path


def write_csv(folder: Path, text: str) -> Path:
    (folder / "aois.csv").write_text(text)
    return folder / "aois.csv"


def write_geopackage(path: Path, rows: list[tuple], layers: tuple[str, ...] = ("my aois",)) -> Path:
    """A GeoPackage as QGIS writes it, with outlines that are not read."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE gpkg_contents (table_name TEXT, data_type TEXT)")
        for layer in layers:
            database.execute("INSERT INTO gpkg_contents VALUES (?, 'features')", (layer,))
            name = layer.replace('"', '""')
            database.execute(
                f'CREATE TABLE "{name}" (fid INTEGER, geom BLOB, AOI REAL, Cloudy, clear, note)'
            )
            database.executemany(f'INSERT INTO "{name}" VALUES (?, ?, ?, ?, ?, ?)', rows)
        database.commit()
    return path


def test_a_table_says_everything_of_an_aoi(folder: Path) -> None:
    table = write_csv(folder, (
        "aoi;cloudy;clear;udm;sar;landcover;season;split;cloudy_date;owner\r\n"
        "7;cloudy.tif;clear.tif;udm.tif; sar.tif ;.;fall;test;2022-06-14T10:15:30;me\r\n"
    ))  # fmt: skip
    (area,) = read_areas(table, product="planet-sr")
    assert (area.number, area.season, area.split) == (7, "fall", "test")
    assert area.files.sar == folder / "sar.tif"
    assert area.files.land_cover == folder  # a folder of tiles
    assert area.files.product == "planet-sr"
    assert area.cloudy_date == datetime(2022, 6, 14, 10, 15, 30, tzinfo=UTC)
    assert area.clear_date is None


def test_columns_may_be_left_out(folder: Path) -> None:
    (area,) = read_areas(write_csv(folder, "clear,cloudy\nclear.tif,cloudy.tif\n"))
    assert area.number == 1
    assert area.files.lacking == ["sar", "land_cover", "cloud_mask"]


def test_a_geopackage_is_read_like_csv(folder: Path) -> None:
    rows = [(1, b"GP\0", 12.0, "cloudy.tif", "clear.tif", "x"),
            (2, b"GP\0", 13.0, "cloudy.tif", "clear.tif", None)]  # fmt: skip
    table = write_geopackage(folder / "aois.gpkg", rows)
    assert [area.number for area in read_areas(table)] == [12, 13]
    two = write_geopackage(folder / "two.gpkg", rows, ("b", 'a"b'))
    assert len(read_areas(two, layer="b")) == 2
    with pytest.raises(DatasetError, match=r"expected one layer, found a.*b, b; choose .*--layer"):
        read_areas(two)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected columns cloudy, clear, udm, sar, landcover, got none"),
        ("a,b\n1,2\n", "expected columns cloudy, clear, udm, sar, landcover, got a, b"),
        ("cloudy,clear\n", "expected a row for each AOI, found none"),
        ("cloudy,clear\ncloudy.tif\n", "row 1: expected 2 cells"),
        ("cloudy,clear\ncloudy.tif,\n", "row 1: clear: expected text"),
        ("cloudy,clear\ncloudy.tif,gone.tif\n", "AOI 1: .*gone.tif: no such file"),
        ("cloudy,clear,sar\ncloudy.tif,clear.tif,sar.tif\ncloudy.tif,clear.tif,\n",
         "row 2: expected sar, which other rows have, got nothing"),
        ("aoi,cloudy,clear\n3,cloudy.tif,clear.tif\n3,cloudy.tif,clear.tif\n",
         "expected each aoi once, got number 3 2 times"),
        ("aoi,cloudy,clear\nx,cloudy.tif,clear.tif\n", "row 1: aoi: expected a whole number"),
        ("cloudy,clear,Cloudy\ncloudy.tif,clear.tif,sar.tif\n",
         "expected each column once, got cloudy 2 times"),
        ("cloudy,clear\ncloudy.tif,./cloudy.tif\n",
         "cloudy.tif: expected another image than the cloudy one"),
        ("cloudy,clear,season\ncloudy.tif,clear.tif,rain\n", "season: expected 'spring', "),
        ("cloudy,clear,split\ncloudy.tif,clear.tif,all\n", "split: expected"),
        ("cloudy,clear,clear_date\ncloudy.tif,clear.tif,may\n", "expected a date such as"),
    ],
)  # fmt: skip
def test_wrong_tables_are_refused_in_one_line(folder: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        read_areas(write_csv(folder, text))
    assert "\n" not in str(caught.value)


def test_all_missing_files_are_listed(folder: Path) -> None:
    rows = "".join(f"cloudy.tif,gone{number}.tif\n" for number in range(30))
    with pytest.raises(DatasetError, match="got 30 problems") as caught:
        read_areas(write_csv(folder, f"cloudy,clear\n{rows}"))
    assert len(caught.value.problems) == 21


def test_what_is_no_geopackage_is_refused(folder: Path) -> None:
    path = folder / "aois.gpkg"
    path.write_bytes(b"not a database, but long enough to be read as one" * 20)
    with pytest.raises(DatasetError, match="expected a GeoPackage with a layer of AOIs"):
        read_areas(path)
