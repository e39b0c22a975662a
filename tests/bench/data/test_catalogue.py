"""Test the datasets of the catalogue on fake scenes in their true layouts."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from planetcr_bench.constants import PLANET_CR
from planetcr_bench.data.descriptions import describe, load_description
from planetcr_bench.data.discovery import find_splits
from planetcr_bench.data.integrity import check_dataset
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_product, read_scene
from planetcr_bench.data.variants import CATALOGUE, catalogue
from planetcr_bench.errors import DatasetError
from scenes import write_tif

Fields = dict[str, object]


@dataclass(frozen=True)
class Fake:
    """A few scenes of a dataset.

    Attributes:
        scenes: Split to the fields of each scene, with its name and its cluster.
        files: Product to its paths, of each date; those of one date are put together.
        bands: Of each of these files.
        size: Side of the optical images.
        scale: Of the optical images.
    """

    scenes: Mapping[str, Sequence[tuple[Fields, str, str]]]
    files: Mapping[str, Sequence[Sequence[str]]]
    bands: Sequence[int]
    size: int
    scale: int
    pixels: dict[str, np.ndarray] = field(default_factory=dict)


def roi(seed: str, season: str, number: int, patch: int) -> tuple[Fields, str, str]:
    fields: Fields = {"seed": seed, "season": season, "roi": number, "patch": patch}
    return fields, f"{seed}_{season}_{number}_p{patch}", f"{seed}_{season}_{number}"


def numbered(*numbers: int, split: str = "") -> list[tuple[Fields, str, str]]:
    start = f"{split}_" if split else ""
    fields: Fields = {"split": split} if split else {}
    return [({**fields, "n": n}, f"{start}{n}", f"{start}{n}") for n in numbers]


def tiled(tile: str, *numbers: int, split: str = "") -> list[tuple[Fields, str, str]]:
    return [({"split": split, "tile": tile, "n": n}, f"{tile}_{n}", tile) for n in numbers]


ROIS = {
    "train": [roi("ROIs1158", "spring", 1, 407)],
    "val": [roi("ROIs1868", "summer", 17, 30)],
    "test": [
        roi("ROIs1158", "spring", 31, 9),
        roi("ROIs1158", "spring", 31, 10),
        roi("ROIs1970", "fall", 139, 839),
    ],
}


def cuhk(name: str) -> Fake:
    def paths(folder: str) -> list[list[str]]:
        rgb = f"{name}/{{split}}/{folder}/{{n}}.png"
        return [[rgb, f"nir/{rgb}"]]

    return Fake(
        scenes={
            "train": numbered(1, 303, split="train"),
            "test": numbered(1, 20, split="test"),
        },
        files={"clear": paths("label"), "cloudy": paths("cloud")},
        bands=[3, 3],
        size=512,
        scale=255,
    )


def released(product: str) -> list[list[str]]:
    folder = f"{{seed}}_{{season}}_{product}"
    return [[f"{folder}/{product}_{{roi}}/{folder}_{{roi}}_p{{patch}}.tif"]]


FAKES: dict[str, Fake] = {
    "sen12ms-cr": Fake(
        scenes=ROIS,
        files={
            "clear": released("s2"),
            "cloudy": released("s2_cloudy"),
            "sar": released("s1"),
        },
        bands=[13],
        size=256,
        scale=10_000,
    ),
    "sen12ms-cr-flat": Fake(
        scenes=ROIS,
        files={
            "clear": [["s2_cloudfree/{seed}_{season}_{roi}_p{patch}.tif"]],
            "cloudy": [["s2_cloudy/{seed}_{season}_{roi}_p{patch}.tif"]],
            "sar": [["s1/{seed}_{season}_{roi}_p{patch}.tif"]],
        },
        bands=[13],
        size=256,
        scale=10_000,
    ),
    "rice1": Fake(
        scenes={"train": numbered(1, 499), "test": numbered(0, 70, 488)},
        files={"clear": [["RICE1/label/{n}.png"]], "cloudy": [["RICE1/cloud/{n}.png"]]},
        bands=[3],
        size=512,
        scale=255,
    ),
    "rice2": Fake(
        scenes={"test": numbered(0, 70, 735)},
        files={
            "clear": [["RICE2/label/{n}.png"]],
            "cloudy": [["RICE2/cloud/{n}.png"]],
            "cloud_mask": [["RICE2/mask/{n}.png"]],
        },
        bands=[3],
        size=512,
        scale=255,
    ),
    "cuhk-cr1": cuhk("CUHK-CR1"),
    "cuhk-cr2": cuhk("CUHK-CR2"),
    "t-cloud": Fake(
        scenes={
            split: [({"split": split, "n": n}, str(n), str(n)) for n in numbers]
            for split, numbers in {"train": (1, 2938), "test": (7, 2939)}.items()
        },
        files={
            "clear": [["{split}/reference/{n}.png"]],
            "cloudy": [["{split}/cloud/{n}.png"]],
        },
        bands=[3],
        size=256,
        scale=255,
    ),
    "whus2-cr": Fake(
        scenes={
            "train": tiled("R075_T50TMK", 1, 3, split="train"),
            "test": tiled("R064_T37UCQ", 2, 100, split="test"),
        },
        files={
            "clear": [["{split}/clearDNclips/10m/{tile}/{n}.tif"]],
            "cloudy": [["{split}/cloudDNclips/10m/{tile}/{n}.tif"]],
        },
        bands=[4],
        size=256,
        scale=10_000,
    ),
    "sen2-mtc-new": Fake(
        scenes={
            "train": tiled("T49SCC_R018", 0),
            "val": tiled("T39VIF_R078", 5),
            "test": tiled("T12TUR_R027", 0, 11),
        },
        files={
            "clear": [["Sen2_MTC/{tile}/cloudless/{tile}_{n}.tif"]],
            "cloudy": [[f"Sen2_MTC/{{tile}}/cloud/{{tile}}_{{n}}_{t}.tif"] for t in range(3)],
        },
        bands=[4],
        size=256,
        scale=10_000,
    ),
}
HALVES = {"cuhk-cr1-half": "cuhk-cr1", "cuhk-cr2-half": "cuhk-cr2"}
GEOREFERENCED = ("sen12ms-cr", "sen12ms-cr-flat", "whus2-cr")

every_dataset = pytest.mark.parametrize("name", FAKES)


def test_every_dataset_is_tested() -> None:
    assert {*FAKES, *HALVES, PLANET_CR} == {*catalogue()}


def write(path: Path, pixels: np.ndarray, corner: tuple[float, float] | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(pixels.transpose(1, 2, 0)).save(path, compress_level=0)
    else:
        write_tif(path, pixels, corner or (0, 0), 10, "EPSG:32631" if corner else None)


def fake_pixels(name: str, product: str, file: int, seed: int) -> np.ndarray:
    """Pixels of one file, which lie in blocks of different sizes so that no two are alike."""
    fake, rng = FAKES[name], np.random.default_rng(seed)
    shape = (fake.bands[file], fake.size, fake.size)
    if product == "sar":
        return rng.normal(-14, 5, (2, *shape[1:])).astype(np.float32)
    if product == "cloud_mask":  # white, a colour, another one, black
        colours = np.array([[255, 255, 255], [255, 255, 0], [0, 0, 255], [0, 0, 0]], np.uint8)
        return colours[rng.integers(0, 4, shape[1:])].transpose(2, 0, 1)
    if fake.scale == 255:
        pixels = rng.integers(1, 256, shape).astype(np.uint8)
        return np.repeat(pixels[:1], 3, axis=0) if file else pixels  # NIR is grey in three channels
    return rng.integers(1, 12_000, shape).astype(np.uint16)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes a fake dataset once; tests that change files copy it."""
    folders: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in folders:
            folders[name] = write_fake(tmp_path_factory.mktemp(name), name)
        return folders[name]

    return folder


