"""Store the additive sums of every scene in Parquet files.

One row per scene × protocol × land-cover class × region × optical thickness that has pixels. Rows
of disjoint scenes merge by concatenation; every score is a ratio of sums of rows.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from planetcr_bench.constants import (
    LAND_COVER,
    LAND_COVER_NAMES,
    OPTICAL_BANDS,
    REGION_NAMES,
    REGIONS,
    RUN_NAME,
    SEASONS,
    THICKNESS,
)
from planetcr_bench.errors import LedgerError, ScenesError
from planetcr_bench.metrics.sums import (
    FLOOR_SUMS,
    PLAIN_GROUPS,
    SEGMENTER_WIDTH,
    SUMS,
    SceneSums,
    further_sums,
)
from planetcr_bench.results.files import COMPACT, LEDGER, RUN
from planetcr_bench.results.imagery import Imagery, imagery_errors
from planetcr_bench.results.rules import check_rows
from planetcr_bench.results.schema import (
    ARROW_TYPES,
    IDENTITY,
    RECORD,
    ROW_ORDER,
    SCHEMA_VERSION,
    column_errors,
    optional_sums,
    schema_of,
)
from planetcr_bench.utils.untrusted import check_regular, parse_json, printable

LARGEST_LEDGER: Final = 1_000_000_000
"""Largest size of a file in bytes."""

LARGEST_UNPACKED: Final = 2_000_000_000
"""Largest declared size of all columns in bytes; a few bytes may unpack to a text of any length."""

METADATA_KEY = b"planetcr_bench"

COMPACT_KEY: Final = "compact_schema"
"""What the metadata of a compact ledger have beside those of the ledger of scenes."""


def further_columns(first: Ledger, second: Ledger, *, of_input: bool = False) -> list[str]:
    """Columns of ``further_sums`` in which two ledgers of one dataset can be compared.

    Args:
        first: A ledger.
        second: Another one.
        of_input: Only those that depend on the dataset alone, whatever was predicted.

    Returns:
        Empty if either was measured without them.
    """
    if not (first.has_further and second.has_further):
        return []
    prefixes = ("clear_", "cloudy_", "input_") if of_input else ""
    return [name for name in further_sums(first.bands) if name.startswith(prefixes)]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Rows of one method on one dataset, and their provenance.

    Attributes:
        frame: One row per scene × protocol × class × region × thickness, columns as
            :data:`COLUMNS`; sorted by :func:`in_order`, so that no figure depends on the order of
            the rows in the file.
        provenance: Content of ``run.json``.
    """

    frame: pd.DataFrame
    provenance: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Sort the rows."""
        object.__setattr__(self, "frame", in_order(self.frame))

    @property
    def name(self) -> str:
        """Name of the method's run."""
        return str(self.provenance["name"])

    @property
    def imagery(self) -> Imagery:
        """What its images are."""
        return Imagery.of(self.provenance)

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands of its images."""
        return self.imagery.bands

    @property
    def segmenters(self) -> tuple[str, ...]:
        """Keys of its segmenters, in the order of their columns."""
        return tuple(sorted(self.provenance["segmenters"]))

    @property
    def has_floor(self) -> bool:
        """Whether the noise floor of SAM was measured."""
        return FLOOR_SUMS.keys() <= self.columns

    @property
    def has_further(self) -> bool:
        """Whether the sums behind the further metrics were measured."""
        return further_sums(self.bands).keys() <= self.columns

    @property
    def is_masked(self) -> bool:
        """Whether the cloud mask of every scene is known."""
        return not self._has("region", REGION_NAMES[-1:])

    @property
    def has_masks(self) -> bool:
        """Whether the cloud mask of any scene is known."""
        return self._has("region", REGIONS)

    @property
    def has_land_cover(self) -> bool:
        """Whether the land cover of any pixel is known."""
        return self._has("land_cover", LAND_COVER)

    @property
    def has_seasons(self) -> bool:
        """Whether the season of any scene is known."""
        return self._has("season", SEASONS)

    def _has(self, column: str, values: Sequence[str]) -> bool:
        """Whether any pixel has one of these values."""
        return bool(self.frame[column].isin(values).any())

    @property
    def has_thickness(self) -> bool:
        """Whether any pixel's optical thickness is known."""
        return bool((self.frame["thickness"] != THICKNESS[0]).any())

    @property
    def columns(self) -> set[str]:
        """Names of its columns."""
        return set(self.frame.columns)

    @property
    def protocols(self) -> set[str]:
        """Names of the protocols that it has rows of."""
        return set(self.frame["protocol"].unique())

    @property
    def scenes(self) -> int:
        """How many scenes it covers."""
        return int(self.frame["scene"].nunique())

    @property
    def aois(self) -> list[str]:
        """Names of its AOIs, sorted."""
        return sorted(map(str, self.frame["aoi"].unique()))

    def with_provenance(self, **changes: object) -> Self:
        """The same rows with another provenance."""
        return replace(self, provenance={**self.provenance, **changes})

    def in_protocol(self, name: str) -> Self:
        """Its rows of one protocol, with its provenance."""
        return replace(self, frame=self.frame[self.frame["protocol"] == name])


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort the rows and categories of a ledger in the order in which scoring writes them.

    The same rows give the same bits, whatever the order of rows and dictionaries in a file: rows by
    scene (numbers within a name by their value), then by :data:`ROW_ORDER`; categories of texts in
    the order of the rows, without unused ones.

    Args:
        frame: Rows of a ledger; missing columns are ignored.

    Returns:
        The same frame if it is sorted, else a new one, numbered from 0.
    """
    texts = {
        name: pd.Categorical(frame[name])
        for name, column in IDENTITY.items()
        if column.type == "text" and name in frame
    }
    keys = [name for name in ("scene", "split", *ROW_ORDER) if name in texts]
    ranks = [_ranks(texts[name], ROW_ORDER.get(name, ())) for name in keys]
    order = np.lexsort(ranks[::-1]) if ranks else np.arange(len(frame))
    numbered = pd.RangeIndex(len(frame))
    if (order != numbered).any() or not frame.index.equals(numbered):
        frame = frame.take(order).reset_index(drop=True)
    for name, text in texts.items():
        kind, named = frame[name].dtype, _named_in_order(text[order])
        if isinstance(kind, pd.CategoricalDtype) and not (
            kind.categories.equals(named.categories) and not kind.ordered
        ):
            frame = frame.assign(**{name: named})
    return frame


def _ranks(texts: pd.Categorical, order: Sequence[str]) -> NDArray[np.int64]:
    """Rank of each text by the given order, then by its letters and numbers; -1 for none."""
    position = {name: index for index, name in enumerate(order)}
    names = sorted(
        texts.categories, key=lambda name: (position.get(name, len(position)), _key(name))
    )
    rank = {name: index for index, name in enumerate(names)}
    ranks = np.array([*(rank[name] for name in texts.categories), -1], np.int64)
    row_ranks: NDArray[np.int64] = ranks[texts.codes]
    return row_ranks


def _key(name: str) -> tuple[object, ...]:
    """Sort key of texts: numbers within them count by their value, which may be of any size."""
    parts: list[object] = list(re.split(r"([0-9]+)", str(name)))
    for index in range(1, len(parts), 2):
        digits = str(parts[index]).lstrip("0")
        parts[index] = (len(digits), digits)
    return tuple(parts), str(name)


def _named_in_order(texts: pd.Categorical) -> pd.Categorical:
    """The same texts, with categories in order of appearance, and no others."""
    used = pd.unique(texts.codes)
    used = used[used >= 0]
    rank = np.full(len(texts.categories) + 1, -1)
    rank[used] = np.arange(len(used))
    return pd.Categorical.from_codes(rank[texts.codes], texts.categories.take(used))


def ledger_table(scenes: Sequence[SceneSums], segmenters: Sequence[str] = ()) -> pa.Table:
    """Build typed rows of scored scenes: one per protocol and group that has pixels, in this order.

    They have :data:`FLOOR_SUMS` and ``further_sums`` where all scenes have. Where the cloud cover
    of a scene is nan, the region of all its pixels is unknown.
    """
    bands = scenes[0].bands if scenes else OPTICAL_BANDS
    floor = bool(scenes) and all(scene.floor for scene in scenes)
    further = bool(scenes) and all(scene.further for scene in scenes)
    schema = schema_of(segmenters, floor=floor, further=further, bands=bands)
    columns = {**SUMS, **optional_sums(floor=floor, further=further, bands=bands)}
    chunks: list[NDArray[np.float64]] = []
    segmented = [np.empty((0, SEGMENTER_WIDTH * len(segmenters)), np.int64)]
    identities: dict[str, list[object]] = {name: [] for name in IDENTITY}
    for scene in scenes:
        cover = scene.identity["cloud_cover"]
        masked = not (isinstance(cover, float) and math.isnan(cover))
        for protocol, sums in scene.sums.items():
            groups = np.flatnonzero(sums[:, 0])
            parts = [sums, *([scene.floor[protocol]] if floor else [])]
            parts += [scene.further[protocol]] if further else []
            chunks.append(np.concatenate([part[groups] for part in parts], 1))
            if segmenters:
                segmented.append(scene.segmented[protocol][groups])
            for group in groups.tolist():
                thickness, plain = divmod(group, PLAIN_GROUPS)
                land_cover, region = divmod(plain, len(REGIONS))
                for name, value in scene.identity.items():
                    identities[name].append(value)
                identities["protocol"].append(protocol)
                identities["land_cover"].append(LAND_COVER_NAMES[land_cover])
                identities["region"].append(REGIONS[region] if masked else REGION_NAMES[-1])
                identities["thickness"].append(THICKNESS[thickness])
    values = np.concatenate(chunks) if chunks else np.empty((0, len(columns)))
    arrays = [
        pa.array(identities[name], ARROW_TYPES[column.type]) for name, column in IDENTITY.items()
    ]
    for index, column in enumerate(columns.values()):
        arrays.append(pa.array(values[:, index].astype(column.type)))
    arrays += [pa.array(column) for column in np.concatenate(segmented).T]
    return pa.table(arrays, schema=schema)


def rows_table(ledger: Ledger) -> pa.Table:
    """Typed rows of a ledger of scenes; nan stays a number, for no column has gaps."""
    schema = schema_of(
        ledger.segmenters,
        floor=ledger.has_floor,
        further=ledger.has_further,
        bands=ledger.bands,
    )
    arrays = [pa.array(ledger.frame[field.name], field.type, from_pandas=False) for field in schema]
    return pa.table(arrays, schema=schema)


def write_ledger(path: Path | IO[bytes], table: pa.Table, provenance: Mapping[str, object]) -> None:
    """Write a ledger with its provenance as metadata; the same rows give the same data pages."""
    text = json.dumps(provenance, ensure_ascii=False, sort_keys=True)
    compact = COMPACT_KEY in provenance
    metadata = {METADATA_KEY: text.encode()}
    table = table.replace_schema_metadata(metadata)
    numbers = [field.name for field in table.schema if _is_number(field.type)]
    with pq.ParquetWriter(
        path,
        table.schema,
        compression="zstd",
        compression_level=19 if compact else 9,
        write_statistics=not compact,
        store_schema=not compact,  # Arrow's: it repeats what Parquet's says of a hundred columns
        use_dictionary=[name for name in table.schema.names if name not in numbers],
        use_byte_stream_split=numbers,  # a quarter smaller
    ) as file:
        file.write_table(table)
        if compact:  # the metadata of the table are Arrow's, too
            file.add_key_value_metadata(metadata)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def read_ledger(path: Path) -> Ledger:
    """Read a ledger, given as its file or as the results folder that holds it.

    Raises:
        LedgerError: It is missing, not a ledger, of another schema version, or breaks a rule of its
            columns.
    """
    file = path / LEDGER if path.is_dir() else path
    if not file.is_file():
        if path.is_dir() and (path / COMPACT).is_file():
            raise ScenesError(f"{path}: expected {LEDGER}, the ledger of scenes, found {COMPACT}")
        raise LedgerError(f"{path}: expected a results folder with {LEDGER}, found none")
    if path.is_dir() and not (path / RUN).is_file():
        raise LedgerError(
            f"{path}: expected {RUN} beside the ledger, found none: the evaluation did not "
            "finish; run the same evaluate command again"
        )
    check_regular(file, LARGEST_LEDGER, error=LedgerError)
    try:
        with pq.ParquetFile(file) as stored:
            provenance = read_provenance(file, stored)
            _check_columns(file, stored, provenance)
            table = stored.read()
            frame = table.to_pandas(ignore_metadata=True)
    except (OSError, pa.ArrowException, KeyError, ValueError, MemoryError) as error:
        raise LedgerError(f"{file}: expected a ledger of planetcr-bench, cannot read it") from error
    ledger = Ledger(frame, provenance)
    check_rows(frame, str(file), list(provenance["segmenters"]), ledger.bands)
    return ledger


def read_provenance(file: Path, stored: pq.ParquetFile) -> dict[str, Any]:
    """Read and check the metadata of a ledger, compact or not.

    Raises:
        LedgerError: It is too large when unpacked, or its metadata are not those of a run.
    """
    metadata = stored.metadata
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    if sum(group.total_byte_size for group in groups) > LARGEST_UNPACKED:
        raise LedgerError(f"{file}: expected at most {LARGEST_UNPACKED:,} bytes unpacked, got more")
    where = f"{file}: what it says of its run"
    text = (stored.schema_arrow.metadata or {})[METADATA_KEY]
    provenance = parse_json(text, where, error=LedgerError)
    version = provenance.get("ledger_schema")
    if version != SCHEMA_VERSION:
        raise LedgerError(
            f"{file}: expected ledger schema {SCHEMA_VERSION}, got {printable(version)[:80]}; "
            "evaluate again with this version"
        )
    odd = [key for key, kinds in RECORD.items() if type(provenance.get(key)) not in kinds]
    if odd:
        raise LedgerError(f"{where}: expected a value of its type for each of {', '.join(odd)}")
    for error in imagery_errors(provenance):
        raise LedgerError(f"{where}: {error}, got others")
    if re.fullmatch(RUN_NAME, provenance["name"]) is None:
        raise LedgerError(f"{where}: expected a name as --name takes it, got another")
    for facts in provenance["segmenters"].values():
        if not isinstance(facts, dict) or not {"name", "sha256"} <= facts.keys():
            raise LedgerError(f"{where}: expected name and sha256 of each segmenter, got others")
    return provenance


def _check_columns(file: Path, stored: pq.ParquetFile, provenance: Mapping[str, Any]) -> None:
    if COMPACT_KEY in provenance:
        raise ScenesError(f"{file}: expected a ledger of scenes, got a compact one")
    names = set(stored.schema_arrow.names)
    bands = Imagery.of(provenance).bands
    groups = (FLOOR_SUMS, further_sums(bands))
    floor, further = (not group.keys().isdisjoint(names) for group in groups)
    segmenters = sorted(provenance["segmenters"])
    schema = schema_of(segmenters, floor=floor, further=further, bands=bands)
    if not stored.schema_arrow.equals(schema):
        raise LedgerError(
            f"{file}: expected the columns of a ledger of this version; evaluate again",
            column_errors(stored.schema_arrow, schema),
        )
