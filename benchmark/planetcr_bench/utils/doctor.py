"""Look at what this machine gives to the commands: versions, devices, memory, folders, extras."""

from __future__ import annotations

import ctypes.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from planetcr_bench import __version__
from planetcr_bench.utils.limits import memory_limit, processor_limit

Status = Literal["ok", "warn", "fail"]
"""fail: what every command needs is broken; warn: some commands fail, or are slow."""

_LOW_BYTES: Final = 1 << 30
_LOW_SHARED_BYTES: Final = 64 << 20  # what containers give unless told otherwise
_LOW_MEMORY_BYTES: Final = 2 << 30
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  it is the name that counts
_NOT_FOR_USERS: Final = {"all", "dev", "docs", "test"}
_REINSTALL: Final = "install again: pip install --force-reinstall planetcr-bench"
_REINSTALL_TORCH: Final = "install again: pip install --force-reinstall torch"
_DRIVER: Final = Path("/sys/module/nvidia/version")

_LOOK_AT_TORCH: Final = """
import json, torch
cards = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
cards = [torch.cuda.get_device_properties(number) for number in cards]
cards = [(card.name, card.total_memory) for card in cards]
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "cards": cards}))
"""


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes:
        name: What was looked at.
        status: See ``Status``.
        text: What was found.
        remedy: What to do; empty if all is well.
    """

    name: str
    status: Status
    text: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Run all probes; one that breaks is a finding too, and never hides the others."""
    return [finding for name in PROBES for finding in _guarded(name)]


def _guarded(name: str) -> list[Finding]:
    probe, if_broken, remedy = PROBES[name]
    found: list[Finding] = []
    try:
        found.extend(probe())
    except Exception as error:  # noqa: BLE001  whatever is wrong here is what is asked
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        if isinstance(error, ImportError):  # by whatever probe: its own remedy is for other faults
            remedy = _REINSTALL
        found.append(Finding(name, if_broken, what, remedy))
    return found


def _versions() -> Iterator[Finding]:
    yield Finding("planetcr-bench", "ok", f"{__version__} in {Path(__file__).parents[1]}")
    text = f"{platform.python_version()} at {sys.executable}, {platform.platform()}"
    if (3, 11) <= sys.version_info < (3, 14):
        yield Finding("Python", "ok", text)
    else:
        yield Finding("Python", "fail", text, "use Python 3.11, 3.12 or 3.13")


def _numpy() -> Iterator[Finding]:
    import numba
    import numpy as np

    yield Finding("NumPy", "ok", f"{np.__version__}, numba {numba.__version__}")


def _gdal() -> Iterator[Finding]:
    import rasterio

    libraries = f"GDAL {rasterio.__gdal_version__}, PROJ {rasterio.__proj_version__}"
    yield Finding("rasterio", "ok", f"{rasterio.__version__}, {libraries}")


def _proj() -> Iterator[Finding]:
    from rasterio.warp import transform

    (east,), (north,) = transform("EPSG:4326", "EPSG:32632", [9.0], [0.0])  # on its meridian
    if abs(east - 500_000) > 1 or abs(north) > 1:
        raise ValueError(f"expected 500000 E 0 N, got {east:.0f} E {north:.0f} N")
    yield Finding("PROJ data", "ok", "EPSG codes are known, coordinates are transformed")


def _torch() -> Iterator[Finding]:
    if find_spec("torch") is None:
        yield Finding("PyTorch", "ok", "not installed; only networks and segmenters need it")
        return
    facts = _torch_facts()
    if isinstance(facts, str):
        yield Finding("PyTorch", "warn", facts, _REINSTALL_TORCH)
        return
    yield Finding("PyTorch", "ok", f"{facts['version']}, CUDA {facts['cuda'] or 'not built in'}")
    driver = f", driver {_DRIVER.read_text().strip()}" if _DRIVER.exists() else ""
    for number, (name, memory) in enumerate(facts["cards"]):
        yield Finding(f"GPU {number}", "ok", f"{name}, {_bytes(memory)}{driver}")
    if not facts["cards"] and ctypes.util.find_library("cuda") is not None:
        remedy = "install the PyTorch that fits the driver: https://pytorch.org/get-started"
        yield Finding("GPU", "warn", f"a driver is there{driver}, PyTorch finds no GPU", remedy)
    elif not facts["cards"]:
        yield Finding("GPU", "ok", "none; networks run on the processor")


def _torch_facts() -> dict[str, Any] | str:
    """Version and GPUs as PyTorch sees them, or what it says when it breaks.

    A process of its own looks: libraries that do not fit this machine end the one that loads them.
    """
    done = subprocess.run(  # noqa: S603  this Python, and the lines above
        [sys.executable, "-P", "-c", _LOOK_AT_TORCH],
        check=False, capture_output=True, text=True, errors="replace", timeout=300,
    )  # fmt: skip
    if done.returncode == 0:
        facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return facts
    said = done.stderr.strip().splitlines()
    return said[-1] if said else f"its import ends the process with {done.returncode}"


