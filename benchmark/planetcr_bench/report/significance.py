"""Make tables of confidence intervals and of paired differences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import pandas as pd

from planetcr_bench.analysis.gains import Gain
from planetcr_bench.analysis.intervals import (
    ENOUGH,
    LEVEL,
    RESAMPLES,
    SEED,
    Estimate,
)
from planetcr_bench.analysis.segmentation import segmenters_of
from planetcr_bench.analysis.significance import (
    Difference,
    MetricComparison,
    detectable_difference,
)
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS, Metric
from planetcr_bench.report.table import Table, number, run_table
from planetcr_bench.results.aggregate import (
    clusters_of,
    in_paper_order,
    independence_note,
    method_label,
    widest,
)
from planetcr_bench.results.imagery import Imagery
from planetcr_bench.results.ledger import Ledger

_SHOWN: Final = 6
"""Runs of which every pair is printed; of more, the best against every other."""


SHARED_LETTERS: Final = (
    "Runs that share a letter are not significantly different in that score (paired differences, "
    f"Holm-corrected, {LEVEL:.0%})."
)


def statistic_tables(
    ledgers: Sequence[Ledger], protocol: Protocol, comparisons: Sequence[MetricComparison]
) -> list[Table]:
    """Scores with their intervals and ties, and paired differences of every score."""
    several = any(comparison.pairs for comparison in comparisons)
    pairs = [_pair_table(ledgers, protocol, comparisons)] if several else []
    return [_interval_table(ledgers, protocol, comparisons), *pairs]


def _interval_table(
    ledgers: Sequence[Ledger], protocol: Protocol, comparisons: Sequence[MetricComparison]
) -> Table:
    runs = in_paper_order(ledgers)
    labels = [_label(comparison, ledgers) for comparison in comparisons]
    rows = [
        [method_label(run), *(cell for c in comparisons for cell in _cells(c, run.name))]
        for run in runs
    ]
    bold = {
        (row, 2 * column + 1)
        for row, run in enumerate(runs)
        for column, comparison in enumerate(comparisons)
        if run.name in comparison.best
    }
    return run_table(
        f"Scores with 95 % intervals over {clusters_of(ledgers)}",
        ["Method", *(name for label in labels for name in (label, clusters_of(ledgers)))],
        rows,
        ledgers=ledgers,
        protocol=protocol,
        notes=_notes(ledgers, protocol, comparisons),
        bold=frozenset(bold),
    )


def _cells(comparison: MetricComparison, name: str) -> tuple[str, str]:
    """A score with its interval and letters, and its effective number of AOIs: ``3.9 of 12``."""
    estimate, letters = comparison.estimates[name], comparison.letters.get(name, "")
    effective = f"{number(estimate.effective, digits=1)} of {estimate.aois}"
    return f"{interval(estimate, comparison.metric)} {letters}".rstrip(), effective


def interval(estimate: Estimate, metric: str) -> str:
    """A score and the ends of its interval: ``23.41 [22.80, 24.02]``."""
    value, low, high = (
        number(end, digits=METRICS[metric].digits)
        for end in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} [{low}, {high}]" if math.isfinite(estimate.high - estimate.low) else value


def _label(comparison: MetricComparison, ledgers: Sequence[Ledger]) -> str:
    """Heading of a score, with the segmenter's name where there are several."""
    title, segmenters = METRICS[comparison.metric].title, segmenters_of(ledgers)
    if comparison.segmenter is None or len(segmenters) == 1:
        return title
    return f"{title}, {segmenters[comparison.segmenter]}"


def _notes(
    ledgers: Sequence[Ledger], protocol: Protocol, comparisons: Sequence[MetricComparison]
) -> list[str]:
    imagery = ledgers[0].imagery
    notes = [protocol.signature("all"), *_interval_notes(comparisons, imagery)]
    notes += independence_note(ledgers)
    if any(comparison.letters for comparison in comparisons):
        notes.append(SHARED_LETTERS)
    return [*notes, *_detectable_notes(comparisons, ledgers)]


def _interval_notes(comparisons: Sequence[MetricComparison], imagery: Imagery) -> list[str]:
    aois, one, many = comparisons[0].aois, imagery.cluster, imagery.clusters
    if aois < 2:
        return [f"One {one}: its scores say nothing about other places, so there are no intervals."]
    wide = (
        f", widened to the bootstrap-t quantile of {RESAMPLES} resamples, seed {SEED}, where "
        "that is larger; the leaderboard uses Student's t alone."
        if aois >= ENOUGH
        else f"; with fewer than {ENOUGH} {many}, whether that is wide enough cannot be checked."
    )
    how = (
        f"95 % intervals over {aois} {many}: jackknife, one {one} left out at a time, MAE on a log "
        f"scale; Student's t with {_freedom(comparisons)} degrees of freedom{wide}"
    )
    return [how, _EFFECTIVE.format(many=f"{many[0].upper()}{many[1:]}", clusters=many)]


