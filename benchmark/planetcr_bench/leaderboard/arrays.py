"""Pack the numbers that the leaderboard's page computes from into one compressed text.

Counts are exact, and sums have the digits of float32, so that what the page shows of any filter has
the digits that Python's own sums give.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_COUNTS: Final = (np.uint8, np.uint16, np.uint32)


class ArrayStore:
    """Arrays of the page, each kept once however many entries share it.

    Bytes of one place value lie together, for they resemble each other.
    """

    def __init__(self) -> None:
        self.facts: dict[str, list[Any]] = {}
        """Key to where the array begins in the bytes, its length, its type as numpy writes it and,
        of counts, what is to be added: a number, and a share of the array of a key, rounded."""
        self._bytes: list[bytes] = []
        self._used = 0
        self._counts: dict[str, NDArray[np.float64]] = {}

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
        rest, share = values, 0.0
        if like is not None and (known := self._counts[like]).any():
            share = float(np.median(values[known > 0] / known[known > 0]))
            rest = values - np.floor(known * share + 0.5)
        low = int(rest.min(initial=0))
        size = next(size for size in _COUNTS if rest.max(initial=0) - low <= np.iinfo(size).max)
        key = self._add((rest - low).astype(size), low, share, like if share else None)
        self._counts[key] = values
        return key

    def real(self, values: NDArray[Any], size: type[np.floating[Any]] = np.float32) -> str:
        """Keep numbers with the digits of a type, and return their key."""
        return self._add(np.asarray(values, size))

    def _add(self, values: NDArray[Any], *added: object) -> str:
        rows = values.astype(values.dtype.newbyteorder("<")).view(np.uint8)
        planes = rows.reshape(-1, values.itemsize).T.tobytes()
        facts = [len(values), f"{values.dtype.kind}{values.itemsize}", *added]
        key = hashlib.sha256(repr(facts).encode() + planes).hexdigest()[:8]
        if key not in self.facts:
            self.facts[key] = [self._used, *facts]
            self._bytes.append(planes)
            self._used += len(planes)
        return key
