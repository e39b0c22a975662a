"""Detect the clouds of scenes, where a dataset has no masks, and write masks for ``--masks``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import tomli_w
from numpy.typing import NDArray

from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import describe
from planetcr_bench.data.discovery import find_files, find_splits
from planetcr_bench.data.fingerprint import fingerprint_of
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.masks import (
    MASK_RECORD,
    MaskRecord,
    OtherMasks,
    read_mask_record,
    with_masks,
)
from planetcr_bench.data.raster import write_geotiff
from planetcr_bench.data.reading import read_product, read_rasters, scene_from_rasters
from planetcr_bench.data.scene import Image, Scene
from planetcr_bench.data.scene_files import CLOUD_MASK, SceneFiles
from planetcr_bench.errors import DatasetError
from planetcr_bench.utils.extras import need_masks
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.folders import begun
from planetcr_bench.utils.parallel import Workers, run_ordered, track
from planetcr_bench.utils.untrusted import printable

S2CLOUDLESS: Final = "s2cloudless"
DIFFERENCE: Final = "difference"

S2CLOUDLESS_BANDS: Final = (
    "coastal", "blue", "red", "edge1", "nir", "nir_narrow", "vapour", "cirrus", "swir1", "swir2",
)  # fmt: skip
"""Bands 1, 2, 4, 5, 8, 8A, 9, 10, 11 and 12 of Sentinel-2 L1C, in the order of the detector."""

AVERAGED: Final = 4
DILATED: Final = 2
"""Radii in pixels of 10 m over which the probability is averaged, and then cloud is dilated; the
detector's documentation recommends them for images of 10 m."""

Masks = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Detector:
    """A way to find clouds.

    Attributes:
        threshold: Above which a pixel is cloud, unless another one is given.
        words: How texts call the masks, with ``{threshold}``, and ``{version}`` of its package.
        detect: Scene, description and threshold to masks of all its dates, shape (T, H, W).
        version: Of its package; nothing if it has none.
    """

    threshold: float
    words: str
    detect: Callable[[Scene, Description, float], Masks]
    version: Callable[[], str]


def difference(scene: Scene, description: Description, threshold: float) -> Masks:
    """Mark where the cloudy image is brighter than the clear one, which is the reference.

    Args:
        scene: Of one date or several.
        description: Of the dataset: the three bands of its pictures are compared.
        threshold: Of the mean over these bands, in reflectance.

    Returns:
        Shape (T, H, W).
    """
    bands = [description.bands.index(band) for band in description.picture_bands]
    brighter = (_dates(scene.cloudy) - scene.clear)[:, bands].mean(axis=1)
    return np.asarray(brighter > threshold)


def s2cloudless(scene: Scene, description: Description, threshold: float) -> Masks:
    """Mark clouds by the detector of Sentinel Hub, which sees the cloudy image alone.

    Args:
        scene: Of Sentinel-2 L1C, top-of-atmosphere reflectance.
        description: Of the dataset: names the bands.
        threshold: Of the probability of cloud.

    Returns:
        Shape (T, H, W).
    """
    bands = [description.bands.index(band) for band in S2CLOUDLESS_BANDS]
    images = np.moveaxis(_dates(scene.cloudy)[:, bands], 1, -1)
    return np.asarray(_s2cloudless(threshold).get_cloud_masks(images)).astype(bool)


@lru_cache(maxsize=1)
def _s2cloudless(threshold: float) -> Any:
    from s2cloudless import S2PixelCloudDetector

    return S2PixelCloudDetector(
        threshold=threshold, all_bands=False, average_over=AVERAGED, dilation_size=DILATED
    )


def _dates(cloudy: Image) -> Image:
    return cloudy if cloudy.ndim == 4 else cloudy[None]


DETECTORS: Final[dict[str, Detector]] = {
    S2CLOUDLESS: Detector(
        0.4,
        "s2cloudless {version} above {threshold:g}",
        s2cloudless,
        partial(version, S2CLOUDLESS),
    ),
    DIFFERENCE: Detector(
        0.04,
        "difference of cloudy and clear above {threshold:g}, which uses the reference",
        difference,
        str,
    ),
}
"""Name on the command line to detector."""


