"""Look up the weights that ship with this package; imports no PyTorch.

They are ``pretrained/<name>/<method>.safetensors``, each with its card ``<method>.json`` beside it.
To add weights is to add these two files, which ``planetcr_models.training.publish`` writes.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Final

from planetcr_models.errors import CheckpointError, ModelError
from planetcr_models.weights.cards import read_card
from planetcr_models.weights.paths import file_sha256

FOLDER: Final = Path(__file__).parents[1] / "pretrained"
"""Where they are."""

SEGMENTER: Final = "segmenter"
"""The land-cover segmenter, in place of a method."""

SUFFIX: Final = ".safetensors"
"""Of weights."""

REINSTALL: Final = "reinstall planetcr-bench, as `pip install --force-reinstall --no-deps` does"


def list_pretrained() -> dict[str, tuple[str, ...]]:
    """Names of the weights that ship with this package, and the methods that each is for.

    Example:
        >>> for name, methods in list_pretrained().items():
        ...     networks = [create_model(method, pretrained=name) for method in methods]
    """
    found: dict[str, list[str]] = {}
    for path in sorted(FOLDER.glob("*/*.json")):
        found.setdefault(path.parent.name, []).append(path.stem)
    return {name: tuple(methods) for name, methods in found.items()}


def is_pretrained(name: str) -> bool:
    """Whether weights of this name ship with this package, for any method."""
    return name in list_pretrained()


def pretrained_cards(method: str) -> dict[str, dict[str, Any]]:
    """Cards of all weights of a method that ship with this package, by name.

    Raises:
        CheckpointError: A card is damaged.
    """
    return {
        name: _card(name, method)
        for name, methods in list_pretrained().items()
        if method in methods
    }


def packaged_weights(name: str, method: str) -> Path:
    """Find weights that ship with this package, and verify them.

    Args:
        name: One of :func:`list_pretrained`.
        method: One of ``list_models``, or ``segmenter``.

    Raises:
        ModelError: There are no such weights.
        CheckpointError: They are damaged.
    """
    known = list_pretrained()
    if name not in known:
        raise ModelError(f"{name}: no such pretrained weights; {suggestion(name)}")
    if method not in known[name]:
        raise ModelError(f"{name}: has no weights of {method}; it has {', '.join(known[name])}")
    path = FOLDER / name / f"{method}{SUFFIX}"
    expected = _card(name, method).get("sha256")
    try:
        actual = file_sha256(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error.message}; {REINSTALL}") from error
    if actual != expected:
        raise CheckpointError(
            f"{path}: damaged: expected the SHA-256 of its card, {str(expected)[:12]}…, got "
            f"{actual[:12]}…; {REINSTALL}"
        )
    return path


def suggestion(name: str) -> str:
    """Say which weights ship with this package, the nearest to a wrong name first."""
    known = list_pretrained()
    if not known:
        return "none ship with this version; give a file, the folder of a run or hf://OWNER/NAME"
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"


def _card(name: str, method: str) -> dict[str, Any]:
    try:
        return read_card(FOLDER / name / f"{method}.json")
    except CheckpointError as error:
        raise CheckpointError(f"{error.message}; {REINSTALL}") from error
