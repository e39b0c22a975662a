"""Test the division of scenes into training and validation scenes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planetcr_bench.constants import SEASONS
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.data.splits import hold_out, remark, some_scenes
from planetcr_bench.errors import DatasetError, UsageError
from scenes import scene_files


def scenes_of(*counts: int) -> list[SceneFiles]:
    """AOIs of so many scenes each; the seasons take turns."""
    return [
        scene_files("train", SEASONS[aoi % 3 % len(SEASONS)], aoi, patch)
        for aoi, count in enumerate(counts)
        for patch in range(count)
    ]


def aois(scenes: list[SceneFiles]) -> set[str]:
    return {files.aoi for files in scenes}


worlds = st.lists(st.integers(1, 4), min_size=2, max_size=40).map(lambda c: scenes_of(*c))
shares = st.floats(0.001, 0.6)


@given(worlds, shares, st.integers(0, 9), st.randoms())
def test_held_out_are_whole_aois_in_any_order_of_the_scenes(
    world: list[SceneFiles], share: float, seed: int, random: object
) -> None:
    try:
        train, val = hold_out(world, share=share, seed=seed)
    except UsageError:
        assert len(aois(world)) <= 6
        return
    assert sorted(train + val) == sorted(world)
    assert train == sorted(train)
    assert val == sorted(val)
    assert train
    assert val
    assert not aois(train) & aois(val)
    shuffled = list(world)
    random.shuffle(shuffled)
    assert hold_out(shuffled, share=share, seed=seed) == (train, val)
    one_each = list({files.aoi: files for files in world}.values())
    assert aois(hold_out(one_each, share=share, seed=seed)[1]) == aois(val)


@given(worlds, shares, shares)
def test_a_larger_share_holds_out_the_same_aois_and_more(
    world: list[SceneFiles], first: float, second: float
) -> None:
    try:
        less, more = (aois(hold_out(world, share=share)[1]) for share in sorted((first, second)))
    except UsageError:
        return
    assert less <= more


@pytest.mark.parametrize("seed", range(6))
def test_the_season_with_most_aois_gives_the_single_one(seed: int) -> None:
    world = [scene_files("train", "fall", aoi, 1) for aoi in range(7)]
    world += [scene_files("train", "winter", aoi, 1) for aoi in range(6)]
    smallest, same = (hold_out(world, share=share, seed=seed)[1] for share in (0.01, 0.08))
    assert smallest == same
    assert [files.season for files in smallest] == ["fall"]


def test_each_season_contributes_its_share() -> None:
    _, val = hold_out(scenes_of(*[2] * 60), share=0.1)
    assert [sum(aoi.startswith(season) for aoi in aois(val)) for season in SEASONS] == [2, 2, 2, 0]


def test_the_seed_decides_which_aois_are_held_out() -> None:
    world = scenes_of(*[1] * 60)
    assert len({frozenset(hold_out(world, seed=seed)[1]) for seed in range(5)}) == 5
    held = {files.name for files in hold_out(world)[1]}
    assert held == {"spring_9_p_0", "summer_16_p_0", "fall_53_p_0"}  # for ever


def test_no_share_holds_out_nothing() -> None:
    world = scenes_of(2, 3)
    assert hold_out(world[::-1], share=0) == (sorted(world), [])
    assert hold_out(scenes_of(3), share=0) == (scenes_of(3), [])


def test_one_aoi_cannot_be_divided() -> None:
    for world, got in ((scenes_of(3), 1), ([], 0)):
        with pytest.raises(DatasetError, match=rf"two AOIs or more.*got {got}; .*--val-share 0"):
            hold_out(world)


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, float("nan")])
def test_a_share_outside_0_and_1_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="--val-share: expected a share of at least 0 and below 1"):
        hold_out(scenes_of(1, 1), share=share)


def test_a_share_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(UsageError, match=r"leaves AOIs to train on, got 0.9, which is all of the"):
        hold_out(scenes_of(1, 1, 1, 1), share=0.9)


@given(worlds, st.integers(0, 60), st.integers(0, 9), st.randoms())
def test_some_scenes_are_spread_over_aois_in_any_order_of_the_scenes(
    world: list[SceneFiles], count: int, seed: int, random: object
) -> None:
    some = some_scenes(world, count, seed=seed)
    assert len(some) == min(count, len(world))
    assert some == sorted(some)
    assert set(some) <= set(world)
    assert len(aois(some)) == min(count, len(aois(world)))
    assert set(some) <= set(some_scenes(world, count + 1, seed=seed))
    shuffled = list(world)
    random.shuffle(shuffled)
    assert some_scenes(shuffled, count, seed=seed) == some


def test_fewer_than_no_scenes_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 0, got -1"):
        some_scenes(scenes_of(2), -1)


def test_a_split_far_from_the_requested_share_is_reported() -> None:
    tiny = hold_out(scenes_of(2, 2), share=0.05)
    assert "2 of 4 training scenes are held out (50%, where 5% was requested)" in remark(
        *tiny, share=0.05
    )
    assert not remark(*hold_out(scenes_of(*[1] * 60), share=0.05), share=0.05)
    assert not remark(*hold_out(scenes_of(2, 2), share=0.5), share=0.5)
