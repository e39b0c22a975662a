"""What is packed: whole or not at all, and only what the receiving side takes."""

from __future__ import annotations

import functools
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from paths import RUNS
from planetcr_bench.api import evaluate
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.errors import DatasetError, PredictionError, SubmissionError, UsageError
from planetcr_bench.evaluation import runner as measuring
from planetcr_bench.leaderboard.card import TEMPLATE, read_entry_card
from planetcr_bench.predictions.predict import predict
from planetcr_bench.results.ledger import read_ledger
from planetcr_bench.submission import pack as submission
from planetcr_bench.submission.archive import FILES, open_entry
from planetcr_bench.submission.check import CheckConfig, check
from planetcr_bench.submission.pack import pack

CARD = RUNS / "mean-fill/card.toml"

pytestmark = pytest.mark.usefixtures("ledgers_alone", "ledgers_decoded_here")


@pytest.fixture(scope="module")
def mine(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions for the six scenes of the fake dataset, scored beside them; read only."""
    folder = tmp_path_factory.mktemp("made") / "mine"
    predict("mean-fill", data, folder, quiet=True)
    evaluate(folder, folder.parent / "scored", data=data, workers=0, quiet=True)
    return folder


def packed(mine: Path, out: Path, data: Path, **options: object) -> Path:
    """Pack what is scored already, as ``pack`` finds it in its results."""
    results = out.parent / "results"
    if (scored := mine.parent / "scored").is_dir():
        shutil.copytree(scored, results, dirs_exist_ok=True)
    return pack(mine, CARD, out, results=results, data=data, workers=0, quiet=True, **options)[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- Packing ----------------------------------------------------------------------------------


def test_an_entry_holds_card_ledger_record_and_report(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    out = packed(mine, tmp_path / "entry", data)
    assert contents(out).keys() == set(FILES)
    assert read_entry_card(out / "card.toml") == read_entry_card(CARD)
    ledger = read_ledger(out)
    assert ledger.frame.equals(read_ledger(tmp_path / "results/fake/mine").frame)
    report = (out / "report.md").read_text()
    assert "6 of 6 scenes" in report
    assert "](figures/fig5.png)" not in report
    assert [path.name for path in tmp_path.iterdir()] in (
        ["entry", "results"],
        ["results", "entry"],
    )


def test_no_folder_of_this_machine_is_packed(mine: Path, data: Path, tmp_path: Path) -> None:
    command = ["planetcr-bench", "submit", str(mine), "--data", str(data)]
    options = {"workers": 0, "quiet": True, "command": command}
    out, *_ = pack(mine, CARD, tmp_path / "entry", data=data, with_predictions=True, **options)
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


def test_an_archive_holds_the_same_files_as_a_folder(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    packed(mine, tmp_path / "mine.zip", data)
    with zipfile.ZipFile(tmp_path / "mine.zip") as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    assert sorted(names) == sorted(f"entry/{name}" for name in FILES)
    folder = open_entry(tmp_path / "mine.zip", tmp_path / "unpacked")
    assert read_ledger(folder).frame.equals(read_ledger(tmp_path / "results/fake/mine").frame)


def test_an_archive_of_constant_images_passes_the_check(data: Path, tmp_path: Path) -> None:
    black = tmp_path / "black"
    black.mkdir()
    for files in find_scenes(data, "test"):
        np.save(black / f"{files.name}.npy", np.zeros((4, 300, 300), np.float32))
    options = {"data": data, "with_predictions": True, "workers": 0, "quiet": True}
    archive, *_ = pack(black, CARD, tmp_path / "black.zip", **options)
    (tmp_path / "work").mkdir()
    result = check(archive, tmp_path / "work", CheckConfig(workers=0, quiet=True))
    assert "predictions of 6 scenes were sent" in result.checked[0]


def test_a_bad_card_is_refused_before_anything_is_measured(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "card.toml").write_text(TEMPLATE)
    with pytest.raises(SubmissionError, match=r"expected a card as .*, got 6 errors") as refused:
        pack(mine, tmp_path / "card.toml", tmp_path / "e", results=tmp_path / "r", data=data)
    assert len(refused.value.problems) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["card.toml"]


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


def test_without_results_nothing_but_the_entry_is_left(
    mine: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out, *_ = pack(mine, CARD, None, data=data, workers=0, quiet=True)
    assert out == Path("submissions/mine")
    assert contents(tmp_path).keys() == {f"submissions/mine/{name}" for name in FILES}


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
    with pytest.raises((SubmissionError, UsageError), match=r"found one|found more"):
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
    monkeypatch.setattr(submission, "evaluate", functools.partial(evaluate, batch=1))
    options = {"workers": 0, "quiet": True}
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


def test_only_an_entry_is_replaced_and_nothing_is_lost_with_it(
    mine: Path, data: Path, tmp_path: Path
) -> None:
    out = packed(mine, tmp_path / "entry", data)
    (out / "thesis.txt").write_text("years")
    (tmp_path / "photo.zip").write_text("the only one")
    os.mkfifo(tmp_path / "pipe.zip")
    for path in (out, tmp_path / "photo.zip", tmp_path / "pipe.zip"):
        with pytest.raises(UsageError, match="found more"):
            packed(mine, path, data, replace_old=True)
    assert (out / "thesis.txt").read_text() == "years"
    assert (tmp_path / "photo.zip").read_text() == "the only one"
    archive = packed(mine, tmp_path / "entry.zip", data)
    assert packed(mine, archive, data, replace_old=True, with_predictions=True) == archive
    with zipfile.ZipFile(archive) as members:
        assert "entry/predictions/predictions.toml" in members.namelist()


@pytest.mark.parametrize("name", ["entry", "entry.zip"])
def test_a_command_that_was_killed_when_all_was_in_its_place_succeeds_again(
    mine: Path, data: Path, tmp_path: Path, name: str
) -> None:
    out = packed(mine, tmp_path / name, data)
    before = contents(out) if out.is_dir() else out.read_bytes()
    left = tmp_path / f".{name}.entry.unfinished"
    left.mkdir()
    assert packed(mine, out, data) == out
    assert (contents(out) if out.is_dir() else out.read_bytes()) == before
    left.mkdir()
    other = tmp_path / "other.toml"
    other.write_text(CARD.read_text().replace("make reference", "make it"))
    with pytest.raises(SubmissionError, match="--replace"):
        pack(mine, other, out, data=data, workers=0, quiet=True)
    assert not left.exists()


def test_an_entry_lies_apart_from_its_predictions(
    mine: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(shutil.copytree(mine, tmp_path / "own" / "preds"))
    before = contents(own)
    monkeypatch.chdir(own.parent)
    for out in (own, own.parent, own / "entry", Path("preds"), Path("preds/../preds")):
        with pytest.raises(UsageError, match="apart from the predictions"):
            packed(own, out, data, replace_old=True)
    assert contents(own) == before
