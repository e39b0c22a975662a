"""Write a paper's folder: tables, figures, references, documents, and how each file was made."""

from __future__ import annotations

import hashlib
import platform
import shlex
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from planetcr_bench import __version__
from planetcr_bench.errors import UsageError
from planetcr_bench.paper.documents import (
    AREAS,
    MARK,
    Contents,
    Style,
    paper_tex,
    signatures_tex,
    statistics,
    supplement_tex,
)
from planetcr_bench.paper.figures import (
    FORMATS,
    draw_figures,
    draw_supplement,
)
from planetcr_bench.paper.references import references
from planetcr_bench.paper.runs import Method, Runs
from planetcr_bench.paper.tables import PaperTables, ablation_groups
from planetcr_bench.report.latex import is_known, latex_file
from planetcr_bench.report.table import Table
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.untrusted import printable, read_bytes

README: Final = "README.txt"

_MADE: Final = {
    "paper.tex": "all tables and figures of the paper; compile: pdflatex, bibtex, pdflatex twice",
    "supplement.tex": "signatures, statistics and further figures; compiled likewise",
    "references.bib": "BibTeX of the cards, or of the papers that described the methods",
    "tables/main": "overall scores; as `compare` prints them",
    "tables/table2": "Tab. 2; tables/table2.csv of `compare`, without gains",
    "tables/table3": "Tab. 3; tables/table3.csv of `compare`",
    "tables/ablation": "variants of a method; tables/table2.csv and statistics.csv of `compare`",
    "tables/methods": "card.toml of the runs",
    "tables/statistics": "tables/statistics.csv of `compare`",
    "tables/signatures": "how each score is computed",
    "figures/fig4": "scenes; as `gallery` chooses them",
    "figures/fig5": "scores by cloud cover; as fig5 of `compare`",
    "figures/fig6": "land cover by cloud cover; as fig6 of `compare`",
    "figures/regions": "as of `compare`",
    "figures/triangle": "as of `compare --full`",
    "figures/class_cover": "as of `compare --full`",
    "figures/aois": "as of `compare --full`",
}
"""Beginning of a file's name to what it is and which command gives the same numbers."""


def write_paper(
    out: Path,
    runs: Runs,
    *,
    style: Style = "ieee",
    intervals: bool = False,
    digits: dict[str, int] | None = None,
    ablation: Sequence[str] = (),
    data: Path | None = None,
    scenes: Sequence[str] = (),
    command: Sequence[str] = (),
    formats: Sequence[str] = FORMATS,
) -> list[str]:
    """Write the folder of a paper.

    Args:
        out: New or empty folder, or one that this function wrote and nobody changed.
        runs: What the paper reports.
        style: Whose columns tables and figures fit.
        intervals: Print the 95 % intervals of overall scores.
        digits: Metric to digits after the point, where they are not the usual ones.
        ablation: See ``ablation_groups``.
        data: Dataset, for Fig. 4.
        scenes: Of Fig. 4, by name.
        command: Written into ``README.txt``.
        formats: Endings of figures; PDF must be among them.

    Returns:
        What is left out and why, a line each.

    Raises:
        UsageError: The folder holds other files, or options do not fit the runs.
        BenchError: Fig. 4 cannot be drawn.
    """
    old = check_out(out)
    text, cites = references(runs)
    groups = ablation_groups(runs, ablation)
    tables = PaperTables(runs, cites, intervals, digits or {}, groups)
    area = AREAS[style]
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as name:
        staged = Path(name)
        figures = staged / "figures"
        figures.mkdir()
        drawn = []
        if data is not None:
            from planetcr_bench.paper.scenes import draw_scenes  # reads images

            drawn.append(draw_scenes(figures, runs, data, area, formats, names=scenes))
        drawn += draw_figures(figures, tables, area, formats)
        contents = Contents(
            _chosen_tables(tables),
            drawn,
            _more_tables(tables),
            draw_supplement(figures, tables, formats),
        )
        files = {
            **{f"tables/{stem}.tex": latex_file(own, stem, area)
               for stem, own in (contents.tables | contents.more_tables).items()},
            "tables/signatures.tex": signatures_tex(runs, tables.tables),
            "references.bib": text,
            "paper.tex": paper_tex(runs, contents, style),
            "supplement.tex": supplement_tex(runs, contents, style),
        }  # fmt: skip
        (staged / "tables").mkdir()
        for file, content in files.items():
            (staged / file).write_text(content, encoding="utf-8")
        written = [*files, *(f"figures/{path.name}" for path in sorted(figures.iterdir()))]
        readme = _readme(staged, runs, written, command)
        for file in written:
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            (staged / file).replace(out / file)
    for file in old - set(written):
        (out / file).unlink(missing_ok=True)
    atomic_write(out / README, readme.encode())
    return [*runs.remarks, *tables.tables.limits, *_foreign_letters(runs)]


