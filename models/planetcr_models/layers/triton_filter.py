"""Run the dynamic filter on CUDA, forward and backward, by Triton kernels.

Raw kernels, before their leaky ReLU, are 25 times as large as the features, so the cost of the
filter is moving them. The forward pass reads every raw value once; the backward pass reads it once
and writes its gradient in its place. No two programs add to the same value, so the result is
deterministic.

Import this module only where Triton is installed.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

WARPS = 4
SHORT_REACH = 2**30
"""Images whose last value is closer to the first than this are indexed with 32 bits: half the
registers of 64, and room for indices of a tile beyond its image."""


def filter_forward(features: Tensor, raw: Tensor, slope: float) -> Tensor:
    """Correlate every channel at every pixel with its own kernel.

    Args:
        features: Shape (B, C, H, W), in channels-last; padded by replicating the border.
        raw: Kernels before their leaky ReLU, in the type of the features, shape (B, C, k², H, W)
            with k odd. In memory, C is innermost and k² around it, as from tap-major rows of a
            1 × 1 convolution in channels-last.
        slope: Of the leaky ReLU.

    Returns:
        Shape and strides of ``features``. Sums are float32, for float64 inputs float64.
    """
    taps = raw.view(*raw.shape[:3], -1)
    height, width = features.shape[-2:]
    out = torch.empty_like(features)
    _launch(_filter_tile, height * width, (features, taps, out), taps, (height, width), slope)
    return out


def filter_backward(
    gradient: Tensor, features: Tensor, raw: Tensor, slope: float
) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`filter_forward`.

    Args:
        gradient: Of its result, shape (B, C, H, W).
        features: As in the forward pass.
        raw: As in the forward pass; overwritten with its gradient.
        slope: As in the forward pass.

    Returns:
        The gradient of the features, and ``raw``.
    """
    taps = raw.view(*raw.shape[:3], -1)
    height, width = features.shape[-2:]
    margin = math.isqrt(taps.shape[2]) // 2
    padded = torch.empty(
        (*features.shape[:2], height + 2 * margin, width + 2 * margin),
        dtype=torch.promote_types(features.dtype, torch.float32),
        device=features.device,
        memory_format=torch.channels_last,
    )
    to_features = torch.empty_like(features)
    tensors = (gradient, features, taps, to_features, padded)
    pixels = padded.shape[-2] * padded.shape[-1]
    _launch(_gradient_tile, pixels, tensors, taps, (height, width), slope)
    ring = 2 * (height + width)
    _launch(_fold_tile, ring, (to_features, padded), taps, (height, width), slope)
    return to_features, raw


def _launch(
    kernel: Any,
    pixels: int,
    tensors: tuple[Tensor, ...],
    taps: Tensor,
    size: tuple[int, int],
    slope: float,
) -> None:
    batch, channels, square = taps.shape[:3]
    block_pixels, block_channels = _blocks(taps)
    reach = max(_reach(tensor) for tensor in tensors)
    tiles = triton.cdiv(pixels, block_pixels) * triton.cdiv(channels, block_channels) * batch
    strides = [stride for tensor in tensors for stride in tensor.stride()]
    with torch.cuda.device_of(taps):
        kernel[(tiles,)](
            *tensors,
            channels,
            *size,
            *strides,
            slope=slope,
            size=math.isqrt(square),
            wide=tl.float64 if taps.dtype == torch.float64 else tl.float32,
            index=tl.int32 if reach < SHORT_REACH else tl.int64,
            block_pixels=block_pixels,
            block_channels=block_channels,
            num_warps=WARPS,
        )


def _blocks(taps: Tensor) -> tuple[int, int]:
    """Pixels and channels of a tile, lanes along the channels.

    An H100 hides the latency of its memory with some 18 kB on their way to each of its
    multiprocessors. Every thread moves 16 bytes at once, which takes 36 warps of them, and 32
    channels fill whole sectors of 32 bytes in every type.
    """
    channels = min(32, triton.next_power_of_2(taps.shape[1]))
    return WARPS * 32 * 16 // taps.element_size() // channels, channels


def _reach(tensor: Tensor) -> int:
    """Of the last value of an image beyond its first."""
    steps = zip(tensor.shape[1:], tensor.stride()[1:], strict=True)
    return sum((length - 1) * stride for length, stride in steps)


