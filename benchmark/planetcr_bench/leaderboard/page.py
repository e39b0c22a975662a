"""Write the leaderboard: a page that opens from disk, Markdown, JSON and BibTeX.

The same entries give the same bytes: nothing here knows the time or the machine.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Final

import numpy as np
import pandas as pd

from planetcr_bench import __version__
from planetcr_bench.analysis.segmentation import segmentation_scores, without_segmenters
from planetcr_bench.analysis.significance import (
    MetricComparison,
    detectable_difference,
    metric_comparisons,
)
from planetcr_bench.constants import OPTICAL_BANDS, PLANET_CR
from planetcr_bench.errors import LedgerError
from planetcr_bench.leaderboard.arrays import ArrayStore
from planetcr_bench.leaderboard.boards import (
    AXES,
    Board,
    boards_of,
    cells_of,
    counts_of,
    segmentation_cells_of,
)
from planetcr_bench.leaderboard.entries import Entry
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.registry import HEADLINE, METRICS, SEGMENTATION, further
from planetcr_bench.report.html import page_style, policy_hash
from planetcr_bench.report.significance import detectable_note
from planetcr_bench.report.table import Table, escape_markdown, number, to_markdown
from planetcr_bench.results.aggregate import (
    coverage,
    further_metrics,
    independence_note,
    rounding_note,
    score_groups,
)
from planetcr_bench.results.compaction import predictions_of
from planetcr_bench.results.imagery import Imagery
from planetcr_bench.results.known import Known
from planetcr_bench.results.published import SEEN, SOURCE, published_table2, published_table3
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.json_values import from_json_value, to_json_value
from planetcr_bench.utils.untrusted import printable

SCHEMA: Final = 1
"""Version of ``leaderboard.json``, which docs/submissions.md describes."""

FILES: Final = ("index.html", "leaderboard.md", "leaderboard.json", "leaderboard.bib")

PAPER_BIBTEX: Final = """\
@article{xu2024m3rcr,
  title   = {Multimodal and Multiresolution Data Fusion for High-Resolution Cloud Removal:
             A Novel Baseline and Benchmark},
  author  = {Xu, Fang and Shi, Yilei and Ebel, Patrick and Yang, Wen and Zhu, Xiao Xiang},
  journal = {IEEE Transactions on Geoscience and Remote Sensing},
  volume  = {62},
  year    = {2024},
  doi     = {10.1109/TGRS.2023.3337845},
  note    = {Align-CR and Planet-CR, now M3R-CR; first arXiv 2301.03432, 2023}
}
"""


def write_board(
    out: Path, entries: Sequence[Entry], *, verified: bool = False, source: str = ""
) -> None:
    """Write :data:`FILES`, each in one step; other files of the folder are left alone.

    Args:
        out: Folder, made if need be.
        entries: What to show.
        verified: Say in the files that only verified entries are shown.
        source: Address of the repository, to which the page links; empty for no link.
    """
    boards = boards_of(entries)
    summaries = [summary(board) for board in boards]
    bibtex = bibliography(entries)
    data = payload(boards, summaries, bibtex, verified=verified)
    out.mkdir(parents=True, exist_ok=True)
    texts = {
        "index.html": page(data, source=source),
        "leaderboard.md": markdown(boards, summaries, verified=verified),
        "leaderboard.json": _json(
            {
                "schema": SCHEMA,
                "version": __version__,
                "verified_only": verified,
                "boards": summaries,
            },
            indent=2,
        )
        + "\n",
        "leaderboard.bib": bibtex,
    }
    for name in FILES:
        atomic_write(out / name, texts[name].encode())


def summary(board: Board) -> dict[str, Any]:
    """Scores of a board as JSON has them, ranked by PSNR, incomplete entries last and unranked."""
    comparable, comparisons = _comparisons(board)
    by_metric = {comparison.metric: comparison for comparison in comparisons}
    stand_ins = _stand_ins(board)
    by_name = {entry.name: _summary(entry, board, by_metric, stand_ins) for entry in board.entries}

    def sort_key(entry: Mapping[str, Any]) -> tuple[bool, float, str, bool]:
        first = by_name[stand_ins[entry["name"]]]  # the same images side by side
        psnr = from_json_value(first["scores"]["psnr"])
        worst_first = math.inf if math.isnan(psnr) else -psnr
        return not entry["complete"], worst_first, first["name"], entry is not first

    entries = sorted(by_name.values(), key=sort_key)
    ranked = list(dict.fromkeys(stand_ins[entry["name"]] for entry in entries if entry["complete"]))
    for entry in entries:
        rank = ranked.index(stand_ins[entry["name"]]) + 1 if entry["complete"] else None
        entry["rank"] = rank
    return {
        "id": f"{board.track}/{board.protocol.name}".replace(" ", ""),
        "track": board.track,
        "protocol": board.protocol.name,
        "simulated": board.simulated,
        "signature": board.protocol.signature("all"),
        "scenes": int(board.entries[0].run["expected_scenes"]),
        "date": _date(board),
        "remark": " ".join(_remarks(board)),
        "comparable": comparable,
        "further": [metric for metric in by_metric if metric not in HEADLINE],
        "detectable": {metric: _detectable(comparison) for metric, comparison in by_metric.items()},
        "entries": entries,
    }


def _date(board: Board) -> str:
    """When the last of the runs was scored; empty where none says so."""
    dates = (str(entry.run.get("started", ""))[:10] for entry in board.entries)
    return max(filter(re.compile(r"\d{4}-\d\d-\d\d").fullmatch, dates), default="")


def _remarks(board: Board) -> list[str]:
    rounding = rounding_note(board.ledgers)
    return [*([rounding] if rounding else []), *independence_note(board.ledgers)]


def _stand_ins(board: Board) -> dict[str, str]:
    """Each entry's name, and that of the one whose place it shares: of all of the same predictions.

    A verified one speaks for all; of claimed ones, whose sums may differ, the worst.
    """
    same: dict[str, list[tuple[bool, float, str]]] = {}
    for entry in board.entries:
        psnr = float(score_groups(entry.ledger, board.protocol)["psnr"].iloc[0])
        claimed = entry.status != "verified"
        same.setdefault(predictions_of(entry.ledger), []).append((claimed, psnr, entry.name))
    return {name: min(group)[2] for group in same.values() for _, _, name in group}


def _comparisons(board: Board) -> tuple[bool, list[MetricComparison]]:
    """Whether runs can be compared, and the comparisons of all metrics but those of segmenters.

    Intervals are by Student's t alone, as the page computes them for any filter; runs that cannot
    be compared have intervals, but no differences.
    """
    ledgers = [without_segmenters(ledger) for ledger in board.ledgers]
    metrics = (*HEADLINE, *further_metrics(ledgers))
    compare = partial(metric_comparisons, protocol=board.protocol, metrics=metrics, resamples=0)
    try:
        return True, compare(ledgers)
    except LedgerError:
        alone = [compare([ledger]) for ledger in ledgers]
        estimates = [
            {name: joined for comparison in same for name, joined in comparison.estimates.items()}
            for same in zip(*alone, strict=True)
        ]
        return False, [
            replace(comparison, estimates=joined)
            for comparison, joined in zip(alone[0], estimates, strict=True)
        ]


def _detectable(comparison: MetricComparison) -> dict[str, Any]:
    """Detectable differences: of a single pair, and Holm-corrected."""
    return {
        "alone": to_json_value(detectable_difference(comparison.pairs)),
        "corrected": to_json_value(detectable_difference(comparison.pairs, corrected=True)),
        "pairs": len(comparison.pairs),
    }


def _summary(
    entry: Entry,
    board: Board,
    comparisons: Mapping[str, MetricComparison],
    stand_ins: Mapping[str, str],
) -> dict[str, Any]:
    metrics = list(comparisons)
    groups = score_groups(entry.ledger, board.protocol, metrics=metrics)
    segmented = {}
    for segmenter, facts in entry.run["segmenters"].items():
        table = segmentation_scores(entry.ledger, segmenter, board.protocol, "prediction")
        overall = table[["miou", "pa"]].to_dict("index")["overall"]
        segmented[segmenter] = {"name": facts["name"], **overall}
    same = [name for name in stand_ins if stand_ins[name] == stand_ins[entry.name]]
    result = {
        "name": entry.name,
        "method": entry.method,
        "folder": entry.folder,
        "status": entry.status,
        "simulated": entry.simulated,
        "training": entry.training,
        "input_window": entry.input_window,
        "same_predictions": [name for name in same if name != entry.name],
        "complete": bool(entry.run["complete"]),
        "coverage": coverage(entry.ledger),
        "scenes": int(entry.run["scenes"]),
        "aois": len(entry.ledger.aois),
        "inputs": list(entry.card.inputs) if entry.card else [],
        "scores": groups[metrics].iloc[0].to_dict(),
        "intervals": {
            metric: [comparison.estimates[entry.name].low, comparison.estimates[entry.name].high]
            for metric, comparison in comparisons.items()
        },
        "effective_aois": {
            metric: comparison.estimates[entry.name].effective
            for metric, comparison in comparisons.items()
        },
        "freedom": {
            metric: comparison.estimates[entry.name].freedom
            for metric, comparison in comparisons.items()
        },
        "ties": {
            metric: comparison.letters.get(entry.name, "")
            for metric, comparison in comparisons.items()
        },
        "segmenters": segmented,
        "card": entry.card.model_dump() if entry.card else None,
    }
    return {key: to_json_value(value) for key, value in result.items()}


_OF_BOARD: Final = (
    "id", "track", "protocol", "simulated", "signature", "remark", "scenes", "comparable",
    "further", "date",
)  # fmt: skip


def payload(
    boards: Sequence[Board],
    summaries: Sequence[Mapping[str, Any]],
    bibtex: str,
    *,
    verified: bool = False,
) -> dict[str, Any]:
    """Data of the page: boards, their entries and sums, published figures."""
    arrays = ArrayStore()
    shown = [
        {
            **{key: overview[key] for key in _OF_BOARD},
            **_limits(board.imagery, board.known),
            "cells": cells_of(board, arrays),
            "counts": counts_of(board, arrays),
            "segmenters": segmentation_cells_of(board, arrays),
            "entries": [_further_figures(entry, overview) for entry in overview["entries"]],
            "published": [],
        }
        for board, overview in zip(boards, summaries, strict=True)
    ]
    _add_published(shown, arrays)
    return {
        "version": __version__,
        "axes": {axis: list(values) for axis, values in AXES.items()},
        "metrics": [_metric(name) for name in (*HEADLINE, *SEGMENTATION)],
        "further": {
            name: {"title": METRICS[name].title, "digits": METRICS[name].digits}
            for name in _further_names(boards)
        },
        "boards": shown,
        "entries": {
            entry.folder: _shown(entry, overview)
            for board, overview in zip(boards, summaries, strict=True)
            for entry in board.entries
        },
        "published": {
            "source": SOURCE[0].upper() + SOURCE[1:],
            "table3": _records(published_table3()),
        },
        "bibtex": bibtex,
        "verified_only": verified,
        "statuses": STATUS_WORDS,
        "windows": _WINDOWS,
        "arrays": {"facts": arrays.facts, "text": arrays.text},
    }


def _limits(imagery: Imagery, known: Known) -> dict[str, Any]:
    """What the page says of the scenes of a board, and which filters it has."""
    axes = {"land_cover": known.land_cover, "cover_bin": known.masks, "region": known.masks}
    return {"cluster": imagery.cluster, "known": axes, "missing": known.missing}


def _further_names(boards: Sequence[Board]) -> list[str]:
    """Metrics beside the paper's of all boards, those of single bands last."""
    bands = [band for board in boards for band in board.ledgers[0].bands] or OPTICAL_BANDS
    return list(further(list(dict.fromkeys(bands))))


