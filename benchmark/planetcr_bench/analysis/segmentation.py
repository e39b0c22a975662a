"""Score how much of the land cover a segmenter still recognises (paper, Sec. 5.3).

All scores follow from confusion matrices, which are sums of rows of a ledger: against the true land
cover, or against the segmenter's prediction for the clear image. Pixels of unknown land are
ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from planetcr_bench.constants import COVER_BIN_NAMES, COVER_BINS, LAND_COVER
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics import scores
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.sums import segmenter_columns
from planetcr_bench.results.aggregate import group_sums
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.schema import segmenter_counts
from planetcr_bench.utils.json_values import to_json_value

ImageKind = Literal["clear", "cloudy", "prediction"]

OVERALL: Final = "overall"
BINS: Final = (*COVER_BINS, OVERALL)
"""Columns of Tab. 3; overall is the pool of all scenes, not the mean of the bins."""

SCORES: Final = ("miou", "pa")
"""Against the true land cover, in percent."""

ABSENT_ZERO: Final = "miou_absent_zero"
"""Against the truth: mIoU with 0 for classes that are predicted, but not in the truth."""

MEASURES: Final = (
    *SCORES,
    ABSENT_ZERO,
    *(f"{score}_discrepancy" for score in SCORES),
    *(f"{score}_recovery" for score in SCORES),
    *(f"{score}_agreement" for score in SCORES),
)
"""Columns of :func:`segmentation_scores` that are figures."""

LEAST_DIFFERENCE: Final = 1.0
"""Points between Cloudy and Cloud-Free below which recovery is nan: it would be noise."""

LEAST_IOU: Final = 20.0
"""IoU in percent on clear images below which a segmenter hardly knows a class.

