"""Confidence intervals of scores over AOIs.

Patches of one AOI are alike, so AOIs are resampled, never patches: a jackknife leaves out one AOI
at a time, and Student's t has degrees of freedom that follow from the AOIs' sizes. The
leaderboard's page computes the same in ``leaderboard/page.js``; tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from planetcr_bench.constants import LAND_COVER
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics import scores
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS, SEGMENTATION, ratio_of
from planetcr_bench.metrics.sums import Floats
from planetcr_bench.results.aggregate import group_sums, scene_scores, seen_classes
from planetcr_bench.results.ledger import Ledger

RESAMPLES: Final = 2000
SEED: Final = 0
LEVEL: Final = 0.05
"""One minus the confidence of intervals; differences with a smaller p are significant."""

ENOUGH: Final = 8
"""AOIs from which on fewer than 5 % of the resamples have three AOIs or less, whose errors are
chance; with fewer AOIs these would decide what is exceeded in 5 % of the resamples."""

Score = tuple[str, str | None]
"""A metric, and the segmenter of the metrics of segmentation."""


@dataclass(frozen=True, slots=True)
class AoiSums:
    """The sums behind one score of one run, AOI by AOI.

    Attributes:
        aois: Their names, sorted.
        parts: Sums that add up over AOIs, shape (AOIs, K).
        score: Sums of any AOIs, shape (..., K), to scores, shape (...).
        sizes: Denominators of the score, shape (AOIs,): values, pixels or scenes.
        errors: Of each AOI, see ``Metric.errors``, shape (AOIs,), not negative.
        log: Whether its interval is computed on a log scale.
        possible: Its lowest and highest value.
    """

    aois: tuple[str, ...]
    parts: Floats
    score: Callable[[Floats], Floats]
    sizes: Floats
    errors: Floats
    log: bool = False
    possible: tuple[float, float] = (-np.inf, np.inf)

    @property
    def value(self) -> float:
        """Score of all AOIs."""
        return float(self.score(self.parts.sum(0)))

    @property
    def leave_one_out(self) -> Floats:
        """Score without each AOI, shape (AOIs,)."""
        return self.score(self.parts.sum(0) - self.parts)

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Whether each AOI counts in the score, shape (AOIs,)."""
        return self.sizes > 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score with its interval; nan where there are too few AOIs.

    Attributes:
        value: The score.
        low: Lower end of its 95 % interval.
        high: Upper end.
        freedom: Degrees of freedom of Student's t.
        aois: How many AOIs count in the score.
        effective: Effective number of AOIs; see :func:`effective_aois`.
    """

    value: float
    low: float
    high: float
    freedom: float
    aois: int
    effective: float


def score_sums(
    ledger: Ledger,
    protocol: Protocol,
    segmenters: Sequence[str] = (),
    *,
    metrics: Sequence[str] = HEADLINE,
) -> dict[Score, AoiSums]:
    """Sums per AOI of metrics, and of each segmenter's mIoU and PA.

    Args:
        ledger: Of one run.
        protocol: Whose pooling is followed: sums of pixels, or sums of scenes' scores.
        segmenters: Keys of segmenters that the run was evaluated with.
        metrics: Names of metrics, except those of segmenters; the score is nan where the run
            lacks the sums.

    Raises:
        LedgerError: The run has no such segmenter.
    """
    sums: dict[Score, AoiSums] = {
        (metric, None): own for metric, own in _metric_sums(ledger, protocol, metrics).items()
    }
    if segmenters:
        aois, confusion = _confusion_by_aoi(ledger, protocol, segmenters)
        for segmenter, matrices in confusion.items():
            for metric in SEGMENTATION:
                sums[metric, segmenter] = segmenter_sums(aois, matrices, metric)
    return sums


def _metric_sums(ledger: Ledger, protocol: Protocol, metrics: Sequence[str]) -> dict[str, AoiSums]:
    if protocol.pool == "scene-mean":
        total, count = scene_scores(ledger, protocol, ["aoi"], metrics)
        pairs = {name: {"sum": total[name], "count": count[name]} for name in metrics}
        return {name: averaged_sums(name, pd.DataFrame(pairs[name])) for name in metrics}
    ratios = {name: ratio_of(name, ledger.bands) for name in metrics}
    columns = list(dict.fromkeys(column for row in ratios.values() for column in row.columns))
    sums = group_sums(ledger, protocol, ["aoi"], columns).reindex(columns=columns)
    perfect = protocol.perfect_psnr
    return {
        name: pooled_sums(name, sums[list(ratios[name].columns)], perfect=perfect)
        for name in metrics
    }


def pooled_sums(metric: str, sums: pd.DataFrame, *, perfect: float = np.inf) -> AoiSums:
    """One score of the pixels of all AOIs together.

    Args:
        metric: Name of a metric.
        sums: A row per AOI, the metric's columns in their order.
        perfect: Decibels of a perfect match.
    """
    row = METRICS[metric]

    def score(parts: Floats) -> Floats:
        return row.score(*np.moveaxis(parts, -1, 0), perfect=perfect)

    def errors(parts: Floats) -> Floats:
        return row.errors(row.ratio(*parts.T), parts[:, -1])

    return _aoi_sums(metric, sums, score, errors)


def averaged_sums(metric: str, sums: pd.DataFrame) -> AoiSums:
    """One score as the mean over scenes.

    Args:
        metric: Name of a metric.
        sums: A row per AOI: the sum of its scenes' scores, and how many scenes have one.
    """
    row = METRICS[metric]

    def score(parts: Floats) -> Floats:
        return scores.ratio(parts[..., 0], parts[..., 1])

    def errors(parts: Floats) -> Floats:
        scenes: Floats = parts[:, 1]
        if row.scale == "log":
            return scenes  # decibels add up to no error
        return row.errors(score(parts), scenes)

    return _aoi_sums(metric, sums, score, errors)


def _aoi_sums(
    metric: str,
    sums: pd.DataFrame,
    score: Callable[[Floats], Floats],
    errors: Callable[[Floats], Floats],
) -> AoiSums:
    named = sums.set_axis(sums.index.astype(str)).sort_index()  # categories: order of appearance
    parts = named.to_numpy(np.float64)
    row = METRICS[metric]
    return AoiSums(
        tuple(named.index),
        parts,
        score,
        parts[:, -1],
        errors(parts),
        row.log_interval,
        row.possible,
    )


def _confusion_by_aoi(
    ledger: Ledger, protocol: Protocol, segmenters: Sequence[str]
) -> tuple[list[str], dict[str, Floats]]:
    """Names of the AOIs and their confusion matrices by each segmenter, a row per true class."""
    for segmenter in segmenters:
        if segmenter not in ledger.segmenters:
            raise LedgerError(
                f"{ledger.name}: expected counts of segmenter {segmenter}, found none; evaluate it "
                "again with --segmenter"
            )
    aois = np.array([], object)
    confusion = {}
    for segmenter in segmenters:
        predicted = seen_classes(ledger, protocol, segmenter, "prediction")
        names, classes = (
            pd.Index(predicted.index.get_level_values(level).astype(str))
            for level in ("aoi", "land_cover")
        )
        aois, aoi = np.unique(names, return_inverse=True)
        matrices = np.zeros((len(aois), len(LAND_COVER), len(LAND_COVER)))
        truth = pd.Index(LAND_COVER).get_indexer(classes)
        np.add.at(matrices, (aoi, truth), predicted.to_numpy())
        confusion[segmenter] = matrices
    return aois.tolist(), confusion


def segmenter_sums(aois: Iterable[str], matrices: Floats, metric: str) -> AoiSums:
    """One score of a segmenter from confusion matrices.

    Args:
        aois: Names of the AOIs.
        matrices: Pixels, shape (AOIs, classes, classes): a row per true class.
        metric: One of ``SEGMENTATION``.
    """
    hits, truth = np.diagonal(matrices, axis1=1, axis2=2), matrices.sum(2)
    pixels, right = truth.sum(1), hits.sum(1)
    if metric == "pa":
        parts, score = np.stack([right, pixels], 1), _percent
    else:
        parts, score = np.concatenate([hits, truth, matrices.sum(1)], 1), _miou
    return AoiSums(
        tuple(aois), parts, score, pixels, pixels - right, possible=METRICS[metric].possible
    )


def _percent(sums: Floats) -> Floats:
    return 100 * scores.ratio(sums[..., 0], sums[..., 1])


def _miou(sums: Floats) -> Floats:
    """As ``scores.miou``, of right, true and predicted pixels per class side by side."""
    hits, truth, predicted = np.split(sums, 3, axis=-1)
    iou = scores.ratio(hits, np.where(truth > 0, truth + predicted - hits, 0))
    return 100 * scores.ratio(np.nansum(iou, axis=-1), np.isfinite(iou).sum(-1))


def effective_aois(sums: AoiSums) -> float:
    r"""Effective number of AOIs: :math:`(\sum e_i)^2 / \sum e_i^2` (Kish 1965).

    The :math:`e_i` are the AOIs' sums of errors: absolute errors for MAE, squared ones for pooled
    PSNR, angles for SAM, 1 − SSIM, misclassified pixels for mIoU and PA; of other metrics the
    distance from the best value times the weight. A mean of scenes' PSNR has no such sum; there the
    AOIs' numbers of scenes count. It is the number of AOIs if all have equal error, and near one if
    one AOI has nearly all the error.
    """
    errors = sums.errors if 0 < sums.errors.sum() < np.inf else sums.sizes
    squares = float((errors**2).sum())
    return float(errors.sum()) ** 2 / squares if squares > 0 else float("nan")


def freedom(sizes: Floats) -> float:
    r"""Degrees of freedom of a jackknife error, from the AOIs' sizes (Satterthwaite 1946).

    If the means of AOIs are independent, have the same variance, and a score is their mean,
    weighted by the sizes :math:`w`, the jackknife leaves it :math:`d_i (x_i - \bar x)` off, with
    :math:`d_i = w_i / (1 - w_i)`. The variance that it finds is then a quadratic form, whose matrix
    :math:`H` is :math:`d_i d_j (\delta_{ij} - w_i - w_j + \sum w^2)`, centred; it spreads as
    :math:`\chi^2` does with :math:`(\operatorname{tr} H)^2 / \|H\|^2` degrees: AOIs − 1 for equal
    sizes, fewer for others.

    Args:
        sizes: Of AOIs, shape (AOIs,); those of size zero do not count.

    Returns:
        At least one; nan for fewer than two AOIs.

    Example:
        >>> round(freedom(np.array([25.0, 25.0, 25.0, 25.0])), 6)
        3.0
    """
    shares = sizes[sizes > 0] / sizes.sum()
    if len(shares) < 2:
        return float("nan")
    off = shares / (1 - shares)
    spread = np.eye(len(shares)) - np.add.outer(shares, shares) + (shares**2).sum()
    form = np.outer(off, off) * spread
    form -= form.mean(0)
    form -= form.mean(1, keepdims=True)
    return min(float(np.trace(form) ** 2 / (form**2).sum()), len(shares) - 1.0)


def student(level: float, freedom: float | Floats) -> Floats:
    """Quantile of |t| that is exceeded with probability ``level``."""
    return np.asarray(special.stdtrit(freedom, 1 - level / 2), np.float64)


@lru_cache(maxsize=4)
def draws(aois: int, resamples: int = RESAMPLES, seed: int = SEED) -> Floats:
    """How often each AOI is drawn in each resample.

    Returns:
        Shape (resamples, AOIs), rows sum to AOIs; the same numbers for the same arguments.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(aois, np.full(aois, 1 / aois), resamples).astype(np.float64)
    drawn.setflags(write=False)
    return drawn


