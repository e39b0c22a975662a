"""Steps run in processes of their own: in order, side by side, and none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from planetcr_bench.errors import BenchError
from planetcr_bench.networks.steps import Step, environment, run_steps

PROGRAM = """#!/bin/sh
# arguments: -m planetcr_bench NAME SECONDS CODE
echo "begin $3 $OMP_NUM_THREADS $CUDA_VISIBLE_DEVICES" >> {log}
trap 'echo "stopped $3" >> {log}; exit 130' INT
if [ "$5" != 0 ]; then echo "error: $3 is broken" >&2; fi
sleep "$4" & wait $!
echo "end $3" >> {log}
exit "$5"
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    log, program = tmp_path / "log", tmp_path / "program"
    program.write_text(PROGRAM.format(log=log))
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return log


def step(name: str, stage: int = 0, chain: str = "", *, seconds: float = 0, code: int = 0) -> Step:
    return Step(name, [name, str(seconds), str(code)], stage, chain or name)


def events(log: Path) -> list[str]:
    return [" ".join(line.split()[:2]) for line in log.read_text().splitlines()]


def test_one_after_the_other_in_their_order(log: Path) -> None:
    told: list[str] = []
    run_steps([step("b"), step("a"), step("c", 1)], told.append)
    assert events(log) == ["begin b", "end b", "begin a", "end a", "begin c", "end c"]
    assert told[0] == "[1/3] b\n$ planetcr-bench b 0 0"


def test_chains_run_side_by_side_and_stages_one_after_the_other(log: Path, tmp_path: Path) -> None:
    steps = [
        step("a1", 0, "a", seconds=0.6), step("a2", 0, "a"), step("b1", 0, "b", seconds=0.2),
        step("c", 1),
    ]  # fmt: skip
    run_steps(steps, lambda _: None, jobs=2, logs=tmp_path / "logs")
    order = events(log)
    assert set(order[:2]) == {"begin a1", "begin b1"}
    assert order.index("end a1") < order.index("begin a2")
    assert order[-2:] == ["begin c", "end c"]
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [
        "a1.log", "a2.log", "b1.log", "c.log",
    ]  # fmt: skip


def test_jobs_share_processors_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(8)}, raising=False)
    assert environment(0, jobs=1, gpus=4) is os.environ
    assert environment(1, jobs=4, gpus=0)["OMP_NUM_THREADS"] == "2"
    assert [environment(slot, jobs=4, gpus=2)["CUDA_VISIBLE_DEVICES"] for slot in range(4)] == [
        "0", "1", "0", "1",
    ]  # fmt: skip
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [environment(slot, jobs=3, gpus=2)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == [
        "5", "7", "5",
    ]  # fmt: skip
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert environment(1, jobs=4, gpus=0)["OMP_NUM_THREADS"] == "1"


def test_a_failure_is_told_and_others_are_interrupted(log: Path, tmp_path: Path) -> None:
    steps = [step("slow", seconds=60), step("bad", seconds=0.3, code=1), step("later", 1)]
    with pytest.raises(BenchError, match=r"bad: failed, bad is broken; the steps before it"):
        run_steps(steps, lambda _: None, jobs=2, logs=tmp_path / "logs")
    assert "stopped slow" in events(log)
    assert not any("later" in event for event in events(log))


def test_ctrl_c_reaches_every_step_once(log: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from planetcr_bench.networks.steps import Step, run_steps
sys.executable = {sys.executable!r}
run_steps([Step(n, [n, "60", "0"], 0, n) for n in "ab"], lambda _: None, jobs=2)
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    python = os.path.realpath("/proc/self/exe") if sys.platform == "linux" else sys.executable
    with subprocess.Popen(
        [python, str(script)], start_new_session=True, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:  # fmt: skip
        for _ in range(300):
            if log.exists() and log.read_text().count("begin") == 2:
                break
            time.sleep(0.1)
        os.killpg(parent.pid, signal.SIGINT)  # as a terminal does
        parent.wait(30)
    assert sorted(events(log)) == ["begin a", "begin b", "stopped a", "stopped b"]
