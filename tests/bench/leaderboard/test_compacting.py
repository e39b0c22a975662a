"""Test that a board of compact ledgers shows the numbers of one of ledgers of scenes."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from boards import PackedArrays, make_card, put
from ledgers import copying_input, make_ledger, with_further
from planetcr_bench.cli.app import app
from planetcr_bench.errors import LedgerError, SubmissionError, UsageError
from planetcr_bench.leaderboard.compacting import compact_run
from planetcr_bench.leaderboard.entries import read_entries
from planetcr_bench.results.compact import CompactLedger
from planetcr_bench.results.files import COMPACT, LEDGER
from planetcr_bench.results.ledger import read_ledger, write_ledger
from planetcr_bench.submission.archive import open_entry
from planetcr_bench.submission.entry import read_sent_ledger

pytestmark = pytest.mark.usefixtures("ledgers_decoded_here")


def command(*arguments: object):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs in ``full`` and in ``small``, one of which copies its input; read only."""
    folder = tmp_path_factory.mktemp("results")
    runs = [
        put(folder / "full", with_further(make_ledger("plain", segmenters=("one",)))),
        put(
            folder / "full",
            with_further(make_ledger("carded", seed=1)),
            card=make_card("Carded"),
            status="verified",
        ),
        put(
            folder / "full",
            copying_input(with_further(make_ledger("baseline", seed=2, segmenters=("one",)))),
        ),
        put(folder / "full", make_ledger("part", scenes=4, complete=False, expected_scenes=10)),
    ]
    (runs[0] / "samples.jpg").write_bytes(b"\xff\xd8\xff and so on")
    assert command("compact", *runs, "--out", folder / "small").exit_code == 0
    return folder


