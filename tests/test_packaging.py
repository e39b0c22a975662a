"""Test that what the package needs besides code is distributed with it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

from paths import ROOT
from planetcr_models.weights.pretrained import FOLDER


def test_weights_are_in_wheels_and_source_distributions(tmp_path: Path) -> None:
    """Hatchling takes all files of these folders that .gitignore does not name, or ``exclude``."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    targets = build["targets"]
    assert FOLDER.parent in [ROOT / package for package in targets["wheel"]["packages"]]
    assert "models" in targets["sdist"]["only-include"]
    assert "exclude" not in build
    assert all("exclude" not in target for target in targets.values())
    (tmp_path / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for suffix in ("json", "safetensors"):
        name = (FOLDER / "sim-v1-small" / f"dsen2_cr.{suffix}").relative_to(ROOT)
        command = ["git", "-C", tmp_path, "check-ignore", name]
        assert subprocess.run(command, check=False, capture_output=True).returncode == 1


KINDS = {".bib", ".css", ".csv", ".html", ".js", ".json", ".py", ".safetensors", ".toml", ".typed"}


def test_the_wheel_has_all_files_of_the_packages_and_no_other(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="builds wheels")  # the extra test has it
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 25_000_000
    names = ZipFile(wheel).namelist()
    assert {Path(name).suffix for name in names if ".dist-info/" not in name} <= KINDS
    packages = ("benchmark/planetcr_bench", "models/planetcr_models")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *packages]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = [name for name in listed.split("\0") if name and (ROOT / name).exists()]
    assert {name for name in names if ".dist-info/" not in name} == {
        name.partition("/")[2] for name in files
    }
    with ZipFile(wheel) as archive:
        (entry,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "planetcr-bench = planetcr_bench.cli:main" in archive.read(entry).decode()


SCRIPTS = [ROOT / "tests" / name for name in ("simulation", "speed", "gpu")]


@pytest.mark.parametrize("folder", SCRIPTS, ids=lambda folder: folder.name)
def test_no_script_hides_a_library(folder: Path) -> None:
    """A script's folder comes first on the path: its coverage.py was imported for the library."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import numba, pandas, rasterio, scipy, torch"
    )
    subprocess.run([sys.executable, "-c", code, folder], check=True)