def _metric(name: str) -> dict[str, Any]:
    """One row of the registry, as the page needs it; infinite ends are null."""
    metric = METRICS[name]
    return {
        "name": name,
        "label": metric.label,
        "unit": metric.unit,
        "digits": metric.digits,
        "better": metric.better,
        "scale": metric.scale,
        "log_interval": metric.log_interval,
        "possible": [end if math.isfinite(end) else None for end in metric.possible],
        "segmented": metric.table == "segmentation",
    }


def _shown(entry: Entry, overview: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of an entry, whatever the protocol."""
    overview_of = next(each for each in overview["entries"] if each["name"] == entry.name)
    run = {
        "Folder": entry.folder,
        "Dataset fingerprint": str(entry.run["fingerprint"]),
        "Simulated": str(entry.run.get("simulation") or ""),
        "Input window": _WINDOWS[entry.input_window],
        "Measured by": f"planetcr-bench {entry.run['tool_version']}",
        "Command": printable(entry.run.get("command", ""))[:_LONGEST_COMMAND],
    }
    facts = {label: value for label, value in run.items() if value}
    shown = {key: overview_of[key] for key in _OF_ENTRY}
    return {**shown, "run": facts, "samples": entry.samples}


def _further_figures(entry: Mapping[str, Any], overview: Mapping[str, Any]) -> dict[str, Any]:
    """Of each further metric the score, the ends of its interval, and the letters."""
    figures = {
        name: [
            *(_short(end) for end in (entry["scores"][name], *entry["intervals"][name])),
            entry["ties"][name],
        ]
        for name in overview["further"]
    }
    return {"folder": entry["folder"], "further": figures}


def _short(value: object) -> object:
    """A number with as many digits as any table shows."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


_OF_ENTRY: Final = (
    "name", "method", "status", "complete", "coverage", "scenes", "inputs", "card", "simulated",
    "training", "input_window", "same_predictions",
)  # fmt: skip
_LONGEST_COMMAND: Final = 1000
_WINDOWS: Final = {
    "160": "the network was shown the centre 160 × 160 alone",
    "whole": "the network was shown whole patches",
    "unknown": "not stated: whole patches or their centre alone",
}


def _add_published(shown: list[dict[str, Any]], arrays: ArrayStore) -> None:
    """Put the paper's rows on the official board of its track, and make that if need be."""
    official = PROTOCOLS["official"]
    home = [board for board in shown if board["id"] == f"{PLANET_CR}/{official.name}"]
    if not home:
        cells = {
            "aois": [],
            "additive": False,
            "index": arrays.whole(np.empty(0)),
            "sums": {},
            "estimates": {},
        }
        home = [
            {
                "id": f"{PLANET_CR}/official",
                "track": PLANET_CR,
                "protocol": official.name,
                "simulated": False,
                "signature": official.signature("all"),
                "remark": "",
                "comparable": True,
                "further": [],
                **_limits(Imagery(), Known(land_cover=True, masks=True, seasons=True)),
                "scenes": 0,
                "date": "",
                "cells": cells,
                "counts": {"index": cells["index"], "scenes": {}},
                "segmenters": {},
                "entries": [],
            }
        ]
        shown += home
    home[0]["published"] = _records(published_table2())


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(key): to_json_value(value) for key, value in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]


