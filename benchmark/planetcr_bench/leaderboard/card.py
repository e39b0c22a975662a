"""A ``card.toml`` in, what an entry says of itself out, or every fault of the card at once.

A card comes from strangers and ends on a page: only plain text of modest length passes.
"""

from __future__ import annotations

import difflib
import itertools
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import tomli_w

from planetcr_bench.errors import SubmissionError
from planetcr_bench.utils.untrusted import read_toml

INPUTS: Final = ("optical", "sar")
"""What a method may look at: the cloudy optical image, and Sentinel-1."""

YEARS: Final = (1970, 2100)
LARGEST_CARD: Final = 64_000
"""Bytes of ``card.toml``."""

LONGEST: Final = {
    "method": 60, "bibtex": 4000, "notes": 2000, "training_data": 1000, "training": 80,
}  # fmt: skip
"""Characters of a field; 300 of any other."""


TEMPLATE: Final = """\
# Who made the method and how. Plain text; every key that is not marked optional is needed.
method = ""            # as the leaderboard shows it, at most 60 characters
authors = [""]         # one name each
licence = ""           # of the code, such as "MIT"; "none" if it is not published
year = 2026            # of the method
inputs = ["optical"]   # add "sar" if it looks at Sentinel-1
training_data = ""     # what it was trained on; "none" for a method that learns nothing
extra_data = ""        # anything beyond the training split: pre-training, other images; or "none"
hardware = ""          # on which it was trained and run, and for how long

# Optional:
# training = ""        # in a few words beside the method's name: "narrow, 20 minutes on a CPU"
# paper = ""           # title or address
# code = ""            # address, https://...
# parameters = 0       # how many numbers were learnt; `planetcr-bench models NAME` counts them
# macs = 0             # multiply-adds for one patch of 300 x 300 pixels
# bibtex = '''
# @article{key,
#   title = {...},
# }
# '''
# notes = ""
"""
"""A card to be filled in; refused as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryCard:
    """What ``card.toml`` says of an entry.

    Attributes:
        method: Name of the method, as the board shows it.
        authors: Who made it, one name each.
        licence: Of the code, or "none".
        year: Of the method.
        inputs: Some of :data:`INPUTS`.
        training_data: What it was trained on; "none" for a method that learns nothing.
        extra_data: Anything beyond the training split; "none".
        hardware: On which it was trained and run.
        training: In a few words what a reader must know at first sight, such as a narrow network
            that was trained for minutes; stands beside the method's name.
        paper: Title or address.
        code: Address.
        parameters: How many numbers were learnt.
        macs: Multiply–adds for one patch of 300 × 300 pixels.
        bibtex: One entry.
        notes: Anything else.
    """

    method: str
    authors: tuple[str, ...]
    licence: str
    year: int
    inputs: tuple[str, ...]
    training_data: str
    extra_data: str
    hardware: str
    training: str = ""
    paper: str = ""
    code: str = ""
    parameters: int | None = None
    macs: int | None = None
    bibtex: str = ""
    notes: str = ""


def read_entry_card(path: Path) -> EntryCard:
    """Read and check a card.

    Raises:
        SubmissionError: It cannot be read as TOML, or lists every key that is unknown or missing
            and every value that is not as it must be.
    """
    entries = read_toml(path, LARGEST_CARD, error=SubmissionError)
    problems = faults(entries)
    if problems:
        raise SubmissionError(
            f"{path}: expected a card as `planetcr-bench submit --template` prints it",
            [f"{path}: {problem}" for problem in problems],
        )
    lists = {key: tuple(value) for key, value in entries.items() if isinstance(value, list)}
    return EntryCard(**{**entries, **lists})


def to_toml(card: EntryCard) -> str:
    """What :func:`read_entry_card` reads as this card; nothing else that was in its file."""
    given = {key: value for key, value in asdict(card).items() if value not in (None, "")}
    return tomli_w.dumps(given, multiline_strings=True)


def faults(entries: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with the content of a card, one line each."""
    known = [field.name for field in fields(EntryCard)]
    found = []
    for key in entries:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            found.append(f"unknown key {_shown(key)}; {hint}")
    for name in known:
        if name in entries:
            found += [f"{name}: {fault}" for fault in _CHECKS[name](name, entries[name])]
        elif name in REQUIRED:
            found.append(f"{name}: expected it to be given, it is missing")
    return found


REQUIRED: Final = (
    "method", "authors", "licence", "year", "inputs", "training_data", "extra_data", "hardware",
)  # fmt: skip


