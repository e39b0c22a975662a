"""Describe folders of pairs, ``cloudy/`` and ``clear/`` with equal names, which need no TOML."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from planetcr_bench.constants import SPLITS
from planetcr_bench.data.description import Description
from planetcr_bench.data.encodings import KINDS, SPLIT
from planetcr_bench.data.raster import Header, read_header
from planetcr_bench.data.templates import entries
from planetcr_bench.errors import DatasetError
from planetcr_bench.utils.folders import ending, is_litter
from planetcr_bench.utils.untrusted import printable
from planetcr_bench.utils.validation import validate

BANDS: Final = {
    1: ("grey",),
    3: ("red", "green", "blue"),
    4: ("blue", "green", "red", "nir"),
    13: (
        "coastal", "blue", "green", "red", "edge1", "edge2", "edge3", "nir", "nir_narrow",
        "vapour", "cirrus", "swir1", "swir2",
    ),
}  # fmt: skip
"""Number of bands to their names: four as PlanetScope has them, 13 as Sentinel-2."""

SCALES: Final = {"uint8": 255.0, "uint16": 10_000.0, "int16": 10_000.0}
"""Data type to the value that stands for reflectance 1; for any other it is 1."""


def describe_pairs(data: Path, like: Description) -> Description | None:
    """Describe a folder of pairs; None for any other.

    The folder holds ``cloudy/`` and ``clear/``, and may hold ``sar/``, ``mask/`` and ``landcover/``
    with the same names; or it holds ``train/``, ``val/`` or ``test/``, and each of them holds
    these. Pairs without such folders are the split ``test``.

    Args:
        data: The folder.
        like: Has the SAR bands and land-cover codes that are expected.

    Raises:
        DatasetError: A file cannot be read; the images have an unusual number of bands; or no
            cloudy image is named like a clear one.
    """
    splits = [split for split in SPLITS if _has_pairs(data / split)]
    if not splits and not _has_pairs(data):
        return None
    folder, prefix = (data / splits[-1], f"{{{SPLIT}}}/") if splits else (data, "")
    clear = _first(folder / "clear")
    if clear is None:
        return None
    _expect_equal_names(folder)
    header = read_header(clear)
    optical: dict[str, Any] = {
        product: f"{prefix}{product}/{{name}}{_end(folder / product, clear)}"
        for product in ("clear", "cloudy")
    }
    optical |= {"dtype": header.dtype, "scale": SCALES.get(header.dtype, 1.0)}
    content: dict[str, Any] = {
        "title": "pairs of images",
        "bands": _band_names(clear, header),
        "scene": "{name}",
        "splits": splits or {"test": {}},
        "optical": optical,
        **_others(folder, prefix, like),
    }
    return validate(Description, content, str(data), error=DatasetError)


def _has_pairs(folder: Path) -> bool:
    return all((folder / product).is_dir() for product in ("clear", "cloudy"))


def _images(folder: Path) -> list[Path]:
    """Images of a folder, by name; none if there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(
        folder / entry.name
        for entry in entries(str(folder))
        if ending(entry.name) in KINDS and not entry.name.startswith(".")
        and not is_litter(entry.name)
    )  # fmt: skip


def _first(folder: Path) -> Path | None:
    return next(iter(_images(folder)), None)


def _expect_equal_names(folder: Path) -> None:
    cloudy, clear = (_images(folder / product) for product in ("cloudy", "clear"))
    if cloudy and clear and not {path.stem for path in cloudy} & {path.stem for path in clear}:
        raise DatasetError(
            f"{folder}: expected images of equal names in cloudy/ and clear/, found such as "
            f"cloudy/{printable(cloudy[0].name)} and clear/{printable(clear[0].name)}; rename "
            "them, or let `planetcr-bench describe` draft a description"
        )


def _end(folder: Path, otherwise: Path) -> str:
    return ending(_first(folder) or otherwise)


def _band_names(path: Path, header: Header) -> list[str]:
    count = header.shape[0] if len(header.shape) == 3 else 1
    if count > 100:
        raise DatasetError(
            f"{path}: expected an image with its bands first, got shape {header.shape}"
        )
    return list(BANDS.get(count, [f"b{number}" for number in range(1, count + 1)]))


def _others(folder: Path, prefix: str, like: Description) -> dict[str, Any]:
    """Tables of the products that the folder has beside the pairs."""
    tables: dict[str, Any] = {}
    sar, mask, cover = (_first(folder / name) for name in ("sar", "mask", "landcover"))
    if sar is not None and like.sar is not None:
        shape = read_header(sar).shape
        count = shape[0] if len(shape) == 3 else 1
        tables["sar"] = {
            "path": f"{prefix}sar/{{name}}{ending(sar)}",
            "bands": like.sar.bands[:count],
            "range": like.sar.range[:count],
        }
    if mask is not None:
        tables["cloud_mask"] = {"path": f"{prefix}mask/{{name}}{ending(mask)}"}
    if cover is not None and like.land_cover is not None:
        tables["land_cover"] = {
            "path": f"{prefix}landcover/{{name}}{ending(cover)}",
            "legend": like.land_cover.legend,
            "codes": like.land_cover.codes,
        }
    return tables
