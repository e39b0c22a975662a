"""Write a restored scene as a Cloud-Optimised GeoTIFF."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # which copying raises, and no public module has
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window

from planetcr_bench.constants import DN_PER_REFLECTANCE
from planetcr_bench.data.raster import reason
from planetcr_bench.data.scene import Image
from planetcr_bench.restoration.rasters import Grid, SceneFileError
from planetcr_bench.utils.untrusted import printable

NODATA: Final = 0
"""Digital number of pixels without data, as in Planet's images."""

PROVENANCE: Final = ("nodata", "kept", "restored", "filled")
"""Meaning of the values of the provenance band. kept: the input, which the mask calls clear.
filled: restored from neighbours, since the input has no usable value in every band there."""

_BLOCK: Final = 512

_COLOURS: Final = {name: ColorInterp[name] for name in ("red", "green", "blue")}
"""By which a viewer shows the image in its true colours."""


def to_numbers(reflectance: Image, valid: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Reflectance × 10,000 as in Planet's images; a valid pixel is at least 1, others are 0.

    Args:
        reflectance: Shape (bands, H, W).
        valid: Shape (H, W).
    """
    largest = np.iinfo(np.uint16).max
    numbers = np.clip(np.rint(reflectance * np.float32(DN_PER_REFLECTANCE)), 1, largest)
    return np.where(valid, numbers, NODATA).astype(np.uint16)


@contextmanager
def explained(
    target: Path,
    remedy: str = "free some, then run the same command again",
) -> Iterator[None]:
    """Say of an error of writing, within a ``with`` block, which output is not there.

    Args:
        target: The output.
        remedy: End of the message.

    Raises:
        SceneFileError: In place of an OSError.
    """
    try:
        yield
    except (FileExistsError, NotADirectoryError):  # whose message is about folders
        raise
    except OSError as problem:
        folder = next(path for path in target.absolute().parents if path.exists())
        free = shutil.disk_usage(folder).free / 1e9
        raise SceneFileError(
            f"{printable(target)}: cannot be written ({reason(problem)}); its disk has {free:.2g} "
            f"GB of free space; {remedy}"
        ) from problem


def write_cog(
    path: Path,
    parts: Iterable[tuple[tuple[slice, slice], NDArray[np.uint16]]],
    grid: Grid,
    bands: Sequence[str],
    tags: Mapping[str, str],
) -> None:
    """Write an image part by part as a Cloud-Optimised GeoTIFF.

    Args:
        path: The file; an existing one is replaced. ``plain.tif`` lies beside it meanwhile.
        parts: Rows and columns, and their digital numbers, shape (bands, rows, columns).
        grid: Of the image.
        bands: Their names.
        tags: Of the file.

    Raises:
        OSError: It cannot be written.
    """
    plain = path.with_name("plain.tif")
    categories = bands[-1] == "provenance"
    try:
        with rasterio.open(
            plain, "w", driver="GTiff", height=grid.height, width=grid.width, count=len(bands),
            dtype="uint16", crs=grid.crs, transform=grid.transform, nodata=NODATA, tiled=True,
            blockxsize=_BLOCK, blockysize=_BLOCK, compress="DEFLATE", predictor=2, zlevel=1,
            bigtiff="IF_SAFER", photometric="MINISBLACK",
        ) as image:  # fmt: skip
            for window, numbers in parts:
                image.write(numbers, window=Window.from_slices(*window))
            image.descriptions = tuple(bands)
            image.colorinterp = [_COLOURS.get(name, ColorInterp.undefined) for name in bands]
            image.update_tags(**tags)
        path.unlink(missing_ok=True)
        rasterio.shutil.copy(
            plain, path, driver="COG", COMPRESS="DEFLATE", PREDICTOR="YES", BLOCKSIZE=_BLOCK,
            BIGTIFF="IF_SAFER", OVERVIEW_RESAMPLING="NEAREST" if categories else "AVERAGE",
        )  # fmt: skip
    except (RasterioError, CPLE_BaseError) as problem:
        raise OSError(reason(problem)) from None
    finally:
        plain.unlink(missing_ok=True)
