"""Steps in, their files out: what was made before from the same things is not made again.

A step has finished for good while its inputs, the files it read and the files it made are as they
were when it last finished. Files are compared by content, never by time alone. What is known about
finished steps is the plan's memory, one file beside the results; paths in it are relative to its
folder, so that a folder of results can be moved.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import posixpath
import stat
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from planetcr_bench.errors import BenchError
from planetcr_bench.utils.files import atomic_write, exclusive_lock
from planetcr_bench.utils.folders import leads_up
from planetcr_bench.utils.untrusted import read_bytes

State = Literal["done", "stale", "never run", "waits"]
Files = dict[str, str | None]
"""Digest of each file at a path, by its name from the folder of the memory; None: nothing there."""

_FORMAT = 1
_SETTLED_NS = 2_000_000_000
"""The coarsest clock of a file system: a younger file can change and still show the same times."""


@dataclass(frozen=True)
class Step:
    """One thing to do, and everything that decides whether it must be done again.

    In folders, names that start with a dot and locks (``lock``, ``*.lock``) do not count, and a
    folder without files is as good as none.

    Args:
        name: What it does, unique in a plan, such as "train align_cr".
        run: Does it. It finds what an unfinished or older run left behind; nothing is deleted.
        inputs: What decides its output besides files: recipe, fingerprint of the data, versions.
        reads: Files or folders of the user or of earlier steps. All must be there when it starts.
        writes: Files or folders that it makes, and that no other step touches.
        hours: How long it will take, about.
    """

    name: str
    run: Callable[[], None]
    inputs: Mapping[str, str]
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    hours: float | None = None


@dataclass(frozen=True)
class Row:
    """What a run would do with one step.

    Args:
        name: Name of the step.
        state: "done" is skipped, "stale" and "never run" are run; whether a step that "waits" is
            run depends on what the steps before it make.
        why: What changed, is missing or is waited for, on one line; "" where the state says it all.
        hours: How long the step takes, about.
    """

    name: str
    state: State
    why: str
    hours: float | None


@dataclass(frozen=True)
class Finished:
    """A step as it was when it last finished: files before it ran and after."""

    inputs: dict[str, str]
    reads: dict[str, Files]
    writes: dict[str, Files]


@dataclass
class Memory:
    """What is known about finished steps.

    Args:
        path: File that keeps it.
        finished: Steps by name.
        digests: Size, times, inode and digest of each file, so that it is not read each time.
    """

    path: Path
    finished: dict[str, Finished]
    digests: dict[str, list[Any]]


def run_plan(steps: Sequence[Step], memory: Path, *, say: Callable[[str], None]) -> list[str]:
    """Run the steps that are not done, in order, and cache_write each as soon as it has finished.

    A step is segmented when its turn comes, so that a step which makes the same files again makes
    none of the following stale. Whatever a step raises is raised again; what finished before it
    stays done.

    Args:
        steps: All steps, each after those whose files it reads.
        memory: File of the plan's memory; its folder is made if need be.
        say: Takes one line per step and event.

    Returns:
        Names of the steps that were run.

    Raises:
        BenchError: Another run works in the folder of the memory; the memory is damaged (then
            nothing is run: work of days might be done again and overwritten); a step finds nothing
            at a path that it reads, or made nothing at one that it writes.
        OSError: A file cannot be read, or the memory cannot be written.
        ValueError: The steps make no plan, see :func:`describe`.
    """
    _check(steps, memory)
    memory.parent.mkdir(parents=True, exist_ok=True)
    ran = []
    refusal = f"{memory.parent}: another run works there; wait for it, or choose another folder"
    with exclusive_lock(memory.with_name(f".{memory.name}.lock"), refusal):
        known = load(memory)
        for number, step in enumerate(steps, start=1):
            label = f"[{number}/{len(steps)}] {step.name}"
            now, why = state(step, known)
            say(f"{label}: {now}{f', {why}' if why else ''}")
            if now != "done":
                begun = time.monotonic()
                _run(step, known)
                say(f"{label}: finished after {(time.monotonic() - begun) / 3600:.2f} hours")
                ran.append(step.name)
        _save(known)
    return ran


def describe(steps: Sequence[Step], memory: Path) -> list[Row]:
    """Say what a run would do, step by step, without writing anything.

    Raises:
        BenchError: The memory is damaged.
        OSError: A file cannot be read.
        ValueError: The steps make no plan: two have one name or write to one place, one reads
            what it or a later one writes, or one has the memory among its files.
    """
    _check(steps, memory)
    known = load(memory)
    rows: list[Row] = []
    unmade: list[tuple[Path, str]] = []
    for step in steps:
        makers = {
            path: maker
            for path in step.reads
            for made, maker in unmade
            if _overlap(path.resolve(), made)
        }
        now, why = state(step, known, unmade=makers)
        if now == "done" and makers:
            now, why = "waits", f"for {', '.join(dict.fromkeys(makers.values()))}"
        if now != "done":
            unmade += [(path.resolve(), step.name) for path in step.writes]
        rows.append(Row(step.name, now, why, step.hours))
    return rows


def state(step: Step, memory: Memory, *, unmade: Collection[Path] = ()) -> tuple[State, str]:
    """State of one step and, on one line, why.

    Args:
        step: Any step.
        memory: Takes up the digests of files that had to be read.
        unmade: Paths among the step's reads that another step will make first: not looked at.

    Returns:
        "done", "stale" or "never run"; then the first change found, or "".

    Raises:
        OSError: A file cannot be read.
    """
    last = memory.finished.get(step.name)
    if last is None:
        absent = [path for path in step.reads if path not in unmade and not path.exists()]
        return "never run", f"{absent[0]} is missing" if absent else ""
    why = _first_change(last, step, memory, unmade)
    return ("done", "") if why is None else ("stale", why)


def load(path: Path) -> Memory:
    """Read the memory of a plan; where there is no file, nothing has finished yet.

    Raises:
        BenchError: The file cannot be read, or is not as it was written. Nothing in it is believed.
    """
    if not os.path.lexists(path):
        return Memory(path, {}, {})
    content = read_bytes(path, 10**9)
    try:
        written = json.loads(content)
        known = written["known"]
        whole = written["format"] == _FORMAT and written["sha256"] == _seal(known)
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise BenchError(
            f"{path}: expected the memory of a plan as this version writes it, got a damaged or "
            "foreign file; bring back the right one, or delete it to run every step again"
        )
    finished = {name: Finished(**last) for name, last in known["finished"].items()}
    return Memory(path, finished, known["digests"])


def _save(memory: Memory) -> None:
    known = {
        "finished": {name: vars(last) for name, last in memory.finished.items()},
        "digests": memory.digests,
    }
    written = {"format": _FORMAT, "sha256": _seal(known), "known": known}
    atomic_write(memory.path, f"{json.dumps(written, indent=1)}\n".encode())


def _seal(known: Any) -> str:
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _run(step: Step, memory: Memory) -> None:
    inputs = dict(step.inputs)
    reads = _present(step.reads, memory, f"{step.name}: expected to read")
    _save(memory)  # a full or read-only disk shows now, not after hours of work
    step.run()
    writes = _present(step.writes, memory, f"{step.name}: expected it to make")
    memory.finished[step.name] = Finished(inputs, reads, writes)
    _save(memory)


def _present(paths: Sequence[Path], memory: Memory, expected: str) -> dict[str, Files]:
    found = {}
    for path in paths:
        files = _files(path, memory)
        if not any(files.values()):
            raise BenchError(f"{expected} {path}, found nothing there")
        found[_key(path, memory)] = files
    return found


def _first_change(
    last: Finished, step: Step, memory: Memory, unmade: Collection[Path]
) -> str | None:
    change = _difference(last.inputs, step.inputs)
    if change is not None:
        return f"input {change}"  # files may take long to read
    unknown = {_key(path, memory) for path in unmade}
    for paths, known in ((step.reads, last.reads), (step.writes, last.writes)):
        before: Files = {}
        for key, files in known.items():
            before |= files if key not in unknown else {}
        now: Files = {}
        for path in (path for path in paths if path not in unmade):
            files = _files(path, memory)
            if not any(files.values()):
                return f"{path} is missing"
            now |= files
        change = _difference(before, now)
        if change is not None:
            return change
    return None


def _difference(before: Mapping[str, str | None], now: Mapping[str, str | None]) -> str | None:
    """The first name whose value is not the same, and how it differs."""
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if old != new:
            return f"{name} {'is new' if old is None else 'is gone' if new is None else 'changed'}"
    return None


def _files(path: Path, memory: Memory) -> Files:
    key = _key(path, memory)
    if not path.is_dir():
        return {key: _digest(path, key, memory)}
    files: Files = {}
    for folder, folders, names in os.walk(path, onerror=_refuse, followlinks=True):
        folders[:] = [
            name for name in folders if _counts(name) and not leads_up(Path(folder, name))
        ]
        below = Path(folder).relative_to(path)
        for name in filter(_counts, names):
            inside = posixpath.join(key, (below / name).as_posix())
            files[inside] = _digest(path / below / name, inside, memory)
    return files


def _digest(file: Path, key: str, memory: Memory) -> str | None:
    """Digest of one file, remembered for as long as its size, times and inode stay."""
    now = time.time_ns()
    try:
        status = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    *known, digest = memory.digests.get(key, [None])
    if known == stamp:
        return str(digest)
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if status.st_ctime_ns + _SETTLED_NS < now:
        memory.digests[key] = [*stamp, digest]
    return digest


def _counts(name: str) -> bool:
    return not name.startswith(".") and name != "lock" and not name.endswith(".lock")


def _refuse(error: OSError) -> None:
    raise error


def _key(path: Path, memory: Memory) -> str:
    return Path(os.path.relpath(path.resolve(), memory.path.parent.resolve())).as_posix()


def _check(steps: Sequence[Step], memory: Path) -> None:
    own = (memory.resolve(),)
    real = [replace(step, reads=_real(step.reads), writes=_real(step.writes)) for step in steps]
    for step in real:
        for path in _shared((*step.reads, *step.writes), own):
            raise ValueError(f"{step.name}: {path} is or holds the memory of the plan")
        for path in _shared(step.reads, step.writes):
            raise ValueError(f"{step.name} reads {path}, which it writes itself")
    for first, then in itertools.combinations(real, 2):
        if first.name == then.name:
            raise ValueError(f"two steps are called {first.name}")
        for path in _shared(first.reads, then.writes):
            raise ValueError(f"{first.name} reads {path}, which {then.name} writes later")
        for path in _shared(first.writes, then.writes):
            raise ValueError(f"{first.name} and {then.name} both write {path}")


def _real(paths: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(path.resolve() for path in paths)


def _shared(paths: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    return [one for one, other in itertools.product(paths, others) if _overlap(one, other)]


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
