"""Compare a run with its own input, the cloudy images, on the same AOIs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from planetcr_bench.analysis.intervals import pooled_sums
from planetcr_bench.analysis.significance import Difference, differences, holm
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS
from planetcr_bench.results.aggregate import group_sums
from planetcr_bench.results.compact import CompactLedger
from planetcr_bench.results.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Gain:
    """One score of a run beside that of its input, pooled over pixels.

    Attributes:
        metric: Name of a metric.
        before: Score of the input.
        after: Score of the prediction.
        pair: Prediction minus input; ``p_holm`` is corrected for all scores asked for together.
        aois: How many AOIs the two are paired on.
    """

    metric: str
    before: float
    after: float
    pair: Difference
    aois: int

    @property
    def better(self) -> bool:
        """Whether the prediction scores better than the input, significantly or not."""
        return float(METRICS[self.metric].gain(self.after, self.before)) > 0


def gains_over_input(
    ledger: Ledger,
    protocol: Protocol,
    *,
    region: str | None = None,
    metrics: Sequence[str] = HEADLINE,
) -> list[Gain]:
    """How much better than its input a run is, with paired differences over AOIs.

    Args:
        ledger: Of one run; incomplete ones are compared on their scenes.
        protocol: Which to report; figures are pooled over pixels, whatever its own pool.
        region: Only pixels of this region; None: all.
        metrics: Names of metrics that the input has, too.

    Returns:
        One per metric; none for a region of compact ledgers, which lack its sums by AOI. Where
        nothing was measured scores are nan, and where there is no second AOI the errors.
    """
    if region and isinstance(ledger, CompactLedger):
        return []
    rows = [METRICS[metric] for metric in metrics]
    columns = [name for row in rows for of in (row.columns, row.columns_of("input")) for name in of]
    names = list(dict.fromkeys(columns))
    sums = _by_aoi(ledger, protocol, region, names)
    gains = []
    for row in rows:
        before, after = (
            pooled_sums(row.name, sums[list(own)], perfect=protocol.perfect_psnr)
            for own in (row.columns_of("input"), row.columns)
        )
        (pair,) = differences({ledger.name: after, "input": before})
        aois = int(after.measured.sum())
        gains.append(Gain(row.name, before.value, after.value, pair, aois))
    corrected = holm([gain.pair.p for gain in gains]).tolist()
    return [
        replace(gain, pair=replace(gain.pair, p_holm=p))
        for gain, p in zip(gains, corrected, strict=True)
    ]


def _by_aoi(
    ledger: Ledger, protocol: Protocol, region: str | None, names: Sequence[str]
) -> pd.DataFrame:
    """Sums of each AOI, of a region or of all pixels; zeros where it has none."""
    if region is None:
        return group_sums(ledger, protocol, ["aoi"], names)[list(names)]
    table = group_sums(ledger, protocol, ["aoi", "region"], names)[list(names)].reset_index()
    rows = table[table["region"].astype(str) == region].drop(columns="region")
    return rows.astype({"aoi": str}).set_index("aoi").reindex(ledger.aois, fill_value=0)
