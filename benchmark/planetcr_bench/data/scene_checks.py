"""Check one scene: decode its files and record problems and warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import LAND_COVER_NAMES, SEASONS
from planetcr_bench.data.description import Description
from planetcr_bench.data.encodings import OPTICAL
from planetcr_bench.data.fingerprint import scene_digest
from planetcr_bench.data.grids import rotation_name
from planetcr_bench.data.pixel_checks import mask_looks_inverted
from planetcr_bench.data.reading import (
    Raster,
    corners,
    empty_pixels,
    first_mask,
    grid_disagreements,
    read_product,
)
from planetcr_bench.data.scene import cover_of, land_cover_classes, upsample
from planetcr_bench.data.scene_files import CLOUD_MASK, SceneFiles
from planetcr_bench.errors import DatasetError
from planetcr_bench.metrics.reflectance import number
from planetcr_bench.utils.validation import collect_errors

PLAUSIBLE_DB: Final = (-80.0, 60.0)
"""Backscatter outside this range is not in decibels."""


@dataclass(frozen=True, slots=True)
class SceneState:
    """Result of decoding one scene.

    Attributes:
        files: The scene.
        digest: Of all pixels; None unless all files were decoded.
        land_cover: Pixels of the optical grid per class, with unknown; None where not decoded.
        cloud_cover: Cloudy share; None where not decoded.
        bounds: CRS, left, bottom, right, top of the clear image; None where unknown.
        largest: Largest value of the optical images, above that of reflectance 0; None where not
            decoded.
        size: Height and width of the clear image; None where not decoded.
        inverted: Whether the cloud mask looks inverted; None if undecidable.
        problems: Lines that name a file.
        warnings: (kind, file) of each observation.
    """

    files: SceneFiles
    digest: bytes | None
    land_cover: tuple[int, ...] | None
    cloud_cover: float | None
    bounds: tuple[str, float, float, float, float] | None
    largest: float | None = None
    size: tuple[int, int] | None = None
    inverted: bool | None = None
    problems: list[str] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)


def inspect_scene(files: SceneFiles) -> SceneState:
    """Decode one scene and record its errors; nothing is raised for a bad file."""
    rasters: dict[str, Raster] = {}
    problems: list[str] = []
    described = files.description
    for product in files.products:
        try:
            rasters[product] = read_product(files, product)
        except DatasetError as error:
            problems.append(error.message)
    own = _with_own_mask(files, rasters, problems)
    clear, mask = rasters.get("clear"), rasters.get("cloud_mask")
    codes = rasters.get("land_cover")
    optical = [raster for product, raster in rasters.items() if product in OPTICAL]
    if clear is not None:
        problems += grid_disagreements(files, rasters)
    problems += _pixel_sizes(files, rasters) + _impossible_values(files, rasters)
    return SceneState(
        files,
        digest=scene_digest(own) if len(own) == len(described.products) else None,
        land_cover=_class_pixels(codes, clear, described) if codes is not None else None,
        cloud_cover=cover_of(first_mask(mask)) if mask is not None else None,
        bounds=_bounds(clear) if clear is not None else None,
        largest=max(
            (float(raster.pixels.max()) + described.optical.offset for raster in optical),
            default=None,
        ),
        size=clear.pixels.shape[-2:] if clear is not None else None,
        inverted=_inverted(rasters, described),
        problems=problems,
        warnings=_warnings(files, rasters),
    )


def _with_own_mask(
    files: SceneFiles, rasters: dict[str, Raster], problems: list[str]
) -> dict[str, Raster]:
    """The products of the dataset, without a mask from elsewhere."""
    if files.mask is None:
        return rasters
    own = {product: raster for product, raster in rasters.items() if product != CLOUD_MASK}
    if CLOUD_MASK in files.description.products:
        raster = collect_errors(problems, read_product, files.own, CLOUD_MASK)
        own |= {} if raster is None else {CLOUD_MASK: raster}
    return own


def _inverted(rasters: Mapping[str, Raster], described: Description) -> bool | None:
    if not {"cloudy", "clear", "cloud_mask"} <= rasters.keys() or described.has_dates:
        return None
    images = [rasters[name].pixels for name in ("cloudy", "clear", "cloud_mask")]
    if len({image.shape[-2:] for image in images}) > 1:
        return None
    cloudy, clear, mask = images
    return mask_looks_inverted(cloudy, clear, mask, described.optical.scale)


def _class_pixels(
    codes: Raster, clear: Raster | None, described: Description
) -> tuple[int, ...] | None:
    """Pixels of the optical grid per class; None if that is not known."""
    size = clear.pixels.shape[-2:] if clear is not None else described.size
    if size is None or described.land_cover is None:
        return None
    classes = upsample(land_cover_classes(codes.pixels[0], described.land_cover), size)
    counts = np.bincount(classes.ravel(), minlength=len(LAND_COVER_NAMES))
    return tuple(counts.tolist())


def _bounds(clear: Raster) -> tuple[str, float, float, float, float] | None:
    if clear.transform is None:
        return None
    (left, right), (bottom, top) = np.sort(corners(clear), axis=0).T.tolist()
    return clear.crs, left, bottom, right, top


def _pixel_sizes(files: SceneFiles, rasters: Mapping[str, Raster]) -> list[str]:
    lines = []
    for product, raster in rasters.items():
        expected = files.description.read_resolution_of(product)
        if raster.transform is None or expected is None:
            continue
        got = raster.transform.a, -raster.transform.e
        if np.abs(np.subtract(got, expected)).max() > 0.01 * expected:
            rotation = rotation_name(raster.transform)
            lines.append(
                f"{files.path(product)}: expected pixels of {expected:g} m, "
                f"got {got[0]:g} × {got[1]:g}" + (f", {rotation}" if rotation else "")
            )
    return lines


def _impossible_values(files: SceneFiles, rasters: Mapping[str, Raster]) -> list[str]:
    lines = [
        f"{files.path(product)}: expected an image, got one value everywhere"
        for product in ("clear", "cloudy")
        if product in rasters and np.ptp(rasters[product].pixels) == 0
    ]
    if "sar" in rasters:
        pixels = rasters["sar"].pixels
        low, high = float(np.nanmin(pixels)), float(np.nanmax(pixels))
        if low < PLAUSIBLE_DB[0] or high > PLAUSIBLE_DB[1]:
            lines.append(
                f"{files.path('sar')}: expected backscatter in dB, got {low:.3g} to {high:.3g}"
            )
    return lines


def _warnings(files: SceneFiles, rasters: Mapping[str, Raster]) -> list[tuple[str, str]]:
    noted = []
    for product, raster in rasters.items():
        path, pixels = str(files.path(product)), raster.pixels
        if product in OPTICAL:
            noted += _optical_warnings(path, raster, files.description)
        if product == "sar":
            noted += _radar_warnings(path, pixels, files.description)
        cover = files.description.land_cover
        if product == "land_cover" and cover is not None and (pixels == cover.nodata).any():
            noted.append((f"{cover.legend} nodata, counted as unknown", path))
        is_map = product != "cloud_mask" and path.lower().endswith((".tif", ".tiff"))
        if is_map and (raster.transform is None or not raster.crs):
            noted.append(("no georeference, so grids cannot be compared", path))
    if files.season and files.season not in SEASONS:
        noted.append((f"a season other than {', '.join(SEASONS)}", files.name))
    return noted


def _optical_warnings(path: str, raster: Raster, described: Description) -> list[tuple[str, str]]:
    noted = []
    _, limit = described.optical.scaling.limits
    if (raster.pixels > limit).any():
        noted.append((f"values above {number(limit)}, which are clipped", path))
    empty, zeros = empty_pixels(raster), int((raster.pixels == 0).any(-3).sum())
    if described.optical.nodata is None and described.optical.scale <= 255:
        zeros = 0  # black is a value of bytes and of reflectance
    if empty:
        kind = "pixels of value 0, which is the file's own nodata and is scored as reflectance 0"
        noted.append((kind, f"{path} ({empty} pixels)"))
    elif zeros:
        noted.append(
            ("pixels of value 0, which are scored as they are", f"{path} ({zeros} pixels)")
        )
    return noted


def _radar_warnings(
    path: str, pixels: NDArray[np.floating], described: Description
) -> list[tuple[str, str]]:
    noted = []
    finite = np.isfinite(pixels)
    holes, zeros = int((~finite).any(0).sum()), int((pixels == 0).all(0).sum())
    if holes:
        kind = "holes (NaN, nodata or masked), filled with the mean of their band"
        noted.append((kind, f"{path} ({holes} pixels)"))
    if zeros:
        kind = "pixels of 0 dB in both bands, which are probably holes without a nodata tag"
        noted.append((kind, f"{path} ({zeros} pixels)"))
    bands = [name.lower() for name in described.bands_of("sar")]
    if bands != ["vv", "vh"]:
        return noted
    vv, vh = (float(band[good].mean()) for band, good in zip(pixels, finite, strict=True))
    if vh > vv:
        noted.append(("VH brighter than VV, so the two bands are probably swapped", path))
    return noted
