"""Read the files of a scene: rasters on one grid, and the scene made of them."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform

from planetcr_bench.constants import (
    OPTICAL_BANDS,
    OPTICAL_SIZE,
    PRODUCTS,
    SAR_RESOLUTION_M,
    SAR_SIZE,
)
from planetcr_bench.data.grids import crs_name, crs_text, rotation_name, same_crs
from planetcr_bench.data.layout import SceneFiles
from planetcr_bench.data.pixel_checks import NO_TAGS, PixelError, Tags, nodata_pixels
from planetcr_bench.data.product_pixels import INTERPRETERS
from planetcr_bench.data.raster import (
    Accept,
    Header,
    header_fault,
    header_of,
    image_bands,
    open_geotiff,
    tags_of,
)
from planetcr_bench.data.scene import Scene, backscatter, land_cover_classes, reflectance, upsample
from planetcr_bench.errors import BenchError, DatasetError, SceneError
from planetcr_bench.utils.folders import ending
from planetcr_bench.utils.untrusted import npy_header, open_regular, read_npy

_OPTICAL = (4, OPTICAL_SIZE, OPTICAL_SIZE)

EXPECTED: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "clear": (("uint16",), _OPTICAL),
    "cloudy": (("uint16",), _OPTICAL),
    "sar": (("float32", "float64"), (2, SAR_SIZE, SAR_SIZE)),
    "land_cover": (("uint8",), (1, SAR_SIZE, SAR_SIZE)),
    "cloud_mask": (("bool",), (OPTICAL_SIZE, OPTICAL_SIZE)),
}
"""Accepted dtypes and the shape of each product's file."""

LARGEST_TRUTH: Final = 20_000_000
"""Largest file of hidden truth, in bytes."""


@dataclass(frozen=True, slots=True)
class Raster:
    """Decoded pixels of one file and their georeference.

    Attributes:
        pixels: As stored, before any scaling.
        crs: Empty where the file has none.
        transform: None where the file has none.
        tags: What the file says about its pixels.
    """

    pixels: NDArray[Any]
    crs: str = ""
    transform: Affine | None = None
    tags: Tags = NO_TAGS


def read_raster(
    path: Path, accept: Accept | None = None, *, bands: int = len(OPTICAL_BANDS)
) -> Raster:
    """Decode one GeoTIFF or ``.npy`` file as it is stored.

    Args:
        path: The file; its extension, in any case, gives the format.
        accept: Inspects the header, and raises before an unacceptable file is decoded.
        bands: How many are expected; an additional alpha band becomes a mask.

    Raises:
        DatasetError: The file is missing, not a regular file, or cannot be decoded.
    """
    if not os.path.lexists(path):
        raise DatasetError(f"{path}: no such file")
    if ending(path) == ".npy":
        dtype, shape, _, _ = npy_header(path, error=DatasetError)
        if accept is not None:
            accept(Header(dtype.name, shape))
        return Raster(read_npy(path, error=DatasetError))
    with open_geotiff(path, error=DatasetError) as source:
        if accept is not None:
            accept(header_of(source, bands))
        grid = None if source.transform == Affine.identity() else source.transform
        tags = tags_of(source, path, bands)
        return Raster(source.read(image_bands(source, bands)), crs_text(source.crs), grid, tags)


def read_product(files: SceneFiles, product: str) -> Raster:
    """Decode one product of a scene, interpreted by the tags of its file.

    Bands are sorted by their names if the file has any, scale and offset are applied, nodata and
    masks become holes of the SAR image and unknown land cover. Files without tags stay as stored.

    Raises:
        DatasetError: The file is missing, cannot be decoded, differs in dtype or shape from the
            official layout, or has values that the product cannot have; the message names
            file, expected and got.
    """
    path = files.path(product)
    bands = EXPECTED[product][1][0]
    raster = read_raster(path, partial(_expect_layout, path, product), bands=bands)
    if product not in INTERPRETERS:
        return raster
    try:
        pixels, tags = INTERPRETERS[product](raster.pixels, raster.tags)
    except PixelError as fault:
        raise DatasetError(f"{path}: {fault}") from fault
    return replace(raster, pixels=pixels, tags=tags)


def empty_pixels(raster: Raster) -> int:
    """Count pixels of an optical product with its nodata value 0 in any band."""
    if raster.pixels.all():
        return 0
    empty = nodata_pixels(raster.pixels, raster.tags.nodata)
    return 0 if empty is None else int(empty.any(0).sum())


def _expect_layout(path: Path, product: str, header: Header) -> None:
    dtypes, shape = EXPECTED[product]
    if header.dtype not in dtypes:
        raise DatasetError(f"{path}: expected {' or '.join(dtypes)}, got {header.dtype}")
    fault = header_fault(header, (shape,))
    if fault:
        raise DatasetError(f"{path}: {fault}")


def read_scene(files: SceneFiles) -> Scene:
    """Read the five files of a scene, with the values of the authors' loader.

    Raises:
        DatasetError: A file is missing, unreadable or does not match the official layout.
        SceneError: The products do not share one grid.
    """
    return scene_from_rasters(files, read_rasters(files))


