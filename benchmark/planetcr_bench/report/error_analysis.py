"""Write the chapter of a report on where and how a method fails: texts, tables, figures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from planetcr_bench.analysis.error_analysis import ADDITIVE, TRIANGLE, ErrorAnalysis
from planetcr_bench.figures.aoi_map import aoi_figure
from planetcr_bench.figures.error_analysis import (
    class_cover_figure,
    region_figure,
    thickness_figure,
)
from planetcr_bench.figures.style import save_figure
from planetcr_bench.figures.ternary import triangle_figure
from planetcr_bench.report.error_analysis_tables import (
    SCENE_ENDS,
    aoi_tables,
    class_cover_tables,
    clear_change_table,
    listed_scenes,
    paste_back_table,
    percent,
    scene_tables,
    season_table,
    signatures,
    thickness_tables,
    triangle_table,
)
from planetcr_bench.report.page import Part, Picture
from planetcr_bench.report.table import Table, escape_markdown, number
from planetcr_bench.results.aggregate import figure_note, input_window, method_label
from planetcr_bench.results.compact import CompactLedger
from planetcr_bench.results.files import FIGURES, TABLES
from planetcr_bench.results.imagery import Imagery
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.json_values import to_json_value

TITLE: Final = "Where and how it fails"

_REGIONS: Final = (
    "*Cloud* are pixels under the mask, *edge* those within {edge} of it, *clear* those farther "
    "away. Clear pixels are not identical in the two dates: {haze}, and the land changes{days}. "
    "*Changed* is the mean of |prediction − cloudy|; *worse* the share of pixels whose error "
    "exceeds the input's. *Pasted* is a composite that keeps the input's pixels in that region; "
    "its gains are positive where it is better than the prediction."
)
_DAYS: Final = " (in Planet-CR 2.8 days lie between the two on average)"

_TRIANGLE: Final = (
    "With the L1 distances a = Σ|prediction − clear|, b = Σ|prediction − cloudy| and "
    "d = Σ|cloudy − clear|: *residual cloud* (a + d − b) / 2 is the part of the change from cloudy "
    "to clear that was not made; *recovery* (b + d − a) / 2 is the part that was made; "
    "*hallucination* (a + b − d) / 2 is how far values lie outside the range between cloudy and "
    "clear. The error is residual cloud plus hallucination, a = (a + d − b) / 2 + (a + b − d) / 2. "
    "Shares are of the sum of the three, (a + b + d) / 2: a copy of the input is all residual "
    "cloud, a perfect image all recovery. Where the input is nearly clear there is hardly anything "
    "to recover, and what little error there is may be all hallucination."
)
_THICKNESS: Final = (
    "Bins of the optical thickness of the simulated cloud above a pixel; 0–0.25 holds the pixels "
    "without cloud."
)
_EXTREMES: Final = (
    "{ends} with the lowest and the highest figures; equal ones in the order of "
    "their names. No figure is listed as both worst and best: a method whose figures are all equal "
    "is not listed."
)

_MORE: Final = (
    "`planetcr-bench report` of a run, or `compare --full` of several, adds errors by {groups}, "
    "and separates residual cloud from hallucination."
)


def _groups(analysis: ErrorAnalysis) -> str:
    """By what the whole chapter groups errors."""
    known, imagery = analysis.known, analysis.ledgers[0].imagery
    groups = [
        *["land-cover class"] * known.land_cover,
        *["optical thickness"] * (analysis.with_optical_thickness is not None),
        *["season"] * known.seasons,
        *[imagery.cluster] * (not imagery.one_scene_each),
    ]
    return " and ".join(filter(None, [", ".join(groups), "scene"]))


def results(analysis: ErrorAnalysis) -> str:
    """Two or three sentences on each run, as a list in Markdown."""
    names = analysis.failures()["row"]
    return "\n".join(f"- **{name}**: {_result(analysis, str(name))}" for name in names)


def _result(analysis: ErrorAnalysis, name: str) -> str:
    """The result of one run, from the lines of its tables."""
    overall = _line(analysis.triangle, row=name, by="all")
    texts = []
    clear = _line(analysis.regions, row=name, region="clear") if analysis.known.masks else {}
    if clear and clear["pixels"]:
        texts.append(
            f"In clear pixels MAE goes from {number(clear['input_mae'])} to "
            f"{number(clear['mae'])}, and {percent(clear['worse'])} % of these pixels are made "
            "worse."
        )
        texts.append(_pasting(_line(analysis.paste_back, row=name, pasted="clear")["gain_mae"]))
    if not math.isnan(overall["residual"]):
        residual, recovery, hallucination = (percent(overall[share]) for share in TRIANGLE)
        texts.append(
            f"Of all pixels together: residual cloud {residual} %, recovery {recovery} %, "
            f"hallucination {hallucination} %."
        )
    if not analysis.known.masks:
        return " ".join(texts) or "No difference between the images."
    return " ".join(texts) or "No clear pixels, and no difference between the images."


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
        return "Keeping the input's pixels there would not change the MAE of all pixels."
    verb = "lower" if gained > 0 else "raise"
    return f"Keeping the input's pixels there would {verb} the MAE of all pixels by {amount}."


def _without_ends(analysis: ErrorAnalysis) -> list[str]:
    """A note where there is a single scene or AOI."""
    known = analysis.with_scenes
    tables = {"scene": known.scenes} if known else {}
    tables[analysis.ledgers[0].imagery.cluster] = analysis.aois.rename(columns={"aoi": "scene"})
    single = [name for name, table in tables.items() if len(set(table["scene"])) == 1]
    return [f"There is one {name}: none is the worst or the best." for name in single]


@dataclass(frozen=True, slots=True)
class _Section:
    """A part of the chapter.

    Attributes:
        tables: Its tables.
        text: Its explanation.
        stem: Name of its figure.
        alt: Text in place of the figure.
        figure: Draws it; None where there is nothing to draw.
        of_scenes: What of it compact ledgers cannot give.
        needs: What must be known of the scenes, names of attributes of ``Known``.
        drawn_with: What the figure needs beside that.
    """

    tables: Callable[[ErrorAnalysis], list[Table]]
    text: str = ""
    stem: str = ""
    alt: str = ""
    figure: Callable[..., Figure | None] | None = None
    of_scenes: str = ""
    needs: tuple[str, ...] = ()
    drawn_with: tuple[str, ...] = ()

    def is_known(self, analysis: ErrorAnalysis) -> bool:
        """Whether the scenes have what it needs."""
        return all(getattr(analysis.known, name) for name in self.needs)

    def is_drawn(self, analysis: ErrorAnalysis) -> bool:
        """Whether they have what its figure needs."""
        names = (*self.needs, *self.drawn_with)
        return all(getattr(analysis.known, name) for name in names)


_SECTIONS: Final = (
    _Section(
        lambda analysis: [clear_change_table(analysis), paste_back_table(analysis)],
        _REGIONS,
        "regions",
        "Errors by region, pixels made worse, and the gain of pasting clear pixels back",
        region_figure,
        needs=("masks",),
    ),
    _Section(
        lambda analysis: [triangle_table(analysis)],
        _TRIANGLE,
        "triangle",
        "Residual cloud, recovery and hallucination",
        triangle_figure,
        drawn_with=("masks",),
    ),
    _Section(
        class_cover_tables,
        "",
        "class_cover",
        "Error per class and cloud cover",
        class_cover_figure,
        needs=("land_cover", "masks"),
    ),
    _Section(
        thickness_tables,
        _THICKNESS,
        "thickness",
        "By optical thickness",
        thickness_figure,
        "By optical thickness of the cloud",
    ),
    _Section(lambda analysis: [season_table(analysis)], needs=("seasons",)),
    _Section(
        lambda analysis: [*aoi_tables(analysis), *scene_tables(analysis)],
        _EXTREMES,
        "aois",
        "Map of the {clusters}",
        aoi_figure,
        "Worst and best scenes",
    ),
)

_DATA: Final = f"{TABLES}/error_analysis.json"

ERROR_ANALYSIS_FILES: Final = (
    *(
        f"{FIGURES}/{section.stem}.{suffix}"
        for section in _SECTIONS
        if section.stem
        for suffix in ("png", "svg")
    ),
    _DATA,
)
"""Figures of the chapter, and its tables at full precision; a run without optical thickness or
without coordinates lacks some figures."""

_MORE_FILES: Final = [name for name in ERROR_ANALYSIS_FILES if f"/{_SECTIONS[0].stem}." not in name]
"""Files of the whole chapter that the short one lacks."""


def chapter_frames(analysis: ErrorAnalysis) -> dict[str, tuple[pd.DataFrame, tuple[str, ...]]]:
    """The chapter's tables at full precision, and the metrics of each.

    Only the scenes that the chapter lists; the ledger has all of them. Compact ledgers have no
    scenes and no optical thickness; without other ledgers there is no such table. So is it with
    what is not known of the scenes.
    """
    scenes, known = analysis.with_scenes, analysis.with_optical_thickness
    ends = [listed_scenes(scenes, by).assign(by=by) for by in SCENE_ENDS] if scenes else []
    every = ("all",)
    frames: dict[str, tuple[pd.DataFrame, tuple[str, ...]]] = {}
    if analysis.known.masks:
        frames["regions"] = (analysis.regions, ("mae",))
        frames["paste_back"] = (analysis.paste_back, ADDITIVE)
    frames["triangle"] = (analysis.triangle, ("mae",))
    if analysis.known.land_cover and analysis.known.masks:
        frames["class_cover"] = (analysis.failures("land_cover", "cover_bin"), every)
    if analysis.known.seasons:
        frames["season"] = (analysis.failures("season"), every)
    frames["aois"] = (analysis.aois, every)
    frames |= {"scenes": (pd.concat(ends), every)} if ends else {}
    return frames | ({"thickness": (known.failures("thickness"), every)} if known else {})


def _to_json(analysis: ErrorAnalysis) -> str:
    """The tables as a list; a line per row, so that two versions can be compared."""
    texts = []
    windows = {method_label(run): input_window(run) for run in analysis.ledgers}
    for name, (table, metrics) in chapter_frames(analysis).items():
        head: dict[str, object] = {"table": name, "protocol": analysis.protocol.name}
        head |= {"signature": signatures(analysis, metrics), "input_window": windows}
        rows = [
            json.dumps(to_json_value(row), ensure_ascii=False, allow_nan=False)
            for row in table.astype(object).to_dict("records")
        ]
        body = ",\n  ".join(rows)
        texts.append(f'{json.dumps(head, ensure_ascii=False)[:-1]}, "rows": [\n  {body}\n]}}')
    return "[\n" + ",\n".join(texts) + "\n]\n"


def write_error_analysis(folder: Path, analysis: ErrorAnalysis, *, full: bool = True) -> list[Part]:
    """Write the figures and tables of the error analysis, and return its chapter of a report.

    Args:
        folder: Where :data:`ERROR_ANALYSIS_FILES` go; old ones that do not apply any more are
            removed.
        analysis: Runs on one dataset.
        full: Write the whole chapter, not its results and the errors by region alone.

    Returns:
        Parts of the chapter :data:`TITLE` of a report in the same folder.
    """
    parts: list[Part] = [results(analysis)]
    imagery = analysis.ledgers[0].imagery
    words = {
        "edge": analysis.edge,
        "days": _DAYS if imagery == Imagery() else "",
        "haze": imagery.haze,
        "ends": "Scenes" if imagery.one_scene_each else f"Scenes and {imagery.clusters}",
        "groups": _groups(analysis),
        "clusters": imagery.clusters,
    }
    for section in _SECTIONS if full else _SECTIONS[:1]:
        tables = section.tables(analysis) if section.is_known(analysis) else []
        parts += _picture(folder, section, analysis, section.alt.format(**words))
        parts += [section.text.format(**words)] if section.text and tables else []
        parts += tables
        parts += _without_scenes(section, analysis)
    if not full:
        for name in _MORE_FILES:
            (folder / name).unlink(missing_ok=True)
        return [*parts, _MORE.format(**words)]
    (folder / TABLES).mkdir(exist_ok=True)
    atomic_write(folder / _DATA, _to_json(analysis).encode())
    return [*parts, *_without_ends(analysis)]


def _without_scenes(section: _Section, analysis: ErrorAnalysis) -> list[str]:
    """A line in place of what compact ledgers lack in a section."""
    compact = [run for run in analysis.ledgers if isinstance(run, CompactLedger)]
    if section.tables is thickness_tables:
        compact = [run for run in compact if run.has_thickness]
    if not (section.of_scenes and compact):
        return []
    names = ", ".join(escape_markdown(method_label(run)) for run in compact)
    return [f"*{section.of_scenes}: needs the ledger of scenes; compact: {names}.*"]


def _picture(folder: Path, section: _Section, analysis: ErrorAnalysis, alt: str) -> list[Picture]:
    """Save the figure of a section and link it, or remove an old one."""
    if section.figure is None:
        return []
    note = figure_note(analysis.ledgers)
    figure = section.figure(analysis, note=note) if section.is_drawn(analysis) else None
    if figure is not None:
        save_figure(figure, folder / FIGURES / section.stem)
        return [Picture(f"{FIGURES}/{section.stem}.png", alt)]
    for suffix in ("png", "svg"):
        (folder / FIGURES / f"{section.stem}.{suffix}").unlink(missing_ok=True)
    return []