def bootstrap_t(sums: AoiSums, *, resamples: int = RESAMPLES, seed: int = SEED) -> float:
    """Bootstrap-t quantile: |score of a resample − score| / its jackknife error, exceeded in 5 %.

    Resamples without an error of their own (one AOI drawn again and again, a score that is not
    finite) are left out.

    Returns:
        Comparable with :func:`student`; 0 for fewer than :data:`ENOUGH` AOIs.
    """
    parts, scale = sums.parts[sums.measured], np.log if sums.log else np.positive
    aois = len(parts)
    if aois < ENOUGH:
        return 0.0
    drawn = draws(aois, resamples, seed)
    totals = drawn @ parts
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = scale(sums.score(parts.sum(0)))
        left = np.stack([scale(sums.score(totals - part)) for part in parts], 1)
        left = np.where(drawn > 0, left, 0)
        mean = (drawn * left).sum(1, keepdims=True) / aois
        error = np.sqrt((aois - 1) / aois * (drawn * (left - mean) ** 2).sum(1))
        distances = np.abs(scale(sums.score(totals)) - whole)
        usual = _error(scale(sums.leave_one_out)[sums.measured])
        usable = np.isfinite(distances) & (error > 1e-6 * usual)
    return float(np.quantile(distances[usable] / error[usable], 1 - LEVEL)) if usable.any() else 0.0


