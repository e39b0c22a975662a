"""Run commands one after the other or side by side, each within its own time limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

GRACE = 5.0
"""Seconds between asking a part to end, and ending it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One command.

    Attributes:
        name: Unique, such as ``train align_cr``; its log is named after it.
        command: Program and arguments.
        limit: Seconds after which it is ended, with all processes it has started.
        needs: Names of parts without which it is left out.
        says: What its log adds to the verdict.
    """

    name: str
    command: tuple[str, ...]
    limit: float
    needs: tuple[str, ...] = ()
    says: Callable[[str], str] = lambda _: ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a part ended: ``ok``, ``failed``, ``over its limit``, ``left out``."""

    name: str
    verdict: str
    seconds: float
    note: str = ""
    command: tuple[str, ...] = ()


class Runner:
    """Runs parts until a deadline, and remembers in ``state.json`` which are finished.

    Args:
        work: Folder of ``state.json`` and of ``logs/``.
        deadline: By :func:`time.monotonic`; no part runs longer.
        environment: Of all commands.
        finished: Called after each part with all results, such as to write them.
    """

    def __init__(
        self,
        work: Path,
        deadline: float,
        environment: Mapping[str, str],
        finished: Callable[[Sequence[Result]], object] = lambda _: None,
    ) -> None:
        self.work, self.deadline, self.environment = work, deadline, dict(environment)
        self.finished, self.started = finished, time.monotonic()
        self.results: dict[str, Result] = {}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        (work / "logs").mkdir(parents=True, exist_ok=True)
        self._before = self._read_state()

    def left(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self.deadline - time.monotonic())

    def log(self, name: str) -> Path:
        """Log of a part, with its command in the first line."""
        return self.work / "logs" / f"{name.replace(' ', '-')}.log"

    def run(self, parts: Sequence[Part], *, together: int = 1) -> None:
        """Run parts, up to ``together`` at a time; they are in order of their needs."""
        if together == 1:
            for part in parts:
                self._record(self._result_of(part))
            return
        events = {part.name: threading.Event() for part in parts}

        def one(part: Part) -> None:
            for name in part.needs:
                if name in events:
                    events[name].wait()
            try:
                self._record(self._result_of(part))
            finally:
                events[part.name].set()

        with ThreadPoolExecutor(together) as pool:
            try:
                for future in [pool.submit(one, part) for part in parts]:
                    future.result()
            except BaseException:
                self.stop()  # before the pool waits for them
                raise

    def stop(self) -> None:
        """End all running parts, with their children."""
        self.deadline = 0.0  # begin no further one
        for process in list(self._running):
            end(process, signal.SIGKILL)

    def ok(self, name: str) -> bool:
        """Whether a part is finished, by now or before."""
        result = self.results.get(name, self._before.get(name))
        return result is not None and result.verdict == "ok"

    def _result_of(self, part: Part) -> Result:
        missing = [name for name in part.needs if not self.ok(name)]
        if missing:
            note = f"needs {', '.join(missing)}"
            return Result(name=part.name, verdict="left out", seconds=0.0, note=note)
        before = self._before.get(part.name)
        if before is not None and before.verdict == "ok" and before.command == part.command:
            return before
        limit = min(part.limit, self.left())
        if limit < 1:
            return Result(name=part.name, verdict="left out", seconds=0.0, note="no time left")
        start = time.monotonic()
        code = self._call(part, limit)
        seconds, log = time.monotonic() - start, self.log(part.name).read_text(errors="replace")
        verdict = {0: "ok", None: "over its limit"}.get(code, "failed")
        note = f"ended after {limit:.0f} s" if code is None else f"exit status {code}"
        with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
            said = part.says(log)  # of a log that may be incomplete
            note = said if code == 0 else f"{note}; {said}" if said else note
        if verdict == "failed":
            note += f": {last_line(log)}"
        return Result(
            name=part.name, verdict=verdict, seconds=seconds, note=note, command=part.command
        )

    def _call(self, part: Part, limit: float) -> int | None:
        """Exit status of the command; None if it was ended."""
        with self.log(part.name).open("wb") as log:
            log.write(f"$ {' '.join(part.command)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                part.command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running.add(process)
            try:
                return process.wait(limit)
            except subprocess.TimeoutExpired:
                end(process, signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
                return None
            finally:
                end(process, signal.SIGKILL)  # whatever it has left behind
                process.wait()
                self._running.discard(process)

    def _record(self, result: Result) -> None:
        with self._lock:
            again = result is self._before.get(result.name)
            self.results[result.name] = result
            clock = f"[{time.monotonic() - self.started:5.0f} s]"
            verdict = "done before" if again else result.verdict
            line = f"{clock} {result.name:24} {verdict:14} {result.seconds:5.0f} s  {result.note}"
            print(line.rstrip(), flush=True)
            kept = self._before | self.results
            write_json(self.work / "state.json", [asdict(entry) for entry in kept.values()])
            self.finished([*self.results.values()])

    def _read_state(self) -> dict[str, Result]:
        try:
            entries = json.loads((self.work / "state.json").read_text())
            results = [Result(**entry | {"command": tuple(entry["command"])}) for entry in entries]
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return {}  # nothing, or not ours: every part runs
        return {result.name: result for result in results}


def end(process: subprocess.Popen[bytes], kind: signal.Signals) -> None:
    """Send a signal to a process and all its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, kind)


def last_line(log: str) -> str:
    """The last line that says something, shortened."""
    lines = [line.strip() for line in log.splitlines()[1:] if line.strip()]
    return lines[-1][:160] if lines else "no output"


def last_json(log: str) -> Any:
    """The last line of a log that is a JSON object or list.

    Raises:
        ValueError: There is none.
    """
    for line in reversed(log.splitlines()):
        if line.startswith(("{", "[")):
            with contextlib.suppress(ValueError):
                return json.loads(line)
    raise ValueError("no JSON in the log")


def write_json(path: Path, content: object) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1))
    partial.replace(path)
