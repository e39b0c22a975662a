"""Tables of segmentation scores: Tab. 3 of the paper, spread over segmenters, classes, ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd

from planetcr_bench.analysis.segmentation import (
    ABSENT_ZERO,
    LEAST_IOU,
    MEASURES,
    OVERALL,
    SCORES,
    ImageKind,
    KnownLand,
    class_scores,
    recovery,
    segmentation_scores,
    segmenters_of,
)
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.results.aggregate import covered, in_paper_order, method_label, widest
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.published import published_table3

CLEAR: Final = "Cloud-Free"
CLOUDY: Final = "Cloudy"
"""Rows of Tab. 3 for the images of the dataset itself."""

SPREAD: Final = {"mean": "mean", "lowest": "min", "highest": "max"}
"""Statistics of :func:`over_segmenters`."""


def segmented_runs(ledgers: Sequence[Ledger]) -> Iterator[tuple[str, str, Ledger, ImageKind]]:
    """Rows of Tab. 3: name, kind, run and image.

    The first two show the dataset's own images, as the segmented run that covers most scenes has
    them.
    """
    whole = widest(ledger for ledger in ledgers if ledger.segmenters)
    yield covered(CLEAR, whole), "clear", whole, "clear"
    yield covered(CLOUDY, whole), "input", whole, "cloudy"
    for run in in_paper_order(ledgers):
        yield method_label(run), "measured", run, "prediction"


def _per_segmenter_and_row(
    scores: Callable[..., pd.DataFrame],
    ledgers: Sequence[Ledger],
    protocol: Protocol,
) -> list[pd.DataFrame]:
    """Scores by each segmenter for each row of Tab. 3; none where no run is segmented."""
    land = {id(ledger): KnownLand(ledger, protocol) for ledger in ledgers}
    return [
        scores(ledger, segmenter, protocol, image, land=land[id(ledger)])
        .reset_index()
        .assign(row=row, kind=kind, segmenter=segmenter)
        for segmenter in segmenters_of(ledgers)
        for row, kind, ledger, image in segmented_runs(ledgers)
    ]


def table3(ledgers: Sequence[Ledger], protocol: Protocol) -> pd.DataFrame:
    """Tab. 3: scores by each segmenter on the clear, the cloudy and each method's images.

    A method is compared with the clear and the cloudy images of its own scenes.

    Args:
        ledgers: Runs on one dataset.
        protocol: Which to report.

    Returns:
        One line per row, segmenter and bin of cloud cover: ``row``, ``kind`` (``clear``, ``input``
        or ``measured``), ``segmenter``, ``cover_bin``, and the columns of ``segmentation_scores``;
        no line where no run is segmented.

    Raises:
        LedgerError: The runs have different segmenters.
    """
    parts = _per_segmenter_and_row(segmentation_scores, ledgers, protocol)
    names = ["row", "kind", "segmenter", "cover_bin", *MEASURES, "pixels", "scenes", "aois"]
    names += ["absent", "unpredicted"]
    return pd.concat(parts, ignore_index=True)[names] if parts else pd.DataFrame(columns=names)


def over_segmenters(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, lowest and highest figure over the segmenters of :func:`table3` or :func:`class_table`.

    Returns:
        The table's form, ``segmenter`` being ``mean``, ``lowest`` or ``highest``; a figure that one
        segmenter lacks is nan, and ``unpredicted``, which differs by segmenter, is empty.
    """
    measured = [name for name in table if name in (*MEASURES, "iou", "recall")]
    keys = ["row", "kind", "cover_bin" if "cover_bin" in table else "land_cover"]
    first = table[table["segmenter"] == table["segmenter"].iloc[0]].set_index(keys)
    grouped = table.groupby(keys, sort=False)[measured]
    whole = grouped.count() == table["segmenter"].nunique()
    parts: list[pd.DataFrame] = []
    for segmenter, reduce in SPREAD.items():
        part = first.assign(segmenter=segmenter)
        if "unpredicted" in part:
            part["unpredicted"] = pd.Series([()] * len(part), part.index, object)
        part[measured] = grouped.agg(reduce).where(whole)  # both in the order of first
        parts.append(part.reset_index()[list(table)])
    return pd.concat(parts, ignore_index=True)


