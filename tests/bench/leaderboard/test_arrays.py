"""Test that arrays of the page keep counts exactly and sums with the digits of their type."""

from __future__ import annotations

import numpy as np
import pytest

from boards import numbers
from planetcr_bench.leaderboard.arrays import ArrayStore

RNG = np.random.default_rng(0)
COUNTS = RNG.integers(0, 1000, 7000)


@pytest.mark.parametrize("scale", [1, 60, 4_000_000])
def test_counts_are_exact_also_as_shares_of_others(scale: int) -> None:
    arrays = ArrayStore()
    first = arrays.whole(scale * COUNTS)
    fewer = COUNTS - (RNG.random(len(COUNTS)) < 0.01) * (COUNTS > 0)
    for key, known in ((first, scale * COUNTS), (arrays.whole(fewer, like=first), fewer)):
        assert (numbers(arrays, key) == known).all()
    assert (numbers(arrays, arrays.whole(-COUNTS)) == -COUNTS).all()
    assert (numbers(arrays, arrays.whole(np.empty(0))) == []).all()


@pytest.mark.parametrize("size", [np.float32, np.float64])
def test_real_numbers_have_the_digits_of_their_type(size: type) -> None:
    arrays = ArrayStore()
    values = np.append(RNG.normal(0, 1e6, 999), [np.inf, 0])
    assert (numbers(arrays, arrays.real(values, size)) == values.astype(size)).all()


def test_equal_arrays_are_kept_once() -> None:
    arrays = ArrayStore()
    keys = {arrays.real(COUNTS / 3) for _ in range(2)} | {arrays.whole(COUNTS)}
    assert len(keys) == len(arrays.facts) == 2
