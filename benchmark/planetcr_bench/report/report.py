"""Write the report of a run or of a comparison: a page in two forms, its figures and tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from planetcr_bench.analysis.error_analysis import widest_protocol
from planetcr_bench.constants import OPTICAL_BANDS
from planetcr_bench.figures.cloud_cover import cover_figure
from planetcr_bench.figures.segmentation import discrepancy_figure, transition_figure
from planetcr_bench.figures.style import save_figure
from planetcr_bench.metrics.protocols import Pool
from planetcr_bench.report.error_analysis import ERROR_ANALYSIS_FILES, TITLE, write_error_analysis
from planetcr_bench.report.findings import findings, findings_note
from planetcr_bench.report.latex import latex_file
from planetcr_bench.report.page import Page, Part, Picture, Section, to_html, to_report
from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.report.scores import summary
from planetcr_bench.report.table import Table, escape_markdown
from planetcr_bench.results.aggregate import (
    clusters_of,
    coverage,
    figure_note,
    group_sums,
    input_note,
    marked,
)
from planetcr_bench.results.files import FIGURES, REPORT, REPORT_PAGE, TABLES
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.json_values import to_json_value

ALWAYS: Final = (
    *(REPORT, REPORT_PAGE, "scores.json"),
    *(f"{TABLES}/table2.{suffix}" for suffix in ("csv", "json", "tex")),
)
"""Files that every run has beside its ledger and ``run.json``."""

MASK_FILES: Final = tuple(
    f"{FIGURES}/{stem}.{suffix}" for stem in ("fig5", "regions") for suffix in ("png", "svg")
)
"""Files of runs on scenes with cloud masks alone."""

SEGMENTATION_FILES: Final = (
    *(f"{TABLES}/table3.{suffix}" for suffix in ("csv", "json", "tex")),
    *(
        f"{FIGURES}/{stem}.{suffix}"
        for stem in ("fig6", "transitions")
        for suffix in ("png", "svg")
    ),
)
"""Files of segmented runs alone; old ones are removed from the folders of others."""

SOMETIMES: Final = tuple(dict.fromkeys((*MASK_FILES, *SEGMENTATION_FILES, *ERROR_ANALYSIS_FILES)))
"""Files that not every run has."""


def write_report(
    folder: Path,
    ledger: Ledger,
    run: Mapping[str, Any],
    *,
    pool: Pool | None = None,
    full: bool = False,
) -> None:
    """Write the page of one run, its tables and figures, and ``scores.json``.

    Args:
        folder: Where to; files of the same names are replaced, each in one step.
        ledger: The run.
        run: Content of ``run.json``, for the head of the page.
        pool: How per-class figures are averaged, if not as in each protocol.
        full: Add the whole error analysis and the class transitions, with their figures.
    """
    tables = RunTables([ledger], pool=pool)
    write_tables(folder, tables)
    _write_figures(folder, tables, full=full)
    scores = json.dumps(summary(ledger), indent=2, ensure_ascii=False, allow_nan=False)
    _write(folder / "scores.json", scores + "\n")
    failures = write_error_analysis(folder, tables.errors, full=full)
    _write_page(folder, _run_page(tables, run, failures, full=full))


def write_comparison(
    folder: Path,
    ledgers: Sequence[Ledger],
    *,
    pool: Pool | None = None,
    published: bool = False,
    full: bool = False,
) -> RunTables:
    """Write one page about several runs, its tables and figures, each computed once.

    Args:
        folder: Where to; files of the same names are replaced, each in one step.
        ledgers: Runs on one dataset; those of several input windows are ``marked``.
        pool: How per-class figures are averaged, if not as in each protocol.
        published: Add the paper's rows, in the ``official`` protocol.
        full: See :func:`write_report`.

    Returns:
        The tables, for the terminal.

    Raises:
        LedgerError: The runs have different segmenters, or published figures do not fit them;
            nothing is written.
    """
    tables = RunTables(marked(ledgers, always=published), pool=pool, published=published)
    printed = [*tables.statistic_tables, *tables.further_tables]
    _write_table_files(folder / TABLES / "statistics", printed, tables.statistic_frame())
    write_tables(folder, tables)
    _write_figures(folder, tables, full=full)
    failures = write_error_analysis(folder, tables.errors, full=full)
    _write_page(folder, _comparison_page(tables, failures, full=full))
    return tables


def write_tables(folder: Path, tables: RunTables) -> None:
    """Write Tab. 2 and, of segmented runs, Tab. 3, as LaTeX, CSV and JSON."""
    _write_table_files(folder / TABLES / "table2", tables.table2_tables, tables.table2_frame())
    if tables.segmented:
        _write_table_files(folder / TABLES / "table3", tables.table3_tables, tables.table3_frame())
    else:
        for name in SEGMENTATION_FILES:
            (folder / name).unlink(missing_ok=True)


def _write_figures(folder: Path, tables: RunTables, *, full: bool) -> None:
    """Draw Fig. 5 and, of segmented runs, Fig. 6 and, if full, the class transitions."""
    ledgers, drawn, out = tables.ledgers, tables.protocols[0], folder / FIGURES
    note, masks = figure_note(ledgers), tables.known.masks
    if masks:
        words = clusters_of(ledgers)
        figure = cover_figure(tables.cover[drawn.name], drawn, note=note, clusters=words)
        save_figure(figure, out / "fig5")
    if tables.segmented and masks:
        table = tables.table3[drawn.name]
        save_figure(discrepancy_figure(ledgers, drawn, table=table, note=note), out / "fig6")
    if tables.segmented and full:
        save_figure(transition_figure(ledgers, drawn, note=note), out / "transitions")
    else:
        _remove(out, "transitions")
    if not masks:
        _remove(out, "fig5")
        _remove(out, "fig6")


def _remove(folder: Path, stem: str) -> None:
    """Remove a figure that does not apply any more."""
    for suffix in ("png", "svg"):
        (folder / f"{stem}.{suffix}").unlink(missing_ok=True)


def _write_table_files(path: Path, tables: Sequence[Table], frame: pd.DataFrame) -> None:
    """Write a table as ``.tex``, and at full precision as ``.csv`` and ``.json``."""
    _write(path.with_suffix(".tex"), latex_file(tables, path.name))
    _write(path.with_suffix(".csv"), frame.to_csv(index=False))
    rows = frame.astype(object).to_dict("records")
    text = json.dumps(to_json_value(rows), indent=2, ensure_ascii=False, allow_nan=False)
    _write(path.with_suffix(".json"), text + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, text.encode())


def report(
    ledger: Ledger,
    run: Mapping[str, Any],
    *,
    pool: Pool | None = None,
    pictures: bool = True,
) -> str:
    """One page about one run, in Markdown, without the error analysis.

    Args:
        ledger: The run.
        run: Content of ``run.json``.
        pool: See :func:`write_report`.
        pictures: Point to the figures of :func:`write_report` beside the page.
    """
    page = _run_page(RunTables([ledger], pool=pool), run, [], full=False)
    return to_report(page, pictures=pictures)


def _write_page(folder: Path, page: Page) -> None:
    """Write a report in both forms; its figures lie in the folder."""
    _write(folder / REPORT_PAGE, to_html(page, folder))
    _write(folder / REPORT, to_report(page))


def _run_page(
    tables: RunTables, run: Mapping[str, Any], failures: Sequence[Part], *, full: bool
) -> Page:
    (ledger,) = tables.ledgers
    scored = ", ".join([coverage(ledger), *_clusters(ledger)])
    lead = f"Track {run['track']}, split {run['split']}. {scored}."
    return Page(
        title=ledger.name,
        lead=[lead, *_remarks(ledger, run.get("notes", []))],
        findings=findings(tables),
        remarks=[findings_note(tables), *tables.limits],
        sections=_sections(tables, failures, full=full),
        facts=_facts(ledger, run),
    )


def _comparison_page(tables: RunTables, failures: Sequence[Part], *, full: bool) -> Page:
    facts, count = tables.ledgers[0].provenance, len(tables.ledgers)
    lead = f"Track {facts['track']}, split {facts['split']}. {input_note(tables.ledgers)}"
    statistics = [Section("Statistical significance", tables.statistic_tables)]
    return Page(
        title=f"Comparison of {count} run{'s' * (count != 1)}",
        lead=[lead],
        findings=findings(tables),
        remarks=[findings_note(tables), *tables.limits],
        sections=_sections(tables, failures, full=full, after_scores=statistics),
    )


def _sections(
    tables: RunTables,
    failures: Sequence[Part],
    *,
    full: bool,
    after_scores: Sequence[Section] = (),
) -> list[Section]:
    """What has anything to show, by importance."""
    sections = [
        Section("Scores", _score_parts(tables)),
        *after_scores,
        Section("Land-cover segmentation", _segmentation_parts(tables, full=full)),
        Section(TITLE, failures),
        Section("Behind the scores", _behind(tables), folded=True),
    ]
    return [section for section in sections if section.parts]


def _score_parts(tables: RunTables) -> list[Part]:
    picture = Picture(f"{FIGURES}/fig5.png", "Scores per cloud-cover bin")
    imagery = tables.ledgers[0].imagery
    words = {"edge": imagery.edge, "haze": imagery.haze}
    regions = _REGIONS.format(**words) if tables.known.masks else ""
    return [
        tables.gain_table,
        *[picture] * tables.known.masks,
        *(table for own in tables.table2_by_protocol for table in own[:2]),
        *tables.group_tables,
        f"{_GAIN} {regions}{_DASH}",
    ]


def _behind(tables: RunTables) -> list[Part]:
    """The noise floor of SAM, and the scenes behind each cell."""
    return [table for own in tables.table2_by_protocol for table in own[2:]]


def _segmentation_parts(tables: RunTables, *, full: bool) -> list[Part]:
    """Tab. 3 and what belongs to it; nothing without a segmenter."""
    if not tables.segmented:
        return []
    discrepancy = Picture(
        f"{FIGURES}/fig6.png", "Points below the cloud-free image per cloud-cover bin"
    )
    transitions = Picture(
        f"{FIGURES}/transitions.png", "Which class of the clear image is predicted as which"
    )
    return [
        *[discrepancy] * tables.known.masks,
        *[transitions] * full,
        *tables.table3_tables,
        _SEGMENTATION_FOOT,
    ]


def _facts(ledger: Ledger, run: Mapping[str, Any]) -> dict[str, str]:
    """How the run was made: names and texts in Markdown."""
    return {
        "Track, split": f"{run['track']}, {run['split']}",
        "Scored": ", ".join([coverage(ledger), *_clusters(ledger)]),
        **({"Bands": ", ".join(ledger.bands)} if ledger.bands != OPTICAL_BANDS else {}),
        "Method": escape_markdown(run["method"] or "not stated"),
        "Input window": input_note([ledger]).removeprefix("Input window: ").removesuffix("."),
        "Dataset fingerprint": f"`{run['fingerprint']}`",
        **({"Simulated": run["simulation"]} if run.get("simulation") else {}),
        **({"Predictions": f"`{run['predictions']}`"} if run.get("predictions") else {}),
        "Tool": f"planetcr-bench {run['tool_version']}, ledger schema {run['ledger_schema']}",
        **({"Command": f"`{run['command']}`"} if run.get("command") else {}),
        **(
            {"Started": f"{run['started']}, took {run.get('seconds', 0):.1f} s"}
            if run.get("started")
            else {}
        ),
    }


def _clusters(ledger: Ledger) -> list[str]:
    """How many places the scenes are of, where that is known."""
    imagery = ledger.imagery
    count = len(ledger.aois)
    word = imagery.clusters if count != 1 else imagery.cluster
    return [] if imagery.one_scene_each else [f"{count} {word}"]


def _remarks(ledger: Ledger, notes: Sequence[str]) -> list[str]:
    """Remarks before any number: coverage, protocols, values out of range."""
    remarks = [escape_markdown(note) for note in notes]
    if not ledger.provenance["complete"]:
        remarks.append(
            f"**Incomplete: {coverage(ledger)} are scored.** The figures hold for these scenes "
            "only and cannot be ranked; `run.json` lists those left out."
        )
    if "full" not in ledger.provenance["protocols"]:
        remarks.append(
            "The predictions are centre crops of 160 × 160 pixels: only the `official` protocol is "
            "measured."
        )
    sums = group_sums(ledger, widest_protocol([ledger]), (), ["out_of_range", "values"])
    outside, values = int(sums["out_of_range"].iloc[0]), int(sums["values"].iloc[0])
    if outside:
        remarks.append(
            f"{outside} of {values} predicted values ({outside / values:.2%}) lie outside "
            "[0, 1]; they are measured as they are."
        )
    return remarks


_GAIN: Final = (
    "The *gain* rows are improvements over the untouched cloudy input on the same scenes, positive "
    "where the method is better."
)
_REGIONS: Final = (
    "*Cloud*, *edge* and *clear* are pixels under the cloud mask, within {edge} of it, and farther "
    "away; {haze}, so clear pixels are not identical in the two dates. "
)
_DASH: Final = "A dash means that nothing was measured."

_SEGMENTATION_FOOT = (
    "A *segmenter* is a network that predicts land cover from an image, trained on clear ones. "
    "*Cloud-Free* is its score on the clear image: its own limit. *Agreement* takes its prediction "
    "for the clear image as the truth, so that its own errors cancel."
)
