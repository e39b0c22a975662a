"""Copy a run with a compact ledger in place of its ledger of scenes."""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Final

from planetcr_bench.errors import LedgerError, UsageError
from planetcr_bench.leaderboard.entries import (
    LARGEST_SAMPLES,
    StatusFile,
    read_run,
    stored_status,
)
from planetcr_bench.leaderboard.ledgers import record_errors, refuse
from planetcr_bench.results.compact_file import compact_table
from planetcr_bench.results.compaction import compact
from planetcr_bench.results.files import CARD, COMPACT, LEDGER, RUN, SAMPLES, STATUS
from planetcr_bench.results.ledger import read_ledger, write_ledger
from planetcr_bench.utils.files import atomic_write, file_sha256
from planetcr_bench.utils.untrusted import read_bytes

SCORED_HERE: Final = "scored by the maintainers from the predictions"


def compact_run(run: Path, out: Path, *, verified: bool = False) -> Path:
    """Write a run as ``<out>/<track>/<name>``, with a compact ledger.

    Its record, card, status and sample pictures come along; a run without a card keeps the one
    that lies there. Its report does not come, for ``planetcr-bench report`` makes it anew.

    Args:
        run: Results folder with the ledger of scenes.
        out: Folder of results.
        verified: The maintainers scored the predictions themselves: the status says so.

    Raises:
        LedgerError: The run cannot be read, or is compact already.
        SubmissionError: Its record is none that a board shows, such as a track that is a path.
        UsageError: A ledger of scenes lies where the compact one would.
    """
    if not run.is_dir():
        raise LedgerError(f"{run}: expected a results folder, found none")
    scenes = read_ledger(run)
    refuse(run / LEDGER, record_errors(scenes.provenance))  # names of folders, too
    facts = read_run(run / RUN, scenes.provenance)
    status = stored_status(run)
    if verified:
        status = StatusFile(status="verified", ledger_sha256="", checked=[SCORED_HERE])
    target = out / str(scenes.provenance["track"]) / scenes.name
    if os.path.lexists(target / LEDGER):
        raise UsageError(f"--out: expected a folder apart from ledgers of scenes, got {target}")
    ledger = compact(scenes, file_sha256(run / LEDGER))
    buffer = io.BytesIO()
    write_ledger(buffer, compact_table(ledger), ledger.provenance)
    files: dict[str, bytes | None] = {COMPACT: buffer.getvalue(), STATUS: None}
    for name in (CARD, SAMPLES):
        if os.path.lexists(run / name):
            files[name] = read_bytes(run / name, LARGEST_SAMPLES)
        elif name == SAMPLES:
            files[name] = None
    if status is not None:
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        files[STATUS] = _json(status.model_dump() | {"ledger_sha256": digest})
    files[RUN] = _json({**facts, **ledger.provenance})  # last: then the run is whole
    target.mkdir(parents=True, exist_ok=True)
    (target / RUN).unlink(missing_ok=True)
    for name, content in files.items():
        if content is None:
            (target / name).unlink(missing_ok=True)
        else:
            atomic_write(target / name, content)
    return target


def _json(value: dict[str, object]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
