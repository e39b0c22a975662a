"""Open, read and parse files that somebody else may have written.

Nothing here blocks, takes more memory than the caller allows, or shows a traceback: a FIFO, a
device, a directory named like an image, a header that declares gigabytes, and a text nested ten
thousand levels deep each raise one error of the class that the caller names.
"""

from __future__ import annotations

import ast
import codecs
import itertools
import json
import math
import os
import re
import stat
import tomllib
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from planetcr_bench.errors import BenchError

LARGEST_TEXT: Final = 2_000_000
"""Default limit in bytes for a card, a list or a description."""

LARGEST_IMAGE: Final = 2_000_000_000
"""Limit in bytes for one image file."""

DEEPEST: Final = 50
"""Levels of nesting of a TOML or JSON text, and parts of one dotted key."""

MOST_KEYS: Final = 20_000
"""Keys, tables, elements and parts of dotted keys of a TOML text."""

MOST_DIGITS: Final = 30
"""Digits of an integer; reading and printing more takes quadratic time."""

_KINDS: Final = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def printable(text: object) -> str:
    r"""Make an untrusted name or text safe to print on a terminal in one line.

    Control characters, escape sequences, line breaks, lone surrogates and marks that change the
    direction of writing are escaped; everything else is unchanged.

    Example:
        >>> printable("a" + chr(27) + "[2Jb" + chr(10) + "é")
        'a\\x1b[2Jb\\né'
    """
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else char
        for char in str(text)
    )


def open_regular(path: str | Path, most: int, *, error: type[BenchError] = BenchError) -> IO[bytes]:
    """Open a regular file, or a link to one, for reading; never blocks.

    Args:
        path: The file.
        most: Largest size in bytes; checked before reading.
        error: Class of the exception that is raised.

    Raises:
        BenchError: It does not exist, is not a regular file, or is larger.
    """
    shown = printable(path)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        kind = next((name for is_kind, name in _KINDS if is_kind(Path(path).stat().st_mode)), None)
        if kind is not None:  # checked before opening, because opening a device may have effects
            raise error(f"{shown}: expected a regular file, got {kind}; remove it")
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"{shown}: cannot be read ({reason})") from problem
    stream = os.fdopen(descriptor, "rb")
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size <= most:
        return stream
    stream.close()
    if stat.S_ISREG(status.st_mode):
        raise error(f"{shown}: expected at most {most:,} bytes, got {status.st_size:,}")
    raise error(f"{shown}: expected a regular file, got something else; remove it")


def check_regular(path: str | Path, most: int, *, error: type[BenchError] = BenchError) -> None:
    """Refuse what :func:`open_regular` refuses; for files that a library opens by their path."""
    open_regular(path, most, error=error).close()


def read_bytes(
    path: str | Path, most: int = LARGEST_TEXT, *, error: type[BenchError] = BenchError
) -> bytes:
    """Read all bytes of a regular file.

    Raises:
        BenchError: See :func:`open_regular`; a file that grows past ``most`` is refused too.
    """
    with open_regular(path, most, error=error) as stream:
        try:
            data = stream.read(most + 1)
        except OSError as problem:
            raise error(f"{printable(path)}: cannot be read ({problem.strerror})") from problem
    if len(data) > most:
        raise error(f"{printable(path)}: expected at most {most:,} bytes, got more")
    return data


def decode(data: bytes, where: str, *, error: type[BenchError] = BenchError) -> str:
    """Decode UTF-8, with or without a byte order mark, or UTF-16 with one.

    Raises:
        BenchError: It is in another encoding.
    """
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not utf16 and b"\0" in data:
        raise error(
            f"{printable(where)}: expected text in UTF-8, got zero bytes, as UTF-16 without a byte "
            "order mark has them; save the file as UTF-8"
        )
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b"\n") + 1
        raise error(
            f"{printable(where)}: expected text in UTF-8, line {line} has the byte "
            f"0x{problem.object[problem.start]:02x}; save the file as UTF-8"
        ) from problem


def read_text(
    path: str | Path, most: int = LARGEST_TEXT, *, error: type[BenchError] = BenchError
) -> str:
    """Read the text of a regular file; see :func:`read_bytes` and :func:`decode`."""
    return decode(read_bytes(path, most, error=error), str(path), error=error)


