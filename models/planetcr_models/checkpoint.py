"""A file of weights in, what it holds out, or one refusal: what our form and the authors' share."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from planetcr_models.errors import CheckpointError

LISTED: Final = 5
"""Names that an error lists before it counts the others."""


def expect_file(path: Path, what: str) -> None:
    """Raise CheckpointError unless there is a file; ``what`` says which was expected."""
    try:
        if path.is_dir():
            raise CheckpointError(f"{path}: expected {what}, found a folder")
        path.stat()
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: expected {what}, found no such file") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error


def unpickle(path: Path, what: str) -> Any:
    """What ``torch.save`` wrote, if it is weights and containers; nothing in it is executed.

    Args:
        path: The file.
        what: It should be, for the message.

    Raises:
        CheckpointError: It is damaged, of another form, or holds other objects.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old forms; the errors below say enough
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if "GLOBAL" in str(error):
            raise CheckpointError(
                f"{path}: holds objects other than weights, which are not loaded, for safety; save "
                "the network's state_dict() alone"
            ) from error
        raise CheckpointError(
            f"{path}: is no {what}, or a damaged one; copy or download it again"
        ) from error


def differences(
    expected: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    *,
    optional: Sequence[str] = (),
) -> list[str]:
    """How weights differ from those that a network expects, one line per kind of difference.

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
    return [f"{kind}: {some(found)}" for kind, found in kinds.items() if found]


def expect_finite(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError for weights that are no numbers."""
    broken = [key for key, value in weights.items() if not value.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{path}: holds nan or infinity in {some(broken)}; take a file from before the "
            "training diverged"
        )


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
