"""Convert the stored pixels of a product to the values that its tags declare.

Files of the official release have no such tags: their pixels stay as stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import DN_PER_REFLECTANCE, OPTICAL_BANDS, SAR_BANDS, WORLDCOVER_CLASS
from planetcr_bench.data.band_names import band_order
from planetcr_bench.data.pixel_checks import (
    PixelError,
    Tags,
    describe_scale,
    expect_digital_numbers,
    expect_no_holes,
    expect_reflectance,
    has_scale,
    is_convention,
    nodata_pixels,
    scaled,
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
        expect_reflectance(values, remedy=f"; its tags say {describe_scale(tags)}")
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
        raise PixelError(f"expected codes, got a file of {describe_scale(tags)}; remove these tags")
    holes = nodata_pixels(pixels, tags.nodata)
    for empty in (holes, tags.hidden):
        if empty is not None:
            pixels = np.where(empty, np.uint8(0), pixels)
    expect_codes(pixels)
    return pixels, tags


INTERPRETERS: Final[dict[str, Callable[[NDArray[Any], Tags], Tagged]]] = {
    "clear": optical,
    "cloudy": optical,
    "sar": radar,
    "land_cover": codes,
}
"""Product to the function that interprets its pixels; boolean masks need none."""


def _in_order(pixels: NDArray[Any], tags: Tags, bands: Sequence[str]) -> Tagged:
    """Bands in the expected order, if the file names them."""
    order = band_order(tags.names, bands)
    if order is None:
        return pixels, tags
    ordered = Tags(
        _reordered(tags.nodata, order),
        _reordered(tags.scales, order),
        _reordered(tags.offsets, order),
        tuple(bands),
        tags.hidden,
    )
    return np.ascontiguousarray(pixels[order]), ordered


def _reordered(values: Sequence[_T], order: Sequence[int]) -> tuple[_T, ...]:
    return tuple(values[index] for index in order)


LARGEST_POWER: Final = 1000.0
"""Largest plausible linear power of bright targets."""

DARK_DB: Final = -1.0
"""Nearly all backscatter of land and water lies below this."""

SMALLEST_DARK_SHARE: Final = 0.01
"""Smallest share of a SAR image in dB that lies below :data:`DARK_DB`."""


def expect_decibels(pixels: NDArray[np.floating]) -> None:
    """Refuse backscatter that is not in dB.

    Args:
        pixels: Shape (2, h, w); NaN is a hole.

    Raises:
        PixelError: A band has no negative value, or hardly any value of both bands is as low as
            land and water are in dB.
    """
    finite = pixels[np.isfinite(pixels)]
    without = [
        name.upper()
        for name, band in zip(SAR_BANDS, pixels, strict=True)
        if not (band < 0).any() and np.isfinite(band).any()
    ]
    if without:
        got = f"no negative value in {' and '.join(without)}"
    elif finite.size and float((finite < DARK_DB).mean()) < SMALLEST_DARK_SHARE:
        got = f"hardly a value below {DARK_DB:g}"
    else:
        return
    low, high, middle = float(finite.min()), float(finite.max()), float(np.median(finite))
    if middle <= 1.5 and high <= LARGEST_POWER:
        likely = "linear power; write 10 · log10(power)"
        if high <= 1:
            likely = "linear power (write 10 · log10(power)), or values scaled to [0, 1] already"
    elif high <= 60:
        likely = "dB without their sign; write them negative"
    else:
        likely = "bytes or digital numbers; write the calibrated backscatter in dB"
    raise PixelError(
        f"expected backscatter in dB, got {got} ({low:.3g} to {high:.3g}): it looks like {likely}"
    )


_IS_CODE = np.zeros(256, bool)

_IS_CODE[list(WORLDCOVER_CLASS)] = True


def expect_codes(codes: NDArray[np.uint8]) -> None:
    """Refuse land cover with values other than WorldCover's codes.

    Raises:
        PixelError: A code does not exist.
    """
    if _IS_CODE[codes].all():
        return
    unknown = sorted({*np.unique(codes).tolist()} - {*WORLDCOVER_CLASS})
    hint = "; are these numbers of classes?" if max(unknown) <= len(WORLDCOVER_CLASS) else ""
    raise PixelError(f"expected WorldCover codes, got {', '.join(map(str, unknown))}{hint}")
