"""Test that windows are chosen evenly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planetcr_bench.constants import COVER_BINS, LAND_COVER, LAND_COVER_NAMES
from planetcr_bench.curation.selection import (
    NOTHING,
    cells_of,
    histogram,
    quotas,
    select,
    shortages,
)
from planetcr_bench.errors import DatasetError


def windows(count: int, *, aois: int = 10, seed: int = 0) -> pd.DataFrame:
    """Random windows, more of them with little cloud and of the first classes."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet([2, 1, 1, 0.5, 0.3, 0.2, 0.1], count)
    frame = pd.DataFrame(shares, columns=list(LAND_COVER_NAMES))
    frame["cover"] = rng.beta(0.6, 1.2, count)
    frame["aoi"] = rng.integers(1, aois + 1, count)
    frame["patch"] = np.arange(1, count + 1)
    return frame.join(cells_of(frame))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.data())
def test_quotas_are_as_even_as_can_be(available: list[int], data: st.DataObject) -> None:
    wanted = data.draw(st.integers(0, sum(available)))
    parts = quotas(available, wanted)
    assert sum(parts) == wanted
    for part, most in zip(parts, available, strict=True):
        assert 0 <= part <= most
        assert part == most or part >= max(parts) - 1  # only what is exhausted stays behind


def test_cells_are_the_bin_and_the_class_that_covers_most() -> None:
    rows = pd.DataFrame(0.0, index=range(3), columns=list(LAND_COVER_NAMES))
    rows.loc[0, ["urban", "water"]] = 0.3, 0.7
    rows.loc[1, ["unknown", "barren"]] = 0.9, 0.1  # snow, and a little rock
    rows.loc[2, "unknown"] = 1
    cells = cells_of(rows.assign(cover=[0.2, 1.0, np.nan]))
    assert cells["bin"].tolist() == ["20-40", "80-100", "unknown"]
    assert cells["dominant"].tolist() == ["water", "barren", NOTHING]


def test_where_there_is_enough_every_cell_has_the_same_number() -> None:
    frame = windows(20_000)
    chosen = frame.loc[select(frame, 300, seed=0)]
    counts = chosen.groupby(["bin", "dominant"]).size()
    assert counts.tolist() == [10] * 30


def test_what_is_rare_is_used_up_and_bins_stay_even() -> None:
    frame = windows(1_000)
    chosen = frame.loc[select(frame, 500, seed=0)]
    bins = chosen["bin"].value_counts()
    supply = frame["bin"].value_counts()
    assert all(bins[name] == min(supply[name], bins.max()) or bins.max() - bins[name] <= 1
               for name in COVER_BINS)  # fmt: skip
    table = histogram(frame, chosen)
    totals = table[(table["cover"] == "all") & (table["class"] != "all")]
    assert totals["chosen"].sum() == 500
    assert table["ideal"].iloc[0] == pytest.approx(500 / 30)
    for row in totals.to_dict("records"):
        assert row["pixels"] == pytest.approx(chosen[row["class"]].mean())
    water = (frame["dominant"] == "water").sum()
    assert f"water ({water} of 83)" in shortages(table)


def test_aois_take_turns() -> None:
    frame = windows(20_000)
    chosen = frame.loc[select(frame, 600, seed=0)]
    counts = chosen["aoi"].value_counts()
    assert counts.max() - counts.min() <= 1


def test_the_seed_chooses_and_the_order_of_rows_does_not() -> None:
    frame = windows(2_000)
    first = select(frame, 100, seed=0)
    shuffled = frame.sample(frac=1, random_state=1)
    assert select(shuffled, 100, seed=0).tolist() == first.tolist()
    assert select(frame, 100, seed=1).tolist() != first.tolist()


def test_too_few_windows_are_refused() -> None:
    frame = windows(50)
    frame.loc[0, "dominant"] = NOTHING
    assert len(select(frame, 49, seed=0)) == 49
    with pytest.raises(DatasetError, match="expected 50 windows to choose from, got 49"):
        select(frame, 50, seed=0)


def test_without_masks_and_maps_there_is_one_cell() -> None:
    frame = windows(40).drop(columns=["bin", "dominant"])
    frame[["cover", *LAND_COVER_NAMES]] = np.nan
    frame = frame.join(cells_of(frame))
    table = histogram(frame, frame.loc[select(frame, 7, seed=0)])
    assert table["chosen"].tolist() == [7] * 4
    assert LAND_COVER[0] not in table["class"].tolist()
