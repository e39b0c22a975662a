"""Look up methods by name and describe them; the summary imports no PyTorch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from planetcr_bench.errors import UsageError
from planetcr_models.networks.methods import METHODS, list_models
from planetcr_models.training.recipes import RECIPES, SOURCES
from planetcr_models.weights.pretrained import SEGMENTER, list_pretrained, pretrained_cards

CLOUDSEG: Final = "cloudseg"
"""Name of the other recipe of the segmenter."""

__all__ = ["SEGMENTER", "list_models"]  # for the command line, which may not import the networks

SEGMENTER_OPTIONS: Final[Mapping[str, Any]] = {
    "encoder": "resnet50",
    "output_stride": 16,
    "rates": (12, 24, 36),
    "separable": True,
    "decoder_channels": 256,
}
"""Options of the segmenter, which are those of the paper."""


def check_method(name: str, *, others: Sequence[str] = (), user_files: bool = True) -> None:
    """Raise UsageError unless there is a network of this name.

    Args:
        name: As the user gave it.
        others: Names that the command accepts besides networks.
        user_files: Whether it also accepts a user's file.
    """
    if name in METHODS or name in others:
        return
    known = [*others, *list_models()]
    near = difflib.get_close_matches(name.replace("-", "_"), known, 1)
    near = near or difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}? There are" if near else "there are"
    yours = "; a network of your own is net.py:build" if user_files else ""
    raise UsageError(f"{name}: no such method; {hint} {', '.join(known)}{yours}")


def summaries() -> list[dict[str, Any]]:
    """Inputs, size, paper, licence and weights of every network, in the order of Tab. 2.

    Raises:
        ModelError: The card of weights that ship with the package is damaged.
    """
    return [_summary(name) for name in list_models()]


def pretrained_names(method: str | None = None) -> list[str]:
    """Names of the weights that ship, for one method or for any; reads no card."""
    return [
        name for name, methods in list_pretrained().items() if method is None or method in methods
    ]


def segmenter_weights() -> list[str]:
    """Names of the weights of the land-cover segmenter that ship."""
    return list(pretrained_cards(SEGMENTER))


def describe(name: str) -> dict[str, Any]:
    """Describe a network or the segmenter: summary, options, recipe, cards of its weights.

    Raises:
        UsageError: Unknown method.
        ModelError: The card of weights that ship with the package is damaged.
    """
    check_method(name, others=(SEGMENTER,), user_files=False)
    recipe = {
        "recipe": RECIPES[name].plain(),
        "recipe_source": SOURCES[name],
        "pretrained": pretrained_cards(name),
    }
    if name == SEGMENTER:
        return {"name": name, "title": "Segmenter: DeepLabv3+", **_of_segmenter(), **recipe}
    from planetcr_models.networks.registry import default_options  # imports PyTorch

    return {**_summary(name), "options": default_options(name), **recipe}


def _of_segmenter() -> dict[str, Any]:
    """Options and encoders of the segmenter, and its other recipe."""
    from planetcr_models.segmentation.deeplab import ENCODERS  # imports PyTorch

    other = {"recipe": RECIPES[CLOUDSEG].plain(), "recipe_source": SOURCES[CLOUDSEG]}
    return {
        "options": dict(SEGMENTER_OPTIONS),
        "encoders": list(ENCODERS),
        "other_recipes": {CLOUDSEG: other},
    }


def _summary(name: str) -> dict[str, Any]:
    method = METHODS[name]
    return {
        "name": name,
        "title": method.title,
        "inputs": ["cloudy", "sar"] if method.uses_sar else ["cloudy"],
        "parameters": method.parameters,
        "macs": {str(side): macs for side, macs in method.macs.items()},
        "paper": method.paper,
        "provenance": method.provenance,
        "licence": method.licence,
        "weights": method.weights,
        "pretrained": pretrained_cards(name),
    }
