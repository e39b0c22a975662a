"""Make orders as Planet and ESA deliver them, masks, and Sentinel-1 images beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

NAME = "20220614_101530_11_2415_3B_AnalyticMS_SR_harmonized_clip"
CORNER = Affine(3, 0, 500_001, 0, -3, 5_400_000)
UTM = CRS.from_epsg(32632)
COEFFICIENTS = (2.0e-5, 2.1e-5, 2.3e-5, 3.5e-5)


def ground(height: int, width: int, *, bands: int = 4, seed: int = 0) -> np.ndarray:
    """Reflectance of some land, shape (bands, height, width), in [0.02, 0.4]."""
    rows, columns = np.mgrid[:height, :width]
    waves = [
        np.sin(rows / (17 + 3 * band)) * np.cos(columns / (23 - band)) for band in range(bands)
    ]
    grain = np.random.default_rng(seed).normal(0, 0.01, (bands, height, width))
    return np.clip(0.15 + 0.08 * np.stack(waves) + grain, 0.02, 0.4).astype(np.float32)


def swath(height: int, width: int) -> np.ndarray:
    """Pixels inside a slanted swath: about two thirds."""
    rows, columns = np.mgrid[:height, :width]
    return columns > width * (0.15 + 0.35 * rows / height)


def write_image(
    path: Path,
    numbers: np.ndarray,
    *,
    transform: Affine = CORNER,
    crs: CRS | None = UTM,
    nodata: float | None = 0,
    names: tuple[str, ...] = (),
    **tags: str,
) -> Path:
    """Write a GeoTIFF of any bands and type."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=len(numbers), height=numbers.shape[1],
        width=numbers.shape[2], dtype=numbers.dtype, crs=crs, transform=transform, nodata=nodata,
        photometric="MINISBLACK",
    ) as image:  # fmt: skip
        image.write(numbers)
        if names:
            image.descriptions = names
        image.update_tags(**tags)
    return path


def write_order(
    folder: Path,
    reflectance: np.ndarray,
    inside: np.ndarray | None = None,
    *,
    name: str = NAME,
    **changes: object,
) -> Path:
    """Write surface reflectance × 10,000, nodata outside the swath."""
    numbers = np.rint(reflectance * 10_000).astype(np.uint16)
    if inside is not None:
        numbers[:, ~inside] = 0
    tags = {"TIFFTAG_DATETIME": "2022:06:14 10:15:30"}
    return write_image(folder / f"{name}.tif", numbers, **tags, **changes)


def write_udm2(
    folder: Path, cloud: np.ndarray, inside: np.ndarray | None = None, **changes: object
) -> Path:
    """Write a UDM2 file: clear or cloud inside the swath."""
    inside = np.ones_like(cloud) if inside is None else inside
    bands = np.zeros((8, *cloud.shape), np.uint8)
    bands[0] = inside & ~cloud
    bands[5] = inside & cloud
    bands[6] = 90 * inside
    bands[7] = ~inside
    path = folder / "20220614_101530_11_2415_3B_udm2_clip.tif"
    return write_image(path, bands, nodata=None, **changes)


def write_metadata(path: Path, coefficients: tuple[float, ...] = COEFFICIENTS) -> Path:
    """Write the part of Planet's metadata that gives reflectance at the top of the atmosphere."""
    entries = "".join(
        f"<ps:bandSpecificMetadata><ps:bandNumber>{number}</ps:bandNumber>"
        "<ps:radiometricScaleFactor>0.01</ps:radiometricScaleFactor>"
        f"<ps:reflectanceCoefficient>{value}</ps:reflectanceCoefficient>"
        "</ps:bandSpecificMetadata>"
        for number, value in enumerate(coefficients, 1)
    )
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><ps:EarthObservation '
        'xmlns:ps="http://schemas.planet.com/ps/v1/planet_product_metadata_geocorrected_level">'
        f"{entries}</ps:EarthObservation>"
    )
    return path


