"""Implement Align-CR and GLF-CR as published, as references for our networks.

Takes the tensors of a checkpoint under their published names, and gives the published results.
Nothing is optimised: the image is unfolded for the dynamic filter, windows are rolled and cut, bias
and mask are added one after the other, dense layers concatenate. Both take SAR on the optical grid,
and heights and widths that are multiples of 16, from 32 up.
"""

from __future__ import annotations

import functools
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth, deform_conv2d

WIDTH, GROWTH, LAYERS, STAGES = 96, 48, 5, 6
HEADS, WINDOW, TAPS = 8, 8, 5
GROUPS = 8  # deformable groups

Pair = tuple[Tensor, Tensor]  # optical, SAR


def conv3(inputs: int, outputs: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def conv1(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1)


def leaky() -> nn.LeakyReLU:
    return nn.LeakyReLU(0.1, inplace=True)


def up2(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


# --- shallow features -----------------------------------------------------------------------------


def weight_norm(conv: nn.Conv2d) -> nn.Conv2d:
    """Direction and length per output channel, named ``weight_v`` and ``weight_g``."""
    with warnings.catch_warnings():  # the newer form has other names
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(conv)


class WideBlock(nn.Module):
    """Wide-activation residual block."""

    def __init__(self) -> None:
        super().__init__()
        wide, low = 6 * WIDTH, int(0.8 * WIDTH)
        self.body = nn.Sequential(
            weight_norm(conv1(WIDTH, wide)),
            nn.ReLU(inplace=True),
            weight_norm(conv1(wide, low)),
            weight_norm(conv3(low, WIDTH)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


# --- alignment ------------------------------------------------------------------------------------


class Deformable(nn.Module):
    """Modulated deformable 3 × 3 convolution of ``x``, guided by features ``t``."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(WIDTH, WIDTH, 3, 3))
        self.bias = nn.Parameter(torch.zeros(WIDTH))
        self.conv_offset = conv3(WIDTH, 3 * 9 * GROUPS)
        bound = (9 * WIDTH) ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        offset, mask = self.conv_offset(t).split((2 * 9 * GROUPS, 9 * GROUPS), dim=1)
        return deform_conv2d(x, offset, self.weight, self.bias, padding=1, mask=torch.sigmoid(mask))


class CascadeAlignment(nn.Module):
    """Pyramid, cascading and deformable alignment of SAR with optical features."""

    def __init__(self) -> None:
        super().__init__()
        double = functools.partial(conv3, 2 * WIDTH, WIDTH)
        same = functools.partial(conv3, WIDTH, WIDTH)
        self.offset_conv1 = nn.ModuleDict({level: double() for level in ("l3", "l2", "l1")})
        self.offset_conv2 = nn.ModuleDict({"l3": same(), "l2": double(), "l1": double()})
        self.offset_conv3 = nn.ModuleDict({level: same() for level in ("l2", "l1")})
        self.dcn_pack = nn.ModuleDict({level: Deformable() for level in ("l3", "l2", "l1")})
        self.feat_conv = nn.ModuleDict({level: double() for level in ("l2", "l1")})
        self.cas_offset_conv1 = double()
        self.cas_offset_conv2 = same()
        self.cas_dcnpack = Deformable()
        self.lrelu = leaky()

    def forward(self, source: list[Tensor], reference: list[Tensor]) -> Tensor:
        """Pyramids, finest level first."""
        act = self.lrelu
        t = feature = None
        for level, s, r in zip((3, 2, 1), source[::-1], reference[::-1], strict=True):
            name = f"l{level}"
            guide = act(self.offset_conv1[name](torch.cat((s, r), dim=1)))
            if t is None or feature is None:
                t = act(self.offset_conv2[name](guide))
                feature = act(self.dcn_pack[name](s, t))
                continue
            guide = act(self.offset_conv2[name](torch.cat((guide, up2(t) * 2), dim=1)))
            t = act(self.offset_conv3[name](guide))
            moved = self.dcn_pack[name](s, t)
            feature = self.feat_conv[name](torch.cat((moved, up2(feature)), dim=1))
            if level > 1:
                feature = act(feature)
        t = act(self.cas_offset_conv1(torch.cat((feature, reference[0]), dim=1)))
        t = act(self.cas_offset_conv2(t))
        return act(self.cas_dcnpack(feature, t))


class Alignment(nn.Module):
    """Two feature pyramids and the alignment of the first with the second."""

    def __init__(self) -> None:
        super().__init__()
        for stream in ("src", "ref"):
            self.add_module(f"{stream}_L2_conv1", conv3(WIDTH, 2 * WIDTH, stride=2))
            self.add_module(f"{stream}_L3_conv1", conv3(2 * WIDTH, 4 * WIDTH, stride=2))
        for stream in ("src", "ref"):
            self.add_module(f"{stream}_toplayer", conv1(4 * WIDTH, WIDTH))
            self.add_module(f"{stream}_smooth1", conv3(WIDTH, WIDTH))
            self.add_module(f"{stream}_smooth2", conv3(WIDTH, WIDTH))
            self.add_module(f"{stream}_latlayer1", conv1(2 * WIDTH, WIDTH))
            self.add_module(f"{stream}_latlayer2", conv1(WIDTH, WIDTH))
        self.pcd_align = CascadeAlignment()

    def pyramid(self, x: Tensor, stream: str) -> list[Tensor]:
        def layer(name: str) -> nn.Module:
            return self.get_submodule(f"{stream}_{name}")

        half = F.relu(layer("L2_conv1")(x), inplace=True)
        quarter = F.relu(layer("L3_conv1")(half), inplace=True)
        top = F.relu(layer("toplayer")(quarter), inplace=True)
        middle = layer("smooth1")(up2(top) + layer("latlayer1")(half))
        return [layer("smooth2")(up2(middle) + layer("latlayer2")(x)), middle, top]

    def forward(self, source: Tensor, reference: Tensor) -> Tensor:
        return self.pcd_align(self.pyramid(source, "src"), self.pyramid(reference, "ref"))


# --- window attention -----------------------------------------------------------------------------


def cut_windows(x: Tensor) -> Tensor:
    """(N, H, W, C) to (N · windows, 64, C), windows row by row."""
    n, height, width, channels = x.shape
    x = x.view(n, height // WINDOW, WINDOW, width // WINDOW, WINDOW, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, WINDOW * WINDOW, channels)


def join_windows(windows: Tensor, height: int, width: int) -> Tensor:
    x = windows.view(-1, height // WINDOW, width // WINDOW, WINDOW, WINDOW, windows.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, windows.shape[-1])


@functools.lru_cache(maxsize=8)
def shift_mask(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """0 between tokens of a region, -100 between regions: shape (windows, 64, 64)."""
    regions = torch.zeros(1, height, width, 1, device=device)
    bands = (slice(0, -WINDOW), slice(-WINDOW, -WINDOW // 2), slice(-WINDOW // 2, None))
    for row, rows in enumerate(bands):
        for column, columns in enumerate(bands):
            regions[:, rows, columns] = 3 * row + column
    tokens = cut_windows(regions).squeeze(-1)
    return (tokens[:, None, :] != tokens[:, :, None]).to(dtype) * -100


def position_index() -> Tensor:
    """Row of the bias table for each pair of tokens, shape (64, 64)."""
    places = torch.cartesian_prod(torch.arange(WINDOW), torch.arange(WINDOW))
    rows, columns = (places[:, None] - places[None, :] + WINDOW - 1).unbind(-1)
    return rows * (2 * WINDOW - 1) + columns


class DualAttention(nn.Module):
    """Attention within windows, where SAR gates the optical logits."""

    position: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, HEADS))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("position", position_index(), persistent=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.qkv_SAR = nn.Linear(width, 3 * width)
        self.attn_fuse_1x1conv = conv1(HEADS, HEADS)
        self.proj = nn.Linear(width, width)
        self.proj_SAR = nn.Linear(width, width)

    def logits(self, qkv: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits with bias and mask, shape (windows, heads, 64, 64), and values."""
        windows, tokens, triple = qkv.shape
        depth = triple // (3 * HEADS)
        qkv = qkv.reshape(windows, tokens, 3, HEADS, depth).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        logits = (q * depth**-0.5) @ k.transpose(-2, -1)
        bias = self.relative_position_bias_table[self.position.view(-1)]
        logits = logits + bias.view(tokens, tokens, HEADS).permute(2, 0, 1).contiguous()
        if mask is not None:
            logits = logits.view(-1, len(mask), HEADS, tokens, tokens) + mask.unsqueeze(1)
            logits = logits.view(windows, HEADS, tokens, tokens)
        return logits, v

    def forward(self, optical: Tensor, sar: Tensor, mask: Tensor | None) -> Pair:
        a, optical_values = self.logits(self.qkv(optical), mask)
        s, sar_values = self.logits(self.qkv_SAR(sar), mask)
        difference = s - a
        a = a + difference * torch.sigmoid(self.attn_fuse_1x1conv(difference))
        x = (a.softmax(-1) @ optical_values).transpose(1, 2).reshape(optical.shape)
        y = (s.softmax(-1) @ sar_values).transpose(1, 2).reshape(sar.shape)
        return self.proj(x), self.proj_SAR(y)

    def image(self, optical: Tensor, sar: Tensor, shift: int) -> Pair:
        """The same on whole maps (N, H, W, C), of which windows are cut."""
        _, height, width, _ = optical.shape
        mask = None
        if shift:
            mask = shift_mask(height, width, optical.device, optical.dtype)
            optical = torch.roll(optical, (-shift, -shift), dims=(1, 2))
            sar = torch.roll(sar, (-shift, -shift), dims=(1, 2))
        optical, sar = self(cut_windows(optical), cut_windows(sar), mask)
        optical, sar = (join_windows(part, height, width) for part in (optical, sar))
        if shift:
            optical = torch.roll(optical, (shift, shift), dims=(1, 2))
            sar = torch.roll(sar, (shift, shift), dims=(1, 2))
        return optical, sar


class Perceptron(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


def tokens_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).contiguous()


def channels_second(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2).contiguous()


class DualSwinLayer(nn.Module):
    """Align-CR's: attention with a norm before it, then a perceptron, once per stage."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.norm1 = nn.LayerNorm(WIDTH)
        self.norm1_SAR = nn.LayerNorm(WIDTH)
        self.attn = DualAttention(WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.norm2_SAR = nn.LayerNorm(WIDTH)
        self.mlp = Perceptron(WIDTH, 4 * WIDTH)
        self.mlp_SAR = Perceptron(WIDTH, 4 * WIDTH)

    def forward(self, x: Tensor, y: Tensor) -> Pair:
        x, y = tokens_last(x), tokens_last(y)
        optical, sar = self.attn.image(self.norm1(x), self.norm1_SAR(y), self.shift)
        x, y = x + optical, y + sar
        x = x + self.mlp(self.norm2(x))
        y = y + self.mlp_SAR(self.norm2_SAR(y))
        return channels_second(x), channels_second(y)


# --- dense blocks ---------------------------------------------------------------------------------


class DenseLayer(nn.Module):
    """Align-CR's: one convolution per stream, its output appended."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv3(inputs, GROWTH), nn.ReLU(inplace=True))
        self.conv_SAR = nn.Sequential(conv3(inputs, GROWTH), nn.ReLU(inplace=True))

    def forward(self, x: Tensor, y: Tensor) -> Pair:
        return torch.cat((x, self.conv(x)), dim=1), torch.cat((y, self.conv_SAR(y)), dim=1)


class DenseSwinLayer(nn.Module):
    """GLF-CR's: a convolution and window attention, without a norm before it, appended."""

    def __init__(self, inputs: int, shift: int, drop_path: float) -> None:
        super().__init__()
        self.shift = shift
        self.conv = nn.Sequential(conv3(inputs, GROWTH), nn.ReLU(inplace=True))
        self.conv_SAR = nn.Sequential(conv3(inputs, GROWTH), nn.ReLU(inplace=True))
        self.attn = DualAttention(GROWTH)
        self.norm2 = nn.LayerNorm(GROWTH)
        self.norm2_SAR = nn.LayerNorm(GROWTH)
        self.mlp = Perceptron(GROWTH, 2 * GROWTH)
        self.mlp_SAR = Perceptron(GROWTH, 2 * GROWTH)
        self.drop_path = StochasticDepth(drop_path, "row")  # draws anew at each call

    def forward(self, x: Tensor, y: Tensor) -> Pair:
        optical, sar = tokens_last(self.conv(x)), tokens_last(self.conv_SAR(y))
        moved, moved_sar = self.attn.image(optical, sar, self.shift)
        optical, sar = optical + self.drop_path(moved), sar + self.drop_path(moved_sar)
        optical = optical + self.drop_path(self.mlp(self.norm2(optical)))
        sar = sar + self.drop_path(self.mlp_SAR(self.norm2_SAR(sar)))
        x = torch.cat((x, channels_second(optical)), dim=1)
        return x, torch.cat((y, channels_second(sar)), dim=1)


def layer_inputs(layer: int) -> int:
    return WIDTH + GROWTH * layer


class AlignDenseBlock(nn.Module):
    def __init__(self, stage: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(DenseLayer(layer_inputs(c)) for c in range(LAYERS))
        self.LFF = conv3(layer_inputs(LAYERS), WIDTH)
        self.LFF_SAR = conv3(layer_inputs(LAYERS), WIDTH)
        self.SwinTransformerBlock = DualSwinLayer(WINDOW // 2 * (stage % 2))

    def forward(self, x: Tensor, y: Tensor) -> Pair:
        dense, dense_sar = x, y
        for layer in self.convs:
            dense, dense_sar = layer(dense, dense_sar)
        optical, sar = self.SwinTransformerBlock(self.LFF(dense), self.LFF_SAR(dense_sar))
        return x + optical, y + sar


class GLFDenseBlock(nn.Module):
    def __init__(self, drop_path: list[float]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            DenseSwinLayer(layer_inputs(c), WINDOW // 2 * (c % 2), drop_path[c])
            for c in range(LAYERS)
        )
        self.LFF = conv3(layer_inputs(LAYERS), WIDTH)
        self.LFF_SAR = conv3(layer_inputs(LAYERS), WIDTH)

    def forward(self, x: Tensor, y: Tensor) -> Pair:
        dense, dense_sar = x, y
        for layer in self.convs:
            dense, dense_sar = layer(dense, dense_sar)
        return x + self.LFF(dense), y + self.LFF_SAR(dense_sar)


# --- fusion ---------------------------------------------------------------------------------------


def unfold_filter(features: Tensor, kernels: Tensor, *, taps: int = TAPS) -> Tensor:
    """Filter each pixel and channel with a kernel of its own, replicating the border.

    Args:
        features: Shape (N, C, H, W).
        kernels: Shape (N, C · taps², H, W): channel, then row, then column of the kernel.
        taps: Height and width of a kernel.

    Returns:
        Shape (N, C, H, W).
    """
    n, channels, height, width = features.shape
    padded = F.pad(features, (taps // 2,) * 4, mode="replicate")
    patches = padded.unfold(2, taps, 1).unfold(3, taps, 1)
    patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(n, height, width, channels, taps**2)
    kernels = kernels.permute(0, 2, 3, 1).contiguous().view(n, height, width, channels, taps**2)
    return channels_second((patches * kernels).sum(dim=-1))


class KernelBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv3(WIDTH, WIDTH), leaky(), conv3(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.stem(x)


class DynamicFilter(nn.Module):
    """SAR features, filtered with kernels that both streams predict."""

    def __init__(self) -> None:
        super().__init__()
        self.fac_warp = nn.Sequential(
            nn.Sequential(conv3(2 * WIDTH, WIDTH), leaky()),
            KernelBlock(),
            KernelBlock(),
            nn.Sequential(conv1(WIDTH, WIDTH * TAPS**2), leaky()),
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return unfold_filter(y, self.fac_warp(torch.cat((x, y), dim=1)))


class Trunk(nn.Module):
    """What both networks share: stages of dense block and fusion, and the tail."""

    RDBs: nn.ModuleList

    def add_fusion_and_tail(self) -> None:
        self.DF = nn.ModuleList(DynamicFilter() for _ in range(STAGES))
        self.sar_fuse_1x1conv = nn.ModuleList(conv1(WIDTH, WIDTH) for _ in range(STAGES))
        self.opt_distribute_1x1conv = nn.ModuleList(conv1(WIDTH, WIDTH) for _ in range(STAGES))
        self.GFF = nn.Sequential(conv1(STAGES * WIDTH, WIDTH), conv3(WIDTH, WIDTH))
        self.UPNet = nn.Sequential(conv3(WIDTH, 256), nn.PixelShuffle(2), conv3(64, 4))

    def align(self, stage: int, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002 - Align-CR does
        """SAR features on the grid of the optical ones."""
        return y

    def fuse(self, stage: int, x: Tensor, y: Tensor) -> Pair:
        filtered = self.DF[stage](x, y)
        difference = filtered - x
        x = x + difference * torch.sigmoid(self.sar_fuse_1x1conv[stage](difference))
        difference = x - filtered
        y = y + difference * torch.sigmoid(self.opt_distribute_1x1conv[stage](difference))
        return x, y

    def restore(self, cloudy: Tensor, x: Tensor, y: Tensor, residual: Tensor) -> Tensor:
        stages = []
        for stage, block in enumerate(self.RDBs):
            y = self.align(stage, x, y)
            x, y = self.fuse(stage, *block(x, y))
            stages.append(x)
        return cloudy + self.UPNet(self.GFF(torch.cat(stages, dim=1)) + residual)


class PlainAlignCR(Trunk):
    """Align-CR: cloudy (N, 4, H, W) and SAR (N, 2, H, W) to (N, 4, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.SFE_conv = conv3(16, WIDTH)
        self.SFE_module = nn.Sequential(*(WideBlock() for _ in range(5)))
        self.SFE_conv_SAR = conv3(8, WIDTH)
        self.SFE_module_SAR = nn.Sequential(*(WideBlock() for _ in range(5)))
        self.RDBs = nn.ModuleList(AlignDenseBlock(stage) for stage in range(STAGES))
        self.SFAlign = nn.ModuleList(Alignment() for _ in range(STAGES))
        self.add_fusion_and_tail()

    def align(self, stage: int, x: Tensor, y: Tensor) -> Tensor:
        return self.SFAlign[stage](y, x)

    def forward(self, cloudy: Tensor, sar: Tensor) -> Tensor:
        shallow = F.relu(self.SFE_conv(F.pixel_unshuffle(cloudy, 2)), inplace=True)
        shallow_sar = F.relu(self.SFE_conv_SAR(F.pixel_unshuffle(sar, 2)), inplace=True)
        x, y = self.SFE_module(shallow), self.SFE_module_SAR(shallow_sar)
        return self.restore(cloudy, x, y, shallow)


class PlainGLFCR(Trunk):
    """GLF-CR: cloudy (N, 4, H, W) and SAR (N, 2, H, W) to (N, 4, H, W).

    Args:
        drop_path: Stochastic depth of the last dense layer; it rises from 0 at the first. The
            published training has 0.2.
    """

    def __init__(self, drop_path: float = 0.0) -> None:
        super().__init__()
        rates = np.linspace(0, drop_path, STAGES * LAYERS).reshape(STAGES, LAYERS).tolist()
        self.SFENet1 = nn.Conv2d(16, WIDTH, 5, padding=2)
        self.SFENet2 = conv3(WIDTH, WIDTH)
        self.SFENet1_SAR = nn.Conv2d(8, WIDTH, 5, padding=2)
        self.SFENet2_SAR = conv3(WIDTH, WIDTH)
        self.RDBs = nn.ModuleList(GLFDenseBlock(stage) for stage in rates)
        self.add_fusion_and_tail()

    def forward(self, cloudy: Tensor, sar: Tensor) -> Tensor:
        shallow = self.SFENet1(F.pixel_unshuffle(cloudy, 2))
        shallow_sar = self.SFENet1_SAR(F.pixel_unshuffle(sar, 2))
        return self.restore(cloudy, self.SFENet2(shallow), self.SFENet2_SAR(shallow_sar), shallow)
