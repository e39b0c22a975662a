"""planetcr-bench: how well does a method remove clouds from high-resolution satellite images?

``evaluate`` and ``compare`` are those of :mod:`planetcr_bench.api`, which is imported when one of
them is first used: it needs pandas and numba.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "compare", "evaluate"]

if TYPE_CHECKING:
    from planetcr_bench.api import compare, evaluate


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("planetcr_bench.api"), name)
