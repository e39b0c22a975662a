"""Test that datasets which their maker has not finished are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from described import SIMULATED
from planetcr_bench.data.completeness import shortfall, unfinished
from planetcr_bench.data.discovery import find_splits
from planetcr_bench.data.integrity import check_dataset
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.errors import DatasetError
from scenes import write_scene


def test_a_folder_that_declares_nothing_lacks_nothing(tmp_path: Path) -> None:
    assert shortfall(tmp_path, "test", 3) is None
    (tmp_path / "dataset.toml").write_text('track = "mine"\n')
    assert shortfall(tmp_path, "test", 3) is None
    assert unfinished(tmp_path) is None


@pytest.mark.parametrize(
    ("file", "text"),
    [("dataset.toml", SIMULATED), ("curation.toml", "[result]\ntrain = 4\ntest = 10\n")],
)
def test_scenes_are_counted(file: str, text: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text)
    assert shortfall(tmp_path, "test", 10) is None
    assert shortfall(tmp_path, "val", 3) is None
    fewer, more = shortfall(tmp_path, "train", 3), shortfall(tmp_path, "train", 5)
    assert f"expected 4 scenes by {file}, found 3; run the same" in str(fewer)
    assert f"expected 4 scenes by {file}, found 5" in str(more)
    assert "in an empty folder" in str(more)


def test_an_unfinished_curation_is_refused_before_and_after_its_first_patch(
    tmp_path: Path,
) -> None:
    (tmp_path / "curation.toml").write_text("[settings]\nseed = 0\n")
    begun = "`planetcr-bench curate` has begun; run the same command again"
    with pytest.raises(DatasetError, match=begun):
        find_splits(tmp_path)
    write_scene(tmp_path)
    with pytest.raises(DatasetError, match=begun):
        find_scenes(tmp_path, "test")
    report = check_dataset(tmp_path, workers=0)
    assert len(report.problems) == 1
    assert begun in report.problems[0]


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    write_scene(tmp_path)
    (tmp_path / "curation.toml").write_text("[result\n")
    with pytest.raises(DatasetError, match=r"curation\.toml"):
        find_scenes(tmp_path, "test")
    report = check_dataset(tmp_path, workers=0)
    assert ["curation.toml" in line for line in report.problems] == [True]
