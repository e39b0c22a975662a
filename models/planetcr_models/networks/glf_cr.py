"""Define GLF-CR, which fuses SAR by joint attention and dynamic filters.

Xu, Shi, Ebel, Yu, Xia, Yang, Zhu: "GLF-CR: SAR-Enhanced Cloud Removal with Global-Local Fusion",
ISPRS Journal of Photogrammetry and Remote Sensing 192, 2022; here for four optical bands, as the
authors of Planet-CR run it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from planetcr_models.errors import ModelError
from planetcr_models.layers.blocks import LocalFusion, Reconstruction, conv3, to_tokens, unshuffle
from planetcr_models.layers.window_attention import WINDOW, JointWindowAttention, Mlp
from planetcr_models.networks.base import OPTICAL_BANDS, SAR_BANDS, Restorer

MLP_RATIO = 2
"""Hidden channels of the attention layers' perceptrons, in widths."""


class GLFCR(Restorer):
    """GLF-CR: two streams at half resolution, joint attention in every dense layer.

    The authors' network works only at the size it is built for; this one takes any. Their released
    weights also contain masks of that size, which are not needed.

    Args:
        bands: Optical bands.
        width: Channels of each stream.
        growth: Channels that each dense layer adds, a multiple of ``heads``.
        stages: Number of stages.
        layers: Dense layers of a stage.
        heads: Attention heads.
        drop_path: In training, the share of images in which the last dense layer's attention and
            perceptron are skipped; increases from zero, layer by layer.
        sar_bands: Bands of SAR.
    """

    multiple = 2 * WINDOW

    def __init__(
        self,
        *,
        bands: int = OPTICAL_BANDS,
        width: int = 96,
        growth: int = 48,
        stages: int = 6,
        layers: int = 5,
        heads: int = 8,
        drop_path: float = 0.2,
        sar_bands: int = SAR_BANDS,
    ) -> None:
        super().__init__(bands=bands, sar_bands=sar_bands)
        if min(bands, width, growth, stages, layers, heads, sar_bands) < 1:
            raise ModelError(
                "glf_cr: expected bands, width, growth, stages, layers, heads and sar_bands of 1 "
                f"or more, got bands={bands}, width={width}, growth={growth}, stages={stages}, "
                f"layers={layers}, heads={heads}, sar_bands={sar_bands}"
            )
        if growth % heads:
            raise ModelError(f"glf_cr: expected a growth that {heads} heads divide, got {growth}")
        if not 0 <= drop_path < 1:
            raise ModelError(f"glf_cr: expected a drop_path in [0, 1), got {drop_path}")
        self.shallow = nn.Conv2d(4 * bands, width, 5, padding=2)
        self.shallow_sar = nn.Conv2d(4 * sar_bands, width, 5, padding=2)
        self.stem, self.stem_sar = conv3(width, width), conv3(width, width)
        last = max(stages * layers - 1, 1)
        rates = [drop_path * i / last for i in range(stages * layers)]
        self.stages = nn.ModuleList(
            Stage(width, growth, heads, rates[i * layers : (i + 1) * layers]) for i in range(stages)
        )
        self.reconstruct = Reconstruction(width, stages, bands)
        self.unused_parameters = tuple(
            f"stages.{stages - 1}.fuse.gate_sar.{part}" for part in ("weight", "bias")
        )

    def restore(self, cloudy: Tensor, sar: Tensor) -> Tensor:
        """(B, bands, H, W), (B, sar_bands, H, W) to (B, bands, H, W); H and W multiples of 16."""
        shallow = self.shallow(unshuffle(cloudy))
        optical = self.stem(shallow)
        radar = self.stem_sar(self.shallow_sar(unshuffle(sar)))
        features = []
        for i, stage in enumerate(self.stages, 1):
            optical, radar = stage(optical, radar, last=i == len(self.stages))
            features.append(optical)
        return cloudy + self.reconstruct(features, shallow)


class Stage(nn.Module):
    """Dense layers with joint attention, merged and added to the input; then local fusion."""

    def __init__(self, width: int, growth: int, heads: int, drop_paths: list[float]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DenseLayer(width + i * growth, growth, heads, WINDOW // 2 * (i % 2), drop_path)
            for i, drop_path in enumerate(drop_paths)
        )
        total = width + len(drop_paths) * growth
        self.merge, self.merge_sar = conv3(total, width), conv3(total, width)
        self.fuse = LocalFusion(width)

    def forward(self, optical: Tensor, sar: Tensor, *, last: bool) -> tuple[Tensor, Tensor]:
        """Two streams (B, width, H, W) to the same; the last stage leaves SAR incomplete."""
        grown, grown_sar = optical, sar
        for layer in self.layers:
            more, more_sar = layer(grown, grown_sar)
            grown, grown_sar = torch.cat((grown, more), 1), torch.cat((grown_sar, more_sar), 1)
        return self.fuse(optical + self.merge(grown), sar + self.merge_sar(grown_sar), last=last)


class DenseLayer(nn.Module):
    """One dense layer of both streams: convolution, joint attention, perceptron."""

    def __init__(
        self, channels: int, growth: int, heads: int, shift: int, drop_path: float
    ) -> None:
        super().__init__()
        self.conv, self.conv_sar = conv3(channels, growth), conv3(channels, growth)
        self.attend = JointWindowAttention(growth, heads, shift)
        self.mlp_norm, self.mlp_norm_sar = nn.LayerNorm(growth), nn.LayerNorm(growth)
        self.mlp, self.mlp_sar = Mlp(growth, MLP_RATIO * growth), Mlp(growth, MLP_RATIO * growth)
        self.drop = DropPath(drop_path)

    def forward(self, optical: Tensor, sar: Tensor) -> tuple[Tensor, Tensor]:
        """Two streams (B, channels, H, W) to two of (B, growth, H, W)."""
        tokens = to_tokens(F.relu(self.conv(optical)))
        radar = to_tokens(F.relu(self.conv_sar(sar)))
        kept = self.drop.draw(4, tokens)
        change, change_sar = self.attend(tokens, radar)
        tokens, radar = _add(tokens, change, kept[0]), _add(radar, change_sar, kept[1])
        tokens = _add(tokens, self.mlp(self.mlp_norm(tokens)), kept[2])
        radar = _add(radar, self.mlp_sar(self.mlp_norm_sar(radar)), kept[3])
        return tokens.permute(0, 3, 1, 2), radar.permute(0, 3, 1, 2)


class DropPath(nn.Module):
    """In training, drop a share of the images from a residual and scale up the others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def draw(self, times: int, images: Tensor) -> Sequence[Tensor | None]:
        """Factors of as many residuals, each (B, 1, …), or None where nothing is dropped."""
        if not self.training or self.rate == 0:
            return [None] * times
        shape = (times, len(images), *[1] * (images.ndim - 1))
        kept = torch.rand(shape, device=images.device) >= self.rate
        return (kept / (1 - self.rate)).to(images.dtype).unbind()


def _add(tokens: Tensor, change: Tensor, kept: Tensor | None) -> Tensor:
    """Add a residual to the images in which it is kept."""
    return tokens + (change if kept is None else change * kept)