def board(results: Path, out: Path) -> tuple[dict, dict]:
    """``leaderboard.json``, and the data of the page."""
    assert command("leaderboard", results, "--out", out).exit_code == 0
    page = (out / "index.html").read_text()
    data = re.search(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    return json.loads((out / "leaderboard.json").read_text()), json.loads(data.group(1))


def decoded(data: dict, value: object) -> object:
    """The data of a page with the sums of its arrays in place of their keys.

    What rounding takes from one cell and gives to another may hang on the last digit of a sum.
    """
    arrays = PackedArrays(data["arrays"]["facts"], data["arrays"]["text"])

    def replaced(value: object) -> object:
        if isinstance(value, dict):
            return {key: replaced(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [replaced(inner) for inner in value]
        known = isinstance(value, str) and value in arrays.facts
        return float(arrays[value].sum()) if known else value

    return replaced(value)


def assert_close(first: object, second: object, within: float = 1e-6) -> None:
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        first, second = list(first.values()), [second[key] for key in first]
    if isinstance(first, list):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_close(one, other, within)
    elif isinstance(first, float):
        assert second == pytest.approx(first, rel=within)
    else:
        assert first == second


@pytest.fixture(scope="module")
def full_board(results: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    """The board of the ledgers of scenes."""
    return board(results / "full", tmp_path_factory.mktemp("full"))


def test_the_board_is_the_same(
    results: Path, full_board: tuple[dict, dict], tmp_path: Path
) -> None:
    full, full_page = full_board
    small, small_page = board(results / "small", tmp_path / "small")
    assert_close(full, small)
    shown = [decoded(page, page["boards"]) for page in (full_page, small_page)]
    assert_close(*shown, within=1e-4)


def test_the_input_by_cells_is_of_a_run_that_copies_it(
    results: Path, full_board: tuple[dict, dict], tmp_path: Path
) -> None:
    _, full = full_board
    for board_of_all in full["boards"][:2]:  # of the two protocols; others have published rows
        assert "input" in board_of_all["cells"]["sums"]
        assert "cloudy" in board_of_all["segmenters"]["one"]["predicted"]
    shutil.copytree(results / "small", tmp_path / "small")
    shutil.rmtree(tmp_path / "small/fake/baseline")
    _, without = board(tmp_path / "small", tmp_path / "site")
    for board_of_rest in without["boards"][:2]:
        assert "input" not in board_of_rest["cells"]["sums"]
        assert set(board_of_rest["segmenters"]["one"]["predicted"]) == {"clear", "plain"}


def test_forms_are_mixed_on_one_board(
    results: Path, full_board: tuple[dict, dict], tmp_path: Path
) -> None:
    forms = {"baseline": "small", "carded": "small", "part": "small", "plain": "full"}
    for name, form in forms.items():
        (tmp_path / "mixed/fake").mkdir(parents=True, exist_ok=True)
        source = results / form / "fake" / name
        for file in source.iterdir():
            target = tmp_path / "mixed/fake" / name / file.name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(file.read_bytes())
    mixed, _ = board(tmp_path / "mixed", tmp_path / "site")
    assert_close(full_board[0], mixed)


def test_a_compact_run_has_its_record_card_status_and_pictures(results: Path) -> None:
    entries, problems = read_entries(results / "small")
    assert problems == []
    assert all(isinstance(entry.ledger, CompactLedger) for entry in entries)
    assert [(entry.method, entry.status) for entry in entries] == [
        ("baseline", "claimed"),
        ("Carded", "verified"),
        ("part", "claimed"),
        ("plain", "claimed"),
    ]
    assert entries[3].samples.startswith("data:image/jpeg")
    files = {path.name for path in (results / "small/fake/plain").iterdir()}
    assert files == {COMPACT, "run.json", "samples.jpg"}


def test_maintainers_mark_runs_of_their_own_and_cards_stay(results: Path, tmp_path: Path) -> None:
    run = results / "full/fake/plain"
    target = tmp_path / "fake/plain"
    target.mkdir(parents=True)
    (target / "card.toml").write_text(make_card("Kept"))
    (target / "samples.jpg").write_bytes(b"old")
    options = ("--out", tmp_path, "--verified")
    assert command("compact", run, *options).exit_code == 0
    (entry,), problems = read_entries(tmp_path)
    assert (entry.method, entry.status, problems) == ("Kept", "verified", [])
    assert "scored by the maintainers" in (target / "status.json").read_text()
    assert (target / "samples.jpg").read_bytes() == (run / "samples.jpg").read_bytes()


def test_a_run_is_made_compact_again(results: Path, tmp_path: Path) -> None:
    run = results / "full/fake/plain"
    first = (compact_run(run, tmp_path) / COMPACT).read_bytes()
    assert (compact_run(run, tmp_path) / COMPACT).read_bytes() == first


def test_compact_refuses_what_is_no_ledger_of_scenes(results: Path, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="expected a results folder"):
        compact_run(tmp_path / "none", tmp_path)
    with pytest.raises(LedgerError, match=r"expected ledger\.parquet, the ledger of scenes"):
        compact_run(results / "small/fake/plain", tmp_path)
    with pytest.raises(UsageError, match="apart from ledgers of scenes"):
        compact_run(results / "full/fake/plain", results / "full")


@pytest.mark.parametrize("track", ["../../away", "/away", "a/b", ""])
def test_the_track_of_a_ledger_leads_nowhere_else(tmp_path: Path, track: str) -> None:
    run = put(tmp_path / "sent", make_ledger("plain"))
    ledger, record = read_ledger(run), json.loads((run / "run.json").read_text())
    table = pq.read_table(run / LEDGER)
    write_ledger(run / LEDGER, table, {**ledger.provenance, "track": track})
    (run / "run.json").write_text(json.dumps({**record, "track": track}))
    with pytest.raises(SubmissionError, match="planetcr-bench can have measured") as refusal:
        compact_run(run, tmp_path / "a/b/out")
    assert any("track" in line for line in refusal.value.problems)
    assert [path.name for path in tmp_path.iterdir()] == ["sent"]


def test_a_compact_ledger_is_left_out_if_it_is_broken(results: Path, tmp_path: Path) -> None:
    folder = compact_run(results / "full/fake/carded", tmp_path)
    data = bytearray((folder / COMPACT).read_bytes())
    (folder / COMPACT).write_bytes(data[: len(data) // 2])
    _, problems = read_entries(tmp_path)
    assert len(problems) == 1
    assert "cannot be read" in problems[0]
    other = compact_run(results / "full/fake/plain", tmp_path / "other")
    (folder / COMPACT).write_bytes((other / COMPACT).read_bytes())
    _, problems = read_entries(tmp_path)
    assert any("are of two runs" in problem for problem in problems)


def test_a_compact_ledger_of_another_ledger_is_left_out(results: Path, tmp_path: Path) -> None:
    folder = compact_run(results / "full/fake/plain", tmp_path)
    (folder / LEDGER).write_bytes((results / "full/fake/carded" / LEDGER).read_bytes())
    _, problems = read_entries(tmp_path)
    assert "got one of another ledger; delete one of the two" in problems[0]


def test_what_lies_beside_a_ledger_is_a_file(tmp_path: Path) -> None:
    folder = put(tmp_path, make_ledger("method"))
    os.mkfifo(folder / COMPACT)  # opening it would block for ever
    _, problems = read_entries(tmp_path)
    assert f"{COMPACT}: expected a regular file, got a FIFO" in problems[0]


def test_a_compact_ledger_is_not_submitted(results: Path, tmp_path: Path) -> None:
    folder = compact_run(results / "full/fake/carded", tmp_path)
    (folder / "status.json").unlink()
    with pytest.raises(SubmissionError) as refusal:
        open_entry(folder, None)
    assert any("a compact ledger cannot be checked" in line for line in refusal.value.problems)
    (folder / COMPACT).rename(folder / LEDGER)
    with pytest.raises(SubmissionError, match="got a compact one, which cannot be checked"):
        read_sent_ledger(folder / LEDGER)
    with pytest.raises(LedgerError, match="got a compact one"):
        read_ledger(folder / LEDGER)


@pytest.mark.usefixtures("nothing_is_drawn")
def test_reports_say_what_they_lack(results: Path, tmp_path: Path) -> None:
    small, full = results / "small/fake", results / "full/fake"
    assert command("report", small / "plain", "--out", tmp_path).exit_code == 0
    page = (tmp_path / "report.md").read_text()
    assert "*Worst and best scenes: needs the ledger of scenes; compact: plain.*" in page
    assert "optical thickness: needs" not in page
    runs = full / "plain", small / "carded"
    assert command("compare", *runs, "--full", "--out", tmp_path).exit_code == 0
    page = (tmp_path / "report.md").read_text()
    assert "*Worst and best scenes: needs the ledger of scenes; compact: carded.*" in page
    assert "**Worst and best scenes by PSNR, protocol full**" in page
