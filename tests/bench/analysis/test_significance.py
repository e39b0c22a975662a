"""Test intervals over AOIs, paired differences, letters and detectable differences."""

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

from ledgers import make_ledger, make_scene_sums
from paths import RUNS
from planetcr_bench.analysis.segmentation import segmentation_scores, segmentation_summary
from planetcr_bench.analysis.significance import (
    LEVEL,
    AoiSums,
    Difference,
    MetricComparison,
    aoi_sums,
    bootstrap_t,
    detectable_difference,
    differences,
    draws,
    effective_aois,
    estimate,
    freedom,
    holm,
    letter_groups,
    metric_comparisons,
    student,
    tie_letters,
)
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.registry import HEADLINE, METRICS
from planetcr_bench.metrics.sums import SUMS, segmenter_columns
from planetcr_bench.report.scores import summary
from planetcr_bench.results.aggregate import score_groups
from planetcr_bench.results.ledger import Ledger, ledger_table, read_ledger
from simulation.coverage import patches_as_places, rates

SEGMENTER = "aaaaaaaa"
SHIPPED = RUNS
SCENES = 34  # twelve AOIs, the last with a single scene
SCORES = [(metric, None) for metric in HEADLINE] + [("miou", SEGMENTER), ("pa", SEGMENTER)]

each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda one: one.name)
each_score = pytest.mark.parametrize(("metric", "segmenter"), SCORES)


@pytest.fixture(scope="module")
def run() -> Ledger:
    return make_ledger(scenes=SCENES, segmenters=(SEGMENTER,))


def ratio_of(
    top: Sequence[float], bottom: Sequence[float] | None = None, **facts: object
) -> AoiSums:
    """One ratio of all sums; without a denominator the plain mean over AOIs."""
    top = np.asarray(top, np.float64)
    sizes = np.ones_like(top) if bottom is None else np.asarray(bottom, np.float64)
    names = tuple(f"aoi {index:03}" for index in range(len(top)))
    parts = np.stack([top, sizes], 1)
    return AoiSums(names, parts, lambda sums: sums[..., 0] / sums[..., 1], sizes, top, **facts)


def worse(name: str, factor: float, *, seed: int, scenes: int = SCENES) -> Ledger:
    """The same scenes with errors multiplied, within a percent of the factor."""
    base = make_ledger(name, scenes=scenes)
    rng = np.random.default_rng(seed)
    factors = factor * rng.normal(1, 0.01, len(base.frame))
    names = ["absolute_error", "squared_error", "angle_deg"]
    errors = {column: base.frame[column] * factors for column in names}
    return Ledger(base.frame.assign(**errors, ssim=base.frame["ssim"] / factors), base.provenance)


def numbers(found: Sequence[MetricComparison]) -> np.ndarray:
    """All that was found, in a row."""
    rows = [
        [*((e.value, e.low, e.high) for e in one.estimates.values()),
         *((p.value, p.low, p.high) for p in one.pairs)]
        for one in found
    ]  # fmt: skip
    return np.array(rows)


def pair(first: str, second: str, p: float = 0.5, half: float = 1.0) -> Difference:
    return Difference(first, second, 0.0, half / float(student(LEVEL, 9)), 9.0, p, p)


# --- Against scipy ------------------------------------------------------------------------------


@pytest.mark.parametrize("aois", [2, 4, 12, 120])
def test_the_interval_of_a_plain_mean_is_student_s(aois: int) -> None:
    values = np.random.default_rng(aois).lognormal(size=aois)
    found = estimate(ratio_of(values))
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert_allclose([found.value, found.low, found.high], [values.mean(), *expected])
    assert found.freedom == pytest.approx(aois - 1)


@pytest.mark.parametrize("aois", [2, 12, 60])
def test_two_plain_means_are_told_apart_as_by_a_paired_t_test(aois: int) -> None:
    rng = np.random.default_rng(aois)
    first = rng.normal(size=aois)
    second = first + rng.normal(0.1, 0.1, aois)
    (found,) = differences({"a": ratio_of(first), "b": ratio_of(second)})
    expected = stats.ttest_rel(first, second)
    assert_allclose(found.p, expected.pvalue)
    assert_allclose([found.low, found.high], expected.confidence_interval())
    assert_allclose(found.value, (first - second).mean())


