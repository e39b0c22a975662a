"""Write the chapter of a report that says where and how a method fails, with its figures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from planetcr_bench.analysis.error_analysis import (
    ADDITIVE,
    TRIANGLE,
    ErrorAnalysis,
    signature,
)
from planetcr_bench.figures.aoi_map import aoi_figure
from planetcr_bench.figures.error_analysis import (
    class_cover_figure,
    region_figure,
    thickness_figure,
)
from planetcr_bench.figures.style import save_figure
from planetcr_bench.figures.ternary import triangle_figure
from planetcr_bench.report.error_analysis import (
    SCENE_ENDS,
    aoi_blocks,
    class_cover_blocks,
    clear_change_block,
    listed_scenes,
    paste_back_block,
    percent,
    scene_blocks,
    season_block,
    thickness_blocks,
    triangle_block,
)
from planetcr_bench.report.table import Block, number, to_markdown
from planetcr_bench.results.aggregate import input_note, input_window, method_label
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.json_values import to_json_value

TITLE: Final = "Where and how it fails"

_REGIONS: Final = (
    "*Cloud* are pixels under the mask, *edge* those within 30 m of it, *clear* those farther "
    "away. Clear pixels are not identical in the two dates: the mask misses haze, and the land "
    "changes (in Planet-CR 2.8 days lie between the two on average). *Changed* is the mean of "
    "|prediction − cloudy|; *worse* the share of pixels whose error exceeds the input's. *Pasted* "
    "is a composite that keeps the input's pixels in that region; its gains are positive where it "
    "is better than the prediction."
)
_TRIANGLE: Final = (
    "With the L1 distances a = Σ|prediction − clear|, b = Σ|prediction − cloudy| and "
    "d = Σ|cloudy − clear|: *residual cloud* (a + d − b) / 2, what is left of the way from cloudy "
    "to clear; *recovery* (b + d − a) / 2, what was covered of it; *hallucination* (a + b − d) / "
    "2, what lies off the way or beyond its ends. The error is residual cloud and hallucination, "
    "a = (a + d − b) / 2 + (a + b − d) / 2. Shares are of the sum of the three, (a + b + d) / 2: "
    "a copy of the input is all residual cloud, a perfect image all recovery. Where the input is "
    "nearly clear there is no way to go, and what little error there is may be all hallucination."
)
_THICKNESS: Final = (
    "Bins of the optical thickness of the simulated cloud above a pixel; 0–0.25 holds the pixels "
    "without cloud."
)
_EXTREMES: Final = (
    "Scenes and AOIs with the lowest and the highest figures; equal ones stand in the order of "
    "their names. No figure is listed as worst and as best: a method whose figures are all equal "
    "is not listed."
)

_MORE: Final = (
    "`planetcr-bench report` of a run, or `compare --full` of several, adds errors by land-cover "
    "class, optical thickness, season, AOI and scene, and tells residual cloud from hallucination."
)


def results(of: ErrorAnalysis) -> str:
    """What came out, two or three sentences a run, as a list in Markdown."""
    return "\n".join(f"- **{name}**: {_result(of, str(name))}" for name in of.failures()["row"])


def _result(of: ErrorAnalysis, name: str) -> str:
    """The result of one run, from the lines of its tables."""
    clear = _line(of.regions, row=name, region="clear")
    overall = _line(of.triangle, row=name, by="all")
    texts = []
    if clear["pixels"]:
        texts.append(
            f"In clear pixels MAE goes from {number(clear['input_mae'])} to "
            f"{number(clear['mae'])}, and {percent(clear['worse'])} % of these pixels are made "
            "worse."
        )
        texts.append(_pasting(_line(of.paste_back, row=name, pasted="clear")["gain_mae"]))
    if not math.isnan(overall["residual"]):
        residual, recovery, hallucination = (percent(overall[share]) for share in TRIANGLE)
        texts.append(
            f"Of all pixels together: residual cloud {residual} %, recovery {recovery} %, "
            f"hallucination {hallucination} %."
        )
    return " ".join(texts) or "No pixel in clear pixels, and no difference between the images."


def _line(table: pd.DataFrame, **chosen: str) -> dict[Hashable, float]:
    """The one line of a table in which columns have these values."""
    for column, value in chosen.items():
        table = table[table[column] == value]
    (line,) = table.to_dict("records")
    return line


def _pasting(gained: float) -> str:
    """What keeping the input's clear pixels does to the MAE of all pixels."""
    amount = number(abs(gained))
    if float(amount) == 0:
        return "Keeping the input's pixels there would leave the MAE of all pixels at what it is."
    verb = "lower" if gained > 0 else "raise"
    return f"Keeping the input's pixels there would {verb} the MAE of all pixels by {amount}."


def _without_ends(of: ErrorAnalysis) -> list[str]:
    """What to say where there are no scenes or AOIs to choose from."""
    single = [
        name
        for name, table in (("scene", of.scenes), ("AOI", of.aois))
        if len(set(table[name.lower()])) == 1
    ]
    return [f"There is one {name}: none is the worst or the best." for name in single]


