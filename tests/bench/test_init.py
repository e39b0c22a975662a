"""Test what the package offers, that it is light to import, and that it takes paths as text."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
import typing
from importlib import import_module
from pathlib import Path

import pytest

import planetcr_bench as pb

HEAVY = {
    "lightning", "matplotlib", "numba", "numpy", "pandas", "pyarrow", "rasterio", "rich", "scipy",
    "torch", "torchmetrics", "typer", "xarray",
}  # fmt: skip

EXAMPLES = [
    "constants", "metrics.functional", "metrics.protocols", "metrics.registry", "metrics.scores",
    "metrics.sums", "public.score",
]  # fmt: skip


def loaded(code: str) -> set[str]:
    """Heavy libraries that a fresh process imports."""
    code += f"\nimport sys\nprint(*({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert loaded("import planetcr_bench as pb; dir(pb), dir(pb.metrics), dir(pb.torch)") == set()


def test_arrays_are_scored_without_pytorch() -> None:
    code = (
        "import planetcr_bench as pb, numpy as np\n"
        "a = np.full((4, 16, 16), 0.2); pb.metrics.mae(a, a); pb.score(a, a)"
    )
    assert not {"torch", "torchmetrics", "matplotlib"} & loaded(code)


def test_every_public_name_is_there() -> None:
    assert dir(pb) == sorted(pb.__all__)
    for name in pb.__all__:
        assert getattr(pb, name) is not None
    for module in (pb.metrics, pb.torch):
        assert all(getattr(module, name) for name in dir(module))
    assert not hasattr(pb, "train")


def public_functions() -> list[object]:
    """Every function and method behind the public names."""
    found: list[object] = []
    for name in pb.__all__:
        value = getattr(pb, name)
        if inspect.isfunction(value):
            found.append(value)
        elif inspect.isclass(value) and value.__module__.startswith("planetcr_bench"):
            methods = vars(value).items()
            found += [method for key, method in methods if key[0] != "_" and callable(method)]
    return found


@pytest.mark.parametrize("function", public_functions(), ids=lambda f: f.__qualname__)
def test_public_functions_are_documented_and_take_paths_as_text(function) -> None:
    assert function.__doc__
    for name, hint in function.__annotations__.items():
        if "Path" in str(hint) and name != "return":
            assert "str" in str(hint), name


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_of_public_modules_hold(module: str) -> None:
    done = doctest.testmod(import_module(f"planetcr_bench.{module}"))
    assert done.attempted > 0
    assert done.failed == 0


def test_the_package_is_typed() -> None:
    assert typing.get_type_hints(pb.compare)["return"] is pb.Comparison
    assert (Path(pb.__file__).parent / "py.typed").exists()
