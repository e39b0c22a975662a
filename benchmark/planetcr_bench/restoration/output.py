"""Write a restored scene as a Cloud-Optimised GeoTIFF."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from planetcr_bench.constants import DN_PER_REFLECTANCE
from planetcr_bench.data.raster import reason
from planetcr_bench.data.scene import Image
from planetcr_bench.restoration.rasters import Grid, SceneFileError
from planetcr_bench.utils.files import atomic_path
from planetcr_bench.utils.untrusted import printable

NODATA: Final = 0
"""Digital number of pixels without data, as in Planet's images."""

PROVENANCE: Final = ("nodata", "kept", "restored", "filled")
"""Meaning of the values of the provenance band. kept: the input, which the mask calls clear.
filled: restored from neighbours, since the input has no usable value in every band there."""

_BLOCK: Final = 512


def to_numbers(reflectance: Image, valid: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Reflectance × 10,000 as in Planet's images; a valid pixel is at least 1, others are 0.

    Args:
        reflectance: Shape (bands, H, W).
        valid: Shape (H, W).
    """
    largest = np.iinfo(np.uint16).max
    numbers = np.clip(np.rint(reflectance * np.float32(DN_PER_REFLECTANCE)), 1, largest)
    return np.where(valid, numbers, NODATA).astype(np.uint16)


def write_cog(
    path: Path,
    strips: Iterable[tuple[slice, NDArray[np.uint16]]],
    grid: Grid,
    bands: Sequence[str],
    tags: Mapping[str, str],
    *,
    work: Path,
) -> None:
    """Write strips of rows as a Cloud-Optimised GeoTIFF, which appears whole or not at all.

    Args:
        path: The file; an existing one is replaced.
        strips: Rows and their digital numbers, shape (bands, rows, width).
        grid: Of the image.
        bands: Their names.
        tags: Of the file.
        work: Folder for the image before it is cloud-optimised.

    Raises:
        SceneFileError: It cannot be written.
    """
    plain = work / "plain.tif"
    categories = bands[-1] == "provenance"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                plain, "w", driver="GTiff", height=grid.height, width=grid.width, count=len(bands),
                dtype="uint16", crs=grid.crs, transform=grid.transform, nodata=NODATA, tiled=True,
                blockxsize=_BLOCK, blockysize=_BLOCK, compress="DEFLATE", predictor=2, zlevel=1,
                bigtiff="IF_SAFER", photometric="MINISBLACK",
            ) as image:  # fmt: skip
                for rows, numbers in strips:
                    window = Window(0, rows.start, grid.width, rows.stop - rows.start)
                    image.write(numbers, window=window)
                image.descriptions = tuple(bands)
                image.update_tags(**tags)
            with atomic_path(path) as partial:
                rasterio.shutil.copy(
                    plain, partial, driver="COG", COMPRESS="DEFLATE", PREDICTOR="YES",
                    BLOCKSIZE=_BLOCK, BIGTIFF="IF_SAFER",
                    OVERVIEW_RESAMPLING="NEAREST" if categories else "AVERAGE",
                )  # fmt: skip
    except (RasterioError, OSError) as problem:
        raise SceneFileError(
            f"{printable(path)}: cannot be written ({reason(problem)}); finished tiles are kept, "
            "so that the same command goes on from them"
        ) from problem
    finally:
        plain.unlink(missing_ok=True)
