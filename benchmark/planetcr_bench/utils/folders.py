"""List the relevant files of a folder.

What systems and GIS software leave beside images is never taken for one. Folders that are linked
are walked like any other, each once, so that a link to itself or upwards leads nowhere.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Final

from planetcr_bench.errors import BenchError
from planetcr_bench.utils.untrusted import printable

IMAGES: Final = (".tif", ".tiff", ".npy")
"""Endings of images, in any capitals."""

NOTES: Final = (".md", ".txt", ".json", ".toml", ".csv", ".log", ".yaml", ".yml", ".xml")
"""Endings of files that may lie beside images and are left alone."""

_LITTER: Final = frozenset({
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "autorun.inf", "$recycle.bin",
    "recycler", "system volume information",
    ".ds_store", ".localized", ".appledouble", ".fseventsd", ".spotlight-v100", ".trashes",
    ".temporaryitems", ".apdisk", "__macosx", "icon\r", "network trash folder", "temporary items",
    "lost+found", ".directory", "@eadir", "#recycle", "#snapshot",
})  # fmt: skip
"""Files and folders of Windows, macOS, Linux desktops and network disks, in small letters."""

_LITTER_STARTS: Final = ("._", ".trash-", ".nfs", ".fuse_hidden", "~$")

_LITTER_ENDS: Final = (
    ".aux.xml", ".tif.xml", ".tiff.xml", ".aux", ".ovr", ".msk", ".rrd", ".tfw", ".tifw", ".tiffw",
    ".tfwx", ".wld", ".prj", ".imd", ".rpb", ".rpc", ".til", ".pvl", "_rpc.txt", ".points", ".tab",
    ".vat.dbf", ".vat.cpg", ".qml", ".qmd", ".lyr", ".lyrx", ".sidecar",
    ":zone.identifier", ":encryptable", ".lnk", ".webloc", ".url",
)  # fmt: skip
"""What GDAL and GIS software write beside an image, and systems beside any file."""


def is_litter(name: str) -> bool:
    """Whether a file or folder is what a system or GIS software leaves behind, by its name.

    Example:
        >>> [is_litter(name) for name in ("Thumbs.db", "a.tif.ovr", "a.TFW", "a.tif")]
        [True, True, True, False]
    """
    small = name.lower()
    return small in _LITTER or small.startswith(_LITTER_STARTS) or small.endswith(_LITTER_ENDS)


def lies_beside(name: str) -> bool:
    """Whether a file is none of the images, by its name: hidden, litter or a note."""
    return name.startswith(".") or is_litter(name) or name.lower().endswith(NOTES)


def ending(path: str | PurePath) -> str:
    """Ending of a file's name in small letters, with its dot; empty where it has none.

    Example:
        >>> ending("summer_33_p_1.TIF")
        '.tif'
    """
    return PurePath(path).suffix.lower()


def with_small_ending(name: str) -> str:
    """A file's name with its ending in small letters."""
    end = PurePath(name).suffix
    return f"{name.removesuffix(end)}{end.lower()}"


def other_spelling(path: Path) -> Path | None:
    """The file of a path whose ending is spelt otherwise: ``.NPY``, or ``.TIFF`` for ``.tif``."""
    endings = IMAGES[:2] if path.suffix in IMAGES[:2] else (path.suffix,)
    spellings = (
        path.with_name(f"{path.stem}.{''.join(letters)}")
        for end in endings
        for letters in itertools.product(*((one, one.upper()) for one in end[1:]))
    )
    return next((one for one in spellings if os.path.lexists(one)), None)


def leads_up(path: Path) -> bool:
    """Whether a path is a link to a folder that it lies in, at any height and through any links."""
    if not path.is_symlink():
        return False
    try:
        above = {parent.resolve() for parent in path.absolute().parents}
        return path.resolve() in above.union(*(folder.parents for folder in above))
    except (OSError, RuntimeError):  # a link to itself
        return False


def image_files(folder: Path, *, error: type[BenchError] = BenchError) -> list[Path]:
    """Files at any depth of a folder, save what :func:`lies_beside` images; sorted per folder.

    A linked folder is walked like any other, but each folder once and none that holds this one. A
    folder that is named like an image counts as a file: whoever opens it says what it is.

    Args:
        folder: Where to look.
        error: Class of what is raised.

    Raises:
        BenchError: A folder cannot be read.
    """
    top = folder.resolve()
    seen = {top, *top.parents}
    found: list[Path] = []
    waiting = [folder]
    while waiting:
        inside = waiting.pop()
        try:
            with os.scandir(inside) as entries:
                here = sorted(entries, key=lambda entry: entry.name)
        except OSError as problem:
            raise error(f"{printable(inside)}: cannot be read ({problem.strerror})") from problem
        folders = []
        for entry in here:
            path = Path(entry.path)
            if not _is_folder(entry):
                found += [] if lies_beside(entry.name) else [path]
            elif entry.name.startswith(".") or is_litter(entry.name):
                continue
            elif ending(entry.name) in IMAGES:
                found.append(path)
            elif (real := path.resolve()) not in seen:
                seen.add(real)
                folders.append(path)
        waiting += reversed(folders)
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


# --- Names that share a beginning or an end -------------------------------------------------


def affixes(name: str, core: re.Pattern[str]) -> tuple[str, str, str] | None:
    """What stands before the part of a name that matters, that part, and what stands behind it."""
    match = core.search(name)
    return None if match is None else (name[: match.start()], match[0], name[match.end() :])


def told_affixes(before: str, behind: str) -> str:
    """Words for what names share around the part that matters."""
    places = ((before, "before"), (behind, "behind"))
    return " and ".join(f"{printable(text)!r} {place}" for text, place in places if text)


def grouped(
    names: Iterable[tuple[Path, tuple[str, str, str] | None]],
) -> tuple[dict[tuple[str, str], list[tuple[Path, str]]], list[Path]]:
    """Sort files by what their names share.

    Args:
        names: Files and what :func:`affixes` says of their names.

    Returns:
        What stands before and behind to the files of which it does and their parts that matter,
        with ``…`` for numbers in which they differ; and the files of which nothing is known.
    """
    alike: dict[tuple[str, str], list[tuple[Path, tuple[str, str, str]]]] = {}
    rest = []
    for path, known in names:
        if known is None or not (known[0] or known[2]):
            rest.append(path)
        else:
            key = _NUMBER.sub("…", known[0]), _NUMBER.sub("…", known[2])
            alike.setdefault(key, []).append((path, known))
    groups = {}
    for pattern, members in alike.items():
        literal = {(known[0], known[2]) for _, known in members}
        shared = literal.pop() if len(literal) == 1 else pattern
        groups[shared] = [(path, known[1]) for path, known in members]
    return groups, rest


_NUMBER: Final = re.compile("[0-9]+")
