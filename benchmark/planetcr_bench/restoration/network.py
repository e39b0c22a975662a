"""Choose and load the network that restores a scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from planetcr_bench.constants import OPTICAL_BANDS, OPTICAL_RESOLUTION_M, PLANET_CR
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.errors import BenchError, UsageError
from planetcr_bench.networks.loading import (
    RANDOM,
    InferenceSettings,
    find,
    is_user_file,
    open_network,
)
from planetcr_bench.networks.methods import check_method
from planetcr_bench.restoration.inputs import Network, NetworkSource
from planetcr_bench.restoration.products import SENTINEL_BANDS
from planetcr_models.networks.registry import build_model
from planetcr_models.weights.files import load_model, load_weights, read_trained_on
from planetcr_models.weights.pretrained import SEGMENTER, list_pretrained, pretrained_cards
from planetcr_models.weights.sources import find_weights

_SENTINEL_1_M: Final = 10.0
"""Size of a pixel of SAR in metres."""


def load_network(
    method: str | None,
    weights: str | None,
    *,
    options: Sequence[str] = (),
    has_sar: bool,
    settings: InferenceSettings,
) -> Network:
    """Load a network, and refuse one that needs SAR where there is none.

    Args:
        method: Of the network, or a user's file; by default what the weights are for.
        weights: A name, a file, the folder of a training run, or an address on the Hub.
        options: ``key=value`` each.
        has_sar: Whether a SAR image is given.
        settings: How it runs.

    Raises:
        UsageError: No such method; weights of several methods and none chosen; or SAR is needed.
        BenchError: The network takes bands whose names are not known.
        ModelError: There are no such weights.
    """
    name = method or _method_of(weights, has_sar=has_sar)
    if not is_user_file(name):
        check_method(name)
    described, pixel_m = _images_of(name, weights)
    model, card = open_network(
        name, weights=weights, options=options, seed=0, settings=settings, described=described
    )
    uses_sar = bool(getattr(getattr(model, "network", model), "uses_sar", True))
    if uses_sar and not has_sar:
        raise UsageError(
            f"{name}: looks at SAR; give --sar, an image of Sentinel-1, or choose a network that "
            f"needs none: {'; '.join(without_sar())}"
        )
    source = NetworkSource(name, weights, tuple(options))
    return Network(
        model=model, card=card, bands=tuple(described.bands), pixel_m=pixel_m, uses_sar=uses_sar,
        source=source,
    )  # fmt: skip


def _images_of(name: str, weights: str | None) -> tuple[Description, float]:
    """Images that a network takes, as its weights state them, and their pixel size in metres."""
    planet_cr = load_description(PLANET_CR)
    if is_user_file(name) or weights in (None, RANDOM):
        return planet_cr, OPTICAL_RESOLUTION_M
    assert weights is not None
    path = find(name, weights).path
    stated = read_trained_on(path)
    bands = stated.get("bands")
    if bands is None:
        count = load_weights(name, path).bands
        known = {len(OPTICAL_BANDS): OPTICAL_BANDS} | {13: SENTINEL_BANDS[13]}
        if count not in known:
            raise BenchError(
                f"{weights}: expected a network of {' or '.join(map(str, known))} bands, of "
                f"PlanetScope or Sentinel-2, or weights that name their bands, got one of {count}"
            )
        bands = list(known[count])
    if list(bands) == planet_cr.bands:
        return planet_cr, OPTICAL_RESOLUTION_M
    pixel_m = _SENTINEL_1_M / stated.get("sar_pixel", 1.0)
    return planet_cr.model_copy(update={"bands": list(bands), "title": "the scene"}), pixel_m


def without_sar() -> list[str]:
    """Options of all weights that ship with the package and look at no SAR."""
    found = []
    for name, methods in list_pretrained().items():
        for method in methods:
            if method == SEGMENTER:
                continue
            options = pretrained_cards(method)[name].get("options", {})
            if not build_model(method, **options).uses_sar:
                found.append(f"--weights {name} --method {method}")
    return found


def _method_of(weights: str | None, *, has_sar: bool) -> str:
    if weights is None:
        raise UsageError(
            "expected --weights, and --method where they are of several networks; without SAR "
            f"there are {'; '.join(without_sar())}"
        )
    methods = [each for each in list_pretrained().get(weights, ()) if each != SEGMENTER]
    if len(methods) == 1:
        return methods[0]
    if methods:
        others = "" if has_sar else f"; without SAR there are {'; '.join(without_sar())}"
        raise UsageError(
            f"{weights}: has weights of {', '.join(methods)}; choose one with --method{others}"
        )
    if weights.startswith("hf://"):
        raise UsageError(f"{weights}: say with --method which network the weights are for")
    return load_model(find_weights("", weights).path).method  # a file names its network