def test_a_jackknife_error_of_a_ratio_is_that_of_taking_aois_out_one_by_one() -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(100, 2000, 25).astype(float)
    errors = pixels * rng.lognormal(-3, 0.5, 25)
    left = [np.delete(errors, place).sum() / np.delete(pixels, place).sum() for place in range(25)]
    found = estimate(ratio_of(errors, pixels))
    half = stats.t.ppf(0.975, freedom(pixels)) * np.sqrt(24 * np.var(left))
    assert_allclose([found.value - found.low, found.high - found.value], half)
    theirs = stats.bootstrap(
        (errors, pixels),
        lambda top, bottom, axis: top.sum(axis) / bottom.sum(axis),
        paired=True,
        method="percentile",
        random_state=np.random.default_rng(0),
    )
    assert_allclose(np.sqrt(24 * np.var(left)), np.sqrt(25 / 24) * theirs.standard_error, rtol=0.05)


def test_the_interval_on_a_log_scale_is_that_of_the_logarithm_carried_back() -> None:
    values = np.array([0.001, 0.002, 0.5])
    found = estimate(ratio_of(values, log=True))
    left = [np.log(np.delete(values, place).mean()) for place in range(3)]
    half = stats.t.ppf(0.975, 2) * np.sqrt(2 * np.var(left))
    assert_allclose([found.low, found.high], values.mean() * np.exp([-half, half]))
    assert found.low > 0 > estimate(ratio_of(values)).low


@each_protocol
@each_score
def test_no_interval_crosses_an_impossible_value(
    protocol, metric: str, segmenter: str | None
) -> None:
    """Of two AOIs intervals are very wide."""
    run = make_ledger(scenes=6, segmenters=(SEGMENTER,))
    lowest, highest = METRICS[metric].possible
    for resamples in (0, 50):
        found = estimate(aoi_sums(run, protocol, metric, segmenter=segmenter), resamples=resamples)
        assert lowest <= found.low < found.value < found.high <= highest
    one_like_no_other = {"mae": [0.01, 0.3], "psnr": [10, 90]}.get(metric, [lowest, highest - 1])
    facts = {"log": metric == "mae", "possible": (lowest, highest)}
    found = estimate(ratio_of(one_like_no_other, **facts))
    assert lowest <= found.low < found.value < found.high <= highest
    assert (metric in ("mae", "psnr")) == (lowest < found.low and found.high < highest)


# --- Degrees of freedom and effective numbers -----------------------------------------------------


def test_equal_aois_have_one_degree_of_freedom_less_than_they_are() -> None:
    for aois in (2, 5, 120):
        assert freedom(np.full(aois, 7.0)) == pytest.approx(aois - 1)
    assert freedom(np.array([3.0, 0, 3, 3])) == pytest.approx(2)  # one has nothing
    assert np.isnan(freedom(np.array([3.0, 0])))


def test_degrees_of_freedom_are_those_of_the_jackknife_s_spread() -> None:
    """Of normal AOIs the variance that a jackknife finds spreads as chi² with so many degrees."""
    rng = np.random.default_rng(0)
    sizes = rng.lognormal(0, 1, 10)
    means = rng.normal(size=(20_000, 10))
    top = means * sizes
    left = (top.sum(1, keepdims=True) - top) / (sizes.sum() - sizes)
    variance = left.var(1)
    assert freedom(sizes) == pytest.approx(2 * variance.mean() ** 2 / variance.var(), rel=0.05)
    assert 1 <= freedom(sizes) < 8


def test_a_dominant_aoi_leaves_one_degree_of_freedom() -> None:
    assert freedom(np.array([1e6, 1, 1, 1])) == pytest.approx(1, abs=0.01)


def test_the_effective_number_is_that_of_equal_errors() -> None:
    assert effective_aois(ratio_of([2, 2, 2, 2])) == 4
    assert effective_aois(ratio_of([4, 4, 0, 0])) == 2
    assert effective_aois(ratio_of([1000, 1, 1, 1])) == pytest.approx(1, abs=0.01)
    assert effective_aois(ratio_of([0, 0, 0, 0], [1, 1, 2, 0])) == pytest.approx(16 / 6)  # sizes


