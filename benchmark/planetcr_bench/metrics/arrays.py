"""Measure arrays: take numpy arrays and tensors, check them, and add up the sums of a ledger.

The sums are those of ``kernels`` and ``further``, so a score of arrays is that of a ledger. PyTorch
is never imported: a tensor brings what is needed with it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import DN_PER_REFLECTANCE, LAND_COVER_NAMES, OPTICAL_BANDS, REGIONS
from planetcr_bench.errors import ArrayError
from planetcr_bench.metrics import kernels
from planetcr_bench.metrics.further import measure_further
from planetcr_bench.metrics.protocols import PROTOCOLS, Protocol
from planetcr_bench.metrics.reflectance import PixelError, expect_finite, expect_reflectance
from planetcr_bench.metrics.sums import PLAIN_GROUPS, SUMS, Floats, Images, further_sums
from planetcr_bench.utils.validation import check_choice

Array: TypeAlias = Any
"""A numpy array or a torch tensor, on any device."""

MOST_BANDS: Final = 32
"""An axis of more pixels than this is no axis of bands."""

_DN: Final = f"; divide digital numbers by {DN_PER_REFLECTANCE} before"


@dataclass(frozen=True, slots=True)
class Pair:
    """Predictions and clear images, checked.

    Attributes:
        prediction: Reflectance, shape (N, B, H, W).
        clear: Likewise.
        mask: True where a pixel counts, shape (N, H, W); None: everywhere.
        land_cover: Index into ``LAND_COVER_NAMES``, shape (N, H, W); None: not known.
        bands: Names of the bands.
    """

    prediction: Images
    clear: Images
    mask: NDArray[np.bool_] | None
    land_cover: NDArray[np.uint8] | None
    bands: tuple[str, ...]


def to_numpy(array: Array) -> NDArray[Any]:
    """An array or a tensor, with or without gradient and on any device, as a numpy array."""
    if hasattr(array, "detach"):
        tensor = array.detach().cpu()
        return np.asarray(tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor)
    return np.asarray(array)


def protocol_of(name: str | Protocol) -> Protocol:
    """A protocol by its name.

    Raises:
        UsageError: There is no such protocol.
    """
    if isinstance(name, Protocol):
        return name
    check_choice("protocol", name, list(PROTOCOLS))
    return PROTOCOLS[name]


def band_names(bands: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """Names of bands: as given, else Planet-CR's for four, else numbers, of which none has NDVI."""
    if bands is not None:
        return tuple(bands)
    return (
        OPTICAL_BANDS if count == len(OPTICAL_BANDS) else tuple(f"b{i + 1}" for i in range(count))
    )


def image_of(
    name: str, array: Array, bands: Sequence[str] | None = None, *, brightest: float = np.inf
) -> Images:
    """Check an image, or a batch of images.

    Args:
        name: For messages.
        array: Reflectance, shape (B, H, W) or (N, B, H, W).
        bands: Names of its bands, if known.
        brightest: Largest reflectance of the scene, or 1; only few values may lie above it.

    Returns:
        float32 or float64, shape (N, B, H, W).

    Raises:
        ArrayError: Another shape, bands last, integers, NaN, or no reflectance.
    """
    pixels = to_numpy(array)
    if pixels.dtype.kind != "f":
        hint = _DN if pixels.dtype.kind in "iu" else ""
        raise ArrayError(
            f"{name}: expected reflectance in [0, 1] as floats, got {pixels.dtype}{hint}"
        )
    _expect_shape(name, pixels.shape, bands)
    if pixels.dtype.itemsize < 4:
        pixels = pixels.astype(np.float32)
    try:
        expect_finite(pixels)
        expect_reflectance(pixels, brightest=brightest, remedy=_DN)
    except PixelError as fault:
        raise ArrayError(f"{name}: {fault}") from fault
    return pixels if pixels.ndim == 4 else pixels[None]


def _expect_shape(name: str, shape: tuple[int, ...], bands: Sequence[str] | None) -> None:
    count = "B" if bands is None else str(len(bands))
    expected = f"({count}, H, W) or (N, {count}, H, W)"
    if len(shape) not in (3, 4) or 0 in shape:
        raise ArrayError(f"{name}: expected shape {expected}, got {shape}")
    first, last = shape[-3], shape[-1]
    fits = first == len(bands) if bands is not None else first <= MOST_BANDS
    if fits:
        return
    if last == len(bands) if bands is not None else last <= MOST_BANDS:
        raise ArrayError(
            f"{name}: expected shape {expected}, bands first, got {shape}, bands last; "
            "move them: np.moveaxis(image, -1, -3), or image.movedim(-1, -3) of a tensor"
        )
    named = "" if bands is None else f" ({', '.join(bands)})"
    raise ArrayError(f"{name}: expected shape {expected}{named}, got {shape}")


