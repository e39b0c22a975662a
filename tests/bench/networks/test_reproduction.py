"""One command walks from a dataset to tables, and knows what is done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from planetcr_bench.cli.app import app
from planetcr_bench.data.fingerprint import fingerprint_of
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.networks.loading import sha256_of
from planetcr_bench.networks.reproduction import (
    ReproductionConfig,
    load_config,
    plan_of,
    request_of,
    train_arguments,
)
from planetcr_bench.networks.reproduction import _Predict as predict_step
from planetcr_bench.predictions.format import read_card, write_card
from planetcr_bench.results.ledger import read_ledger
from programs import planetcr

CONFIG = """
methods = ["dsen2_cr"]
untrained = []
suffix = "-narrow"
[all]
epochs = 2
batch = 2
crop = 40
val_scenes = 1
[dsen2_cr]
learning_rate = 1e-3
options = { width = 8, blocks = 1 }
[segmenter]
epochs = 1
batch = 2
crop = 100
val_scenes = 1
options = { encoder = "resnet18" }
"""
STEPS = [
    "train segmenter",
    "train dsen2_cr",
    "predict dsen2_cr-narrow",
    "evaluate dsen2_cr-narrow",
    "predict dsen2_cr-narrow-window160",
    "evaluate dsen2_cr-narrow-window160",
    "tables and figures, official",
    "tables and figures, full",
]


def said(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(word) for word in arguments])
    assert not isinstance(done.exception, Exception), done.exception
    return done.exit_code, done.stdout, done.stderr


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.slow
def test_the_whole_road_is_walked_once(simulated: Path, tmp_path: Path) -> None:
    config = write(tmp_path / "plan.toml", CONFIG)
    words = [
        "reproduce", simulated, "--config", config, "--out", tmp_path / "work",
        "--results", tmp_path / "results",
    ]  # fmt: skip
    done = planetcr(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("8 of 8 steps ran")
    assert "$ planetcr-bench train dsen2_cr --data" in done.stderr
    comparison = tmp_path / "results" / "comparison"
    for protocol, run, other in (
        ("official", "dsen2_cr-narrow-window160", "protocol full"),
        ("full", "dsen2_cr-narrow", "protocol official"),
    ):
        tables = {path.name for path in (comparison / protocol).iterdir()}
        assert {"table2.md", "table2.tex", "fig5.png", "table3.md", "fig6.png"} <= tables
        page = (comparison / protocol / "table2.md").read_text()
        assert f"| {run} |" in page
        assert f"protocol {protocol}" in page
        assert other not in page
    crops = {
        row["input_window"] for row in json.loads((comparison / "official/table2.json").read_text())
    }
    assert crops == {None, "160"}
    segmenter = sha256_of(tmp_path / "work" / "train" / "segmenter" / "best.safetensors")
    ledger = read_ledger(tmp_path / "results" / "sim-v1-tiny" / "dsen2_cr-narrow")
    assert ledger.segmenters == (segmenter[:8],)
    code, out, _ = said(*words, "--json")
    assert (code, json.loads(out)["ran"]) == (0, [])
    write(config, CONFIG.replace("learning_rate = 1e-3", "learning_rate = 2e-3"))
    code, out, _ = said(*words, "--dry-run", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert list(rows) == STEPS
    assert [row["state"] for row in rows.values()] == ["done", "stale", *["waits"] * 6]
    assert rows["train dsen2_cr"]["why"] == "input learning_rate changed"
    assert rows["train dsen2_cr"]["hours"] > 0
    weights = tmp_path / "work" / "train" / "dsen2_cr" / "best.safetensors"
    before = weights.read_bytes()
    done = planetcr(*words)
    assert done.stdout.startswith("7 of 8 steps ran"), done.stderr
    assert weights.read_bytes() != before
    aside = tmp_path / "work" / "train" / "dsen2_cr.old-1"
    assert (aside / "best.safetensors").read_bytes() == before


def test_a_step_that_fails_is_named_and_nothing_is_lost(simulated: Path, tmp_path: Path) -> None:
    config = write(tmp_path / "plan.toml", CONFIG.replace("crop = 100", "crop = 95"))
    done = planetcr("reproduce", simulated, "--config", config, "--out", tmp_path / "work")
    assert done.returncode == 1
    assert "crop: expected a multiple of 10 pixels" in done.stderr
    assert "planetcr-bench train segmenter" in done.stderr
    assert "failed, see above" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_plan_of_the_paper_has_all_networks_in_its_order(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "planetcr_bench.networks.reproduction.estimate", lambda *_: {"train mcgan": 2}
    )
    code, out, _ = said("reproduce", simulated, "--out", tmp_path / "work", "--dry-run")
    assert code == 0
    trained = [line.split()[1] for line in out.splitlines() if line.startswith("train ")]
    assert trained == [
        "segmenter", "mcgan", "spa_gan", "sar_opt_cgan", "dsen2_cr", "glf_cr", "align_cr_no_sar",
        "align_cr_no_align", "align_cr",
    ]  # fmt: skip
    assert "2.00 h  never run" in out
    assert not (tmp_path / "work").exists()


def test_what_training_takes_can_be_said_for_each_method(tmp_path: Path) -> None:
    text = "[dsen2_cr]\nmicro_batches = 2\nval_share = 0.25\nclip = 1.0\noptions = { width = 8 }"
    config = write(tmp_path / "plan.toml", text)
    wish = load_config(
        ReproductionConfig(data=Path("sim"), out=Path("o"), results=Path("r"), config=config)
    )
    words = " ".join(train_arguments(request_of(wish, "dsen2_cr")))
    for option in (
        "--micro-batches 2",
        "--val-share 0.25",
        "--set clip=1.0",
        "--model-arg width=8",
    ):
        assert option in words
    assert "--micro-batches 1" in " ".join(train_arguments(request_of(wish, "glf_cr")))


def test_further_segmenters_differ_by_seed_and_table_and_see_every_run(
    simulated: Path, tmp_path: Path
) -> None:
    text = CONFIG + "[segmenter-3]\n[segmenter-2]\nepochs = 2\noptions = { encoder = 'resnet34' }\n"
    config = write(tmp_path / "plan.toml", text)
    wish = load_config(
        ReproductionConfig(
            data=simulated, out=tmp_path / "o", results=tmp_path / "r", config=config,
            optical_thickness=Path("told"),
        )
    )  # fmt: skip
    steps = plan_of(wish)
    assert [step.name for step in steps[:3]] == [
        "train segmenter",
        "train segmenter-2",
        "train segmenter-3",
    ]
    first, second, third = (" ".join(train_arguments(request_of(wish, f"segmenter{n}"))) for n in (
        "", "-2", "-3"
    ))  # fmt: skip
    for words, seed, epochs, encoder in (
        (second, 8, 2, "resnet34"), (third, 9, 1, "resnet18")
    ):  # fmt: skip
        assert words.startswith("train segmenter --data")
        for option in (f"seed={seed}", f"epochs={epochs}", f"encoder={encoder}", "batch=2"):
            assert f"{option} " in f"{words} "
    assert "seed=" not in first
    evaluate = next(step for step in steps if step.name.startswith("evaluate"))
    weights = [
        tmp_path / "o" / "train" / f"segmenter{n}" / "best.safetensors" for n in ("", "-2", "-3")
    ]
    assert evaluate.reads[1:] == tuple(weights)
    assert " ".join(evaluate.run.arguments).count("--segmenter") == 3
    assert evaluate.run.arguments[-2:] == ["--optical-thickness", "told"]


def test_predictions_of_other_scenes_are_made_anew(simulated: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(simulated, data)
    out = tmp_path / "preds" / "mean-fill"
    words = ["predict", "mean-fill", "--data", str(data), "--out", str(out)]
    said(*words)
    mask = next((data / "test").rglob("*.npy"))
    np.save(mask, ~np.load(mask))
    seen = fingerprint_of(find_scenes(data, "test"))
    assert "made otherwise" in said(*words)[2]
    predict_step(out, seen, None, "whole", words)()
    assert read_card(out).fingerprint == seen
    write_card(
        out, read_card(out).model_copy(update={"window": None})
    )  # as an earlier version wrote it
    predict_step(out, seen, None, "whole", words)()
    assert read_card(out).window == "whole"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methods = ['dsen2']", "did you mean 'dsen2_cr'?"),
        ("method = ['dsen2_cr']", "did you mean 'methods'?"),
        ("methods = 'dsen2_cr'", "expected methods to be a list"),
        ("untrained = ['mean']", "untrained: expected copy-cloudy, mean-fill"),
        ("[align_cr]\nepoch = 3", "did you mean 'epochs'?"),
        ("[align_cr]\noptions = { wide = 3 }", "align_cr has no 'wide'"),
        ("[align_cr]\noptions = 3", "align_cr.options"),
        ("methods = [3]", "expected methods to be names"),
        ("[segmenter]\nval_scenes = 'a'", "segmenter.val_scenes: got 'a'"),
        ("[segmenter]\nencoder_weights = 5", "segmenter.encoder_weights: got 5"),
        ("not toml", "cannot be read as TOML"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(
    text: str, message: str, simulated: Path, tmp_path: Path
) -> None:
    config = write(tmp_path / "plan.toml", text)
    code, _, err = said("reproduce", simulated, "--config", config, "--out", tmp_path / "work")
    assert code in (1, 2)
    assert message in err
    assert not (tmp_path / "work").exists()
