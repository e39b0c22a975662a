"""Make the tables of the error analysis."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

import pandas as pd

from planetcr_bench.analysis.error_analysis import (
    ADDITIVE,
    TRIANGLE,
    ErrorAnalysis,
    extremes,
    signature,
)
from planetcr_bench.constants import COVER_BINS
from planetcr_bench.metrics.registry import HEADLINE, METRICS
from planetcr_bench.report.table import Table, number, run_table

_GAIN: Final = "PSNR gain [dB]"
_SCORES: Final = [METRICS[metric].title for metric in HEADLINE]
_SHARES: Final = ["residual cloud [%]", "recovery [%]", "hallucination [%]"]

SCENE_ENDS: Final = {"psnr": "PSNR", "gain_psnr": "gain in PSNR over the input"}
"""Figures by which scenes are the worst and the best."""


def clear_change_table(analysis: ErrorAnalysis) -> Table:
    """What each method did to pixels by region: ``ErrorAnalysis.regions``."""
    rows = [
        [
            *_texts(line, "row", "region"),
            *(number(line[name]) for name in ("input_mae", "mae", "changed")),
            percent(line["worse"]),
            *_texts(line, "scenes", "pixels"),
        ]
        for line in analysis.regions.to_dict("records")
    ]
    header = ["Method", "region", "input's MAE", "MAE ↓", "changed", "worse ↓ [%]"]
    header += ["scenes", "pixels"]
    return _table("Change to clear pixels, by region", header, rows, analysis, metrics=["mae"])


def paste_back_table(analysis: ErrorAnalysis) -> Table:
    """What pasting back would gain: ``ErrorAnalysis.paste_back``."""
    rows = [
        [
            *_texts(line, "row", "pasted"),
            percent(line["share"]),
            *(number(line[metric]) for metric in ADDITIVE),
            *(number(line[f"gain_{metric}"], sign=True) for metric in ADDITIVE),
        ]
        for line in analysis.paste_back.to_dict("records")
    ]
    labels = [METRICS[metric].title for metric in ADDITIVE]
    gains = ["MAE gain", _GAIN, "SAM gain [°]"]
    header = ["Method", "pasted", "of pixels [%]", *labels, *gains]
    note = "SSIM of a composite does not follow from the sums of its parts and is left out."
    title = "The input's clear pixels pasted back"
    return _table(title, header, rows, analysis, note, metrics=ADDITIVE)


def class_cover_tables(analysis: ErrorAnalysis) -> list[Table]:
    """MAE and gain in PSNR per class and cloud-cover bin."""
    frame = analysis.failures("land_cover", "cover_bin")
    errors = [f"{number(line['mae'])} ({line['scenes']})" for line in frame.to_dict("records")]
    gains = [number(gain, sign=True, digits=2) for gain in frame["gain_psnr"]]
    tables = []
    for title, metric, cells in (
        ("MAE per class and cloud cover in %, scenes in brackets", "mae", errors),
        ("Gain in PSNR over the input per class and cloud cover in %, dB", "psnr", gains),
    ):
        rows: dict[tuple[str, str], list[str]] = {}
        for row, land_cover, cell in zip(frame["row"], frame["land_cover"], cells, strict=True):
            rows.setdefault((row, land_cover), []).append(cell)
        lines = [[*names, *own] for names, own in rows.items()]
        header = ["Method", "class", *COVER_BINS]
        tables.append(_table(title, header, lines, analysis, metrics=[metric]))
    return tables


def season_table(analysis: ErrorAnalysis) -> Table:
    """Scores by season."""
    frame = analysis.failures("season")
    rows = [[*_score_cells(line, "season"), f"{line['aois']}"] for line in frame.to_dict("records")]
    header = ["Method", "season", *_SCORES, _GAIN, "scenes", analysis.clusters]
    return _table("By season", header, rows, analysis)


def aoi_tables(analysis: ErrorAnalysis) -> list[Table]:
    """AOIs with the lowest and the highest PSNR; none where AOIs do not differ.

    Of AOIs of one scene each the tables of scenes say as much.
    """
    if analysis.ledgers[0].imagery.one_scene_each and analysis.with_scenes is not None:
        return []
    frame = extremes(analysis.aois, "psnr", name="aoi", count=_count(analysis))
    frame["position"] = [
        f"{number(north, digits=2)}, {number(east, digits=2)}"
        for north, east in zip(frame["latitude"], frame["longitude"], strict=True)
    ]
    frame["cover"] = [percent(share) for share in frame["cloud_cover"]]
    located = bool(frame["latitude"].notna().any())
    names = ["end", "aoi", *["position"] * located, *["cover"] * analysis.known.masks]
    rows = [_score_cells(line, *names) for line in frame.to_dict("records")]
    cover = ["mean cloud cover [%]"] * analysis.known.masks
    cluster = analysis.ledgers[0].imagery.cluster
    header = ["Method", "", cluster, *["latitude, longitude [°]"] * located, *cover, *_SCORES]
    first, rest = analysis.clusters[0].upper(), analysis.clusters[1:]
    title = f"{first}{rest} with the lowest and the highest PSNR"
    return [_table(title, [*header, _GAIN, "scenes"], rows, analysis)] if rows else []


def listed_scenes(analysis: ErrorAnalysis, by: str) -> pd.DataFrame:
    """The scenes that a table of the worst and the best by a figure lists."""
    return extremes(analysis.scenes, by, count=_count(analysis))


def scene_tables(analysis: ErrorAnalysis) -> list[Table]:
    """Worst and best scenes, by PSNR and its gain; none of equal ones or of compact ledgers."""
    known = analysis.with_scenes
    if known is None:
        return []
    masks, land_cover = known.known.masks, known.known.land_cover
    header = ["Method", "", "scene", *["cloud cover [%]"] * masks]
    header += [*["prevailing class"] * land_cover, "MAE ↓", METRICS["psnr"].title, _GAIN]
    tables = []
    for by, words in SCENE_ENDS.items():
        rows = [
            [
                *_texts(line, "row", "end", "scene"),
                *[percent(line["cloud_cover"])] * masks,
                *_texts(line, *["land_cover"] * land_cover),
                number(line["mae"]),
                number(line["psnr"], digits=2),
                number(line["gain_psnr"], sign=True, digits=2),
            ]
            for line in listed_scenes(known, by).to_dict("records")
        ]
        title = f"Worst and best scenes by {words}"
        tables += [_table(title, header, rows, known)] if rows else []
    return tables


def triangle_table(analysis: ErrorAnalysis) -> Table:
    """Shares of residual cloud, recovery and hallucination; of several methods, fewer groups."""
    frame = analysis.triangle
    if len(analysis.ledgers) > 1:
        frame = frame[frame["by"].isin(["all", "region"])]
    rows = [
        [
            *_texts(line, "row"),
            f"{line['group']}{' % cloud cover' if line['by'] == 'cover_bin' else ''}",
            *(percent(line[share]) for share in TRIANGLE),
            number(line["mae"]),
            *_texts(line, "scenes"),
        ]
        for line in frame.to_dict("records")
    ]
    header = ["Method", "pixels", *_SHARES, "MAE ↓", "scenes"]
    title = "Residual cloud, recovery, hallucination"
    return _table(title, header, rows, analysis, metrics=["mae"])


def thickness_tables(analysis: ErrorAnalysis) -> list[Table]:
    """Scores and shares per optical thickness; no table where no run has optical thickness."""
    known = analysis.with_optical_thickness
    if known is None:
        return []
    rows = [
        [
            *_texts(line, "row", "thickness"),
            *(number(line[name]) for name in ("input_mae", *HEADLINE)),
            *(percent(line[share]) for share in TRIANGLE),
            *_texts(line, "scenes", "pixels"),
        ]
        for line in known.failures("thickness").to_dict("records")
    ]
    header = ["Method", "thickness", "input's MAE", *_SCORES, *_SHARES, "scenes", "pixels"]
    return [_table("By optical thickness of the cloud", header, rows, analysis)]


def _count(analysis: ErrorAnalysis) -> int:
    """Lines of either end that a table of extremes shows per method."""
    return 5 if len(analysis.ledgers) == 1 else 2


def percent(share: object) -> str:
    """A share as a number of per cent."""
    return number(100 * share, digits=1) if isinstance(share, float) else number(share)


def _texts(line: dict[Hashable, Any], *names: str) -> list[str]:
    return [str(line[name]) for name in names]


def _score_cells(line: dict[Hashable, Any], *names: str) -> list[str]:
    scores = [number(line[metric]) for metric in HEADLINE]
    gain = number(line["gain_psnr"], sign=True)
    return [*_texts(line, "row", *names), *scores, gain, *_texts(line, "scenes")]


def _table(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    analysis: ErrorAnalysis,
    *notes: str,
    metrics: Sequence[str] = ("all",),
) -> Table:
    notes = (signatures(analysis, metrics), *notes)
    ledgers, protocol = analysis.ledgers, analysis.protocol
    return run_table(title, header, rows, ledgers=ledgers, protocol=protocol, notes=notes)


def signatures(analysis: ErrorAnalysis, metrics: Sequence[str]) -> str:
    """How the figures of these metrics are computed."""
    return ", ".join(signature(analysis.protocol, metric) for metric in metrics)
