"""Write texts of any script in figures: find fonts that have the letters, and break lines."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager, get_font
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FixedFormatter

OURS: Final = "DejaVu Sans"
"""The font of all figures; matplotlib brings it."""

_SPACE: Final = 0.33  # width of a space, in sizes of the font

_told: set[str] = set()


def families(text: str) -> list[str]:
    """Our font, then those that have the letters of a text which ours lacks."""
    missing = {letter for letter in text if _is_missing(letter)}
    return [OURS, *_fallbacks("".join(sorted(missing)))] if missing else [OURS]


def write_all_letters(figure: Figure) -> None:
    """Give each text of a figure fonts that have its letters; say once what no font has.

    Args:
        figure: Complete, before it is laid out.
    """
    texts: list[Text] = figure.findobj(Text)
    for text in texts:
        found = families(text.get_text())
        if found != [OURS]:
            text.set_fontfamily(found)
    axes: list[Axis] = figure.findobj(Axis)
    for axis in axes:
        formatter: Any = axis.get_major_formatter()
        labels = "".join(map(str, formatter.seq)) if isinstance(formatter, FixedFormatter) else ""
        found = families(labels)
        if found != [OURS]:
            axis.set_tick_params(labelfontfamily=found)


@contextmanager
def unwarned() -> Iterator[None]:
    """Letters that no font has become boxes; :func:`families` has said so in one line."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+")
        warnings.filterwarnings("ignore", message=r"Matplotlib currently does not support")
        yield


def wrap_words(words: Sequence[str], width: float) -> list[str]:
    """Break a text into lines.

    Args:
        words: Parts between which a line may break, each with its own spaces; a part that is too
            long is cut.
        width: Of a line, in sizes of the font.
    """
    pieces = [piece for word in words for piece in ([word] if text_width(word) <= width else word)]
    lines, used = [""], 0.0
    for piece in pieces:
        needed = text_width(piece.rstrip())
        if lines[-1] and used + needed > width:
            lines.append("")
            used = 0.0
        lines[-1] += piece
        used += needed + _SPACE * piece.count(" ")
    return [line.rstrip() for line in lines if line]


@functools.lru_cache(maxsize=1 << 14)
def text_width(text: str) -> float:
    """Width of a text in sizes of the font, with a little room for rounding to pixels."""
    font = FontProperties(family=families(text), size=100)
    with unwarned():
        width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return 1.03 * float(width) / 100


@functools.lru_cache(maxsize=1 << 12)
def _is_missing(letter: str) -> bool:
    return letter.isprintable() and not letter.isspace() and ord(letter) not in _letters(_path())


@functools.lru_cache(maxsize=256)
def _fallbacks(missing: str) -> tuple[str, ...]:
    """Families that together have these letters, as far as any that is installed has."""
    left, found = set(missing), []
    for family, path in sorted(_installed()):
        here = {letter for letter in left if ord(letter) in _letters(path)}
        if here:
            found.append(family)
            left -= here
        if not left:
            break
    _tell(left - _told)
    return tuple(found)


def _tell(lost: Iterable[str]) -> None:
    letters = "".join(sorted(lost))
    _told.update(letters)
    if letters:
        print(
            f"figures: no installed font has {letters}; boxes stand for these letters; install "
            "fonts that have them, such as Noto",
            file=sys.stderr,
        )


@functools.cache
def _installed() -> frozenset[tuple[str, str]]:
    """Families and files of installed fonts, upright and of normal weight."""
    return frozenset(
        (entry.name, entry.fname)
        for entry in fontManager.ttflist
        if entry.style == "normal"
        and str(entry.weight) in ("400", "normal", "regular")
        and not entry.name.startswith("Last Resort")  # has boxes for all letters
    )


@functools.cache
def _letters(path: str) -> frozenset[int]:
    """What a font has; none if it is one of pictures in fixed sizes, which cannot be scaled."""
    try:
        font = get_font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()


@functools.cache
def _path() -> str:
    return str(fontManager.findfont(FontProperties(family=OURS)))
