"""Statistical significance: intervals, paired differences, ties, detectable differences.

Patches of one AOI are alike, so AOIs count, never patches. One engine tells everything: what a
score is without each AOI (jackknife), and Student's t with degrees of freedom from the AOIs' sizes.
The leaderboard's page does the same in ``leaderboard/page.js``; tests hold the two together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from planetcr_bench.constants import LAND_COVER
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics import scores
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS, SEGMENTATION
from planetcr_bench.results.aggregate import check_comparable, score_groups
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.schema import segmenter_counts

RESAMPLES: Final = 2000
SEED: Final = 0
LEVEL: Final = 0.05
"""One minus the confidence of intervals; p values below it tell two methods apart."""

_ROUNDING: Final = 1e-12
"""Relative difference of scores that the order of adding up explains."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AoiSums:
    """What one score of one run is made of, AOI by AOI.

    Attributes:
        aois: Their names, sorted.
        parts: Sums that add up over AOIs, shape (AOIs, K).
        score: Sums of any AOIs, shape (..., K), to scores, shape (...).
        sizes: What the score divides by, AOI by AOI, shape (AOIs,): values, pixels or scenes.
        errors: What the score counts as error, AOI by AOI, shape (AOIs,), not negative.
        log: Whether its interval is found on a log scale.
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
    def without(self) -> Floats:
        """Score of all AOIs but each, shape (AOIs,)."""
        return self.score(self.parts.sum(0) - self.parts)

    @property
    def told(self) -> NDArray[np.bool_]:
        """AOIs that have anything of the score, shape (AOIs,)."""
        return self.sizes > 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score with its interval; nan where there are too few AOIs to tell.

    Attributes:
        value: The score.
        low: Lower end of its 95 % interval.
        high: Upper end.
        freedom: Degrees of freedom of Student's t.
        aois: How many AOIs have anything of the score.
        effective: How many AOIs of equal error would weigh as evenly; see :func:`effective_aois`.
    """

    value: float
    low: float
    high: float
    freedom: float
    aois: int
    effective: float


@dataclass(frozen=True, slots=True)
class Difference:
    """First method minus second, on the same AOIs.

    Attributes:
        first: Name of a run.
        second: Name of another.
        value: Difference of their scores.
        error: Its standard error.
        freedom: Degrees of freedom of Student's t.
        p: Of no difference, two-sided, this comparison alone.
        p_holm: Corrected for all comparisons of the runs in this score.
    """

    first: str
    second: str
    value: float
    error: float
    freedom: float
    p: float
    p_holm: float

    def half_width(self, comparisons: int = 1) -> float:
        """Half of its interval, corrected for so many comparisons as Holm does in his first step.

        Two runs must differ by as much to be significantly different.
        """
        return float(student(LEVEL / comparisons, self.freedom)) * self.error

    @property
    def low(self) -> float:
        """Lower end of its 95 % interval."""
        return self.value - self.half_width()

    @property
    def high(self) -> float:
        """Upper end."""
        return self.value + self.half_width()


def aoi_sums(
    ledger: Ledger, protocol: Protocol, metric: str, *, segmenter: str | None = None
) -> AoiSums:
    """Cut one score into sums per AOI.

    Args:
        ledger: Of one run.
        protocol: Whose pooling is followed: sums of pixels, or sums of scenes' scores.
        metric: Name of a metric; with a segmenter one of ``SEGMENTATION``, in percent.
        segmenter: Key of a segmenter that has read the run.

    Raises:
        LedgerError: The run has no such segmenter, or lacks sums of the metric.
    """
    if segmenter is not None:
        return _segmented(ledger, protocol, metric, segmenter)
    rows = ledger.frame[ledger.frame["protocol"] == protocol.name]
    if protocol.pool == "pixels":
        columns = list(METRICS[metric].columns)
        lacking = [name for name in columns if name not in rows]
        if lacking:
            raise LedgerError(f"{ledger.name}: expected columns {', '.join(lacking)}, got none")
        sums = rows.groupby("aoi", observed=True)[columns].sum()
        return pooled_sums(metric, sums, perfect=protocol.perfect_psnr)
    plain = [*_PLAIN, *(name for name in METRICS[metric].columns if name in rows)]
    frame = rows[list(dict.fromkeys(plain))]
    scenes = score_groups(frame, protocol, ["aoi", "scene"], metrics=[metric])
    grouped = scenes.groupby(level="aoi", observed=True)[metric]
    return averaged_sums(metric, pd.DataFrame({"sum": grouped.sum(), "count": grouped.count()}))


