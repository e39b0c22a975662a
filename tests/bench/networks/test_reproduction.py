"""One command runs from a dataset to tables; what is finished is not done again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from paths import files_in
from planetcr_bench.cli.app import app
from planetcr_bench.errors import BenchError, UsageError
from planetcr_bench.networks import reproduction
from planetcr_bench.networks.reproduction import (
    ReproductionConfig,
    Step,
    build_steps,
    estimate_hours,
    load_config,
    reproduce,
    train_arguments,
    training_request,
)
from planetcr_bench.results.ledger import read_ledger
from planetcr_bench.utils.files import file_sha256
from planetcr_models.errors import ModelError
from planetcr_models.weights import pretrained
from programs import planetcr
from stand_ins import write_stand_ins

CONFIG = """
methods = ["dsen2_cr"]
baselines = []
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
    "compare official",
    "compare full",
]


def said(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(word) for word in arguments])
    assert not isinstance(done.exception, Exception), done.exception
    return done.exit_code, done.stdout, done.stderr


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def loaded(tmp_path: Path, text: str = "", **changes) -> ReproductionConfig:
    options = {"data": Path("sim"), "out": tmp_path / "o", "results": tmp_path / "r", **changes}
    return load_config(write(tmp_path / "config.toml", text), ReproductionConfig(**options))


