"""Recognise what a satellite image is: its bands, and how its numbers become reflectance."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import truediv
from pathlib import Path
from typing import Final, Literal

import numpy as np

from planetcr_bench.restoration.rasters import Raster, SceneFileError
from planetcr_bench.restoration.xml_files import local_name, read_xml
from planetcr_bench.utils.untrusted import printable

ProductName = Literal["planet-sr", "planet-radiance", "planet-toa", "sentinel-2"]
"""``planet-sr``: surface reflectance × 10,000. ``planet-radiance``: top-of-atmosphere radiance,
which needs its metadata. ``planet-toa``: top-of-atmosphere reflectance × 10,000. ``sentinel-2``:
reflectance × 10,000, of Level 1C or 2A."""

TITLES: Final[dict[ProductName, str]] = {
    "planet-sr": "PlanetScope surface reflectance",
    "planet-radiance": "PlanetScope radiance at the top of the atmosphere",
    "planet-toa": "PlanetScope reflectance at the top of the atmosphere",
    "sentinel-2": "Sentinel-2 reflectance",
}

PLANET_BANDS: Final = {
    4: ("blue", "green", "red", "nir"),
    5: ("blue", "green", "red", "rededge", "nir"),  # RapidEye
    8: ("coastal", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"),  # SuperDove
}
"""Number of bands of Planet's analytic images to their names, in file order."""

SENTINEL_BANDS: Final = {
    4: ("blue", "green", "red", "nir"),
    10: ("blue", "green", "red", "edge1", "edge2", "edge3", "nir", "nir_narrow", "swir1", "swir2"),
    12: ("coastal", "blue", "green", "red", "edge1", "edge2", "edge3", "nir", "nir_narrow",
         "vapour", "swir1", "swir2"),
    13: ("coastal", "blue", "green", "red", "edge1", "edge2", "edge3", "nir", "nir_narrow",
         "vapour", "cirrus", "swir1", "swir2"),
}  # fmt: skip
"""Number of bands of a Sentinel-2 image to their names, in the order of their numbers."""

_WORDS: Final = {
    "coastal blue": "coastal", "coastal aerosol": "coastal", "green i": "green_i",
    "green 1": "green_i", "green ii": "green", "green 2": "green", "red edge": "rededge",
    "near infrared": "nir", "near-infrared": "nir",
    "b1": "coastal", "b2": "blue", "b3": "green", "b4": "red", "b5": "edge1", "b6": "edge2",
    "b7": "edge3", "b8": "nir", "b8a": "nir_narrow", "b9": "vapour", "b10": "cirrus",
    "b11": "swir1", "b12": "swir2",
}  # fmt: skip
"""What bands are called in files, in lower case with blanks, to our names."""


