"""Write files atomically, hash them, and refuse what is no file; imports no PyTorch."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from planetcr_models.errors import CheckpointError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary file to write to, and put it in the place of ``path`` at the end.

    If the body raises, ``path`` stays as it was, and the temporary file is deleted.
    """
    beside = path.with_name(f".{path.name}.partial")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def expect_file(path: Path, what: str) -> None:
    """Raise CheckpointError unless there is a regular file; ``what`` says which was expected.

    Opening a pipe would block for ever, and reading a device may never end.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a device or a socket"
            raise CheckpointError(f"{path}: expected {what}, found {kind}")
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: expected {what}, found no such file") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a regular file, as hexadecimal digits.

    Raises:
        CheckpointError: It is missing, no regular file, or cannot be read.
    """
    expect_file(path, "a file of weights")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
