"""Test that the package is light to import and has its two functions all the same."""

from __future__ import annotations

import subprocess
import sys

import planetcr_bench
from planetcr_bench import api


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, planetcr_bench\n"
        "print(*{'matplotlib', 'numba', 'numpy', 'pandas', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_evaluate_and_compare_are_those_of_the_api() -> None:
    assert planetcr_bench.evaluate is api.evaluate
    assert planetcr_bench.compare is api.compare
    assert not hasattr(planetcr_bench, "train")
