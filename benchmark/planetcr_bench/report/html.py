"""Write what pages consist of as HTML: the style that all share, tables, pictures."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from PIL import Image as Picture

from planetcr_bench import __version__
from planetcr_bench.report.table import Table
from planetcr_bench.utils.untrusted import printable

WIDEST: Final = 1600
"""Pixels of the width of a picture on a page; wider ones are drawn smaller, as JPEG."""

COLOURS: Final = 256
"""Of a picture of a page, which are enough for plots and make it a quarter as large."""

_PER_INCH: Final = 146
"""Pixels on a page for an inch in print: a figure across a page is 1,022 wide."""


def page_style() -> str:
    """Style sheet of the leaderboard, of overviews and of reports."""
    return (files("planetcr_bench.report") / "page.css").read_text(encoding="utf-8")


def policy_hash(text: str) -> str:
    """Hash by which a content security policy allows a style or a script."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def html_page(
    title: str, *, style: str, lead: str, contents: Iterable[tuple[str, str]], body: str
) -> str:
    """A page in one file, whose policy allows its own style and pictures only.

    Args:
        title: Plain text.
        style: After the style that all pages share.
        lead: HTML under the title.
        contents: Anchors of the body, and what they are called in plain text.
        body: HTML.
    """
    style = page_style() + style
    skeleton = (files("planetcr_bench.report") / "page.html").read_text(encoding="utf-8")
    return Template(skeleton).substitute(
        version=__version__,
        title=html_text(title),
        style=style,
        style_hash=policy_hash(style),
        lead=lead,
        contents="\n".join(
            f'<li><a href="#{anchor}">{html_text(name)}</a></li>' for anchor, name in contents
        ),
        body=body,
    )


def html_text(text: object) -> str:
    """Text of anybody, so that a page shows it as it is."""
    return escape(printable(str(text)))


def html_table(table: Table, label: str) -> str:
    """A table under its title, in a box that scrolls sideways, and its notes.

    Args:
        table: Any.
        label: Of the box, for those who do not see it.
    """
    notes = "".join(f'<p class="note">{html_text(note)}</p>' for note in table.notes)
    return f"{scrolling_table(table, label)}{notes}"


def scrolling_table(table: Table, label: str) -> str:
    """A table without its notes; those of its cells that LaTeX prints bold are bold here too."""
    head = "".join(
        f'<th scope="col">{html_text(name)}</th>' if name else "<td></td>" for name in table.header
    )
    rows = "".join(
        f'<tr class="{html_text(kind)}"><th scope="row">{html_text(row[0])}</th>'
        + "".join(
            f"<td{_BEST * ((index, column) in table.bold)}>{html_text(cell)}</td>"
            for column, cell in enumerate(row[1:], 1)
        )
        + "</tr>"
        for index, (row, kind) in enumerate(zip(table.rows, table.kinds, strict=True))
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html_text(label)}"><table>'
        f"<caption>{html_text(table.title)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


_BEST: Final = ' class="best"'


def html_picture(picture: bytes, *, title: str, alt: str) -> str:
    """A picture inside the page, in a box that scrolls sideways where it is too wide.

    Args:
        picture: PNG that says its resolution.
        title: Names the box.
        alt: What it shows, for those who do not see it.
    """
    kind, content, width = _small(picture)
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return (
        f'<figure><div class="scroll" tabindex="0" role="region" '
        f'aria-label="{html_text(title)}, scrolls sideways">'
        f'<img src="{source}" width="{width}" alt="{html_text(alt)}"></div></figure>'
    )


def _small(picture: bytes) -> tuple[str, bytes, int]:
    """Kind and bytes of a picture that is not too large for a page, and its width on the page."""
    stream = io.BytesIO()
    with Picture.open(io.BytesIO(picture)) as image:
        width = round(image.width / image.info["dpi"][0] * _PER_INCH)
        plain = image.convert("RGB")
    if plain.width <= WIDEST:
        few = plain.quantize(COLOURS, Picture.Quantize.FASTOCTREE, dither=Picture.Dither.NONE)
        few.save(stream, "PNG")
        return "png", stream.getvalue(), width
    size = WIDEST, round(plain.height * WIDEST / plain.width)
    plain.resize(size, Picture.Resampling.LANCZOS).save(stream, "JPEG", quality=88)
    return "jpeg", stream.getvalue(), width
