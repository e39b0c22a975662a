"""Test what is said of folders and files that do not follow the layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from planetcr_bench.constants import PRODUCTS
from planetcr_bench.data.integrity import check_dataset
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.errors import DatasetError
from scenes import write_dataset, write_scene


@pytest.mark.parametrize(
    ("folder", "given", "remedy"),
    [
        ("PLANET_CR/test", ".", "give {}/PLANET_CR, which does"),
        ("a/PLANET_CR/test", ".", "give {}/a/PLANET_CR, which does"),
        ("test/test", ".", "they lie in {0}/test/test: give {0}/test, or move what is in it"),
        ("test/images", ".", "they lie in {0}/test/images: move what is in it to {0}/test"),
        ("images", ".", "{}/images holds the scenes: name it train, val or test"),
        ("test", "test/S1_summer", "found none; give {}"),
        ("images", "images", "move its folders into one named train, val or test"),
    ],
)
def test_a_dataset_at_another_depth_says_which_folder_to_give(
    tmp_path: Path, folder: str, given: str, remedy: str
) -> None:
    write_scene(tmp_path / "made")
    (tmp_path / "d" / folder).parent.mkdir(parents=True)
    (tmp_path / "made" / "test").rename(tmp_path / "d" / folder)
    with pytest.raises(DatasetError) as refusal:
        find_scenes(tmp_path / "d" / given, "test")
    assert remedy.format(tmp_path / "d") in refusal.value.message
    try:
        printed = "\n".join(check_dataset(tmp_path / "d" / given, workers=0).problems)
    except DatasetError as error:
        printed = error.message
    assert refusal.value.message in printed


@pytest.mark.parametrize(
    ("products", "pattern", "expected"),
    [
        (["sar"], "{stem}_db{suffix}", "got 3 files with '_db' behind it"),
        (PRODUCTS, "{stem}_v2{suffix}", "got 15 files with '_v2' behind it"),
        (PRODUCTS, "my_{stem}{suffix}", "got 15 files with 'my_' before it"),
        (["sar"], "{stem}.img", "got 3 files with '.img' behind it"),
    ],
)
def test_names_that_share_a_word_too_much_are_one_line(
    tmp_path: Path, products: list[str], pattern: str, expected: str
) -> None:
    write_dataset(tmp_path, test=3)
    for files in find_scenes(tmp_path, "test"):
        for path in map(files.path, products):
            path.rename(path.with_name(pattern.format(stem=path.stem, suffix=path.suffix)))
    with pytest.raises(DatasetError) as refusal:
        find_scenes(tmp_path, "test")
    (line,) = refusal.value.problems
    assert expected in line
    assert check_dataset(tmp_path, workers=0).problems == [line]
