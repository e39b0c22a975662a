"""Define McGAN, a U-Net on optical images, trained against a discriminator.

Enomoto, Sakurada, Wang, Fukui, Matsuoka, Nakamura, Kawaguchi: "Filmy Cloud Removal on Satellite
Imagery with Multispectral Conditional Generative Adversarial Nets", CVPR Workshops 2017.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from planetcr_models.errors import InputError, ModelError
from planetcr_models.layers.blocks import conv3
from planetcr_models.networks.base import OPTICAL_BANDS, Restorer

SLOPE = 0.2
"""Slope of every leaky ReLU."""

WIDEST = 8
"""Largest number of channels of a level, in widths."""

DROPPED = 3
"""Number of innermost levels of the decoder with dropout."""


class McGAN(Restorer):
    """McGAN's generator: a U-Net with seven halvings and doublings and skip connections.

    Reflectance is converted from [0, 1] to [-1, 1] and back inside; the output is linear. The paper
    restores visible bands with a clean near-infrared band. That of PlanetScope does not see through
    clouds, so the four cloudy bands are the only input.

    The authors' scripts test in training mode, with the statistics of each image and active
    dropout; this network is to be tested in evaluation mode. The biases of their convolutions have
    PyTorch's default initialisation; ours are zero, as in their first version, in Chainer. Their
    fourth output, the mask of synthetic clouds, is left out.

    Args:
        bands: Optical bands.
        width: Channels at full resolution; deeper levels have twice those above, at most 8 widths.
        depth: Number of halvings; inside, the sides of the image are multiples of 2 ** depth.
        dropout: Share of features dropped in the three innermost levels of the decoder.
    """

    uses_sar = False

    def __init__(
        self,
        *,
        bands: int = OPTICAL_BANDS,
        width: int = 64,
        depth: int = 7,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(bands=bands)
        if min(bands, width) < 1 or not 1 <= depth <= 10 or not 0 <= dropout < 1:
            raise ModelError(
                "mcgan: expected bands and width of 1 or more, a depth of 1 to 10 and a dropout in "
                f"[0, 1), got bands={bands}, width={width}, depth={depth}, dropout={dropout}"
            )
        self.multiple = 2**depth
        widths = level_widths(width, depth + 1)
        self.enter = conv3(bands, width)
        self.down = nn.ModuleList(Down(*pair) for pair in pairwise(widths))
        self.up = nn.ModuleList(
            Up(deep if level == 0 else 2 * deep, shallow, dropout if level < DROPPED else 0.0)
            for level, (deep, shallow) in enumerate(pairwise(widths[::-1]))
        )
        self.leave = conv3(2 * width, bands)
        initialise(self)

    def restore(self, cloudy: Tensor, sar: Tensor) -> Tensor:  # noqa: ARG002  the contract's
        """(B, bands, H, W) to the same; H and W multiples of 2 ** depth.

        Raises:
            InputError: In training, a batch of one image that ends as a single pixel.
        """
        if self.training and cloudy.shape[0] == 1 and max(cloudy.shape[-2:]) == self.multiple:
            raise InputError(
                f"{self.method or type(self).__name__}: in training, one image of up to "
                f"{self.multiple} x {self.multiple} pixels is too little for batch normalisation; "
                "use a batch of 2 or more, or a larger image"
            )
        features = F.leaky_relu(self.enter(2 * cloudy - 1), SLOPE)
        skipped = []
        for down in self.down:
            skipped.append(features)
            features = down(features)
        for up in self.up:
            features = torch.cat((up(features), skipped.pop()), 1)
        return (self.leave(features).to(cloudy.dtype) + 1) / 2


class Down(nn.Module):
    """Half the size: convolution, batch normalisation, leaky ReLU."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 4, 2, 1)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out, H/2, W/2)."""
        return F.leaky_relu(self.norm(self.conv(features)), SLOPE)


class Up(nn.Module):
    """Twice the size: transposed convolution, batch normalisation, dropout, ReLU."""

    def __init__(self, channels: int, out: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, out, 4, 2, 1)
        self.norm = nn.BatchNorm2d(out)
        self.drop = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out, 2 H, 2 W)."""
        return F.relu(self.drop(self.norm(self.conv(features))))


def level_widths(width: int, levels: int) -> list[int]:
    """Channels of each level of a U-Net, from full resolution down: doubled, up to 8 widths."""
    return [width * min(2**level, WIDEST) for level in range(levels)]


def initialise(network: nn.Module) -> None:
    """Initialise a GAN: kernels from N(0, 0.02), gains from N(1, 0.02), biases 0.

    Args:
        network: Changed in place.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
