"""Test reading and writing predictions.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from planetcr_bench.errors import PredictionError
from planetcr_bench.predictions.card import Card, read_card, write_card


def test_a_card_survives_the_disk(tmp_path: Path) -> None:
    card = Card(method='a "b" ü', split="test", scale=10_000, dataset="/d", fingerprint="f")
    write_card(tmp_path, card)
    assert read_card(tmp_path) == card
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.toml"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_card_from_windows_is_read(tmp_path: Path, encoding: str) -> None:
    text = 'method = "mine ü"\r\nscale = 10000\r\n'
    (tmp_path / "predictions.toml").write_bytes(text.encode(encoding))
    assert read_card(tmp_path) == Card(method="mine ü", scale=10_000)


def test_a_card_in_another_encoding_is_reported_as_one(tmp_path: Path) -> None:
    (tmp_path / "predictions.toml").write_bytes('method = "mine ü"'.encode("cp1252"))
    with pytest.raises(PredictionError, match="expected text in UTF-8, line 1 has the byte 0xfc"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scal = 1", "unknown key 'scal'; did you mean 'scale'"),
        ("zzz = 1", "unknown key 'zzz'; known are method"),
        ("scale = 0", "scale: expected a number above 0.0, got 0"),
        ("scale = true", "scale: expected a number, got true"),
        ('scale = "1"', "scale: expected a number, got '1'"),
        ("scale = nan", "scale: expected a finite number, got nan"),
        ("method = 3", "method: expected text"),
        ("= x", "cannot be read as TOML"),
    ],
)
def test_an_invalid_card_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "predictions.toml").write_text(text)
    with pytest.raises(PredictionError, match=message):
        read_card(tmp_path)


def test_a_missing_folder_is_an_error_and_a_missing_card_is_not(tmp_path: Path) -> None:
    assert read_card(tmp_path) == Card()
    with pytest.raises(PredictionError, match="found no such folder"):
        read_card(tmp_path / "none")
