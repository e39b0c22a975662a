"""Write files atomically, hash them, cache results and lock folders."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

import filelock
import platformdirs

from planetcr_bench.errors import BenchError
from planetcr_bench.utils.untrusted import check_regular


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file in one step: a reader sees the old content or the new, never a part."""
    with atomic_path(path) as partial, partial.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary file to write to, and put it in the place of ``path`` at the end.

    If the body raises, ``path`` stays as it was. What a killed process leaves, ``.NAME.partial``,
    is deleted when the file is written again.

    Args:
        path: The file to be written or replaced.

    Yields:
        ``.NAME.partial`` in the same folder, which does not exist yet.

    Raises:
        OSError: One of the two cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        yield partial
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """SHA-256 of a regular file, as hexadecimal digits.

    Raises:
        BenchError: It is missing, or no regular file.
    """
    check_regular(path, 2**40)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_shared(path: Path, content: bytes | memoryview) -> None:
    """Write a file atomically that other processes may write at the same time.

    What a killed process leaves, ``.NAME.NUMBER.partial``, is deleted by :func:`sweep`.

    Raises:
        OSError: It cannot be written.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            with suppress(OSError):  # without locks on this disk, nothing is swept either
                _lock(stream)
            stream.write(content)
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def sweep(folder: Path) -> None:
    """Delete partial files of killed processes, at any depth below a folder.

    A file that is being written is locked, from whichever machine. A process number would not be
    enough: several machines, or containers, may share a disk.
    """
    for path in folder.rglob(".*.partial"):
        if re.fullmatch(r"\..+\.[0-9a-f]+\.partial", path.name) and not path.is_symlink():
            with suppress(OSError), path.open("rb+") as stream:
                _lock(stream)
                path.unlink()


def _lock(stream: IO[bytes]) -> None:
    """Hold a lock on an open file until it is closed.

    Raises:
        OSError: Another process holds it, or the disk does not support locks.
    """
    with suppress(ImportError):  # Windows, which does not delete open files
        import fcntl

        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def cache_folder(what: str) -> Path:
    """Folder for one kind of recomputable data, in the user's cache."""
    return platformdirs.user_cache_path("planetcr-bench") / what


def cache_write(path: Path, content: bytes) -> None:
    """Write a file of the cache, if possible; a full or read-only cache only costs time."""
    with suppress(OSError):
        _sweep_once(path.parent)
        write_shared(path, content)


@cache
def _sweep_once(folder: Path) -> None:
    sweep(folder)


@contextmanager
def exclusive_lock(lock: Path, refusal: str) -> Iterator[None]:
    """Hold a lock within a ``with`` block, or refuse; the lock of a killed process is released.

    Args:
        lock: File in the folder that is written.
        refusal: Message if another process holds it.

    Raises:
        BenchError: Another process holds it.
    """
    file_lock = filelock.FileLock(lock)
    try:
        file_lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise BenchError(refusal) from error
    try:
        yield
    finally:
        file_lock.release()
