"""Read the metadata that are delivered with images, as XML."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from planetcr_bench.restoration.rasters import SceneFileError
from planetcr_bench.utils.untrusted import printable, read_text

_LARGEST: Final = 1 << 24


def read_xml(path: Path, what: str) -> ET.Element:
    """Read the root element of an XML file, whose size and expansion are bounded.

    Args:
        path: The file.
        what: It is, for messages, such as ``Planet's metadata``.

    Raises:
        SceneFileError: It is missing, no XML, or declares a document type, which metadata do not.
    """
    text = read_text(path, _LARGEST, error=SceneFileError)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise SceneFileError(f"{printable(path)}: expected {what}, without a DOCTYPE")
    try:
        return ET.fromstring(text)  # noqa: S314  nothing expands: no DOCTYPE, so no entities
    except ET.ParseError as problem:
        raise SceneFileError(f"{printable(path)}: expected {what} as XML ({problem})") from problem


def local_name(element: ET.Element) -> str:
    """Name of an element without its namespace."""
    return element.tag.rpartition("}")[2]
