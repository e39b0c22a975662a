"""Test whole simulated AOIs: what is in the files, when they were taken, and resuming."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio

from planetcr_bench.errors import DatasetError, UsageError
from planetcr_bench.simulation.areas import TABLE, dates_of, simulate_areas, write_area
from planetcr_bench.simulation.place import Place

MONTHS = {"spring": (3, 4, 5), "summer": (6, 7, 8), "fall": (9, 10, 11), "winter": (12, 1, 2)}


@pytest.fixture(scope="module")
def areas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two AOIs of two by two patches."""
    out = tmp_path_factory.mktemp("areas") / "sim"
    simulate_areas(out, aois=2, side=2, workers=0, quiet=True)
    return out


def test_files_are_on_the_two_grids_of_the_benchmark(areas: Path) -> None:
    with (areas / TABLE).open() as stream:
        (first, _) = csv.DictReader(stream)
    site = Place(0, 1).site
    sizes = {"cloudy": (4, 600), "clear": (4, 600), "udm": (8, 600), "sar": (2, 180),
             "landcover": (1, 180)}  # fmt: skip
    for product, (bands, side) in sizes.items():
        with rasterio.open(areas / first[product]) as image:
            assert (image.count, image.height, image.width) == (bands, side, side)
            assert image.crs.to_epsg() == site.epsg
            corner = site.optical_corner if side == 600 else (site.east, site.north)
            assert (image.transform.c, image.transform.f) == corner
    with rasterio.open(areas / first["udm"]) as image:
        assert (image.read(1) + image.read(6) == 1).all()
        assert image.descriptions[5] == "cloud"


def test_dates_are_in_names_and_tags_and_of_the_season(areas: Path) -> None:
    with (areas / TABLE).open() as stream:
        for row in csv.DictReader(stream):
            for product in ("cloudy", "clear"):
                with rasterio.open(areas / row[product]) as image:
                    digits = re.sub(r"\D", "", image.tags()["TIFFTAG_DATETIME"])
                assert f"{digits[:8]}_{digits[8:]}" in row[product]


def test_dates_are_as_far_apart_as_those_of_the_paper() -> None:
    places = [Place(0, number) for number in range(1, 781, 3)]
    gaps = [abs(cloudy - clear).total_seconds() / 86_400 for cloudy, clear in map(dates_of, places)]
    assert np.mean(gaps) == pytest.approx(2.8, abs=0.2)
    for place in places:
        shift = 6 if place.site.epsg // 100 == 327 else 0
        month = (dates_of(place)[0].month - 1 - shift) % 12 + 1
        assert month in MONTHS[place.season] or place.site.north > 9_970_000  # at the equator


def test_what_is_there_is_not_written_again_and_more_may_be_added(areas: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in areas.rglob("*.tif")}
    (areas / ".fall_9.unfinished").mkdir()
    simulate_areas(areas, aois=3, side=2, workers=0, quiet=True)
    after = {path: path.stat().st_mtime_ns for path in areas.rglob("*.tif")}
    assert before.items() < after.items()
    assert len((areas / TABLE).read_text().splitlines()) == 4


def test_a_folder_of_something_else_is_refused(areas: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds AOIs of .* seed 0, .* expected .* seed 1"):
        simulate_areas(areas, aois=2, side=2, seed=1, workers=0)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DatasetError, match="new or empty folder"):
        simulate_areas(tmp_path, aois=1, workers=0)
    with pytest.raises(UsageError, match="expected 1 to 780, got 781"):
        simulate_areas(tmp_path / "new", aois=781)
    assert not (tmp_path / "new").exists()


def test_an_aoi_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("planetcr_bench.simulation.areas.quartet_of", broken)
    with pytest.raises(KeyboardInterrupt):
        write_area(tmp_path, 1, Place(0, 1))
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