About what random labels reach for a class that covers a third of the land: they score
p / (2 - p) for a share of p.
"""

VERSION: Final = 1
"""Raised when the figures of a ledger change."""


def signature(metric: str, protocol: Protocol, segmenters: Sequence[str]) -> str:
    """One line that says how a figure was computed.

    Args:
        metric: ``mIoU``, ``mIoU, absent as 0``, ``PA``, ``IoU`` or ``recall``; with ``agreement``
            before it, the truth is the segmenter's prediction for the clear image.
        protocol: Whose window the segmenter saw.
        segmenters: Their keys.

    Example:
        >>> from planetcr_bench.metrics.protocols import PROTOCOLS
        >>> signature("PA", PROTOCOLS["full"], ["1a2b3c4d"])
        'PA|full|window:patch|pool:pixels|unknown:ignored|segmenter:1a2b3c4d|v1'
    """
    counted = "present in truth or prediction" if "absent" in metric else "present in truth"
    parts = [
        metric,
        protocol.name,
        f"window:centre{protocol.window}" if protocol.window else "window:patch",
        "pool:pixels",
        *([f"classes:{counted}"] if "IoU" in metric else []),
        "unknown:ignored",
        *(f"segmenter:{segmenter}" for segmenter in segmenters),
        f"v{VERSION}",
    ]
    return "|".join(parts)


def check_segmenters(ledgers: Sequence[Ledger]) -> None:
    """Refuse runs with different segmenters; runs without a segmenter are accepted.

    Raises:
        LedgerError: Names two runs, their segmenters, and what to do.
    """
    segmented = [ledger for ledger in ledgers if ledger.segmenters]
    for other in segmented[1:]:
        if _hashes(other) != _hashes(segmented[0]):
            raise LedgerError(
                f"{other.name}: expected the same segmenters as {segmented[0].name}, "
                f"{_names(segmented[0])}, got {_names(other)}; evaluate again with the same "
                "--segmenter files, or compare without Tab. 3: --no-segmenter"
            )


def _hashes(ledger: Ledger) -> dict[str, str]:
    return {key: facts["sha256"] for key, facts in ledger.provenance["segmenters"].items()}


def _names(ledger: Ledger) -> str:
    return ", ".join(facts["name"] for facts in ledger.provenance["segmenters"].values())


def segmenters_of(ledgers: Sequence[Ledger]) -> dict[str, str]:
    """Keys and names of the segmenters of the runs; empty if there are none.

    Raises:
        LedgerError: The runs have different segmenters.
    """
    check_segmenters(ledgers)
    facts: Mapping[str, Any] = next(
        (ledger.provenance["segmenters"] for ledger in ledgers if ledger.segmenters), {}
    )
    return {key: str(facts[key]["name"]) for key in sorted(facts)}


def without_segmenters(ledger: Ledger) -> Ledger:
    """The same run, as if it had been evaluated without a segmenter."""
    return ledger.with_provenance(segmenters={})


def confusion_by_bin(
    ledger: Ledger, segmenter: str, protocol: Protocol, image: ImageKind
) -> NDArray[np.int64]:
    """Pixels of known land by cloud cover, true class and predicted class.

    Args:
        ledger: Of a run with this segmenter.
        segmenter: Its key.
        protocol: Whose window it saw.
        image: Which of a scene's images.

    Returns:
        Shape (bins, 6, 6, 6), the last bin being all scenes: true class × class in the clear image
        × class in this image. Any of the three may be summed out.
    """
    return KnownLand(ledger, protocol).confusion(segmenter, image)


@dataclass(frozen=True, eq=False)
class KnownLand:
    """Pixels of a run whose land is known in one protocol, added up when first asked for.

    Attributes:
        ledger: Of the run.
        protocol: Whose window segmenters saw.
    """

    ledger: Ledger
    protocol: Protocol
    _confusion: dict[tuple[str, str], NDArray[np.int64]] = field(
        default_factory=dict, init=False, repr=False
    )

    @cached_property
    def _sums(self) -> pd.DataFrame:
        """Pixels and counts of all segmenters by bin and class, a row for each of these pairs."""
        names = [name for key in self.ledger.segmenters for name in segmenter_columns(key)]
        sums = group_sums(self.ledger, self.protocol, ["cover_bin", "land_cover"], names)
        # by name: categories may be in another order
        sums = sums.set_axis(pd.MultiIndex.from_frame(sums.index.to_frame().astype(str)))
        every = pd.MultiIndex.from_product([COVER_BIN_NAMES, LAND_COVER])
        return sums.reindex(every, fill_value=0)

    def _by_bin(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sums by bin and class, the last bin being all scenes, those of unknown cover too.

        Args:
            values: Of the rows of :attr:`_sums`, shape (rows, ...).

        Returns:
            Shape (bins, 6, ...).
        """
        by_bin = values.reshape(len(COVER_BIN_NAMES), len(LAND_COVER), *values.shape[1:])
        return np.concatenate([by_bin[: len(COVER_BINS)], by_bin.sum(0, keepdims=True)])

    def confusion(self, segmenter: str, image: ImageKind) -> NDArray[np.int64]:
        """:func:`confusion_by_bin` of a segmenter of the run."""
        classes = len(LAND_COVER)
        if (segmenter, image) not in self._confusion:
            if image == "clear":
                classified = self.confusion(segmenter, "prediction").sum(3, keepdims=True)
                counts = classified * np.eye(classes, dtype=np.int64)
            else:
                counts = self._by_bin(segmenter_counts(self._sums, segmenter, image))
            self._confusion[segmenter, image] = counts
        return self._confusion[segmenter, image]

    @cached_property
    def pixels(self) -> NDArray[np.int64]:
        """By bin and class, shape (bins, 6)."""
        return self._by_bin(self._sums["pixels"].to_numpy(np.int64))

    @cached_property
    def counts(self) -> dict[str, list[Any]]:
        """``pixels``, ``scenes``, ``aois`` and ``absent`` classes of each bin."""
        known = [
            group_sums(self.ledger, self.protocol, by).reset_index().astype({"known": str})
            for by in (["cover_bin", "known"], ["known"])
        ]
        rows = pd.concat([known[0], known[1].assign(cover_bin=OVERALL)])
        rows = rows[rows["known"] == "known"].astype({"cover_bin": str}).set_index("cover_bin")
        rows = rows[["scenes", "aois"]].reindex(list(BINS), fill_value=0)
        return {
            "pixels": self.pixels.sum(1).tolist(),
            "scenes": rows["scenes"].tolist(),
            "aois": rows["aois"].tolist(),
            "absent": [_without(pixels) for pixels in self.pixels],
        }


def segmentation_scores(
    ledger: Ledger,
    segmenter: str,
    protocol: Protocol,
    image: ImageKind,
    *,
    land: KnownLand | None = None,
) -> pd.DataFrame:
    """Scores of a segmenter on one image of each scene, beside its clear and cloudy images.

    Args:
        ledger: Of one run.
        segmenter: Its key.
        protocol: Whose window it saw.
        image: Which of a scene's images.
        land: ``KnownLand`` of the run, if already computed.

    Returns:
        One row per bin of :data:`BINS`, in percent and percentage points:

        - ``miou``, ``pa``: against the truth;
        - ``miou_absent_zero``: likewise, but a class that is predicted and not in the truth counts
          as 0 in the mean;
        - ``…_discrepancy``: points below the clear image (Fig. 6);
        - ``…_recovery``: on the scale from 0, the cloudy image, to 100, the clear one; nan where
          the clear image scores less than :data:`LEAST_DIFFERENCE` points higher;
        - ``…_agreement``: against the segmenter's prediction for the clear image, as if that were
          the truth;

        then ``pixels``, ``scenes`` and ``aois`` of known land, and two tuples of classes that are
        in no mean: ``absent`` from the truth, and ``unpredicted`` by the segmenter in the clear
        image, where that serves as the truth. Nan for a segmenter that the run lacks.
    """
    land = land or KnownLand(ledger, protocol)
    figures: dict[str, Any] = dict.fromkeys(MEASURES, np.nan)
    figures["unpredicted"] = [()] * len(BINS)
    if segmenter in ledger.segmenters:
        images: tuple[ImageKind, ...] = ("clear", "cloudy", "prediction")
        truth = {name: _scores(land.confusion(segmenter, name).sum(2)) for name in images}
        transitions = land.confusion(segmenter, image).sum(1)
        agreement = _scores(transitions)
        for score in SCORES:
            clear, cloudy, value = (truth[name][score] for name in ("clear", "cloudy", image))
            figures[score] = value
            figures[f"{score}_discrepancy"] = clear - value
            figures[f"{score}_recovery"] = recovery(value, clear=clear, cloudy=cloudy)
            figures[f"{score}_agreement"] = agreement[score]
        figures[ABSENT_ZERO] = truth[image][ABSENT_ZERO]
        figures["unpredicted"] = [_without(row) for row in transitions.sum(2)]
    return pd.DataFrame({**figures, **land.counts}, pd.Index(BINS, name="cover_bin"))


