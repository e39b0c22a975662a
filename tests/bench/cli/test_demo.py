"""Test the demo: its commands are ones of the program, and it stops and resumes as a whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from conftest import Cli
from planetcr_bench.cli import demo
from planetcr_bench.cli.app import app


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that the demo would run."""
    recorded: list[list[str]] = []
    monkeypatch.setattr(demo._Shell, "__call__", lambda _, *words, **__: recorded.append([*words]))
    return recorded


@pytest.mark.parametrize("size", ["tiny", "demo"])
def test_every_command_of_the_demo_is_one_of_the_program(
    cli: Cli, commands: list[list[str]], size: str
) -> None:
    done = cli("demo", "it", "--size", size)
    assert done.returncode == 0, done.stderr
    program = get_command(app)
    context = typer.Context(program)
    for name, *words in commands:
        program.get_command(context, name).make_context(name, words)  # parses, or raises
    assert [words[0] for words in commands] == [
        "simulate", "check", *["predict", "evaluate"] * 4, "compare", "gallery",
    ]  # fmt: skip
    assert f"it/results/sim-v1-{size}/dsen2_cr" in commands[-2]
    assert commands[0][-3] == size
    assert "pip install" not in done.stdout


def test_without_pytorch_baselines_are_scored_and_one_line_says_how_a_network_joins(
    cli: Cli, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda _: None)
    done = cli("demo")
    assert not any("dsen2_cr" in word for words in commands for word in words)
    assert [words[1] for words in commands if words[0] == "predict"] == [*demo._BASELINES]
    assert "pip install 'planetcr-bench[models]'" in done.stdout.splitlines()[-1]
    assert "dsen2_cr" not in done.stdout


def test_the_demo_ends_with_the_first_command_that_fails(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "it/data").mkdir(parents=True)
    (tmp_path / "it/data/other.txt").touch()
    done = cli("demo", "it")
    assert done.returncode == 1
    assert "it/data" in done.stderr
    assert "planetcr-bench check" not in done.stdout
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data", "it", "other.txt"]


def test_ctrl_c_ends_the_demo_and_leaves_no_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "planetcr_bench", "demo", "it", "--size", "demo"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until = time.monotonic() + 60
    while not any(tmp_path.rglob("*.tif")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)  # to the parent alone, as `kill -INT` sends it
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "run the same command again to resume" in errors
    assert "Traceback" not in errors
    for _ in range(100):  # a server of workers may need a moment to see that nobody is left
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("a process is left")


@pytest.mark.slow
def test_the_demo_makes_what_it_names_and_a_second_call_keeps_it(
    program: Cli, tmp_path: Path
) -> None:
    first = program("demo")
    assert first.returncode == 0, first.stderr
    made = first.stdout.partition("Made:\n")[2].partition("\n\n")[0]
    for line in made.splitlines():
        assert (tmp_path / line.split()[0]).exists(), line
    kept = [*tmp_path.rglob("*.tif"), *tmp_path.rglob("ledger.parquet")]
    times = [path.stat().st_mtime_ns for path in kept]
    command = json.loads((tmp_path / "demo/results/sim-v1-tiny/mean-fill/run.json").read_text())[
        "command"
    ]
    assert command[:3] == ["planetcr-bench", "evaluate", "demo/preds/mean-fill"]
    again = program("demo")
    assert again.returncode == 0, again.stderr
    assert "(10 of them already there)" in again.stdout
    assert [path.stat().st_mtime_ns for path in kept] == times
