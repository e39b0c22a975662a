"""Test that untrusted files are read as by other readers, or refused."""

from __future__ import annotations

import io
import json
import os
import resource
import socket
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from planetcr_bench.errors import BenchError, SubmissionError
from planetcr_bench.utils import untrusted
from planetcr_bench.utils.untrusted import (
    check_regular,
    npy_header,
    open_regular,
    parse_json,
    parse_toml,
    printable,
    read_bytes,
    read_json,
    read_npy,
    read_text,
    read_toml,
)

SHORT = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def refusal(call: Callable[..., object], *arguments: object, **options: object) -> str:
    """The one short line, free of control characters, that a call refuses with."""
    with pytest.raises(SubmissionError) as refused:
        call(*arguments, **options, error=SubmissionError)
    assert not refused.value.problems
    assert len(refused.value.message) < 500
    assert refused.value.message.isprintable()
    return refused.value.message


# --- Kinds of files ---------------------------------------------------------------------------


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link_to_fifo(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_terminal(path: Path) -> None:
    path.symlink_to("/dev/tty")


def folder(path: Path) -> None:
    path.mkdir()


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nothing")


NO_FILES = [
    fifo, link_to_fifo, link_to_zeros, link_to_terminal, folder, unix_socket, link_to_itself,
    link_to_nothing,
]  # fmt: skip
READERS = [read_bytes, read_text, read_toml, read_json, read_npy, npy_header]


@pytest.mark.parametrize("make", NO_FILES)
def test_anything_but_a_regular_file_is_refused_at_once(
    make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    make(Path("file"))
    for read in READERS:
        message = refusal(read, Path("file"))
        assert message.startswith("file: ")
        assert "expected a regular file, got a" in message or "cannot be read" in message
    refusal(check_regular, Path("file"), 10)


def test_missing_files_and_impossible_names_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(read_bytes, tmp_path / "none")
    refusal(read_bytes, tmp_path / "none\0")
    refusal(read_bytes, tmp_path / ("x" * 300))
    refusal(read_bytes, "lone \ud800")


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "link") == b"abc"


def test_a_file_is_read_up_to_its_last_byte_and_not_further(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345678")
    assert read_bytes(path, 8) == b"12345678"
    assert "expected at most 7 bytes, got 8" in refusal(read_bytes, path, 7)
    assert "expected at most 7 bytes, got 8" in refusal(check_regular, path, 7)


def test_a_file_that_claims_to_be_empty_is_not_read_without_end() -> None:
    path = "/proc/self/maps"  # a regular file of no size, as its system says
    if not Path(path).exists():
        pytest.skip("no /proc here")
    assert "expected at most 10 bytes, got more" in refusal(read_bytes, path, 10)


def test_a_file_swapped_for_a_pipe_after_it_was_looked_at_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    plain = os.open
    monkeypatch.setattr(os, "open", lambda _path, flags: plain(tmp_path / "pipe", flags))
    assert "expected a regular file" in refusal(open_regular, tmp_path / "file", 10)


# --- Text -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le bom", "utf-16-be bom"]
)
def test_text_is_read_in_every_encoding_with_a_byte_order_mark(encoding: str) -> None:
    name, _, bom = encoding.partition(" ")
    text = ("\ufeff" if bom else "") + 'name = "Bäume 木"\n'
    assert parse_toml(text.encode(name), "card.toml") == {"name": "Bäume 木"}
    text = ("\ufeff" if bom else "") + '{"name": "Bäume 木"}'
    assert parse_json(text.encode(name), "run.json") == {"name": "Bäume 木"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'a = "B\xe4ume"', "line 1 has the byte 0xe4"),
        (b'\xef\xbb\xbfa = 1\nb = "\xe4"', "line 2 has the byte 0xe4"),
        (b"\xff\xfea", "line 1 has the byte 0x61"),
        ("a = 1".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ("a = 1".encode("utf-32"), "TOML"),
        (b"\xff", "line 1 has the byte 0xff"),
        (b"\xed\xa0\x80 = 1", "line 1 has the byte 0xed"),  # a lone surrogate
    ],
)
def test_text_in_another_encoding_is_refused_with_its_line(data: bytes, reason: str) -> None:
    assert reason in refusal(parse_toml, data, "card.toml")


