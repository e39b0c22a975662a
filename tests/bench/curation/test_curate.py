"""Test that AOIs become a dataset: the same pixels, resumed, sound."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import calculate_default_transform, reproject

from conftest import Cli
from orders import write_image, write_udm2
from paths import SHARED
from planetcr_bench.curation import steps
from planetcr_bench.curation.curate import Curated, curate
from planetcr_bench.curation.pair import PairFiles, read_patch
from planetcr_bench.curation.record import CurateSettings
from planetcr_bench.curation.survey import survey_pair
from planetcr_bench.data.integrity import check_dataset
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_product, read_raster
from planetcr_bench.errors import DatasetError
from planetcr_bench.simulation.areas import simulate_areas
from planetcr_bench.simulation.place import WINDOWS, Place
from planetcr_bench.simulation.writer import quartet_of, scene_files, survey_of, write_quartet

AOIS, SIDE = 4, 2
SETTINGS = CurateSettings(train=8, test=3, test_aois=1)
UNFINISHED = 'version = ""\ntable = ""\ntable_sha256 = ""\n[settings]\n'


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated AOIs of two by two patches."""
    out = tmp_path_factory.mktemp("areas") / "sim"
    return simulate_areas(out, aois=AOIS, side=SIDE, workers=0, quiet=True)


@pytest.fixture(scope="module")
def curated(table: Path) -> Path:
    """A dataset of them."""
    out = table.parents[1] / "data"
    made(table, out)
    return out


def made(table: Path, out: Path, **changes: object) -> Curated:
    settings = SETTINGS.model_copy(update=changes)
    return curate(table, out, settings, workers=0, quiet=True)


@pytest.fixture
def own(table: Path, tmp_path: Path) -> Path:
    """The AOIs, free to be changed."""
    shutil.copytree(table.parent, tmp_path / "sim")
    return tmp_path / "sim" / table.name


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as stream:
        return list(csv.DictReader(stream))


def write_rows(table: Path, rows: list[dict[str, str]]) -> None:
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def change_pixels(path: Path, change: Callable[[np.ndarray], None]) -> None:
    with rasterio.open(path, "r+") as image:
        pixels = image.read()
        change(pixels)
        image.write(pixels)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def test_the_check_finds_it_sound_and_gives_the_same_fingerprint(curated: Path) -> None:
    report = check_dataset(curated, workers=0)
    assert report.ok, report.problems
    assert report.warnings == []
    assert (report.splits["train"].scenes, report.splits["test"].scenes) == (8, 3)
    assert (report.splits["train"].aois, report.splits["test"].aois) == (3, 1)
    assert report.track == "curated"
    record = (curated / "curation.toml").read_text()
    assert f'fingerprint = "{report.fingerprint}"' in record
    assert 'reflectance = "surface reflectance"' in record


def test_lists_are_the_authors(curated: Path) -> None:
    for split in ("train", "test"):
        path = curated / f"{split}.csv"
        assert find_scenes(curated, split, path) == find_scenes(curated, split)
        assert path.read_bytes().count(b"\r\n") == len(find_scenes(curated, split))


def test_patches_are_those_of_the_simulator_to_the_byte(curated: Path, tmp_path: Path) -> None:
    for files in [*find_scenes(curated, "train"), *find_scenes(curated, "test")]:
        row, column = divmod(files.patch - 1, SIDE)
        patch = row * WINDOWS + column + 1
        place = Place(0, int(files.fields["aoi"]))
        expected = scene_files(tmp_path, place, patch)
        write_quartet(expected, quartet_of(survey_of(place), patch), place)
        for product in files.description.products:
            mine, theirs = (read_product(each, product) for each in (files, expected))
            np.testing.assert_array_equal(mine.pixels, theirs.pixels)
            assert (mine.crs, mine.transform) == (theirs.crs, theirs.transform)
            assert files.path(product).read_bytes() == expected.path(product).read_bytes()


