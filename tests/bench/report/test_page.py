"""The report as one page for browsers."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from ledgers import make_ledger
from planetcr_bench.report.report import write_comparison, write_report

EVIL = "<img src=x onerror=alert(1)> [a](http://b) `c`"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run and a comparison, with their figures."""
    run = make_ledger("one", scenes=12, method=EVIL)
    made = {name: tmp_path_factory.mktemp(name) for name in ("run", "both")}
    write_report(made["run"], run, {**run.provenance, "notes": [EVIL]})
    write_comparison(made["both"], [run, make_ledger("two", scenes=12, seed=1)])
    return made


def test_both_forms_have_the_same_findings_figures_and_tables(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        text, page = ((folder / f"report.{end}").read_text() for end in ("md", "html"))
        numbered = re.findall(r"^\d\. \*\*(.+?)\.\*\*", text, re.MULTILINE)
        assert numbered == re.findall(r"<li><strong>(.+?)\.</strong>", page)
        assert len(numbered) == 5
        assert text.index("## Findings") < text.index("## Scores")
        assert len(re.findall(r"^!\[", text, re.MULTILINE)) == page.count("<img ")
        titles = re.findall(r"^\*\*(.+)\*\*$", text, re.MULTILINE)
        assert sorted(titles) == sorted(
            title.replace("&#x27;", "'") for title in re.findall("<caption>(.+?)</caption>", page)
        )
        assert page.count("<th scope=") == sum(
            len(re.findall("<th scope=", row)) for row in page.split("<tr")
        )


def test_the_page_loads_nothing_and_shows_others_texts_as_they_are(
    folders: dict[str, Path],
) -> None:
    page = (folders["run"] / "report.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "<script" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") == 2
    assert 100_000 < len(page) < 400_000


@pytest.mark.parametrize(
    ("width", "scheme"), [(1400, "light"), (768, "light"), (390, "light"), (390, "dark")]
)
def test_axe_finds_no_violation_and_nothing_scrolls_sideways(
    browser, folders: dict[str, Path], width: int, scheme: str
) -> None:
    axe = Path(str(find_spec("axe_playwright_python").origin)).parent / "axe.min.js"
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto((folders["both"] / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every((one) => one.naturalWidth > 0)")
    page.evaluate(axe.read_text(encoding="utf-8"))  # no script element, which the policy forbids
    found = page.evaluate("axe.run().then((told) => told.violations)")
    assert [(one["id"], one["impact"], one["nodes"][0]["html"][:200]) for one in found] == []
    assert refused == []
    page.close()
