"""Links between the documents of the repository resolve."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from paths import ROOT

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / folder / "README.md" for folder in ("benchmark", "models", "results")),
        ROOT / "submissions/README.md",
    ]
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_resolve(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if link.startswith("https:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors_of(target), link


def test_the_readme_lists_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert all(f"(docs/{page.name})" in text for page in (ROOT / "docs").glob("*.md"))


def pages_of(nav: list | dict | str) -> Iterator[str]:
    """The pages of the site's navigation, in order."""
    if isinstance(nav, str):
        yield nav
        return
    for child in nav.values() if isinstance(nav, dict) else nav:
        yield from pages_of(child)


def test_the_site_leads_to_every_page_once() -> None:
    docs = ROOT / "docs"
    pages = list(pages_of(yaml.safe_load((docs / "site/mkdocs.yml").read_text())["nav"]))
    assert len(set(pages)) == len(pages)
    made = {"api.md", "changelog.md", "cli.md", "contributing.md", "results.md"}  # by hooks.py
    notebooks = {f"notebooks/{path.stem}.md" for path in docs.glob("notebooks/*.py")}
    assert set(pages) == {page.name for page in docs.glob("*.md")} | notebooks | made


def test_the_site_loads_nothing_from_the_web() -> None:
    config = yaml.safe_load((ROOT / "docs/site/mkdocs.yml").read_text())
    assert config["theme"]["font"] is False
    assert config["extra"]["polyfills"] == ["site/iframe-worker.js"]
    assert not re.search(r"https?://", (ROOT / "docs/site/mkdocs.yml").read_text())