def _error(leave_one_out: Floats) -> float:
    """Jackknife standard error of a score."""
    if len(leave_one_out) < 2 or not np.isfinite(leave_one_out).all():
        return float("nan")
    return float(np.sqrt(len(leave_one_out) - 1) * leave_one_out.std())


def estimate(sums: AoiSums, *, resamples: int = 0, seed: int = SEED) -> Estimate:
    """A score and its 95 % interval over AOIs: jackknife error × Student's t.

    Args:
        sums: Of the score.
        resamples: Widen the interval to :func:`bootstrap_t` of this many resamples where that is
            larger; 0: never.
        seed: Of the resamples.
    """
    scale, back = (np.log, np.exp) if sums.log else (np.positive, np.positive)
    degrees, aois, value = freedom(sums.sizes), int(sums.measured.sum()), sums.value
    with np.errstate(divide="ignore", invalid="ignore"):
        error = _error(scale(sums.leave_one_out)[sums.measured])
        if aois > 1 and np.isfinite(value) and (sums.leave_one_out == value).all():
            error = 0.0  # of a perfect MAE too, whose logarithm is not finite
        quantile = float(student(LEVEL, degrees))
        if resamples and error > 0:
            quantile = max(quantile, bootstrap_t(sums, resamples=resamples, seed=seed))
        ends = back(scale(value) + np.array([-1, 1]) * quantile * error)
    low, high = np.clip(ends, *sums.possible)
    return Estimate(value, float(low), float(high), degrees, aois, effective_aois(sums))
