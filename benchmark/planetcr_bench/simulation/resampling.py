"""Resample images by separable weighted sums.

Averaging to 10 m, sampling with a point spread function, enlarging and shifting are the same
separable sum: each output row is a weighted sum of a few input rows, and likewise for columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.simulation.noise import Field
from planetcr_bench.utils.compiled import compiled


@dataclass(frozen=True, slots=True)
class Axis:
    """Weights of the output samples along one axis.

    Attributes:
        first: First contributing input sample, shape (n,).
        weights: Weights of it and the following ones, shape (n, taps).
    """

    first: NDArray[np.int64]
    weights: Field


def _axis(weights: NDArray[np.float64], first: NDArray[np.int64], size: int) -> Axis:
    """Normalise, and assign weights outside the image to its border."""
    weights = weights / weights.sum(1, keepdims=True)
    taps = weights.shape[1]
    start = np.clip(first, 0, size - taps)
    folded = np.zeros_like(weights)
    for tap in range(taps):
        target = np.clip(first + tap, 0, size - 1) - start
        np.add.at(folded, (np.arange(len(first)), target), weights[:, tap])
    return Axis(start, folded.astype(np.float32))


@lru_cache(64)
def gaussian(count: int, size: int, scale: float, offset: float, sigma: float) -> Axis:
    """Gaussian weights around offset + (i + 1/2) · scale, in input samples.

    Args:
        count: Output samples.
        size: Input samples.
        scale: Input samples per output sample.
        offset: Position of the first output sample's left edge.
        sigma: Standard deviation in input samples.
    """
    centre = offset + (np.arange(count) + 0.5) * scale
    reach = int(np.ceil(3.5 * sigma))
    first = np.floor(centre).astype(np.int64) - reach
    positions = first[:, None] + np.arange(2 * reach + 1) + 0.5
    return _axis(np.exp(-0.5 * ((positions - centre[:, None]) / sigma) ** 2), first, size)


@lru_cache(64)
def box(count: int, size: int, scale: float, offset: float) -> Axis:
    """Mean over [offset + i · scale, offset + (i + 1) · scale)."""
    low = offset + np.arange(count) * scale
    first = np.floor(low).astype(np.int64)
    edges = first[:, None] + np.arange(int(np.ceil(scale)) + 1)
    low = low[:, None]
    return _axis(
        np.clip(np.minimum(edges + 1, low + scale) - np.maximum(edges, low), 0, 1), first, size
    )


@lru_cache(64)
def linear(count: int, size: int, scale: float, offset: float) -> Axis:
    """Linear interpolation at offset + (i + 1/2) · scale."""
    position = offset + (np.arange(count) + 0.5) * scale - 0.5
    first = np.floor(position).astype(np.int64)
    share = position - first
    return _axis(np.stack([1 - share, share], 1), first, size)


@compiled
def _apply(
    image: Field, row: NDArray[np.int64], row_weights: Field, column: NDArray[np.int64],
    column_weights: Field, out: Field,
) -> None:  # fmt: skip
    line = np.empty(image.shape[1], np.float32)
    for i in range(out.shape[0]):
        line[:] = 0
        for k in range(row_weights.shape[1]):
            weight, source = row_weights[i, k], image[row[i] + k]
            for j in range(len(line)):
                line[j] += weight * source[j]
        for j in range(out.shape[1]):
            total = np.float32(0)
            for k in range(column_weights.shape[1]):
                total += column_weights[j, k] * line[column[j] + k]
            out[i, j] = total


def resample(image: Field, rows: Axis, columns: Axis) -> Field:
    """Weighted sums of rows, then of columns.

    Args:
        image: Shape (H, W).
        rows: Weights of the output rows.
        columns: Weights of the output columns.

    Returns:
        Shape (len(rows.first), len(columns.first)).
    """
    out = np.empty((len(rows.first), len(columns.first)), np.float32)
    _apply(image, rows.first, rows.weights, columns.first, columns.weights, out)
    return out


def taps(sigma: float, reach: int = 2) -> Field:
    """Weights of a Gaussian blur at −reach … reach, summing to one."""
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(weights / weights.sum(), np.float32)


@compiled
def _blur(image: Field, weights: Field, out: Field) -> None:
    height, width = image.shape
    count = len(weights)
    reach = count // 2
    line = np.empty(width + 2 * reach, np.float32)
    for i in range(height):
        line[:] = 0
        middle = line[reach : reach + width]
        for k in range(count):
            weight, source = weights[k], image[min(max(i + k - reach, 0), height - 1)]
            for j in range(width):
                middle[j] += weight * source[j]
        for j in range(reach):
            line[j], line[reach + width + j] = line[reach], line[reach + width - 1]
        target = out[i]
        target[:] = 0
        for k in range(count):
            weight, shifted = weights[k], line[k : k + width]
            for j in range(width):
                target[j] += weight * shifted[j]


def blur(image: Field, weights: Field) -> Field:
    """Separable filter; the border is replicated.

    Args:
        image: Shape (H, W).
        weights: An odd number of weights, such as from :func:`taps`.
    """
    out = np.empty_like(image)
    _blur(image, weights, out)
    return out
