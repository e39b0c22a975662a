"""Define DSen2-CR, a residual network without downsampling on optical bands and SAR.

Meraner, Ebel, Zhu, Schmitt: "Cloud removal in Sentinel-2 imagery using a deep residual neural
network and SAR-optical data fusion", ISPRS Journal of Photogrammetry and Remote Sensing 166, 2020;
here for four optical bands, as the authors of Planet-CR run it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from planetcr_models.errors import ModelError
from planetcr_models.layers.blocks import conv3
from planetcr_models.networks.base import OPTICAL_BANDS, SAR_BANDS, Restorer


class DSen2CR(Restorer):
    """DSen2-CR: 16 residual blocks of 256 channels, whose sum corrects the cloudy image.

    Follows the code of the Planet-CR authors, which produced the published numbers: reflectance and
    SAR in [0, 1], weights from PyTorch's default initialisation. The paper's own code divides
    reflectance by 2000 and starts from He-uniform weights, with which the first correction is as
    large as the data. Train with ``carl``.

    Args:
        bands: Optical bands.
        width: Channels of the blocks.
        blocks: Number of residual blocks.
        use_sar: False for the paper's control without SAR.
        sar_bands: Bands of SAR, where it is used.
        residual_scale: Factor of the residual of each block.
    """

    def __init__(
        self,
        *,
        bands: int = OPTICAL_BANDS,
        width: int = 256,
        blocks: int = 16,
        use_sar: bool = True,
        sar_bands: int = SAR_BANDS,
        residual_scale: float = 0.1,
    ) -> None:
        super().__init__(bands=bands, sar_bands=sar_bands)
        if min(bands, width, sar_bands) < 1 or blocks < 0:
            raise ModelError(
                "dsen2_cr: expected bands, width and sar_bands of 1 or more and blocks of 0 or "
                f"more, got bands={bands}, width={width}, sar_bands={sar_bands}, blocks={blocks}"
            )
        self.uses_sar = use_sar
        self.head = conv3(bands + sar_bands * use_sar, width)
        self.blocks = nn.Sequential(*(ResidualBlock(width, residual_scale) for _ in range(blocks)))
        self.tail = conv3(width, bands)

    def restore(self, cloudy: Tensor, sar: Tensor) -> Tensor:
        """(B, bands, H, W) and (B, sar_bands, H, W) to (B, bands, H, W), at any H and W."""
        image = torch.cat((cloudy, sar), 1) if self.uses_sar else cloudy
        return cloudy + self.tail(self.blocks(F.relu(self.head(image))))


class ResidualBlock(nn.Module):
    """DSen2-CR's residual block: ``x + scale · conv(relu(conv(x)))``, nothing after the sum."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.first, self.second = conv3(width, width), conv3(width, width)
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        return features + self.scale * self.second(F.relu(self.first(features)))
