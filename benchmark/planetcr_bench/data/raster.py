"""Open GeoTIFFs, PNG and JPEG files safely, and read their headers.

GDAL only opens regular files on this machine, with the driver of their format. Its sidecar files
must be regular files too; a FIFO would block it for ever.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from planetcr_bench.data.encodings import KINDS
from planetcr_bench.data.pixel_checks import Tags
from planetcr_bench.data.projections import use_own_database
from planetcr_bench.errors import BenchError, DatasetError
from planetcr_bench.utils.files import atomic_path
from planetcr_bench.utils.folders import ending
from planetcr_bench.utils.untrusted import LARGEST_IMAGE, check_regular, npy_header, printable

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

use_own_database()

_STRICT: Final = {"GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO", "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES"}
"""Settings of GDAL for pictures: by default it takes zeros for what a PNG cut short lacks."""

LARGEST_BLOCK: Final = 2048
"""Largest side of a tile or strip of a TIFF; a file of a few bytes may declare gigabytes."""

_AFTER_NAME: Final = (".aux.xml", ".aux", ".msk", ".ovr", ".msk.ovr")
_FOR_EXTENSION: Final = (".aux.xml", ".aux", ".wld", ".tab", ".imd", ".rpb")
"""Suffixes of sidecar files of ``a.tif``, after its name or instead of its extension."""

_WORLD_FILES: Final = {
    "GTiff": (".tfw", ".tifw", ".tiffw"),
    "PNG": (".pgw", ".pngw"),
    "JPEG": (".jgw", ".jpgw", ".jpegw"),
}
"""GDAL's driver of a format to the suffixes of its sidecar files with a georeference."""

UNREADABLE: Final = (
    OSError, ValueError, EOFError, RasterioError, OverflowError, MemoryError,
)  # fmt: skip
"""Exceptions that GDAL and rasterio raise for broken files."""


@dataclass(frozen=True, slots=True)
class Header:
    """Header of a file, read before any pixel is decoded.

    Attributes:
        dtype: Name of the data type.
        shape: Of the pixels, (bands, H, W) in a GeoTIFF.
        block: Longest side of the tiles or strips of a TIFF.
        pages: Images in a TIFF, without masks and overviews.
    """

    dtype: str
    shape: tuple[int, ...]
    block: int = 0
    pages: int = 1


Accept = Callable[[Header], None]
"""Raises for a file that must not be decoded."""


@contextmanager
def open_image(
    path: Path, *, error: type[BenchError], driver: str = "GTiff"
) -> Iterator[DatasetReader]:
    """Open a GeoTIFF, PNG or JPEG file on this machine for reading.

    Args:
        path: The file, or a link to it.
        error: Class of the exception that is raised.
        driver: GDAL's for its format.

    Raises:
        BenchError: The file, or a sidecar file, is not a regular file; or it cannot
            be read, also within the ``with`` block.
    """
    absolute = openable(path, LARGEST_IMAGE, error=error, driver=driver)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            strict = nullcontext() if driver == "GTiff" else rasterio.Env(**_STRICT)
            with strict, rasterio.open(absolute, driver=driver) as source:  # without references
                yield source
    except UNREADABLE as problem:
        raise error(f"{printable(path)}: cannot be read ({reason(problem)})") from problem


def openable(path: Path, most: int, *, error: type[BenchError], driver: str = "GTiff") -> Path:
    """Check that GDAL may open a file and its sidecar files; returns its absolute path.

    Args:
        path: The file, or a link to it.
        most: Largest size in bytes.
        error: Class of the exception that is raised.
        driver: GDAL's for its format.

    Raises:
        BenchError: It, or a sidecar file, is not a regular file on this machine, or is larger.
    """
    check_regular(path, most, error=error)
    for sidecar in _sidecars(path, driver):
        check_regular(sidecar, most, error=error)
    absolute = path.absolute()  # a relative one may look like an address
    if absolute.parts[1:2] and absolute.parts[1].startswith("vsi"):
        raise error(
            f"{printable(path)}: expected a path outside GDAL's virtual file systems (/vsi…)"
        )
    return absolute


def _sidecars(path: Path, driver: str) -> list[Path]:
    names = [f"{path}{end}" for end in _AFTER_NAME]
    for_extension = (*_FOR_EXTENSION, *_WORLD_FILES[driver])
    names += [f"{path.parent / path.stem}{end}" for end in for_extension]
    spellings = [name for end in names for name in (end, _upper(end))]
    return [Path(name) for name in spellings if os.path.lexists(name)]


def _upper(path: str) -> str:
    stem, dot, end = path.rpartition(".")
    return f"{stem}{dot}{end.upper()}"


def reason(problem: BaseException) -> str:
    """Message of an error in one line."""
    cause = problem.__cause__ or problem
    if isinstance(cause, UnicodeEncodeError):
        return "GDAL cannot open names that are not valid UTF-8; rename the file or its folder"
    return printable((str(cause).splitlines() or [type(cause).__name__])[0])


