"""Draw a sample of a run for the leaderboard: a simulated scene, cloudy, predicted and clear.

Only simulated images are drawn: those of Planet may not be passed on.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from planetcr_bench.data.reading import read_product, read_scene
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.gallery.panels import TRUE_COLOUR, stretch_limits, stretched
from planetcr_bench.gallery.selection import spread_scenes
from planetcr_bench.metrics.kernels import centre_crop
from planetcr_bench.predictions.folder import Predictions
from planetcr_bench.predictions.format import read_prediction

COLUMNS: Final = ("cloudy", "prediction", "cloud-free")
SIDE: Final = 300
"""Pixels of a picture, if the image has as many; whole numbers of them are averaged into one."""

QUALITY: Final = 80


def sample_strip(predictions: Predictions, covers: Mapping[SceneFiles, float]) -> bytes:
    """Draw the scene whose cloud cover is nearest to one half: a picture each of :data:`COLUMNS`.

    The same scene is drawn for all complete runs on a dataset, so that methods can be compared.

    Args:
        predictions: Of which these scenes have one that can be read.
        covers: Cloud cover of the scenes to choose from, in [0, 1].

    Returns:
        A JPEG of squares side by side, all in the stretch of the clear image.

    Raises:
        BenchError: A file cannot be read.
    """
    (files,) = spread_scenes(covers, 1)
    strip = np.concatenate(_pictures(predictions, files), axis=1)
    stream = io.BytesIO()
    picture = Picture.fromarray(np.rint(255 * strip).astype(np.uint8))
    picture.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return stream.getvalue()


def _pictures(predictions: Predictions, files: SceneFiles) -> list[NDArray[np.float64]]:
    scene = read_scene(files)
    clear_file = read_product(files, "clear")
    path, bands = predictions.files[files], files.description.bands
    prediction, _ = read_prediction(path, predictions.card, clear_file, bands=bands)
    limits = stretch_limits(scene.clear, TRUE_COLOUR)
    size = prediction.shape[-1]
    images = [centre_crop(scene.cloudy, size), prediction, centre_crop(scene.clear, size)]
    return [_small(stretched(image, limits, TRUE_COLOUR)) for image in images]


def _small(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of squares of pixels, shape (S, S, 3) to about (SIDE, SIDE, 3)."""
    factor = max(1, round(len(picture) / SIDE))
    side = len(picture) // factor
    cut = picture[: side * factor, : side * factor]
    squares: NDArray[np.float64] = cut.reshape(side, factor, side, factor, 3).mean((1, 3))
    return squares
