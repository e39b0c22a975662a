"""Ledgers in, the chapter of a report that says where and how a method fails out, with pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from planetcr_bench.diagnosis import (
    TRIANGLE,
    aoi_table,
    extremes,
    failure_table,
    harm_table,
    paste_table,
    scene_table,
    signature,
    thickness_table,
    triangle_table,
    widest_protocol,
)
from planetcr_bench.diagnosis_figures import class_cover_figure, sky_figure, thickness_figure
from planetcr_bench.diagnosis_map import aoi_figure
from planetcr_bench.diagnosis_triangle import triangle_figure
from planetcr_bench.figures import save_figure
from planetcr_bench.ledger import Ledger
from planetcr_bench.protocols import Protocol
from planetcr_bench.render import Block, coverage_notes, number, to_markdown
from planetcr_bench.tables import LABEL, METRICS
from planetcr_bench.vocabulary import COVER_BINS

TITLE: Final = "Where and how it fails"

_GAIN: Final = "PSNR gain [dB]"
_SCORES: Final = [*(LABEL[metric] for metric in METRICS), _GAIN]
_SHARES: Final = ["residual cloud [%]", "recovery [%]", "invention [%]"]

_SKIES: Final = (
    "*Cloud* are pixels under the mask, *rim* those within 30 m of it, *clear* those farther away. "
    "Clear pixels are not identical in the two dates: the mask misses haze, and the land changes "
    "(in Planet-CR 2.8 days lie between the two on average). *Changed* is the mean of "
    "|prediction − cloudy|; *worse* the share of pixels whose error exceeds the input's. *Pasted* "
    "is a composite that keeps the input's pixels under that sky; its gains are positive where it "
    "is better than the prediction."
)
_TRIANGLE: Final = (
    "With the L1 distances a = Σ|prediction − clear|, b = Σ|prediction − cloudy| and "
    "d = Σ|cloudy − clear|: *residual cloud* (a + d − b) / 2, what is left of the way from cloudy "
    "to clear; *recovery* (b + d − a) / 2, what was gone of it; *invention* (a + b − d) / 2, what "
    "lies off the way or beyond its ends. The error is residual cloud and invention, "
    "a = (a + d − b) / 2 + (a + b − d) / 2. Shares are of the sum of the three, (a + b + d) / 2: a "
    "copy of the input is all residual cloud, a perfect image all recovery. Where the input is "
    "nearly clear there is no way to go, and what little error there is may be all invention."
)
_THICKNESS: Final = (
    "Bins of the optical thickness of the simulated cloud above a pixel; 0–0.25 holds the pixels "
    "without cloud."
)
_EXTREMES: Final = (
    "Scenes and AOIs with the lowest and the highest figures; equal ones stand in the order of "
    "their names, and none is listed twice."
)


def harm_block(ledgers: Sequence[Ledger], protocol: Protocol) -> Block:
    """What each method did to pixels by sky: :func:`~planetcr_bench.diagnosis.harm_table`."""
    rows = [
        [
            str(line["row"]),
            str(line["sky"]),
            *(number(line[name]) for name in ("input_mae", "mae", "changed")),
            _percent(line["worse"]),
            f"{line['scenes']}",
            f"{line['pixels']}",
        ]
        for line in harm_table(ledgers, protocol).to_dict("records")
    ]
    header = ["Method", "sky", "input's MAE", "MAE ↓", "changed", "worse ↓ [%]", "scenes", "pixels"]
    return _block("Do no harm: by sky", header, rows, ledgers, protocol, metric="mae")


def paste_block(ledgers: Sequence[Ledger], protocol: Protocol) -> Block:
    """What pasting clear pixels back would gain: ``paste_table``."""
    rows = [
        [
            str(line["row"]),
            str(line["pasted"]),
            _percent(line["share"]),
            *(number(line[metric]) for metric in METRICS[:3]),
            *(number(line[f"gain_{metric}"], sign=True) for metric in METRICS[:3]),
        ]
        for line in paste_table(ledgers, protocol).to_dict("records")
    ]
    labels = [LABEL[metric] for metric in METRICS[:3]]
    gains = ["MAE gain", _GAIN, "SAM gain [°]"]
    header = ["Method", "pasted", "of pixels [%]", *labels, *gains]
    note = "SSIM of a composite does not follow from the sums of its parts and is left out."
    return _block("The input's clear pixels pasted back", header, rows, ledgers, protocol, note)


def class_cover_blocks(ledgers: Sequence[Ledger], protocol: Protocol) -> list[Block]:
    """MAE and gain in PSNR per class and cloud-cover bin."""
    table = failure_table(ledgers, protocol, ["land_cover", "cover_bin"])
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
        blocks.append(_block(title, header, lines, ledgers, protocol, metric=metric))
    return blocks


def season_block(ledgers: Sequence[Ledger], protocol: Protocol) -> Block:
    """Scores by season."""
    table = failure_table(ledgers, protocol, ["season"])
    header = ["Method", "season", *_SCORES, "scenes"]
    return _block("By season", header, _score_rows(table, ["season"]), ledgers, protocol)


def aoi_block(ledgers: Sequence[Ledger], protocol: Protocol) -> Block:
    """AOIs with the lowest and the highest PSNR."""
    table = extremes(aoi_table(ledgers, protocol), "psnr", name="aoi", count=_count(ledgers))
    place = [
        f"{number(north, digits=2)}, {number(east, digits=2)}"
        for north, east in zip(table["latitude"], table["longitude"], strict=True)
    ]
    cover = [_percent(share) for share in table["cloud_cover"]]
    rows = _score_rows(table.assign(place=place, cover=cover), ["end", "aoi", "place", "cover"])
    header = ["Method", "", "AOI", "latitude, longitude [°]", "mean cloud cover [%]", *_SCORES]
    title = "AOIs with the lowest and the highest PSNR"
    return _block(title, [*header, "scenes"], rows, ledgers, protocol)


def scene_blocks(ledgers: Sequence[Ledger], protocol: Protocol) -> list[Block]:
    """Worst and best scenes, by PSNR and by its gain over the input."""
    table = scene_table(ledgers, protocol)
    blocks = []
    for by, words in (("psnr", "PSNR"), ("gain_psnr", "gain in PSNR over the input")):
        lines = extremes(table, by, count=_count(ledgers))
        rows = [
            [
                *(str(line[name]) for name in ("row", "end", "scene")),
                _percent(line["cloud_cover"]),
                str(line["land_cover"]),
                number(line["mae"]),
                number(line["psnr"], digits=2),
                number(line["gain_psnr"], sign=True, digits=2),
            ]
            for line in lines.to_dict("records")
        ]
        header = ["Method", "", "scene", "cloud cover [%]", "most of it", "MAE ↓", LABEL["psnr"]]
        title = f"Worst and best scenes by {words}"
        blocks.append(_block(title, [*header, _GAIN], rows, ledgers, protocol))
    return blocks


def triangle_block(ledgers: Sequence[Ledger], protocol: Protocol) -> Block:
    """Shares of residual cloud, recovery and invention; of several methods, fewer groups."""
    table = triangle_table(ledgers, protocol)
    if len(ledgers) > 1:
        table = table[table["by"].isin(["all", "sky"])]
    rows = [
        [
            str(line["row"]),
            _group(str(line["by"]), str(line["group"])),
            *(_percent(line[share]) for share in TRIANGLE),
            number(line["mae"]),
            f"{line['scenes']}",
        ]
        for line in table.to_dict("records")
    ]
    header = ["Method", "pixels", *_SHARES, "MAE ↓", "scenes"]
    title = "Residual cloud, recovery, invention"
    return _block(title, header, rows, ledgers, protocol, metric="mae")


def _group(by: str, group: str) -> str:
    return f"{group} % cloud cover" if by == "cover_bin" else group


def thickness_blocks(ledgers: Sequence[Ledger], protocol: Protocol) -> list[Block]:
    """Scores and shares per optical thickness; no block where no run was told the truth."""
    table = thickness_table(ledgers, protocol)
    if table is None:
        return []
    rows = [
        [
            str(line["row"]),
            str(line["thickness"]),
            *(number(line[name]) for name in ("input_mae", *METRICS)),
            *(_percent(line[share]) for share in TRIANGLE),
            f"{line['scenes']}",
            f"{line['pixels']}",
        ]
        for line in table.to_dict("records")
    ]
    scores = ["input's MAE", *(LABEL[metric] for metric in METRICS)]
    header = ["Method", "thickness", *scores, *_SHARES, "scenes", "pixels"]
    return [_block("By optical thickness of the cloud", header, rows, ledgers, protocol)]


def _count(ledgers: Sequence[Ledger]) -> int:
    """Lines of either end that a table of extremes shows per method."""
    return 5 if len(ledgers) == 1 else 2


def _percent(share: object) -> str:
    return number(100 * share, digits=1) if isinstance(share, float) else number(share)


def _score_rows(table: pd.DataFrame, names: Sequence[str]) -> list[list[str]]:
    return [
        [
            *(str(line[name]) for name in ("row", *names)),
            *(number(line[metric]) for metric in METRICS),
            number(line["gain_psnr"], sign=True),
            f"{line['scenes']}",
        ]
        for line in table.to_dict("records")
    ]


def _block(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    ledgers: Sequence[Ledger],
    protocol: Protocol,
    *notes: str,
    metric: str = "all",
) -> Block:
    signed = [signature(protocol, metric), *notes, *coverage_notes(ledgers)]
    kinds = ["measured"] * len(rows)
    return Block(f"{title}, protocol {protocol.name}", header, rows, kinds, signed)


@dataclass(frozen=True, slots=True)
class _Section:
    """A part of the chapter: picture, what to know, tables."""

    blocks: Callable[[Sequence[Ledger], Protocol], list[Block]]
    text: str = ""
    stem: str = ""
    alt: str = ""
    figure: Callable[[Sequence[Ledger], Protocol], Figure | None] = lambda *_: None


_SECTIONS: Final = (
    _Section(
        lambda *of: [harm_block(*of), paste_block(*of)],
        _SKIES,
        "sky",
        "Errors by sky, pixels made worse, and the gain of pasting clear pixels back",
        sky_figure,
    ),
    _Section(
        lambda *of: [triangle_block(*of)],
        _TRIANGLE,
        "triangle",
        "Residual cloud, recovery and invention",
        triangle_figure,
    ),
    _Section(
        class_cover_blocks, "", "class_cover", "Error per class and cloud cover", class_cover_figure
    ),
    _Section(thickness_blocks, _THICKNESS, "thickness", "By optical thickness", thickness_figure),
    _Section(lambda *of: [season_block(*of)]),
    _Section(lambda *of: [aoi_block(*of)], _EXTREMES, "aois", "Map of the AOIs", aoi_figure),
    _Section(scene_blocks),
)

DIAGNOSIS_FILES: Final = tuple(
    f"{section.stem}.{suffix}" for section in _SECTIONS if section.stem for suffix in ("png", "svg")
)
"""Pictures of the chapter; a run without truth or without places lacks some of them."""


def diagnosis_blocks(ledgers: Sequence[Ledger], protocol: Protocol) -> list[Block]:
    """All tables of the chapter, in its order."""
    return [block for section in _SECTIONS for block in section.blocks(ledgers, protocol)]


def write_diagnosis(folder: Path, ledgers: Sequence[Ledger]) -> list[str]:
    """Write the pictures and say in Markdown where and how methods fail.

    Args:
        folder: Where :data:`DIAGNOSIS_FILES` go; old ones that do not apply any more are removed.
        ledgers: Runs on one dataset.

    Returns:
        Parts of a report that stands in the same folder: heading, texts, links, tables; of the
        protocol ``full`` where all runs have it.
    """
    protocol = widest_protocol(ledgers)
    parts = [f"## {TITLE}"]
    for section in _SECTIONS:
        blocks = section.blocks(ledgers, protocol)
        figure = section.figure(ledgers, protocol)
        if figure is not None:
            save_figure(figure, folder, section.stem)
            parts.append(f"![{section.alt}]({section.stem}.png)")
        elif section.stem:
            for suffix in ("png", "svg"):
                (folder / f"{section.stem}.{suffix}").unlink(missing_ok=True)
        parts += [section.text] if section.text and blocks else []
        parts += map(to_markdown, blocks)
    return parts
