r"""Write the documents of a paper: ``paper.tex``, ``supplement.tex``, and what stands in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from planetcr_bench.analysis.segmentation import segmenters_of, signature
from planetcr_bench.metrics.registry import HEADLINE, METRICS
from planetcr_bench.paper.figures import PaperFigure
from planetcr_bench.paper.references import PAPER_KEY, SOFTWARE_KEY
from planetcr_bench.paper.runs import Runs
from planetcr_bench.paper.words import dataset_words, protocol_words, track_name
from planetcr_bench.report.latex import HEAD, IEEE, TextArea, escape_latex
from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.report.significance import statistic_tables
from planetcr_bench.report.table import Table, coverage_notes
from planetcr_bench.results.aggregate import clusters_of

Style = Literal["ieee", "isprs", "plain"]

MARK: Final = "Made by planetcr-bench paper"
"""In each file; a folder with a ``README.txt`` that begins so may be written again."""

AREAS: Final[dict[Style, TextArea]] = {
    "ieee": IEEE,
    "isprs": TextArea(240.0, 504.0),
    "plain": TextArea(229.5, 469.0),
}
"""Widths of columns and pages of each style."""

_ARTICLE: Final = r"""\documentclass[10pt%(columns)s]{article}
\usepackage[%(paper)s,textwidth=%(page)gpt,columnsep=%(gap)gpt,textheight=9in]{geometry}"""

_PACKAGES: Final = r"""\providecommand{\referencestyle}{plain}
\usepackage{booktabs,graphicx}
\IfFileExists{lmodern.sty}{\usepackage[T1]{fontenc}\usepackage{lmodern}}{}
\emergencystretch=2em"""


@dataclass(frozen=True, slots=True)
class Contents:
    """What there is to put into the documents.

    Attributes:
        tables: Names of the files of tables in the paper, to the tables, in their order.
        figures: Of the paper.
        more_tables: Of the supplement.
        more_figures: Of the supplement.
    """

    tables: dict[str, Sequence[Table]]
    figures: Sequence[PaperFigure]
    more_tables: dict[str, Sequence[Table]]
    more_figures: Sequence[PaperFigure]


def _preamble(style: Style) -> str:
    area = AREAS[style]
    article = _ARTICLE % {
        "columns": "" if style == "plain" else ",twocolumn",
        "paper": "letterpaper" if style == "ieee" else "a4paper",
        "page": area.page_pt,
        "gap": area.page_pt - 2 * area.column_pt,
    }
    lines = [f"% {MARK}; another run replaces it. Widths of {style}."]
    if style == "ieee":
        lines += [
            r"\IfFileExists{IEEEtran.cls}{\documentclass[journal]{IEEEtran}",
            r"\newcommand{\referencestyle}{IEEEtran}}{%",
            rf"{article}}}",
        ]
    else:
        lines.append(article)
    return "\n".join([*lines, _PACKAGES])


_BIBLIOGRAPHY: Final = r"\bibliographystyle{\referencestyle}\bibliography{references}"


def paper_tex(runs: Runs, contents: Contents, style: Style) -> str:
    """A small document with the tables and figures of the paper."""
    count = len(runs.methods)
    title = f"Cloud removal on {track_name(runs.ledgers[0])}: {count} method{'s' * (count != 1)}"
    cites = [SOFTWARE_KEY, *([PAPER_KEY] if _cites_paper(runs) else [])]
    dataset, measured = map(escape_latex, (dataset_words(runs), protocol_words(runs.protocol)))
    compared = f"We compare {count} method{'s' * (count != 1)} on {dataset}, {measured}, with"
    sentences = [
        rf"{compared} planetcr-bench~\cite{{{','.join(cites)}}}.",
        *(
            rf"Table~\ref{{{table.label}}}: {_topic(name)}."
            for name, (table,) in contents.tables.items()
        ),
        *(
            rf"Fig.~\ref{{fig:{figure.stem}}}: {_topic(figure.stem)}."
            for figure in contents.figures
        ),
    ]
    parts = [
        _preamble(style),
        r"\begin{document}",
        rf"\title{{{escape_latex(title)}}}",
        r"\author{Authors}",
        r"\maketitle",
        r"\section{Results}",
        "\n".join(sentences),
        *(rf"\input{{tables/{name}}}" for name in contents.tables),
        *map(_figure, contents.figures),
        _BIBLIOGRAPHY,
        r"\end{document}",
    ]
    return "\n\n".join(parts) + "\n"


def _cites_paper(runs: Runs) -> bool:
    return runs.published or track_name(runs.ledgers[0]).startswith("Planet-CR")


_TOPICS: Final = {
    "main": "overall scores",
    "table2": "scores by land cover",
    "table3": "land cover that a segmenter recognises",
    "ablation": "ablation",
    "fig4": "scenes",
    "fig5": "scores by cloud cover",
    "fig6": "land cover by cloud cover",
}


def _topic(name: str) -> str:
    return _TOPICS[name]


_LARGEST: Final = r"width=\textwidth,height=0.8\textheight,keepaspectratio"


def _figure(figure: PaperFigure) -> str:
    return "\n".join([
        r"\begin{figure*}[t]",
        r"\centering",
        rf"\includegraphics[{_LARGEST}]{{figures/{figure.page}.pdf}}",
        rf"\caption{{{escape_latex(figure.caption)}}}",
        rf"\label{{fig:{figure.stem}}}",
        r"\end{figure*}",
    ])  # fmt: skip


def supplement_tex(runs: Runs, contents: Contents, style: Style) -> str:
    """The document with statistics, further figures, and how each score is computed."""
    title = f"Supplement: cloud removal on {track_name(runs.ledgers[0])}"
    parts = [
        _preamble(style),
        r"\begin{document}",
        rf"\title{{{escape_latex(title)}}}",
        r"\author{Authors}",
        r"\maketitle",
        r"\section{How the scores are computed}",
        rf"All scores are computed by planetcr-bench~\cite{{{SOFTWARE_KEY}}}.",
        r"\input{tables/signatures}",
        *(rf"\input{{tables/{name}}}" for name in contents.more_tables),
        *map(_figure, contents.more_figures),
        r"\clearpage",
        _BIBLIOGRAPHY,
        r"\end{document}",
    ]
    return "\n\n".join(parts) + "\n"


def signatures_tex(runs: Runs, tables: RunTables) -> str:
    """How each score is computed, and what limits it: an appendix that can be read in."""
    ledger = runs.ledgers[0]
    keys = list(segmenters_of(runs.ledgers)) if runs.segmented else []
    lines = {
        **{METRICS[name].label: runs.protocol.signature(name) for name in HEADLINE},
        **({name: signature(name, runs.protocol, keys) for name in ("mIoU", "PA")} if keys else {}),
        "Dataset": f"{ledger.provenance['track']}, split {ledger.provenance['split']}, fingerprint "
        f"{ledger.provenance['fingerprint'][:16]}",
        **({"Simulated": str(ledger.provenance["simulation"])}
           if ledger.provenance.get("simulation") else {}),
    }  # fmt: skip
    items = [rf"\par\textbf{{{name}}}: {escape_latex(text)}" for name, text in lines.items()]
    notes = [*coverage_notes(runs.ledgers), *tables.limits]
    return "\n".join([
        HEAD,
        r"{\raggedright\setlength{\parindent}{0pt}\setlength{\parskip}{2pt}",
        *items,
        *(rf"\par {escape_latex(note)}" for note in dict.fromkeys(notes)),
        r"\par}",
        "",
    ])  # fmt: skip


def statistics(runs: Runs, tables: RunTables) -> list[Table]:
    """Intervals of all scores, paired differences, and the scenes behind the cells of Tab. 2."""
    comparisons = tables.comparisons[runs.protocol.name]
    words = f"Scenes / {clusters_of(runs.ledgers)} behind each cell of the scores by land cover"
    counts = replace(tables.table2_tables[-1], caption=words)
    return [*statistic_tables(runs.ledgers, runs.protocol, comparisons), counts]


assert set(AREAS) == set(get_args(Style))