_PLAIN: Final = ["protocol", "aoi", "scene", "cloud_cover", "pixels"]


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
        return row.errors(*parts.T)

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
        total, count = parts.T
        return count if row.scale == "log" else row.errors(total, count)  # decibels are no errors

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


def _segmented(ledger: Ledger, protocol: Protocol, metric: str, segmenter: str) -> AoiSums:
    if segmenter not in ledger.segmenters:
        raise LedgerError(
            f"{ledger.name}: expected to be read by segmenter {segmenter}, it was not"
        )
    frame = ledger.frame
    known = ((frame["protocol"] == protocol.name) & frame["land_cover"].isin(LAND_COVER)).to_numpy()
    seen = segmenter_counts(frame, segmenter, "prediction")[known].sum(1)
    aois, place = np.unique(frame.loc[known, "aoi"].astype(str), return_inverse=True)
    truth = pd.Index(LAND_COVER).get_indexer(pd.Index(frame.loc[known, "land_cover"].astype(str)))
    matrices = np.zeros((len(aois), len(LAND_COVER), len(LAND_COVER)))
    np.add.at(matrices, (place, truth), seen)
    return segmenter_sums(aois.tolist(), matrices, metric)


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
    hits, truth, seen = np.split(sums, 3, axis=-1)
    each = scores.ratio(hits, np.where(truth > 0, truth + seen - hits, 0))
    return 100 * scores.ratio(np.nansum(each, axis=-1), np.isfinite(each).sum(-1))


def effective_aois(sums: AoiSums) -> float:
    r"""How many AOIs a score hangs on: :math:`(\sum e_i)^2 / \sum e_i^2` (Kish 1965).

    The :math:`e_i` are the AOIs' sums of what the score counts as error: absolute errors for MAE,
    squared ones for pooled PSNR, angles for SAM, 1 − SSIM, wrongly read pixels for mIoU and PA. A
    mean of scenes' PSNR has no such sum; there the AOIs' scenes count. AOIs of equal error count in
    full, and if one has nearly all the error, the number is near one.
    """
    errors = sums.errors if 0 < sums.errors.sum() < np.inf else sums.sizes
    squares = float((errors**2).sum())
    return float(errors.sum()) ** 2 / squares if squares > 0 else float("nan")


