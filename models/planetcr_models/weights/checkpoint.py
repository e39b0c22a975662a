"""Read and write files of weights, whoever wrote them, or refuse them with one message."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from planetcr_models.errors import CheckpointError
from planetcr_models.weights.paths import atomic_path, expect_file

LISTED: Final = 5
"""Number of names that an error lists; the others are counted."""


def unpickle(path: Path, what: str) -> Any:
    """Load what ``torch.save`` wrote, if it is weights and containers; no code is executed.

    Args:
        path: The file.
        what: Its expected content, for the message.

    Raises:
        CheckpointError: It is damaged, in another format, or holds other objects.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats; the errors below suffice
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if "GLOBAL" in str(error):
            raise CheckpointError(
                f"{path}: holds objects other than weights, which are not loaded, for safety; save "
                "the network's state_dict() alone"
            ) from error
        raise CheckpointError(
            f"{path}: not a {what}, or damaged; copy or download it again"
        ) from error


def differences(
    expected: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    *,
    optional: Sequence[str] = (),
) -> list[str]:
    """Describe how weights differ from those of a network, one line per kind of difference.

    Args:
        expected: Of the network, by name.
        weights: Of the file, by name.
        optional: Names that may be missing.
    """
    missing = [key for key in expected if key not in weights and key not in optional]
    surplus = [key for key in weights if key not in expected]
    both = [(key, value, expected[key]) for key, value in weights.items() if key in expected]
    shapes = [
        f"{key} expected {tuple(ours.shape)}, got {tuple(value.shape)}"
        for key, value, ours in both
        if value.shape != ours.shape
    ]
    types = [
        f"{key} expected {ours.dtype}, got {value.dtype}"
        for key, value, ours in both
        if value.is_floating_point() != ours.is_floating_point()
    ]
    kinds = {
        "missing": missing,
        "surplus": surplus,
        "of another shape": shapes,
        "of another type": types,
    }
    return [f"{kind}: {some(names)}" for kind, names in kinds.items() if names]


def expect_finite(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError for weights that are NaN or infinite."""
    broken = [
        key
        for key, value in weights.items()
        # PyTorch does not know it of all floats of 8 bits
        if not (value if value.element_size() > 1 else value.float()).isfinite().all()
    ]
    if broken:
        raise CheckpointError(
            f"{path}: holds nan or infinity in {some(broken)}; take a file from before the "
            "training diverged"
        )


def some(names: Sequence[str]) -> str:
    """List the first names, and count the others."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")


def is_safetensors(path: Path) -> bool:
    """Whether a file is in safetensors format, by its first bytes; by its name if missing."""
    try:
        if not path.is_file():  # not a pipe, which would block for ever
            return path.suffix == ".safetensors"
        with path.open("rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError:
        return path.suffix == ".safetensors"


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and metadata of a file.

    Raises:
        CheckpointError: It is not a safetensors file, or damaged.
    """
    expect_file(path, "a file of weights")
    try:
        with safe_open(path, "pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a safetensors file, or damaged; copy or download it again"
        ) from error


def parse_options(text: str) -> dict[str, Any]:
    """Parse the options of a network from the untrusted metadata of a file.

    Raises:
        ValueError: They are not a JSON object, too long, or have a number too large for a layer.
    """
    if len(text) > _LONGEST_OPTIONS:
        raise ValueError(f"options of {len(text)} characters")
    try:
        options = dict(json.loads(text))
    except (RecursionError, TypeError) as error:
        raise ValueError("no object, or one that is nested too deep") from error
    large = [key for key, value in options.items() if type(value) is int and value > _LARGEST]
    if large:
        raise ValueError(f"{some(large)}: more than {_LARGEST}")
    return options


_LONGEST_OPTIONS: Final = 10_000
_LARGEST: Final = 4_096
"""Largest width or number of layers that a file may ask for."""


def write_safetensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors atomically, replacing an existing file. Equal content gives equal bytes.

    Raises:
        OSError: The file cannot be written.
    """
    with atomic_path(path) as beside:
        beside.touch()  # an OSError here says what safetensors would not
        mode = beside.stat().st_mode  # safetensors makes files that nobody else can read
        weights = {key: value.to("cpu", copy=True) for key, value in tensors.items()}
        weights = {key: value.contiguous() for key, value in weights.items()}
        try:
            save_file(weights, beside, dict(metadata))
        except SafetensorError as error:
            raise OSError(f"{path}: cannot be written ({error})") from error
        beside.chmod(mode)
        _sort_metadata(beside)


def _sort_metadata(path: Path) -> None:
    """Sort the metadata entries of a file; safetensors writes them in random order."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        file.seek(8)
        file.write(text.ljust(size))
        file.flush()
        os.fsync(file.fileno())


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a file that ``torch.save`` wrote; no code is executed.

    A checkpoint of Lightning's keeps it under ``state_dict``, beside other things.

    Raises:
        CheckpointError: It is damaged, or holds anything else.
    """
    expect_file(path, "a file of weights")
    content = unpickle(path, "file of weights")
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise CheckpointError(
            f"{path}: expected a dictionary of weights and nothing else; save the network's "
            "state_dict() alone"
        )
    return dict(content)
