"""Adapt output and matplotlib to the terminal and machine that a command runs on."""

from __future__ import annotations

import codecs
import encodings.ascii
import io
import logging
import os
import sys
import unicodedata
from typing import Final

_REPLACEMENTS: Final = {
    "×": "x", "·": "-", "–": "-", "—": "-", "−": "-", "…": "...", "°": "deg", "±": "+-",
    "↑": "^", "↓": "v", "→": "->", "←": "<-", "≤": "<=", "≥": ">=", "≈": "~", "√": "sqrt",
    "Δ": "D", "α": "alpha", "β": "beta", "θ": "theta", "σ": "sigma", "τ": "tau", "‘": "'", "’": "'",
    "“": '"', "”": '"', "æ": "ae", "ø": "o", "ß": "ss",
}  # fmt: skip
"""What replaces letters and signs that the encoding of a terminal lacks."""

_REPLACE: Final = "planetcr_replace"
_ASCII: Final = "planetcr_ascii"


def adapt() -> None:
    """Print only letters that the terminal has, and keep matplotlib silent and without windows."""
    codecs.register_error(_REPLACE, _replace)
    codecs.register(_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_ASCII if is_ascii else None, errors=_REPLACE)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it reports where its cache is
    os.environ["MPLBACKEND"] = "agg"  # nothing is shown in windows, or in notebooks


def _ascii(name: str) -> codecs.CodecInfo | None:
    """ASCII under another name: typer sends UTF-8 to a terminal whose encoding has its own."""
    if name != _ASCII:
        return None
    codec = encodings.ascii.getregentry()
    return codecs.CodecInfo(
        codec.encode,
        codec.decode,
        incrementalencoder=codec.incrementalencoder,
        incrementaldecoder=codec.incrementaldecoder,
        streamreader=codec.streamreader,
        streamwriter=codec.streamwriter,
        name=_ASCII,
    )


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Replace letters that an encoding lacks; an error handler of ``codecs``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(map(_replacement, missing)), error.end


def _replacement(letter: str) -> str:
    if unicodedata.category(letter) == "Cs":  # a byte of a file name, not valid in its encoding
        return letter.encode("unicode_escape").decode()
    if letter in _REPLACEMENTS:
        return _REPLACEMENTS[letter]
    ascii_parts = filter(str.isascii, unicodedata.normalize("NFKD", letter))
    replacement = "".join(ascii_parts)
    return replacement if replacement.strip() else "" if unicodedata.combining(letter) else "?"
