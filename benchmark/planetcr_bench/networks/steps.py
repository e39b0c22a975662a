"""Run commands of this program one after the other, or several side by side."""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from planetcr_bench.errors import BenchError
from planetcr_bench.utils.parallel import processors

INTERRUPTED: Final = 130
"""Exit code of a command that the user stopped."""

_POLL: Final = 0.1  # seconds between two looks at running commands


@dataclass(frozen=True, slots=True)
class Step:
    """One command of this program.

    Attributes:
        name: Unique among the steps, such as ``train align_cr``.
        arguments: Of ``planetcr-bench``.
        stage: Steps of a stage start when all of the stages before are done.
        chain: Within a stage, steps of one chain run in their order, and chains side by side.
    """

    name: str
    arguments: list[str]
    stage: int = 0
    chain: str = ""

    @property
    def command(self) -> str:
        """The command as typed into a shell."""
        return f"planetcr-bench {shlex.join(self.arguments)}"


@dataclass(frozen=True, slots=True)
class _Running:
    step: Step
    process: subprocess.Popen[bytes]
    slot: int
    log: Path | None


def run_steps(
    steps: Sequence[Step],
    say: Callable[[str], None],
    *,
    jobs: int = 1,
    logs: Path | None = None,
    gpus: int = 0,
) -> None:
    """Run each step in a process of its own.

    Args:
        steps: In an order in which they can run.
        say: Called with the number, name and command of each step when it starts.
        jobs: Steps to run at a time. Each gets its share of the processors, and with ``gpus`` one
            of them.
        logs: Folder for what several steps at a time print; one at a time prints to the terminal.
        gpus: Number of GPUs to share among the jobs; 0: leave the choice to the steps.

    Raises:
        BenchError: A step failed; those that had finished are done, and others were interrupted.
        KeyboardInterrupt: The user stopped it.
    """
    waiting, running, finished = list(steps), list[_Running](), 0
    with ExitStack() as stack:
        stack.callback(_interrupt, running)
        while waiting or running:
            while len(running) < jobs and (step := _next(waiting, running)) is not None:
                waiting.remove(step)
                finished += 1
                say(f"[{finished}/{len(steps)}] {step.name}\n$ {step.command}")
                slot = min({*range(jobs)} - {other.slot for other in running})
                running.append(_start(step, slot, jobs=jobs, logs=logs, gpus=gpus))
            time.sleep(_POLL)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                _check(one)


def _next(waiting: Sequence[Step], running: Sequence[_Running]) -> Step | None:
    """The first step that need not wait for a running one."""
    open_steps = [*(one.step for one in running), *waiting]
    stage = min((step.stage for step in open_steps), default=0)
    busy = {one.step.chain for one in running}
    for step in waiting:
        if step.stage == stage and step.chain not in busy:
            return step
        busy.add(step.chain)  # a later step of the same chain waits for this one
    return None


def _start(step: Step, slot: int, *, jobs: int, logs: Path | None, gpus: int) -> _Running:
    log = None
    if jobs > 1 and logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
        log = logs / f"{step.name.replace(' ', '-').replace('/', '-')}.log"
    with ExitStack() as stack:
        process = subprocess.Popen(  # noqa: S603  # our own command
            [sys.executable, "-m", "planetcr_bench", *step.arguments],
            stdout=subprocess.DEVNULL,
            stderr=None if log is None else stack.enter_context(log.open("wb")),
            env=environment(slot, jobs=jobs, gpus=gpus),
            start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
            # unsafe beside threads that hold locks; this process has none
            preexec_fn=partial(_stop_with_parent, os.getpid()) if _TELLS_OF_PARENTS else None,  # noqa: PLW1509
        )
    return _Running(step, process, slot, log)


def environment(slot: int, *, jobs: int, gpus: int) -> Mapping[str, str]:
    """Environment of a job, with its share of the processors and its GPU."""
    if jobs == 1:
        return os.environ
    threads = {"OMP_NUM_THREADS": str(max(1, processors() // jobs))}  # unless it is set already
    visible = list(filter(None, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")))[:gpus]
    visible = visible or [str(number) for number in range(gpus)]
    device = {"CUDA_VISIBLE_DEVICES": visible[slot % len(visible)]} if gpus else {}
    return {**threads, **os.environ, **device}


def _check(one: _Running) -> None:
    code = one.process.returncode
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        said = "see above"
        if one.log is not None:
            lines = one.log.read_text(errors="replace").split("\n")
            reasons = [line for line in lines if line.startswith("error: ")]
            said = (reasons or [f"see {one.log}"])[-1].removeprefix("error: ")
        raise BenchError(
            f"{one.step.name}: failed, {said}; the steps before it are done, and the same "
            "command resumes here"
        )


def _interrupt(running: Sequence[_Running]) -> None:
    """Stop what still runs as Ctrl-C does, and wait: training saves what it has, unless hurried."""
    for one in running:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGINT)
    try:
        for one in running:
            one.process.wait()
    except KeyboardInterrupt:
        _interrupt(running)


_TELLS_OF_PARENTS: Final = sys.platform == "linux"


def _stop_with_parent(parent: int) -> None:
    """Have Linux interrupt this process, as Ctrl-C does, when the one that started it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored by what a script runs in the background
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGINT)
    if os.getppid() != parent:  # it was killed before
        os.kill(os.getpid(), signal.SIGINT)
