"""Define Align-CR, which aligns SAR with optical features before fusion (paper, Sec. 4).

Two streams at half resolution pass through identical stages: align SAR by deformable convolutions
(eq. 4, 6, 7), refine both streams in a dense block with joint attention, fuse SAR into the optical
features (eq. 5). The merged features of all stages correct the cloudy image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from planetcr_models.errors import ModelError
from planetcr_models.layers.blocks import (
    DenseStream,
    LocalFusion,
    Reconstruction,
    conv1,
    conv3,
    leaky,
    to_tokens,
    unshuffle,
)
from planetcr_models.layers.deformable import DeformableConv2d
from planetcr_models.layers.window_attention import (
    WINDOW,
    JointWindowAttention,
    Mlp,
    WindowAttention,
)
from planetcr_models.networks.base import OPTICAL_BANDS, SAR_BANDS, Restorer

EXPANSION = 6
"""Channels within a wide-activation block, in widths."""

MLP_RATIO = 4
"""Hidden channels of the attention layers' perceptrons, in widths."""


class AlignCR(Restorer):
    """Align-CR, and its ablation without alignment.

    Follows the authors' released code where the paper is silent: the network works on 2 × 2 pixels
    as channels, aligned SAR features replace the unaligned ones, and the global residual is the
    shallow feature after its ReLU. The ablation "w/o Align" (Tab. 2) only omits the alignment.

    Args:
        bands: Optical bands.
        width: Channels of each stream, a multiple of ``heads``.
        growth: Channels that each layer of a dense block adds.
        stages: Number D of stages; 6 in the paper.
        layers: Layers of a dense block.
        extractors: Wide-activation blocks before the first stage.
        heads: Attention heads, and deformable groups.
        align: False for the ablation.
        zero_sar: Replace SAR by zeros: an ablation without SAR that keeps all parameters.
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
        extractors: int = 5,
        heads: int = 8,
        align: bool = True,
        zero_sar: bool = False,
        sar_bands: int = SAR_BANDS,
    ) -> None:
        super().__init__(bands=bands, sar_bands=sar_bands)
        _expect_sensible(bands, width, growth, stages, layers, extractors, heads)
        if sar_bands < 1:
            raise ModelError(f"align_cr: expected sar_bands of 1 or more, got {sar_bands}")
        self.uses_sar = not zero_sar
        self.stem, self.stem_sar = conv3(4 * bands, width), conv3(4 * sar_bands, width)
        self.extract, self.extract_sar = (
            _extractors(width, extractors),
            _extractors(width, extractors),
        )
        self.stages = nn.ModuleList(
            AlignFuse(width, growth, layers, heads, shift=WINDOW // 2 * (i % 2), align=align)
            for i in range(stages)
        )
        self.reconstruct = Reconstruction(width, stages, bands)
        self.unused_parameters = tuple(
            f"stages.{stages - 1}.fuse.gate_sar.{part}" for part in ("weight", "bias")
        )

    def restore(self, cloudy: Tensor, sar: Tensor) -> Tensor:
        """(B, bands, H, W), (B, sar_bands, H, W) to (B, bands, H, W); H and W multiples of 16."""
        if not self.uses_sar:
            sar = torch.zeros_like(cloudy[:, :1]).expand(-1, self.sar_bands, -1, -1)
        shallow = F.relu(self.stem(unshuffle(cloudy)))
        optical = self.extract(shallow)
        radar = self.extract_sar(F.relu(self.stem_sar(unshuffle(sar))))
        features = []
        for i, stage in enumerate(self.stages, 1):
            optical, radar = stage(optical, radar, last=i == len(self.stages))
            features.append(optical)
        return cloudy + self.reconstruct(features, shallow)


class AlignCRNoSar(Restorer):
    """Align-CR's ablation without SAR: the optical stream alone.

    The paper describes it in one sentence ("w/o SAR", Tab. 2), and its code does not contain it.
    Our interpretation: the optical stream without alignment, gate and fusion, which need SAR.

    Args:
        bands: Optical bands.
        width: Channels, a multiple of ``heads``.
        growth: Channels that each layer of a dense block adds.
        stages: Number D of stages; 6 in the paper.
        layers: Layers of a dense block.
        extractors: Wide-activation blocks before the first stage.
        heads: Attention heads.
    """

    uses_sar = False
    multiple = 2 * WINDOW

    def __init__(
        self,
        *,
        bands: int = OPTICAL_BANDS,
        width: int = 96,
        growth: int = 48,
        stages: int = 6,
        layers: int = 5,
        extractors: int = 5,
        heads: int = 8,
    ) -> None:
        super().__init__(bands=bands)
        _expect_sensible(bands, width, growth, stages, layers, extractors, heads)
        self.stem = conv3(4 * bands, width)
        self.extract = _extractors(width, extractors)
        self.stages = nn.ModuleList(
            OpticalStage(width, growth, layers, heads, shift=WINDOW // 2 * (i % 2))
            for i in range(stages)
        )
        self.reconstruct = Reconstruction(width, stages, bands)

    def restore(self, cloudy: Tensor, sar: Tensor) -> Tensor:  # noqa: ARG002  the contract's
        """(B, bands, H, W) to the same; H and W multiples of 16."""
        shallow = F.relu(self.stem(unshuffle(cloudy)))
        optical = self.extract(shallow)
        features = []
        for stage in self.stages:
            optical = stage(optical)
            features.append(optical)
        return cloudy + self.reconstruct(features, shallow)


class AlignFuse(nn.Module):
    """Align, refine, fuse: "AlignFuse" of the paper's Fig. 3."""

    def __init__(
        self, width: int, growth: int, layers: int, heads: int, *, shift: int, align: bool
    ) -> None:
        super().__init__()
        self.align = Alignment(width, heads) if align else None
        self.dense = DenseStream(width, growth, layers)
        self.dense_sar = DenseStream(width, growth, layers)
        self.attention = JointTransformer(width, heads, shift)
        self.fuse = LocalFusion(width)

    def forward(self, optical: Tensor, sar: Tensor, *, last: bool) -> tuple[Tensor, Tensor]:
        """Two streams (B, width, H, W) to the same; the last stage leaves SAR incomplete."""
        if self.align is not None:
            sar = self.align(sar, optical)
        deep, deep_sar = self.attention(self.dense(optical), self.dense_sar(sar))
        return self.fuse(optical + deep, sar + deep_sar, last=last)


