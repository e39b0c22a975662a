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

DEFAULT_FAMILY: Final = "DejaVu Sans"
"""The font of all figures; matplotlib brings it."""

_SPACE: Final = 0.33  # width of a space, in sizes of the font

_reported: set[str] = set()


def font_families(text: str) -> list[str]:
    """The default font, then those that have the letters of a text which it lacks."""
    missing = {letter for letter in text if _is_missing(letter)}
    return [DEFAULT_FAMILY, *_fallbacks("".join(sorted(missing)))] if missing else [DEFAULT_FAMILY]


def write_all_letters(figure: Figure) -> None:
    """Give each text of a figure fonts that have its letters; report once what no font has.

    Args:
        figure: Complete, before it is laid out.
    """
    texts: list[Text] = figure.findobj(Text)
    for text in texts:
        chosen = font_families(text.get_text())
        if chosen != [DEFAULT_FAMILY]:
            text.set_fontfamily(chosen)
    axes: list[Axis] = figure.findobj(Axis)
    for axis in axes:
        formatter: Any = axis.get_major_formatter()
        labels = "".join(map(str, formatter.seq)) if isinstance(formatter, FixedFormatter) else ""
        chosen = font_families(labels)
        if chosen != [DEFAULT_FAMILY]:
            axis.set_tick_params(labelfontfamily=chosen)


@contextmanager
def ignore_missing_glyphs() -> Iterator[None]:
    """Silence warnings about letters that no font has; :func:`font_families` reports them once."""
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
    font = FontProperties(family=font_families(text), size=100)
    with ignore_missing_glyphs():
        width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return 1.03 * float(width) / 100


@functools.lru_cache(maxsize=1 << 12)
def _is_missing(letter: str) -> bool:
    return (
        letter.isprintable()
        and not letter.isspace()
        and ord(letter) not in _letters(_default_path())
    )


@functools.lru_cache(maxsize=256)
def _fallbacks(missing: str) -> tuple[str, ...]:
    """Families that together have these letters, as far as any that is installed has."""
    left, chosen = set(missing), []
    for family, path in sorted(_installed()):
        here = {letter for letter in left if ord(letter) in _letters(path)}
        if here:
            chosen.append(family)
            left -= here
        if not left:
            break
    _report_missing(left - _reported)
    return tuple(chosen)


def _report_missing(lost: Iterable[str]) -> None:
    letters = "".join(sorted(lost))
    _reported.update(letters)
    if letters:
        print(
            f"figures: no installed font has {letters}; they are drawn as boxes; install "
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
    """Letters that a font has; none if it holds pictures in fixed sizes, which cannot be scaled."""
    try:
        font = get_font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()


@functools.cache
def _default_path() -> str:
    return str(fontManager.findfont(FontProperties(family=DEFAULT_FAMILY)))
