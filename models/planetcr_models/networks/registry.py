"""Create networks by name: the methods of the paper's Tab. 2."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from planetcr_models.errors import ModelError
from planetcr_models.networks.align_cr import AlignCR, AlignCRNoSar
from planetcr_models.networks.base import Restorer
from planetcr_models.networks.dsen2_cr import DSen2CR
from planetcr_models.networks.glf_cr import GLFCR
from planetcr_models.networks.mcgan import McGAN
from planetcr_models.networks.methods import METHODS
from planetcr_models.networks.sar_opt_cgan import SarOptCGAN
from planetcr_models.networks.spa_gan import SpAGAN

NETWORKS: Final[dict[str, Callable[..., Restorer]]] = {
    "mcgan": McGAN,
    "spa_gan": SpAGAN,
    "sar_opt_cgan": SarOptCGAN,
    "dsen2_cr": DSen2CR,
    "glf_cr": GLFCR,
    "align_cr_no_sar": AlignCRNoSar,
    "align_cr_no_align": AlignCR,
    "align_cr": AlignCR,
}
"""The class of each method of ``METHODS``."""

FIXED: Final[Mapping[str, Mapping[str, Any]]] = {"align_cr_no_align": {"align": False}}
"""Options that make a network this method and no other."""


def default_options(name: str) -> dict[str, Any]:
    """Options of a method for :func:`build_model` and their defaults, which are the paper's."""
    keywords = inspect.signature(NETWORKS[name]).parameters.values()
    return {word.name: word.default for word in keywords if word.name not in FIXED.get(name, {})}


def build_model(name: str, **options: Any) -> Restorer:
    """Make a network with fresh weights, initialised as its authors do.

    Args:
        name: One of ``list_models``.
        **options: Such as ``width=32``; see :func:`default_options`.

    Returns:
        The network, in training mode.

    Raises:
        ModelError: Unknown method or option, or an invalid value.
    """
    check_options(name, options)
    model = NETWORKS[name](**FIXED.get(name, {}), **options)
    model.method, model.options = name, dict(options)
    return model


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise ModelError unless a method of this name exists and has such options."""
    if name not in METHODS:
        near = difflib.get_close_matches(name.replace("-", "_"), METHODS, 1)
        hint = f"did you mean {near[0]!r}? There are" if near else "there are"
        raise ModelError(f"{name}: no such model; {hint} {', '.join(METHODS)}")
    known = default_options(name)
    surplus = [option for option in options if option not in known]
    if surplus:
        raise ModelError(f"{name}: has no option {', '.join(surplus)}; it has {', '.join(known)}")
    strange = [
        f"{option}={value!r}"
        for option, value in options.items()
        if not is_like(value, known[option])
    ]
    if strange:
        raise ModelError(
            f"{name}: expected {', '.join(f'{key}={known[key]!r}' for key in options)} or other "
            f"values of these types, got {', '.join(strange)}"
        )


def is_like(value: object, default: object) -> bool:
    """Whether an option has the type of its default; a finite number may be whole."""
    if isinstance(default, float):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return math.isfinite(value)
    return type(value) is type(default)