_SCRIPTS: Final = ("sums.js", "statistics.js", "charts.js", "page.js")


def page(data: Mapping[str, Any], *, source: str = "") -> str:
    """The page in one file, whose policy allows its own script and style only.

    Args:
        data: See :func:`payload`.
        source: Address of the repository, to which the page links; empty for no link.
    """
    style, skeleton = page_style(), page_part("page.html")
    script = "".join(map(page_part, _SCRIPTS))
    guide = f"{source.rstrip('/')}/blob/main/docs/submissions.md"
    return Template(skeleton).substitute(
        source=_link(source, "Code") + "\n" if source else "",
        instructions=f"{_link(guide, 'All rules, and what is checked')}." if source else "",
        version=__version__,
        style=style,
        style_hash=policy_hash(style),
        script=script,
        script_hash=policy_hash(script),
        **{status: words[0].upper() + words[1:] for status, words in STATUS_WORDS.items()},
        data=_json(data).replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"),
    )


def _link(address: str, words: str) -> str:
    return f'<a href="{html.escape(address)}" rel="noopener">{words}</a>'


def page_part(name: str) -> str:
    """Text of a file of the page, such as ``page.js``."""
    return (files("planetcr_bench.leaderboard") / name).read_text(encoding="utf-8")


def _json(value: object, indent: int | None = None) -> str:
    separators = (",", ":") if indent is None else None
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators
    )


