"""Boards in, the page that opens from disk out: HTML, Markdown, JSON and BibTeX.

The same entries give the same bytes: nothing here knows the time or the machine.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Final

import numpy as np
import pandas as pd

from planetcr_bench import __version__
from planetcr_bench.errors import LedgerError
from planetcr_bench.leaderboard.boards import (
    AXES,
    Arrays,
    Board,
    boards_of,
    cells_of,
    judged_cells_of,
)
from planetcr_bench.leaderboard.entries import Entry
from planetcr_bench.protocols import PROTOCOLS
from planetcr_bench.published import SOURCE, published_table2, published_table3
from planetcr_bench.render import Block, number, to_markdown
from planetcr_bench.semantics import judged_scores, without_judges
from planetcr_bench.statistic_blocks import DIGITS, UNIT
from planetcr_bench.statistics import Standing, resolution, standings
from planetcr_bench.storage import write_whole
from planetcr_bench.tables import (
    HIGHER_IS_BETTER,
    LABEL,
    METRICS,
    coverage,
    rounding_note,
    score_groups,
)
from planetcr_bench.vocabulary import PLANET_CR

FILES: Final = ("index.html", "leaderboard.md", "leaderboard.json", "leaderboard.bib")

PAPER_BIBTEX: Final = """\
@article{xu2023aligncr,
  title  = {High-Resolution Cloud Removal with Multi-Modal and Multi-Resolution Data Fusion:
            A New Baseline and Benchmark},
  author = {Xu, Fang and Shi, Yilei and Ebel, Patrick and Yang, Wen and Zhu, Xiao Xiang},
  year   = {2023},
  note   = {Planet-CR and Align-CR}
}
"""


def write_board(out: Path, entries: Sequence[Entry]) -> None:
    """Write :data:`FILES`, each in one step; other files of the folder are left alone."""
    boards = boards_of(entries)
    summaries = [summary(board) for board in boards]
    bibtex = bibliography(entries)
    data = payload(boards, summaries, bibtex)
    out.mkdir(parents=True, exist_ok=True)
    texts = {
        "index.html": page(data),
        "leaderboard.md": markdown(boards, summaries),
        "leaderboard.json": _json({"version": __version__, "boards": summaries}, indent=2) + "\n",
        "leaderboard.bib": bibtex,
    }
    for name in FILES:
        write_whole(out / name, texts[name].encode())


def summary(board: Board) -> dict[str, Any]:
    """Scores of a board as plain numbers, ranked by PSNR, incomplete entries last and unranked."""
    comparable, found = _standings(board)
    told = {one.metric: one for one in found}
    entries = [_summary(entry, board, told) for entry in board.entries]
    entries.sort(key=lambda entry: (not entry["complete"], -(entry["scores"]["psnr"] or -math.inf)))
    for rank, entry in enumerate(entries, 1):
        entry["rank"] = rank if entry["complete"] else None
    return {
        "id": f"{board.track}/{board.protocol.name}".replace(" ", ""),
        "track": board.track,
        "protocol": board.protocol.name,
        "signature": board.protocol.signature("all"),
        "scenes": max(int(entry.run["expected_scenes"]) for entry in board.entries),
        "remark": rounding_note(board.ledgers) or "",
        "comparable": comparable,
        "detectable": {metric: _detectable(one) for metric, one in told.items()},
        "entries": entries,
    }


def _standings(board: Board) -> tuple[bool, list[Standing]]:
    """Whether complete runs, as claimed, have the same AOIs, and what can be told of all scores.

    Of judges' scores nothing. Intervals are by Student's t alone, as the page finds them again for
    any filter; of runs that are not comparable there is nothing else.
    """
    ledgers = [without_judges(ledger) for ledger in board.ledgers]
    try:
        return True, standings(ledgers, board.protocol, resamples=0)
    except LedgerError:
        alone = [standings([ledger], board.protocol, resamples=0) for ledger in ledgers]
        estimates = [
            {name: found for one in same for name, found in one.estimates.items()}
            for same in zip(*alone, strict=True)
        ]
        return False, [
            replace(one, estimates=found) for one, found in zip(alone[0], estimates, strict=True)
        ]


def _detectable(standing: Standing) -> dict[str, Any]:
    """Gaps below which most pairs cannot be told apart: of one pair alone, and Holm-corrected."""
    return {
        "alone": _plain(resolution(standing.pairs)),
        "corrected": _plain(resolution(standing.pairs, corrected=True)),
        "pairs": len(standing.pairs),
    }


def _summary(entry: Entry, board: Board, told: Mapping[str, Standing]) -> dict[str, Any]:
    scores = score_groups(entry.ledger.frame, board.protocol)[list(METRICS)].iloc[0]
    judged = {}
    for judge, facts in entry.run["judges"].items():
        table = judged_scores(entry.ledger, judge, board.protocol, "prediction")
        overall = table[["miou", "pa"]].to_dict("index")["overall"]
        figures = {str(score): _plain(value) for score, value in overall.items()}
        judged[judge] = {"name": facts["name"], **figures}
    return {
        "name": entry.name,
        "method": entry.method,
        "folder": entry.folder,
        "status": entry.status,
        "complete": bool(entry.run["complete"]),
        "coverage": coverage(entry.ledger),
        "scenes": int(entry.run["scenes"]),
        "aois": int(entry.ledger.frame["aoi"].nunique()),
        "inputs": list(entry.card.inputs) if entry.card else [],
        "scores": {metric: _plain(value) for metric, value in scores.items()},
        "intervals": {
            metric: [_plain(one.estimates[entry.name].low), _plain(one.estimates[entry.name].high)]
            for metric, one in told.items()
        },
        "effective_aois": {
            metric: _plain(one.estimates[entry.name].effective) for metric, one in told.items()
        },
        "freedom": {
            metric: _plain(one.estimates[entry.name].freedom) for metric, one in told.items()
        },
        "ties": {metric: one.letters.get(entry.name, "") for metric, one in told.items()},
        "judges": judged,
        "card": asdict(entry.card) if entry.card else None,
    }


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def payload(
    boards: Sequence[Board], summaries: Sequence[Mapping[str, Any]], bibtex: str
) -> dict[str, Any]:
    """All that the page knows: boards, their sums, published figures."""
    arrays = Arrays({})
    shown = [
        {
            **{
                key: told[key]
                for key in ("id", "track", "protocol", "signature", "remark", "comparable")
            },
            "scenes": told["scenes"],
            "cells": cells_of(board, arrays),
            "judges": judged_cells_of(board, arrays),
            "entries": [_shown(entry, board, told) for entry in board.entries],
            "published": [],
        }
        for board, told in zip(boards, summaries, strict=True)
    ]
    _add_published(shown, arrays)
    return {
        "axes": {axis: list(values) for axis, values in AXES.items()},
        "boards": shown,
        "published": {
            "source": SOURCE[0].upper() + SOURCE[1:],
            "table3": _records(published_table3()),
        },
        "bibtex": bibtex,
        "arrays": arrays.texts,
    }


def _shown(entry: Entry, board: Board, told: Mapping[str, Any]) -> dict[str, Any]:
    mine = next(one for one in told["entries"] if one["name"] == entry.name)
    keys = ("name", "method", "status", "complete", "coverage", "scenes", "inputs", "card")
    run = {
        "Folder": entry.folder,
        "Dataset fingerprint": str(entry.run["fingerprint"]),
        "Simulated": str(entry.run.get("simulation") or ""),
        "Measured by": f"planetcr-bench {entry.run['tool_version']}, protocol "
        f"{board.protocol.name}",
        "Command": str(entry.run.get("command", "")),
    }
    facts = {label: value for label, value in run.items() if value}
    return {**{key: mine[key] for key in keys}, "run": facts, "samples": entry.samples}


def _add_published(shown: list[dict[str, Any]], arrays: Arrays) -> None:
    """Put the paper's rows on the official board of its track, which they make if need be."""
    official = PROTOCOLS["official"]
    home = [one for one in shown if (one["track"], one["protocol"]) == (PLANET_CR, "official")]
    if not home:
        cells = {"aois": [], "additive": False, "index": arrays.add(np.empty(0)), "sums": {}}
        home = [
            {
                "id": f"{PLANET_CR}/official",
                "track": PLANET_CR,
                "protocol": official.name,
                "signature": official.signature("all"),
                "remark": "",
                "comparable": True,
                "scenes": 0,
                "cells": cells,
                "judges": {},
                "entries": [],
            }
        ]
        shown += home
    home[0]["published"] = _records(published_table2())


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(key): None if pd.isna(value) else value for key, value in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]


