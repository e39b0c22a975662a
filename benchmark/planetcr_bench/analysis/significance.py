"""Statistical significance of differences between runs, and the smallest that can be detected.

Runs are paired on the same AOIs. The leaderboard's page computes the same in
``leaderboard/page.js``; tests compare the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from planetcr_bench.analysis.intervals import (
    LEVEL,
    RESAMPLES,
    SEED,
    AoiSums,
    Estimate,
    estimate,
    freedom,
    score_sums,
    student,
)
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS
from planetcr_bench.metrics.sums import Floats
from planetcr_bench.results.aggregate import check_comparable
from planetcr_bench.results.known import Known
from planetcr_bench.results.ledger import Ledger

_ROUNDING: Final = 1e-12
"""Relative difference of scores that the order of adding up explains."""


@dataclass(frozen=True, slots=True)
class Difference:
    """First method minus second, on the same AOIs.

    Attributes:
        first: Name of a run.
        second: Name of another.
        value: Difference of their scores.
        error: Its standard error.
        freedom: Degrees of freedom of Student's t.
        p: Two-sided p value of this comparison alone.
        p_holm: The same, corrected for all comparisons of the runs in this score.
    """

    first: str
    second: str
    value: float
    error: float
    freedom: float
    p: float
    p_holm: float

    def half_width(self, comparisons: int = 1) -> float:
        """Half of its interval, corrected for so many comparisons as in Holm's first step.

        Two runs are significantly different if they differ by more.
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
            raise LedgerError(f"{name}: expected the AOIs of {first}, got others")
    if len(runs) < 2:
        return []
    left, right = np.array(list(combinations(range(len(runs)), 2))).T
    values = np.array([sums.value for sums in runs.values()])
    without = np.stack([sums.leave_one_out for sums in runs.values()])
    measured = np.stack([sums.measured for sums in runs.values()])
    degrees = np.array([freedom(sums.sizes) for sums in runs.values()])
    degrees = np.minimum(degrees[left], degrees[right])
    with np.errstate(invalid="ignore", divide="ignore"):
        value = values[left] - values[right]
        error = _errors(without[left] - without[right], measured[left] | measured[right])
        p = 2 * special.stdtr(degrees, -np.abs(value) / error)
    p = np.where(error == 0, (value == 0).astype(float), p)
    same = _same(values[left], values[right]) & _same(without[left], without[right]).all(1)
    value, p = np.where(same, 0.0, value), np.where(same, 1.0, p)
    error = np.where(same, np.where(np.isnan(degrees), np.nan, 0.0), error)
    columns = np.stack([value, error, degrees, p, holm(p.tolist())], 1).tolist()
    return [
        Difference(*names, *numbers)
        for names, numbers in zip(combinations(runs, 2), columns, strict=True)
    ]


def _errors(without: Floats, measured: NDArray[np.bool_]) -> Floats:
    """Jackknife error of every row over its measured AOIs; nan where a value is not finite."""
    count = measured.sum(1, keepdims=True)
    mean = np.where(measured, without, 0).sum(1, keepdims=True) / count
    squares = np.where(measured, (without - mean) ** 2, 0).sum(1)
    error = np.sqrt((count[:, 0] - 1) / count[:, 0] * squares)
    return np.where((count[:, 0] > 1) & np.isfinite(error), error, np.nan)


def _same(first: Floats, second: Floats) -> NDArray[np.bool_]:
    return np.isclose(first, second, rtol=_ROUNDING, atol=0, equal_nan=True)


