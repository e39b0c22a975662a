"""Standings in, tables of intervals and of paired differences out."""

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
    ledgers: Sequence[Ledger], protocol: Protocol, standings: Sequence[MetricComparison]
) -> list[Block]:
    """Scores with their intervals and ties, and paired differences of every score."""
    several = any(standing.pairs for standing in standings)
    pairs = [_pair_block(ledgers, protocol, standings)] if several else []
    return [_interval_block(ledgers, protocol, standings), *pairs]


def _interval_block(
    ledgers: Sequence[Ledger], protocol: Protocol, standings: Sequence[MetricComparison]
) -> Block:
    runs = in_paper_order(ledgers)
    rows = [
        [method_label(run), *(cell for one in standings for cell in _cells(one, run.name))]
        for run in runs
    ]
    bold = {
        (row, 2 * place + 1)
        for row, run in enumerate(runs)
        for place, one in enumerate(standings)
        if run.name in one.best
    }
    return Block(
        f"Scores with 95 % intervals over AOIs, protocol {protocol.name}",
        ["Method", *(name for one in standings for name in (_label(one, ledgers), "AOIs"))],
        rows,
        ["measured"] * len(rows),
        [*_notes(ledgers, protocol, standings), *coverage_notes(ledgers)],
        frozenset(bold),
    )


def _cells(standing: MetricComparison, name: str) -> tuple[str, str]:
    """A score with its interval and letters, and how many AOIs it hangs on."""
    found, letters = standing.estimates[name], standing.letters.get(name, "")
    return " ".join([interval(found, standing.metric), *filter(None, [letters])]), weight(found)


def interval(found: Estimate, metric: str) -> str:
    """A score and the ends of its interval: ``23.41 [22.80, 24.02]``."""
    value, low, high = (
        number(each, digits=METRICS[metric].digits) for each in (found.value, found.low, found.high)
    )
    return f"{value} [{low}, {high}]" if math.isfinite(found.high - found.low) else value


def weight(found: Estimate) -> str:
    """How many AOIs a score hangs on: ``3.9 of 12``."""
    return f"{number(found.effective, digits=1)} of {found.aois}"


def _label(standing: MetricComparison, ledgers: Sequence[Ledger]) -> str:
    if standing.segmenter is None:
        return METRICS[standing.metric].title
    segmenters = segmenters_of(ledgers)
    name = f", {segmenters[standing.segmenter]}" if len(segmenters) > 1 else ""
    return f"{METRICS[standing.metric].title}{name}"


def _notes(
    ledgers: Sequence[Ledger], protocol: Protocol, standings: Sequence[MetricComparison]
) -> list[str]:
    notes = [protocol.signature("all"), *_interval_notes(standings)]
    if any(one.letters for one in standings):
        notes.append(
            "Runs that share a letter cannot be told apart in that score (paired differences, "
            f"Holm-corrected, {LEVEL:.0%})."
        )
    return [*notes, *_detectable_notes(standings, ledgers)]


def _interval_notes(standings: Sequence[MetricComparison]) -> list[str]:
    aois = standings[0].aois
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
        f"scale; Student's t with {_freedom(standings)} degrees of freedom{wide}"
    )
    return [how, _EFFECTIVE]


_EFFECTIVE: Final = (
    "AOIs: the effective number that a score hangs on (Kish), the squared sum of the AOIs' errors "
    "over the sum of their squares; of their scenes, for a mean of scenes' PSNR."
)


def _freedom(standings: Sequence[MetricComparison]) -> str:
    found = [each.freedom for one in standings for each in one.estimates.values()]
    ends = sorted({f"{value:.1f}".removesuffix(".0") for value in found if math.isfinite(value)},
                  key=float)  # fmt: skip
    return " to ".join(dict.fromkeys([ends[0], ends[-1]])) if ends else "–"