def _chosen_tables(tables: PaperTables) -> dict[str, Sequence[Table]]:
    """Tables of the paper by the names of their files."""
    chosen: dict[str, Sequence[Table]] = {"main": [tables.main], "table2": [tables.table2]}
    if tables.segmenters:
        chosen["table3"] = [tables.table3]
    if tables.ablation_table is not None:
        chosen["ablation"] = [tables.ablation_table]
    return chosen


def _more_tables(tables: PaperTables) -> dict[str, Sequence[Table]]:
    """Tables of the supplement."""
    methods = {"methods": [tables.methods]} if tables.methods else {}
    return {**methods, "statistics": statistics(tables.runs, tables.tables)}


def check_out(out: Path) -> set[str]:
    """Refuse a folder that holds what this command did not write.

    Returns:
        Names of the files that an earlier run wrote.

    Raises:
        UsageError: It is a file, or holds other files, or one of its files was changed.
    """
    if not out.exists():
        return set()
    if not out.is_dir():
        raise UsageError(f"--out: expected a folder, {printable(out)} is a file")
    readme = out / README
    if not readme.is_file():
        if any(out.iterdir()):
            raise UsageError(
                f"--out: {printable(out)} holds other files; choose an empty folder or a new one"
            )
        return set()
    lines = read_bytes(readme).decode("utf-8", "replace").splitlines()
    if not (lines and lines[0].startswith(MARK)):
        raise UsageError(
            f"--out: {printable(out)} holds other files; choose an empty folder or a new one"
        )
    old = _listed(lines)
    for name, digest in old.items():
        file = out / name
        if file.is_file() and _digest(file) != digest:
            raise UsageError(
                f"{printable(file)}: changed since it was written; move it away, or choose another "
                "--out"
            )
    return set(old)


_LIST: Final = "Files, with the first digits of their SHA-256:"


def _listed(lines: Sequence[str]) -> dict[str, str]:
    """Files that a ``README.txt`` lists, to their digests; none outside its folder."""
    if _LIST not in lines:
        return {}
    listed = {}
    for line in lines[lines.index(_LIST) + 1 :]:
        words = line.split()
        if len(words) < 2:
            break
        digest, name = words[:2]
        if ".." not in Path(name).parts and not Path(name).is_absolute():
            listed[name] = digest
    return listed


def _digest(file: Path) -> str:
    return hashlib.sha256(read_bytes(file, 10**9)).hexdigest()[:12]


def _readme(out: Path, runs: Runs, files: Sequence[str], command: Sequence[str]) -> str:
    packages = ("numpy", "pandas", "matplotlib")
    versions = [f"planetcr-bench {__version__}", f"Python {platform.python_version()}"]
    versions += [f"{name} {version(name)}" for name in packages]
    width = max(map(len, files))
    lines = [
        f"{MARK}. Another run replaces the files below, unless they were changed by hand.",
        "",
        f"Command: {shlex.join(command) or 'planetcr_bench.paper.paper.write_paper'}",
        f"Versions: {', '.join(versions)}",
        "",
        "Runs, and the commands that measured them:",
        *(line for method in runs.every for line in _origin(method)),
        "",
        _LIST,
        *(f"{_digest(out / name)}  {name:<{width}}  {_what(name)}" for name in files),
        "",
    ]  # fmt: skip
    return "\n".join(printable(line) for line in lines)


def _origin(method: Method) -> tuple[str, str]:
    tool = f"planetcr-bench {method.ledger.provenance['tool_version']}"
    command = method.facts.get("command") or "not stated"
    return f"  {method.label}: {method.path} ({tool})", f"    {command}"


def _what(name: str) -> str:
    return next(text for stem, text in _MADE.items() if name.startswith(stem))


def _foreign_letters(runs: Runs) -> list[str]:
    """Labels that pdfLaTeX cannot print."""
    return [
        f"{method.run}: pdfLaTeX has no {letters} of its label and prints their numbers; give "
        "--label, or compile with LuaLaTeX and a font that has them"
        for method in runs.methods
        if (letters := "".join(dict.fromkeys(c for c in method.label if not is_known(c))))
    ]
