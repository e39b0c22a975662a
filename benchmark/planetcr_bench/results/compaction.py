"""Make a compact ledger of a ledger of scenes."""

from __future__ import annotations

import hashlib
from itertools import product

import numpy as np
import pandas as pd

from planetcr_bench.metrics.protocols import PROTOCOLS, Protocol
from planetcr_bench.results.aggregate import aoi_positions, group_sums, scene_scores, seen_classes
from planetcr_bench.results.compact import (
    COMPACT_SCHEMA,
    DIGITS,
    GROUPINGS,
    PAGE,
    SEEN_BY,
    SEEN_IMAGES,
    CompactLedger,
    Grouping,
    contents,
    is_count,
    score_columns,
    scored,
    seen_columns,
    summed,
)
from planetcr_bench.results.ledger import COMPACT_KEY, Ledger


def compact(ledger: Ledger, sha256: str) -> CompactLedger:
    """Ask a ledger of scenes all that a compact one is asked.

    Args:
        ledger: Of scenes.
        sha256: Of its file.

    Raises:
        ScenesError: The ledger is compact itself.
    """
    digest = _digest(ledger)
    groups = {
        (name, by): _group(ledger, protocol, by)
        for name, protocol in PROTOCOLS.items()
        if name in ledger.provenance["protocols"]
        for by in GROUPINGS
    }
    facts = {COMPACT_KEY: COMPACT_SCHEMA, "full_ledger_sha256": sha256}
    return CompactLedger(groups, {**ledger.provenance, **facts, "predictions_sha256": digest})


def predictions_of(ledger: Ledger) -> str:
    """A digest of a run's predictions and their scale; the same images have the same one."""
    if isinstance(ledger, CompactLedger):
        return str(ledger.provenance["predictions_sha256"])
    return _digest(ledger)


def _digest(ledger: Ledger) -> str:
    pairs = ledger.frame[["scene", "prediction_sha256"]].drop_duplicates().astype(str)
    lines = sorted(pairs["scene"] + " " + pairs["prediction_sha256"])
    text = "\n".join([repr(ledger.provenance["scale"]), *lines])
    return hashlib.sha256(text.encode()).hexdigest()


def _group(ledger: Ledger, protocol: Protocol, by: Grouping) -> pd.DataFrame:
    columns, bands = ledger.columns, ledger.bands
    sums = group_sums(ledger, protocol, by, summed(protocol, by, columns, bands, ledger.segmenters))
    sums = _named(sums)
    parts = [sums]
    pairs = scored(protocol, by, columns, bands)
    for of in dict.fromkeys(of for _, of in pairs):
        metrics = [metric for metric, own in pairs if own == of]
        totals, counts = map(_named, scene_scores(ledger, protocol, by, metrics, of))
        for metric in metrics:
            score, unscored = score_columns(metric, of)
            lacking = sums["scenes"] - counts[metric]
            parts.append(pd.DataFrame({score: totals[metric], unscored: lacking}))
    for segmenter, image in product(ledger.segmenters if by == SEEN_BY else (), SEEN_IMAGES):
        seen = _named(seen_classes(ledger, protocol, segmenter, image))
        seen = seen.reindex(sums.index, fill_value=0)
        parts.append(seen.set_axis(seen_columns(segmenter, image), axis=1))
    if by == ("aoi",):
        parts.append(_named(aoi_positions(ledger, protocol)))
    whole = pd.concat([part.reindex(sums.index) for part in parts], axis=1)
    whole = whole[contents(protocol, by, columns, bands, ledger.segmenters)]
    if by in PAGE:
        reals = [str(name) for name in whole if not is_count(str(name))]
        parts, exponents = np.frexp(whole[reals].to_numpy(np.float64))
        rounded = np.ldexp(np.round(np.ldexp(parts, DIGITS)), exponents - DIGITS)
        whole = whole.assign(**dict(zip(reals, rounded.T, strict=True)))
    return whole.copy()  # in one block per type


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """The table indexed by plain texts, whatever its categories."""
    keys = table.index.to_frame(index=False).astype(str).astype(object)
    if keys.shape[1] == 1:
        return table.set_axis(pd.Index(keys.iloc[:, 0]))
    return table.set_axis(pd.MultiIndex.from_frame(keys))
