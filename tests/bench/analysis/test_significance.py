"""Test paired differences, letters and detectable differences."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from aoi_scores import SCENES, SCORES, SEGMENTER, each_protocol, ratio_of
from ledgers import make_ledger, make_scene_sums
from planetcr_bench.analysis.intervals import LEVEL, estimate, student
from planetcr_bench.analysis.significance import (
    Difference,
    MetricComparison,
    detectable_difference,
    differences,
    holm,
    letter_groups,
    metric_comparisons,
    tie_letters,
)
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.registry import HEADLINE
from planetcr_bench.metrics.sums import SUMS, segmenter_columns
from planetcr_bench.results.ledger import Ledger, ledger_table


@pytest.fixture(scope="module")
def run() -> Ledger:
    return make_ledger(scenes=SCENES, segmenters=(SEGMENTER,))


def worse(name: str, factor: float, *, seed: int, scenes: int = SCENES) -> Ledger:
    """The same scenes with errors multiplied, within a percent of the factor."""
    base = make_ledger(name, scenes=scenes)
    rng = np.random.default_rng(seed)
    factors = factor * rng.normal(1, 0.01, len(base.frame))
    names = ["absolute_error", "squared_error", "angle_deg"]
    errors = {column: base.frame[column] * factors for column in names}
    return Ledger(base.frame.assign(**errors, ssim=base.frame["ssim"] / factors), base.provenance)


def numbers(comparisons: Sequence[MetricComparison]) -> np.ndarray:
    """All scores and differences with their intervals, in a row."""
    rows = [
        [*((e.value, e.low, e.high) for e in comparison.estimates.values()),
         *((p.value, p.low, p.high) for p in comparison.pairs)]
        for comparison in comparisons
    ]  # fmt: skip
    return np.array(rows)


def pair(first: str, second: str, p: float = 0.5, half: float = 1.0) -> Difference:
    return Difference(first, second, 0.0, half / float(student(LEVEL, 9)), 9.0, p, p)


@pytest.mark.parametrize("aois", [2, 12, 60])
def test_two_means_are_compared_as_by_a_paired_t_test(aois: int) -> None:
    rng = np.random.default_rng(aois)
    first = rng.normal(size=aois)
    second = first + rng.normal(0.1, 0.1, aois)
    (result,) = differences({"a": ratio_of(first), "b": ratio_of(second)})
    expected = stats.ttest_rel(first, second)
    assert_allclose(result.p, expected.pvalue)
    assert_allclose([result.low, result.high], expected.confidence_interval())
    assert_allclose(result.value, (first - second).mean())


# --- Holm -----------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1) | st.just(float("nan")) | st.just(0.01), max_size=9))
def test_holm_is_its_formula(p: list[float]) -> None:
    """The largest, over all p that are no larger, of p × the comparisons that are as large."""
    ranks = sorted(range(len(p)), key=lambda index: (np.isnan(p[index]), p[index]))
    expected = [float("nan")] * len(p)
    for rank, index in enumerate(ranks):
        if not np.isnan(p[index]):
            steps = [(len(p) - step) * p[ranks[step]] for step in range(rank + 1)]
            expected[index] = min(1.0, max(steps))
    assert_allclose(holm(p), expected, rtol=1e-12)


def test_every_pair_is_corrected_for_all_pairs() -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(size=20)
    runs = {name: ratio_of(common + rng.normal(shift, 0.3, 20)) for name, shift in
            (("a", 0), ("b", 0.15), ("c", 0.3))}  # fmt: skip
    result = differences(runs)
    assert [(pair.first, pair.second) for pair in result] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert_allclose([pair.p_holm for pair in result], holm([pair.p for pair in result]))
    assert any(pair.p_holm > pair.p for pair in result)


# --- Laws -----------------------------------------------------------------------------------------


@each_protocol
def test_a_run_does_not_differ_from_itself(protocol) -> None:
    for comparison in metric_comparisons(
        [make_ledger("a"), make_ledger("b")], protocol, resamples=200
    ):
        (result,) = comparison.pairs
        assert result == Difference("a", "b", 0.0, 0.0, result.freedom, 1.0, 1.0)
        assert (result.low, result.high) == (0, 0)
        assert comparison.letters == {"a": "a", "b": "a"}
        assert np.isnan(detectable_difference(comparison.pairs))


@each_protocol
def test_swapping_two_runs_changes_the_sign_and_nothing_else(protocol) -> None:
    a, b = make_ledger("a"), make_ledger("b", seed=1)
    ways = (metric_comparisons(runs, protocol, resamples=200) for runs in ([a, b], [b, a]))
    for forward, backward in zip(*ways, strict=True):
        (there,), (back,) = forward.pairs, backward.pairs
        assert (there.first, back.first) == ("a", "b")
        assert there.value == pytest.approx(-back.value)
        assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
        assert 0 < there.p < 1
        assert there.p == pytest.approx(back.p)
        assert forward.letters == backward.letters


@each_protocol
def test_the_order_of_rows_is_irrelevant(run: Ledger, protocol) -> None:
    mixed = replace(run, frame=run.frame.sample(frac=1, random_state=1))
    expected, shuffled = (
        numbers(metric_comparisons([each], protocol, resamples=200)) for each in (run, mixed)
    )
    assert_allclose(shuffled, expected, rtol=1e-9)


@each_protocol
def test_the_order_in_which_scenes_were_measured_is_irrelevant(protocol) -> None:
    """A category is known by the order in which it came up, here and on disk."""
    sums = [make_scene_sums(index, segmenters=1) for index in range(SCENES)]
    facts = make_ledger(scenes=1, segmenters=(SEGMENTER,)).provenance
    runs = []
    for name, order in (("forth", 1), ("back", -1)):
        frame = ledger_table(sums[::order], [SEGMENTER]).to_pandas(ignore_metadata=True)
        runs.append(Ledger(frame, {**facts, "name": name}))
    for comparison in metric_comparisons(runs, protocol, resamples=200):
        forth, back = comparison.estimates.values()
        assert_allclose([back.low, back.high], [forth.low, forth.high], rtol=1e-9)
        assert comparison.pairs[0].value == pytest.approx(0, abs=1e-9)
        assert comparison.letters == {"forth": "a", "back": "a"}


@each_protocol
def test_splitting_rows_by_thickness_is_irrelevant(run: Ledger, protocol) -> None:
    names = [*SUMS, *segmenter_columns(SEGMENTER)]
    most = run.frame[names].copy()
    for column in names:
        third = most[column] / 3 if most[column].dtype.kind == "f" else most[column] // 3
        most[column] -= third
    first = run.frame.assign(**most, thickness="0-1")
    second = run.frame.assign(**(run.frame[names] - most), thickness="1-3")
    split = replace(run, frame=pd.concat([first, second], ignore_index=True))
    assert len(split.frame) == 2 * len(run.frame)
    expected, after_split = (
        numbers(metric_comparisons([each], protocol, resamples=200)) for each in (run, split)
    )
    assert len(expected) == len(SCORES)
    assert_allclose(after_split, expected, rtol=1e-9)


def test_a_seed_gives_the_same_numbers_and_another_nearly_the_same() -> None:
    runs = [make_ledger("a", scenes=SCENES), make_ledger("b", scenes=SCENES, seed=1)]
    first, again, other = (
        numbers(metric_comparisons(runs, PROTOCOLS["full"], seed=seed)) for seed in (0, 0, 1)
    )
    assert_array_equal(again, first)
    assert not np.array_equal(other, first)
    widths = np.ptp(first, axis=2, keepdims=True)
    assert_allclose(other / widths, first / widths, atol=0.05)


@each_protocol
def test_an_incomplete_run_gets_an_interval_and_is_compared_with_none(protocol) -> None:
    runs = [make_ledger("a"), make_ledger("b", seed=1)]
    half = make_ledger("half", scenes=7, complete=False, expected_scenes=10)
    alone = metric_comparisons([half], protocol, resamples=200)
    with_half = metric_comparisons([half, *runs], protocol, resamples=200)
    without = metric_comparisons(runs, protocol, resamples=200)
    for comparison, complete, same in zip(with_half, without, alone, strict=True):
        assert comparison.estimates["half"] == same.estimates["half"]
        assert np.isfinite(comparison.estimates["half"].high)
        assert comparison.pairs == complete.pairs
        assert comparison.letters == complete.letters
        assert (comparison.aois, same.aois) == (4, 3)
        assert (same.pairs, same.letters, same.best) == ([], {}, [])


def test_runs_over_different_aois_are_refused() -> None:
    runs = [make_ledger("a", scenes=12), make_ledger("b", scenes=9)]
    with pytest.raises(LedgerError, match="b: expected the AOIs of a"):
        metric_comparisons(runs, PROTOCOLS["full"], resamples=10)
    with pytest.raises(LedgerError, match="same track"):
        metric_comparisons(
            [runs[0], make_ledger("c", track="other")], PROTOCOLS["full"], resamples=10
        )


def test_one_aoi_gives_no_intervals() -> None:
    runs = [make_ledger("a", scenes=3), make_ledger("b", scenes=3, seed=1)]
    for comparison in metric_comparisons(runs, PROTOCOLS["full"], resamples=10):
        assert comparison.aois == 1
        for result in (*comparison.estimates.values(), *comparison.pairs):
            assert np.isfinite(result.value)
            assert np.isnan([result.low, result.high]).all()
        assert np.isnan(comparison.pairs[0].p_holm)
        assert comparison.letters == {"a": "a", "b": "a"}
        assert np.isnan(detectable_difference(comparison.pairs))


def test_a_perfect_run_has_no_interval_where_its_score_is_infinite() -> None:
    perfect = make_ledger("perfect")
    perfect.frame["squared_error"] = 0.0
    runs = [perfect, make_ledger("a", seed=1), make_ledger("b", seed=2)]
    psnr = metric_comparisons(runs, PROTOCOLS["full"], resamples=200)[HEADLINE.index("psnr")]
    assert psnr.estimates["perfect"].value == np.inf
    assert np.isnan([pair.p for pair in psnr.pairs]).tolist() == [True, True, False]
    assert next(iter(psnr.letters)) == "perfect"
    assert detectable_difference(psnr.pairs) == detectable_difference(psnr.pairs[-1:]) > 0
    psnr = metric_comparisons(runs, PROTOCOLS["official"], resamples=200)[HEADLINE.index("psnr")]
    result = psnr.estimates["perfect"]
    assert (result.value, result.low, result.high) == (100, 100, 100)
    assert psnr.best == ["perfect"]


def test_a_run_without_a_score_is_in_no_comparison_of_it() -> None:
    blind = make_ledger("blind")
    blind.frame["angle_pixels"] = 0
    blind.frame["angle_deg"] = 0.0
    runs = [blind, make_ledger("a", seed=1), make_ledger("b", seed=2)]
    for comparison in metric_comparisons(runs, PROTOCOLS["full"], resamples=0):
        assert ("blind" in comparison.letters) == (comparison.metric != "sam_deg")
        assert len(comparison.pairs) == (1 if comparison.metric == "sam_deg" else 3)


def test_aois_without_pixels_of_a_score_do_not_count() -> None:
    some = ratio_of([1, 2, 4, 3], [1, 1, 1, 1])
    more = ratio_of([1, 2, 0, 4, 3], [1, 1, 0, 1, 1])
    few, with_empty = estimate(some), estimate(more)
    assert (few.low, few.high, few.freedom, few.aois) == pytest.approx(
        (with_empty.low, with_empty.high, with_empty.freedom, with_empty.aois)
    )
    (alone,) = differences({"a": some, "b": ratio_of([2, 2, 1, 1])})
    (both,) = differences({"a": more, "b": ratio_of([2, 2, 0, 1, 1], [1, 1, 0, 1, 1])})
    assert (alone.p, alone.error) == pytest.approx((both.p, both.error))


def test_a_difference_that_every_aoi_shows_alike_is_certain() -> None:
    (result,) = differences({"a": ratio_of([0.25] * 4), "b": ratio_of([0.5] * 4)})
    assert (result.value, result.low, result.high) == (-0.25, -0.25, -0.25)
    assert (result.p, result.p_holm) == (0, 0)


# --- Ties -----------------------------------------------------------------------------------------


def test_a_chain_of_ties_takes_two_letters() -> None:
    pairs = [pair("a", "b"), pair("b", "c"), pair("a", "c", p=0.01)]
    assert tie_letters("abc", pairs) == {"a": "a", "b": "ab", "c": "b"}


def test_letters_go_by_the_corrected_p() -> None:
    pairs = [replace(pair("a", "b", p=LEVEL / 2), p_holm=2 * LEVEL)]
    assert tie_letters("ab", pairs) == {"a": "a", "b": "a"}
    assert tie_letters("ab", [replace(pairs[0], p_holm=LEVEL / 2)]) == {"a": "a", "b": "b"}


@given(st.data())
def test_letters_say_which_runs_differ_significantly(data: st.DataObject) -> None:
    """Two runs share a letter if, and only if, they do not differ significantly."""
    ranked = [f"run {index}" for index in range(data.draw(st.integers(1, 7)))]
    significant = {both: data.draw(st.booleans()) for both in itertools.combinations(ranked, 2)}
    letters = tie_letters(
        ranked, [pair(*both, p=0 if different else 1) for both, different in significant.items()]
    )
    assert list(letters) == ranked
    assert all(letters.values())
    assert letters[ranked[0]].startswith("a")
    for both, different in significant.items():
        assert different != bool(set(letters[both[0]]) & set(letters[both[1]]))
    best = MetricComparison("mae", None, 9, {}, letters, []).best
    assert best == [name for name in ranked if not significant.get((ranked[0], name), False)]


def test_a_run_that_ties_with_the_best_is_among_the_best_in_any_rank() -> None:
    """Noise of its own may hide a worse run where a better one differs significantly."""
    pairs = [pair("a", "b", p=0.01), pair("a", "c"), pair("b", "c")]
    letters = tie_letters("abc", pairs)
    assert letters == {"a": "a", "b": "b", "c": "ab"}
    assert MetricComparison("mae", None, 9, {}, letters, []).best == ["a", "c"]


def test_the_best_are_those_not_significantly_different_from_the_best() -> None:
    runs = [worse("bad", 1.5, seed=1), worse("good", 1, seed=2), worse("also", 1, seed=3)]
    for protocol in PROTOCOLS.values():
        for comparison in metric_comparisons(runs, protocol, resamples=500):
            assert sorted(comparison.best) == ["also", "good"]
            assert list(comparison.letters.values()) == ["a", "a", "b"]
            assert list(comparison.letters)[-1] == "bad"


def test_the_best_of_very_many_are_those_of_the_first_group() -> None:
    ranked = [f"run {index:02}" for index in range(30)]
    letters = tie_letters(ranked, [pair(*both, p=0) for both in itertools.combinations(ranked, 2)])
    assert len(set(letters.values())) == 30
    assert MetricComparison("mae", None, 9, {}, letters, []).best == ["run 00"]


def groups_of(
    runs: int, significant: Callable[[int, int], bool]
) -> tuple[list[list[int]], list[int]]:
    different = [sum(1 << j for j in range(i + 1, runs) if significant(i, j)) for i in range(runs)]
    return letter_groups(different), different


def check_letters(groups: list[list[int]], different: list[int]) -> None:
    """Two share a group if, and only if, they do not differ significantly; all are needed."""
    shared = np.zeros((len(different), len(different)), int)
    for group in groups:
        shared[np.ix_(group, group)] += 1
    significant = np.array(
        [[mark >> j & 1 for j in range(len(different))] for mark in different]
    ).astype(bool)
    assert ((shared == 0) == (significant | significant.T)).all()
    assert not any((shared[run, group] > 1).all() for group in groups for run in group)


@pytest.mark.parametrize(("reach", "letters"), [(0, 200), (10, 190), (60, 140), (199, 1)])
def test_a_chain_of_200_overlapping_ties_has_a_letter_per_link(reach: int, letters: int) -> None:
    start = time.perf_counter()
    groups, different = groups_of(200, lambda i, j: j - i > reach)
    assert time.perf_counter() - start < 5
    check_letters(groups, different)
    assert len(groups) == letters


def test_letters_of_wild_patterns_are_exact_and_do_not_explode() -> None:
    """Pairs that alone differ significantly would make 2 ** 60 columns by insertion."""
    groups, different = groups_of(120, lambda i, j: j == i + 1 and i % 2 == 0)
    check_letters(groups, different)
    chance = random.Random(0)
    for share in (0.1, 0.5, 0.9):
        pairs = itertools.combinations(range(60), 2)
        significant = {both: chance.random() < share for both in pairs}
        groups, different = groups_of(60, lambda *both, marks=significant: marks[both])
        check_letters(groups, different)


# --- Detectable difference ------------------------------------------------------------------------


def test_the_detectable_difference_is_the_half_width_of_an_ordinary_pair() -> None:
    """Of two runs that are one, and of runs without an interval, nothing can be learnt."""
    nan = float("nan")
    halves = [pair("a", "b", half=half) for half in (1.0, 2.0, 10.0)]
    assert detectable_difference(halves) == 2
    assert (
        detectable_difference(
            [*halves, pair("a", "c", p=1, half=0), pair("b", "c", p=nan, half=nan)]
        )
        == 2
    )
    assert np.isnan(detectable_difference([]))


def test_gaps_as_wide_as_the_detectable_difference_are_just_significant() -> None:
    rng = np.random.default_rng(5)
    first = rng.normal(size=30)
    noise = rng.normal(0, 0.2, 30)
    noise -= noise.mean()
    seen = []
    for shift in (0.9, 1.1):
        (result,) = differences(
            {"a": ratio_of(first), "b": ratio_of(first + noise + shift * half_of(noise))}
        )
        assert detectable_difference([result]) == pytest.approx(half_of(noise))
        seen.append(result.p < LEVEL)
    assert seen == [False, True]


def half_of(values: np.ndarray) -> float:
    return float(stats.ttest_1samp(values, 0).confidence_interval().high)
