"""Scores by cloud cover and class with their intervals: those of tables, from sums per AOI."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from ledgers import make_ledger
from planetcr_bench.analysis.groups import (
    GROUPS,
    By,
    discrepancy_sums,
    group_comparisons,
    intervals_of,
    score_sums_by,
    segmentation_sums,
    with_intervals,
)
from planetcr_bench.analysis.intervals import estimate
from planetcr_bench.analysis.segmentation import segmentation_scores
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.registry import HEADLINE
from planetcr_bench.results.aggregate import cover_scores, score_groups
from planetcr_bench.results.compaction import compact
from planetcr_bench.results.ledger import Ledger

KEY = "j1"


@pytest.fixture(scope="module")
def run() -> Ledger:
    return make_ledger("a", scenes=30, segmenters=(KEY,))


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
@pytest.mark.parametrize("by", GROUPS)
def test_sums_of_aois_give_the_scores_of_tables(run: Ledger, by: By, protocol) -> None:
    expected = score_groups(run, protocol, [by])
    small = compact(run, "0" * 64)
    for group, sums in score_sums_by(run, protocol, by).items():
        rounded = score_sums_by(small, protocol, by)[group]
        for metric in HEADLINE:
            assert_allclose(sums[metric, None].value, expected.loc[group, metric], rtol=1e-12)
            assert_allclose(rounded[metric, None].value, sums[metric, None].value, rtol=1e-4)
            ends = [estimate(own[metric, None]) for own in (sums, rounded)]
            assert_allclose(ends[1].low, ends[0].low, rtol=1e-3)


def test_segmentation_and_its_distance_to_the_clear_image_are_those_of_table3(run: Ledger) -> None:
    full = PROTOCOLS["full"]
    expected = segmentation_scores(run, KEY, full, "prediction")
    for ledger in (run, compact(run, "0" * 64)):
        scores, points = (make(ledger, full, KEY) for make in (segmentation_sums, discrepancy_sums))
        for group in GROUPS["cover_bin"]:
            for metric in ("miou", "pa"):
                assert_allclose(scores[group][metric, KEY].value, expected.loc[group, metric])
                own = expected.loc[group, f"{metric}_discrepancy"]
                assert_allclose(points[group][metric].value, own)


def test_a_run_without_scenes_in_a_group_is_compared_all_the_same() -> None:
    runs = [make_ledger(name, scenes=4, seed=seed) for seed, name in enumerate("ab")]
    last = group_comparisons(runs, PROTOCOLS["full"], "cover_bin")["80-100"]
    assert [np.isnan(each.estimates["a"].value) for each in last] == [True] * 4
    assert not any(each.best for each in last)


def test_incomplete_runs_get_intervals_and_no_ties() -> None:
    runs = [
        make_ledger("a", scenes=12),
        make_ledger("b", scenes=12, seed=1),
        make_ledger("half", scenes=6, seed=2, complete=False, expected_scenes=12),
    ]
    for each in group_comparisons(runs, PROTOCOLS["official"], "cover_bin")["0-20"]:
        assert set(each.letters) == {"a", "b"}
        assert "half" in each.estimates


def test_intervals_are_put_beside_their_scores(run: Ledger) -> None:
    full = PROTOCOLS["full"]
    comparisons = group_comparisons([run], full, "cover_bin")
    table = with_intervals(cover_scores([run], full), intervals_of(comparisons, {"a": "a"}))
    own = table[table["kind"] == "measured"]
    assert (own["mae_low"] < own["mae"]).all()
    assert (own["mae"] < own["mae_high"]).all()
    assert table.loc[table["kind"] == "input", "mae_low"].isna().all()
