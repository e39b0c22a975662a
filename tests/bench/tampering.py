"""Change rows of a ledger as a forger would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from paths import RUNS
from planetcr_bench.metrics.sums import SUMS, segmenter_columns
from planetcr_bench.results.ledger import Ledger, read_ledger
from planetcr_bench.results.schema import COLUMNS

COUNTS = [name for name in SUMS if "pixels" in name or name == "out_of_range"]
FLOATS = [name for name in SUMS if name not in (*COUNTS, "values")]

Where = dict[str, str]
CELL: Where = {"scene": "fall_663_p_56", "land_cover": "agriculture", "region": "cloud"}
FULL: Where = {**CELL, "protocol": "full"}
CENTRE: Where = {**CELL, "protocol": "official"}
INSIDE: Where = {"scene": "spring_672_p_3", "land_cover": "barren", "region": "edge"}
"""A cell of which every pixel is in the centre."""
ALL_INSIDE: Where = {**INSIDE, "protocol": "full"}
SCENE: Where = {"scene": CELL["scene"]}


def some_scenes(segmenters: int) -> Ledger:
    """Three scenes of a real run, as if they were all."""
    whole = read_ledger(RUNS / "align_cr-small")
    chosen = ["fall_663_p_56", "spring_672_p_3", "spring_672_p_16"]
    kept = dict(list(whole.provenance["segmenters"].items())[:segmenters])
    columns = [*COLUMNS, *(name for segmenter in kept for name in segmenter_columns(segmenter))]
    frame = whole.frame.loc[whole.frame["scene"].isin(chosen), columns].reset_index(drop=True)
    frame = frame.astype({name: str for name in frame if frame[name].dtype == "category"})
    return Ledger(frame, {**whole.provenance, "segmenters": kept, "scenes": 3, "expected_scenes": 3,
        "track": "mine", "simulation": None})  # fmt: skip


def rows_of(frame: pd.DataFrame, where: Where) -> pd.Series:
    mask = pd.Series(True, frame.index)
    for name, word in where.items():
        mask &= frame[name] == word
    assert mask.any()
    return mask


def tampered(ledger: Ledger, where: Where, **changes: object) -> Ledger:
    """Some rows changed: to a value, or by a function of the column."""
    frame = ledger.frame.copy()
    mask = rows_of(frame, where)
    for column, change in changes.items():
        new = change(frame.loc[mask, column]) if callable(change) else change
        frame.loc[mask, column] = new
    assert not frame.equals(ledger.frame)
    return replace(ledger, frame=frame)


def with_rows(ledger: Ledger, frame: pd.DataFrame) -> Ledger:
    return replace(ledger, frame=frame.reset_index(drop=True))


def plus(number: float) -> Callable[[pd.Series], pd.Series]:
    return lambda column: column + number


def times(number: float) -> Callable[[pd.Series], pd.Series]:
    return lambda column: column * number


def read_counts(ledger: Ledger, image: str) -> list[str]:
    return [name for name in segmenter_columns(ledger.segmenters[0]) if f"_{image}_" in name]
