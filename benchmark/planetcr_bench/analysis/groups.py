"""Scores by cloud-cover bin and by land-cover class, with intervals over AOIs and ties of runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from planetcr_bench.analysis.intervals import (
    AoiSums,
    Score,
    averaged_sums,
    pooled_sums,
    segmenter_sums,
)
from planetcr_bench.analysis.segmentation import ImageKind
from planetcr_bench.analysis.significance import MetricComparison, compare_sums
from planetcr_bench.constants import COVER_BINS, LAND_COVER
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.registry import HEADLINE, SEGMENTATION, ratio_of
from planetcr_bench.metrics.sums import Floats
from planetcr_bench.results.aggregate import group_sums, scene_scores, seen_classes
from planetcr_bench.results.compact import CELLS, SEEN_BY, CompactLedger
from planetcr_bench.results.ledger import Ledger

By = Literal["cover_bin", "land_cover"]

GROUPS: Final[dict[By, tuple[str, ...]]] = {"cover_bin": COVER_BINS, "land_cover": LAND_COVER}


def group_comparisons(
    ledgers: Sequence[Ledger], protocol: Protocol, by: By, *, segmenters: Sequence[str] = ()
) -> dict[str, list[MetricComparison]]:
    """Scores of runs in each group, with intervals, ties and paired differences.

    Args:
        ledgers: Runs on one dataset; of scenes or compact. Incomplete ones are compared with none.
        protocol: That all were measured in.
        by: What groups pixels.
        segmenters: Keys of segmenters, whose scores are added; by cloud-cover bin only.

    Returns:
        Each of :data:`GROUPS` to the comparisons of the four metrics, then of the segmenters'.
        Intervals are Student's t alone, as on the leaderboard.
    """
    runs = {run.name: score_sums_by(run, protocol, by) for run in ledgers}
    for run in ledgers:
        for key in segmenters:
            for group, sums in segmentation_sums(run, protocol, key).items():
                runs[run.name][group] |= sums
    complete = [run.name for run in ledgers if run.provenance["complete"]]
    first = next(iter(runs.values()))
    return {
        group: [
            compare_sums(*score, {name: own[group][score] for name, own in runs.items()}, complete)
            for score in first[group]
        ]
        for group in GROUPS[by]
    }


def score_sums_by(ledger: Ledger, protocol: Protocol, by: By) -> dict[str, dict[Score, AoiSums]]:
    """Sums per AOI of the four metrics in each group; an AOI without such pixels has zeros.

    Args:
        ledger: Of one run.
        protocol: Whose pooling is followed.
        by: What groups pixels.
    """
    compact, averaged = isinstance(ledger, CompactLedger), protocol.pool == "scene-mean"
    result: dict[str, dict[Score, AoiSums]] = {group: {} for group in GROUPS[by]}
    if averaged:
        # a scene is in one bin, so that sums over bins are those of a class
        keys = list(SEEN_BY) if compact and by == "land_cover" else ["aoi", by]
        totals, counts = scene_scores(ledger, protocol, keys)
        for metric in HEADLINE:
            table = pd.DataFrame({"sum": totals[metric], "count": counts[metric]})
            for group, sums in _by_group(table, by, ledger.aois).items():
                result[group][metric, None] = averaged_sums(metric, sums)
        return result
    ratios = {metric: ratio_of(metric, ledger.bands) for metric in HEADLINE}
    names = list(dict.fromkeys(name for ratio in ratios.values() for name in ratio.columns))
    table = group_sums(ledger, protocol, CELLS if compact else ["aoi", by], names)[names]
    for group, sums in _by_group(table, by, ledger.aois).items():
        for metric, ratio in ratios.items():
            columns = sums[list(ratio.columns)]
            result[group][metric, None] = pooled_sums(
                metric, columns, perfect=protocol.perfect_psnr
            )
    return result


def _by_group(table: pd.DataFrame, by: By, aois: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Sums of each group, a row for each AOI."""
    keys = [by, "aoi"]
    rows = table.reset_index().astype(dict.fromkeys(keys, str))
    sums = rows.groupby(keys)[list(table.columns)].sum()
    every = pd.MultiIndex.from_product([GROUPS[by], aois], names=keys)
    sums = sums.reindex(every, fill_value=0)
    return {str(group): own.droplevel(by) for group, own in sums.groupby(level=by)}


