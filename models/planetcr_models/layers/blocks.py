"""Provide the blocks that Align-CR and GLF-CR share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from planetcr_models.layers.dynamic_filter import predict_and_filter

FILTER_SIZE = 5
"""Height and width of the dynamic local filter (paper, Sec. 4.2.2)."""

SLOPE = 0.1
"""Slope of every leaky ReLU."""


def conv1(channels: int, out: int) -> nn.Conv2d:
    """A 1 × 1 convolution with bias."""
    return nn.Conv2d(channels, out, 1)


def conv3(channels: int, out: int, *, stride: int = 1) -> nn.Conv2d:
    """A 3 × 3 convolution with bias and zero padding."""
    return nn.Conv2d(channels, out, 3, stride, 1)


def leaky(features: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.1."""
    return F.leaky_relu(features, SLOPE)


def to_tokens(features: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H, W, C), contiguous; without a copy from channels-last memory."""
    return features.permute(0, 2, 3, 1).contiguous()


class Residual(nn.Module):
    """``x + conv(leaky(conv(x)))``, nothing after the sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = conv3(width, width), conv3(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        return features + self.second(leaky(self.first(features)))


class LocalFusion(nn.Module):
    """Fuse SAR into optical features by a separate filter per pixel and channel (SLFC).

    The local fusion of GLF-CR, adopted by Align-CR (paper, Sec. 4.2.2). The kernels are predicted
    from both streams, pass through a leaky ReLU and are not normalised. Then each stream adds a
    gated part of its difference from the other.

    Args:
        width: Channels of each stream.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = conv3(2 * width, width)
        self.refine = nn.Sequential(Residual(width), Residual(width))
        self.kernels = conv1(width, width * FILTER_SIZE**2)
        self.gate_optical = conv1(width, width)
        self.gate_sar = conv1(width, width)

    def forward(self, optical: Tensor, sar: Tensor, *, last: bool = False) -> tuple[Tensor, Tensor]:
        """Two streams (B, width, H, W) to the same; the SAR stream of the last one is unchanged."""
        hidden = self.refine(leaky(self.enter(torch.cat((optical, sar), 1))))
        weight, bias = self.kernels.weight, self.kernels.bias
        assert bias is not None
        filtered = predict_and_filter(sar, hidden, weight, bias, slope=SLOPE)
        difference = filtered - optical
        optical = optical + difference * self.gate_optical(difference).sigmoid()
        if not last:
            difference = optical - filtered
            sar = sar + difference * self.gate_sar(difference).sigmoid()
        return optical, sar


class DenseStream(nn.Module):
    """Residual dense block of one stream: 3 × 3 convolutions with ReLU, each on all before.

    Args:
        width: Channels in and out.
        growth: Channels that each layer adds.
        layers: Number of layers before the merging 3 × 3 convolution.
    """

    def __init__(self, width: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(conv3(width + i * growth, growth) for i in range(layers))
        self.merge = conv3(width + layers * growth, width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, H, W) to the same, without the residual."""
        for layer in self.layers:
            features = torch.cat((features, F.relu(layer(features))), 1)
        return self.merge(features)


class Reconstruction(nn.Module):
    """Merge the optical features of all stages and the shallow ones to a correction of the image.

    Args:
        width: Channels of each stage.
        stages: Number of stages.
        bands: Optical bands.
    """

    def __init__(self, width: int, stages: int, bands: int) -> None:
        super().__init__()
        self.merge = conv1(width * stages, width)
        self.smooth = conv3(width, width)
        self.spread = conv3(width, 256)
        self.head = conv3(64, bands)

    def forward(self, features: list[Tensor], shallow: Tensor) -> Tensor:
        """Maps (B, width, H, W) to (B, bands, 2 H, 2 W)."""
        deep = self.smooth(self.merge(torch.cat(features, 1))) + shallow
        return self.head(F.pixel_shuffle(self.spread(deep), 2))


def unshuffle(image: Tensor) -> Tensor:
    """(B, C, H, W) to (B, 4 C, H/2, W/2), a block's four pixels as channels.

    In channels-last on CUDA, where convolutions are then fastest. On a CPU this would gain a few
    per cent and double the rounding errors.
    """
    features = F.pixel_unshuffle(image, 2)
    return features.contiguous(memory_format=torch.channels_last) if image.is_cuda else features
