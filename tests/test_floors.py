"""Imports go down the list only, and what must start fast imports nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import planetcr_bench

PACKAGE = Path(planetcr_bench.__file__).parent

FLOORS = [
    {"vocabulary", "errors", "protocols", "scores", "storage"},
    {"scene", "ledger"},
    {"kernels", "dataset", "parallel", "untrained", "published"},
    {"predictions", "fingerprint", "tables", "audit"},
    {"arrays", "predict", "render", "figures"},
    {"gpu"},
    {"measure"},
    {"report"},
    {"evaluate"},
    {"cli"},
    {"__main__"},
]
FLOOR = {name: level for level, names in enumerate(FLOORS) for name in names}


def imported(file: Path) -> set[str]:
    """Modules of our own that a file imports at run time."""
    tree = ast.parse(file.read_text())
    typing_only = {
        id(node)
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and ast.unparse(guard.test) == "TYPE_CHECKING"
        for node in ast.walk(guard)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in typing_only:
            first, _, rest = node.module.partition(".")
            if first == "planetcr_bench":
                names = [rest.partition(".")[0]] if rest else [alias.name for alias in node.names]
                found |= set(names)
    return found - {"__version__"}


@pytest.mark.parametrize("file", sorted(PACKAGE.glob("*.py")), ids=lambda file: file.stem)
def test_a_file_imports_only_from_floors_below_its_own(file: Path) -> None:
    if file.stem == "__init__":
        assert imported(file) == set()
        return
    assert file.stem in FLOOR, f"give {file.stem} a floor"
    above = {name for name in imported(file) if FLOOR[name] >= FLOOR[file.stem]}
    assert not above


def modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_help_needs_no_heavy_library() -> None:
    heavy = {"torch", "pandas", "matplotlib", "numpy", "rasterio", "numba", "pyarrow"}
    assert not heavy & modules_after("import planetcr_bench.cli.app")


def test_reading_ledgers_and_printing_tables_needs_no_tensors() -> None:
    statement = "import planetcr_bench.render, planetcr_bench.report"
    assert not {"torch", "numba", "rasterio"} & modules_after(statement)


def test_models_know_nothing_of_the_benchmark() -> None:
    root = Path(planetcr_bench.__file__).parents[2] / "models"
    files = list(root.rglob("*.py"))
    assert files
    for file in files:
        assert "planetcr_bench" not in file.read_text(), file
