"""The dynamic filter against its definition, at every pixel, border and gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from on_devices import every_device
from planetcr_models.layers import dynamic_filter
from planetcr_models.layers.dynamic_filter import apply_kernels, predict_and_filter

SLOPE = 0.1


def defined(features: NDArray[np.float64], kernels: NDArray[np.float64]) -> NDArray[np.float64]:
    """One image, pixel by pixel, as the paper's words have it."""
    channels, height, width = features.shape
    size = int(np.sqrt(len(kernels) // channels))
    result = np.zeros_like(features)
    for c, y, x, ky, kx in np.ndindex(channels, height, width, size, size):
        row = np.clip(y + ky - size // 2, 0, height - 1)
        column = np.clip(x + kx - size // 2, 0, width - 1)
        result[c, y, x] += kernels[(c * size + ky) * size + kx, y, x] * features[c, row, column]
    return result


def draw(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def problem(
    batch: int = 2, channels: int = 3, size: tuple[int, int] = (7, 9), taps: int = 25
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        draw(batch, channels, *size, seed=0),
        draw(batch, 6, *size, seed=1),
        draw(channels * taps, 6, 1, 1, seed=2),
        draw(channels * taps, seed=3),
    )


def written_out(features: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return apply_kernels(features, F.leaky_relu(F.conv2d(hidden, weight, bias), SLOPE))


@given(
    channels=st.integers(1, 3),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    size=st.sampled_from([1, 3, 5]),
)
@settings(deadline=None, max_examples=20)
def test_kernels_are_applied_as_defined(channels: int, height: int, width: int, size: int) -> None:
    features = draw(1, channels, height, width, seed=4).detach()
    kernels = draw(1, channels * size**2, height, width, seed=5).detach()
    expected = defined(features[0].numpy(), kernels[0].numpy())
    assert_close(apply_kernels(features, kernels)[0].numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("taps", [9, 25])
@pytest.mark.parametrize("size", [(7, 9), (1, 1), (2, 40)])
def test_predicting_kernels_strip_by_strip_is_the_same(taps: int, size: tuple[int, int]) -> None:
    tensors = problem(size=size, taps=taps)
    ours, expected = predict_and_filter(*tensors, slope=SLOPE), written_out(*tensors)
    assert_close(ours, expected, rtol=0, atol=1e-12)
    along = draw(*ours.shape, seed=6)
    gradients = torch.autograd.grad((ours * along).sum(), tensors)
    for got, want in zip(
        gradients, torch.autograd.grad((expected * along).sum(), tensors), strict=True
    ):
        assert_close(got, want, rtol=0, atol=1e-11)


def test_the_height_of_the_strips_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = problem(size=(11, 9))
    whole = torch.autograd.grad(predict_and_filter(*tensors, slope=SLOPE).square().sum(), tensors)
    monkeypatch.setitem(dynamic_filter.STRIP_BYTES, "cpu", 9 * 5 * 3 * 8 * 4)  # four rows
    strips = torch.autograd.grad(predict_and_filter(*tensors, slope=SLOPE).square().sum(), tensors)
    for got, want in zip(strips, whole, strict=True):
        assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_a_kernel_of_exactly_zero_has_the_gradient_of_pytorchs_leaky_relu() -> None:
    features, hidden, weight, bias = problem()
    tensors = features, hidden.detach().zero_().requires_grad_(), weight, (0 * bias).detach()
    tensors[3].requires_grad_()
    ours = torch.autograd.grad(predict_and_filter(*tensors, slope=SLOPE).sum(), tensors[3])
    assert_close(ours, torch.autograd.grad(written_out(*tensors).sum(), tensors[3]))


def test_the_gradient_is_that_of_finite_differences() -> None:
    tensors = problem(batch=1, channels=2, size=(4, 3), taps=9)
    assert torch.autograd.gradcheck(lambda *t: predict_and_filter(*t, slope=SLOPE), tensors)


def test_the_operator_passes_opcheck() -> None:
    tensors = problem(batch=1, channels=2, size=(4, 3), taps=9)
    torch.library.opcheck(dynamic_filter._filter, (*tensors, SLOPE))


def test_channels_last_and_slices_are_read_correctly() -> None:
    features, hidden, weight, bias = (tensor.detach() for tensor in problem())
    last = {"memory_format": torch.channels_last}
    wide = torch.cat((features, features), 1)[:, :3]
    expected = predict_and_filter(features, hidden, weight, bias, slope=SLOPE)
    for image in (features.contiguous(**last), wide):
        ours = predict_and_filter(image, hidden.contiguous(**last), weight, bias, slope=SLOPE)
        assert_close(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_sums_in_single_precision(dtype: torch.dtype) -> None:
    tensors = [tensor.detach().to(dtype) for tensor in problem()]
    rough = predict_and_filter(*tensors, slope=SLOPE)
    exact = predict_and_filter(*(tensor.double() for tensor in tensors), slope=SLOPE)
    assert rough.dtype == dtype
    assert_close(
        rough.double(), exact, rtol=0, atol=3 * torch.finfo(dtype).eps * exact.std().item()
    )


@every_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_device_agrees(device: str, dtype: torch.dtype) -> None:
    tensors = [t.detach().to(device, dtype).requires_grad_() for t in problem(2, 24, (33, 20))]
    ours = predict_and_filter(*tensors, slope=SLOPE)
    ours.square().sum().backward()
    exact = [tensor.detach().cpu().double().requires_grad_() for tensor in tensors]
    expected = written_out(*exact)
    expected.square().sum().backward()
    tolerance = 30 * torch.finfo(dtype).eps
    assert_close(ours.cpu().double(), expected, rtol=0, atol=tolerance * expected.std().item())
    for got, want in zip(tensors, exact, strict=True):
        assert got.grad is not None
        assert want.grad is not None
        scale = want.grad.std().item()
        assert_close(got.grad.cpu().double(), want.grad, rtol=0, atol=10 * tolerance * scale)
