"""Filter features with a predicted kernel for every pixel and channel.

The kernels are predicted by a 1 × 1 convolution. Stored, they would be 25 times as large as the
features. Here they are predicted for a strip of the image and one row of taps at a time, used and
discarded, and recomputed in the backward pass. On CUDA the kernels of a batch are stored, but not
kept, and a Triton kernel reads them once.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

STRIP_BYTES = {"cpu": 2**21, "cuda": 2**28}
"""Memory for predicted kernels: on a CPU, what fits its cache."""


def apply_kernels(features: Tensor, kernels: Tensor) -> Tensor:
    """Correlate every channel at every pixel with its own kernel.

    Args:
        features: Shape (B, C, H, W); padded by replicating the border.
        kernels: Shape (B, C · k · k, H, W) with k odd; channel-major, then row, then column.

    Returns:
        Shape (B, C, H, W).
    """
    channels = features.shape[1]
    size = _size(kernels.shape[1], channels)
    taps = kernels.unflatten(1, (channels, size, size))
    height, width = features.shape[-2:]
    padded = F.pad(features, (size // 2,) * 4, mode="replicate")
    total = torch.zeros_like(features)
    for row in range(size):
        for column in range(size):
            window = padded[..., row : row + height, column : column + width]
            total = torch.addcmul(total, taps[:, :, row, column], window)
    return total


def predict_and_filter(
    features: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, *, slope: float
) -> Tensor:
    """Predict a kernel per pixel and channel, and filter with it, without storing the kernels.

    Equal to ``apply_kernels(features, leaky_relu(conv2d(hidden, weight, bias), slope))``, which an
    exported network computes.

    Args:
        features: Features to filter, shape (B, C, H, W).
        hidden: Features to predict the kernels from, shape (B, N, H, W).
        weight: Of the 1 × 1 convolution, shape (C · k · k, N, 1, 1), rows as in
            :func:`apply_kernels`.
        bias: Shape (C · k · k,).
        slope: Of the leaky ReLU that the kernels pass through.

    Returns:
        Shape (B, C, H, W).
    """
    if torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling():
        return apply_kernels(features, F.leaky_relu(F.conv2d(hidden, weight, bias), slope))
    device = features.device.type
    if torch.is_autocast_enabled(device):
        low = torch.get_autocast_dtype(device)
        features, hidden, weight, bias = (x.to(low) for x in (features, hidden, weight, bias))
    filtered: Tensor = _filter(features, hidden, weight, bias, slope)
    return filtered


@torch.library.custom_op("planetcr::predict_and_filter", mutates_args=())
def _filter(features: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, slope: float) -> Tensor:
    with torch.autocast(features.device.type, enabled=False):
        if _fused(features):
            from planetcr_models.layers.triton_filter import filter_forward

            work = _Work(features, hidden, weight, bias)
            return filter_forward(_channels_first(work.features), work.predict(), slope)
        work = _Work(features, hidden, weight, bias)
        total = torch.zeros_like(work.features, dtype=_sum_dtype(features))
        for strip in work.strips():
            for row in range(work.size):
                kernels = F.leaky_relu_(strip.predict(row), slope)
                for column in range(work.size):
                    _add_product(
                        strip.of(total), kernels[..., column, :], strip.window(row, column)
                    )
        return _channels_first(total.to(features.dtype))


@_filter.register_fake
def _(features: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(features, memory_format=torch.channels_last)


@torch.library.custom_op("planetcr::predict_and_filter_backward", mutates_args=())
def _filter_backward(
    gradient: Tensor, features: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, slope: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    with torch.autocast(features.device.type, enabled=False):
        backward = _backward_fused if _fused(features) else _backward_in_strips
        return backward(gradient, features, hidden, weight, bias, slope)


@_filter_backward.register_fake
def _(_: Tensor, *inputs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    features, hidden, weight, bias, _slope = inputs
    return (
        torch.empty_like(features, memory_format=torch.channels_last),
        torch.empty_like(hidden, memory_format=torch.channels_last),
        torch.empty_like(weight, memory_format=torch.contiguous_format),
        torch.empty_like(bias),
    )


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001  torch calls it so
    *tensors, ctx.slope = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return (*_filter_backward(gradient, *ctx.saved_tensors, ctx.slope), None)


_filter.register_autograd(_gradients, setup_context=_save_inputs)


def _backward_in_strips(
    gradient: Tensor, features: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, slope: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    work = _Work(features, hidden, weight, bias)
    wide = _sum_dtype(features)
    out = _channels_last(gradient)
    to_padded = torch.zeros_like(work.padded, dtype=wide)
    to_hidden = torch.zeros_like(work.hidden, memory_format=torch.contiguous_format)
    to_taps, to_bias = (
        torch.zeros_like(work.taps, dtype=wide),
        torch.zeros_like(work.bias, dtype=wide),
    )
    for strip in work.strips():
        out_here = strip.of(out)
        for row in range(work.size):
            raw = strip.predict(row)
            to_raw = torch.full_like(raw, slope).masked_fill_(raw > 0, 1)
            kernels = F.leaky_relu_(raw, slope)
            for column in range(work.size):
                _add_product(
                    strip.window(row, column, to_padded), kernels[..., column, :], out_here
                )
                to_raw[..., column, :] *= strip.window(row, column) * out_here
            flat = to_raw.flatten(0, 1).flatten(1)
            strip.of(to_hidden).flatten(0, 1).addmm_(flat, work.taps[row].flatten(0, 1))
            to_taps[row] += (flat.mT @ strip.pixels).view_as(to_taps[row])
            to_bias[row] += flat.sum(0).view_as(to_bias[row])
    return (
        _channels_first(_fold(to_padded, work.size // 2).to(features.dtype)),
        _channels_first(to_hidden),
        to_taps.to(weight.dtype).permute(2, 0, 1, 3).reshape(weight.shape),
        to_bias.to(bias.dtype).permute(2, 0, 1).reshape(bias.shape),
    )


def _backward_fused(
    gradient: Tensor, features: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, slope: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from planetcr_models.layers.triton_filter import filter_backward

    work = _Work(features, hidden, weight, bias)
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    to_features, to_raw = filter_backward(
        gradient, _channels_first(work.features), work.predict(), slope
    )
    flat = to_raw.permute(0, 3, 4, 2, 1).flatten(0, 2).flatten(1)
    to_taps = (flat.mT @ work.hidden.flatten(0, 2)).view_as(work.taps)
    return (
        to_features,
        _channels_first((flat @ work.taps.flatten(0, 2)).view_as(work.hidden)),
        to_taps.permute(2, 0, 1, 3).reshape(weight.shape),
        flat.sum(0).view_as(work.bias).permute(2, 0, 1).reshape(bias.shape),
    )


class _Work:
    """A batch to filter, and the weights that predict its kernels, tap by tap; channels-last."""

    def __init__(self, features: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor) -> None:
        channels = features.shape[1]
        self.size = _size(weight.shape[0], channels)
        square = (channels, self.size, self.size)
        self.taps = weight.flatten(1).unflatten(0, square).permute(1, 2, 0, 3).contiguous()
        self.bias = bias.unflatten(0, square).permute(1, 2, 0).contiguous()
        self.hidden = _channels_last(hidden).contiguous()
        self.features = _channels_last(features).contiguous()
        self.padded = _replicate(self.features, self.size // 2)

    def predict(self) -> Tensor:
        """Raw kernels of the whole batch, (B, C, k · k, H, W), channels innermost in memory."""
        raw = F.linear(self.hidden, self.taps.flatten(0, 2), self.bias.flatten())
        return raw.unflatten(-1, (self.size**2, -1)).permute(0, 4, 3, 1, 2)

    def strips(self) -> Iterator[_Strip]:
        """Every image from top to bottom, in strips that share one buffer for their kernels."""
        batch, height, width, channels = self.features.shape
        row_bytes = width * self.size * channels * self.features.element_size()
        rows = max(1, STRIP_BYTES.get(self.features.device.type, 2**21) // row_bytes)
        buffer = self.features.new_empty(min(rows, height) * width, self.size * channels)
        for image in range(batch):
            for top in range(0, height, rows):
                yield _Strip(self, buffer, image, top, min(rows, height - top))


class _Strip:
    """Some rows of one image."""

    def __init__(self, work: _Work, buffer: Tensor, image: int, top: int, rows: int) -> None:
        self.work, self.image, self.top, self.rows = work, image, top, rows
        self.pixels = self.of(work.hidden).flatten(0, 1)
        self.buffer = buffer[: len(self.pixels)]

    def of(self, images: Tensor) -> Tensor:
        """These rows of (B, H, W, C)."""
        return images[self.image, self.top : self.top + self.rows]

    def predict(self, row: int) -> Tensor:
        """Raw kernels of one row of taps, (rows, W, k, C), in a buffer that the next row reuses."""
        taps, bias = self.work.taps[row].flatten(0, 1), self.work.bias[row].flatten()
        raw = torch.addmm(bias, self.pixels, taps.mT, out=self.buffer)
        return raw.view(self.rows, -1, self.work.size, self.work.features.shape[-1])

    def window(self, row: int, column: int, padded: Tensor | None = None) -> Tensor:
        """Window of one tap in the padded features, or in another padded image, (rows, W, C)."""
        image = self.work.padded if padded is None else padded
        below, width = self.top + row, self.work.features.shape[2]
        return image[self.image, below : below + self.rows, column : column + width]


def _size(kernels: int, channels: int) -> int:
    return round((kernels // channels) ** 0.5)


def _channels_last(image: Tensor) -> Tensor:
    return image.permute(0, 2, 3, 1)


def _channels_first(image: Tensor) -> Tensor:
    return image.permute(0, 3, 1, 2)


def _sum_dtype(image: Tensor) -> torch.dtype:
    return torch.promote_types(image.dtype, torch.float32)


def _add_product(total: Tensor, first: Tensor, second: Tensor) -> None:
    total.addcmul_(first.to(total.dtype), second.to(total.dtype))


def _replicate(image: Tensor, margin: int) -> Tensor:
    """Pad (B, H, W, C) by replicating its border."""
    for axis in (1, 2):
        position = torch.arange(-margin, image.shape[axis] + margin, device=image.device)
        image = image.index_select(axis, position.clamp(0, image.shape[axis] - 1))
    return image


def _fold(image: Tensor, margin: int) -> Tensor:
    """Transpose of :func:`_replicate`: margins are added to the outermost pixels."""
    for axis in (1, 2):
        size = image.shape[axis] - 2 * margin
        inner = image.narrow(axis, margin, size).clone()
        before, after = image.narrow(axis, 0, margin), image.narrow(axis, margin + size, margin)
        inner.narrow(axis, 0, 1).add_(before.sum(axis, keepdim=True))
        inner.narrow(axis, size - 1, 1).add_(after.sum(axis, keepdim=True))
        image = inner
    return image


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _fused(features: Tensor) -> bool:
    return features.is_cuda and _has_triton()
