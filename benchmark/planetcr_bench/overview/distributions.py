"""Count the scenes and pixels of a dataset by split, cloud cover, land cover and season."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from planetcr_bench.constants import COVER_BINS, LAND_COVER_NAMES, SEASONS, cover_bin
from planetcr_bench.overview.statistics import Statistics

COVER_STEPS: Final = 20
"""Bins of the histogram of cloud cover: 5 % each."""

HEMISPHERES: Final = ("north", "south")


def cover_histogram(statistics: Statistics) -> pd.DataFrame:
    """Share of scenes by cloud cover, as in Fig. 2(a) of the paper.

    Returns:
        Percent of the scenes of a split with known cover: a row for each of :data:`COVER_STEPS`
        equal bins, indexed by the lower end in percent; a column for each split that has any.
    """
    known = statistics.scenes.dropna(subset=["cloud_cover"])
    step = (known["cloud_cover"] * COVER_STEPS).astype(int).clip(upper=COVER_STEPS - 1)
    counts = pd.crosstab(step, known["split"]).reindex(range(COVER_STEPS), fill_value=0)
    counts.index = pd.Index([100 * n // COVER_STEPS for n in range(COVER_STEPS)], name="cover")
    return _percent(counts, statistics)


def cover_counts(statistics: Statistics) -> pd.DataFrame:
    """Number of scenes in each bin of Fig. 5: a row per bin, a column per split."""
    known = statistics.scenes.dropna(subset=["cloud_cover"])
    counts = pd.crosstab(known["cloud_cover"].map(cover_bin), known["split"])
    return counts.reindex(index=COVER_BINS, columns=statistics.splits, fill_value=0)


def class_shares(statistics: Statistics) -> pd.DataFrame:
    """Share of pixels by class of land cover, as in Fig. 2(b) of the paper.

    Returns:
        Percent of the pixels of a split: a row per class and for unknown land, a column per split.
    """
    pixels = statistics.scenes.groupby("split")[_columns()].sum().T
    pixels.index = pd.Index(LAND_COVER_NAMES, name="class")
    return _percent(pixels, statistics)


def class_cover_shares(statistics: Statistics, split: str) -> pd.DataFrame:
    """Share of pixels by class and by the cloud cover of their scene.

    Returns:
        Percent of all pixels of the split: a row per class and for unknown land, a column per bin
        of Fig. 5.
    """
    scenes = statistics.scenes
    own = scenes[(scenes["split"] == split) & scenes["cloud_cover"].notna()]
    pixels = own.groupby(own["cloud_cover"].map(cover_bin))[_columns()].sum().T
    pixels.index = pd.Index(LAND_COVER_NAMES, name="class")
    pixels = pixels.reindex(columns=COVER_BINS, fill_value=0)
    return 100 * pixels / max(int(pixels.to_numpy().sum()), 1)


def season_counts(statistics: Statistics) -> pd.DataFrame:
    """Number of scenes by hemisphere, season and split; empty where no season is known.

    Returns:
        Indexed by hemisphere, ``unknown`` without coordinates, and season; a column per split.
    """
    scenes = statistics.scenes[statistics.scenes["season"] != ""]
    if scenes.empty:
        return pd.DataFrame(columns=statistics.splits)
    latitude = scenes["latitude"]
    side = np.where(latitude.isna(), "unknown", np.where(latitude >= 0, *HEMISPHERES))
    counts = pd.crosstab([pd.Series(side, scenes.index, name="hemisphere"), scenes["season"]],
                         scenes["split"])  # fmt: skip
    seasons = [*SEASONS, *sorted(set(scenes["season"]) - set(SEASONS))]
    sides = [each for each in (*HEMISPHERES, "unknown") if each in set(side)]
    every = pd.MultiIndex.from_product([sides, seasons], names=["hemisphere", "season"])
    return counts.reindex(index=every, columns=statistics.splits, fill_value=0)


def _columns() -> list[str]:
    return [f"land_{name}" for name in LAND_COVER_NAMES]


def _percent(counts: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    ordered = counts[[split for split in statistics.splits if split in counts]]
    return 100 * ordered / ordered.sum().clip(lower=1)
