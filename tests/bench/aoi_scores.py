"""Sums per AOI that are made by hand, and the scores of every test of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from planetcr_bench.analysis.intervals import AoiSums, score_sums
from planetcr_bench.metrics.protocols import PROTOCOLS, Protocol
from planetcr_bench.metrics.registry import HEADLINE, SEGMENTATION
from planetcr_bench.results.ledger import Ledger

SEGMENTER = "aaaaaaaa"
SCENES = 34  # twelve AOIs, the last with a single scene
SCORES = [(metric, None) for metric in HEADLINE] + [("miou", SEGMENTER), ("pa", SEGMENTER)]

each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda own: own.name)
each_score = pytest.mark.parametrize(("metric", "segmenter"), SCORES)


def ratio_of(
    top: Sequence[float], bottom: Sequence[float] | None = None, **facts: object
) -> AoiSums:
    """One ratio of all sums; without a denominator the plain mean over AOIs."""
    top = np.asarray(top, np.float64)
    sizes = np.ones_like(top) if bottom is None else np.asarray(bottom, np.float64)
    names = tuple(f"aoi {index:03}" for index in range(len(top)))
    parts = np.stack([top, sizes], 1)
    return AoiSums(names, parts, lambda sums: sums[..., 0] / sums[..., 1], sizes, top, **facts)


def aoi_sums(
    ledger: Ledger, protocol: Protocol, metric: str, *, segmenter: str | None = None
) -> AoiSums:
    """Sums per AOI of one score."""
    segmenters = [] if segmenter is None else [segmenter]
    metrics = [] if metric in SEGMENTATION else [metric]
    return score_sums(ledger, protocol, segmenters, metrics=metrics)[metric, segmenter]
