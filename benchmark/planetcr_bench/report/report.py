"""Ledgers in, the files that people read out: tables, figures, scores and a one-page report."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pandas as pd

from planetcr_bench.analysis.segmentation import segmenters_of, signature
from planetcr_bench.analysis.segmentation_tables import over_segmenters, published_rows, table3
from planetcr_bench.analysis.significance import MetricComparison, metric_comparisons
from planetcr_bench.figures.cloud_cover import cover_figure, save_figure
from planetcr_bench.figures.segmentation import discrepancy_figure, transition_figure
from planetcr_bench.metrics.protocols import PROTOCOLS, Pool, Protocol
from planetcr_bench.report.error_analysis_chapter import DIAGNOSIS_FILES, write_diagnosis
from planetcr_bench.report.scores import (
    cover_block,
    further_block,
    pool_block,
    region_block,
    summary,
    table2_blocks,
)
from planetcr_bench.report.segmentation import table3_blocks
from planetcr_bench.report.significance import best_of, statistic_blocks, statistic_frame
from planetcr_bench.report.table import Block, to_latex, to_markdown
from planetcr_bench.results.aggregate import (
    cover_table,
    coverage,
    floor_row,
    input_note,
    input_window,
    marked,
    measured_protocols,
    method_label,
    table2,
)
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.published import published_table2, refuse_published
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.json_values import to_json_value

ALWAYS: Final = (
    *(f"table2.{suffix}" for suffix in ("md", "tex", "csv", "json")),
    *("fig5.png", "fig5.svg", "scores.json", "report.md"),
)
"""What every run has beside its ledger and ``run.json``."""

SEGMENTATION_FILES: Final = (
    *(f"table3.{suffix}" for suffix in ("md", "tex", "csv", "json")),
    *(f"{stem}.{suffix}" for stem in ("fig6", "transitions") for suffix in ("png", "svg")),
)
"""What only runs that a segmenter has read have; removed where it is left from others."""

SOMETIMES: Final = (*SEGMENTATION_FILES, *DIAGNOSIS_FILES)
"""Files that not every run has."""


Standings = Mapping[str, Sequence[MetricComparison]]
"""Protocol to the standings of all scores in it."""


def all_table2_blocks(
    ledgers: Sequence[Ledger],
    *,
    pool: Pool | None = None,
    published: bool = False,
    told: Standings = MappingProxyType({}),
) -> list[Block]:
    """Tab. 2 in every protocol that all runs were measured in; ``told`` makes the best bold."""
    return [
        block
        for protocol in measured_protocols(ledgers)
        for block in table2_blocks(
            ledgers,
            protocol,
            pool=pool,
            published=published,
            best=best_of(told.get(protocol.name, ())),
        )
    ]


def all_comparisons(ledgers: Sequence[Ledger]) -> dict[str, list[MetricComparison]]:
    """Standings of the runs in every protocol that all were measured in."""
    return {
        protocol.name: metric_comparisons(ledgers, protocol)
        for protocol in measured_protocols(ledgers)
    }


def all_statistic_blocks(ledgers: Sequence[Ledger], told: Standings) -> list[Block]:
    """Intervals and paired differences in every protocol that all runs were measured in."""
    return [
        block
        for name, standing in told.items()
        for block in statistic_blocks(ledgers, PROTOCOLS[name], standing)
    ]


def write_tables(
    folder: Path,
    ledgers: Sequence[Ledger],
    *,
    pool: Pool | None = None,
    published: bool = False,
    told: Standings = MappingProxyType({}),
) -> None:
    """Write ``table2.md``, ``.tex``, ``.csv`` and ``.json``, and ``fig5.png`` and ``.svg``.

    Where segmenters have read the runs, also :data:`SEGMENTATION_FILES`.

    Args:
        folder: Where to; files of the same names are replaced, each in one step.
        ledgers: Runs on one dataset.
        pool: How per-class figures are put together, if not as each protocol does.
        published: Add the paper's rows, in the ``official`` protocol.
        told: Of several runs; the best and all tied with it are bold in ``table2.tex``.

    Raises:
        LedgerError: Different segmenters have read the runs, or published figures are no match for
            them; nothing is written.
    """
    if published:
        refuse_published(ledgers)
    segmented = bool(segmenters_of(ledgers))
    blocks = all_table2_blocks(ledgers, pool=pool, published=published, told=told)
    frame = _table2_frame(ledgers, pool=pool, published=published)
    _write_blocks(folder / "table2", blocks, frame)
    drawn = measured_protocols(ledgers)[0]
    note = input_note(ledgers)
    save_figure(cover_figure(cover_table(ledgers, drawn), drawn, note=note), folder, "fig5")
    if segmented:
        _write_table3(folder, ledgers, published=published)
    else:
        for name in SEGMENTATION_FILES:
            (folder / name).unlink(missing_ok=True)


def _write_table3(folder: Path, ledgers: Sequence[Ledger], *, published: bool) -> None:
    blocks: list[Block] = []
    frames = []
    for protocol in measured_protocols(ledgers):
        table = table3(ledgers, protocol)
        blocks += table3_blocks(ledgers, protocol, table=table, published=published, details=True)
        frames.append(_table3_frame(table, ledgers, protocol, published=published))
    _write_blocks(folder / "table3", blocks, pd.concat(frames, ignore_index=True))
    drawn, note = measured_protocols(ledgers)[0], input_note(ledgers)
    save_figure(discrepancy_figure(ledgers, drawn, note=note), folder, "fig6")
    save_figure(transition_figure(ledgers, drawn, note=note), folder, "transitions")


def _write_blocks(path: Path, blocks: Sequence[Block], frame: pd.DataFrame) -> None:
    """Write a table as ``.md`` and ``.tex``, and at full precision as ``.csv`` and ``.json``."""
    _write(path.with_suffix(".md"), "\n".join(map(to_markdown, blocks)))
    _write(path.with_suffix(".tex"), "\n".join(map(to_latex, blocks)))
    _write(path.with_suffix(".csv"), frame.to_csv(index=False))
    rows = frame.astype(object).to_dict("records")
    text = json.dumps(to_json_value(rows), indent=2, ensure_ascii=False, allow_nan=False)
    _write(path.with_suffix(".json"), text + "\n")


def _table3_frame(
    frame: pd.DataFrame, ledgers: Sequence[Ledger], protocol: Protocol, *, published: bool
) -> pd.DataFrame:
    """Tab. 3 at full precision, per segmenter, and over them if there are several."""
    segmenters = list(segmenters_of(ledgers))
    spread = [over_segmenters(frame)] if len(segmenters) > 1 else []
    frame = pd.concat([frame, *spread], ignore_index=True)
    frame[["absent", "unread"]] = frame[["absent", "unread"]].map(", ".join)
    frame = frame.astype(dict.fromkeys(("pixels", "scenes", "aois"), "Int64"))
    signatures = {segmenter: signature("mIoU", protocol, [segmenter]) for segmenter in segmenters}
    over_all = signature("mIoU", protocol, segmenters)
    frame.insert(0, "signature", frame["segmenter"].map(signatures).fillna(over_all))
    crops = {method_label(run): input_window(run) for run in ledgers}
    named = frame["row"].where(frame["kind"] == "measured")
    frame.insert(1, "input_window", named.map(crops).astype(object))
    if published and protocol.name == "official":
        frame = pd.concat([frame, published_rows()], ignore_index=True)
    frame.insert(0, "protocol", protocol.name)
    return frame


def _table2_frame(ledgers: Sequence[Ledger], *, pool: Pool | None, published: bool) -> pd.DataFrame:
    """Tab. 2 of all protocols at full precision, with the signature of the per-class figures."""
    frames = []
    for protocol in measured_protocols(ledgers):
        frame = table2(ledgers, protocol, pool=pool)
        floor = floor_row(ledgers, protocol, pool=pool)
        if floor is not None:
            frame = pd.concat([frame, pd.DataFrame([floor])], ignore_index=True)
        if published and protocol.name == "official":
            frame = pd.concat([frame, published_table2()], ignore_index=True)
        frame.insert(0, "protocol", protocol.name)
        frame.insert(1, "class_average", pool or protocol.pool)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _write(path: Path, text: str) -> None:
    atomic_write(path, text.encode())


def write_report(
    folder: Path, ledger: Ledger, run: Mapping[str, Any], *, pool: Pool | None = None
) -> None:
    """Write the files of one run that follow from its ledger.

    Args:
        folder: Where to.
        ledger: The run.
        run: What ``run.json`` holds, for the report's head.
        pool: See :func:`write_tables`.
    """
    write_tables(folder, [ledger], pool=pool)
    scores = json.dumps(summary(ledger), indent=2, ensure_ascii=False, allow_nan=False)
    _write(folder / "scores.json", scores + "\n")
    failures = write_diagnosis(folder, [ledger])
    _write(folder / "report.md", report(ledger, run, pool=pool, failures=failures))


def write_comparison(
    folder: Path,
    ledgers: Sequence[Ledger],
    *,
    pool: Pool | None = None,
    published: bool = False,
    told: Standings | None = None,
) -> None:
    """Write what :func:`write_tables` does of several runs, and what can be told of them.

    ``statistics.md``, ``.tex``, ``.csv`` and ``.json`` have intervals and paired differences, the
    first two the further metrics as well;
    ``diagnosis.md`` with its pictures where and how the runs fail. ``told`` saves working the
    standings out again; without it, runs of several input windows are
    ``marked``.
    """
    if told is None:
        ledgers = marked(ledgers, always=published)
        told = all_comparisons(ledgers)
    write_tables(folder, ledgers, pool=pool, published=published, told=told)
    frames = [statistic_frame(PROTOCOLS[name], standing) for name, standing in told.items()]
    blocks = all_statistic_blocks(ledgers, told)
    blocks += [further_block(ledgers, PROTOCOLS[name]) for name in told]
    frame = _with_origin(pd.concat(frames, ignore_index=True), ledgers)
    _write_blocks(folder / "statistics", blocks, frame)
    _write(folder / "diagnosis.md", _page(write_diagnosis(folder, ledgers)))


def _with_origin(frame: pd.DataFrame, ledgers: Sequence[Ledger]) -> pd.DataFrame:
    """Statistics with what belongs to each figure: input windows, and scenes of how many."""
    crops = {run.name: input_window(run) for run in ledgers}
    told = frame.assign(
        input_window=frame["run"].map(crops),
        coverage=frame["run"].map({run.name: coverage(run) for run in ledgers}),
    )
    return told.assign(minus_input_window=told["minus"].map(crops)) if "minus" in told else told


def report(
    ledger: Ledger,
    run: Mapping[str, Any],
    *,
    pool: Pool | None = None,
    failures: Sequence[str] = (),
    pictures: bool = True,
) -> str:
    """One page about one run, in Markdown.

    Args:
        ledger: The run.
        run: What ``run.json`` holds.
        pool: See :func:`write_tables`.
        failures: The chapter of where it fails.
        pictures: Point to the figures of :func:`write_report` beside the page.
    """
    protocols = measured_protocols([ledger])
    blocks: list[Block] = []
    for protocol in protocols:
        blocks += table2_blocks([ledger], protocol, pool=pool)
        blocks += [block([ledger], protocol) for block in (region_block, cover_block, pool_block)]
        blocks.append(further_block([ledger], protocol))
    parts = [f"# {ledger.name}", _head(ledger, run), *_remarks(ledger, run.get("notes", []))]
    parts += ["![Scores per cloud-cover bin](fig5.png)", *map(to_markdown, blocks), _FOOT]
    parts += [*_semantic_section(ledger, protocols), *failures]
    return _page([part for part in parts if pictures or not part.startswith("![")])


def _page(parts: Sequence[str]) -> str:
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _semantic_section(ledger: Ledger, protocols: Sequence[Protocol]) -> list[str]:
    """Tab. 3 and what belongs to it; nothing where no segmenter has read the run."""
    if not ledger.segmenters:
        return []
    blocks = [
        block for protocol in protocols for block in table3_blocks([ledger], protocol, details=True)
    ]
    return [
        "## Semantic recovery",
        "![Points below the cloud-free image per cloud-cover bin](fig6.png)",
        "![What the segmenter takes each class of the clear image for](transitions.png)",
        *map(to_markdown, blocks),
        _SEMANTIC_FOOT,
    ]


def _head(ledger: Ledger, run: Mapping[str, Any]) -> str:
    frame = ledger.frame
    rows = {
        "Track, split": f"{run['track']}, {run['split']}",
        "Scored": f"{coverage(ledger)}, {frame['aoi'].nunique()} AOIs",
        "Method": _escaped(run["method"] or "not stated"),
        "Input window": input_note([ledger]).removeprefix("Input window: ").removesuffix("."),
        "Dataset fingerprint": f"`{run['fingerprint']}`",
        **({"Simulated": run["simulation"]} if run.get("simulation") else {}),
        "Predictions": f"`{run['predictions']}`",
        "Tool": f"planetcr-bench {run['tool_version']}, ledger schema {run['ledger_schema']}",
        "Command": f"`{run['command']}`",
        "Measured": f"{run['started']}, {run['seconds']:.1f} s on {run['device']}",
    }
    return "\n".join(["| | |", "|:--|:--|", *(f"| {key} | {text} |" for key, text in rows.items())])


def _escaped(text: str) -> str:
    """A text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#!|])", r"\\\1", text)