def freedom(sizes: Floats) -> float:
    r"""Degrees of freedom of a jackknife error, from the AOIs' sizes (Satterthwaite 1946).

    If means of AOIs vary alike and independently and a score is their mean weighed by sizes
    :math:`w`, the jackknife leaves it :math:`d_i (x_i - \bar x)` off, with
    :math:`d_i = w_i / (1 - w_i)`. The variance that it finds is then a quadratic form, whose matrix
    :math:`H` is :math:`d_i d_j (\delta_{ij} - w_i - w_j + \sum w^2)`, centred; it spreads as
    :math:`\chi^2` does with :math:`(\operatorname{tr} H)^2 / \|H\|^2` degrees: AOIs − 1 for equal
    sizes, fewer for others.

    Args:
        sizes: Of AOIs, shape (AOIs,); those of none do not count.

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
    """Quantile of |t|: what it exceeds with a chance of ``level``."""
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


ENOUGH: Final = 8
"""AOIs from which on fewer than 5 % of the resamples have three AOIs or less, whose errors are
chance; of fewer AOIs these would decide what is exceeded in 5 % of the resamples."""


def bootstrap_t(sums: AoiSums, *, resamples: int = RESAMPLES, seed: int = SEED) -> float:
    """What |score of a resample − score| / its jackknife error exceeds in 5 % of the resamples.

    Resamples without an error of their own (one AOI drawn again and again, a score that is not
    finite) tell nothing and are left out.

    Returns:
        To be held against :func:`student`; 0 of fewer than :data:`ENOUGH` AOIs.
    """
    parts, scale = sums.parts[sums.told], np.log if sums.log else np.positive
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
        usual = _error(scale(sums.without)[sums.told])
        usable = np.isfinite(distances) & (error > 1e-6 * usual)
    return float(np.quantile(distances[usable] / error[usable], 1 - LEVEL)) if usable.any() else 0.0


def _error(without: Floats) -> float:
    """Standard error of a score from what it is without each AOI: a jackknife."""
    if len(without) < 2 or not np.isfinite(without).all():
        return float("nan")
    return float(np.sqrt(len(without) - 1) * without.std())


def estimate(sums: AoiSums, *, resamples: int = 0, seed: int = SEED) -> Estimate:
    """A score and its 95 % interval over AOIs: jackknife error × Student's t.

    Args:
        sums: Of the score.
        resamples: Widen the interval to :func:`bootstrap_t` of so many resamples where that is
            larger; 0 never does.
        seed: Of the resamples.
    """
    scale, back = (np.log, np.exp) if sums.log else (np.positive, np.positive)
    degrees, aois, value = freedom(sums.sizes), int(sums.told.sum()), sums.value
    with np.errstate(divide="ignore", invalid="ignore"):
        error = _error(scale(sums.without)[sums.told])
        if aois > 1 and np.isfinite(value) and (sums.without == value).all():
            error = 0.0  # of a perfect MAE too, whose logarithm is not finite
        quantile = float(student(LEVEL, degrees))
        if resamples and error > 0:
            quantile = max(quantile, bootstrap_t(sums, resamples=resamples, seed=seed))
        ends = back(scale(value) + np.array([-1, 1]) * quantile * error)
    low, high = np.clip(ends, *sums.possible)
    return Estimate(value, float(low), float(high), degrees, aois, effective_aois(sums))


def differences(runs: dict[str, AoiSums]) -> list[Difference]:
    """Every pair of runs, compared on the same AOIs.

    The error is the jackknife's of the difference itself, in the unit of the score (of MAE too: a
    difference has no impossible values), with the fewer degrees of freedom of the two.

    Args:
        runs: Name to sums of one score, all over the same AOIs.

    Raises:
        LedgerError: Two runs cover different AOIs.
    """
    for name, sums in runs.items():
        first = next(iter(runs))
        if sums.aois != runs[first].aois:
            raise LedgerError(f"{name}: expected the AOIs of {first}; differences need the same")
    if len(runs) < 2:
        return []
    left, right = np.array(list(combinations(range(len(runs)), 2))).T
    values = np.array([sums.value for sums in runs.values()])
    without = np.stack([sums.without for sums in runs.values()])
    told = np.stack([sums.told for sums in runs.values()])
    degrees = np.array([freedom(sums.sizes) for sums in runs.values()])
    degrees = np.minimum(degrees[left], degrees[right])
    with np.errstate(invalid="ignore", divide="ignore"):
        value = values[left] - values[right]
        error = _errors(without[left] - without[right], told[left] | told[right])
        p = 2 * special.stdtr(degrees, -np.abs(value) / error)
    p = np.where(error == 0, (value == 0).astype(float), p)
    same = _same(values[left], values[right]) & _same(without[left], without[right]).all(1)
    value, p = np.where(same, 0.0, value), np.where(same, 1.0, p)
    error = np.where(same, np.where(np.isnan(degrees), np.nan, 0.0), error)
    facts = np.stack([value, error, degrees, p, holm(p.tolist())], 1).tolist()
    return [
        Difference(first, second, *each)
        for (first, second), each in zip(combinations(runs, 2), facts, strict=True)
    ]


def _errors(without: Floats, told: NDArray[np.bool_]) -> Floats:
    """:func:`_error` of every row, of the AOIs that are told; nan where one is not finite."""
    count = told.sum(1, keepdims=True)
    mean = np.where(told, without, 0).sum(1, keepdims=True) / count
    squares = np.where(told, (without - mean) ** 2, 0).sum(1)
    error = np.sqrt((count[:, 0] - 1) / count[:, 0] * squares)
    return np.where((count[:, 0] > 1) & np.isfinite(error), error, np.nan)


def _same(one: Floats, other: Floats) -> NDArray[np.bool_]:
    return np.isclose(one, other, rtol=_ROUNDING, atol=0, equal_nan=True)


def holm(p: Sequence[float]) -> Floats:
    """P values corrected for as many comparisons by Holm's step-down rule.

    A nan counts as a comparison that told nothing and stays nan.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        array([0.03, 0.06, 0.06])
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")  # nan last
    steps = np.arange(len(values), 0, -1)
    climbed = np.minimum(np.maximum.accumulate(values[order] * steps), 1)
    corrected = np.empty_like(values)
    corrected[order] = climbed
    return corrected


