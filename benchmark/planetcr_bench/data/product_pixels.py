"""Convert the stored pixels of a product to the values that its tags declare.

Files of Planet-CR have no such tags: their pixels stay as stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.data.band_names import band_order
from planetcr_bench.data.description import Description
from planetcr_bench.data.encodings import LandCover, Optical, Radar
from planetcr_bench.data.mask_rules import UDM, UDM2_COUNT, band_count, is_cloud
from planetcr_bench.data.pixel_checks import (
    Tags,
    describe_scale,
    expect_digital_numbers,
    expect_no_holes,
    expect_scale,
    has_scale,
    is_convention,
    nodata_pixels,
    scaled,
)
from planetcr_bench.metrics.reflectance import PixelError, expect_reflectance

_T = TypeVar("_T")

Tagged = tuple[NDArray[Any], Tags]
"""Pixels, shape (B, H, W), and the tags of their file."""


def interpret(pixels: NDArray[Any], tags: Tags, product: str, description: Description) -> Tagged:
    """Values of a product as its tags and its description say; those of a mask are boolean.

    Args:
        pixels: As stored, shape (B, H, W), or (H, W) of an array of one band.
        tags: Of the file.
        product: One of ``PRODUCTS``.
        description: Of the dataset.

    Returns:
        Pixels of shape (B, H, W), of a mask (H, W); and their tags.

    Raises:
        PixelError: The pixels are not what the product has.
    """
    if product == "cloud_mask" and description.cloud_mask is not None:
        rule = description.cloud_mask.rule
        if rule:
            return mask_by_rule(pixels, rule), tags
        return clouds(pixels, description.cloud_mask.cloud), tags
    if pixels.ndim == 2:
        pixels = pixels[None]
    if product == "sar" and description.sar is not None:
        return radar(pixels, tags, description.sar)
    if product == "land_cover" and description.land_cover is not None:
        return codes(pixels, tags, description.land_cover)
    return optical(pixels, tags, description.optical, description.bands)


def optical(pixels: NDArray[Any], tags: Tags, encoding: Optical, bands: Sequence[str]) -> Tagged:
    """Stored values in the order of the bands; those of nodata become reflectance 0.

    Nodata of Planet is 0 and stays so, as in the authors' loader.

    Raises:
        PixelError: The image is of another scale, has pixels of another nodata value or under a
            mask, values that are not finite, or tags that contradict the pixels.
    """
    pixels, tags = _in_order(pixels, tags, bands)
    others = tuple(None if value == encoding.nodata else value for value in tags.nodata)
    expect_no_holes(pixels, replace(tags, nodata=others))
    if has_scale(tags) and not _declares(tags, encoding):
        pixels = _rescaled(pixels, tags, encoding)
    empty = None
    if encoding.nodata is not None and encoding.nodata != -encoding.offset:
        empty = nodata_pixels(pixels, [encoding.nodata] * len(pixels))
    if empty is not None:
        pixels = np.where(empty, pixels.dtype.type(-encoding.offset), pixels)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        count = int((~np.isfinite(pixels)).sum())
        raise PixelError(f"expected numbers, got {count} values that are NaN or infinite")
    if not pixels.any():
        raise PixelError(
            "expected an image, got 0 everywhere: is it nodata, or reflectance that was cast?"
        )
    if pixels.dtype.kind != "f":
        expect_digital_numbers(pixels, encoding.scale)
    expect_scale(pixels, encoding.scale, encoding.offset)
    return pixels, tags


def _declares(tags: Tags, encoding: Optical) -> bool:
    """Whether tags say what the description does."""
    if not encoding.offset:
        return is_convention(tags, encoding.scale)
    expected = encoding.offset / encoding.scale
    plain = replace(tags, offsets=())
    return is_convention(plain, encoding.scale) and np.allclose(tags.offsets, expected)


def _rescaled(pixels: NDArray[Any], tags: Tags, encoding: Optical) -> NDArray[Any]:
    """Values of the description's scale from those that the tags declare."""
    values = scaled(pixels, tags)
    expect_reflectance(values, remedy=f"; its tags say {describe_scale(tags)}")
    empty = nodata_pixels(pixels, tags.nodata)
    if empty is not None:
        values[empty] = 0
    stored = values * encoding.scale - encoding.offset
    if pixels.dtype.kind == "f":
        return stored.astype(pixels.dtype)
    limits = np.iinfo(pixels.dtype)
    return np.clip(np.rint(stored), limits.min, limits.max).astype(pixels.dtype)


