"""Make a folder or file beside its final path and move it there in one step."""

from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from planetcr_bench.errors import SubmissionError, UsageError
from planetcr_bench.results.files import CARD, LEDGER
from planetcr_bench.utils.files import exclusive_lock

MADE: Final = "made"
"""Name of what takes the place of ``out``."""

_OLD: Final = "old"
"""Name of what is replaced, for as long as nothing is in its place."""


def overlap(path: Path, other: Path) -> bool:
    """Whether two paths are the same, or one lies in the other."""
    path, other = path.resolve(), other.resolve()
    return path == other or path in other.parents or other in path.parents


@contextmanager
def staged(out: Path, may_replace: Callable[[Path], bool], *, replace_old: bool) -> Iterator[Path]:
    """An empty folder beside ``out``: what is ``made`` in it takes its place at the end, whole.

    What a killed process has left there is put back or deleted first. If it was killed after the
    move, the same is made again, and nothing is replaced.

    Args:
        out: What will be written.
        may_replace: Whether nothing else is lost with what is there.
        replace_old: Replace what is there.

    Raises:
        SubmissionError: Something is at ``out``, and ``replace_old`` is not given.
        UsageError: What is to be replaced is a link, or holds anything that would be lost.
        BenchError: Another process writes there.
    """
    unfinished = out.with_name(f".{out.name}.entry.unfinished")
    if unfinished.is_symlink():
        raise UsageError(f"{unfinished}: expected no link there, what is unfinished goes there")
    may_be_done = unfinished.exists() and out.exists() and not replace_old
    if not may_be_done:
        _refuse_old(out, may_replace, replace_old=replace_old)  # before anything is made
    work = unfinished / "work"
    unfinished.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(unfinished / "lock", f"{out}: another process writes there; wait for it"):
        _restore(work, out)
        work.mkdir()
        try:
            yield work
            if not (may_be_done and may_replace(out) and _sums(out) == _sums(work / MADE)):
                # something may have been put there in the meantime
                _refuse_old(out, may_replace, replace_old=replace_old)
                if out.exists():
                    out.rename(work / _OLD)
                (work / MADE).rename(out)
        finally:
            _restore(work, out)
            shutil.rmtree(unfinished, ignore_errors=True)


def _restore(work: Path, out: Path) -> None:
    """Put back what was moved out of the way for nothing, and delete the rest."""
    if (work / _OLD).exists() and not out.exists():
        (work / _OLD).rename(out)
    shutil.rmtree(work, ignore_errors=True)


def _sums(path: Path) -> dict[str, int]:
    """Check sums of the card and ledger of an entry or run."""
    names = (CARD, LEDGER)
    if path.is_dir():
        files = [path / name for name in names if (path / name).is_file()]
        return {file.name: zlib.crc32(file.read_bytes()) for file in files}
    with zipfile.ZipFile(path) as archive:
        return {
            info.filename: info.CRC for info in archive.infolist() if info.filename.endswith(names)
        }


def _refuse_old(out: Path, may_replace: Callable[[Path], bool], *, replace_old: bool) -> None:
    if not os.path.lexists(out):
        return
    if not replace_old:
        raise SubmissionError(
            f"{out}: expected no such file or folder, found one; replace it with --replace"
        )
    if out.is_symlink():
        raise UsageError(f"--replace: expected no link at {out}; give what it points to")
    if not may_replace(out):
        what = f"nothing but what it replaces at {out}, whole"
        raise UsageError(f"--replace: expected {what}; found more, or less; move that away")
