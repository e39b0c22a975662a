"""Locate what the checkout contains, and what may lie beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""

RUNS = ROOT / "results/sim-v1-small/sim-v1-demo"
"""Runs whose ledgers are committed."""

SHARED = ROOT.parent / "shared"
"""Real scenes and reference figures, which may not be committed."""
