"""Hold the sums of a run by groups of scenes: a compact ledger, small enough to be committed.

It is a ledger that was asked beforehand whatever tables, intervals, comparisons and the leaderboard
ask; :data:`GROUPINGS` lists the questions. A row of the file is a group of pixels in one protocol,
a key that does not split them is ``all``, and an empty cell is a sum that the group is not asked.

The input is the same for all runs on a dataset. What the leaderboard's page filters by is therefore
kept of predictions alone; of the input, the run whose predictions are the input has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import pandas as pd
import pyarrow as pa

from planetcr_bench.constants import LAND_COVER
from planetcr_bench.errors import ScenesError
from planetcr_bench.metrics.protocols import PROTOCOLS, Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS, Of, further, ratio_of
from planetcr_bench.metrics.sums import FLOOR_SUMS, SUMS, further_sums, segmenter_columns
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.schema import ARROW_TYPES

COMPACT_SCHEMA: Final = 1
"""Raised when a column or a grouping changes."""

ALL: Final = "all"
"""Value of a key that does not split a group."""

KEYS: Final = ("season", "aoi", "cover_bin", "land_cover", "region", "known")
"""What may split pixels beside the protocol; ``known`` is whether their land is."""

Grouping = tuple[str, ...]

SEEN_BY: Final[Grouping] = ("aoi", "cover_bin", "land_cover")
SEEN_IMAGES: Final = ("clear", "prediction")
CELLS: Final[Grouping] = ("aoi", "cover_bin", "land_cover", "region")

TABLES: Final[tuple[Grouping, ...]] = (
    (), ("season",), ("aoi",), ("cover_bin",), ("land_cover",), ("region",), ("known",),
    ("cover_bin", "land_cover"), ("cover_bin", "known"),
)  # fmt: skip
"""Groupings of tables and intervals, at full precision."""

PAGE: Final[tuple[Grouping, ...]] = (
    ("aoi", "cover_bin"), SEEN_BY, ("aoi", "cover_bin", "region"), CELLS,
)  # fmt: skip
"""Groupings that the leaderboard's page filters by; sums are rounded to :data:`DIGITS` bits."""

DIGITS: Final = 17
"""Binary digits of a sum of :data:`PAGE`: a relative error of at most 1e-5."""

GROUPINGS: Final = (*TABLES, *PAGE)

POSITION: Final = ("longitude", "latitude", "cloud_cover")
"""Means over the scenes of an AOI that have one."""

LACKING: Final = (
    "angle_pixels",
    "input_angle_pixels",
    "ssim_pixels",
    "ndvi_pixels",
    "input_ndvi_pixels",
)
"""Counts that a file has as the pixels that lack them, ``lacking_<name>``: mostly none."""

_COUNTS: Final = ("scenes", "aois", "pixels")
_BOTH: Final[tuple[Of, ...]] = ("prediction", "input")


def seen_columns(segmenter: str, image: str) -> list[str]:
    """Columns of the pixels by the class that a segmenter predicts in an image."""
    return [f"seen_{segmenter}_{image}_{name}" for name in LAND_COVER]


def score_columns(metric: str, of: Of) -> tuple[str, str]:
    """Columns of the sum over scenes of their scores, and of the scenes that have none."""
    return f"score_{of}_{metric}", f"unscored_{of}_{metric}"


def scored(
    protocol: Protocol, by: Grouping, columns: set[str], bands: Sequence[str]
) -> list[tuple[str, Of]]:
    """Metrics and images whose scores of single scenes are added up in a grouping.

    Args:
        protocol: That of the rows.
        by: The grouping.
        columns: Those of the ledger of scenes.
        bands: Names of the bands of its images.
    """
    pairs: list[tuple[str, Of]] = []
    averaged = protocol.pool == "scene-mean"
    if by in ((), ("cover_bin",), ("land_cover",), ("region",)):
        pairs += [(metric, of) for of in _BOTH for metric in HEADLINE]
    if averaged and by in PAGE[:3]:
        pairs += [(metric, "prediction") for metric in HEADLINE]
    if averaged and by == ():
        pairs += [(metric, of) for of in _BOTH for metric in further(bands)]
    if averaged and by == ("aoi",):
        pairs += [(metric, "prediction") for metric in (*HEADLINE, *further(bands))]
    if by in ((), ("land_cover",)):
        pairs.append(("sam_floor", "prediction"))
    return [
        (name, of) for name, of in pairs if columns.issuperset(ratio_of(name, bands).columns_of(of))
    ]


