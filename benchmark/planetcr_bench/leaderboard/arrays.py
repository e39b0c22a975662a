"""Pack the sums that the leaderboard's page computes from into one short compressed text.

A score is a ratio of the sums of hundreds of cells, so a cell needs few digits. What rounding takes
from it is given to other cells of its AOI and to the same cells of other AOIs, so that the sums of
both are about right. Counts are exact.
"""

from __future__ import annotations

import base64
import hashlib
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

COARSEST: Final = 0.07
"""Largest step of the logarithm of a cell's ratio: a cell is off by at most 7 %."""

LONG: Final = 3500
"""Cells of an array with the largest step; shorter ones have smaller steps, as they cost little."""

DECIBEL: Final = 2
"""Size of a step of decibels, which may be negative, in steps of logarithms."""

KINDS: Final = ("whole", "linear", "log", "rest")
"""How the page reads an array: u is its integer and n the number of the cell in its sizes.

whole: u · step, but with sizes u + n · step, the latter rounded; linear: n · u · step; log:
n · exp(u · step), but nothing for the smallest u; rest: n less that.
"""

_NOTHING: Final = 1 << 40  # stands for the logarithm of zero


class ArrayStore:
    """Arrays of the page, each kept once however many entries share it."""

    def __init__(self) -> None:
        self.facts: dict[str, list[Any]] = {}
        """Key to where the array begins in the bytes, its length, bytes per number, smallest u,
        step, key of its sizes or None, and position in :data:`KINDS`."""
        self._bytes: list[bytes] = []
        self._used = 0
        self._sizes: dict[str, NDArray[np.float64]] = {}

    @property
    def text(self) -> str:
        """All arrays, compressed (DEFLATE without a header), in base64."""
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = [
            packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH)  # each with a code of its own
            for part in self._bytes
        ]
        return base64.b64encode(b"".join(packed) + packer.flush()).decode()

    def whole(self, values: NDArray[Any], like: str | None = None) -> str:
        """Keep whole numbers exactly.

        Args:
            values: In any shape.
            like: Key of others that are about in proportion.

        Returns:
            The key under which the page finds them.
        """
        values = np.asarray(values, np.float64).ravel()
        if like is not None and (known := self._sizes[like]).any():
            step = float(np.median(values[known > 0] / known[known > 0])) or 1.0
            key = self._add(values - np.floor(known * step + 0.5), step, like, "whole")
        else:
            step = math.gcd(*map(int, values)) or 1
            key = self._add(values / step, step, None, "whole")
        self._sizes[key] = values
        return key

    def ratios(
        self,
        values: NDArray[Any],
        sizes: str,
        *,
        groups: NDArray[Any],
        rest: bool = False,
        linear: bool = False,
    ) -> str:
        """Keep sums by the ratios to their sizes.

        Args:
            values: One of each cell, not negative unless linear.
            sizes: Key of whole numbers, one of each cell.
            groups: Groups of cells within which rounding is passed on, shape (cells, any): in each
                column a number per group.
            rest: Keep what is missing to the sizes, where that is smaller.
            linear: Keep ratios in equal steps, where they are logarithms already.

        Returns:
            The key under which the page finds them.
        """
        of, values = self._sizes[sizes], np.asarray(values, np.float64)
        kept = np.maximum(of - values, 0) if rest else values
        step = round(COARSEST * min(1, len(values) / LONG) ** 2, 6) or 1e-6
        if linear:
            step *= DECIBEL
            return self._add(_linear(kept, of, groups, step), step, sizes, "linear")
        kind = "rest" if rest else "log"
        return self._add(_logarithms(kept, of, groups, step), step, sizes, kind)

    def _add(self, values: NDArray[Any], step: float, sizes: str | None, kind: str) -> str:
        found = values[values != _NOTHING] if kind in ("log", "rest") else values
        low = int(found.min(initial=0)) - (kind in ("log", "rest"))
        digits = np.where(values == _NOTHING, 0, values - low).astype(np.int64)
        width = max(1, (int(digits.max()).bit_length() + 7) // 8) if len(values) else 1
        planes = b"".join(
            (digits >> 8 * plane & 255).astype(np.uint8).tobytes() for plane in range(width)
        )
        facts = [len(values), width, low, step, sizes, KINDS.index(kind)]
        key = hashlib.sha256(repr(facts).encode() + planes).hexdigest()[:8]
        if key not in self.facts:
            self.facts[key] = [self._used, *facts]
            self._bytes.append(planes)
            self._used += len(planes)
        return key


def _logarithms(
    values: NDArray[np.float64], sizes: NDArray[np.float64], groups: NDArray[Any], step: float
) -> NDArray[np.int64]:
    """Steps of the logarithm of each ratio; the largest cells first, whose rounding weighs most."""
    found = np.full(len(values), _NOTHING)
    carried: list[dict[int, float]] = [dict.fromkeys(column, 0.0) for column in groups.T.tolist()]
    for cell in np.argsort(-values, kind="stable").tolist():
        value, size, own = float(values[cell]), float(sizes[cell]), groups[cell].tolist()
        if value <= 0 or size <= 0:
            continue
        exact = math.log(value / size) / step
        wanted = value + _mean(carried, own)
        steps = math.log(wanted / size) / step if wanted > 0 else -math.inf
        found[cell] = round(min(max(steps, math.floor(exact)), math.ceil(exact)))  # a neighbour
        _carry(carried, own, value - size * math.exp(found[cell] * step))
    return found


def _linear(
    values: NDArray[np.float64], sizes: NDArray[np.float64], groups: NDArray[Any], step: float
) -> NDArray[np.int64]:
    """Steps of each ratio."""
    found = np.zeros(len(values), np.int64)
    carried: list[dict[int, float]] = [dict.fromkeys(column, 0.0) for column in groups.T.tolist()]
    for cell in np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes > 0)].tolist():
        value, size, own = float(values[cell]), float(sizes[cell]), groups[cell].tolist()
        found[cell] = round((value + _mean(carried, own)) / size / step)
        _carry(carried, own, value - size * found[cell] * step)
    return found


def _mean(carried: Sequence[Mapping[int, float]], own: Sequence[int]) -> float:
    """What rounding took from the groups of a cell."""
    return sum(each[group] for each, group in zip(carried, own, strict=True)) / len(own)


def _carry(carried: Sequence[dict[int, float]], own: Sequence[int], rounded: float) -> None:
    for each, group in zip(carried, own, strict=True):
        each[group] += rounded