@dataclass(frozen=True, slots=True)
class _Section:
    """A part of the chapter: picture, what to know, tables."""

    blocks: Callable[[ErrorAnalysis], list[Block]]
    text: str = ""
    stem: str = ""
    alt: str = ""
    figure: Callable[..., Figure | None] = lambda _of, *, note="": None  # noqa: ARG005


_SECTIONS: Final = (
    _Section(
        lambda of: [clear_change_block(of), paste_back_block(of)],
        _REGIONS,
        "regions",
        "Errors by region, pixels made worse, and the gain of pasting clear pixels back",
        region_figure,
    ),
    _Section(
        lambda of: [triangle_block(of)],
        _TRIANGLE,
        "triangle",
        "Residual cloud, recovery and hallucination",
        triangle_figure,
    ),
    _Section(
        class_cover_blocks, "", "class_cover", "Error per class and cloud cover", class_cover_figure
    ),
    _Section(thickness_blocks, _THICKNESS, "thickness", "By optical thickness", thickness_figure),
    _Section(lambda of: [season_block(of)]),
    _Section(
        lambda of: [*aoi_blocks(of), *scene_blocks(of)],
        _EXTREMES,
        "aois",
        "Map of the AOIs",
        aoi_figure,
    ),
)

_DATA: Final = "error_analysis.json"

ERROR_ANALYSIS_FILES: Final = (
    *(
        f"{section.stem}.{suffix}"
        for section in _SECTIONS
        if section.stem
        for suffix in ("png", "svg")
    ),
    _DATA,
)
"""Pictures of the chapter, and its tables at full precision; a run without truth or without places
lacks some pictures."""

_MORE_FILES: Final = [
    name for name in ERROR_ANALYSIS_FILES if not name.startswith(f"{_SECTIONS[0].stem}.")
]
"""What the whole chapter has and the short one lacks."""


def chapter_blocks(of: ErrorAnalysis) -> list[Block]:
    """All tables of the chapter, in its order."""
    return [block for section in _SECTIONS for block in section.blocks(of)]


def chapter_tables(of: ErrorAnalysis) -> dict[str, tuple[pd.DataFrame, tuple[str, ...]]]:
    """What stands behind the chapter, at full precision, and the metrics that each table has.

    Of scenes only those that the chapter lists; of all, the ledger tells.
    """
    ends = [listed_scenes(of, by).assign(by=by) for by in SCENE_ENDS]
    every = ("all",)
    tables = {
        "regions": (of.regions, ("mae",)),
        "paste_back": (of.paste_back, ADDITIVE),
        "triangle": (of.triangle, ("mae",)),
        "class_cover": (of.failures("land_cover", "cover_bin"), every),
        "season": (of.failures("season"), every),
        "aois": (of.aois, every),
        "scenes": (pd.concat(ends), every),
    }
    return tables | ({"thickness": (of.told.failures("thickness"), every)} if of.told else {})


def _to_json(of: ErrorAnalysis) -> str:
    """The tables as a list; a line per row, so that two versions can be compared."""
    texts = []
    crops = {method_label(run): input_window(run) for run in of.ledgers}
    for name, (table, metrics) in chapter_tables(of).items():
        signed = ", ".join(signature(of.protocol, metric) for metric in metrics)
        head: dict[str, object] = {"table": name, "protocol": of.protocol.name}
        head |= {"signature": signed, "input_window": crops}
        rows = [
            json.dumps(to_json_value(row), ensure_ascii=False, allow_nan=False)
            for row in table.astype(object).to_dict("records")
        ]
        body = ",\n  ".join(rows)
        texts.append(f'{json.dumps(head, ensure_ascii=False)[:-1]}, "rows": [\n  {body}\n]}}')
    return "[\n" + ",\n".join(texts) + "\n]\n"


def write_error_analysis(folder: Path, of: ErrorAnalysis, *, full: bool = True) -> list[str]:
    """Write figures and tables, and say in Markdown where and how methods fail.

    Args:
        folder: Where :data:`ERROR_ANALYSIS_FILES` go; old ones that do not apply any more are
            removed.
        of: Runs on one dataset.
        full: Write the whole chapter, not its results and the errors by region alone.

    Returns:
        Parts of a report that stands in the same folder: heading, results, texts, links, tables.
    """
    parts = [f"## {TITLE}", results(of)]
    for section in _SECTIONS if full else _SECTIONS[:1]:
        blocks = section.blocks(of)
        parts += _picture(folder, section, of)
        parts += [section.text] if section.text and blocks else []
        parts += map(to_markdown, blocks)
    if not full:
        for name in _MORE_FILES:
            (folder / name).unlink(missing_ok=True)
        return [*parts, _MORE]
    atomic_write(folder / _DATA, _to_json(of).encode())
    return [*parts, *_without_ends(of)]


def _picture(folder: Path, section: _Section, of: ErrorAnalysis) -> list[str]:
    """Save the figure of a section and link it, or remove an old one."""
    figure = section.figure(of, note=input_note(of.ledgers))
    if figure is not None:
        save_figure(figure, folder / section.stem)
        return [f"![{section.alt}]({section.stem}.png)"]
    if section.stem:
        for suffix in ("png", "svg"):
            (folder / f"{section.stem}.{suffix}").unlink(missing_ok=True)
    return []