def published_rows() -> pd.DataFrame:
    """Tab. 3 of the paper in the form of :func:`table3`, with what follows from its figures.

    Returns:
        Without counts, absent classes and agreement, which the paper does not give.
    """
    table = published_table3().assign(**{ABSENT_ZERO: np.nan})
    images = table.set_index(["row", "cover_bin"])[list(SCORES)]
    for score in SCORES:
        clear, cloudy = (
            images.loc[f"{image} (published)"].loc[table["cover_bin"], score].to_numpy()
            for image in (CLEAR, CLOUDY)
        )
        table[f"{score}_discrepancy"] = clear - table[score]
        table[f"{score}_recovery"] = recovery(table[score], clear=clear, cloudy=cloudy)
        table[f"{score}_agreement"] = np.nan
    return table


def class_table(ledgers: Sequence[Ledger], protocol: Protocol) -> pd.DataFrame:
    """IoU and recall of each class over all scenes, in the rows of Tab. 3.

    Returns:
        One line per row, segmenter and class: ``row``, ``kind``, ``segmenter``, ``land_cover``, and
        the columns of ``class_scores``.
    """
    table = pd.concat(_per_segmenter_and_row(class_scores, ledgers, protocol), ignore_index=True)
    return table[["row", "kind", "segmenter", "land_cover", "iou", "recall", "pixels"]]


def hardly_known(ledgers: Sequence[Ledger], protocol: Protocol) -> dict[str, dict[str, float]]:
    """Classes that segmenters hardly know: IoU below :data:`LEAST_IOU` on the clear images.

    Args:
        ledgers: Runs on one dataset; the segmented one that covers most scenes is asked.
        protocol: Whose window the segmenters saw.

    Returns:
        Segmenter to class to IoU in percent; classes that are not in the truth are left out.
    """
    result = {}
    for segmenter in segmenters_of(ledgers):
        whole = widest(ledger for ledger in ledgers if ledger.segmenters)
        iou = class_scores(whole, segmenter, protocol, "clear")["iou"]
        result[segmenter] = {str(name): float(iou[name]) for name in iou.index[iou < LEAST_IOU]}
    return result


def rank_table(ledgers: Sequence[Ledger], table: pd.DataFrame) -> pd.DataFrame:
    """Rank of each complete run by overall mIoU, with each segmenter.

    Args:
        ledgers: Runs on one dataset.
        table: Result of :func:`table3` for them.

    Returns:
        One row per run that is segmented and complete, a column per segmenter; 1 is the best,
        equals share a rank.
    """
    ranked = [run.name for run in ledgers if run.segmenters and run.provenance["complete"]]
    rows = table[(table["kind"] == "measured") & table["row"].isin(ranked)]
    overall = rows[rows["cover_bin"] == OVERALL]
    wide = overall.pivot_table("miou", "row", "segmenter", sort=False, dropna=False)
    return wide.rank(ascending=False, method="min").astype("Int64")


def swapped(ranks: pd.DataFrame) -> list[str]:
    """Pairs of runs that the segmenters rank differently, in words.

    Args:
        ranks: Result of :func:`rank_table`.

    Returns:
        One phrase per pair, such as ``a and b (a ahead with 1a2b3c4d, b with 5e6f7a8b)``.
    """
    phrases = []
    for first, second in combinations(ranks.index, 2):
        ahead = ranks.columns[ranks.loc[first] < ranks.loc[second]]
        behind = ranks.columns[ranks.loc[first] > ranks.loc[second]]
        if len(ahead) and len(behind):
            split = f"{first} ahead with {', '.join(ahead)}, {second} with {', '.join(behind)}"
            phrases.append(f"{first} and {second} ({split})")
    return phrases


def left_out(table: pd.DataFrame, column: str = "absent") -> dict[str, dict[str, tuple[str, ...]]]:
    """Classes excluded from the means of a row's bins.

    Args:
        table: Result of :func:`table3`, of one segmenter.
        column: ``absent`` from the truth, or ``unpredicted`` by the segmenter in the clear images.

    Returns:
        Row to bin to classes, for bins that have figures; empty where no class is excluded.
    """
    excluded: dict[str, dict[str, tuple[str, ...]]] = {row: {} for row in table["row"]}
    rows = table[table["pa"].notna() & (table[column].map(len) > 0)]
    for row, cover, classes in rows[["row", "cover_bin", column]].itertuples(index=False):
        excluded[row][cover] = classes
    return excluded
