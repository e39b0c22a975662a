"""Ratios of sums."""

from __future__ import annotations

import doctest

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from planetcr_bench import protocols, scene, scores, vocabulary

positive = st.floats(1e-6, 1e6)


def test_examples_in_docstrings_hold() -> None:
    for module in (scores, scene, vocabulary, protocols):
        outcome = doctest.testmod(module)
        assert outcome.attempted
        assert not outcome.failed


def test_nothing_summed_gives_nan() -> None:
    for score in (scores.mae, scores.psnr, scores.sam_deg, scores.ssim):
        assert np.isnan(score(0.0, 0))


@given(positive, st.integers(1, 10**9))
def test_psnr_inverts_to_the_mean_squared_error(squared_error: float, values: int) -> None:
    assert_allclose(10 ** (-scores.psnr(squared_error, values) / 10), squared_error / values)


def test_a_perfect_match_has_the_decibels_of_the_protocol() -> None:
    assert scores.psnr(0.0, 4) == np.inf
    assert scores.psnr(0.0, 4, perfect=100.0) == 100.0
    assert np.isnan(scores.psnr(0.0, 0, perfect=100.0))


@given(st.lists(st.tuples(positive, st.integers(1, 1000)), min_size=1, max_size=5))
def test_the_score_of_a_pool_is_the_ratio_of_its_sums(parts: list[tuple[float, int]]) -> None:
    errors, values = (sum(column) for column in zip(*parts, strict=True))
    assert_allclose(scores.mae(errors, values), errors / values)