# --- TOML and JSON --------------------------------------------------------------------------

_TOML_OPAQUE: Final = re.compile(
    r'"""(?:[^"\\]++|\\.|"(?!""))*+"{0,5}+'
    r"|'''(?:[^']++|'(?!''))*+'{0,5}+"
    r'|"(?:[^"\\\n]++|\\.)*+"?'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+",
    re.DOTALL,
)
"""Strings and comments of TOML; the scan is linear in malformed texts too."""

_LONGEST_WORD: Final = 1_000
"""Characters of a number, a date or a bare key; tomllib needs 100 bytes for each."""

_LONG_WORD: Final = re.compile(rf"(?<![\w+\-.:])[\w+\-.:]{{{_LONGEST_WORD + 1}}}")
_DOTTED: Final = re.compile(r"(?<![\w\-])[\w\-]++(?:[ \t]*+\.[ \t]*+[\w\-]++)+")


def read_toml(
    path: str | Path, most: int = LARGEST_TEXT, *, error: type[BenchError] = BenchError
) -> dict[str, Any]:
    """Read a TOML file; see :func:`parse_toml`."""
    return parse_toml(read_bytes(path, most, error=error), str(path), error=error)


def parse_toml(
    data: bytes | str, where: str, *, error: type[BenchError] = BenchError
) -> dict[str, Any]:
    """Parse TOML under limits on depth, keys and digits that are checked beforehand.

    Args:
        data: The text; bytes as :func:`decode` takes them.
        where: Its name, for messages.
        error: Class of the exception that is raised.

    Raises:
        BenchError: Not TOML, or beyond a limit.
    """
    text = data if isinstance(data, str) else decode(data, where, error=error)
    shown = printable(where)
    excess = _toml_excess(_TOML_OPAQUE.sub(_quoted, text))
    if excess:
        raise error(f"{shown}: expected {excess}")
    try:
        value = tomllib.loads(text)
    except (ValueError, RecursionError) as problem:
        raise error(f"{shown}: cannot be read as TOML ({printable(problem)[:300]})") from problem
    _refuse_odd(value, shown, error)
    return value


def _quoted(match: re.Match[str]) -> str:
    return "" if match[0].startswith("#") else "s"


def _toml_excess(bare: str) -> str | None:
    """Name the limit that a text without strings and comments exceeds."""
    deepest = max((match[0].count(".") + 1 for match in _DOTTED.finditer(bare)), default=0)
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", bare):
        depth = depth + 1 if bracket in "[{" else max(depth - 1, 0)
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        return f"at most {DEEPEST} levels of nesting"
    if sum(map(bare.count, "=[,.")) > MOST_KEYS:
        return f"at most {MOST_KEYS:,} keys, tables and elements"
    if _LONG_WORD.search(bare):
        return f"numbers and names of at most {_LONGEST_WORD:,} characters"
    return None


def read_json(
    path: str | Path, most: int = LARGEST_TEXT, *, error: type[BenchError] = BenchError
) -> dict[str, Any]:
    """Read a JSON file; see :func:`parse_json`."""
    return parse_json(read_bytes(path, most, error=error), str(path), error=error)


def parse_json(
    data: bytes | str, where: str, *, error: type[BenchError] = BenchError
) -> dict[str, Any]:
    """Parse a JSON object of plain finite values under the same limits as TOML.

    Raises:
        BenchError: Not JSON, not an object, nested too deeply, a number that is not finite or too
            long, or text that is not valid Unicode.
    """
    text = data if isinstance(data, str) else decode(data, where, error=error)
    shown = printable(where)
    try:
        value = json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_whole)
    except (ValueError, RecursionError) as problem:
        raise error(
            f"{shown}: expected JSON, cannot be read ({printable(problem)[:300]})"
        ) from problem
    if not isinstance(value, dict):
        raise error(f"{shown}: expected an object, got {type(value).__name__}")
    _refuse_odd(value, shown, error)
    return value