def page(data: Mapping[str, Any]) -> str:
    """The page, whole in one file, allowed to run its own script and nothing else."""
    style, script, skeleton = (_part(f"page.{suffix}") for suffix in ("css", "js", "html"))
    return Template(skeleton).substitute(
        version=__version__,
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        data=_json(data).replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"),
    )


def _part(name: str) -> str:
    return (files("planetcr_bench.leaderboard") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(value: object, indent: int | None = None) -> str:
    separators = (",", ":") if indent is None else None
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators
    )


def markdown(boards: Sequence[Board], summaries: Sequence[Mapping[str, Any]]) -> str:
    """Ranks of every board, and the paper's figures apart from them."""
    parts = ["# Leaderboard\n", "Ranked by PSNR. Incomplete entries are shown and not ranked.\n"]
    blocks = [_ranks(board, told) for board, told in zip(boards, summaries, strict=True)]
    return "\n".join([*parts, *(to_markdown(block) for block in [*blocks, _published_block()])])


def _ranks(board: Board, told: Mapping[str, Any]) -> Block:
    rows = [
        [
            str(entry["rank"] or "–"),
            _one_line(entry["method"]),
            *(_score(entry, metric) for metric in METRICS),
            "+".join(entry["inputs"]) or "–",
            entry["status"],
            entry["coverage"],
        ]
        for entry in told["entries"]
    ]
    header = ["Rank", "Method", *(LABEL[name] for name in METRICS), "Inputs", "Status", "Scored"]
    notes = list(filter(None, [told["signature"], told["remark"], _TIES, _detectable_note(told)]))
    title = f"Track {board.track}, protocol {board.protocol.name}"
    return Block(title, header, rows, ["measured"] * len(rows), notes)


