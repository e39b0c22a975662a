"""What may be said of scores: intervals over AOIs, paired differences, ties, resolution."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from ledgers import make_ledger, make_scene_sums
from planetcr_bench.errors import LedgerError
from planetcr_bench.ledger import SUMS, Ledger, judged_columns, ledger_table
from planetcr_bench.protocols import PROTOCOLS
from planetcr_bench.semantics import judged_scores, judged_summary
from planetcr_bench.statistics import (
    LEVEL,
    AoiSums,
    Difference,
    Estimate,
    Standing,
    aoi_sums,
    differences,
    estimate,
    holm,
    leaving_out,
    resampled,
    resolution,
    standings,
    tie_letters,
    weights,
)
from planetcr_bench.tables import METRICS, score_groups, summary
from simulation.coverage import coverage, false_alarms

JUDGE = "aaaaaaaa"
SCENES = 34  # twelve AOIs, the last with a single scene
SCORES = [(metric, None) for metric in METRICS] + [("miou", JUDGE), ("pa", JUDGE)]

each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda one: one.name)
each_score = pytest.mark.parametrize(("metric", "judge"), SCORES)


@pytest.fixture(scope="module")
def run() -> Ledger:
    return make_ledger(scenes=SCENES, judges=(JUDGE,))


def ratio_of(top: Sequence[float], bottom: Sequence[float] | None = None) -> AoiSums:
    """One ratio of all sums; without a denominator the plain mean over AOIs."""
    top = np.asarray(top, np.float64)
    parts = np.stack([top, np.ones_like(top) if bottom is None else bottom], 1)
    names = tuple(f"aoi {index:03}" for index in range(len(top)))
    return AoiSums(names, parts, lambda sums: sums[..., 0] / sums[..., 1])


def worse(name: str, factor: float, *, seed: int, scenes: int = SCENES) -> Ledger:
    """The same scenes with errors multiplied, within a percent of the factor."""
    base = make_ledger(name, scenes=scenes)
    rng = np.random.default_rng(seed)
    factors = factor * rng.normal(1, 0.01, len(base.frame))
    names = ["absolute_error", "squared_error", "angle_deg"]
    errors = {column: base.frame[column] * factors for column in names}
    return Ledger(base.frame.assign(**errors, ssim=base.frame["ssim"] / factors), base.provenance)


def numbers(found: Sequence[Standing]) -> np.ndarray:
    """All that was found, in a row."""
    rows = [
        [*((e.value, e.low, e.high) for e in one.estimates.values()),
         *((p.value, p.low, p.high) for p in one.pairs)]
        for one in found
    ]  # fmt: skip
    return np.array(rows)


def pair(first: str, second: str, p: float = 0.5, half: float = 1.0) -> Difference:
    return Difference(first, second, 0.0, -half, half, p, p)


# --- Against scipy ------------------------------------------------------------------------------


@pytest.mark.parametrize("aois", [4, 12, 60])
def test_the_interval_of_a_plain_mean_is_student_s(aois: int) -> None:
    values = np.random.default_rng(aois).lognormal(size=aois)
    found = estimate(ratio_of(values), weights(aois))
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert_allclose(found.value, values.mean())
    assert_allclose(found.high - found.value, (expected.high - expected.low) / 2, rtol=0.02)
    assert_allclose((found.low + found.high) / 2, found.value)


@pytest.mark.parametrize("aois", [6, 12, 60])
def test_two_plain_means_are_told_apart_as_by_a_paired_t_test(aois: int) -> None:
    rng = np.random.default_rng(aois)
    first = rng.normal(size=aois)
    second = first + rng.normal(0, 0.1, aois)
    second += 2.5 * 0.1 / aois**0.5 - (second - first).mean()
    (found,) = differences({"a": ratio_of(first), "b": ratio_of(second)}, weights(aois))
    expected = stats.ttest_rel(first, second)
    low, high = expected.confidence_interval()
    assert 1e-3 < expected.pvalue < 0.2
    assert_allclose(found.p, expected.pvalue, rtol=0.05)
    assert_allclose(found.value, (first - second).mean())
    assert_allclose([found.low, found.high], [low, high], atol=0.02 * (high - low))


def test_the_spread_of_a_ratio_is_that_of_scipy_s_bootstrap() -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(100, 2000, 25).astype(float)
    errors = pixels * rng.lognormal(-3, 0.5, 25)
    found = estimate(ratio_of(errors, pixels), weights(25))
    theirs = stats.bootstrap(
        (errors, pixels),
        lambda top, bottom, axis: top.sum(axis) / bottom.sum(axis),
        paired=True,
        method="percentile",
        random_state=np.random.default_rng(0),
    )
    half = stats.t.ppf(0.975, 24) * np.sqrt(25 / 24) * theirs.standard_error
    assert_allclose(found.high - found.value, half, rtol=0.03)


@pytest.mark.parametrize("aois", [2, 12, 120])
def test_leaving_out_each_aoi_once_gives_student_s_interval_of_a_mean_too(aois: int) -> None:
    values = np.random.default_rng(aois).normal(30, 4, aois)
    sums, drawn = ratio_of(values), leaving_out(aois)
    found = estimate(sums, drawn, left_out=True)
    expected = stats.t(aois - 1, values.mean(), stats.sem(values)).interval(0.95)
    assert_allclose([found.low, found.high], expected)
    other = ratio_of(values + np.random.default_rng(1).normal(1, 1, aois))
    (pair,) = differences({"one": sums, "two": other}, drawn, left_out=True)
    ours = values - other.parts[:, 0]
    assert_allclose(pair.p, stats.ttest_1samp(ours, 0).pvalue)


def test_each_aoi_is_drawn_as_often_as_chance_has_it() -> None:
    drawn = weights(8)
    assert drawn.shape == (10_000, 8)
    assert (drawn.sum(1) == 8).all()
    seen = np.bincount(drawn[:, 0].astype(int), minlength=9)[:9] / len(drawn)
    assert_allclose(seen, stats.binom.pmf(np.arange(9), 8, 1 / 8), atol=0.015)


# --- Against the tables and a plain loop --------------------------------------------------------


@each_protocol
def test_values_are_those_of_the_tables(run: Ledger, protocol) -> None:
    overall = score_groups(run.frame, protocol).iloc[0]
    published = summary(run)["protocols"][protocol.name]["overall"]
    for metric in METRICS:
        value = aoi_sums(run, protocol, metric).value
        assert_allclose(value, overall[metric], rtol=1e-12)
        assert_allclose(value, published[metric], rtol=1e-12)
    judged = judged_summary(run, protocol)[JUDGE]["overall"]
    for metric in ("miou", "pa"):
        assert_allclose(aoi_sums(run, protocol, metric, judge=JUDGE).value, judged[metric])


@each_protocol
@each_score
def test_weighing_sums_is_drawing_the_rows_of_aois(
    run: Ledger, protocol, metric: str, judge: str | None
) -> None:
    sums = aoi_sums(run, protocol, metric, judge=judge)
    drawn = weights(len(sums.aois), resamples=3, seed=7)
    assert (drawn > 1).any()
    scores = []
    for often in drawn:
        rows = [
            run.frame[run.frame["aoi"] == aoi].assign(
                scene=lambda own, copy=copy: own["scene"].astype(str) + f" again {copy}"
            )
            for aoi, times in zip(sums.aois, often, strict=True)
            for copy in range(int(times))
        ]
        frame = pd.concat(rows, ignore_index=True)
        if judge is None:
            scores.append(score_groups(frame, protocol)[metric].iloc[0])
        else:
            table = judged_scores(Ledger(frame, run.provenance), judge, protocol, "prediction")
            scores.append(table.at["overall", metric])
    assert_allclose(resampled(sums, drawn), scores, rtol=1e-11)


def test_a_judge_that_has_not_read_a_run_is_refused(run: Ledger) -> None:
    with pytest.raises(LedgerError, match="expected to be read by judge bbbbbbbb"):
        aoi_sums(run, PROTOCOLS["full"], "miou", judge="bbbbbbbb")


# --- Holm ---------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1) | st.just(float("nan")) | st.just(0.01), max_size=9))
def test_holm_is_its_formula(p: list[float]) -> None:
    """The largest, over all p that are no larger, of p × the comparisons that are as large."""
    ranks = sorted(range(len(p)), key=lambda index: (np.isnan(p[index]), p[index]))
    expected = [float("nan")] * len(p)
    for place, index in enumerate(ranks):
        if not np.isnan(p[index]):
            steps = [(len(p) - step) * p[ranks[step]] for step in range(place + 1)]
            expected[index] = min(1.0, max(steps))
    assert_allclose(holm(p), expected, rtol=1e-12)


def test_every_pair_is_corrected_for_all_pairs() -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(size=20)
    runs = {name: ratio_of(common + rng.normal(shift, 0.3, 20)) for name, shift in
            (("a", 0), ("b", 0.15), ("c", 0.3))}  # fmt: skip
    found = differences(runs, weights(20))
    assert [(one.first, one.second) for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert_allclose([one.p_holm for one in found], holm([one.p for one in found]))
    assert any(one.p_holm > one.p for one in found)


# --- Laws ---------------------------------------------------------------------------------------


@each_protocol
def test_a_run_against_itself_differs_by_nothing(protocol) -> None:
    for one in standings([make_ledger("a"), make_ledger("b")], protocol, resamples=200):
        (found,) = one.pairs
        assert found == Difference("a", "b", 0.0, 0.0, 0.0, 1.0, 1.0)
        assert one.letters == {"a": "a", "b": "a"}
        assert np.isnan(resolution(one.pairs))


@each_protocol
def test_swapping_two_runs_turns_the_sign_and_nothing_else(protocol) -> None:
    a, b = make_ledger("a"), make_ledger("b", seed=1)
    ways = (standings(runs, protocol, resamples=200) for runs in ([a, b], [b, a]))
    for one, other in zip(*ways, strict=True):
        (there,), (back,) = one.pairs, other.pairs
        assert (there.first, back.first) == ("a", "b")
        assert there.value == pytest.approx(-back.value)
        assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
        assert 0 < there.p < 1
        assert there.p == pytest.approx(back.p)
        assert one.letters == other.letters


@each_protocol
def test_the_order_of_rows_is_irrelevant(run: Ledger, protocol) -> None:
    mixed = replace(run, frame=run.frame.sample(frac=1, random_state=1))
    one, other = (numbers(standings([each], protocol, resamples=200)) for each in (run, mixed))
    assert_allclose(other, one, rtol=1e-9)


@each_protocol
def test_the_order_in_which_scenes_were_measured_is_irrelevant(protocol) -> None:
    """A category is known by the order in which it came up, here and on disk."""
    sums = [make_scene_sums(index, judges=1) for index in range(SCENES)]
    facts = make_ledger(scenes=1, judges=(JUDGE,)).provenance
    runs = []
    for name, order in (("forth", 1), ("back", -1)):
        frame = ledger_table(sums[::order], [JUDGE]).to_pandas(ignore_metadata=True)
        runs.append(Ledger(frame, {**facts, "name": name}))
    for one in standings(runs, protocol, resamples=200):
        forth, back = one.estimates.values()
        assert_allclose([back.low, back.high], [forth.low, forth.high], rtol=1e-9)
        assert one.pairs[0].value == pytest.approx(0, abs=1e-9)
        assert one.letters == {"forth": "a", "back": "a"}


@each_protocol
def test_splitting_rows_by_thickness_is_irrelevant(run: Ledger, protocol) -> None:
    names = [*SUMS, *judged_columns(JUDGE)]
    most = run.frame[names].copy()
    for column in names:
        third = most[column] / 3 if most[column].dtype.kind == "f" else most[column] // 3
        most[column] -= third
    first = run.frame.assign(**most, thickness="0-1")
    second = run.frame.assign(**(run.frame[names] - most), thickness="1-3")
    split = replace(run, frame=pd.concat([first, second], ignore_index=True))
    assert len(split.frame) == 2 * len(run.frame)
    one, other = (numbers(standings([each], protocol, resamples=200)) for each in (run, split))
    assert len(one) == len(SCORES)
    assert_allclose(other, one, rtol=1e-9)


def test_a_seed_gives_the_same_numbers_and_another_nearly_the_same() -> None:
    runs = [make_ledger("a", scenes=SCENES), make_ledger("b", scenes=SCENES, seed=1)]
    first, again, other = (
        numbers(standings(runs, PROTOCOLS["full"], seed=seed)) for seed in (0, 0, 1)
    )
    assert_array_equal(again, first)
    assert not np.array_equal(other, first)
    widths = np.ptp(first, axis=2, keepdims=True)
    assert_allclose(other / widths, first / widths, atol=0.02)


@each_protocol
def test_an_incomplete_run_gets_an_interval_and_is_compared_with_none(protocol) -> None:
    runs = [make_ledger("a"), make_ledger("b", seed=1)]
    half = make_ledger("half", scenes=7, complete=False, expected_scenes=10)
    alone = standings([half], protocol, resamples=200)
    with_half = standings([half, *runs], protocol, resamples=200)
    without = standings(runs, protocol, resamples=200)
    for one, other, same in zip(with_half, without, alone, strict=True):
        assert one.estimates["half"] == same.estimates["half"]
        assert np.isfinite(one.estimates["half"].high)
        assert one.pairs == other.pairs
        assert one.letters == other.letters
        assert (one.aois, same.aois) == (4, 3)
        assert (same.pairs, same.letters, same.best) == ([], {}, [])


def test_runs_over_different_aois_are_refused() -> None:
    runs = [make_ledger("a", scenes=12), make_ledger("b", scenes=9)]
    with pytest.raises(LedgerError, match="b: expected the AOIs of a"):
        standings(runs, PROTOCOLS["full"], resamples=10)
    with pytest.raises(LedgerError, match="same track"):
        standings([runs[0], make_ledger("c", track="other")], PROTOCOLS["full"], resamples=10)


def test_one_aoi_tells_nothing_of_other_places() -> None:
    runs = [make_ledger("a", scenes=3), make_ledger("b", scenes=3, seed=1)]
    for one in standings(runs, PROTOCOLS["full"], resamples=10):
        assert one.aois == 1
        for found in (*one.estimates.values(), *one.pairs):
            assert np.isfinite(found.value)
            assert np.isnan([found.low, found.high]).all()
        assert np.isnan(one.pairs[0].p_holm)
        assert one.letters == {"a": "a", "b": "a"}
        assert np.isnan(resolution(one.pairs))


def test_a_perfect_run_has_no_interval_where_its_score_is_infinite() -> None:
    perfect = make_ledger("perfect")
    perfect.frame["squared_error"] = 0.0
    runs = [perfect, make_ledger("a", seed=1), make_ledger("b", seed=2)]
    psnr = standings(runs, PROTOCOLS["full"], resamples=200)[METRICS.index("psnr")]
    assert psnr.estimates["perfect"].value == np.inf
    assert np.isnan([one.p for one in psnr.pairs]).tolist() == [True, True, False]
    assert next(iter(psnr.letters)) == "perfect"
    assert resolution(psnr.pairs) == resolution(psnr.pairs[-1:]) > 0
    psnr = standings(runs, PROTOCOLS["official"], resamples=200)[METRICS.index("psnr")]
    assert psnr.estimates["perfect"] == Estimate(100, 100, 100)
    assert psnr.best == ["perfect"]


def test_a_difference_that_every_aoi_shows_alike_is_certain() -> None:
    found = differences({"a": ratio_of([0.25] * 4), "b": ratio_of([0.5] * 4)}, weights(4))
    assert found == [Difference("a", "b", -0.25, -0.25, -0.25, 0.0, 0.0)]


# --- Ties ---------------------------------------------------------------------------------------


def test_a_chain_of_ties_takes_two_letters() -> None:
    pairs = [pair("a", "b"), pair("b", "c"), pair("a", "c", p=0.01)]
    assert tie_letters("abc", pairs) == {"a": "a", "b": "ab", "c": "b"}


def test_letters_go_by_the_corrected_p() -> None:
    pairs = [replace(pair("a", "b", p=LEVEL / 2), p_holm=2 * LEVEL)]
    assert tie_letters("ab", pairs) == {"a": "a", "b": "a"}
    assert tie_letters("ab", [replace(pairs[0], p_holm=LEVEL / 2)]) == {"a": "a", "b": "b"}


@given(st.data())
def test_letters_say_who_is_told_apart(data: st.DataObject) -> None:
    """Two runs share a letter if, and only if, they are not told apart."""
    ranked = [f"run {index}" for index in range(data.draw(st.integers(1, 7)))]
    told = {both: data.draw(st.booleans()) for both in itertools.combinations(ranked, 2)}
    letters = tie_letters(
        ranked, [pair(*both, p=0 if apart else 1) for both, apart in told.items()]
    )
    assert list(letters) == ranked
    assert all(letters.values())
    assert letters[ranked[0]].startswith("a")
    for both, apart in told.items():
        assert apart != bool(set(letters[both[0]]) & set(letters[both[1]]))
    best = Standing("mae", None, 9, {}, letters, []).best
    assert best == [name for name in ranked if not told.get((ranked[0], name), False)]


def test_a_run_that_ties_with_the_best_is_best_whoever_stands_between() -> None:
    """Noise of its own may hide a worse run where a better one is told apart."""
    pairs = [pair("a", "b", p=0.01), pair("a", "c"), pair("b", "c")]
    letters = tie_letters("abc", pairs)
    assert letters == {"a": "a", "b": "b", "c": "ab"}
    assert Standing("mae", None, 9, {}, letters, []).best == ["a", "c"]


def test_the_best_are_those_that_cannot_be_told_from_the_best() -> None:
    runs = [worse("bad", 1.5, seed=1), worse("good", 1, seed=2), worse("also", 1, seed=3)]
    for protocol in PROTOCOLS.values():
        for one in standings(runs, protocol, resamples=500):
            assert sorted(one.best) == ["also", "good"]
            assert list(one.letters.values()) == ["a", "a", "b"]
            assert list(one.letters)[-1] == "bad"


def test_the_best_of_very_many_are_those_of_the_first_group() -> None:
    ranked = [f"run {index:02}" for index in range(30)]
    letters = tie_letters(ranked, [pair(*both, p=0) for both in itertools.combinations(ranked, 2)])
    assert len(set(letters.values())) == 30
    assert Standing("mae", None, 9, {}, letters, []).best == ["run 00"]


# --- Resolution ---------------------------------------------------------------------------------


def test_the_resolution_is_the_half_width_of_an_ordinary_pair() -> None:
    """Of two runs that are one, and of runs without an interval, nothing can be learnt."""
    nan = float("nan")
    halves = [pair("a", "b", half=half) for half in (1.0, 2.0, 10.0)]
    assert resolution(halves) == 2
    assert resolution([*halves, pair("a", "c", p=1, half=0), pair("b", "c", p=nan, half=nan)]) == 2
    assert np.isnan(resolution([]))


def test_gaps_as_wide_as_the_resolution_are_just_seen() -> None:
    rng = np.random.default_rng(5)
    first = rng.normal(size=30)
    noise = rng.normal(0, 0.2, 30)
    noise -= noise.mean()
    seen = []
    for shift in (0.9, 1.1):
        (found,) = differences(
            {"a": ratio_of(first), "b": ratio_of(first + noise + shift * half_of(noise))},
            weights(30),
        )
        assert resolution([found]) == pytest.approx(half_of(noise), rel=0.02)
        seen.append(found.p < LEVEL)
    assert seen == [False, True]


def half_of(values: np.ndarray) -> float:
    return float(stats.ttest_1samp(values, 0).confidence_interval().high)


# --- Worlds whose truth is known ----------------------------------------------------------------


@pytest.mark.parametrize("metric", ["MAE", "PSNR, pixels", "PSNR, scene mean"])
def test_intervals_over_aois_hold_the_truth_and_those_over_patches_do_not(metric: str) -> None:
    aois, patches = coverage(30, metric, worlds=100, resamples=200)
    assert 0.90 <= aois <= 0.99
    assert patches < 0.8


def test_equal_methods_are_seldom_told_apart() -> None:
    assert false_alarms(30, worlds=300, resamples=200) < 0.10
