"""List and unpack the files of an entry: those of a folder or of a ``.zip``.

Only files that an entry may have pass: by name, kind, number, size and how well they are packed.
All of that is checked before a byte is unpacked. What operating systems leave behind, such as
``__MACOSX`` and ``.DS_Store`` in Finder's archives, is ignored and never unpacked.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from planetcr_bench.errors import SubmissionError
from planetcr_bench.results.files import CARD, COMPACT, LEDGER, REPORT, RUN
from planetcr_bench.submission.plausibility import SCENE
from planetcr_bench.utils.folders import is_litter
from planetcr_bench.utils.validation import shown

PREDICTIONS: Final = "predictions"
DESCRIPTION: Final = "description.toml"
"""Of a dataset that is not built in: for readers, who may use it; no command takes it from here."""
NEEDED: Final = (CARD, LEDGER, RUN)
"""What every entry has; it may have :data:`REPORT`, :data:`DESCRIPTION` and a folder
:data:`PREDICTIONS`."""
FILES: Final = (*NEEDED, REPORT)

ZIP: Final = ".zip"

_SCENE: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_.+ -]{0,98}[A-Za-z0-9_+-])?"
"""Names of scenes of any dataset that may be unpacked; the ledger says which there are."""

_NAME: Final = re.compile(
    rf"(?:{'|'.join(map(re.escape, (*FILES, DESCRIPTION)))})|{PREDICTIONS}/(?:predictions\.toml|"
    rf"{_SCENE}\.(?:[tT][iI][fF]{{1,2}}|[nN][pP][yY]))"
)
_EXPECTED: Final = (
    f"expected only {', '.join(FILES)}, {DESCRIPTION} and {PREDICTIONS}/<scene>.tif, .tiff or .npy"
)
_TOP: Final = re.compile(r"[^./\\:][^/\\:]{0,199}/")
_DEEPEST: Final = 3
_NOT_PLAIN: Final = "expected a plain file, got a link, a device or a folder"
_SMALL: Final = 1_000_000
_LONGEST_READ: Final = 2**23
_BROKEN: Final = (
    zipfile.BadZipFile, zlib.error, ArithmeticError, EOFError, LookupError, OSError, RuntimeError,
    ValueError,
)  # fmt: skip
"""Whatever the standard library raises for bytes that are no archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an entry may take: files, bytes of all and of one, and unpacked over packed bytes.

    The ratio is of whatever unpacks to more than a megabyte.
    """

    files: int = 7_000
    total_bytes: int = 6 * 10**9
    file_bytes: int = 200_000_000
    ratio: int = 200


LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a folder or an archive: its path there, bytes, and why no entry may have it."""

    name: str
    size: int
    packed_size: int
    error: str = ""


def open_entry(path: Path, target: Path | None, *, limits: Limits = LIMITS) -> Path:
    """The folder that holds an entry's files: a folder as it is, an archive unpacked.

    Args:
        path: Folder or ``.zip`` of the files, or of one folder of them; only read.
        target: Folder to make and to unpack into; None to look at the list of files alone.
        limits: What the entry may take.

    Raises:
        SubmissionError: Lists everything that is wrong with the folder or archive.
    """
    folder = path.is_dir() and not path.is_symlink()
    archive = path.is_file() and not path.is_symlink() and path.suffix.lower() == ZIP
    if not (folder or archive):
        got = "neither" if os.path.lexists(path) else "no such file or folder"
        raise SubmissionError(f"{path}: expected the folder of an entry or a {ZIP}, got {got}")
    try:
        if folder:
            return path / _checked_root(path, list(_list_folder(path, limits)), limits)
        with _Archive(path) as packed, zipfile.ZipFile(packed) as members:
            infos = _infos(members, limits)
            root = _checked_root(path, [_member(info) for info in infos], limits)
            if target is None:
                return path
            target.mkdir(parents=True)
            for info in infos:
                _unpack(members, info, target / info.filename.removeprefix(root))
    except _BROKEN as error:
        what = "an entry's folder" if folder else f"a {ZIP}"
        raise SubmissionError(f"{path}: expected {what}, cannot be read ({error})") from error
    return target


def is_entry(path: Path) -> bool:
    """Whether a folder or archive holds the files of an entry and no others, by their names.

    Images count as its predictions if they are named as scenes of Planet-CR, or of its ledger.
    """
    try:
        folder = open_entry(path, None)
        names, ledger = _images_and_ledger(folder)
    except (SubmissionError, *_BROKEN):
        return False
    others = {name for name in names if not re.fullmatch(SCENE, name)}
    return not others or others <= _scenes_of(ledger)


