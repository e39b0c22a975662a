"""Run a command that is killed at one change of its files after another, then run it again.

::

    python kills.py TEMPLATE WORK SPREAD command argument …

TEMPLATE is copied to a folder below WORK for every kill, and the command runs there. SPREAD is how
many of the changes to be killed at, evenly chosen; 0 for all. Every change is met twice: just
before it, and, where it makes a file, once more with that file begun and no byte of sense in it.
After the kill the same command must succeed and leave what an undisturbed one leaves, byte by
byte, hidden files too. Prints one line for each kill after which it did not, and at the end how
many there were.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import sys
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from planetcr_bench.cli.app import app

TIMES = ("started", "seconds")
"""What ``run.json`` says that is never the same."""

ORDERS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}


class Killer:
    """An audit hook that counts changes of files below a folder, and ends its process at one.

    Args:
        folder: Of the files.
        stop: Number of the change, from 0; less than 0 for none.
        begun: Begin the file that the change makes.
    """

    def __init__(self, folder: Path, stop: int, *, begun: bool) -> None:
        self.folder, self.stop, self.begun = str(folder), stop, begun
        self.changes: list[bool] = []
        self.busy = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.busy or not self.changes_files(event, arguments):
            return
        self.busy = True
        path = os.fsdecode(arguments[0])
        makes = event == "open" and not os.path.lexists(path)
        if len(self.changes) == self.stop:
            if self.begun and makes:
                Path(path).write_bytes(b"\0half")
            os.kill(os.getpid(), signal.SIGKILL)
        self.changes.append(makes)
        self.busy = False

    def changes_files(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """Whether an event is one that matters."""
        if not arguments or not isinstance(arguments[0], str | bytes | os.PathLike):
            return False
        writes = event == "open" and bool(
            (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        )
        if not writes and event not in ORDERS:
            return False
        path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100  may be of any kind
        return path.startswith(self.folder)


def run(folder: Path, words: list[str], stop: int = -1, *, begun: bool = False) -> list[bool]:
    """Run the command in a fork of this process, in a folder; the changes that it made.

    Raises:
        RuntimeError: It failed, where it was not to be killed.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        os.close(read_end)
        os._exit(_run_here(folder, words, Killer(folder, stop, begun=begun), write_end))
    os.close(write_end)
    with os.fdopen(read_end, "rb") as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and stop >= 0:
        return []
    if status or not text:
        raise RuntimeError(f"exit {os.waitstatus_to_exitcode(status)}: {text.decode()[-2000:]}")
    changes: list[bool] = json.loads(text)
    return changes


def _run_here(folder: Path, words: list[str], killer: Killer, output: int) -> int:
    os.chdir(folder)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    errors = os.memfd_create("errors")
    os.dup2(errors, 2)
    sys.argv = ["planetcr-bench", *words]
    sys.addaudithook(killer)
    code = 1
    try:
        app(prog_name="planetcr-bench", args=words)
    except SystemExit as leave:
        code = int(leave.code or 0)
    except Exception:  # noqa: BLE001  the report of whatever went wrong
        traceback.print_exc()
    killer.busy = True
    sys.stderr.flush()
    text = json.dumps(killer.changes).encode()
    os.write(output, os.pread(errors, 100_000, 0) if code else text)
    return code


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but for its times, and every folder."""
    return {
        path.relative_to(folder).as_posix(): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.parent.name != "tensorboard"  # its files are named by the time
    }


def _content(path: Path) -> bytes:
    if path.is_dir():
        return b"a folder"
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return b"".join(
                _timeless(member, archive.read(member)) for member in archive.namelist()
            )
    return _timeless(path.name, path.read_bytes())


def _timeless(name: str, content: bytes) -> bytes:
    if name.endswith("run.json"):
        values = json.loads(content)
        return json.dumps({key: values[key] for key in values if key not in TIMES}).encode()
    if name.endswith("epochs.csv"):  # the last two columns are speeds
        return b"".join(b",".join(line.split(b",")[:-2]) for line in content.splitlines())
    if name.endswith(("report.md", "report.html")):
        return re.sub(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:+]+|[0-9.]+ s\b", b"then", content)
    return content


def differences(first: dict[str, bytes], second: dict[str, bytes]) -> list[str]:
    """Names of what is not the same."""
    return [
        name for name in sorted(first.keys() | second.keys()) if first.get(name) != second.get(name)
    ]


def chosen(count: int, spread: int) -> list[int]:
    """Numbers of changes, the last among them."""
    if not spread or spread >= count:
        return list(range(count))
    return sorted({round(step * (count - 1) / (spread - 1)) for step in range(spread)})


def kill_and_repeat(
    template: Path, work: Path, spread: int, words: list[str], say: Callable[[str], None]
) -> tuple[int, int]:
    """How many kills there were, and after how many of them not all was as it should be."""
    folder = work / "run"  # one place: some files name it

    def fresh() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(template, folder, symlinks=True)

    fresh()
    changes = run(folder, words)
    expected = tree(folder)
    kills = [(at, False) for at in chosen(len(changes), spread)]
    kills += [(at, True) for at in chosen(len(changes), spread) if changes[at]]
    bad = 0
    for at, begun in kills:
        fresh()
        run(folder, words, at, begun=begun)
        try:
            run(folder, words)
            odd = differences(expected, tree(folder))
        except RuntimeError as error:
            odd = [str(error)]
        if odd:
            bad += 1
            say(f"killed at {at} of {len(changes)}{' (begun)' if begun else ''}: {odd[:5]}")
    return len(kills), bad


PRELOADED = (
    "submission.accept",
    "predictions.predict",
    "simulation.writer",
    "leaderboard.page",
    "report.report",
)
"""What commands import, here once for all forks."""


if __name__ == "__main__":
    for _name in PRELOADED:
        importlib.import_module(f"planetcr_bench.{_name}")
    _template, _work, _spread, *_words = sys.argv[1:]
    _kills, _bad = kill_and_repeat(Path(_template), Path(_work), int(_spread), _words, print)
    print(f"{_bad} of {_kills} kills")
    sys.exit(1 if _bad or not _kills else 0)
