"""Make pages of the site that are not in docs/, and keep links right that work in the repository.

Pages of other folders (``PAGES``), notebooks, commands and the Python reference become pages of the
site. A link to another file of the repository leads to a page with its text, as the site must be
whole without a network.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
BOARD = ROOT / "build/site"
"""The leaderboard; if it has been built, it becomes a part of the site."""

PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "results/README.md": "results.md",
}
"""Pages of the site by the documents of the repository that they show."""

STANDS_FOR = {"README.md": "index.md", "submissions/README.md": "submissions.md"}
"""Pages of docs/ that a document of the repository only leads to."""

ROLES = "api.html"
"""The page whose text comes from docstrings."""

LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
"""The path of a link that is neither of the web nor within its page."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give headings GitHub's anchors, and name a leaderboard that is there."""
    config.mdx_configs["toc"]["slugify"] = github_anchor
    if (BOARD / "index.html").exists() and config.nav is not None:
        config.nav.append({"Leaderboard": "board/index.html"})
    return config


def github_anchor(heading: str, separator: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from other files."""
    pages = {uri: (ROOT / name).read_text() for name, uri in PAGES.items()}
    pages |= {"cli.md": commands(), "api.md": reference()}
    for path in sorted((ROOT / "docs/notebooks").glob("*.py")):
        pages[f"notebooks/{path.stem}.md"] = notebook(path)
    for name in sorted(linked_files()):
        pages[source_page(name)] = source(ROOT / name)
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text))
    for path in (path for path in sorted(BOARD.rglob("*")) if path.is_file()):
        uri = f"board/{path.relative_to(BOARD).as_posix()}"
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files of the repository to their pages of the site."""
    uri = page.file.src_uri
    home = next((name for name, made in PAGES.items() if made == uri), f"docs/{uri}")

    def led(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(home), match[1]))
        return posixpath.relpath(page_of(target), posixpath.dirname(uri) or ".")

    return LINK.sub(led, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Take the roles of reStructuredText away, which docstrings have before names."""
    return re.sub(r":(?:class|func|meth|mod):(?=<code>)", "", html) if ROLES in page.url else html


def page_of(name: str) -> str:
    """The page or file of the site for a path of the repository, relative to docs/."""
    if name in PAGES | STANDS_FOR:
        return (PAGES | STANDS_FOR)[name]
    if name.startswith("docs/") and not name.endswith(".py"):
        return name.removeprefix("docs/")
    if name.startswith("docs/notebooks/"):
        return name.removeprefix("docs/").removesuffix(".py") + ".md"
    return source_page(name)


def source_page(name: str) -> str:
    """The page that shows a file or folder of the repository."""
    return f"source/{name}.md"


def linked_files() -> Iterator[str]:
    """Files and folders that the pages link to and that are no pages themselves."""
    documents = [*ROOT.glob("docs/**/*.md"), *(ROOT / name for name in PAGES)]
    for path in documents:
        for link in LINK.findall(path.read_text()):
            target = (path.parent / link).resolve()
            name = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else ""
            if target.exists() and page_of(name) == source_page(name):
                yield name


def source(path: Path) -> str:
    """A page with the text of a file, or with the texts of the files of a folder."""
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        rows = "".join(f"- `{child.relative_to(path)}`\n" for child in sorted(path.rglob("*")))
        texts = (part for child in sorted(path.iterdir()) for part in fenced(child))
        return f"# {name}\n\nA folder of the repository:\n\n{rows}\n" + "".join(texts)
    return f"# {name}\n\nA file of the repository.\n\n" + "".join(fenced(path))


def fenced(path: Path) -> Iterator[str]:
    """The text of a short text file, as code."""
    kinds = {".toml": "toml", ".json": "json", ".sh": "bash", ".py": "python"}
    if path.suffix in kinds and path.stat().st_size < 20_000:
        yield f"## {path.name}\n\n````{kinds[path.suffix]}\n{path.read_text()}````\n\n"


def notebook(path: Path) -> str:
    """The page of a notebook that is kept as text, in jupytext's percent format."""
    parts = []
    for cell in re.split(r"^# %%", path.read_text(), flags=re.MULTILINE)[1:]:
        kind, _, body = cell.partition("\n")
        text = re.sub(r"^# ?", "", body, flags=re.MULTILINE) if "[markdown]" in kind else ""
        parts.append(text.strip() if text else f"```python\n{body.strip()}\n```")
    first, *rest = parts
    return "\n\n".join(
        [first, f"*A notebook: `docs/notebooks/{path.name}`, opened by jupytext.*", *rest]
    )


def commands() -> str:
    """The page of all commands, from the command line itself."""
    import typer

    from planetcr_bench.cli.app import app

    head = "# Commands\n\nAs `planetcr-bench COMMAND --help` prints them.\n\n"
    return head + "".join(command_sections(typer.main.get_command(app), "planetcr-bench"))


def command_sections(command: Any, name: str) -> Iterator[str]:
    """A section for each command below this one."""
    children = getattr(command, "commands", None)
    if children:
        for child in children.values():
            yield from command_sections(child, f"{name} {child.name}")
        return
    context = command.context_class(command, info_name=name)
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield f"## {name.removeprefix('planetcr-bench ')}\n\n```text\n{usage}\n```\n\n"
    yield (command.help or "").replace("\b", "").strip() + "\n\n"
    records = [param.get_help_record(context) for param in command.params]
    rows = "".join(option_row(*record) for record in records if record)
    yield f"| Argument or option | |\n|:--|:--|\n{rows}\n" if rows else ""


def option_row(name: str, text: str) -> str:
    """The row of an argument or option."""
    name, text = (" ".join(cell.split()).replace("|", "\\|") for cell in (name, text))
    text = re.sub(r"([<*_])", r"\\\1", text)
    return f"| `{name}` | {text} |\n"


def reference() -> str:
    """The page of the public names of planetcr_bench, which mkdocstrings fills in."""
    import planetcr_bench as pb
    from planetcr_bench import metrics

    names = sorted(pb._HOME, key=lambda name: (name[0].isupper(), name))  # noqa: SLF001
    homes = [f"planetcr_bench.{pb._HOME[name]}.{name}" for name in names]  # noqa: SLF001
    scores = [f"planetcr_bench.metrics.functional.{name}" for name in metrics.__all__]
    torch = [f"planetcr_bench.torch.{home}.{name}" for name, home in torch_homes().items()]
    sections = {
        "planetcr_bench": homes,
        "planetcr_bench.metrics": scores,
        "planetcr_bench.torch": torch,
    }
    text = (
        "# API\n\nThe public names of the package. [Python](python.md) shows how they are used.\n\n"
    )
    for title, members in sections.items():
        text += f"## {title}\n\n" + "".join(f"::: {member}\n\n" for member in members)
    return text


def torch_homes() -> dict[str, str]:
    """Modules of the public names of ``planetcr_bench.torch``."""
    from planetcr_bench import torch

    return {name: home.rpartition(".")[2] for name, home in torch._HOME.items()}  # noqa: SLF001
