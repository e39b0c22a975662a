"""Interpret stored pixels by the tags of their file, and refuse contradictions.

Pure functions of arrays and tags, for datasets and predictions alike. The caller that reads a file
puts its name before the message of a ``PixelError``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import DN_PER_REFLECTANCE
from planetcr_bench.metrics.reflectance import LARGEST_MEAN, PixelError, number

DIMMEST: Final = 255
"""Largest value of bytes; folders of images in DN of 10 000 exceed it."""

LARGEST_STORED_REFLECTANCE: Final = 1.5
"""Largest value of images that contain reflectance and not DN."""


@dataclass(frozen=True, slots=True)
class Tags:
    """Tags of a file that determine the meaning of its pixels; by default none.

    Attributes:
        nodata: Of each band; None if a band has none.
        scales: Of each band; 1 if unknown.
        offsets: Of each band; 0 if unknown.
        names: Of each band; empty if unknown.
        hidden: True where a mask or an alpha band hides the pixel, shape (H, W); None: nowhere.
    """

    nodata: tuple[float | None, ...] = ()
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    hidden: NDArray[np.bool_] | None = None


NO_TAGS: Final = Tags()


# --- Nodata and masks -------------------------------------------------------------------------


def nodata_pixels(pixels: NDArray[Any], nodata: Sequence[float | None]) -> NDArray[np.bool_] | None:
    """Mask of nodata in each band, shape (B, H, W); None: nowhere."""
    mask: NDArray[np.bool_] | None = None
    for band, value in enumerate(nodata):
        if value is None:
            continue
        same = _equal(pixels[band], value)
        if same.any():
            mask = np.zeros(pixels.shape, bool) if mask is None else mask
            mask[band] = same
    return mask


def _equal(band: NDArray[Any], value: float) -> NDArray[np.bool_]:
    """Where a band holds a value; as a number of the band's dtype, if that has it."""
    if np.isnan(value):
        return np.isnan(band) if band.dtype.kind == "f" else np.zeros(band.shape, bool)
    with np.errstate(over="ignore", invalid="ignore"):
        stored = np.float64(value).astype(band.dtype)
    if band.dtype.kind != "f" and float(stored) != value:
        return np.zeros(band.shape, bool)
    same: NDArray[np.bool_] = band == stored
    return same


def describe_nodata(pixels: NDArray[Any], tags: Tags) -> tuple[int, str] | None:
    """Count pixels with nodata in any band, and list the nodata values; None: there is none."""
    mask = nodata_pixels(pixels, tags.nodata)
    if mask is None:
        return None
    values = [tags.nodata[band] for band in np.flatnonzero(mask.any((1, 2)))]
    shown = ", ".join(dict.fromkeys(number(value) for value in values if value is not None))
    return int(mask.any(0).sum()), shown


def expect_no_holes(pixels: NDArray[Any], tags: Tags) -> None:
    """Refuse an image with nodata pixels, or pixels hidden by a mask or alpha band.

    Raises:
        PixelError: There are such pixels.
    """
    nodata = describe_nodata(pixels, tags)
    if nodata is not None:
        count, value = nodata
        raise PixelError(
            f"expected numbers for every pixel, but {count} pixels have its nodata value {value}; "
            "fill them, or remove the nodata tag if these are values (gdal_edit.py -unsetnodata)"
        )
    if tags.hidden is not None and tags.hidden.any():
        raise PixelError(
            f"expected numbers for every pixel, but {int(tags.hidden.sum())} pixels are hidden by "
            "its own mask or alpha band; fill them, or remove the mask if these are values"
        )


# --- Scale and offset -------------------------------------------------------------------------


def has_scale(tags: Tags) -> bool:
    """Whether a file has a scale or an offset."""
    return any(scale != 1 for scale in tags.scales) or any(offset != 0 for offset in tags.offsets)


def describe_scale(tags: Tags) -> str:
    """Describe scales and offsets, each once."""
    scales, offsets = (
        ", ".join(dict.fromkeys(number(value) for value in values))
        for values in (tags.scales, tags.offsets)
    )
    return f"scale {scales} and offset {offsets}"


def is_convention(tags: Tags, scale: float) -> bool:
    """Whether the tags declare stored values to be reflectance times a scale, and nothing else."""
    return all(
        np.isclose(factor * scale, 1, rtol=1e-6, atol=0) for factor in tags.scales
    ) and not any(tags.offsets)


def scaled(pixels: NDArray[Any], tags: Tags) -> NDArray[np.float64]:
    """Pixels times scale plus offset, band by band.

    Raises:
        PixelError: A scale is not a positive number, or an offset is not a number; or integers have
            an offset without a scale, so their unit is unknown.
    """
    if not all(0 < scale < np.inf for scale in tags.scales) or not np.isfinite(tags.offsets).all():
        raise PixelError(
            f"expected a usable scale and offset, got {describe_scale(tags)}; remove them"
        )
    if pixels.dtype.kind != "f" and 1 in tags.scales:
        raise PixelError(
            f"expected tags that turn {pixels.dtype.name} into reflectance, got "
            f"{describe_scale(tags)}; remove them, or apply them and write reflectance as float32"
        )
    scales, offsets = (
        np.array(per_band)[:, None, None] for per_band in (tags.scales, tags.offsets)
    )
    values: NDArray[np.float64] = pixels * scales + offsets
    return values


