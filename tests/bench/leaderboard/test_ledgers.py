"""Ledgers from strangers: honest ones are read, whatever else is named, none is run."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parallel_work import AbortingRecord
from paths import ROOT, RUNS
from planetcr_bench.errors import SubmissionError
from planetcr_bench.leaderboard.ledgers import (
    LARGEST_LEDGER,
    LARGEST_RECORD,
    LARGEST_UNPACKED,
    LONGEST_TEXT,
    MOST_CELLS,
    Record,
    _decode,
    decode_ledger,
    nested_text_errors,
    record_errors,
)
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.results.compact_file import read_any_ledger
from planetcr_bench.results.ledger import METADATA_KEY, Ledger, read_ledger, write_ledger
from planetcr_bench.results.schema import COLUMNS, RECORD, schema_of

MEAN_FILL = RUNS / "mean-fill"
TEXT = schema_of().field("scene").type
POOLS: list[pa.MemoryPool] = []
"""Of :func:`frugal_refusal`; each must outlive whatever was read into it."""


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    """One scene of a real run, without its segmenters."""
    whole = read_ledger(MEAN_FILL)
    scenes = whole.frame["scene"].astype(str)
    frame = whole.frame[scenes == scenes.min()][list(COLUMNS)]
    facts = {
        "segmenters": {},
        "scenes": 1,
        "expected_scenes": 1,
        "track": "mine",
        "simulation": None,
    }
    return Ledger(frame, {**whole.provenance, **facts})


@pytest.fixture(scope="module")
def table(ledger: Ledger) -> pa.Table:
    return pa.Table.from_pandas(ledger.frame, schema_of(), preserve_index=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.parquet"


def written(path: Path, table: pa.Table, record: object, **options: object) -> Path:
    """A ledger with a record, or bytes in its place."""
    text = record if isinstance(record, bytes) else json.dumps(record).encode()
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: text}), path, **options)
    return path


def with_column(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    index = table.schema.names.index(name)
    return table.set_column(index, pa.field(name, column.type), column)


def constant(text: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), [text])


def refusal(path: Path) -> str:
    """Why a file is refused, a line each; in this process, which is quicker."""
    with pytest.raises(SubmissionError) as refused:
        _decode(path)
    assert str(path) in refused.value.message
    assert all(line.startswith(f"{path}: ") for line in refused.value.problems)
    lines = [line.removeprefix(f"{path}: ") for line in refused.value.problems]
    return "\n".join(lines) or refused.value.message


def frugal_refusal(path: Path, most: int = 1_000_000) -> str:
    """Why a file is refused for which Arrow may take so many bytes."""
    before = pa.default_memory_pool()
    POOLS.append(pa.proxy_memory_pool(before))
    pa.set_memory_pool(POOLS[-1])
    try:
        text = refusal(path)
    finally:
        pa.set_memory_pool(before)
    assert POOLS[-1].max_memory() < most
    return text


# --- Files --------------------------------------------------------------------------------------


def test_a_ledger_is_read_in_any_encoding(path: Path, table: pa.Table, ledger: Ledger) -> None:
    write_ledger(path, table, ledger.provenance)
    expected = read_ledger(path).frame
    nullable = table.cast(pa.schema([field.with_nullable(True) for field in table.schema]))
    for variant, options in (
        (table, {"compression": "none", "row_group_size": 5}),
        (table, {"use_dictionary": False, "data_page_version": "2.0"}),
        (nullable, {}),
    ):
        read = decode_ledger(written(path, variant, ledger.provenance, **options))
        pd.testing.assert_frame_equal(read.frame, expected)
        assert read.provenance == ledger.provenance


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1" * 3, b"PAR1\xff\xff\xff\x7fPAR1", b"{}", bytes(1000), None]
)
def test_anything_but_parquet_is_refused(path: Path, content: bytes | None) -> None:
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    assert "expected a ledger of planetcr-bench, cannot be read" in refusal(path)


def test_a_file_that_is_too_large_is_not_opened(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(LARGEST_LEDGER + 1)
    assert f"expected at most {LARGEST_LEDGER} bytes" in refusal(path)


def test_a_file_that_was_cut_is_refused(path: Path, table: pa.Table, ledger: Ledger) -> None:
    whole = written(path, table, ledger.provenance).read_bytes()
    for length in np.linspace(1, len(whole) - 1, 20).astype(int).tolist():
        path.write_bytes(whole[:length])
        assert "cannot be read" in refusal(path)


def test_a_file_with_flipped_bytes_is_read_or_refused(
    path: Path, table: pa.Table, ledger: Ledger
) -> None:
    """Whatever its bytes do to the process that decodes them."""
    whole = written(path, table, ledger.provenance, compression="zstd").read_bytes()
    chance = random.Random(0)
    refused = 0
    for flips in (1, 1, 4, 4, 16, 16):
        content = bytearray(whole)
        for _ in range(flips):
            content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
        path.write_bytes(content)
        try:
            decode_ledger(path)
        except SubmissionError:
            refused += 1
    assert refused >= 2  # statistics and offsets of an index may be anything


def test_bytes_that_crash_the_reader_are_a_refusal(
    path: Path, table: pa.Table, ledger: Ledger
) -> None:
    written(path, table, ledger.provenance)
    with pytest.raises(SubmissionError, match="its bytes crash the reader"):
        decode_ledger(path, AbortingRecord)


# --- Files that unpack to more than there is memory ---------------------------------------------


def rows_of(path: Path, rows: int, group: int) -> Path:
    """As many rows as one likes in some kilobytes: each column has one value."""
    schema = schema_of()
    block = pa.table(
        [
            constant("x", group) if field.type == TEXT else pa.array(np.ones(group), field.type)
            for field in schema
        ],
        schema,
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for _ in range(rows // group):
            writer.write_table(block, row_group_size=group)
    return path


def zigzag(number: int, length: int = 1) -> bytes:
    """A number as the footer of parquet has it, filled up to a length."""
    rest, septets = number << 1, []
    while rest or len(septets) < length:
        septets.append(rest & 127)
        rest >>= 7
    return bytes([*(septet | 128 for septet in septets[:-1]), septets[-1]])


def patch_rows(path: Path, before: int, after: int) -> None:
    """Change the number of rows of the file alone; that of its groups comes later."""
    content = bytearray(path.read_bytes())
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    old = zigzag(before)
    start = content.index(old, footer)
    new = zigzag(after, len(old))
    content[start : start + len(old)] = new
    size = len(content) - 8 - footer
    content[-8:-4] = size.to_bytes(4, "little")
    path.write_bytes(content)


@pytest.mark.parametrize("declared", [None, 3])
def test_too_many_cells_are_refused_before_any_is_read(path: Path, declared: int | None) -> None:
    """The file may say 3 rows; its groups say 3,300,000, and those are what is read."""
    rows = 3_300_000
    rows_of(path, rows, 330_000)
    if declared is not None:
        patch_rows(path, rows, declared)
    assert path.stat().st_size < 1_000_000
    assert f"at most {MOST_CELLS} cells, got {rows * len(COLUMNS)}" in frugal_refusal(path)


def test_a_text_of_any_length_is_refused_before_it_is_repeated(
    path: Path, table: pa.Table, ledger: Ledger
) -> None:
    for length in (LONGEST_TEXT + 1, 5_000_000):
        long = with_column(table, "aoi", constant("x" * length, len(table)))
        written(path, long, ledger.provenance, compression="zstd")
        line = f"aoi: expected texts of at most {LONGEST_TEXT} bytes"
        assert frugal_refusal(path, 20_000_000) == line


def test_texts_that_unpack_to_more_than_all_sums_are_not_read(path: Path, table: pa.Table) -> None:
    size = LARGEST_UNPACKED // 10
    long = with_column(table, "aoi", constant("x" * size, len(table)))
    with pq.ParquetWriter(path, long.schema, compression="zstd", write_statistics=False) as writer:
        for _ in range(10):
            writer.write_table(long)
    assert path.stat().st_size < 1_000_000
    assert f"expected at most {LARGEST_UNPACKED} bytes unpacked, got 400" in frugal_refusal(path)


# --- What it says of its run --------------------------------------------------------------------


def test_a_ledger_without_a_record_is_refused(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path)
    assert "it does not name its run" in refusal(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "expected JSON"),
        (b"\xff", "expected text in UTF-8"),
        (b"[]", "expected an object, got list"),
        (b'{"scale": NaN}', "not a finite number"),
        (b'{"scenes": ' + b"9" * 5000 + b"}", "digits"),
        (b"[" * 100_000, "expected JSON"),
        (b'{"segmenters": ' + b"[" * 400 + b"]" * 400 + b"}", "levels of nesting"),
        (b" " * (LARGEST_RECORD + 1), f"at most {LARGEST_RECORD} bytes"),
    ],
)
def test_a_record_other_than_an_object_is_refused(
    path: Path, table: pa.Table, text: bytes, reason: str
) -> None:
    message = refusal(written(path, table, text))
    assert "what it says of its run: " in message
    assert reason in message


def test_a_record_has_the_keys_of_a_ledger(ledger: Ledger) -> None:
    assert Record.model_fields.keys() == {*RECORD, "input_window"}
    assert record_errors(ledger.provenance) == []
    assert len(record_errors({})) == len(RECORD)
    for key in RECORD:
        less = {name: value for name, value in ledger.provenance.items() if name != key}
        assert record_errors(less) == [f"{key}: expected this key, found none"]
        (line,) = record_errors({**ledger.provenance, key: []})
        assert line.startswith(f"{key}: expected ")


SEGMENTER = {"name": "resnet", "sha256": "ab" * 32}


def segmenter(**facts: object) -> dict[str, Any]:
    return {"segmenters": {"a": {**SEGMENTER, **facts}}}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"scenes": True}, "scenes: expected a whole number, got true"),
        ({"scenes": 1.5}, "scenes: expected a whole number, got 1.5"),
        ({"scenes": 0, "complete": False}, "scenes: expected a number of at least 1"),
        ({"scenes": 2, "complete": False}, "expected 1 to 1 scenes, got 2"),
        ({"expected_scenes": 2}, "expected complete = false for 1 of 2 scenes"),
        ({"expected_scenes": 10**9, "complete": False}, "expected_scenes: expected a number of at"),
        ({"complete": 1}, "complete: expected true or false, got 1"),
        ({"optical_thickness": 0}, "optical_thickness: expected true or false, got 0"),
        ({"scale": True}, "scale: expected a number, got true"),
        ({"scale": 0}, "scale: expected a number above 0"),
        ({"scale": 1e9}, "scale: expected a number below 1000000000"),
        ({"ledger_schema": 1}, "ledger_schema: expected 3, got 1; evaluate with this version"),
        ({"name": "../name"}, "name: expected what matches"),
        ({"name": "n" * 81}, "name: expected what matches"),
        ({"name": "name\n"}, "name: expected what matches"),
        ({"track": "Sim"}, "track: expected what matches"),
        ({"track": "/etc"}, "track: expected what matches"),
        ({"split": "../test"}, "split: expected what matches"),
        ({"fingerprint": "F" * 64}, "fingerprint: expected what matches"),
        ({"tool_version": "0.1 0"}, "tool_version: expected what matches"),
        ({"input_window": "170"}, "input_window: expected '160', 'whole' or 'unknown'"),
        ({"input_window": "160"}, "expected input_window whole behind protocol full, got 160"),
        ({"protocols": {}}, "protocols: expected official among them"),
        ({"protocols": {"full": PROTOCOLS["full"].signature("all")}}, "protocols: expected off"),
        ({"protocols": {"official": "v2"}}, "protocols: expected official|window:centre160"),
        (
            {"protocols": {"official": PROTOCOLS["official"].signature("all"), "own": "v1"}},
            "protocols: expected no such protocol for 'own', got 'v1'",
        ),
        ({"segmenters": {f"{key}": SEGMENTER for key in range(11)}}, "segmenters: expected at mo"),
        ({"segmenters": {"../x": SEGMENTER}}, "segmenters.../x.[key]: expected what matches"),
        ({"segmenters": {"A": SEGMENTER}}, "segmenters.A.[key]: expected what matches"),
        ({"segmenters": {"a": {"name": "resnet"}}}, "segmenters.a.sha256: expected this key"),
        ({"segmenters": {"a": "name sha256"}}, "segmenters.a: expected a table"),
        (segmenter(sha256=None), "segmenters.a.sha256: expected text"),
        # texts
        ({"method": "<b>bold</b>"}, "method: expected plain text"),
        ({"method": "a &amp; b"}, "method: expected plain text"),
        ({"method": "\x1b[31m"}, "method: expected no control characters, got '\\x1b'"),
        ({"method": "\u202eturned"}, "method: expected no control characters"),
        ({"method": "m" * 1001}, "method: expected at most 1000 characters, got 1001"),
        (segmenter(options={"encoder": "<i>"}), "segmenters.a.options.encoder: expected plain"),
        (segmenter(rates=[1, ["<i>"]]), "segmenters.a.rates.1.0: expected plain text"),
        (segmenter(options={"<i>": 1}), "segmenters.a.options: expected plain keys, got '<i>'"),
        (segmenter(b={"c": {"d": {"e": 1}}}), "segmenters.a.b.c.d.e: expected no deeper nesting"),
    ],
)
def test_an_error_of_the_record_is_named_and_nothing_else(
    ledger: Ledger, change: dict[str, Any], line: str
) -> None:
    (found,) = record_errors({**ledger.provenance, **change})
    assert found.startswith(line)


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 1},
        {"scale": 10_000.0},
        {"method": None},
        {"segmenters": {}},
        {"complete": False},  # a surplus file makes it so
        {"complete": False, "expected_scenes": 7},
        {"name": "U-Netz 2.0 +x"},
        segmenter(b={"c": {"d": {}}}, scores={"miou": 0.5, "none": None}),
    ],
)
def test_an_honest_record_has_no_errors(ledger: Ledger, change: dict[str, Any]) -> None:
    assert record_errors({**ledger.provenance, **change}) == []


def test_texts_are_checked_at_any_depth() -> None:
    assert nested_text_errors(["x" * 2000]) != []
    assert nested_text_errors({"a": {"b": 1}}, depth=2) == ["a.b: expected no deeper nesting"]
    assert nested_text_errors({"a": {"b": "fine"}, "c": [1, None, True]}, depth=3) == []


# --- Columns ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("pixels", pa.string()),
        ("pixels", pa.float64()),
        ("pixels", pa.uint64()),
        ("pixels", pa.timestamp("ns")),
        ("pixels", pa.decimal128(38, 2)),
        ("pixels", pa.list_(pa.int64())),
        ("pixels", pa.struct({"x" * 10_000: pa.int64()})),
        ("ssim", pa.float32()),
        ("ssim", pa.binary()),
        ("scene", pa.string()),
        ("scene", pa.list_(pa.string())),
    ],
)
def test_a_column_of_another_type_is_named(
    path: Path, table: pa.Table, ledger: Ledger, name: str, kind: pa.DataType
) -> None:
    other = with_column(table, name, pa.nulls(len(table), kind))
    line = refusal(written(path, other, ledger.provenance))
    assert line.startswith(f"{name}: expected {schema_of().field(name).type}, got ")
    assert len(line) < 200


def test_errors_of_the_columns_are_listed_at_once(
    path: Path, table: pa.Table, ledger: Ledger
) -> None:
    odd = table.drop_columns(["ssim", "aoi"]).append_column("\x1b[31m", pa.nulls(len(table)))
    odd = with_column(odd, "values", pa.array([1.5] * len(table)))
    assert refusal(written(path, odd, ledger.provenance)).splitlines() == [
        "'\\x1b[31m': unknown column",
        "aoi: expected this column, found none",
        "ssim: expected this column, found none",
        "values: expected int64, got double",
    ]


def test_columns_in_another_order_or_twice_are_refused(
    path: Path, table: pa.Table, ledger: Ledger
) -> None:
    turned = table.select(table.column_names[::-1])
    twice = table.append_column(table.schema.field("ssim"), table["ssim"])
    for other in (turned, twice):
        assert "in the order of a ledger" in refusal(written(path, other, ledger.provenance))


def test_columns_of_a_segmenter_without_its_record_and_the_reverse_are_named(
    path: Path, table: pa.Table, ledger: Ledger
) -> None:
    read = {**ledger.provenance, **segmenter()}
    lines = refusal(written(path, table, read)).splitlines()
    assert len(lines) == 72
    assert all("expected this column, found none" in line for line in lines)
    name = "segmenter_a_cloudy_water_water"
    more = table.append_column(name, pa.array([0] * len(table)))
    assert refusal(written(path, more, ledger.provenance)) == f"{name!r}: unknown column"


def test_nulls_and_invalid_utf_8_are_named(path: Path, table: pa.Table, ledger: Ledger) -> None:
    other = table
    for name in ("pixels", "ssim", "scene"):
        values = [None, *table[name].to_pylist()[1:]]
        other = with_column(other, name, pa.array(values, table[name].type))
    lines = refusal(written(path, other, ledger.provenance)).splitlines()
    assert lines == [f"{name}: expected no gaps" for name in ("scene", "pixels", "ssim")]
    offsets = pa.array([0, 2], pa.int32()).buffers()[1]
    broken = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(b"\xff\xfe")])
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(table), np.int32)), broken)
    refusal(written(path, with_column(table, "aoi", column), ledger.provenance))


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in (ROOT / "results").rglob("run.json")), ids=str
)
def test_the_committed_ledgers_have_valid_records(folder: Path) -> None:
    assert record_errors(read_any_ledger(folder).provenance) == []
