"""A ledger file from a stranger in, a ledger out, or every reason why it is none.

Sizes and types are looked at before any row is read, and what the file says of its run before that.
A broken file can crash or confuse the library that decodes it, so another process does that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from planetcr_bench.errors import SubmissionError
from planetcr_bench.leaderboard.consistency import ledger_faults, record_faults, unclean
from planetcr_bench.metrics.sums import FLOOR_SUMS, FURTHER_SUMS
from planetcr_bench.results.ledger import METADATA_KEY, Ledger, schema_of
from planetcr_bench.utils.parallel import run_sandboxed
from planetcr_bench.utils.untrusted import parse_json, read_json

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

RUN: Final[Mapping[str, tuple[type, ...]]] = {
    "problems": (list,),
    "dataset": (str,),
    "predictions": (str,),
    "command": (str,),
    "device": (str,),
    "environment": (dict,),
    "started": (str,),
    "seconds": (int, float),
}
"""What ``run.json`` adds to a ledger's record, and the types of it."""

NOTES: Final = "notes"
"""List of what is suspicious of the predictions; a ``run.json`` of none has it not."""


def read_sent_ledger(path: Path) -> Ledger:
    """Read a ledger of which nothing is believed.

    Raises:
        SubmissionError: Lists everything that is wrong with it.
    """
    ledger = decode_ledger(path, record_faults)
    _refuse(path, ledger_faults(ledger))
    return ledger


def decode_ledger(path: Path, faults: RecordFaults) -> Ledger:
    """Decode a ledger under limits, in another process; its rows may say anything.

    Args:
        path: The file, a regular one.
        faults: What is wrong with what the ledger says of its run; importable by name.

    Raises:
        SubmissionError: It is too large, no ledger, or lists the faults of its record or columns.
    """
    lost = f"{path}: {_UNREADABLE} (its bytes crash the reader)"
    record, rows = run_sandboxed(partial(_decode, faults=faults), path, lost=lost)
    table = pa.ipc.open_stream(rows).read_all()
    return Ledger(table.to_pandas(ignore_metadata=True), record)


RecordFaults = Callable[[Mapping[str, Any]], list[str]]
_UNREADABLE: Final = "expected a ledger of planetcr-bench, cannot be read"


def _decode(path: Path, faults: RecordFaults = record_faults) -> tuple[dict[str, Any], bytes]:
    """What a file says of its run, and its rows as an Arrow stream; in another process."""
    try:
        if path.stat().st_size > LARGEST_LEDGER:
            raise SubmissionError(f"{path}: expected at most {LARGEST_LEDGER} bytes")
        with pq.ParquetFile(path) as file:
            record, table = _read(path, file, faults)
    except (OSError, ValueError, pa.ArrowException, MemoryError) as error:
        raise SubmissionError(f"{path}: {_UNREADABLE} ({error})") from error
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return record, sink.getvalue().to_pybytes()


def _read(
    path: Path, file: pq.ParquetFile, faults: RecordFaults
) -> tuple[dict[str, Any], pa.Table]:
    cells, unpacked = _sizes(file.metadata)
    if cells > MOST_CELLS:
        raise SubmissionError(f"{path}: expected at most {MOST_CELLS} cells, got {cells}")
    if unpacked > LARGEST_UNPACKED:
        raise SubmissionError(
            f"{path}: expected at most {LARGEST_UNPACKED} bytes unpacked, got {unpacked}"
        )
    record = _record(path, file.schema_arrow.metadata or {})
    _refuse(path, faults(record))
    names = file.schema_arrow.names
    floor = not FLOOR_SUMS.keys().isdisjoint(names)
    further = not FURTHER_SUMS.keys().isdisjoint(names)
    schema = schema_of(sorted(record["segmenters"]), floor=floor, further=further)
    _refuse(path, _column_faults(file.schema_arrow, schema))
    table = file.read().unify_dictionaries()
    table.validate(full=True)
    _refuse(path, [f"{name}: expected no gaps" for name in schema.names if table[name].null_count])
    long = [name for name in schema.names if _longest(table[name]) > LONGEST_TEXT]
    _refuse(path, [f"{name}: expected texts of at most {LONGEST_TEXT} bytes" for name in long])
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
            f"{path}: expected a ledger of planetcr-bench, it does not say of what run"
        )
    where = f"{path}: what it says of its run"
    if len(metadata[METADATA_KEY]) > LARGEST_RECORD:
        raise SubmissionError(f"{where}: expected at most {LARGEST_RECORD} bytes")
    return parse_json(metadata[METADATA_KEY], where, error=SubmissionError)


