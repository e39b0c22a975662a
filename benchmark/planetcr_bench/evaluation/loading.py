"""Decode a scene and its prediction into the arrays that a measurement needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import (
    OPTICAL_BANDS,
    REGIONS,
    THICKNESS_EDGES,
    UNKNOWN,
)
from planetcr_bench.data.encodings import Scaling
from planetcr_bench.data.fingerprint import pixel_digest
from planetcr_bench.data.reading import (
    Raster,
    centre_of,
    first_mask,
    land_cover_of,
    read_rasters,
    read_thickness,
)
from planetcr_bench.data.scene import Image, Scene, cover_of, reflectance
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.metrics import kernels
from planetcr_bench.metrics.sums import PLAIN_GROUPS
from planetcr_bench.predictions.card import Card
from planetcr_bench.predictions.format import read_prediction

_T = TypeVar("_T", bound=np.generic)

MEASURED = ("clear", "cloudy", "land_cover", "cloud_mask")
"""Products that a measurement reads; only networks need SAR."""


@dataclass(frozen=True, slots=True)
class Job:
    """One scene and its prediction.

    Attributes:
        scene: Its files.
        prediction: File of the prediction.
        optical_thickness: Folder of a simulated dataset's hidden truth, if it was given.
    """

    scene: SceneFiles
    prediction: Path
    optical_thickness: Path | None = None

    @property
    def name(self) -> str:
        """Name of the scene."""
        return self.scene.name

    @property
    def folders(self) -> list[Path]:
        """Folders that its files lie in."""
        folders = [*self.scene.folders, self.prediction.parent]
        return folders if self.optical_thickness is None else [*folders, self.optical_thickness]

    def state(self) -> str:
        """Path, inode, size and times of the prediction's file; another state is measured again."""
        status = self.prediction.stat()
        times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
        return f"{self.prediction.resolve()} {status.st_ino} {status.st_size} {times}"


@dataclass(frozen=True, slots=True)
class ScenePixels:
    """What a measurement needs of one scene, decoded.

    Attributes:
        identity: Identity columns of the ledger, up to ``prediction_sha256``.
        images: Prediction and cloudy image, shape (2, B, H, W), float32; a prediction of the
            centre crop comes with the crop of all the others.
        clear: Shape (B, H, W), float32.
        group: As in ``GROUPS``, shape (H, W), uint8.
        bands: Names of the bands.
    """

    identity: Mapping[str, object]
    images: Image
    clear: Image
    group: NDArray[np.uint8]
    bands: tuple[str, ...] = OPTICAL_BANDS


def read_pixels(job: Job, card: Card) -> ScenePixels:
    """Decode one scene and its prediction.

    Raises:
        DatasetError: The scene is broken.
        PredictionError: The prediction is.
    """
    files = job.scene
    described = files.description
    rasters, scaling = read_rasters(files, MEASURED), described.optical.scaling
    prediction, stored = read_prediction(
        job.prediction,
        card,
        rasters["clear"],
        brightest=_brightest(rasters, scaling),
        bands=described.bands,
    )
    mask = first_mask(rasters.get("cloud_mask"))
    grid = rasters["clear"].pixels.shape[-2:]
    crop = 0 if prediction.shape[-2:] == grid else prediction.shape[-1]
    cloudy, clear = (
        reflectance(kernels.centre_crop(pixels, crop), scaling)
        for pixels in (first_date(rasters["cloudy"].pixels), rasters["clear"].pixels)
    )
    centre = centre_of(rasters["clear"])
    identity = _identity(files, cover_of(mask), centre, pixel_digest(stored).hex())
    group = plain_groups(grid, land_cover_of(rasters, described), mask, described.pixel_size)
    if job.optical_thickness is not None:
        thickness = np.digitize(read_thickness(job.optical_thickness, files), THICKNESS_EDGES) + 1
        group += thickness.astype(np.uint8) * np.uint8(PLAIN_GROUPS)
    group = kernels.centre_crop(group, crop)
    images = np.stack([prediction, cloudy])
    return ScenePixels(identity, images, clear, group, tuple(described.bands))


def first_date(cloudy: NDArray[_T]) -> NDArray[_T]:
    """The cloudy image that counts as the input, shape (B, H, W): of several dates the first."""
    return cloudy if cloudy.ndim == 3 else cloudy[0]


def _brightest(rasters: Mapping[str, Raster], scaling: Scaling) -> float:
    """Largest reflectance of the optical images, or 1 where they are darker."""
    largest = (float(rasters[name].pixels.max()) for name in ("clear", "cloudy"))
    return max(1.0, *((value + scaling.offset) / scaling.scale for value in largest))


def _identity(
    scene: SceneFiles | Scene, cloud_cover: float, centre: tuple[float, float], sha256: str
) -> dict[str, object]:
    """Identity columns of a scene: ``centre`` is longitude and latitude."""
    return {
        "scene": scene.name,
        "split": scene.split,
        "season": scene.season,
        "aoi": scene.aoi,
        "patch": scene.patch,
        "cloud_cover": cloud_cover,
        "longitude": centre[0],
        "latitude": centre[1],
        "prediction_sha256": sha256,
    }


def plain_groups(
    size: tuple[int, int],
    land_cover: NDArray[np.uint8] | None,
    cloud_mask: NDArray[np.bool_] | None,
    resolution_m: float | None,
) -> NDArray[np.uint8]:
    """Group of each pixel by land cover and region, as in ``PLAIN_GROUPS``.

    Args:
        size: (H, W).
        land_cover: Classes, shape (H, W); without them all land is unknown.
        cloud_mask: True where cloudy, shape (H, W); without it all pixels are of the first region,
            which a ledger calls unknown.
        resolution_m: See ``region_of``.
    """
    classes = np.full(size, UNKNOWN, np.uint8) if land_cover is None else land_cover
    region = np.uint8(0) if cloud_mask is None else kernels.region_of(cloud_mask, resolution_m)
    return classes * np.uint8(len(REGIONS)) + region


def scene_pixels(scene: Scene, prediction: Image) -> ScenePixels:
    """What a measurement needs of a scene and a prediction of the whole patch, both in memory."""
    identity = _identity(scene, scene.cloud_cover, (math.nan, math.nan), "")
    grid = scene.clear.shape[-2], scene.clear.shape[-1]
    group = plain_groups(grid, scene.land_cover, scene.cloud_mask, scene.resolution)
    images = np.stack([prediction, first_date(scene.cloudy)])
    return ScenePixels(identity, images, scene.clear, group, tuple(scene.bands))