def _detectable_notes(
    standings: Sequence[MetricComparison], ledgers: Sequence[Ledger]
) -> list[str]:
    """The gap in each score below which most pairs cannot be told apart, alone and corrected."""
    seen = []
    for one in standings:
        told = [
            detectable_difference(one.pairs, corrected=corrected) for corrected in (False, True)
        ]
        metric = METRICS[one.metric]
        alone, corrected = (
            f"{number(gap, digits=metric.digits)}{metric.difference_unit}" for gap in told
        )
        if math.isfinite(told[0]):
            among = f" ({corrected})" if len(one.pairs) > 1 else ""
            seen.append(f"{_plain(one, ledgers)} {alone}{among}")
    if not seen:
        return []
    pairs = max(len(one.pairs) for one in standings)
    among = f" (in parentheses, Holm-corrected: the first of {pairs} pairs)" if pairs > 1 else ""
    head = f"Detectable differences with {standings[0].aois} AOIs, below which most gaps cannot be"
    return [f"{head} seen{among}: {', '.join(seen)}."]


def _plain(standing: MetricComparison, ledgers: Sequence[Ledger]) -> str:
    name, _, segmenter = _label(standing, ledgers).partition(", ")
    return f"{name.split()[0]}{f' by {segmenter}' if segmenter else ''}"


def _pair_block(
    ledgers: Sequence[Ledger], protocol: Protocol, standings: Sequence[MetricComparison]
) -> Block:
    rows = [
        [
            f"{pair.first} − {pair.second}",
            _label(standing, ledgers),
            number(pair.value, sign=True, digits=METRICS[standing.metric].digits),
            (
                f"{number(pair.low, sign=True, digits=METRICS[standing.metric].digits)} to "
                f"{number(pair.high, sign=True, digits=METRICS[standing.metric].digits)}"
            ),
            _p(pair.p),
            _p(pair.p_holm),
        ]
        for standing in standings
        for pair in _told(standing)
    ]
    few = len(standings[0].letters) <= _SHOWN
    which = "every pair" if few else "the best against every other"
    return Block(
        f"Paired differences, {which}, protocol {protocol.name}",
        ["Runs", "score", "difference", "95 % interval", "p", "p (Holm)"],
        rows,
        ["measured"] * len(rows),
        [protocol.signature("all"), *_pair_notes(standings), input_note(ledgers)],
    )


def _pair_notes(standings: Sequence[MetricComparison]) -> list[str]:
    aois = standings[0].aois
    if aois < 2:
        return _interval_notes(standings)
    how = (
        f"Differences paired on {aois} AOIs: jackknife of the difference itself, Student's t with "
        f"{_freedom(standings)} degrees of freedom, not widened; p (Holm) is corrected for all "
        "pairs of runs in that score."
    )
    return [how]


def _told(standing: MetricComparison) -> list[Difference]:
    if len(standing.letters) <= _SHOWN:
        return standing.pairs
    best = next(iter(standing.letters))
    return [pair for pair in standing.pairs if best in (pair.first, pair.second)]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else number(value, digits=3)


def statistic_frame(protocol: Protocol, standings: Sequence[MetricComparison]) -> pd.DataFrame:
    """Everything at full precision: a row per run and score, and a row per pair and score."""
    rows: list[dict[str, object]] = []
    for one in standings:
        facts: dict[str, object] = {"protocol": protocol.name, "metric": one.metric}
        facts |= {"segmenter": one.segmenter, "aois": one.aois}
        for name, found in one.estimates.items():
            told = {"value": found.value, "low": found.low, "high": found.high}
            told |= {"freedom": found.freedom, "effective_aois": found.effective}
            own = {"run": name, "aois": found.aois}
            rows.append({**facts, **own, **told, "letters": one.letters.get(name)})
        for pair in one.pairs:
            told = {"value": pair.value, "low": pair.low, "high": pair.high}
            told |= {"freedom": pair.freedom}
            ps = {"p": pair.p, "p_holm": pair.p_holm}
            rows.append({**facts, "run": pair.first, "minus": pair.second, **told, **ps})
    return pd.DataFrame(rows)


def best_of(standings: Sequence[MetricComparison]) -> dict[str, list[str]]:
    """Score to the runs that are best or cannot be told from the best."""
    return {one.metric: one.best for one in standings if one.metric in HEADLINE}