def _processors() -> Iterator[Finding]:
    from planetcr_bench.utils.parallel import processors

    granted, limit = processors(), processor_limit()
    if limit is None or limit >= granted:
        yield Finding("processors", "ok", str(granted))
        return
    remedy = f"give --workers {max(1, round(limit))}"
    yield Finding("processors", "warn", f"{granted}, of which {limit:.3g} are granted", remedy)


def _memory() -> Iterator[Finding]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    granted = min(total, memory_limit() or total)
    text = _bytes(granted) if granted == total else f"{_bytes(granted)} of {_bytes(total)}"
    low = granted < _LOW_MEMORY_BYTES
    remedy = "give --workers 1 and a small --batch, or --tile to networks" if low else ""
    yield Finding("memory", "warn" if low else "ok", text, remedy)


def _shared_memory(folder: Path = _SHARED_MEMORY) -> Iterator[Finding]:
    if not folder.exists() and sys.platform != "linux":
        yield Finding("shared memory", "ok", "this system has none")
        return
    _try_to_write(folder)
    free = shutil.disk_usage(folder).free
    low = free < _LOW_SHARED_BYTES
    remedy = "start the container with --shm-size=1g, or train with --loader-workers 0"
    status: Status = "warn" if low else "ok"
    yield Finding("shared memory", status, f"{folder}, {_bytes(free)} free", remedy if low else "")


def _cache() -> Iterator[Finding]:
    from planetcr_bench.utils.files import cache_folder

    yield _folder("cache", cache_folder("").absolute(), "set XDG_CACHE_HOME to a larger disk")


def _temporary() -> Iterator[Finding]:
    yield _folder("temporary", Path(tempfile.gettempdir()), "set TMPDIR to a larger disk")


def _here() -> Iterator[Finding]:
    yield _folder("current folder", Path.cwd(), "full tracks need 16 GB: work on a larger disk")


def _folder(name: str, folder: Path, remedy: str) -> Finding:
    """Write to a folder, or where it would be made, and measure its free space."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    _try_to_write(existing)
    free = shutil.disk_usage(existing).free
    low = free < _LOW_BYTES
    return Finding(
        name, "warn" if low else "ok", f"{folder}, {_bytes(free)} free", remedy if low else ""
    )


def _extras() -> Iterator[Finding]:
    packages: dict[str, list[str]] = {}
    for line in metadata("planetcr-bench").get_all("Requires-Dist") or ():
        match = re.match(r"([\w.-]+).*extra == ['\"](\w+)", line)
        if match and match[2] not in _NOT_FOR_USERS:
            packages.setdefault(match[2], []).append(match[1])
    for extra, names in sorted(packages.items()):
        missing = [name for name in names if not _is_installed(name)]
        text = f"without {', '.join(missing)}" if missing else "installed"
        remedy = f"if you need it: pip install 'planetcr-bench[{extra}]'" if missing else ""
        yield Finding(f"extra {extra}", "ok", text, remedy)


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _try_to_write(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"planetcr-bench")
            file.flush()
    except OSError as error:  # which names the temporary file
        raise OSError(f"{folder} cannot be written: {error.strerror}") from error


def _bytes(number: float) -> str:
    return f"{number / (1 << 30):.1f} GiB"


PROBES: Final[dict[str, tuple[Callable[[], Iterator[Finding]], Status, str]]] = {
    "versions": (_versions, "fail", _REINSTALL),
    "NumPy": (_numpy, "fail", _REINSTALL),
    "rasterio": (_gdal, "fail", _REINSTALL),
    "PROJ data": (
        _proj,
        "fail",
        "unset PROJ_DATA, PROJ_LIB and GDAL_DATA, which may name another installation's",
    ),
    "PyTorch": (_torch, "warn", _REINSTALL_TORCH),
    "processors": (_processors, "warn", "give --workers"),
    "memory": (_memory, "warn", "see how much memory there is, and give --workers"),
    "shared memory": (
        _shared_memory,
        "warn",
        "mount /dev/shm (containers: --shm-size=1g), or give --workers 0 and --loader-workers 0",
    ),
    "cache": (_cache, "warn", "set XDG_CACHE_HOME to a folder that you may write to"),
    "temporary": (_temporary, "fail", "set TMPDIR to a folder that you may write to"),
    "current folder": (_here, "warn", "work in a folder that you may write to"),
    "extras": (_extras, "warn", "install with pip, which records what belongs to an extra"),
}
"""Each probe with what it means if it breaks, and the remedy then."""
