"""Collect what a paper cites: the papers of its methods, of the dataset, and this software."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from planetcr_bench import __version__
from planetcr_bench.constants import PLANET_CR
from planetcr_bench.figures.style import known_method
from planetcr_bench.leaderboard.page import PAPER_BIBTEX
from planetcr_bench.paper.runs import Method, Runs
from planetcr_bench.report.latex import is_known

PAPER_KEY: Final = "xu2024m3rcr"
"""Of the paper of Planet-CR and Align-CR."""

SOFTWARE_KEY: Final = "planetcr_bench"

_SOFTWARE: Final = f"""\
@misc{{{SOFTWARE_KEY},
  title  = {{planetcr-bench: an evaluation suite for cloud removal}},
  author = {{{{The planetcr-bench developers}}}},
  year   = {{2026}},
  note   = {{Version {__version__}}}
}}
"""


def references(runs: Runs) -> tuple[str, dict[str, str]]:
    """The references of a paper.

    A method is cited by the BibTeX of its card, else as the paper that described it, if it is one
    of the known methods, else by the authors, the paper and the year that its card names.

    Returns:
        The text of a ``.bib`` file, and the label of each method that is cited to its key.
    """
    known = _known()
    entries: dict[str, str] = {SOFTWARE_KEY: _SOFTWARE}
    if runs.published or runs.ledgers[0].provenance["track"] == PLANET_CR:
        entries[PAPER_KEY] = PAPER_BIBTEX
    cites: dict[str, str] = {}
    for method in runs.methods:
        text = _entry(method, known)
        if not text:
            continue
        key, text = _free_key(text, entries)
        entries[key] = text
        cites[method.label] = key
    return "\n".join(f"{_compilable(text).strip()}\n" for text in entries.values()), cites


def _entry(method: Method, known: dict[str, str]) -> str:
    """BibTeX of a method; empty where nothing is known, and of baselines of this software."""
    card, name = method.card, known_method(method.run)
    if card is not None and card.bibtex:
        return card.bibtex.strip()
    if method.kind == "baseline":
        return ""
    if name is not None and name.split("_no_")[0] in known:
        return known[name.split("_no_")[0]]
    if card is None:
        return ""
    key = re.sub(r"[^0-9A-Za-z]+", "_", unicodedata.normalize("NFKD", method.run)).strip("_")
    lines = {
        "title": f"{{{_braced(card.paper or card.method)}}}",
        "author": " and ".join(f"{{{_braced(name)}}}" for name in card.authors),
        "year": f"{card.year}",
        **({"howpublished": _braced(card.code)} if card.code else {}),
    }
    body = ",\n".join(f"  {name} = {{{value}}}" for name, value in lines.items())
    return f"@misc{{{key},\n{body}\n}}"


def _braced(text: str) -> str:
    """A text of a card in BibTeX: without what would close a field or begin a command."""
    return re.sub(r"[{}\\$^~]", " ", text)


def _free_key(text: str, entries: dict[str, str]) -> tuple[str, str]:
    """The key of an entry, changed where another entry has it."""
    match = re.match(r"\s*@\w+\s*\{\s*([^\s,{}]+)", text)
    assert match is not None  # cards are checked, the others are ours
    own = key = _plain_key(match[1])
    number = 2
    while key in entries and entries[key] != text.replace(match[1], key, 1):
        key, number = f"{own}_{number}", number + 1
    return key, text.replace(match[1], key, 1)


def _plain_key(key: str) -> str:
    """A key that neither LaTeX nor BibTeX takes for a command."""
    plain = unicodedata.normalize("NFKD", key).encode("ascii", "ignore").decode()
    return re.sub(r"[^0-9A-Za-z:.+_/-]", "", plain) or "method"


def _compilable(text: str) -> str:
    r"""BibTeX in which ``&``, ``%``, ``#`` and ``_`` are escaped, except in keys and addresses."""
    first, _, rest = text.partition(",")
    lines = []
    for line in rest.split("\n"):
        if not re.match(r"\s*(url|doi|eprint)\s*=", line, re.IGNORECASE):
            line = re.sub(r"(?<!\\)([&%#_])", r"\\\1", line)  # noqa: PLW2901
        lines.append("".join(char if is_known(char) else _nearest(char) for char in line))
    return ",".join([first, "\n".join(lines)])


def _nearest(char: str) -> str:
    """Letters that LaTeX can print, in place of one that it cannot."""
    plain = unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode()
    return plain or "?"


def _known() -> dict[str, str]:
    """Key of a method to the BibTeX of its paper."""
    text = (files("planetcr_bench.paper") / "methods.bib").read_text(encoding="utf-8")
    parts: Sequence[str] = re.split(r"^% (\w+)\n", text, flags=re.MULTILINE)[1:]
    return {name: entry.strip() for name, entry in zip(parts[::2], parts[1::2], strict=True)} | {
        "align_cr": PAPER_BIBTEX.strip()
    }