def test_what_was_measured_is_what_was_simulated(curated: Path) -> None:
    rows = pd.read_csv(curated / "curation/aois.csv")
    for row in rows.to_dict("records"):
        place = Place(0, row["aoi"])
        assert row["season"] == place.season
        down, right = -3 * np.clip(place.draws.normals("registration", 2, 0.5), -1.5, 1.5)
        assert row["down_m"] == pytest.approx(down, abs=0.6)
        assert row["right_m"] == pytest.approx(right, abs=0.6)
        assert 0.9 < row["days"] < 7.1
    windows = pd.read_csv(curated / "curation/windows.csv")
    chosen = windows[windows["status"] == "chosen"]
    assert chosen.groupby("split").size().to_dict() == {"train": 8, "test": 3}
    for files in find_scenes(curated, "train"):
        row = chosen[(chosen["aoi"] == files.fields["aoi"]) & (chosen["patch"] == files.patch)]
        mask = read_product(files, "cloud_mask").pixels
        assert row["cover"].item() == pytest.approx(mask.mean(), abs=1e-5)
        codes = read_product(files, "land_cover").pixels
        assert row["agriculture"].item() == pytest.approx((codes == 40).mean(), abs=1e-5)
        clear, cloudy = (read_product(files, p).pixels / 1e4 for p in ("clear", "cloudy"))
        change = np.abs(clear - cloudy).mean(0)[~mask].mean() if not mask.all() else np.nan
        assert row["change"].item() == pytest.approx(change, rel=1e-4, nan_ok=True)


