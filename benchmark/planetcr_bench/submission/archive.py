"""An archive from a stranger in, its plain files in a folder out, or every reason why not.

An archive is read twice: first its list of members, of which every fault is named, then, only if
there is none, their bytes. What the archive says of itself is compared with the bytes that come.
What systems leave behind, as ``__MACOSX`` and ``.DS_Store`` in Finder's archives, is passed over
and never unpacked.
"""

from __future__ import annotations

import gzip
import io
import itertools
import lzma
import os
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from planetcr_bench.errors import SubmissionError
from planetcr_bench.utils.folders import IMAGES, is_litter

ENDINGS: Final = frozenset({".toml", ".json", ".parquet", ".md", ".tif", ".tiff", ".npy"})
"""Files that an entry may have."""

ARCHIVES: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz")
"""Archives that are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an entry may take.

    Attributes:
        files: Files and folders.
        total_bytes: Of all files, unpacked.
        file_bytes: Of one file, unpacked.
        ratio: Unpacked over packed bytes, of whatever unpacks to more than a megabyte.
    """

    files: int = 7_000
    total_bytes: int = 6 * 10**9
    file_bytes: int = 200_000_000
    ratio: int = 200


LIMITS: Final = Limits()

_NOT_PLAIN: Final = "expected a plain file or a folder, got a link, a device or a file with holes"
_CHUNK: Final = 2**16
_DEEPEST: Final = 16
_LONGEST_HEADER: Final = 2**16
_LONGEST_READ: Final = 2**23
_MOST_MEMORY: Final = 2**27
_SMALL: Final = 1_000_000
_ENCRYPTED: Final = 0x1 | 0x40 | 0x2000
BROKEN: Final = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error,
    ArithmeticError, EOFError, LookupError, OSError, RuntimeError, ValueError,
)  # fmt: skip
"""Whatever the readers of the standard library say of bytes that are no archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    name: str
    folder: bool
    size: int
    packed: int
    faults: tuple[str, ...] = ()


_Walk = Iterator[tuple[_Member, Callable[[], IO[bytes]]]]


def extract(archive: Path, target: Path, *, limits: Limits = LIMITS) -> None:
    """Unpack an archive.

    Args:
        archive: A file with one of the endings :data:`ARCHIVES`.
        target: An empty folder. It gets the files under the names that the archive gives them,
            with the permissions of any new file; it stays empty if the archive is refused.
        limits: What the entry may take.

    Raises:
        SubmissionError: Lists everything that is wrong with the archive.
    """
    if any(target.iterdir()):
        raise SubmissionError(f"{target}: expected an empty folder, got files in it")
    with _all_or_nothing(target):
        members, broken = _listed(archive, limits)
        problems = [] if broken and not members else _problems(members, limits)
        _refuse(archive, [*problems, *broken])
        _refuse(archive, _unpacked(archive, members, target, limits))


def inspect(folder: Path, *, limits: Limits = LIMITS) -> None:
    """Check a folder by the rules of an archive, without following a link.

    Raises:
        SubmissionError: Lists everything that is wrong with the folder.
    """
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            message = f"{folder}: expected a folder, got a link or a file; give the folder itself"
            raise SubmissionError(message)
        members = list(itertools.islice(_walk_folder(folder), limits.files + 1))
    except OSError as error:
        raise SubmissionError(f"{folder}: cannot be read ({error})") from error
    _refuse(folder, _problems(members, limits))


def _refuse(source: Path, problems: Sequence[str]) -> None:
    if problems:
        message = f"{source}: expected nothing but the plain files of an entry, got this"
        raise SubmissionError(message, problems)


@contextmanager
def _all_or_nothing(target: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for path in target.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def _problems(members: Sequence[_Member], limits: Limits) -> list[str]:
    """One line for each member that has faults, and for what all of them take together."""
    taken: dict[str, tuple[str, bool]] = {}
    listed: set[str] = set()
    found = [
        f"{_shown(member.name)}: {'; '.join(faults)}"
        for member in members
        if (faults := _faults(member, limits) or _clash(member, taken, listed))
    ]
    if not members:
        found.append("expected files, got none")
    if len(members) > limits.files:
        found.append(f"expected at most {limits.files} files and folders, got more")
    total = sum(member.size for member in members)
    if total > limits.total_bytes:
        found.append(f"expected at most {limits.total_bytes} bytes in all, got {total}")
    return found


def _faults(member: _Member, limits: Limits) -> list[str]:
    root = member.folder and member.name == "."
    found = [*([] if root else _name_faults(member.name)), *member.faults]
    suffix = PurePosixPath(member.name).suffix
    if not member.folder and suffix not in ENDINGS and suffix.lower() not in IMAGES:
        found.append(f"expected an ending of {', '.join(sorted(ENDINGS))}, got {_shown(suffix)}")
    if member.folder and member.size:
        found.append(f"expected nothing in the entry of a folder, got {member.size} bytes")
    if not 0 <= member.size <= limits.file_bytes:
        found.append(f"expected at most {limits.file_bytes} bytes, got {member.size}")
    if member.size > max(_SMALL, limits.ratio * member.packed):
        found.append(f"expected at most {limits.ratio} times its {member.packed} packed bytes")
    return found


def _name_faults(name: str) -> list[str]:
    found = []
    parts = name.split("/")
    if name.startswith("/"):
        found.append("expected a path within the archive, got an absolute one")
    if "\\" in name or ":" in name:
        found.append("expected '/' between folders, got '\\' or ':'")
    if not name.isprintable():
        found.append("expected letters that can be seen, got others")
    if _bytes(name) > 1000 or max(map(_bytes, parts)) > 255 or len(parts) > _DEEPEST:
        found.append(f"expected 255 bytes a part, 1000 in all and {_DEEPEST} parts, got more")
    if any(part.startswith(".") for part in parts):
        found.append("expected no '.', '..' or hidden part; pack the folder by its name")
    if any(part != part.strip() or part.rstrip(".") != part for part in parts) or "" in parts:
        found.append("expected no part that is empty or has a blank or a dot at its ends")
    return found


def _bytes(name: str) -> int:
    return len(name.encode("utf-8", "surrogatepass"))


def _shown(name: str) -> str:
    return repr(name if len(name) <= 120 else f"{name[:120]}…")


def _clash(member: _Member, taken: dict[str, tuple[str, bool]], listed: set[str]) -> list[str]:
    """What came before under this name or one of its folders', on any kind of disk.

    Args:
        member: Is added to both of the others.
        taken: Name without case, to the name as it was written first, and whether of a folder.
        listed: Names without case that were members of their own.
    """
    folders = list(itertools.accumulate(member.name.split("/")[:-1], "{}/{}".format))
    steps = [*((folder, True) for folder in folders), (member.name, member.folder)]
    firsts = [taken.setdefault(_folded(step[0]), step) for step in steps]
    found = [
        f"clashes with {_shown(first[0])}"
        for step, first in zip(steps, firsts, strict=True)
        if first != step
    ]
    own = _folded(member.name)
    if own in listed and not found:
        found.append("expected each name once, got it again")
    listed.add(own)
    return found[:1]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _walk_folder(folder: Path, above: str = "") -> Iterator[_Member]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if is_litter(entry.name):
            continue
        status = entry.stat(follow_symlinks=False)
        name, inner = above + entry.name, stat.S_ISDIR(status.st_mode)
        size = 0 if inner else status.st_size
        plain = inner or stat.S_ISREG(status.st_mode)
        faults = () if plain else (_NOT_PLAIN,)
        yield _Member(name=name, folder=inner, size=size, packed=size, faults=faults)
        if inner and not _name_faults(name):
            yield from _walk_folder(folder / entry.name, f"{name}/")


def _walk(archive: Path, limits: Limits) -> _Walk:
    kind = next((one for one in ARCHIVES if archive.name.lower().endswith(one)), None)
    if kind is None or not archive.is_file():
        raise ValueError(f"expected a file that ends in {', '.join(ARCHIVES)}")
    walk = _walk_zip(archive, limits) if kind == ".zip" else _walk_tar(archive, kind, limits)
    return _without_litter(walk, limits)


def _without_litter(walk: _Walk, limits: Limits) -> _Walk:
    """Members that count; Finder's archives have one that does not for each that does."""
    passed = 0
    for member, opened in walk:
        if not any(is_litter(part) for part in member.name.split("/")):
            yield member, opened
            continue
        passed += 1
        if passed > limits.files:
            raise ValueError(f"more than {limits.files} files that systems leave behind")


