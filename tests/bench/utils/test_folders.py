"""Test which files of a folder are relevant."""

from __future__ import annotations

from pathlib import Path

import pytest

from planetcr_bench.errors import PredictionError
from planetcr_bench.utils.folders import (
    image_files,
    is_litter,
    leads_up,
    lies_beside,
    other_spelling,
)


@pytest.mark.parametrize(
    "name",
    [
        "Thumbs.db", "ehthumbs.db", "desktop.ini", "DESKTOP.INI", ".DS_Store", "._a.tif", "Icon\r",
        "__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "a.tif:Zone.Identifier",
        "a.tfw", "a.tifw", "a.wld", "a.prj", "a.tif.ovr", "a.tif.aux.xml", "a.TIF.AUX.XML", "a.msk",
        "a.tif.msk", "a.tif.msk.ovr", "a.tab", "a.qml",
    ],
)  # fmt: skip
def test_files_of_operating_systems_and_gis_software_are_litter(name: str) -> None:
    assert is_litter(name)
    assert lies_beside(name)


@pytest.mark.parametrize("name", ["a.tif", "a.NPY", "a.png", "thumbs.tif", "a.db", "a.tif.tif"])
def test_images_and_unknown_files_are_no_litter(name: str) -> None:
    assert not lies_beside(name)


def test_linked_folders_are_walked_once_and_links_upwards_not_at_all(tmp_path: Path) -> None:
    inside, elsewhere = tmp_path / "up" / "preds", tmp_path / "other"
    (inside / "a").mkdir(parents=True)
    (elsewhere / "deep").mkdir(parents=True)
    for path in (inside / "1.tif", inside / "a" / "2.tif", elsewhere / "deep" / "3.tif"):
        path.touch()
    (tmp_path / "up" / "not_ours.tif").touch()
    for name, target in {
        "itself": ".", "parent": "..", "whole": inside, "a/back": "../a", "one": elsewhere,
        "two": elsewhere, "three": elsewhere / "deep",
    }.items():  # fmt: skip
        (inside / name).symlink_to(target)
    images = image_files(inside)
    assert len(images) == 3
    assert {path.resolve() for path in images} == {
        inside / "1.tif", inside / "a" / "2.tif", elsewhere / "deep" / "3.tif",
    }  # fmt: skip
    assert [leads_up(inside / name) for name in ("itself", "parent", "one", "a")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_a_link_to_itself_is_left_to_its_reader(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert image_files(tmp_path) == [tmp_path / "loop"]
    assert not leads_up(tmp_path / "loop")


def test_litter_is_passed_over_with_all_that_is_in_it(tmp_path: Path) -> None:
    for name in ("__MACOSX", "@eaDir", ".git"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.tif").touch()
    (tmp_path / "1.tif.ovr").touch()
    assert image_files(tmp_path) == []


def test_a_folder_named_like_an_image_is_left_to_its_reader(tmp_path: Path) -> None:
    (tmp_path / "1.tif").mkdir()
    (tmp_path / "1.tif" / "2.tif").touch()
    assert image_files(tmp_path) == [tmp_path / "1.tif"]


def test_a_missing_folder_is_an_error_of_the_caller_s_class(tmp_path: Path) -> None:
    with pytest.raises(PredictionError, match="cannot be read"):
        image_files(tmp_path / "none", error=PredictionError)


@pytest.mark.parametrize("name", ["a.TIF", "a.Tif", "a.tiff", "a.TIFF", "a.TiFf"])
def test_an_extension_is_found_in_any_case(tmp_path: Path, name: str) -> None:
    assert other_spelling(tmp_path / "a.tif") is None
    (tmp_path / name).touch()
    assert other_spelling(tmp_path / "a.tif") == tmp_path / name
    assert other_spelling(tmp_path / "a.npy") is None


def test_links_to_each_other_count_as_links_upwards(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "link").symlink_to(tmp_path / other)
    assert not leads_up(tmp_path / "a" / "link")
    assert leads_up(tmp_path / "a" / "link" / "link")
    assert image_files(tmp_path) == []
