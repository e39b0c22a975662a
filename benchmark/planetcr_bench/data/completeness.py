"""Tell from what its maker wrote whether a dataset is complete."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from planetcr_bench.data.metadata import METADATA, read_simulation
from planetcr_bench.errors import DatasetError
from planetcr_bench.utils.untrusted import read_toml

CURATION: Final = "curation.toml"
"""File in the folder of a curated dataset; it has a table ``result`` once all is written."""


def unfinished(data: Path) -> str | None:
    """Line that says that ``curate`` has begun a dataset and not finished it; else None.

    Args:
        data: Folder of the dataset.

    Raises:
        DatasetError: ``curation.toml`` cannot be read.
    """
    if _curation(data).get("result", {}) is not None:
        return None
    return (
        f"{data}: expected a finished dataset, found one that `planetcr-bench curate` has begun; "
        "run the same command again to resume it"
    )


def shortfall(data: Path, split: str, count: int) -> str | None:
    """Report a simulated or curated split without the scenes that it declares; else None.

    Args:
        data: Folder that holds the splits.
        split: Name of the split.
        count: Scenes it has.

    Raises:
        DatasetError: ``dataset.toml`` or ``curation.toml`` cannot be read.
    """
    if line := unfinished(data):
        return line
    simulation = read_simulation(data)
    simulated = simulation.scenes(split) if simulation else None
    result = _curation(data).get("result", {})
    for file, command, expected in (
        (METADATA, "simulate", simulated), (CURATION, "curate", result.get(split)),
    ):  # fmt: skip
        if isinstance(expected, int) and count != expected:
            remedy = (
                f"run the same `planetcr-bench {command}` again to resume it"
                if count < expected
                else f"{command} it again in an empty folder"
            )
            return f"{data / split}: expected {expected} scenes by {file}, found {count}; {remedy}"
    return None


def _curation(data: Path) -> dict[str, Any]:
    """Content of ``curation.toml``, empty without one; ``result`` is a table, or None."""
    path = data / CURATION
    if not os.path.lexists(path):
        return {}
    content = read_toml(path, error=DatasetError)
    result = content.get("result")
    return content | {"result": result if isinstance(result, dict) else None}
