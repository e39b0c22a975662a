"""What is whole is shown, what is broken is named, and nothing is half of both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from boards import make_card, put
from ledgers import make_ledger
from planetcr_bench.errors import LedgerError
from planetcr_bench.leaderboard.entries import read_entries


def test_entries_come_with_card_and_status_in_the_order_of_their_folders(tmp_path: Path) -> None:
    put(tmp_path, make_ledger("b"), card=make_card("Bee", sar=True), status="verified")
    put(tmp_path, make_ledger("a"))
    entries, problems = read_entries(tmp_path)
    assert problems == []
    assert [(entry.name, entry.method, entry.status) for entry in entries] == [
        ("a", "a", "claimed"),
        ("b", "Bee", "verified"),
    ]


def spoil_ledger(folder: Path) -> None:
    data = bytearray((folder / "ledger.parquet").read_bytes())
    data[len(data) // 3] ^= 255
    (folder / "ledger.parquet").write_bytes(bytes(data[: len(data) // 2]))


def swap_run(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "complete": False}))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_ledger, "cannot be read"),
        (swap_run, "expected complete as in ledger.parquet"),
        (lambda folder: (folder / "run.json").unlink(), "did not finish"),
        (lambda folder: (folder / "ledger.parquet").unlink(), "found none"),
        (lambda folder: (folder / "run.json").write_text("{"), "expected JSON"),
        (lambda folder: (folder / "run.json").write_bytes(b"\xff"), "expected text in UTF-8"),
        (lambda folder: (folder / "run.json").write_text("[]"), "expected an object"),
        (lambda folder: (folder / "card.toml").write_text("methd = 1"), "method"),
        (lambda folder: (folder / "status.json").write_text('{"status": "best"}'), "'best'"),
        (
            lambda folder: (folder / "status.json").write_text('{"status": "verified"}'),
            "of another one",
        ),
        (lambda folder: (folder / "samples.jpg").write_text("<svg>"), "expected a JPEG"),
    ],
)
def test_a_broken_folder_is_named_and_left_out(tmp_path: Path, spoil, reason) -> None:
    put(tmp_path, make_ledger("good"))
    folder = put(tmp_path, make_ledger("broken"))
    spoil(folder)
    entries, problems = read_entries(tmp_path)
    assert [entry.name for entry in entries] == ["good"]
    assert len(problems) == 1
    assert str(folder) in problems[0]
    assert reason in problems[0]


def test_two_runs_of_one_name_in_a_track_are_both_left_out(tmp_path: Path) -> None:
    put(tmp_path / "x", make_ledger("same"))
    put(tmp_path / "y", make_ledger("same", seed=1))
    put(tmp_path / "y", make_ledger("same", track="other"))
    entries, problems = read_entries(tmp_path)
    assert [entry.run["track"] for entry in entries] == ["other"]
    assert "expected one run same in track fake" in problems[0]


def test_unfinished_runs_are_no_entries(tmp_path: Path) -> None:
    put(tmp_path, make_ledger("good"))
    put(tmp_path / ".hidden", make_ledger("other"))
    assert len(read_entries(tmp_path)[0]) == 1


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no such folder"):
        read_entries(tmp_path / "none")
