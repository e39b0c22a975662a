"""Read the files of a scene: rasters on one grid, and the scene made of them."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform

from planetcr_bench.constants import PRODUCTS
from planetcr_bench.data.description import Description
from planetcr_bench.data.encodings import KINDS, OPTICAL
from planetcr_bench.data.grids import crs_name, crs_text, rotation_name, same_crs
from planetcr_bench.data.mask_rules import band_count
from planetcr_bench.data.pixel_checks import NO_TAGS, Tags, nodata_pixels
from planetcr_bench.data.product_pixels import interpret, mask_by_rule
from planetcr_bench.data.raster import (
    Accept,
    Header,
    header_fault,
    header_of,
    image_bands,
    open_image,
    read_header,
    tags_of,
)
from planetcr_bench.data.resizing import shrink
from planetcr_bench.data.scene import Scene, backscatter, land_cover_classes, reflectance, upsample
from planetcr_bench.data.scene_files import CLOUD_MASK, MaskFile, SceneFiles
from planetcr_bench.errors import BenchError, DatasetError, SceneError
from planetcr_bench.metrics.reflectance import PixelError
from planetcr_bench.utils.folders import ending
from planetcr_bench.utils.untrusted import npy_header, open_regular, read_npy

LARGEST_SIDE: Final = 10_000
"""Longest side of an image; a file of a few bytes may declare gigabytes."""

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


def read_raster(path: Path, accept: Accept | None = None, *, bands: int | None = None) -> Raster:
    """Decode one GeoTIFF, PNG, JPEG or ``.npy`` file as it is stored.

    Args:
        path: The file; its extension, in any case, gives the format.
        accept: Inspects the header, and raises before an unacceptable file is decoded.
        bands: How many are expected, None for any number; an additional alpha band becomes a mask.

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
    driver = KINDS.get(ending(path), "GTiff")
    with open_image(path, error=DatasetError, driver=driver) as source:
        if accept is not None:
            accept(header_of(source, bands))
        grid = None if source.transform == Affine.identity() else source.transform
        tags = tags_of(source, path, bands)
        return Raster(source.read(image_bands(source, bands)), crs_text(source.crs), grid, tags)


def read_product(files: SceneFiles, product: str) -> Raster:
    """Decode one product of a scene, interpreted by its description and the tags of its file.

    Bands are sorted by their names if the file has any, scale and offset are applied, nodata and
    masks become holes of the SAR image and unknown land cover. Files without tags stay as stored.

    Returns:
        Pixels of shape (B, H, W); of a cloud mask (H, W), bool; of several dates (T, B, H, W). A
        mask from elsewhere is (T, H, W) there.

    Raises:
        DatasetError: The file is missing, cannot be decoded, differs in dtype or shape from its
            description, or has values that the product cannot have; the message names file,
            expected and got.
    """
    if product == CLOUD_MASK and files.mask is not None:
        return _read_mask(files, files.mask)
    if product == "cloudy" and files.date_fault:
        raise DatasetError(files.date_fault)
    dates = [_read_date(paths, product, files.description) for paths in files.paths(product)]
    if product not in files.description.own_fields or product != "cloudy":
        return dates[0]
    shapes = [date.pixels.shape for date in dates]
    if len(set(shapes)) > 1:
        other = next(index for index, shape in enumerate(shapes) if shape != shapes[0])
        raise DatasetError(
            f"{files.paths(product)[other][0]}: expected shape {shapes[0]} of the scene's other "
            f"dates, got {shapes[other]}"
        )
    return replace(dates[0], pixels=np.stack([date.pixels for date in dates]))


def _read_mask(files: SceneFiles, mask: MaskFile) -> Raster:
    """The mask of a scene from elsewhere, on the grid of its images as they are read."""
    dates = len(files.paths("cloudy")) if files.description.has_dates else None
    if len(mask.paths) == 1:
        return _read_mask_file(Path(mask.paths[0]), mask.rule, dates)
    rasters = [_read_mask_file(Path(path), mask.rule, None) for path in mask.paths]
    shape = rasters[0].pixels.shape
    for path, raster in zip(mask.paths, rasters, strict=True):
        if raster.pixels.shape != shape:
            got = raster.pixels.shape
            raise DatasetError(f"{path}: expected shape {shape} of the other dates, got {got}")
    return replace(rasters[0], pixels=np.stack([raster.pixels for raster in rasters]))


