"""A scene in, a prediction out: the methods that need no training, as floors for the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from planetcr_bench.scene import Image, Scene


def copy_cloudy(scene: Scene) -> Image:
    """Return the cloudy image untouched: what a method must beat to be of use."""
    return scene.cloudy


def mean_fill(scene: Scene) -> Image:
    """Replace cloudy pixels by the mean of the scene's clear pixels, band by band.

    A scene that is all cloud takes the mean of the whole cloudy image; one without cloud is
    returned as it is.
    """
    known = ~scene.cloud_mask if not scene.cloud_mask.all() else scene.cloud_mask
    filled = scene.cloudy.copy()
    filled[:, scene.cloud_mask] = scene.cloudy[:, known].mean(1, dtype=np.float64)[:, None]
    return filled


METHODS: Final[dict[str, Callable[[Scene], Image]]] = {
    "copy-cloudy": copy_cloudy,
    "mean-fill": mean_fill,
}
"""Name on the command line to method."""
