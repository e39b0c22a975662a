"""Name the files of a run in ``<results>/<track>/<name>/``; ``report`` names the others."""

from __future__ import annotations

from typing import Final

LEDGER: Final = "ledger.parquet"
RUN: Final = "run.json"
REPORT: Final = "report.md"
CARD: Final = "card.toml"
STATUS: Final = "status.json"
SAMPLES: Final = "samples.jpg"
FIGURES: Final = "figures"
TABLES: Final = "tables"
