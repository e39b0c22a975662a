"""``planetcr-bench submit`` as both sides run it, and the script that a pull request runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from paths import ROOT
from planetcr_bench.cli.app import app
from planetcr_bench.evaluation.inputs import find_dataset
from planetcr_bench.predictions.format import Card
from planetcr_bench.predictions.predict import predict
from planetcr_bench.results.ledger import read_ledger
from planetcr_bench.submission.check import CheckConfig, check
from planetcr_bench.submission.pack import pack

SUBMISSIONS = ROOT / "submissions"
CARD = ROOT / "results/sim-v1-small/sim-v1-demo/mean-fill/card.toml"


def refused(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["submit", *map(str, arguments)])
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "expected one of"),
        (["preds", "--check", "entry"], "expected one of"),
        (["preds"], "--template"),
        (["--check", "entry", "--card", "card.toml"], "--card: is for packing"),
        (["--check", "entry", "--allow-missing"], "--allow-missing: is for packing"),
        (["--check", "entry", "--replace"], "--replace: is for packing and for --accept"),
        (["--check", "entry", "--sample", "some"], "expected a number of scenes or all"),
        (["--check", "entry", "--sample", "-1"], "expected a number of scenes or all"),
        (["--check", "entry", "--results", "nowhere"], "nowhere is none"),
        (["preds", "--card", CARD, "--name", ".."], "--name: expected"),
        (["preds", "--card", CARD, "--name", "猫"], "--name: expected"),
        (["preds", "--card", CARD, "--out", "entry.tar.gz"], "--out: expected a folder or .zip"),
        (["preds", "--card", "card.toml", "--accept"], "--accept: is for --check"),
        (["preds", "--card", "card.toml", "--seed", "1"], "--seed: is for --check"),
        (["--template", "--card", "card.toml"], "--card: is not for --template"),
        (["--check", CARD, "--accept", "--results", CARD], "expected a folder of results"),
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(arguments: list[str], reason: str) -> None:
    code, output = refused(*arguments)
    assert code == 2
    assert reason in output


@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere", "--card", CARD, "--data", "nowhere"],
        ["nowhere", "--card", "nowhere.toml"],
        ["--check", "nowhere"],
        ["--check", CARD],
    ],
)
def test_what_is_not_there_is_said_in_a_line(arguments: list[object], tmp_path: Path) -> None:
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        code, output = refused(*arguments)
    finally:
        os.chdir(before)
    assert code == 1
    assert re.search(r"error: .*(nowhere|card\.toml).*: (expected|cannot)", output)
    assert "Traceback" not in output


def test_the_template_is_printed_and_nothing_else(cli: Callable[..., object]) -> None:
    done = cli("submit", "--template")
    assert done.stdout.startswith("# Who made the method")
    assert 'inputs = ["optical"]' in done.stdout


def test_both_sides_of_a_submission(
    cli: Callable[..., object], preds: Path, data: Path, tmp_path: Path
) -> None:
    done = cli("submit", preds, "--card", CARD, "--data", data, "--with-predictions")
    assert done.returncode == 0, done.stderr
    entry = tmp_path / "submissions/preds"
    assert (entry / "predictions").is_dir()
    sent = shutil.make_archive(str(tmp_path / "sent"), "zip", entry.parent, "preds")
    board = tmp_path / "board"
    done = cli("submit", "--check", sent, "--data", data, "--sample", "all", "--accept",
               "--results", board, "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["status"], told["complete"]) == ("verified", True)
    assert told["accepted"] == str(board / "fake/preds")
    assert (board / "fake/preds/report.md").exists()
    run = json.loads((board / "fake/preds/run.json").read_text())
    assert run["command"].startswith("planetcr-bench submit --check sent.zip --data ")
    assert str(tmp_path) not in json.dumps(run)
    page = cli("leaderboard", board)
    assert page.stdout.startswith("1 entries, 0 left out")
    done = cli("submit", "--check", entry, "--accept", "--results", tmp_path)
    assert done.returncode == 2
    assert "--results: expected a folder apart from the entry" in done.stderr
    (entry / "card.toml").write_text("method = '<b>'\ncolour = 1")
    done = cli("submit", "--check", entry)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {entry}: ")
    assert "unknown key 'colour'" in done.stderr
    assert "authors: expected it to be given" in done.stderr


@pytest.mark.slow
def test_a_pull_request_is_checked_entry_by_entry(simulated: Path, tmp_path: Path) -> None:
    """Entries that were there are not looked at; one bad entry does not hide the others."""
    predict("copy-cloudy", simulated, tmp_path / "copy", quiet=True)
    old, new = tmp_path / "old", tmp_path / "new"
    patch = pytest.MonkeyPatch()
    patch.setattr("planetcr_bench.report.report.write_report", lambda *_, **__: None)
    pack(tmp_path / "copy", CARD, new / "submissions/good", results=tmp_path / "results",
         data=simulated, quiet=True, workers=0)  # fmt: skip
    patch.undo()
    shutil.copytree(new, old)
    shutil.copytree(new / "submissions/good", old / "submissions/gone")
    shutil.copytree(new / "submissions/good", new / "submissions/a second; $(touch evil)")
    bad = Path(shutil.copytree(new / "submissions/good", new / "submissions/bad"))
    (bad / "run.json").write_text("{}")
    (new / "submissions/link").symlink_to("/etc")
    (new / "submissions/README.md").write_text("# changed")
    (old / "results").mkdir()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(
        [SUBMISSIONS / "check_new.sh", old, new],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.endswith("\nREMOVED: gone\n\n3 new or changed entries\n")
    assert "REPLACES" not in done.stdout
    assert "copy (sim-v1-tiny): sound, claimed; 10 of 10 scenes" in done.stdout
    assert "10 scenes, drawn with seed" in done.stdout
    assert "run.json: name: expected it to be given" in done.stderr
    assert f"{new / 'submissions/link'}: expected a folder, got a link" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "evil").exists()
    (new / "submissions/bad/run.json").unlink()
    (new / "submissions/good/report.md").write_text("# other")
    (tmp_path / "simulated").rename(tmp_path / "kept")
    (tmp_path / "simulated").write_text("in the way")  # simulating fails: nothing is sound
    done = subprocess.run(
        done.args, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "sim-v1-tiny cannot be simulated; the entry is not checked" in done.stderr
    assert "sound" not in done.stdout
    assert "== good\nREPLACES the entry that was there\n" in done.stdout


def test_the_example_is_a_whole_sound_entry_of_the_full_benchmark(tmp_path: Path) -> None:
    found = check(SUBMISSIONS / "example", tmp_path, CheckConfig(workers=0, quiet=True))
    record = found.ledger.provenance
    assert (record["track"], record["scenes"], record["complete"]) == ("sim-v1", 3000, True)
    assert found.ledger.frame["aoi"].nunique() == 120
    for path in (SUBMISSIONS / "example").iterdir():
        assert path.stat().st_size < 5_000_000


@pytest.mark.slow
def test_the_example_is_made_again_by_its_command(tmp_path: Path) -> None:
    """The scenes, the predictions and the scores, from nothing but the seed."""
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.partition("\nexample:")[2].partition("\n\n")[0].splitlines()[1:]
    shutil.copytree(SUBMISSIONS / "example", tmp_path / "submissions/example")
    program = str(Path(sys.executable).with_name("planetcr-bench"))
    for line in recipe:
        command = line.strip().replace("$(BIN)/planetcr-bench", program)
        subprocess.run(command.split(), cwd=tmp_path, check=True)
    ours, made = (read_ledger(root / "submissions/example") for root in (ROOT, tmp_path))
    folder = tmp_path / "build/example/sim"
    dataset = find_dataset(folder, Card(), data=folder, quiet=True)
    assert len(dataset.scenes) == 3000
    sums = ["absolute_error", "squared_error", "angle_deg", "ssim", "cloudy_clear"]
    ours, made = (one.frame.groupby("protocol")[sums].sum() for one in (ours, made))
    assert (abs(ours - made) <= 1e-4 * abs(ours)).all(axis=None)