def test_a_pooled_psnr_hangs_on_the_aois_with_the_most_squared_error() -> None:
    run = make_ledger(scenes=36)
    worst = run.frame["aoi"].isin(["summer_0", "summer_1", "summer_2"])
    run.frame["squared_error"] *= np.where(worst, 100, 1)
    for one in metric_comparisons([run], PROTOCOLS["full"], resamples=0):
        found = one.estimates[run.name]
        assert found.aois == 12
        assert (found.effective < 4) == (one.metric == "psnr")
    official = metric_comparisons([run], PROTOCOLS["official"], resamples=0)[HEADLINE.index("psnr")]
    assert official.estimates[run.name].effective == pytest.approx(12)  # scenes count alike


@each_protocol
def test_the_shipped_run_of_mean_fill_hangs_on_a_third_of_its_aois(protocol) -> None:
    run = read_ledger(SHIPPED / "mean-fill")
    found = estimate(aoi_sums(run, protocol, "psnr"))
    assert found.aois == 12
    assert found.effective == pytest.approx(3.9 if protocol.name == "full" else 12, abs=0.05)


def test_each_score_has_its_own_errors(run: Ledger) -> None:
    full = PROTOCOLS["full"]
    sums = {metric: aoi_sums(run, full, metric) for metric in HEADLINE}
    frame = run.frame[run.frame["protocol"] == "full"].groupby("aoi", observed=True)
    named = frame[[*SUMS]].sum().rename(index=str).loc[list(sums["mae"].aois)]
    for metric, column in (
        ("mae", "absolute_error"), ("psnr", "squared_error"), ("sam_deg", "angle_deg")
    ):  # fmt: skip
        assert_allclose(sums[metric].errors, named[column])
    assert_allclose(sums["ssim"].errors, named["ssim_pixels"] - named["ssim"])
    assert_allclose(sums["sam_deg"].sizes, named["angle_pixels"])
    for metric in ("miou", "pa"):
        segmented = aoi_sums(run, full, metric, segmenter=SEGMENTER)
        right = 1 - segmented.errors / segmented.sizes
        assert_allclose((right * segmented.sizes).sum() / segmented.sizes.sum() * 100,
                        aoi_sums(run, full, "pa", segmenter=SEGMENTER).value)  # fmt: skip


# --- Widening -------------------------------------------------------------------------------------


def test_each_aoi_is_drawn_as_often_as_chance_has_it() -> None:
    drawn = draws(8, 10_000)
    assert drawn.shape == (10_000, 8)
    assert (drawn.sum(1) == 8).all()
    seen = np.bincount(drawn[:, 0].astype(int), minlength=9)[:9] / len(drawn)
    assert_allclose(seen, stats.binom.pmf(np.arange(9), 8, 1 / 8), atol=0.015)


@pytest.mark.parametrize("log", [False, True])
def test_the_bootstrap_t_quantile_is_that_of_a_plain_loop(log: bool) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(100, 900, 9).astype(float)
    errors = pixels * rng.lognormal(-2, 0.8, 9)
    scale = np.log if log else np.positive
    whole, found = scale(errors.sum() / pixels.sum()), []
    for often in draws(9, 300, 5):
        chosen = np.repeat(np.arange(9), often.astype(int))
        left = [
            scale(np.delete(errors[chosen], copy).sum() / np.delete(pixels[chosen], copy).sum())
            for copy in range(9)
        ]
        score = scale(errors[chosen].sum() / pixels[chosen].sum())
        found.append(abs(score - whole) / np.sqrt(8 * np.var(left)))
    sums = ratio_of(errors, pixels, log=log)
    assert bootstrap_t(sums, resamples=300, seed=5) == pytest.approx(np.quantile(found, 0.95))


@each_score
def test_an_interval_is_only_ever_widened(run: Ledger, metric: str, segmenter: str | None) -> None:
    sums = aoi_sums(run, PROTOCOLS["full"], metric, segmenter=segmenter)
    alone, wide = estimate(sums), estimate(sums, resamples=200)
    assert wide.low <= alone.low
    assert wide.high >= alone.high
    assert (wide.value, wide.freedom, wide.effective) == (
        alone.value, alone.freedom, alone.effective
    )  # fmt: skip


def test_a_rare_hard_aoi_widens_the_interval() -> None:
    values = np.ones(30) + np.random.default_rng(0).normal(0, 0.01, 30)
    values[3] = 30
    alone, wide = (estimate(ratio_of(values), resamples=count) for count in (0, 500))
    assert wide.high - wide.low > 1.5 * (alone.high - alone.low)