STATUS_WORDS: Final = {
    "verified": "the board has the predictions and measured all of them itself, on its own copy of "
    "the dataset. That proves the figures, not how the predictions were made.",
    "claimed": "only the sums were sent. They may be true; nobody but the sender measured them, "
    "and sums that agree with each other can be made up.",
    "published": "figures of a paper, without sums; set apart and never ranked.",
}
"""What each status proves."""


def markdown(
    boards: Sequence[Board], summaries: Sequence[Mapping[str, Any]], *, verified: bool = False
) -> str:
    """Ranks of every board, and the paper's figures apart from them."""
    parts = ["# Leaderboard\n", "Ranked by PSNR. Incomplete entries are shown and not ranked.\n"]
    parts += ["**Verified entries only; claimed ones are left out.**\n"] if verified else []
    parts += ["\n".join(f"- **{name}**: {words}" for name, words in STATUS_WORDS.items()) + "\n"]
    tables = [
        make(board, overview)
        for board, overview in zip(boards, summaries, strict=True)
        for make in (_ranks, _further_table)
    ]
    return "\n".join([*parts, *(to_markdown(table) for table in [*tables, _published_table()])])


def _ranks(board: Board, overview: Mapping[str, Any]) -> Table:
    official = board.protocol.name == "official"
    rows = [
        [
            str(entry["rank"] or "–"),
            _named(entry),
            *(_score(entry, metric) for metric in HEADLINE),
            "+".join(entry["inputs"]) or "–",
            *([entry["input_window"]] if official else []),
            escape_markdown(entry["training"]) or "–",
            entry["status"],
            entry["coverage"],
        ]
        for entry in overview["entries"]
    ]
    crop = ["Input window"] if official else []
    scores = [METRICS[name].title for name in HEADLINE]
    header = ["Rank", "Method", *scores, "Inputs", *crop, "Training", "Status", "Scored"]
    ties = _TIES.format(clusters=board.imagery.clusters)
    notes = [overview["signature"], overview["remark"], ties, _detectable_note(overview)]
    notes = [note for note in notes if note]
    notes += [_WINDOW_NOTE] if official else []
    return Table(_title(board), header, rows, ["measured"] * len(rows), notes)


