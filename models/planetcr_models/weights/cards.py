"""Read and write the cards of weights: JSON beside them, with their origin, scores and SHA-256.

Imports no PyTorch, so that cards can be listed at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planetcr_models.errors import CheckpointError, ModelError
from planetcr_models.weights.paths import expect_file, file_sha256


def card_path(weights: Path) -> Path:
    """Where the card of a file of weights is."""
    return weights.with_suffix(".json")


def read_card(path: Path | str) -> dict[str, Any]:
    """Read the card of weights.

    Args:
        path: The file of the weights, or the card itself.

    Raises:
        CheckpointError: The card is missing or cannot be read.
    """
    path = card_path(Path(path))
    expect_file(path, "a card of weights")
    try:
        card = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a card, or damaged; copy it again") from error
    if not isinstance(card, dict):
        raise CheckpointError(f"{path}: expected a card of weights, got a {type(card).__name__}")
    return card


def card_text(card: Mapping[str, Any]) -> str:
    """The content of a card.

    Raises:
        ModelError: A value that JSON does not have.
    """
    try:
        return json.dumps(card, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"card: expected JSON values ({error}); use plain numbers and text, and None for nan"
        ) from error


def check_card(weights: Path, *, is_card: bool = True) -> None:
    """Refuse weights that have the card of another file beside them.

    Args:
        weights: The file; a card is optional.
        is_card: Whether a file of the card's name can be nothing else.

    Raises:
        CheckpointError: The card names another SHA-256, or cannot be read.
    """
    path = card_path(weights)
    if not path.exists():
        return
    try:
        card = read_card(path)
    except CheckpointError:
        if is_card:
            raise
        return
    if (is_card or "sha256" in card) and card.get("sha256") != file_sha256(weights):
        raise CheckpointError(
            f"{path}: the card belongs to another file than {weights.name}; put the matching card "
            "beside it"
        )
