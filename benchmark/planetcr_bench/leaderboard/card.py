"""Read the card of an entry: who made the method, and how.

A card comes from a stranger and is shown on a page: only short plain text passes.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import urlsplit

import tomli_w
from pydantic import AfterValidator, ConfigDict, Field

from planetcr_bench.errors import SubmissionError
from planetcr_bench.utils.untrusted import read_toml
from planetcr_bench.utils.validation import FileModel, shown, validate

LARGEST_CARD: Final = 64_000
"""Bytes of ``card.toml``."""

TEMPLATE: Final = """\
# Who made the method and how. Plain text; every key that is not marked optional is needed.
method = ""            # as the leaderboard shows it, at most 60 characters
authors = [""]         # one name each
licence = ""           # of the code, such as "MIT"; "none" if it is not published
year = 2026            # of the method
inputs = ["optical"]   # add "sar" if it uses Sentinel-1
training_data = ""     # what it was trained on; "none" for a method that learns nothing
extra_data = ""        # anything beyond the training split: pre-training, other images; or "none"
hardware = ""          # on which it was trained and run, and for how long

# Optional:
# training = ""        # in a few words beside the method's name: "narrow, 20 minutes on a CPU"
# paper = ""           # title or address
# code = ""            # address, https://...
# parameters = 0       # trained parameters; `planetcr-bench models NAME` counts them
# macs = 0             # multiply-adds for one patch of the dataset, such as 300 x 300 pixels
# bibtex = '''
# @article{key,
#   title = {...},
# }
# '''
# notes = ""
"""
"""A card to fill in; it is refused as it is."""


_Value = TypeVar("_Value", bound=str)

# --- Plain text -----------------------------------------------------------------------------


def text_errors(text: str, *, longest: int, lines: str = "") -> list[str]:
    """Reasons why a text is not plain.

    Args:
        text: The text.
        longest: Characters that it may have.
        lines: Control characters that it may have.
    """
    errors = []
    if len(text) > longest:
        errors.append(f"expected at most {longest} characters, got {len(text)}")
    odd = sorted(
        {char for char in text if char not in lines and unicodedata.category(char)[0] == "C"}
    )
    if odd:
        errors.append(f"expected no control characters, got {', '.join(map(ascii, odd[:3]))}")
    if "<" in text or ">" in text or re.search(r"&#?\w+;", text):
        errors.append("expected plain text, got what looks like HTML ('<', '>' or '&…;')")
    return errors


def _plain_text(longest: int = 300, lines: str = "") -> AfterValidator:
    """A text that is given and plain."""

    def check(text: str) -> str:
        errors = text_errors(text, longest=longest, lines=lines)
        if not text.strip():
            errors.append("expected text, got none")
        if errors:
            raise ValueError("; ".join(errors))
        return text

    return AfterValidator(check)


def _check_name(text: str) -> str:
    if not re.fullmatch(r"\w[\w.,+& /()'-]*", text):
        wanted = "letters, digits, blanks and . , + & - _ / ( ) '"
        raise ValueError(f"expected {wanted}, got {shown(text)}")
    return text


def _check_address(text: str) -> str:
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and parts.hostname and " " not in text
    except ValueError:
        whole = False
    if not whole:
        raise ValueError(f"expected an address that begins with https://, got {shown(text)}")
    return text


def _check_paper(text: str) -> str:
    """A title, or an address: whatever begins like an address must be a complete one."""
    return _check_address(text) if re.match(r"[A-Za-z][\w+.-]*:\S*$", text) else text


def _check_bibtex(text: str) -> str:
    bare = text.strip()
    begins = re.match(r"@(?!string|comment|preamble)\w+\s*\{\s*[^\s,{}]+\s*,", bare, re.IGNORECASE)
    depths = list(itertools.accumulate({"{": 1, "}": -1}.get(char, 0) for char in bare))
    start = bare.find("{")
    closes = 0 in depths[start:] and depths.index(0, start) == len(bare) - 1
    if not (begins and closes):
        raise ValueError("expected one BibTeX entry, @type{key, …}, with its braces closed")
    if command := re.search(r"\\[A-Za-z]{3,}", bare):  # accents, \c and \ss are shorter
        raise ValueError(f"expected no TeX but accents, got {command[0]}")
    return text


def _check_some(values: tuple[_Value, ...]) -> tuple[_Value, ...]:
    if not 0 < len(values) <= 100 or len(set(values)) < len(values):
        raise ValueError(f"expected 1 to 100 of them, each once, got {shown(list(values))}")
    return values


_Text = Annotated[str, _plain_text()]
_Count = Annotated[int, Field(ge=0, lt=10**16)]


class EntryCard(FileModel):
    """What ``card.toml`` says of an entry.

    Attributes:
        method: Name of the method, as the board shows it.
        authors: Who made it, one name each.
        licence: Of the code, or "none".
        year: Of the method.
        inputs: What it looks at: the cloudy optical image, and Sentinel-1.
        training_data: What it was trained on; "none" for a method that learns nothing.
        extra_data: Anything beyond the training split; "none".
        hardware: On which it was trained and run.
        training: In a few words what a reader must know at first sight, such as a narrow network
            that was trained for minutes; shown beside the method's name.
        paper: Title or address.
        code: Address.
        parameters: Number of trained parameters.
        macs: Multiply–adds for one patch of the dataset, of Planet-CR 300 × 300 pixels.
        bibtex: One entry.
        notes: Anything else.
    """

    model_config = ConfigDict(title="a card as `planetcr-bench submit pack --template` prints it")

    method: Annotated[str, _plain_text(60), AfterValidator(_check_name)]
    authors: Annotated[tuple[_Text, ...], Field(strict=False), AfterValidator(_check_some)]
    licence: _Text
    year: Annotated[int, Field(ge=1970, le=2100)]
    inputs: Annotated[
        tuple[Literal["optical", "sar"], ...],
        Field(strict=False),
        AfterValidator(_check_some),
    ]
    training_data: Annotated[str, _plain_text(1000)]
    extra_data: _Text
    hardware: _Text
    training: Annotated[str, _plain_text(80)] = ""
    paper: Annotated[str, _plain_text(), AfterValidator(_check_paper)] = ""
    code: Annotated[str, _plain_text(), AfterValidator(_check_address)] = ""
    parameters: _Count | None = None
    macs: _Count | None = None
    bibtex: Annotated[str, _plain_text(4000, "\n\t"), AfterValidator(_check_bibtex)] = ""
    notes: Annotated[str, _plain_text(2000, "\n\t")] = ""


def read_entry_card(path: Path) -> EntryCard:
    """Read and check a card.

    Raises:
        SubmissionError: It cannot be read as TOML, or lists every key that is unknown or missing
            and every value that is not as it must be.
    """
    entries = read_toml(path, LARGEST_CARD, error=SubmissionError)
    return validate(EntryCard, entries, str(path), error=SubmissionError)


def to_toml(card: EntryCard) -> str:
    """What :func:`read_entry_card` reads as this card; nothing else that was in its file."""
    return tomli_w.dumps(card.model_dump(exclude_defaults=True), multiline_strings=True)
