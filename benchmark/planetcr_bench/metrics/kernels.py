"""Measure the additive sums of a scene, per group of pixels, on the CPU.

Compiled loops in float64 that touch each pixel once and keep what they need in cache; no image
is unfolded and no map is stored but SSIM's. Plain IEEE arithmetic in a fixed order: the same scene
gives the same bits whatever else runs. ``tests/bench/torch_oracle.py`` is an independent reference.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import EDGE_M, OPTICAL_RESOLUTION_M, REGIONS
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.sums import FLOOR_SUMS, GROUPS, SUMS
from planetcr_bench.utils.compiled import compiled

_T = TypeVar("_T", bound=np.generic)

Array = NDArray[np.float64]
Image = NDArray[np.floating[Any]]

TAPS: Final = 11
SIGMA: Final = 1.5
SSIM_C1: Final = 0.01**2
SSIM_C2: Final = 0.03**2
"""Window and constants of SSIM (Wang et al., 2004) for reflectance, whose range is 1."""

STRIP: Final = 24
"""Rows of SSIM worked out together: few enough to stay in cache, and even."""

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


def gaussian_taps(centre: float) -> Array:
    """Weights of SSIM's Gaussian window along one axis, shape (11,), summing to one.

    Args:
        centre: Position of the peak: 5 for a symmetric window; the authors' released tester has
            5.5, half a pixel down and right.
    """
    weights: Array = np.exp(-((np.arange(TAPS) - centre) ** 2) / (2 * SIGMA**2))
    weights /= weights.sum()
    return weights


@compiled
def _fill_planes(
    images: Image, target: Image, band: int, top: int, rows: int, planes: Array
) -> None:
    """Write what SSIM filters: t, then i, i² + t² and i · t of each image, from row top on."""
    width = target.shape[2]
    for row in range(rows):
        y = top + row
        for x in range(width):
            planes[0, row, x] = target[band, y, x]
        for k in range(len(images)):
            for x in range(width):
                i, t = np.float64(images[k, band, y, x]), np.float64(target[band, y, x])
                planes[3 * k + 1, row, x] = i
                planes[3 * k + 2, row, x] = i * i + t * t
                planes[3 * k + 3, row, x] = i * t


@compiled
def _add_ssim(images: Image, target: Image, taps: Array, similarity: Array) -> None:
    """Add the band means of the SSIM maps of K images to similarity (K, H−10, W−10)."""
    bands, _, width = target.shape
    count, out_height, out_width = similarity.shape
    planes = np.zeros((1 + 3 * count, STRIP + TAPS, width))
    smooth = np.empty((2, 1 + 3 * count, out_width))
    upper, lower, line = np.empty(width), np.empty(width), np.empty(out_width)
    for band in range(bands):
        for top in range(0, out_height, STRIP):
            rows = min(STRIP, out_height - top)
            _fill_planes(images, target, band, top, rows + TAPS - 1, planes)
            for row in range(0, rows, 2):
                for plane in range(len(planes)):
                    _filter_down(planes[plane, row : row + TAPS + 1], taps, upper, lower)
                    _filter_across(upper, taps, smooth[0, plane])
                    _filter_across(lower, taps, smooth[1, plane])
                for one in range(min(2, rows - row)):
                    for k in range(count):
                        _compare(smooth[one, 0], smooth[one, 3 * k + 1 : 3 * k + 4], line)
                        for x in range(out_width):
                            similarity[k, top + row + one, x] += line[x] / bands


@compiled
def _filter_down(source: Array, taps: Array, upper: Array, lower: Array) -> None:
    """Filter 12 lines down to two: both in one go, for reading them is what takes the time."""
    w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10 = taps
    for x in range(len(upper)):
        s1, s2, s3, s4, s5 = source[1, x], source[2, x], source[3, x], source[4, x], source[5, x]
        s6, s7, s8, s9, s10 = source[6, x], source[7, x], source[8, x], source[9, x], source[10, x]
        upper[x] = (
            w0 * source[0, x]
            + w1 * s1
            + w2 * s2
            + w3 * s3
            + w4 * s4
            + w5 * s5
            + w6 * s6
            + w7 * s7
            + w8 * s8
            + w9 * s9
            + w10 * s10
        )
        lower[x] = (
            w0 * s1
            + w1 * s2
            + w2 * s3
            + w3 * s4
            + w4 * s5
            + w5 * s6
            + w6 * s7
            + w7 * s8
            + w8 * s9
            + w9 * s10
            + w10 * source[11, x]
        )


@compiled
def _filter_across(line: Array, taps: Array, smooth: Array) -> None:
    w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10 = taps
    for x in range(len(smooth)):
        smooth[x] = (
            w0 * line[x]
            + w1 * line[x + 1]
            + w2 * line[x + 2]
            + w3 * line[x + 3]
            + w4 * line[x + 4]
            + w5 * line[x + 5]
            + w6 * line[x + 6]
            + w7 * line[x + 7]
            + w8 * line[x + 8]
            + w9 * line[x + 9]
            + w10 * line[x + 10]
        )


@compiled
def _compare(target_mean: Array, smooth: Array, similarity: Array) -> None:
    """SSIM of one line from filtered t and filtered i, i² + t² and i · t."""
    for x in range(len(similarity)):
        means = smooth[0, x] * target_mean[x]
        mean_squares = smooth[0, x] * smooth[0, x] + target_mean[x] * target_mean[x]
        similarity[x] = (
            (2 * means + SSIM_C1)
            * (2 * (smooth[2, x] - means) + SSIM_C2)
            / ((mean_squares + SSIM_C1) * (smooth[1, x] - mean_squares + SSIM_C2))
        )


def ssim_maps(images: Image, target: Image, *, centre: float = 5.0, padding: int = 0) -> Array:
    """Structural similarity at each pixel (Wang et al., 2004; paper, Sec. 5.2), mean over bands.

    Gaussian window of 11 taps and σ = 1.5 px, population variances, constants for a range of 1.

    Args:
        images: Reflectance, shape (K, B, H, W).
        target: Reflectance, shape (B, H, W).
        centre: See :func:`gaussian_taps`.
        padding: Rings of zeros put around all images first; the authors' tester has 5.

    Returns:
        Similarity in [-1, 1] where the window fits, shape (K, H + 2 · padding - 10, W +
        2 · padding - 10). With the defaults its mean is scikit-image's ``structural_similarity``.
    """
    taps = gaussian_taps(centre)
    _, height, width = target.shape
    frame = 2 * padding - TAPS + 1
    similarity = np.zeros((len(images), height + frame, width + frame))
    if padding:
        border = ((0, 0), (padding, padding), (padding, padding))
        images = np.pad(images, ((0, 0), *border)).astype(images.dtype, copy=False)
        target = np.pad(target, border).astype(target.dtype, copy=False)
    _add_ssim(images, target, taps, similarity)
    return similarity


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
def _to_angles(cosines: Array) -> None:
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
    images: Image, clear: Image, group: NDArray[np.uint8], floor: float, sums: Array
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
            change = ndvi(images[0, 2, y, x], images[0, 3, y, x]) - ndvi(
                clear[2, y, x], clear[3, y, x]
            )
            if not math.isnan(change):
                row[_NDVI] += abs(change)
                row[_NDVI_PIXELS] += 1


@compiled
def _add_ssim_sums(similarity: Array, group: NDArray[np.uint8], sums: Array) -> None:
    height, width = group.shape
    for y in range(height):
        for x in range(width):
            row = sums[group[y, x]]
            row[_SSIM] += similarity[0, y, x]
            row[_SSIM_PIXELS] += 1
            row[_INPUT_SSIM] += similarity[1, y, x]


def measure(images: Image, clear: Image, group: NDArray[np.uint8], protocol: Protocol) -> Array:
    """Sums of one scene under one protocol.

    Args:
        images: What a method returned (not clipped) and what it was given, reflectance, shape
            (2, 4, H, W).
        clear: What it should have returned, shape (4, H, W).
        group: Of each pixel, as ``GROUPS`` says, shape (H, W).
        protocol: Its window is cut out of the centre of all arrays.

    Returns:
        Shape (``GROUPS``, len(``SUMS``)), columns in the order of ``SUMS``.
    """
    sums = np.zeros((GROUPS, len(SUMS)))
    images = centre_crop(images, protocol.window)
    clear, group = centre_crop(clear, protocol.window), centre_crop(group, protocol.window)
    _add_pixels(images, clear, group, protocol.sam_norm_floor, sums)
    similarity = ssim_maps(
        images, clear, centre=protocol.ssim_centre, padding=protocol.ssim_padding
    )
    _add_ssim_sums(similarity, centre_crop(group, similarity.shape[-1]), sums)
    return sums


def measure_floor(clear: Image, group: NDArray[np.uint8], protocol: Protocol) -> Array:
    """What SAM gives for the clear image against itself: more than 0 where its norm is floored.

    Args:
        clear: Shape (4, H, W).
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

    The offset is (H - size) // 2: rows and columns 70 … 229 for 160 of 300.
    """
    top, left = ((side - size) // 2 if size else 0 for side in array.shape[-2:])
    cut = array[..., top : top + size, left : left + size] if size else array
    return np.ascontiguousarray(cut)


def region_of(cloud_mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Sort pixels into cloud, edge and clear.

    The edge is every unmasked pixel whose centre lies within 30 m of the centre of a masked one.

    Args:
        cloud_mask: True where cloudy, shape (H, W), at 3 m.

    Returns:
        Index into ``REGIONS``, shape (H, W), uint8.
    """
    radius = int(EDGE_M / OPTICAL_RESOLUTION_M)
    near = _within(cloud_mask, radius)
    region = np.where(near, np.uint8(REGIONS.index("edge")), np.uint8(REGIONS.index("clear")))
    region[cloud_mask] = REGIONS.index("cloud")
    return region


@compiled
def _within(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """True where a pixel of the mask lies within a radius in pixels, centre to centre."""
    height, width = mask.shape
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
            reach = np.uint8(math.sqrt(radius**2 - (other - y) ** 2))
            for x in range(width):
                near[y, x] |= across[other, x] <= reach
    return near