def write_fake(root: Path, name: str) -> Path:
    fake = FAKES[name]
    scenes = [fields for split in fake.scenes.values() for fields, _, _ in split]
    for number, fields in enumerate(scenes):
        corner = (300_000 + 5_000.5 * number, 5_000_000) if name in GEOREFERENCED else None
        for product, dates in fake.files.items():
            for date, paths in enumerate(dates):
                for file, path in enumerate(paths):
                    relative = path.format_map(fields)
                    seed = 1000 * number + 100 * len(product) + 10 * date + file
                    fake.pixels[relative] = fake_pixels(name, product, file, seed)
                    write(root / relative, fake.pixels[relative], corner)
    return root


@every_dataset
def test_scenes_have_their_names_and_clusters(name: str, written: Callable[[str], Path]) -> None:
    data, fake = written(name), FAKES[name]
    assert find_splits(data, load_description(name)) == [*fake.scenes]
    for split, expected in fake.scenes.items():
        found = find_scenes(data, split, dataset=name)
        assert [(files.name, files.aoi) for files in found] == [each[1:] for each in expected]


@every_dataset
def test_a_sound_copy_passes_the_check(name: str, written: Callable[[str], Path]) -> None:
    report = check_dataset(written(name), dataset=name, workers=0)
    assert report.ok, report.problems
    assert report.track == name
    assert {split: each.scenes for split, each in report.splits.items()} == {
        split: len(scenes) for split, scenes in FAKES[name].scenes.items()
    }
    alone = [line for line in report.warnings if "no cluster in the description" in line]
    assert bool(alone) == (load_description(name).cluster is None)