def _read_mask_file(path: Path, rule: str, dates: int | None) -> Raster:
    """A mask of one date, shape (H, W); or of some dates, (T, H, W)."""
    bands = band_count(rule, dates)

    def accept(header: Header) -> None:
        got = header.shape if len(header.shape) == 2 else (bands, *header.shape[1:])
        if len(header.shape) == 3 and header.shape[0] != bands:
            return  # which its rule explains
        _expect_form(path, header, got)

    raster = read_raster(path, accept, bands=bands)
    try:
        return replace(raster, pixels=mask_by_rule(raster.pixels, rule, dates=dates))
    except PixelError as fault:
        raise DatasetError(f"{path}: {fault}") from fault


def _read_date(paths: Sequence[Path], product: str, description: Description) -> Raster:
    """One image: of one file, or of several that are put together."""
    expected = len(description.bands_of(product))
    bands = {1: expected, expected: 1}.get(len(paths))  # of each file; None if it is not known
    chosen = description.optical.file_bands if product in OPTICAL else []
    if chosen or (product == "cloud_mask" and ending(paths[0]) != ".npy"):
        bands = None
    rasters = [
        read_raster(path, partial(_expect_layout, path, product, description, bands), bands=bands)
        for path in paths
    ]
    if chosen:
        rasters = [_some_bands(*each) for each in zip(rasters, chosen, paths, strict=True)]
    raster = rasters[0] if len(rasters) == 1 else _together(rasters, paths)
    if len(rasters) > 1 and len(raster.pixels) != expected:
        raise DatasetError(
            f"{paths[0]}: expected {expected} bands in {len(paths)} files, got {len(raster.pixels)}"
        )
    try:
        pixels, tags = interpret(raster.pixels, raster.tags, product, description)
    except PixelError as fault:
        raise DatasetError(f"{paths[0]}: {fault}") from fault
    raster = replace(raster, pixels=pixels, tags=tags)
    factor = round(1 / description.resize)
    if factor == 1 or description.has_own_grid(product):
        return raster
    grid = raster.transform and raster.transform @ Affine.scale(factor)
    return replace(raster, pixels=shrink(pixels, factor, product), transform=grid)


def _some_bands(raster: Raster, numbers: Sequence[int], path: Path) -> Raster:
    """The bands with these numbers, from 1 on."""
    pixels = raster.pixels if raster.pixels.ndim == 3 else raster.pixels[None]
    if max(numbers) > len(pixels):
        raise DatasetError(f"{path}: expected a band {max(numbers)}, got {len(pixels)} bands")
    chosen, tags = [number - 1 for number in numbers], raster.tags
    if tags.nodata:  # else the file has no tags
        tags = Tags(
            tuple(tags.nodata[index] for index in chosen),
            tuple(tags.scales[index] for index in chosen),
            tuple(tags.offsets[index] for index in chosen),
            tuple(tags.names[index] for index in chosen),
            tags.hidden,
        )
    return replace(raster, pixels=pixels[chosen], tags=tags)


def _together(rasters: Sequence[Raster], paths: Sequence[Path]) -> Raster:
    """The bands of several files as one image, on the grid of the first."""
    first = rasters[0]
    images = [raster.pixels if raster.pixels.ndim == 3 else raster.pixels[None]
              for raster in rasters]  # fmt: skip
    for path, raster, image in zip(paths, rasters, images, strict=True):
        same_grid = raster.transform == first.transform and same_crs(raster.crs, first.crs)
        same_form = image.shape[1:] == images[0].shape[1:] and image.dtype == images[0].dtype
        if not (same_grid and same_form):
            raise DatasetError(
                f"{path}: expected the shape, data type and grid of {paths[0].name}, got others "
                f"({image.dtype} {image.shape[1:]}, {images[0].dtype} {images[0].shape[1:]})"
            )
    hidden = [raster.tags.hidden for raster in rasters if raster.tags.hidden is not None]
    tags = Tags(
        tuple(value for raster in rasters for value in raster.tags.nodata),
        tuple(value for raster in rasters for value in raster.tags.scales),
        tuple(value for raster in rasters for value in raster.tags.offsets),
        hidden=np.logical_or.reduce(hidden) if hidden else None,
    )
    return replace(first, pixels=np.concatenate(images), tags=tags)