@pytest.mark.parametrize("values", [[1, 2], [1, 2, 4], [1, 1, 1, 1, 1, 1, 1, 1, 9], [2] * 12])
def test_resamples_that_tell_nothing_widen_nothing_without_bounds(values: list[float]) -> None:
    """One AOI drawn again and again has no error of its own."""
    found = estimate(ratio_of(values), resamples=500)
    assert np.isfinite([found.low, found.high]).all()
    alone = estimate(ratio_of(values))
    assert len(values) > 7 or found == alone


# --- Against the tables and a plain loop --------------------------------------------------------


@each_protocol
def test_values_are_those_of_the_tables(run: Ledger, protocol) -> None:
    overall = score_groups(run.frame, protocol).iloc[0]
    published = summary(run)["protocols"][protocol.name]["overall"]
    for metric in HEADLINE:
        value = aoi_sums(run, protocol, metric).value
        assert_allclose(value, overall[metric], rtol=1e-12)
        assert_allclose(value, published[metric], rtol=1e-12)
    segmented = segmentation_summary(run, protocol)[SEGMENTER]["overall"]
    for metric in ("miou", "pa"):
        assert_allclose(
            aoi_sums(run, protocol, metric, segmenter=SEGMENTER).value, segmented[metric]
        )


@each_protocol
@each_score
def test_weighing_sums_is_drawing_the_rows_of_aois(
    run: Ledger, protocol, metric: str, segmenter: str | None
) -> None:
    sums = aoi_sums(run, protocol, metric, segmenter=segmenter)
    drawn = draws(len(sums.aois), 3, 7)
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
        if segmenter is None:
            scores.append(score_groups(frame, protocol)[metric].iloc[0])
        else:
            table = segmentation_scores(
                Ledger(frame, run.provenance), segmenter, protocol, "prediction"
            )
            scores.append(table.at["overall", metric])
    assert_allclose(sums.score(drawn @ sums.parts), scores, rtol=1e-11)