def _plane_of(
    name: str, array: Array, grid: tuple[int, ...], count: int, kinds: str
) -> NDArray[Any]:
    """A map of one value a pixel, shape (N, H, W): the same for all images if it is (H, W)."""
    pixels = to_numpy(array)
    if pixels.shape not in (grid, (count, *grid)):
        raise ArrayError(
            f"{name}: expected the grid of the clear image, {grid} or {(count, *grid)}, got "
            f"{pixels.shape}"
        )
    if pixels.dtype.kind not in kinds:
        what = "True and False" if kinds == "b" else "class indices as whole numbers"
        raise ArrayError(f"{name}: expected {what}, got {pixels.dtype}")
    return np.broadcast_to(pixels, (count, *grid))


def mask_of(name: str, array: Array, grid: tuple[int, ...], count: int = 1) -> NDArray[np.bool_]:
    """Check a mask, shape (H, W) or (N, H, W); the result has the shape (N, H, W).

    Raises:
        ArrayError: It is on another grid, or its values are not True and False.
    """
    return _plane_of(name, array, grid, count, "b")


def land_cover_of(array: Array, grid: tuple[int, ...], count: int = 1) -> NDArray[np.uint8]:
    """Check a land-cover map, shape (H, W) or (N, H, W); the result has the shape (N, H, W).

    Raises:
        ArrayError: It is on another grid, or has values that are no index into
            ``LAND_COVER_NAMES``.
    """
    pixels = _plane_of("land_cover", array, grid, count, "iu")
    highest = len(LAND_COVER_NAMES) - 1
    if pixels.min() < 0 or pixels.max() > highest:
        raise ArrayError(
            f"land_cover: expected class indices from 0 to {highest}, in the order of "
            f"{', '.join(LAND_COVER_NAMES)}, got {pixels.min()} to {pixels.max()}"
        )
    return np.ascontiguousarray(pixels, np.uint8)


def pair_of(
    prediction: Array,
    clear: Array,
    *,
    mask: Array | None = None,
    land_cover: Array | None = None,
    bands: Sequence[str] | None = None,
) -> Pair:
    """Check what is scored; see :class:`Pair`.

    Raises:
        ArrayError: An array cannot be scored.
    """
    target = image_of("clear", clear, bands)
    names = band_names(bands, target.shape[1])
    brightest = max(1.0, float(target.max()))
    image = image_of("prediction", prediction, names, brightest=brightest)
    if image.shape != target.shape:
        raise ArrayError(
            f"prediction: expected the shape of clear, {target.shape[-3:]} of {len(target)} "
            f"images, got {image.shape[-3:]} of {len(image)}"
        )
    grid, count = target.shape[-2:], len(target)
    return Pair(
        image,
        target,
        None if mask is None else mask_of("mask", mask, grid, count),
        None if land_cover is None else land_cover_of(land_cover, grid, count),
        names,
    )


def class_sums(pair: Pair, protocol: Protocol, columns: Collection[str]) -> dict[str, Floats]:
    """Sums of each image and land-cover class, by the names of the ledger's columns.

    Args:
        pair: Images.
        protocol: Its window is cut out of the centre.
        columns: Names of sums of the ledger; what else is measured with them comes too.

    Returns:
        Shape (N, len(``LAND_COVER_NAMES``)) each; without land cover all pixels are unknown.

    Raises:
        ArrayError: The images are too small for the protocol.
    """
    least = kernels.smallest(protocol)
    if min(pair.clear.shape[-2:]) < least:
        height, width = pair.clear.shape[-2:]
        raise ArrayError(
            f"protocol {protocol.name}: expected at least {least} × {least} pixels, got "
            f"{height} × {width}"
        )
    further = not SUMS.keys() >= set(columns)
    names = [*SUMS, *(further_sums(pair.bands) if further else ())]
    images = range(len(pair.clear))
    table = np.stack(
        [
            _image_sums(pair, index, protocol, with_ssim="ssim" in columns, further=further)
            for index in images
        ]
    )
    return {name: table[..., column] for column, name in enumerate(names)}


def _image_sums(
    pair: Pair, index: int, protocol: Protocol, *, with_ssim: bool, further: bool
) -> Floats:
    """Sums of one image, shape (classes, columns)."""
    clear = pair.clear[index]
    images = np.stack([pair.prediction[index]] * 2)
    group = np.full(clear.shape[-2:], (len(LAND_COVER_NAMES) - 1) * len(REGIONS), np.uint8)
    if pair.land_cover is not None:
        group = pair.land_cover[index] * np.uint8(len(REGIONS))
    if pair.mask is not None:  # what does not count goes where nothing is read
        group = group + np.uint8(PLAIN_GROUPS) * ~pair.mask[index]
    arrays = (images, np.ascontiguousarray(clear), np.ascontiguousarray(group))
    parts = [kernels.measure(*arrays, protocol, pair.bands, with_ssim=with_ssim)]
    parts += [measure_further(*arrays, protocol, pair.bands)] if further else []
    sums: Floats = np.concatenate(parts, axis=1)[: PLAIN_GROUPS : len(REGIONS)]
    return sums