def write_masks(
    data: Path,
    out: Path,
    *,
    detector: str,
    threshold: float | None = None,
    split: str | None = None,
    dataset: str | Path | None = None,
    workers: Workers = None,
    batch: int = 4,
    quiet: bool = False,
) -> tuple[int, int]:
    """Write a mask per scene, named as the scene: a GeoTIFF with 255 for cloud and 0 for clear.

    A scene of several dates has a band for each. An interrupted run resumes: readable masks of the
    same detector and dataset are kept.

    Args:
        data: Folder of the dataset.
        out: Folder to write to; it must be new, empty, or one that an earlier call wrote.
        detector: A key of :data:`DETECTORS`.
        threshold: Above which a pixel is cloud; by default the detector's.
        split: By default all splits of the dataset.
        dataset: Name or file of its description; see ``descriptions.describe``.
        workers: See ``Workers``.
        batch: Scenes sent to a worker at a time.
        quiet: Show no progress.

    Returns:
        How many masks were written, and how many were kept.

    Raises:
        DatasetError: The dataset is invalid, the detector cannot be used on it, or ``out`` holds
            something else.
        MissingExtraError: The package of the detector is not installed.
    """
    chosen, description = DETECTORS[detector], describe(data, dataset)
    if detector == S2CLOUDLESS:
        need_masks()
        _expect_bands(data, description)
    threshold = chosen.threshold if threshold is None else threshold
    splits = _splits(data, description) if split is None else [split]
    scenes = {name: find_scenes(data, name, dataset=dataset) for name in splits}
    prints = {
        name: fingerprint_of(found, workers=workers, quiet=quiet) for name, found in scenes.items()
    }
    words = chosen.words.format(threshold=threshold, version=chosen.version())
    record = MaskRecord(
        detector=detector,
        version=chosen.version(),
        threshold=threshold,
        source=words,
        dataset=description.title,
        fingerprints=prints,
    )
    _claim(out, record)
    everything = [files for found in scenes.values() for files in found]
    waiting = [files for files in everything if not _is_written(out, files)]
    kept = len(everything) - len(waiting)
    work = partial(_write_mask, detector, threshold, out)
    folders = {out, *(folder for files in waiting for folder in files.folders)}
    written = run_ordered(work, waiting, workers=workers, folders=folders, batch=batch)
    return sum(
        track(written, f"Masks by {detector}", len(everything), done=kept, quiet=quiet)
    ), kept


def _splits(data: Path, description: Description) -> list[str]:
    """The splits that have scenes; one that must have some is among them."""
    return [
        split
        for split in find_splits(data, description)
        if not description.is_optional(split) or find_files(data, split, description)[0]
    ]


def _expect_bands(data: Path, description: Description) -> None:
    missing = [band for band in S2CLOUDLESS_BANDS if band not in description.bands]
    if missing:
        raise DatasetError(
            f"{data}: expected for s2cloudless the bands of Sentinel-2 L1C "
            f"{', '.join(S2CLOUDLESS_BANDS)}, found no {', '.join(missing)}"
        )


def _claim(out: Path, record: MaskRecord) -> None:
    """Claim the folder, or refuse: masks of two kinds must never be mixed."""
    old = read_mask_record(out) if begun(out, MASK_RECORD, error=DatasetError) else None
    if old is not None:
        same = old.model_copy(update={"fingerprints": record.fingerprints}) == record
        known = old.fingerprints
        if not same or any(
            known.get(name, own) != own for name, own in record.fingerprints.items()
        ):
            raise DatasetError(
                f"{printable(out)}: holds masks of {old.dataset} by {old.source}; choose a new "
                "folder with --out, or delete this one"
            )
        record = record.model_copy(update={"fingerprints": {**known, **record.fingerprints}})
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(out / MASK_RECORD, tomli_w.dumps(record.model_dump()).encode())


def _file(out: Path, files: SceneFiles) -> Path:
    return out / f"{files.name}.tif"


def _is_written(out: Path, files: SceneFiles) -> bool:
    """Whether an earlier run left a mask that can be read."""
    if not _file(out, files).exists():
        return False
    (masked,) = with_masks([files], OtherMasks(out))
    try:
        read_product(masked, CLOUD_MASK)
    except DatasetError:
        return False
    return True


def _write_mask(detector: str, threshold: float, out: Path, files: SceneFiles) -> int:
    """Detect and write one scene; returns 1, the number of masks."""
    rasters = read_rasters(files, ("clear", "cloudy"))
    scene = scene_from_rasters(files, rasters)
    masks = DETECTORS[detector].detect(scene, files.description, threshold)
    pixels = masks.astype(np.uint8) * np.uint8(255)
    grid, crs = rasters["clear"].transform, rasters["clear"].crs
    write_geotiff(_file(out, files), pixels, crs, grid, photometric="minisblack")
    return 1
