"""Detect wrong units and swapped bands from several images of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from planetcr_bench.constants import DN_PER_REFLECTANCE
from planetcr_bench.data.pixel_checks import DIMMEST, colour_likeness, dim_cause, has_scale
from planetcr_bench.data.reading import read_product, read_raster
from planetcr_bench.data.scene import reflectance
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import BenchError, PredictionError
from planetcr_bench.metrics.kernels import centre_crop
from planetcr_bench.metrics.reflectance import number
from planetcr_bench.predictions.card import CARD
from planetcr_bench.predictions.folder import Predictions
from planetcr_bench.predictions.format import expect_image, form_of, read_prediction, scale_of

MOST_SCENES: Final = 24
"""Largest number of scenes that are read to detect whether red and blue are swapped."""

ALIKE: Final = 0.3
"""Correlation of colours that excludes a swap of red and blue; if the average is below its
negative, they are probably swapped."""

FEW_SCENES: Final = 3, 0.5
"""With so few scenes or fewer, the correlation must be below the negative of this."""

DARKER: Final = 4.0
"""Least factor by which bytes, percent and reflectance cast to integers darken an image."""


def expect_units(predictions: Predictions) -> None:
    """Refuse a folder in which no image has values as large as its scale requires.

    A single image may be dark, and so may all images of dark scenes. The search stops at the first
    image that is bright enough, so only one file of a valid folder is read.

    Raises:
        PredictionError: All images are dimmer than ``DIMMEST`` of 10 000, far darker than their
            scenes, and not black floats; no scale is declared.
    """
    if predictions.card.scale is not None:
        return
    brightest, integers, darker = 0.0, False, False
    for files, path in predictions.files.items():
        try:
            form = form_of(files.description)
            accept = partial(expect_image, path, form=form)
            raster = read_raster(path, accept, bands=len(form.bands))
        except BenchError:
            continue  # reported when it is scored
        largest = float(np.abs(raster.pixels).max())
        if not np.isfinite(largest):
            continue  # reported as well
        meant = largest / scale_of(raster.pixels, predictions.card)
        if has_scale(raster.tags) or not meant <= DIMMEST / DN_PER_REFLECTANCE:
            return
        darker = darker or _is_darker(meant, files)
        brightest, integers = max(brightest, largest), integers or raster.pixels.dtype.kind == "u"
    if not darker:
        return
    count = len(predictions.files)
    if integers:
        cause, remedy = dim_cause(brightest)
        scales = "" if brightest <= 1 else "255 for bytes, 100 for percent, "
        raise PredictionError(
            f"{predictions.folder}: expected digital numbers, reflectance × {DN_PER_REFLECTANCE}, "
            f"got {count} images whose largest value is {number(brightest)}: it looks like "
            f"{cause}; {remedy}, or declare the scale in {CARD} (scale = {scales}"
            f"{DN_PER_REFLECTANCE} if these images are meant to be so dark)"
        )
    if brightest > 0:
        raise PredictionError(
            f"{predictions.folder}: expected reflectance in [0, 1], got {count} images whose "
            f"largest value is {brightest:.3g}: was it divided by {DN_PER_REFLECTANCE} twice? "
            f"Write them again, or declare scale = 1 in {CARD} if they are meant to be so dark"
        )


def _is_darker(brightest: float, files: SceneFiles) -> bool:
    """Whether a scene is far brighter than the brightest value of its prediction."""
    encoding = files.description.optical
    largest = float(read_product(files, "clear").pixels.max()) + encoding.offset
    return largest / encoding.scale > DARKER * brightest


def swapped_colours(predictions: Predictions) -> str:
    """Warn that red and blue are probably swapped; empty if they are not.

    A method changes clear pixels little, so its red minus blue correlates with that of the input.
    A few scenes are read, and no more once one is correct.
    """
    likenesses = []
    for files, path in _spread(sorted(predictions.files.items())):
        try:
            likeness = _likeness(files, path, predictions)
        except BenchError:
            continue  # reported where it is scored
        if likeness is not None and likeness > ALIKE:
            return ""
        if likeness is not None:
            likenesses.append(likeness)
    few, sure = FEW_SCENES
    if not likenesses or np.mean(likenesses) > -(sure if len(likenesses) <= few else ALIKE):
        return ""
    bands = next(iter(predictions.files)).description.bands
    return (
        f"{predictions.folder}: red and blue are probably swapped: over clear pixels, red minus "
        f"blue runs against the input's in {sum(value < 0 for value in likenesses)} of "
        f"{len(likenesses)} scenes looked at; the order is {', '.join(bands)}"
    )


def _spread(items: Sequence[tuple[SceneFiles, Path]]) -> list[tuple[SceneFiles, Path]]:
    step = max(1, -(-len(items) // MOST_SCENES))
    return list(items[::step])


def _likeness(files: SceneFiles, path: Path, predictions: Predictions) -> float | None:
    described = files.description
    clear = read_product(files, "clear")
    image, _ = read_prediction(path, predictions.card, clear, bands=described.bands)
    if described.cloud_mask is None:
        return None
    size = image.shape[-1]
    cloudy, mask = (
        centre_crop(read_product(files, product).pixels, size)
        for product in ("cloudy", "cloud_mask")
    )
    scaled = reflectance(cloudy, described.optical.scaling)
    return colour_likeness(image, scaled, ~mask, described.bands)
