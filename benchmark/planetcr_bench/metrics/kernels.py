"""Measure the additive sums of a scene, per group of pixels, on the CPU.

Compiled loops in float64 that touch each pixel once and keep what they need in cache; no image
is unfolded and no map is stored but SSIM's. Plain IEEE arithmetic in a fixed order: the same scene
gives the same bits whatever else runs. ``tests/bench/torch_oracle.py`` is an independent reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import (
    EDGE_M,
    EDGE_PX,
    REGIONS,
)
from planetcr_bench.errors import BenchError
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.ssim_map import TAPS, ssim_maps
from planetcr_bench.metrics.sums import FLOOR_SUMS, GROUPS, SUMS, Floats, Images, ndvi_bands
from planetcr_bench.utils.compiled import compiled

_T = TypeVar("_T", bound=np.generic)

_POSITION = {name: position for position, name in enumerate(SUMS)}
_PIXELS, _VALUES = _POSITION["pixels"], _POSITION["values"]
_ABSOLUTE, _SQUARED = _POSITION["absolute_error"], _POSITION["squared_error"]
_ANGLE, _ANGLE_PIXELS = _POSITION["angle_deg"], _POSITION["angle_pixels"]
_SSIM, _SSIM_PIXELS = _POSITION["ssim"], _POSITION["ssim_pixels"]
_NDVI, _NDVI_PIXELS = _POSITION["ndvi_error"], _POSITION["ndvi_pixels"]
_OUT_OF_RANGE = _POSITION["out_of_range"]
_WORSE = _POSITION["worse_pixels"]
_PREDICTION_CLOUDY, _CLOUDY_CLEAR = _POSITION["prediction_cloudy"], _POSITION["cloudy_clear"]
_INPUT_SQUARED = _POSITION["input_squared_error"]
_INPUT_ANGLE, _INPUT_ANGLE_PIXELS = _POSITION["input_angle_deg"], _POSITION["input_angle_pixels"]
_INPUT_SSIM = _POSITION["input_ssim"]

_DEGREES: Final = 180 / math.pi

_ARCSINE: Final = tuple(
    np.polynomial.Chebyshev.interpolate(
        lambda z: np.arcsin(np.sqrt(z)) / np.sqrt(z), deg=14, domain=(0, 0.25)
    )
    .convert(kind=np.polynomial.Polynomial)
    .coef[::-1]
    .tolist()
)
"""arcsin(s) / s as a polynomial in s² for s in [0, 1/2], highest power first, to 1e-16."""


@compiled
def _angle_deg(cosine: float) -> float:
    """Angle of a cosine that rounding may have pushed past 1; nan where it is nan.

    Without branches, so that loops over it are vectorised; ``math.acos`` is not. Within 1e-13°.
    """
    cosine = max(min(cosine, 1.0), -1.0)
    steep = abs(cosine) > 0.5
    square = 0.5 - 0.5 * abs(cosine) if steep else cosine * cosine
    sine = math.sqrt(square) if steep else cosine
    series = 0.0
    for coefficient in _ARCSINE:
        series = series * square + coefficient
    arcsine = sine * series
    angle = 2 * arcsine if steep else math.pi / 2 - arcsine
    angle = math.pi - angle if cosine < -0.5 else angle
    return angle * _DEGREES


@compiled
def _to_angles(cosines: Floats) -> None:
    """Turn cosines into degrees in place; only a loop of its own is vectorised."""
    for x in range(len(cosines)):
        cosines[x] = _angle_deg(cosines[x])


@compiled
def ndvi(red: float, near_infrared: float) -> float:
    """NDVI clipped to [-1, 1]; nan where the two bands do not sum to more than zero."""
    red, near_infrared = np.float64(red), np.float64(near_infrared)
    total = red + near_infrared
    if not total > 0:
        return math.nan
    return min(1.0, max(-1.0, (near_infrared - red) / total))


@compiled
def _add_pixels(
    images: Images,
    clear: Images,
    group: NDArray[np.uint8],
    floor: float,
    red: int,
    nir: int,
    sums: Floats,
) -> None:
    """Add all sums but SSIM's: images (2, B, H, W), group (H, W), sums (groups, columns)."""
    bands, height, width = clear.shape
    per_pixel = np.empty((11, width))
    absolute, squared, outside, from_cloudy, input_absolute, input_squared = per_pixel[:6]
    dot, prediction_norm, input_dot, input_norm, clear_norm = per_pixel[6:]
    angle, input_angle = np.empty(width), np.empty(width)
    for y in range(height):
        per_pixel[:] = 0.0
        for band in range(bands):
            for x in range(width):
                p = np.float64(images[0, band, y, x])
                c = np.float64(images[1, band, y, x])
                t = np.float64(clear[band, y, x])
                absolute[x] += abs(p - t)
                squared[x] += (p - t) * (p - t)
                outside[x] += 1.0 if (p < 0) | (p > 1) else 0.0
                from_cloudy[x] += abs(p - c)
                input_absolute[x] += abs(c - t)
                input_squared[x] += (c - t) * (c - t)
                dot[x] += p * t
                prediction_norm[x] += p * p
                input_dot[x] += c * t
                input_norm[x] += c * c
                clear_norm[x] += t * t
        for x in range(width):  # a norm of zero without a floor gives nan: no angle
            norm = max(clear_norm[x], floor)
            angle[x] = dot[x] / math.sqrt(max(prediction_norm[x], floor) * norm)
            input_angle[x] = input_dot[x] / math.sqrt(max(input_norm[x], floor) * norm)
        _to_angles(angle)
        _to_angles(input_angle)
        for x in range(width):
            row = sums[group[y, x]]
            row[_PIXELS] += 1
            row[_VALUES] += bands
            row[_ABSOLUTE] += absolute[x]
            row[_SQUARED] += squared[x]
            row[_OUT_OF_RANGE] += outside[x]
            row[_WORSE] += 1.0 if absolute[x] > input_absolute[x] else 0.0
            row[_PREDICTION_CLOUDY] += from_cloudy[x]
            row[_CLOUDY_CLEAR] += input_absolute[x]
            row[_INPUT_SQUARED] += input_squared[x]
            if not math.isnan(angle[x]):
                row[_ANGLE] += angle[x]
                row[_ANGLE_PIXELS] += 1
            if not math.isnan(input_angle[x]):
                row[_INPUT_ANGLE] += input_angle[x]
                row[_INPUT_ANGLE_PIXELS] += 1
            change = ndvi(images[0, red, y, x], images[0, nir, y, x]) - ndvi(
                clear[red, y, x], clear[nir, y, x]
            )
            if not math.isnan(change):
                row[_NDVI] += abs(change)
                row[_NDVI_PIXELS] += 1


