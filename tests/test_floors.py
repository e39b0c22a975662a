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
    {"scene", "ledger", "simulation"},
    {"kernels", "dataset", "parallel", "untrained", "published"},
    {"predictions", "fingerprint", "tables", "audit"},
    {"arrays", "predict", "render", "figures"},
    {"gpu"},
    {"measure"},
    {"report"},
    {"evaluate"},
    {"gallery"},
    {"simulate.noise", "simulate.catalogue"},
    {"simulate.resampling", "simulate.place"},
    {"simulate.land"},
    {"simulate.sky", "simulate.materials"},
    {"simulate.survey", "simulate.objects"},
    {"simulate.surface"},
    {"simulate.optical", "simulate.radar", "simulate.land_cover"},
    {"simulate.scene"},
    {"simulate.writer"},
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
                inside = PACKAGE.joinpath(*rest.split("."))
                whole = [f"{rest}.{alias.name}".strip(".") for alias in node.names]
                found |= set(whole) if inside.is_dir() else {rest}
    return {"cli" if name.startswith("cli") else name for name in found} - {"__version__"}


FILES = sorted(file for file in PACKAGE.rglob("*.py") if "cli" not in file.parts)


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_imports_only_from_floors_below_its_own(file: Path) -> None:
    name = name_of(file)
    if file.stem == "__init__":
        assert imported(file) == set()
        return
    assert name in FLOOR, f"give {name} a floor"
    above = {other for other in imported(file) if FLOOR[other] >= FLOOR[name]}
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
