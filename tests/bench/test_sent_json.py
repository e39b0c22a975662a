"""JSON from strangers: an object of finite numbers comes out as it is, all else is one refusal."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from planetcr_bench.errors import SubmissionError
from planetcr_bench.sent_json import DEEPEST, parse_object, read_object

MOST = 10_000_000
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=8,
)  # fmt: skip


def refusal(text: bytes, most: int = MOST) -> str:
    with pytest.raises(SubmissionError) as refused:
        parse_object(text, "run.json", most)
    assert refused.value.message.startswith("run.json: expected ")
    assert len(refused.value.message) < 300
    return refused.value.message


@settings(max_examples=40)
@given(st.dictionaries(st.text("abc"), VALUES, max_size=3))
def test_an_object_comes_out_as_it_is(value: dict) -> None:
    for ascii_only in (False, True):
        text = json.dumps(value, ensure_ascii=ascii_only).encode()
        assert parse_object(text, "run.json", MOST) == value


def test_a_file_is_read_up_to_its_last_byte(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(b'{"a": 1}')
    assert read_object(path, 8) == {"a": 1}
    with pytest.raises(SubmissionError, match=r"run\.json: expected at most 7 bytes"):
        read_object(path, 7)


def test_of_a_file_that_is_too_large_little_is_read() -> None:
    with pytest.raises(SubmissionError, match="at most 1000 bytes"):
        read_object(Path("/dev/zero"), 1000)


@pytest.mark.parametrize("name", ["none.json", "folder", "x" * 300, "none/run.json"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SubmissionError, match=r"cannot be read \("):
        read_object(tmp_path / name, MOST)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 1} {}',
        b'{"a": "\n"}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b"\x80\x04K\x01.",
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-32-le"),
        '{"a": 1}'.encode("utf-8-sig"),
    ],
)
def test_what_is_no_json_in_utf_8_is_refused(text: bytes) -> None:
    assert "expected JSON, cannot be read" in refusal(text)


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 400 + ".0"]
)
def test_a_number_that_is_not_finite_is_refused(number: str) -> None:
    for text in (f'{{"a": {number}}}', f'{{"a": [{{"b": {number}}}]}}', number):
        assert "is no finite number" in refusal(text.encode())


def test_an_integer_of_thousands_of_digits_is_refused() -> None:
    assert "digits" in refusal(b'{"a": ' + b"9" * 5000 + b"}")
    assert "digits" in refusal(b'{"a": -' + b"9" * 1_000_000 + b"}")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[]", "list"),
        ('["manifest", "files"]', "list"),
        ('"text"', "str"),
        ("1", "int"),
        ("1.5", "float"),
        ("true", "bool"),
        ("null", "NoneType"),
    ],
)
def test_what_is_no_object_is_refused(text: str, kind: str) -> None:
    assert refusal(text.encode()) == f"run.json: expected an object, got {kind}"


@pytest.mark.parametrize("depth", [DEEPEST, 400, 900, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    refusal(b'{"a": ' + b"[" * depth + b"]" * depth + b"}")
    refusal(b'{"a": ' * depth + b"{}" + b"}" * depth)
    refusal(b'{"a": ' + b"[" * depth)


def test_nesting_up_to_the_limit_passes() -> None:
    lists = DEEPEST - 1
    value = parse_object(b'{"a": ' + b"[" * lists + b"]" * lists + b"}", "run.json", MOST)
    assert repr(value).count("[") == lists


def test_of_a_key_that_is_given_twice_the_last_value_counts() -> None:
    assert parse_object(b'{"a": 1, "a": [2]}', "run.json", MOST) == {"a": [2]}


@given(st.binary() | VALUES.map(json.dumps).map(str.encode))
@example(b'{"a": "\\ud800"}')
@example(b'{"": null}')
def test_any_bytes_are_an_object_or_refused(text: bytes) -> None:
    try:
        value = parse_object(text, "run.json", 200)
    except SubmissionError:
        return
    assert isinstance(value, dict)
    assert len(text) <= 200
    json.dumps(value, allow_nan=False)


@given(st.text("-+.0123456789eE", min_size=1))
def test_any_number_is_finite_or_refused(number: str) -> None:
    try:
        value = parse_object(f'{{"a": {number}}}'.encode(), "run.json", MOST)["a"]
    except SubmissionError:
        return
    assert math.isfinite(value)
    assert value == type(value)(number)