def tie_letters(ranked: Sequence[str], pairs: Sequence[Difference]) -> dict[str, str]:
    """Letters of ranked runs: two share one if they are not significantly different.

    Significance is not transitive, so a run may carry several letters: a compact letter display
    by insertion, absorption and sweeping (Piepho 2004).

    Args:
        ranked: Names, best first.
        pairs: Of all of them; nan tells nothing apart.
    """
    rank = {name: number for number, name in enumerate(ranked)}
    apart = [0] * len(ranked)
    for pair in pairs:
        if pair.p_holm < LEVEL:
            low, high = sorted((rank[pair.first], rank[pair.second]))
            apart[low] |= 1 << high
    groups = letter_groups(apart)
    return {
        name: "".join(_letter(number) for number, group in enumerate(groups) if index in group)
        for index, name in enumerate(ranked)
    }


def letter_groups(apart: Sequence[int]) -> list[list[int]]:
    """Groups of runs that have one letter in common, in the order of their best runs.

    Args:
        apart: For each run, bits of the runs after it that it is told apart from.

    Returns:
        Places of runs, ascending. Every two that are not told apart are in some group together, no
        two that are told apart in any, and no run can leave a group without breaking that.
    """
    columns = [(1 << len(apart)) - 1]
    for run, others in enumerate(apart):
        split = [column for column in columns if column >> run & 1 and column & others]
        columns = [column for column in columns if column not in split]
        columns = _absorb(columns, [column & ~others for column in split])
        columns = _absorb(columns, [column & ~(1 << run) for column in split])
        if len(columns) > _MANY * len(apart):
            columns = _cover(apart)
            break
    return sorted(_members(column) for column in _sweep(columns, len(apart)))


_MANY: Final = 4
"""Columns per run beyond which insertion is given up: of wild patterns it makes 2 ** (runs / 2)."""


def _cover(apart: Sequence[int]) -> list[int]:
    """Columns that join every two runs that are not told apart, pair by pair, best first."""
    everyone = (1 << len(apart)) - 1
    ties = [everyone & ~others for others in apart]
    for run, others in enumerate(apart):
        for other in _members(others):
            ties[other] &= ~(1 << run)
    joined = [1 << run for run in range(len(apart))]
    columns = []
    for run, tied in enumerate(ties):
        while left := tied & ~joined[run]:
            column, common = 1 << run, tied & ~(1 << run)
            for other in [*_members(left), *_members(common)]:
                if common >> other & 1:
                    column |= 1 << other
                    common &= ties[other] & ~(1 << other)
            for member in _members(column):
                joined[member] |= column
            columns.append(column)
        if not any(column >> run & 1 for column in columns):
            columns.append(1 << run)
    return columns


def _absorb(columns: list[int], new: Iterable[int]) -> list[int]:
    """Columns and those of the new ones that lie in no other."""
    kept = list(columns)
    for column in new:
        if not any(column & other == column for other in kept):
            kept = [other for other in kept if other & column != other] + [column]
    return kept


