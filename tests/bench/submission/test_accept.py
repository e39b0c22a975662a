"""What is accepted: whole or not at all, and only what was checked."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from paths import RUNS
from planetcr_bench.api import evaluate
from planetcr_bench.errors import SubmissionError, UsageError
from planetcr_bench.leaderboard.entries import read_entries
from planetcr_bench.predictions.predict import predict
from planetcr_bench.submission.accept import accept, check_results
from planetcr_bench.submission.check import CheckConfig, CheckResult, check
from planetcr_bench.submission.pack import pack

CARD = RUNS / "mean-fill/card.toml"

pytestmark = pytest.mark.usefixtures("ledgers_alone")


@pytest.fixture(scope="module")
def entry(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An entry of the six scenes of the fake dataset; read only. Its predictions lie beside it."""
    folder = tmp_path_factory.mktemp("entry")
    predict("mean-fill", data, folder / "mine", quiet=True)
    return pack(folder / "mine", CARD, folder / "entry", data=data, workers=0, quiet=True)[0]


def checked(entry: Path, work: Path, **config: object) -> CheckResult:
    work.mkdir()
    return check(entry, work, CheckConfig(workers=0, quiet=True, **config))


@pytest.fixture(scope="module")
def result(entry: Path) -> CheckResult:
    return checked(entry, entry.parent / "work")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_an_accepted_entry_is_a_run_of_the_board(result: CheckResult, tmp_path: Path) -> None:
    out = accept(result, tmp_path / "board")
    assert out == tmp_path / "board/fake/mine"
    (entry,), problems = read_entries(tmp_path / "board")
    assert not problems
    assert (entry.status, entry.card) == ("claimed", result.card)
    assert entry.ledger.frame.equals(result.ledger.frame)
    assert json.loads((out / "status.json").read_text())["checked"] == result.checked


def test_of_what_was_sent_only_what_was_checked_remains(entry: Path, tmp_path: Path) -> None:
    entry = Path(shutil.copytree(entry, tmp_path / "entry"))
    (entry / "report.md").write_text("# We are the best\n<script>")
    card = (entry / "card.toml").read_text()
    (entry / "card.toml").write_text(f"# <script>alert(1)</script>\n{card}")
    out = accept(checked(entry, tmp_path / "work"), tmp_path / "board")
    for name, content in contents(out).items():
        assert b"script>" not in content, name


def test_pictures_of_a_sent_entry_are_not_taken_unless_drawn_here(
    simulated: Path, tmp_path: Path
) -> None:
    predict("copy-cloudy", simulated, tmp_path / "copy", quiet=True)
    options = {"data": simulated, "with_predictions": True, "workers": 0, "quiet": True}
    entry, *_ = pack(tmp_path / "copy", CARD, tmp_path / "entry", **options)
    claimed = checked(entry, tmp_path / "one", data=simulated, sample=2)
    assert not (accept(claimed, tmp_path / "board") / "samples.jpg").exists()
    verified = checked(entry, tmp_path / "two", data=simulated, sample=None)
    out = accept(verified, tmp_path / "board", replace_old=True)
    assert (out / "samples.jpg").read_bytes() == verified.samples != b""
    assert read_entries(tmp_path / "board")[0][0].status == "verified"


def test_a_run_of_the_same_name_is_not_replaced_unasked(
    result: CheckResult, tmp_path: Path
) -> None:
    out = accept(result, tmp_path / "board")
    before = contents(tmp_path / "board")
    with pytest.raises(SubmissionError, match="--replace"):
        accept(result, tmp_path / "board")
    assert contents(tmp_path / "board") == before
    out.with_name(".mine.entry.unfinished").mkdir()  # killed when all was in its place
    with pytest.raises(SubmissionError, match="--replace"):
        accept(other(result), tmp_path / "board")
    out.with_name(".mine.entry.unfinished").mkdir()
    assert accept(result, tmp_path / "board") == out
    assert contents(tmp_path / "board") == before


def test_a_verified_run_is_replaced_by_a_verified_one_alone(
    result: CheckResult, tmp_path: Path
) -> None:
    verified = replace(result, status="verified")
    out = accept(verified, tmp_path / "board")
    with pytest.raises(SubmissionError, match="got a claimed one; have all predictions sent"):
        accept(result, tmp_path / "board", replace_old=True)
    assert read_entries(tmp_path / "board")[0][0].status == "verified"
    accept(other(verified), tmp_path / "board", replace_old=True)
    status = json.loads((out / "status.json").read_text())
    (out / "status.json").write_text(json.dumps({**status, "ledger_sha256": "0" * 64}))
    accept(result, tmp_path / "board", replace_old=True)  # the board leaves that run out
    assert read_entries(tmp_path / "board")[0][0].status == "claimed"


