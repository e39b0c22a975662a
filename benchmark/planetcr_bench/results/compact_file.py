"""Write and read compact ledgers; one that no run can have given is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from planetcr_bench.constants import COVER_BIN_NAMES, LAND_COVER_NAMES, REGION_NAMES
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics.protocols import PROTOCOLS, Protocol
from planetcr_bench.metrics.registry import RATIOS, Of
from planetcr_bench.metrics.sums import FLOOR_SUMS, SUMS, further_sums, segmenter_columns
from planetcr_bench.results.compact import (
    ALL,
    CELLS,
    COMPACT_SCHEMA,
    GROUPINGS,
    KEYS,
    LACKING,
    POSITION,
    SEEN_BY,
    SEEN_IMAGES,
    CompactLedger,
    Grouping,
    contents,
    file_columns,
    is_count,
    score_columns,
    scored,
    seen_columns,
)
from planetcr_bench.results.files import COMPACT, LEDGER, RUN
from planetcr_bench.results.imagery import Imagery
from planetcr_bench.results.ledger import (
    COMPACT_KEY,
    LARGEST_LEDGER,
    METADATA_KEY,
    Ledger,
    read_ledger,
    read_provenance,
)
from planetcr_bench.results.rules import sum_rules
from planetcr_bench.results.schema import column_errors, optional_sums, segmenter_counts
from planetcr_bench.utils.files import file_sha256
from planetcr_bench.utils.untrusted import check_regular, printable

DIGESTS: Final = ("full_ledger_sha256", "predictions_sha256")
"""What a compact ledger says beside its schema: of which file it is, and of which predictions."""

AGAIN: Final = "write it again from the ledger of scenes: planetcr-bench compact"

_LARGEST: Final = 1e30
"""Of any sum: all of them then add up to less than float32 can hold."""

_MOST: Final = 10**12
"""Of any count: all of them then add up to less than int64 can hold."""

_ROUNDING: Final = 1e-5
"""Relative difference of a total and its rounded parts."""

_SCORE_ROUNDING: Final = 1e-3
"""By which the score of a scene may leave its range: variances of SSIM are differences."""


def compact_table(ledger: CompactLedger) -> pa.Table:
    """The rows of a compact ledger's file."""
    parts = []
    for (name, by), table in ledger.groups.items():
        rows = table.reset_index(drop=not by).assign(protocol=name)
        for count in set(LACKING) & set(rows):
            rows[f"lacking_{count}"] = rows["pixels"] - rows[count]
        parts.append(rows.assign(**{key: ALL for key in KEYS if key not in by}))
    frame = pd.concat(parts, ignore_index=True)
    schema = file_columns(ledger.columns, ledger.bands, ledger.segmenters)
    columns = {}
    for field in schema:
        # an ungrouped column is of a protocol that the run was not measured in
        values = frame[field.name] if field.name in frame else pd.Series(np.nan, frame.index)
        columns[field.name] = pa.array(values, from_pandas=True).cast(field.type)
    return pa.table(columns, schema=schema)


def read_any_ledger(path: Path) -> Ledger:
    """Read a ledger of scenes or a compact one, given as its file or as its results folder.

    Raises:
        LedgerError: See ``read_ledger``; or the ledger of scenes beside a compact one is another
            than it was made from.
    """
    file = path / COMPACT if path.is_dir() else path
    if path.is_dir() and (path / LEDGER).exists():
        if file.is_file():
            _read_compact(file)
        return read_ledger(path)
    if not file.is_file() or not _is_compact(file):
        return read_ledger(path)
    if path.is_dir() and not (path / RUN).is_file():
        raise LedgerError(f"{path}: expected {RUN} beside {COMPACT}, found none; {AGAIN}")
    return _read_compact(file)


def _is_compact(file: Path) -> bool:
    if file.name == COMPACT:
        return True
    check_regular(file, LARGEST_LEDGER, error=LedgerError)
    try:
        metadata = pq.read_schema(file).metadata or {}
    except (OSError, pa.ArrowException, ValueError):
        return False
    return f'"{COMPACT_KEY}"'.encode() in metadata.get(METADATA_KEY, b"")


