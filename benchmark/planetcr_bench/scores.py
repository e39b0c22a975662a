"""Sums in, numbers out: each score divides once what the ledger has added up."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def mae(absolute_error: ArrayLike, values: ArrayLike) -> NDArray[np.float64]:
    r"""Mean absolute error (paper, Sec. 5.2), :math:`\sum |e| / n`.

    Args:
        absolute_error: Sum of absolute errors, reflectance, shape (...).
        values: How many errors were summed, shape (...).

    Returns:
        Reflectance, shape (...); nan where nothing was summed.

    Example:
        >>> mae([0.4, 0.0], [4, 0])
        array([0.1, nan])
    """
    return _ratio(absolute_error, values)


def psnr(
    squared_error: ArrayLike, values: ArrayLike, *, perfect: float = np.inf
) -> NDArray[np.float64]:
    r"""Peak signal-to-noise ratio (paper, Sec. 5.2), :math:`10 \log_{10}(n / \sum e^2)`.

    Add the sums of any pixels or scenes first, then call this once: the result is the ratio of the
    pool. The mean of the ratios of its parts is a different, larger number. The peak is 1.

    Args:
        squared_error: Sum of squared errors, reflectance², shape (...).
        values: How many errors were summed, shape (...).
        perfect: Decibels of a perfect match.

    Returns:
        Decibels, shape (...); nan where nothing was summed.

    Example:
        >>> psnr([0.04, 0.0, 0.0], [4, 4, 0])
        array([20., inf, nan])
    """
    with np.errstate(divide="ignore"):
        decibels = -10 * np.log10(_ratio(squared_error, values))
    return np.where(np.isposinf(decibels), perfect, decibels)


def sam_deg(angle_deg: ArrayLike, angle_pixels: ArrayLike) -> NDArray[np.float64]:
    """Spectral angle mapper (paper, Sec. 5.2): mean angle of the pixels that have one.

    Args:
        angle_deg: Sum of angles, degrees, shape (...).
        angle_pixels: How many pixels had a defined angle, shape (...).

    Returns:
        Degrees, shape (...); nan where no pixel had an angle.
    """
    return _ratio(angle_deg, angle_pixels)


def ssim(ssim_sum: ArrayLike, ssim_pixels: ArrayLike) -> NDArray[np.float64]:
    """Structural similarity (paper, Sec. 5.2): mean of the map.

    Args:
        ssim_sum: Sum of the map, shape (...).
        ssim_pixels: How many pixels of the map were summed, shape (...).

    Returns:
        In [-1, 1], shape (...); nan where nothing was summed.
    """
    return _ratio(ssim_sum, ssim_pixels)


def _ratio(total: ArrayLike, count: ArrayLike) -> NDArray[np.float64]:
    total, count = np.asarray(total, np.float64), np.asarray(count, np.float64)
    ratio: NDArray[np.float64] = np.full(np.broadcast_shapes(total.shape, count.shape), np.nan)
    np.divide(total, count, out=ratio, where=count > 0)
    return ratio