# --- Reflectance ------------------------------------------------------------------------------


def expect_digital_numbers(pixels: NDArray[Any], scale: float = DN_PER_REFLECTANCE) -> None:
    """Refuse integers that were cast from reflectance.

    Args:
        pixels: Integers.
        scale: Value that stands for reflectance 1.

    Raises:
        PixelError: The largest is 1.
    """
    if int(pixels.max()) == 1:
        cause, remedy = dim_cause(1, scale)
        raise PixelError(
            f"expected digital numbers, reflectance × {number(scale)}, got "
            f"{pixels.dtype.name} whose largest value is 1: it looks like {cause}; {remedy}"
        )


def dim_cause(largest: float, scale: float = DN_PER_REFLECTANCE) -> tuple[str, str]:
    """Guess the unit of images whose largest value is too small for DN, and name the remedy."""
    if largest <= LARGEST_STORED_REFLECTANCE:
        return (
            "reflectance that was cast to whole numbers",
            f"multiply by {number(scale)} before, or write float32",
        )
    return "percent or bytes", f"multiply to reflectance × {number(scale)}"


def too_dark(largest: Sequence[float], scale: float = DN_PER_REFLECTANCE) -> str:
    """Explain why the images of a dataset cannot have its scale; empty if they can.

    Args:
        largest: Largest value of each scene, above the value of reflectance 0.
        scale: Value that stands for reflectance 1.
    """
    brightest = max(largest, default=math.inf)
    if brightest > DIMMEST * scale / DN_PER_REFLECTANCE:
        return ""
    cause, remedy = dim_cause(brightest, scale)
    return (
        f"expected digital numbers, reflectance × {number(scale)}, got images of "
        f"{len(largest)} scenes whose largest value is {number(brightest)}: it looks like {cause}; "
        f"{remedy}"
    )


def expect_scale(pixels: NDArray[Any], scale: float, offset: float) -> None:
    """Refuse stored values that are far too large for a scale.

    Args:
        pixels: As stored.
        scale: Value that stands for reflectance 1, from the offset on.
        offset: Added to stored values.

    Raises:
        PixelError: Their mean is a reflectance that none has.
    """
    mean = (float(pixels.mean(dtype=np.float64)) + offset) / scale
    if not abs(mean) <= LARGEST_MEAN:
        raise PixelError(
            f"expected reflectance × {number(scale)}, got an image of mean "
            f"{number(mean * scale - offset)}, reflectance {mean:.3g}: its scale is another"
        )


# --- What looks wrong but may be right --------------------------------------------------------

FEWEST_PIXELS: Final = 1000
"""Fewest pixels that justify a verdict on an image."""

INVERTED_BY: Final = 0.05
"""Reflectance by which clear pixels must have brightened more than cloudy ones."""


def mask_looks_inverted(
    cloudy: NDArray[Any],
    clear: NDArray[Any],
    mask: NDArray[np.bool_],
    scale: float = DN_PER_REFLECTANCE,
) -> bool | None:
    """Whether a mask looks inverted: pixels marked as clear are brightened, others are not.

    Args:
        cloudy: Digital numbers, shape (B, H, W).
        clear: Of the cloud-free image, likewise.
        mask: True for cloud, shape (H, W).
        scale: Value that stands for reflectance 1.

    Returns:
        None if there are too few pixels of either kind.
    """
    count = int(mask.sum())
    if min(count, mask.size - count) < FEWEST_PIXELS:
        return None
    kind = np.float64 if cloudy.dtype.kind == "f" else np.int64
    brighter = cloudy[0].astype(kind) - clear[0].astype(kind)
    cloud, clear_ground = float(brighter[mask].mean()), float(brighter[~mask].mean())
    return bool(clear_ground - cloud > INVERTED_BY * scale)


def colour_likeness(
    image: NDArray[np.float32],
    cloudy: NDArray[np.float32],
    clear: NDArray[np.bool_],
    bands: Sequence[str],
) -> float | None:
    """Correlation of red minus blue between an image and the input, over clear pixels.

    About 1 for a method that leaves clear pixels unchanged, and about -1 if red and blue are
    swapped.

    Args:
        image: Reflectance, shape (B, H, W).
        cloudy: Of the input, likewise.
        clear: True for pixels to use, shape (H, W).
        bands: Their names.

    Returns:
        None if there are too few pixels, only one colour, or no red and blue.
    """
    if clear.sum() < FEWEST_PIXELS or not {"red", "blue"} <= set(bands):
        return None
    red, blue = bands.index("red"), bands.index("blue")
    colours = (
        (each[red][clear] - each[blue][clear]).astype(np.float64) for each in (image, cloudy)
    )
    a, b = (colour - colour.mean() for colour in colours)
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / spread if spread > 1e-6 * len(a) else None
