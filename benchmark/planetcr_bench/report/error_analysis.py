"""Make the tables of the chapter that says where and how a method fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

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
from planetcr_bench.report.scores import coverage_notes
from planetcr_bench.report.table import Block, number

_GAIN: Final = "PSNR gain [dB]"
_SCORES: Final = [*(METRICS[metric].title for metric in HEADLINE), _GAIN]
_SHARES: Final = ["residual cloud [%]", "recovery [%]", "hallucination [%]"]

SCENE_ENDS: Final = {"psnr": "PSNR", "gain_psnr": "gain in PSNR over the input"}
"""Figures by which scenes are the worst and the best."""


def clear_change_block(of: ErrorAnalysis) -> Block:
    """What each method did to pixels by region: ``ErrorAnalysis.regions``."""
    rows = [
        [
            str(line["row"]),
            str(line["region"]),
            *(number(line[name]) for name in ("input_mae", "mae", "changed")),
            percent(line["worse"]),
            f"{line['scenes']}",
            f"{line['pixels']}",
        ]
        for line in of.regions.to_dict("records")
    ]
    header = [
        "Method",
        "region",
        "input's MAE",
        "MAE ↓",
        "changed",
        "worse ↓ [%]",
        "scenes",
        "pixels",
    ]
    return _block("Change to clear pixels, by region", header, rows, of, metric=["mae"])


def paste_back_block(of: ErrorAnalysis) -> Block:
    """What pasting back would gain: ``ErrorAnalysis.paste_back``."""
    rows = [
        [
            str(line["row"]),
            str(line["pasted"]),
            percent(line["share"]),
            *(number(line[metric]) for metric in ADDITIVE),
            *(number(line[f"gain_{metric}"], sign=True) for metric in ADDITIVE),
        ]
        for line in of.paste_back.to_dict("records")
    ]
    labels = [METRICS[metric].title for metric in ADDITIVE]
    gains = ["MAE gain", _GAIN, "SAM gain [°]"]
    header = ["Method", "pasted", "of pixels [%]", *labels, *gains]
    note = "SSIM of a composite does not follow from the sums of its parts and is left out."
    title = "The input's clear pixels pasted back"
    return _block(title, header, rows, of, note, metric=ADDITIVE)


def class_cover_blocks(of: ErrorAnalysis) -> list[Block]:
    """MAE and gain in PSNR per class and cloud-cover bin."""
    table = of.failures("land_cover", "cover_bin")
    errors = [f"{number(line['mae'])} ({line['scenes']})" for line in table.to_dict("records")]
    gains = [number(gain, sign=True, digits=2) for gain in table["gain_psnr"].tolist()]
    blocks = []
    for title, metric, cells in (
        ("MAE per class and cloud cover in %, scenes in brackets", "mae", errors),
        ("Gain in PSNR over the input per class and cloud cover in %, dB", "psnr", gains),
    ):
        rows: dict[tuple[str, str], list[str]] = {}
        for row, land_cover, cell in zip(table["row"], table["land_cover"], cells, strict=True):
            rows.setdefault((str(row), str(land_cover)), []).append(cell)
        lines = [[*names, *texts] for names, texts in rows.items()]
        header = ["Method", "class", *COVER_BINS]
        blocks.append(_block(title, header, lines, of, metric=[metric]))
    return blocks


def season_block(of: ErrorAnalysis) -> Block:
    """Scores by season."""
    table = of.failures("season")
    header = ["Method", "season", *_SCORES, "scenes", "AOIs"]
    rows = [
        [*cells, f"{aois}"]
        for cells, aois in zip(_score_rows(table, ["season"]), table["aois"], strict=True)
    ]
    return _block("By season", header, rows, of)


def aoi_blocks(of: ErrorAnalysis) -> list[Block]:
    """AOIs with the lowest and the highest PSNR; none where AOIs do not differ."""
    table = extremes(of.aois, "psnr", name="aoi", count=_count(of))
    place = [
        f"{number(north, digits=2)}, {number(east, digits=2)}"
        for north, east in zip(table["latitude"], table["longitude"], strict=True)
    ]
    cover = [percent(share) for share in table["cloud_cover"]]
    rows = _score_rows(table.assign(place=place, cover=cover), ["end", "aoi", "place", "cover"])
    header = ["Method", "", "AOI", "latitude, longitude [°]", "mean cloud cover [%]", *_SCORES]
    title = "AOIs with the lowest and the highest PSNR"
    return [_block(title, [*header, "scenes"], rows, of)] if rows else []


def listed_scenes(of: ErrorAnalysis, by: str) -> pd.DataFrame:
    """The scenes that a table of the worst and the best by a figure lists."""
    return extremes(of.scenes, by, count=_count(of))


def scene_blocks(of: ErrorAnalysis) -> list[Block]:
    """Worst and best scenes, by PSNR and by its gain over the input; none where all are equal."""
    blocks = []
    for by, words in SCENE_ENDS.items():
        rows = [
            [
                *(str(line[name]) for name in ("row", "end", "scene")),
                percent(line["cloud_cover"]),
                str(line["land_cover"]),
                number(line["mae"]),
                number(line["psnr"], digits=2),
                number(line["gain_psnr"], sign=True, digits=2),
            ]
            for line in listed_scenes(of, by).to_dict("records")
        ]
        header = [
            "Method",
            "",
            "scene",
            "cloud cover [%]",
            "most of it",
            "MAE ↓",
            METRICS["psnr"].title,
        ]
        title = f"Worst and best scenes by {words}"
        blocks += [_block(title, [*header, _GAIN], rows, of)] if rows else []
    return blocks


def triangle_block(of: ErrorAnalysis) -> Block:
    """Shares of residual cloud, recovery and hallucination; of several methods, fewer groups."""
    table = of.triangle
    if len(of.ledgers) > 1:
        table = table[table["by"].isin(["all", "region"])]
    rows = [
        [
            str(line["row"]),
            _group(str(line["by"]), str(line["group"])),
            *(percent(line[share]) for share in TRIANGLE),
            number(line["mae"]),
            f"{line['scenes']}",
        ]
        for line in table.to_dict("records")
    ]
    header = ["Method", "pixels", *_SHARES, "MAE ↓", "scenes"]
    title = "Residual cloud, recovery, hallucination"
    return _block(title, header, rows, of, metric=["mae"])


def _group(by: str, group: str) -> str:
    return f"{group} % cloud cover" if by == "cover_bin" else group


def thickness_blocks(of: ErrorAnalysis) -> list[Block]:
    """Scores and shares per optical thickness; no block where no run was told the truth."""
    if of.told is None:
        return []
    rows = [
        [
            str(line["row"]),
            str(line["thickness"]),
            *(number(line[name]) for name in ("input_mae", *HEADLINE)),
            *(percent(line[share]) for share in TRIANGLE),
            f"{line['scenes']}",
            f"{line['pixels']}",
        ]
        for line in of.told.failures("thickness").to_dict("records")
    ]
    scores = ["input's MAE", *(METRICS[metric].title for metric in HEADLINE)]
    header = ["Method", "thickness", *scores, *_SHARES, "scenes", "pixels"]
    return [_block("By optical thickness of the cloud", header, rows, of)]


def _count(of: ErrorAnalysis) -> int:
    """Lines of either end that a table of extremes shows per method."""
    return 5 if len(of.ledgers) == 1 else 2


def percent(share: object) -> str:
    """A share as a number of per cent."""
    return number(100 * share, digits=1) if isinstance(share, float) else number(share)


def _score_rows(table: pd.DataFrame, names: Sequence[str]) -> list[list[str]]:
    return [
        [
            *(str(line[name]) for name in ("row", *names)),
            *(number(line[metric]) for metric in HEADLINE),
            number(line["gain_psnr"], sign=True),
            f"{line['scenes']}",
        ]
        for line in table.to_dict("records")
    ]


def _block(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    of: ErrorAnalysis,
    *notes: str,
    metric: Sequence[str] = ("all",),
) -> Block:
    signed = [", ".join(signature(of.protocol, name) for name in metric)]
    kinds = ["measured"] * len(rows)
    title = f"{title}, protocol {of.protocol.name}"
    return Block(title, header, rows, kinds, [*signed, *notes, *coverage_notes(of.ledgers)])
