"""A split in, its fingerprint out: computed once, remembered for as long as no file changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from planetcr_bench.dataset import SceneFiles, read_product, scene_digest, split_fingerprint
from planetcr_bench.parallel import run_batches, track
from planetcr_bench.storage import cache_folder, remember
from planetcr_bench.vocabulary import PRODUCTS


def digest_scenes(scenes: Sequence[SceneFiles]) -> list[tuple[str, bytes]]:
    """Name and digest of each scene, from its decoded pixels.

    Raises:
        DatasetError: A file is missing, unreadable or not as the official layout has it.
    """
    return [
        (files.name, scene_digest({product: read_product(files, product) for product in PRODUCTS}))
        for files in scenes
    ]


def fingerprint_of(
    scenes: Sequence[SceneFiles], *, workers: int | None = None, quiet: bool = False
) -> str:
    """Fingerprint of a split's scenes, over decoded pixels, the same for any compression.

    The result is remembered in the user's cache folder under the names, sizes and times of the
    files, so that only the first call on a dataset decodes it.

    Args:
        scenes: All scenes of the split.
        workers: See :func:`~planetcr_bench.parallel.worker_count`.
        quiet: Show no progress.

    Returns:
        64 hexadecimal digits.

    Raises:
        DatasetError: See :func:`digest_scenes`.
    """
    memory = _memory(scenes)
    remembered = _recall(memory)
    if remembered is not None:
        return remembered
    digests = run_batches(digest_scenes, scenes, workers=workers)
    digests = track(digests, "Fingerprint of the dataset", len(scenes), quiet=quiet)
    fingerprint = split_fingerprint(digests)
    remember(memory, json.dumps({"fingerprint": fingerprint}).encode())
    return fingerprint


def _memory(scenes: Sequence[SceneFiles]) -> Path:
    """File that remembers a fingerprint, named after the state of all files of the scenes."""
    state = hashlib.sha256()
    for files in scenes:
        for product in PRODUCTS:
            path = files.path(product).resolve()
            status = path.stat()
            state.update(
                f"{path} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n".encode()
            )
    return cache_folder("fingerprints") / f"{state.hexdigest()}.json"


def _recall(memory: Path) -> str | None:
    try:
        fingerprint = json.loads(memory.read_text())["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return fingerprint if isinstance(fingerprint, str) and len(fingerprint) == 64 else None
