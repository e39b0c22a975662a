"""Read a ledger that a stranger may have written.

Sizes and types are checked before any row is read, and what the file says of its run before that.
A broken file can crash or confuse the library that decodes it, so another process does that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from planetcr_bench.constants import INPUT_WINDOWS, RUN_NAME, SPLIT_NAME
from planetcr_bench.errors import SubmissionError
from planetcr_bench.leaderboard.card import text_errors
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import FLOOR_SUMS, further_sums
from planetcr_bench.results.compact import CompactLedger
from planetcr_bench.results.compact_file import check_schema, split_groups
from planetcr_bench.results.imagery import Imagery, imagery_errors
from planetcr_bench.results.ledger import COMPACT_KEY, METADATA_KEY, Ledger
from planetcr_bench.results.schema import SCHEMA_VERSION, column_errors, schema_of
from planetcr_bench.utils.parallel import run_sandboxed
from planetcr_bench.utils.untrusted import parse_json
from planetcr_bench.utils.validation import FileModel, errors_of, shown

LARGEST_LEDGER: Final = 64_000_000
"""Bytes of the file; 3,000 scenes with three segmenters take some 10 million."""

MOST_CELLS: Final = 50_000_000
"""Rows × columns; a file of a few bytes may unpack to any number of rows."""

LARGEST_UNPACKED: Final = 400_000_000
"""Bytes of all columns by what the file says; a few bytes may unpack to a text of any length."""

LONGEST_TEXT: Final = 100
"""Bytes of a text in a row; a long one is kept once and read for each row."""

LARGEST_RECORD: Final = 1_000_000
"""Bytes of what a ledger says of its run, and of ``run.json``."""

MOST_SCENES: Final = 1_000_000
"""Of a split; a number far above that of any dataset of patches."""

# --- What it says of its run ----------------------------------------------------------------


def _check_schema(version: int) -> int:
    if version != SCHEMA_VERSION:
        raise ValueError(f"expected {SCHEMA_VERSION}, got {version}; evaluate with this version")
    return version


def _check_protocols(protocols: dict[str, str]) -> dict[str, str]:
    for name, signature in protocols.items():
        expected = PROTOCOLS[name].signature("all") if name in PROTOCOLS else "no such protocol"
        if signature != expected:
            raise ValueError(f"expected {expected} for {shown(name)}, got {shown(signature)}")
    return protocols


class SegmenterFacts(FileModel):
    """What a ledger says of a segmenter; options and scores are checked as texts only."""

    model_config = ConfigDict(extra="ignore")

    name: str
    sha256: str


class Record(FileModel):
    """What a ledger says of its run, as far as the board shows it."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(pattern=f"^{RUN_NAME}$")]
    track: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")]
    split: Annotated[str, Field(pattern=f"^{SPLIT_NAME}$")]
    complete: bool
    scenes: Annotated[int, Field(ge=1)]
    expected_scenes: Annotated[int, Field(le=MOST_SCENES)]
    method: str | None
    tool_version: Annotated[str, Field(pattern=r"^[\w.+!-]{1,40}$")]
    ledger_schema: Annotated[int, AfterValidator(_check_schema)]
    protocols: Annotated[dict[str, str], AfterValidator(_check_protocols)]
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    simulation: str | None
    scale: Annotated[float, Field(gt=0, lt=1e9)] | None
    segmenters: Annotated[
        dict[Annotated[str, Field(pattern=r"^[0-9a-z][0-9a-z-]{0,39}$")], SegmenterFacts],
        Field(max_length=10),
    ]
    optical_thickness: bool
    input_window: Literal["160", "whole", "unknown"] = "unknown"

    @model_validator(mode="after")
    def _check_counts(self) -> Self:
        if self.scenes > self.expected_scenes:
            raise ValueError(f"expected 1 to {self.expected_scenes} scenes, got {self.scenes}")
        if self.complete and self.scenes != self.expected_scenes:
            raise ValueError(
                f"expected complete = false for {self.scenes} of {self.expected_scenes} scenes"
            )
        if "full" in self.protocols and self.input_window == INPUT_WINDOWS["official"]:
            raise ValueError(
                f"expected input_window whole behind protocol full, got {self.input_window}"
            )
        return self


