"""Choose windows so that cloud cover and land cover are as evenly distributed as they can be.

The paper (Sec. 3.1) selects patches "for the purpose of uniform distribution over different cloud
coverage levels as well as land cover types" and does not say how. Ours is explicit:

1. The windows of a split are sorted into cells: the cloud-cover bin of Fig. 5 × the class that
   covers most of the window.
2. Every cover bin gets the same number of windows, and within it every class. What a bin, or a
   class in a bin, has too few windows for is divided equally among the others (:func:`quotas`).
3. In each cell, beginning with the one with fewest windows, the AOI that has given fewest so far
   gives its next window. Ties, and the order of windows within an AOI, are those of SHA-256 of the
   seed and their numbers.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from planetcr_bench.constants import COVER_BIN_NAMES, COVER_BINS, LAND_COVER, UNKNOWN, cover_bin
from planetcr_bench.constants import LAND_COVER_NAMES as CLASSES
from planetcr_bench.errors import DatasetError

NOTHING: Final = "none of the six classes"
"""Class of windows without any pixel of the six; they are never chosen."""

WITHOUT_MAP: Final = "unknown"


def quotas(available: Sequence[int], wanted: int) -> list[int]:
    """Divide a number as evenly as what is there allows; the smallest part is as large as can be.

    Args:
        available: Largest value of each part.
        wanted: Sum of the parts, at most that of ``available``.

    Returns:
        The parts; what does not divide evenly goes to the first ones.

    Example:
        >>> quotas([10, 2, 10], 12)
        [5, 2, 5]
    """
    parts = [0] * len(available)
    left = wanted
    while left:
        open_ = [index for index, most in enumerate(available) if parts[index] < most]
        for index in open_[:left] if left < len(open_) else open_:
            part = min(max(left // len(open_), 1), available[index] - parts[index])
            parts[index] += part
        left = wanted - sum(parts)
    return parts


def cells_of(windows: pd.DataFrame) -> pd.DataFrame:
    """Cell of each window: columns ``bin`` and ``dominant``.

    Args:
        windows: With ``cover`` and the shares of ``LAND_COVER_NAMES``; see ``AreaSurvey``.
    """
    shares = windows[list(LAND_COVER)].to_numpy(float)
    largest = np.array(LAND_COVER)[np.nan_to_num(shares, nan=-1).argmax(1)]
    dominant = np.where(np.nan_to_num(shares).sum(1) > 0, largest, NOTHING)
    dominant[np.isnan(shares).all(1)] = WITHOUT_MAP
    bins = [cover_bin(cover) for cover in windows["cover"].tolist()]
    return pd.DataFrame({"bin": bins, "dominant": dominant}, index=windows.index)


def select(windows: pd.DataFrame, count: int, *, seed: int) -> pd.Index:
    """Choose windows of one split; see the module.

    Args:
        windows: Of all AOIs of the split: ``aoi`` and ``patch``, ``bin`` and ``dominant``.
        count: How many.
        seed: Another seed chooses others.

    Returns:
        Index of the chosen rows, sorted.

    Raises:
        DatasetError: There are fewer windows.
    """
    usable = windows[windows["dominant"] != NOTHING]
    if count > len(usable):
        raise DatasetError(f"expected {count:,} windows to choose from, got {len(usable):,}")
    order = {
        row: _hash(seed, aoi, patch)
        for row, aoi, patch in zip(usable.index, usable["aoi"], usable["patch"], strict=True)
    }
    turns = {aoi: _hash(seed, aoi) for aoi in usable["aoi"].unique().tolist()}
    cells: dict[tuple[str, str], list[int]] = {}
    for row, name, kind in zip(usable.index, usable["bin"], usable["dominant"], strict=True):
        cells.setdefault((name, kind), []).append(row)
    given = dict.fromkeys(turns, 0)
    chosen: list[int] = []
    owner = usable["aoi"].to_dict()
    goal = _goals({cell: len(rows) for cell, rows in cells.items()}, count)
    for cell in sorted(cells, key=lambda cell: (len(cells[cell]), cell)):
        queues: dict[int, list[int]] = {}
        for row in sorted(cells[cell], key=lambda row: order[row], reverse=True):
            queues.setdefault(owner[row], []).append(row)
        heap = [(given[aoi], turns[aoi], aoi) for aoi in queues]
        heapq.heapify(heap)
        for _ in range(goal[cell]):
            _, turn, aoi = heapq.heappop(heap)
            chosen.append(queues[aoi].pop())
            given[aoi] += 1
            if queues[aoi]:
                heapq.heappush(heap, (given[aoi], turn, aoi))
    return pd.Index(sorted(chosen))


def _goals(available: Mapping[tuple[str, str], int], count: int) -> dict[tuple[str, str], int]:
    """Windows of each cell: even over bins, then even over the classes of each bin."""
    bins = [name for name in COVER_BIN_NAMES if any(cell[0] == name for cell in available)]
    inside = {name: [cell for cell in _ordered(available) if cell[0] == name] for name in bins}
    totals = [sum(available[cell] for cell in inside[name]) for name in bins]
    goals: dict[tuple[str, str], int] = {}
    for name, part in zip(bins, quotas(totals, count), strict=True):
        cells = inside[name]
        parts = quotas([available[cell] for cell in cells], part)
        goals |= dict(zip(cells, parts, strict=True))
    return goals


def _ordered(cells: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    names = (*LAND_COVER, WITHOUT_MAP)
    return sorted(cells, key=lambda cell: (COVER_BIN_NAMES.index(cell[0]), names.index(cell[1])))


def histogram(windows: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    """Compare what was chosen with equal numbers everywhere.

    Args:
        windows: All usable windows of a split, with ``bin`` and ``dominant``.
        chosen: Those that were chosen.

    Returns:
        Columns ``cover`` and ``class`` (``all`` in the totals), ``windows`` (there are), ``ideal``
        and ``chosen`` (numbers of windows); and ``pixels``, the share of the class in the pixels of
        the chosen windows of the row's bin.
    """
    bins = [*COVER_BINS] if (windows["bin"] != COVER_BIN_NAMES[-1]).any() else ["unknown"]
    mapped = (windows["dominant"] != WITHOUT_MAP).any()
    classes = [*LAND_COVER] if mapped else [WITHOUT_MAP]
    rows = []
    for name in [*bins, "all"]:
        for kind in [*classes, "all"]:
            here, taken = (
                frame[
                    ((frame["bin"] == name) | (name == "all"))
                    & ((frame["dominant"] == kind) | (kind == "all"))
                ]
                for frame in (windows, chosen)
            )
            cells = (len(bins) if name == "all" else 1) * (len(classes) if kind == "all" else 1)
            of_bin = chosen[(chosen["bin"] == name) | (name == "all")]
            pixels = float(of_bin[kind].mean()) if mapped and kind in CLASSES[:UNKNOWN] else None
            rows.append({
                "cover": name, "class": kind, "windows": len(here),
                "ideal": len(chosen) * cells / (len(bins) * len(classes)),
                "chosen": len(taken), "pixels": pixels,
            })  # fmt: skip
    return pd.DataFrame(rows)


def shortages(table: pd.DataFrame) -> list[str]:
    """Bins and classes that have fewer windows than their part, with both numbers.

    Args:
        table: See :func:`histogram`.
    """
    totals = table[(table["cover"] == "all") != (table["class"] == "all")]
    words = []
    for row in totals.to_dict("records"):
        cover, kind, there, even = (row[key] for key in ("cover", "class", "windows", "ideal"))
        if there < int(even):
            what = f"cloud cover {cover} %" if kind == "all" else kind
            words.append(f"{what} ({there:,} of {even:,.0f})")
    return words


def _hash(*words: object) -> str:
    return hashlib.sha256(" ".join(map(str, words)).encode()).hexdigest()