@compiled
def _add_ssim_sums(similarity: Floats, group: NDArray[np.uint8], sums: Floats) -> None:
    height, width = group.shape
    for y in range(height):
        for x in range(width):
            row = sums[group[y, x]]
            row[_SSIM] += similarity[0, y, x]
            row[_SSIM_PIXELS] += 1
            row[_INPUT_SSIM] += similarity[1, y, x]


def expect_bands(clear: Images, bands: Sequence[str]) -> None:
    """Refuse an image with another number of bands than it has names: loops do not look.

    Raises:
        BenchError: See above.
    """
    if len(clear) != len(bands):
        raise BenchError(f"expected {len(bands)} bands ({', '.join(bands)}), got {len(clear)}")


def smallest(protocol: Protocol) -> int:
    """Least pixels along a side of images that a protocol can measure."""
    return max(TAPS - 2 * protocol.ssim_padding, protocol.window)


def measure(
    images: Images,
    clear: Images,
    group: NDArray[np.uint8],
    protocol: Protocol,
    bands: Sequence[str],
    *,
    with_ssim: bool = True,
) -> Floats:
    """Sums of one scene under one protocol.

    Args:
        images: What a method returned (not clipped) and what it was given, reflectance, shape
            (2, B, H, W).
        clear: What it should have returned, shape (B, H, W).
        group: Of each pixel, as ``GROUPS`` says, shape (H, W).
        protocol: Its window is cut out of the centre of all arrays.
        bands: Their names; without ``red`` and ``nir`` no pixel has an NDVI.
        with_ssim: False leaves its sums at zero, and takes a fraction of the time.

    Returns:
        Shape (``GROUPS``, len(``SUMS``)), columns in the order of ``SUMS``.

    Raises:
        BenchError: The images are smaller than the protocol's window, or than that of SSIM, or have
            another number of bands.
    """
    expect_bands(clear, bands)
    if min(clear.shape[-2:]) < smallest(protocol):
        height, width = clear.shape[-2:]
        expected = " × ".join([str(smallest(protocol))] * 2)
        raise BenchError(f"expected at least {expected} pixels, got {height} × {width}")
    sums = np.zeros((GROUPS, len(SUMS)))
    positions = ndvi_bands(bands)
    images = centre_crop(images, protocol.window)
    clear, group = centre_crop(clear, protocol.window), centre_crop(group, protocol.window)
    _add_pixels(images, clear, group, protocol.sam_norm_floor, *(positions or (0, 0)), sums)
    if positions is None:
        sums[:, [_NDVI, _NDVI_PIXELS]] = 0
    if not with_ssim:
        return sums
    similarity = ssim_maps(
        images, clear, centre=protocol.ssim_centre, padding=protocol.ssim_padding
    )
    border = (group.shape[0] - similarity.shape[1]) // 2
    inner = group[border:-border, border:-border] if border else group
    _add_ssim_sums(similarity, np.ascontiguousarray(inner), sums)
    return sums


