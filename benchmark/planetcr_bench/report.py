"""Ledgers in, the files that people read out: tables, Fig. 5, scores and a one-page report."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from planetcr_bench.figures import cover_figure, save_figure
from planetcr_bench.ledger import Ledger
from planetcr_bench.protocols import PROTOCOLS, Pool
from planetcr_bench.published import published_table2
from planetcr_bench.render import (
    Block,
    cover_block,
    pool_block,
    sky_block,
    table2_blocks,
    to_latex,
    to_markdown,
)
from planetcr_bench.storage import write_whole
from planetcr_bench.tables import cover_table, coverage, measured_protocols, summary, table2


def all_table2_blocks(
    ledgers: Sequence[Ledger], *, pool: Pool | None = None, published: bool = False
) -> list[Block]:
    """Tab. 2 in every protocol that all runs were measured in."""
    return [
        block
        for protocol in measured_protocols(ledgers)
        for block in table2_blocks(ledgers, protocol, pool=pool, published=published)
    ]


def write_tables(
    folder: Path, ledgers: Sequence[Ledger], *, pool: Pool | None = None, published: bool = False
) -> None:
    """Write ``table2.md``, ``.tex``, ``.csv`` and ``.json``, and ``fig5.png`` and ``.svg``.

    Args:
        folder: Where to; files of the same names are replaced, each in one step.
        ledgers: Runs on one dataset.
        pool: How per-class figures are put together, if not as each protocol does.
        published: Add the paper's rows, in the ``official`` protocol.
    """
    blocks = all_table2_blocks(ledgers, pool=pool, published=published)
    frame = _table2_frame(ledgers, pool=pool, published=published)
    _write(folder / "table2.md", "\n".join(map(to_markdown, blocks)))
    _write(folder / "table2.tex", "\n".join(map(to_latex, blocks)))
    _write(folder / "table2.csv", frame.to_csv(index=False))
    records = [
        {name: _plain(value) for name, value in row.items()} for row in frame.to_dict("records")
    ]
    _write(folder / "table2.json", json.dumps(records, indent=2, ensure_ascii=False) + "\n")
    official = PROTOCOLS["official"]
    save_figure(cover_figure(cover_table(ledgers, official), official), folder, "fig5")


def _table2_frame(ledgers: Sequence[Ledger], *, pool: Pool | None, published: bool) -> pd.DataFrame:
    """Tab. 2 of all protocols at full precision, with the signature of the per-class figures."""
    frames = []
    for protocol in measured_protocols(ledgers):
        frame = table2(ledgers, protocol, pool=pool)
        if published and protocol.name == "official":
            frame = pd.concat([frame, published_table2()], ignore_index=True)
        frame.insert(0, "protocol", protocol.name)
        frame.insert(1, "class_pool", pool or protocol.pool)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _plain(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _write(path: Path, text: str) -> None:
    write_whole(path, text.encode())


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
    _write(folder / "report.md", report(ledger, run, pool=pool))


def report(ledger: Ledger, run: Mapping[str, Any], *, pool: Pool | None = None) -> str:
    """One page about one run, in Markdown."""
    protocols = measured_protocols([ledger])
    blocks: list[Block] = []
    for protocol in protocols:
        blocks += table2_blocks([ledger], protocol, pool=pool)
        blocks += [block([ledger], protocol) for block in (sky_block, cover_block, pool_block)]
    parts = [f"# {ledger.name}", _head(ledger, run), *_remarks(ledger)]
    parts += ["![Scores per cloud-cover bin](fig5.png)", *map(to_markdown, blocks), _FOOT]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _head(ledger: Ledger, run: Mapping[str, Any]) -> str:
    frame = ledger.frame
    rows = {
        "Track, split": f"{run['track']}, {run['split']}",
        "Scored": f"{coverage(ledger)}, {frame['aoi'].nunique()} AOIs",
        "Method": run["method"] or "not stated",
        "Dataset fingerprint": f"`{run['fingerprint']}`",
        **({"Simulated": run["simulation"]} if run.get("simulation") else {}),
        "Predictions": f"`{run['predictions']}`",
        "Tool": f"planetcr-bench {run['tool_version']}, ledger schema {run['ledger_schema']}",
        "Command": f"`{run['command']}`",
        "Measured": f"{run['started']}, {run['seconds']:.1f} s on {run['device']}",
    }
    return "\n".join(["| | |", "|:--|:--|", *(f"| {key} | {text} |" for key, text in rows.items())])


def _remarks(ledger: Ledger) -> list[str]:
    """What a reader must know before any number: coverage, protocols, values out of range."""
    remarks = []
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
    "where the method is better. *Cloud*, *rim* and *clear* are pixels under the cloud mask, "
    "within 30 m of it, and farther away; the mask misses haze, so clear pixels are not identical "
    "in the two dates. A dash means that nothing was measured."
)