def _shown(value: object) -> str:
    """What was given instead, cut to what fits into a line."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


_LONGEST_SHOWN: Final = 100


def _text(name: str, value: object) -> list[str]:
    if not isinstance(value, str):
        return [f"expected text, got {_shown(value)}"]
    if not value.strip():
        return ["expected text, got none"]
    lines = "\n\t" if name in ("bibtex", "notes") else ""
    return text_faults(value, longest=LONGEST.get(name, 300), lines=lines)


def text_faults(value: str, *, longest: int, lines: str = "") -> list[str]:
    """What keeps a stranger's text from being plain.

    Args:
        value: The text.
        longest: Characters that it may have.
        lines: Control characters that it may have.
    """
    found = []
    if len(value) > longest:
        found.append(f"expected at most {longest} characters, got {len(value)}")
    odd = sorted({one for one in value if one not in lines and unicodedata.category(one)[0] == "C"})
    if odd:
        found.append(f"expected no control characters, got {', '.join(map(ascii, odd[:3]))}")
    if "<" in value or ">" in value or re.search(r"&#?\w+;", value):
        found.append("expected plain text, got what looks like HTML ('<', '>' or '&…;')")
    if re.search(r"\b(?:javascript|vbscript|data)\s*:\s*\S*[(,;]", value, re.IGNORECASE):
        found.append("expected plain text, got what looks like a script")
    return found


def _method(name: str, value: object) -> list[str]:
    found = _text(name, value)
    if not found and not re.fullmatch(r"\w[\w.,+& /()'-]*", str(value)):
        wanted = "letters, digits, blanks and . , + & - _ / ( ) '"
        found.append(f"expected {wanted}, got {_shown(value)}")
    return found


def _address(name: str, value: object) -> list[str]:
    found = _text(name, value)
    if found or not re.match(r"[a-z][a-z0-9+.-]*:", str(value), re.IGNORECASE):
        return found or ([] if name == "paper" else [f"expected an address, got {_shown(value)}"])
    try:
        parts = urlsplit(str(value))
    except ValueError as error:
        return [f"expected an address, got {_shown(value)} ({error})"]
    if parts.scheme in ("http", "https"):
        return [] if parts.hostname and " " not in str(value) else ["expected a whole address"]
    title = name == "paper" and " " in str(value)
    return [] if title else [f"expected an address that begins with https://, got {_shown(value)}"]


def _names(name: str, value: object) -> list[str]:
    if not isinstance(value, list) or not 0 < len(value) <= 100:
        return [f"expected a list of names, got {_shown(value)}"]
    return [fault for one in value for fault in _text(name, one)]


def _inputs(_name: str, value: object) -> list[str]:
    if not isinstance(value, list) or not value or any(one not in INPUTS for one in value):
        return [f"expected some of {', '.join(INPUTS)}, got {_shown(value)}"]
    return [] if len(set(value)) == len(value) else [f"expected each once, got {_shown(value)}"]


def _count(_name: str, value: object) -> list[str]:
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**16
    return [] if whole else [f"expected a whole number of at least 0, got {_shown(value)}"]


def _year(_name: str, value: object) -> list[str]:
    low, high = YEARS
    whole = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    return [] if whole else [f"expected a year from {low} to {high}, got {_shown(value)}"]


def _bibtex(name: str, value: object) -> list[str]:
    found = _text(name, value)
    text = str(value).strip()
    begins = re.match(r"@(?!string|comment|preamble)\w+\s*\{\s*[^\s,{}]+\s*,", text, re.IGNORECASE)
    depths = list(itertools.accumulate({"{": 1, "}": -1}.get(one, 0) for one in text))
    closes = 0 in depths[text.find("{") :] and depths.index(0, text.find("{")) == len(text) - 1
    if not found and not (begins and closes):
        found.append("expected one BibTeX entry, @type{key, …}, with its braces closed")
    if not found and (command := re.search(_TEX_COMMAND, text)):
        found.append(f"expected no TeX but accents, got {command[0]}")
    return found


_TEX_COMMAND: Final = r"\\[A-Za-z]{3,}"
"""Accents and letters such as ``\\c``, ``\\ss`` and ``\\"`` are shorter."""


_CHECKS: Final[Mapping[str, Callable[[str, object], list[str]]]] = {
    **dict.fromkeys(
        ("licence", "training_data", "extra_data", "hardware", "training", "notes"),
        _text,
    ),
    "method": _method,
    "authors": _names,
    "year": _year,
    "inputs": _inputs,
    "paper": _address,
    "code": _address,
    "parameters": _count,
    "macs": _count,
    "bibtex": _bibtex,
}
