"""Refuse arrays that are not reflectance; the words are those for files and for arrays alike.

The caller puts the name of the file or of the array before the message of a :class:`PixelError`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

OVERSHOOT: Final = 0.05
"""Reflectance by which a noisy method may exceed the possible range, as over dark water."""

FARTHEST: Final = 0.05
"""Largest mean distance of an image's values from the possible range, in reflectance.

It is 0.3 to 0.9 for images in [-1, 1], and 0.02 for a network at the start of its training."""

LARGEST_MEAN: Final = 2.0
"""Largest mean |reflectance| of an image without declared scale; above, it looks like DN."""

IMPOSSIBLE: Final = 10.0
"""No reflectance exceeds this in magnitude."""


class PixelError(ValueError):
    """Pixels have an unexpected meaning; the message says what was expected and found."""


def number(value: float) -> str:
    """Format a number as in a tag."""
    return f"{value:.10g}"


def expect_finite(pixels: NDArray[Any]) -> None:
    """Refuse NaN and infinity.

    Raises:
        PixelError: There are such values.
    """
    if not np.isfinite(pixels).all():
        count = int((~np.isfinite(pixels)).sum())
        raise PixelError(f"expected numbers, got {count} values that are NaN or infinite")


def expect_reflectance(
    image: NDArray[np.floating],
    *,
    brightest: float = np.inf,
    farthest: float = FARTHEST,
    remedy: str = "",
) -> None:
    """Refuse an image that is not reflectance.

    Args:
        image: Supposed reflectance, any shape.
        brightest: Only few values may lie above this, or below 0.
        farthest: Largest mean distance of the values from the possible range.
        remedy: What else the user can do, as the end of the message.

    Raises:
        PixelError: A large share of the values lies far outside, their mean is that of digital
            numbers, or some are impossible.
    """
    low, high = float(image.min()), float(image.max())
    if low >= -OVERSHOOT and high <= min(brightest + OVERSHOOT, LARGEST_MEAN):
        return
    mean = float(np.abs(image).mean(dtype=np.float64))
    impossible = np.abs(image) > IMPOSSIBLE
    if 0 < (count := int(impossible.sum())) < image.size / 4:
        raise PixelError(
            f"expected reflectance in [0, 1], got {count} values that cannot be one "
            f"({number(low)} to {number(high)}): are they nodata without a tag? Fill them"
        )
    if mean > LARGEST_MEAN:
        raise PixelError(
            f"expected reflectance in [0, 1], got an image of mean {mean:.4g} that looks like "
            f"digital numbers{remedy}"
        )
    under = np.maximum(-OVERSHOOT - image, 0)
    over = np.maximum(image - (brightest + OVERSHOOT), 0)
    if float((under + over).mean(dtype=np.float64)) <= farthest:
        return
    below, above = float((under > 0).mean()), float((over > 0).mean())
    message = (
        f"expected reflectance in [0, 1], got {below + above:.0%} of the values far outside it "
        f"({low:.3g} to {high:.3g})"
    )
    if below > 0.5 and low >= -1.2 and high <= 1.2:
        raise PixelError(
            f"{message}; it looks like the scale [-1, 1] of a network's output: write (x + 1) / 2"
        )
    raise PixelError(f"{message}; it looks scaled or shifted in some other way{remedy}")
