"""Bytes in, a file out: whole or not at all; and a folder that one process writes to at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from planetcr_bench.errors import BenchError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step: a reader sees the old content or the new, never a part."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def only_one(lock: Path, refusal: str) -> Iterator[None]:
    """Hold a lock for the while, or refuse; the lock of a process that was killed is free.

    Args:
        lock: File beside what is written.
        refusal: What to say if another process holds it.

    Raises:
        BenchError: Another process holds it.
    """
    held = filelock.FileLock(lock)
    try:
        held.acquire(timeout=0)
    except filelock.Timeout as error:
        raise BenchError(refusal) from error
    try:
        yield
    finally:
        held.release()
