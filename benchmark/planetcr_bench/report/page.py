"""Write a report as Markdown, and as one page that opens from disk and loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt

from planetcr_bench.report.findings import Finding
from planetcr_bench.report.html import (
    html_page,
    html_picture,
    html_text,
    scrolling_table,
)
from planetcr_bench.report.table import Table, escape_markdown, to_markdown


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure that was saved.

    Attributes:
        path: Of the PNG, relative to the report.
        alt: What it shows, for those who do not see it.
    """

    path: str
    alt: str


Part = str | Table | Picture
"""Of a section: a paragraph or list in Markdown, a table, a figure."""


@dataclass(frozen=True, slots=True)
class Section:
    """Parts under one heading.

    Attributes:
        title: The heading.
        parts: In their order.
        folded: Whether browsers show it only when asked.
    """

    title: str
    parts: Sequence[Part]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A report.

    Attributes:
        title: Plain text.
        lead: What was scored, in Markdown, a paragraph each.
        findings: The main results.
        remarks: Under them, in Markdown.
        sections: By importance.
        facts: Of the appendix: name to text in Markdown, in one line.
    """

    title: str
    lead: Sequence[str]
    findings: Sequence[Finding]
    remarks: Sequence[str]
    sections: Sequence[Section]
    facts: Mapping[str, str] = field(default_factory=dict)


FINDINGS: Final = "Findings"
APPENDIX: Final = "How this was made"

# --- Markdown ------------------------------------------------------------------------------------


def to_report(page: Page, *, pictures: bool = True) -> str:
    """The report in Markdown.

    Args:
        page: The report.
        pictures: Point to the figures beside it.
    """
    lines = [
        f"{number}. **{finding.title}.** {escape_markdown(finding.text)}"
        for number, finding in enumerate(page.findings, 1)
    ]
    parts = [f"# {escape_markdown(page.title)}", *page.lead]
    parts += [f"## {FINDINGS}", "\n".join(lines), *page.remarks]
    for section in page.sections:
        shown = (part for part in section.parts if pictures or not isinstance(part, Picture))
        parts += [f"## {section.title}", *map(_to_markdown, shown)]
    if page.facts:
        rows = (f"| {name} | {text} |" for name, text in page.facts.items())
        parts += [f"## {APPENDIX}", "\n".join(["| | |", "|:--|:--|", *rows])]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _to_markdown(part: Part) -> str:
    if isinstance(part, Table):
        return to_markdown(part)
    return f"![{part.alt}]({part.path})" if isinstance(part, Picture) else part


# --- HTML ----------------------------------------------------------------------------------------


def to_html(page: Page, folder: Path) -> str:
    """The report as one file, whose policy allows its own style and pictures only.

    Args:
        page: The report.
        folder: Where its figures lie.
    """
    links = [(f"s{number}", section.title) for number, section in enumerate(page.sections)]
    links += [("appendix", APPENDIX)] * bool(page.facts)
    lines = "\n".join(map(_finding, page.findings))
    remarks = "\n".join(f'<div class="note">{_prose(text)}</div>' for text in page.remarks)
    findings = (
        f'<section class="findings" aria-labelledby="findings"><h2 id="findings">{FINDINGS}</h2>\n'
        f"<ol>\n{lines}\n</ol>\n{remarks}\n</section>"
    )
    sections = [
        _section(anchor, section, folder)
        for (anchor, _), section in zip(links, page.sections, strict=False)
    ]
    return html_page(
        page.title,
        style=(files("planetcr_bench.report") / "report.css").read_text(encoding="utf-8"),
        lead="\n".join(map(_prose, page.lead)),
        contents=links,
        body="\n".join([findings, *sections, _appendix(page.facts)]),
    )


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    """Paragraphs, lists, emphasis and code alone: no text of others can load or link anything."""
    return MarkdownIt("commonmark", {"html": False}).disable(["image", "link", "autolink"])


def _prose(text: str) -> str:
    return str(_markdown().render(text))


def _finding(finding: Finding) -> str:
    return f"<li><strong>{html_text(finding.title)}.</strong> {html_text(finding.text)}</li>"


def _section(anchor: str, section: Section, folder: Path) -> str:
    parts = "\n".join(_to_html(part, folder) for part in section.parts)
    if section.folded:
        parts = f"<details><summary>Show {len(section.parts)} tables</summary>\n{parts}\n</details>"
    return (
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{html_text(section.title)}</h2>\n'
        f"{parts}\n</section>"
    )


def _to_html(part: Part, folder: Path) -> str:
    if isinstance(part, Table):
        return _table(part)
    if isinstance(part, Picture):
        content = (folder / part.path).read_bytes()
        return html_picture(content, title=part.alt, alt=part.alt)
    return f'<div class="prose">{_prose(part)}</div>'


def _table(table: Table) -> str:
    """A table, whose notes are folded: readers want the figures first."""
    notes = "".join(f"<p>{html_text(note)}</p>" for note in table.notes)
    folded = f'<details class="how"><summary>How measured</summary>{notes}</details>'
    label = f"{table.title}, scrolls sideways"
    return f"{scrolling_table(table, label)}{folded if notes else ''}"


def _appendix(facts: Mapping[str, str]) -> str:
    if not facts:
        return ""
    rows = "\n".join(
        f"<dt>{html_text(name)}</dt><dd>{_markdown().renderInline(text)}</dd>"
        for name, text in facts.items()
    )
    return (
        f'<section aria-labelledby="appendix"><h2 id="appendix">{APPENDIX}</h2>\n'
        f"<details><summary>Data, tool and command</summary><dl>\n{rows}\n</dl></details></section>"
    )
