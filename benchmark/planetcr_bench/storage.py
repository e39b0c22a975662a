"""Bytes in, a file out: whole or not at all; and a folder that one process writes to at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
import platformdirs

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


def cache_folder(what: str) -> Path:
    """Folder of things of one kind that can be worked out again, in the user's cache."""
    return platformdirs.user_cache_path("planetcr-bench") / what


def remember(memory: Path, content: bytes) -> None:
    """Write a file of the cache, if possible: a full or read-only one costs time, nothing else."""
    partial = memory.with_name(f"{memory.name}.{os.getpid()}")
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(memory)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


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
