"""Test that arrays of the page keep counts exactly and totals of sums nearly so."""

from __future__ import annotations

import numpy as np
import pytest

from boards import numbers
from planetcr_bench.leaderboard.arrays import COARSEST, LONG, ArrayStore

CELLS = 2 * LONG
GROUPS = np.stack([np.arange(CELLS) % 50, np.arange(CELLS) // 100], 1)
RNG = np.random.default_rng(0)
COUNTS = RNG.integers(0, 1000, CELLS)
ERRORS = np.where(COUNTS % 7 > 0, COUNTS * np.exp(RNG.normal(-3, 1, CELLS)).clip(0, 1), 0)


def test_counts_are_exact_also_as_shares_of_others() -> None:
    arrays = ArrayStore()
    first = arrays.whole(4 * COUNTS)
    fewer = COUNTS - (RNG.random(CELLS) < 0.01) * (COUNTS > 0)
    for key, known in ((first, 4 * COUNTS), (arrays.whole(fewer, like=first), fewer)):
        assert (numbers(arrays, key) == known).all()
    assert (numbers(arrays, arrays.whole(np.empty(0))) == []).all()


@pytest.mark.parametrize("rest", [False, True])
def test_no_cell_is_far_off_and_totals_of_groups_are_right(rest: bool) -> None:
    arrays = ArrayStore()
    sums = COUNTS - ERRORS if rest else ERRORS
    key = arrays.ratios(sums, arrays.whole(COUNTS), groups=GROUPS, rest=rest)
    kept = COUNTS - numbers(arrays, key) if rest else numbers(arrays, key)
    assert ((kept == 0) == (ERRORS == 0)).all()
    np.testing.assert_allclose(kept, ERRORS, rtol=np.expm1(COARSEST))
    for groups in GROUPS.T:
        totals = (np.bincount(groups, values) for values in (kept, ERRORS))
        np.testing.assert_allclose(*totals, rtol=1e-3)


def test_decibels_may_be_negative() -> None:
    arrays = ArrayStore()
    decibels = COUNTS * RNG.normal(0, 20, CELLS)
    key = arrays.ratios(decibels, arrays.whole(COUNTS), groups=GROUPS, linear=True)
    assert abs(numbers(arrays, key) - decibels)[COUNTS > 0].max() < 3 * COARSEST * COUNTS.max()
    assert numbers(arrays, key).sum() == pytest.approx(decibels.sum(), abs=500)


def test_the_text_is_short() -> None:
    """A bit more than half of what float32 needs, and equal arrays are kept once."""
    arrays = ArrayStore()
    sizes = arrays.whole(COUNTS)
    before = len(arrays.text)
    for _ in range(2):
        arrays.ratios(ERRORS, sizes, groups=GROUPS)
    assert len(arrays.text) - before < 1.4 * CELLS
