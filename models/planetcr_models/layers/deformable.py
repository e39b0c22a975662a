"""Compute the modulated deformable convolution of DCNv2."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TAPS = 9
"""Taps of a 3 × 3 kernel."""

STRIP_VALUES = 2**19
"""Samples per strip on a CPU: 2 MiB in float32, which fit its cache."""


class DeformableConv2d(nn.Module):
    """A 3 × 3 convolution with offsets and modulation of its taps per pixel and group.

    The offsets are predicted from other features than the sampled ones (EDVR's "pack" form). They
    are initially zero, and the modulation is one half.

    Args:
        width: Channels in and out.
        groups: Groups of channels with common offsets.
    """

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        reach = 1 / math.sqrt(TAPS * width)
        self.weight = nn.Parameter(torch.empty(width, width, 3, 3).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.zeros(width))
        self.offset = nn.Conv2d(width, 3 * TAPS * groups, 3, padding=1)
        for parameter in self.offset.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor, guide: Tensor) -> Tensor:
        """Sample ``features`` at offsets predicted from ``guide``; all (B, width, H, W)."""
        moves, modulation = self.offset(guide).split(
            (2 * TAPS * self.groups, TAPS * self.groups), 1
        )
        modulation = modulation.sigmoid()
        if features.is_cuda:
            from torchvision.ops import deform_conv2d

            mixed = deform_conv2d(
                features, moves, self.weight, self.bias, padding=1, mask=modulation
            )
            # it leaves channels-last, and what is computed from it would too
            return mixed.contiguous(memory_format=torch.channels_last)
        return sample_and_mix(features, moves, modulation, self.weight, self.bias)


def sample_and_mix(
    features: Tensor, moves: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    """Compute torchvision's ``deform_conv2d`` for 3 × 3 taps by ``grid_sample``.

    On a CPU it takes less than half the time, and it can be exported to runtimes without the
    operator.

    Args:
        features: Shape (B, C, H, W); zero beyond the border.
        moves: Shape (B, G · 18, H, W): per group and tap, rows then columns, in pixels.
        modulation: Shape (B, G · 9, H, W).
        weight: Shape (N, C, 3, 3).
        bias: Shape (N,).

    Returns:
        Shape (B, N, H, W).
    """
    batch, channels, height, width = features.shape
    wide = torch.promote_types(moves.dtype, torch.float32)  # bfloat16 is too coarse for positions
    moves, modulation = moves.to(wide), modulation.to(wide)
    groups = modulation.shape[1] // TAPS
    folded = features.to(wide).reshape(batch * groups, -1, height, width)
    moves = moves.reshape(batch * groups, TAPS, 2, height, width)
    modulation = modulation.reshape(batch * groups, 1, TAPS, height, width)
    rows = height
    if features.device.type == "cpu" and not (
        torch.is_grad_enabled() or torch.compiler.is_compiling()
    ):
        rows = max(1, STRIP_VALUES // (batch * channels * TAPS * width))
    strips = []
    for top in range(0, height, rows):
        here = slice(top, top + rows)
        where = _positions(moves[..., here, :], (height, width), top)
        sampled = F.grid_sample(folded, where, align_corners=False)
        columns = (sampled.unflatten(2, (TAPS, -1)) * modulation[..., here, :]).to(weight.dtype)
        columns = columns.reshape(batch, channels * TAPS, -1)
        mixed = columns.mT @ weight.flatten(1).mT + bias
        strips.append(mixed.unflatten(1, (-1, width)))
    return torch.cat(strips, 1).permute(0, 3, 1, 2)


def _positions(moves: Tensor, size: tuple[int, int], top: int) -> Tensor:
    """Sampling positions of a strip in the convention of grid_sample: (groups, 9 · rows, W, 2)."""
    height, width = size
    tap = torch.arange(TAPS, device=moves.device)
    rows = torch.arange(top, top + moves.shape[-2], device=moves.device)
    columns = torch.arange(width, device=moves.device)
    down = moves[:, :, 0] + ((tap // 3 - 1)[:, None, None] + rows[:, None])
    right = moves[:, :, 1] + ((tap % 3 - 1)[:, None, None] + columns)
    where = torch.stack(((2 * right + 1) / width - 1, (2 * down + 1) / height - 1), -1)
    return where.flatten(1, 2)
