"""Draw a strip of small pictures of simulated scenes for the leaderboard.

Only simulated images are drawn: those of Planet may not be passed on.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

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

ROWS: Final = ("cloudy", "prediction", "cloud-free")
SCENES: Final = 4
SIDE: Final = 100
"""Pixels of a picture; whole numbers of the image's pixels are averaged into one."""

GAP: Final = 4
QUALITY: Final = 85


def sample_strip(predictions: Predictions, covers: Mapping[SceneFiles, float]) -> bytes:
    """Draw a few scenes spread over cloud cover: a column each, rows as :data:`ROWS`.

    Args:
        predictions: Of which these scenes have one that can be read.
        covers: Cloud cover of the scenes to choose from, in [0, 1].

    Returns:
        A JPEG, all pictures of a scene in the stretch of its clear image.

    Raises:
        BenchError: A file cannot be read.
    """
    columns = [_column(predictions, files) for files in spread_scenes(covers, SCENES)]
    strip = _spaced([_spaced(column, axis=0) for column in columns], axis=1)
    stream = io.BytesIO()
    Picture.fromarray(np.rint(255 * strip).astype(np.uint8)).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def _column(predictions: Predictions, files: SceneFiles) -> list[NDArray[np.float64]]:
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


def _spaced(pictures: list[Any], axis: int) -> NDArray[np.float64]:
    """Pictures one after the other with white between them."""
    parts = []
    for picture in pictures:
        shape = list(picture.shape)
        shape[axis] = GAP
        parts += [picture, np.ones(shape)]
    joined: NDArray[np.float64] = np.concatenate(parts[:-1], axis)
    return joined
