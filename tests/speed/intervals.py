"""Time intervals and paired differences of ledgers at real size.

Ledgers are made up: 3,000 scenes in 120 AOIs. Set beside a plain loop that puts the rows of all
AOIs but one together and scores them, which is the jackknife alone.

    make speed
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import pandas as pd
from stopwatch import seconds

from ledgers import make_ledger
from planetcr_bench.analysis.intervals import (
    RESAMPLES,
)
from planetcr_bench.analysis.significance import (
    metric_comparisons,
)
from planetcr_bench.metrics.protocols import PROTOCOLS, Protocol
from planetcr_bench.results.aggregate import score_groups
from planetcr_bench.results.ledger import Ledger

SEGMENTER = "aaaaaaaa"


def full_ledger(name: str, *, scenes: int, aois: int, seed: int) -> Ledger:
    """A made-up run over as many AOIs as the real test split has."""
    run = make_ledger(name, scenes=scenes, seed=seed, segmenters=(SEGMENTER,))
    aoi = "summer_" + (run.frame["patch"] * aois // scenes).astype(str)
    return replace(run, frame=run.frame.assign(aoi=aoi.astype("category")))


def plain_loop(run: Ledger, protocol: Protocol, loops: int) -> list[pd.Series]:
    """All four scores of the rows of all AOIs but one, for the first few AOIs."""
    aois = run.frame["aoi"].astype(str)
    return [score_groups(run.frame[aois != aoi], protocol).iloc[0] for aoi in aois.unique()[:loops]]


def main() -> None:
    """Print a line per protocol and task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=3000)
    parser.add_argument("--aois", type=int, default=120)
    parser.add_argument("--loops", type=int, default=20, help="AOIs of the plain loop")
    args = parser.parse_args()
    sizes = {"scenes": args.scenes, "aois": args.aois}
    runs = [full_ledger(name, seed=seed, **sizes) for seed, name in enumerate("ab")]
    rows = len(runs[0].frame)
    print(f"{args.aois} AOIs, {args.scenes} scenes, {rows} ledger rows, one segmenter")
    for protocol in PROTOCOLS.values():
        alone = seconds(
            lambda protocol=protocol: metric_comparisons(runs[:1], protocol, resamples=0), 3
        )
        wide = seconds(lambda protocol=protocol: metric_comparisons(runs[:1], protocol), 3)
        two = seconds(lambda protocol=protocol: metric_comparisons(runs, protocol), 3)
        start = time.perf_counter()
        plain_loop(runs[0], protocol, args.loops)
        loop = (time.perf_counter() - start) * args.aois / args.loops
        print(f"protocol {protocol.name}, all four scores, mIoU and PA")
        print(f"  one run, intervals by Student's t            {alone:8.2f} s")
        print(f"  one run, widened by {RESAMPLES} resamples           {wide:8.2f} s")
        print(f"  two runs, widened, and their differences     {two:8.2f} s")
        print(f"  one run, four scores, rows put together      {loop:8.1f} s (from {args.loops})")
        print(f"  rows put together / sums taken away:         {loop / alone:8.0f} × faster")


if __name__ == "__main__":
    main()