_TIES: Final = (
    "[low, high] is the 95 % interval over AOIs (jackknife, Student's t; `compare` widens it where "
    "a bootstrap finds t too narrow), n the effective number of AOIs that the score hangs on; "
    "methods that share a letter cannot be told apart in that score (paired differences, "
    "Holm-corrected)."
)


def _detectable_note(told: Mapping[str, Any]) -> str:
    """The gaps of every score below which most pairs cannot be told apart."""
    gaps = []
    for metric, found in told["detectable"].items():
        if found["alone"] is not None:
            alone, corrected = (
                f"{number(found[kind], digits=DIGITS[metric])}{UNIT[metric]}"
                for kind in ("alone", "corrected")
            )
            among = f" ({corrected})" if found["pairs"] > 1 else ""
            gaps.append(f"{LABEL[metric].split()[0]} {alone}{among}")
    if not gaps:
        return ""
    pairs = max(found["pairs"] for found in told["detectable"].values())
    among = f" (in parentheses, Holm-corrected: the first of {pairs} pairs)" if pairs > 1 else ""
    head = f"Detectable differences, below which most gaps cannot be seen{among}"
    return f"{head}: {', '.join(gaps)}."


def _score(entry: Mapping[str, Any], metric: str) -> str:
    """A score, its interval, its AOIs and its letters, with the digits that ``compare`` gives."""
    low, high = (
        number(end, digits=DIGITS[metric]) for end in entry["intervals"].get(metric, (None, None))
    )
    parts = [number(entry["scores"][metric], digits=DIGITS[metric])]
    parts += [] if "–" in (low, high) else [f"[{low}, {high}]"]
    effective = entry["effective_aois"].get(metric)
    parts += [] if effective is None else [f"n {number(effective, digits=1)}"]
    return " ".join([*parts, *filter(None, [entry["ties"].get(metric, "")])])


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _published_block() -> Block:
    rows = [
        [str(row["row"]), *(number(row[metric]) for metric in HIGHER_IS_BETTER)]
        for row in published_table2().to_dict("records")
    ]
    header = ["Method", *(LABEL[name] for name in HIGHER_IS_BETTER)]
    title = f"Track {PLANET_CR}, protocol official: published, not measured here"
    return Block(title, header, rows, ["published"] * len(rows), [SOURCE])


def bibliography(entries: Sequence[Entry]) -> str:
    """BibTeX of the paper and of every entry's card, each text once, in the order of folders."""
    texts = [entry.card.bibtex.strip() for entry in entries if entry.card and entry.card.bibtex]
    return "\n".join(dict.fromkeys([PAPER_BIBTEX, *(f"{text}\n" for text in texts)]))
