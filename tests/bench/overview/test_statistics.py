"""One pass over the files, kept until one of them changes."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from described import S2, write_description, write_s2
from planetcr_bench.constants import LAND_COVER_NAMES
from planetcr_bench.data.description import Description
from planetcr_bench.data.fingerprint import fingerprint_of
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_scene
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import DatasetError
from planetcr_bench.overview import statistics
from planetcr_bench.overview.distributions import class_shares, cover_counts
from planetcr_bench.overview.scene_statistics import CLOUDY, date_of, read_date
from planetcr_bench.overview.statistics import Statistics, measure_dataset
from scenes import write_dataset


@pytest.fixture(scope="module")
def measured(data: Path) -> Statistics:
    return measure_dataset(data, workers=0, quiet=True)


def test_a_row_says_what_the_scene_holds(measured: Statistics, data: Path) -> None:
    files = find_scenes(data, "test")[3]
    scene = read_scene(files)
    row = measured.scenes.set_index(["split", "scene"]).loc[("test", files.name)]
    assert row["cloud_cover"] == scene.cloud_cover
    assert row["clear_nir"] == pytest.approx(scene.clear[3].mean(), rel=1e-5)
    pixels = np.bincount(scene.need_land_cover().ravel(), minlength=7)
    assert row[[f"land_{name}" for name in LAND_COVER_NAMES]].tolist() == pixels.tolist()
    assert -90 < row["latitude"] < 90


def test_histograms_count_every_pixel(measured: Statistics) -> None:
    pixels = 8 * 300 * 300
    counts = measured.histogram("reflectance")
    assert (counts[:, :CLOUDY].sum((1, 2)) == pixels).all()
    assert (counts[:, CLOUDY].sum(1) == pixels).all()
    assert (measured.histogram("backscatter").sum((1, 2)) == 8 * 90 * 90).all()
    shares = class_shares(measured)
    np.testing.assert_allclose(shares.sum(), 100)
    assert cover_counts(measured)["test"].sum() == 6


def test_the_fingerprint_is_that_of_every_other_command(measured: Statistics, data: Path) -> None:
    scenes = find_scenes(data, "test")
    assert measured.fingerprints["test"] == fingerprint_of(scenes, workers=0, quiet=True)


def test_a_second_call_reads_no_image_until_one_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_dataset(tmp_path / "data", test=2)
    first = measure_dataset(root, workers=0, quiet=True)

    def refuse(files: SceneFiles) -> None:
        raise AssertionError(files.name)

    monkeypatch.setattr(statistics, "measure_scene", refuse)
    again = measure_dataset(root, workers=0, quiet=True)
    assert again.scenes.equals(first.scenes)
    assert again.fingerprint == first.fingerprint
    mask = next(root.rglob("*.npy"))
    np.save(mask, ~np.load(mask))
    with pytest.raises(AssertionError, match="spring_500_p_"):
        measure_dataset(root, workers=0, quiet=True)


def test_broken_files_are_named_at_once(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", test=3)
    broken = sorted(root.rglob("planet_cloudfree*.tif"))[:2]
    for path in broken:
        path.write_bytes(b"II*\0")
    with pytest.raises(DatasetError, match="3 scenes that can be read, got 1") as caught:
        measure_dataset(root, workers=0, quiet=True)
    assert all(str(path) in caught.value.problems[i] for i, path in enumerate(broken))


def test_what_a_dataset_lacks_is_not_counted(tmp_path: Path) -> None:
    write_s2(tmp_path, 7)
    file = write_description(tmp_path / "s2.toml", {**S2, "splits": {"test": {}}})
    measured = measure_dataset(tmp_path, dataset=file, workers=0, quiet=True)
    assert not measured.has_masks
    assert measured.histogram("reflectance").shape[0] == 13
    assert measured.scenes["land_unknown"].item() == 40 * 48


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("20220101_093015_11_2415_3B", datetime(2022, 1, 1, 9, 30, 15, tzinfo=UTC)),
        ("2021:12:31 23:59:59", datetime(2021, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2020-02-29", datetime(2020, 2, 29, tzinfo=UTC)),
        ("20210229", None),
        ("ROIs1158_p20", None),
        ("120220101", None),
    ],
)
def test_dates_are_read_from_texts(text: str, date: datetime | None) -> None:
    assert read_date(text) == date


def test_fields_of_their_own_date_the_images() -> None:
    described = Description.model_validate({
        "title": "dated", "bands": ["grey"], "scene": "{n}", "fields": {"n": "int"},
        "optical": {"clear": "clear/{n}_{day}.png", "cloudy": "cloudy/{n}_{day}.png"},
    })  # fmt: skip
    paths = (("clear", ("clear/7_20220110.png",)), ("cloudy", ("cloudy/7_20220107.png",)))
    files = SceneFiles((7,), "data", "test", described, paths)
    assert date_of(files, "clear") == datetime(2022, 1, 10, tzinfo=UTC)
    assert date_of(files, "cloudy") == datetime(2022, 1, 7, tzinfo=UTC)


def test_a_curated_dataset_says_the_days_of_its_aois(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", test=4)
    table = root / "curation/aois.csv"
    table.parent.mkdir()
    table.write_text("aoi,season,split,days\n500,spring,test,2.5\n501,summer,test,\n")
    days = measure_dataset(root, workers=0, quiet=True).scenes.set_index("aoi")["days"]
    assert days["spring_500"].tolist() == [2.5, 2.5, 2.5]
    assert np.isnan(days["summer_501"])
    table.write_text("aoi,season\n")
    with pytest.raises(DatasetError, match="expected the columns season, aoi and days"):
        measure_dataset(root, workers=0, quiet=True)


def test_a_dataset_that_has_moved_is_measured_once_more(data: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(data, tmp_path / "copy")
    keys = [statistics.state_of(find_scenes(root, "train")) for root in (data, copy, data)]
    assert keys[0] == keys[2] != keys[1]