def empty_pixels(raster: Raster) -> int:
    """Count pixels of an optical product with its nodata value 0 in any band."""
    if raster.pixels.all():
        return 0
    images = raster.pixels if raster.pixels.ndim == 4 else raster.pixels[None]
    empty = [nodata_pixels(image, raster.tags.nodata) for image in images]
    return sum(int(mask.any(0).sum()) for mask in empty if mask is not None)


def _expect_layout(
    path: Path, product: str, description: Description, bands: int | None, header: Header
) -> None:
    dtypes = description.dtypes(product)
    if dtypes and header.dtype not in dtypes:
        raise DatasetError(f"{path}: expected {' or '.join(dtypes)}, got {header.dtype}")
    _expect_form(path, header, _expected_shape(header.shape, bands, description.size_of(product)))


def _expect_form(path: Path, header: Header, shape: tuple[int, ...]) -> None:
    """Refuse a file of another shape, before it is decoded."""
    fault = header_fault(header, (shape,))
    if not fault and max(shape[-2:]) > LARGEST_SIDE:
        fault = f"expected at most {LARGEST_SIDE} pixels a side, got {max(shape[-2:])}"
    if fault:
        raise DatasetError(f"{path}: {fault}")


def _expected_shape(
    got: tuple[int, ...], bands: int | None, size: tuple[int, int] | None
) -> tuple[int, ...]:
    """Shape that a file must have, with what is not known as it is."""
    last = len(got) == 3 and got[0] != bands and got[-1] == bands
    grid = size or ((got[0], got[1]) if last else got[-2:])
    if len(got) == 2 and bands in (1, None):
        return grid
    return (got[0] if bands is None else bands, *grid)


def read_scene(files: SceneFiles) -> Scene:
    """Read the files of a scene; those of Planet-CR with the values of the authors' loader.

    Raises:
        DatasetError: A file is missing, unreadable or does not match its description.
        SceneError: The products do not share one grid.
    """
    return scene_from_rasters(files, read_rasters(files))


def read_land_cover(files: SceneFiles) -> NDArray[np.uint8]:
    """Land-cover class of each optical pixel of a scene, shape (H, W).

    Raises:
        DatasetError: See :func:`read_product`; or the dataset has no land cover.
    """
    described = files.description
    if described.land_cover is None:
        raise DatasetError(f"{described.title}: expected land cover, the dataset has none")
    classes = land_cover_classes(read_product(files, "land_cover").pixels[0], described.land_cover)
    size = described.read_size_of("clear") or read_product(files, "clear").pixels.shape[-2:]
    return upsample(classes, size)


def image_size(files: SceneFiles, product: str) -> tuple[int, int]:
    """Height and width of a product as it is read: as described, or by the header of its file.

    Raises:
        DatasetError: The file cannot be read.
    """
    described = files.description
    size = described.read_size_of(product)
    if size is not None:
        return size
    expected, path = len(described.bands_of(product)), files.path(product)
    shape = _expected_shape(read_header(path).shape, expected, None)
    factor = 1 if described.has_own_grid(product) else round(1 / described.resize)
    return shape[-2] // factor, shape[-1] // factor


def read_rasters(files: SceneFiles, products: Sequence[str] | None = None) -> dict[str, Raster]:
    """Decode products of a scene, the clear image among them, and check that they share one grid.

    Args:
        files: The scene.
        products: Which; those that the dataset lacks are left out. By default all.

    Raises:
        DatasetError: See :func:`read_product`.
        SceneError: The products do not share one grid.
    """
    present = files.products
    chosen = [product for product in products or present if product in present]
    rasters = {product: read_product(files, product) for product in chosen}
    disagreements = grid_disagreements(files, rasters)
    if disagreements:
        raise SceneError(disagreements[0])
    return rasters


