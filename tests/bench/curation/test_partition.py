"""Test that AOIs are divided by place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planetcr_bench.curation.partition import Footprint, clusters_of, divide
from planetcr_bench.errors import DatasetError


def scattered(count: int, *, seed: int = 0, spread: float = 40.0) -> list[Footprint]:
    """AOIs at random places, some of them beyond the date line and near a pole."""
    rng = np.random.default_rng(seed)
    return [
        Footprint(n, float((179 + rng.normal(0, spread) + 180) % 360 - 180),
                  float(np.clip(70 + rng.normal(0, 8), -89, 89)), 7.6)
        for n in range(1, count + 1)
    ]  # fmt: skip


def gap_km(a: Footprint, b: Footprint) -> float:
    """By the haversine formula, independently of the code."""
    lat1, lat2 = np.radians([a.latitude, b.latitude])
    dlat, dlon = lat2 - lat1, np.radians(b.longitude - a.longitude)
    h = np.sin(dlat / 2) ** 2 + np.cos(lat1) * np.cos(lat2) * np.sin(dlon / 2) ** 2
    return 2 * 6371 * np.arcsin(np.sqrt(h)) - a.radius_km - b.radius_km


@pytest.mark.parametrize("distance", [0, 20, 100])
def test_no_two_aois_of_different_splits_are_near(distance: float) -> None:
    aois = scattered(200)
    splits = divide(aois, distance_km=distance, test_aois=None, seed=0)
    assert list(splits.values()).count("test") == round(200 * 120 / 780)
    train = [each for each in aois if splits[each.number] == "train"]
    test = [each for each in aois if splits[each.number] == "test"]
    assert min(gap_km(a, b) for a in train for b in test) >= distance


def test_clusters_are_what_gaps_link() -> None:
    aois = scattered(60, spread=5)
    cluster = clusters_of(aois, 50)
    linked = {(a.number, b.number) for a in aois for b in aois if gap_km(a, b) < 50}
    assert all(cluster[a - 1] == cluster[b - 1] for a, b in linked)
    for index in set(cluster.tolist()):  # each is connected
        members = {each.number for each in aois if cluster[each.number - 1] == index}
        reached, waiting = set(), [min(members)]
        while waiting:
            at = waiting.pop()
            reached.add(at)
            waiting += [b for a, b in linked if a == at and b not in reached]
        assert reached == members


def test_the_seed_chooses_and_the_order_of_the_table_does_not() -> None:
    aois = scattered(100)
    first = divide(aois, distance_km=5, test_aois=10, seed=0)
    assert divide(aois[::-1], distance_km=5, test_aois=10, seed=0) == first
    assert divide(aois, distance_km=5, test_aois=10, seed=1) != first


def test_without_test_patches_all_aois_are_for_training() -> None:
    splits = divide(scattered(3), distance_km=10, test_aois=0, seed=0)
    assert set(splits.values()) == {"train"}


def test_aois_in_one_cluster_cannot_be_divided() -> None:
    aois = [Footprint(n, 10 + n / 20, 0, 7.6) for n in range(1, 9)]
    with pytest.raises(DatasetError, match="the smallest of 1 clusters has 8"):
        divide(aois, distance_km=10, test_aois=None, seed=0)


def test_splits_of_the_table_are_checked() -> None:
    given = [replace(each, split="test" if each.number == 4 else "train") for each in scattered(20)]
    assert divide(given, distance_km=0, test_aois=None, seed=0)[4] == "test"
    near = [*given, replace(given[3], number=99, split="train")]
    with pytest.raises(DatasetError, match=r"AOI 4 \(test\) and AOI 99 \(train\)"):
        divide(near, distance_km=10, test_aois=None, seed=0)
