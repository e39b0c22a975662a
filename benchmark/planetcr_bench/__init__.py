"""planetcr-bench: how well does a method remove clouds from high-resolution satellite images?

>>> import planetcr_bench as pb

``pb.metrics.mae(prediction, clear)`` and the other metrics score arrays and tensors, ``pb.score``
one scene in all metrics, ``pb.evaluate`` a folder, a function or a network on a dataset.
``pb.load_run`` and ``pb.compare`` read results, ``pb.open_dataset`` reads scenes, and ``pb.torch``
has what PyTorch takes. Everything is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from planetcr_bench import metrics, torch
    from planetcr_bench.data.scene import Scene
    from planetcr_bench.errors import BenchError
    from planetcr_bench.public.comparison import Comparison, compare
    from planetcr_bench.public.dataset import SceneDataset, open_dataset
    from planetcr_bench.public.evaluate import evaluate
    from planetcr_bench.public.run import Run, load_run
    from planetcr_bench.public.score import Scores, score

_HOME = {
    "BenchError": "errors",
    "Comparison": "public.comparison",
    "Run": "public.run",
    "Scene": "data.scene",
    "SceneDataset": "public.dataset",
    "Scores": "public.score",
    "compare": "public.comparison",
    "evaluate": "public.evaluate",
    "load_run": "public.run",
    "open_dataset": "public.dataset",
    "score": "public.score",
}

_MODULES = {"metrics": "metrics", "scores": "metrics", "torch": "torch"}
"""Modules by the names that are typed; ``scores`` is what a person may try first."""

__all__ = [
    "BenchError",
    "Comparison",
    "Run",
    "Scene",
    "SceneDataset",
    "Scores",
    "__version__",
    "compare",
    "evaluate",
    "load_run",
    "metrics",
    "open_dataset",
    "score",
    "torch",
]


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{_MODULES[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
