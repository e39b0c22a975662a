"""Draw Fig. 2 of the paper, and further distributions of a dataset.

Each function returns a figure 7 inches wide, or one sentence that says why there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from planetcr_bench.constants import COVER_BINS, LAND_COVER, LAND_COVER_NAMES
from planetcr_bench.figures.heat_map import columns_for, ink, name_cells
from planetcr_bench.figures.style import (
    COLOURS,
    Curve,
    caption_lines,
    finish_figure,
    legend_entry,
    new_figure,
    panel_grid,
    plain_numbers,
)
from planetcr_bench.gallery.panels import LAND_COVER_COLOURS
from planetcr_bench.overview.distributions import (
    COVER_STEPS,
    class_cover_shares,
    class_shares,
    cover_histogram,
    season_counts,
)
from planetcr_bench.overview.scene_statistics import CLOUDY, DECIBELS
from planetcr_bench.overview.spatial import correlogram, intraclass, label_of, nearest_training
from planetcr_bench.overview.statistics import Statistics

NO_MASKS: Final = "no cloud masks (--masks takes some from elsewhere)"
NO_LAND_COVER: Final = "no land cover"
NO_PLACES: Final = "images without coordinates"

SPLIT_STYLE: Final = {
    "train": {"color": COLOURS[0], "marker": "o"},
    "val": {"color": COLOURS[2], "marker": "s"},
    "test": {"color": COLOURS[1], "marker": "^"},
}
"""Colour and marker of each split."""

_FEWEST: Final = 0.001
"""Share of pixels below which a class has no curve of its own."""

_MOST_DAYS: Final = 40
"""Bins of days between dates; each is of whole days."""

_FEWEST_BINS: Final = 12
"""Bins of reflectance that an axis shows at least."""

_SEEN: Final = 0.995
"""Share of the clear image's pixels that the axis of reflectance shows in each band."""


def split_style(split: str) -> dict[str, str]:
    """Colour and marker of a split."""
    return SPLIT_STYLE.get(split, {"color": COLOURS[3], "marker": "D"})


def split_legend(splits: Sequence[str]) -> list[Curve]:
    """Entries of a legend, one per split."""
    return [legend_entry(split, **{**split_style(split), "marker": "s"}) for split in splits]


def source_note(statistics: Statistics) -> str:
    """Last line of captions: which dataset this is."""
    masks = f" Cloud masks: {statistics.masks}." if statistics.masks else ""
    return f"{statistics.label}, fingerprint {statistics.fingerprint[:12]}.{masks}"


def cover_and_class_figure(statistics: Statistics) -> Figure | str:
    """Fig. 2: distribution of cloud cover and of land cover, by split."""
    has_classes = statistics.description.land_cover is not None
    lacking = [
        *([] if statistics.has_masks else [NO_MASKS]),
        *([] if has_classes else [NO_LAND_COVER]),
    ]
    if len(lacking) == 2:
        return " and ".join(lacking)
    with new_figure() as figure:
        ratios = [1.0, 1.3][: 2 - len(lacking)]
        panels = iter(figure.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)[0])
        if statistics.has_masks:
            _draw_cover(next(panels), cover_histogram(statistics))
        if has_classes:
            _draw_classes(next(panels), class_shares(statistics))
        sentences = [
            *_sizes(statistics),
            *(
                ["(a) Share of scenes by cloudy share of the patch."]
                if statistics.has_masks
                else []
            ),
            *(["(b) Share of pixels."] if has_classes else []),
            *(f"Left out: {reason}." for reason in lacking),
        ]
        _finish(figure, statistics, sentences, split_legend(statistics.splits), 2.6)
    return figure