class RunFacts(FileModel):
    """What ``run.json`` adds to the record of its ledger."""

    model_config = ConfigDict(extra="ignore", title="the record of a run")

    problems: list[str] = Field(default_factory=list)
    dataset: str = ""
    predictions: str = ""
    command: str = ""
    device: str = ""
    environment: dict[str, str | None] = Field(default_factory=dict)
    started: str = ""
    seconds: Annotated[float, Field(ge=0, lt=1e9)] = 0
    notes: list[str] = Field(default_factory=list)


def record_errors(record: Mapping[str, Any], model: type[Record] = Record) -> list[str]:
    """What keeps the record of a ledger from being shown, one line each."""
    try:
        model.model_validate(record)
    except ValidationError as invalid:
        return errors_of(invalid, model)
    errors = imagery_errors(record)
    needed = ["official"] if errors or Imagery.of(record).is_planet_cr else list(PROTOCOLS)
    if record["protocols"].keys().isdisjoint(needed):
        errors.append(f"protocols: expected {' or '.join(needed)} among them, found none")
    return [*errors, *nested_text_errors(record)]


def differing_keys(run: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """Where ``run.json`` does not say what the ledger says, one line each."""
    return [
        f"{key}: expected {shown(value)} as in the ledger, got {shown(run.get(key))}"
        for key, value in record.items()
        if type(run.get(key)) is not type(value) or run.get(key) != value
    ]


def nested_text_errors(
    value: object, where: str = "", *, longest: int = 1000, depth: int = 6
) -> list[str]:
    """Texts anywhere within a value that are not plain: too long, control characters, HTML."""
    if depth == 0:
        return [f"{where}: expected no deeper nesting"]
    if isinstance(value, str):
        return [f"{where}: {error}" for error in text_errors(value, longest=longest)]
    inner: Sequence[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    errors = []
    for key, inner_value in inner:
        name = f"{where}.{key}" if where else str(key)
        if text_errors(str(key), longest=100):
            errors.append(f"{where}: expected plain keys, got {str(key)[:60]!r}")
        else:
            errors += nested_text_errors(inner_value, name, longest=longest, depth=depth - 1)
    return errors


# --- Decoding -------------------------------------------------------------------------------

_UNREADABLE: Final = "expected a ledger of planetcr-bench, cannot be read"


def decode_ledger(path: Path, model: type[Record] = Record) -> Ledger:
    """Decode a ledger under limits, in another process; its rows may say anything.

    Args:
        path: The file, a regular one.
        model: What the ledger may say of its run.

    Raises:
        SubmissionError: It is too large, no ledger, or lists the errors of its record or columns.
    """
    lost = f"{path}: {_UNREADABLE} (its bytes crash the reader)"
    record, rows = run_sandboxed(partial(_decode, model=model), path, lost=lost)
    table = pa.ipc.open_stream(rows).read_all()
    return Ledger(table.to_pandas(ignore_metadata=True), record)


def decode_compact(path: Path) -> CompactLedger:
    """Decode a compact ledger under the same limits, and check its groups.

    Args:
        path: The file, a regular one.

    Raises:
        SubmissionError: See :func:`decode_ledger`.
        LedgerError: Its columns or groups are not those of a compact ledger of this version.
    """
    lost = f"{path}: {_UNREADABLE} (its bytes crash the reader)"
    record, rows = run_sandboxed(partial(_decode, compact=True), path, lost=lost)
    frame = pa.ipc.open_stream(rows).read_all().to_pandas(ignore_metadata=True)
    return split_groups(path, frame, record)


def refuse(path: Path, errors: Sequence[str]) -> None:
    """Raise the errors of a ledger, if there are any."""
    if errors:
        message = f"{path}: expected a ledger that planetcr-bench can have measured"
        raise SubmissionError(message, [f"{path}: {error}" for error in errors])


def _decode(
    path: Path, model: type[Record] = Record, *, compact: bool = False
) -> tuple[dict[str, Any], bytes]:
    """What a file says of its run, and its rows as an Arrow stream; in another process."""
    try:
        if path.stat().st_size > LARGEST_LEDGER:
            raise SubmissionError(f"{path}: expected at most {LARGEST_LEDGER} bytes")
        with pq.ParquetFile(path) as file:
            record, table = _read(path, file, model, compact=compact)
    except (OSError, ValueError, pa.ArrowException, MemoryError) as error:
        raise SubmissionError(f"{path}: {_UNREADABLE} ({error})") from error
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return record, sink.getvalue().to_pybytes()


def _read(
    path: Path, file: pq.ParquetFile, model: type[Record], *, compact: bool
) -> tuple[dict[str, Any], pa.Table]:
    cells, unpacked = _sizes(file.metadata)
    if cells > MOST_CELLS:
        raise SubmissionError(f"{path}: expected at most {MOST_CELLS} cells, got {cells}")
    if unpacked > LARGEST_UNPACKED:
        raise SubmissionError(
            f"{path}: expected at most {LARGEST_UNPACKED} bytes unpacked, got {unpacked}"
        )
    record = _record(path, file.schema_arrow.metadata or {})
    if COMPACT_KEY in record and not compact:
        raise SubmissionError(
            f"{path}: expected a ledger of scenes, got a compact one, which cannot be checked"
        )
    refuse(path, record_errors(record, model))
    if compact:
        check_schema(path, file.schema_arrow, record)
        schema = file.schema_arrow
    else:
        names = file.schema_arrow.names
        bands = Imagery.of(record).bands
        floor = not FLOOR_SUMS.keys().isdisjoint(names)
        further = not further_sums(bands).keys().isdisjoint(names)
        segmenters = sorted(record["segmenters"])
        schema = schema_of(segmenters, floor=floor, further=further, bands=bands)
        refuse(path, column_errors(file.schema_arrow, schema))
    table = file.read().unify_dictionaries()
    table.validate(full=True)
    whole = [field.name for field in schema if not field.nullable]
    refuse(path, [f"{name}: expected no gaps" for name in whole if table[name].null_count])
    long = [name for name in schema.names if _longest(table[name]) > LONGEST_TEXT]
    refuse(path, [f"{name}: expected texts of at most {LONGEST_TEXT} bytes" for name in long])
    return record, table


def _sizes(metadata: pq.FileMetaData) -> tuple[int, int]:
    """Cells and bytes that reading gives: of the groups, as the number for the file may lie."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    rows = max(metadata.num_rows, sum(group.num_rows for group in groups))
    return rows * metadata.num_columns, sum(group.total_byte_size for group in groups)


def _longest(column: pa.ChunkedArray) -> int:
    """Bytes of the longest text of a column, 0 of one of numbers."""
    if not pa.types.is_dictionary(column.type):
        return 0
    lengths = [pc.max(pc.binary_length(chunk.dictionary)).as_py() for chunk in column.chunks]
    return max((length or 0 for length in lengths), default=0)


def _record(path: Path, metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    if METADATA_KEY not in metadata:
        raise SubmissionError(
            f"{path}: expected a ledger of planetcr-bench, but it does not name its run"
        )
    where = f"{path}: what it says of its run"
    if len(metadata[METADATA_KEY]) > LARGEST_RECORD:
        raise SubmissionError(f"{where}: expected at most {LARGEST_RECORD} bytes")
    return parse_json(metadata[METADATA_KEY], where, error=SubmissionError)
