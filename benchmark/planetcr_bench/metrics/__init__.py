"""Define and compute metrics: the sums of a scene, and the scores that follow from sums.

``planetcr_bench.metrics.mae(prediction, clear)`` and the others score arrays and tensors; see
:mod:`planetcr_bench.metrics.functional`, which is imported when one of them is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planetcr_bench.metrics.functional import (
        ergas,
        gradient_error,
        mae,
        ndvi_error,
        psnr,
        rmse,
        sam,
        sharpness,
        ssim,
    )

__all__ = [
    "ergas",
    "gradient_error",
    "mae",
    "ndvi_error",
    "psnr",
    "rmse",
    "sam",
    "sharpness",
    "ssim",
]


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    return getattr(import_module("planetcr_bench.metrics.functional"), name)
