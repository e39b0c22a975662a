"""`make gpu` names its parts and runs, keeps training times equal, and reports what it has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from typer.main import get_command

import run
from parts import Part, Result, Runner
from paths import ROOT
from planetcr_bench.cli.app import app
from planetcr_models.networks.methods import list_models


def plan(folder: Path, *words: str) -> run.Plan:
    return run.Plan(run.parse(["--work", str(folder), *words]), "h200", 16)


def finished(folder: Path, parts: list[Part], seconds: float = 540) -> Runner:
    """A runner for which these parts are finished."""
    runner = Runner(folder, time.monotonic() + seconds, os.environ)
    runner.results = {
        part.name: Result(name=part.name, verdict="ok", seconds=35.0) for part in parts
    }
    return runner


def all_parts(plan: run.Plan, runner: Runner) -> list[Part]:
    stages = [plan.speed(), plan.tests(), plan.others(), plan.simulate(), plan.cache()]
    training = [*plan.segmenter(), *plan.train(20, 15)]
    results = plan.predict_and_evaluate(20, runner)
    return [*(part for stage in stages for part in stage), *training, *results]


@pytest.mark.parametrize("words", [(), ("--toy", "--device", "cpu")])
def test_every_command_is_one_that_the_program_accepts(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    made = plan(tmp_path, *words)
    parts = all_parts(made, finished(tmp_path, made.segmenter()))
    (tmp_path / "results/sim-v1-demo" / made.run_name(made.options.methods[0], 20)).mkdir(
        parents=True
    )
    runner = finished(tmp_path, parts)
    parts += made.compare(parts, runner)
    commands = get_command(app).commands
    checked = []
    for part in parts:
        if part.command[1:3] == ("-m", "planetcr_bench"):
            name, *arguments = part.command[3:]
            commands[name].make_context(name, arguments)
            checked.append(name)
    methods = len(made.options.methods)
    assert checked.count("train") == methods + 2  # the segmenter, and the cache
    assert {"simulate", "predict", "evaluate", "compare"} <= set(checked)


def test_networks_have_full_width_equal_time_and_a_schedule_that_fits(tmp_path: Path) -> None:
    parts = plan(tmp_path).train(20, 15)
    assert [part.name for part in parts] == [f"train {name}" for name in list_models()[::-1]]
    for part in parts:
        command = " ".join(part.command)
        assert "--model-arg" not in command
        assert "--minutes 0.333333" in command
        assert "--set epochs=6 " in command
        assert f"{part.name.split()[1]}-full-20s-h200" in command
    align = " ".join(parts[0].command)
    assert "--set constant_epochs=2 --set halve_every=1" in align


def test_parts_share_the_budget(tmp_path: Path) -> None:
    whole, half = plan(tmp_path), plan(tmp_path, "--budget", "270")
    for name in run.LIMITS:
        assert half.limit(name) == whole.limit(name) / 2
    fixed = sum(part.limit for part in (*whole.speed(), *whole.tests(), *whole.others()))
    fixed += sum(part.limit for part in (*whole.simulate(), *whole.cache(), *whole.segmenter()))
    trained = len(list_models()) * run.LEAST_SECONDS
    assert fixed + trained + whole.limit("results") < run.BUDGET


def test_training_time_is_what_the_budget_leaves_and_is_kept(tmp_path: Path) -> None:
    made = plan(tmp_path)
    runner = finished(tmp_path, made.segmenter(), seconds=394.5)
    runner.log("train segmenter").write_text('$ command\n{"minutes": 0.25}\n')
    assert run.overhead(runner) == pytest.approx(1.2 * (35 - 15))
    assert made.seconds(runner) == 14  # (394 - 90) / 8 - 24
    assert made.seconds(finished(tmp_path, [], seconds=30)) == 14
    assert plan(tmp_path, "--seconds", "7").seconds(runner) == 7


def test_without_a_segmenter_networks_are_evaluated_all_the_same(tmp_path: Path) -> None:
    made = plan(tmp_path)
    [_, evaluate, *_] = made.predict_and_evaluate(20, finished(tmp_path, []))
    assert evaluate.needs == ("predict mean-fill",)
    assert "--segmenter" not in evaluate.command
    [_, evaluate, *_] = made.predict_and_evaluate(20, finished(tmp_path, made.segmenter()))
    assert "--segmenter" in evaluate.command


def test_gpu_tests_are_found() -> None:
    files = {Path(file).name for file in run.gpu_tests()}
    assert {"test_dynamic_filter.py", "test_trainer.py", "test_deeplab.py"} <= files
    assert "test_run.py" not in files


def test_a_log_of_pytest_is_told_in_one_line() -> None:
    log = """