def _read_compact(file: Path) -> CompactLedger:
    check_regular(file, LARGEST_LEDGER, error=LedgerError)
    try:
        with pq.ParquetFile(file) as stored:
            provenance = read_provenance(file, stored)
            check_schema(file, stored.schema_arrow, provenance)
            frame = stored.read().to_pandas(ignore_metadata=True)
    except (OSError, pa.ArrowException, KeyError, ValueError, MemoryError) as error:
        raise LedgerError(f"{file}: expected a compact ledger, cannot read it; {AGAIN}") from error
    ledger = split_groups(file, frame, provenance)
    check_beside(file, ledger)
    return ledger


def check_schema(file: Path, got: pa.Schema, provenance: Mapping[str, Any]) -> None:
    """Refuse columns and metadata that are not those of a compact ledger of this version.

    Raises:
        LedgerError: Says what differs.
    """
    version = provenance.get(COMPACT_KEY)
    if version != COMPACT_SCHEMA or isinstance(version, bool):
        shown = printable(version)[:80]
        raise LedgerError(f"{file}: expected compact schema {COMPACT_SCHEMA}, got {shown}; {AGAIN}")
    for key in DIGESTS:
        if re.fullmatch("[0-9a-f]{64}", str(provenance.get(key))) is None:
            raise LedgerError(f"{file}: expected a SHA-256 as {key}, got another text; {AGAIN}")
    segmenters = sorted(provenance["segmenters"])
    bands = Imagery.of(provenance).bands
    schema = file_columns(_columns(got.names, segmenters, bands), bands, segmenters)
    if not got.equals(schema):
        raise LedgerError(
            f"{file}: expected the columns of a compact ledger of this version; {AGAIN}",
            column_errors(got, schema),
        )


def _columns(names: Sequence[str], segmenters: Sequence[str], bands: Sequence[str]) -> set[str]:
    """Sums of the ledger of scenes behind a file with these columns."""
    groups = (FLOOR_SUMS, further_sums(bands))
    floor, further = (not own.keys().isdisjoint(names) for own in groups)
    sums = {*SUMS, *optional_sums(floor=floor, further=further, bands=bands)}
    return sums.union(*map(segmenter_columns, segmenters))


def check_beside(file: Path, ledger: Ledger) -> None:
    """Refuse a compact ledger beside another ledger of scenes than its own.

    Raises:
        LedgerError: See above.
    """
    scenes = file.with_name(LEDGER)
    if not scenes.is_file():
        return
    check_regular(scenes, LARGEST_LEDGER, error=LedgerError)
    if file_sha256(scenes) != ledger.provenance["full_ledger_sha256"]:
        raise LedgerError(
            f"{file}: expected a compact form of {LEDGER} beside it, got one of "
            "another ledger; delete one of the two"
        )


def split_groups(file: Path, frame: pd.DataFrame, provenance: Mapping[str, Any]) -> CompactLedger:
    """Split the rows of a file into their groupings, and check them.

    Args:
        file: Named in errors.
        frame: Its rows, of columns that :func:`check_schema` accepts.
        provenance: Its metadata.

    Raises:
        LedgerError: Names the first rule that is broken.
    """
    segmenters = sorted(provenance["segmenters"])
    bands = Imagery.of(provenance).bands
    columns = _columns(list(frame.columns), segmenters, bands)
    protocols = [name for name in PROTOCOLS if name in provenance["protocols"]]
    texts = {key: frame[key].astype(str).to_numpy(object) for key in ("protocol", *KEYS)}
    numbers = frame.drop(columns=list(texts))
    cells = dict(zip(numbers.columns, numbers.to_numpy(np.float64).T, strict=True))
    bits = sum((texts[key] != ALL) * 2**bit for bit, key in enumerate(KEYS))
    groups: dict[tuple[str, Grouping], pd.DataFrame] = {}
    rows = 0
    for name, by in product(protocols, GROUPINGS):
        own = (texts["protocol"] == name) & (bits == sum(2 ** KEYS.index(key) for key in by))
        part = {key: values[own] for key, values in cells.items()}
        keys = [pd.Index(texts[key][own], dtype=object, name=key) for key in by]
        columns_of = contents(PROTOCOLS[name], by, columns, bands, segmenters)
        groups[name, by] = _group(file, part, keys, columns_of, len(bands))
        rows += int(own.sum())
    if not groups or rows != len(frame):
        raise LedgerError(
            f"{file}: expected rows of its record's protocols and known groupings "
            f"alone, found others; {AGAIN}"
        )
    ledger = CompactLedger(groups, provenance)
    for rule in broken_compact_rules(ledger):
        raise LedgerError(f"{file}: expected {rule}, found otherwise")
    return ledger