class OpticalStage(nn.Module):
    """The optical stream of a stage, alone."""

    def __init__(self, width: int, growth: int, layers: int, heads: int, *, shift: int) -> None:
        super().__init__()
        self.dense = DenseStream(width, growth, layers)
        self.attention = Transformer(width, heads, shift)

    def forward(self, optical: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        return optical + self.attention(self.dense(optical))


class WeightNormConv2d(nn.Module):
    """A convolution with weight normalisation: direction and magnitude per output channel."""

    def __init__(self, channels: int, out: int, size: int) -> None:
        super().__init__()
        initial = nn.Conv2d(channels, out, size)
        assert initial.bias is not None
        self.direction = nn.Parameter(initial.weight.detach().clone())
        norm = torch.linalg.vector_norm(initial.weight.detach(), dim=(1, 2, 3), keepdim=True)
        self.magnitude = nn.Parameter(norm)
        self.bias = nn.Parameter(initial.bias.detach().clone())

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out, H, W)."""
        # what torch's weight_norm calls too: one kernel each way instead of three and ten
        weight = torch._weight_norm(self.direction, self.magnitude, 0)  # noqa: SLF001
        return F.conv2d(features, weight, self.bias, padding=self.direction.shape[-1] // 2)


class WideActivation(nn.Module):
    """Wide-activation residual block: 1 × 1 to six widths, ReLU, 1 × 1 to 0.8, 3 × 3 back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = int(0.8 * width)
        self.expand = WeightNormConv2d(width, EXPANSION * width, 1)
        self.shrink = WeightNormConv2d(EXPANSION * width, narrow, 1)
        self.mix = WeightNormConv2d(narrow, width, 3)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        return features + self.mix(self.shrink(F.relu(self.expand(features))))


