"""A terminal that knows few letters, a home that cannot be written to: what a command meets."""

from __future__ import annotations

import codecs
import encodings.ascii
import io
import logging
import os
import sys
import unicodedata
from typing import Final

_PLAIN: Final = {
    "×": "x",
    "·": "-",
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "°": "deg",
    "±": "+-",
    "↑": "^",
    "↓": "v",
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "√": "sqrt",
    "Δ": "D",
    "α": "alpha",
    "β": "beta",
    "θ": "theta",
    "σ": "sigma",
    "τ": "tau",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "æ": "ae",
    "ø": "o",
    "ß": "ss",
}
"""What stands for letters and signs that a terminal does not know."""

_LEGIBLE: Final = "planetcr_legible"
_ASCII: Final = "planetcr_ascii"


def settle() -> None:
    """Make a command speak so that its terminal understands, and of its own affairs alone."""
    codecs.register_error(_LEGIBLE, _legible)
    codecs.register(_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_ASCII if is_ascii else None, errors=_LEGIBLE)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it keeps its cache is its own
    os.environ["MPLBACKEND"] = "agg"  # nothing is shown in windows, or in notebooks


def _ascii(name: str) -> codecs.CodecInfo | None:
    """ASCII under another name: typer sends UTF-8 to a terminal whose encoding has its own."""
    if name != _ASCII:
        return None
    plain = encodings.ascii.getregentry()
    return codecs.CodecInfo(
        plain.encode,
        plain.decode,
        incrementalencoder=plain.incrementalencoder,
        incrementaldecoder=plain.incrementaldecoder,
        streamreader=plain.streamreader,
        streamwriter=plain.streamwriter,
        name=_ASCII,
    )


def _legible(error: UnicodeError) -> tuple[str, int]:
    """What is written instead of letters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(map(_plain, missing)), error.end


def _plain(letter: str) -> str:
    if unicodedata.category(letter) == "Cs":  # a byte of a file's name that is in no encoding
        return letter.encode("unicode_escape").decode()
    if letter in _PLAIN:
        return _PLAIN[letter]
    kept = "".join(part for part in unicodedata.normalize("NFKD", letter) if part.isascii())
    return kept if kept.strip() else "" if unicodedata.combining(letter) else "?"
