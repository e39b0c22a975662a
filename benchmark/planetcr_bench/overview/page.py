"""Write the overview as one page that opens from disk and loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Final

from planetcr_bench.overview.leakage import Leakage
from planetcr_bench.overview.statistics import Statistics
from planetcr_bench.report.html import (
    html_page,
    html_picture,
    html_table,
    html_text,
)
from planetcr_bench.report.table import Table, number

FEW_FINDINGS: Final = 20
"""Leaks that the page lists; the file has all."""


@dataclass(frozen=True, slots=True)
class Part:
    """A figure on the page, or why there is none.

    Attributes:
        title: Above it.
        picture: PNG; empty without one.
        caption: What it shows, for those who do not see it.
        reason: Why there is none.
        tables: Its numbers.
    """

    title: str
    picture: bytes = b""
    caption: str = ""
    reason: str = ""
    tables: Sequence[Table] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Section:
    """All of one dataset.

    Attributes:
        statistics: Of it.
        parts: Figures.
        leakage: What the audit found.
        findings: File with all findings, for the text.
    """

    statistics: Statistics
    parts: Sequence[Part]
    leakage: Leakage
    findings: str


def page(sections: Sequence[Section], datasets: Table) -> str:
    """The page in one file, whose policy allows its own style and pictures only.

    Args:
        sections: One per dataset.
        datasets: Tab. 1.
    """
    labels = [section.statistics.label for section in sections]
    anchors = [("tab1", "Datasets (Tab. 1)"), *((f"d{n}", label) for n, label in enumerate(labels))]
    body = [
        '<section aria-labelledby="tab1"><h2 id="tab1">Datasets (Tab. 1)</h2>',
        html_table(datasets, "Table of datasets, scrolls sideways"),
        "</section>",
        *(_section(f"d{number}", section) for number, section in enumerate(sections)),
    ]
    return html_page(
        f"Overview of {', '.join(labels)}",
        style=(files("planetcr_bench.overview") / "page.css").read_text(encoding="utf-8"),
        lead=f"<p>From one pass over all files. {_images(sections)}</p>",
        contents=anchors,
        body="\n".join(body),
    )


def _images(sections: Sequence[Section]) -> str:
    """Whose terms decide whether the page may be passed on."""
    if all(section.statistics.simulated for section in sections):
        return "All images are simulated."
    return "The page holds images of scenes: pass it on only if the terms of the data allow that."


def _section(anchor: str, section: Section) -> str:
    statistics = section.statistics
    parts = [
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{html_text(statistics.label)}</h2>',
        "<dl>",
        *(
            f"<dt>{html_text(name)}</dt><dd>{html_text(fact)}</dd>"
            for name, fact in _facts(statistics)
        ),
        "</dl>",
        *(_part(part) for part in section.parts if not part.reason),
        *_leaks(section),
    ]
    if missing := [part for part in section.parts if part.reason]:
        lines = (f"<li>{html_text(part.title)}: {html_text(part.reason)}.</li>" for part in missing)
        parts += ["<h3>Left out</h3><ul>", *lines, "</ul>"]
    return "\n".join([*parts, "</section>"])


def _facts(statistics: Statistics) -> list[tuple[str, str]]:
    described, scenes = statistics.description, statistics.scenes
    resolution = f", {described.pixel_size:g} m" if described.pixel_size else ""
    sizes = scenes.groupby(["height", "width"]).size()
    shown = ", ".join(f"{height} × {width}" for height, width in sizes.index[:3])
    word = statistics.cluster
    groups = f" in {scenes['aoi'].nunique():,} {word}s" if described.cluster else ""
    counts = ", ".join(f"{split} {len(own):,}" for split, own in statistics.files.items())
    facts = [
        *_origin(statistics),
        (
            "Sensor",
            f"{'simulated ' * statistics.simulated}{described.sensor or 'not known'}{resolution}",
        ),
        ("Bands", ", ".join(described.bands)),
        ("Size", f"{shown}{' and others' if len(sizes) > 3 else ''} pixels"),
        ("Products", ", ".join(name.replace("_", " ") for name in described.products)),
        ("Scenes", f"{len(scenes):,}{groups}: {counts}"),
        ("Cloud masks", statistics.masks),
        ("Fingerprint", statistics.fingerprint),
    ]
    return [(name, fact) for name, fact in facts if fact]


def _origin(statistics: Statistics) -> list[tuple[str, str]]:
    """Whose images they are; simulated ones only have the layout of those of the authors."""
    described = statistics.description
    if statistics.simulated:
        return [("Dataset", f"simulated, in the layout of {described.title}")]
    return [
        ("Dataset", described.title),
        ("Citation", described.citation),
        ("DOI", described.doi),
        ("Terms", described.licence),
    ]


def _part(part: Part) -> str:
    numbers = "".join(
        html_table(table, f"{table.title}, scrolls sideways") for table in part.tables
    )
    details = f"<details><summary>Numbers</summary>{numbers}</details>" if numbers else ""
    picture = html_picture(part.picture, title=part.title, alt=part.caption)
    return f"<h3>{html_text(part.title)}</h3>{picture}{details}"


def _leaks(section: Section) -> list[str]:
    leakage = section.leakage
    parts = ["<h3>Leakage audit</h3>"]
    if leakage.counts:
        rows = [
            [check, "not known" if count is None else f"{count:,}"]
            for check, count in leakage.counts.items()
        ]
        table = Table("What two splits share", ["Check", "Found"], rows, ["measured"] * len(rows))
        parts.append(html_table(table, "Leakage audit"))
        verdict = (
            f"Splits share what they should not; all findings: {section.findings}."
            if leakage.found
            else "Nothing that was checked is in two splits."
        )
        parts.append(f'<p class="{"found" if leakage.found else "note"}">{html_text(verdict)}</p>')
    if leakage.found:
        rows = [
            [
                str(pair["check"]),
                *(f"{pair[f'{which}_split']}: {pair[which]}" for which in ("first", "second")),
                number(pair["measure"], digits=3),
            ]
            for pair in leakage.pairs.head(FEW_FINDINGS).to_dict("records")
        ]
        header = ["Check", "First", "Second", "Correlation or covered share"]
        table = Table(f"The first {len(rows)} findings", header, rows, ["measured"] * len(rows))
        parts.append(
            f"<details><summary>Findings</summary>{html_table(table, 'Findings')}</details>"
        )
    return [*parts, *(f'<p class="note">{html_text(note)}</p>' for note in leakage.notes)]
