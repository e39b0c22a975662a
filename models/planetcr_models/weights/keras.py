"""Load the weights of DSen2-CR that its authors publish: HDF5 files, as Keras writes them."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planetcr_models.errors import CheckpointError, ModelError
from planetcr_models.networks.base import Restorer
from planetcr_models.networks.registry import build_model
from planetcr_models.weights.checkpoint import expect_finite

OPTICAL_SCALE: Final = 5.0
"""Their optical images are digital numbers / 2000: reflectance times this."""

SAR_SCALE: Final = 2.0
"""Their SAR is in [0, 2], over the same decibels as ours in [0, 1]."""

_LAYER: Final = re.compile(r"conv2d(?:_(\d+))?")
_PARTS: Final = {"kernel": 4, "bias": 1}
"""Weights of a convolution, and their dimensions."""

_LARGEST: Final = 4_096
"""Most channels of a layer."""

Convolution = dict[str, NDArray[np.float32]]


def is_hdf5(path: Path) -> bool:
    """Whether a file is in HDF5 format, by its first bytes."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError:
        return False


def load_dsen2_cr(path: Path) -> Restorer:
    """Load DSen2-CR from a file of its authors' Keras code.

    The convolutions are numbered in the order of the network, with kernels (height, width, in,
    out). Their shapes give the bands, and whether there is SAR. Their images have other scales
    (:data:`OPTICAL_SCALE`, :data:`SAR_SCALE`), which are multiplied into the first and the last
    convolution, so that the network takes images in [0, 1] as all others do.

    Args:
        path: The file.

    Returns:
        The network, in evaluation mode, in float32.

    Raises:
        CheckpointError: It cannot be read, or holds other weights; or ``h5py`` is not installed.
    """
    layers = _read(path)
    kernels = [layer["kernel"] for layer in layers]
    width, bands = kernels[0].shape[-1], kernels[-1].shape[-1]
    sar_bands = kernels[0].shape[2] - bands
    options: dict[str, Any] = {"bands": bands}
    options |= {"sar_bands": sar_bands} if sar_bands not in (0, 2) else {}
    options |= {} if sar_bands else {"use_sar": False}
    blocks = (len(layers) - 2) // 2
    options |= {} if width == 256 else {"width": width}
    options |= {} if blocks == 16 else {"blocks": blocks}
    try:
        with torch.device("meta"):  # its new weights would be thrown away
            model = build_model("dsen2_cr", **options)
    except ModelError as error:
        raise _other(path) from error
    modules = [
        "head",
        *(f"blocks.{i}.{part}" for i in range(blocks) for part in ("first", "second")),
        "tail",
    ]
    state: dict[str, Tensor] = {}
    for module, layer in zip(modules, layers, strict=True):
        kernel = torch.from_numpy(np.ascontiguousarray(layer["kernel"].transpose(3, 2, 0, 1)))
        state |= {f"{module}.weight": kernel, f"{module}.bias": torch.from_numpy(layer["bias"])}
    if any(state[key].shape != value.shape for key, value in model.state_dict().items()):
        raise _other(path)
    expect_finite(path, state)
    state["head.weight"][:, :bands] *= OPTICAL_SCALE
    state["head.weight"][:, bands:] *= SAR_SCALE
    state["tail.weight"] /= OPTICAL_SCALE
    state["tail.bias"] /= OPTICAL_SCALE
    model.load_state_dict(state, assign=True)
    return model.eval()


def _other(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path}: does not hold the weights of dsen2_cr; expected convolutions of 3 x 3, from "
        "optical bands, or these and SAR, to optical bands, as its authors' Keras code writes them"
    )


def _read(path: Path) -> list[Convolution]:
    """The convolutions of a file, in their order: an even number, 2 or more, with all parts."""
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        raise CheckpointError(
            f"{path}: is a Keras file, which needs one more package: pip install "
            "'planetcr-bench[keras]'"
        ) from error
    found: dict[int, Convolution] = {}

    def collect(name: str, item: Any) -> None:  # links are not followed
        if not isinstance(item, h5py.Dataset):
            return
        layer, part = _place(name)
        if part is None:
            return
        plain = item.external is None and not item.is_virtual and item.dtype.kind == "f"
        if not plain or len(item.shape) != _PARTS[part] or max(item.shape) > _LARGEST:
            raise _other(path)
        weights = found.setdefault(layer, {})
        if part in weights:
            raise _other(path)
        weights[part] = np.asarray(item[()], np.float32)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(collect)
    except (OSError, RuntimeError, KeyError) as error:
        raise CheckpointError(
            f"{path}: not a Keras file, or damaged; copy or download it again"
        ) from error
    layers = [found[number] for number in sorted(found)]
    if len(layers) < 2 or len(layers) % 2 or any(_PARTS.keys() != each.keys() for each in layers):
        raise _other(path)
    return layers


def _place(name: str) -> tuple[int, str | None]:
    """Number of a layer and the part of it, of the path of its weights; None for other weights."""
    *folders, last = name.split("/")
    numbers = [match[1] for folder in folders if (match := _LAYER.fullmatch(folder))]
    part = last.partition(":")[0]
    return (int(numbers[-1] or 0), part) if numbers and part in _PARTS else (0, None)
