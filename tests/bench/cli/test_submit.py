"""``planetcr-bench submit`` as both sides run it, and the script that a pull request runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from paths import ROOT, RUNS
from planetcr_bench.predictions.predict import predict
from planetcr_bench.results.ledger import read_ledger
from planetcr_bench.submission.check import CheckConfig, check
from planetcr_bench.submission.pack import pack, write_checked_ledger

SUBMISSIONS = ROOT / "submissions"
CARD = RUNS / "mean-fill/card.toml"
Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["preds", "--card", CARD], 2, "No such command 'preds'"),
        (["pack", "preds"], 2, "Missing option '--card'"),
        (["pack", "preds", "--card", CARD, "--name", ".."], 2, "--name: expected"),
        (["pack", "preds", "--card", CARD, "--name", "猫"], 2, "--name: expected"),
        (["pack", "preds", "--card", CARD, "--out", "e.tar.gz"], 2, "expected a folder or .zip"),
        (["pack", "nowhere", "--card", CARD, "--data", "nowhere"], 1, "error: nowhere: expected"),
        (["pack", "nowhere", "--card", "nowhere.toml"], 1, "error: nowhere.toml: cannot be read"),
        (["check"], 2, "Missing argument"),
        (["check", "entry", "--card", "card.toml"], 2, "No such option: --card"),
        (["check", "entry", "--sample", "some"], 2, "expected a number of scenes or all"),
        (["check", "entry", "--sample", "-1"], 2, "expected a number of scenes or all"),
        (["check", "entry", "--results", "nowhere"], 2, "a folder of results, got nowhere"),
        (["check", "nowhere"], 1, "error: nowhere: expected the folder of an entry or a .zip"),
        (["check", CARD], 1, "card.toml: expected the folder of an entry or a .zip"),
        (["accept", CARD, "--results", CARD], 2, "expected a folder of results"),
        (["accept", "nowhere"], 1, "error: nowhere: expected the folder of an entry or a .zip"),
    ],
)
def test_invalid_options_are_refused_in_one_line(
    cli: Cli, arguments: list[object], code: int, reason: str
) -> None:
    done = cli("submit", *arguments)
    assert done.returncode == code
    assert reason in re.sub(r"\s+", " ", done.stderr)
    assert "Traceback" not in done.stderr


def test_the_template_is_printed_and_nothing_else(cli: Cli) -> None:
    done = cli("submit", "pack", "--template")
    assert done.returncode == 0
    assert done.stdout.startswith("# Who made the method")
    assert 'inputs = ["optical"]' in done.stdout


@pytest.mark.usefixtures("nothing_is_drawn")
def test_both_sides_of_a_submission(cli: Cli, preds: Path, data: Path, tmp_path: Path) -> None:
    done = cli("submit", "pack", preds, "--card", CARD, "--data", data, "--with-predictions")
    assert done.returncode == 0, done.stderr
    entry = tmp_path / "submissions/preds"
    assert f"planetcr-bench submit check {entry.relative_to(tmp_path)}" in done.stdout
    assert (entry / "predictions").is_dir()
    sent = shutil.make_archive(str(tmp_path / "sent"), "zip", entry.parent, "preds")
    board = tmp_path / "board"
    done = cli("submit", "accept", sent, "--data", data, "--sample", "all", "--results", board,
               "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["status"], facts["complete"]) == ("verified", True)
    assert facts["accepted"] == str(board / "fake/preds")
    assert (board / "fake/preds/report.md").exists()
    run = json.loads((board / "fake/preds/run.json").read_text())
    assert run["command"].startswith("planetcr-bench submit accept sent.zip --data ")
    assert str(tmp_path) not in json.dumps(run)
    assert cli("leaderboard", board).stdout.startswith("1 entry, 0 left out")
    done = cli("submit", "accept", entry, "--results", tmp_path)
    assert done.returncode == 2
    assert "--results: expected a folder apart from the entry" in done.stderr
    (entry / "card.toml").write_text("method = '<b>'\ncolour = 1")
    done = cli("submit", "check", entry)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {entry}: ")
    assert "unknown key 'colour'" in done.stderr
    assert "authors: expected this key, found none" in done.stderr


def test_the_further_sums_of_a_fresh_ledger_are_packed_and_measured_again(
    cli: Cli, program: Cli, simulated: Path, tmp_path: Path
) -> None:
    entry = tmp_path / "submissions/fresh"
    predict("mean-fill", simulated, tmp_path / "fresh", quiet=True)
    done = cli("submit", "pack", "fresh", "--card", CARD, "--data", simulated,
               "--with-predictions")  # fmt: skip
    assert done.returncode == 0, done.stderr
    ledger = read_ledger(entry / "ledger.parquet")
    assert ledger.has_floor
    assert ledger.has_further
    done = cli("submit", "check", entry, "--data", simulated, "--sample", "all", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "verified"
    frame = ledger.frame.assign(input_ndvi_error=ledger.frame["input_ndvi_error"] * 0.999)
    write_checked_ledger(entry / "ledger.parquet", replace(ledger, frame=frame))
    done = program("submit", "check", entry)
    assert done.returncode == 0, done.stderr  # possible, and untrue
    for sample in ("3", "all"):
        done = cli("submit", "check", entry, "--data", simulated, "--sample", sample)
        assert done.returncode == 1
        assert "ledger.parquet: measured again, input_ndvi_error: " in done.stderr


@pytest.mark.slow
def test_a_pull_request_is_checked_entry_by_entry(simulated: Path, tmp_path: Path) -> None:
    """Entries that were there are not looked at; one bad entry does not hide the others."""
    predict("copy-cloudy", simulated, tmp_path / "copy", quiet=True)
    old, new = tmp_path / "old", tmp_path / "new"
    pack(tmp_path / "copy", CARD, new / "submissions/good", data=simulated, quiet=True, workers=0)
    shutil.copytree(new, old)
    shutil.copytree(new / "submissions/good", old / "submissions/gone")
    shutil.copytree(new / "submissions/good", new / "submissions/a second; $(touch evil)")
    bad = Path(shutil.copytree(new / "submissions/good", new / "submissions/bad"))
    (bad / "run.json").write_text("{}")
    (new / "submissions/link").symlink_to("/etc")
    (new / "submissions/README.md").write_text("# changed")
    (old / "results").mkdir()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [SUBMISSIONS / "check_new.sh", old, new]
    options = {"cwd": tmp_path, "env": {**os.environ, "PATH": path}}
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 1
    assert done.stdout.endswith("\nREMOVED: gone\n\n3 new or changed entries\n")
    assert "REPLACES" not in done.stdout
    assert "copy (sim-v1-tiny): sound, claimed; 10 of 10 scenes" in done.stdout
    assert "all 10 scenes were compared with the dataset's input" in done.stdout
    assert "run.json: name: expected 'copy' as in the ledger, got none" in done.stderr
    assert f"{new / 'submissions/link'}: expected the folder of an entry" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "evil").exists()
    (new / "submissions/bad/run.json").unlink()
    (new / "submissions/good/report.md").write_text("# other")
    (tmp_path / "simulated").rename(tmp_path / "kept")
    (tmp_path / "simulated").write_text("in the way")  # simulating fails: nothing is sound
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 1
    assert "sim-v1-tiny cannot be simulated; the entry is not checked" in done.stderr
    assert "sound" not in done.stdout
    assert "== good\nREPLACES the entry that was there\n" in done.stdout


def test_the_example_is_a_complete_valid_entry(tmp_path: Path) -> None:
    result = check(SUBMISSIONS / "example", tmp_path, CheckConfig(workers=0, quiet=True))
    record = result.ledger.provenance
    assert (record["track"], record["scenes"], record["complete"]) == ("sim-v1-tiny", 10, True)
    for path in (SUBMISSIONS / "example").iterdir():
        assert path.stat().st_size < 1_000_000


@pytest.mark.slow
def test_the_example_is_reproduced_by_its_command(tmp_path: Path) -> None:
    """The scenes, the predictions and the scores, from nothing but the seed."""
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.partition("\nexample:")[2].partition("\n\n")[0].splitlines()[1:]
    shutil.copytree(SUBMISSIONS / "example", tmp_path / "submissions/example")
    for line in recipe:
        words = line.strip().removeprefix("$(BIN)/planetcr-bench").split()
        subprocess.run([sys.executable, "-m", "planetcr_bench", *words], cwd=tmp_path, check=True)
    ours, made = (read_ledger(root / "submissions/example") for root in (ROOT, tmp_path))
    sums = ["absolute_error", "squared_error", "angle_deg", "ssim", "cloudy_clear"]
    ours, made = (ledger.frame.groupby("protocol")[sums].sum() for ledger in (ours, made))
    assert (abs(ours - made) <= 1e-4 * abs(ours)).all(axis=None)