def _draw_cover(axes: Axes, shares: pd.DataFrame) -> None:
    edges = np.linspace(0, 100, COVER_STEPS + 1)
    for split, column in shares.items():
        colour = split_style(str(split))["color"]
        axes.stairs(column, edges, color=colour, linewidth=1.2)
        axes.stairs(column, edges, color=colour, alpha=0.15, fill=True)
    axes.set(title="(a) Cloud cover", xlabel="cloud cover [%]", ylabel="scenes [%]", xlim=(0, 100))
    axes.set_ylim(bottom=0)


def _draw_classes(axes: Axes, shares: pd.DataFrame) -> None:
    shown = shares[(shares.index != LAND_COVER_NAMES[-1]) | (shares.sum(axis=1) > 0)]
    _draw_bars(axes, shown)
    axes.set(title="(b) Land cover", ylabel="pixels [%]")


def _draw_bars(axes: Axes, shares: pd.DataFrame) -> None:
    """Draw a group of bars for each row, one bar for each column, a split."""
    width = 0.8 / len(shares.columns)
    for number, (split, column) in enumerate(shares.items()):
        x = np.arange(len(column)) + (number - (len(shares.columns) - 1) / 2) * width
        axes.bar(x, column, 0.92 * width, color=split_style(str(split))["color"])
    axes.set_xticks(range(len(shares)), list(map(str, shares.index)))
    axes.tick_params(axis="x", length=0, labelsize=6.5)