def _listed(archive: Path, limits: Limits) -> tuple[list[_Member], list[str]]:
    """As many members as can be read, at most one too many, and what ended the list."""
    members = []
    try:
        for member, _ in itertools.islice(_walk(archive, limits), limits.files + 1):
            members.append(member)  # one by one: an error keeps what came before
    except BROKEN as error:
        return members, [f"cannot be read ({error})"]
    return members, []


def _unpacked(archive: Path, members: Sequence[_Member], target: Path, limits: Limits) -> list[str]:
    """Write the members under the names that were checked; return what went wrong."""
    found = []
    try:
        for member, (_, opened) in zip(members, _walk(archive, limits), strict=True):
            try:
                found += _write(member, opened, target)
            except BROKEN as error:
                found.append(f"{_shown(member.name)}: cannot be read ({error})")
    except BROKEN as error:
        found.append(f"cannot be read ({error})")
    return found


def _write(member: _Member, opened: Callable[[], IO[bytes]], target: Path) -> list[str]:
    path = target / member.name
    (path if member.folder else path.parent).mkdir(parents=True, exist_ok=True)
    if member.folder:
        return []
    left = member.size
    with opened() as content, path.open("xb") as file:
        while left >= 0 and (chunk := content.read(min(_CHUNK, left + 1))):
            left -= len(chunk)
            file.write(chunk)
    if left:
        return [f"{_shown(member.name)}: expected {member.size} bytes, got more or fewer"]
    return []