def summed(
    protocol: Protocol,
    by: Grouping,
    columns: set[str],
    bands: Sequence[str],
    segmenters: Sequence[str] = (),
) -> list[str]:
    """Sums over pixels of a grouping, beside :data:`_COUNTS`; see :func:`scored`."""
    if by in PAGE:
        names: list[str] = ["cloudy_clear"] if by == PAGE[0] else []
        if by == CELLS and protocol.pool == "pixels":
            names = [name for metric in HEADLINE for name in METRICS[metric].columns]
    else:
        names = [] if "known" in by else list(SUMS)
        if by in ((), ("land_cover",)):
            names += FLOOR_SUMS
        if by == ():
            names += further_sums(bands)
        if by == ("aoi",) and protocol.pool == "pixels":
            names += [n for metric in further(bands) for n in ratio_of(metric, bands).columns]
        if by == ("cover_bin", "land_cover"):
            names += [name for key in segmenters for name in segmenter_columns(key)]
    return [name for name in dict.fromkeys(names) if name in columns and name not in _COUNTS]


def contents(
    protocol: Protocol,
    by: Grouping,
    columns: set[str],
    bands: Sequence[str],
    segmenters: Sequence[str] = (),
) -> list[str]:
    """Every column of a grouping but its keys; see :func:`scored`."""
    sums = summed(protocol, by, columns, bands, segmenters)
    names = [*(_COUNTS if sums[1:] or by not in PAGE else _COUNTS[:2]), *sums]
    for metric, of in scored(protocol, by, columns, bands):
        names += score_columns(metric, of)
    if by == SEEN_BY:
        for segmenter in segmenters:
            for image in SEEN_IMAGES:
                names += seen_columns(segmenter, image)
    return [*names, *(POSITION if by == ("aoi",) else ())]


def is_count(column: str) -> bool:
    """Whether a column holds whole numbers."""
    sums = {**SUMS, **FLOOR_SUMS, **further_sums(())}
    counts = ("seen_", "unscored_", "segmenter_", "lacking_")
    whole = column in _COUNTS or column.startswith(counts)
    return whole or (column in sums and sums[column].type == "int64")