@pytest.mark.parametrize(
    "name",
    ["a\x1b[2Jb", "a\nb", "a\rb", "\u202egpj.exe", "\udcff", "a\x07", "\x9b31m", "\u2028",
     "\x00", "\x7f", "\u200b", "\ufeff"],
)  # fmt: skip
def test_an_untrusted_name_is_printed_without_control_characters(name: str) -> None:
    shown = printable(f"[red]ä木 {name}")
    assert shown.isprintable()
    assert shown.startswith("[red]ä木 ")
    assert shown.encode("utf-8")


# --- TOML -------------------------------------------------------------------------------------

WORDS = st.text("abc\"'\\[]{}.,=#\n\t é木", max_size=8)
VALUES = st.recursive(
    st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | WORDS
    | st.datetimes() | st.dates() | st.times(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@SHORT
@given(st.dictionaries(WORDS, VALUES, max_size=4), st.booleans())
def test_toml_is_read_as_the_standard_library_reads_it(value: dict, lines: bool) -> None:
    text = tomli_w.dumps(value, multiline_strings=lines)
    assert parse_toml(text.encode(), "card.toml") == tomllib.loads(text)


@SHORT
@given(st.lists(st.sampled_from([
    "a", "b", ".", "=", "1", "\"", "'", '"""', "'''", "#", "\n", "\\", "[", "]", "{", "}", ",",
    " ", "0x1f", "1.5", "é",
]), max_size=25).map("".join))  # fmt: skip
@example('a = """b""""')
@example("a = '''b'''''")
def test_every_short_text_is_read_as_the_standard_library_reads_it(text: str) -> None:
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        refusal(parse_toml, text, "card.toml")
        return
    assert parse_toml(text, "card.toml") == expected


MANY = 30_000


@pytest.mark.parametrize(
    "text",
    [
        'a = "' + "[" * MANY + '"',
        "a = '" + "{" * MANY + "'",
        'a = """\n' + "a.b = [\n" * MANY + '"""',
        "a = '''\n" + '" [ {' * MANY + "'''",
        "# " + "[" * MANY + ' it\'s """ so\na = 1',
        'a = "' + "x." * MANY + '"',
        'a = "' + "9" * MANY + '"',
        '"' + ".".join("a" * MANY) + '" = 1',
        'a = "\\"' + "[" * MANY + '"',
        'a = """b""""  # ' + "[" * MANY,
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 = 1",
        "a = 1.00000000000000000000000000000000000000000000000000000000000000000001",
        "a = 1979-05-27T07:32:00.999999-07:00",
        "a = 123456789012345678901234567890",
        "a = 0x3fffffffffffffff",
        "a = [" + "[1, 2], " * 2000 + "]",
        "\n".join(f"[a.b{number}.c]\nd = [1, 2]" for number in range(2000)),
    ],
    ids=lambda text: text[:12],
)
def test_a_text_that_looks_like_a_bomb_only_in_its_strings_is_read(text: str) -> None:
    assert parse_toml(text, "card.toml") == tomllib.loads(text)


SIZE = 200_000
TOML_BOMBS = {
    "dotted key": "a." * (SIZE // 2) + "a = 1",
    "quoted dotted key": '"a".' * (SIZE // 4) + "a = 1",
    "spaced dotted key": "a . " * (SIZE // 4) + "a = 1",
    "dotted table": "[" + "a." * (SIZE // 2) + "a]",
    "many dotted keys": "\n".join(f"k{i}.{'.'.join('a' * 45)} = 1" for i in range(SIZE // 100)),
    "nested lists": "a = " + "[" * (SIZE // 2) + "]" * (SIZE // 2),
    "nested tables": "a = " + "{a = " * (SIZE // 5) + "1" + "}" * (SIZE // 5),
    "nested behind four quotes": 'x = ["""a"""",' + "[" * SIZE + "]" * SIZE + "]",
    "nested behind five quotes": "x = ['''a''''',\n" + "[" * SIZE + "]" * SIZE + "]",
    "nested behind a comment": "x = [ # ' \"\"\"\n" + "[" * SIZE + "]" * SIZE + "]",
    "nested in parts": "[" + ".".join("a" * 40) + "]\n" + ".".join("a" * 40) + " = 1",
    "wide table": "a = {" + ", ".join(f"k{i} = 1" for i in range(SIZE // 9)) + "}",
    "keys": "\n".join(f"k{i} = 1" for i in range(SIZE // 9)),
    "tables": "\n".join(f"[k{i}]" for i in range(SIZE // 8)),
    "tables of one list": "[[a]]\n" * (SIZE // 6),
    "numbers": "a = [" + "1," * (SIZE // 2) + "]",
    "lists": "a = [" + "[]," * (SIZE // 3) + "]",
    "integer": "a = " + "9" * SIZE,
    "integer of 5,000 digits": "a = " + "9" * 5000,
    "integer of 31 digits": "a = " + "9" * 31,
    "list of an integer of 31 digits": "a = [[-" + "9" * 31 + "]]",
    "hexadecimal integer": "a = 0x" + "f" * SIZE,
    "hexadecimal integer of 100 digits": "a = 0x" + "f" * 100,
    "octal integer": "a = 0o" + "7" * SIZE,
    "binary integer": "a = 0b" + "1" * 500,
    "underscores": "a = " + "1_" * SIZE + "1",
    "float": "a = 1." + "1" * SIZE,
    "exponent": "a = 1e" + "1" * SIZE,
    "word": "a" * SIZE,
    "unclosed strings": '"""' * (SIZE // 3),
    "unclosed lines": '"\n' * (SIZE // 2),
    "lone surrogate": 'a = "\\ud800"',
    "zero": "a = \0",
}  # fmt: skip


@pytest.mark.parametrize("name", TOML_BOMBS)
def test_a_toml_bomb_is_one_short_refusal(name: str) -> None:
    assert "TOML" in (told := refusal(parse_toml, TOML_BOMBS[name], "card.toml")) or "most" in told


JSON_BOMBS = {
    "nested lists": '{"a":' + "[" * SIZE + "]" * SIZE + "}",
    "nested objects": '{"a":' * SIZE + "1" + "}" * SIZE,
    "51 lists": '{"a":' + "[" * 51 + "]" * 51 + "}",
    "900 lists": '{"a":' + "[" * 900 + "]" * 900 + "}",
    "integer": '{"a": ' + "9" * SIZE + "}",
    "integer of 31 digits": '{"a": -' + "9" * 31 + "}",
    "infinity": '{"a": Infinity}',
    "nan": '{"a": [NaN]}',
    "too large a float": '{"a": 1e999}',
    "too long a float": '{"a": ' + "9" * SIZE + ".0}",
    "lone surrogate": '{"a": "\\ud800"}',
    "lone surrogate in a key": '{"a": [{"\\udcff": 1}]}',
    "list": "[]",
    "nothing": "",
    "half": '{"a": ',
    "two": "{} {}",
    "minus": '{"a": ' + "-" * SIZE + "}",
}


@pytest.mark.parametrize("name", JSON_BOMBS)
def test_a_json_bomb_is_one_short_refusal(name: str) -> None:
    message = refusal(parse_json, JSON_BOMBS[name], "run.json")
    assert message.startswith("run.json: expected ")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**29), 10**29)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@SHORT
@given(st.dictionaries(WORDS, JSON_VALUES, max_size=4), st.booleans())
def test_json_is_read_as_it_was_written(value: dict, ascii_only: bool) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode(), "run.json") == value


def test_the_deepest_allowed_nesting_is_read() -> None:
    lists = "[" * 49 + "]" * 49
    assert parse_json('{"a":' + lists + "}", "run.json")
    assert parse_toml("a = " + lists, "card.toml")
    assert parse_toml(".".join("a" * 50) + " = 1", "card.toml")


MEASURED = """
import resource, sys, time
from planetcr_bench.errors import BenchError
from planetcr_bench.utils.untrusted import parse_json, parse_toml
before, worst = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
texts = {
    parse_toml: [
        "a=0x" + "f" * 1_999_990, "a=1." + "1" * 1_999_990, "a." * 999_990 + "a=1",
        "a=[" + "[]," * 600_000 + "]", "a=" + "1_" * 999_990 + "1", '"\\n' * 999_990,
        "\\n".join(f"k{i}." + ".".join("a" * 45) + "=1" for i in range(200)),
        "[" + ".".join("a" * 49) + "]\\n"
        + "\\n".join(".".join("b" * 48) + f".c{i}=1" for i in range(400)),
        'a="' + "\\\\n" * 999_990 + '"', 'a = \\"\\"\\"' + '""x' * 600_000 + '\\"\\"\\"',
    ],
    parse_json: [
        '{"a":[' + "[]," * 660_000 + "1]}", '{"a":[' + '{"":0},' * 280_000 + "1]}",
        '{"a":[' + ",".join("[" * 45 + "]" * 45 for _ in range(20_000)) + "]}",
        '{"a":[' + "1," * 900_000 + "1]}",
    ],
}
for parse, some in texts.items():
    for text in some:
        assert len(text) <= 2_000_000
        begun = time.process_time()
        try:
            parse(text.encode(), "x")
        except BenchError:
            pass
        worst = max(worst, time.process_time() - begun)
print(worst, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_the_largest_text_takes_a_second_and_a_hundred_megabytes_at_most() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True
    )
    seconds, megabytes = map(float, done.stdout.split())
    assert seconds < 4  # one on a machine that has nothing else to do
    assert megabytes < 200  # 100 and what the texts themselves take, twice


# --- .npy -------------------------------------------------------------------------------------


@SHORT
@given(
    npst.arrays(
        npst.boolean_dtypes() | npst.integer_dtypes() | npst.unsigned_integer_dtypes()
        | npst.floating_dtypes() | npst.complex_number_dtypes(),
        npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    ),
    st.booleans(),
    st.sampled_from([(1, 0), (2, 0), (3, 0)]),
)  # fmt: skip
def test_an_array_is_read_as_numpy_reads_it(
    tmp_path: Path, array: np.ndarray, fortran: bool, version: tuple[int, int]
) -> None:
    path = tmp_path / "array.npy"
    with path.open("wb") as stream:
        np.lib.format.write_array(
            stream, np.asarray(array, order="F" if fortran else "C"), version=version
        )
    ours, theirs = read_npy(path), np.load(path)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    assert ours.tobytes("C") == theirs.tobytes("C")
    assert npy_header(path)[:2] == (theirs.dtype, theirs.shape)


def npy(header: str, values: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + values


def saved(array: object, **options: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def as_npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def as_zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", b"b")
    return stream.getvalue()


def described(descr: str, shape: str = "(2,)", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}\n"


WHOLE = saved(np.arange(12, dtype=np.uint16).reshape(3, 4))
NPY_KINDS: dict[str, tuple[bytes, str]] = {
    "npz": (as_npz(a=np.zeros(3)), "got a zip"),
    "zip": (as_zip(), "got a zip"),
    "nothing": (b"", "numpy.save"),
    "text": (b"not an array at all", "numpy.save"),
    "magic alone": (b"\x93NUMPY", "numpy.save"),
    "cut header": (WHOLE[:40], "cannot be read"),
    "cut values": (WHOLE[:-1], "expected 24 bytes of values"),
    "more values": (WHOLE + b"\0", "got 25"),
    "version 9": (b"\x93NUMPY\x09\x00" + WHOLE[8:], "numpy.save"),
    "objects": (saved(np.array([{}], object), allow_pickle=True), "expected numbers"),
    "structured": (saved(np.zeros(2, [("a", "u2"), ("b", "f4")])), "expected numbers"),
    "text in it": (saved(np.array(["a"])), "expected numbers"),
    "bytes in it": (saved(np.array([b"a"])), "expected numbers"),
    "dates in it": (saved(np.array(["2020-01-01"], "M8[D]")), "expected numbers"),
    "tuple dtype": (npy(described("('<u2', (2,))"), bytes(8)), "expected numbers"),
    "tuple dtype 2": (npy(described("('<u2', {})"), bytes(4)), "header is broken"),
    "comma dtype": (npy(described("'u2,u2'"), bytes(8)), "expected numbers"),
    "number dtype": (npy(described("5"), bytes(4)), "header is broken"),
    "no dtype": (npy(described("None"), bytes(16)), "header is broken"),
    "unknown dtype": (npy(described("'<q9'"), bytes(4)), "header is broken"),
    "huge shape": (npy(described("'<u2'", "(4, 10**6, 10**6)")), "header is broken"),
    "huge plain shape": (npy(described("'<u2'", "(4, 10000, 20000)"), b"x"), "of values"),
    "empty huge shape": (npy(described("'<u2'", f"(0, {2**62}, {2**62})")), "header is broken"),
    "negative shape": (npy(described("'<u2'", "(-2, -2)"), bytes(8)), "header is broken"),
    "bool shape": (npy(described("'<u2'", "(True, 2)"), bytes(4)), "header is broken"),
    "list shape": (npy(described("'<u2'", "[2]"), bytes(4)), "header is broken"),
    "number shape": (npy(described("'<u2'", "2"), bytes(4)), "header is broken"),
    "float shape": (npy(described("'<u2'", "(2.0,)"), bytes(4)), "header is broken"),
    "nine axes": (npy(described("'<u2'", "(1,) * 9"), bytes(2)), "header is broken"),
    "ten axes": (npy(described("'<u2'", str((1,) * 10)), bytes(2)), "header is broken"),
    "order": (npy(described("'<u2'", "(2,)", "1"), bytes(4)), "header is broken"),
    "other keys": (npy("{'descr': '<u2', 'shape': (2,), 'x': 1}"), "header is broken"),
    "more keys": (
        npy(described("'<u2'").replace("}", ", 'x': 1}"), bytes(4)),
        "header is broken",
    ),
    "set": (npy("{1, 2}"), "header is broken"),
    "list": (npy("[1, 2]"), "header is broken"),
    "call": (npy("__import__('os').getpid()"), "header is broken"),
    "brackets": (npy("(" * 9000), "header is broken"),
    "minus": (npy("-" * 9000 + "1"), "header is broken"),
    "tildes": (npy("not " * 2000 + "1"), "header is broken"),
    "zero byte": (npy("{\0}"), "header is broken"),
    "long header": (npy(" " * 20_000 + described("'<u2'"), bytes(4)), "at most 10000 bytes"),
    "endless header": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 99, "at most 10000 bytes"),
    "no text": (npy("", version=b"\x03\x00") + b"\xff", "cannot be read"),
}


@pytest.mark.parametrize("name", NPY_KINDS)
@pytest.mark.filterwarnings("error")
def test_anything_but_an_array_of_numbers_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    content, reason = NPY_KINDS[name]
    (tmp_path / "a.npy").write_bytes(content)
    for read in (read_npy, npy_header):
        assert reason in refusal(read, tmp_path / "a.npy")


def test_a_header_that_promises_gigabytes_takes_none(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(npy(described("'<f8'", "(250_000, 1_000)"), b"x"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusal(read_npy, path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_sparse_file_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(npy(described("'<u2'", "(4, 30_000, 30_000)")))
    os.truncate(path, path.stat().st_size + 2 * 4 * 30_000**2)
    assert f"expected at most {untrusted.LARGEST_IMAGE:,} bytes" in refusal(read_npy, path)


def test_errors_are_of_the_requested_class(tmp_path: Path) -> None:
    with pytest.raises(BenchError) as refused:
        read_toml(tmp_path / "none.toml")
    assert type(refused.value) is BenchError


def test_reading_a_small_text_takes_no_time() -> None:
    begun = time.perf_counter()
    value: dict[str, Any] = {}
    for _ in range(20):
        value = parse_toml('a = 1\nb = "c"\n[d]\ne = [1, 2]', "card.toml")
    assert value["d"] == {"e": [1, 2]}
    assert time.perf_counter() - begun < 1
