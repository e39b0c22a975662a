"""Test attention within windows, token by token."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from planetcr_models.layers import window_attention
from planetcr_models.layers.window_attention import (
    JointWindowAttention,
    Projections,
    WindowAttention,
    from_windows,
    to_windows,
)

WIDTH, HEADS, SIZE = 6, 2, (16, 24)


def tokens(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, *SIZE, WIDTH, generator=generator, dtype=torch.float64)


def neighbours(row: int, column: int, shift: int) -> list[tuple[int, int]]:
    """Tokens that one token attends to: its window, without what came around the border."""

    def block(position: int, size: int) -> list[int]:
        shifted = (position - shift) % size
        window = [(p + shift) % size for p in range(shifted // 8 * 8, shifted // 8 * 8 + 8)]
        return [p for p in window if abs(p - position) < 8]

    return [(r, c) for r in block(row, SIZE[0]) for c in block(column, SIZE[1])]


def heads_of(stream: Projections, vector: Tensor) -> Tensor:
    """Query, key and value of one token, (3, heads, C / heads)."""
    return stream.qkv(vector).view(3, HEADS, WIDTH // HEADS)


def bias_of(table: Tensor, apart: tuple[int, int]) -> Tensor:
    return table[(apart[0] + 7) * 15 + apart[1] + 7]


def attended(
    layer: JointWindowAttention, optical: Tensor, sar: Tensor, place: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """What one token of each stream should become, from the definition."""
    row, column = place
    logits, sar_logits, values, sar_values = [], [], [], []
    query = heads_of(layer.optical, optical[row, column])[0]
    sar_query = heads_of(layer.sar, sar[row, column])[0]
    for r, c in neighbours(row, column, layer.shift):
        _, key, value = heads_of(layer.optical, optical[r, c])
        _, sar_key, sar_value = heads_of(layer.sar, sar[r, c])
        alike = (query * key).sum(-1) * (WIDTH // HEADS) ** -0.5
        sar_alike = (sar_query * sar_key).sum(-1) * (WIDTH // HEADS) ** -0.5
        apart = sar_alike - alike
        gate = torch.sigmoid(layer.gate.weight[:, :, 0, 0] @ apart + layer.gate.bias)
        bias = bias_of(layer.position_bias.table, (row - r, column - c))
        logits.append(alike + apart * gate + bias)
        sar_logits.append(sar_alike + bias)
        values.append(value)
        sar_values.append(sar_value)

    def mix(stream: Projections, logits: list[Tensor], values: list[Tensor]) -> Tensor:
        weights = torch.stack(logits).softmax(0)
        return stream.out((weights[..., None] * torch.stack(values)).sum(0).flatten())

    return mix(layer.optical, logits, values), mix(layer.sar, sar_logits, sar_values)


@pytest.mark.parametrize("shift", [0, 4])
@pytest.mark.parametrize("place", [(0, 0), (3, 9), (4, 4), (11, 19), (12, 20), (15, 23)])
def test_joint_attention_is_as_defined(shift: int, place: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = JointWindowAttention(WIDTH, HEADS, shift).double()
    torch.nn.init.normal_(layer.position_bias.table)
    optical, sar = tokens(1), tokens(2)
    with torch.no_grad():
        got, got_sar = layer(optical, sar)
        for image in range(2):
            want, want_sar = attended(layer, optical[image], sar[image], place)
            assert_close(got[image][place], want, rtol=0, atol=1e-12)
            assert_close(got_sar[image][place], want_sar, rtol=0, atol=1e-12)


def test_attention_of_one_image_is_joint_attention_with_itself() -> None:
    torch.manual_seed(0)
    joint = JointWindowAttention(WIDTH, HEADS, 4).double()
    alone = WindowAttention(WIDTH, HEADS, 4).double()
    alone.projections = joint.sar = joint.optical
    alone.position_bias = joint.position_bias
    image = tokens(1)
    with torch.no_grad():
        assert_close(joint(image, image)[0], alone(image), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shift", [0, 4])
def test_windows_are_put_back_where_they_were(shift: int) -> None:
    image = tokens(1)
    windows = to_windows(image, 1, HEADS, shift)
    assert windows.shape == (1, 2 * SIZE[0] * SIZE[1] // 64, HEADS, 64, WIDTH // HEADS)
    assert torch.equal(from_windows(windows[0], image.shape, shift), image)


def test_portions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = JointWindowAttention(WIDTH, HEADS, 4).double()
    images = tokens(1).requires_grad_(), tokens(2).requires_grad_()

    def results() -> list[Tensor]:
        got = layer(*images)
        loss = got[0].square().sum() + got[1].square().sum()
        return [*got, *torch.autograd.grad(loss, (*images, *layer.parameters()))]

    whole = results()
    monkeypatch.setattr(window_attention, "PORTION_LOGITS", 5 * HEADS * 64**2)
    for got, want in zip(results(), whole, strict=True):
        assert_close(got, want, rtol=0, atol=1e-11)
