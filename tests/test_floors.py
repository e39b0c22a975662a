"""Imports go down the list only, and what must start fast imports nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import planetcr_bench
import planetcr_models

BENCH = Path(planetcr_bench.__file__).parent
MODELS = Path(planetcr_models.__file__).parent

FLOORS = {
    BENCH: [
        {"vocabulary", "errors", "protocols", "json_values"},
        {"untrusted"},
        {"folders", "grids", "pixel_checks"},
        {"raster_files", "product_pixels"},
        {
            "compiled",
            "fonts",
            "projections",
            "scene",
            "scores",
            "ledger",
            "simulation",
            "storage",
            "entry_card",
            "safe_archive",
        },
        {
            "kernels",
            "dataset",
            "parallel",
            "untrained",
            "published",
            "plan",
            "semantics",
            "consistency",
        },
        {"predictions", "fingerprint", "tables", "audit", "held_out", "heat_maps"},
        {"manifest", "sent_ledger", "plausibility"},
        {"statistics"},
        {"arrays", "predict", "render", "figures", "semantic_tables", "training_data", "diagnosis"},
        {
            "statistic_blocks",
            "semantic_blocks",
            "semantic_figures",
            "diagnosis_figures",
            "diagnosis_blocks",
        },
        {"gpu", "judging", "diagnosis_map", "diagnosis_triangle"},
        {"measure", "diagnosis_report"},
        {"report"},
        {"panels", "selection"},
        {"samples"},
        {"evaluate"},
        {"sheet"},
        {"gallery"},
        {"leaderboard.entries"},
        {"sent_entry"},
        {"submission_check"},
        {"submission"},
        {"leaderboard.boards"},
        {"leaderboard.page"},
        {"validation"},
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
    ],
    MODELS: [
        {"errors", "patches", "journal", "wrappers"},
        {"restorer", "triton_filter", "checkpoint", "crops", "recipes"},
        {"dynamic_filter", "deformable", "window_attention", "losses", "land_cover"},
        {"layers"},
        {"align_cr", "glf_cr", "dsen2_cr", "mcgan", "spa_gan"},
        {"sar_opt_cgan", "discriminators"},
        {"zoo"},
        {"official", "inference", "export"},
        {"weights", "cost"},
        {"judge"},
        {"objectives", "devices"},
        {"run_state"},
        {"training"},
        {"rehearsal"},
    ],
}
FLOOR = {
    (package, name): level
    for package, floors in FLOORS.items()
    for level, names in enumerate(floors)
    for name in names
}


def package_of(file: Path) -> Path:
    return next(package for package in FLOORS if file.is_relative_to(package))


def imported(file: Path) -> set[str]:
    """Modules of its own package that a file imports at run time."""
    package = package_of(file)
    tree = ast.parse(file.read_text())
    typing_only = {
        id(node)
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and ast.unparse(guard.test) == "TYPE_CHECKING"
        for node in ast.walk(guard)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            dotted = [alias.name.partition(".") for alias in node.names]
            found |= {rest for first, _, rest in dotted if first == package.name and rest}
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in typing_only:
            first, _, rest = node.module.partition(".")
            if first == package.name:
                inside = package.joinpath(*rest.split("."))
                whole = [f"{rest}.{alias.name}".strip(".") for alias in node.names]
                found |= set(whole) if inside.is_dir() else {rest}
    return {"cli" if name.startswith("cli") else name for name in found} - {"__version__"}


FILES = sorted(
    file for package in FLOORS for file in package.rglob("*.py") if "cli" not in file.parts
)


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(package_of(file)).with_suffix("").parts)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_imports_only_from_floors_below_its_own(file: Path) -> None:
    package, name = package_of(file), name_of(file)
    if file.stem == "__init__":
        assert imported(file) == set()
        return
    assert (package, name) in FLOOR, f"give {name} a floor"
    floor = FLOOR[package, name]
    above = {other for other in imported(file) if FLOOR[package, other] >= floor}
    assert not above


def modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_help_needs_no_heavy_library() -> None:
    heavy = {"torch", "pandas", "matplotlib", "numpy", "rasterio", "numba", "pyarrow"}
    assert not heavy & modules_after("import planetcr_bench.cli.app")


def test_reading_ledgers_and_printing_tables_needs_no_tensors() -> None:
    statement = "import planetcr_bench.report.table, planetcr_bench.report.report"
    assert not {"torch", "numba", "rasterio"} & modules_after(statement)


def test_models_know_nothing_of_the_benchmark() -> None:
    root = Path(planetcr_bench.__file__).parents[2] / "models"
    files = list(root.rglob("*.py"))
    assert files
    for file in files:
        assert "planetcr_bench" not in file.read_text(), file


def test_of_the_benchmark_only_the_commands_know_of_models() -> None:
    for file in FILES:
        assert package_of(file) == MODELS or "planetcr_models" not in file.read_text(), file


def test_predicting_with_a_function_of_arrays_needs_no_tensors() -> None:
    assert not {"torch", "safetensors"} & modules_after("import planetcr_bench.predictions.predict")
