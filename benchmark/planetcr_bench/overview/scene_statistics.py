"""Measure one scene for an overview: a row of numbers, and histograms of its pixels."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy.fft import dctn

from planetcr_bench.constants import LAND_COVER_NAMES, UNKNOWN
from planetcr_bench.data.description import Description
from planetcr_bench.data.encodings import KINDS
from planetcr_bench.data.fingerprint import pixel_digest, scene_digest
from planetcr_bench.data.raster import open_image
from planetcr_bench.data.reading import (
    Raster,
    corners,
    first_mask,
    land_cover_of,
    read_product,
    read_rasters,
)
from planetcr_bench.data.scene import Image, cover_of, reflectance, upsample
from planetcr_bench.data.scene_files import CLOUD_MASK, SceneFiles
from planetcr_bench.errors import BenchError, DatasetError
from planetcr_bench.utils.folders import ending

REFLECTANCE_BINS: Final = 256
"""Equal bins of reflectance in [0, 1]: one for each value of a byte."""

CLOUDY: Final = len(LAND_COVER_NAMES)
"""Index of the cloudy image in histograms of reflectance, after the classes of the clear one."""

DECIBELS: Final = (-50.0, 20.0)
"""Ends of the histograms of backscatter; what lies beyond counts in the last bin."""

DECIBEL_BINS: Final = 140

HASH_SIDE: Final = 32
"""Pixels of the small picture that is hashed."""

_DATE: Final = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_:]?(0[1-9]|1[0-2])[-_:]?(0[1-9]|[12]\d|3[01])"
    r"(?:[ T_]?([01]\d|2[0-3])[-:]?([0-5]\d)[-:]?([0-5]\d))?(?!\d)"
)


@dataclass(frozen=True, slots=True)
class SceneStatistics:
    """What an overview knows of one scene.

    Attributes:
        name: Of the scene.
        digest: Of all its pixels; see ``fingerprint.scene_digest``.
        row: Columns of its row: see :func:`measure_scene`.
        reflectance: Pixels per band, class of the clear image and then the cloudy image, and bin,
            shape (B, 8, bins), int32.
        backscatter: Pixels per SAR band, class and bin, shape (S, 7, bins), int32.
        problems: Why it could not be read; then nothing else is known.
    """

    name: str
    digest: bytes = b""
    row: Mapping[str, Any] = field(default_factory=dict)
    reflectance: NDArray[np.int32] | None = None
    backscatter: NDArray[np.int32] | None = None
    problems: tuple[str, ...] = ()


def measure_scene(files: SceneFiles) -> SceneStatistics:
    """Decode a scene once and measure it; a broken one comes back with its problems.

    The row has ``scene``, ``aoi``, ``season``, ``height`` and ``width``; ``crs``, ``left``,
    ``bottom``, ``right`` and ``top`` of the clear image, in units of the CRS; ``cloud_cover`` in
    [0, 1]; ``days`` between the first cloudy image and the clear one; pixels of the optical grid
    per class, ``land_forest`` and so on; mean reflectance per band of the clear image,
    ``clear_blue`` and so on; the perceptual ``hash`` of the clear image, 64 bits, and the
    ``digest`` of its pixels. What is not known is nan or empty, and all of no land cover is
    ``land_unknown``.
    """
    try:
        rasters = read_rasters(files, files.products)
        return _measured(files, rasters, scene_digest(_own(files, rasters)))
    except BenchError as error:
        return SceneStatistics(files.name, problems=(error.message, *error.problems))


def _own(files: SceneFiles, rasters: dict[str, Raster]) -> dict[str, Raster]:
    """The products of the dataset itself, on which its fingerprint depends."""
    if files.mask is None:
        return rasters
    own = {product: raster for product, raster in rasters.items() if product != CLOUD_MASK}
    if CLOUD_MASK in files.description.products:
        own[CLOUD_MASK] = read_product(files.own, CLOUD_MASK)
    return own


def _measured(files: SceneFiles, rasters: dict[str, Raster], digest: bytes) -> SceneStatistics:
    described, clear_file = files.description, rasters["clear"]
    clear = reflectance(clear_file.pixels, described.optical.scaling)
    stored = rasters["cloudy"].pixels
    first = stored if stored.ndim == 3 else stored[0]
    cloudy = reflectance(first, described.optical.scaling)
    classes = land_cover_of(rasters, described)
    if classes is None:
        classes = np.full(clear.shape[1:], UNKNOWN, np.uint8)
    seen = _seen(clear_file.pixels, described)
    pixels = np.bincount(classes.ravel(), minlength=len(LAND_COVER_NAMES))
    means = (
        clear[:, seen].mean(1, dtype=np.float64) if seen.any() else np.full(len(clear), math.nan)
    )
    row = {
        "scene": files.name,
        "aoi": files.aoi,
        "season": files.season,
        "height": clear.shape[1],
        "width": clear.shape[2],
        **_bounds(clear_file),
        "cloud_cover": cover_of(first_mask(rasters.get(CLOUD_MASK))),
        "days": days_between(files),
        **{f"land_{name}": int(n) for name, n in zip(LAND_COVER_NAMES, pixels, strict=True)},
        **{f"clear_{band}": float(m) for band, m in zip(described.bands, means, strict=True)},
        "hash": perceptual_hash(clear[[described.bands.index(b) for b in described.picture_bands]]),
        "digest": pixel_digest(clear_file.pixels).hex()[:16],
    }
    sar = rasters.get("sar")
    return SceneStatistics(
        files.name,
        digest,
        row,
        _reflectance_counts(clear, cloudy, classes, seen, _seen(first, described)),
        None if sar is None else _backscatter_counts(sar.pixels, classes),
    )


def _seen(stored: NDArray[Any], described: Description) -> NDArray[np.bool_]:
    """Pixels that have data, shape (H, W)."""
    nodata = described.optical.nodata
    if nodata is None:
        return np.ones(stored.shape[1:], bool)
    seen: NDArray[np.bool_] = (stored != nodata).any(0)
    return seen


def _bounds(clear: Raster) -> dict[str, Any]:
    ends = np.full((2, 2), np.nan) if clear.transform is None else np.sort(corners(clear), axis=0)
    (left, bottom), (right, top) = ends.tolist()
    return {"crs": clear.crs, "left": left, "bottom": bottom, "right": right, "top": top}


def _reflectance_counts(
    clear: Image,
    cloudy: Image,
    classes: NDArray[np.uint8],
    seen: NDArray[np.bool_],
    cloudy_seen: NDArray[np.bool_],
) -> NDArray[np.int32]:
    counts = np.empty((len(clear), CLOUDY + 1, REFLECTANCE_BINS), np.int32)
    top = REFLECTANCE_BINS - 1
    start = classes[seen].astype(np.int32) * REFLECTANCE_BINS
    for band, (image, other) in enumerate(zip(clear, cloudy, strict=True)):
        bins = np.minimum((image[seen] * REFLECTANCE_BINS).astype(np.int32), top)
        counts[band, :CLOUDY] = np.bincount(
            start + bins, minlength=CLOUDY * REFLECTANCE_BINS
        ).reshape(CLOUDY, REFLECTANCE_BINS)
        bins = np.minimum((other[cloudy_seen] * REFLECTANCE_BINS).astype(np.int32), top)
        counts[band, CLOUDY] = np.bincount(bins, minlength=REFLECTANCE_BINS)
    return counts


def _backscatter_counts(
    decibels: NDArray[np.floating[Any]], classes: NDArray[np.uint8]
) -> NDArray[np.int32]:
    counts = np.empty((len(decibels), CLOUDY, DECIBEL_BINS), np.int32)
    low, high = DECIBELS
    start = upsample(classes, decibels.shape[-2:]).astype(np.int32) * DECIBEL_BINS
    for band, values in enumerate(decibels):
        known = np.isfinite(values)
        bins = ((values[known] - low) * (DECIBEL_BINS / (high - low))).astype(np.int32)
        bins = np.clip(bins, 0, DECIBEL_BINS - 1)
        counts[band] = np.bincount(start[known] + bins, minlength=CLOUDY * DECIBEL_BINS).reshape(
            CLOUDY, DECIBEL_BINS
        )
    return counts


def perceptual_hash(image: Image) -> int:
    """Hash that hardly changes with brightness, noise and compression: 64 bits.

    The bits say which of the lowest 8 × 8 frequencies of the small grey image (its cosine
    transform) exceed their median.

    Args:
        image: Shape (B, H, W).
    """
    grey = Picture.fromarray(np.ascontiguousarray(image.mean(0, dtype=np.float32)))
    small = np.asarray(grey.resize((HASH_SIDE, HASH_SIDE), Picture.Resampling.BOX))
    low = dctn(small, norm="ortho")[:8, :8].ravel()
    return int.from_bytes(np.packbits(low > np.median(low[1:])).tobytes(), "big")


# --- Dates ------------------------------------------------------------------------------------


def days_between(files: SceneFiles) -> float:
    """Days between the first cloudy image and the clear one; nan unless both dates are known."""
    cloudy = date_of(files, "cloudy")
    clear = date_of(files, "clear") if cloudy is not None else None
    if cloudy is None or clear is None:
        return math.nan
    return abs((cloudy - clear).total_seconds()) / 86_400


def date_of(files: SceneFiles, product: str) -> datetime | None:
    """When an optical image was taken: by a field of its own in its path, else by its TIFF tag.

    Args:
        files: The scene.
        product: ``clear`` or ``cloudy``, of which the first date counts.

    Returns:
        In UTC; None if it is not known.
    """
    path = files.path(product)
    own = files.description.own_fields.get(product, ())
    if own:
        template = files.description.templates(product)[0]
        values = template.match(path.relative_to(files.folder).as_posix(), files.fields) or {}
        dates = [date for name in own if (date := read_date(str(values.get(name, ""))))]
        if dates:
            return dates[0]
    if KINDS.get(ending(path)) != "GTiff":
        return None
    with open_image(path, error=DatasetError, driver="GTiff") as source:
        return read_date(source.tags().get("TIFFTAG_DATETIME", ""))


def read_date(text: str) -> datetime | None:
    """The first date in a text, such as ``20220101``, ``2022-01-01`` or with a time after it.

    Example:
        >>> read_date("20220101_093015_11_2415").isoformat()
        '2022-01-01T09:30:15+00:00'
    """
    match = _DATE.search(text)
    if match is None:
        return None
    try:
        return datetime(*(int(part or 0) for part in match.groups()), tzinfo=UTC)  # type: ignore[misc, arg-type]
    except ValueError:  # the 31st of a shorter month
        return None