def as_read(fake: Fake, product: str, fields: Fields) -> np.ndarray:
    """Values of an optical product by numpy alone, (B, H, W) or (T, B, H, W)."""
    dates = []
    for paths in fake.files[product]:
        first, *others = [fake.pixels[path.format_map(fields)] for path in paths]
        image = np.concatenate([first, *(other[:1] for other in others)])
        dates.append(np.minimum(image, fake.scale).astype(np.float32) / np.float32(fake.scale))
    return np.stack(dates) if len(dates) > 1 else dates[0]


@every_dataset
def test_values_are_those_of_the_files(name: str, written: Callable[[str], Path]) -> None:
    data, fake = written(name), FAKES[name]
    fields = fake.scenes["test"][0][0]
    scene = read_scene(find_scenes(data, "test", dataset=name)[0])
    assert (scene.clear == as_read(fake, "clear", fields)).all()
    assert (scene.cloudy == as_read(fake, "cloudy", fields)).all()
    assert len(scene.bands) == len(scene.clear)
    assert scene.land_cover is None
    assert (scene.sar is None) == ("sar" not in fake.files)
    if scene.sar is not None:
        decibels = fake.pixels[fake.files["sar"][0][0].format_map(fields)]
        low = np.array([-25, -32.5], np.float32)[:, None, None]
        assert np.abs(scene.sar - (np.clip(decibels, low, 0) - low) / -low).max() < 1e-6
    assert (scene.cloud_mask is None) == ("cloud_mask" not in fake.files)
    if scene.cloud_mask is not None:
        colours = fake.pixels[fake.files["cloud_mask"][0][0].format_map(fields)]
        assert (scene.cloud_mask == (colours.sum(0, int) > 0)).all()


@every_dataset
def test_a_layout_of_the_catalogue_is_recognised(name: str, written: Callable[[str], Path]) -> None:
    hint = f"it has the layout of {load_description(name).title}: give --dataset {name}$"
    for other in (None, "whus2-cr" if name == "t-cloud" else "t-cloud"):
        if other != name:
            with pytest.raises(DatasetError, match=hint):
                find_scenes(written(name), "test", dataset=other)


@pytest.mark.parametrize("name", HALVES)
def test_half_size_is_the_mean_of_four_pixels(name: str, written: Callable[[str], Path]) -> None:
    fake = FAKES[HALVES[name]]
    files = find_scenes(written(HALVES[name]), "test", dataset=name)[0]
    whole = np.rint(as_read(fake, "clear", fake.scenes["test"][0][0]) * 255)
    means = np.rint(whole.reshape(4, 256, 2, 256, 2).mean((2, 4)))
    scene = read_scene(files)
    assert np.abs(scene.clear - means / 255).max() < 1e-6
    assert scene.resolution == 1.0


