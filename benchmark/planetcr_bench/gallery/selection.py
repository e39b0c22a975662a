"""Choose the scenes to draw: by name, by score, or spread over a split."""

from __future__ import annotations

import difflib
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from planetcr_bench.constants import LAND_COVER, LAND_COVER_NAMES
from planetcr_bench.data.reading import first_mask, read_product
from planetcr_bench.data.scene import cover_of, land_cover_classes
from planetcr_bench.data.scene_files import CLOUD_MASK, SceneFiles
from planetcr_bench.data.splits import some_scenes
from planetcr_bench.errors import DatasetError, PredictionError
from planetcr_bench.evaluation.runner import measure_scenes
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS
from planetcr_bench.predictions.folder import Predictions
from planetcr_bench.results.aggregate import score_groups

Select = Literal["spread", "classes", "best", "median", "worst"]
By = Literal["mae", "psnr", "sam", "ssim"]

BY_SCORE: Final = ("best", "median", "worst")
"""Selections that a method's scores decide."""

COLUMN: Final = {METRICS[name].label.lower(): name for name in HEADLINE}
"""Scores that scenes are ranked by, and their columns in tables."""

NEAR_MEDIAN: Final = 0.1
"""As far from the median cloud cover as a scene of a class may lie while others count more: half a
bin of Fig. 5."""


def named_scenes(scenes: Sequence[SceneFiles], names: Sequence[str]) -> list[SceneFiles]:
    """Scenes of the given names, in their order, each once.

    Raises:
        DatasetError: There is no scene of a name; the message lists similar ones.
    """
    by_name = {files.name: files for files in scenes}
    for name in names:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, 3, 0.5)
            hint = f"; did you mean {', '.join(near)}?" if near else f", such as {min(by_name)}"
            raise DatasetError(
                f"--scene: expected one of the {len(scenes)} scenes of {scenes[0].split_folder}, "
                f"got {name!r}{hint}"
            )
    return [by_name[name] for name in dict.fromkeys(names)]


# --- Spread over the split ------------------------------------------------------------------


def spread_scenes(covers: Mapping[SceneFiles, float], count: int) -> list[SceneFiles]:
    """Choose scenes spread over cloud cover, seasons and AOIs; the same ones every time.

    The range of cloud cover is cut into ``count`` equal parts; with five they are the bins of
    Fig. 5. Of the scenes near the middle of a part, one of a season and an AOI that had the fewest
    turns is taken. A part without scenes takes the scene that is nearest to it. Where cloud cover
    is not known, scenes are spread over AOIs alone; see ``splits.some_scenes``.

    Args:
        covers: Cloud cover of each scene, in [0, 1]; nan without masks.
        count: How many to choose; all, if there are no more.

    Returns:
        Scenes in the order of their cloud cover.
    """
    if any(map(math.isnan, covers.values())):
        return some_scenes(list(covers), count)
    chosen: list[SceneFiles] = []
    for part in range(count):
        left = [files for files in covers if files not in chosen]
        if left:
            middle, reach = (part + 0.5) / count, 0.5 / count
            chosen.append(_nearest_scene(left, covers, middle, reach, chosen))
    return sorted(chosen, key=lambda files: (covers[files], files))


def scenes_of_classes(
    covers: Mapping[SceneFiles, float],
    shares: Mapping[SceneFiles, NDArray[np.float64]],
    count: int,
) -> list[SceneFiles]:
    """Choose scenes evenly over the six classes of land cover, all under about as much cloud.

    The classes take turns, in the order of Tab. 2. A class takes one of the scenes that it
    prevails in; if none is left, the one of which it covers most; if it is in none, it has no turn.
    Of several it takes one near the median cloud cover of all scenes, so that classes differ by
    their land and not by their clouds; of those near it, one of a season and an AOI that had the
    fewest turns.

    Args:
        covers: Cloud cover of each scene, in [0, 1].
        shares: Share of each class in each scene, shape (6,).
        count: How many to choose; fewer, if there are no more with known land cover.

    Returns:
        Scenes in the order of their classes, those of one class in that of their cloud cover.
    """
    covers = {files: 0.5 if math.isnan(cover) else cover for files, cover in covers.items()}
    middle = float(np.median(list(covers.values()) or [0.5]))
    chosen: dict[SceneFiles, int] = {}
    for turn in range(count * len(LAND_COVER)):
        land_cover = turn % len(LAND_COVER)
        left = [files for files in covers if files not in chosen and shares[files][land_cover] > 0]
        if left and len(chosen) < count:
            own = _scenes_of_class(left, shares, land_cover)
            files = _nearest_scene(own, covers, middle, NEAR_MEDIAN, list(chosen))
            chosen[files] = land_cover
    return sorted(chosen, key=lambda files: (chosen[files], covers[files], files))


