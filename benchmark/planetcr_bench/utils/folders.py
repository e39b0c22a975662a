"""List the relevant files of a folder.

What operating systems and GIS software leave beside images is ignored. Linked folders are walked
like any other, each once, so a link to itself or upwards does no harm.
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
"""Extensions of images, in any case."""

NOTES: Final = (".md", ".txt", ".json", ".toml", ".csv", ".log", ".yaml", ".yml", ".xml")
"""Extensions of files that may lie beside images and are ignored."""

_LITTER: Final = frozenset({
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "autorun.inf", "$recycle.bin",
    "recycler", "system volume information",
    ".ds_store", ".localized", ".appledouble", ".fseventsd", ".spotlight-v100", ".trashes",
    ".temporaryitems", ".apdisk", "__macosx", "icon\r", "network trash folder", "temporary items",
    "lost+found", ".directory", "@eadir", "#recycle", "#snapshot",
})  # fmt: skip
"""Files and folders of Windows, macOS, Linux desktops and network disks, in lower case."""

_LITTER_STARTS: Final = ("._", ".trash-", ".nfs", ".fuse_hidden", "~$")

_LITTER_ENDS: Final = (
    ".aux.xml", ".tif.xml", ".tiff.xml", ".aux", ".ovr", ".msk", ".rrd", ".tfw", ".tifw", ".tiffw",
    ".tfwx", ".wld", ".prj", ".imd", ".rpb", ".rpc", ".til", ".pvl", "_rpc.txt", ".points", ".tab",
    ".vat.dbf", ".vat.cpg", ".qml", ".qmd", ".lyr", ".lyrx", ".sidecar",
    ":zone.identifier", ":encryptable", ".lnk", ".webloc", ".url",
)  # fmt: skip
"""Suffixes of what GDAL and GIS software write beside images, and systems beside any file."""


def is_litter(name: str) -> bool:
    """Whether a file or folder was left by an operating system or GIS software, by its name.

    Example:
        >>> [is_litter(name) for name in ("Thumbs.db", "a.tif.ovr", "a.TFW", "a.tif")]
        [True, True, True, False]
    """
    small = name.lower()
    return small in _LITTER or small.startswith(_LITTER_STARTS) or small.endswith(_LITTER_ENDS)


def lies_beside(name: str) -> bool:
    """Whether a file is not an image, by its name: hidden, litter or a note."""
    return name.startswith(".") or is_litter(name) or name.lower().endswith(NOTES)


def ending(path: str | PurePath) -> str:
    """Extension of a file's name in lower case, with its dot; empty if it has none.

    Example:
        >>> ending("summer_33_p_1.TIF")
        '.tif'
    """
    return PurePath(path).suffix.lower()


_SAME: Final = ((".tif", ".tiff"), (".jpg", ".jpeg"))


def spellings(end: str) -> tuple[str, ...]:
    """Extensions of the same format as one in lower case.

    Example:
        >>> spellings(".tif"), spellings(".npy")
        (('.tif', '.tiff'), ('.npy',))
    """
    return next((same for same in _SAME if end in same), (end,))


def other_spelling(path: Path) -> Path | None:
    """Find the file of a path under another spelling: ``.NPY``, or ``.TIFF`` for ``.tif``."""
    others = (
        path.with_name(f"{path.stem}.{''.join(letters)}")
        for end in spellings(path.suffix)
        for letters in itertools.product(*((letter, letter.upper()) for letter in end[1:]))
    )
    return next((other for other in others if os.path.lexists(other)), None)


def leads_up(path: Path) -> bool:
    """Whether a path is a link to a folder that contains it, at any level, through any links."""
    if not path.is_symlink():
        return False
    try:
        above = {parent.resolve() for parent in path.absolute().parents}
        return path.resolve() in above.union(*(folder.parents for folder in above))
    except (OSError, RuntimeError):  # a link to itself
        return False


def image_files(folder: Path, *, error: type[BenchError] = BenchError) -> list[Path]:
    """List files at any depth of a folder, except those that :func:`lies_beside` ignores.

    Files are sorted per folder. A linked folder is walked like any other, but each folder once and
    none that contains this one. A folder that is named like an image counts as a file: opening it
    raises an error.

    Args:
        folder: Where to look.
        error: Class of the exception that is raised.

    Raises:
        BenchError: A folder cannot be read.
    """
    top = folder.resolve()
    seen = {top, *top.parents}
    files: list[Path] = []
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
                files += [] if lies_beside(entry.name) else [path]
            elif entry.name.startswith(".") or is_litter(entry.name):
                continue
            elif ending(entry.name) in IMAGES:
                files.append(path)
            elif (real := path.resolve()) not in seen:
                seen.add(real)
                folders.append(path)
        waiting += reversed(folders)
    return files


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def begun(folder: Path, record: str, *, error: type[BenchError]) -> set[str]:
    """Files in a folder that a command writes to; none if it is new or empty.

    Args:
        folder: Need not exist.
        record: Name of the file by which the command knows its own folders.
        error: Class of the exception that is raised.

    Returns:
        Names, without hidden ones and litter.

    Raises:
        BenchError: It is a file, or holds files without the record.
    """
    where = printable(folder)
    if folder.exists() and not folder.is_dir():
        raise error(f"{where}: expected a folder, found a file")
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    files = {name for name in names if not name.startswith(".") and not is_litter(name)}
    if files and record not in files:
        raise error(f"{where}: expected a new or empty folder, found other files there")
    return files


# --- Names that share a prefix or a suffix --------------------------------------------------


def affixes(name: str, core: re.Pattern[str]) -> tuple[str, str, str] | None:
    """Split a name into a prefix, the relevant part, and a suffix."""
    match = core.search(name)
    return None if match is None else (name[: match.start()], match[0], name[match.end() :])


def describe_affixes(before: str, behind: str) -> str:
    """Describe the shared prefix and suffix of names."""
    affixes_of_names = ((before, "before"), (behind, "behind"))
    return " and ".join(f"{printable(text)!r} {where}" for text, where in affixes_of_names if text)


def grouped(
    names: Iterable[tuple[Path, tuple[str, str, str] | None]],
) -> tuple[dict[tuple[str, str], list[tuple[Path, str]]], list[Path]]:
    """Group files by the prefixes and suffixes that their names share.

    Args:
        names: Files and the result of :func:`affixes` for their names.

    Returns:
        Prefix and suffix to the files that share them and the relevant parts of their names, with
        ``…`` for numbers in which they differ; and the files without either.
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