def _group(
    file: Path,
    part: Mapping[str, NDArray[np.float64]],
    keys: Sequence[pd.Index[Any]],
    names: list[str],
    bands: int,
) -> pd.DataFrame:
    """The rows of one grouping, with its columns and no others."""
    where = f"{file}: expected rows by {' × '.join(str(key.name) for key in keys) or 'nothing'}"
    stored = {f"lacking_{name}" if name in LACKING else name for name in names if name != "values"}
    sound = part["pixels"].size > 0 and all(
        not np.isnan(values).any() if key in stored else np.isnan(values).all()
        for key, values in part.items()
        if key not in stored.intersection(POSITION)
    )
    if not sound:
        raise LedgerError(f"{where} with its sums and no others, found otherwise; {AGAIN}")
    made = {name: part["pixels"] - part[f"lacking_{name}"] for name in names if name in LACKING}
    made["values"] = bands * part["pixels"]
    sums = {name: made[name] if name in made else part[name] for name in names}
    with np.errstate(invalid="ignore"):  # too large a count is refused later
        counts = {name: sums[name].astype(np.int64) for name in names if is_count(name)}
    if not keys:
        index = pd.Index([ALL] * len(part["pixels"]), name=ALL)
    else:
        index = keys[0] if len(keys) == 1 else pd.MultiIndex.from_arrays(keys)
    if index.has_duplicates:
        raise LedgerError(f"{where} each once, found otherwise; {AGAIN}")
    return pd.DataFrame({**sums, **counts}, index)


# --- Rules --------------------------------------------------------------------------------------


def broken_compact_rules(ledger: CompactLedger) -> list[str]:
    """Describe the rules that the groups of a compact ledger break."""
    return [
        f"{rule} (by {' × '.join(by) or 'nothing'}, protocol {name})"
        for (name, by), table in ledger.groups.items()
        for rule, holds in _rules(ledger, PROTOCOLS[name], by, table)
        if not holds
    ]


def _rules(
    ledger: CompactLedger, protocol: Protocol, by: Grouping, table: pd.DataFrame
) -> Iterator[tuple[str, bool]]:
    numbers = _numbers(table)
    whole = {name: values[0] for name, values in _numbers(ledger.groups[protocol.name, ()]).items()}
    known = {
        "cover_bin": COVER_BIN_NAMES,
        "land_cover": LAND_COVER_NAMES,
        "region": REGION_NAMES,
        "known": ("known", "unknown"),
    }
    for key in set(by) & known.keys():
        yield f"known values of {key}", set(table.index.unique(key)) <= set(known[key])
    sums = [name for name in numbers if not name.startswith("score_")]
    counts = [numbers[name] for name in sums if is_count(name)]
    modest = all(bool((np.abs(numbers[name]) <= _LARGEST).all()) for name in sums)
    yield "finite sums of a modest size", modest
    counted = all(bool(((count >= 0) & (count <= _MOST)).all()) for count in counts)
    yield f"counts of at least zero and at most {_MOST:g}", counted
    scenes = [name for name in numbers if name == "scenes" or "score" in name]
    own = [name for name in sums if name not in (*scenes, "aois", "values")]
    if "pixels" in own:
        pixels = numbers["pixels"]
        fewer = all(bool((numbers[n] <= pixels).all()) for n in own if n.endswith("pixels"))
        possible = fewer and bool((pixels > 0).all())
        yield "pixels in every group, and no count above them", possible
    aois, of = numbers["aois"], numbers["scenes"]
    yield (
        "scenes and AOIs in every group, no more than the run has",
        bool(
            (aois >= 1).all()
            and (aois <= of).all()
            and (of <= ledger.scenes).all()
            and (aois <= (1 if "aoi" in by else whole["aois"])).all()
        ),
    )
    if numbers.keys() >= SUMS.keys():
        segmenters = ledger.segmenters if by == ("cover_bin", "land_cover") else ()
        rows = table.assign(protocol=protocol.name)
        yield from sum_rules(rows, segmenters, ledger.bands).items()
    elif by == CELLS:
        additive = [name for name in own if "ssim" not in name]
        yield "sums of at least zero", all(bool((numbers[n] >= 0).all()) for n in additive)
    yield "groups that add up to the whole", _adds_up(numbers, whole, own)
    if not {"land_cover", "region", "known"} & set(by):
        yield "scenes and their scores that add up to the whole", _adds_up(numbers, whole, scenes)
    pairs = scored(protocol, by, ledger.columns, ledger.bands)
    yield "scores of scenes in their range", _are_possible(numbers, protocol, pairs)
    if by == ("aoi",):
        yield "as many AOIs as the run has", len(table) == whole["aois"]
        yield "longitude, latitude and cloud cover of AOIs", _is_placed(table, ledger)
    if by == ():
        yield f"{ledger.scenes} scenes as its record says", whole["scenes"] == ledger.scenes
    if by == SEEN_BY:
        table_of_all = ledger.groups[protocol.name, ("cover_bin", "land_cover")]
        yield (
            "predicted classes as the segmenters' counts have them",
            all(_is_seen(table, table_of_all, segmenter) for segmenter in ledger.segmenters),
        )


