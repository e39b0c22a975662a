"""Tell when a scene was taken, and in which season."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from planetcr_bench.restoration.products import find_metadata
from planetcr_bench.restoration.rasters import SceneFileError
from planetcr_bench.restoration.stac import UNKNOWN, taken
from planetcr_bench.utils.untrusted import read_text

Season = Literal["spring", "summer", "fall", "winter"]

SEASON_NAMES: Final[tuple[Season, ...]] = ("spring", "summer", "fall", "winter")

_ACQUIRED: Final = re.compile(
    r"acquisitionDateTime>\s*(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)", re.ASCII
)


def taken_on(path: Path, tags: Mapping[str, str]) -> datetime | None:
    """When a scene was taken: by its tags, else its name, else Planet's metadata beside it.

    Args:
        path: Of the file.
        tags: Of the file.

    Returns:
        UTC; None where nothing says it.
    """
    for tag, name in ((tags.get("TIFFTAG_DATETIME", ""), ""), ("", path.name)):
        if (date := taken(tag, name)) != UNKNOWN:
            return date
    metadata = find_metadata(path)
    if metadata is None:
        return None
    try:
        match = _ACQUIRED.search(read_text(metadata, 1 << 24, error=SceneFileError))
        return None if match is None else taken(" ".join(match.groups()), "")
    except (SceneFileError, ValueError):
        return None


def season_on(date: datetime, latitude: float) -> Season:
    """Season of a date on its hemisphere.

    Args:
        date: The date.
        latitude: Degrees; the equator counts as northern.
    """
    start = 0 if latitude >= 0 else 2
    return SEASON_NAMES[((date.month - 3) % 12 // 3 + start) % 4]