def _title(board: Board) -> str:
    track = f"{board.track} (simulated)" if board.simulated else board.track
    return f"Track {track}, protocol {board.protocol.name}"


def _further_table(board: Board, overview: Mapping[str, Any]) -> Table:
    """Metrics beside the paper's four, which rank nothing: a row each, a column per method."""
    entries = overview["entries"]
    rows = [
        [METRICS[name].title, *(_score(entry, name, count=False) for entry in entries)]
        for name in overview["further"]
    ]
    header = ["Metric", *(_column_head(entry, entries, board) for entry in entries)]
    title = f"{_title(board)}: further metrics, by which nothing is ranked"
    notes = [
        board.protocol.signature("further"),
        "Intervals and letters are as in the ranks above.",
    ]
    return Table(title, header, rows, ["measured"] * len(rows), notes)


def _column_head(
    entry: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], board: Board
) -> str:
    """A method, with its input window where official figures of several stand side by side."""
    parts = [_one_line(entry["method"])]
    several = len({each["input_window"] for each in entries}) > 1
    if several and board.protocol.name == "official":
        parts.append(f"(input {entry['input_window']})")
    return " ".join([*parts, *([] if entry["complete"] else [f"({entry['coverage']})"])])


_WINDOW_NOTE: Final = (
    "Input window: what the network was shown of a patch, the centre 160 × 160 alone as in the "
    "authors' tester, or all of it; official PSNR differs between the two. Compare only figures of "
    "the same input window."
)


def _named(entry: Mapping[str, Any]) -> str:
    same = ", ".join(entry["same_predictions"])
    method = _one_line(entry["method"])
    return f"{method} (same predictions as {same}: one rank)" if same else method


_TIES: Final = (
    "[low, high] is the 95 % interval over {clusters} (jackknife, Student's t; `compare` widens it "
    "where a bootstrap finds t too narrow), n the effective number of {clusters} behind the score; "
    "methods that share a letter are not significantly different in that score (paired "
    "differences, Holm-corrected)."
)


def _detectable_note(overview: Mapping[str, Any]) -> str:
    """The detectable difference of every score."""
    return detectable_note(
        (
            METRICS[metric].label,
            METRICS[metric],
            *(from_json_value(gap[kind]) for kind in ("alone", "corrected")),
            gap["pairs"],
        )
        for metric in HEADLINE
        for gap in [overview["detectable"][metric]]
    )


def _score(entry: Mapping[str, Any], metric: str, *, count: bool = True) -> str:
    """A score, its interval, its AOIs if asked for, and its letters, as ``compare`` rounds them."""
    low, high = (
        number(from_json_value(end), digits=METRICS[metric].digits)
        for end in entry["intervals"].get(metric, (None, None))
    )
    parts = [number(from_json_value(entry["scores"][metric]), digits=METRICS[metric].digits)]
    parts += [] if "–" in (low, high) else [f"[{low}, {high}]"]
    effective = from_json_value(entry["effective_aois"].get(metric))
    parts += [] if math.isnan(effective) or not count else [f"n {number(effective, digits=1)}"]
    return " ".join([*parts, *filter(None, [entry["ties"].get(metric, "")])])


def _one_line(text: str) -> str:
    return escape_markdown(" ".join(text.split()))


def _published_table() -> Table:
    rows = [
        [
            str(row["row"]),
            *(number(row[metric]) for metric in HEADLINE),
            str(row["input_window"]),
        ]
        for row in published_table2().to_dict("records")
    ]
    header = ["Method", *(METRICS[name].title for name in HEADLINE), "Input window"]
    title = f"Track {PLANET_CR}, protocol official: published, not measured here"
    return Table(title, header, rows, ["published"] * len(rows), [SOURCE, SEEN])


def bibliography(entries: Sequence[Entry]) -> str:
    """BibTeX of the paper and of every entry's card, each text once, in the order of folders."""
    texts = [entry.card.bibtex.strip() for entry in entries if entry.card and entry.card.bibtex]
    return "\n".join(dict.fromkeys([PAPER_BIBTEX, *(f"{text}\n" for text in texts)]))
