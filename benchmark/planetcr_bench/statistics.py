"""Ledgers in, what may be said of them out: intervals, paired differences, ties, resolution.

Patches of one AOI are alike, so AOIs are drawn, never patches: a resample weighs every AOI by how
often it was drawn, and a score of the resample is that of weights × sums. All methods are weighed
alike, which pairs them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from planetcr_bench import scores
from planetcr_bench.errors import LedgerError
from planetcr_bench.ledger import SUMS, Ledger, judged_pixels
from planetcr_bench.protocols import Protocol
from planetcr_bench.tables import HIGHER_IS_BETTER, METRICS, check_comparable, score_groups
from planetcr_bench.vocabulary import LAND_COVER

RESAMPLES: Final = 10_000
SEED: Final = 0
LEVEL: Final = 0.05
"""One minus the confidence of intervals; p values below it tell two methods apart."""

_ROUNDING: Final = 1e-12
"""Relative difference of scores that the order of adding up explains."""

Floats = NDArray[np.float64]

_RATIOS: Final[dict[str, tuple[str, str]]] = {
    "mae": ("absolute_error", "values"),
    "psnr": ("squared_error", "values"),
    "sam_deg": ("angle_deg", "angle_pixels"),
    "ssim": ("ssim", "ssim_pixels"),
}
JUDGED_METRICS: Final = ("miou", "pa")


@dataclass(frozen=True, slots=True)
class AoiSums:
    """What one score of one run is made of, AOI by AOI.

    Attributes:
        aois: Their names, sorted.
        parts: Sums that add up over AOIs, shape (AOIs, K).
        score: Sums of any AOIs, shape (..., K), to scores, shape (...).
    """

    aois: tuple[str, ...]
    parts: Floats
    score: Callable[[Floats], Floats]

    @property
    def value(self) -> float:
        """Score of all AOIs."""
        return float(self.score(self.parts.sum(0)))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score with its interval; nan where there are too few AOIs to tell."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """First method minus second, on the same resamples.

    Attributes:
        first: Name of a run.
        second: Name of another.
        value: Difference of their scores.
        low: Lower end of its interval.
        high: Upper end.
        p: Of no difference, two-sided, this comparison alone.
        p_holm: Corrected for all comparisons of the runs in this score.
    """

    first: str
    second: str
    value: float
    low: float
    high: float
    p: float
    p_holm: float


def aoi_sums(
    ledger: Ledger, protocol: Protocol, metric: str, *, judge: str | None = None
) -> AoiSums:
    """Cut one score into sums per AOI.

    Args:
        ledger: Of one run.
        protocol: Whose pooling is followed: sums of pixels, or sums of scenes' scores.
        metric: One of ``METRICS``; with a judge one of :data:`JUDGED_METRICS`, in percent.
        judge: Key of a judge that has read the run.

    Raises:
        LedgerError: The run has no such judge.
    """
    if judge is not None:
        return _judged(ledger, protocol, metric, judge)
    rows = ledger.frame[ledger.frame["protocol"] == protocol.name]
    if protocol.pool == "pixels":
        top, bottom = _RATIOS[metric]
        sums = _by_name(rows.groupby("aoi", observed=True)[[top, bottom]].sum())
        return AoiSums(tuple(sums.index), sums.to_numpy(np.float64), _pooled(metric, protocol))
    scenes = score_groups(rows[_PLAIN], protocol, ["aoi", "scene"])[[metric]]
    grouped = scenes.groupby(level="aoi", observed=True)[metric]
    sums = _by_name(pd.DataFrame({"sum": grouped.sum(), "count": grouped.count()}))
    return AoiSums(tuple(sums.index), sums.to_numpy(np.float64), _mean)


_PLAIN: Final = ["protocol", "aoi", "scene", "cloud_cover", *SUMS]


def _by_name(sums: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of their names; categories would keep that of their appearance."""
    return sums.set_axis(sums.index.astype(str)).sort_index()


def _pooled(metric: str, protocol: Protocol) -> Callable[[Floats], Floats]:
    def score(sums: Floats) -> Floats:
        if metric == "psnr":
            return scores.psnr(sums[..., 0], sums[..., 1], perfect=protocol.perfect_psnr)
        return scores.mae(sums[..., 0], sums[..., 1])  # all others are plain ratios as well

    return score


def _mean(sums: Floats) -> Floats:
    return scores.mae(sums[..., 0], sums[..., 1])


