"""Decode a scene and its prediction into the arrays that a measurement needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import DN_PER_REFLECTANCE, REGIONS, THICKNESS_EDGES
from planetcr_bench.data.fingerprint import pixel_digest
from planetcr_bench.data.layout import SceneFiles
from planetcr_bench.data.reading import Raster, centre_of, read_rasters, read_thickness
from planetcr_bench.data.scene import Image, Scene, land_cover_classes, reflectance, upsample
from planetcr_bench.metrics import kernels
from planetcr_bench.metrics.sums import PLAIN_GROUPS
from planetcr_bench.predictions.card import Card
from planetcr_bench.predictions.format import read_prediction

MEASURED = ("planet_cloudfree", "planet_cloudy", "landcover", "cloudmask")
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
        folders = [Path(self.scene.split_folder), self.prediction.parent]
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
        images: Prediction and cloudy image, shape (2, 4, H, W), float32; a prediction of the
            centre crop comes with the crop of all the others.
        clear: Shape (4, H, W), float32.
        group: As in ``GROUPS``, shape (H, W), uint8.
    """

    identity: Mapping[str, object]
    images: Image
    clear: Image
    group: NDArray[np.uint8]


def read_pixels(job: Job, card: Card) -> ScenePixels:
    """Decode one scene and its prediction.

    Raises:
        DatasetError: The scene is broken.
        PredictionError: The prediction is.
    """
    files = job.scene
    rasters = read_rasters(files, MEASURED)
    prediction, stored = read_prediction(
        job.prediction, card, rasters["planet_cloudfree"], brightest=_brightest(rasters)
    )
    mask = rasters["cloudmask"].pixels
    region = kernels.region_of(mask)
    land_cover = upsample(land_cover_classes(rasters["landcover"].pixels[0]), region.shape)
    size = prediction.shape[-1]
    cloudy, clear = (
        reflectance(kernels.centre_crop(rasters[product].pixels, size))
        for product in ("planet_cloudy", "planet_cloudfree")
    )
    centre = centre_of(rasters["planet_cloudfree"])
    identity = _identity(files, float(mask.mean()), centre, pixel_digest(stored).hex())
    group = _plain_groups(land_cover, region)
    if job.optical_thickness is not None:
        thickness = np.digitize(read_thickness(job.optical_thickness, files), THICKNESS_EDGES) + 1
        group += thickness.astype(np.uint8) * np.uint8(PLAIN_GROUPS)
    group = kernels.centre_crop(group, size)
    return ScenePixels(identity, np.stack([prediction, cloudy]), clear, group)


def _brightest(rasters: Mapping[str, Raster]) -> float:
    """Largest reflectance of the optical images, or 1 where they are darker."""
    optical = (rasters["planet_cloudfree"], rasters["planet_cloudy"])
    return max(1.0, *(float(raster.pixels.max()) / DN_PER_REFLECTANCE for raster in optical))


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


def _plain_groups(land_cover: NDArray[np.uint8], region: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return land_cover * np.uint8(len(REGIONS)) + region


def scene_pixels(scene: Scene, prediction: Image) -> ScenePixels:
    """What a measurement needs of a scene and a prediction of the whole patch, both in memory."""
    identity = _identity(scene, scene.cloud_cover, (math.nan, math.nan), "")
    group = _plain_groups(scene.land_cover, kernels.region_of(scene.cloud_mask))
    return ScenePixels(identity, np.stack([prediction, scene.cloudy]), scene.clear, group)
