"""Pack the Python packages that a machine with CUDA and PyTorch lacks, and provide them there.

Here, with an index of packages at hand (writes build/gpu-packages.tar.xz, some 20 MB):

    .venv/bin/python tests/gpu/carried.py [--python 3.12] [--glibc 28]

There, `run.py` unpacks the archive and uses of it only what the machine lacks.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = ROOT / "build/gpu-packages.tar.xz"
UNPACKED = ROOT / "build/gpu-packages"

CARRIED = {
    "affine": ("affine",),
    "platformdirs": ("platformdirs",),
    "pydantic": (
        "pydantic",
        "pydantic-core",
        "annotated-types",
        "typing-inspection",
        "typing-extensions",  # of the latest version
    ),
    "rasterio": ("rasterio", "cligj", "click-plugins"),
    "segmentation_models_pytorch": ("segmentation-models-pytorch",),
    "tomli_w": ("tomli-w",),
}
"""What CUDA images usually lack: module to the distributions that travel, and are used, with it.
What these need further (numpy, click, timm, ...) such images have."""

EXTRAS = ("models", "train")
"""Extras of pyproject.toml that the script needs, beside the dependencies."""

FURTHER = ("pytest", "hypothesis")
"""What the tests of `run.py` need."""

UNUSED = re.compile(r"/(tests?|docs?|examples?)/|\.(pyi|pxd|pyx|h)$|/RECORD$")
"""Files of wheels that are left behind."""


# --- packing --------------------------------------------------------------------------------------


def platforms(glibc: int) -> list[str]:
    """Tags of wheels that run with this minor version of glibc 2, newest first."""
    new = [f"manylinux_2_{minor}_x86_64" for minor in range(glibc, 4, -1)]
    return [*new, "manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]


def download(folder: Path, python: str, glibc: int) -> list[Path]:
    """Fetch the wheels, in the versions of constraints.txt."""
    names = [name for distributions in CARRIED.values() for name in distributions]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    command += [word for tag in platforms(glibc) for word in ("--platform", tag)]
    command += ["--constraint", ROOT / "constraints.txt", *names]
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"carried.py: pip found no wheel for Python {python}, see above")
    return sorted(folder.glob("*.whl"))


def canonical(name: str) -> str:
    """As PEP 503 compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def unpack_wheel(wheel: Path, folder: Path) -> None:
    """Unpack a wheel without what running it does not need, its libraries stripped of symbols."""
    with zipfile.ZipFile(wheel) as archive:
        files = [name for name in archive.namelist() if not UNUSED.search(f"/{name}")]
        archive.extractall(folder, files)
    libraries = [path for path in folder.rglob("*.so*") if path.is_file()]
    strip = shutil.which("strip")
    if libraries and strip is None:
        print("carried.py: no strip (binutils): the archive is some 10 MB larger")
    elif libraries:
        subprocess.run([strip, "--strip-unneeded", *libraries], check=True)


def pack(python: str, glibc: int, archive: Path) -> None:
    """Write the archive: one folder for each module of :data:`CARRIED`."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as temporary:
        wheels = download(Path(temporary, "wheels"), python, glibc)
        for module, distributions in CARRIED.items():
            for wheel in wheels:
                if canonical(wheel.name.split("-")[0]) in distributions:
                    unpack_wheel(wheel, Path(temporary, "packages", module))
        partial = Path(temporary, archive.name)
        with tarfile.open(partial, "w:xz") as file:
            for module in sorted(CARRIED):
                file.add(Path(temporary, "packages", module), module)
        partial.replace(archive)
    for wheel in wheels:
        print(wheel.name)
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB, for Python {python}")


# --- using ----------------------------------------------------------------------------------------


def provide() -> list[Path]:
    """Folders to put on PYTHONPATH: the carried packages that this Python lacks.

    They are put on this process's path too. Without an archive, nothing is provided.
    """
    lacking = [module for module in CARRIED if importlib.util.find_spec(module) is None]
    if not lacking or not ARCHIVE.exists():
        return []
    if not UNPACKED.exists() or UNPACKED.stat().st_mtime < ARCHIVE.stat().st_mtime:
        shutil.rmtree(UNPACKED, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=ARCHIVE.parent) as temporary:
            with tarfile.open(ARCHIVE) as file:
                file.extractall(temporary, filter="data")
            Path(temporary).rename(UNPACKED)
            Path(temporary).mkdir()  # which the context removes
        UNPACKED.touch()
    folders = [UNPACKED / module for module in lacking]
    sys.path += map(str, folders)
    importlib.invalidate_caches()
    return folders


def requirements() -> list[str]:
    """What the script needs of pyproject.toml, in the form ``name>=1.2``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]
    wanted += [line for line in extras["test"] if line.partition(">=")[0] in FURTHER]
    return [line for line in wanted if not line.startswith(project["name"])]


def version_of(requirement: str) -> str | None:
    """The installed version, if any."""
    try:
        return importlib.metadata.version(requirement.partition(">=")[0])
    except importlib.metadata.PackageNotFoundError:
        return None


def lacks() -> list[str]:
    """Requirements that are not installed in any version."""
    return [line for line in requirements() if version_of(line) is None]


def outdated() -> list[str]:
    """Requirements that are installed in an older version, with that version."""
    return [
        f"{line} (here {version})"
        for line in requirements()
        if (version := version_of(line)) and numbers(version) < numbers(line.partition(">=")[2])
    ]


def numbers(version: str) -> list[int]:
    """Release numbers of a version: 2.11.0+cu130 is [2, 11, 0]."""
    release = re.match(r"[\d.]*", version)
    return [int(part) for part in release[0].split(".") if part] if release else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--python", default="3.12", help="version on the other machine (3.12)")
    parser.add_argument("--glibc", type=int, default=28, help="its glibc: 28 stands for 2.28")
    parser.add_argument("--archive", type=Path, default=ARCHIVE)
    options = parser.parse_args()
    if not re.fullmatch(r"3\.\d+", options.python):
        parser.error(f"--python: expected a version like 3.12, got {options.python}")
    pack(options.python, options.glibc, options.archive)


if __name__ == "__main__":
    main()
