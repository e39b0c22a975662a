"""Weigh overlapping windows so that they blend into each other without seams."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def window_weight(
    starts: Sequence[int],
    index: int,
    *,
    side: int,
    ramp: float,
    device: torch.device | str | None = None,
) -> Tensor:
    """Weights of one window along an axis; those of all windows sum to one in every pixel.

    A ramp rises from 0 to 1 around the middle of each overlap. The weight of a window is the ramp
    before it minus the ramp behind it, so that a constant difference between two windows becomes a
    linear transition.

    Args:
        starts: First pixels of the windows, ascending, not more than ``side`` apart.
        index: Number of the window.
        side: Pixels of a window.
        ramp: Pixels over which two windows are blended: more than 0, at most the smallest overlap,
            or 1 where windows only touch.
        device: Device of the result.

    Returns:
        Shape (side,), float64, in [0, 1]; all ones for a single window.

    Example:
        >>> window_weight([0, 4], 0, side=6, ramp=2).tolist()
        [1.0, 1.0, 1.0, 1.0, 0.75, 0.25]
    """
    position = torch.arange(side, dtype=torch.float64, device=device) + (starts[index] + 0.5)
    weight = torch.ones_like(position)
    if index > 0:
        weight = _rise(position, starts[index - 1 : index + 1], side, ramp)
    if index + 1 < len(starts):
        weight = weight - _rise(position, starts[index : index + 2], side, ramp)
    return weight


def _rise(position: Tensor, starts: Sequence[int], side: int, ramp: float) -> Tensor:
    """The ramp between two neighbouring windows."""
    first, second = starts
    low = (first + side + second - ramp) / 2
    return ((position - low) / ramp).clamp(0, 1)