def test_a_segmenter_that_has_not_read_a_run_is_refused(run: Ledger) -> None:
    with pytest.raises(LedgerError, match="expected to be read by segmenter bbbbbbbb"):
        aoi_sums(run, PROTOCOLS["full"], "miou", segmenter="bbbbbbbb")


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
    found = differences(runs)
    assert [(one.first, one.second) for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert_allclose([one.p_holm for one in found], holm([one.p for one in found]))
    assert any(one.p_holm > one.p for one in found)


# --- Laws ---------------------------------------------------------------------------------------


@each_protocol
def test_a_run_against_itself_differs_by_nothing(protocol) -> None:
    for one in metric_comparisons([make_ledger("a"), make_ledger("b")], protocol, resamples=200):
        (found,) = one.pairs
        assert found == Difference("a", "b", 0.0, 0.0, found.freedom, 1.0, 1.0)
        assert (found.low, found.high) == (0, 0)
        assert one.letters == {"a": "a", "b": "a"}
        assert np.isnan(detectable_difference(one.pairs))


@each_protocol
def test_swapping_two_runs_turns_the_sign_and_nothing_else(protocol) -> None:
    a, b = make_ledger("a"), make_ledger("b", seed=1)
    ways = (metric_comparisons(runs, protocol, resamples=200) for runs in ([a, b], [b, a]))
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
    one, other = (
        numbers(metric_comparisons([each], protocol, resamples=200)) for each in (run, mixed)
    )
    assert_allclose(other, one, rtol=1e-9)


@each_protocol
def test_the_order_in_which_scenes_were_measured_is_irrelevant(protocol) -> None:
    """A category is known by the order in which it came up, here and on disk."""
    sums = [make_scene_sums(index, segmenters=1) for index in range(SCENES)]
    facts = make_ledger(scenes=1, segmenters=(SEGMENTER,)).provenance
    runs = []
    for name, order in (("forth", 1), ("back", -1)):
        frame = ledger_table(sums[::order], [SEGMENTER]).to_pandas(ignore_metadata=True)
        runs.append(Ledger(frame, {**facts, "name": name}))
    for one in metric_comparisons(runs, protocol, resamples=200):
        forth, back = one.estimates.values()
        assert_allclose([back.low, back.high], [forth.low, forth.high], rtol=1e-9)
        assert one.pairs[0].value == pytest.approx(0, abs=1e-9)
        assert one.letters == {"forth": "a", "back": "a"}


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
    one, other = (
        numbers(metric_comparisons([each], protocol, resamples=200)) for each in (run, split)
    )
    assert len(one) == len(SCORES)
    assert_allclose(other, one, rtol=1e-9)


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
        metric_comparisons(runs, PROTOCOLS["full"], resamples=10)
    with pytest.raises(LedgerError, match="same track"):
        metric_comparisons(
            [runs[0], make_ledger("c", track="other")], PROTOCOLS["full"], resamples=10
        )


def test_one_aoi_tells_nothing_of_other_places() -> None:
    runs = [make_ledger("a", scenes=3), make_ledger("b", scenes=3, seed=1)]
    for one in metric_comparisons(runs, PROTOCOLS["full"], resamples=10):
        assert one.aois == 1
        for found in (*one.estimates.values(), *one.pairs):
            assert np.isfinite(found.value)
            assert np.isnan([found.low, found.high]).all()
        assert np.isnan(one.pairs[0].p_holm)
        assert one.letters == {"a": "a", "b": "a"}
        assert np.isnan(detectable_difference(one.pairs))


def test_a_perfect_run_has_no_interval_where_its_score_is_infinite() -> None:
    perfect = make_ledger("perfect")
    perfect.frame["squared_error"] = 0.0
    runs = [perfect, make_ledger("a", seed=1), make_ledger("b", seed=2)]
    psnr = metric_comparisons(runs, PROTOCOLS["full"], resamples=200)[HEADLINE.index("psnr")]
    assert psnr.estimates["perfect"].value == np.inf
    assert np.isnan([one.p for one in psnr.pairs]).tolist() == [True, True, False]
    assert next(iter(psnr.letters)) == "perfect"
    assert detectable_difference(psnr.pairs) == detectable_difference(psnr.pairs[-1:]) > 0
    psnr = metric_comparisons(runs, PROTOCOLS["official"], resamples=200)[HEADLINE.index("psnr")]
    found = psnr.estimates["perfect"]
    assert (found.value, found.low, found.high) == (100, 100, 100)
    assert psnr.best == ["perfect"]


def test_a_perfect_mae_is_certain_although_its_logarithm_is_infinite() -> None:
    found = estimate(ratio_of([0, 0, 0, 0], log=True), resamples=50)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    nearly = estimate(ratio_of([0, 0, 0, 1], log=True))
    assert np.isnan([nearly.low, nearly.high]).all()


def test_a_run_without_a_score_is_in_no_comparison_of_it() -> None:
    blind = make_ledger("blind")
    blind.frame["angle_pixels"] = 0
    blind.frame["angle_deg"] = 0.0
    runs = [blind, make_ledger("a", seed=1), make_ledger("b", seed=2)]
    for one in metric_comparisons(runs, PROTOCOLS["full"], resamples=0):
        assert ("blind" in one.letters) == (one.metric != "sam_deg")
        assert len(one.pairs) == (1 if one.metric == "sam_deg" else 3)


def test_aois_that_have_nothing_of_a_score_do_not_count() -> None:
    some = ratio_of([1, 2, 4, 3], [1, 1, 1, 1])
    more = ratio_of([1, 2, 0, 4, 3], [1, 1, 0, 1, 1])
    one, other = estimate(some), estimate(more)
    assert (one.low, one.high, one.freedom, one.aois) == pytest.approx(
        (other.low, other.high, other.freedom, other.aois)
    )
    (alone,) = differences({"a": some, "b": ratio_of([2, 2, 1, 1])})
    (both,) = differences({"a": more, "b": ratio_of([2, 2, 0, 1, 1], [1, 1, 0, 1, 1])})
    assert (alone.p, alone.error) == pytest.approx((both.p, both.error))


def test_a_difference_that_every_aoi_shows_alike_is_certain() -> None:
    (found,) = differences({"a": ratio_of([0.25] * 4), "b": ratio_of([0.5] * 4)})
    assert (found.value, found.low, found.high) == (-0.25, -0.25, -0.25)
    assert (found.p, found.p_holm) == (0, 0)


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
    best = MetricComparison("mae", None, 9, {}, letters, []).best
    assert best == [name for name in ranked if not told.get((ranked[0], name), False)]


def test_a_run_that_ties_with_the_best_is_best_whoever_stands_between() -> None:
    """Noise of its own may hide a worse run where a better one is told apart."""
    pairs = [pair("a", "b", p=0.01), pair("a", "c"), pair("b", "c")]
    letters = tie_letters("abc", pairs)
    assert letters == {"a": "a", "b": "b", "c": "ab"}
    assert MetricComparison("mae", None, 9, {}, letters, []).best == ["a", "c"]


def test_the_best_are_those_that_cannot_be_told_from_the_best() -> None:
    runs = [worse("bad", 1.5, seed=1), worse("good", 1, seed=2), worse("also", 1, seed=3)]
    for protocol in PROTOCOLS.values():
        for one in metric_comparisons(runs, protocol, resamples=500):
            assert sorted(one.best) == ["also", "good"]
            assert list(one.letters.values()) == ["a", "a", "b"]
            assert list(one.letters)[-1] == "bad"


def test_the_best_of_very_many_are_those_of_the_first_group() -> None:
    ranked = [f"run {index:02}" for index in range(30)]
    letters = tie_letters(ranked, [pair(*both, p=0) for both in itertools.combinations(ranked, 2)])
    assert len(set(letters.values())) == 30
    assert MetricComparison("mae", None, 9, {}, letters, []).best == ["run 00"]


def groups_of(runs: int, told: Callable[[int, int], bool]) -> tuple[list[list[int]], list[int]]:
    apart = [sum(1 << j for j in range(i + 1, runs) if told(i, j)) for i in range(runs)]
    return letter_groups(apart), apart


def check_letters(groups: list[list[int]], apart: list[int]) -> None:
    """Whether two share a group if, and only if, they are not told apart, and all are needed."""
    shared = np.zeros((len(apart), len(apart)), int)
    for group in groups:
        shared[np.ix_(group, group)] += 1
    told = np.array([[mark >> j & 1 for j in range(len(apart))] for mark in apart]).astype(bool)
    assert ((shared == 0) == (told | told.T)).all()
    assert not any((shared[run, group] > 1).all() for group in groups for run in group)


@pytest.mark.parametrize(("reach", "letters"), [(0, 200), (10, 190), (60, 140), (199, 1)])
def test_a_chain_of_200_overlapping_ties_has_a_letter_per_link(reach: int, letters: int) -> None:
    start = time.perf_counter()
    groups, apart = groups_of(200, lambda i, j: j - i > reach)
    assert time.perf_counter() - start < 5
    check_letters(groups, apart)
    assert len(groups) == letters


def test_letters_of_wild_patterns_are_exact_and_do_not_explode() -> None:
    """Pairs that alone are told apart would make 2 ** 60 columns by insertion."""
    groups, apart = groups_of(120, lambda i, j: j == i + 1 and i % 2 == 0)
    check_letters(groups, apart)
    chance = random.Random(0)
    for share in (0.1, 0.5, 0.9):
        told = {both: chance.random() < share for both in itertools.combinations(range(60), 2)}
        groups, apart = groups_of(60, lambda *both, told=told: told[both])
        check_letters(groups, apart)


# --- Resolution ---------------------------------------------------------------------------------


def test_the_resolution_is_the_half_width_of_an_ordinary_pair() -> None:
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


def test_gaps_as_wide_as_the_resolution_are_just_seen() -> None:
    rng = np.random.default_rng(5)
    first = rng.normal(size=30)
    noise = rng.normal(0, 0.2, 30)
    noise -= noise.mean()
    seen = []
    for shift in (0.9, 1.1):
        (found,) = differences(
            {"a": ratio_of(first), "b": ratio_of(first + noise + shift * half_of(noise))}
        )
        assert detectable_difference([found]) == pytest.approx(half_of(noise))
        seen.append(found.p < LEVEL)
    assert seen == [False, True]


def half_of(values: np.ndarray) -> float:
    return float(stats.ttest_1samp(values, 0).confidence_interval().high)


# --- Worlds whose truth is known ----------------------------------------------------------------


def test_intervals_over_aois_hold_the_truth_and_equal_methods_are_seldom_told_apart() -> None:
    for one in rates("unequal sizes", 30, worlds=80, resamples=200, many=10_000).values():
        assert 0.90 <= one.page <= one.compare <= 1
        assert one.alarms < 0.12


def test_rare_hard_aois_defeat_every_interval_of_a_dozen() -> None:
    found = rates("rare hard AOIs", 12, worlds=80, resamples=200, many=10_000)["PSNR, pixels"]
    assert found.page <= found.compare < 0.85


def test_patches_taken_for_places_do_not_hold_the_truth() -> None:
    assert patches_as_places(15, worlds=40, many=10_000) < 0.8