def _scenes_of_class(
    scenes: Sequence[SceneFiles],
    shares: Mapping[SceneFiles, NDArray[np.float64]],
    land_cover: int,
) -> list[SceneFiles]:
    """Those in which a class prevails, else the one of which it covers most."""
    prevailing = [files for files in scenes if shares[files].argmax() == land_cover]
    return prevailing or [min(scenes, key=lambda files: (-shares[files][land_cover], files))]


def _nearest_scene(
    left: Sequence[SceneFiles],
    covers: Mapping[SceneFiles, float],
    middle: float,
    reach: float,
    chosen: Sequence[SceneFiles],
) -> SceneFiles:
    """One near a cloud cover; of those within half the reach, one unlike the chosen ones."""

    def rank(files: SceneFiles) -> tuple[int, int, int, float, SceneFiles]:
        distance = abs(covers[files] - middle)
        ring = 0 if distance <= reach / 2 else 1 if distance < reach else 2
        if ring == 2:  # beyond reach, nothing counts but how far
            return ring, 0, 0, distance, files
        season = sum(files.season == other.season for other in chosen)
        aoi = sum(files.aoi == other.aoi for other in chosen)
        return ring, aoi, season, distance, files

    return min(left, key=rank)


def cloud_cover(files: SceneFiles) -> float:
    """Of the whole patch, in [0, 1], of several dates of the first; nan without a mask."""
    if CLOUD_MASK not in files.products:
        return math.nan
    return cover_of(first_mask(read_product(files, CLOUD_MASK)))


def class_shares(files: SceneFiles) -> NDArray[np.float64]:
    """Share of each of the six classes in the whole patch, shape (6,); unknown land is none."""
    encoding = files.description.land_cover
    if encoding is None:
        raise DatasetError(f"{files.description.title}: expected land cover, the dataset has none")
    classes = land_cover_classes(read_product(files, "land_cover").pixels[0], encoding)
    counts = np.bincount(classes.ravel(), minlength=len(LAND_COVER_NAMES))
    shares: NDArray[np.float64] = counts[: len(LAND_COVER)] / classes.size
    return shares


# --- By score -------------------------------------------------------------------------------


def scene_scores(
    predictions: Predictions, protocol: Protocol, rank_by: By, *, quiet: bool = False
) -> pd.Series[float]:
    """Measure each scene as ``evaluate`` does.

    Args:
        predictions: Of every scene that is to be ranked.
        protocol: Whose scores count.
        rank_by: Which.
        quiet: Show no progress.

    Returns:
        Score of each scene, indexed by its name.

    Raises:
        DatasetError: A scene is broken.
        PredictionError: A prediction is.
    """
    bands = next(iter(predictions.files)).description.bands
    with tempfile.TemporaryDirectory() as folder:
        table, problems = measure_scenes(
            predictions, {}, Path(folder, "parts"), protocols=[protocol], bands=bands, quiet=quiet
        )
    if problems:
        raise PredictionError(
            f"{predictions.folder}: expected usable predictions, by whose scores scenes are "
            "chosen; write these files again, or choose scenes without a score",
            problems,
        )
    frame = table.to_pandas(ignore_metadata=True)
    return score_groups(frame, protocol, ["scene"])[COLUMN[rank_by]]


def ranked_scenes(scores: pd.Series[float], select: Select, rank_by: By, count: int) -> list[str]:
    """Choose the best, the worst, or those whose score is nearest to the median.

    Args:
        scores: Of each scene, by name; scenes without one (nan) are left out.
        select: ``best``, ``worst`` or ``median``.
        rank_by: Which score it is.
        count: How many to choose; fewer, if there are no more.

    Returns:
        Names: the best, the worst or the nearest first; those of equal scores by name.

    Example:
        >>> ranked_scenes(pd.Series({"b": 30.0, "a": 30.0, "c": 20.0}), "best", "psnr", 2)
        ['a', 'b']
    """
    values = scores.dropna().sort_index()
    if select == "median":
        middle = values.median()
        distance = (values - middle).abs().where(values != middle, 0)  # ∞ − ∞ is nan
        ranked = distance.sort_values(kind="stable")
    else:
        higher_first = (METRICS[COLUMN[rank_by]].better == "higher") == (select == "best")
        ranked = values.sort_values(ascending=not higher_first, kind="stable")
    return [str(name) for name in ranked.index[:count]]
