"""Test cloud masks from elsewhere: which files, and what in them means cloud."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from described import optical_image, write_description, write_png
from planetcr_bench.data.fingerprint import fingerprint_of
from planetcr_bench.data.integrity import check_dataset
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.masks import OtherMasks, masks_digest, other_masks, with_masks
from planetcr_bench.data.reading import read_scene
from planetcr_bench.errors import DatasetError, UsageError
from scenes import write_dataset, write_tif

SIZE = (40, 48)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two pairs of pictures."""
    for name in ("a", "b"):
        for seed, product in enumerate(("clear", "cloudy")):
            write_png(tmp_path / f"data/{product}/{name}.png", seed, size=SIZE)
    return tmp_path / "data"


def half() -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[: SIZE[0] // 2] = 1
    return mask


def cover(data: Path, folder: Path, rule: str = "") -> float:
    """Cloud cover of the first scene with masks of a folder."""
    scenes = with_masks(find_scenes(data, "test"), OtherMasks(folder, rule))
    return read_scene(scenes[0]).cloud_cover


def save(folder: Path, pixels: np.ndarray, names: Sequence[str] = "ab") -> Path:
    for name in names:
        write_tif(folder / f"{name}.tif", pixels, (0, 0), 10, None)
    return folder


def test_masks_of_two_values_are_read_from_images_and_arrays(data: Path, tmp_path: Path) -> None:
    for kind, pixels in (("bool", half().astype(bool)), ("ones", half())):
        (tmp_path / kind).mkdir()
        for name in "ab":
            np.save(tmp_path / kind / f"{name}.npy", pixels)
    (tmp_path / "png").mkdir()
    for name in ("a", "b", "of another scene"):
        Image.fromarray(half() * np.uint8(255)).save(tmp_path / f"png/{name}.png")
    assert [cover(data, tmp_path / kind) for kind in ("bool", "ones", "png")] == [0.5] * 3


def udm2() -> np.ndarray:
    """Half cloud, a quarter light haze, a quarter clear."""
    bands = np.zeros((8, *SIZE), np.uint8)
    bands[5, :20], bands[3, 20:30], bands[0, 30:] = 1, 1, 1
    bands[6], bands[7, :20] = 90, 2
    return bands


@pytest.mark.parametrize(
    ("pixels", "rule", "expected"),
    [
        (udm2(), "udm2", 0.5),
        (udm2(), "udm2:cloud,light-haze", 0.75),
        (udm2()[7:], "udm", 0.5),
        (half()[None] * np.uint8(3), "1,3", 0.5),
        (half()[None] * np.uint8(3), "1", 0),
    ],
)
def test_a_rule_says_what_means_cloud(
    data: Path, tmp_path: Path, pixels: np.ndarray, rule: str, expected: float
) -> None:
    assert cover(data, save(tmp_path / "masks", pixels), rule) == expected


@pytest.mark.parametrize(
    ("pixels", "rule", "message"),
    [
        (udm2(), "", "expected a mask of 1 band, got 8; masks of Planet need the rule udm2"),
        (half()[None] * np.uint8(3), "", "expected 0 and 255, got 3; say which values"),
        (half()[None], "udm2", "expected a mask of 8 bands, got 1"),
        (udm2() * np.uint8(2), "udm2", "expected 0 and 1, got 2 in the first six bands"),
        (half()[None, :30], "", "expected 40 × 48 pixels of the clear image, got 30 × 48"),
    ],
)
def test_masks_that_are_no_masks_are_refused(
    data: Path, tmp_path: Path, pixels: np.ndarray, rule: str, message: str
) -> None:
    folder = save(tmp_path / "masks", pixels)
    with pytest.raises(Exception, match=message.replace("(", r"\(")):
        cover(data, folder, rule)
    report = check_dataset(data, masks=OtherMasks(folder, rule), workers=0, quiet=True)
    assert sum(message in line for line in report.problems) == 2


def test_dates_may_have_a_file_each_by_any_rule(tmp_path: Path) -> None:
    optical = {"clear": "{tile}/{n}.npy", "cloudy": "{tile}/{n}_{date}.npy", "scale": 1e4}
    content = {"title": "dates", "bands": ["red"], "scene": "{tile}{n}", "optical": optical,
               "fields": {"tile": "[a-z]", "n": "int", "date": "[0-9]{4}"}}  # fmt: skip
    write_description(tmp_path / "data/dataset.toml", content)
    (tmp_path / "data/a").mkdir()
    for name in ("1", "1_0101", "1_0202"):
        np.save(tmp_path / f"data/a/{name}.npy", optical_image(1, SIZE))
    bands = [udm2(), udm2()]
    bands[1][5] = 1
    for date, pixels in zip(("0101", "0202"), bands, strict=True):
        save(tmp_path / "masks", pixels, [f"a1_{date}"])
    scenes = find_scenes(tmp_path / "data", "test")
    masked = with_masks(scenes, OtherMasks(tmp_path / "masks", "udm2"))
    scene = read_scene(masked[0])
    assert scene.date_masks is not None
    assert scene.date_masks.mean(axis=(1, 2)).tolist() == [0.5, 1]
    assert scene.cloud_cover == 0.5
    (tmp_path / "masks/a1_0202.tif").unlink()
    with pytest.raises(DatasetError) as refused:
        with_masks(scenes, OtherMasks(tmp_path / "masks", "udm2"))
    assert refused.value.problems == (
        f"{tmp_path}/masks/a1_0202.tif: expected the mask of the scene, found no such file",
    )
    save(tmp_path / "masks", udm2(), ["a1"])
    with pytest.raises(DatasetError, match="got one by the rule udm2; name the files <scene>_<da"):
        read_scene(with_masks(scenes, OtherMasks(tmp_path / "masks", "udm2"))[0])


def test_each_scene_needs_one_mask(data: Path, tmp_path: Path) -> None:
    folder = save(tmp_path / "masks", half()[None], "a")
    with pytest.raises(DatasetError, match="expected a mask for each of 2 scenes") as refused:
        cover(data, folder)
    (line,) = refused.value.problems
    assert line == f"{folder}/b.tif: expected the mask of the scene, found no such file"
    report = check_dataset(data, masks=OtherMasks(folder), workers=0, quiet=True)
    assert report.problems == [f"{folder}/b.tif: no such file"]
    np.save(folder / "a.npy", half())
    with pytest.raises(DatasetError) as refused:
        cover(data, folder)
    assert "expected one mask of a, got also" in refused.value.problems[0]
    with pytest.raises(DatasetError, match="expected a folder of masks"):
        cover(data, tmp_path / "none")


def test_rules_are_checked_before_anything_is_read() -> None:
    with pytest.raises(UsageError, match="--mask-rule: expected values such as 1,3"):
        other_masks(Path(), "udm3")
    with pytest.raises(UsageError, match="--mask-rule: says how to read --masks"):
        other_masks(None, "udm2")


def test_masks_replace_those_of_the_dataset_but_not_its_fingerprint(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_dataset(data)
    scenes = find_scenes(data, "test")
    folder = tmp_path / "masks"
    folder.mkdir()
    for files in scenes:
        np.save(folder / f"cloudmask_{files.name}.npy", np.ones((300, 300), bool))
    masked = with_masks(scenes, OtherMasks(folder))
    assert read_scene(masked[0]).cloud_cover == 1 > read_scene(scenes[0]).cloud_cover
    assert fingerprint_of(masked, quiet=True) == fingerprint_of(scenes, quiet=True)
    assert masks_digest(masked, quiet=True) != masks_digest(scenes, quiet=True)
    own, other = (
        check_dataset(data, masks=masks, workers=0, quiet=True)
        for masks in (None, OtherMasks(folder))
    )
    assert other.fingerprint == own.fingerprint is not None
    assert other.masks == "folder masks"
    assert other.splits["test"].cloud_cover["80-100"] == len(scenes)
