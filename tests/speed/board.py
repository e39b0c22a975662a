"""Time the board of 50 methods at real size: building it, and opening it in Chromium.

Ledgers are made up: 3,000 scenes of 120 AOIs. Run as ``PYTHONPATH=tests/bench python
tests/speed/board.py``; needs chromium and the package playwright.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from ledgers import make_ledger
from planetcr_bench.leaderboard.entries import Entry
from planetcr_bench.leaderboard.page import write_board
from planetcr_bench.results.ledger import Ledger

SUMS = ["absolute_error", "squared_error", "angle_deg", "ssim"]


def make_entries(methods: int, scenes: int) -> list[Entry]:
    """Methods whose errors differ by a factor and by noise of a hundredth."""
    base = make_ledger("m", scenes=scenes, segmenters=("j1",))
    aoi = "summer_" + (base.frame["patch"] // 25).astype(str)
    base = replace(base, frame=base.frame.assign(aoi=aoi))
    entries = []
    for number in range(methods):
        rng = np.random.default_rng(number)
        frame = base.frame.assign(prediction_sha256=f"{number:064x}")
        for name in SUMS:
            frame[name] *= (1 + 0.01 * number) * rng.normal(1, 0.01, len(frame))
        facts = {**base.provenance, "name": f"method {number}"}
        entries.append(Entry(f"fake/{number}", Ledger(frame, facts), dict(facts), None, "claimed"))
    return entries


def opening(page_file: Path) -> list[tuple[float, float]]:
    """Seconds to the first paint, and to a table and charts that can be read, three times."""
    program = shutil.which("chromium")
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=program, args=["--no-sandbox"])
        seconds = []
        for protocol in ("official", "full", "full"):
            page = browser.new_page()
            page.goto(f"{page_file.as_uri()}#track=fake&protocol={protocol}")
            page.wait_for_function("performance.getEntriesByName('shown').length")
            painted, shown = page.evaluate(
                """['first-contentful-paint', 'shown']
                  .map((name) => performance.getEntriesByName(name)[0].startTime / 1000)"""
            )
            seconds.append((painted, shown))
            start = time.perf_counter()
            page.select_option("#land_cover", "water")
            print(f"  filter on {protocol}: {time.perf_counter() - start:.2f} s")
            page.close()
        browser.close()
    return seconds


def main() -> None:
    """Build, open, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", type=int, default=50)
    parser.add_argument("--scenes", type=int, default=3000)
    args = parser.parse_args()
    entries = make_entries(args.methods, args.scenes)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_board(Path(folder), entries)
        built = time.perf_counter() - start
        page = Path(folder, "index.html")
        size = page.stat().st_size / 1e6
        print(f"{args.methods} methods, {args.scenes} scenes: {built:.0f} s, {size:.1f} MB")
        for painted, shown in opening(page):
            print(f"first paint after {painted:.2f} s, all of it after {shown:.2f} s")


if __name__ == "__main__":
    main()
