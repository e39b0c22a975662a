"""Standings in, tables of intervals and of paired differences out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import pandas as pd

from planetcr_bench.ledger import Ledger
from planetcr_bench.protocols import Protocol
from planetcr_bench.render import Block, coverage_notes, number
from planetcr_bench.semantics import judges_of
from planetcr_bench.statistics import LEVEL, RESAMPLES, SEED, Difference, Standing, resolution
from planetcr_bench.tables import LABEL, METRICS, in_paper_order, input_note, method_label

DIGITS: Final = {"mae": 4, "psnr": 2, "sam_deg": 2, "ssim": 4, "miou": 1, "pa": 1}
UNIT: Final = {"mae": "", "psnr": " dB", "sam_deg": "°", "ssim": "", "miou": " points"}
_JUDGED: Final = {"miou": "mIoU ↑ [%]", "pa": "PA ↑ [%]"}
_SHOWN: Final = 6
"""Runs of which every pair is printed; of more, the best against every other."""


def statistic_blocks(
    ledgers: Sequence[Ledger], protocol: Protocol, standings: Sequence[Standing]
) -> list[Block]:
    """Scores ± half-width with their ties, and paired differences of every score."""
    several = any(standing.pairs for standing in standings)
    pairs = [_pair_block(ledgers, protocol, standings)] if several else []
    return [_interval_block(ledgers, protocol, standings), *pairs]


def _interval_block(
    ledgers: Sequence[Ledger], protocol: Protocol, standings: Sequence[Standing]
) -> Block:
    runs = in_paper_order(ledgers)
    rows = [[method_label(run), *(_cell(one, run.name) for one in standings)] for run in runs]
    bold = {
        (row, column)
        for row, run in enumerate(runs)
        for column, one in enumerate(standings, 1)
        if run.name in one.best
    }
    return Block(
        f"Scores ± half a 95 % interval over AOIs, protocol {protocol.name}",
        ["Method", *(_label(one, ledgers) for one in standings)],
        rows,
        ["measured"] * len(rows),
        [*_notes(protocol, standings), *coverage_notes(ledgers)],
        frozenset(bold),
    )


def _cell(standing: Standing, name: str) -> str:
    found, digits = standing.estimates[name], DIGITS[standing.metric]
    half = found.high - found.value
    width = f" ± {number(half, digits=digits)}" if math.isfinite(half) else ""
    letters = standing.letters.get(name, "")
    return f"{number(found.value, digits=digits)}{width}{f' {letters}' if letters else ''}"


def _label(standing: Standing, ledgers: Sequence[Ledger]) -> str:
    if standing.judge is None:
        return LABEL[standing.metric]
    judges = judges_of(ledgers)
    name = f", {judges[standing.judge]}" if len(judges) > 1 else ""
    return f"{_JUDGED[standing.metric]}{name}"


def _notes(protocol: Protocol, standings: Sequence[Standing]) -> list[str]:
    aois = standings[0].aois
    notes = [
        protocol.signature("all"),
        (
            f"95 % intervals: {RESAMPLES} bootstrap resamples of {aois} AOIs, seed {SEED}, "
            f"Student's t with {aois - 1} degrees of freedom."
        ),
    ]
    if aois < 2:
        notes[1] = "One AOI: nothing can be said of other places, so there are no intervals."
    if any(one.letters for one in standings):
        notes.append(
            "Runs that share a letter cannot be told apart in that score (paired differences, "
            f"Holm-corrected, {LEVEL:.0%})."
        )
    seen = [
        f"{number(gap, digits=DIGITS[one.metric])}{UNIT[one.metric]} in {_plain(one)}"
        for one in standings
        if one.judge is None and math.isfinite(gap := resolution(one.pairs))
    ]
    if seen:
        notes.append(f"Most gaps below {', '.join(seen)} cannot be seen with {aois} AOIs.")
    return notes


def _plain(standing: Standing) -> str:
    return LABEL[standing.metric].split()[0]


def _pair_block(
    ledgers: Sequence[Ledger], protocol: Protocol, standings: Sequence[Standing]
) -> Block:
    rows = [
        [
            f"{pair.first} − {pair.second}",
            _label(standing, ledgers),
            number(pair.value, sign=True, digits=DIGITS[standing.metric]),
            (
                f"{number(pair.low, sign=True, digits=DIGITS[standing.metric])} to "
                f"{number(pair.high, sign=True, digits=DIGITS[standing.metric])}"
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
        [*_notes(protocol, standings)[:2], input_note(ledgers)],
    )


def _told(standing: Standing) -> list[Difference]:
    if len(standing.letters) <= _SHOWN:
        return standing.pairs
    best = next(iter(standing.letters))
    return [pair for pair in standing.pairs if best in (pair.first, pair.second)]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else number(value, digits=3)


def statistic_frame(protocol: Protocol, standings: Sequence[Standing]) -> pd.DataFrame:
    """Everything at full precision: a row per run and score, and a row per pair and score."""
    rows: list[dict[str, object]] = []
    for one in standings:
        facts: dict[str, object] = {"protocol": protocol.name, "metric": one.metric}
        facts |= {"judge": one.judge, "aois": one.aois}
        for name, found in one.estimates.items():
            told = {"value": found.value, "low": found.low, "high": found.high}
            rows.append({**facts, "run": name, **told, "letters": one.letters.get(name)})
        for pair in one.pairs:
            told = {"value": pair.value, "low": pair.low, "high": pair.high}
            ps = {"p": pair.p, "p_holm": pair.p_holm}
            rows.append({**facts, "run": pair.first, "minus": pair.second, **told, **ps})
    return pd.DataFrame(rows)


def best_of(standings: Sequence[Standing]) -> dict[str, list[str]]:
    """Score to the runs that are best or cannot be told from the best."""
    return {one.metric: one.best for one in standings if one.metric in METRICS}