def read_rasters(files: SceneFiles, products: Sequence[str] = PRODUCTS) -> dict[str, Raster]:
    """Decode products of a scene, the clear image among them, and check that they share one grid.

    Raises:
        DatasetError: See :func:`read_product`.
        SceneError: The products do not share one grid.
    """
    rasters = {product: read_product(files, product) for product in products}
    disagreements = grid_disagreements(files, rasters)
    if disagreements:
        raise SceneError(disagreements[0])
    return rasters


def scene_from_rasters(files: SceneFiles, rasters: dict[str, Raster]) -> Scene:
    """Turn the products that :func:`read_rasters` has read into a :class:`Scene`."""
    clear = rasters["clear"]
    codes = rasters["land_cover"].pixels[0]
    return Scene(
        name=files.name,
        split=files.split,
        season=files.season,
        aoi=files.aoi,
        patch=files.patch,
        cloudy=reflectance(rasters["cloudy"].pixels),
        clear=reflectance(clear.pixels),
        sar=backscatter(rasters["sar"].pixels),
        land_cover=upsample(land_cover_classes(codes), clear.pixels.shape[-2:]),
        cloud_mask=rasters["cloud_mask"].pixels,
        crs=clear.crs,
        transform=clear.transform or Affine.identity(),
    )


def grid_disagreements(files: SceneFiles, rasters: dict[str, Raster]) -> list[str]:
    """Compare the grid of each georeferenced product with the clear image's.

    The optical images must share one grid. The 10 m products of the real release start up to
    2 m away from it, so their corners may differ by up to one SAR pixel.

    Returns:
        One line per product that disagrees, naming the file.
    """
    clear = rasters["clear"]
    lines = []
    for product in ("cloudy", "sar", "land_cover"):
        raster = rasters.get(product)
        if raster is None or raster.transform is None or clear.transform is None:
            continue
        path = files.path(product)
        if not same_crs(raster.crs, clear.crs):
            expected, got = crs_name(clear.crs), crs_name(raster.crs)
            lines.append(f"{path}: expected the clear image's CRS {expected}, got {got}")
            continue
        distance = _corner_distance_m(raster, clear)
        limit = 0.01 if product == "cloudy" else SAR_RESOLUTION_M
        if distance > limit:
            lines.append(
                f"{path}: expected corners within {limit:g} m of the clear image's, "
                f"got {distance:.2f} m{_rotation(raster)}"
            )
    return lines


def _rotation(raster: Raster) -> str:
    rotation = rotation_name(raster.transform) if raster.transform is not None else ""
    return f", {rotation}" if rotation else ""


def _corner_distance_m(a: Raster, b: Raster) -> float:
    return float(np.abs(corners(a) - corners(b)).max())


def corners(raster: Raster) -> NDArray[np.float64]:
    """Coordinates of the first and the last corner of a georeferenced raster, shape (2, 2)."""
    transform = raster.transform or Affine.identity()
    height, width = raster.pixels.shape[-2:]
    return np.array([transform @ (0, 0), transform @ (width, height)], np.float64)


def centre_of(raster: Raster) -> tuple[float, float]:
    """Longitude and latitude of a raster's centre, degrees, to 1e-6; nan without georeference."""
    crs = CRS.from_string(raster.crs) if raster.crs else CRS()
    if raster.transform is None or not (crs.is_projected or crs.is_geographic):
        return math.nan, math.nan
    height, width = raster.pixels.shape[-2:]
    grid = raster.transform
    x = grid.c + grid.a * width / 2 + grid.b * height / 2
    y = grid.f + grid.d * width / 2 + grid.e * height / 2
    (longitude,), (latitude,) = transform(crs, "EPSG:4326", [x], [y])[:2]
    known = abs(longitude) <= 180 and abs(latitude) <= 90
    return (round(longitude, 6), round(latitude, 6)) if known else (math.nan, math.nan)


def read_thickness(truth: Path, files: SceneFiles) -> NDArray[np.float32]:
    """Optical thickness of the clouds over a simulated scene, shape (300, 300).

    Args:
        truth: Folder of hidden truth, as ``simulate`` writes it.
        files: The scene.

    Raises:
        DatasetError: There is no such file, or it cannot be read.
    """
    path = truth / f"{files.name}.npz"
    if not os.path.lexists(path):
        raise DatasetError(
            f"{path}: expected the hidden truth of the scene, found none; run the same "
            "`planetcr-bench simulate` with --truth again"
        )
    try:
        with (
            open_regular(path, LARGEST_TRUTH, error=DatasetError) as stream,
            zipfile.ZipFile(stream) as stored,
            stored.open("cloud_thickness.npy") as member,
        ):
            array = np.load(io.BytesIO(member.read(LARGEST_TRUTH)), allow_pickle=False)
        thickness = np.asarray(array, np.float32)
    except BenchError:
        raise
    except Exception as error:  # zipfile and numpy raise any exception for broken bytes
        raise DatasetError(
            f"{path}: expected the hidden truth of a scene, but it cannot be read"
        ) from error
    if thickness.shape != (OPTICAL_SIZE, OPTICAL_SIZE) or not (thickness >= 0).all():
        raise DatasetError(
            f"{path}: expected an optical thickness of 0 or more, shape (300, 300), got another"
        )
    return thickness