def test_the_mask_and_the_bands_are_named() -> None:
    bands = load_description("sen12ms-cr").bands
    assert [bands.index(band) for band in ("red", "green", "blue", "nir", "cirrus")] == [
        3, 2, 1, 7, 10,
    ]  # fmt: skip
    assert load_description("sen2-mtc-new").bands == ["red", "green", "blue", "nir"]
    assert load_description("whus2-cr").bands == ["blue", "green", "red", "nir"]
    assert load_description("cuhk-cr2").bands == ["red", "green", "blue", "nir"]


# --- Files that are wrong -------------------------------------------------------------------


@pytest.fixture
def copied(written: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(written(name), tmp_path / "data"))


def only_line(error: pytest.ExceptionInfo[DatasetError]) -> str:
    """The line that names a file, or else the whole message."""
    assert "\n" not in error.value.message
    lines = error.value.problems or [error.value.message]
    assert len(lines) == 1, lines
    return lines[0]


def first_file(name: str, product: str = "clear") -> str:
    fake = FAKES[name]
    return fake.files[product][0][0].format_map(fake.scenes["test"][0][0])


@every_dataset
def test_a_missing_clear_image_is_named(name: str, copied: Callable[[str], Path]) -> None:
    data = copied(name)
    (data / first_file(name)).unlink()
    with pytest.raises(DatasetError) as refused:
        find_scenes(data, "test", dataset=name)
    assert only_line(refused) == f"{data / first_file(name)}: no such file"


@every_dataset
def test_another_size_is_refused(name: str, copied: Callable[[str], Path]) -> None:
    data, fake = copied(name), FAKES[name]
    path = data / first_file(name)
    write(path, fake.pixels[first_file(name)][:, :-1], None)
    files = find_scenes(data, "test", dataset=name)[0]
    with pytest.raises(DatasetError) as refused:
        read_product(files, "clear")
    bands, side = fake.bands[0], fake.size
    assert only_line(refused) == (
        f"{path}: expected shape {(bands, side, side)}, got {(bands, side - 1, side)}"
    )


def clear_folders(data: Path, name: str) -> list[Path]:
    """The uppermost folders with nothing but clear images."""
    above: dict[str, set[Path]] = {}
    for product, dates in FAKES[name].files.items():
        scenes = [fields for split in FAKES[name].scenes.values() for fields, _, _ in split]
        paths = [path.format_map(fields) for fields in scenes for date in dates for path in date]
        above[product] = {parent for path in paths for parent in Path(path).parents}
    own = above.pop("clear").difference(*above.values())
    return [data / folder for folder in own if folder.parent not in own]


@every_dataset
def test_a_folder_of_another_name_is_shown(name: str, copied: Callable[[str], Path]) -> None:
    data = copied(name)
    for number, folder in enumerate(sorted(clear_folders(data, name))):
        folder.rename(folder.with_name(f"0-truth{number}"))
    with pytest.raises(DatasetError) as refused:
        find_scenes(data, "test", dataset=name)
    message = str(refused.value)
    assert "expected clear folders" in message
    assert "found 0-truth" in message


@every_dataset
def test_a_second_file_of_a_product_is_refused(name: str, copied: Callable[[str], Path]) -> None:
    data = copied(name)
    path = data / first_file(name)
    second = path.with_suffix(path.suffix.upper())
    shutil.copy(path, second)
    line = f"{second}: expected one clear file for its scene, got also {path}"
    assert check_dataset(data, dataset=name, workers=0).problems == [line]
    with pytest.raises(DatasetError, match="expected one file for a product") as refused:
        find_scenes(data, "test", dataset=name)
    assert refused.value.problems == (line,)


def test_a_scene_with_two_dates_is_refused(copied: Callable[[str], Path]) -> None:
    data = copied("sen2-mtc-new")
    folder = data / "Sen2_MTC/T12TUR_R027/cloud"
    (folder / "T12TUR_R027_0_1.tif").unlink()
    with pytest.raises(DatasetError) as refused:
        find_scenes(data, "test", dataset="sen2-mtc-new")
    line = f"{folder}/T12TUR_R027_0_0.tif: expected 3 cloudy images of the scene, got 2"
    assert only_line(refused) == line


