"""Test the command line as a user runs it: output, streams and exit codes."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from conftest import Cli, run_program
from paths import RUNS, files_in
from planetcr_bench import __version__
from planetcr_bench.cli.app import app
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.networks.training import Request, format_outcome

CARD = RUNS / "mean-fill/card.toml"

pytestmark = pytest.mark.usefixtures("ledgers_alone")


@pytest.fixture(scope="module")
def road(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which both untrained methods are predicted and scored, and what that said."""
    folder = tmp_path_factory.mktemp("road")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (["predict", "copy-cloudy", "--data", str(data)],
                      ["evaluate", "preds/copy-cloudy"]):  # fmt: skip
            assert CliRunner().invoke(app, words).exit_code == 0
    assert run_program(folder, "predict", "mean-fill", "--data", data).returncode == 0
    done = run_program(folder, "evaluate", "preds/mean-fill")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture
def runs(road: tuple[Path, str], tmp_path: Path) -> list[str]:
    """Both runs, copied to where commands are run."""
    shutil.copytree(road[0], tmp_path, dirs_exist_ok=True)
    return [f"results/fake/{method}" for method in ("copy-cloudy", "mean-fill")]


def assert_refused(done, *words: str, code: int = 1) -> None:
    assert done.returncode == code, (done.stdout, done.stderr)
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_version_and_help_answer_at_once(cli: Cli, program: Cli) -> None:
    start = time.perf_counter()
    assert program("--version").stdout == f"planetcr-bench {__version__}\n"
    assert time.perf_counter() - start < 5
    text = cli("--help").stdout
    assert all(command in text for command in ("check", "predict", "evaluate", "compare"))
    for option in ("--data", "--split", "--results", "--name", "--workers", "--batch", "--device",
                   "--allow-missing", "--json"):  # fmt: skip
        assert option in cli("evaluate", "--help").stdout


