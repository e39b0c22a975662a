"""Fit a network to the images of a dataset, or say in one line why it does not fit."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from planetcr_bench.constants import PLANET_CR
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.errors import BenchError, BenchWarning, UsageError
from planetcr_models.networks.base import Restorer
from planetcr_models.networks.methods import METHODS
from planetcr_models.networks.registry import default_options

_WITHOUT_SAR: Final[Mapping[str, object]] = {"use_sar": False, "zero_sar": True}
"""Options of networks with which they take no SAR."""


def facts_of(described: Description) -> dict[str, Any]:
    """What the weights of a network remember of the images that they learn from.

    Returns:
        ``dataset``, its title, and ``bands``; with SAR also ``sar_bands`` and, if it is known,
        ``sar_pixel``, the width of a SAR pixel in optical pixels.
    """
    facts: dict[str, Any] = {"dataset": described.title, "bands": list(described.bands)}
    if described.sar is not None:
        facts["sar_bands"] = list(described.sar.bands)
        pixel = _sar_pixel(described)
        if pixel is not None:
            facts["sar_pixel"] = round(float(pixel), 4)
    return facts


def _sar_pixel(described: Description) -> Fraction | float | None:
    """Width of a SAR pixel in optical pixels; None if it is not known."""
    if not described.has_own_grid("sar"):
        return 1.0
    sizes = described.read_size_of("clear"), described.read_size_of("sar")
    if sizes[0] is not None and sizes[1] is not None:
        return Fraction(sizes[0][1], sizes[1][1])
    widths = described.pixel_size, described.read_resolution_of("sar")
    return widths[1] / widths[0] if widths[0] and widths[1] else None


def is_planet_cr(described: Description) -> bool:
    """Whether a dataset is described as Planet-CR is, like the simulated ones."""
    return described == load_description(PLANET_CR)


def fitted(name: str, options: Mapping[str, Any], described: Description) -> dict[str, Any]:
    """Options of a method for the images of a dataset.

    Args:
        name: A method.
        options: Those that the user gave; the numbers of bands may be left out.
        described: The dataset.

    Returns:
        The options, with the numbers of bands where they are not the method's defaults.

    Raises:
        UsageError: The method takes SAR, and the dataset has none; or an option contradicts it.
    """
    expect_one_date(name, described)
    defaults, values = default_options(name), dict(options)
    counts = {"bands": described.bands}
    if takes_sar(name, options):
        if described.sar is None:
            raise UsageError(
                f"{name}: takes SAR images, and {described.title} has none; {_others()}"
            )
        counts["sar_bands"] = described.sar.bands
    for key, bands in counts.items():
        given = options.get(key, len(bands))
        if given != len(bands):
            raise UsageError(
                f"--model-arg: expected {key}={len(bands)} for {described.title} "
                f"({', '.join(bands)}), got {key}={given}; it need not be given"
            )
        if key not in options and len(bands) != defaults[key]:
            values[key] = len(bands)
    return values


def expect_one_date(name: str, described: Description) -> None:
    """Raise UsageError for a dataset of several cloudy images per scene."""
    if described.has_dates:
        raise UsageError(
            f"{name}: takes one cloudy image, and scenes of {described.title} have several dates"
        )


def takes_sar(name: str, options: Mapping[str, Any]) -> bool:
    """Whether a method takes SAR with these options."""
    return METHODS[name].uses_sar and not any(
        options.get(option) is value for option, value in _WITHOUT_SAR.items()
    )


def _others() -> str:
    without = [name for name, method in METHODS.items() if not method.uses_sar]
    control = [name for name in METHODS if "use_sar" in default_options(name)]
    return (
        f"without SAR there are {', '.join(without)}, and {' and '.join(control)} with --model-arg "
        "use_sar=False"
    )


def expect_fit(model: Restorer, weights: str | Path, described: Description) -> None:
    """Refuse weights that learnt from other images than those of a dataset.

    Args:
        model: With its weights.
        weights: Where they come from, for messages.
        described: The dataset.

    Raises:
        BenchError: The bands, or those of SAR, are others; or the dataset has no SAR.
        UsageError: The scenes have several dates.

    Warns:
        BenchWarning: SAR pixels have another width in optical pixels.
    """
    expect_one_date(model.method, described)
    sar = [] if described.sar is None else described.sar.bands
    if model.uses_sar and not sar:
        raise BenchError(
            f"{weights}: this {model.method} takes SAR images, and {described.title} has none; "
            f"{_others()}"
        )
    _expect_count(weights, "bands", model.bands, described.bands)
    if model.uses_sar:
        _expect_count(weights, "bands of SAR", model.sar_bands, sar)
    expect_known(model.trained_on, weights, described, uses_sar=model.uses_sar)


def _expect_count(weights: str | Path, what: str, count: int, bands: list[str]) -> None:
    if count != len(bands):
        raise BenchError(
            f"{weights}: expected a network of {len(bands)} {what}, as the dataset has, got one of "
            f"{count}"
        )


def expect_known(
    trained_on: Mapping[str, Any],
    weights: str | Path,
    described: Description,
    *,
    uses_sar: bool,
) -> None:
    """Refuse weights that state other bands than those of a dataset; see :func:`expect_fit`.

    Args:
        trained_on: As :func:`facts_of` gives it; what it does not state is not checked.
        weights: For messages.
        described: The dataset.
        uses_sar: Whether SAR matters.
    """
    facts = facts_of(described)
    stated = {key: value for key, value in trained_on.items() if key in facts}
    source = trained_on.get("dataset", "another dataset")
    for key, what in {"bands": "bands", "sar_bands": "bands of SAR"}.items():
        if key in stated and stated[key] != facts[key] and (uses_sar or key == "bands"):
            learnt = ", ".join(map(str, stated[key]))
            raise BenchError(
                f"{weights}: learnt from the {what} {learnt} of {source}, and {described.title} "
                f"has {', '.join(facts[key])}; use weights that were trained on these {what}"
            )
    if uses_sar and stated.get("sar_pixel") not in (None, facts.get("sar_pixel")):
        warnings.warn(
            f"{weights}: learnt from SAR pixels {stated['sar_pixel']:g} optical pixels wide "
            f"({source}); those of {described.title} are {facts['sar_pixel']:g} wide",
            BenchWarning,
            stacklevel=2,
        )