FAILED tests/models/layers/test_a.py::test_b[cuda-bf16] - AssertionError: 1
ERROR tests/models/test_c.py - ImportError
=========== 1 failed, 12 passed, 3 skipped in 20.52s ===========
"""
    told = "1 failed, 12 passed, 3 skipped in 20.52s; test_a.py::test_b[cuda-bf16]; test_c.py"
    assert run.say_tests(log) == told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--device", "cpu"), "networks of full width are not for a CPU; add --toy"),
        (("--budget", "0"), "argument --budget: invalid positive value: '0'"),
        (("--budget", "nan"), "argument --budget: invalid positive value: 'nan'"),
        (("--batch", "0"), "--batch: expected 1 or more"),
        (("--methods", "unet"), "argument --methods: invalid choice: 'unet'"),
        (("--toy", "--methods", "align_cr"), "--toy has dsen2_cr and mcgan only"),
    ],
)
def test_wrong_options_are_refused(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run.parse(words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_python_that_lacks_packages_is_told_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run.carried, "lacks", lambda: ["numba>=0.62", "typer>=0.15"])
    with pytest.raises(SystemExit):
        run.check_python()
    error = capsys.readouterr().err
    assert "lacks numba>=0.62, typer>=0.15: install them" in error
    assert len(error.splitlines()) == 1


MACHINE = {
    "versions": {"python": "3.12.3", "cores": 16},
    "errors": {},
    "gpu": {"name": "NVIDIA H200", "gib": 140},
}
STEPS = [
    {"network": "align_cr", "variant": "plain-32", "step_seconds": 0.9, "step_mebibytes": 60000.0},
    {
        "network": "align_cr",
        "variant": "ours-bf16",
        "step_seconds": 0.25,
        "step_mebibytes": 20000.0,
        "step_faster": 3.6,
        "step_smaller": 3.0,
    },
    {"network": "align_cr", "variant": "plain-tf32", "error": "out of memory"},
]


def test_the_summary_states_both_ratios_and_is_packed_with_the_curves(tmp_path: Path) -> None:
    options = run.parse(["--work", str(tmp_path)])
    (tmp_path / "speed-align_cr.json").write_text(json.dumps(STEPS))
    curve = tmp_path / "train/align_cr-full-20s-h200/epochs.csv"
    curve.parent.mkdir(parents=True)
    curve.write_text("epoch,psnr\n1,20\n")
    (curve.parent / "last.ckpt").write_bytes(b"large")
    report = run.Report(options, MACHINE)
    report.write([Result(name="tests", verdict="failed", seconds=3.2, note="1 failed")])
    text = (options.out / "summary.md").read_text()
    assert "in bf16 a training step is 3.60 × as fast" in text
    assert "takes 0.33 of its memory" in text
    assert "| align_cr | plain-tf32 | out of memory |" in text
    assert "| tests | failed | 3 | 1 failed |" in text
    assert json.loads((options.out / "summary.json").read_text())["speed"] == STEPS
    with tarfile.open(options.out / "results.tar.gz") as archive:
        names = set(archive.getnames())
    assert names == {"speed-align_cr.json", "train/align_cr-full-20s-h200/epochs.csv"}
    assert len([*options.out.iterdir()]) == 3


def script(folder: Path, *words: str, limits: dict[str, float]) -> subprocess.CompletedProcess[str]:
    """Run the script in another process, on a CPU, with other limits."""
    words = ("--toy", "--device", "cpu", "--budget", "6000", "--work", str(folder), *words)
    code = f"import run; run.LIMITS |= {limits}; raise SystemExit(run.main({list(words)}))"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests/gpu"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def verdicts(folder: Path) -> dict[str, str]:
    parts = json.loads((folder / "out/summary.json").read_text())["parts"]
    return {part["name"]: part["verdict"] for part in parts}


def test_a_network_is_trained_and_compared_though_parts_are_over_their_limits(
    tmp_path: Path,
) -> None:
    words = ("--seconds", "1", "--methods", "dsen2_cr", "--parts", "simulate", "train", "results")
    done = script(tmp_path, *words, limits={"cache": 0.1, "segmenter": 0.1})
    found = verdicts(tmp_path)
    for name in ("cache", "train segmenter"):
        assert found.pop(name) == "over its limit", done.stderr
    assert set(found.values()) == {"ok"}, done.stdout
    assert done.returncode == 1
    assert "dsen2_cr-toy-1s-cpu" in done.stdout[done.stdout.index("All networks") :]
    with tarfile.open(tmp_path / "out/results.tar.gz") as archive:
        names = archive.getnames()
    for end in ("dsen2_cr-toy-1s-cpu/ledger.parquet", "steps.csv", "report.md", "compare.log"):
        assert any(name.endswith(end) for name in names), end


@pytest.mark.slow
def test_everything_runs_on_a_cpu_and_resumes(tmp_path: Path) -> None:
    first = script(tmp_path, "--seconds", "2", limits={"others": 0.1})
    found = verdicts(tmp_path)
    assert found.pop("speed others") == "over its limit", first.stdout
    assert set(found.values()) == {"ok"}, first.stdout
    assert len(first.stdout[first.stdout.index("\n\n# ") :]) < 12_000
    for name in ("dsen2_cr", "mcgan"):
        assert f"{name}-toy-2s-cpu" in first.stdout
    again = script(tmp_path, "--seconds", "2", limits={"others": 200})
    assert again.returncode == 0, again.stdout
    assert again.stdout.count("done before") == len(found)
