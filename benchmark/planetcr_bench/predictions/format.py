"""Read and write the file of one prediction, and refuse what cannot be scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError

from planetcr_bench.constants import DN_PER_REFLECTANCE, OPTICAL_BANDS, OPTICAL_SIZE
from planetcr_bench.data.band_names import band_order
from planetcr_bench.data.description import Description
from planetcr_bench.data.grids import crs_name, grid_name, same_crs
from planetcr_bench.data.pixel_checks import (
    DIMMEST,
    LARGEST_STORED_REFLECTANCE,
    Tags,
    describe_scale,
    expect_digital_numbers,
    expect_no_holes,
    has_scale,
    is_convention,
    scaled,
)
from planetcr_bench.data.raster import Header, header_fault, header_of, open_image, write_geotiff
from planetcr_bench.data.reading import LARGEST_SIDE, Raster, read_raster
from planetcr_bench.data.scene import Image
from planetcr_bench.errors import DatasetError, PredictionError
from planetcr_bench.metrics.reflectance import (
    IMPOSSIBLE,
    PixelError,
    expect_finite,
    expect_reflectance,
    number,
)
from planetcr_bench.predictions.card import CARD, Card, unwritable
from planetcr_bench.utils.folders import ending
from planetcr_bench.utils.untrusted import npy_header, printable

CROP_SIZE: Final = 160
"""Side of the centre crop that may be given instead of the whole patch."""

DTYPES: Final = ("uint16", "float16", "float32", "float64")


@dataclass(frozen=True, slots=True)
class Form:
    """Form of the predictions of a dataset; by default Planet-CR's.

    Attributes:
        bands: Names of its bands.
        size: Height and width of its images; None if they differ from scene to scene.
        crop: Whether the centre crop may be given instead.
    """

    bands: Sequence[str] = OPTICAL_BANDS
    size: tuple[int, int] | None = (OPTICAL_SIZE, OPTICAL_SIZE)
    crop: bool = True


def form_of(description: Description) -> Form:
    """Form of the predictions of a described dataset; the crop belongs to ``official``."""
    size = description.read_size_of("clear")
    return Form(description.bands, size, "official" in description.protocols)


def header_size(path: Path, form: Form = Form()) -> int:
    """Read the width of an image from its header.

    Args:
        path: Of the prediction.
        form: Of the dataset's predictions.

    Raises:
        PredictionError: Unreadable, or of a dtype or shape that cannot be scored.
    """
    if ending(path) == ".npy":
        dtype, shape, _, _ = npy_header(path, error=PredictionError)
        header = Header(dtype.name, shape)
    else:
        with open_image(path, error=PredictionError) as source:
            header = header_of(source, len(form.bands))
    expect_image(path, header, form)
    return int(header.shape[-1])


def expect_image(path: Path, header: Header, form: Form = Form()) -> None:
    """Refuse a file that cannot be scored, by its header.

    Args:
        path: Of the prediction, for messages.
        header: Of the file.
        form: Of the dataset's predictions.

    Raises:
        PredictionError: It has another dtype or shape, several pages, or too large tiles.
    """
    if header.dtype not in DTYPES:
        raise PredictionError(
            f"{printable(path)}: expected uint16 or float32, got {printable(header.dtype)}"
        )
    whole = form.size or (*header.shape[-2:], 1, 1)[:2]
    sizes = [whole, (CROP_SIZE, CROP_SIZE)] if form.crop else [whole]
    fault = header_fault(header, tuple((len(form.bands), *size) for size in sizes))
    if not fault and max(header.shape) > LARGEST_SIDE:
        fault = f"expected at most {LARGEST_SIDE} pixels a side, got {max(header.shape)}"
    if fault:
        raise PredictionError(f"{printable(path)}: {fault}")


def read_prediction(
    path: Path,
    card: Card,
    clear: Raster,
    *,
    brightest: float = math.inf,
    bands: Sequence[str] = OPTICAL_BANDS,
) -> tuple[Image, NDArray[Any]]:
    """Read one prediction.

    Args:
        path: File of a prediction, from ``folder.find_predictions``.
        card: Declares the scale, if any.
        clear: The scene's clear image, whose grid a georeferenced prediction must share.
        brightest: Largest reflectance of the scene; only few values may lie above it.
        bands: Names of the dataset's bands.

    Returns:
        Reflectance, float32, shape (B, H, W), not clipped; and the pixels as stored.

    Raises:
        PredictionError: Unreadable, not finite, of an unclear scale, of other bands, with nodata or
            hidden pixels, or on another grid.
    """
    try:
        height, width = clear.pixels.shape[-2:]
        accept = partial(expect_image, path, form=Form(bands, (height, width)))
        raster = read_raster(path, accept, bands=len(bands))
    except DatasetError as error:
        raise PredictionError(error.message) from error
    _check_grid(path, raster, clear)
    try:
        return _to_reflectance(raster, card, brightest, bands), raster.pixels
    except PixelError as fault:
        raise PredictionError(f"{path}: {fault}") from fault


def _to_reflectance(raster: Raster, card: Card, brightest: float, bands: Sequence[str]) -> Image:
    """Convert a prediction to reflectance: bands by their names, values by their scale."""
    pixels, tags = raster.pixels, raster.tags
    expect_no_holes(pixels, tags)
    order = band_order(tags.names, bands)
    expect_finite(pixels)
    image = _scaled(pixels, tags, card)
    if not np.isfinite(image).all():
        raise PixelError(f"expected values that fit float32, got {np.abs(pixels).max():.3g}")
    if card.scale != 1:
        expect_reflectance(image, brightest=brightest, remedy=_remedy(tags, card))
    elif (largest := float(np.abs(image).max())) > IMPOSSIBLE:
        raise PixelError(
            f"{CARD} declares scale = 1, but its largest value is {number(largest)}, which no "
            "reflectance reaches; remove the scale, or declare the value that stands for 1"
        )
    return image if order is None else np.ascontiguousarray(image[order])


def _scaled(pixels: NDArray[Any], tags: Tags, card: Card) -> Image:
    """Convert pixels to reflectance by the card's scale, the file's tags, or the dtype.

    Raises:
        PixelError: Two of the three contradict each other.
    """
    scale = scale_of(pixels, card)
    if scale >= DIMMEST and pixels.dtype.kind == "u":
        expect_digital_numbers(pixels)
    if has_scale(tags) and not is_convention(tags, scale):
        if card.scale is not None:
            raise PixelError(
                f"its tags say {describe_scale(tags)}, but {CARD} declares scale = "
                f"{number(card.scale)}; remove one of the two"
            )
        values = scaled(pixels, tags)
        _expect_not_dimmed(pixels, values, tags)
        return values.astype(np.float32)
    if pixels.dtype.kind == "u":
        return _divided(pixels, np.float32(scale))
    largest = float(np.abs(pixels).max())
    if scale >= DIMMEST and 0 < largest <= LARGEST_STORED_REFLECTANCE:
        raise PixelError(
            f"{CARD} declares scale = {number(scale)}, but its largest value is {largest:.3g}, "
            "which looks like reflectance; remove the scale"
        )
    return _divided(pixels, np.float64(scale))


def _divided(pixels: NDArray[Any], scale: np.floating) -> Image:
    """Divide pixels by the scale; what exceeds float32 becomes infinite."""
    with np.errstate(over="ignore"):
        image: Image = np.divide(pixels, scale).astype(np.float32)
    return image


def scale_of(pixels: NDArray[Any], card: Card) -> float:
    """Value that stands for a reflectance of 1, by the card or else by the dtype."""
    return card.scale or (DN_PER_REFLECTANCE if pixels.dtype.kind == "u" else 1)


def _expect_not_dimmed(pixels: NDArray[Any], values: NDArray[np.float64], tags: Tags) -> None:
    """Refuse reflectance that its tags would scale down again."""
    stored, dimmed = float(pixels.max()), float(values.max())
    if 0 < stored <= LARGEST_STORED_REFLECTANCE and dimmed < DIMMEST / DN_PER_REFLECTANCE:
        raise PixelError(
            f"its tags say {describe_scale(tags)}, but its largest value is {stored:.3g}, which "
            "looks like reflectance already; remove the tags"
        )


def _remedy(tags: Tags, card: Card) -> str:
    if has_scale(tags):
        return f"; its tags say {describe_scale(tags)}"
    if card.scale is not None:
        return f"; {CARD} declares scale = {number(card.scale)}"
    return (
        f"; declare its scale in {CARD} (scale = {DN_PER_REFLECTANCE}, 255 for bytes, 100 for "
        "percent, or scale = 1 if these are reflectances)"
    )


def _check_grid(path: Path, raster: Raster, clear: Raster) -> None:
    if raster.crs and clear.crs and not same_crs(raster.crs, clear.crs):
        raise PredictionError(
            f"{path}: expected the scene's CRS {crs_name(clear.crs)}, got {crs_name(raster.crs)}"
        )
    expected = centre_grid(clear, raster.pixels.shape[-2:])
    if expected is None or raster.transform is None:
        return
    if not raster.transform.almost_equals(expected, 0.01):
        raise PredictionError(
            f"{path}: expected the scene's grid {grid_name(expected)}, got "
            f"{grid_name(raster.transform)}"
        )


def centre_grid(raster: Raster, size: tuple[int, ...]) -> Affine | None:
    """Pixel to coordinates of a raster's centre crop; None without georeference.

    Args:
        raster: The whole raster.
        size: (H, W) of the window.
    """
    if raster.transform is None:
        return None
    shape = raster.pixels.shape[-2:]
    top, left = ((side - window) // 2 for side, window in zip(shape, size, strict=True))
    return raster.transform @ Affine.translation(left, top)


def dtype_of(description: Description) -> str:
    """Data type in which predictions of a dataset are written; see :func:`to_stored`.

    ``uint16`` where the dataset's own images are whole numbers of 1 / 10 000, else ``float32``:
    so pixels that a method does not change stay exactly those of the input.
    """
    return "uint16" if description.optical.scale == DN_PER_REFLECTANCE else "float32"


def to_stored(image: Image, dtype: str = "uint16") -> NDArray[np.uint16] | NDArray[np.float32]:
    """Convert reflectance to stored values.

    Args:
        image: Of any shape.
        dtype: ``uint16``: reflectance × 10 000, clipped and rounded. ``float32``: reflectance.
    """
    if dtype == "float32":
        return image.astype(np.float32, copy=False)
    return np.rint(np.clip(image, 0, 6.5535) * DN_PER_REFLECTANCE).astype(np.uint16)


def write_prediction(path: Path, image: Image, clear: Raster, *, dtype: str = "uint16") -> None:
    """Write a prediction for ``evaluate`` atomically.

    Args:
        path: Ends in ``.tif``.
        image: Reflectance, shape (B, H, W).
        clear: Provides CRS and transform; a smaller image is its centre.
        dtype: See :func:`to_stored`.
    """
    stored = to_stored(image, dtype)
    predictor = 3 if dtype == "float32" else 2
    try:
        grid = centre_grid(clear, stored.shape[1:])
        write_geotiff(path, stored, clear.crs, grid, predictor=predictor)
    except RasterioIOError:  # also an OSError, which says more as it is
        raise
    except OSError as error:  # a folder of this name
        raise unwritable(path, error) from error
