"""Check one scene: decode its files and record problems and warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import (
    DN_PER_REFLECTANCE,
    LAND_COVER_NAMES,
    OPTICAL_RESOLUTION_M,
    OPTICAL_SIZE,
    PRODUCTS,
    SAR_RESOLUTION_M,
    SEASONS,
)
from planetcr_bench.data.fingerprint import scene_digest
from planetcr_bench.data.grids import rotation_name
from planetcr_bench.data.layout import SceneFiles
from planetcr_bench.data.pixel_checks import mask_looks_inverted
from planetcr_bench.data.reading import (
    Raster,
    corners,
    empty_pixels,
    grid_disagreements,
    read_product,
)
from planetcr_bench.data.scene import land_cover_classes, upsample
from planetcr_bench.errors import DatasetError

PLAUSIBLE_DB: Final = (-80.0, 60.0)
"""Backscatter outside this range is not in decibels."""

OPTICAL: Final = ("clear", "cloudy")


@dataclass(frozen=True, slots=True)
class SceneState:
    """Result of decoding one scene.

    Attributes:
        files: The scene.
        digest: Of all pixels; None unless all files were decoded.
        land_cover: Pixels at 3 m per class, with unknown; None where not decoded.
        cloud_cover: Cloudy share; None where not decoded.
        bounds: CRS, left, bottom, right, top of the clear image; None where unknown.
        largest: Largest digital number of the optical images; None where not decoded.
        inverted: Whether the cloud mask looks inverted; None if undecidable.
        problems: Lines that name a file.
        warnings: (kind, file) of each observation.
    """

    files: SceneFiles
    digest: bytes | None
    land_cover: tuple[int, ...] | None
    cloud_cover: float | None
    bounds: tuple[str, float, float, float, float] | None
    largest: int | None = None
    inverted: bool | None = None
    problems: list[str] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)


def inspect_scene(files: SceneFiles) -> SceneState:
    """Decode one scene and record its errors; nothing is raised for a bad file."""
    rasters: dict[str, Raster] = {}
    problems: list[str] = []
    for product in PRODUCTS:
        try:
            rasters[product] = read_product(files, product)
        except DatasetError as error:
            problems.append(error.message)
    clear, mask = rasters.get("clear"), rasters.get("cloud_mask")
    codes = rasters.get("land_cover")
    optical = [raster for product, raster in rasters.items() if product in OPTICAL]
    if clear is not None:
        problems += grid_disagreements(files, rasters)
    problems += _pixel_sizes(files, rasters) + _impossible_values(files, rasters)
    return SceneState(
        files,
        digest=scene_digest(rasters) if len(rasters) == len(PRODUCTS) else None,
        land_cover=_class_pixels(codes) if codes is not None else None,
        cloud_cover=float(mask.pixels.mean()) if mask is not None else None,
        bounds=_bounds(clear) if clear is not None else None,
        largest=max((int(raster.pixels.max()) for raster in optical), default=None),
        inverted=_inverted(rasters),
        problems=problems,
        warnings=_warnings(files, rasters),
    )


def _inverted(rasters: Mapping[str, Raster]) -> bool | None:
    if not {"cloudy", "clear", "cloud_mask"} <= rasters.keys():
        return None
    return mask_looks_inverted(
        *(rasters[name].pixels for name in ("cloudy", "clear", "cloud_mask"))
    )


def _class_pixels(codes: Raster) -> tuple[int, ...]:
    classes = upsample(land_cover_classes(codes.pixels[0]), (OPTICAL_SIZE, OPTICAL_SIZE))
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
        if raster.transform is None:
            continue
        expected = OPTICAL_RESOLUTION_M if product in OPTICAL else SAR_RESOLUTION_M
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
            noted += _optical_warnings(path, raster)
        if product == "sar":
            noted += _radar_warnings(path, pixels)
        if product == "land_cover" and (pixels == 0).any():
            noted.append(("WorldCover nodata, counted as unknown", path))
        if product != "cloud_mask" and (raster.transform is None or not raster.crs):
            noted.append(("no georeference, so grids cannot be compared", path))
    if files.season not in SEASONS:
        noted.append((f"a season other than {', '.join(SEASONS)}", files.name))
    return noted


def _optical_warnings(path: str, raster: Raster) -> list[tuple[str, str]]:
    noted = []
    if (raster.pixels > DN_PER_REFLECTANCE).any():
        noted.append((f"values above {DN_PER_REFLECTANCE}, which are clipped", path))
    empty, zeros = empty_pixels(raster), int((raster.pixels == 0).any(0).sum())
    if empty:
        kind = "pixels of value 0, which is the file's own nodata and is scored as reflectance 0"
        noted.append((kind, f"{path} ({empty} pixels)"))
    elif zeros:
        noted.append(
            ("pixels of value 0, which are scored as they are", f"{path} ({zeros} pixels)")
        )
    return noted


def _radar_warnings(path: str, pixels: NDArray[np.floating]) -> list[tuple[str, str]]:
    noted = []
    finite = np.isfinite(pixels)
    holes, zeros = int((~finite).any(0).sum()), int((pixels == 0).all(0).sum())
    if holes:
        kind = "holes (NaN, nodata or masked), filled with the mean of their band"
        noted.append((kind, f"{path} ({holes} pixels)"))
    if zeros:
        kind = "pixels of 0 dB in both bands, which are probably holes without a nodata tag"
        noted.append((kind, f"{path} ({zeros} pixels)"))
    vv, vh = (float(band[good].mean()) for band, good in zip(pixels, finite, strict=True))
    if vh > vv:
        noted.append(("VH brighter than VV, so the two bands are probably swapped", path))
    return noted
