"""Write patches in the layout of Planet-CR, an AOI at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import tomli_w
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from planetcr_bench.constants import PLANET_CR
from planetcr_bench.curation.frame import BLOCK_COARSE, BLOCK_PX, Frame
from planetcr_bench.curation.pair import Patch
from planetcr_bench.data.metadata import METADATA
from planetcr_bench.data.raster import reason
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.restoration.rasters import Grid, SceneFileError
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.untrusted import printable

_NODATA: Final = {"cloudy": 0, "clear": 0}

_ORIGIN: Final = ("citation", "doi", "licence", "homepage")
"""What is not taken over from Planet-CR: own patches are not its authors'."""


def write_patch(files: SceneFiles, patch: Patch, frame: Frame, top: int, left: int) -> None:
    """Write the files of a patch.

    Args:
        files: Their paths.
        patch: What to write.
        frame: Grids of the AOI.
        top: First optical row of the patch.
        left: First optical column.

    Raises:
        SceneFileError: A file cannot be written.
    """
    optical = frame.optical.transform @ Affine.translation(left, top)
    ratio = BLOCK_COARSE / BLOCK_PX
    coarse = frame.coarse.transform @ Affine.translation(round(left * ratio), round(top * ratio))
    for product, pixels in patch.arrays.items():
        path = files.path(product)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if product == "cloud_mask":
                np.save(path, pixels)
            else:
                corner = optical if product in _NODATA else coarse
                _save_tif(path, pixels, frame.optical, corner, nodata=_NODATA.get(product))
        except (RasterioError, OSError) as problem:
            raise SceneFileError(
                f"{printable(path)}: cannot be written ({reason(problem)}); the same command goes "
                "on from here once it can"
            ) from problem


def _save_tif(
    path: Path, numbers: NDArray[Any], grid: Grid, transform: Affine, *, nodata: float | None
) -> None:
    """Write a GeoTIFF like the official files: strips, bands interleaved, no compression."""
    with rasterio.open(
        path, "w", driver="GTiff", dtype=numbers.dtype, count=len(numbers), crs=grid.crs,
        height=numbers.shape[1], width=numbers.shape[2], transform=transform, nodata=nodata,
        interleave="pixel",
    ) as image:  # fmt: skip
        image.write(numbers)


def publish(staged: Path, out: Path) -> None:
    """Move the folders of a finished AOI to their places, the one that makes it known last.

    Raises:
        SceneFileError: One exists already.
    """
    folders = sorted(
        (path for path in staged.glob("*/*/*") if path.is_dir()),
        key=lambda path: "cloudfree" in path.name,
    )
    for folder in folders:
        target = out / folder.relative_to(staged)
        if target.exists():
            raise SceneFileError(
                f"{printable(target)}: exists already; choose another area with --aoi"
            )
    for folder in folders:
        target = out / folder.relative_to(staged)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
    shutil.rmtree(staged, ignore_errors=True)


def describe_folder(out: Path, lacking: Iterable[str], *, title: str, track: str) -> None:
    """Say in ``dataset.toml`` what the folder is: Planet-CR's layout, with what was given.

    Args:
        out: Folder of the dataset, made where it does not exist.
        lacking: Products that it is without.
        title: Of the dataset.
        track: Of its results.

    Raises:
        SceneFileError: It describes a dataset of other products.
    """
    path = out / METADATA
    content = {"like": PLANET_CR, "title": title, "track": track}
    content |= dict.fromkeys(_ORIGIN, "")
    text = tomli_w.dumps(content | dict.fromkeys(lacking, False))
    if path.exists():
        if path.read_text() != text:
            raise SceneFileError(
                f"{printable(path)}: describes a dataset of other products; give the same ones as "
                "before, or choose another --out"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(path, text.encode())