def _images_and_ledger(path: Path) -> tuple[list[str], bytes]:
    """Names of the predictions of an entry, without extensions, and the bytes of its ledger."""
    if path.is_dir():
        images = [file.stem for file in path.glob(f"{PREDICTIONS}/*.*") if file.suffix != ".toml"]
        return images, (path / LEDGER).read_bytes()
    with zipfile.ZipFile(path) as members:
        files = [PurePosixPath(info.filename) for info in _infos(members, LIMITS)]
        ledger = next(file for file in files if file.name == LEDGER)
        inside = [file for file in files if file.parent.name == PREDICTIONS]
        return [file.stem for file in inside if file.suffix != ".toml"], members.read(str(ledger))


def _scenes_of(ledger: bytes) -> set[str]:
    """Names of the scenes of a ledger; none if it cannot be read."""
    try:
        column = pq.read_table(pa.BufferReader(ledger), columns=["scene"])["scene"]
    except (pa.ArrowException, OSError, KeyError):
        return set()
    return set(column.unique().to_pylist())


def _checked_root(path: Path, members: Sequence[Member], limits: Limits) -> str:
    """The one folder that all files lie in, with a slash, or ""; if they can be an entry's."""
    first = members[0].name.partition("/")[0] + "/" if members else ""
    inside = _TOP.fullmatch(first) and first.isprintable()
    root = first if inside and all(member.name.startswith(first) for member in members) else ""
    errors, taken = [], set[str]()
    for member in members:
        name = member.name.removeprefix(root)
        reasons = list(_reasons(member, name, limits))
        if name.lower() in taken:
            reasons.append("expected each name once, got it again")
        taken.add(name.lower())
        errors += [f"{shown(member.name)}: {'; '.join(reasons)}"] if reasons else []
    errors += [f"{name}: expected this file, found none" for name in NEEDED if name not in taken]
    if len(members) > limits.files:
        errors.append(f"expected at most {limits.files} files, got more")
    total = sum(member.size for member in members)
    if total > limits.total_bytes:
        errors.append(f"expected at most {limits.total_bytes} bytes in all, got {total}")
    if errors:
        raise SubmissionError(f"{path}: expected the files of an entry and no others", errors)
    return root


def _reasons(member: Member, name: str, limits: Limits) -> Iterator[str]:
    """Why a file cannot be one of an entry's."""
    if name == COMPACT:
        yield f"a compact ledger cannot be checked; send the ledger of scenes, {LEDGER}"
    elif not _NAME.fullmatch(name):
        yield _EXPECTED
    if member.size > limits.file_bytes:
        yield f"expected at most {limits.file_bytes} bytes, got {member.size}"
    if member.size > max(_SMALL, limits.ratio * member.packed_size):
        yield f"expected at most {limits.ratio} times its {member.packed_size} packed bytes"
    if member.error:
        yield member.error


def _list_folder(folder: Path, limits: Limits) -> Iterator[Member]:
    """Files below a folder, without following a link; at most one more than allowed."""
    waiting, count = [(folder, "")], 0
    while waiting:
        above, prefix = waiting.pop()
        for path in sorted(above.iterdir()):
            status, name = path.lstat(), prefix + path.name
            if is_litter(path.name):
                continue
            if stat.S_ISDIR(status.st_mode) and name.count("/") < _DEEPEST:
                waiting.append((path, f"{name}/"))
                continue
            error = "" if stat.S_ISREG(status.st_mode) else _NOT_PLAIN
            yield Member(name, status.st_size, status.st_size, error)
            count += 1
            if count > limits.files:
                return


class _Archive(io.FileIO):
    """A file that begins as an archive, of whose list of members nobody reads much at once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if super().read(4) != b"PK\3\4":
            self.close()
            raise zipfile.BadZipFile("File is not a zip file")

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _LONGEST_READ:
            raise ValueError(f"a list of members of {size} bytes")
        return super().read(-1 if size is None else size)


def _infos(archive: zipfile.ZipFile, limits: Limits) -> list[zipfile.ZipInfo]:
    """Files of an archive, but for litter."""
    infos = archive.infolist()
    if len(infos) > 3 * limits.files:  # with folders, and litter beside each file
        raise ValueError(f"expected at most {limits.files} files, got {len(infos)} members")
    return [
        info
        for info in infos
        if not info.is_dir() and not any(map(is_litter, info.filename.split("/")))
    ]


def _member(info: zipfile.ZipInfo) -> Member:
    error = ""
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        error = _NOT_PLAIN
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        error = "expected bytes that are stored or deflated, got another method"
    return Member(info.orig_filename, info.file_size, info.compress_size, error)


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    """Write one file, of no more bytes than it claims."""
    path.parent.mkdir(exist_ok=True)
    with archive.open(info) as content, path.open("xb") as file:
        shutil.copyfileobj(content, file)
        if file.tell() != info.file_size:
            raise ValueError(f"{info.filename}: expected {info.file_size} bytes, got {file.tell()}")