class _ShortReads(io.BufferedReader):
    """A file of which nobody takes much at once, such as the list of millions of members."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _LONGEST_READ:
            raise ValueError(f"a list of members of {size} bytes")
        return super().read(size)


def _walk_zip(archive: Path, limits: Limits) -> _Walk:
    with _ShortReads(io.FileIO(archive)) as packed:
        if packed.read(4) != b"PK\3\4":
            raise zipfile.BadZipFile("File is not a zip file")
        with zipfile.ZipFile(packed) as zipped:
            infos = zipped.infolist()[: 2 * limits.files + 1]
            overlapping = _overlapping(packed, infos, zipped.start_dir)
            for info in infos:
                member = _zip_member(info, overlapping=info.header_offset in overlapping)
                # zipfile would cut a file off at the size that the archive claims, and say nothing
                info.file_size = limits.file_bytes + 1
                yield member, partial(zipped.open, info)


def _overlapping(packed: IO[bytes], infos: Iterable[zipfile.ZipInfo], end: int) -> set[int]:
    """Where members start that run into the next member or the list of members."""
    spans = []
    for info in infos:
        packed.seek(info.header_offset)
        name, extra = struct.unpack("<26xHH", packed.read(30))
        spans.append((info.header_offset, packed.tell() + name + extra + info.compress_size))
    spans.sort()
    nexts = [*(start for start, _ in spans[1:]), end]
    return {start for (start, stop), after in zip(spans, nexts, strict=True) if stop > after}


def _zip_member(info: zipfile.ZipInfo, *, overlapping: bool) -> _Member:
    name = info.orig_filename  # .filename has been cut at the first NUL
    folder = name.endswith("/")
    kind = stat.S_IFMT(info.external_attr >> 16)
    wrong = {
        _NOT_PLAIN: kind not in (0, stat.S_IFDIR if folder else stat.S_IFREG),
        "expected plain bytes, got encrypted ones": info.flag_bits & _ENCRYPTED,
        "expected bytes that are stored or deflated, got another method": info.compress_type
        not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
        "expected bytes of its own, got bytes of another member": overlapping,
    }
    return _Member(
        name=name.removesuffix("/"),
        folder=folder,
        size=info.file_size,
        packed=info.compress_size,
        faults=tuple(fault for fault, so in wrong.items() if so),
    )


class _Xz(io.RawIOBase):
    """The bytes of one xz stream; ``lzma.open`` would let it ask for gigabytes of memory."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, _MOST_MEMORY)

    def readable(self) -> bool:
        return True

    # typeshed has it take any buffer; BufferedReader gives a memoryview
    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._decoder.eof:
            fed = self._packed.read(_CHUNK) if self._decoder.needs_input else b""
            if self._decoder.needs_input and not fed:
                raise EOFError("the stream ends too early")
            content = self._decoder.decompress(fed, len(buffer))
            if content:
                buffer[: len(content)] = content
                return len(content)
        if self._decoder.unused_data or self._packed.read(1):
            raise ValueError("more than one stream")
        return 0


