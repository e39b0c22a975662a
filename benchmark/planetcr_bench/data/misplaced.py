"""Explain which folder to give and which files to rename where the layout is not followed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from planetcr_bench.constants import FOLDERS, SPLITS, SUFFIX
from planetcr_bench.utils.folders import (
    affixes,
    describe_affixes,
    ending,
    grouped,
    leads_up,
    lies_beside,
)
from planetcr_bench.utils.untrusted import printable

ENDINGS: Final = {".tif": (".tif", ".tiff"), ".npy": (".npy",)}
"""Accepted spellings of the layout's file extensions, in any case."""


def folder_hint(data: Path) -> str:
    """Suggest the folder to give instead of one without a split, as the end of a message."""
    resolved = data.resolve()
    above = [
        folder for folder in resolved.parents[:3] if any(map(_holds_products, _splits(folder)))
    ]
    if above:
        return f"; give {'its parent, ' if above[0] == resolved.parent else ''}{above[0]}"
    if _holds_products(data):
        return "; move its folders into one named train, val or test, and give what holds that"
    inner = nested_split(data)
    if inner is None:
        return ""
    if inner.name in SPLITS:
        return f"; give {inner.parent}, which does"
    return f"; {inner} holds the scenes: name it train, val or test, and give what holds it"


def _splits(data: Path) -> list[Path]:
    return [data / split for split in SPLITS]


def _holds_products(folder: Path) -> bool:
    """Whether a folder looks like a split: its product folders end in the number of an AOI."""
    folders = folder.glob(f"{FOLDERS['clear']}_*")
    return any(not path.name[-1].isdecimal() and path.is_dir() for path in folders)


def nested_split(folder: Path) -> Path | None:
    """Find the first folder of products, at most three levels below another."""
    level = [folder]
    for _ in range(3):
        level = [inner for outer in level for inner in _inner_folders(outer)]
        for inner in level:
            if _holds_products(inner):
                return inner
    return None


def _inner_folders(folder: Path) -> list[Path]:
    """List a limited number of folders within another."""
    try:
        inside = sorted(folder.iterdir())[:100]
    except OSError:
        return []
    return [
        path
        for path in inside
        if not (
            lies_beside(path.name)
            or path.name.startswith(tuple(FOLDERS.values()))
            or leads_up(path)
        )
        and path.is_dir()
    ]


def no_scenes(data: Path, split: str) -> str:
    """Explain why a split has no scene, and name the folder to give instead if there is one."""
    inner, remedy = nested_split(data / split), ""
    if inner is not None:
        give = f"give {inner.parent}, or " if inner.name == split else ""
        remedy = f"; they lie in {inner}: {give}move what is in it to {data / split}"
    return f"{data / split}: expected scenes in the official layout, found none{remedy}"


@dataclass(frozen=True, slots=True)
class Misnamed:
    """Files of a split whose names share a prefix or suffix that the layout does not have.

    Attributes:
        lines: One per shared prefix or suffix.
        missing: Lines about files that are missing but exist under another name.
        strays: All other files that do not belong to the layout.
    """

    lines: list[str]
    missing: frozenset[str]
    strays: list[Path]


def misnamed(folder: Path, strays: Iterable[Path]) -> Misnamed:
    """Separate files whose names share an additional word from other strays.

    Args:
        folder: Of the split, for messages.
        strays: From ``layout.find_files``.
    """
    groups, rest = grouped((path, _affixes(path)) for path in strays)
    lines: list[str] = []
    missing: set[str] = set()
    for (before, behind), files in groups.items():
        if len(files) < 2:
            rest += [path for path, _ in files]
            continue
        first, stem = files[0]
        missing |= {missing_file(path.with_name(f"{name}{_rule(path)}")) for path, name in files}
        lines.append(
            f"{folder}: expected names such as {stem}{_rule(first)}, got {len(files)} files with "
            f"{describe_affixes(before, behind)} it, such as {printable(first)}; rename them"
        )
    return Misnamed(lines, frozenset(missing), sorted(rest))


def _affixes(path: Path) -> tuple[str, str, str] | None:
    core = re.compile(rf"{re.escape(path.parent.name)}_p_(?:0|[1-9][0-9]*)")
    return affixes(path.stem if ending(path) in ENDINGS[_rule(path)] else path.name, core)


def _rule(path: Path) -> str:
    """File extension of the images in the folder of a product."""
    return SUFFIX["cloud_mask" if path.parent.name.startswith(FOLDERS["cloud_mask"]) else "sar"]


def missing_file(path: Path) -> str:
    """Message about a file that is missing."""
    return f"{path}: no such file"
