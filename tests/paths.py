"""Locate what the checkout contains, and what may lie beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""

RUNS = ROOT / "tests/runs/sim-v1-demo"
"""Two runs with complete ledgers, from `make runs`."""

SHARED = ROOT.parent / "shared"
"""Real scenes and reference figures, which may not be committed."""


def files_in(folder: Path) -> list[str]:
    """Paths of all files in a folder, relative to it, sorted."""
    paths = folder.rglob("*")
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())
