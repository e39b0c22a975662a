"""Remember which predictions were scored with which settings, so that nothing is scored twice.

This is kept in the user's cache folder. A run counts as scored only while its settings, its
prediction files and its published results are as they were.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from planetcr_bench.errors import BenchError
from planetcr_bench.evaluation.loading import Job
from planetcr_bench.predictions.folder import Predictions
from planetcr_bench.results.files import LEDGER, REPORT, RUN
from planetcr_bench.utils.files import cache_folder, cache_write, file_sha256

RESULTS: Final = (LEDGER, RUN)
"""Files of a published run whose content is compared."""


def scored_mark(out: Path, predictions: Predictions, settings: Mapping[str, Any]) -> Path:
    """File of the cache that exists once these predictions were scored with these settings.

    Args:
        out: Folder of the results.
        predictions: Their files count by path, inode, size and times, not by content.
        settings: All else that changes a result, as JSON can hold it.
    """
    states = sorted(Job(files, path).state() for files, path in predictions.files.items())
    text = json.dumps([str(out.resolve()), settings, states], sort_keys=True)
    return cache_folder("scored") / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def is_scored(mark: Path, out: Path, *, tables: bool = True) -> bool:
    """Whether the results that were published then are still there, unchanged.

    Args:
        mark: See :func:`scored_mark`.
        out: Folder of the results.
        tables: Whether its report must be there, too.
    """
    if tables and not (out / REPORT).exists():
        return False
    try:
        return mark.read_text(encoding="utf-8") == results_digest(out)
    except (OSError, ValueError, BenchError):
        return False


def remember_scored(mark: Path, digest: str) -> None:
    """Remember the :func:`results_digest` that belongs to a mark."""
    cache_write(mark, digest.encode())


def results_digest(out: Path) -> str:
    """Hashes of the results that are published in a folder, as a text."""
    return json.dumps({name: file_sha256(out / name) for name in RESULTS})