def _judged(ledger: Ledger, protocol: Protocol, metric: str, judge: str) -> AoiSums:
    if judge not in ledger.judges:
        raise LedgerError(f"{ledger.name}: expected to be read by judge {judge}, it was not")
    frame = ledger.frame
    known = ((frame["protocol"] == protocol.name) & frame["land_cover"].isin(LAND_COVER)).to_numpy()
    seen = judged_pixels(frame, judge, "prediction")[known].sum(1)
    aois, place = np.unique(frame.loc[known, "aoi"].astype(str), return_inverse=True)
    truth = pd.Index(LAND_COVER).get_indexer(pd.Index(frame.loc[known, "land_cover"].astype(str)))
    matrices = np.zeros((len(aois), len(LAND_COVER), len(LAND_COVER)))
    np.add.at(matrices, (place, truth), seen)
    take = {"miou": scores.miou, "pa": scores.pixel_accuracy}[metric]
    side = len(LAND_COVER)
    return AoiSums(
        tuple(aois.tolist()),
        matrices.reshape(len(aois), -1),
        lambda sums: 100 * take(sums.reshape(*sums.shape[:-1], side, side)),
    )


def weights(aois: int, *, resamples: int = RESAMPLES, seed: int = SEED) -> Floats:
    """How often each AOI is drawn in each resample.

    Returns:
        Shape (resamples, AOIs), rows sum to AOIs; the same numbers for the same arguments.
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(aois, np.full(aois, 1 / aois), resamples).astype(np.float64)


def leaving_out(aois: int) -> Floats:
    """Weights that leave out one AOI at a time: a jackknife, as the leaderboard's page draws it.

    Returns:
        Shape (AOIs, AOIs), ones but for the diagonal.
    """
    return np.ones((aois, aois)) - np.eye(aois)


def resampled(sums: AoiSums, drawn: Floats) -> Floats:
    """Score of every resample, shape (resamples,)."""
    return sums.score(drawn @ sums.parts)


def half_width(replicates: ArrayLike, aois: int, *, left_out: bool = False) -> float:
    r"""Half of the interval of a score: :math:`t_{n-1}\,\sqrt{n/(n-1)}\,s`.

    :math:`s` is the spread over resamples. It is :math:`\sqrt{(n-1)/n}` too small for
    :math:`n` AOIs, and the normal quantile too; with 12 AOIs percentiles of the resamples would
    cover some 90 % instead of 95.

    Args:
        replicates: Score of every resample.
        aois: How many AOIs were drawn from.
        left_out: The resamples are those of :func:`leaving_out`: :math:`t_{n-1}\,\sqrt{n-1}\,s`.

    Returns:
        In the unit of the score; nan for fewer than two AOIs or a score that is not finite in
        every resample.
    """
    return float(special.stdtrit(aois - 1, 1 - LEVEL / 2)) * _error(replicates, aois, left_out)


def _error(replicates: ArrayLike, aois: int, left_out: bool) -> float:
    values = np.asarray(replicates, np.float64)
    if aois < 2 or not np.isfinite(values).all():
        return float("nan")
    return float(values.std() * np.sqrt(aois - 1 if left_out else aois / (aois - 1)))


def estimate(sums: AoiSums, drawn: Floats, *, left_out: bool = False) -> Estimate:
    """A score and its 95 % interval over AOIs; see :func:`half_width`."""
    half = half_width(resampled(sums, drawn), len(sums.aois), left_out=left_out)
    return Estimate(sums.value, sums.value - half, sums.value + half)


def differences(
    runs: dict[str, AoiSums], drawn: Floats, *, left_out: bool = False
) -> list[Difference]:
    """Every pair of runs, compared on the same resamples.

    Args:
        runs: Name to sums of one score, all over the same AOIs.
        drawn: See :func:`weights`, or :func:`leaving_out`.
        left_out: See :func:`half_width`.

    Raises:
        LedgerError: Two runs cover different AOIs.
    """
    for name, sums in runs.items():
        first = next(iter(runs))
        if sums.aois != runs[first].aois:
            raise LedgerError(f"{name}: expected the AOIs of {first}; differences need the same")
    drawings = {name: resampled(sums, drawn) for name, sums in runs.items()}
    found = []
    for first, second in combinations(runs, 2):
        both = (drawings[first], drawings[second])
        found.append((first, second, *_difference(runs[first], runs[second], *both, left_out)))
    corrected = holm([p for *_, p in found])
    return [
        Difference(first, second, value, value - half, value + half, p, float(p_holm))
        for (first, second, value, half, p), p_holm in zip(found, corrected, strict=True)
    ]


def _difference(
    first: AoiSums, second: AoiSums, drawn_first: Floats, drawn_second: Floats, left_out: bool
) -> tuple[float, float, float]:
    """Value, half-width and p of one pair."""
    aois = len(first.aois)
    if np.allclose(drawn_first, drawn_second, rtol=_ROUNDING, atol=0, equal_nan=True):
        return 0.0, 0.0 if aois > 1 else float("nan"), 1.0
    value = first.value - second.value
    with np.errstate(invalid="ignore"):
        apart = drawn_first - drawn_second
    error = _error(apart, aois, left_out)
    if np.isnan(error):
        return value, error, float("nan")
    p = 2 * special.stdtr(aois - 1, -abs(value) / error) if error > 0 else float(value == 0)
    return value, half_width(apart, aois, left_out=left_out), float(p)


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
    """Letters of ranked runs: two share one if, and only if, they cannot be told apart.

    Being told apart is not transitive, so a run may carry several letters. Pair by pair, best
    first, a letter goes to two that none joins yet, and to all others that tie with its runs.

    Args:
        ranked: Names, best first.
        pairs: Of all of them; nan tells nothing apart.
    """
    apart = {frozenset((pair.first, pair.second)) for pair in pairs if pair.p_holm < LEVEL}
    joined: set[frozenset[str]] = set()
    groups: list[list[str]] = []
    for place, first in enumerate(ranked):
        for second in ranked[place + 1 :]:
            pair = frozenset((first, second))
            if pair not in apart and pair not in joined:
                group = [first, second]
                for other in ranked:
                    tied = all(frozenset((other, one)) not in apart for one in group)
                    group += [other] if tied and other not in group else []
                groups.append(group)
                joined |= {frozenset(both) for both in combinations(group, 2)}
        if not any(first in group for group in groups):
            groups.append([first])
    return {
        name: "".join(_letter(number) for number, group in enumerate(groups) if name in group)
        for name in ranked
    }


def _letter(number: int) -> str:
    turn, place = divmod(number, 26)
    return chr(ord("a") + place) + (str(turn) if turn else "")


def resolution(pairs: Sequence[Difference]) -> float:
    """Gap below which two methods can hardly be told apart: median half-width over pairs.

    Returns:
        In the unit of the score; nan without pairs that have an interval.
    """
    halves = [(pair.high - pair.low) / 2 for pair in pairs if np.isfinite(pair.low) and pair.p < 1]
    return float(np.median(halves)) if halves else float("nan")


@dataclass(frozen=True, slots=True)
class Standing:
    """One score of several runs, as far as it can be told.

    Attributes:
        metric: One of ``METRICS`` or :data:`JUDGED_METRICS`.
        judge: Key of the judge of the latter.
        aois: How many were drawn from.
        estimates: Name of every run to its score.
        letters: Ties of the complete runs, best first.
        pairs: Differences of the complete runs.
    """

    metric: str
    judge: str | None
    aois: int
    estimates: dict[str, Estimate]
    letters: dict[str, str]
    pairs: list[Difference]

    @property
    def best(self) -> list[str]:
        """The best run and all that cannot be told from it; empty without a comparison."""
        groups = {name: set(_LETTER.findall(letters)) for name, letters in self.letters.items()}
        first = next(iter(groups.values()), set())
        return [name for name, own in groups.items() if own & first]


_LETTER: Final = re.compile(r"[a-z]\d*")


def standings(
    ledgers: Sequence[Ledger],
    protocol: Protocol,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    left_out: bool = False,
) -> list[Standing]:
    """Every score of runs on one dataset, with intervals, ties and paired differences.

    Args:
        ledgers: Runs; incomplete ones get an interval and are compared with none.
        protocol: That all were measured in.
        resamples: How often AOIs are drawn.
        seed: Of the drawing, the same for all runs.
        left_out: Leave out one AOI at a time instead, as the leaderboard's page does.

    Raises:
        LedgerError: The runs are not on one dataset.
    """
    check_comparable(ledgers)
    judges = [judge for judge in ledgers[0].judges if all(judge in run.judges for run in ledgers)]
    asked: list[tuple[str, str | None]] = [(metric, None) for metric in METRICS]
    asked += [(metric, judge) for judge in judges for metric in JUDGED_METRICS]
    drawn: dict[int, Floats] = {}
    found = []
    for metric, judge in asked:
        sums = {run.name: aoi_sums(run, protocol, metric, judge=judge) for run in ledgers}
        for one in sums.values():
            count = len(one.aois)
            if count not in drawn:
                drawn[count] = (
                    leaving_out(count)
                    if left_out
                    else weights(count, resamples=resamples, seed=seed)
                )
        whole = {run.name: sums[run.name] for run in ledgers if run.provenance["complete"]}
        found.append(_standing(metric, judge, sums, whole, drawn, left_out))
    return found


def _standing(
    metric: str,
    judge: str | None,
    sums: dict[str, AoiSums],
    whole: dict[str, AoiSums],
    drawn: dict[int, Floats],
    left_out: bool,
) -> Standing:
    estimates = {
        name: estimate(one, drawn[len(one.aois)], left_out=left_out) for name, one in sums.items()
    }
    aois = max(len(one.aois) for one in (whole or sums).values())
    pairs = differences(whole, drawn[aois], left_out=left_out) if len(whole) > 1 else []
    better = -1 if HIGHER_IS_BETTER.get(metric, True) else 1
    ranked = sorted(whole, key=lambda name: better * estimates[name].value)
    letters = tie_letters(ranked, pairs) if len(whole) > 1 else {}
    return Standing(metric, judge, aois, estimates, letters, pairs)
