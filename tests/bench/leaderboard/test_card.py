"""Test that valid cards pass and all faults of others are named at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w

from boards import make_card
from planetcr_bench.errors import SubmissionError
from planetcr_bench.leaderboard.card import LARGEST_CARD, TEMPLATE, EntryCard, read_entry_card

GOOD = {
    "method": "Align-CR (ours)",
    "authors": ["Åsa Öberg", "李雷"],
    "licence": "Apache-2.0",
    "year": 2026,
    "inputs": ["optical", "sar"],
    "training_data": "training split of sim-v1",
    "extra_data": "ImageNet weights of the encoder",
    "hardware": "one H100, 9 hours",
    "paper": "Clouds: a survey of what is under them",
    "code": "https://example.org/code?a=1&b=2",
    "parameters": 42_000_000,
    "bibtex": "@misc{key,\n  title = {Clouds {\\&} more},\n}",
}


def read(folder: Path, entries: dict) -> EntryCard:
    path = folder / "card.toml"
    path.write_text(tomli_w.dumps(entries), encoding="utf-8")
    return read_entry_card(path)


def test_a_valid_card_is_read_as_it_is(tmp_path: Path) -> None:
    card = read(tmp_path, GOOD)
    assert card.authors == ("Åsa Öberg", "李雷")
    assert (card.inputs, card.macs, card.notes) == (("optical", "sar"), None, "")


def test_the_card_of_the_tests_is_valid(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(make_card("x"))
    assert read_entry_card(tmp_path / "card.toml").method == "x"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("method", "<b>Best</b>", "looks like HTML"),
        ("hardware", "<img src=x onerror=alert(1)>", "looks like HTML"),
        ("bibtex", "@misc{a, note = {<script>alert(1)</script>}}", "looks like HTML"),
        ("notes", "&lt;script&gt;", "looks like HTML"),
        ("code", "javascript:alert(1)", "begins with https"),
        ("paper", "javascript:alert(1)", "begins with https"),
        ("code", "ftp://example.org", "begins with https"),
        ("code", "example", "begins with https"),
        ("code", "https://[::1", "begins with https"),
        ("paper", "file:/etc/passwd", "begins with https"),
        ("authors", ["a\u202eb"], "control characters"),
        ("authors", ["x\x1b[31m"], "control characters"),
        ("authors", "me", "expected a list"),
        ("authors", [], "expected 1 to 100 of them, each once, got []"),
        ("method", "x" * 61, "at most 60"),
        ("method", "../up", "letters, digits"),
        ("method", " ", "got none"),
        ("year", "2026", "a whole number"),
        ("year", True, "a whole number"),
        ("year", 3000, "at most 2100"),
        ("inputs", ["optical", "dem"], "'optical' or 'sar', got 'dem'"),
        ("inputs", ["sar", "sar"], "each once"),
        ("inputs", [["sar"]], "'optical' or 'sar', got ["),
        ("parameters", -1, "at least 0"),
        ("parameters", 1.5, "whole number"),
        ("bibtex", "@misc{a, title = {open}", "braces closed"),
        ("bibtex", "see paper", "one BibTeX entry"),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, key: str, value: object, reason: str) -> None:
    with pytest.raises(SubmissionError) as refused:
        read(tmp_path, {**GOOD, key: value})
    problem = refused.value.message
    assert f"card.toml: {key}" in problem
    assert reason in problem


def test_every_error_is_listed_at_once_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError) as refused:
        read(tmp_path, {"methd": "x", "year": 1, "authors": ["a"]})
    text = str(refused.value)
    assert "unknown key 'methd'; did you mean 'method'?" in text
    for name in ("method", "licence", "inputs", "training_data", "extra_data", "hardware"):
        assert f"{name}: expected this key, found none" in text
    assert "year: expected a number of at least 1970" in text


@pytest.mark.parametrize("content", [b"\xff", b"a = [", b"# " + b"x" * LARGEST_CARD])
def test_anything_but_a_card_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "card.toml").write_bytes(content)
    with pytest.raises(SubmissionError, match=r"card\.toml: "):
        read_entry_card(tmp_path / "card.toml")


def test_the_template_is_the_same_in_every_encoding_of_a_terminal() -> None:
    assert TEMPLATE.isascii()
