"""Define SpA GAN, residual blocks with spatial attention on optical images.

Pan: "Cloud Removal for Remote Sensing Imagery via Spatial Attention Generative Adversarial
Network", arXiv 2009.13015, 2020; the attention is a light form of SPANet's (Wang, Yang, Xu, Chen,
Zhang, Lau: "Spatial Attentive Single-Image Deraining with a High Quality Real Rain Dataset",
CVPR 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from planetcr_models.errors import ModelError
from planetcr_models.networks.base import OPTICAL_BANDS, Restorer

PLAIN_BEFORE, GATED, PLAIN_AFTER = 3, 12, 2
"""Residual blocks before, under and after the attention."""

GATED_TOGETHER = 3
"""Blocks that one attention map gates."""


class SpAGAN(Restorer):
    """SpA GAN's generator: 17 residual blocks at full resolution, 12 of them gated by attention.

    One attention module is applied four times, each time for three blocks. The authors' network
    also has a layer that weights the four directions of the attention and whose product is
    discarded, and an unused convolution. Both are kept, so that their checkpoints load, and named
    in ``unused_parameters``. The published results and weights use unweighted directions;
    ``directional=True`` weights them, as intended.

    The output is linear, without the input added. Data are in [0, 1]; the published weights, for
    three bands, expect blue, green, red.

    Args:
        bands: Optical bands.
        width: Channels of the blocks, even.
        directional: Weight the four directions of the attention.
    """

    uses_sar = False

    def __init__(
        self, *, bands: int = OPTICAL_BANDS, width: int = 32, directional: bool = False
    ) -> None:
        super().__init__(bands=bands)
        if bands < 1 or width < 2 or width % 2:
            raise ModelError(
                "spa_gan: expected bands of 1 or more and an even width of 2 or more, got "
                f"bands={bands}, width={width}"
            )
        self.enter = nn.Conv2d(bands, width, 3, padding=1, bias=False)
        self.attention = Attention(width, directional=directional)
        self.blocks = nn.ModuleList(
            AttentiveResidualBlock(width) for _ in range(PLAIN_BEFORE + GATED + PLAIN_AFTER)
        )
        self.leave = nn.Conv2d(width, bands, 3, padding=1, bias=False)
        self.unused_parameters = ("attention.unused.weight",)
        if not directional:
            self.unused_parameters += tuple(
                f"attention.directions.{name}"
                for name, _ in self.attention.directions.named_parameters()
            )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.02)

    def restore(self, cloudy: Tensor, sar: Tensor) -> Tensor:
        """(B, bands, H, W) to the same, at any H and W."""
        return self.restore_with_attention(cloudy, sar)[0]

    def restore_with_attention(
        self,
        cloudy: Tensor,
        sar: Tensor | None = None,  # noqa: ARG002  the contract's
    ) -> tuple[Tensor, Tensor]:
        """Restore images, and return the last attention map.

        Args:
            cloudy: Reflectance in [0, 1], shape (B, bands, H, W).
            sar: Ignored.

        Returns:
            Reflectance, not clipped, shape (B, bands, H, W), and the fourth attention map, in
            (0, 1), shape (B, 1, H, W), for ``attention``.
        """
        features = F.relu(self.enter(cloudy))
        gate: Tensor | None = None
        for i, block in enumerate(self.blocks):
            gated = i - PLAIN_BEFORE
            if 0 <= gated < GATED and gated % GATED_TOGETHER == 0:
                gate = self.attention(features)
            features = block(features, gate if 0 <= gated < GATED else None)
        assert gate is not None
        return self.leave(features), gate


class AttentiveResidualBlock(nn.Module):
    """Spatial attentive residual block: ``relu(x + gate · change(x))``, dilated in the change."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=2, dilation=2, bias=False)
        self.third = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, features: Tensor, gate: Tensor | None) -> Tensor:
        """(B, width, H, W) to the same; the gate is (B, 1, H, W), or None."""
        change = self.third(F.relu(self.second(F.relu(self.first(features)))))
        return F.relu(features + (change if gate is None else gate * change))


class Attention(nn.Module):
    """Spatial attention: two rounds of four-directional propagation, then a map in (0, 1)."""

    def __init__(self, width: int, *, directional: bool) -> None:
        super().__init__()
        self.directional = directional
        self.enter = nn.Conv2d(width, width, 1)
        self.neighbours1, self.neighbours2 = Neighbours(width), Neighbours(width)
        self.mix1, self.mix2 = nn.Conv2d(4 * width, width, 1), nn.Conv2d(4 * width, width, 1)
        self.leave = nn.Conv2d(width, 1, 1, bias=False)
        self.directions = Directions(width)
        self.unused = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, H, W) to (B, 1, H, W)."""
        weights = self.directions(features).split(1, dim=1) if self.directional else None
        context = self.mix1(self.neighbours1(self.enter(features), weights))
        context = self.mix2(self.neighbours2(context, weights))
        return self.leave(F.relu(context)).sigmoid()


class Neighbours(nn.Module):
    """Propagate features by one pixel from above, right, below and left.

    ``relu(own + scale · neighbour + bias)``, with a scale and a bias of each channel and direction;
    pixels of the border without such a neighbour keep their values.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.right, self.down, self.left = (
            nn.Conv2d(width, width, 1, groups=width) for _ in range(4)
        )

    def forward(self, features: Tensor, weights: tuple[Tensor, ...] | None) -> Tensor:
        """(B, width, H, W) to (B, 4 width, H, W); the weights are four of (B, 1, H, W)."""
        directions: tuple[Tensor, ...] = (
            _add_neighbour(features, self.up(features), -2, before=True),
            _add_neighbour(features, self.right(features), -1, before=False),
            _add_neighbour(features, self.down(features), -2, before=False),
            _add_neighbour(features, self.left(features), -1, before=True),
        )
        if weights is not None:
            directions = tuple(map(torch.mul, directions, weights))
        return torch.cat(directions, 1)


def _add_neighbour(own: Tensor, scaled: Tensor, axis: int, *, before: bool) -> Tensor:
    """Add the scaled neighbour before or after along the axis; keep the border."""
    inner = own.shape[axis] - 1
    start, border = (1, 0) if before else (0, inner)
    total = own.narrow(axis, start, inner) + scaled.narrow(axis, 1 - start, inner)
    parts = (own.narrow(axis, border, 1), F.relu(total))
    return torch.cat(parts if before else parts[::-1], axis)


class Directions(nn.Module):
    """Weight of each of the four directions, in (0, 1), for each pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width // 2, 3, padding=1)
        self.second = nn.Conv2d(width // 2, width // 2, 3, padding=1)
        self.third = nn.Conv2d(width // 2, 4, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, H, W) to (B, 4, H, W): up, right, down, left."""
        return self.third(F.relu(self.second(F.relu(self.first(features))))).sigmoid()
