"""What two splits share is found, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.overview.leakage import IDENTICAL, NEAR, OVERLAP, SAME_SCENE, Leakage, audit
from planetcr_bench.overview.statistics import measure_dataset
from scenes import write_scene


def found(root: Path) -> Leakage:
    return audit(measure_dataset(root, workers=0, quiet=True))


def replace_clear(files: SceneFiles, pixels: np.ndarray) -> None:
    with rasterio.open(files.path("clear"), "r+") as image:
        image.write(pixels)


@pytest.fixture
def two(tmp_path: Path) -> tuple[SceneFiles, SceneFiles]:
    """A scene of each split, far apart."""
    return write_scene(tmp_path, "train", "spring", 1), write_scene(tmp_path, "test", "fall", 700)


@pytest.mark.usefixtures("two")
def test_clean_splits_share_nothing(tmp_path: Path) -> None:
    leakage = found(tmp_path)
    assert not leakage.found
    assert set(leakage.counts.values()) == {0}


def test_copies_are_identical_and_noisy_copies_nearly(
    two: tuple[SceneFiles, SceneFiles], tmp_path: Path
) -> None:
    train, test = two
    with rasterio.open(train.path("clear")) as image:
        pixels = image.read()
    replace_clear(test, pixels)
    assert found(tmp_path).counts[IDENTICAL] == 1
    noise = np.random.default_rng(0).normal(0, 20, pixels.shape)
    replace_clear(test, np.clip(pixels * 1.1 + noise, 1, 10_000).astype(pixels.dtype))
    leakage = found(tmp_path)
    assert (leakage.counts[IDENTICAL], leakage.counts[NEAR]) == (0, 1)
    assert leakage.pairs["measure"].item() > 0.95
    assert leakage.pairs[["first", "second"]].values.tolist() == [[train.name, test.name]]


def test_shared_ground_scenes_and_aois_are_found(tmp_path: Path) -> None:
    train = write_scene(tmp_path, "train", "spring", 1, 1)
    write_scene(tmp_path, "test", "spring", 1, 2, seed=1)  # the next patch: touches, not overlaps
    assert found(tmp_path).counts == {
        SAME_SCENE: 0, "AOIs in both splits": 1, IDENTICAL: 0, NEAR: 0, OVERLAP: 0,
    }  # fmt: skip
    shutil.rmtree(tmp_path / "test")
    write_scene(tmp_path, "test", "spring", 1, 1, seed=5)  # other pixels of the same ground
    leakage = found(tmp_path)
    assert leakage.counts[SAME_SCENE] == leakage.counts[OVERLAP] == 1
    row = leakage.pairs[leakage.pairs["check"] == OVERLAP].iloc[0]
    assert (row["first"], row["measure"]) == (train.name, pytest.approx(1))


def test_one_split_has_nothing_to_compare_with(tmp_path: Path) -> None:
    write_scene(tmp_path)
    leakage = found(tmp_path)
    assert leakage.counts == {}
    assert "nothing to compare" in leakage.notes[0]
