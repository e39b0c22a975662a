"""Compute self-attention within windows, of one image or jointly of two.

Tokens are pixels, channels last: (B, H, W, C). The joint attention of optical and SAR
features is that of GLF-CR, adopted by Align-CR (paper, Sec. 4.2.2).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

WINDOW = 8
"""Height and width of a window, in tokens."""

FORBIDDEN = -100.0
"""Added to the logit of two tokens of a window that are not neighbours in the image."""

PORTION_LOGITS = 2**19
"""Logits of one stream per portion on a CPU: 2 MiB in float32, which fit its cache."""


class Projections(nn.Module):
    """Projections of one stream: queries, keys, values and output."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def split(self, tokens: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled queries, keys and values, each (windows, heads, tokens, C / heads)."""
        qkv = self.qkv(tokens).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        return query * query.shape[-1] ** -0.5, key, value

    def merge(self, attended: Tensor) -> Tensor:
        """Concatenate the heads and project: (windows, tokens, C)."""
        return self.out(attended.transpose(1, 2).flatten(2))


class PositionBias(nn.Module):
    """Learned bias per head and displacement within a window."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, heads))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self) -> Tensor:
        """Bias of every pair of tokens, shape (heads, 64, 64)."""
        axis = torch.arange(WINDOW, device=self.table.device)
        offset = axis[:, None] - axis + WINDOW - 1
        index = offset[:, None, :, None] * (2 * WINDOW - 1) + offset[None, :, None, :]
        return self.table[index.flatten()].unflatten(0, (WINDOW**2, -1)).permute(2, 0, 1)


class WindowAttention(nn.Module):
    """Attention within the windows of one image.

    Args:
        width: Channels C, a multiple of ``heads``.
        heads: Attention heads.
        shift: Tokens by which the windows are displaced, downwards and to the right.
    """

    def __init__(self, width: int, heads: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = heads, shift
        self.projections = Projections(width)
        self.position_bias = PositionBias(heads)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, H, W, C) to the same; H and W are multiples of 8."""
        stream = self.projections.split(to_windows(tokens, self.shift), self.heads)
        bias = self.position_bias()

        def attend(
            query: Tensor, key: Tensor, value: Tensor, *region: Tensor
        ) -> tuple[Tensor, ...]:
            logits = (query @ key.mT).add_(_masked_bias(bias, *region))
            return (logits.softmax(-1) @ value,)

        (attended,) = _by_windows(attend, *stream, *_regions(tokens, self.shift))
        return from_windows(self.projections.merge(attended), tokens.shape, self.shift)


class JointWindowAttention(nn.Module):
    """Attention within the windows of two images, in which SAR corrects the optical logits.

    A gate determines how much of the difference between the SAR and the optical logits is added to
    the optical ones. Both streams share the position bias; each attends to its own values.

    Args:
        width: Channels C, a multiple of ``heads``.
        heads: Attention heads.
        shift: Tokens by which the windows are displaced, downwards and to the right.
    """

    def __init__(self, width: int, heads: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = heads, shift
        self.optical, self.sar = Projections(width), Projections(width)
        self.position_bias = PositionBias(heads)
        self.gate = nn.Conv2d(heads, heads, 1)

    def forward(self, optical: Tensor, sar: Tensor) -> tuple[Tensor, Tensor]:
        """Two images (B, H, W, C) to the same; H and W are multiples of 8."""
        stream = self.optical.split(to_windows(optical, self.shift), self.heads)
        radar = self.sar.split(to_windows(sar, self.shift), self.heads)
        bias, mix, mix_bias = self.position_bias(), self.gate.weight.flatten(1), self.gate.bias
        assert mix_bias is not None

        def attend(
            query: Tensor,
            key: Tensor,
            value: Tensor,
            sar_query: Tensor,
            sar_key: Tensor,
            sar_value: Tensor,
            *region: Tensor,
        ) -> tuple[Tensor, ...]:
            logits, sar_logits = query @ key.mT, sar_query @ sar_key.mT
            difference = sar_logits - logits
            gate = torch.matmul(mix.expand(len(difference), -1, -1), difference.flatten(2))
            gate = gate.add_(mix_bias[:, None]).sigmoid_().view_as(difference)
            position = _masked_bias(bias, *region)
            logits = logits.addcmul_(difference, gate).add_(position)
            sar_logits = sar_logits.add_(position)
            return logits.softmax(-1) @ value, sar_logits.softmax(-1) @ sar_value

        regions = _regions(optical, self.shift)
        attended, sar_attended = _by_windows(attend, *stream, *radar, *regions)
        return (
            from_windows(self.optical.merge(attended), optical.shape, self.shift),
            from_windows(self.sar.merge(sar_attended), sar.shape, self.shift),
        )


class Mlp(nn.Sequential):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


def to_windows(tokens: Tensor, shift: int) -> Tensor:
    """Cut (B, H, W, C) into windows, (B · H/8 · W/8, 64, C), shifted cyclically."""
    if shift:
        tokens = tokens.roll((-shift, -shift), (1, 2))
    batch, height, width, channels = tokens.shape
    grid = tokens.view(batch, height // WINDOW, WINDOW, width // WINDOW, WINDOW, channels)
    return grid.transpose(2, 3).reshape(-1, WINDOW**2, channels)


def from_windows(windows: Tensor, shape: tuple[int, ...], shift: int) -> Tensor:
    """Undo :func:`to_windows` for an image of this shape, (B, H, W, C)."""
    batch, height, width, _ = shape
    grid = windows.view(batch, height // WINDOW, width // WINDOW, WINDOW, WINDOW, -1)
    tokens = grid.transpose(2, 3).reshape(batch, height, width, -1)
    return tokens.roll((shift, shift), (1, 2)) if shift else tokens


def _regions(tokens: Tensor, shift: int) -> list[Tensor]:
    """Region of the image of each token of shifted windows, (windows, 64).

    A cyclic shift brings opposite borders of the image into one window; they may not attend to
    each other. Without a shift there is only one region.
    """
    if not shift:
        return []
    batch, height, width, _ = tokens.shape

    def beyond(size: int) -> Tensor:
        return torch.arange(size, device=tokens.device) >= size - shift

    region = 2 * beyond(height).int()[:, None] + beyond(width).int()
    return [to_windows(region[None, :, :, None], 0).squeeze(-1).repeat(batch, 1)]


def _masked_bias(bias: Tensor, region: Tensor | None = None) -> Tensor:
    """Position bias, and -100 between tokens of different regions: (windows, heads, 64, 64)."""
    if region is None:
        return bias
    separate = region[:, None, :, None] != region[:, None, None, :]
    return bias + FORBIDDEN * separate.to(bias.dtype)


def _by_windows(attend: Callable[..., tuple[Tensor, ...]], *windows: Tensor) -> tuple[Tensor, ...]:
    """Compute attention in portions on a CPU, and recompute it in the backward pass.

    Logits are many times as large as the features. In portions they stay in the cache, and with
    recomputation they are not stored for the backward pass.
    """
    total = len(windows[0])
    portion = total
    if windows[0].device.type == "cpu" and not torch.compiler.is_compiling():
        portion = max(1, PORTION_LOGITS // (windows[0].shape[1] * WINDOW**4))
    if torch.is_grad_enabled():
        attend = partial(checkpoint, attend, use_reentrant=False, preserve_rng_state=False)
    parts = [
        attend(*(part[start : start + portion] for part in windows))
        for start in range(0, total, portion)
    ]
    return tuple(torch.cat(results) for results in zip(*parts, strict=True))
