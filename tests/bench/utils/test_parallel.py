"""Test that no worker process outlives an error, and that failures are one line."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from parallel_work import blocked, fail_or_sleep
from paths import ROOT
from planetcr_bench.errors import BenchError
from planetcr_bench.utils import parallel


def test_workers_ignore_ctrl_c_from_the_start() -> None:
    code = (
        "from planetcr_bench.utils.parallel import run_ordered\nfrom parallel_work import blocked\n"
        "print(*run_ordered(blocked, range(2), workers=1))"
    )  # in a process of its own, for this one may have started workers' parent otherwise
    path = os.pathsep.join([str(ROOT / "tests/bench"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert done.stdout == "True True\n", done.stderr


def test_no_worker_outlives_an_error() -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match="zero") as kept:
        [*parallel.run_ordered(fail_or_sleep, [0, 1], workers=2, batch=1)]
    assert kept.value.__traceback__ is not None
    assert not multiprocessing.active_children()
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "problem", [OSError(errno.ENOSPC, "No space left on device"), EOFError(), ImportError("sem")]
)
def test_workers_that_cannot_start_are_reported_in_one_line(
    problem: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(parallel, "ProcessPoolExecutor", refuse)
    with pytest.raises(BenchError, match=r"cannot be started.*--workers 0") as told:
        [*parallel.run_ordered(blocked, [1, 2], workers=2)]
    assert "\n" not in str(told.value)


def test_ctrl_c_waits_until_processes_have_started() -> None:
    done = []

    def start() -> None:
        with parallel._uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("started")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            start()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == ["started"]
