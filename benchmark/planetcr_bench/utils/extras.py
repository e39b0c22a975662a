"""Check that the packages of an extra are installed, or say how to install them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from planetcr_bench.errors import MissingExtraError

NETWORKS = ("torch", "safetensors")
"""Packages that networks need."""


TRAINING = (*NETWORKS, "lightning", "segmentation_models_pytorch")
"""Packages that training needs."""


def need_segmenters() -> None:
    """Raise MissingExtraError unless a segmenter can be loaded."""
    _need("segmenters need", (*NETWORKS, "segmentation_models_pytorch"), "train")


def need_networks() -> None:
    """Raise MissingExtraError unless networks can be made."""
    _need("networks need", NETWORKS, "models")


def need_torchmetrics() -> None:
    """Raise MissingExtraError unless metrics for torchmetrics can be made."""
    _need("CloudRemovalMetrics needs", ("torch", "torchmetrics"), "torch")


def need_xarray() -> None:
    """Raise MissingExtraError unless a scene can be given to xarray."""
    _need("to_xarray needs", ("xarray", "rioxarray"), "xarray")


def need_training() -> None:
    """Raise MissingExtraError unless networks can be trained."""
    _need("training needs", TRAINING, "train")


def need_cluster() -> None:
    """Raise MissingExtraError unless a Dask cluster can be used."""
    _need("clusters need", ("distributed",), "cluster")


def need_stac() -> None:
    """Raise MissingExtraError unless STAC items can be written."""
    _need("STAC items need", ("pystac",), "stac")


def need_curation() -> None:
    """Raise MissingExtraError unless the displacement of two dates can be measured."""
    _need("curate needs", ("skimage",), "curate")


def need_masks() -> None:
    """Raise MissingExtraError unless clouds can be detected by s2cloudless."""
    _need("--detector s2cloudless needs", ("s2cloudless",), "masks")


def _need(what: str, packages: Sequence[str], extra: str) -> None:
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise MissingExtraError(
            f"{what} {' and '.join(missing)}: pip install 'planetcr-bench[{extra}]'"
        )
