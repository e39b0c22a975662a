"""Write the overview as one page that opens from disk and loads nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from PIL import Image as Picture

from planetcr_bench import __version__
from planetcr_bench.leaderboard.page import page_part, policy_hash
from planetcr_bench.overview.leakage import Leakage
from planetcr_bench.overview.statistics import Statistics
from planetcr_bench.report.table import Table, number
from planetcr_bench.utils.untrusted import printable

WIDEST: Final = 1600
"""Pixels of the width of a picture on the page; wider ones are drawn smaller, as JPEG."""

FEW_FINDINGS: Final = 20
"""Leaks that the page lists; the file has all."""

_PER_INCH: Final = 146
"""Pixels on the page for an inch in print: a figure across a page is 1,022 wide."""


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
    style = page_part("page.css") + _own("page.css")
    labels = [section.statistics.label for section in sections]
    anchors = [("tab1", "Datasets (Tab. 1)"), *((f"d{n}", label) for n, label in enumerate(labels))]
    body = [
        '<section aria-labelledby="tab1"><h2 id="tab1">Datasets (Tab. 1)</h2>',
        _table(datasets, "Table of datasets, scrolls sideways"),
        "</section>",
        *(_section(f"d{number}", section) for number, section in enumerate(sections)),
    ]
    return Template(_own("page.html")).substitute(
        version=__version__,
        title=_text(", ".join(labels)),
        style=style,
        style_hash=policy_hash(style),
        images=_images(sections),
        contents="\n".join(f'<li><a href="#{key}">{_text(name)}</a></li>' for key, name in anchors),
        body="\n".join(body),
    )


def _own(name: str) -> str:
    return (files("planetcr_bench.overview") / name).read_text(encoding="utf-8")


def _text(text: object) -> str:
    return escape(printable(str(text)))


def _images(sections: Sequence[Section]) -> str:
    """Whose terms decide whether the page may be passed on."""
    if all(section.statistics.simulated for section in sections):
        return "All images are simulated."
    return "The page holds images of scenes: pass it on only if the terms of the data allow that."


def _section(anchor: str, section: Section) -> str:
    statistics = section.statistics
    parts = [
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{_text(statistics.label)}</h2>',
        "<dl>",
        *(f"<dt>{_text(name)}</dt><dd>{_text(fact)}</dd>" for name, fact in _facts(statistics)),
        "</dl>",
        *(_part(part) for part in section.parts if not part.reason),
        *_leaks(section),
    ]
    if missing := [part for part in section.parts if part.reason]:
        lines = (f"<li>{_text(part.title)}: {_text(part.reason)}.</li>" for part in missing)
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
    numbers = "".join(_table(table, f"{table.title}, scrolls sideways") for table in part.tables)
    details = f"<details><summary>Numbers</summary>{numbers}</details>" if numbers else ""
    kind, content, width = _small(part.picture)
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    title = _text(part.title)
    return (
        f"<h3>{title}</h3><figure>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{title}, scrolls sideways">'
        f'<img src="{source}" width="{width}" alt="{_text(part.caption)}"></div></figure>{details}'
    )


def _small(picture: bytes) -> tuple[str, bytes, int]:
    """Kind and bytes of a picture that is not too large for a page, and its width on the page."""
    with Picture.open(io.BytesIO(picture)) as image:
        width = round(image.width / image.info["dpi"][0] * _PER_INCH)
        if image.width <= WIDEST:
            return "png", picture, width
        size = WIDEST, round(image.height * WIDEST / image.width)
        small = image.convert("RGB").resize(size, Picture.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=88)
    return "jpeg", stream.getvalue(), width


def _leaks(section: Section) -> list[str]:
    leakage = section.leakage
    parts = ["<h3>Leakage audit</h3>"]
    if leakage.counts:
        rows = [
            [check, "not known" if count is None else f"{count:,}"]
            for check, count in leakage.counts.items()
        ]
        table = Table("What two splits share", ["Check", "Found"], rows, ["measured"] * len(rows))
        parts.append(_table(table, "Leakage audit"))
        verdict = (
            f"Splits share what they should not; all findings: {section.findings}."
            if leakage.found
            else "Nothing that was checked is in two splits."
        )
        parts.append(f'<p class="{"found" if leakage.found else "note"}">{_text(verdict)}</p>')
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
        parts.append(f"<details><summary>Findings</summary>{_table(table, 'Findings')}</details>")
    return [*parts, *(f'<p class="note">{_text(note)}</p>' for note in leakage.notes)]


def _table(table: Table, label: str) -> str:
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in table.header)
    rows = "".join(
        f'<tr class="{_text(kind)}"><th scope="row">{_text(row[0])}</th>'
        + "".join(f"<td>{_text(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row, kind in zip(table.rows, table.kinds, strict=True)
    )
    notes = "".join(f'<p class="note">{_text(note)}</p>' for note in table.notes)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(label)}"><table>'
        f"<caption>{_text(table.title)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>{notes}"
    )