_EFFECTIVE: Final = (
    "{many}: effective number of {clusters} (Kish), the squared sum of their errors over the sum "
    "of their squares; for a mean of scenes' PSNR, of the {clusters}' numbers of scenes."
)


def _freedom(comparisons: Sequence[MetricComparison]) -> str:
    """Lowest and highest degrees of freedom, in words."""
    freedoms = [
        estimate.freedom for comparison in comparisons for estimate in comparison.estimates.values()
    ]
    finite = sorted(value for value in freedoms if math.isfinite(value))
    ends = [f"{value:.1f}".removesuffix(".0") for value in (finite[:1] + finite[-1:])]
    return " to ".join(dict.fromkeys(ends)) or "–"


def _detectable_notes(
    comparisons: Sequence[MetricComparison], ledgers: Sequence[Ledger]
) -> list[str]:
    """The detectable difference of each score, of one pair alone and corrected for all."""
    gaps = []
    for comparison in comparisons:
        alone, corrected = (
            detectable_difference(comparison.pairs, corrected=corrected)
            for corrected in (False, True)
        )
        label, metric = _short_label(comparison, ledgers), METRICS[comparison.metric]
        gaps.append((label, metric, alone, corrected, len(comparison.pairs)))
    note = detectable_note(gaps, f" with {comparisons[0].aois} {clusters_of(ledgers)}")
    return [note] if note else []


def detectable_note(
    gaps: Iterable[tuple[str, Metric, float, float, int]], condition: str = ""
) -> str:
    """Describe detectable differences in one sentence; empty if none is finite.

    Args:
        gaps: Name of a score, its metric, the difference for one pair alone and corrected for all
            pairs, and their number.
        condition: Words that follow the first two, such as " with 12 AOIs".
    """
    texts, most_pairs = [], 0
    for label, metric, alone, corrected, pairs in gaps:
        most_pairs = max(most_pairs, pairs)
        if math.isfinite(alone):
            first, every = (
                f"{number(gap, digits=metric.digits)}{metric.difference_unit}"
                for gap in (alone, corrected)
            )
            texts.append(f"{label} {first} ({every})" if pairs > 1 else f"{label} {first}")
    if not texts:
        return ""
    among = f" (in parentheses, Holm-corrected: the first of {most_pairs} pairs)"
    head = f"Detectable differences{condition}, below which most gaps are not significant"
    return f"{head}{among if most_pairs > 1 else ''}: {', '.join(texts)}."


def _short_label(comparison: MetricComparison, ledgers: Sequence[Ledger]) -> str:
    """Name of a score without its unit: ``mIoU by resnet18 4af9b65d``."""
    title, _, segmenter = _label(comparison, ledgers).partition(", ")
    return f"{title.split()[0]}{f' by {segmenter}' if segmenter else ''}"


def _pair_table(
    ledgers: Sequence[Ledger], protocol: Protocol, comparisons: Sequence[MetricComparison]
) -> Table:
    rows = [
        _pair_row(pair, METRICS[comparison.metric].digits, label)
        for comparison in comparisons
        for label in [_label(comparison, ledgers)]
        for pair in _shown_pairs(comparison)
    ]
    few = len(comparisons[0].letters) <= _SHOWN
    which = "every pair" if few else "the best against every other"
    return run_table(
        f"Paired differences, {which}",
        ["Runs", "score", "difference", "95 % interval", "p", "p (Holm)"],
        rows,
        ledgers=ledgers,
        protocol=protocol,
        notes=[
            protocol.signature("all"),
            *_pair_notes(comparisons, ledgers[0].imagery),
            *independence_note(ledgers),
        ],
    )


def _pair_row(pair: Difference, digits: int, label: str) -> list[str]:
    value, low, high = (
        number(end, sign=True, digits=digits) for end in (pair.value, pair.low, pair.high)
    )
    names = f"{pair.first} − {pair.second}"
    return [names, label, value, f"{low} to {high}", _p(pair.p), _p(pair.p_holm)]