def measure_floor(clear: Images, group: NDArray[np.uint8], protocol: Protocol) -> Floats:
    """What SAM gives for the clear image against itself: more than 0 where its norm is floored.

    Args:
        clear: Shape (B, H, W).
        group: Of each pixel, as ``GROUPS`` says, shape (H, W).
        protocol: Its window is cut out of the centre of both arrays.

    Returns:
        Shape (``GROUPS``, len(``FLOOR_SUMS``)), columns in the order of ``FLOOR_SUMS``.
    """
    sums = np.zeros((GROUPS, len(FLOOR_SUMS)))
    if protocol.sam_norm_floor:
        clear, group = centre_crop(clear, protocol.window), centre_crop(group, protocol.window)
        cosine = np.square(clear, dtype=np.float64).sum(0) / protocol.sam_norm_floor
        floored = cosine < 1
        sums[:, 0] = np.bincount(group[floored], np.arccos(cosine[floored]) * _DEGREES, GROUPS)
        sums[:, 1] = np.bincount(group[floored], minlength=GROUPS)
    return sums


def centre_crop(array: NDArray[_T], size: int) -> NDArray[_T]:
    """Square of pixels around the centre, contiguous; size 0 is the whole array.

    The offset is (H - size) // 2, such as 70 for 160 of 300 rows.
    """
    top, left = ((side - size) // 2 if size else 0 for side in array.shape[-2:])
    cut = array[..., top : top + size, left : left + size] if size else array
    return np.ascontiguousarray(cut)


def region_of(cloud_mask: NDArray[np.bool_], resolution_m: float | None) -> NDArray[np.uint8]:
    """Sort pixels into cloud, edge and clear.

    The edge is every unmasked pixel whose centre lies within 30 m of the centre of a masked one.

    Args:
        cloud_mask: True where cloudy, shape (H, W).
        resolution_m: Of its pixels; where it is not known, the edge is 10 pixels wide.

    Returns:
        Index into ``REGIONS``, shape (H, W), uint8.
    """
    radius = EDGE_PX if resolution_m is None else EDGE_M / resolution_m
    near = _within(cloud_mask, min(radius, _WIDEST))
    region = np.where(near, np.uint8(REGIONS.index("edge")), np.uint8(REGIONS.index("clear")))
    region[cloud_mask] = REGIONS.index("cloud")
    return region


_WIDEST: Final = 254.0
"""Pixels of the widest edge, of 0.12 m each: distances along a row are kept in a byte."""


@compiled
def _within(mask: NDArray[np.bool_], reach: float) -> NDArray[np.bool_]:
    """True where a pixel of the mask lies within a reach in pixels, centre to centre."""
    height, width = mask.shape
    radius = int(reach)
    across = np.empty((height, width), np.uint8)  # to the nearest masked pixel of the same row
    for y in range(height):
        distance = radius + 1
        for x in range(width):
            distance = 0 if mask[y, x] else min(distance + 1, radius + 1)
            across[y, x] = distance
        distance = radius + 1
        for x in range(width - 1, -1, -1):
            distance = 0 if mask[y, x] else min(distance + 1, radius + 1)
            across[y, x] = min(across[y, x], distance)
    near = np.zeros((height, width), np.bool_)
    for y in range(height):
        for other in range(max(0, y - radius), min(height, y + radius + 1)):
            most = np.uint8(math.sqrt(reach * reach - (other - y) ** 2))
            for x in range(width):
                near[y, x] |= across[other, x] <= most
    return near
