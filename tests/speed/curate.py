"""Time `curate`, in patches per second, and measure its memory over the number of AOIs.

::

    python tests/speed/curate.py [--aois 8] [--side 12] [--workers 2]

Whole simulated AOIs are written first, which is not counted. One process then curates a quarter of
them and all of them: CPU time per patch and peak memory. At last so many processes as named do it
again, for the rate. Start-up is part of all figures. Patches per AOI are those of the paper: 91 for
training, 25 for testing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from planetcr_bench.simulation.areas import simulate_areas


def run(table: Path, out: Path, workers: int) -> tuple[int, float, float, float]:
    """Curate; patches, seconds, CPU seconds and peak memory in MiB."""
    command = [sys.executable, "-m", "planetcr_bench", "curate", table, "--out", out,
               "--workers", workers, "--min-distance", 0, "--json"]  # fmt: skip
    start = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    assert status == 0, printed
    facts = json.loads(printed)
    return (facts["train"] + facts["test"], seconds, usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / 1024)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aois", type=int, default=8)
    parser.add_argument("--side", type=int, default=12, help="patches along a side of an AOI")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="for the AOIs, kept; by default a temporary")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name) / "aois"
        for count in (max(2, options.aois // 4), options.aois):
            table = simulate_areas(folder, aois=count, side=options.side, quiet=True)
            patches, seconds, cpu, memory = run(table, Path(name) / f"{count}", 0)
            print(f"{count} AOIs, {patches} patches, one process: {patches / seconds:.1f} a second,"
                  f" {1e3 * cpu / patches:.1f} ms of CPU each, {memory:.0f} MiB")  # fmt: skip
        patches, seconds, _, _ = run(table, Path(name) / "again", options.workers)
        print(f"{options.aois} AOIs, {options.workers} processes: {patches / seconds:.1f} patches a"
              " second")  # fmt: skip


if __name__ == "__main__":
    main()
