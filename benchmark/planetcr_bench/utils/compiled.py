"""Compile Python loops with numba, and cache the result where possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(loop: Callable[..., Any]) -> Any:
    """Compile a function when it is first called, and cache the code for later processes.

    A container may have neither a home nor a writable folder; then each process compiles again.
    """
    keywords = {"error_model": "numpy", "nogil": True}
    try:
        return numba.njit(cache=True, **keywords)(loop)
    except (RuntimeError, OSError):  # no writable cache
        return numba.njit(**keywords)(loop)
