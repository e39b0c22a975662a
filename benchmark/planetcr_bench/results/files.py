"""Name the files of a run in ``<results>/<track>/<name>/``; ``report`` names the others."""

from __future__ import annotations

from typing import Final

LEDGER: Final = "ledger.parquet"
COMPACT: Final = "ledger.compact.parquet"
"""In place of the ledger: sums of groups of scenes, small enough to be committed."""
RUN: Final = "run.json"
REPORT: Final = "report.md"
REPORT_PAGE: Final = "report.html"
"""The same as one page for browsers, with its figures inside."""
CARD: Final = "card.toml"
STATUS: Final = "status.json"
SAMPLES: Final = "samples.jpg"
FIGURES: Final = "figures"
TABLES: Final = "tables"
