"""Draw random numbers that depend only on a key and a position in the AOI.

There is no generator with a state: a number is the hash of its key and position. Windows of one
field therefore join without a seam, and no draw depends on another.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.utils.compiled import compiled

Field = NDArray[np.float32]

_STANDARD = NormalDist()
_STEPS = 4096
_NORMAL = np.array([_STANDARD.inv_cdf((i + 0.5) / _STEPS) for i in range(_STEPS)], np.float32)
_HALF = np.float32(math.sqrt(0.5))
_SPLINE_VARIANCE = 151 / 315  # of a cubic B-spline of white noise, along one axis


@dataclass(frozen=True, slots=True)
class Grid:
    """Grid of samples: sample (i, j) lies at top + (i + 1/2) · step, left + (j + 1/2) · step.

    Attributes:
        top: Upper edge in optical pixels of the AOI; may be fractional.
        left: Left edge.
        height: Rows.
        width: Columns.
        step: Optical pixels from one sample to the next.
    """

    top: float
    left: float
    height: int
    width: int
    step: float = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    @property
    def y(self) -> Field:
        """Positions of the rows, shape (height, 1)."""
        rows = self.top + (np.arange(self.height) + 0.5) * self.step
        return rows.astype(np.float32)[:, None]

    @property
    def x(self) -> Field:
        """Positions of the columns, shape (1, width)."""
        columns = self.left + (np.arange(self.width) + 0.5) * self.step
        return columns.astype(np.float32)[None, :]

    def moved(self, down: float, right: float) -> Grid:
        """The same grid elsewhere."""
        return Grid(self.top + down, self.left + right, self.height, self.width, self.step)


def key_of(*words: object) -> int:
    """Hash the words that name a stream of random numbers to a 32-bit key."""
    text = "/".join(map(str, words)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "little")


@dataclass(frozen=True, slots=True)
class Draws:
    """Single random numbers by name: adding one changes no other.

    Attributes:
        name: Owner of the numbers.
    """

    name: str

    def uniform(self, what: str, low: float = 0.0, high: float = 1.0) -> float:
        """A number in (low, high)."""
        digest = hashlib.blake2b(f"{self.name}/{what}".encode(), digest_size=6).digest()
        share = (int.from_bytes(digest, "little") + 0.5) / 2**48
        return low + (high - low) * share

    def log_uniform(self, what: str, low: float, high: float) -> float:
        """A positive number whose logarithm is uniform."""
        return float(low * (high / low) ** self.uniform(what))

    def normal(self, what: str, mean: float = 0.0, std: float = 1.0) -> float:
        """A normal number."""
        return mean + std * _STANDARD.inv_cdf(self.uniform(what))

    def normals(self, what: str, count: int, std: float = 1.0) -> NDArray[np.float64]:
        """Independent normal numbers of mean zero, shape (count,)."""
        return np.array([self.normal(f"{what}/{i}", 0, std) for i in range(count)])

    def happens(self, what: str, probability: float) -> bool:
        """True with this probability."""
        return self.uniform(what) < probability

    def one_of(self, what: str, weights: dict[str, float]) -> str:
        """One of the keys, by weight."""
        target = self.uniform(what) * sum(weights.values())
        for name, weight in weights.items():
            target -= weight
            if target < 0:
                return name
        return name

    def shuffled(self, what: str, items: Sequence[str]) -> list[str]:
        """The items in a random order."""
        order = sorted(range(len(items)), key=lambda i: self.uniform(f"{what}/{i}"))
        return [items[i] for i in order]


@compiled
def _scramble(bits: Any) -> Any:
    """Mix 32 bits so that each depends on all."""
    bits = np.uint32(bits)
    bits = np.uint32(bits ^ (bits >> np.uint32(16)))
    bits = np.uint32(bits * np.uint32(0x7FEB352D))
    bits = np.uint32(bits ^ (bits >> np.uint32(15)))
    bits = np.uint32(bits * np.uint32(0x846CA68B))
    return np.uint32(bits ^ (bits >> np.uint32(16)))


@compiled
def _row_bits(key: Any, row: Any) -> Any:
    return _scramble(np.uint32(key) ^ np.uint32(np.uint32(row) * np.uint32(0x9E3779B1)))


@compiled
def _bits(row_bits: Any, column: Any) -> Any:
    return _scramble(np.uint32(row_bits) ^ np.uint32(np.uint32(column) * np.uint32(0x85EBCA77)))


@compiled
def _normal(bits: Any) -> Any:
    """A standard normal number from 24 of the bits."""
    low, high = bits & np.uint32(4095), (bits >> np.uint32(12)) & np.uint32(4095)
    return (_NORMAL[low] + _NORMAL[high]) * _HALF


@compiled
def _fill_white(key: int, top: int, left: int, out: Field) -> None:
    for i in range(out.shape[0]):
        row = _row_bits(key, top + i)
        for j in range(out.shape[1]):
            out[i, j] = _normal(_bits(row, left + j))


def white(key: int, top: int, left: int, height: int, width: int) -> Field:
    """Independent standard normal numbers at integer positions of the AOI.

    Args:
        key: Names the field.
        top: First row; may be negative.
        left: First column.
        height: Rows.
        width: Columns.

    Returns:
        Shape (height, width).
    """
    out = np.empty((height, width), np.float32)
    _fill_white(key, top, left, out)
    return out


@compiled
def _fill_uniform(
    key: int, first: NDArray[np.int64], second: NDArray[np.int64], out: Field
) -> None:
    for k in range(out.shape[0]):
        stream = np.uint32(key) ^ _scramble(np.uint32(k + 1))
        for i in range(out.shape[1]):
            bits = _bits(_row_bits(stream, first[i]), second[i])
            out[k, i] = (np.float32(bits >> np.uint32(8)) + np.float32(0.5)) / np.float32(2**24)


def uniforms(key: int, first: NDArray[np.int64], second: NDArray[np.int64], count: int) -> Field:
    """Independent numbers in (0, 1) for objects that two integers identify, such as parcels.

    Args:
        key: Names the stream.
        first: First identifier of each object, shape (n,).
        second: Second identifier, shape (n,).
        count: Numbers per object.

    Returns:
        Shape (count, n).
    """
    out = np.empty((count, len(first)), np.float32)
    _fill_uniform(key, first, second, out)
    return out


@compiled
def _weigh(t: Any) -> Any:
    """Weights of the four lattice points around a position, t beyond the second of them."""
    s = 1 - t
    return (
        s * s * s / 6,
        (3 * t * t * t - 6 * t * t + 4) / 6,
        (3 * s * s * s - 6 * s * s + 4) / 6,
        t * t * t / 6,
    )


@compiled
def _spline_axis(
    start: float, step: float, cell: float, first: NDArray[np.int64], weights: Field
) -> None:
    """First lattice point and four weights of each sample along an axis."""
    for i in range(len(first)):
        position = (start + (i + 0.5) * step) / cell
        whole = math.floor(position)
        first[i] = np.int64(whole)
        weights[i] = _weigh(position - whole)


@compiled
def _add_spline(
    out: Field, key: int, gain: float, top: float, left: float, step: float, cell: float
) -> None:
    """Add a lattice of normal numbers, one per cell, interpolated by cubic B-splines."""
    height, width = out.shape
    row, row_weights = np.empty(height, np.int64), np.empty((height, 4), np.float32)
    column, column_weights = np.empty(width, np.int64), np.empty((width, 4), np.float32)
    _spline_axis(top, step, cell, row, row_weights)
    _spline_axis(left, step, cell, column, column_weights)
    first = column[0]
    lattice = np.empty(column[-1] - first + 4, np.float32)
    lines = np.empty((row[-1] - row[0] + 4, width), np.float32)
    for k in range(len(lines)):
        bits = _row_bits(key, row[0] + k)
        for m in range(len(lattice)):
            lattice[m] = np.float32(gain) * _normal(_bits(bits, first + m))
        for j in range(width):
            m = column[j] - first
            lines[k, j] = (
                column_weights[j, 0] * lattice[m]
                + column_weights[j, 1] * lattice[m + 1]
                + column_weights[j, 2] * lattice[m + 2]
                + column_weights[j, 3] * lattice[m + 3]
            )
    for i in range(height):
        k = row[i] - row[0]
        a, b, c, d = row_weights[i]
        for j in range(width):
            out[i, j] += (
                a * lines[k, j] + b * lines[k + 1, j] + c * lines[k + 2, j] + (d * lines[k + 3, j])
            )


@compiled
def _add_streaks(
    out: Field, key: int, gain: float, grid: tuple[float, float, float], angle: float,
    long: float, short: float,
) -> None:  # fmt: skip
    """Like :func:`_add_spline`, with cells of long × short pixels rotated by an angle."""
    top, left, step = grid
    cosine, sine = math.cos(angle), math.sin(angle)
    bottom, right = top + step * out.shape[0], left + step * out.shape[1]
    along = (left * cosine, right * cosine), (top * sine, bottom * sine)
    across = (top * cosine, bottom * cosine), (-left * sine, -right * sine)
    first_a = math.floor((min(along[0]) + min(along[1])) / long)
    first_b = math.floor((min(across[0]) + min(across[1])) / short)
    lattice = np.empty(
        (
            math.floor((max(along[0]) + max(along[1])) / long) - first_a + 4,
            math.floor((max(across[0]) + max(across[1])) / short) - first_b + 4,
        ),
        np.float32,
    )
    for m in range(lattice.shape[0]):
        bits = _row_bits(key, first_a + m)
        for n in range(lattice.shape[1]):
            lattice[m, n] = np.float32(gain) * _normal(_bits(bits, first_b + n))
    for i in range(out.shape[0]):
        y = top + (i + 0.5) * step
        for j in range(out.shape[1]):
            x = left + (j + 0.5) * step
            a, b = (x * cosine + y * sine) / long, (y * cosine - x * sine) / short
            m, n = math.floor(a), math.floor(b)
            weights_a, weights_b = _weigh(np.float32(a - m)), _weigh(np.float32(b - n))
            for p in range(4):
                line = lattice[m - first_a + p]
                q = n - first_b
                out[i, j] += weights_a[p] * (
                    weights_b[0] * line[q]
                    + weights_b[1] * line[q + 1]
                    + weights_b[2] * line[q + 2]
                    + weights_b[3] * line[q + 3]
                )


def noise(key: int, grid: Grid, cell: float) -> Field:
    """Smooth noise of unit variance whose features are about one cell wide.

    Args:
        key: Names the field.
        grid: Grid of samples.
        cell: Pixels between the points of the lattice that is interpolated.

    Returns:
        Shape of the grid.
    """
    return fractal(key, grid, cell, 3.0, 1)


def gains(beta: float, octaves: int) -> NDArray[np.float64]:
    """Amplitude of each octave so that power falls as wave number to the −beta; unit variance."""
    steps = 2.0 ** (-(beta - 2) / 2 * np.arange(octaves))
    normalised: NDArray[np.float64] = steps / np.sqrt((steps**2).sum())
    return normalised


def fractal(
    key: int, grid: Grid, cell: float, beta: float, octaves: int, *, finest: float = 3.0
) -> Field:
    """Noise of unit variance over several octaves, whose power falls as k^−beta.

    Args:
        key: Names the field.
        grid: Grid of samples.
        cell: Pixels of the widest octave, halved for each further one.
        beta: Slope of the power spectrum.
        octaves: Number of octaves.
        finest: Octaves with smaller cells are left out.

    Returns:
        Shape of the grid.
    """
    out = np.zeros(grid.shape, np.float32)
    for octave, gain in enumerate(gains(beta, octaves).tolist()):
        size = cell / 2**octave
        if size < finest:
            break
        stream = (key + 0x632BE5AB * octave) & 0xFFFFFFFF
        _add_spline(out, stream, gain / _SPLINE_VARIANCE, grid.top, grid.left, grid.step, size)
    return out


def streaks(key: int, grid: Grid, cell: float, angle: float) -> Field:
    """Streaky noise, as of cirrus: features four times longer than wide, along an angle.

    Args:
        key: Names the field.
        grid: Grid of samples.
        cell: Mean width of the widest features in pixels.
        angle: Direction in radians from the row axis.

    Returns:
        Shape of the grid, unit variance.
    """
    out = np.zeros(grid.shape, np.float32)
    steps = 0.62 ** np.arange(4)
    steps /= np.sqrt((steps**2).sum())
    where = (float(grid.top), float(grid.left), float(grid.step))
    for octave, gain in enumerate(steps.tolist()):
        size = cell / 2**octave
        stream = (key + 0x632BE5AB * octave) & 0xFFFFFFFF
        _add_streaks(out, stream, gain / _SPLINE_VARIANCE, where, angle, 2 * size, size / 2)
    return out