def class_cover_figure(statistics: Statistics) -> Figure | str:
    """Heat map of pixels by land cover and cloud cover, a panel for each split."""
    if not statistics.has_masks:
        return NO_MASKS
    if statistics.description.land_cover is None:
        return NO_LAND_COVER
    tables = {split: class_cover_shares(statistics, split) for split in statistics.splits}
    tables = {
        split: table.loc[[*LAND_COVER]] for split, table in tables.items() if table.to_numpy().any()
    }
    top = max(float(table.to_numpy().max()) for table in tables.values())
    colours, columns = colormaps["Blues"], columns_for(len(tables))
    bins = [name.replace("-", "–") for name in COVER_BINS]
    with new_figure({"axes.grid": False}) as figure:
        for (split, table), (axes, left, below) in zip(
            tables.items(), panel_grid(figure, len(tables), columns), strict=True
        ):
            axes.set_title(split)
            axes.imshow(table.to_numpy(), colours, vmin=0, vmax=top, aspect="auto")
            name_cells(axes, LAND_COVER, bins, left=left, below=below, across="cloud cover [%]")
            for (row, column), value in np.ndenumerate(table.to_numpy()):
                colour = ink(colours(value / top if top else 0.0))
                axes.text(
                    column, row, f"{value:.1f}", ha="center", va="center", size=6.5, color=colour
                )
        sentences = [
            "Percent of the pixels of a split by class and by the cloud cover of their scene.",
            f"A uniform distribution would have {100 / table.size:.1f} in each cell.",
            *_sizes(statistics),
        ]
        _finish(figure, statistics, sentences, [], 2.0 * -(-len(tables) // columns))
    return figure


def season_figure(statistics: Statistics) -> Figure | str:
    """Seasons by hemisphere and split."""
    counts = season_counts(statistics)
    if counts.empty:
        return "no seasons in the names of scenes"
    shares = 100 * counts / counts.sum().clip(lower=1)
    sides = list(dict.fromkeys(shares.index.get_level_values("hemisphere")))
    with new_figure() as figure:
        panels = figure.subplots(1, len(sides), sharey=True, squeeze=False)[0]
        for side, axes in zip(sides, panels, strict=True):
            title = "hemisphere not known" if side == "unknown" else f"{side}ern hemisphere"
            _draw_bars(axes, shares.loc[side])
            axes.set_title(title)
        panels[0].set_ylabel("scenes [%]")
        sentences = [
            "Share of the scenes of a split; seasons as scenes are named.",
            *_sizes(statistics),
        ]
        _finish(figure, statistics, sentences, split_legend(statistics.splits), 2.3)
    return figure


# --- Values of pixels -----------------------------------------------------------------------


def reflectance_figure(statistics: Statistics) -> Figure | str:
    """Reflectance of the clear images by band and class, and of the cloudy ones."""
    counts = statistics.histogram("reflectance")
    classes = _curves(counts[0, :CLOUDY], statistics, "clear image")
    lines = {**classes, CLOUDY: ("cloudy image", {"color": "#808080", "linestyle": "--"})}
    bands = statistics.description.bands
    columns = columns_for(len(bands))
    with new_figure() as figure:
        for band, (axes, left, below) in enumerate(panel_grid(figure, len(bands), columns)):
            axes.set_title(bands[band], parse_math=False)
            _draw_spectrum(axes, counts[band], lines)
            axes.set_xlabel("reflectance" * below)
            axes.set_ylabel("pixels [%]" * left)
        sentences = [
            "Share of the pixels of a class in bins of equal width, all splits together.",
            _unknown_note(statistics),
            f"Axes end where {100 * _SEEN:g} % of the clear pixels lie before; cloud goes beyond.",
        ]
        height = (1.5 if columns == 3 else 1.9) * -(-len(bands) // columns)
        _finish(figure, statistics, sentences, _line_legend(lines.values()), height)
    return figure


def _draw_spectrum(
    axes: Axes, counts: NDArray[np.int64], lines: Mapping[int, tuple[str, Mapping[str, Any]]]
) -> None:
    """Curves of one band; bins are joined so that about forty to eighty are seen."""
    bins = counts.shape[-1]
    clear = counts[:CLOUDY].sum(0)
    end = max(int(np.searchsorted(np.cumsum(clear), _SEEN * clear.sum())) + 1, _FEWEST_BINS)
    joined = 1 if end <= 80 else 2 if end <= 160 else 4
    coarse = counts.reshape(len(counts), -1, joined).sum(-1)
    edges = np.linspace(0, 1, bins // joined + 1)
    for row, (_, style) in lines.items():
        axes.stairs(_percent(coarse[row]), edges, **style)
    axes.set(xlim=(0, min(joined * -(-end // joined) / bins * 1.02, 1)))
    axes.set_ylim(bottom=0)


def backscatter_figure(statistics: Statistics) -> Figure | str:
    """Backscatter of each SAR band by class."""
    counts, radar = statistics.histogram("backscatter"), statistics.description.sar
    if radar is None:
        return "no SAR images"
    lines = _curves(counts[0], statistics, "all pixels")
    edges = np.linspace(*DECIBELS, counts.shape[-1] + 1)
    with new_figure() as figure:
        columns = columns_for(len(radar.bands))
        for band, (axes, left, _) in enumerate(panel_grid(figure, len(radar.bands), columns)):
            axes.set(title=radar.bands[band].upper(), xlabel="backscatter [dB]")
            axes.set_ylabel("pixels [%]" * left)
            for row, (_, style) in lines.items():
                axes.stairs(_percent(counts[band, row]), edges, **style)
            total = np.cumsum(counts[band].sum(0)) / max(counts[band].sum(), 1)
            axes.set_xlim(edges[np.searchsorted(total, [0.001, 0.999]) + np.array([0, 1])])
            axes.set_ylim(bottom=0)
        sentences = [
            "Share of the pixels of a class in bins of 0.5 dB, all splits together.",
            _unknown_note(statistics),
        ]
        height = 2.3 * -(-len(radar.bands) // columns)
        _finish(figure, statistics, sentences, _line_legend(lines.values()), height)
    return figure


def _curves(
    counts: NDArray[np.int64], statistics: Statistics, every: str
) -> dict[int, tuple[str, Mapping[str, Any]]]:
    """Name and style of the classes that have enough pixels, by their row; else of all pixels."""
    if statistics.description.land_cover is None:
        return {CLOUDY - 1: (every, {"color": COLOURS[0]})}
    shares = counts.sum(1) / max(counts.sum(), 1)
    return {
        row: (name, {"color": LAND_COVER_COLOURS[row]})
        for row, name in enumerate(LAND_COVER)
        if shares[row] >= _FEWEST
    }


def _unknown_note(statistics: Statistics) -> str:
    if statistics.description.land_cover is None:
        return f"By class: left out, {NO_LAND_COVER}."
    return f"Classes of less than {100 * _FEWEST:g} % of the pixels have no curve."


def _line_legend(lines: Any) -> list[Curve]:
    return [legend_entry(name, **{"linestyle": "-", **style}) for name, style in lines]


def _percent(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return 100 * counts / max(int(counts.sum()), 1)


# --- Time and place -------------------------------------------------------------------------


def days_figure(statistics: Statistics) -> Figure | str:
    """Days between the cloudy and the clear image, by split."""
    known = statistics.scenes.dropna(subset=["days"])
    if known.empty:
        return "no dates in file names or TIFF tags"
    days = int(known["days"].max()) + 1
    width = -(-days // _MOST_DAYS)
    edges = width * np.arange(-(-days // width) + 1)
    with new_figure() as figure:
        axes = figure.subplots()
        for split, own in known.groupby("split", sort=False)["days"]:
            counts = np.histogram(own, edges)[0]
            axes.stairs(_percent(counts), edges, color=split_style(str(split))["color"])
        axes.set(
            xlabel="whole days between the two dates", ylabel="scenes [%]", xlim=(0, edges[-1])
        )
        axes.set_ylim(bottom=0)
        means = known.groupby("split", sort=False)["days"].mean()
        means_of = ", ".join(f"{split} {mean:.1f}" for split, mean in means.items())
        sentences = [
            "Days between the first cloudy image and the clear one.",
            f"Mean: {means_of}; {len(known):,} of {len(statistics.scenes):,} scenes are dated.",
        ]
        _finish(figure, statistics, sentences, split_legend(statistics.splits), 2.2)
    return figure


def alikeness_figure(statistics: Statistics) -> Figure | str:
    """How alike patches of one AOI are: by their distance, and as intraclass correlation."""
    word = statistics.cluster
    classes, lags = intraclass(statistics), correlogram(statistics)
    if statistics.description.cluster is None:
        return "the description does not say which scenes are of one place"
    if classes.empty:
        several = statistics.scenes["aoi"].duplicated().any()
        return f"one {word} alone" if several else f"no {word} has several scenes"
    order = list(classes.index)
    style = {name: {"color": COLOURS[n], "marker": "o"} for n, name in enumerate(order)}
    with new_figure() as figure:
        panels = figure.subplots(1, 2 if len(lags) else 1, squeeze=False)[0]
        if len(lags):
            _draw_correlogram(panels[0], lags[lags["variable"].isin(order)], style, word)
        _draw_intraclass(panels[-1], classes, style)
        sentences = [
            *_alike_sentences(classes, word),
            _distance_sentence(statistics, lags),
        ]
        legend = [legend_entry(label_of(n), **{**style[n], "linestyle": "-"}) for n in order]
        legend = legend if len(lags) else []  # bars have names of their own
        _finish(figure, statistics, sentences, legend, 2.6)
    return figure


def _draw_correlogram(
    axes: Axes, lags: pd.DataFrame, style: Mapping[str, Mapping[str, Any]], word: str
) -> None:
    for name, part in lags.groupby("variable", sort=False):
        low, high = part["value"] - part["low"], part["high"] - part["value"]
        axes.errorbar(part["km"], part["value"], yerr=np.nan_to_num([low, high]).clip(0),
                      elinewidth=0.6, markersize=3, **style[str(name)])  # fmt: skip
    axes.axhline(0, color="#404040", linewidth=0.8)
    axes.set(
        title=f"Correlation by distance within one {word}",
        xlabel="distance [km]",
        ylabel="correlation",
    )
    axes.set_ylim(max(axes.get_ylim()[0], -1), min(axes.get_ylim()[1], 1.05))


def _draw_intraclass(
    axes: Axes, classes: pd.DataFrame, style: Mapping[str, Mapping[str, Any]]
) -> None:
    axes.barh(range(len(classes)), classes["correlation"], 0.6,
              color=[style[str(name)]["color"] for name in classes.index])  # fmt: skip
    columns = (classes[name].tolist() for name in ("correlation", "scenes", "independent"))
    for position, (value, scenes, independent) in enumerate(zip(*columns, strict=True)):
        text = f"{value:.2f}: {scenes:,.0f} scenes as {independent:,.0f}".replace("-", "−")
        axes.text(max(value, 0) + 0.02, position, text, va="center", size=6.5)
    axes.set(title="Intraclass correlation", xlim=(min(0, classes["correlation"].min()), 1.6))
    axes.set_yticks(range(len(classes)), [label_of(str(name)) for name in classes.index])
    axes.set_xticks([0, 0.5, 1])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")


def _distance_sentence(statistics: Statistics, lags: pd.DataFrame) -> str:
    word = statistics.cluster
    if len(lags):
        return f"Vertical lines: 95 % intervals over {word}s; 0: patches of different {word}s."
    placed = statistics.scenes["longitude"].notna().any()
    return f"By distance: left out, {'too few pairs of patches' if placed else NO_PLACES}."


def _alike_sentences(classes: pd.DataFrame, word: str) -> list[str]:
    many, few = "scenes count in a mean as the fewer independent ones", "beside the bars"
    return [
        f"Where patches of one {word} are alike, {many} {few}: intervals are over {word}s.",
        f"Patches per {word}: {classes['patches'].iloc[0]:.1f}. Bands: mean of the clear image.",
    ]


def distance_figure(statistics: Statistics) -> Figure | str:
    """Distance from each AOI of other splits to the nearest one of the training split."""
    if {"train"} >= {*statistics.splits} or "train" not in statistics.splits:
        return "no training split beside another one"
    table = nearest_training(statistics)
    if table.empty:
        return NO_PLACES
    word = statistics.cluster
    low, high = max(table["km"].min(), 0.1), max(table["km"].max(), 1.0)
    edges = np.geomspace(low / 1.05, high * 1.05, 31)
    with new_figure() as figure:
        axes = figure.subplots()
        splits = list(dict.fromkeys(table["split"]))
        for split in splits:
            own = table.loc[table["split"] == split, "km"].clip(lower=low)
            axes.stairs(np.histogram(own, edges)[0], edges, color=split_style(split)["color"])
        axes.set(
            xscale="log", xlabel=f"distance to the nearest {word} of train [km]", ylabel=f"{word}s"
        )
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        plain_numbers(axes.xaxis)
        axes.set_ylim(bottom=0)
        nearest = table.sort_values("km", kind="stable").iloc[0]
        pair = f"{nearest['aoi']} ({nearest['split']}) and {nearest['nearest']}"
        sentences = [
            f"Between centres of {word}s (means over their scenes), along the sphere.",
            f"Median {table['km'].median():,.0f} km; nearest: {pair}, {nearest['km']:,.1f} km.",
        ]
        _finish(figure, statistics, sentences, split_legend(splits), 2.2)
    return figure


# --- All figures ----------------------------------------------------------------------------


def _sizes(statistics: Statistics) -> list[str]:
    counts = (f"{split} {len(files):,}" for split, files in statistics.files.items())
    return [f"Scenes: {', '.join(counts)}."]


def _finish(
    figure: Figure,
    statistics: Statistics,
    sentences: Sequence[str],
    legend: Sequence[Curve],
    height: float,
) -> None:
    caption = caption_lines(sentences, [], source_note(statistics))
    finish_figure(figure, legend, caption, height_inch=height)
