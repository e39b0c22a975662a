"""Define SAR-Opt-cGAN, pix2pix's U-Net on stacked optical bands and SAR.

Grohnfeldt, Schmitt, Zhu: "A Conditional Generative Adversarial Network to Fuse SAR and
Multispectral Optical Data for Cloud Removal from Sentinel-2 Images", IGARSS 2018. No code of it is
public. This is a reconstruction: the network that it extends (Isola, Zhu, Zhou, Efros:
"Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017), with SAR as two more
input channels.
"""

from __future__ import annotations

from itertools import pairwise, product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from planetcr_models.errors import ModelError
from planetcr_models.layers.blending import window_weight
from planetcr_models.networks.base import OPTICAL_BANDS, SAR_BANDS, Restorer, margins, reflect_pad
from planetcr_models.networks.mcgan import SLOPE, initialise, level_widths

UNDROPPED = 4
"""Number of outermost levels of the decoder without dropout; the innermost has none either."""

OUTPUTS = ("tanh", "linear")
LARGE = ("windows", "pad")


class SarOptCGAN(Restorer):
    """SAR-Opt-cGAN's generator, reconstructed: a U-Net with eight halvings, down to one pixel.

    Reflectance and SAR are converted from [0, 1] to [-1, 1] inside, the result back. The network is
    designed for images with sides of 2 ** depth pixels, 256 by default. Smaller ones are padded by
    reflection. Of larger ones, evenly spaced overlapping windows of that size are restored
    separately, and blended linearly over the whole of each overlap: a 300 x 300 image has four
    windows, at offsets 0 and 44.

    Neither the paper's number of bands nor its training is known, so scores of this network
    reproduce nobody's.

    Args:
        bands: Optical bands.
        use_sar: False for the paper's control without SAR.
        sar_bands: Bands of SAR, where it is used.
        width: Channels of the first level; deeper ones have twice those above, at most 8 widths.
        depth: Number of levels, each of half the size of the one above; only 8 is pix2pix's.
        output: ``tanh`` as in pix2pix, which keeps reflectance within (0, 1) but saturates near 0,
            where much of it lies; or ``linear``.
        large: ``windows`` as above, or ``pad``: pad a large image by reflection to the next
            multiple of 2 ** depth and restore it as a whole.
        dropout: Share of features dropped in the decoder, from the fifth level to the last but one.
    """

    def __init__(
        self,
        *,
        bands: int = OPTICAL_BANDS,
        use_sar: bool = True,
        sar_bands: int = SAR_BANDS,
        width: int = 64,
        depth: int = 8,
        output: str = "tanh",
        large: str = "windows",
        dropout: float = 0.5,
    ) -> None:
        super().__init__(bands=bands, sar_bands=sar_bands)
        if min(bands, width, sar_bands) < 1 or not 2 <= depth <= 10 or not 0 <= dropout < 1:
            raise ModelError(
                "sar_opt_cgan: expected bands, sar_bands and width of 1 or more, a depth of 2 to "
                f"10 and a dropout in [0, 1), got bands={bands}, sar_bands={sar_bands}, "
                f"width={width}, depth={depth}, dropout={dropout}"
            )
        for option, value, choices in (("output", output, OUTPUTS), ("large", large, LARGE)):
            if value not in choices:
                raise ModelError(
                    f"sar_opt_cgan: expected {option} to be {' or '.join(choices)}, got {value!r}"
                )
        self.uses_sar = use_sar
        self.side = 2**depth
        self.multiple = self.side if large == "pad" else 1
        self.output = output
        widths = level_widths(width, depth)
        self.encoder = nn.ModuleList(
            Encoder(
                bands + sar_bands * use_sar if level == 0 else widths[level - 1],
                widths[level],
                activated=level > 0,
                normalised=0 < level < depth - 1,
            )
            for level in range(depth)
        )
        self.decoder = nn.ModuleList(
            Decoder(
                widths[level] * (1 if level == depth - 1 else 2),
                widths[level - 1],
                dropout if UNDROPPED <= level < depth - 1 else 0.0,
            )
            for level in range(depth - 1, 0, -1)
        )
        self.leave = nn.ConvTranspose2d(2 * width, bands, 4, 2, 1)
        initialise(self)

    def restore(self, cloudy: Tensor, sar: Tensor) -> Tensor:
        """(B, bands, H, W) and (B, sar_bands, H, W) to (B, bands, H, W), at any H and W.

        All windows are one batch, also for batch normalisation in training.
        """
        image = torch.cat((cloudy, sar), 1) if self.uses_sar else cloudy
        if self.multiple == self.side:
            return self._translate(image)
        rows, columns = (window_offsets(size, self.side) for size in cloudy.shape[-2:])
        if len(rows) == len(columns) == 1:
            return self._translate(image)
        height, width = (min(size, self.side) for size in cloudy.shape[-2:])
        corners = list(product(rows, columns))
        windows = [image[..., y : y + height, x : x + width] for y, x in corners]
        restored = self._translate(torch.cat(windows)).chunk(len(corners))
        down, across = (
            _weights(offsets, side, cloudy) for offsets, side in ((rows, height), (columns, width))
        )
        weights = [high[:, None] * wide for high, wide in product(down, across)]
        blended = torch.zeros_like(cloudy)
        for (y, x), window, weight in zip(corners, restored, weights, strict=True):
            blended[..., y : y + height, x : x + width] += window * weight
        return blended

    def _translate(self, image: Tensor) -> Tensor:
        """Optical and SAR in [0, 1], shape (B, C, h, w), to reflectance, through the U-Net."""
        (top, _), (left, _) = (margins(size, self.side) for size in image.shape[-2:])
        features = 2 * reflect_pad(image, self.side) - 1
        skipped = []
        for encoder in self.encoder:
            features = encoder(features)
            skipped.append(features)
        features = skipped.pop()
        for decoder in self.decoder:
            features = torch.cat((skipped.pop(), decoder(features)), 1)
        features = self.leave(F.relu(features)).to(image.dtype)
        if self.output == "tanh":
            features = features.tanh()
        height, width = image.shape[-2:]
        return (features[..., top : top + height, left : left + width] + 1) / 2


