"""Provide functions for a cluster's workers, importable by name, and one that kills workers."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from dask.typing import Key
from distributed import WorkerPlugin

from planetcr_bench.errors import DatasetError


def squared(item: int) -> int:
    return item * item


def squared_slowly(item: int) -> int:
    time.sleep(0.2)
    return item * item


def killed_at_five(item: int) -> int:
    if item == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def status_of(path: Path) -> os.stat_result:
    return path.stat()


def broken(name: str) -> None:
    raise DatasetError(f"{name}: broken")


class OneIsKilled(WorkerPlugin):
    """Kills the first worker that begins a batch while a file exists, and deletes the file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def transition(self, key: Key, _: str, finish: str, **__: object) -> None:
        if finish == "executing" and str(key).startswith("planetcr-bench-"):
            with suppress(FileNotFoundError):
                self.file.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
