"""Time the reading of training crops, from files and from a cache.

Random 160 × 160 crops of random simulated scenes, the same for both, side by side in one run: cold,
each scene once after the system was asked to forget the files, and warm, when all of them lie in
memory. A disk with a memory of its own, as in a virtual machine, is never quite cold.

    .venv/bin/python tests/speed/loader.py
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from planetcr_bench.constants import PRODUCTS
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.patch_cache import CachedPatches, build_cache
from planetcr_bench.data.patches import FilePatches
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.simulation.writer import simulate
from planetcr_bench.utils.parallel import start_worker

Window = tuple[int, int, int]
SIZE = 160


def forget(paths: Sequence[Path]) -> None:
    """Ask the system to drop its copy of the files in memory; it drops what nobody has mapped."""
    for path in paths:
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def windows(rng: np.random.Generator, order: np.ndarray) -> list[Window]:
    corners = 10 * rng.integers(0, (300 - SIZE) // 10 + 1, (len(order), 2))
    return [
        (int(index), int(top), int(left)) for index, (top, left) in zip(order, corners, strict=True)
    ]


def crops_per_second(patches: FilePatches | CachedPatches, some: Sequence[Window]) -> float:
    start = time.perf_counter()
    for index, top, left in some:
        patches.read(index, top=top, left=left, size=SIZE)
    return len(some) / (time.perf_counter() - start)


def measure(scenes: Sequence[SceneFiles], folder: Path, crops: int, repeats: int) -> None:
    rng = np.random.default_rng(0)
    files = FilePatches(scenes)
    start = time.perf_counter()
    cache = build_cache(scenes, folder, name="train", quiet=True)
    seconds = time.perf_counter() - start
    size = cache.path.stat().st_size
    stored = [scene.path(product) for scene in scenes for product in PRODUCTS]
    stored_size = sum(path.stat().st_size for path in stored)
    print(f"{len(scenes)} scenes: files {stored_size / 1e6:.0f} MB, cache {size / 1e6:.0f} MB,")
    print(f"fingerprinted and cached in {seconds:.1f} s by {os.cpu_count()} cores")
    rates: dict[str, list[tuple[float, float]]] = {"cold": [], "warm": []}
    for _ in range(repeats):
        once = windows(rng, rng.permutation(len(scenes)))
        many = windows(rng, rng.integers(0, len(scenes), crops))
        cache = CachedPatches(cache.path, cache.fingerprint)  # the map before holds its pages
        len(cache)  # opens it: the words of the cache count for nothing in an epoch
        forget([*stored, cache.path])
        cold = crops_per_second(files, once), crops_per_second(cache, once)
        rates["cold"].append(cold)
        for patches in (files, cache):
            crops_per_second(patches, windows(rng, np.arange(len(scenes))))
        rates["warm"].append((crops_per_second(files, many), crops_per_second(cache, many)))
    print(f"\n{SIZE} × {SIZE} crops per second of one process, medians of {repeats}")
    print("        files      cache     ratio")
    for state, pairs in rates.items():
        slow, fast = np.median(pairs, axis=0)
        print(f"{state:5s}{slow:8.0f}{fast:10.0f}{fast / slow:10.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--size", choices=["tiny", "demo"], default="demo")
    parser.add_argument("--crops", type=int, default=400, help="warm ones, of each")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    start_worker()  # as in processes that read: memory that is freed is kept
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        simulate(folder / "data", size=options.size)
        scenes = find_scenes(folder / "data", "train")
        measure(scenes, folder / "cache", options.crops, options.repeats)


if __name__ == "__main__":
    main()