@triton.jit
def _tile(
    pixels: tl.tensor,
    channels: tl.tensor,
    index: tl.constexpr,
    block_pixels: tl.constexpr,
    block_channels: tl.constexpr,
) -> Any:
    """Position of this program: image, first channel, pixels, channels, and which of them exist.

    Pixels have shape (block, 1), channels (1, block).
    """
    program = tl.program_id(0)
    channel_tiles = tl.cdiv(channels, block_channels)
    pixel_tiles = tl.cdiv(pixels, block_pixels)
    first = program % channel_tiles * block_channels
    channel = tl.arange(0, block_channels)[None, :]
    pixel = program // channel_tiles % pixel_tiles * block_pixels
    pixel += tl.arange(0, block_pixels)[:, None]
    image = (program // channel_tiles // pixel_tiles).to(tl.int64)
    valid = (pixel < pixels) & (first + channel < channels)
    return image, first.to(tl.int64), pixel.to(index), channel.to(index), valid


@triton.jit
def _clamp(position: tl.tensor, length: tl.tensor) -> Any:
    return tl.minimum(tl.maximum(position, 0), length - 1)


@triton.jit
def _filter_tile(
    features: tl.tensor,
    taps: tl.tensor,
    out: tl.tensor,
    channels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    features_image: tl.tensor,
    features_channel: tl.tensor,
    features_y: tl.tensor,
    features_x: tl.tensor,
    taps_image: tl.tensor,
    taps_channel: tl.tensor,
    taps_tap: tl.tensor,
    taps_pixel: tl.tensor,
    out_image: tl.tensor,
    out_channel: tl.tensor,
    out_y: tl.tensor,
    out_x: tl.tensor,
    slope: tl.constexpr,
    size: tl.constexpr,
    wide: tl.constexpr,
    index: tl.constexpr,
    block_pixels: tl.constexpr,
    block_channels: tl.constexpr,
) -> None:
    image, first, pixel, channel, valid = _tile(
        height * width, channels, index, block_pixels, block_channels
    )
    y, x = pixel // width, pixel % width
    features += image * features_image + first * features_channel
    taps += image * taps_image + first * taps_channel
    out += image * out_image + first * out_channel
    at_channel = channel * features_channel
    at_taps = channel * taps_channel + pixel * taps_pixel
    total = tl.full((block_pixels, block_channels), 0, wide)
    for step in range(size):
        row = tl.cast(step, index)
        at_row = at_channel + _clamp(y + row - size // 2, height) * features_y
        for column in tl.static_range(size):
            at = at_row + _clamp(x + (column - size // 2), width) * features_x
            seen = tl.load(features + at, valid, 0).to(wide)
            raw = tl.load(taps + (at_taps + (row * size + column) * taps_tap), valid, 0).to(wide)
            total += tl.where(raw > 0, raw, raw * slope) * seen
    at_out = channel * out_channel + y * out_y + x * out_x
    tl.store(out + at_out, total.to(out.dtype.element_ty), valid)


@triton.jit
def _gradient_tile(
    gradient: tl.tensor,
    features: tl.tensor,
    taps: tl.tensor,
    to_features: tl.tensor,
    padded: tl.tensor,
    channels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    gradient_image: tl.tensor,
    gradient_channel: tl.tensor,
    gradient_y: tl.tensor,
    gradient_x: tl.tensor,
    features_image: tl.tensor,
    features_channel: tl.tensor,
    features_y: tl.tensor,
    features_x: tl.tensor,
    taps_image: tl.tensor,
    taps_channel: tl.tensor,
    taps_tap: tl.tensor,
    taps_pixel: tl.tensor,
    to_features_image: tl.tensor,
    to_features_channel: tl.tensor,
    to_features_y: tl.tensor,
    to_features_x: tl.tensor,
    padded_image: tl.tensor,
    padded_channel: tl.tensor,
    padded_y: tl.tensor,
    padded_x: tl.tensor,
    slope: tl.constexpr,
    size: tl.constexpr,
    wide: tl.constexpr,
    index: tl.constexpr,
    block_pixels: tl.constexpr,
    block_channels: tl.constexpr,
) -> None:
    """Compute both gradients, pixel by pixel of the padded features; that of the taps in place.

    Every tap of every kernel read one such pixel, so iterating over these pixels visits each tap
    once, and its gradient can replace it. Columns are not unrolled, as loads wait for stores. The
    sums of pixels on and beyond the border go to ``padded``, to be folded.
    """
    margin: tl.constexpr = size // 2
    padded_width = width + 2 * margin
    image, first, pixel, channel, valid = _tile(
        (height + 2 * margin) * padded_width, channels, index, block_pixels, block_channels
    )
    padded_row, padded_column = pixel // padded_width, pixel % padded_width
    y, x = padded_row - margin, padded_column - margin
    gradient += image * gradient_image + first * gradient_channel
    features += image * features_image + first * features_channel
    taps += image * taps_image + first * taps_channel
    to_features += image * to_features_image + first * to_features_channel
    padded += image * padded_image + first * padded_channel

    at = channel * features_channel
    at += _clamp(y, height) * features_y + _clamp(x, width) * features_x
    seen = tl.load(features + at, valid, 0).to(wide)
    at_gradient = channel * gradient_channel + y * gradient_y + x * gradient_x
    at_taps = channel * taps_channel + (y * width + x) * taps_pixel
    total = tl.full((block_pixels, block_channels), 0, wide)
    for step in range(size):
        row = tl.cast(step, index)
        up = row - margin
        in_row = valid & (y >= up) & (y - up < height)
        for column in range(size):
            left = column - margin
            here = in_row & (x >= left) & (x - left < width)
            tap, back = row * size + column, up * width + left
            at = at_gradient - (up * gradient_y + left * gradient_x)
            passed = tl.load(gradient + at, here, 0).to(wide)
            at = at_taps + (tap * taps_tap - back * taps_pixel)
            raw = tl.load(taps + at, here, 0).to(wide)
            passed = tl.where(raw > 0, passed, passed * slope)
            total += raw * passed
            tl.store(taps + at, (passed * seen).to(taps.dtype.element_ty), here)

    within = valid & (y > 0) & (y < height - 1) & (x > 0) & (x < width - 1)
    at = channel * to_features_channel + y * to_features_y + x * to_features_x
    tl.store(to_features + at, total.to(to_features.dtype.element_ty), within)
    at = channel * padded_channel + padded_row * padded_y + padded_column * padded_x
    tl.store(padded + at, total, valid & ~within)


@triton.jit
def _fold_tile(
    to_features: tl.tensor,
    padded: tl.tensor,
    channels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    to_features_image: tl.tensor,
    to_features_channel: tl.tensor,
    to_features_y: tl.tensor,
    to_features_x: tl.tensor,
    padded_image: tl.tensor,
    padded_channel: tl.tensor,
    padded_y: tl.tensor,
    padded_x: tl.tensor,
    slope: tl.constexpr,  # noqa: ARG001  _launch gives it to every kernel
    size: tl.constexpr,
    wide: tl.constexpr,
    index: tl.constexpr,
    block_pixels: tl.constexpr,
    block_channels: tl.constexpr,
) -> None:
    """Add the padding to the border pixels that it replicates: top and left, bottom and right."""
    half = height + width
    image, first, pixel, channel, valid = _tile(
        2 * half, channels, index, block_pixels, block_channels
    )
    along, far = pixel % half, pixel >= half
    y = tl.where(along < width, tl.where(far, height - 1, 0), along - width)
    x = tl.where(along < width, along, tl.where(far, width - 1, 0))
    to_features += image * to_features_image + first * to_features_channel
    padded += image * padded_image + first * padded_channel
    total = tl.full((block_pixels, block_channels), 0, wide)
    for row in range(size):
        in_row = valid & (_clamp(y + row - size // 2, height) == y)
        for column in range(size):
            here = in_row & (_clamp(x + column - size // 2, width) == x)
            at = channel * padded_channel + (y + row) * padded_y + (x + column) * padded_x
            total += tl.load(padded + at, here, 0)
    at = channel * to_features_channel + y * to_features_y + x * to_features_x
    tl.store(to_features + at, total.to(to_features.dtype.element_ty), valid)
