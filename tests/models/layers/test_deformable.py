"""Deformable convolution against torchvision's operator."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision.ops import deform_conv2d

from on_devices import every_device
from planetcr_models.layers import deformable
from planetcr_models.layers.deformable import DeformableConv2d, sample_and_mix


def problem(
    dtype: torch.dtype = torch.float64, *, reach: float = 3.0
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    tensors = (
        draw(2, 12, 9, 14),
        reach * draw(2, 4 * 18, 9, 14),
        draw(2, 4 * 9, 9, 14).sigmoid(),
        draw(5, 12, 3, 3),
        draw(5),
    )
    for tensor in tensors:
        tensor.requires_grad_()
    return tensors


def torchvisions(
    features: Tensor, moves: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    return deform_conv2d(features, moves, weight, bias, padding=1, mask=modulation)


@pytest.mark.parametrize("reach", [0.0, 0.3, 3.0, 30.0])
def test_it_is_torchvisions_with_all_gradients(reach: float) -> None:
    tensors = problem(reach=reach)
    ours, theirs = sample_and_mix(*tensors), torchvisions(*tensors)
    assert_close(ours, theirs, rtol=0, atol=1e-12)
    if reach:  # where samples fall on pixels the gradient has a step, and each takes one side
        for got, want in zip(
            torch.autograd.grad(ours.square().sum(), tensors),
            torch.autograd.grad(theirs.square().sum(), tensors),
            strict=True,
        ):
            assert_close(got, want, rtol=0, atol=1e-9)


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = problem()
    monkeypatch.setattr(deformable, "STRIP_VALUES", 2 * 12 * 9 * 14 * 2)  # two rows
    with torch.no_grad():
        assert_close(sample_and_mix(*tensors), torchvisions(*tensors), rtol=0, atol=1e-12)


def test_float32_is_near() -> None:
    single = problem(torch.float32)
    exact = torchvisions(*(tensor.double() for tensor in single))
    assert_close(sample_and_mix(*single).double(), exact, rtol=0, atol=2e-4)


def test_its_kernels_start_within_a_reach() -> None:
    torch.manual_seed(0)
    weight = DeformableConv2d(96, 8).weight.detach()
    reach = 1 / (9 * 96) ** 0.5
    assert 0.99 * reach < weight.abs().max() <= reach
    assert weight.std().item() == pytest.approx(reach / 3**0.5, rel=0.02)


def test_it_starts_as_half_a_convolution() -> None:
    torch.manual_seed(0)
    layer = DeformableConv2d(16, 4)
    features, guide = torch.randn(2, 1, 16, 8, 8).unbind()
    assert_close(layer(features, guide), F.conv2d(features, layer.weight, padding=1) / 2)


@every_device
def test_every_device_agrees(device: str) -> None:
    torch.manual_seed(0)
    layer = DeformableConv2d(12, 4)
    for parameter in layer.offset.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    tensors = [torch.randn(2, 12, 9, 14).requires_grad_() for _ in range(2)]
    there = [tensor.detach().to(device).requires_grad_() for tensor in tensors]
    wide = [tensor.detach().double().requires_grad_() for tensor in tensors]

    def results(layer: DeformableConv2d, tensors: list[Tensor]) -> list[Tensor]:
        mixed = layer(*tensors)
        wanted = (*tensors, *layer.parameters())
        return [mixed.detach(), *torch.autograd.grad(mixed.square().sum(), wanted)]

    got = results(copy.deepcopy(layer).to(device), there)
    if device == "cuda":
        assert got[0].is_contiguous(memory_format=torch.channels_last)
    for ours, exact in zip(got, results(layer.double(), wide), strict=True):
        assert_close(ours.cpu().double(), exact, rtol=1e-4, atol=1e-4 * exact.std().item())