def radar(pixels: NDArray[Any], tags: Tags, encoding: Radar) -> Tagged:
    """Backscatter in dB in the order of the bands; nodata and masked pixels become NaN.

    Raises:
        PixelError: A band has no valid pixel, or is not in dB.
    """
    pixels, tags = _in_order(pixels, tags, encoding.bands)
    holes = nodata_pixels(pixels, tags.nodata)
    if has_scale(tags):
        pixels = scaled(pixels, tags).astype(pixels.dtype)
    if pixels.dtype.kind != "f":
        pixels = pixels.astype(np.float32)
    if encoding.unit == "power":
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = 10 * np.log10(pixels)  # 0 and less are holes
        pixels = np.where(np.isfinite(pixels), pixels, pixels.dtype.type(np.nan))
    for empty in (holes, tags.hidden):
        if empty is not None:
            pixels = np.where(empty, pixels.dtype.type(np.nan), pixels)
    if not np.isfinite(pixels).any(axis=(1, 2)).all():
        raise PixelError("expected numbers in both bands, got a band of only NaN or nodata")
    expect_decibels(pixels, encoding.bands)
    return pixels, tags


def codes(pixels: NDArray[Any], tags: Tags, encoding: LandCover) -> Tagged:
    """Land-cover codes; nodata and masked pixels get the code of nodata.

    Raises:
        PixelError: A code does not exist.
    """
    if has_scale(tags):
        raise PixelError(f"expected codes, got a file of {describe_scale(tags)}; remove these tags")
    holes = nodata_pixels(pixels, tags.nodata)
    for empty in (holes, tags.hidden):
        if empty is not None:
            pixels = np.where(empty, pixels.dtype.type(encoding.nodata), pixels)
    expect_codes(pixels, encoding)
    return pixels, tags


def mask_by_rule(pixels: NDArray[Any], rule: str, *, dates: int | None = None) -> NDArray[np.bool_]:
    """Whether each pixel is cloud by a rule of ``mask_rules``.

    Args:
        pixels: Of a mask, shape (B, H, W), or (H, W).
        rule: Which bands and values count.
        dates: How many cloudy images the scene has, if it can have several.

    Returns:
        Shape (H, W), or (T, H, W) for several dates.

    Raises:
        PixelError: The mask has another number of bands, or values that the rule does not know.
    """
    images = pixels if pixels.ndim == 3 else pixels[None]
    if (dates or 1) > 1 and rule.startswith(UDM):
        raise PixelError(
            f"expected a mask for each of {dates} dates, got one by the rule {rule}; name the "
            "files <scene>_<date>"
        )
    expected = band_count(rule, dates)
    if len(images) != expected:
        words = f"a mask of {expected} band{'s' * (expected > 1)}"
        words += ", one for each date" * (dates is not None and expected == dates)
        hint = "; masks of Planet need the rule udm2" * (len(images) == UDM2_COUNT)
        raise PixelError(f"expected {words}, got {len(images)}{hint}")
    cloud = is_cloud(images, rule)
    return cloud[0] if dates is None else cloud


def clouds(pixels: NDArray[Any], values: Sequence[int | Sequence[int]]) -> NDArray[np.bool_]:
    """Whether each pixel is cloud, shape (H, W).

    Args:
        pixels: Of a mask, shape (H, W) or (B, H, W).
        values: That mean cloud in any band, and colours, of one value for each band; if there are
            none, all values but 0.

    Raises:
        PixelError: The mask has another number of bands than a colour.
    """
    images = pixels if pixels.ndim == 3 else pixels[None]
    if not values:
        return np.asarray(images.astype(bool).any(axis=0))
    alone = [value for value in values if isinstance(value, int)]
    is_cloud: NDArray[np.bool_] = np.asarray(np.isin(images, alone).any(axis=0))
    for colour in values:
        if isinstance(colour, int):
            continue
        if len(colour) != len(images):
            raise PixelError(f"expected a mask of {len(colour)} bands, got {len(images)}")
        is_colour = images == np.reshape(colour, (-1, 1, 1))
        np.logical_or(is_cloud, is_colour.all(axis=0), out=is_cloud)
    return is_cloud


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


def expect_decibels(pixels: NDArray[np.floating], bands: Sequence[str]) -> None:
    """Refuse backscatter that is not in dB.

    Args:
        pixels: Shape (B, h, w); NaN is a hole.
        bands: Their names.

    Raises:
        PixelError: A band has no negative value, or hardly any value of both bands is as low as
            land and water are in dB.
    """
    finite = pixels[np.isfinite(pixels)]
    without = [
        name.upper()
        for name, band in zip(bands, pixels, strict=True)
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


def expect_codes(codes: NDArray[np.uint8], encoding: LandCover) -> None:
    """Refuse land cover with values other than its codes.

    Raises:
        PixelError: A code does not exist.
    """
    known = [code for code, _ in encoding.classes]
    is_code = np.zeros(256, bool)
    is_code[known] = True
    if is_code[codes].all():
        return
    unknown = sorted({*np.unique(codes).tolist()} - {*known})
    hint = "; are these numbers of classes?" if max(unknown) <= len(known) else ""
    raise PixelError(f"expected {encoding.legend} codes, got {', '.join(map(str, unknown))}{hint}")