def _without(pixels: NDArray[Any]) -> tuple[str, ...]:
    """Classes that have no pixels, of shape (6,)."""
    return tuple(name for name, count in zip(LAND_COVER, pixels, strict=True) if count == 0)


def _scores(matrix: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    return {
        "miou": 100 * scores.miou(matrix),
        "pa": 100 * scores.pixel_accuracy(matrix),
        ABSENT_ZERO: 100 * scores.miou_absent_zero(matrix),
    }


def recovery(value: ArrayLike, *, clear: ArrayLike, cloudy: ArrayLike) -> NDArray[np.float64]:
    """A score on the scale on which the cloudy image has 0 and the clear one 100.

    Args:
        value: Scores in percent, shape (...).
        clear: Of the clear image, shape (...).
        cloudy: Of the cloudy image, shape (...).

    Returns:
        Percent, shape (...), below 0 where the score is worse than that of the cloudy image; nan
        where the clear image scores less than :data:`LEAST_DIFFERENCE` points higher: there is
        nothing to recover.

    Example:
        >>> recovery([20.0, 40.0], clear=[50.0, 30.0], cloudy=[10.0, 30.0])
        array([25., nan])
    """
    low, high = np.asarray(cloudy, np.float64), np.asarray(clear, np.float64)
    span = np.where(high - low >= LEAST_DIFFERENCE, high - low, np.nan)
    result: NDArray[np.float64] = 100 * ((np.asarray(value, np.float64) - low) / span)
    return result


def class_scores(
    ledger: Ledger,
    segmenter: str,
    protocol: Protocol,
    image: ImageKind,
    *,
    land: KnownLand | None = None,
) -> pd.DataFrame:
    """IoU and recall of each class over all scenes, against the truth.

    Args:
        ledger: See :func:`segmentation_scores`, like all others.
        segmenter: Its key.
        protocol: Whose window it saw.
        image: Which of a scene's images.
        land: ``KnownLand`` of the run, if already computed.

    Returns:
        One row per class: ``iou`` and ``recall`` in percent, nan where the class is not in the
        truth or the run lacks the segmenter, and ``pixels``, those of the class.
    """
    land = land or KnownLand(ledger, protocol)
    figures: dict[str, Any] = {"iou": np.nan, "recall": np.nan}
    if segmenter in ledger.segmenters:
        matrix = land.confusion(segmenter, image)[-1].sum(1)
        figures = {"iou": 100 * scores.iou(matrix), "recall": 100 * scores.recall(matrix)}
    figures["pixels"] = land.pixels[-1]
    return pd.DataFrame(figures, pd.Index(LAND_COVER, name="land_cover"))


def transitions(
    ledger: Ledger, segmenter: str, protocol: Protocol, image: ImageKind = "prediction"
) -> NDArray[np.int64]:
    """Pixels by a segmenter's prediction in the clear image and in another.

    Its errors cancel as far as it makes them in both images.

    Returns:
        Shape (6, 6): class in the clear image × class in this image.
    """
    matrix: NDArray[np.int64] = confusion_by_bin(ledger, segmenter, protocol, image)[-1].sum(0)
    return matrix


def segmentation_summary(ledger: Ledger, protocol: Protocol) -> dict[str, object]:
    """Segmentation scores of a run in one protocol, as JSON values.

    Returns:
        Key of a segmenter to ``name``, ``unit``, ``signature``, ``overall``, ``by_class`` and
        ``by_cover``; a number that was not measured is None.
    """
    result: dict[str, object] = {}
    land = KnownLand(ledger, protocol)
    for segmenter, name in segmenters_of([ledger]).items():
        bins = segmentation_scores(ledger, segmenter, protocol, "prediction", land=land)
        classes = class_scores(ledger, segmenter, protocol, "prediction", land=land)
        by_cover = bins[[*MEASURES, "scenes"]].to_dict("index")
        result[segmenter] = {
            "name": name,
            "unit": "percent",
            "signature": signature("mIoU", protocol, [segmenter]),
            "overall": to_json_value(by_cover.pop(OVERALL)),
            "by_class": to_json_value(classes.to_dict("index")),
            "by_cover": to_json_value(by_cover),
        }
    return result
