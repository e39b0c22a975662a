"""Packages that a bare machine lacks are packed, and used where they are missing."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import carried
from paths import ROOT


def test_this_python_has_what_the_script_needs() -> None:
    assert {"numba", "torch", "lightning", "pytest"} <= {
        line.partition(">=")[0] for line in carried.requirements()
    }
    assert carried.lacks() == carried.outdated() == []
    assert carried.provide() == []


def test_what_is_missing_or_old_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=2.0", "numpy>=999", "segmentation-models-pytorch>=0.5", "no-such-thing>=1"]
    monkeypatch.setattr(carried, "requirements", lambda: wanted)
    assert carried.lacks() == ["no-such-thing>=1"]
    [old] = carried.outdated()
    assert old.startswith("numpy>=999 (here 2.")


def test_local_and_short_versions_are_numbers() -> None:
    assert carried.numbers("2.11.0+cu130") == [2, 11, 0]
    assert carried.numbers("0.10") > carried.numbers("0.9.7")


def test_wheels_for_an_older_glibc_are_accepted() -> None:
    tags = carried.platforms(28)
    assert tags[0] == "manylinux_2_28_x86_64"
    assert {"manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64"} <= set(tags)
    assert "manylinux_2_29_x86_64" not in tags


def test_carried_versions_are_those_of_the_constraints() -> None:
    pinned = {
        carried.canonical(line.partition("==")[0])
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    names = {name for distributions in carried.CARRIED.values() for name in distributions}
    assert names <= pinned


def test_a_wheel_is_unpacked_without_its_tests(tmp_path: Path) -> None:
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("thing/__init__.py", "thing/tests/test_a.py", "thing-1.0.dist-info/METADATA"):
            archive.writestr(name, "")
    carried.unpack_wheel(wheel, tmp_path / "out")
    files = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {"__init__.py", "METADATA"}


def test_only_what_is_missing_is_used_of_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("numpy", "absent_module"):
        (tmp_path / "made" / module / module).mkdir(parents=True)
        (tmp_path / "made" / module / module / "__init__.py").write_text("value = 5")
    archive = tmp_path / "packages.tar.xz"
    with tarfile.open(archive, "w:xz") as file:
        for folder in (tmp_path / "made").iterdir():
            file.add(folder, folder.name)
    monkeypatch.setattr(carried, "CARRIED", {"numpy": (), "absent_module": ()})
    monkeypatch.setattr(carried, "ARCHIVE", archive)
    monkeypatch.setattr(carried, "UNPACKED", tmp_path / "unpacked")
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert carried.provide() == [tmp_path / "unpacked/absent_module"]
    assert importlib.import_module("absent_module").value == 5
    monkeypatch.delitem(sys.modules, "absent_module")


def test_an_unknown_python_is_refused() -> None:
    script = ROOT / "tests/gpu/carried.py"
    done = subprocess.run(
        [sys.executable, script, "--python", "cp312"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--python: expected a version like 3.12, got cp312" in done.stderr
