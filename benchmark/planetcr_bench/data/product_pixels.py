"""Convert the stored pixels of a product to the values that its tags declare.

Files of the official release have no such tags: their pixels stay as stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import DN_PER_REFLECTANCE, OPTICAL_BANDS, SAR_BANDS
from planetcr_bench.data.pixel_checks import (
    PixelError,
    Tags,
    band_order,
    expect_codes,
    expect_decibels,
    expect_digital_numbers,
    expect_no_holes,
    expect_reflectance,
    has_scale,
    is_convention,
    nodata_pixels,
    scaled,
    told_scale,
)

_T = TypeVar("_T")

Tagged = tuple[NDArray[Any], Tags]
"""Pixels, shape (B, H, W), and the tags of their file."""


def optical(pixels: NDArray[Any], tags: Tags) -> Tagged:
    """Digital numbers in the order of the bands; nodata of 0 stays 0, as in the authors' loader.

    Raises:
        PixelError: The image is not in DN, has pixels of another nodata value or under a mask, or
            tags that contradict the pixels.
    """
    pixels, tags = _in_order(pixels, tags, OPTICAL_BANDS)
    others = tuple(None if value == 0 else value for value in tags.nodata)
    expect_no_holes(pixels, replace(tags, nodata=others))
    if has_scale(tags) and not is_convention(tags, DN_PER_REFLECTANCE):
        values = scaled(pixels, tags)
        expect_reflectance(values, remedy=f"; its tags say {told_scale(tags)}")
        empty = nodata_pixels(pixels, tags.nodata)
        if empty is not None:
            values[empty] = 0
        pixels = np.clip(np.rint(values * DN_PER_REFLECTANCE), 0, 65535).astype(np.uint16)
    if not pixels.any():
        raise PixelError(
            "expected an image, got 0 everywhere: is it nodata, or reflectance that was cast?"
        )
    expect_digital_numbers(pixels)
    return pixels, tags


def radar(pixels: NDArray[Any], tags: Tags) -> Tagged:
    """Backscatter in dB, VV before VH; nodata and masked pixels become NaN.

    Raises:
        PixelError: A band has no valid pixel, or is not in dB.
    """
    pixels, tags = _in_order(pixels, tags, SAR_BANDS)
    holes = nodata_pixels(pixels, tags.nodata)
    if has_scale(tags):
        pixels = scaled(pixels, tags).astype(pixels.dtype)
    for empty in (holes, tags.hidden):
        if empty is not None:
            pixels = np.where(empty, pixels.dtype.type(np.nan), pixels)
    if not np.isfinite(pixels).any(axis=(1, 2)).all():
        raise PixelError("expected numbers in both bands, got a band of only NaN or nodata")
    expect_decibels(pixels)
    return pixels, tags


def codes(pixels: NDArray[Any], tags: Tags) -> Tagged:
    """WorldCover codes; nodata and masked pixels get its nodata code, 0.

    Raises:
        PixelError: A code does not exist.
    """
    if has_scale(tags):
        raise PixelError(f"expected codes, got a file of {told_scale(tags)}; remove these tags")
    holes = nodata_pixels(pixels, tags.nodata)
    for empty in (holes, tags.hidden):
        if empty is not None:
            pixels = np.where(empty, np.uint8(0), pixels)
    expect_codes(pixels)
    return pixels, tags


MEANT: Final[dict[str, Callable[[NDArray[Any], Tags], Tagged]]] = {
    "planet_cloudfree": optical,
    "planet_cloudy": optical,
    "S1": radar,
    "landcover": codes,
}
"""Product to the function that interprets its pixels; boolean masks need none."""


def _in_order(pixels: NDArray[Any], tags: Tags, bands: Sequence[str]) -> Tagged:
    """Bands in the expected order, if the file names them."""
    order = band_order(tags.names, bands)
    if order is None:
        return pixels, tags
    ordered = Tags(
        _taken(tags.nodata, order),
        _taken(tags.scales, order),
        _taken(tags.offsets, order),
        tuple(bands),
        tags.hidden,
    )
    return np.ascontiguousarray(pixels[order]), ordered


def _taken(some: Sequence[_T], order: Sequence[int]) -> tuple[_T, ...]:
    return tuple(some[place] for place in order)