@dataclass(frozen=True, slots=True)
class Product:
    """What an image is.

    Attributes:
        name: See :data:`ProductName`.
        bands: Names of all bands, in file order.
        scale: Reflectance per digital number, of each band.
        offset: Added to the digital numbers of each band first.
        nodata: Digital number that all bands of a pixel without data have.
    """

    name: ProductName
    bands: tuple[str, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    nodata: float

    def positions(self, bands: Sequence[str], path: Path) -> list[int]:
        """Numbers of bands in the file, from 1.

        Args:
            bands: Names of what a network takes.
            path: Of the image, for the message.

        Raises:
            SceneFileError: The image lacks one.
        """
        missing = [band for band in bands if band not in self.bands]
        if missing:
            raise SceneFileError(
                f"{printable(path)}: expected the bands {', '.join(bands)}, which the network "
                f"takes; the image has {', '.join(self.bands)}"
            )
        return [self.bands.index(band) + 1 for band in bands]

    def __str__(self) -> str:
        offsets = sorted({f"{offset:g}" for offset in self.offset if offset})
        shifted = f", offset {' or '.join(offsets)}" if offsets else ""
        return f"{TITLES[self.name]}, {len(self.bands)} bands{shifted}"


def recognise(
    raster: Raster, *, product: ProductName | None = None, metadata: Path | None = None
) -> Product:
    """Recognise an image by the names of its file and its bands, and by its tags.

    Args:
        raster: The image.
        product: What it is, where its name does not say so.
        metadata: Planet's ``…_metadata.xml``; by default the one beside the image.

    Raises:
        SceneFileError: It cannot be recognised; it has fewer than four bands, or another number
            than such images have; or the metadata of radiance are missing or unreadable.
    """
    path = raster.path
    if re.search(r"_udm2?(_|\.|$)", path.name.lower()):
        raise SceneFileError(
            f"{printable(path)}: expected an analytic image, got a usable data mask; give it as "
            "--udm, and the image that it belongs to as the scene"
        )
    if raster.bands < 4:
        raise SceneFileError(
            f"{printable(path)}: expected an image of four bands or more, with near-infrared, got "
            f"{raster.bands}; visual images cannot be restored, order the analytic product"
        )
    if np.dtype(raster.dtype).kind not in "uif":
        raise SceneFileError(f"{printable(path)}: expected real numbers, got {raster.dtype}")
    name = product or _name_of(raster)
    bands = _bands_of(raster, name)
    count = len(bands)
    declared = raster.declared_nodata
    nodata = 0.0 if declared is None else float(declared)
    none = (0.0,) * count
    if name == "planet-radiance":
        return Product(name, bands, _coefficients(path, metadata, count), none, nodata)
    if raster.dtype in ("uint8", "int8") and all(scale == 1 for scale in raster.scales):
        raise SceneFileError(
            f"{printable(path)}: expected reflectance × 10,000 of 16 bits, got numbers of 8 bits, "
            "as visual images and masks have; order the analytic product"
        )
    if any(scale != 1 for scale in raster.scales[:count]):  # the file says how it is scaled
        scale = tuple(raster.scales[:count])
        offset = tuple(map(truediv, raster.offsets[:count], scale))
        return Product(name, bands, scale, offset, nodata)
    if np.dtype(raster.dtype).kind == "f":
        return Product(name, bands, (1.0,) * count, none, nodata)
    return Product(name, bands, (1e-4,) * count, (_offset_of(raster, name),) * count, nodata)


def _name_of(raster: Raster) -> ProductName:
    name = raster.path.name.lower()
    tags = " ".join(raster.tags.values()).lower()
    if re.search(r"_visual|ortho_visual", name):
        raise SceneFileError(
            f"{printable(raster.path)}: expected an analytic image, got a visual one, whose "
            "numbers are stretched for display; order the analytic product"
        )
    sentinel = r"msil[12][ac]|(^|_)t\d\d[a-z]{3}_\d{8}t\d{6}|sentinel-?2|(^|_)s2([ab_]|$)"
    if "PROCESSING_LEVEL" in raster.tags or re.search(sentinel, name):
        return "sentinel-2"
    if re.search(r"analytic\w*_sr|_sr(_|\.|$)|surface_reflectance", name):
        return "planet-sr"
    if "atmospheric_correction" in tags:  # in the image description of Planet's SR images
        return "planet-sr"
    if re.search(r"toar", name):
        return "planet-toa"
    if re.search(r"analytic", name):
        return "planet-radiance"
    numbered = re.fullmatch(r"b0?\d{1,2}a?", raster.names[0].strip().lower())
    if raster.bands in (10, 12, 13) or numbered:
        return "sentinel-2"
    known = ", ".join(TITLES)
    raise SceneFileError(
        f"{printable(raster.path)}: neither the name of the file nor its tags say whether its "
        f"numbers are radiance or reflectance; give --product, one of {known}"
    )


def _bands_of(raster: Raster, name: ProductName) -> tuple[str, ...]:
    """Names of the bands: those that the file gives, or the order that such images have."""
    known = SENTINEL_BANDS if name == "sentinel-2" else PLANET_BANDS
    given = [_plain(text) for text in raster.names[: raster.bands]]
    every = {band for bands in known.values() for band in bands}
    if len(set(given)) == len(given) and {"blue", "green", "red", "nir"} <= set(given) <= every:
        return tuple(given)
    count = raster.bands
    if raster.has_alpha and count - 1 in known:  # first: five bands may be four and alpha
        count -= 1
    if count not in known:
        numbers = ", ".join(map(str, known))
        raise SceneFileError(
            f"{printable(raster.path)}: expected {numbers} bands, as {TITLES[name]} has, or the "
            f"names blue, green, red and nir among its band descriptions, got {raster.bands} bands"
        )
    return known[count]


def _plain(text: str) -> str:
    words = re.sub(r"[_\s]+", " ", text.strip().lower())
    words = re.sub(r"^b0(\d)", r"b\1", words)
    return _WORDS.get(words, words.replace(" ", "_"))


def _offset_of(raster: Raster, name: ProductName) -> float:
    """−1000 of Sentinel-2 images since baseline 04.00 (January 2022), where tags state it."""
    if name == "sentinel-2":
        for key, value in raster.tags.items():
            if re.fullmatch(r"(BOA|RADIO)_ADD_OFFSET\w*", key) and value.lstrip("-").isdigit():
                return float(value)
    return 0.0


# --- Metadata of Planet ---------------------------------------------------------------------------


def find_metadata(path: Path) -> Path | None:
    """Find Planet's metadata of an image: the one ``…metadata….xml`` of its scene beside it."""
    stem = re.sub(r"_clip$", "", path.stem)
    for name in (f"{stem}_metadata", f"{path.stem}_metadata", f"{stem}_metadata_clip"):
        if (file := path.with_name(f"{name}.xml")).is_file():
            return file
    scene = re.split(r"_3b_", path.stem, flags=re.IGNORECASE)[0]
    others = [
        file
        for file in path.parent.glob("*metadata*.xml")
        if file.name.startswith(scene) and scene != path.stem
    ]
    return others[0] if len(others) == 1 else None


def _coefficients(path: Path, metadata: Path | None, bands: int) -> tuple[float, ...]:
    """Reflectance at the top of the atmosphere per digital number, of each band."""
    file = metadata or find_metadata(path)
    if file is None:
        raise SceneFileError(
            f"{printable(path)}: radiance needs the reflectance coefficients of its metadata, and "
            f"there is no {path.stem}_metadata.xml beside it; give --metadata, or order surface "
            "reflectance"
        )
    root = read_xml(file, "Planet's metadata")
    found: dict[int, float] = {}
    for entry in root.iter():
        if local_name(entry) == "bandSpecificMetadata":
            values = {local_name(child): (child.text or "").strip() for child in entry}
            try:
                number = int(values["bandNumber"])
                found[number] = float(values["reflectanceCoefficient"])
            except (KeyError, ValueError) as problem:
                raise SceneFileError(
                    f"{printable(file)}: expected bandNumber and reflectanceCoefficient as numbers "
                    "in each bandSpecificMetadata"
                ) from problem
    if sorted(found) != list(range(1, bands + 1)) or not all(
        0 < value < 1 for value in found.values()
    ):
        raise SceneFileError(
            f"{printable(file)}: expected reflectance coefficients between 0 and 1 of bands 1 to "
            f"{bands}, got those of {', '.join(map(str, sorted(found))) or 'none'}; is it the "
            "metadata of this image?"
        )
    return tuple(found[number] for number in sorted(found))
