"""Compute ratios, decibels and confusion matrices: what turns sums into scores.

Which sums a metric divides is defined in its row of ``registry.METRICS``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planetcr_bench.constants import LAND_COVER
from planetcr_bench.errors import BenchError


def decibels(mean_squared_error: ArrayLike, *, perfect: float = np.inf) -> NDArray[np.float64]:
    r"""Peak signal-to-noise ratio (paper, Sec. 5.2), :math:`-10 \log_{10} MSE`, for a peak of 1.

    Add the sums of any pixels or scenes first, divide, then call this once: the result is the ratio
    of the pool. The mean of the ratios of its parts is a different, larger number.

    Args:
        mean_squared_error: Reflectance², shape (...).
        perfect: Decibels of a perfect match.

    Returns:
        Decibels, shape (...); nan where the error is.

    Example:
        >>> decibels([0.01, 0.0, np.nan])
        array([20., inf, nan])
    """
    with np.errstate(divide="ignore"):
        values = -10 * np.log10(np.asarray(mean_squared_error, np.float64))
    return np.where(np.isposinf(values), perfect, values)


def confusion(
    prediction: NDArray[np.integer], land_cover: NDArray[np.integer], classes: int = len(LAND_COVER)
) -> NDArray[np.int64]:
    """Count how often each class was predicted as each; counts of several images may be added.

    Args:
        prediction: Class indices, any shape.
        land_cover: The true ones, of the same shape; any other index is unknown land, which is
            left out.
        classes: How many there are.

    Returns:
        Pixels, shape (classes, classes): a row per true class, a column per predicted one.

    Raises:
        BenchError: Shapes that differ, numbers that are no indices, or known land of which the
            prediction names no class.
    """
    if prediction.shape != land_cover.shape:
        raise BenchError(
            f"prediction: expected the shape of land_cover, {land_cover.shape}, got "
            f"{prediction.shape}"
        )
    for name, labels in (("prediction", prediction), ("land_cover", land_cover)):
        if labels.dtype.kind not in "iu":
            raise BenchError(f"{name}: expected class indices as whole numbers, got {labels.dtype}")
    known = (land_cover >= 0) & (land_cover < classes)
    truth, guess = land_cover[known].astype(np.int64), prediction[known].astype(np.int64)
    if ((guess < 0) | (guess >= classes)).any():
        raise BenchError(
            f"prediction: expected class indices from 0 to {classes - 1}, got {guess.min()} to "
            f"{guess.max()}"
        )
    pairs = np.bincount(truth * classes + guess, minlength=classes**2)
    return pairs.reshape(classes, classes).astype(np.int64)


def iou(matrix: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of each class.

    Args:
        matrix: Of :func:`confusion`, shape (..., classes, classes), summed over all that counts.

    Returns:
        Shape (..., classes), in [0, 1]; nan for classes that do not occur in the truth.
    """
    pixels = np.asarray(matrix)
    hits, truth = np.diagonal(pixels, axis1=-2, axis2=-1), pixels.sum(-1)
    return ratio(hits, np.where(truth > 0, truth + pixels.sum(-2) - hits, 0))


def recall(matrix: ArrayLike) -> NDArray[np.float64]:
    """Share of the pixels of each true class that is found.

    Args:
        matrix: Of :func:`confusion`, shape (..., classes, classes), summed over all that counts.

    Returns:
        Shape (..., classes), in [0, 1]; nan for classes that do not occur in the truth.
    """
    pixels = np.asarray(matrix)
    return ratio(np.diagonal(pixels, axis1=-2, axis2=-1), pixels.sum(-1))


def miou(matrix: ArrayLike) -> NDArray[np.float64]:
    """Mean intersection over union of the classes that occur in the truth (paper, Tab. 3).

    The paper does not define the mean; this one is of the pool. A class that does not occur in the
    truth is left out, and pixels predicted as it lower the scores of the others.

    Args:
        matrix: Of :func:`confusion`, shape (..., classes, classes), summed over all that counts.

    Returns:
        Shape (...), in [0, 1]; nan where nothing was counted.

    Example:
        >>> miou([[[3, 1, 0], [0, 4, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]])
        array([0.775,   nan])
    """
    each = iou(matrix)
    return ratio(np.nansum(each, axis=-1), np.isfinite(each).sum(-1))


def miou_absent_zero(matrix: ArrayLike) -> NDArray[np.float64]:
    """Mean intersection over union of the classes that occur in the truth or are predicted.

    As the code of CloudSeg computes it (Xu et al., ISPRS Journal of Photogrammetry and Remote
    Sensing 214, 2024): a class that is predicted, but does not occur in the truth, counts as 0.
    :func:`miou` leaves it out; where all predicted classes occur, the two are equal.

    Args:
        matrix: Of :func:`confusion`, shape (..., classes, classes), summed over all that counts.

    Returns:
        Shape (...), in [0, 1]; nan where nothing was counted.

    Example:
        >>> matrix = [[3, 1, 0], [0, 4, 0], [0, 0, 0]], [[3, 1, 0], [0, 3, 1], [0, 0, 0]]
        >>> miou(matrix)
        array([0.775, 0.675])
        >>> miou_absent_zero(matrix)
        array([0.775, 0.45 ])
    """
    pixels = np.asarray(matrix)
    occurring = (pixels.sum(-1) + pixels.sum(-2) > 0).sum(-1)
    return ratio(np.nansum(iou(pixels), axis=-1), occurring)


def pixel_accuracy(matrix: ArrayLike) -> NDArray[np.float64]:
    """Share of the pixels of known land whose class is right (paper, Tab. 3).

    Args:
        matrix: Of :func:`confusion`, shape (..., classes, classes), summed over all that counts.

    Returns:
        Shape (...), in [0, 1]; nan where nothing was counted.
    """
    pixels = np.asarray(matrix)
    return ratio(np.trace(pixels, axis1=-2, axis2=-1), pixels.sum((-2, -1)))


def ratio(total: ArrayLike, count: ArrayLike) -> NDArray[np.float64]:
    """Divide sums; nan where nothing was counted.

    Args:
        total: What was summed, shape (...).
        count: Over how many, shape (...).
    """
    total, count = np.asarray(total, np.float64), np.asarray(count, np.float64)
    quotient: NDArray[np.float64] = np.full(np.broadcast_shapes(total.shape, count.shape), np.nan)
    np.divide(total, count, out=quotient, where=count > 0)
    return quotient