def _numbers(table: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Columns of a table but those of :data:`POSITION`, which may have gaps."""
    columns = zip(table.columns, table.to_numpy(np.float64).T, strict=True)
    return {str(name): values for name, values in columns if name not in POSITION}


def _adds_up(
    numbers: Mapping[str, NDArray[np.float64]], whole: Mapping[str, float], names: list[str]
) -> bool:
    """Whether the groups' sums are those of all pixels, as far as both have them."""
    for name in names:
        if name not in whole:
            continue
        with np.errstate(invalid="ignore"):
            total, expected = numbers[name].sum(), whole[name]
            # what may be negative cancels: its terms are of the order of 1
            scale = whole["pixels"] if (numbers[name] < 0).any() else abs(expected)
            if not (total == expected or abs(total - expected) <= _ROUNDING * scale):
                return False
    return True


def _are_possible(
    numbers: Mapping[str, NDArray[np.float64]], protocol: Protocol, pairs: Sequence[tuple[str, Of]]
) -> bool:
    """Whether sums of so many scenes' scores can be sums of possible scores."""
    for metric, of in pairs:
        score, lacking = score_columns(metric, of)
        total, scenes = numbers[score], numbers["scenes"] - numbers[lacking]
        low, high = RATIOS[metric].possible
        room = _SCORE_ROUNDING * scenes
        least = low * scenes - room if np.isfinite(low) else -np.inf
        most = high * scenes + room if np.isfinite(high) else np.inf
        perfect = RATIOS[metric].scale == "log" and np.isinf(protocol.perfect_psnr)
        possible = (
            (numbers[lacking] >= 0)
            & (scenes >= 0)
            & ((np.abs(total) <= _LARGEST) | (perfect & (total == np.inf)))
            & (total >= least)
            & (total <= most)
            & ((scenes > 0) | (total == 0))
        )
        if not possible.all():
            return False
    return True


def _is_placed(table: pd.DataFrame, ledger: CompactLedger) -> bool:
    east, north = table["longitude"], table["latitude"]
    placed = (east.between(-180, 180) & north.between(-90, 90)) | (east.isna() & north.isna())
    cover = table["cloud_cover"]
    covered = cover.between(0, 1) | (cover.isna() & (not ledger.is_masked))
    return bool(placed.all() and covered.all())


def _is_seen(table: pd.DataFrame, counts: pd.DataFrame, segmenter: str) -> bool:
    """Whether the pixels by predicted class of every AOI add up to the confusion of all."""
    counts = counts[counts.index.get_level_values("land_cover") != "unknown"]
    for image in SEEN_IMAGES:
        names = seen_columns(segmenter, image)
        cube = segmenter_counts(counts, segmenter, "prediction")
        expected = pd.DataFrame(cube.sum(2 if image == "clear" else 1), counts.index, names)
        seen = table[names].groupby(level=["cover_bin", "land_cover"]).sum()
        known = seen.index.get_level_values("land_cover") != "unknown"
        if not seen[known].sort_index().equals(expected.sort_index()) or seen[~known].any(
            axis=None
        ):
            return False
    return True
