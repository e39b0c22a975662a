"""Test which description a dataset has, and reading datasets of other layouts than Planet-CR's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from described import S2, optical_image, write_description, write_png, write_s2
from planetcr_bench import constants
from planetcr_bench.data.descriptions import describe, load_description
from planetcr_bench.data.discovery import find_files, find_splits
from planetcr_bench.data.fingerprint import fingerprint_of
from planetcr_bench.data.integrity import check_dataset
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_product, read_scene
from planetcr_bench.data.tracks import read_track
from planetcr_bench.data.variants import catalogue
from planetcr_bench.errors import DatasetError, SceneError
from planetcr_bench.simulation import place
from scenes import write_tif


def test_every_description_of_the_catalogue_is_valid() -> None:
    for name in catalogue():
        assert load_description(name).track == name
    assert "planet-cr" in catalogue()


def test_the_constants_of_metrics_and_simulator_are_those_of_planet_cr() -> None:
    described = load_description("planet-cr")
    assert described.sar is not None
    assert described.bands == list(constants.OPTICAL_BANDS)
    assert described.sar.bands == list(constants.SAR_BANDS)
    assert described.sar.range == list(constants.SAR_RANGE_DB)
    assert described.size == (constants.OPTICAL_SIZE, constants.OPTICAL_SIZE)
    assert described.size_of("land_cover") == (place.SAR_SIZE, place.SAR_SIZE)
    assert described.size_of("sar") == (place.SAR_SIZE, place.SAR_SIZE)
    assert described.resolution == constants.OPTICAL_RESOLUTION_M
    assert described.resolution_of("sar") == place.SAR_RESOLUTION_M
    assert described.optical.scale == constants.DN_PER_REFLECTANCE
    assert [*described.splits] == ["train", "val", "test"]


def test_a_folder_that_says_nothing_is_planet_cr(tmp_path: Path) -> None:
    assert describe(tmp_path).title == "Planet-CR"
    (tmp_path / "dataset.toml").write_text('track = "mine"')
    assert describe(tmp_path).title == "Planet-CR"


@pytest.mark.parametrize("where", ["dataset.toml", "beside", "given", "named"])
def test_a_description_lies_beside_the_data_or_is_given(tmp_path: Path, where: str) -> None:
    data = tmp_path / "data"
    write_s2(data)
    path = {"dataset.toml": data / "dataset.toml", "given": tmp_path / "s2.toml"}.get(
        where, data / "s2.toml"
    )
    write_description(path, S2)
    if where in ("beside", "named"):
        (data / "dataset.toml").write_text('dataset = "s2.toml"')
    dataset = path if where == "given" else None
    (files,) = find_scenes(data, "test", dataset=dataset)
    assert (files.name, files.aoi) == ("ROIs2017_fall_7_p1", "ROIs2017_fall_7")
    assert read_track(data, "test", dataset=dataset) == "thirteen"


def test_a_track_of_the_data_comes_before_that_of_the_description(tmp_path: Path) -> None:
    write_description(tmp_path / "dataset.toml", {**S2, "track": "mine"})
    assert read_track(tmp_path) == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('dataset = "plant-cr"', "dataset: expected a name of the catalogue"),
        ('dataset = "dataset.toml"', "dataset: expected a name of the catalogue"),
        ('dataset = "none.toml"', "none.toml: cannot be read"),
        (
            'dataset = "planet-cr"\nbands = ["red"]',
            "expected dataset = … or a description, got",
        ),
        ('title = "x"\nbands = ["red"]', "optical: expected this key, found none"),
    ],
)
def test_a_description_that_cannot_be_found_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "dataset.toml").write_text(text)
    with pytest.raises(DatasetError) as refused:
        describe(tmp_path)
    assert message in str(refused.value)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DatasetError, match=r"dataset of the catalogue \(.*planet-cr.*got 'plant'"):
        load_description("plant")


# --- Thirteen bands, SAR on the optical grid ------------------------------------------------


@pytest.fixture
def s2(tmp_path: Path) -> Path:
    for roi, patch in ((1, 1), (7, 2), (7, 10), (8, 1)):
        write_s2(tmp_path, roi, patch)
    write_description(tmp_path / "dataset.toml", S2)
    return tmp_path


def test_splits_by_a_field_are_sorted_by_number(s2: Path) -> None:
    assert find_splits(s2) == ["train", "test"]
    assert [files.values[2:] for files in find_scenes(s2, "test")] == [(7, 2), (7, 10), (8, 1)]
    assert [files.values[2:] for files in find_scenes(s2, "train")] == [(1, 1)]


def test_thirteen_bands_are_read_in_file_order(s2: Path) -> None:
    files = find_scenes(s2, "test")[0]
    scene = read_scene(files)
    assert scene.clear.shape == scene.cloudy.shape == (13, 40, 48)
    assert scene.bands[1:4] == ["blue", "green", "red"]
    assert scene.resolution == 10
    with rasterio.open(files.path("clear")) as source:
        assert (scene.clear == source.read().astype(np.float32) / np.float32(10_000)).all()
    assert scene.sar is not None
    assert scene.sar.shape == (2, 40, 48)
    assert scene.land_cover is scene.cloud_mask is None
    assert np.isnan(scene.cloud_cover)
    assert scene.cover_bin == "unknown"
    with pytest.raises(SceneError, match="p2: expected a cloud mask, but the dataset has none"):
        scene.need_cloud_mask()


def test_sizes_may_differ_between_scenes_but_not_within_one(s2: Path) -> None:
    write_s2(s2, 8, 2, size=(32, 24))
    assert read_scene(find_scenes(s2, "test")[-1]).clear.shape == (13, 32, 24)
    files = find_scenes(s2, "test")[0]
    write_tif(files.path("cloudy"), optical_image(13, (40, 40)), (0, 0), 10, None)
    with pytest.raises(SceneError, match=r"cloudy.*expected 40 × 48 pixels of the clear image"):
        read_scene(files)


def test_the_check_counts_what_is_described_and_no_more(s2: Path) -> None:
    report = check_dataset(s2, workers=0)
    assert report.ok, report.problems
    assert report.track == "thirteen"
    test = report.splits["test"]
    assert (test.scenes, test.complete_scenes, test.aois) == (3, 3, 2)
    assert test.seasons["fall"] == 3
    assert test.land_cover == test.cloud_cover == {}
    assert test.sizes == {"40 × 48": 3}
    assert (report.cluster, report.products) == ("cluster", ["clear", "cloudy", "sar"])
    assert test.fingerprint == fingerprint_of(find_scenes(s2, "test"), workers=0)
    assert not [line for line in report.warnings if "cluster" in line]


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (optical_image(4), r"expected shape \(13, 40, 48\), got \(4, 40, 48\)"),
        (optical_image(13).astype(np.float32), "expected uint16, got float32"),
    ],
)
def test_a_file_of_other_bands_or_dtype_is_named(
    s2: Path, pixels: np.ndarray, message: str
) -> None:
    files = find_scenes(s2, "test")[0]
    write_tif(files.path("clear"), pixels, (0, 0), 10, "EPSG:32631")
    with pytest.raises(DatasetError, match=message):
        read_product(files, "clear")
    assert not check_dataset(s2, workers=0).ok


def test_a_template_that_matches_nothing_shows_what_is_there(tmp_path: Path) -> None:
    write_s2(tmp_path)
    clear = S2["optical"]["clear"].replace("_s2/", "_s2_clear/")
    write_description(
        tmp_path / "dataset.toml", {**S2, "optical": {**S2["optical"], "clear": clear}}
    )
    with pytest.raises(DatasetError) as refused:
        find_scenes(tmp_path, "test")
    assert "clear" in str(refused.value)
    for path in tmp_path.glob("ROIs*"):
        path.rename(tmp_path / path.name.lower())
    with pytest.raises(DatasetError) as refused:
        find_scenes(tmp_path, "test")
    assert (
        "expected clear folders ROIs{year}_{season}_s2_clear in "
        f"{tmp_path}, found rois2017_fall_s1, rois2017_fall_s2"
    ) in str(refused.value)


def test_files_are_shown_where_folders_are_expected(tmp_path: Path) -> None:
    paths = {}
    for product in ("clear", "cloudy"):
        write_png(tmp_path / product / "1.png")
        paths[product] = f"{product}/small/{{name}}.png"
    content = {**FLAT, "splits": {"test": {}}, "optical": paths}
    write_description(tmp_path / "dataset.toml", content)
    words = rf"expected clear folders small in {tmp_path}/clear, found only files: 1\.png"
    with pytest.raises(DatasetError, match=words):
        find_scenes(tmp_path, "test")


def test_a_product_that_no_scene_has_is_one_line_whatever_the_number_of_files(
    tmp_path: Path,
) -> None:
    for number in range(4):
        write_png(tmp_path / f"clear/{number}.png", number)
        write_png(tmp_path / f"Cloudy/{number}_c.png", 9 + number)
    optical = {"clear": "clear/{name}.png", "cloudy": "cloudy/{name}.png", "scale": 255.0}
    for cloudy, found in (
        ("cloudy/{name}.png", "expected cloudy folders cloudy in {}, found Cloudy, clear"),
        ("Cloudy/{name}_x.png", "expected cloudy files {{name}}_x.png in {}/Cloudy, found 0_c.png"),
    ):
        content = {**FLAT, "splits": {"test": {}}, "optical": {**optical, "cloudy": cloudy}}
        write_description(tmp_path / "dataset.toml", content)
        (line,) = check_dataset(tmp_path, workers=0).problems
        assert line.startswith(f"{tmp_path}: {found.format(tmp_path)}")
        with pytest.raises(DatasetError) as refused:
            find_scenes(tmp_path, "test")
        assert refused.value.problems == (line,)


def test_numbers_that_begin_with_zeros_are_explained(tmp_path: Path) -> None:
    for name in ("clear", "cloudy"):
        write_png(tmp_path / name / "0001.png")
    content = {**FLAT, "splits": {"test": {}}, "fields": {"name": "int"}}
    write_description(tmp_path / "dataset.toml", content)
    with pytest.raises(DatasetError, match=r'need name = "\[0-9\]\+" instead of "int"'):
        find_scenes(tmp_path, "test")


def test_a_list_of_names_chooses_scenes(s2: Path, tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text("ROIs2017_fall_8_p1\nROIs2017_fall_7_p2\n")
    names = [files.name for files in find_scenes(s2, "test", tmp_path / "some.csv")]
    assert names == ["ROIs2017_fall_7_p2", "ROIs2017_fall_8_p1"]
    (tmp_path / "some.csv").write_text("ROIs2017_fall_8_p1\nROIs2017_fall_1_p1\n")
    with pytest.raises(DatasetError, match="expected scenes of the split 'test', got ROIs2017_f"):
        find_scenes(s2, "test", tmp_path / "some.csv")
    (tmp_path / "some.csv").write_text("ROIs2017_fall_8\n")
    with pytest.raises(DatasetError, match=r"line 1: expected a scene's name, ROIs\{year\}"):
        find_scenes(s2, "test", tmp_path / "some.csv")


# --- Other kinds of splits and files --------------------------------------------------------

FLAT = {
    "title": "Flat",
    "bands": ["red", "green", "blue"],
    "scene": "{name}",
    "splits": {
        "train": {"file": "data.csv", "first": "1"},
        "test": {"file": "data.csv", "first": "3"},
    },
    "optical": {"clear": "clear/{name}.png", "cloudy": "cloudy/{name}.png", "scale": 255.0},
}


def test_lists_of_splits_name_scenes_in_any_column(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        for product in ("clear", "cloudy"):
            write_png(tmp_path / product / f"{name}.png")
    (tmp_path / "data.csv").write_text("1,clear,cloudy,a.png\n3,clear,cloudy,c.png\n")
    write_description(tmp_path / "dataset.toml", FLAT)
    assert [files.name for files in find_scenes(tmp_path, "test")] == ["c"]
    assert [files.name for files in find_scenes(tmp_path, "train")] == ["a"]
    assert read_track(tmp_path) == "unnamed"
    report = check_dataset(tmp_path, workers=0)
    assert report.ok, report.problems
    (tmp_path / "data.csv").write_text("1,clear,cloudy,a.png\n")
    assert [*check_dataset(tmp_path, workers=0).splits] == ["train"]
    with pytest.raises(DatasetError, match=r"expected scenes of the split 'test', by data\.csv"):
        find_scenes(tmp_path, "test")
    (tmp_path / "data.csv").unlink()
    with pytest.raises(DatasetError, match=r"expected a folder that holds data\.csv"):
        find_scenes(tmp_path, "test")


def test_names_that_splits_share_contain_the_split(tmp_path: Path) -> None:
    optical = {key: f"{{split}}/{key}/{{name}}.png" for key in ("clear", "cloudy")}
    splits = {"train": {"folder": "training"}, "test": {}}
    content = {**FLAT, "splits": splits, "optical": {**FLAT["optical"], **optical}}
    for number, folder in enumerate(("training/clear", "training/cloudy", "test/clear")):
        write_png(tmp_path / folder / "1.png", number)
    write_png(tmp_path / "test/cloudy/1.png", 3)
    write_description(tmp_path / "dataset.toml", content)
    (problem,) = check_dataset(tmp_path, workers=0).problems
    assert "expected the scene name 1 in one split" in problem
    assert "describe names with `{split}` in `scene`" in problem
    write_description(tmp_path / "dataset.toml", {**content, "scene": "{split}_{name}"})
    report = check_dataset(tmp_path, workers=0)
    assert report.ok, report.problems
    (files,) = find_scenes(tmp_path, "train")
    assert (files.name, files.aoi) == ("training_1", "training_1")
    assert files.path("clear") == tmp_path / "training/clear/1.png"
    (tmp_path / "some.csv").write_text("training_1\n")
    assert find_scenes(tmp_path, "train", tmp_path / "some.csv") == [files]
    with pytest.raises(DatasetError, match="line 1: expected scenes of test, got 'training_1'"):
        find_scenes(tmp_path, "test", tmp_path / "some.csv")


def test_a_split_is_a_list_of_clusters(tmp_path: Path) -> None:
    for roi, patch in ((1, 1), (7, 2), (7, 10), (8, 1)):
        write_s2(tmp_path, roi, patch)
    splits = {
        "train": {"clusters": ["ROIs2017_fall_1", "ROIs2017_fall_8"]},
        "val": {"clusters": ["ROIs2017_summer_7"]},
        "test": {"file": "some.csv", "clusters": ["ROIs2017_fall_7"]},
    }
    write_description(tmp_path / "dataset.toml", {**S2, "splits": splits})
    assert [files.values[2:] for files in find_scenes(tmp_path, "train")] == [(1, 1), (8, 1)]
    assert [files.values[2:] for files in find_scenes(tmp_path, "test")] == [(7, 2), (7, 10)]
    with pytest.raises(DatasetError, match="expected scenes of the split 'val', by its 1 clusters"):
        find_scenes(tmp_path, "val")
    report = check_dataset(tmp_path, workers=0)
    assert report.ok, report.problems
    assert [*report.splits] == ["train", "test"]
    (tmp_path / "some.csv").write_text("ROIs2017_fall_7_p10\n")
    assert [files.values[2:] for files in find_scenes(tmp_path, "test")] == [(7, 10)]


def test_lists_of_splits_may_lie_beside_the_description(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for product in ("clear", "cloudy"):
            write_png(tmp_path / "data" / product / f"{name}.png")
    path = write_description(tmp_path / "own/flat.toml", FLAT)
    (tmp_path / "own/data.csv").write_text("1,a\n3,b.png\n")
    (files,) = find_scenes(tmp_path / "data", "test", dataset=path)
    assert files.name == "b"
    (files,) = find_scenes(tmp_path / "data", "train", dataset=path)
    assert files.name == "a"


def test_files_of_one_product_are_put_together(tmp_path: Path) -> None:
    optical = {
        "clear": ["rgb/{name}.png", "nir/{name}.png"],
        "cloudy": ["rgb_cloudy/{name}.png", "nir_cloudy/{name}.png"],
        "dtype": "uint8",
        "scale": 255.0,
    }
    content = {**FLAT, "bands": ["red", "green", "blue", "nir"], "optical": optical}
    del content["splits"]
    write_description(tmp_path / "dataset.toml", content)
    rgb = write_png(tmp_path / "rgb/1.png")
    write_png(tmp_path / "rgb_cloudy/1.png", 1)
    nir = np.full((40, 48), 77, np.uint8)
    for folder in ("nir", "nir_cloudy"):
        (tmp_path / folder).mkdir()
        Image.fromarray(nir).save(tmp_path / folder / "1.png")
    (files,) = find_scenes(tmp_path, "test")
    scene = read_scene(files)
    assert (scene.clear == np.concatenate([rgb, nir[None]]) / np.float32(255)).all()
    Image.fromarray(nir[:20]).save(tmp_path / "nir/1.png")
    with pytest.raises(DatasetError, match=r"nir/1.png: expected the shape, data type and grid"):
        read_scene(files)
    (tmp_path / "nir/1.png").unlink()
    with pytest.raises(DatasetError, match=r"expected four files for each of 1 scenes"):
        find_scenes(tmp_path, "test")


def test_bands_of_a_file_are_chosen_by_number(tmp_path: Path) -> None:
    optical = {**FLAT["optical"], "file_bands": [[3, 1]]}
    content = {**FLAT, "bands": ["blue", "red"], "optical": optical}
    del content["splits"]
    write_description(tmp_path / "dataset.toml", content)
    pixels = write_png(tmp_path / "clear/1.png")
    write_png(tmp_path / "cloudy/1.png", 1)
    (files,) = find_scenes(tmp_path, "test")
    assert (read_product(files, "clear").pixels == pixels[[2, 0]]).all()
    Image.fromarray(pixels[0]).save(files.path("clear"))
    with pytest.raises(DatasetError, match=r"clear/1.png: expected a band 3, got 1 bands"):
        read_product(files, "clear")


def test_a_field_of_the_cloudy_image_alone_counts_dates(tmp_path: Path) -> None:
    optical = {"clear": "clear/{tile}.npy", "cloudy": "cloudy/{tile}_{date}.npy", "scale": 10_000.0}
    content = {**FLAT, "scene": "{tile}", "fields": {"tile": "[a-z]+"}, "optical": optical}
    del content["splits"]
    write_description(tmp_path / "dataset.toml", content)
    for folder in ("clear", "cloudy"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "clear/a.npy", optical_image(3))
    dates = [optical_image(3, seed=seed) for seed in (1, 2)]
    for date, image in zip(("20200102", "20191231"), dates, strict=True):
        np.save(tmp_path / f"cloudy/a_{date}.npy", image)
    (files,) = find_scenes(tmp_path, "test")
    assert [paths[0].name for paths in files.paths("cloudy")] == [
        "a_20191231.npy",
        "a_20200102.npy",
    ]
    scene = read_scene(files)
    assert scene.cloudy.shape == (2, 3, 40, 48)
    assert (scene.cloudy[1] == dates[0] / np.float32(10_000)).all()
    assert check_dataset(tmp_path, workers=0).ok
    assert fingerprint_of([files], workers=0)
    (tmp_path / "cloudy/a_20191231.npy").unlink()
    assert read_scene(find_scenes(tmp_path, "test")[0]).cloudy.shape == (1, 3, 40, 48)
    two = {**content, "optical": {**optical, "dates": 2}}
    write_description(tmp_path / "dataset.toml", two)
    line = f"{tmp_path}/cloudy/a_20200102.npy: expected 2 cloudy images of the scene, got 1"
    with pytest.raises(DatasetError) as refused:
        find_scenes(tmp_path, "test")
    assert refused.value.problems == (line,)
    assert check_dataset(tmp_path, workers=0).problems == [line]
    write_description(tmp_path / "dataset.toml", content)
    np.save(tmp_path / "cloudy/a_20200103.npy", optical_image(3, (40, 40)))
    with pytest.raises(DatasetError, match="of the scene's other dates"):
        read_scene(find_scenes(tmp_path, "test")[0])
    np.save(tmp_path / "clear/a.npy", optical_image(3).transpose(1, 2, 0))
    with pytest.raises(DatasetError, match=r"got \(40, 48, 3\); put the bands first"):
        read_product(files, "clear")


def test_two_files_for_one_product_are_refused(tmp_path: Path) -> None:
    optical = {"clear": "clear/{tile}_{date}.npy", "cloudy": "cloudy/{tile}.npy"}
    content = {**FLAT, "scene": "{tile}", "fields": {"tile": "[a-z]+"}, "optical": optical}
    del content["splits"]
    write_description(tmp_path / "dataset.toml", content)
    for name in ("clear/a_1", "cloudy/a"):
        (tmp_path / name).parent.mkdir()
        np.save(tmp_path / f"{name}.npy", optical_image(3).astype(np.float32) / 10_000)
    (files,) = find_scenes(tmp_path, "test")
    assert read_scene(files).clear.shape == (3, 40, 48)
    np.save(tmp_path / "clear/a_2.npy", optical_image(3))
    with pytest.raises(DatasetError, match=r"a_2.npy: expected one clear file .*a_1.npy"):
        find_scenes(tmp_path, "test")


@pytest.mark.parametrize("scale", [1, 50])
def test_a_wrong_scale_is_refused(tmp_path: Path, scale: int) -> None:
    content = {**FLAT, "optical": {**FLAT["optical"], "scale": float(scale)}}
    del content["splits"]
    write_description(tmp_path / "dataset.toml", content)
    for product in ("clear", "cloudy"):
        write_png(tmp_path / product / "a.png")
    (files,) = find_scenes(tmp_path, "test")
    with pytest.raises(
        DatasetError, match=rf"expected reflectance × {scale}, got .* its scale is another"
    ):
        read_scene(files)


def test_images_are_used_at_half_their_size(tmp_path: Path) -> None:
    content = {**FLAT, "resize": 0.5, "resolution": 4.0, "size": [40, 48]}
    del content["splits"]
    write_description(tmp_path / "dataset.toml", content)
    pixels = write_png(tmp_path / "clear/a.png")
    write_png(tmp_path / "cloudy/a.png", 1)
    scene = read_scene(find_scenes(tmp_path, "test")[0])
    means = pixels.reshape(3, 20, 2, 24, 2).mean((2, 4))
    assert (scene.clear == np.rint(means).astype(np.float32) / np.float32(255)).all()
    assert scene.resolution == 8


def test_found_files_do_not_count_as_strays_of_other_products(tmp_path: Path) -> None:
    optical = {"clear": "{name}_clear.png", "cloudy": "{name}_cloudy.png", "scale": 255.0}
    content = {**FLAT, "fields": {"name": "[a-z]+"}, "optical": optical}
    del content["splits"]
    write_description(tmp_path / "dataset.toml", content)
    for product in ("clear", "cloudy"):
        write_png(tmp_path / f"a_{product}.png")
    write_png(tmp_path / "a_other.png")
    products, strays = find_files(tmp_path, "test")
    assert [files.name for files in products] == ["a"]
    assert strays == [tmp_path / "a_other.png"]
