"""Test the choice of patches: balanced cloud cover, smaller choices within larger ones."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from planetcr_bench.constants import COVER_BINS, cover_bin
from planetcr_bench.simulation.place import Place
from planetcr_bench.simulation.sky import mask_on
from planetcr_bench.simulation.survey import _order, survey_of, window_of


@pytest.mark.parametrize("number", [661, 668, 675])
def test_patches_are_spread_evenly_over_the_bins(number: int) -> None:
    survey = survey_of(Place(0, number))
    assert sorted(survey.patches) == list(range(1, 145))
    covers = [mask_on(survey.mask, window_of(p)).mean() for p in survey.patches[:25]]
    bins = Counter(cover_bin(float(cover)) for cover in covers)
    assert max(bins.values()) - min(bins[name] for name in COVER_BINS) <= 2


def test_aois_begin_with_different_bins_so_that_few_patches_are_even_too() -> None:
    first = []
    for number in range(661, 666):
        survey = survey_of(Place(0, number))
        first.append(cover_bin(float(mask_on(survey.mask, window_of(survey.patches[0])).mean())))
    assert sorted(first) == sorted(COVER_BINS)


def test_a_bin_that_an_aoi_lacks_is_filled_by_the_others() -> None:
    covers = np.full(144, 0.1)
    covers[:3] = 0.9
    order = _order(covers, np.full((144, 6), 1 / 6), Place(0, 1))
    assert {1, 2, 3} <= set(order[:6])
    assert sorted(order) == list(range(1, 145))


def test_of_patches_of_one_bin_the_one_with_the_rarest_class_comes_first() -> None:
    shares = np.zeros((144, 6))
    shares[:, 0] = 1
    shares[50] = (0, 0, 0, 0, 0, 1)
    order = _order(np.full(144, 0.5), shares, Place(0, 1))
    place_in_line = order.index(51)
    assert place_in_line < 144 - 3  # it does not wait until nothing else is left


def test_windows_tile_the_aoi_row_by_row() -> None:
    assert (window_of(1).top, window_of(1).left) == (0, 0)
    assert (window_of(12).top, window_of(12).left) == (0, 3300)
    assert (window_of(13).top, window_of(13).left) == (300, 0)
    with_margin = window_of(14, 20)
    assert (with_margin.top, with_margin.left, *with_margin.shape) == (280, 280, 340, 340)