def test_the_full_pipeline_prints_tables_and_where_the_report_is(
    cli: Cli, road: tuple[Path, str], runs: list[str], tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    for words in ("6 of 6 scenes", "Cloudy (input)", "official ", "full ", "PSNR", "gain ",
                  "Report: results/fake/mean-fill/report.md"):  # fmt: skip
        assert words in road[1]
    assert len([line for line in road[1].splitlines() if line]) == 10
    refused = cli("compare", *runs, "--published")
    assert_refused(refused, "expected track 'planet-cr', got 'fake'", "leave out --published")
    assert not (tmp_path / "results" / "comparison").exists()
    done = cli("compare", *runs, "--verbose")
    assert done.returncode == 0, done.stderr
    for words in ("Tab. 2 (a)", "Forest", "mean-fill: gain", "protocol full", "edge", "80-100"):
        assert words in done.stdout
    assert "Report: results/comparison/report.md" in done.stdout
    assert "Input window: whole (it saw whole patches)" in done.stdout
    for name in (
        "report.md", "tables/table2.tex", "tables/table2.csv", "tables/table2.json",
        "figures/fig5.png", "figures/fig5.svg",
    ):  # fmt: skip
        assert (tmp_path / "results" / "comparison" / name).stat().st_size > 500
    records = json.loads((tmp_path / "results" / "comparison" / "tables/table2.json").read_text())
    measured = [row for row in records if row["kind"] == "measured"]
    assert {row["input_window"] for row in measured} == {"whole"}
    request.getfixturevalue("nothing_is_drawn")
    again = cli("compare", *runs, "--json", "--out", "elsewhere")
    assert [run["name"] for run in json.loads(again.stdout)] == ["copy-cloudy", "mean-fill"]
    assert (tmp_path / "elsewhere/figures/fig5.png").exists()


def test_report_makes_the_full_analysis_of_a_run_and_refuses_other_folders(
    cli: Cli, program: Cli, runs: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run = runs[1]  # evaluated by a real process, with its report
    before = files_in(tmp_path / run)
    assert {"report.md", "figures/fig5.png"} < set(before)
    assert len(before) <= 13
    done = program("report", run, "--out", "full")
    assert (done.returncode, done.stdout) == (0, "Report: full/report.md\n")
    made = set(files_in(tmp_path / "full"))
    assert {
        "scores.json", "tables/error_analysis.json",
        "figures/class_cover.png", "figures/triangle.svg",
    } < made  # fmt: skip
    assert files_in(tmp_path / run) == before
    request.getfixturevalue("nothing_is_drawn")
    assert cli("report", runs[0]).stdout == f"Report: {runs[0]}/report.md\n"
    assert_refused(cli("report", "nowhere"), "nowhere", "expected a results folder")
    assert_refused(cli("report", tmp_path), "ledger.parquet")
    (tmp_path / runs[0] / "run.json").write_text("{}")
    assert_refused(cli("report", runs[0]), "run.json")
    (tmp_path / runs[0] / "run.json").unlink()
    assert_refused(cli("report", runs[0]), "did not finish")


def test_json_is_one_object_and_nothing_else(
    data: Path, preds: Path, scores: Callable[..., dict]
) -> None:
    result = scores(preds, "--data", data, "--name", "mine", "--workers", 0, "--batch", 2)
    assert (result["name"], result["track"], result["complete"]) == ("mine", "fake", True)
    assert result["protocols"]["official"]["overall"]["mae"] > 0


def test_missing_predictions_are_named_one_per_line(
    cli: Cli, preds: Path, scores: Callable[..., dict], tmp_path: Path
) -> None:
    first, second = sorted(preds.glob("*.tif"))[:2]
    first.unlink()
    second.write_bytes(b"")
    done = cli("evaluate", preds)
    assert_refused(done, "nothing is scored", "--allow-missing")
    lines = done.stderr.splitlines()
    assert [first.stem in line for line in lines].count(True) == 1
    assert [second.stem in line for line in lines].count(True) == 1
    assert not (tmp_path / "results").exists()
    result = scores(preds, "--allow-missing")
    assert (result["complete"], result["scenes"]) == (False, 4)
    done = cli("evaluate", preds, "--allow-missing")
    assert "preds (4 of 6 scenes)" in done.stdout
    assert "left out: " in done.stderr


def test_mistakes_end_in_one_clear_message(
    cli: Cli, program: Cli, preds: Path, tmp_path: Path
) -> None:
    assert_refused(program("evaluate", "nowhere"), "nowhere", "no such folder")
    nowhere = cli("evaluate", preds, "--data", "nowhere")
    assert_refused(nowhere, "nowhere: no such folder, although --data names it")
    assert "PLANETCR_DATA" not in nowhere.stderr
    assert_refused(cli("evaluate", preds, "--split", "val"), "'val'")
    assert_refused(cli("evaluate", preds, "--device", "cpu"), "--device", "--segmenter", code=2)
    assert_refused(cli("evaluate", preds, "--name", "../x"), "--name", "'../x'", code=2)
    assert_refused(cli("predict", "copy-cloudy"), "--data", "PLANETCR_DATA")
    alone = cli("predict", "mean-fill", "--device", "cuda")
    assert_refused(alone, "--device applies to networks; mean-fill is not one", code=2)
    assert_refused(cli("predict", "copy-cloudy", "--data", tmp_path), "train/ or test/")
    assert_refused(cli("check", tmp_path / "none"), "no such folder")
    assert_refused(cli("compare", tmp_path), "expected a results folder")
    (tmp_path / "file").touch()
    for words in (
        ["evaluate", preds, "--results", "file"], ["evaluate", preds, "--results", "file/in"],
        ["compare", RUNS / "mean-fill", "--out", "file"], ["leaderboard", RUNS, "--out", "file"],
    ):  # fmt: skip
        assert_refused(cli(*words), "error: file: expected a folder, got a file; choose another")


def test_help_names_what_can_name_a_dataset(cli: Cli) -> None:
    for command, card in (("predict", False), ("train", False), ("evaluate", True)):
        text = cli(command, "--help").stdout
        assert "PLANETCR_DATA" in text
        assert ("predictions.toml" in text) == card


def test_wrong_usage_exits_with_two(cli: Cli, preds: Path) -> None:
    assert cli("evaluate").returncode == 2
    assert cli("evaluate", preds, "--nonsense").returncode == 2
    assert cli("evaluate", preds, "--workers", "-1").returncode == 2
    assert cli("evaluate", preds, "--batch", "0").returncode == 2
    assert_refused(cli("predict", "magic"), "magic: no such method; there are", code=2)
    assert cli("evaluate", preds, "--class-average", "median").returncode == 2


def test_printed_commands_can_be_pasted(cli: Cli, data: Path) -> None:
    done = cli("predict", "mean-fill", "--data", data, "--out", "a b/my preds")
    assert done.stdout.endswith("next: planetcr-bench evaluate 'a b/my preds'\n")
    done = cli("submit", "pack", "a b/my preds", "--card", CARD)
    assert done.stdout.endswith("\n  planetcr-bench submit check 'submissions/my preds'\n")
    done = cli("simulate", "a b/tiny", "--size", "tiny", "--workers", 0)
    assert done.stdout.endswith("next: planetcr-bench predict mean-fill --data 'a b/tiny'\n")
    for given, words in ((None, ""), (Path("a b"), " --data 'a b'")):
        request = Request(name="mcgan", data=given, out=Path("my runs"))
        text = format_outcome(request, {"steps": 1, "minutes": 2.0, "best_epoch": 1, "scores": {}})
        best = "'my runs/best.safetensors'"
        assert text.endswith(f"next: planetcr-bench predict mcgan{words} --weights {best}")


def test_the_environment_names_the_dataset(cli: Cli, data: Path, preds: Path) -> None:
    (preds / "predictions.toml").unlink()
    assert_refused(cli("evaluate", preds), "--data", "PLANETCR_DATA", "predictions.toml")
    assert cli("evaluate", preds, PLANETCR_DATA=str(data)).returncode == 0


def test_check_prints_counts_and_a_verdict(cli: Cli, data: Path, tmp_path: Path) -> None:
    done = cli("check", data)
    assert done.returncode == 0, done.stderr
    assert "test: 6 scenes (6 sound), 2 AOIs" in done.stdout
    assert "fingerprint" in done.stdout
    report = json.loads(cli("check", data, "--json").stdout)
    assert report["ok"]
    assert len(report["fingerprint"]) == 64
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    path = find_scenes(broken, "test")[0].path("cloudy")
    (broken / "dataset.toml").write_text("trak = 'fake'")
    assert f"\n{broken}: problems: 1\n" in cli("check", broken).stdout
    path.write_bytes(b"nonsense")
    done = cli("check", broken)
    assert done.returncode == 1
    assert str(path) in done.stdout.replace("\n", "")
    done = cli("check", broken, "--json")
    assert done.returncode == 1
    assert any(str(path) in line for line in json.loads(done.stdout)["problems"])


def test_runs_on_other_data_or_unfinished_ones_are_not_compared(
    cli: Cli, runs: list[str], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    from scenes import write_dataset

    write_dataset(tmp_path / "d2", test=1, seed=5)
    cli("predict", "copy-cloudy", "--data", "d2", "--out", other)
    assert cli("evaluate", other).returncode == 0
    assert_refused(cli("compare", runs[0], "results/fake/other"), "same fingerprint")
    (tmp_path / runs[0] / "run.json").unlink()
    assert_refused(cli("compare", runs[0]), "did not finish")


def test_a_full_disk_loses_nothing(cli: Cli, preds: Path, tmp_path: Path) -> None:
    """A folder that cannot be written stands for a full disk: one message, no half-written run."""
    results = tmp_path / "results"
    (results / "fake").mkdir(parents=True)
    (results / "fake" / ".preds.unfinished").write_text("in the way")
    assert_refused(cli("evaluate", preds), ".preds.unfinished")
    assert [path.name for path in (results / "fake").iterdir()] == [".preds.unfinished"]


def test_float_predictions_that_look_like_numbers_are_refused(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "float"
    folder.mkdir()
    for files in find_scenes(data, "test"):
        np.save(folder / f"{files.name}.npy", np.full((4, 300, 300), 900.0, np.float32))
    assert_refused(cli("evaluate", folder, "--data", data), "looks like digital numbers")
    (folder / "predictions.toml").write_text("scale = 10000\n")
    assert cli("evaluate", folder, "--data", data).returncode == 0
