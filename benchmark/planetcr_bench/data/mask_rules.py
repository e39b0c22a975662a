"""Say which bands and values of a mask mean cloud.

A rule is a short text: empty for masks of one band with 0 for clear and one other value for cloud;
``1,3`` for these values; ``udm`` for the cloud bit of Planet's first mask; ``udm2`` for the cloud
band of its second, or ``udm2:cloud,light-haze`` for several of its bands.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.metrics.reflectance import PixelError

UDM: Final = "udm"
UDM2: Final = "udm2"

UDM_CLOUD: Final = 2
"""Bit 1 of the Usable Data Mask (UDM) of one band: cloud."""

UDM2_BANDS: Final = ("clear", "snow", "shadow", "light-haze", "heavy-haze", "cloud")
"""The bands of UDM2 that are 0 or 1; confidence and the first mask follow. In UDM2.1 the light haze
is all haze, and there is no heavy one (docs.planet.com/data/imagery/udm)."""

UDM2_COUNT: Final = 8


def rule_fault(rule: str) -> str:
    """Explain why a text is no rule; empty if it is one."""
    name, colon, bands = rule.partition(":")
    if name == UDM2 and (not colon or set(bands.split(",")) <= {*UDM2_BANDS[1:]}):
        return ""
    if rule in ("", UDM) or re.fullmatch(r"\d{1,5}(,\d{1,5})*", rule):
        return ""
    return (
        f"expected values such as 1,3, or {UDM}, or {UDM2}, or {UDM2}: with some of "
        f"{','.join(UDM2_BANDS[1:])}, got {rule!r}"
    )


def rule_words(rule: str) -> str:
    """What a rule counts as cloud, for texts; empty for masks of two values."""
    name, _, bands = rule.partition(":")
    if name == UDM2:
        return f"{bands.replace(',', ', ') or 'cloud'} of UDM2"
    words = {"": "", UDM: "cloud bit of UDM"}
    return words.get(rule, f"values {rule.replace(',', ', ')}")


def band_count(rule: str, dates: int | None = None) -> int:
    """How many bands a mask has: those of the rule, or one for each date.

    Args:
        rule: See the module.
        dates: How many cloudy images the scene has, if it can have several.
    """
    if rule.partition(":")[0] == UDM2:
        return UDM2_COUNT
    return 1 if rule == UDM or dates is None else dates


def is_cloud(pixels: NDArray[Any], rule: str) -> NDArray[np.bool_]:
    """Whether each pixel is cloud.

    Args:
        pixels: Of a mask, shape (B, H, W).
        rule: See the module.

    Returns:
        Shape (B, H, W); of UDM2 (1, H, W).

    Raises:
        PixelError: The mask has values that the rule does not know.
    """
    name, _, bands = rule.partition(":")
    if name == UDM2:
        flags = pixels[: len(UDM2_BANDS)]
        _expect_values(flags, 1, " in the first six bands of UDM2")
        chosen = [UDM2_BANDS.index(band) for band in (bands or "cloud").split(",")]
        return np.asarray(flags[chosen].any(axis=0, keepdims=True))
    if rule == UDM:
        if pixels.dtype != np.uint8:
            raise PixelError(f"expected bytes of UDM, got {pixels.dtype}")
        return np.asarray(pixels & UDM_CLOUD != 0)
    if rule:
        return np.isin(pixels, [int(value) for value in rule.split(",")])
    cloud = 255 if pixels.max() > 1 else 1
    _expect_values(pixels, cloud, "; say which values mean cloud, such as 1,3")
    return pixels.astype(bool)


def _expect_values(pixels: NDArray[Any], cloud: int, words: str) -> None:
    others = pixels[(pixels != 0) & (pixels != cloud)]
    if others.size:
        got = ", ".join(f"{value:g}" for value in np.unique(others)[:5])
        raise PixelError(f"expected 0 and {cloud}, got {got}{words}")