def scene_from_rasters(files: SceneFiles, rasters: dict[str, Raster]) -> Scene:
    """Turn the products that :func:`read_rasters` has read into a :class:`Scene`."""
    described, clear = files.description, rasters["clear"]
    sar, mask = rasters.get("sar"), rasters.get("cloud_mask")
    return Scene(
        name=files.name,
        split=files.split,
        season=files.season,
        aoi=files.aoi,
        patch=files.patch,
        bands=described.bands,
        resolution=described.pixel_size,
        cloudy=reflectance(rasters["cloudy"].pixels, described.optical.scaling),
        clear=reflectance(clear.pixels, described.optical.scaling),
        sar=backscatter(sar.pixels, described.sar) if sar and described.sar else None,
        land_cover=land_cover_of(rasters, described),
        cloud_mask=first_mask(mask),
        date_masks=mask.pixels if mask is not None and mask.pixels.ndim == 3 else None,
        crs=clear.crs,
        transform=clear.transform or Affine.identity(),
        sar_bands=described.sar.bands if described.sar else (),
        description=described,
    )


def first_mask(mask: Raster | None) -> NDArray[np.bool_] | None:
    """The mask of the cloudy image that counts as the input, shape (H, W): of the first date."""
    if mask is None:
        return None
    return mask.pixels if mask.pixels.ndim == 2 else mask.pixels[0]


def land_cover_of(
    rasters: Mapping[str, Raster], described: Description
) -> NDArray[np.uint8] | None:
    """Class of each optical pixel, from decoded products, shape (H, W); None without land cover."""
    codes = rasters.get("land_cover")
    if codes is None or described.land_cover is None:
        return None
    classes = land_cover_classes(codes.pixels[0], described.land_cover)
    return upsample(classes, rasters["clear"].pixels.shape[-2:])


def grid_disagreements(files: SceneFiles, rasters: dict[str, Raster]) -> list[str]:
    """Compare the grid of each product with the clear image's.

    The optical images and the mask must have one shape, and the former share one grid. Other
    products, such as those of 10 m of Planet-CR, start up to 2 m away from it, so their corners may
    differ by up to one of their pixels.

    Returns:
        One line per product that disagrees, naming the file.
    """
    clear = rasters["clear"]
    lines = []
    for product in PRODUCTS:
        raster = rasters.get(product)
        if raster is None or product == "clear":
            continue
        path = files.path(product)
        shape, expected_shape = raster.pixels.shape[-2:], clear.pixels.shape[-2:]
        if product in ("cloudy", "cloud_mask") and shape != expected_shape:
            lines.append(
                f"{path}: expected {' × '.join(map(str, expected_shape))} pixels of the clear "
                f"image, got {' × '.join(map(str, shape))}"
            )
        if raster.transform is None or clear.transform is None:
            continue
        if not same_crs(raster.crs, clear.crs):
            expected, got = crs_name(clear.crs), crs_name(raster.crs)
            lines.append(f"{path}: expected the clear image's CRS {expected}, got {got}")
            continue
        distance = _corner_distance_m(raster, clear)
        limit = _tolerance(raster, product, files.description)
        if distance > limit:
            lines.append(
                f"{path}: expected corners within {limit:g} m of the clear image's, "
                f"got {distance:.2f} m{_rotation(raster)}"
            )
    return lines


def _tolerance(raster: Raster, product: str, description: Description) -> float:
    """Distance that the corners of a product may have from the clear image's, in units of its CRS.

    It is one pixel, and for the cloudy image and the mask 1 % of one, at most 1 cm.
    """
    pixel = abs(raster.transform.a) if raster.transform is not None else 0.0
    if product in ("cloudy", "cloud_mask"):
        return min(0.01, pixel / 100)
    return description.resolution_of(product) or pixel


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
    """Optical thickness of the clouds over a simulated scene, shape (H, W).

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
    size = files.description.size or thickness.shape[:2]
    if thickness.shape != size or not (thickness >= 0).all():
        raise DatasetError(
            f"{path}: expected an optical thickness of 0 or more, shape {size}, got another"
        )
    return thickness
