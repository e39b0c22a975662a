"""Grids and borders, which every network leaves to its base class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

import planetcr_bench.data.scene
from planetcr_models.networks.base import Restorer, margins, reflect_pad, upsample

sizes = st.integers(1, 60)


@given(source=st.tuples(sizes, sizes), target=st.tuples(sizes, sizes))
def test_sar_reaches_the_optical_grid_as_the_benchmark_would_bring_it(
    source: tuple[int, int], target: tuple[int, int]
) -> None:
    image = torch.arange(source[0] * source[1]).view(1, 1, *source)
    if all(t >= s for s, t in zip(source, target, strict=True)):
        expected = planetcr_bench.data.scene.upsample(image.numpy(), target)
        assert np.array_equal(upsample(image, target).numpy(), expected)


def test_ninety_pixels_reach_three_hundred_as_torchs_nearest_exact() -> None:
    image = torch.rand(2, 2, 90, 90)
    ours = upsample(image, (300, 300))
    assert torch.equal(ours, F.interpolate(image, (300, 300), mode="nearest-exact"))
    assert not torch.equal(ours, F.interpolate(image, (300, 300), mode="nearest"))


def test_a_crop_sees_the_sar_that_lies_under_it() -> None:
    sar = torch.rand(1, 2, 90, 90)
    crop = upsample(sar, (300, 300))[..., 70:230, 70:230]
    assert torch.equal(crop, upsample(sar[..., 21:69, 21:69], (160, 160)))


@given(size=st.integers(2, 80), multiple=st.sampled_from([1, 16, 128]))
def test_padding_reflects_and_is_symmetric(size: int, multiple: int) -> None:
    before, after = margins(size, multiple)
    assert (size + before + after) % multiple == 0
    assert 0 <= after - before <= 1
    image = torch.rand(1, 1, size, size)
    padded = reflect_pad(image, multiple)
    expected = np.pad(image.numpy(), ((0, 0), (0, 0), (before, after), (before, after)), "reflect")
    assert np.array_equal(padded.numpy(), expected)


def test_three_hundred_pixels_are_padded_to_three_hundred_and_four() -> None:
    assert margins(300, 16) == (2, 2)


class Echo(Restorer):
    """Returns what it was given and remembers the sizes."""

    def __init__(self, multiple: int) -> None:
        super().__init__()
        self.multiple = multiple

    def restore(self, cloudy: Tensor, sar: Tensor) -> Tensor:
        self.seen = tuple(cloudy.shape[-2:]), tuple(sar.shape[-2:])
        return cloudy


@pytest.mark.parametrize("size", [(32, 32), (45, 300), (301, 33)])
def test_padding_is_cropped_again(size: tuple[int, int]) -> None:
    echo = Echo(128)
    cloudy = torch.rand(1, 4, *size)
    assert torch.equal(echo(cloudy, torch.rand(1, 2, 10, 10)), cloudy)
    grid, sar_grid = echo.seen
    assert grid == sar_grid
    assert all(side % 128 == 0 for side in grid)
