"""Test the weights of overlapping windows."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from planetcr_models.layers.blending import window_weight


@pytest.mark.parametrize(
    ("starts", "side", "ramp"),
    [
        ([0], 8, 1),
        ([0, 4], 8, 4),
        ([0, 4], 8, 1.5),
        ([0, 8, 16], 8, 1),
        ([0, 5, 11], 8, 2),
        ([0, 112, 225], 256, 143),
    ],
)
def test_weights_sum_to_one_in_every_pixel(starts: list[int], side: int, ramp: float) -> None:
    total = torch.zeros(starts[-1] + side, dtype=torch.float64)
    for index, start in enumerate(starts):
        weight = window_weight(starts, index, side=side, ramp=ramp)
        assert weight.min() >= 0
        total[start : start + side] += weight
    assert_close(total, torch.ones_like(total), rtol=0, atol=1e-15)


def test_a_ramp_is_linear_and_lies_in_the_middle_of_the_overlap() -> None:
    second = window_weight([0, 20], 1, side=32, ramp=6)
    assert_close(second[3:9], (torch.arange(6).double() + 0.5) / 6)
    assert (second[:3] == 0).all()
    assert (second[9:] == 1).all()
    first = window_weight([0, 20], 0, side=32, ramp=12)
    assert {round(float(a - b), 12) for a, b in pairwise(first[20:])} == {round(1 / 12, 12)}
