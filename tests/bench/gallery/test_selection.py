"""Tests of the choice of scenes: it depends on the scenes alone, and spreads over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from planetcr_bench.constants import COVER_BINS, LAND_COVER, SEASONS, cover_bin
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_product
from planetcr_bench.data.scene import land_cover_classes
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import DatasetError
from planetcr_bench.gallery.selection import (
    class_shares,
    named_scenes,
    ranked_scenes,
    scenes_of_classes,
    spread_scenes,
)
from scenes import scene_files


def make_covers(count: int, seed: int = 0) -> dict[SceneFiles, float]:
    """Scenes of four seasons, ten patches to an AOI, of any cloud cover."""
    covers = np.random.default_rng(seed).random(count)
    return {
        scene_files("d/test", SEASONS[index // 10 % 4], index // 10, index % 10): float(cover)
        for index, cover in enumerate(covers)
    }


def test_five_scenes_are_one_per_bin_near_its_middle_and_spread() -> None:
    covers = make_covers(400)
    chosen = spread_scenes(covers, 5)
    assert [cover_bin(covers[files]) for files in chosen] == list(COVER_BINS)
    assert_allclose([covers[files] for files in chosen], [0.1, 0.3, 0.5, 0.7, 0.9], atol=0.05)
    assert len({files.aoi for files in chosen}) == 5
    assert {files.season for files in chosen} == set(SEASONS)


@pytest.mark.parametrize("count", [1, 5, 12])
def test_the_choice_depends_on_the_scenes_alone_not_on_their_order(count: int) -> None:
    covers = make_covers(60)
    backwards = dict(reversed(covers.items()))
    chosen = spread_scenes(covers, count)
    assert spread_scenes(backwards, count) == chosen
    assert len(set(chosen)) == count


def test_few_scenes_are_all_drawn_and_empty_bins_take_the_nearest() -> None:
    covers = make_covers(3)
    assert set(spread_scenes(covers, 5)) == set(covers)
    low = {files: cover / 5 for files, cover in make_covers(40).items()}
    chosen = spread_scenes(low, 5)
    assert len(chosen) == 5
    assert max(low.values()) == low[chosen[-1]]


def test_scenes_are_found_by_name_in_the_order_given() -> None:
    scenes = list(make_covers(40))
    assert named_scenes(scenes, ["fall_2_p_1", "spring_0_p_3", "fall_2_p_1"]) == [
        scenes[21],
        scenes[3],
    ]
    with pytest.raises(DatasetError, match=r"got 'fall_2_p_11'; did you mean fall_2_p_1,"):
        named_scenes(scenes, ["fall_2_p_11"])
    with pytest.raises(DatasetError, match="got 'zzz', such as fall_2_p_0"):
        named_scenes(scenes, ["zzz"])


def test_each_class_in_turn_gets_a_scene_in_which_it_prevails() -> None:
    covers = make_covers(400)
    rng = np.random.default_rng(1)
    shares = {files: rng.dirichlet(np.full(6, 0.3)) for files in covers}
    chosen = scenes_of_classes(covers, shares, 12)
    prevailing = [int(shares[files].argmax()) for files in chosen]
    assert prevailing == sorted([*range(6)] * 2)
    assert scenes_of_classes(dict(reversed(covers.items())), shares, 12) == chosen


def test_scenes_of_classes_do_not_differ_by_their_clouds() -> None:
    """All are near the median cover of the split, and of AOIs that were not yet shown."""
    covers = {files: cover**3 for files, cover in make_covers(1200).items()}
    shares = {
        files: np.eye(6)[at % 6] for at, files in enumerate(sorted(covers, key=covers.__getitem__))
    }
    chosen = scenes_of_classes(covers, shares, 6)
    median = np.median(list(covers.values()))
    assert_allclose([covers[files] for files in chosen], median, atol=0.05)
    assert len({files.aoi for files in chosen}) == 6
    assert {files.season for files in chosen} == set(SEASONS)


def test_a_class_that_prevails_nowhere_takes_the_scene_of_which_it_covers_most() -> None:
    covers = make_covers(40)
    shares = {files: np.array([0.6, 0.4 - at / 100, 0, 0, 0, 0]) for at, files in enumerate(covers)}
    chosen = scenes_of_classes(covers, shares, 3)
    assert len(chosen) == 3
    assert next(iter(covers)) in chosen  # rangeland's; the four others are nowhere
    unknown = {files: np.zeros(6) for files in covers}
    assert scenes_of_classes(covers, unknown, 3) == []
    assert len(scenes_of_classes(covers, shares, 50)) == 40


def test_shares_of_classes_are_those_of_the_pixels(data: Path) -> None:
    for files in find_scenes(data, "test"):
        codes = read_product(files, "land_cover").pixels[0]
        classes = land_cover_classes(codes, files.description.land_cover)
        expected = [(classes == number).mean() for number in range(len(LAND_COVER))]
        assert_allclose(class_shares(files), expected)


@pytest.mark.parametrize("by", ["mae", "psnr", "sam", "ssim"])
def test_best_worst_and_median_are_those_of_a_sort(by: str) -> None:
    rng = np.random.default_rng(0)
    scores = {f"s{number:02}": float(value) for number, value in enumerate(rng.integers(0, 9, 31))}
    sign = -1 if by in ("psnr", "ssim") else 1
    best = sorted(scores, key=lambda name: (sign * scores[name], name))
    worst = sorted(scores, key=lambda name: (-sign * scores[name], name))
    middle = sorted(scores.values())[15]
    median = sorted(scores, key=lambda name: (abs(scores[name] - middle), name))
    series = pd.Series(scores).sample(frac=1, random_state=1)
    for pick, expected in (("best", best), ("worst", worst), ("median", median)):
        assert ranked_scenes(series, pick, by, 7) == expected[:7]


def test_perfect_scenes_and_scenes_without_a_score_are_ranked_too() -> None:
    scores = pd.Series({"a": np.inf, "b": np.nan, "c": 30.0, "d": np.inf})
    assert ranked_scenes(scores, "best", "psnr", 9) == ["a", "d", "c"]
    assert ranked_scenes(scores, "median", "psnr", 9) == ["a", "d", "c"]
    assert ranked_scenes(scores, "worst", "psnr", 1) == ["c"]