class Transformer(nn.Module):
    """Swin layer: attention within windows, then a perceptron, each with a residual."""

    def __init__(self, width: int, heads: int, shift: int) -> None:
        super().__init__()
        self.norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend = WindowAttention(width, heads, shift)
        self.mlp = Mlp(width, MLP_RATIO * width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        tokens = to_tokens(features)
        tokens = tokens + self.attend(self.norm(tokens))
        tokens = tokens + self.mlp(self.mlp_norm(tokens))
        return tokens.permute(0, 3, 1, 2)


class JointTransformer(nn.Module):
    """Swin layer of both streams, which share only their attention (SGCI)."""

    def __init__(self, width: int, heads: int, shift: int) -> None:
        super().__init__()
        self.norm, self.norm_sar = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp_norm, self.mlp_norm_sar = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend = JointWindowAttention(width, heads, shift)
        self.mlp, self.mlp_sar = Mlp(width, MLP_RATIO * width), Mlp(width, MLP_RATIO * width)

    def forward(self, optical: Tensor, sar: Tensor) -> tuple[Tensor, Tensor]:
        """Two streams (B, width, H, W) to the same."""
        tokens, radar = to_tokens(optical), to_tokens(sar)
        change, change_sar = self.attend(self.norm(tokens), self.norm_sar(radar))
        tokens, radar = tokens + change, radar + change_sar
        tokens = tokens + self.mlp(self.mlp_norm(tokens))
        radar = radar + self.mlp_sar(self.mlp_norm_sar(radar))
        return tokens.permute(0, 3, 1, 2), radar.permute(0, 3, 1, 2)


class Pyramid(nn.Module):
    """Features at full, half and quarter size, all of one width, with a top-down path (FPN)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down2 = conv3(width, 2 * width, stride=2)
        self.down3 = conv3(2 * width, 4 * width, stride=2)
        self.lateral1, self.lateral2 = conv1(width, width), conv1(2 * width, width)
        self.top = conv1(4 * width, width)
        self.smooth1, self.smooth2 = conv3(width, width), conv3(width, width)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, width, H, W) to three maps, (B, width, H / 2^l, W / 2^l)."""
        half = F.relu(self.down2(features))
        third = F.relu(self.top(F.relu(self.down3(half))))
        second = self.smooth2(_double(third) + self.lateral2(half))
        first = self.smooth1(_double(second) + self.lateral1(features))
        return first, second, third


class AlignmentLevel(nn.Module):
    """One level of the pyramid: estimate the displacement of SAR, with the level above, and sample.

    Args:
        width: Channels of each stream.
        groups: Groups of channels with common offsets.
        alone: True for the top level.
    """

    def __init__(self, width: int, groups: int, *, alone: bool = False) -> None:
        super().__init__()
        self.compare = conv3(2 * width, width)
        self.refine = None if alone else conv3(2 * width, width)
        self.guess = conv3(width, width)
        self.sample = DeformableConv2d(width, groups)
        self.merge = None if alone else conv3(2 * width, width)

    def forward(
        self,
        source: Tensor,
        reference: Tensor,
        guide_above: Tensor | None = None,
        aligned_above: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the guide of the offsets, and the aligned features before activation.

        The guide from above is doubled, because displacements are twice as many pixels here.
        """
        guide = leaky(self.compare(torch.cat((source, reference), 1)))
        if self.refine is not None and guide_above is not None:
            guide = leaky(self.refine(torch.cat((guide, 2 * _double(guide_above)), 1)))
        guide = leaky(self.guess(guide))
        aligned = self.sample(source, guide)
        if self.merge is not None and aligned_above is not None:
            aligned = self.merge(torch.cat((aligned, _double(aligned_above)), 1))
        return guide, aligned


class Alignment(nn.Module):
    """Align SAR with optical features: two pyramids, then EDVR's cascade (eq. 6, 7).

    Args:
        width: Channels of each stream, a multiple of ``groups``.
        groups: Groups of channels that move together.
    """

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.source, self.reference = Pyramid(width), Pyramid(width)
        self.level3 = AlignmentLevel(width, groups, alone=True)
        self.level2, self.level1 = AlignmentLevel(width, groups), AlignmentLevel(width, groups)
        self.cascade = AlignmentLevel(width, groups, alone=True)

    def forward(self, source: Tensor, reference: Tensor) -> Tensor:
        """SAR and optical features (B, width, H, W) to aligned SAR features."""
        source1, source2, source3 = self.source(source)
        reference1, reference2, reference3 = self.reference(reference)
        guide, aligned = self.level3(source3, reference3)
        guide, aligned = self.level2(source2, reference2, guide, leaky(aligned))
        guide, aligned = self.level1(source1, reference1, guide, leaky(aligned))
        _, aligned = self.cascade(aligned, reference1)
        return leaky(aligned)


def _double(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)


def _extractors(width: int, number: int) -> nn.Sequential:
    return nn.Sequential(*(WideActivation(width) for _ in range(number)))


def _expect_sensible(
    bands: int, width: int, growth: int, stages: int, layers: int, extractors: int, heads: int
) -> None:
    if min(bands, growth, stages, layers, heads) < 1 or width < 2 or extractors < 0:
        raise ModelError(
            "align_cr: expected bands, growth, stages, layers and heads of 1 or more, a width of 2 "
            f"or more and extractors of 0 or more, got bands={bands}, growth={growth}, "
            f"stages={stages}, layers={layers}, heads={heads}, width={width}, "
            f"extractors={extractors}"
        )
    if width % heads:
        raise ModelError(f"align_cr: expected a width that {heads} heads divide, got {width}")
