"""Draw the figures of a paper, in the widths of its columns and pages, and write their captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from planetcr_bench.analysis.error_analysis import ErrorAnalysis
from planetcr_bench.analysis.groups import discrepancy_sums, intervals_of, with_intervals
from planetcr_bench.analysis.intervals import estimate
from planetcr_bench.constants import COVER_BINS
from planetcr_bench.figures.aoi_map import aoi_figure
from planetcr_bench.figures.cloud_cover import printed_cover_figure
from planetcr_bench.figures.error_analysis import class_cover_figure, region_figure
from planetcr_bench.figures.segmentation import (
    MOST_OVERLAID,
    discrepancies,
    printed_discrepancy_figure,
)
from planetcr_bench.figures.style import (
    FEW_SCENES,
    PRINT_DPI,
    Styles,
    save_figure,
    take_caption,
)
from planetcr_bench.figures.ternary import triangle_figure
from planetcr_bench.paper.tables import PaperTables
from planetcr_bench.paper.words import dataset_words, protocol_words
from planetcr_bench.report.latex import TextArea
from planetcr_bench.results.aggregate import clusters_of, cover_scores, method_label

FORMATS: Final = ("pdf", "svg", "png")

POINTS: Final = 72.27
"""Points of TeX in an inch."""


@dataclass(frozen=True, slots=True)
class PaperFigure:
    """A figure of the paper.

    Attributes:
        stem: Name of its files; of one that is drawn in two widths, without ``-column`` and
            ``-page``.
        caption: Whole sentences.
        wide: Whether there is one that spans the page alone.
    """

    stem: str
    caption: str
    wide: bool = False

    @property
    def page(self) -> str:
        """Name of the file that spans a page."""
        return self.stem if self.wide else f"{self.stem}-page"


def draw_in_both_widths(
    out: Path, stem: str, draw: Callable[[float], Figure], area: TextArea, formats: Sequence[str]
) -> None:
    """Draw a figure as wide as a column and as a page, in inches."""
    for name, points in (("column", area.column_pt), ("page", area.page_pt)):
        save_figure(draw(points / POINTS), out / f"{stem}-{name}", formats)


def cover_panels(tables: PaperTables) -> tuple[pd.DataFrame, str]:
    """What Fig. 5 shows, and its caption."""
    runs = tables.runs
    labels = {method.label: method_label(method.ledger) for method in runs.methods}
    table = with_intervals(
        cover_scores(runs.ledgers, runs.protocol), intervals_of(tables.by_cover, labels)
    )
    table = _in_order(table, tables)
    beyond = (table["kind"] != "measured").any() and (table["kind"] == "measured").any()
    others = "The input"
    if (table["kind"] == "baseline").any():
        others += " and methods that learn nothing"
    sentences = [
        f"Scores by cloud cover on {dataset_words(runs)}, {protocol_words(runs.protocol)}.",
        _band_words(tables),
        f"{others} may lie beyond the axes, where triangles point." if beyond else "",
        _count_words(table, clusters_of(runs.ledgers)),
    ]
    return table, " ".join(filter(None, sentences))


def land_cover_panels(tables: PaperTables) -> tuple[pd.DataFrame, str]:
    """What Fig. 6 shows, and its caption."""
    runs = tables.runs
    table = discrepancies(runs.ledgers, tables.tables.table3[runs.protocol.name])
    if len(tables.segmenters) == 1:
        table = with_intervals(table, _discrepancy_intervals(tables, tables.segmenters[0]))
        band = _band_words(tables)
    else:
        names = [f"{score}_discrepancy" for score in ("miou", "pa")]
        ends = {
            f"{name}_{end}": table[f"{name}_{by}est"]
            for name in names
            for end, by in (("low", "low"), ("high", "high"))
        }
        table = table.assign(**ends)
        band = f"Lines: means of {len(tables.segmenters)} segmenters; bands: lowest to highest."
    table = _in_order(table, tables)
    alone = len(runs.methods) > MOST_OVERLAID
    what = (
        "Land cover that a segmenter recognises less than in the cloud-free images, in points of "
        f"mIoU and pixel accuracy (PA), by cloud cover on {dataset_words(runs)}, "
        f"{protocol_words(runs.protocol)}; 0 is as good as without clouds."
    )
    sentences = [
        what,
        "Grey: the cloudy input." if alone else "",
        band,
        _count_words(table, clusters_of(runs.ledgers), hollow=not alone),
    ]
    return table, " ".join(filter(None, sentences))


def _discrepancy_intervals(
    tables: PaperTables, segmenter: str
) -> dict[tuple[str, str], dict[str, tuple[float, float]]]:
    result: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
    for method in tables.runs.methods:
        sums = discrepancy_sums(method.ledger, tables.runs.protocol, segmenter)
        for name, own in sums.items():
            ends = {metric: estimate(each) for metric, each in own.items()}
            result[method_label(method.ledger), name] = {
                f"{metric}_discrepancy": (each.low, each.high) for metric, each in ends.items()
            }
    return result


def _in_order(table: pd.DataFrame, tables: PaperTables) -> pd.DataFrame:
    """Rows in the order of the paper, each method of its kind."""
    kinds = {method_label(method.ledger): method.kind for method in tables.runs.methods}
    place = {name: number for number, name in enumerate(kinds)}
    kind = table["row"].map(kinds).fillna(table["kind"])
    order = table["row"].map(place).fillna(-1)
    return table.assign(kind=kind, order=order).sort_values("order", kind="stable")


def _band_words(tables: PaperTables) -> str:
    ledger = tables.runs.ledgers[0]
    if len(ledger.aois) < 2:
        return ""
    return f"Bands: 95 % intervals over {ledger.imagery.clusters} (jackknife, Student's t)."


def _count_words(table: pd.DataFrame, clusters: str, *, hollow: bool = True) -> str:
    """Scenes and AOIs of the bins, as the input has them."""
    part = table[table["kind"] == "input"].set_index("cover_bin").reindex(COVER_BINS)
    counts = part[["scenes", "aois"]].fillna(0).astype(int)
    scenes, aois = (", ".join(f"{n:,}" for n in counts[name]) for name in ("scenes", "aois"))
    few = hollow and table["scenes"].between(1, FEW_SCENES - 1).any()
    note = f" Hollow markers: fewer than {FEW_SCENES} scenes." if few else ""
    return f"Scenes per bin: {scenes}; {clusters}: {aois}.{note}"


def styles_of(tables: PaperTables) -> Styles:
    """Row of a figure to its colour and marker."""
    styles = tables.runs.styles
    return {method_label(method.ledger): styles[method.label] for method in tables.runs.methods}


def draw_supplement(out: Path, tables: PaperTables, formats: Sequence[str]) -> list[PaperFigure]:
    """Draw the figures of the error analysis, each across a page."""
    analysis = ErrorAnalysis(tables.runs.ledgers, tables.runs.protocol)
    known, styles = tables.tables.known, styles_of(tables)
    drawn: list[tuple[str, str, Figure | None]] = []
    if known.masks:
        drawn += [
            ("regions", "Errors under clouds, at their edges and in clear pixels.",
             region_figure(analysis)),
            ("triangle", "Residual cloud, recovery and hallucination.",
             triangle_figure(analysis, styles=styles)),
        ]  # fmt: skip
    if known.masks and known.land_cover:
        title = "MAE by land cover and cloud cover of the scene."
        drawn.append(("class_cover", title, class_cover_figure(analysis)))
    clusters = clusters_of(tables.runs.ledgers)
    drawn.append(("aois", f"MAE of the {clusters} on the map.", aoi_figure(analysis)))
    figures = []
    for stem, title, figure in drawn:
        if figure is None:
            continue
        caption = " ".join([title, *take_caption(figure).split()])
        figure.set_dpi(PRINT_DPI)
        save_figure(figure, out / stem, formats)
        figures.append(PaperFigure(stem, caption, wide=True))
    return figures


def draw_figures(
    out: Path, tables: PaperTables, area: TextArea, formats: Sequence[str]
) -> list[PaperFigure]:
    """Draw Fig. 5 and, of segmented runs, Fig. 6; nothing of scenes without cloud masks."""
    styles, figures = styles_of(tables), []
    if tables.tables.known.masks:
        table, caption = cover_panels(tables)
        draw = partial(printed_cover_figure, table, styles=styles)
        draw_in_both_widths(out, "fig5", lambda width: draw(width_inch=width), area, formats)
        figures.append(PaperFigure("fig5", caption))
    if tables.tables.known.masks and tables.segmenters:
        table, caption = land_cover_panels(tables)
        draw = partial(printed_discrepancy_figure, table, styles=styles)
        draw_in_both_widths(out, "fig6", lambda width: draw(width_inch=width), area, formats)
        figures.append(PaperFigure("fig6", caption))
    return figures
