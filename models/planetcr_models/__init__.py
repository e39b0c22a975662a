"""Networks for cloud removal: Align-CR, its two ablations and five baselines.

>>> from planetcr_models import create_model, list_models, list_pretrained
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planetcr_models.inference import restore_batch as restore_batch
    from planetcr_models.inference import restore_tiled as restore_tiled
    from planetcr_models.networks.base import Restorer as Restorer
    from planetcr_models.networks.methods import list_models as list_models
    from planetcr_models.segmentation.deeplab import create_segmenter as create_segmenter
    from planetcr_models.weights.files import create_model as create_model
    from planetcr_models.weights.files import load_model as load_model
    from planetcr_models.weights.files import load_weights as load_weights
    from planetcr_models.weights.files import save_model as save_model
    from planetcr_models.weights.pretrained import list_pretrained as list_pretrained

_HOME = {
    "Restorer": "networks.base",
    "create_model": "weights.files",
    "create_segmenter": "segmentation.deeplab",
    "list_models": "networks.methods",
    "list_pretrained": "weights.pretrained",
    "load_model": "weights.files",
    "load_weights": "weights.files",
    "restore_batch": "inference",
    "restore_tiled": "inference",
    "save_model": "weights.files",
}

__all__ = list(_HOME)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])


def __getattr__(name: str) -> Any:  # importing the package must not import torch
    from importlib import import_module

    if name in _HOME:
        return getattr(import_module(f"planetcr_models.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