def test_a_second_run_reads_no_image(
    table: Path, curated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    before = snapshot(curated)
    monkeypatch.setattr(steps, "open_pair", never)
    monkeypatch.setattr(steps, "survey_pair", never)
    assert made(table, curated).anew == 0
    assert snapshot(curated) == before


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(
    table: Path, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = iter(range(1000))

    def stops(*arguments: object) -> object:
        if next(count) == 5:
            raise KeyboardInterrupt
        return read_patch(*arguments)

    out = tmp_path / "data"
    with monkeypatch.context() as patch:
        patch.setattr(steps, "read_patch", stops)
        with pytest.raises(KeyboardInterrupt):
            made(table, out)
    assert "[result]" not in (out / "curation.toml").read_text()
    times = {path: path.stat().st_mtime_ns for path in out.glob("t*/*/*/*")}
    result = made(table, out)
    assert snapshot(out) == snapshot(curated)
    assert result.anew == 11 - len(times) // 5
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_half_moved_folders_are_written_again(table: Path, curated: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    shutil.copytree(curated, out)
    files = find_scenes(out, "train")[0]
    number = files.fields["aoi"]
    (out / ".curation" / "cut" / f"{number}.json").unlink()
    shutil.rmtree(files.path("clear").parent)
    files.path("sar").write_bytes(b"half")
    made(table, out)
    assert snapshot(out) == snapshot(curated)


def test_an_unfinished_dataset_may_change_and_a_finished_one_may_not(
    table: Path, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DatasetError, match="this dataset was made with seed = 0, not 1; choose"):
        made(table, curated, seed=1)
    other = table.with_name("other.csv")
    other.write_text(table.read_text() + "\n")
    with pytest.raises(DatasetError, match="made from another table of AOIs"):
        made(other, curated)

    def stops(out: Path, job: steps.CutJob) -> steps.CutArea:
        if job.area.number == AOIS:
            raise KeyboardInterrupt
        return steps.cut_area(out, job)

    out = tmp_path / "data"
    with monkeypatch.context() as patch:
        patch.setattr("planetcr_bench.curation.curate.cut_area", stops)
        with pytest.raises(KeyboardInterrupt):
            made(table, out, seed=5, train=9, stride=150)
    with pytest.raises(DatasetError, match="`planetcr-bench curate` has begun"):
        find_scenes(out, "train")
    made(table, out)
    assert snapshot(out) == snapshot(curated)


def test_a_removed_patch_is_written_again(table: Path, curated: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    shutil.copytree(curated, out)
    find_scenes(out, "train")[0].path("sar").unlink()
    assert made(table, out).anew > 0
    assert snapshot(out) == snapshot(curated)


def test_a_folder_of_something_else_is_refused(table: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DatasetError, match="expected a new or empty folder"):
        made(table, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(DatasetError, match="expected a folder, found a file"):
        made(table, tmp_path / "mine.txt")


def test_windows_that_lack_data_are_left_out(own: Path, tmp_path: Path) -> None:
    first, second, third, _ = rows_of(own)

    def no_optical(pixels: np.ndarray) -> None:
        pixels[:, :10, :30] = 0

    def no_sar(pixels: np.ndarray) -> None:
        pixels[:, 100, 100] = np.nan

    def no_code(pixels: np.ndarray) -> None:
        pixels[:, :90, 90:] = 0

    change_pixels(own.parent / first["clear"], no_optical)
    change_pixels(own.parent / second["sar"], no_sar)
    change_pixels(own.parent / third["landcover"], no_code)
    made(own, tmp_path / "data", train=7, test=2)
    windows = pd.read_csv(tmp_path / "data/curation/windows.csv")
    lacking = windows[windows["status"] == "no data"]
    assert list(zip(lacking["aoi"], lacking["patch"], strict=True)) == [(1, 1), (2, 4), (3, 2)]
    assert lacking["missing"].tolist() == pytest.approx([300 / 90_000, 1 / 8100, 1], rel=1e-4)
    made(own, tmp_path / "some", train=8, test=3, max_nodata=0.01)
    files = [f for f in find_scenes(tmp_path / "some", "train") if f.name.endswith("_1_p_1")]
    for each in files:
        for product in ("clear", "cloudy"):
            assert (read_product(each, product).pixels == 0).sum() == 4 * 300
    report = check_dataset(tmp_path / "some", workers=0)
    assert report.ok, report.problems


def test_aois_and_windows_are_dropped_only_when_asked(
    table: Path, curated: Path, tmp_path: Path
) -> None:
    known = pd.read_csv(curated / "curation/aois.csv").set_index("aoi")
    days, shift = known["days"].nlargest(2).iloc[1], known["shift_m"].nlargest(2).iloc[1]
    changes = {"train": 2, "test": 1}
    for name, limit in (("days", {"max_days": days + 0.01}), ("change", {"max_change": 0.05}),
                        ("shift", {"max_shift_m": shift + 0.01})):  # fmt: skip
        shutil.copytree(curated / ".curation/survey", tmp_path / name / ".curation/survey")
        (tmp_path / name / "curation.toml").write_text(UNFINISHED)
        made(table, tmp_path / name, **limit, **changes)
    for name, column in (("days", "days"), ("shift", "shift_m")):
        rows = pd.read_csv(tmp_path / name / "curation/aois.csv").set_index("aoi")
        assert rows.index[rows["usable"] == 0].tolist() == [known[column].idxmax()]
        assert rows.loc[rows["usable"] == 0, "chosen"].tolist() == [0]
    windows = pd.read_csv(tmp_path / "change/curation/windows.csv")
    assert ((windows["status"] == "change") == (windows["change"] > 0.05)).all()
    assert 0 < (windows["status"] == "change").sum() < len(windows)


def test_too_few_windows_are_said_with_numbers(table: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(DatasetError, match="--train: expected 13 windows to choose from in 3 AOIs"):
        made(table, tmp_path / "data", train=13)
    curate(table, tmp_path / "data", SETTINGS, workers=0, quiet=True, say=said.append)
    windows = pd.read_csv(tmp_path / "data/curation/windows.csv")
    assert any("too few windows for even numbers: " in line for line in said)
    selection = pd.read_csv(tmp_path / "data/curation/selection.csv")
    totals = selection[(selection["cover"] == "all") & (selection["class"] == "all")]
    assert totals.set_index("split")["chosen"].to_dict() == {"train": 8, "test": 3}
    assert totals["windows"].sum() == len(windows)


def test_where_no_window_is_left_the_reasons_are_counted(table: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"got none of 16 \(16 days\); drop less"):
        made(table, tmp_path / "data", max_days=0)


def test_other_codes_than_those_of_worldcover_are_refused(own: Path, tmp_path: Path) -> None:
    def classes(codes: np.ndarray) -> None:
        codes //= 10

    change_pixels(own.parent / rows_of(own)[2]["landcover"], classes)
    with pytest.raises(DatasetError, match=r"worldcover.tif: expected codes of WorldCover, 0, 10"):
        made(own, tmp_path / "data")


def test_files_that_do_not_fit_are_all_listed(own: Path, tmp_path: Path) -> None:
    first, second, third, fourth = rows = rows_of(own)
    first["udm"] = second["udm"]
    second["sar"] = second["landcover"]
    third["clear"] = fourth["clear"]
    fourth["landcover"] = fourth["udm"]
    write_rows(own, rows)
    with pytest.raises(DatasetError, match="expected AOIs that can be used, got 4") as caught:
        made(own, tmp_path / "data")
    expected = ("the grid of the scene", "two bands, VV and VH", "a scene that overlaps",
                "a WorldCover map of one band")  # fmt: skip
    for line, words in zip(caught.value.problems, expected, strict=True):
        assert f"expected {words}" in line


def test_scenes_of_two_products_are_refused(own: Path, tmp_path: Path) -> None:
    rows = [{**row, "product": "planet-toa" if row["aoi"] == "2" else "planet-sr"}
            for row in rows_of(own)]  # fmt: skip
    write_rows(own, rows)
    with pytest.raises(DatasetError, match=r"one product, got planet-sr .* planet-toa \(AOI 2\)"):
        made(own, tmp_path / "data")


def test_windows_of_a_smaller_stride_overlap(table: Path) -> None:
    row = rows_of(table)[0]
    files = PairFiles(**{name: table.parent / row[name] for name in ("cloudy", "clear")})
    windows = survey_pair(files, stride=100).windows
    assert windows["patch"].tolist() == list(range(1, 17))
    assert windows["left"].tolist() == 4 * [0, 100, 200, 300]
    assert windows["cover"].isna().all()
    with rasterio.open(files.clear) as a, rasterio.open(files.cloudy) as b:
        difference = np.abs(a.read() / 1e4 - b.read() / 1e4).mean(0)
    assert windows["change"][5] == pytest.approx(difference[100:400, 100:400].mean(), rel=1e-4)


def test_scenes_of_other_systems_are_put_on_one_grid(own: Path, tmp_path: Path) -> None:
    row = rows_of(own)[0]
    clear = own.parent / row["clear"]
    with rasterio.open(clear) as image:
        pixels, profile, bounds, tags = image.read(), image.profile, image.bounds, image.tags()
    zone = profile["crs"].to_epsg() % 100
    other = CRS.from_epsg(32600 + zone % 60 + 1)
    grid, width, height = calculate_default_transform(
        profile["crs"], other, 600, 600, *bounds, resolution=3
    )
    moved = np.zeros((4, height, width), np.uint16)
    reproject(pixels, moved, src_transform=profile["transform"], src_crs=profile["crs"],
              dst_transform=grid, dst_crs=other, resampling=1)  # fmt: skip
    profile.update(crs=other, transform=grid, width=width, height=height)
    with rasterio.open(clear, "w", **profile) as image:
        image.write(moved)
        image.update_tags(**tags)
    write_rows(own, [row])
    made(own, tmp_path / "data", test=0, train=None, max_nodata=0.02)
    for files in find_scenes(tmp_path / "data", "train"):
        top, left = (300 * part for part in divmod(files.patch - 1, SIDE))
        there = read_product(files, "clear").pixels[:, 20:-20, 20:-20].astype(float)
        same = pixels[:, top + 20 : top + 280, left + 20 : left + 280]
        assert np.abs(there - same).mean() / same.mean() < 0.05  # resampled twice


def test_worldcover_tiles_are_found_by_their_names(own: Path, tmp_path: Path) -> None:
    row = rows_of(own)[0]
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    with rasterio.open(own.parent / row["landcover"]) as image:
        bounds = rasterio.warp.transform_bounds(image.crs, "EPSG:4326", *image.bounds)
    west, south = (int(np.floor(edge / 3) * 3) for edge in bounds[:2])
    step = 1 / 12_000
    x, y = np.floor((np.array(bounds[:2]) - (west, south)) / step).astype(int) - 5
    height, width = (np.ceil(np.array([bounds[3] - bounds[1], bounds[2] - bounds[0]]) / step)
                     .astype(int) + 10)  # fmt: skip
    codes = np.random.default_rng(0).choice([10, 40, 80], (height, width)).astype(np.uint8)
    grid = Affine(step, 0, west + x * step, 0, -step, south + (y + height) * step)
    name = f"ESA_WorldCover_10m_2021_v200_{corner(west, south)}_Map.tif"
    write_image(tiles / name, codes[None], transform=grid, crs=CRS.from_epsg(4326))
    write_rows(own, [{**row, "landcover": str(tiles)}])
    made(own, tmp_path / "data", test=0, train=4)
    for files in find_scenes(tmp_path / "data", "train"):
        patch = read_raster(files.path("land_cover"))
        rows, columns = np.mgrid[:90, :90]
        east, north = patch.transform @ (columns.ravel() + 0.5, rows.ravel() + 0.5)
        longitudes, latitudes = rasterio.warp.transform(patch.crs, "EPSG:4326", east, north)
        at = ~grid @ (np.array(longitudes), np.array(latitudes))
        expected = codes[at[1].astype(int), at[0].astype(int)].reshape(90, 90)
        assert (patch.pixels[0] == expected).mean() > 0.98  # but on borders of pixels
    shutil.move(tiles / name, tiles / "ESA_WorldCover_10m_2021_v200_S60W180_Map.tif")
    with pytest.raises(DatasetError, match=f"the tile {corner(west, south)}, .*S60W180"):
        made(own, tmp_path / "other", test=0, train=4)


def corner(west: int, south: int) -> str:
    return f"{'NS'[south < 0]}{abs(south):02d}{'EW'[west < 0]}{abs(west):03d}"


def test_the_command_prints_the_even_and_the_achieved_numbers(cli: Cli, table: Path) -> None:
    options = ["--train", 8, "--test", 3, "--test-aois", 1, "--workers", 0]
    done = cli("curate", table, "--out", "data", *options)
    assert done.returncode == 0, done.stderr
    assert "train: patches by cloud cover and dominant class (even: 0 in each)" in done.stdout
    assert "8 training and 3 test patches in data, fingerprint" in done.stdout
    for step in ("1 of 4", "2 of 4", "3 of 4", "4 of 4"):
        assert step in done.stderr
    done = cli("curate", table, "--out", "data", *options, "--json")
    facts = json.loads(done.stdout)
    assert (facts["train"], facts["test"], facts["new"]) == (8, 3, 0)
    done = cli("curate", table, "--out", "data", "--stride", 25)
    assert done.returncode == 2
    assert "stride: expected a multiple of 10, got 25" in done.stderr
    done = cli("curate", table, "--out", "data", "--mask-rule", "1,3")
    assert "mask_rule: expected udm2, or udm2: with some of snow,shadow," in done.stderr


SAMPLES = SHARED / "data/planet-cr-sample"
PRODUCT_NAMES = ("planet_cloudy", "planet_cloudfree", "S1", "landcover", "cloudmask")


@pytest.mark.real
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs the published samples of Planet-CR")
def test_the_published_samples_come_out_as_they_are(tmp_path: Path) -> None:
    """Each of the two real patches as an AOI of one window, on grids that others have laid."""
    rows = []
    samples = (("test", "summer", 33), ("train", "fall", 1))
    for split, season, aoi in samples:
        paths = {
            name: next((SAMPLES / split / f"{name}_{season}").rglob(f"{name}_*"))
            for name in PRODUCT_NAMES
        }
        paths = {name: next(path.iterdir()) for name, path in paths.items()}
        with rasterio.open(paths["planet_cloudy"]) as image:
            grid = {"transform": image.transform, "crs": image.crs}
        mask = write_udm2(tmp_path / str(aoi), np.load(paths["cloudmask"]), **grid)
        rows.append({
            "aoi": aoi, "season": season, "split": split, "cloudy": paths["planet_cloudy"],
            "clear": paths["planet_cloudfree"], "udm": mask, "sar": paths["S1"],
            "landcover": paths["landcover"],
        })  # fmt: skip
    write_rows(tmp_path / "aois.csv", rows)
    out = tmp_path / "data"
    made(tmp_path / "aois.csv", out, train=1, test=1, test_aois=None, product="planet-sr")
    for split, season, aoi in samples:
        (files,) = find_scenes(out, split)
        assert files.name == f"{season}_{aoi}_p_1"
        for product, name in zip(
            ("cloudy", "clear", "sar", "land_cover", "cloud_mask"), PRODUCT_NAMES, strict=True
        ):
            (published,) = (SAMPLES / split / f"{name}_{season}").rglob(f"{name}_*_p_*")
            assert files.path(product).read_bytes() == published.read_bytes()
