"""Describe a restored scene by a STAC item."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import rasterio
from rasterio.warp import transform_geom

from planetcr_bench import __version__
from planetcr_bench.utils.files import atomic_write

if TYPE_CHECKING:
    import pystac


def write_item(restored: Path, quicklook: Path, scene: Path) -> Path:
    """Write ``<scene>_restored.json`` beside a restored scene.

    Args:
        restored: The restored image.
        quicklook: Its picture, in the same folder.
        scene: The image that it was made from.

    Returns:
        The file.

    Raises:
        MissingExtraError: pystac is not installed.
        OSError: It cannot be written.
    """
    import json

    item = make_item(restored, quicklook, scene)
    path = restored.with_suffix(".json")
    atomic_write(path, json.dumps(item.to_dict(), indent=2, ensure_ascii=False).encode())
    return path


def make_item(restored: Path, quicklook: Path, scene: Path) -> pystac.Item:
    """The item: where and when the scene is, with both files as assets by relative paths."""
    from planetcr_bench.utils.extras import need_stac

    need_stac()
    import pystac

    with rasterio.open(restored) as image:
        left, bottom, right, top = image.bounds
        ring = [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]
        outline = {"type": "Polygon", "coordinates": [ring]}
        geometry = transform_geom(image.crs, "EPSG:4326", outline, precision=7)
        tags, bands, crs = image.tags(), image.descriptions, image.crs.to_epsg()
        shape, transform = list(image.shape), list(image.transform)[:6]
    longitudes, latitudes = zip(*geometry["coordinates"][0], strict=True)
    item = pystac.Item(
        id=restored.stem,
        geometry=geometry,
        bbox=[min(longitudes), min(latitudes), max(longitudes), max(latitudes)],
        datetime=taken(tags.get("TIFFTAG_DATETIME", ""), scene.name),
        properties={
            "proj:code": f"EPSG:{crs}" if crs else None,
            "proj:shape": shape,
            "proj:transform": transform,
            "processing:software": {"planetcr-bench": __version__},
            "planetcr:network": tags.get("NETWORK"),
            "planetcr:weights_sha256": tags.get("WEIGHTS_SHA256"),
            "planetcr:source": tags.get("SOURCE"),
        },
    )
    item.add_asset("restored", pystac.Asset(
        restored.name, title="Scene without clouds, as a network restored it",
        media_type=pystac.MediaType.COG, roles=["data"],
        extra_fields={"bands": [{"name": name} for name in bands]},
    ))  # fmt: skip
    item.add_asset("quicklook", pystac.Asset(
        quicklook.name, title="Before and after", media_type=pystac.MediaType.PNG,
        roles=["overview"],
    ))  # fmt: skip
    return item


def taken(tag: str, name: str) -> datetime:
    """When a scene was taken: by its TIFF tag, else its name, else the start of 1970.

    Example:
        >>> taken("", "20220101_093015_11_2415_3B_AnalyticMS_SR.tif").isoformat()
        '2022-01-01T09:30:15+00:00'
    """
    numbers = re.findall(r"\d+", tag)
    if len(numbers) < 6:
        match = re.search(r"(\d{4})(\d\d)(\d\d)[T_](\d\d)(\d\d)(\d\d)", name)
        numbers = list(match.groups()) if match else ["1970", "1", "1", "0", "0", "0"]
    return datetime(*map(int, numbers[:6]), tzinfo=UTC)  # type: ignore[misc, arg-type]