def _remarks(ledger: Ledger, notes: Sequence[str]) -> list[str]:
    """What a reader must know before any number: coverage, protocols, values out of range."""
    remarks = [_escaped(note) for note in notes]
    if not ledger.provenance["complete"]:
        remarks.append(
            f"**Incomplete: {coverage(ledger)} are scored.** The figures hold for these scenes "
            "only and cannot be ranked; `run.json` lists what was left out."
        )
    if "full" not in ledger.provenance["protocols"]:
        remarks.append(
            "The predictions are centre crops of 160 × 160 pixels: only the `official` protocol is "
            "measured."
        )
    widest = "full" if "full" in ledger.provenance["protocols"] else "official"
    rows = ledger.frame[ledger.frame["protocol"] == widest]
    outside, values = int(rows["out_of_range"].sum()), int(rows["values"].sum())
    if outside:
        remarks.append(
            f"{outside} of {values} predicted values ({outside / values:.2%}) lie outside "
            "[0, 1]; they are measured as they are."
        )
    return remarks


_FOOT = (
    "The *gain* rows are improvements over the untouched cloudy input on the same scenes, positive "
    "where the method is better. *Cloud*, *edge* and *clear* are pixels under the cloud mask, "
    "within 30 m of it, and farther away; the mask misses haze, so clear pixels are not identical "
    "in the two dates. A dash means that nothing was measured."
)

_SEMANTIC_FOOT = (
    "A *segmenter* is a network that tells land cover from an image, learnt from clear ones. "
    "*Cloud-Free* is what it tells from the clear image: its own limit. *Agreement* takes its "
    "reading of the clear image for the truth, so that its faults cancel."
)