def other(result: CheckResult) -> CheckResult:
    return replace(result, card=result.card.model_copy(update={"notes": "of another card"}))


def test_a_run_of_the_same_name_is_found_wherever_it_lies(
    result: CheckResult, tmp_path: Path
) -> None:
    """Two runs of one name are both left out by the board: nobody takes a run off it by a name."""
    first = accept(result, tmp_path / "board")
    deep = tmp_path / "board/more/fake/other-folder"
    deep.parent.mkdir(parents=True)
    first.rename(deep)
    with pytest.raises(SubmissionError, match="other-folder"):
        accept(other(result), tmp_path / "board")
    assert accept(result, tmp_path / "board", replace_old=True) == deep
    entries, problems = read_entries(tmp_path / "board")
    assert ([entry.folder for entry in entries], problems) == (["more/fake/other-folder"], [])
    shutil.copytree(deep, tmp_path / "board/again")
    with pytest.raises(SubmissionError, match="found several"):
        accept(result, tmp_path / "board", replace_old=True)


def test_what_lies_beside_a_run_is_not_lost_with_it(result: CheckResult, tmp_path: Path) -> None:
    out = accept(result, tmp_path / "board")
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="found more"):
        accept(result, tmp_path / "board", replace_old=True)
    assert (out / "notes.txt").read_text() == "mine"


def test_only_the_run_itself_is_replaced(result: CheckResult, tmp_path: Path) -> None:
    out = accept(result, tmp_path / "board")
    run = out / "run.json"
    run.write_text(run.read_text().replace('"mine"', '"other"'))
    with pytest.raises(UsageError, match="found more"):
        accept(result, tmp_path / "board", replace_old=True)


def test_a_run_is_no_folder_of_runs(
    result: CheckResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = accept(result, tmp_path / "board")
    other = run.rename(run.with_name("other"))
    (other / "ledger.parquet").unlink()
    monkeypatch.chdir(other)
    for results in (Path(), other):
        with pytest.raises(UsageError, match="is a run itself"):
            check_results(tmp_path / "entry.zip", results)


def test_an_entry_is_accepted_apart_from_itself(entry: Path, tmp_path: Path) -> None:
    """The board would take a folder for a run; an archive may lie anywhere."""
    entry = Path(shutil.copytree(entry, tmp_path / "sent/entry"))
    for results in (entry, entry / "board", tmp_path / "sent", entry / "../../sent"):
        with pytest.raises(UsageError, match=r"apart from the entry|a run itself"):
            check_results(entry, results)
    check_results(entry, tmp_path / "board")
    check_results(tmp_path / "sent/entry.zip", tmp_path / "sent")


def test_a_status_does_not_outlive_its_ledger(
    result: CheckResult, entry: Path, data: Path, tmp_path: Path
) -> None:
    """Whoever evaluates other predictions into an accepted run does not inherit its status."""
    out = accept(replace(result, status="verified"), tmp_path / "board")
    options = {"data": data, "name": "mine", "quiet": True, "workers": 0}
    evaluate(entry.parent / "mine", tmp_path / "board", **options)
    assert read_entries(tmp_path / "board")[0][0].status == "verified"  # the very same ledger
    predict("copy-cloudy", data, tmp_path / "other", quiet=True)
    evaluate(tmp_path / "other", tmp_path / "board", **options)
    entries, (problem,) = read_entries(tmp_path / "board")
    assert not entries
    assert "got that of another one; accept the entry again, or delete this file" in problem
    (out / "status.json").unlink()
    assert read_entries(tmp_path / "board")[0][0].status == "claimed"


def test_what_stops_half_way_leaves_the_old_run(
    result: CheckResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = accept(result, tmp_path / "board")
    before = contents(tmp_path / "board")

    def stop(*_: object) -> None:
        raise OSError("no space left")

    for step in (
        "planetcr_bench.submission.accept.write_report",
        "planetcr_bench.submission.accept.write_json",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(step, stop)
            with pytest.raises(OSError, match="no space"):
                accept(result, tmp_path / "board", replace_old=True)
        assert contents(tmp_path / "board") == before
    staged = out.with_name(".mine.entry.unfinished")  # killed between the two moves
    (staged / "work").mkdir(parents=True)
    out.rename(staged / "work/old")
    accept(result, tmp_path / "board", replace_old=True)
    assert contents(tmp_path / "board").keys() == before.keys()
