"""Describe a restored scene by a STAC item."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import rasterio
from rasterio.warp import transform_geom

from planetcr_bench import __version__
from planetcr_bench.utils.files import atomic_write

if TYPE_CHECKING:
    import pystac

UNKNOWN: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for a date that is not known."""

_PROJECTION: Final = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
_PROCESSING: Final = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
"""Extensions of STAC whose fields an item has."""


def write_item(image: Path, restored: Path, quicklook: Path, scene: Path) -> Path:
    """Write ``<scene>_restored.json`` beside a restored scene.

    Args:
        image: The restored image, where it is now.
        restored: Where it will be.
        quicklook: Its picture, in the same folder.
        scene: The image that it was made from.

    Returns:
        The file.

    Raises:
        MissingExtraError: pystac is not installed.
        OSError: It cannot be written.
    """
    import json

    item = make_item(image, restored, quicklook, scene)
    path = restored.with_suffix(".json")
    atomic_write(path, json.dumps(item.to_dict(), indent=2, ensure_ascii=False).encode())
    return path


def make_item(image: Path, restored: Path, quicklook: Path, scene: Path) -> pystac.Item:
    """The item: where and when the scene is, with both files as assets by relative paths.

    A scene whose time is not known lies between the start of 1970 and now.
    """
    from planetcr_bench.utils.extras import need_stac

    need_stac()
    import pystac

    with rasterio.open(image) as source:
        height, width = source.shape
        corners = ((0, height), (width, height), (width, 0), (0, 0), (0, height))
        ring = [source.transform @ corner for corner in corners]
        outline = {"type": "Polygon", "coordinates": [ring]}
        geometry = transform_geom(source.crs, "EPSG:4326", outline, precision=7)
        tags, bands, crs = source.tags(), source.descriptions, source.crs.to_epsg()
        transform = list(source.transform)[:6]
    when = taken(tags.get("TIFFTAG_DATETIME", ""), scene.name)
    known = when != UNKNOWN
    longitudes, latitudes = zip(*geometry["coordinates"][0], strict=True)
    item = pystac.Item(
        id=restored.stem,
        geometry=geometry,
        bbox=[min(longitudes), min(latitudes), max(longitudes), max(latitudes)],
        datetime=when if known else None,
        start_datetime=None if known else UNKNOWN,
        end_datetime=None if known else datetime.now(UTC),
        stac_extensions=[_PROJECTION, _PROCESSING],
        properties={
            "proj:code": f"EPSG:{crs}" if crs else None,
            "proj:shape": [height, width],
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
    """When a scene was taken: by its TIFF tag, else its name, else ``UNKNOWN``.

    Example:
        >>> taken("", "20220101_093015_11_2415_3B_AnalyticMS_SR.tif").isoformat()
        '2022-01-01T09:30:15+00:00'
    """
    for text in (tag.replace(":", "").replace(" ", "T"), name):
        for found in _DATE.finditer(text):
            year, month, day, hour, minute, second = (int(number or 0) for number in found.groups())
            try:
                return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
            except ValueError:  # such as 0000:00:00, or digits that are no date
                continue
    return UNKNOWN


_DATE: Final = re.compile(
    r"(?<!\d)((?:19|20)\d\d)-?(\d\d)-?(\d\d)(?:[T_](\d\d)(\d\d)(\d\d))?(?!\d)"
)
"""A date, which may have a time after it."""