@pytest.mark.parametrize(
    ("name", "inner", "given", "hint"),
    [
        ("rice1", "RICE_DATASET", "", "give {}/RICE_DATASET, which does"),
        ("rice2", ".", "RICE2", "give its parent, {}"),
        ("cuhk-cr1", "C-CUHK - 副本", "", "give {}/C-CUHK - 副本, which does"),
        ("sen12ms-cr", "SEN12MSCR", "", "give {}/SEN12MSCR, which does"),
        ("sen2-mtc-new", ".", "Sen2_MTC", "give its parent, {}"),
        ("t-cloud", "T-CLOUD", "", "give {}/T-CLOUD, which does"),
    ],
)
def test_the_right_folder_is_suggested(
    tmp_path: Path, written: Callable[[str], Path], name: str, inner: str, given: str, hint: str
) -> None:
    shutil.copytree(written(name), tmp_path / inner, dirs_exist_ok=True)
    with pytest.raises(DatasetError) as refused:
        find_scenes(tmp_path / given, "test", dataset=name)
    assert hint.format(tmp_path) in str(refused.value)


# --- Lists of splits ------------------------------------------------------------------------


def test_the_list_beside_the_data_comes_before_that_of_the_authors(
    copied: Callable[[str], Path],
) -> None:
    data = copied("sen12ms-cr-flat")
    row = "s1,s2_cloudfree,s2_cloudy,ROIs1970_fall_139_p839.tif"
    (data / "data.csv").write_text(f"3,{row}")
    names = [files.name for files in find_scenes(data, "test", dataset="sen12ms-cr-flat")]
    assert names == ["ROIs1970_fall_139_p839"]
    assert [*check_dataset(data, dataset="sen12ms-cr-flat", workers=0).splits] == ["test"]


def clusters(name: str, count: Mapping[str, int]) -> dict[str, list[str]]:
    splits = load_description(name).splits
    chosen = {split: rule.clusters for split, rule in splits.items()}
    assert {split: len(names) for split, names in chosen.items()} == count
    assert {split: len({*names}) for split, names in chosen.items()} == count
    for one, other in combinations(chosen.values(), 2):
        assert not {*one} & {*other}
    return chosen


@pytest.mark.parametrize("name", ["sen12ms-cr", "sen12ms-cr-flat"])
def test_the_regions_of_sen12ms_cr(name: str) -> None:
    chosen = clusters(name, {"train": 155, "val": 10, "test": 10})
    seasons = {cluster.rpartition("_")[0] for names in chosen.values() for cluster in names}
    assert seasons == {"ROIs1158_spring", "ROIs1868_summer", "ROIs1970_fall", "ROIs2017_winter"}
    assert "ROIs2017_winter_112" in chosen["train"]
    assert "ROIs1868_summer_127" in chosen["val"]
    assert {"ROIs1158_spring_106", "ROIs1970_fall_139", "ROIs2017_winter_63"} <= {*chosen["test"]}


def test_the_tiles_of_sen2_mtc_new() -> None:
    chosen = clusters("sen2-mtc-new", {"train": 34, "val": 5, "test": 10})
    assert "T12TUR_R027" in chosen["test"]


def test_the_split_of_rice1_has_every_number_once() -> None:
    splits = load_description("rice1").splits
    train, test = splits["train"].values, splits["test"].values
    assert (len(train), len(test)) == (400, 100)
    assert sorted(map(int, [*train, *test])) == [*range(500)]
    assert {0, 7, 8, 9, 488} < {*test}


def test_a_user_replaces_a_split(copied: Callable[[str], Path]) -> None:
    data = copied("rice2")
    (data / "train.txt").write_text("0.png\n735.png\n")
    (data / "test.txt").write_text("70\n")
    (data / "dataset.toml").write_text(
        'like = "rice2"\n[splits]\ntrain = {file = "train.txt"}\ntest = {file = "test.txt"}\n'
    )
    assert [files.name for files in find_scenes(data, "train")] == ["0", "735"]
    assert [files.name for files in find_scenes(data, "test")] == ["70"]
    assert describe(data).track is None


@pytest.mark.parametrize("name", [*FAKES, *HALVES])
def test_every_dataset_names_its_source(name: str) -> None:
    described = load_description(name)
    assert described.citation
    assert described.homepage.startswith("https://")
    content = tomllib.loads((CATALOGUE / f"{name}.toml").read_text())
    assert content["track"] == name
