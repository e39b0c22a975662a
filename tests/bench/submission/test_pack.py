"""What is packed and what is accepted: whole or not at all, and only what was checked."""

from __future__ import annotations

import json
import os
import shutil
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from paths import RUNS
from planetcr_bench.api import evaluate
from planetcr_bench.errors import DatasetError, PredictionError, SubmissionError, UsageError
from planetcr_bench.evaluation import runner as measuring
from planetcr_bench.leaderboard.card import TEMPLATE, read_entry_card
from planetcr_bench.leaderboard.entries import read_entries
from planetcr_bench.predictions.predict import predict
from planetcr_bench.results.ledger import read_ledger
from planetcr_bench.submission import pack as submission
from planetcr_bench.submission.check import CheckConfig, CheckResult, check
from planetcr_bench.submission.entry import FILES
from planetcr_bench.submission.pack import accept, check_results, pack

CARD = RUNS / "mean-fill/card.toml"

pytestmark = pytest.mark.usefixtures("ledgers_alone")


@pytest.fixture(scope="module")
def mine(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions for the six scenes of the fake dataset; read only."""
    folder = tmp_path_factory.mktemp("made") / "mine"
    predict("mean-fill", data, folder, quiet=True)
    return folder


def packed(mine: Path, out: Path, data: Path, **options: object) -> Path:
    results = out.parent / "results"
    return pack(mine, CARD, out, results=results, data=data, workers=0, quiet=True, **options)[0]


def checked(entry: Path, work: Path, **scrutiny: object) -> CheckResult:
    work.mkdir()
    return check(entry, work, CheckConfig(workers=0, quiet=True, **scrutiny))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- Packing ----------------------------------------------------------------------------------


def test_an_entry_holds_card_manifest_ledger_record_and_report(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    out = packed(mine, tmp_path / "entry", data)
    assert contents(out).keys() == set(FILES)
    assert read_entry_card(out / "card.toml") == read_entry_card(CARD)
    ledger = read_ledger(out)
    assert ledger.frame.equals(read_ledger(tmp_path / "results/fake/mine").frame)
    for one in json.loads((out / "manifest.json").read_text())["files"]:
        assert one["bytes"] == (mine / one["name"]).stat().st_size
    report = (out / "report.md").read_text()
    assert "6 of 6 scenes" in report
    assert "](fig5.png)" not in report
    assert [path.name for path in tmp_path.iterdir()] in (
        ["entry", "results"],
        ["results", "entry"],
    )


def test_no_folder_of_this_machine_is_packed(mine: Path, data: Path, tmp_path: Path) -> None:
    command = ["planetcr-bench", "submit", str(mine), "--data", str(data)]
    out = packed(mine, tmp_path / "entry", data, with_predictions=True, command=command)
    for name, content in contents(out).items():
        assert str(tmp_path.parent).encode() not in content, name
        assert str(data.parent).encode() not in content, name
    assert json.loads((out / "run.json").read_text())["command"] == (
        "planetcr-bench submit mine --data data0"
    )


def test_images_are_packed_byte_for_byte_if_asked_for(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    out = packed(mine, tmp_path / "entry", data, with_predictions=True)
    images = {path.name: path.read_bytes() for path in mine.glob("*.tif")}
    sent = contents(out / "predictions")
    assert "dataset" not in sent.pop("predictions.toml").decode()
    assert sent == images


def test_images_of_any_name_that_is_taken_are_packed_by_their_scene(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    turned = tmp_path / "turned"
    for path in mine.glob("*.tif"):
        (turned / path.stem).mkdir(parents=True)
        shutil.copyfile(path, turned / path.stem / f"planet_cloudfree_{path.stem}.TIF")
    out = packed(turned, tmp_path / "entry", data, with_predictions=True)
    names = {path.name for path in (out / "predictions").glob("*.tif")}
    assert names == {path.name for path in mine.glob("*.tif")}


def test_images_that_mean_another_thing_without_the_file_beside_them_are_not_packed(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    turned = Path(shutil.copytree(mine, tmp_path / "turned"))
    first = min(turned.glob("*.tif"))
    beside = first.with_name(f"{first.name}.aux.xml")
    beside.write_text("<PAMDataset><Metadata/></PAMDataset>")
    packed(turned, tmp_path / "sound", data, with_predictions=True)
    bands = "".join(
        f'<PAMRasterBand band="{number}"><Description>{name}</Description></PAMRasterBand>'
        for number, name in enumerate(("red", "green", "blue", "nir"), 1)
    )
    beside.write_text(f"<PAMDataset>{bands}</PAMDataset>")
    with pytest.raises(SubmissionError, match="write these into the images") as refusal:
        packed(turned, tmp_path / "entry", data, with_predictions=True)
    assert first.name in refusal.value.problems[0]
    assert not (tmp_path / "entry").exists()


def test_an_archive_is_the_same_bytes_whenever_it_is_made(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    entry = packed(mine, tmp_path / "entry", data)
    submission._zip(entry, tmp_path / "one.zip", "entry")
    later = time.time() + 1e6
    for path in entry.rglob("*"):
        os.utime(path, (later, later))
        path.chmod(0o600)
    submission._zip(entry, tmp_path / "two.zip", "entry")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert sorted(archive.namelist()) == sorted(f"entry/{name}" for name in FILES)


def test_a_bad_card_is_refused_before_anything_is_measured(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "card.toml").write_text(TEMPLATE)
    with pytest.raises(SubmissionError, match="expected a card as") as refused:
        pack(mine, tmp_path / "card.toml", tmp_path / "e", results=tmp_path / "r", data=data)
    assert len(refused.value.problems) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["card.toml"]


def test_a_filled_template_is_a_card(tmp_path: Path) -> None:
    filled = TEMPLATE.replace('""', '"none"').replace("# paper", "paper")
    (tmp_path / "card.toml").write_text(filled)
    assert read_entry_card(tmp_path / "card.toml").paper == "none"
    whole = filled.replace('# code = "none"', 'code = "https://example.org"')
    lines = [line.removeprefix("# ") for line in whole.splitlines()]
    text = "\n".join(line for line in lines if not line.startswith(("Who", "Optional")))
    (tmp_path / "card.toml").write_text(text.replace("{…}", "{A}"))
    assert read_entry_card(tmp_path / "card.toml").bibtex.startswith("@article")


def test_an_entry_that_is_there_is_not_replaced_unasked(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    out = packed(mine, tmp_path / "entry", data)
    before = contents(out)
    with pytest.raises(SubmissionError, match="--replace"):
        packed(mine, out, data, with_predictions=True)
    assert contents(out) == before
    (out / ".DS_Store").touch()  # someone looked at it
    packed(mine, out, data, with_predictions=True, replace_old=True)
    assert (out / "predictions").is_dir()


@pytest.mark.parametrize("name", ["entry", "entry.zip"])
def test_an_entry_that_is_there_already_is_done(
    mine: Path, data: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that was killed when all was in its place must not fail the next time."""
    out = packed(mine, tmp_path / name, data)
    before = contents(out) if out.is_dir() else out.read_bytes()
    assert packed(mine, out, data) == out
    assert (contents(out) if out.is_dir() else out.read_bytes()) == before
    other = tmp_path / "other.toml"
    other.write_text(CARD.read_text().replace("make learn", "make it"))
    monkeypatch.setattr(submission, "evaluate", None)  # another card is told before any work
    with pytest.raises(SubmissionError, match="--replace"):
        pack(mine, other, out, data=data, workers=0, quiet=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "other.toml", "results"]


def test_without_results_nothing_but_the_entry_is_left(
    mine: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out, *_ = pack(mine, CARD, None, data=data, workers=0, quiet=True)
    assert out == Path("submissions/mine")
    assert contents(tmp_path).keys() == {f"submissions/mine/{name}" for name in FILES}


@pytest.mark.parametrize("kept", ["card.toml", "manifest.json", "ledger.parquet", "run.json"])
def test_a_folder_with_a_file_of_an_entry_and_more_is_never_replaced(
    mine: Path, data: Path, tmp_path: Path, kept: str
) -> None:
    out = packed(mine, tmp_path / "entry", data)
    (out / "thesis.txt").write_text("years")
    with pytest.raises(UsageError, match="found more"):
        packed(mine, out, data, replace_old=True)
    (tmp_path / "half").mkdir()
    shutil.copy(out / kept, tmp_path / "half")
    with pytest.raises(UsageError, match="found more"):
        packed(mine, tmp_path / "half", data, replace_old=True)
    assert (out / "thesis.txt").read_text() == "years"
    assert (tmp_path / "half" / kept).exists()


def test_predictions_are_never_replaced_by_their_entry(
    mine: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(shutil.copytree(mine, tmp_path / "own" / "preds"))
    before = contents(own)
    monkeypatch.chdir(own.parent)
    for out in (own, own.parent, own / "entry", Path("preds"), Path("preds/../preds")):
        with pytest.raises(UsageError, match="apart from the predictions"):
            packed(own, out, data, replace_old=True)
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere/deep")
    for out in (Path(), Path(".."), tmp_path / "elsewhere"):
        with pytest.raises(UsageError, match="which this one lies in"):
            packed(own, out, data, replace_old=True)
    assert contents(own) == before


def test_an_archive_is_replaced_by_an_archive_of_an_entry_alone(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos.zip"
    with zipfile.ZipFile(photos, "w") as archive:
        archive.writestr("photo.jpg", "the only one")
    (tmp_path / "no.zip").write_text("no archive")
    for path in (photos, tmp_path / "no.zip"):
        before = path.read_bytes()
        with pytest.raises(UsageError, match="found more"):
            packed(mine, path, data, replace_old=True)
        assert path.read_bytes() == before
    out = packed(mine, tmp_path / "entry.zip", data)
    assert packed(mine, out, data, replace_old=True) == out


def test_an_archive_that_holds_more_than_an_entry_is_not_replaced(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    out = packed(mine, tmp_path / "entry.zip", data, with_predictions=True)
    packed(mine, out, data, replace_old=True)
    whole = out.read_bytes()
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("entry/thesis.txt", "years")
    newer = bytearray(whole)
    newer[whole.index(b"PK\1\2") + 6] = 99  # the version of the format that it needs
    last = whole.rindex(b"PK\1\2")
    kept = {
        "another file": out.read_bytes(),
        "before it": b"years" + whole,
        "after it": whole[:-2] + b"\5\0years",
        "damaged list": whole[:last] + b"?" * 50 + whole[-22:],
        "damaged manifest": whole.replace(b"manifest.json", b"manifest.jsom", 1),
        "unknown version": bytes(newer),
    }
    for content in kept.values():
        out.write_bytes(content)
        with pytest.raises(UsageError, match="found more"):
            packed(mine, out, data, replace_old=True)
        assert out.read_bytes() == content
    out.write_bytes(whole)
    packed(mine, out, data, replace_old=True)


def test_a_pipe_is_not_waited_for(mine: Path, data: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(UsageError, match="found more"):
        packed(mine, tmp_path / "pipe.zip", data, replace_old=True)
    with pytest.raises(SubmissionError, match="it is there"):
        packed(mine, tmp_path / "pipe.zip", data)


def test_what_lies_beside_the_images_of_an_entry_is_not_lost(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    out = packed(mine, tmp_path / "entry", data, with_predictions=True)
    packed(mine, out, data, with_predictions=True, replace_old=True)
    image = next((out / "predictions").glob("*.tif"))
    for name in ("notes.txt", "holiday.tif", f"{image.name}/deep.tif"):
        other = Path(shutil.copytree(out, tmp_path / "other"))
        (other / "predictions" / image.name).unlink()
        (other / "predictions" / name).parent.mkdir(exist_ok=True)
        (other / "predictions" / name).write_text("mine")
        with pytest.raises(UsageError, match="found more"):
            packed(mine, other, data, replace_old=True)
        assert (other / "predictions" / name).read_text() == "mine"
        shutil.rmtree(other)
    (out / "notes").mkdir()
    with pytest.raises(UsageError, match="found more"):
        packed(mine, out, data, replace_old=True)
    assert (out / "notes").is_dir()


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_link_is_neither_followed_nor_replaced(
    mine: Path, data: Path, tmp_path: Path, target: str
) -> None:
    packed(mine, tmp_path / "elsewhere", data)
    (tmp_path / "entry").symlink_to(target)
    with pytest.raises(SubmissionError, match="--replace"):
        packed(mine, tmp_path / "entry", data)
    with pytest.raises(UsageError, match="expected no link"):
        packed(mine, tmp_path / "entry", data, replace_old=True)
    assert (tmp_path / "entry").readlink() == Path(target)
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", "entry", "results"}


@pytest.mark.parametrize("replace_old", [False, True])
def test_what_comes_there_while_scoring_is_not_lost(
    mine: Path, data: Path, tmp_path: Path, replace_old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "entry"

    def meanwhile(*arguments: object, **options: object) -> object:
        out.mkdir()
        (out / "thesis.txt").write_text("years")
        return evaluate(*arguments, **options)

    monkeypatch.setattr(submission, "evaluate", meanwhile)
    with pytest.raises((SubmissionError, UsageError), match=r"it is there|found more"):
        packed(mine, out, data, replace_old=replace_old)
    assert contents(out) == {"thesis.txt": b"years"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["entry", "results"]


def test_an_entry_and_the_results_do_not_overlap(
    mine: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would lie where the run will be, or be taken for a run; said before anything is scored."""
    monkeypatch.setattr(submission, "evaluate", None)
    results = tmp_path / "results"
    for out in (results, results / "fake/mine", tmp_path / "results.zip/.."):
        with pytest.raises(UsageError, match="apart from --results"):
            pack(mine, CARD, out, results=results, data=data)
    with pytest.raises(UsageError, match="apart from --results"):
        pack(mine, CARD, tmp_path / "entry", results=tmp_path / "entry/board", data=data)
    assert not list(tmp_path.iterdir())


def test_what_was_measured_before_an_interruption_is_not_measured_again(
    mine: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, measured, original = tmp_path / "entry", [], measuring.measure_scene

    def stopped(*arguments: object) -> object:
        if len(measured) == 4:
            raise KeyboardInterrupt
        measured.append(1)
        return original(*arguments)

    def counted(*arguments: object) -> object:
        measured.append(1)
        return original(*arguments)

    monkeypatch.setattr(measuring, "FLUSH_SECONDS", 0.0)
    options = {"workers": 0, "batch": 1, "quiet": True}
    monkeypatch.setattr(measuring, "measure_scene", stopped)
    with pytest.raises(KeyboardInterrupt):
        pack(mine, CARD, out, data=data, **options)
    with pytest.raises(DatasetError):  # a typing error costs nothing of it
        pack(mine, CARD, out, data=data / "typo", **options)
    assert not out.exists()
    measured.clear()
    monkeypatch.setattr(measuring, "measure_scene", counted)
    pack(mine, CARD, out, data=data, **options)
    assert 2 <= len(measured) < 6
    assert [path.name for path in tmp_path.iterdir()] == ["entry"]


def test_what_is_unfinished_goes_to_no_link(mine: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/old").write_text("years")
    (tmp_path / ".entry.entry.unfinished").symlink_to("elsewhere")
    with pytest.raises(UsageError, match="expected no link there"):
        packed(mine, tmp_path / "entry", data)
    assert (tmp_path / "elsewhere/old").read_text() == "years"


def test_a_folder_that_is_no_entry_is_never_replaced(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.md").write_text("years")
    (tmp_path / "photo.jpg").write_text("the only one")
    for name in ("thesis", "photo.jpg"):
        with pytest.raises(UsageError, match="found more"):
            packed(mine, tmp_path / name, data, replace_old=True)
    assert (tmp_path / "thesis/chapter.md").read_text() == "years"
    assert (tmp_path / "photo.jpg").read_text() == "the only one"


def test_nothing_is_packed_of_predictions_that_cannot_be_scored(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    few = Path(shutil.copytree(mine, tmp_path / "few"))
    min(few.glob("*.tif")).unlink()
    with pytest.raises(PredictionError):
        packed(few, tmp_path / "entry", data)
    assert [path.name for path in tmp_path.iterdir()] == ["few"]


def test_what_the_receiving_side_would_refuse_is_not_packed(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    odd = Path(shutil.copytree(mine, tmp_path / "odd"))
    (odd / "predictions.toml").write_text('method = "<b>bold</b>"')
    with pytest.raises(SubmissionError, match="would refuse") as refused:
        pack(odd, CARD, tmp_path / "entry", data=data, workers=0, quiet=True)
    assert "method: expected plain text" in refused.value.problems[0]
    assert [path.name for path in tmp_path.iterdir()] == ["odd"]


# --- Accepting --------------------------------------------------------------------------------


@pytest.fixture
def found(mine: Path, data: Path, tmp_path: Path) -> CheckResult:
    return checked(packed(mine, tmp_path / "entry", data), tmp_path / "work")


def test_an_accepted_entry_is_a_run_of_the_board(found: CheckResult, tmp_path: Path) -> None:
    out = accept(found, tmp_path / "board")
    assert out == tmp_path / "board/fake/mine"
    (entry,), problems = read_entries(tmp_path / "board")
    assert not problems
    assert (entry.status, entry.card) == ("claimed", found.card)
    assert entry.ledger.frame.equals(found.ledger.frame)
    assert json.loads((out / "status.json").read_text())["checked"] == found.told


def test_of_what_was_sent_only_what_was_checked_remains(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    entry = packed(mine, tmp_path / "entry", data)
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
    entry = packed(tmp_path / "copy", tmp_path / "entry", simulated, with_predictions=True)
    claimed = checked(entry, tmp_path / "one", data=simulated, sample=2)
    assert not (accept(claimed, tmp_path / "board") / "samples.jpg").exists()
    verified = checked(entry, tmp_path / "two", data=simulated, sample=None)
    out = accept(verified, tmp_path / "board", replace_old=True)
    assert (out / "samples.jpg").read_bytes() == verified.samples != b""
    assert read_entries(tmp_path / "board")[0][0].status == "verified"


def test_a_run_of_the_same_name_is_not_replaced_unasked(found: CheckResult, tmp_path: Path) -> None:
    out = accept(found, tmp_path / "board")
    before = contents(tmp_path / "board")
    with pytest.raises(SubmissionError, match="--replace"):
        accept(other(found), tmp_path / "board")
    assert contents(tmp_path / "board") == before
    assert accept(found, tmp_path / "board") == out  # the same is there, and done
    assert contents(tmp_path / "board") == before


def other(found: CheckResult) -> CheckResult:
    return replace(found, card=replace(found.card, notes="of another card"))


def test_a_run_of_the_same_name_is_found_wherever_it_lies(
    found: CheckResult, tmp_path: Path
) -> None:
    """Two runs of one name are both left out by the board: nobody takes a run off it by a name."""
    first = accept(found, tmp_path / "board")
    deep = tmp_path / "board/more/fake/other-folder"
    deep.parent.mkdir(parents=True)
    first.rename(deep)
    with pytest.raises(SubmissionError, match="other-folder"):
        accept(other(found), tmp_path / "board")
    assert accept(found, tmp_path / "board", replace_old=True) == deep
    entries, problems = read_entries(tmp_path / "board")
    assert ([entry.folder for entry in entries], problems) == (["more/fake/other-folder"], [])
    shutil.copytree(deep, tmp_path / "board/again")
    with pytest.raises(SubmissionError, match="found several"):
        accept(found, tmp_path / "board", replace_old=True)


def test_what_lies_beside_a_run_is_not_lost_with_it(found: CheckResult, tmp_path: Path) -> None:
    out = accept(found, tmp_path / "board")
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="found more"):
        accept(found, tmp_path / "board", replace_old=True)
    assert (out / "notes.txt").read_text() == "mine"


def test_a_run_of_another_name_and_half_a_run_are_told_apart(
    found: CheckResult, tmp_path: Path
) -> None:
    """The one is somebody's, the other is what an accident left."""
    out = accept(found, tmp_path / "board")
    record = (out / "run.json").read_text()
    (out / "run.json").write_text(record.replace('"mine"', '"other"'))
    with pytest.raises(UsageError, match="found more"):
        accept(found, tmp_path / "board", replace_old=True)
    (out / "run.json").unlink()
    accept(found, tmp_path / "board", replace_old=True)
    assert (out / "run.json").read_text() == record
    shutil.rmtree(out)
    out.mkdir()
    (out / "card.toml").write_text("mine")
    with pytest.raises(UsageError, match="found more"):
        accept(found, tmp_path / "board", replace_old=True)


def test_a_run_is_no_folder_of_runs(
    found: CheckResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = accept(found, tmp_path / "board")
    other = run.rename(run.with_name("other"))
    (other / "ledger.parquet").unlink()
    monkeypatch.chdir(other)
    for results in (Path(), other):
        with pytest.raises(UsageError, match="is a run itself"):
            accept(found, results, replace_old=True)


def test_an_entry_is_accepted_apart_from_itself(mine: Path, data: Path, tmp_path: Path) -> None:
    """The board would take a folder for a run; an archive may lie anywhere."""
    entry = packed(mine, tmp_path / "sent/entry", data)
    for results in (entry, entry / "board", tmp_path / "sent", entry / "../../sent"):
        with pytest.raises(UsageError, match=r"apart from the entry|a run itself"):
            check_results(entry, results)
    check_results(entry, tmp_path / "board")
    check_results(packed(mine, tmp_path / "sent/entry.zip", data), tmp_path / "sent")


def test_a_status_does_not_outlive_its_ledger(
    found: CheckResult, mine: Path, data: Path, tmp_path: Path
) -> None:
    """Whoever evaluates other predictions into an accepted run does not inherit its status."""
    out = accept(replace(found, status="verified"), tmp_path / "board")
    options = {"data": data, "name": "mine", "quiet": True, "workers": 0}
    evaluate(mine, tmp_path / "board", **options)
    assert read_entries(tmp_path / "board")[0][0].status == "verified"  # the very same ledger
    predict("copy-cloudy", data, tmp_path / "other", quiet=True)
    evaluate(tmp_path / "other", tmp_path / "board", **options)
    entries, (problem,) = read_entries(tmp_path / "board")
    assert not entries
    assert "it is of another one; accept the entry again, or delete this file" in problem
    (out / "status.json").unlink()
    assert read_entries(tmp_path / "board")[0][0].status == "claimed"


def test_what_stops_half_way_leaves_the_old_run(
    found: CheckResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = accept(found, tmp_path / "board")
    before = contents(tmp_path / "board")

    def stop(*_: object) -> None:
        raise OSError("no space left")

    for step in (
        "planetcr_bench.submission.pack.write_report",
        "planetcr_bench.submission.pack._write_json",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(step, stop)
            with pytest.raises(OSError, match="no space"):
                accept(found, tmp_path / "board", replace_old=True)
        assert contents(tmp_path / "board") == before
    staged = out.with_name(".mine.entry.unfinished")  # killed between the two moves
    staged.mkdir()
    out.rename(staged / "old")
    accept(found, tmp_path / "board", replace_old=True)
    assert contents(tmp_path / "board").keys() == before.keys()
