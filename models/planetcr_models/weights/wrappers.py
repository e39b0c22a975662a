"""Rename weights of a wrapped network to those of the network itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from torch import Tensor

WRAPPERS: Final = ("module", "_orig_mod")
"""Prefixes of torch's DataParallel, DistributedDataParallel and ``torch.compile``."""

ATTRIBUTES: Final = ("model", "net", "network")
"""What a ``LightningModule``, or a class like it, usually calls the network that it trains."""


def unwrapped(
    weights: Mapping[str, Tensor], expected: Collection[str] | None = None
) -> dict[str, Tensor]:
    """Rename weights to the names of the wrapped network, for any number of wrappers.

    Args:
        weights: Of a file, by name.
        expected: Names of the network, which may itself have parts that are called ``module``, or
            be wrapped. Names that are the network's are left as they are.

    Returns:
        The same weights, in the same order; under their own names if it is ambiguous which parts
        are wrappers.
    """
    if expected is None:
        return _renamed(weights, {})
    names = set(weights)
    if names & set(expected) == names:
        return dict(weights)
    outer = dict(weights)
    while prefix := _common(outer):
        outer = {name.removeprefix(prefix): value for name, value in outer.items()}
        if set(outer) == set(expected):
            return outer
    bare = {_bare(name): name for name in expected}
    return _renamed(weights, bare if len(bare) == len(expected) else {})


def _renamed(weights: Mapping[str, Tensor], theirs: Mapping[str, str]) -> dict[str, Tensor]:
    """Weights without the wrappers in their names; unchanged if two names would coincide."""
    plain = {_bare(name): value for name, value in weights.items()}
    if len(plain) < len(weights):
        return dict(weights)
    return {theirs.get(name, name): value for name, value in plain.items()}


def _common(names: Iterable[str]) -> str | None:
    """A wrapper, or the attribute of a trainer, that all names begin with."""
    names = [*names]
    prefixes = (f"{outer}." for outer in (*WRAPPERS, *ATTRIBUTES))
    return next((p for p in prefixes if names and all(n.startswith(p) for n in names)), None)


def _bare(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)
