"""Worker processes that start at once, whichever test asks for them first."""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver

MODULES = (
    "planetcr_bench.data.fingerprint", "planetcr_bench.data.integrity",
    "planetcr_bench.data.patches", "planetcr_bench.evaluation.runner",
    "planetcr_bench.leaderboard.sent_ledger", "planetcr_bench.predictions.predict",
    "planetcr_bench.simulation.writer", "planetcr_bench.submission.entry",
    "planetcr_models.training.loader",
)  # fmt: skip


def start_server() -> None:
    """Start the one server that forks workers, with everything imported that they need."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        multiprocessing.set_forkserver_preload([*MODULES])
        forkserver.ensure_running()
