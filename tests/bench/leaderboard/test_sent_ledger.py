"""Ledgers and records from strangers: honest ones are read, whatever else is named, none is run."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paths import ROOT
from planetcr_bench.errors import SubmissionError
from planetcr_bench.leaderboard.consistency import ledger_faults, unclean
from planetcr_bench.leaderboard.sent_ledger import (
    LARGEST_LEDGER,
    LARGEST_RECORD,
    LARGEST_UNPACKED,
    LONGEST_TEXT,
    MOST_CELLS,
    RUN,
    _decode,
    public_run,
    read_sent_ledger,
    read_sent_run,
)
from planetcr_bench.metrics.sums import SUMS
from planetcr_bench.results.ledger import (
    COLUMNS,
    METADATA_KEY,
    Ledger,
    read_ledger,
    schema_of,
    write_ledger,
)

RESULTS = ROOT / "results"
MEAN_FILL = RESULTS / "sim-v1-small/sim-v1-demo/mean-fill"
TEXT = schema_of().field("scene").type
POOLS: list[pa.MemoryPool] = []
"""Of :func:`frugal_refusal`; each must outlive whatever was read into it."""


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    """One scene of a real run, without its segmenters."""
    whole = read_ledger(MEAN_FILL)
    scenes = whole.frame["scene"].astype(str)
    frame = whole.frame[scenes == scenes.min()][list(COLUMNS)]
    texts = [name for name, column in COLUMNS.items() if column.type == TEXT]
    one = {"segmenters": {}, "scenes": 1, "expected_scenes": 1, "track": "mine", "simulation": None}
    return Ledger(frame.astype(dict.fromkeys(texts, str)), {**whole.provenance, **one})


@pytest.fixture(scope="module")
def table(ledger: Ledger) -> pa.Table:
    return pa.Table.from_pandas(ledger.frame, schema_of(), preserve_index=False)


@pytest.fixture(scope="module")
def run(ledger: Ledger) -> dict:
    """The real ``run.json``, with the record of the one scene."""
    return {**json.loads((MEAN_FILL / "run.json").read_text()), **ledger.provenance}


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
    with pytest.raises(SubmissionError) as refused:
        read_sent_ledger(path)
    return told(refused.value, path)


def early_refusal(path: Path) -> str:
    """As :func:`refusal`, of what decoding sees; in this process, which is quicker."""
    with pytest.raises(SubmissionError) as refused:
        _decode(path)
    return told(refused.value, path)


def frugal_refusal(path: Path, most: int = 1_000_000) -> str:
    """Why a file is refused for which Arrow may take so many bytes."""
    before = pa.default_memory_pool()
    POOLS.append(pa.proxy_memory_pool(before))
    pa.set_memory_pool(POOLS[-1])
    try:
        text = early_refusal(path)
    finally:
        pa.set_memory_pool(before)
    assert POOLS[-1].max_memory() < most
    return text


def told(error: SubmissionError, path: Path) -> str:
    """Why a file is refused, a line each, if all lines say which file."""
    assert str(path) in error.message
    assert all(line.startswith(f"{path}: ") for line in error.problems)
    return "\n".join(line[len(f"{path}: ") :] for line in error.problems) or error.message


# --- Honest ledgers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "folder", sorted(one.parent for one in RESULTS.rglob("run.json")), ids=lambda one: one.name
)
def test_a_ledger_of_ours_is_read_as_it_is(folder: Path) -> None:
    read, expected = read_sent_ledger(folder / "ledger.parquet"), read_ledger(folder)
    pd.testing.assert_frame_equal(read.frame, expected.frame)
    assert read.provenance == expected.provenance
    run = read_sent_run(folder / "run.json", read.provenance)
    assert run == json.loads((folder / "run.json").read_text())


def test_a_ledger_is_read_however_it_is_packed(path: Path, table: pa.Table, ledger: Ledger) -> None:
    write_ledger(path, table, ledger.provenance)
    expected = read_ledger(path).frame
    nullable = table.cast(pa.schema([field.with_nullable(True) for field in table.schema]))
    for packed, options in (
        (table, {"compression": "none"}),
        (table, {"row_group_size": 5}),
        (table, {"use_dictionary": False, "data_page_version": "2.0"}),
        (nullable, {}),
    ):
        frame = read_sent_ledger(written(path, packed, ledger.provenance, **options)).frame
        pd.testing.assert_frame_equal(frame, expected)


# --- Files that are none ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1" * 3, b"PAR1\xff\xff\xff\x7fPAR1", b"{}", bytes(1000)]
)
def test_what_is_no_parquet_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "expected a ledger of planetcr-bench, cannot be read" in refusal(path)


def test_no_file_and_a_folder_are_refused(path: Path) -> None:
    assert "cannot be read" in refusal(path)
    path.mkdir()
    assert "cannot be read" in refusal(path)


def test_a_file_that_is_too_large_is_not_opened(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(LARGEST_LEDGER + 1)
    assert f"expected at most {LARGEST_LEDGER} bytes" in refusal(path)


def test_a_file_that_was_cut_is_refused(path: Path, table: pa.Table, ledger: Ledger) -> None:
    whole = written(path, table, ledger.provenance).read_bytes()
    for length in np.linspace(1, len(whole) - 1, 20).astype(int).tolist():
        path.write_bytes(whole[:length])
        assert "cannot be read" in early_refusal(path)


def test_a_file_with_flipped_bytes_is_read_or_refused(
    path: Path, table: pa.Table, ledger: Ledger
) -> None:
    whole = written(path, table, ledger.provenance, compression="zstd").read_bytes()
    chance = random.Random(0)
    refused = 0
    for _ in range(30):
        content = bytearray(whole)
        for _ in range(chance.choice([1, 1, 4])):
            content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
        path.write_bytes(content)
        try:
            read_sent_ledger(path)
        except SubmissionError:
            refused += 1
    assert 10 < refused < 30  # statistics and offsets of an index may be anything


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
        record = read_ledger(MEAN_FILL).provenance
        text = json.dumps({**record, "segmenters": {}}).encode()
        writer.add_key_value_metadata({METADATA_KEY: text})
    return path


def zigzag(number: int, length: int = 1) -> bytes:
    """A number as the footer of parquet has it, filled up to a length."""
    rest, septets = number << 1, []
    while rest or len(septets) < length:
        septets.append(rest & 127)
        rest >>= 7
    return bytes([*(one | 128 for one in septets[:-1]), septets[-1]])


def test_a_billion_rows_are_refused_before_one_is_read(path: Path) -> None:
    schema = pa.schema([pa.field("pixels", pa.null())])
    with pq.ParquetWriter(path, schema) as writer:
        writer.write_table(pa.table([pa.nulls(1_000_000)], schema))
    patch_rows(path, 1_000_000, 10**9)
    assert f"at most {MOST_CELLS} cells, got 1000000000" in frugal_refusal(path)


def test_columns_count_as_rows_do(path: Path) -> None:
    rows = 3_300_000
    rows_of(path, rows, 330_000)
    assert path.stat().st_size < 1_000_000
    assert f"cells, got {rows * len(COLUMNS)}" in frugal_refusal(path)


def test_a_number_of_rows_that_lies_is_refused(path: Path) -> None:
    """The file says 3 rows, its groups say 3,300,000; the groups are what is read."""
    rows = 3_300_000
    patch_rows(rows_of(path, rows, 330_000), rows, 3)
    assert pq.read_metadata(path).num_rows == 3
    assert f"cells, got {rows * len(COLUMNS)}" in frugal_refusal(path)


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


def test_a_text_of_any_length_is_refused_before_it_is_repeated(
    path: Path, table: pa.Table, ledger: Ledger
) -> None:
    for length in (LONGEST_TEXT + 1, 5_000_000):
        long = with_column(table, "aoi", constant("x" * length, len(table)))
        written(path, long, ledger.provenance, compression="zstd")
        assert (
            frugal_refusal(path, 20_000_000)
            == f"aoi: expected texts of at most {LONGEST_TEXT} bytes"
        )


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
    assert "it does not say of what run" in early_refusal(path)
    table.to_pandas().to_parquet(path)
    assert "it does not say of what run" in early_refusal(path)


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
def test_a_record_that_is_no_plain_object_is_refused(
    path: Path, table: pa.Table, text: bytes, reason: str
) -> None:
    message = early_refusal(written(path, table, text))
    assert "what it says of its run: " in message
    assert reason in message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"segmenters": {"../x": {"name": "x", "sha256": "x"}}},
            "segmenters: expected a short key",
        ),
        ({"segmenters": {"a b": {"name": "x", "sha256": "x"}}}, "segmenters: expected a short key"),
        ({"segmenters": {"": {"name": "x", "sha256": "x"}}}, "segmenters: expected a short key"),
        ({"segmenters": {"a": {"name": "x"}}}, "segmenters: expected a short key"),
        ({"segmenters": {"a": "name sha256"}}, "segmenters: expected a short key"),
        ({"segmenters": ["a"]}, "segmenters: expected dict, got list"),
        (
            {"segmenters": {str(one): {"name": "x", "sha256": "x"} for one in range(11)}},
            "at most 10",
        ),
        ({"name": "../x"}, "name: expected what matches"),
        ({"name": "<b>"}, "name: expected plain text"),
        ({"track": "/etc"}, "track: expected what matches"),
        ({"complete": 1}, "complete: expected bool, got int"),
        ({"scenes": True}, "scenes: expected int, got bool"),
        ({"ledger_schema": 1}, "ledger_schema: expected 3"),
        ({"protocols": {"official": [[[]]]}}, "protocol 'official': expected official|"),
        ({"problems": []}, "problems: unknown"),
    ],
)
def test_a_fault_of_the_record_is_named(
    path: Path, table: pa.Table, ledger: Ledger, change: dict, reason: str
) -> None:
    assert reason in early_refusal(written(path, table, {**ledger.provenance, **change}))


def test_faults_of_the_record_are_listed_at_once(path: Path, table: pa.Table) -> None:
    lines = early_refusal(written(path, table, {"name": "", "scenes": 1.5, "x": 1})).splitlines()
    assert len([line for line in lines if "it is missing" in line]) == 13
    assert {"x: unknown", "scenes: expected int, got float"} <= {*lines}


# --- Columns ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("pixels", pa.string(), "string"),
        ("pixels", pa.float64(), "double"),
        ("pixels", pa.int32(), "int32"),
        ("pixels", pa.uint64(), "uint64"),
        ("pixels", pa.timestamp("ns"), "timestamp[ns]"),
        ("pixels", pa.decimal128(38, 2), "decimal128(38, 2)"),
        ("pixels", pa.null(), "null"),
        ("pixels", pa.list_(pa.int64()), "list<element: int64>"),
        ("pixels", pa.struct({"x" * 10_000: pa.int64()}), "struct<xxx"),
        ("ssim", pa.int64(), "int64"),
        ("ssim", pa.float32(), "float"),
        ("ssim", pa.binary(), "binary"),
        ("scene", pa.string(), "string"),
        ("scene", pa.int64(), "int64"),
        ("scene", pa.list_(pa.string()), "list<element: string>"),
    ],
)
def test_a_column_of_another_type_is_named(
    path: Path, table: pa.Table, ledger: Ledger, name: str, values: pa.DataType, kind: str
) -> None:
    other = with_column(table, name, pa.nulls(len(table), values))
    line = early_refusal(written(path, other, ledger.provenance))
    assert line.startswith(f"{name}: expected {schema_of().field(name).type}, got {kind}")
    assert len(line) < 200


def test_faults_of_the_columns_are_listed_at_once(
    path: Path, table: pa.Table, ledger: Ledger
) -> None:
    odd = table.drop_columns(["ssim", "aoi"]).append_column("\x1b[31m", pa.nulls(len(table)))
    odd = with_column(odd, "values", pa.array([1.5] * len(table)))
    assert early_refusal(written(path, odd, ledger.provenance)).splitlines() == [
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
    again = table.append_column("ssim", pa.array(["x"] * len(table)))
    for other in (turned, twice, again):
        assert "in the order of a ledger" in early_refusal(written(path, other, ledger.provenance))


def test_columns_of_a_segmenter_without_its_record_and_the_reverse_are_named(
    path: Path, table: pa.Table, ledger: Ledger
) -> None:
    segmenter = {"a": {"name": "x", "sha256": "x"}}
    lines = early_refusal(
        written(path, table, {**ledger.provenance, "segmenters": segmenter})
    ).splitlines()
    assert len(lines) == 72
    assert all("expected this column, found none" in line for line in lines)
    name = "segmenter_a_cloudy_water_water"
    more = table.append_column(name, pa.array([0] * len(table)))
    assert early_refusal(written(path, more, ledger.provenance)) == f"{name!r}: unknown column"


def test_gaps_are_named(path: Path, table: pa.Table, ledger: Ledger) -> None:
    other = table
    for name in ("pixels", "ssim", "scene"):
        values = [None, *table[name].to_pylist()[1:]]
        other = with_column(other, name, pa.array(values, table[name].type))
    lines = early_refusal(written(path, other, ledger.provenance)).splitlines()
    assert lines == [f"{name}: expected no gaps" for name in ("scene", "pixels", "ssim")]


def test_texts_that_are_no_utf_8_are_refused(path: Path, table: pa.Table, ledger: Ledger) -> None:
    offsets = pa.array([0, 2], pa.int32()).buffers()[1]
    broken = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(b"\xff\xfe")])
    indices = pa.array(np.zeros(len(table), np.int32))
    column = pa.DictionaryArray.from_arrays(indices, broken)
    early_refusal(written(path, with_column(table, "aoi", column), ledger.provenance))


# --- Rows ---------------------------------------------------------------------------------------


def test_every_rule_that_the_rows_break_is_named(
    path: Path, table: pa.Table, ledger: Ledger
) -> None:
    rows = len(table)
    odd = with_column(table, "region", constant("<b>", rows))
    odd = with_column(odd, "cloud_cover", pa.array([7.0] * rows))
    odd = with_column(odd, "angle_deg", pa.array([float("nan")] * rows))
    lines = refusal(written(path, odd, ledger.provenance)).splitlines()
    assert [line[:30] for line in lines] == [
        "expected finite sums",
        "expected sums of at least zero",
        "expected known protocols, clas",
        "expected each scene × protocol",
        "expected a cloud cover between",
    ]


def test_every_rule_that_the_scenes_break_is_named(
    path: Path, table: pa.Table, ledger: Ledger
) -> None:
    rows = len(table)
    odd = with_column(table, "prediction_sha256", constant("x", rows))
    odd = with_column(odd, "aoi", constant("\x1b[31m", rows))
    odd = with_column(odd, "ssim", pa.array([1e9] * rows))
    record = {**ledger.provenance, "split": "val"}
    text = refusal(written(path, odd, record))
    for rule in ("SSIM of −1 to 1", "scenes named", "the record's split", "a SHA-256 of each"):
        assert f"expected {rule}" in text or f"expected scenes of {rule}" in text
    assert len(text.splitlines()) == 4


def test_a_ledger_without_rows_is_refused(path: Path, table: pa.Table, ledger: Ledger) -> None:
    text = refusal(written(path, table.slice(0, 0), ledger.provenance))
    assert "expected at least one row" in text


def test_no_value_of_a_sum_is_more_than_a_refusal(ledger: Ledger) -> None:
    for name in SUMS:
        counted = schema_of().field(name).type == pa.int64()
        for value in (2**63 - 1, -1) if counted else (float("nan"), 1e150, -1e150):
            assert ledger_faults(Ledger(ledger.frame.assign(**{name: value}), ledger.provenance))


# --- run.json -----------------------------------------------------------------------------------


def run_refusal(folder: Path, run: object, record: dict) -> str:
    path = folder / "run.json"
    path.write_bytes(run if isinstance(run, bytes) else json.dumps(run).encode())
    with pytest.raises(SubmissionError) as refused:
        read_sent_run(path, record)
    return told(refused.value, path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"more": 1}, "'more': unknown"),
        ({"\x1b[31m" * 100: 1}, "'\\x1b[31m"),
        ({"name": "other"}, "name: expected what the ledger says, 'mean-fill', got 'other'"),
        ({"name": "\x1b[31m" * 100}, "got '\\x1b[31m"),
        ({"complete": 1}, "complete: expected what the ledger says, True, got 1"),
        (
            {"optical_thickness": 0},
            "optical_thickness: expected what the ledger says, False, got 0",
        ),
        ({"scenes": True}, "scenes: expected what the ledger says, 1, got True"),
        ({"scenes": 1.0}, "scenes: expected what the ledger says, 1, got 1.0"),
        ({"segmenters": {"a": 1}}, "segmenters: expected what the ledger says, {}, got {'a': 1}"),
        ({"scale": 2}, "scale: expected what the ledger says, None, got 2"),
        ({"command": None}, "command: expected str, got NoneType"),
        ({"environment": []}, "environment: expected dict, got list"),
        ({"problems": {}}, "problems: expected list, got dict"),
        ({"seconds": "1"}, "seconds: expected float, got str"),
        ({"seconds": True}, "seconds: expected float, got bool"),
        ({"seconds": -1}, "seconds: expected 0 to 1e9, got -1"),
        ({"seconds": 10**29}, "seconds: expected 0 to 1e9, got 1000"),
        ({"problems": ["a.tif: none"]}, "problems: expected none of a complete run"),
        ({"command": "<script>alert(1)</script>"}, "command: expected plain text"),
        ({"command": "&lt;b&gt;"}, "command: expected plain text"),
        ({"command": "x" * 1001}, "command: expected at most 1000"),
        ({"device": "\x1b[31m"}, "device: expected no control characters"),
        ({"started": "\ue000"}, "started: expected no control characters"),
        ({"dataset": "javascript:alert(1)"}, "dataset: expected plain text"),
        ({"environment": {"<b>": "1"}}, "environment: expected plain keys, got '<b>'"),
        ({"environment": {"a": "<b>"}}, "environment.a: expected plain text"),
        ({"environment": {"a": {"b": 1}}}, "environment.a.b: expected no deeper nesting"),
    ],
)
def test_a_fault_of_the_run_is_named(
    tmp_path: Path, run: dict, ledger: Ledger, change: dict, reason: str
) -> None:
    (line,) = run_refusal(tmp_path, {**run, **change}, ledger.provenance).splitlines()
    assert line.startswith(reason) or reason.startswith("got ")
    assert reason in line
    assert line.isprintable()
    assert len(line) < 300


def test_every_key_of_the_run_is_needed(tmp_path: Path, run: dict, ledger: Ledger) -> None:
    lines = run_refusal(tmp_path, {}, ledger.provenance).splitlines()
    assert lines == [
        f"{key}: expected it to be given, it is missing" for key in [*ledger.provenance, *RUN]
    ]
    for key in run:
        less = {name: value for name, value in run.items() if name != key}
        (line,) = run_refusal(tmp_path, less, ledger.provenance).splitlines()
        assert line == f"{key}: expected it to be given, it is missing"


def test_faults_of_the_run_are_listed_at_once(tmp_path: Path, run: dict, ledger: Ledger) -> None:
    change = {"more": 1, "name": "x", "seconds": None, "device": "<b>", "problems": [1]}
    assert len(run_refusal(tmp_path, {**run, **change}, ledger.provenance).splitlines()) == 5


def test_the_problems_of_a_run_that_is_not_complete_are_read(
    tmp_path: Path, run: dict, ledger: Ledger
) -> None:
    record = {**ledger.provenance, "complete": False, "expected_scenes": 2}
    part = {**run, **record, "problems": ["fall_1_p_2: no prediction"], "seconds": 0}
    (tmp_path / "run.json").write_text(json.dumps(part))
    assert read_sent_run(tmp_path / "run.json", record) == part


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"\xff", b'{"seconds": NaN}', b'{"seconds": 1e999}', b"[" * 100_000,
        b'{"segmenters": ' + b"[" * 700 + b"]" * 700 + b"}", b" " * (LARGEST_RECORD + 1),
    ],
)  # fmt: skip
def test_a_run_that_is_no_plain_object_is_refused(
    tmp_path: Path, ledger: Ledger, text: bytes
) -> None:
    assert "run.json: expected" in run_refusal(tmp_path, text, ledger.provenance)


# --- What is published of it --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/me/data", "data"),
        ("/home/me/data/", "data"),
        ("evaluate ../preds// --data /home/me/ --x=/home/y", "evaluate preds --data me y"),
        ("/ // a/b", "  b"),
        ("a\t/home/me\n", "me?"),
        ("cuda: H100 <1 & more>", "cuda: H100 ?1 ? more?"),
        ("bad Data : 3, got", "bad Data ? 3, got"),
        ("2026-11-24T20:23:30+00:00", "2026-11-24T20:23:30+00:00"),
    ],
)
def test_paths_are_cut_to_names(text: str, shown: str) -> None:
    run = public_run({"command": text, "environment": {"a": text}, "problems": [text]})
    assert run == {"command": shown, "environment": {"a": shown}, "problems": [shown]}


def test_the_record_of_the_ledger_is_published_as_it_is(run: dict, ledger: Ledger) -> None:
    public = public_run({**run, "simulation": "a/b <c>"})
    assert list(public) == list(run)
    assert public["simulation"] == "a/b <c>"
    for key in ledger.provenance.keys() - {"simulation"}:
        assert public[key] == run[key]
    assert public["seconds"] == run["seconds"]
    assert "build/" in run["command"]
    assert "/" not in json.dumps({key: public[key] for key in RUN})


@given(st.text() | st.from_regex(r"(data|javascript|/|:|;|<|&lt;|\s| |[a(]){1,9}", fullmatch=True))
@example("/")
@example("data:data :(")
@example("JavaScript :data:/(a;/")
@example("x" * 2000)
@example("\ud800\u202e\x1b")
def test_whatever_a_run_says_its_public_form_is_plain(text: str) -> None:
    run = {"command": text, "environment": {"a": text}, "problems": [text, [text]], "seconds": 1.5}
    public = public_run(run)
    for shown in (public["command"], public["environment"]["a"], *public["problems"][1]):
        assert shown.isprintable()
        assert not set(shown) & {"/", "<", ">", "&"}
    assert unclean(public) == []
    assert public_run(public) == public
