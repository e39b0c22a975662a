"""Draw Fig. 1(a) of the paper: where the AOIs of a dataset lie."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from planetcr_bench.constants import SEASONS
from planetcr_bench.figures.aoi_map import RATIO, frame_map
from planetcr_bench.figures.land import SOURCE, draw_land
from planetcr_bench.figures.style import (
    COLOURS,
    WIDTH_INCH,
    Curve,
    caption_lines,
    finish_figure,
    legend_entry,
    new_figure,
)
from planetcr_bench.overview.charts import NO_PLACES, source_note, split_style
from planetcr_bench.overview.spatial import places
from planetcr_bench.overview.statistics import Statistics

SEASON_COLOURS: Final = dict(
    zip(SEASONS, (COLOURS[2], COLOURS[5], COLOURS[1], COLOURS[0]), strict=True)
)

_OTHER: Final = "#606060"
_WORLD: Final = {"xlim": (-180, 180), "ylim": (-60, 84)}
_WIDE_DEGREES: Final = 60.0
"""AOIs that spread over more than this are drawn on a map of the world."""

_LEAST_DEGREES: Final = 8.0
"""Least width of a map: a single AOI shows its surroundings."""


def map_figure(statistics: Statistics) -> Figure | str:
    """Map of AOIs, coloured by season and marked by split, over coastlines.

    Returns:
        A figure 7 inches wide; or why there is none.
    """
    table = places(statistics)
    if table.empty:
        return NO_PLACES
    spread = (table[["longitude", "latitude"]].max() - table[["longitude", "latitude"]].min()).max()
    with new_figure({"axes.grid.axis": "both", "axes.grid": True}) as figure:
        axes = figure.subplots()
        draw_land(axes)
        frame_map(axes, table, least=_LEAST_DEGREES)
        ratio = RATIO
        if spread > _WIDE_DEGREES:
            axes.set(**_world(table), aspect="equal")
            ratio = 0.37
        axes.tick_params(labelsize=6.5, length=2)
        _draw_points(axes, table)
        caption = caption_lines(_sentences(statistics, table), [], source_note(statistics))
        finish_figure(
            figure, _legend(statistics, table), caption, height_inch=0.3 + WIDTH_INCH * ratio
        )
    return figure


def _world(table: pd.DataFrame) -> dict[str, Any]:
    south, north = table["latitude"].min(), table["latitude"].max()
    low, high = _WORLD["ylim"]
    return {**_WORLD, "ylim": (min(low, south - 2), max(high, min(north + 2, 90)))}


def _draw_points(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the splits with most AOIs first, so that few are not hidden."""
    size = 26.0 if len(table) <= 60 else 14.0
    for split in table["split"].value_counts().index:
        own = table[table["split"] == split]
        axes.scatter(
            own["longitude"],
            own["latitude"],
            s=size,
            c=[_colour(season) for season in own["season"]],
            marker=split_style(str(split))["marker"],
            edgecolors="#202020",
            linewidths=0.4,
            alpha=0.85,
            zorder=2,
        )


def _colour(season: str) -> str:
    return SEASON_COLOURS.get(season, _OTHER)


def _legend(statistics: Statistics, table: pd.DataFrame) -> list[Curve]:
    edge = {"markeredgecolor": "#202020", "markeredgewidth": 0.4}
    seasons = [season for season in SEASONS if (table["season"] == season).any()]
    splits = [
        legend_entry(f"{split} ({(table['split'] == split).sum():,})", color="white",
                     marker=split_style(split)["marker"], **edge)
        for split in statistics.splits if (table["split"] == split).any()
    ]  # fmt: skip
    return [
        *splits,
        *(legend_entry(season, color=_colour(season), marker="o", **edge) for season in seasons),
    ]


def _sentences(statistics: Statistics, table: pd.DataFrame) -> list[str]:
    word = statistics.cluster
    missing = statistics.scenes["longitude"].isna()
    unplaced = statistics.scenes.loc[missing, ["split", "aoi"]].drop_duplicates()
    return [
        f"One mark per {word} of a split, {len(table):,} in all: its shape is the split"
        + (", its colour the season." if (table["season"] != "").any() else "."),
        *(
            [f"{len(unplaced):,} {word}s without coordinates are left out."]
            if len(unplaced)
            else []
        ),
        SOURCE,
    ]
