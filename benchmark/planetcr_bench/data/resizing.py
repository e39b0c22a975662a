"""Shrink the images of a dataset that is used at a part of its size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shrink(pixels: NDArray[Any], factor: int, product: str) -> NDArray[Any]:
    """Shrink an image: each pixel is the mean of a square of pixels.

    Args:
        pixels: Shape (..., H, W).
        factor: Pixels along one side of the square; what is left at the end of an axis is cut off.
        product: A cloud mask takes what half of the square or more is, land cover the pixel in the
            middle.

    Returns:
        Same dtype, shape (..., H // factor, W // factor).

    Example:
        >>> shrink(np.array([[[1, 2, 3, 4], [3, 3, 5, 6]]], np.uint8), 2, "clear").tolist()
        [[[2, 4]]]
    """
    height, width = (side // factor for side in pixels.shape[-2:])
    if product == "land_cover":
        middle = factor // 2
        chosen = pixels[..., middle::factor, middle::factor][..., :height, :width]
        return np.ascontiguousarray(chosen)
    squares = pixels[..., : height * factor, : width * factor].reshape(
        *pixels.shape[:-2], height, factor, width, factor
    )
    means: NDArray[np.float64] = squares.mean(axis=(-3, -1), dtype=np.float64)
    if product == "cloud_mask":
        return np.asarray(means >= 0.5)
    rounded = means if pixels.dtype.kind == "f" else np.rint(means)
    return rounded.astype(pixels.dtype)
