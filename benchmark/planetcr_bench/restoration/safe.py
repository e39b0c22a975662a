"""Read Sentinel-2 products as ESA delivers them: folders ``….SAFE`` of one file per band."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import rasterio
from rasterio.errors import NotGeoreferencedWarning

from planetcr_bench.data.raster import UNREADABLE, reason
from planetcr_bench.restoration.rasters import (
    LARGEST,
    Grid,
    Raster,
    SceneFileError,
    on_grid,
    open_raster,
)
from planetcr_bench.restoration.xml_files import local_name, read_xml
from planetcr_bench.utils.untrusted import check_regular, printable

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_BANDS: Final = (
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12",
)  # fmt: skip
"""All bands in the order of ``band_id`` in the metadata, from 0; Level 2A has no B10."""

_FINEST: Final = "B02"
"""A band of 10 m, to whose grid the others are resampled."""

_DRIVER: Final = "JP2OpenJPEG"

_FILE: Final = re.compile(r"GRANULE/[^/]+/IMG_DATA/(?:R\d\dm/)?\w+_(B\d[\dA])(?:_(\d\d)m)?")
"""An image in the metadata: its band, and in Level 2A its pixel size."""


@dataclass(frozen=True, slots=True)
class _Metadata:
    """What ``MTD_MSIL1C.xml`` or ``MTD_MSIL2A.xml`` says.

    Attributes:
        level: Such as ``Level-2A``.
        start: Date and time, in ISO 8601.
        files: Band to its file of the smallest pixels.
        offsets: Band to what is added to its digital numbers; −1000 since baseline 04.00.
        quantification: Digital number of reflectance 1.
    """

    level: str
    start: str
    files: dict[str, Path]
    offsets: dict[str, float]
    quantification: float


def is_safe(path: Path) -> bool:
    """Whether a path is the folder of a Sentinel-2 product."""
    return path.is_dir() and any(path.glob("MTD_MSIL*.xml"))


def files_of(path: Path) -> list[Path]:
    """Files that the pixels of an image depend on: itself, or those of a product."""
    return sorted([*path.glob("MTD_*.xml"), *path.rglob("*.jp2")]) if path.is_dir() else [path]


@contextmanager
def open_optical(path: Path, *, like: Grid | None = None) -> Iterator[Raster]:
    """Open a GeoTIFF, or a Sentinel-2 product as one image of all its bands.

    Bands of 20 and 60 m are resampled to 10 m by nearest neighbour, as those of SEN12MS-CR's cloudy
    images are.

    Args:
        path: The file or folder.
        like: Grid to resample it to, bilinearly; by default its own.

    Yields:
        The image.

    Raises:
        SceneFileError: It cannot be opened, or does not overlap the grid.
    """
    if not path.is_dir():
        with open_raster(path, like=like, by="bilinear") as raster:
            yield raster
        return
    if not is_safe(path):
        raise SceneFileError(
            f"{printable(path)}: expected a GeoTIFF, or the .SAFE folder of a Sentinel-2 product "
            "with its MTD_MSIL1C.xml or MTD_MSIL2A.xml, got another folder; give the images in it, "
            "such as FOLDER/*_SR*.tif"
        )
    described = _virtual_image(_read_metadata(path))
    with _opened(described, path) as source, on_grid(path, source, like, "bilinear") as raster:
        yield raster


def _read_metadata(folder: Path) -> _Metadata:
    path = min(folder.glob("MTD_MSIL*.xml"))
    shown = printable(path)
    root = read_xml(path, "the metadata of a Sentinel-2 product")
    texts: dict[str, str] = {}
    numbers: dict[str, str] = {}
    images: list[tuple[str, str, str]] = []
    granules: set[str] = set()
    for element in root.iter():
        name, text = local_name(element), (element.text or "").strip()
        if name in ("IMAGE_FILE", "IMAGE_FILE_2A"):
            if match := _FILE.fullmatch(text):
                images.append((match[1], match[2] or "", text))
                granules.add(text.split("/")[1])
        elif name in ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET"):
            numbers[element.get("band_id", "")] = text
        else:
            texts[name.removeprefix("L2A_").removeprefix("BOA_")] = text
    files = {band: folder / f"{file}.jp2" for band, _, file in sorted(images, reverse=True)}
    if len(granules) > 1:
        raise SceneFileError(
            f"{shown}: expected a product of one tile, as since 2016, got {len(granules)} tiles"
        )
    if not {"B02", "B03", "B04", "B08"} <= set(files):
        raise SceneFileError(
            f"{shown}: expected the files of bands B02, B03, B04 and B08 among its IMAGE_FILE "
            f"entries, got {', '.join(sorted(files)) or 'none'}"
        )
    try:
        offsets = {band: float(numbers.get(str(at), 0)) for at, band in enumerate(_BANDS)}
        quantification = float(texts["QUANTIFICATION_VALUE"])
    except (KeyError, ValueError) as problem:
        raise SceneFileError(
            f"{shown}: expected a QUANTIFICATION_VALUE, and offsets of bands, as numbers"
        ) from problem
    if quantification <= 0:
        raise SceneFileError(f"{shown}: expected a QUANTIFICATION_VALUE above 0")
    return _Metadata(
        level=texts.get("PROCESSING_LEVEL", ""), start=texts.get("PRODUCT_START_TIME", ""),
        files={band: files[band] for band in _BANDS if band in files}, offsets=offsets,
        quantification=quantification,
    )  # fmt: skip


def _virtual_image(metadata: _Metadata) -> str:
    """GDAL's description of an image (VRT) in which all bands have pixels of 10 m."""
    grids: dict[str, Grid] = {}
    for band, path in metadata.files.items():
        check_regular(path, LARGEST, error=SceneFileError)
        with _opened(path.absolute(), path, driver=_DRIVER) as source:
            if source.crs is None or source.count != 1 or source.dtypes[0] != "uint16":
                raise SceneFileError(
                    f"{printable(path)}: expected one band of 16-bit integers with a coordinate "
                    f"system, got {source.count} of {source.dtypes[0]}"
                )
            grids[band] = Grid(source.crs, source.transform, source.height, source.width)
    grid = grids[_FINEST]
    root = ET.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    ET.SubElement(root, "SRS").text = grid.crs.to_wkt()
    ET.SubElement(root, "GeoTransform").text = ", ".join(map(repr, grid.transform.to_gdal()))
    tags = ET.SubElement(root, "Metadata")
    started = re.match(r"(\d{4})-(\d\d)-(\d\d)T(\d\d:\d\d:\d\d)", metadata.start)
    named = {"PROCESSING_LEVEL": metadata.level}
    if started:
        named["TIFFTAG_DATETIME"] = "{}:{}:{} {}".format(*started.groups())
    for key, value in named.items():
        ET.SubElement(tags, "MDI", key=key).text = value
    for number, (band, path) in enumerate(metadata.files.items(), 1):
        own = grids[band]
        if not own.resampled(grid.height, grid.width).same_as(grid):
            raise SceneFileError(
                f"{printable(path)}: expected the extent of band {_FINEST}, {grid}, got {own}"
            )
        element = ET.SubElement(root, "VRTRasterBand", dataType="UInt16", band=str(number))
        ET.SubElement(element, "Description").text = band
        ET.SubElement(element, "NoDataValue").text = "0"
        offset = metadata.offsets[band] / metadata.quantification
        ET.SubElement(element, "Offset").text = repr(offset)
        ET.SubElement(element, "Scale").text = repr(1 / metadata.quantification)
        part = ET.SubElement(element, "SimpleSource")
        ET.SubElement(part, "SourceFilename").text = str(path.absolute())
        ET.SubElement(part, "SourceBand").text = "1"
        for name, size in (("SrcRect", own), ("DstRect", grid)):
            ET.SubElement(
                part, name, xOff="0", yOff="0", xSize=str(size.width), ySize=str(size.height)
            )
    return ET.tostring(root, encoding="unicode")


@contextmanager
def _opened(what: str | Path, path: Path, **options: str) -> Iterator[DatasetReader]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            source = rasterio.open(what, **options)
    except UNREADABLE as problem:
        raise SceneFileError(f"{printable(path)}: cannot be read ({reason(problem)})") from problem
    with source:
        yield source
