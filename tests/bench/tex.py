"""Compile LaTeX, where there is one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REQUIRED = "PLANETCR_TEX"
"""Set where a missing LaTeX must fail the tests instead of skipping them."""


def need_tex() -> None:
    if shutil.which("pdflatex") is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set and no pdflatex is installed")
        pytest.skip("no LaTeX on this machine")


def compile_tex(file: Path) -> str:
    """Compile a document once, and return the log; an error of LaTeX fails."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", file.name]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, check=False)
    log = file.with_suffix(".log").read_text(encoding="latin1")
    assert done.returncode == 0, log[-3000:]
    return log


def overfull(log: str) -> list[float]:
    """Points by which boxes are too wide or too high."""
    return [float(points) for points in re.findall(r"Overfull \\[hv]box \(([\d.]+)pt", log)]