def _confusion(ledger: Ledger, protocol: Protocol, segmenter: str, image: ImageKind) -> Floats:
    """Pixels by bin, AOI, true and predicted class, shape (bins, AOIs, 6, 6)."""
    seen = seen_classes(ledger, protocol, segmenter, image).reset_index()
    places = [
        pd.Index(names).get_indexer(pd.Index(seen[key].astype(str)))
        for key, names in (("cover_bin", COVER_BINS), ("aoi", ledger.aois),
                           ("land_cover", LAND_COVER))
    ]  # fmt: skip
    counts = np.zeros((len(COVER_BINS), len(ledger.aois), len(LAND_COVER), len(LAND_COVER)))
    known = places[0] >= 0  # scenes without a mask are in no bin
    np.add.at(
        counts, tuple(place[known] for place in places), seen[list(LAND_COVER)].to_numpy()[known]
    )
    return counts


def segmentation_sums(
    ledger: Ledger, protocol: Protocol, segmenter: str
) -> dict[str, dict[Score, AoiSums]]:
    """Sums per AOI of a segmenter's mIoU and PA in each cloud-cover bin."""
    counts = _confusion(ledger, protocol, segmenter, "prediction")
    return {
        name: {
            (metric, segmenter): segmenter_sums(ledger.aois, own, metric) for metric in SEGMENTATION
        }
        for name, own in zip(COVER_BINS, counts, strict=True)
    }


def discrepancy_sums(
    ledger: Ledger, protocol: Protocol, segmenter: str
) -> dict[str, dict[str, AoiSums]]:
    """Sums per AOI of how far mIoU and PA stay below those of the clear images, in each bin.

    An AOI is left out of both images at once, so that what they have in common does not count.

    Returns:
        Bin to metric to sums, whose score is in points.
    """
    images: tuple[ImageKind, ...] = ("clear", "prediction")
    counts = [_confusion(ledger, protocol, segmenter, image) for image in images]
    return {
        name: {
            metric: _minus(*(segmenter_sums(ledger.aois, own[index], metric) for own in counts))
            for metric in SEGMENTATION
        }
        for index, name in enumerate(COVER_BINS)
    }


def _minus(first: AoiSums, second: AoiSums) -> AoiSums:
    """The difference of two scores as a score."""
    width = first.parts.shape[1]

    def score(parts: Floats) -> Floats:
        return first.score(parts[..., :width]) - second.score(parts[..., width:])

    parts = np.concatenate([first.parts, second.parts], axis=1)
    return AoiSums(first.aois, parts, score, second.sizes, second.errors)


def with_intervals(
    table: pd.DataFrame, intervals: Mapping[tuple[str, str], Mapping[str, tuple[float, float]]]
) -> pd.DataFrame:
    """Add ``<column>_low`` and ``<column>_high`` to a table of rows and cloud-cover bins.

    Args:
        table: With ``row`` and ``cover_bin``.
        intervals: Row and bin to column to the ends of its interval; nan elsewhere.
    """
    keys: list[Any] = list(zip(table["row"], table["cover_bin"], strict=True))
    columns = sorted({column for own in intervals.values() for column in own})
    none = (np.nan, np.nan)
    ends = {
        f"{column}_{end}": [intervals.get(key, {}).get(column, none)[side] for key in keys]
        for column in columns
        for side, end in enumerate(("low", "high"))
    }
    return table.assign(**ends)


def intervals_of(
    comparisons: Mapping[str, Iterable[MetricComparison]], labels: Mapping[str, str]
) -> dict[tuple[str, str], dict[str, tuple[float, float]]]:
    """Intervals of :func:`group_comparisons` as :func:`with_intervals` takes them.

    Args:
        comparisons: By cloud-cover bin, of the four metrics.
        labels: Name of each run to its row.
    """
    result: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
    for group, own in comparisons.items():
        for comparison in own:
            for name, estimate in comparison.estimates.items():
                ends = result.setdefault((labels[name], group), {})
                ends[comparison.metric] = (estimate.low, estimate.high)
    return result