def _pair_notes(comparisons: Sequence[MetricComparison], imagery: Imagery) -> list[str]:
    aois = comparisons[0].aois
    if aois < 2:
        return _interval_notes(comparisons, imagery)
    how = (
        f"Differences paired on {aois} {imagery.clusters}: jackknife of the difference itself, "
        f"Student's t with {_freedom(comparisons)} degrees of freedom, not widened; p (Holm) is "
        "corrected for all pairs of runs in that score."
    )
    return [how]


def _shown_pairs(comparison: MetricComparison) -> list[Difference]:
    if len(comparison.letters) <= _SHOWN:
        return comparison.pairs
    best = next(iter(comparison.letters))
    return [pair for pair in comparison.pairs if best in (pair.first, pair.second)]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else number(value, digits=3)


def p_text(value: float) -> str:
    """A p value after ``p``: ``= 0.170`` or ``< 0.001``."""
    return _p(value) if value < 0.001 else f"= {_p(value)}"


def gain_table(
    ledgers: Sequence[Ledger], protocol: Protocol, gains: Mapping[str, Sequence[Gain]]
) -> Table:
    """Scores beside the input's: of one run a line per score, of several a line per run."""
    several, clusters = len(ledgers) > 1, clusters_of(ledgers)
    how = (
        f"Prediction minus input, paired on {clusters}: jackknife of the difference itself; p "
        "(Holm) is corrected for the scores of a method."
    )
    if several:
        header = ["Method", *(METRICS[gain.metric].title for gain in gains[ledgers[0].name])]
        inputs = gains[widest(ledgers).name]
        first = ["Cloudy (input)", *(_score(gain, gain.before) for gain in inputs)]
        runs = in_paper_order(ledgers)
        rows = [first, *([method_label(run), *map(_with_gain, gains[run.name])] for run in runs)]
        note = f"In brackets the difference from the input, with a star if significant. {how}"
    else:
        header = ["Score", "cloudy input", "prediction", "difference", "95 % interval", "p (Holm)"]
        header.append(clusters)
        rows = [_gain_cells(gain) for gain in gains[ledgers[0].name]]
        note = f"{how} A dash where nothing can be tested."
    return run_table(
        "Scores beside the input's",
        header,
        rows,
        ledgers=ledgers,
        protocol=protocol,
        notes=[protocol.signature("all", "pixels"), note, *independence_note(ledgers)],
        kinds=["input", *["measured"] * len(ledgers)] if several else (),
    )


def _score(gain: Gain, value: float) -> str:
    return number(value, digits=METRICS[gain.metric].digits)


def _with_gain(gain: Gain) -> str:
    """``26.65 (+13.75*)``."""
    change = number(gain.pair.value, sign=True, digits=METRICS[gain.metric].digits)
    star = "*" * (gain.pair.p_holm < LEVEL)
    return f"{_score(gain, gain.after)} ({change}{star})"


def _gain_cells(gain: Gain) -> list[str]:
    metric, pair = METRICS[gain.metric], gain.pair
    value, low, high = (
        number(end, sign=True, digits=metric.digits) for end in (pair.value, pair.low, pair.high)
    )
    interval = "–" if "–" in (low, high) else f"{low} to {high}"
    scores = (_score(gain, score) for score in (gain.before, gain.after))
    return [metric.title, *scores, value, interval, _p(pair.p_holm), str(gain.aois)]


def statistic_frame(protocol: Protocol, comparisons: Sequence[MetricComparison]) -> pd.DataFrame:
    """Everything at full precision: a row per run and score, and a row per pair and score."""
    rows: list[dict[str, object]] = []
    for comparison in comparisons:
        score: dict[str, object] = {"protocol": protocol.name, "metric": comparison.metric}
        score |= {"segmenter": comparison.segmenter, "aois": comparison.aois}
        for name, estimate in comparison.estimates.items():
            rows.append({
                **score, "aois": estimate.aois, "run": name, **_interval_cells(estimate),
                "effective_aois": estimate.effective, "letters": comparison.letters.get(name),
            })  # fmt: skip
        for pair in comparison.pairs:
            names = {"run": pair.first, "minus": pair.second}
            rows.append({
                **score, **names, **_interval_cells(pair), "p": pair.p, "p_holm": pair.p_holm
            })  # fmt: skip
    return pd.DataFrame(rows)


def _interval_cells(result: Estimate | Difference) -> dict[str, float]:
    ends = {"low": result.low, "high": result.high}
    return {"value": result.value, **ends, "freedom": result.freedom}


def best_of(comparisons: Sequence[MetricComparison]) -> dict[str, list[str]]:
    """Score to the best run and those that do not differ significantly from it."""
    return {
        comparison.metric: comparison.best
        for comparison in comparisons
        if comparison.metric in HEADLINE
    }