def _sweep(columns: Sequence[int], runs: int) -> list[int]:
    """Take runs out of columns, last first, whose ties other columns tell as well."""
    groups = sorted(map(_members, columns))
    shared = np.zeros((runs, runs), np.int64)
    for group in groups:
        shared[np.ix_(group, group)] += 1
    swept = []
    for group in reversed(groups):
        for run in reversed(group.copy()):
            if (shared[run, group] > 1).all():
                shared[run, group] -= 1
                shared[group, run] -= 1
                shared[run, run] += 1  # was counted twice
                group.remove(run)
        swept += [sum(1 << run for run in group)] if group else []
    return swept


def _members(column: int) -> list[int]:
    return [run for run in range(column.bit_length()) if column >> run & 1]


def _letter(number: int) -> str:
    turn, place = divmod(number, 26)
    return chr(ord("a") + place) + (str(turn) if turn else "")


def detectable_difference(pairs: Sequence[Difference], *, corrected: bool = False) -> float:
    """Gap below which few pairs differ significantly: the median half-width over pairs.

    Args:
        pairs: Of all runs.
        corrected: Of the intervals of Holm's first step, level / pairs, instead of each alone.

    Returns:
        In the unit of the score; nan without pairs that have an interval.
    """
    comparisons = len(pairs) if corrected else 1
    halves = [pair.half_width(comparisons) for pair in pairs if pair.p < 1]
    halves = [half for half in halves if np.isfinite(half)]
    return float(np.median(halves)) if halves else float("nan")


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """One score of several runs, as far as it can be told.

    Attributes:
        metric: Name of a metric.
        segmenter: Key of the segmenter of the latter.
        aois: How many the runs cover.
        estimates: Name of every run to its score.
        letters: Ties of the complete runs, best first.
        pairs: Differences of the complete runs.
    """

    metric: str
    segmenter: str | None
    aois: int
    estimates: dict[str, Estimate]
    letters: dict[str, str]
    pairs: list[Difference]

    @property
    def best(self) -> list[str]:
        """The best run and all not significantly different from it; empty without pairs."""
        groups = {name: set(_LETTER.findall(letters)) for name, letters in self.letters.items()}
        first = next(iter(groups.values()), set())
        return [name for name, own in groups.items() if own & first]


_LETTER: Final = re.compile(r"[a-z]\d*")


def metric_comparisons(
    ledgers: Sequence[Ledger],
    protocol: Protocol,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> list[MetricComparison]:
    """Every score of runs on one dataset, with intervals, ties and paired differences.

    Args:
        ledgers: Runs; incomplete ones get an interval and are compared with none.
        protocol: That all were measured in.
        resamples: To widen single scores' intervals, see :func:`estimate`; 0, as the leaderboard
            has it, whose page works everything out again for any filter, for Student's t alone.
        seed: Of the resamples.

    Raises:
        LedgerError: The runs are not on one dataset.
    """
    check_comparable(ledgers)
    segmenters = [
        segmenter
        for segmenter in ledgers[0].segmenters
        if all(segmenter in run.segmenters for run in ledgers)
    ]
    asked: list[tuple[str, str | None]] = [(metric, None) for metric in HEADLINE]
    asked += [(metric, segmenter) for segmenter in segmenters for metric in SEGMENTATION]
    complete = [run.name for run in ledgers if run.provenance["complete"]]
    comparisons = []
    for metric, segmenter in asked:
        sums = {run.name: aoi_sums(run, protocol, metric, segmenter=segmenter) for run in ledgers}
        estimates = {
            name: estimate(run_sums, resamples=resamples, seed=seed)
            for name, run_sums in sums.items()
        }
        whole = [name for name in complete if not np.isnan(estimates[name].value)]
        comparisons.append(_compare(metric, segmenter, sums, estimates, whole))
    return comparisons


def _compare(
    metric: str,
    segmenter: str | None,
    sums: dict[str, AoiSums],
    estimates: dict[str, Estimate],
    whole: Sequence[str],
) -> MetricComparison:
    aois = max(len(sums[name].aois) for name in (whole or sums))
    pairs = differences({name: sums[name] for name in whole})
    badness = METRICS[metric].badness
    ranked = sorted(whole, key=lambda name: float(badness(estimates[name].value)))
    letters = tie_letters(ranked, pairs) if len(whole) > 1 else {}
    return MetricComparison(metric, segmenter, aois, estimates, letters, pairs)
