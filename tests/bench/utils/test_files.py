"""Test atomic writes, locks, and the removal of what killed processes left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from planetcr_bench.utils.files import atomic_write, cache_write, sweep, write_shared

WRITES = """
import os, sys, time
from pathlib import Path
from planetcr_bench.utils import files as storage
def wait(stream):
    lock(stream)
    print("locked", flush=True)
    time.sleep(60)
lock, storage._lock = storage._lock, wait
storage.write_shared(Path(sys.argv[1]), b"content")
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("write", [atomic_write, write_shared, cache_write])
def test_a_file_is_written_completely_and_nothing_else(tmp_path: Path, write: object) -> None:
    for content in (b"one", b"two"):
        write(tmp_path / "file.tif", content)
        assert (tmp_path / "file.tif").read_bytes() == content
        assert names(tmp_path) == ["file.tif"]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "file" / "inside").mkdir(parents=True)
    for write in (atomic_write, write_shared):
        with pytest.raises(OSError, match="file"):
            write(tmp_path / "file", b"content")
    cache_write(tmp_path / "file", b"content")
    assert names(tmp_path) == ["file"]


def test_files_of_killed_processes_are_removed_and_those_of_running_ones_are_not(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITES, folder / "file.tif"], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "locked\n"
    (begun,) = names(folder)
    assert begun.startswith(".file.tif.")
    assert begun.endswith(".partial")
    sweep(tmp_path)
    assert names(folder) == [begun]
    writer.kill()
    writer.wait()
    writer.stdout.close()
    sweep(tmp_path)
    assert names(folder) == []


def test_only_unfinished_files_are_removed(tmp_path: Path) -> None:
    kept = [".lock", ".file.partial", "file.1234.partial", ".file.1234", ".file.thesis.partial"]
    for name in kept:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".folder.1.partial").mkdir()
    (tmp_path / ".link.1.partial").symlink_to("file.1234.partial")
    os.mkfifo(tmp_path / ".pipe.1.partial")
    (tmp_path / ".file.tif.18527.partial").write_text("of an earlier version, by its process")
    sweep(tmp_path)
    assert ".file.tif.18527.partial" not in names(tmp_path)
    assert {*kept, ".folder.1.partial", ".link.1.partial"} <= set(names(tmp_path))


def test_the_cache_is_cleaned_once(tmp_path: Path) -> None:
    (tmp_path / ".a.json.12345678.partial").write_text("begun")
    cache_write(tmp_path / "b.json", b"{}")
    assert names(tmp_path) == ["b.json"]
