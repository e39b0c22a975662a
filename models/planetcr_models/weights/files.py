"""Save and load networks as safetensors files that name their method and options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from planetcr_models.errors import CheckpointError, ModelError
from planetcr_models.networks.base import Restorer
from planetcr_models.networks.registry import build_model, check_options, default_options
from planetcr_models.weights.authors import load_checkpoint
from planetcr_models.weights.cards import check_card
from planetcr_models.weights.checkpoint import (
    differences,
    expect_finite,
    is_safetensors,
    parse_options,
    read_safetensors,
    read_state_dict,
    write_safetensors,
)
from planetcr_models.weights.sources import find_weights
from planetcr_models.weights.wrappers import unwrapped

FORMAT: Final = "planetcr_models"
"""Format name in the metadata of our files."""

TRAINED_ON: Final = "trained_on"
"""Key of the metadata for what the images were: a JSON object, see ``Restorer.trained_on``."""

VERSION: Final = "1"
"""Version of the metadata; raised when older versions of this package cannot read it."""


def save_model(model: Restorer, path: Path | str) -> Path:
    """Write the weights of a network with its method, options and images, atomically.

    Args:
        model: Made by ``create_model`` or loaded by this package.
        path: File to write, usually ``.safetensors``; an existing file is replaced.

    Returns:
        ``path``.

    Raises:
        ModelError: The method of the network is unknown.
        OSError: The file cannot be written.
    """
    path = Path(path)
    if not model.method:
        raise ModelError(
            f"{type(model).__name__}: expected a network made by create_model, whose method and "
            "options are known; save others by safetensors.torch.save_file(model.state_dict(), …)"
        )
    metadata = {"format": FORMAT, "version": VERSION, "method": model.method}
    metadata["options"] = json.dumps(dict(model.options))
    if model.trained_on:
        metadata[TRAINED_ON] = json.dumps(dict(model.trained_on))
    write_safetensors(path, model.state_dict(), metadata)
    return path


def create_model(name: str, *, pretrained: str | Path | None = None, **options: Any) -> Restorer:
    """Make a network, with fresh weights or with trained ones.

    Args:
        name: One of ``list_models``.
        pretrained: Weights that ship with this package, by their name (:func:`list_pretrained`); a
            file; the folder of a training run; or ``hf://OWNER/NAME``, see
            :func:`~planetcr_models.weights.sources.find_weights`. By default none: the network is
            initialised as by its authors.
        **options: Such as ``width=32``; see :func:`default_options`. Trained weights bring their
            own, so that none have to be given.

    Returns:
        The network: fresh in training mode, pretrained in evaluation mode.

    Raises:
        ModelError: Unknown method, option or name of weights, an invalid value, or options that the
            weights were not made with.
        CheckpointError: The weights cannot be read or downloaded, or are another network's.
    """
    check_options(name, options)
    if pretrained is None:
        return build_model(name, **options)
    return load_weights(name, find_weights(name, pretrained).path, **options)


def load_model(path: Path | str, *, method: str | None = None) -> Restorer:
    """Load a network that :func:`save_model` wrote.

    Args:
        path: The file. A card beside it is optional, but must be its own.
        method: Refuse the weights of any other method.

    Returns:
        The network, in evaluation mode, in float64 if the weights are, otherwise in float32.

    Raises:
        CheckpointError: The file cannot be read, has another format, or holds other weights.
    """
    path = Path(path)
    weights, metadata = read_safetensors(path)
    name, options = _method_of(path, metadata)
    check_card(path, is_card=False)
    if method not in (None, name):
        raise CheckpointError(f"{path}: holds the weights of {name}, not of {method}")
    try:
        with torch.device("meta"):  # takes no memory, whatever the file declares
            problems = differences(build_model(name, **options).state_dict(), weights)
        model = None if problems else build_model(name, **options)
    except (ModelError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: describes a network that cannot be built ({error}); update planetcr-bench"
        ) from error
    if model is None:
        raise CheckpointError(f"{path}: expected the weights of this {name}, got others", problems)
    _load(model, path, weights)
    model.trained_on = _trained_on(path, metadata)
    return model.eval()


def load_weights(name: str, path: Path | str, **options: Any) -> Restorer:
    """Load the weights of a method from our file format or a checkpoint of its authors' code.

    Args:
        name: One of ``list_models``.
        path: Written by :func:`save_model`, or see
            ``load_checkpoint``.
        **options: Options that the weights must have been made with; optional, since the file
            states them, or its authors' code has only one size.

    Returns:
        The network, in evaluation mode.

    Raises:
        CheckpointError: The file cannot be read, or holds other weights.
        ModelError: Unknown method, or one whose authors' code writes no files.
    """
    path = Path(path)
    model = load_model(path, method=name) if is_safetensors(path) else load_checkpoint(name, path)
    expect_options(path, f"weights of {name}", default_options(name) | dict(model.options), options)
    return model


def expect_options(
    path: Path, what: str, has: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    """Raise CheckpointError if given options are not those that a file of weights states."""
    unlike = [f"{key}={has.get(key, 'unknown')}" for key in options if has.get(key) != options[key]]
    if unlike:
        wanted = ", ".join(f"{key}={value}" for key, value in options.items())
        raise CheckpointError(
            f"{path}: expected {what} with {wanted}, got {', '.join(unlike)}; the file states its "
            "options, so none have to be given"
        )


def load_state(model: nn.Module, path: Path | str) -> None:
    """Load the weights of any network; all of its weights and no others must be present.

    Args:
        model: Network that receives the weights.
        path: Safetensors, or a state dict as ``torch.save`` writes it, read without running any
            code that it may hold.

    Raises:
        CheckpointError: The file cannot be read, or holds other weights.
    """
    path = Path(path)
    _load(model, path, read_safetensors(path)[0] if is_safetensors(path) else read_state_dict(path))


def save_state(model: nn.Module, path: Path | str, **metadata: str) -> None:
    """Write the weights of any network, atomically, as :func:`load_state` reads them.

    Args:
        model: Its ``state_dict`` is written; weights that parts share are written for each part.
        path: File to write; an existing file is replaced.
        **metadata: Written into the header of the file.

    Raises:
        OSError: The file cannot be written.
    """
    write_safetensors(Path(path), model.state_dict(), metadata)


def _method_of(path: Path, metadata: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Read the method and options that a file names."""
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: expected a file that planetcr_models.save_model wrote, found safetensors of "
            "another origin; load them into a network of create_model and write it with save_model"
        )
    if metadata.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: expected format version {VERSION}, got {metadata.get('version')}; update "
            "planetcr-bench"
        )
    try:
        return metadata["method"], parse_options(metadata["options"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: states no method and options; save it again") from error


def read_trained_on(path: Path | str) -> dict[str, Any]:
    """What a file of weights says of the images that they learnt from; empty if it says nothing.

    Raises:
        CheckpointError: The file cannot be read.
    """
    path = Path(path)
    return _trained_on(path, read_safetensors(path)[1]) if is_safetensors(path) else {}


def _trained_on(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        facts = parse_options(metadata.get(TRAINED_ON, "{}"))
        lists = [facts[key] for key in ("bands", "sar_bands") if key in facts]
        width = facts.get("sar_pixel", 1.0)
        if all(isinstance(names, list) for names in lists) and isinstance(width, int | float):
            return facts
    except ValueError:
        pass
    raise CheckpointError(f"{path}: states its images in an unknown way; save it again")


def _load(model: nn.Module, path: Path, weights: Mapping[str, Tensor]) -> None:
    """Set all weights of a network; it becomes double precision if the file is."""
    expected = model.state_dict()
    weights = unwrapped(weights, expected)
    problems = differences(expected, weights)
    if problems:
        who = getattr(model, "method", "") or type(model).__name__
        raise CheckpointError(f"{path}: expected the weights of this {who}, got others", problems)
    expect_finite(path, weights)
    if any(value.dtype == torch.float64 for value in weights.values()):
        model.double()
    model.load_state_dict(weights)