def write_geotiff(
    path: Path, pixels: NDArray[Any], crs: str, grid: Affine | None, **options: object
) -> None:
    """Write a GeoTIFF atomically.

    Args:
        path: Ends in ``.tif``.
        pixels: Shape (B, H, W).
        crs: Coordinate reference system; empty where it is unknown.
        grid: Pixel to coordinates; None where it is unknown.
        options: Of GDAL's driver.

    Raises:
        OSError: It cannot be written.
    """
    bands, height, width = pixels.shape
    with atomic_path(path) as unfinished, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            unfinished,
            "w",
            driver="GTiff",
            dtype=pixels.dtype.name,
            count=bands,
            height=height,
            width=width,
            crs=crs or None,
            transform=grid,
            compress="deflate",
            **options,
        ) as target:
            target.write(pixels)


def read_header(path: Path, *, error: type[BenchError] = DatasetError) -> Header:
    """Read the header of a file of unknown bands; the alpha band of a PNG file is none of them.

    Raises:
        BenchError: It cannot be read.
    """
    driver = KINDS.get(ending(path), "GTiff")
    if driver == "npy":
        dtype, shape, _, _ = npy_header(path, error=error)
        return Header(dtype.name, shape)
    with open_image(path, error=error, driver=driver) as source:
        return header_of(source, None if driver == "PNG" else source.count)


def header_of(source: DatasetReader, bands: int | None) -> Header:
    """Read the header of an opened file.

    Args:
        source: The file.
        bands: How many are expected; see :func:`image_bands`.
    """
    return Header(
        source.dtypes[0],
        (len(image_bands(source, bands)), *source.shape),
        max(max(sides) for sides in source.block_shapes) if source.driver == "GTiff" else 0,
        max(len(source.subdatasets), 1),
    )


def image_bands(source: DatasetReader, bands: int | None) -> list[int]:
    """List the bands of an opened file, without an alpha band after the expected ones.

    Only an additional band counts as an alpha band: the colour interpretation of an expected band
    proves nothing. If any number is expected (None), the last of two or four can be one.
    """
    numbers: list[int] = list(source.indexes)
    additional = len(numbers) in (2, 4) if bands is None else len(numbers) == bands + 1
    if additional and source.colorinterp[-1] == ColorInterp.alpha:
        numbers.pop()
    return numbers


def tags_of(source: DatasetReader, path: Path, bands: int | None) -> Tags:
    """Read the tags of an opened file; masks and alpha bands are decoded.

    Args:
        source: The file.
        path: Its path.
        bands: How many are expected; see :func:`image_bands`.

    Raises:
        ValueError: Its external mask is not a GeoTIFF.
    """
    count = len(image_bands(source, bands))
    return Tags(
        tuple(source.nodatavals[:count]),
        tuple(source.scales[:count]),
        tuple(source.offsets[:count]),
        tuple(name or "" for name in source.descriptions[:count]),
        _hidden(source, path, count),
    )


def _hidden(source: DatasetReader, path: Path, count: int) -> NDArray[np.bool_] | None:
    """Mask of pixels that an alpha band, or an internal or external mask, hides."""
    if source.count > count:
        alpha = source.read(source.count)
        hidden: NDArray[np.bool_] = alpha != max(alpha.max(), 1)
        return hidden
    _expect_geotiff(path.with_name(f"{path.name}.msk"))
    no_mask = {MaskFlags.all_valid, MaskFlags.nodata, MaskFlags.alpha}
    masked = [
        band
        for band, flags in zip(source.indexes, source.mask_flag_enums, strict=True)
        if no_mask.isdisjoint(flags)
    ]
    return (source.read_masks(masked) == 0).any(0) if masked else None


def _expect_geotiff(mask: Path) -> None:
    """Refuse a mask of another format: GDAL would open any, and some refer to other files."""
    if mask.is_file():
        with mask.open("rb") as stream:
            start = stream.read(4)
        if start not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            raise ValueError(f"the mask beside it, {mask.name}, is not a GeoTIFF")


def header_fault(header: Header, accepted: tuple[tuple[int, ...], ...]) -> str:
    """Explain why a file with this header is refused, as the end of a message; empty if it is not.

    Args:
        header: Of the file.
        accepted: Shapes, the usual one first.
    """
    expected = f"expected shape {accepted[0]}"
    if len(accepted) > 1:
        expected += f", or {accepted[1]} for the centre crop"
    if header.pages > 1:
        bands = _counted(header.shape[0])
        remedy = f"write one image of {_counted(accepted[0][0])}"
        return f"{expected}, got {header.pages} pages of {bands}; {remedy}"
    if header.shape not in accepted:
        bands_last = (header.shape[-1:] + header.shape[:-1]) in accepted and len(header.shape) == 3
        return f"{expected}, got {header.shape}" + ("; put the bands first" if bands_last else "")
    most = max(LARGEST_BLOCK, *(max(shape[-2:]) for shape in accepted))
    if header.block > most:
        return f"expected tiles of at most {most} pixels a side, got {header.block}"
    return ""


def _counted(bands: int) -> str:
    words = ("no", "one", "two", "three", "four")
    return f"{words[bands] if bands < len(words) else bands} band{'s' * (bands != 1)}"
