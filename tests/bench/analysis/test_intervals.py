"""Test intervals over AOIs: against scipy, the tables and plain loops, and in known worlds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from aoi_scores import SCENES, SEGMENTER, aoi_sums, each_protocol, each_score, ratio_of
from ledgers import make_ledger
from paths import RUNS
from planetcr_bench.analysis.intervals import (
    bootstrap_t,
    draws,
    effective_aois,
    estimate,
    freedom,
)
from planetcr_bench.analysis.segmentation import segmentation_scores, segmentation_summary
from planetcr_bench.analysis.significance import metric_comparisons
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.registry import HEADLINE, METRICS
from planetcr_bench.metrics.sums import SUMS
from planetcr_bench.report.scores import summary
from planetcr_bench.results.aggregate import score_groups
from planetcr_bench.results.ledger import Ledger, read_ledger
from simulation.interval_coverage import patches_as_places, rates


@pytest.fixture(scope="module")
def run() -> Ledger:
    return make_ledger(scenes=SCENES, segmenters=(SEGMENTER,))


@pytest.mark.parametrize("aois", [2, 4, 12, 120])
def test_the_interval_of_a_mean_is_student_s(aois: int) -> None:
    values = np.random.default_rng(aois).lognormal(size=aois)
    result = estimate(ratio_of(values))
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert_allclose([result.value, result.low, result.high], [values.mean(), *expected])
    assert result.freedom == pytest.approx(aois - 1)


def test_a_jackknife_error_is_that_of_leaving_out_one_aoi_at_a_time() -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(100, 2000, 25).astype(float)
    errors = pixels * rng.lognormal(-3, 0.5, 25)
    left = [np.delete(errors, index).sum() / np.delete(pixels, index).sum() for index in range(25)]
    result = estimate(ratio_of(errors, pixels))
    half = stats.t.ppf(0.975, freedom(pixels)) * np.sqrt(24 * np.var(left))
    assert_allclose([result.value - result.low, result.high - result.value], half)
    theirs = stats.bootstrap(
        (errors, pixels),
        lambda top, bottom, axis: top.sum(axis) / bottom.sum(axis),
        paired=True,
        method="percentile",
        random_state=np.random.default_rng(0),
    )
    assert_allclose(np.sqrt(24 * np.var(left)), np.sqrt(25 / 24) * theirs.standard_error, rtol=0.05)


def test_the_interval_on_a_log_scale_is_that_of_the_logarithm_transformed_back() -> None:
    values = np.array([0.001, 0.002, 0.5])
    result = estimate(ratio_of(values, log=True))
    left = [np.log(np.delete(values, index).mean()) for index in range(3)]
    half = stats.t.ppf(0.975, 2) * np.sqrt(2 * np.var(left))
    assert_allclose([result.low, result.high], values.mean() * np.exp([-half, half]))
    assert result.low > 0 > estimate(ratio_of(values)).low


@each_protocol
@each_score
def test_no_interval_crosses_an_impossible_value(
    protocol, metric: str, segmenter: str | None
) -> None:
    """Of two AOIs intervals are very wide."""
    run = make_ledger(scenes=6, segmenters=(SEGMENTER,))
    lowest, highest = METRICS[metric].possible
    for resamples in (0, 50):
        result = estimate(aoi_sums(run, protocol, metric, segmenter=segmenter), resamples=resamples)
        assert lowest <= result.low < result.value < result.high <= highest
    one_like_no_other = {"mae": [0.01, 0.3], "psnr": [10, 90]}.get(metric, [lowest, highest - 1])
    facts = {"log": metric == "mae", "possible": (lowest, highest)}
    result = estimate(ratio_of(one_like_no_other, **facts))
    assert lowest <= result.low < result.value < result.high <= highest
    assert (metric in ("mae", "psnr")) == (lowest < result.low and result.high < highest)


# --- Degrees of freedom and effective numbers -----------------------------------------------------


def test_equal_aois_have_n_minus_one_degrees_of_freedom() -> None:
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


def test_a_pooled_psnr_depends_on_the_aois_with_the_most_squared_error() -> None:
    run = make_ledger(scenes=36)
    worst = run.frame["aoi"].isin(["summer_0", "summer_1", "summer_2"])
    run.frame["squared_error"] *= np.where(worst, 100, 1)
    for comparison in metric_comparisons([run], PROTOCOLS["full"], resamples=0):
        result = comparison.estimates[run.name]
        assert result.aois == 12
        assert (result.effective < 4) == (comparison.metric == "psnr")
    official = metric_comparisons([run], PROTOCOLS["official"], resamples=0)[HEADLINE.index("psnr")]
    assert official.estimates[run.name].effective == pytest.approx(12)  # scenes count alike


@each_protocol
def test_the_shipped_run_of_mean_fill_has_a_third_of_its_aois_effectively(protocol) -> None:
    run = read_ledger(RUNS / "mean-fill")
    result = estimate(aoi_sums(run, protocol, "psnr"))
    assert result.aois == 12
    assert result.effective == pytest.approx(3.9 if protocol.name == "full" else 12, abs=0.05)


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


def test_each_aoi_is_drawn_with_equal_probability() -> None:
    drawn = draws(8, 10_000)
    assert drawn.shape == (10_000, 8)
    assert (drawn.sum(1) == 8).all()
    seen = np.bincount(drawn[:, 0].astype(int), minlength=9)[:9] / len(drawn)
    assert_allclose(seen, stats.binom.pmf(np.arange(9), 8, 1 / 8), atol=0.015)


@pytest.mark.parametrize("log", [False, True])
def test_the_bootstrap_t_quantile_is_that_of_a_loop(log: bool) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(100, 900, 9).astype(float)
    errors = pixels * rng.lognormal(-2, 0.8, 9)
    scale = np.log if log else np.positive
    whole, result = scale(errors.sum() / pixels.sum()), []
    for often in draws(9, 300, 5):
        chosen = np.repeat(np.arange(9), often.astype(int))
        left = [
            scale(np.delete(errors[chosen], copy).sum() / np.delete(pixels[chosen], copy).sum())
            for copy in range(9)
        ]
        score = scale(errors[chosen].sum() / pixels[chosen].sum())
        result.append(abs(score - whole) / np.sqrt(8 * np.var(left)))
    sums = ratio_of(errors, pixels, log=log)
    assert bootstrap_t(sums, resamples=300, seed=5) == pytest.approx(np.quantile(result, 0.95))


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
def test_resamples_with_zero_error_do_not_widen_without_bounds(values: list[float]) -> None:
    """One AOI drawn again and again has no error of its own."""
    result = estimate(ratio_of(values), resamples=500)
    assert np.isfinite([result.low, result.high]).all()
    alone = estimate(ratio_of(values))
    assert len(values) > 7 or result == alone


# --- Same numbers as the tables and as a plain loop -----------------------------------------------


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
def test_weighted_sums_equal_resampled_rows(
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


def test_a_segmenter_that_a_run_lacks_is_refused(run: Ledger) -> None:
    with pytest.raises(LedgerError, match="expected counts of segmenter bbbbbbbb"):
        aoi_sums(run, PROTOCOLS["full"], "miou", segmenter="bbbbbbbb")


# --- Laws -----------------------------------------------------------------------------------------


def test_a_perfect_mae_is_certain_although_its_logarithm_is_infinite() -> None:
    result = estimate(ratio_of([0, 0, 0, 0], log=True), resamples=50)
    assert (result.value, result.low, result.high) == (0, 0, 0)
    nearly = estimate(ratio_of([0, 0, 0, 1], log=True))
    assert np.isnan([nearly.low, nearly.high]).all()


# --- Worlds whose truth is known ------------------------------------------------------------------


def test_intervals_over_aois_cover_the_truth_and_equal_methods_seldom_differ() -> None:
    for rate in rates("unequal sizes", 30, worlds=80, resamples=200, many=10_000).values():
        assert 0.90 <= rate.page <= rate.compare <= 1
        assert rate.alarms < 0.12


def test_with_rare_hard_aois_no_interval_of_a_dozen_covers_the_truth() -> None:
    result = rates("rare hard AOIs", 12, worlds=80, resamples=200, many=10_000)["PSNR, pixels"]
    assert result.page <= result.compare < 0.85


def test_patches_treated_as_independent_do_not_cover_the_truth() -> None:
    assert patches_as_places(15, worlds=40, many=10_000) < 0.8