def holm(p: Sequence[float]) -> Floats:
    """P values corrected for multiple comparisons by Holm's step-down rule.

    A nan counts as a comparison and stays nan.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        array([0.03, 0.06, 0.06])
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")  # nan last
    steps = np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * steps), 1)
    return corrected


def tie_letters(ranked: Sequence[str], pairs: Sequence[Difference]) -> dict[str, str]:
    """Letters of ranked runs: two share one if they are not significantly different.

    Significance is not transitive, so a run may carry several letters: a compact letter display
    by insertion, absorption and sweeping (Piepho 2004).

    Args:
        ranked: Names, best first.
        pairs: Of all of them; a p of nan is not significant.
    """
    rank = {name: number for number, name in enumerate(ranked)}
    different = [0] * len(ranked)
    for pair in pairs:
        if pair.p_holm < LEVEL:
            low, high = sorted((rank[pair.first], rank[pair.second]))
            different[low] |= 1 << high
    groups = letter_groups(different)
    return {
        name: "".join(_letter(number) for number, group in enumerate(groups) if index in group)
        for index, name in enumerate(ranked)
    }


def letter_groups(different: Sequence[int]) -> list[list[int]]:
    """Groups of runs that have one letter in common, in the order of their best runs.

    Args:
        different: For each run, bits of the runs after it that differ significantly from it.

    Returns:
        Ranks of runs, ascending. Two runs share a group exactly if they are not significantly
        different, and no run can leave a group without breaking that.
    """
    columns = [(1 << len(different)) - 1]
    for run, others in enumerate(different):
        split = [column for column in columns if column >> run & 1 and column & others]
        columns = [column for column in columns if column not in split]
        columns = _absorb(columns, [column & ~others for column in split])
        columns = _absorb(columns, [column & ~(1 << run) for column in split])
        if len(columns) > _MANY * len(different):
            columns = _cover(different)
            break
    return sorted(_members(column) for column in _sweep(columns, len(different)))


_MANY: Final = 4
"""Columns per run beyond which insertion stops: the worst patterns need 2 ** (runs / 2)."""


def _cover(different: Sequence[int]) -> list[int]:
    """Columns that join every two runs that tie, pair by pair, best first."""
    everyone = (1 << len(different)) - 1
    ties = [everyone & ~others for others in different]
    for run, others in enumerate(different):
        for other in _members(others):
            ties[other] &= ~(1 << run)
    joined = [1 << run for run in range(len(different))]
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
    """Take runs out of columns, last first, where other columns join the same ties."""
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
    turn, letter = divmod(number, 26)
    return chr(ord("a") + letter) + (str(turn) if turn else "")


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
    """One score of several runs, with intervals, ties and paired differences.

    Attributes:
        metric: Name of a metric.
        segmenter: Key of the segmenter, of a metric of segmentation.
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
    metrics: Sequence[str] = HEADLINE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> list[MetricComparison]:
    """Scores of runs on one dataset, with intervals, ties and paired differences.

    Args:
        ledgers: Runs; incomplete ones get an interval and are compared with none.
        protocol: That all were measured in.
        metrics: Names of metrics, before those of the segmenters.
        resamples: To widen single scores' intervals, see :func:`estimate`. With 0 they are
            Student's t alone, as on the leaderboard, whose page computes them for any filter.
        seed: Of the resamples.

    Raises:
        LedgerError: The runs are not on one dataset.
    """
    check_comparable(ledgers)
    segmenters = [
        segmenter
        for segmenter in ledgers[0].segmenters
        if all(segmenter in run.segmenters for run in ledgers) and Known.of(ledgers).land_cover
    ]
    run_sums = {run.name: score_sums(run, protocol, segmenters, metrics=metrics) for run in ledgers}
    complete = [run.name for run in ledgers if run.provenance["complete"]]
    return [
        compare_sums(
            metric,
            segmenter,
            {name: scores[metric, segmenter] for name, scores in run_sums.items()},
            complete,
            resamples=resamples,
            seed=seed,
        )
        for metric, segmenter in run_sums[ledgers[0].name]
    ]


def compare_sums(
    metric: str,
    segmenter: str | None,
    sums: dict[str, AoiSums],
    complete: Sequence[str],
    *,
    resamples: int = 0,
    seed: int = SEED,
) -> MetricComparison:
    """One score of several runs, see :func:`metric_comparisons`.

    Args:
        metric: Name of a metric.
        segmenter: Key of the segmenter, of a metric of segmentation.
        sums: Name of each run to its sums; those of complete runs over the same AOIs.
        complete: Names of the runs that are compared.
        resamples: To widen intervals.
        seed: Of the resamples.
    """
    estimates = {
        name: estimate(aoi_sums, resamples=resamples, seed=seed) for name, aoi_sums in sums.items()
    }
    whole = [name for name in complete if not np.isnan(estimates[name].value)]
    aois = max(len(sums[name].aois) for name in (whole or sums))
    pairs = differences({name: sums[name] for name in whole})
    badness = METRICS[metric].badness
    ranked = sorted(whole, key=lambda name: float(badness(estimates[name].value)))
    letters = tie_letters(ranked, pairs) if len(whole) > 1 else {}
    return MetricComparison(metric, segmenter, aois, estimates, letters, pairs)
