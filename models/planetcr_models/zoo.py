"""A name in, a network out: every method of the paper's Tab. 2, and what to know of each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from planetcr_models.errors import ModelError
from planetcr_models.restorer import Restorer


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What to know of a method before using it.

    Attributes:
        title: Its name in the literature.
        paper: Authors, title and venue.
        network: Builds it; its keywords are the options of :func:`create_model`.
        provenance: ``re-implementation`` of published code, or ``reconstruction`` from a text.
        licence: Of the authors' code, as published; ours is Apache-2.0 and none of theirs.
        weights: What pretrained weights exist, and whether they can be loaded.
    """

    title: str
    paper: str
    network: Callable[..., Restorer]
    provenance: str
    licence: str
    weights: str


METHODS: Final[dict[str, Method]] = {}


def list_models() -> tuple[str, ...]:
    """Names that :func:`create_model` takes, in the order of the paper's Tab. 2."""
    return tuple(METHODS)


def create_model(name: str, **options: Any) -> Restorer:
    """Make a network with fresh weights, initialised as its authors do.

    Args:
        name: One of :func:`list_models`.
        **options: Keywords of the network's class, such as ``width=32``; the defaults are the
            paper's.

    Returns:
        The network, in training mode.

    Raises:
        ModelError: There is no such method, or it has no such option.
    """
    if name not in METHODS:
        raise ModelError(f"{name}: no such model; there are {', '.join(METHODS)}")
    network = METHODS[name].network
    known = inspect.signature(network).parameters
    surplus = [option for option in options if option not in known]
    if surplus:
        raise ModelError(f"{name}: has no option {', '.join(surplus)}; it has {', '.join(known)}")
    model = network(**options)
    model.method, model.options = name, dict(options)
    return model