class _Forward:
    """What tarfile reads from: forward only, up to a limit of real bytes.

    Attributes:
        allowed: Bytes that may be asked for, because tarfile keeps a whole header in memory.
    """

    def __init__(self, plain: IO[bytes], packed_bytes: int, limits: Limits) -> None:
        self._plain = plain
        self._position = 0
        # a header of its own and two more for a long name, and the end of the archive
        whole = limits.total_bytes + 4_096 * (limits.files + 10)
        self._most = min(whole, max(_SMALL, limits.ratio * packed_bytes))
        self._too_much = (
            f"expected at most {limits.total_bytes} bytes and {limits.ratio} times the archive,"
            " got more"
        )
        self._last = b""
        self.allowed = _LONGEST_HEADER

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        self.allowed -= size
        if size < 0 or self.allowed < 0:
            raise ValueError(f"a header of more than {_LONGEST_HEADER} bytes")
        return self._take(size)

    def seek(self, position: int) -> None:
        if position < self._position:
            raise ValueError("a member of fewer than no bytes")
        while self._position < position and self._take(min(_CHUNK, position - self._position)):
            pass

    def finish(self) -> None:
        """Read to the end, because tarfile takes anything that is no header for the end."""
        if self._last != bytes(tarfile.BLOCKSIZE):
            raise ValueError("expected an empty block at the end, got none")
        while self._take(_CHUNK):
            if self._last.strip(b"\0"):
                raise ValueError("expected nothing after the end, got more")

    def _take(self, size: int) -> bytes:
        self._last = self._plain.read(size)
        self._position += len(self._last)
        if self._position > self._most:
            raise ValueError(self._too_much)
        return self._last


def _plain(packed: IO[bytes], ending: str) -> IO[bytes]:
    if ending == ".tar.xz":
        return io.BufferedReader(_Xz(packed))
    return packed if ending == ".tar" else cast("IO[bytes]", gzip.GzipFile(fileobj=packed))


def _walk_tar(archive: Path, ending: str, limits: Limits) -> _Walk:
    with archive.open("rb") as packed:
        stream = _Forward(_plain(packed, ending), archive.stat().st_size, limits)
        file = cast("IO[bytes]", stream)
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8") as tar:
            while info := tar.next():
                stream.allowed = info.size
                opened = cast("Callable[[], IO[bytes]]", partial(tar.extractfile, info))
                yield _tar_member(info), opened
                stream.allowed = _LONGEST_HEADER
                # tarfile keeps every header, and copies what is said of all files to each
                vars(tar).update(members=[], pax_headers={})
        stream.finish()


def _tar_member(info: tarfile.TarInfo) -> _Member:
    plain = info.isdir() or (
        info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not info.issparse()
    )
    return _Member(
        name=info.name.removeprefix("./") or ".",  # as `tar -C entry .` writes names
        folder=info.isdir(),
        size=info.size,
        packed=info.size,
        faults=() if plain else (_NOT_PLAIN,),
    )
