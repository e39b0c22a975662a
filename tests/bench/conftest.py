"""Fake datasets and the command line, for every test of the benchmark."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from typing import IO, Any

import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image
from typer.testing import CliRunner

from planetcr_bench.cli.app import app
from planetcr_bench.predictions.predict import predict
from planetcr_bench.simulation.writer import simulate
from scenes import write_dataset

Cli = Callable[..., subprocess.CompletedProcess[str]]

BROWSER_REQUIRED = "PLANETCR_BROWSER"
"""Set where a missing browser must fail the tests instead of skipping them."""

BROWSER_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def pytest_collection_finish() -> None:
    """Look for garbage rarely, and never in what is there before the first test.

    That is libraries and tests: to go through them again and again took a tenth of all time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache, or takes a dataset from the environment."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    patch.delenv("PLANETCR_DATA", raising=False)
    patch.setenv("COLUMNS", "200")
    yield
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def _workers_that_start_at_once() -> None:
    """One server forks the workers of all tests: it has all imported that any command's would."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        multiprocessing.set_forkserver_preload([
            f"planetcr_bench.{module}"
            for module in (
                "data.fingerprint", "data.integrity", "data.patch_cache", "evaluation.runner",
                "leaderboard.ledgers", "predictions.predict", "simulation.writer",
                "submission.entry",
            )
        ])  # fmt: skip
        forkserver.ensure_running()


@pytest.fixture
def in_time() -> Iterator[None]:
    """A test that waits at a FIFO, or reads a device for ever, fails after ten seconds."""

    def stop(*_: object) -> None:
        raise TimeoutError("it waits for ever")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six test scenes and two training scenes; read only."""
    return write_dataset(tmp_path_factory.mktemp("data"), test=6, train=2)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny simulated dataset: ten test scenes and four training scenes; read only."""
    folder = tmp_path_factory.mktemp("simulated") / "tiny"
    simulate(folder, size="tiny", workers=0, quiet=True)
    return folder


@pytest.fixture(scope="module")
def ledgers_alone() -> Iterator[None]:
    """Evaluate and accept without drawing."""
    patch = pytest.MonkeyPatch()
    patch.setattr("planetcr_bench.submission.accept.write_report", lambda *_, **__: None)
    patch.setattr("planetcr_bench.report.report.write_report", lambda *_, **__: None)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def ledgers_decoded_here() -> Iterator[None]:
    """Decode ledgers of entries in this process: test_ledgers.py tests the other one."""
    patch = pytest.MonkeyPatch()
    patch.setattr(
        "planetcr_bench.leaderboard.ledgers.run_sandboxed", lambda decode, path, **_: decode(path)
    )
    yield
    patch.undo()


@pytest.fixture(scope="session")
def predicted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions of mean-fill for the six test scenes; read only."""
    folder = tmp_path_factory.mktemp("predicted") / "preds"
    predict("mean-fill", data, folder, quiet=True)
    return folder


@pytest.fixture
def preds(predicted: Path, tmp_path: Path) -> Path:
    """Predictions of mean-fill for the six test scenes; free to be broken."""
    return Path(shutil.copytree(predicted, tmp_path / "preds"))


@pytest.fixture
def nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are one white pixel: for tests that look at tables and texts."""

    def save(_: Figure, file: Path | str | IO[bytes], **options: Any) -> None:
        Image.new("1", (1, 1), 1).save(file, "PNG", dpi=(options["dpi"],) * 2)

    monkeypatch.setattr(Figure, "savefig", save)
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda *_: None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, for tests of pages."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        if os.environ.get(BROWSER_REQUIRED):
            pytest.fail(f"{BROWSER_REQUIRED} is set and no chromium is installed")
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=program, args=BROWSER_FLAGS)
        yield browser
        browser.close()


def run_program(
    folder: Path, *arguments: object, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the real command in a folder, in a process of its own: seconds to start."""
    return subprocess.run(
        [sys.executable, "-m", "planetcr_bench", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def program(tmp_path: Path) -> Cli:
    """Run the real command in an empty folder."""
    return partial(run_program, tmp_path)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run the command in the same folder, in this process; what would be a traceback fails."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in arguments]
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", ["planetcr-bench", *words])
            done = CliRunner().invoke(app, words, env=environment, prog_name="planetcr-bench")
        if isinstance(done.exception, Exception):
            raise done.exception
        return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def scores(cli: Cli) -> Callable[..., dict]:
    """Run `evaluate --json` and return its object."""

    def run(*arguments: object) -> dict:
        done = cli("evaluate", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
