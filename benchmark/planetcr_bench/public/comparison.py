"""Compare runs on one dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from planetcr_bench.analysis.segmentation import check_segmenters
from planetcr_bench.errors import UsageError
from planetcr_bench.metrics.registry import HEADLINE
from planetcr_bench.public.run import Run, Scored, load_run
from planetcr_bench.report.significance import statistic_frame
from planetcr_bench.results.aggregate import check_comparable, overall_scores


class Comparison(Scored):
    """Runs beside each other; made by :func:`compare`.

    Attributes:
        runs: The runs.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        super().__init__([run.ledger for run in runs])
        self.runs = list(runs)

    def table(self, protocol: str | None = None) -> pd.DataFrame:
        """Overall scores of the input and of each run, indexed by name.

        Args:
            protocol: ``full`` or ``official``; by default ``full``.
        """
        chosen = self.protocol(protocol)
        frame = overall_scores(self.ledgers, chosen, chosen.pool).set_index("row")
        return frame[[*HEADLINE, "scenes", "aois"]]

    def significance(self, protocol: str | None = None) -> pd.DataFrame:
        """Intervals of each score, and paired differences with their p.

        Args:
            protocol: See :meth:`table`.

        Returns:
            A row per run and score (``value``, ``low``, ``high``, ``letters``: runs that share one
            are not significantly different), then a row per pair (``run`` minus ``minus``, ``p``,
            and ``p_holm``, corrected for all pairs).
        """
        chosen = self.protocol(protocol)
        return statistic_frame(chosen, self.tables.comparisons[chosen.name])

    def __repr__(self) -> str:
        names = ", ".join(run.name for run in self.runs)
        return f"<{len(self.runs)} runs on {self.ledgers[0].provenance['track']}: {names}>"


def compare(runs: str | Path | Run | Sequence[str | Path | Run]) -> Comparison:
    """Compare runs on one dataset; nothing is written.

    Args:
        runs: Runs, or their results folders or ledgers.

    Raises:
        UsageError: No run is given.
        LedgerError: A run cannot be read, or the runs cannot be compared.
    """
    given = [runs] if isinstance(runs, str | Path | Run) else list(runs)
    if not given:
        raise UsageError("runs: expected one run or more, got none")
    loaded = [run if isinstance(run, Run) else load_run(run) for run in given]
    ledgers = [run.ledger for run in loaded]
    check_comparable(ledgers)
    check_segmenters(ledgers)
    return Comparison(loaded)
