"""Determine the order of bands from their names in a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from planetcr_bench.metrics.reflectance import PixelError
from planetcr_bench.utils.untrusted import printable

_WORDS: Final = {
    "blue": "blue", "green": "green", "red": "red", "nir": "nir", "ir": "nir",
    "vv": "vv", "vh": "vh",
}  # fmt: skip

_FOREIGN: Final = frozenset((
    "alpha", "cirrus", "coastal", "edge", "hh", "hv", "mask", "ndvi", "pan", "panchromatic",
    "swir", "thermal", "yellow",
))  # fmt: skip

_LETTERS: Final = {"b": "blue", "g": "green", "r": "red", "n": "nir", "i": "nir", "nir": "nir"}

_NUMBERED: Final = (
    {"2": "blue", "3": "green", "4": "red", "8": "nir"},  # Sentinel-2
    {"2": "blue", "3": "green", "4": "red", "8a": "nir"},
    {"2": "blue", "3": "green", "4": "red", "5": "nir"},  # Landsat 8
    {"2": "blue", "4": "green", "6": "red", "8": "nir"},  # PlanetScope of eight bands
)


def band_order(names: Sequence[str], bands: Sequence[str]) -> list[int] | None:
    """Find the position of each band from the band names of a file.

    Words (``Blue``, ``near-infrared``, ``Sigma0_VV``), letters (``B, G, R, N``) and band numbers of
    Sentinel-2, Landsat 8 and PlanetScope (``B02, B03, B04, B08``) are known. Names without
    information (``Band 1``, ``prediction``) are ignored, as are missing names. Other bands,
    such as ``coastal``, are only found by their own names.

    Args:
        names: Of the file's bands, in file order; empty if there are none.
        bands: Expected bands, in the expected order.

    Returns:
        Index of each expected band in the file; None if the file has the expected order.

    Raises:
        PixelError: The names are other bands, or only some bands are named and not in the expected
            order.
    """
    if not set(bands) <= set(_WORDS.values()):
        return _order_of_equal_names(names, bands)
    meanings = _meanings(names)
    if set(meanings) == set(bands) and len(meanings) == len(bands):
        order = [meanings.index(band) for band in bands]
        return None if order == sorted(order) else order
    unexpected = [
        meaning
        for meaning, band in zip(meanings, bands, strict=False)
        if meaning not in (None, band)
    ]
    if unexpected:
        shown = ", ".join(printable(name) if name else "(no name)" for name in names)
        raise PixelError(
            f"expected the bands {', '.join(bands)}, but the file names its bands {shown}; write "
            "them in this order, and name all of them or none"
        )
    return None


def _order_of_equal_names(names: Sequence[str], bands: Sequence[str]) -> list[int] | None:
    """Order of bands beyond the known words: only equal names say anything of them."""
    plain = [name.strip().casefold() for name in names]
    expected = [band.casefold() for band in bands]
    if sorted(plain) != sorted(expected) or plain == expected:
        return None
    return [plain.index(band) for band in expected]


def _meanings(names: Sequence[str]) -> list[str | None]:
    """Band that each name means; None if unknown; the name itself for another band."""
    plain = [name.strip().casefold() for name in names]
    if all(name in _LETTERS for name in plain):
        return [_LETTERS[name] for name in plain]
    numbers = [_number_in(name) for name in plain]
    for known in _NUMBERED:
        if set(numbers) == set(known):
            return [known[number] for number in numbers if number]
    if None not in numbers and sorted(map(str, numbers)) == [
        str(position) for position in range(1, len(numbers) + 1)
    ]:
        in_order = numbers == sorted(map(str, numbers))
        return [None if in_order else f"number {number}" for number in numbers]
    return [_band_of_word(name) for name in names]


def _number_in(name: str) -> str | None:
    """The ``8a`` of ``B08A``, ``SR_B8A``, ``Band 8a`` and ``08a``."""
    match = re.fullmatch(r"(?:(?:.*[^a-z])?b(?:and)?[\s_-]*)?0*(\d{1,2}a?)", name)
    return match[1] if match else None


def _band_of_word(name: str) -> str | None:
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold()
    text = re.sub(r"infra[\s_-]*red", "nir", text).replace("rededge", "edge")
    words = set(re.findall(r"[a-z]+", text))
    bands = {_WORDS[word] for word in words & _WORDS.keys()}
    if words & _FOREIGN or len(bands) > 1:
        return text
    return bands.pop() if bands else None
