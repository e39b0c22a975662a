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
    bits = sum((frame[key].astype(str) != ALL) * 2**bit for bit, key in enumerate(KEYS))
    parts = dict(list(frame.groupby([frame["protocol"].astype(str), bits])))
    groups: dict[tuple[str, Grouping], pd.DataFrame] = {}
    rows = 0
    for name, by in product(protocols, GROUPINGS):
        part = parts.get((name, sum(2 ** KEYS.index(key) for key in by)), frame[:0])
        columns_of = contents(PROTOCOLS[name], by, columns, bands, segmenters)
        groups[name, by] = _group(file, part, by, columns_of, len(bands))
        rows += len(part)
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
    file: Path, part: pd.DataFrame, by: Grouping, names: list[str], bands: int
) -> pd.DataFrame:
    """The rows of one grouping, with its columns and no others."""
    stored = [f"lacking_{name}" if name in LACKING else name for name in names if name != "values"]
    where = f"{file}: expected rows by {' × '.join(by) or 'nothing'}"
    others = part.columns.difference([*stored, *KEYS, "protocol"])
    full = [name for name in stored if name not in POSITION]
    if part.empty or part[full].isna().any(axis=None) or part[others].notna().any(axis=None):
        raise LedgerError(f"{where} with its sums and no others, found otherwise; {AGAIN}")
    values = {name: part["pixels"] - part[f"lacking_{name}"] for name in names if name in LACKING}
    values |= {"values": bands * part["pixels"]} if "values" in names else {}
    whole = {name: "int64" for name in names if is_count(name)}
    table = part[stored].copy().assign(**values)[names].astype(whole).copy()  # few blocks: fast
    if not by:
        table.index = pd.Index([ALL] * len(part), name=ALL)
    else:
        keys = [part[key].astype(str).astype(object) for key in by]
        table.index = (
            pd.Index(keys[0], name=by[0])
            if len(by) == 1
            else pd.MultiIndex.from_arrays(keys, names=by)
        )
    if table.index.has_duplicates:
        raise LedgerError(f"{where} each once, found otherwise; {AGAIN}")
    return table


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
    whole = ledger.groups[protocol.name, ()].iloc[0]
    values = {
        "cover_bin": COVER_BIN_NAMES,
        "land_cover": LAND_COVER_NAMES,
        "region": REGION_NAMES,
        "known": ("known", "unknown"),
    }
    for key in set(by) & values.keys():
        yield (
            f"known values of {key}",
            bool(table.index.get_level_values(key).isin(values[key]).all()),
        )
    numbers = table.drop(columns=list(POSITION), errors="ignore")
    sums = numbers[[name for name in numbers if not str(name).startswith("score_")]]
    counts = sums[[name for name in sums if is_count(str(name))]]
    yield "finite sums of a modest size", bool((sums.abs() <= _LARGEST).all(axis=None))
    modest = ((counts >= 0) & (counts <= _MOST)).all(axis=None)
    yield f"counts of at least zero and at most {_MOST:g}", bool(modest)
    scenes = [name for name in numbers if name == "scenes" or "score" in str(name)]
    own = [name for name in sums if name not in (*scenes, "aois", "values")]
    if "pixels" in own:
        pixels = [name for name in own if str(name).endswith("pixels")]
        fewer = sums[pixels].le(table["pixels"], axis=0).all(axis=None)
        possible = bool(fewer and (table["pixels"] > 0).all())
        yield "pixels in every group, and no count above them", possible
    yield (
        "scenes and AOIs in every group, no more than the run has",
        bool(
            (table["aois"] >= 1).all()
            and (table["aois"] <= table["scenes"]).all()
            and (table["scenes"] <= ledger.scenes).all()
            and (table["aois"] <= (1 if "aoi" in by else whole["aois"])).all()
        ),
    )
    if set(SUMS) <= set(table):
        segmenters = ledger.segmenters if by == ("cover_bin", "land_cover") else ()
        rows = table.reset_index().assign(protocol=protocol.name)
        yield from sum_rules(rows, segmenters, ledger.bands).items()
    elif by == CELLS:
        additive = [name for name in own if "ssim" not in str(name)]
        yield "sums of at least zero", bool((sums[additive] >= 0).all(axis=None))
    yield "groups that add up to the whole", _adds_up(table, whole, own)
    if not {"land_cover", "region", "known"} & set(by):
        yield "scenes and their scores that add up to the whole", _adds_up(table, whole, scenes)
    pairs = scored(protocol, by, ledger.columns, ledger.bands)
    yield "scores of scenes in their range", _are_possible(table, protocol, pairs)
    if by == ("aoi",):
        yield "as many AOIs as the run has", len(table) == whole["aois"]
        yield "longitude, latitude and cloud cover of AOIs", _is_placed(table, ledger)
    if by == ():
        yield f"{ledger.scenes} scenes as its record says", whole["scenes"] == ledger.scenes
    if by == SEEN_BY:
        counts = ledger.groups[protocol.name, ("cover_bin", "land_cover")]
        yield (
            "predicted classes as the segmenters' counts have them",
            all(_is_seen(table, counts, segmenter) for segmenter in ledger.segmenters),
        )


def _adds_up(table: pd.DataFrame, whole: pd.Series[float], names: list[Any]) -> bool:
    """Whether the groups' sums are those of all pixels, as far as both have them."""
    shared = [name for name in names if name in whole.index]
    total, expected = table[shared].sum(), whole[shared].astype(float)
    # what may be negative cancels: its terms are of the order of 1
    slack = _ROUNDING * np.where(table[shared].lt(0).any(), whole["pixels"], expected.abs())
    with np.errstate(invalid="ignore"):
        return bool(((total == expected) | ((total - expected).abs() <= slack)).all())


def _are_possible(table: pd.DataFrame, protocol: Protocol, pairs: Sequence[tuple[str, Of]]) -> bool:
    """Whether sums of so many scenes' scores can be sums of possible scores."""
    columns = [score_columns(*pair) for pair in pairs]
    totals = table[[score for score, _ in columns]].to_numpy(np.float64)
    unscored = table[[lacking for _, lacking in columns]].to_numpy(np.float64)
    scenes = table["scenes"].to_numpy(np.float64)[:, None] - unscored
    low, high = np.array([RATIOS[metric].possible for metric, _ in pairs]).reshape(-1, 2).T
    perfect = [RATIOS[metric].scale == "log" for metric, _ in pairs]
    infinite = np.array(perfect, bool) & np.isinf(protocol.perfect_psnr) & (totals == np.inf)
    finite = [np.where(np.isfinite(bound), bound, 0) for bound in (low, high)]
    room = _SCORE_ROUNDING * scenes
    least = np.where(np.isfinite(low), finite[0] * scenes - room, -np.inf)
    most = np.where(np.isfinite(high), finite[1] * scenes + room, np.inf)
    return bool(
        (
            (unscored >= 0)
            & (scenes >= 0)
            & ((np.abs(totals) <= _LARGEST) | infinite)
            & (totals >= least)
            & (totals <= most)
            & ((scenes > 0) | (totals == 0))
        ).all()
    )


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