def _column_faults(found: pa.Schema, expected: pa.Schema) -> list[str]:
    names = set(expected.names)
    surplus = [f"{name[:80]!r}: unknown column" for name in found.names if name not in names]
    lacking = [f"{name}: expected this column, found none" for name in names - set(found.names)]
    other = [
        f"{field.name}: expected {field.type}, got {str(found.field(field.name).type)[:80]}"
        for field in expected
        if found.names.count(field.name) == 1 and found.field(field.name).type != field.type
    ]
    if not (surplus or lacking or other) and found.names != expected.names:
        other = ["expected the columns in the order of a ledger, each once"]
    return [*surplus, *sorted(lacking), *other]


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        message = f"{path}: expected a ledger that planetcr-bench can have measured"
        raise SubmissionError(message, [f"{path}: {problem}" for problem in problems])


def read_sent_run(path: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Read a stranger's ``run.json``.

    Args:
        path: The file.
        record: What the ledger says of the run; must be said here too.

    Raises:
        SubmissionError: Lists everything that is wrong with it.
    """
    run = read_json(path, LARGEST_RECORD, error=SubmissionError)
    known = [*record, *RUN]
    found = [f"{key[:80]!r}: unknown" for key in run if key not in (*known, NOTES)]
    found += [f"{key}: expected it to be given, it is missing" for key in known if key not in run]
    found += [
        f"{key}: expected what the ledger says, {record[key]!r:.80}, got {run[key]!r:.80}"
        for key in record
        if key in run and (type(run[key]) is not type(record[key]) or run[key] != record[key])
    ]
    found += run_type_faults(run)
    if record["complete"] and run.get("problems"):
        found.append("problems: expected none of a complete run")
    notes = run.get(NOTES, [])
    if not (isinstance(notes, list) and all(isinstance(note, str) for note in notes)):
        found.append(f"{NOTES}: expected a list of texts")
    own = {key: run[key] for key in (RUN.keys() | {NOTES}) & run.keys()}
    found += unclean(own, depth=3)
    if found:
        message = f"{path}: expected the record of the ledger's run"
        raise SubmissionError(message, [f"{path}: {problem}" for problem in found])
    return run


def run_type_faults(run: Mapping[str, Any]) -> list[str]:
    """What of :data:`RUN` is of a wrong type or range, one line each."""
    found = [
        f"{key}: expected {kinds[-1].__name__}, got {type(run[key]).__name__}"
        for key, kinds in RUN.items()
        if key in run and type(run[key]) not in kinds
    ]
    seconds = run.get("seconds")
    if type(seconds) in RUN["seconds"] and not 0 <= run["seconds"] < 1e9:
        found.append(f"seconds: expected 0 to 1e9, got {seconds!r:.80}")
    return found


def public_run(run: Mapping[str, Any]) -> dict[str, Any]:
    """What ``run.json`` says, without the folders of the machine that it was made on."""
    return {
        key: _without_folders(value) if key in (*RUN, NOTES) else value
        for key, value in run.items()
    }


def _without_folders(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_folders(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_folders(one) for one in value]
    return _plain(value) if isinstance(value, str) else value


def _plain(text: str) -> str:
    """A text whose paths are cut to their last part and whose oddities are question marks."""
    words = [word.rstrip("/").rpartition("/")[2] for word in text.split(" ")]
    cut = " ".join(words)[:1000]
    shown = "".join("?" if one in "<>&`[]|" or not one.isprintable() else one for one in cut)
    return re.sub(r"\b(javascript|vbscript|data)(\s*):", r"\1\2?", shown, flags=re.IGNORECASE)
