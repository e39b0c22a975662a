"""Compute the map of SSIM, in compiled loops.

:func:`ssim_maps` is what measurements call; :func:`_compare` has the formula.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from planetcr_bench.metrics.sums import Floats, Images
from planetcr_bench.utils.compiled import compiled

TAPS: Final = 11
SIGMA: Final = 1.5
SSIM_C1: Final = 0.01**2
SSIM_C2: Final = 0.03**2
"""Window and constants of SSIM (Wang et al., 2004) for reflectance, whose range is 1."""

STRIP: Final = 24
"""Rows of SSIM computed together: few enough to stay in cache, and even."""


def gaussian_taps(centre: float) -> Floats:
    """Weights of SSIM's Gaussian window along one axis, shape (11,), summing to one.

    Args:
        centre: Position of the peak: 5 for a symmetric window; the authors' released tester has
            5.5, half a pixel down and right.
    """
    weights: Floats = np.exp(-((np.arange(TAPS) - centre) ** 2) / (2 * SIGMA**2))
    weights /= weights.sum()
    return weights


@compiled
def _fill_planes(
    images: Images, target: Images, band: int, top: int, rows: int, planes: Floats
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
def _add_ssim(images: Images, target: Images, taps: Floats, similarity: Floats) -> None:
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
                for offset in range(min(2, rows - row)):
                    for k in range(count):
                        _compare(smooth[offset, 0], smooth[offset, 3 * k + 1 : 3 * k + 4], line)
                        for x in range(out_width):
                            similarity[k, top + row + offset, x] += line[x] / bands


@compiled
def _filter_down(source: Floats, taps: Floats, upper: Floats, lower: Floats) -> None:
    """Filter 12 lines down to two: both in one go, for reading them is what takes the time."""
    w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10 = taps
    for x in range(len(upper)):
        s1, s2, s3, s4, s5 = source[1, x], source[2, x], source[3, x], source[4, x], source[5, x]
        s6, s7, s8, s9, s10 = source[6, x], source[7, x], source[8, x], source[9, x], source[10, x]
        upper[x] = (
            w0 * source[0, x] + w1 * s1 + w2 * s2 + w3 * s3 + w4 * s4 + w5 * s5
            + w6 * s6 + w7 * s7 + w8 * s8 + w9 * s9 + w10 * s10
        )  # fmt: skip
        lower[x] = (
            w0 * s1 + w1 * s2 + w2 * s3 + w3 * s4 + w4 * s5 + w5 * s6
            + w6 * s7 + w7 * s8 + w8 * s9 + w9 * s10 + w10 * source[11, x]
        )  # fmt: skip


@compiled
def _filter_across(line: Floats, taps: Floats, smooth: Floats) -> None:
    w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10 = taps
    for x in range(len(smooth)):
        smooth[x] = (
            w0 * line[x] + w1 * line[x + 1] + w2 * line[x + 2] + w3 * line[x + 3]
            + w4 * line[x + 4] + w5 * line[x + 5] + w6 * line[x + 6] + w7 * line[x + 7]
            + w8 * line[x + 8] + w9 * line[x + 9] + w10 * line[x + 10]
        )  # fmt: skip


@compiled
def _compare(target_mean: Floats, smooth: Floats, similarity: Floats) -> None:
    """SSIM of one line from filtered t and filtered i, i² + t² and i · t."""
    for x in range(len(similarity)):
        means = smooth[0, x] * target_mean[x]
        mean_squares = smooth[0, x] * smooth[0, x] + target_mean[x] * target_mean[x]
        similarity[x] = (
            (2 * means + SSIM_C1)
            * (2 * (smooth[2, x] - means) + SSIM_C2)
            / ((mean_squares + SSIM_C1) * (smooth[1, x] - mean_squares + SSIM_C2))
        )


def ssim_maps(images: Images, target: Images, *, centre: float = 5.0, padding: int = 0) -> Floats:
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