def _refuse_odd(value: object, shown: str, error: type[BenchError]) -> None:
    """Refuse values that would fail later, when they are printed, hashed or walked."""
    for depth, node in _nodes(value):
        if depth > DEEPEST:
            raise error(f"{shown}: expected at most {DEEPEST} levels of nesting")
        if isinstance(node, int) and abs(node) >= 10**MOST_DIGITS:
            raise error(f"{shown}: expected numbers of at most {MOST_DIGITS} digits")
        if isinstance(node, str) and _SURROGATE.search(node):
            raise error(f"{shown}: expected text of valid Unicode, got a lone surrogate")


_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def _nodes(value: object) -> Iterator[tuple[int, object]]:
    """Yield every value and key with its depth, without recursion."""
    branch = [iter((value,))]
    while branch:
        for node in branch[-1]:
            yield len(branch) - 1, node
            if isinstance(node, dict):
                branch.append(itertools.chain.from_iterable(node.items()))
                break
            if isinstance(node, list):
                branch.append(iter(node))
                break
        else:
            branch.pop()


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a finite number")
    return number


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits; at most {MOST_DIGITS} are read")
    return int(text)


# --- .npy -----------------------------------------------------------------------------------

_MAGIC: Final = b"\x93NUMPY"
_ZIP: Final = b"PK\x03\x04"
_LONGEST_HEADER: Final = 10_000


def npy_header(
    path: str | Path, *, error: type[BenchError] = BenchError
) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Read the header of a ``.npy`` file, trusted only as far as its size confirms it.

    Returns:
        dtype (boolean, integer, unsigned, float or complex; never structured or of objects),
        shape, whether it is in Fortran order, and the bytes before the first value.

    Raises:
        BenchError: It is not a regular file, is a zip (``.npz``), malformed, of another kind of
            dtype, or not of the size that dtype and shape require.
    """
    with open_regular(path, LARGEST_IMAGE, error=error) as stream:
        return _npy_header(stream, printable(path), error)


def _npy_header(
    stream: IO[bytes], shown: str, error: type[BenchError]
) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    size = os.fstat(stream.fileno()).st_size
    start = stream.read(8)
    if start.startswith(_ZIP):
        raise error(f"{shown}: expected one array (.npy), got a zip (.npz); save with numpy.save")
    if not start.startswith(_MAGIC) or len(start) < 8 or start[6] not in (1, 2, 3):
        raise error(f"{shown}: expected an array as numpy.save writes it, cannot be read")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    text = stream.read(min(length, _LONGEST_HEADER + 1))
    if length > _LONGEST_HEADER or len(text) != length:
        raise error(
            f"{shown}: expected a header of at most {_LONGEST_HEADER} bytes, cannot be read"
        )
    try:
        header = ast.literal_eval(text.decode("utf-8" if start[6] == 3 else "latin1"))
        descr, order, shape = (header.pop(key) for key in ("descr", "fortran_order", "shape"))
        dtype = npy_format.descr_to_dtype(descr)
    except Exception as problem:  # it is Python source, which can fail in any way
        raise error(
            f"{shown}: expected an array as numpy.save writes it, its header is broken"
        ) from problem
    if not isinstance(descr, str) or dtype.kind not in "buifc":
        raise error(f"{shown}: expected numbers, got {dtype}")
    plain = isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)
    whole = plain and len(shape) <= 8 and math.prod(side or 1 for side in shape) <= LARGEST_IMAGE
    if header or not whole or not isinstance(order, bool):
        raise error(f"{shown}: expected an array as numpy.save writes it, its header is broken")
    offset, needed = 8 + width + length, math.prod(shape) * dtype.itemsize
    if size != offset + needed:
        raise error(
            f"{shown}: expected {needed:,} bytes of values for shape {shape} of {dtype}, got "
            f"{size - offset:,}; the file is cut off or not what it declares"
        )
    return dtype, shape, order, offset


def read_npy(path: str | Path, *, error: type[BenchError] = BenchError) -> NDArray[Any]:
    """Read the array of a ``.npy`` file; see :func:`npy_header`."""
    with open_regular(path, LARGEST_IMAGE, error=error) as stream:
        dtype, shape, fortran, _ = _npy_header(stream, printable(path), error)
        flat = np.empty(math.prod(shape), dtype)
        if stream.readinto(flat.view(np.uint8).data) != flat.nbytes:  # type: ignore[attr-defined]
            raise error(f"{printable(path)}: cannot be read, it changed in the meantime")
    return flat.reshape(shape, order="F" if fortran else "C")
