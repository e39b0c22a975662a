"""Test that a command killed at any file change ends as if it had not been killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from paths import ROOT, RUNS
from planetcr_bench.predictions.predict import predict
from scenes import write_dataset

HARNESS = ROOT / "tests/bench/kills.py"
CARD = RUNS / "mean-fill/card.toml"
ALL = 0
MANY = {"simulate": 30, "simulate, with truth": 30, "accept": 12, "evaluate": 12, "train": 12}
"""Changes to be killed at, where all would take an hour."""

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs Linux")

PACK = ["submit", "pack", "preds", "--card", "card.toml", "--data", "data", "--workers", "0"]
NETWORK = ["--weights", "random", "--model-arg", "width=2", "--device", "cpu"]
SHORT = ["--epochs", "2", "--batch", "1", "--crop", "40", "--val-share", "0", "--device", "cpu"]
COMMANDS = {
    "simulate": ["simulate", "sim", "--size", "tiny", "--train", "1", "--workers", "0"],
    "simulate, with truth": [
        "simulate", "sim", "--size", "tiny", "--train", "0", "--truth", "truth",
        "--workers", "0",
    ],
    "predict": ["predict", "mean-fill", "--data", "data", "--out", "p", "--workers", "0"],
    "predict by a network": ["predict", "spa_gan", "--data", "data", "--out", "p", *NETWORK],
    "submit a folder": [*PACK, "--out", "entry", "--with-predictions"],
    "submit a zip": [*PACK, "--out", "entry.zip"],
    "accept": ["submit", "accept", "sent", "--results", "results", "--workers", "0"],
    "leaderboard": ["leaderboard", "board", "--out", "site"],
    "evaluate": ["evaluate", "preds", "--data", "data", "--workers", "0"],
    "train": ["train", "spa_gan", "--data", "data", "--out", "run", "--model-arg", "width=2",
    *SHORT],
}  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the commands read."""
    folder = tmp_path_factory.mktemp("template")
    write_dataset(folder / "data", test=2, train=2)
    predict("mean-fill", folder / "data", folder / "preds", quiet=True)
    shutil.copyfile(CARD, folder / "card.toml")
    shutil.copytree(CARD.parents[1], folder / "board" / "sim-v1-demo", symlinks=True)
    return folder


def kill(name: str, spread: int, template: Path, tmp_path: Path) -> None:
    if name == "accept":
        subprocess.run(
            [sys.executable, "-m", "planetcr_bench", *PACK, "--out", "sent"],
            cwd=template, check=True, capture_output=True,
        )  # fmt: skip
    done = subprocess.run(
        [sys.executable, HARNESS, template, tmp_path, str(spread), *COMMANDS[name]],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "spread"), [("predict", 3)])
def test_a_killed_command_ends_as_if_it_had_not_been_killed(
    name: str, spread: int, template: Path, tmp_path: Path
) -> None:
    kill(name, spread, template, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_killed_at_any_change_ends_as_if_it_had_not_been_killed(
    name: str, template: Path, tmp_path: Path
) -> None:
    kill(name, MANY.get(name, ALL), template, tmp_path)
