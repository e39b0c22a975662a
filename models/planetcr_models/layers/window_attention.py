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

    def split(self, tokens: Tensor, heads: int, shift: int) -> Tensor:
        """Queries, keys and values of (B, H, W, C): (3, windows, heads, 64, C / heads)."""
        return to_windows(self.qkv(tokens), 3, heads, shift)

    def merge(self, attended: Tensor, shape: torch.Size, shift: int) -> Tensor:
        """Concatenate the heads of (windows, heads, 64, C / heads) and project: (B, H, W, C)."""
        return self.out(from_windows(attended, shape, shift))


class PositionBias(nn.Module):
    """Learned bias per head and displacement within a window."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, heads))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self) -> Tensor:
        """Bias of every pair of tokens, shape (heads, 64, 64).

        The displacement of tokens i and j selects row i - j + 7, and column likewise. As views,
        windows of the table and their reversal, this needs no index and no sum over its repetitions
        in the backward pass.
        """
        table = self.table.view(2 * WINDOW - 1, 2 * WINDOW - 1, -1)
        windows = table.unfold(0, WINDOW, 1).unfold(1, WINDOW, 1)
        return windows.flip(3, 4).permute(2, 0, 1, 3, 4).reshape(-1, WINDOW**2, WINDOW**2)


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
        bias = self.position_bias()

        def attend(stream: Tensor, *region: Tensor) -> tuple[Tensor, ...]:
            query, key, value = stream.unbind()
            logits = _logits(query, key).add_(_masked_bias(bias, *region))
            return (logits.softmax(-1) @ value,)

        stream = self.projections.split(tokens, self.heads, self.shift)
        (attended,) = _by_windows(attend, stream, *_regions(tokens, self.shift))
        return self.projections.merge(attended, tokens.shape, self.shift)


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
        bias, mix, mix_bias = self.position_bias(), self.gate.weight.flatten(1), self.gate.bias
        assert mix_bias is not None

        def attend(stream: Tensor, radar: Tensor, *region: Tensor) -> tuple[Tensor, ...]:
            query, key, value = stream.unbind()
            sar_query, sar_key, sar_value = radar.unbind()
            logits, sar_logits = _logits(query, key), _logits(sar_query, sar_key)
            difference = sar_logits - logits
            gate = torch.baddbmm(
                mix_bias[:, None], mix.expand(len(difference), -1, -1), difference.flatten(2)
            )
            gate = gate.sigmoid_().view_as(difference)
            position = _masked_bias(bias, *region)
            logits = logits.addcmul_(difference, gate).add_(position)
            sar_logits = sar_logits.add_(position)
            return logits.softmax(-1) @ value, sar_logits.softmax(-1) @ sar_value

        stream = self.optical.split(optical, self.heads, self.shift)
        radar = self.sar.split(sar, self.heads, self.shift)
        regions = _regions(optical, self.shift)
        attended, sar_attended = _by_windows(attend, stream, radar, *regions)
        return (
            self.optical.merge(attended, optical.shape, self.shift),
            self.sar.merge(sar_attended, sar.shape, self.shift),
        )


class Mlp(nn.Sequential):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


def to_windows(tokens: Tensor, parts: int, heads: int, shift: int) -> Tensor:
    """Cut (B, H, W, parts · heads · C) into windows, shifted cyclically, in one copy.

    Returns:
        Shape (parts, B · H/8 · W/8, heads, 64, C), contiguous.
    """
    if shift:
        tokens = tokens.roll((-shift, -shift), (1, 2))
    batch, height, width, _ = tokens.shape
    grid = tokens.reshape(
        batch, height // WINDOW, WINDOW, width // WINDOW, WINDOW, parts, heads, -1
    )
    return grid.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(parts, -1, heads, WINDOW**2, grid.shape[-1])


def from_windows(windows: Tensor, shape: torch.Size, shift: int) -> Tensor:
    """Undo :func:`to_windows` for one part, (windows, heads, 64, C) of an image (B, H, W, …)."""
    batch, height, width, _ = shape
    _, heads, _, channels = windows.shape
    grid = windows.view(batch, height // WINDOW, width // WINDOW, heads, WINDOW, WINDOW, channels)
    tokens = grid.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, height, width, heads * channels)
    return tokens.roll((shift, shift), (1, 2)) if shift else tokens


def _logits(query: Tensor, key: Tensor) -> Tensor:
    """Scaled products of queries and keys, (windows, heads, 64, 64)."""
    return (query * query.shape[-1] ** -0.5) @ key.mT


def _regions(tokens: Tensor, shift: int) -> list[Tensor]:
    """Region of the image of each token of shifted windows, (1, windows, 1, 64, 1).

    A cyclic shift brings opposite borders of the image into one window; they may not attend to
    each other. Without a shift there is only one region.
    """
    if not shift:
        return []
    batch, height, width, _ = tokens.shape

    def beyond(size: int) -> Tensor:
        return torch.arange(size, device=tokens.device) >= size - shift

    region = 2 * beyond(height)[:, None] + beyond(width)
    return [to_windows(region[None, :, :, None], 1, 1, 0).repeat(1, batch, 1, 1, 1)]


def _masked_bias(bias: Tensor, region: Tensor | None = None) -> Tensor:
    """Position bias, and -100 between tokens of different regions: (windows, heads, 64, 64)."""
    if region is None:
        return bias
    return torch.add(bias, region[0] != region[0].mT, alpha=FORBIDDEN)


def _by_windows(attend: Callable[..., tuple[Tensor, ...]], *windows: Tensor) -> tuple[Tensor, ...]:
    """Compute attention in portions on a CPU, and recompute it in the backward pass.

    Logits are many times as large as the features. In portions they stay in the cache, and with
    recomputation they are not stored for the backward pass.

    Args:
        attend: Function of some of the windows.
        *windows: Of shape (parts, windows, heads, …), the first one's heads being those of the
            attention.
    """
    if torch.is_grad_enabled():
        attend = partial(checkpoint, attend, use_reentrant=False, preserve_rng_state=False)
    _, total, heads = windows[0].shape[:3]
    portion = total
    if windows[0].device.type == "cpu" and not torch.compiler.is_compiling():
        portion = max(1, PORTION_LOGITS // (heads * WINDOW**4))
    if portion >= total:
        return attend(*windows)
    parts = zip(*(part.split(portion, 1) for part in windows), strict=True)
    results = [attend(*part) for part in parts]
    return tuple(torch.cat(result) for result in zip(*results, strict=True))
