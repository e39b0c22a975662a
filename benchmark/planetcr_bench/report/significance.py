"""Make tables of confidence intervals and of paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import pandas as pd

from planetcr_bench.analysis.segmentation import segmenters_of
from planetcr_bench.analysis.significance import (
    ENOUGH,
    LEVEL,
    RESAMPLES,
    SEED,
    Difference,
    Estimate,
    MetricComparison,
    detectable_difference,
)
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS
from planetcr_bench.report.scores import coverage_notes
from planetcr_bench.report.table import Block, number
from planetcr_bench.results.aggregate import in_paper_order, input_note, method_label
from planetcr_bench.results.ledger import Ledger

_SHOWN: Final = 6
"""Runs of which every pair is printed; of more, the best against every other."""


def statistic_blocks(
    ledgers: Sequence[Ledger], protocol: Protocol, comparisons: Sequence[MetricComparison]
) -> list[Block]:
    """Scores with their intervals and ties, and paired differences of every score."""
    several = any(comparison.pairs for comparison in comparisons)
    pairs = [_pair_block(ledgers, protocol, comparisons)] if several else []
    return [_interval_block(ledgers, protocol, comparisons), *pairs]


def _interval_block(
    ledgers: Sequence[Ledger], protocol: Protocol, comparisons: Sequence[MetricComparison]
) -> Block:
    runs = in_paper_order(ledgers)
    rows = [
        [
            method_label(run),
            *(cell for comparison in comparisons for cell in _cells(comparison, run.name)),
        ]
        for run in runs
    ]
    bold = {
        (row, 2 * position + 1)
        for row, run in enumerate(runs)
        for position, comparison in enumerate(comparisons)
        if run.name in comparison.best
    }
    return Block(
        f"Scores with 95 % intervals over AOIs, protocol {protocol.name}",
        [
            "Method",
            *(name for comparison in comparisons for name in (_label(comparison, ledgers), "AOIs")),
        ],
        rows,
        ["measured"] * len(rows),
        [*_notes(ledgers, protocol, comparisons), *coverage_notes(ledgers)],
        frozenset(bold),
    )


def _cells(comparison: MetricComparison, name: str) -> tuple[str, str]:
    """A score with its interval and letters, and how many AOIs it hangs on."""
    estimate, letters = comparison.estimates[name], comparison.letters.get(name, "")
    return " ".join([interval(estimate, comparison.metric), *filter(None, [letters])]), weight(
        estimate
    )


def interval(estimate: Estimate, metric: str) -> str:
    """A score and the ends of its interval: ``23.41 [22.80, 24.02]``."""
    value, low, high = (
        number(end, digits=METRICS[metric].digits)
        for end in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} [{low}, {high}]" if math.isfinite(estimate.high - estimate.low) else value


def weight(estimate: Estimate) -> str:
    """How many AOIs a score hangs on: ``3.9 of 12``."""
    return f"{number(estimate.effective, digits=1)} of {estimate.aois}"


def _label(comparison: MetricComparison, ledgers: Sequence[Ledger]) -> str:
    if comparison.segmenter is None:
        return METRICS[comparison.metric].title
    segmenters = segmenters_of(ledgers)
    name = f", {segmenters[comparison.segmenter]}" if len(segmenters) > 1 else ""
    return f"{METRICS[comparison.metric].title}{name}"


def _notes(
    ledgers: Sequence[Ledger], protocol: Protocol, comparisons: Sequence[MetricComparison]
) -> list[str]:
    notes = [protocol.signature("all"), *_interval_notes(comparisons)]
    if any(comparison.letters for comparison in comparisons):
        notes.append(
            "Runs that share a letter are not significantly different in that score (paired "
            f"differences, Holm-corrected, {LEVEL:.0%})."
        )
    return [*notes, *_detectable_notes(comparisons, ledgers)]


def _interval_notes(comparisons: Sequence[MetricComparison]) -> list[str]:
    aois = comparisons[0].aois
    if aois < 2:
        return ["One AOI: nothing can be said of other places, so there are no intervals."]
    wide = (
        f", widened to the bootstrap-t quantile of {RESAMPLES} resamples, seed {SEED}, where "
        "that is larger; the leaderboard has Student's t alone."
        if aois >= ENOUGH
        else f"; fewer than {ENOUGH} AOIs do not tell whether that is wide enough."
    )
    how = (
        f"95 % intervals over {aois} AOIs: jackknife, one AOI left out at a time, MAE on a log "
        f"scale; Student's t with {_freedom(comparisons)} degrees of freedom{wide}"
    )
    return [how, _EFFECTIVE]


_EFFECTIVE: Final = (
    "AOIs: the effective number that a score hangs on (Kish), the squared sum of the AOIs' errors "
    "over the sum of their squares; of their scenes, for a mean of scenes' PSNR."
)


def _freedom(comparisons: Sequence[MetricComparison]) -> str:
    freedoms = [
        estimate.freedom for comparison in comparisons for estimate in comparison.estimates.values()
    ]
    ends = sorted({f"{value:.1f}".removesuffix(".0") for value in freedoms if math.isfinite(value)},
                  key=float)  # fmt: skip
    return " to ".join(dict.fromkeys([ends[0], ends[-1]])) if ends else "–"


def _detectable_notes(
    comparisons: Sequence[MetricComparison], ledgers: Sequence[Ledger]
) -> list[str]:
    """The detectable difference of each score, of one pair alone and corrected for all."""
    shown = []
    for comparison in comparisons:
        gaps = [
            detectable_difference(comparison.pairs, corrected=corrected)
            for corrected in (False, True)
        ]
        metric = METRICS[comparison.metric]
        alone, corrected = (
            f"{number(gap, digits=metric.digits)}{metric.difference_unit}" for gap in gaps
        )
        if math.isfinite(gaps[0]):
            among = f" ({corrected})" if len(comparison.pairs) > 1 else ""
            shown.append(f"{_plain(comparison, ledgers)} {alone}{among}")
    if not shown:
        return []
    pairs = max(len(comparison.pairs) for comparison in comparisons)
    among = f" (in parentheses, Holm-corrected: the first of {pairs} pairs)" if pairs > 1 else ""
    head = (
        f"Detectable differences with {comparisons[0].aois} AOIs, below which most gaps cannot be"
    )
    return [f"{head} seen{among}: {', '.join(shown)}."]


def _plain(comparison: MetricComparison, ledgers: Sequence[Ledger]) -> str:
    name, _, segmenter = _label(comparison, ledgers).partition(", ")
    return f"{name.split()[0]}{f' by {segmenter}' if segmenter else ''}"


def _pair_block(
    ledgers: Sequence[Ledger], protocol: Protocol, comparisons: Sequence[MetricComparison]
) -> Block:
    rows = [
        [
            f"{pair.first} − {pair.second}",
            _label(comparison, ledgers),
            number(pair.value, sign=True, digits=METRICS[comparison.metric].digits),
            (
                f"{number(pair.low, sign=True, digits=METRICS[comparison.metric].digits)} to "
                f"{number(pair.high, sign=True, digits=METRICS[comparison.metric].digits)}"
            ),
            _p(pair.p),
            _p(pair.p_holm),
        ]
        for comparison in comparisons
        for pair in _shown_pairs(comparison)
    ]
    few = len(comparisons[0].letters) <= _SHOWN
    which = "every pair" if few else "the best against every other"
    return Block(
        f"Paired differences, {which}, protocol {protocol.name}",
        ["Runs", "score", "difference", "95 % interval", "p", "p (Holm)"],
        rows,
        ["measured"] * len(rows),
        [protocol.signature("all"), *_pair_notes(comparisons), input_note(ledgers)],
    )


def _pair_notes(comparisons: Sequence[MetricComparison]) -> list[str]:
    aois = comparisons[0].aois
    if aois < 2:
        return _interval_notes(comparisons)
    how = (
        f"Differences paired on {aois} AOIs: jackknife of the difference itself, Student's t with "
        f"{_freedom(comparisons)} degrees of freedom, not widened; p (Holm) is corrected for all "
        "pairs of runs in that score."
    )
    return [how]


def _shown_pairs(comparison: MetricComparison) -> list[Difference]:
    if len(comparison.letters) <= _SHOWN:
        return comparison.pairs
    best = next(iter(comparison.letters))
    return [pair for pair in comparison.pairs if best in (pair.first, pair.second)]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else number(value, digits=3)


def statistic_frame(protocol: Protocol, comparisons: Sequence[MetricComparison]) -> pd.DataFrame:
    """Everything at full precision: a row per run and score, and a row per pair and score."""
    rows: list[dict[str, object]] = []
    for comparison in comparisons:
        facts: dict[str, object] = {"protocol": protocol.name, "metric": comparison.metric}
        facts |= {"segmenter": comparison.segmenter, "aois": comparison.aois}
        for name, estimate in comparison.estimates.items():
            figures = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
            figures |= {"freedom": estimate.freedom, "effective_aois": estimate.effective}
            own = {"run": name, "aois": estimate.aois}
            rows.append({**facts, **own, **figures, "letters": comparison.letters.get(name)})
        for pair in comparison.pairs:
            figures = {"value": pair.value, "low": pair.low, "high": pair.high}
            figures |= {"freedom": pair.freedom}
            ps = {"p": pair.p, "p_holm": pair.p_holm}
            rows.append({**facts, "run": pair.first, "minus": pair.second, **figures, **ps})
    return pd.DataFrame(rows)


def best_of(comparisons: Sequence[MetricComparison]) -> dict[str, list[str]]:
    """Score to the best run and those that do not differ significantly from it."""
    return {
        comparison.metric: comparison.best
        for comparison in comparisons
        if comparison.metric in HEADLINE
    }
