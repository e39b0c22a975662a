"""Compile Python loops with numba, and cache the result where possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(loop: Callable[..., Any]) -> Any:
    """Compile a function when it is first called, and keep the code for the next process.

    A container may have neither a home nor a folder that can be written to; then each process
    compiles anew.
    """
    keywords = {"error_model": "numpy", "nogil": True}
    try:
        return numba.njit(cache=True, **keywords)(loop)
    except (RuntimeError, OSError):  # no place for a cache
        return numba.njit(**keywords)(loop)
