"""Complete a description that says only how it differs from one of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from planetcr_bench.errors import DatasetError
from planetcr_bench.utils.untrusted import read_toml
from planetcr_bench.utils.validation import shown

CATALOGUE: Final = Path(__file__).with_name("catalogue")
"""Folder of the descriptions that are built in."""

LIKE: Final = "like"
"""Key with the name of the other description."""

_OPTIONAL: Final = ("sar", "land_cover", "cloud_mask")
"""Tables of products that a dataset may lack."""

_KEY_BY_KEY: Final = ("fields", "optical", "sar", "land_cover", "cloud_mask")
"""Tables of which single keys may be changed."""


def catalogue() -> list[str]:
    """Names of the datasets that are built in."""
    return sorted(path.stem for path in CATALOGUE.glob("*.toml"))


def completed(content: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """Content of a description with everything that it takes over.

    The tables of products and fields change key by key, and everything else as a whole; a product
    that is ``false`` is left out. The track is never taken over: the same name would stand for
    other pixels.

    Args:
        content: Of a TOML file.
        where: The file, for messages.

    Raises:
        DatasetError: ``like`` is no name of the catalogue.
    """
    own = {key: value for key, value in content.items() if key != LIKE}
    if LIKE not in content:
        return own
    if content[LIKE] not in catalogue():
        raise DatasetError(
            f"{where}: {LIKE}: expected a name of the catalogue ({', '.join(catalogue())}), got "
            f"{shown(content[LIKE])}"
        )
    path = CATALOGUE / f"{content[LIKE]}.toml"
    base = completed(read_toml(path, error=DatasetError), path)
    base.pop("track", None)
    for key in _KEY_BY_KEY:
        if isinstance(own.get(key), dict):
            own[key] = base.get(key, {}) | own[key]
    left_out = [key for key in _OPTIONAL if own.get(key) is False]
    return {key: value for key, value in (base | own).items() if key not in left_out}