# --- Running --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_full_pipeline_runs_once_and_survives_a_kill(simulated: Path, tmp_path: Path) -> None:
    config = write(tmp_path / "config.toml", CONFIG)
    words = [
        "reproduce", simulated, "--config", config, "--out", tmp_path / "work",
        "--results", tmp_path / "results",
    ]  # fmt: skip
    weights = tmp_path / "work" / "train" / "dsen2_cr" / "best.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-m", "planetcr_bench", *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not weights.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = planetcr(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("8 steps are done")
    assert "$ planetcr-bench train dsen2_cr --data" in done.stderr
    comparison = tmp_path / "results" / "comparison"
    for protocol, run, other in (
        ("official", "dsen2_cr-narrow-window160", "protocol full"),
        ("full", "dsen2_cr-narrow", "protocol official"),
    ):
        tables = set(files_in(comparison / protocol))
        assert {
            "report.md",
            "tables/table2.tex",
            "figures/fig5.png",
            "tables/table3.tex",
            "figures/fig6.png",
        } <= tables
        page = (comparison / protocol / "report.md").read_text()
        assert f"| {run} |" in page
        assert f"protocol {protocol}" in page
        assert other not in page
    crops = {
        row["input_window"]
        for row in json.loads((comparison / "official/tables/table2.json").read_text())
    }
    assert crops == {None, "160"}
    segmenter = file_sha256(tmp_path / "work" / "train" / "segmenter" / "best.safetensors")
    ledger = read_ledger(tmp_path / "results" / "sim-v1-tiny" / "dsen2_cr-narrow")
    assert ledger.segmenters == (segmenter[:8],)

    made = [
        weights,
        *(tmp_path / "work" / "preds").rglob("*.tif"),
        *(tmp_path / "results" / "sim-v1-tiny").rglob("ledger.parquet"),
    ]
    before = [path.stat().st_mtime_ns for path in made]
    done = planetcr(*words)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("already scored") == 2
    assert [path.stat().st_mtime_ns for path in made] == before

    _, out, _ = said(*words, "--dry-run", "--json")
    rows = json.loads(out)
    assert [row["name"] for row in rows] == STEPS
    assert {row["hours"] for row in rows} == {0, None}  # nothing is left to train or to predict

    write(config, CONFIG.replace("learning_rate = 1e-3", "learning_rate = 2e-3"))
    done = planetcr(*words)
    assert done.returncode == 1
    assert "learning_rate: 0.001 in the checkpoint, 0.002 now" in done.stderr
    assert "train dsen2_cr: failed" in done.stderr
    assert [path.stat().st_mtime_ns for path in made] == before


def test_a_step_that_fails_is_named_and_nothing_is_lost(
    simulated: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(reproduction, "build_steps", lambda config: build_steps(config)[1:])
    config = write(tmp_path / "config.toml", "methods = []\nbaselines = ['mean-fill']")
    kept = tmp_path / "work" / "preds" / "mean-fill"
    kept.parent.mkdir(parents=True)
    kept.write_text("in the way")
    words = ["--out", tmp_path / "work", "--results", tmp_path / "results"]
    code, _, err = said("reproduce", simulated, "--config", config, *words)
    assert code == 1
    assert "planetcr-bench predict mean-fill" in err
    assert "predict mean-fill: failed, see above" in err
    assert kept.read_text() == "in the way"
    step = capfd.readouterr().err  # of a process of its own
    assert step.startswith("error: ")
    assert "mean-fill" in step
    assert "Traceback" not in err + step


@pytest.mark.parametrize(("code", "error"), [(1, BenchError), (130, KeyboardInterrupt)])
def test_no_step_runs_after_one_that_failed_or_was_interrupted(
    code: int, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = write(tmp_path / "program", f"#!/bin/sh\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    told: list[str] = []
    steps = [Step("train a", ["train", "a"]), Step("train b", ["train", "b"])]
    with pytest.raises(error):
        reproduce(loaded(tmp_path), steps, say=told.append)
    assert told == ["[1/2] train a\n$ planetcr-bench train a"]


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        time.sleep(0.1)
    pytest.fail("a minute has passed")


on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a step is not told of its parent's death"
)


@on_linux
@pytest.mark.parametrize("handler", ["default_int_handler", "SIG_IGN"])  # in the background
def test_no_step_outlives_a_reproduction_that_is_killed(handler: str, tmp_path: Path) -> None:
    step = write(tmp_path / "step", f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 300\n")
    step.chmod(0o755)
    code = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.{handler})
from planetcr_bench.networks.steps import Step, run_steps
sys.executable = {str(step)!r}
run_steps([Step("train a", ["train", "a"])], print)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        pid = tmp_path / "pid"
        wait_until(lambda: pid.exists() and pid.read_text().endswith("\n"))
        parent.kill()
    wait_until(lambda: not Path("/proc", pid.read_text().strip(), "cwd").exists())


@on_linux
def test_no_step_starts_after_its_reproduction_was_killed() -> None:
    code = """
import os, time
from planetcr_bench.networks.steps import _stop_with_parent
_stop_with_parent(os.getppid() + 1)
time.sleep(300)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGINT


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[dsen2_cr]\nepoch = 1", "[dsen2_cr]: recipe of dsen2_cr: has no 'epoch'; did you mean"),
        ("[all]\nepochs = 'x'", "[all]: recipe of dsen2_cr: expected epochs like 30, got 'x'"),
        ("[all]\nepochs = 0\n[dsen2_cr]", "[all], [dsen2_cr]: recipe of dsen2_cr: expected epochs"),
        ("[dsen2_cr.options]\nwidht = 8", "[dsen2_cr]: dsen2_cr has no 'widht'; did you mean"),
        ("[segmenter]\nepoch = 1", "[segmenter]: recipe of segmenter: has no 'epoch'"),
        ("[segmenter-2]\nepoch = 1", "[segmenter-2]: recipe of segmenter: has no 'epoch'"),
        ("[cloudseg]\nepochs = 1", "unknown key 'cloudseg'; known are"),
    ],
)
def test_what_a_file_says_wrong_is_named_with_file_and_table(
    simulated: Path, tmp_path: Path, text: str, reason: str
) -> None:
    config = write(tmp_path / "config.toml", f"methods = ['dsen2_cr']\n{text}")
    code, _, err = said("reproduce", simulated, "--config", config, "--out", tmp_path / "work")
    assert code == 2
    assert f"error: {config}: {reason}" in err


# --- The steps ------------------------------------------------------------------------------


def test_a_network_of_your_own_is_among_the_methods(simulated: Path, tmp_path: Path) -> None:
    file = tmp_path / "nets" / "mine.py"
    file.parent.mkdir()
    file.write_text("")
    text = (
        f'methods = ["dsen2_cr", "{file}:build"]\nsuffix = "-small"\n["{file}:build"]\n'
        "minutes = 5\noptions = { width = 8 }\n[all]\nbatch = 2\n"
    )
    config = loaded(tmp_path, text, data=simulated)
    steps = {step.name: step.arguments for step in build_steps(config)}
    assert [*steps][:3] == ["train segmenter", "train dsen2_cr", "train mine"]
    out = config.out / "train" / "mine"
    train, predict = steps["train mine"], steps["predict mine-small"]
    assert train[:2] == ["train", f"{file}:build"]
    assert train[train.index("--out") + 1] == str(out)
    assert train[-4:] == ["--set", "minutes=5", "--model-arg", "width=8"]
    assert predict[predict.index("--weights") + 1] == str(out / "best.safetensors")
    assert predict[predict.index("--model-arg") + 1] == "width=8"
    assert "evaluate mine-small-window160" in steps
    file.unlink()
    with pytest.raises(ModelError, match=r"mine\.py: expected a file that makes a network"):
        build_steps(config)
    with pytest.raises(UsageError, match=r"different names.* two runs would be 'mine'"):
        loaded(tmp_path, f'methods = ["mine.py:other", "{file}:build"]', data=simulated)


def test_a_variant_is_a_method_with_other_options_and_a_name_of_its_own(
    simulated: Path, tmp_path: Path
) -> None:
    text = (
        'methods = ["dsen2_cr", "dsen2_cr_no_sar"]\nsuffix = "-small"\nwindows = ["whole"]\n'
        "[all]\nbatch = 2\n"
        '[dsen2_cr_no_sar]\nmethod = "dsen2_cr"\noptions = { use_sar = false, width = 8 }\n'
    )
    config = loaded(tmp_path, text, data=simulated)
    steps = {step.name: step.arguments for step in build_steps(config)}
    train = steps["train dsen2_cr_no_sar"]
    assert train[:2] == ["train", "dsen2_cr"]
    assert train[train.index("--out") + 1] == str(config.out / "train" / "dsen2_cr_no_sar")
    assert train[-6:] == [
        "--set", "batch=2", "--model-arg", "use_sar=False", "--model-arg", "width=8"
    ]  # fmt: skip
    assert steps["predict dsen2_cr_no_sar-small"][1] == "dsen2_cr"
    assert not any("window160" in name for name in steps)  # one window is enough
    for protocol in ("official", "full"):  # both tables come from it
        assert steps[f"compare {protocol}"][-6].endswith("dsen2_cr_no_sar-small") or any(
            word.endswith("dsen2_cr_no_sar-small") for word in steps[f"compare {protocol}"]
        )
    for change, message in (
        ('[x]\nmethod = "dsen"\n', "dsen: no such"),
        ("[dsen2_cr_no_sar]\nwidth = 8\n", "dsen2_cr_no_sar"),
    ):
        with pytest.raises(UsageError, match=message):
            loaded(tmp_path, 'methods = ["x", "dsen2_cr_no_sar"]\n' + change, data=simulated)
    with pytest.raises(UsageError, match="windows"):
        loaded(tmp_path, "windows = []", data=simulated)


def test_a_variant_may_have_any_name(simulated: Path, tmp_path: Path) -> None:
    names = ["json", "model_config", "_small"]  # pydantic would not take them
    text = f"methods = {names}\n" + "".join(f"[{name}]\nmethod = 'dsen2_cr'\n" for name in names)
    steps = build_steps(loaded(tmp_path, text, data=simulated))
    assert [step.name for step in steps][1:4] == [f"train {name}" for name in names]


def test_a_window_that_is_named_twice_is_predicted_once(simulated: Path, tmp_path: Path) -> None:
    text = "methods = ['dsen2_cr']\nwindows = ['whole', 'whole']"
    names = [step.name for step in build_steps(loaded(tmp_path, text, data=simulated))]
    assert len({*names}) == len(names)


def test_options_that_exclude_each_other_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="nothing to do with --no-train"):
        loaded(tmp_path, until="train", train=False)
    loaded(tmp_path, jobs=2, devices=2, device="cpu")
    monkeypatch.setattr(reproduction, "choose_device", lambda _: "cuda")
    with pytest.raises(UsageError, match="--jobs 2: gives each job one GPU"):
        loaded(tmp_path, jobs=2, devices=2)


def test_without_training_the_named_weights_are_used(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "package")
    folder = write_stand_ins(tmp_path / "package", "dsen2_cr", "segmenter")
    folder.rename(folder.with_name("sim-v1-small"))
    text = (
        'methods = ["dsen2_cr", "twin"]\npretrained = "sim-v1-small"\nwindows = ["whole"]\n'
        '[twin]\nmethod = "dsen2_cr"\npretrained = "hf://me/no-sar"\n'
    )
    config = loaded(tmp_path, text, data=simulated, train=False)
    steps = {step.name: step.arguments for step in build_steps(config)}
    assert not any(name.startswith("train ") for name in steps)
    for run, weights in (("dsen2_cr", "sim-v1-small"), ("twin", "hf://me/no-sar")):
        predict, evaluate = steps[f"predict {run}"], steps[f"evaluate {run}"]
        assert predict[1] == "dsen2_cr"
        assert predict[predict.index("--weights") + 1] == weights
        assert evaluate[evaluate.index("--segmenter") + 1] == "sim-v1-small"
    assert estimate_hours(config) == {}
    misspelt = loaded(tmp_path, text.replace("small", "smal"), data=simulated, train=False)
    with pytest.raises(
        ModelError, match=r"sim-v1-smal: no such file.* did you mean 'sim-v1-small'"
    ):
        build_steps(misspelt)
    lacking = loaded(tmp_path, text.replace("pretrained", "# "), data=simulated, train=False)
    with pytest.raises(UsageError, match='expected pretrained = "NAME" for'):
        build_steps(lacking)


def test_the_steps_of_the_paper_have_all_networks_in_its_order(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduction, "estimate_hours", lambda _: {"train mcgan": 2})
    code, out, _ = said("reproduce", simulated, "--out", tmp_path / "work", "--dry-run")
    assert code == 0
    trained = [line.split()[1] for line in out.splitlines() if line.startswith("train ")]
    assert trained == [
        "segmenter", "mcgan", "spa_gan", "sar_opt_cgan", "dsen2_cr", "glf_cr", "align_cr_no_sar",
        "align_cr_no_align", "align_cr",
    ]  # fmt: skip
    assert "    2.00 h" in out
    assert not (tmp_path / "work").exists()


def test_what_training_takes_can_be_said_for_each_method(tmp_path: Path) -> None:
    text = "[dsen2_cr]\nmicro_batches = 2\nval_share = 0.25\nclip = 1.0\noptions = { width = 8 }"
    config = loaded(tmp_path, text)
    words = " ".join(train_arguments(training_request(config, "dsen2_cr")))
    for option in (
        "--micro-batches 2",
        "--val-share 0.25",
        "--set clip=1.0",
        "--model-arg width=8",
    ):
        assert option in words
    assert "--micro-batches 1" in " ".join(train_arguments(training_request(config, "glf_cr")))


def test_further_segmenters_differ_by_seed_and_table_and_see_every_run(
    simulated: Path, tmp_path: Path
) -> None:
    text = CONFIG + "[segmenter-3]\n[segmenter-2]\nepochs = 2\noptions = { encoder = 'resnet34' }\n"
    config = loaded(tmp_path, text, data=simulated, optical_thickness=Path("told"))
    steps = build_steps(config)
    assert [step.name for step in steps[:3]] == [
        "train segmenter",
        "train segmenter-2",
        "train segmenter-3",
    ]
    first, second, third = (
        " ".join(train_arguments(training_request(config, name)))
        for name in ("segmenter", "segmenter-2", "segmenter-3")
    )
    for words, seed, epochs, encoder in (
        (second, 8, 2, "resnet34"), (third, 9, 1, "resnet18")
    ):  # fmt: skip
        assert words.startswith("train segmenter --data")
        for option in (f"seed={seed}", f"epochs={epochs}", f"encoder={encoder}", "batch=2"):
            assert f"{option} " in f"{words} "
    assert "seed=" not in first
    evaluate = next(step for step in steps if step.name.startswith("evaluate"))
    given = [word for word in evaluate.arguments if word.endswith("best.safetensors")]
    names = [Path(word).parent.name for word in given]
    assert names == ["segmenter", "segmenter-2", "segmenter-3"]
    assert evaluate.arguments.count("--segmenter") == 3
    assert evaluate.arguments[-2:] == ["--optical-thickness", "told"]


def test_official_tables_come_from_the_centre_and_full_ones_from_whole_patches(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'suffix = "-narrow"\nbaselines = ["mean-fill"]\nmethods = ["dsen2_cr"]'
    config = loaded(tmp_path, text, data=simulated)
    steps = {step.name: step.arguments for step in build_steps(config)}
    whole, centre = "dsen2_cr-narrow", "dsen2_cr-narrow-window160"
    assert list(steps) == [
        "train segmenter", "train dsen2_cr",
        *(
            f"{word} {run}"
            for run in ("mean-fill", whole, centre)
            for word in ("predict", "evaluate")
        ),
        "compare official", "compare full",
    ]  # fmt: skip
    for run, crop in ((whole, "whole"), (centre, "official")):
        assert steps[f"predict {run}"][-2:] == ["--window", crop]
    for protocol, run in (("official", centre), ("full", whole)):
        runs = [str(tmp_path / "r" / "sim-v1-tiny" / name) for name in ("mean-fill", run)]
        folder = str(tmp_path / "r" / "comparison" / protocol)
        expected = ["compare", *runs, "--protocol", protocol, "--out", folder]
        assert steps[f"compare {protocol}"] == expected
    estimate = {"hours": 2.0, "scene_seconds": 36.0, "identity": {}, "steps": 100}
    monkeypatch.setattr(reproduction, "estimate_throughput", lambda *_, **__: estimate)
    hours = estimate_hours(config)
    assert hours["train dsen2_cr"] == 2
    assert hours[f"predict {whole}"] == hours[f"predict {centre}"] == pytest.approx(0.1)


@pytest.mark.parametrize(("track", "scenes", "shown"), [
    ("planet-cr", 3000, True), ("planet-cr", 10, False), ("sim-v1", 3000, False),
])  # fmt: skip
def test_tables_show_published_rows_only_for_the_whole_test_split_of_planet_cr(
    track: str, scenes: int, shown: bool, simulated: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(reproduction, "read_track", lambda *_, **__: track)
    monkeypatch.setattr(reproduction, "find_scenes", lambda *_, **__: [None] * scenes)
    *_, official, full = build_steps(loaded(tmp_path, data=simulated))
    assert ("--published" in official.arguments) == shown
    assert "--published" not in full.arguments


def test_the_file_of_make_learn_is_read(tmp_path: Path) -> None:
    options = ReproductionConfig(data=Path("sim"), out=tmp_path, results=tmp_path)
    config = load_config(Path(__file__).parents[2] / "learn.toml", options)
    assert config.segmenters == ["segmenter", "segmenter-2", "segmenter-3"]
    assert config.baselines[-1] == "sar-regression"
    request = training_request(config, "align_cr")
    assert {"scale.align=1.0", "epochs=30", "ema=0.99"} <= set(request.changes)
    assert (request.val_scenes, "width=16" in request.options) == (24, True)


# --- The file -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methods = ['dsen2']", "did you mean 'dsen2_cr'?"),
        ("method = ['dsen2_cr']", "did you mean 'methods'?"),
        ("methods = 'dsen2_cr'", "methods: expected a list, got 'dsen2_cr'"),
        ("baselines = ['mean']", "baselines: expected copy-cloudy, mean-fill"),
        ("[align_cr]\nepoch = 3", "did you mean 'epochs'?"),
        ("[align_cr]\noptions = { wide = 3 }", "align_cr has no 'wide'"),
        ("[align_cr]\noptions = 3", "align_cr.options"),
        ("methods = [3]", "methods[0]: expected text, got 3"),
        ("[segmenter]\nval_scenes = 'a'", "segmenter.val_scenes: expected a whole number, got 'a'"),
        ("[segmenter]\nencoder_weights = 5", "segmenter.encoder_weights: expected text, got 5"),
        ("[segmenter]\nmethod = 'align_cr'", "[segmenter]: method is for variants, which are"),
        ("[all]\nmethod = 'align_cr'", "[all]: method is for variants"),
        ("[all]\npretrained = 'x'", "[all]: for all methods put pretrained at the top"),
        ("[methods]\nmethod = 'align_cr'", "methods: expected a list, got"),
        ("[suffix]\nmethod = 'align_cr'", "suffix: expected text, got"),
        ("methods = ['a']\n[a]\nmethod = 'b'\n[b]\nmethod = 'align_cr'", "b: no such method"),
        ("suffix = '/small'", "expected names of runs of at most 80 letters"),
        ("methods = ['nété.py:build']", "got 'nété-window160'"),
        ("not toml", "cannot be read as TOML"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(
    text: str, message: str, simulated: Path, tmp_path: Path
) -> None:
    config = write(tmp_path / "config.toml", text)
    code, _, err = said("reproduce", simulated, "--config", config, "--out", tmp_path / "work")
    assert code in (1, 2)
    assert message in err
    assert not (tmp_path / "work").exists()