def write_sar(
    path: Path, height: int, width: int, *, linear: bool = False, **changes: object
) -> Path:
    """Write VV and VH over a scene of this size from its corner, on a grid of 10 m."""
    high, wide = -(-height * 3 // 10), -(-width * 3 // 10)
    rows, columns = np.mgrid[:high, :wide]
    decibels = np.stack([-11 + 3 * np.sin(rows / 9), -18 + 3 * np.cos(columns / 7)])
    values = 10 ** (decibels / 10) if linear else decibels
    transform = Affine(10, 0, CORNER.c, 0, -10, CORNER.f)
    facts = {"transform": transform, "nodata": None, **changes}
    return write_image(path, values.astype(np.float32), **facts)


SAFE_BANDS = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B05", "B06", "B07", "B8A", "B11", "B12"),
    60: ("B01", "B09", "B10"),
}
"""Pixel size in metres to the bands of Sentinel-2 that have it."""

SAFE_ORDER = (
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12",
)  # fmt: skip


def write_safe(
    folder: Path, numbers: np.ndarray, *, level: str = "2A", offset: int | None = -1000
) -> Path:
    """Write the folder of a Sentinel-2 product in its true layout, JPEG 2000 without loss.

    Args:
        folder: Which it is put into.
        numbers: Digital numbers of all bands of ``SAFE_ORDER`` at 10 m, shape (13, H, W), sides
            multiples of 6; coarser bands have the upper left one of their pixels.
        level: ``1C`` or ``2A``, which has no B10.
        offset: As since baseline 04.00; None for an older product, without offsets.
    """
    baseline = "N0400" if offset else "N0214"
    name = f"S2A_MSIL{level}_20220614T101601_{baseline}_R065_T32UQD_20220614T162003"
    granule = f"GRANULE/L{level}_T32UQD_A036444_20220614T101600/IMG_DATA"
    product = folder / f"{name}.SAFE"
    files = []
    for pixel_m, bands in SAFE_BANDS.items():
        step = pixel_m // 10
        for band in bands + (("B02",) if level == "2A" and step > 1 else ()):  # also coarser
            if level == "2A" and band == "B10":
                continue
            where = f"{granule}/R{pixel_m}m" if level == "2A" else granule
            end = f"_{pixel_m}m" if level == "2A" else ""
            file = f"{where}/T32UQD_20220614T101601_{band}{end}"
            path = product / f"{file}.jp2"
            path.parent.mkdir(parents=True, exist_ok=True)
            part = numbers[SAFE_ORDER.index(band), ::step, ::step]
            with rasterio.open(
                path, "w", driver="JP2OpenJPEG", count=1, height=part.shape[0],
                width=part.shape[1], dtype="uint16", crs=UTM,
                transform=Affine(pixel_m, 0, 600_000, 0, -pixel_m, 5_400_000),
                QUALITY="100", REVERSIBLE="YES",
            ) as image:  # fmt: skip
                image.write(part, 1)
            files.append(f"<IMAGE_FILE>{file}</IMAGE_FILE>")
    kind, value = ("BOA", "BOA_QUANTIFICATION_VALUE")
    if level == "1C":
        kind, value = ("RADIO", "QUANTIFICATION_VALUE")
    offsets = (
        ""
        if offset is None
        else "".join(
            f'<{kind}_ADD_OFFSET band_id="{at}">{offset}</{kind}_ADD_OFFSET>' for at in range(13)
        )
    )
    (product / f"MTD_MSIL{level}.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
        f'<n1:Level-{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/">'
        "<n1:General_Info><Product_Info>"
        "<PRODUCT_START_TIME>2022-06-14T10:16:01.024Z</PRODUCT_START_TIME>"
        f"<PROCESSING_LEVEL>Level-{level}</PROCESSING_LEVEL><Product_Organisation><Granule_List>"
        f"<Granule>{''.join(files)}</Granule></Granule_List></Product_Organisation></Product_Info>"
        f'<Product_Image_Characteristics><{value} unit="none">10000</{value}>{offsets}'
        "</Product_Image_Characteristics></n1:General_Info>"
        f"</n1:Level-{level}_User_Product>"
    )
    return product
