"""What a command needs beyond the plain installation: there, or one message that says how."""

from __future__ import annotations

from importlib.util import find_spec

from planetcr_bench.errors import MissingExtraError

NETWORKS = ("torch", "safetensors")
"""Packages without which there are no networks."""


def need_networks() -> None:
    """Raise MissingExtraError unless networks can be made."""
    missing = [package for package in NETWORKS if find_spec(package) is None]
    if missing:
        raise MissingExtraError(
            f"networks need {' and '.join(missing)}: pip install 'planetcr-bench[models]'"
        )