class Encoder(nn.Module):
    """Half the size: leaky ReLU, convolution, batch normalisation."""

    def __init__(self, channels: int, out: int, *, activated: bool, normalised: bool) -> None:
        super().__init__()
        self.activated = activated
        self.conv = nn.Conv2d(channels, out, 4, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(out) if normalised else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out, H/2, W/2)."""
        if self.activated:
            features = F.leaky_relu(features, SLOPE)
        return self.norm(self.conv(features))


class Decoder(nn.Module):
    """Twice the size: ReLU, transposed convolution, batch normalisation, dropout."""

    def __init__(self, channels: int, out: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, out, 4, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.drop = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out, 2 H, 2 W)."""
        return self.drop(self.norm(self.conv(F.relu(features))))


def window_offsets(size: int, side: int) -> list[int]:
    """Offsets of the fewest evenly spaced windows that cover an axis.

    Neighbours overlap by an eighth of their side at least, so that they can be blended.

    Example:
        >>> window_offsets(300, 256)
        [0, 44]
    """
    if size <= side:
        return [0]
    overlap = side // 8
    steps = -(-(size - side) // (side - overlap))
    return [round(i * (size - side) / steps) for i in range(steps + 1)]


def _weights(offsets: list[int], side: int, like: Tensor) -> list[Tensor]:
    """Weights of all windows along an axis, with the widest ramps that all overlaps have room for.

    Args:
        offsets: Of the windows.
        side: Of a window.
        like: Gives dtype and device.
    """
    steps = [after - before for before, after in pairwise(offsets)]
    ramp = max(1, side - max([0, *steps]))
    return [
        window_weight(offsets, index, side=side, ramp=ramp, device=like.device).to(like.dtype)
        for index in range(len(offsets))
    ]