class CompactLedger(Ledger):
    """Sums of one run by groups of its scenes.

    Attributes:
        groups: Name of a protocol and grouping to a table, indexed by the grouping, or by ``all``.
        provenance: That of the ledger of scenes, with ``compact_schema``, ``full_ledger_sha256``
            and ``predictions_sha256``.
    """

    __slots__ = ("groups",)
    groups: Mapping[tuple[str, Grouping], pd.DataFrame]

    def __init__(
        self,
        groups: Mapping[tuple[str, Grouping], pd.DataFrame],
        provenance: Mapping[str, Any],
    ) -> None:
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "provenance", provenance)

    @property
    def frame(self) -> pd.DataFrame:
        """A compact ledger has no rows of scenes.

        Raises:
            ScenesError: Always.
        """
        raise self._lacking("this")

    def _lacking(self, what: str) -> ScenesError:
        return ScenesError(
            f"{self.name}: {what} needs the ledger of scenes; this is a compact ledger, which has "
            "sums of groups alone"
        )

    @property
    def has_thickness(self) -> bool:
        """Whether the optical thickness was known to the ledger of scenes."""
        return bool(self.provenance["optical_thickness"])

    def _has(self, column: str, values: Sequence[str]) -> bool:
        tables = (table for (_, by), table in self.groups.items() if by == (column,))
        return any(bool(table.index.isin(values).any()) for table in tables)

    @property
    def columns(self) -> set[str]:
        """Names of the sums that the ledger of scenes has."""
        sums = {*SUMS, *FLOOR_SUMS, *further_sums(self.bands)}
        names = set(next(iter(self.groups.values())).columns) & sums
        return names.union(*(segmenter_columns(key) for key in self.segmenters))

    @property
    def copies_input(self) -> bool:
        """Whether the predictions are the input: then its sums of predictions are the input's."""
        return not any(
            table["prediction_cloudy"].any() for key, table in self.groups.items() if key[1] == ()
        )

    @property
    def protocols(self) -> set[str]:
        """Names of the protocols that it has groups of."""
        return {name for name, _ in self.groups}

    @property
    def scenes(self) -> int:
        """How many scenes the run covers."""
        return int(self.provenance["scenes"])

    @property
    def aois(self) -> list[str]:
        """Names of the AOIs, sorted."""
        return sorted(
            {
                str(aoi)
                for key, own in self.groups.items()
                for aoi in own.index
                if key[1] == ("aoi",)
            }
        )

    def with_provenance(self, **changes: object) -> Self:
        """The same groups with another provenance."""
        return type(self)(self.groups, {**self.provenance, **changes})

    def in_protocol(self, name: str) -> Self:
        """Its groups of one protocol, with its provenance."""
        groups = {key: own for key, own in self.groups.items() if key[0] == name}
        return type(self)(groups, self.provenance)

    def group(self, protocol: Protocol, by: Sequence[str]) -> pd.DataFrame:
        """The table of a grouping, indexed in the order of ``by``.

        Raises:
            ScenesError: It has no such grouping.
        """
        grouping = tuple(key for key in KEYS if key in by)
        if len(grouping) != len(by) or (protocol.name, grouping) not in self.groups:
            raise self._lacking(f"a table by {', '.join(by)}")
        table = self.groups[protocol.name, grouping]
        return table if len(by) < 2 else table.reorder_levels(list(by))

    def chosen(self, protocol: Protocol, by: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
        """Columns of the table of a grouping.

        Raises:
            ScenesError: It has no such grouping, or no such column.
        """
        table = self.group(protocol, by)
        if lacking := [name for name in names if name not in table]:
            by = " × ".join(map(str, table.index.names))
            raise self._lacking(f"{', '.join(lacking)} by {by}")
        return table[list(dict.fromkeys(names))]

    def group_sums(
        self, protocol: Protocol, by: Sequence[str], columns: Sequence[str]
    ) -> pd.DataFrame:
        """See ``aggregate.group_sums``."""
        own = self.columns
        known = [name for name in columns if name in own]
        counts = [name for name in _COUNTS if name in self.group(protocol, by)]
        return self.chosen(protocol, by, [*known, *counts])

    def scene_scores(
        self, protocol: Protocol, by: Sequence[str], metrics: Sequence[str], of: Of
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """See ``aggregate.scene_scores``."""
        table, own = self.group(protocol, by), self.columns
        sums = {name: pd.Series(0.0, table.index) for name in metrics}
        counts = {name: pd.Series(0, table.index) for name in metrics}
        for name in metrics:
            needed = ratio_of(name, self.bands).columns_of(of)
            if own.issuperset(needed):  # else it was never measured
                score, unscored = score_columns(name, of)
                part = self.chosen(protocol, by, [score, unscored])
                sums[name], counts[name] = part[score], table["scenes"] - part[unscored]
        return pd.DataFrame(sums, table.index), pd.DataFrame(counts, table.index)


def file_columns(
    columns: set[str], bands: Sequence[str], segmenters: Sequence[str] = ()
) -> pa.Schema:
    """Columns and types of the file of a compact ledger; all but keys and counts have gaps."""
    names = dict.fromkeys(
        f"lacking_{name}" if name in LACKING else name
        for protocol in PROTOCOLS.values()
        for by in GROUPINGS
        for name in contents(protocol, by, columns, bands, segmenters)
        if name != "values"  # the pixels, times the bands
    )
    fields = [pa.field(name, pa.string(), nullable=False) for name in ("protocol", *KEYS)]
    fields += [
        pa.field(name, ARROW_TYPES["int64" if is_count(name) else "float64"]) for name in names
    ]
    return pa.schema(fields)
