"""How long do intervals and paired differences take? Of ledgers alone, at the real size.

Ledgers are made up: 3,000 scenes in 120 AOIs. Set beside a plain loop that puts the rows of drawn
AOIs together and scores them.

    make speed
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import pandas as pd
from stopwatch import seconds

from ledgers import make_ledger
from planetcr_bench.ledger import Ledger
from planetcr_bench.protocols import PROTOCOLS, Protocol
from planetcr_bench.statistics import RESAMPLES, aoi_sums, standings, weights
from planetcr_bench.tables import METRICS, score_groups

NEXT_COPY = 1_000_000
"""Added to the number of a patch for each time that its AOI was drawn again."""


def full_ledger(name: str, *, scenes: int, aois: int, seed: int) -> Ledger:
    """A made-up run over as many AOIs as the real test split has."""
    run = make_ledger(name, scenes=scenes, seed=seed)
    aoi = "summer_" + (run.frame["patch"] * aois // scenes).astype(str)
    return replace(run, frame=run.frame.assign(aoi=aoi.astype("category")))


def plain_loop(run: Ledger, protocol: Protocol, resamples: int) -> list[pd.Series]:
    """All four scores of resamples, each of the rows of drawn AOIs, copy by copy."""
    names = aoi_sums(run, protocol, METRICS[0]).aois
    own = dict(list(run.frame.groupby("aoi", observed=True)))
    found = []
    for often in weights(len(names), resamples=resamples):
        rows = [
            own[name].assign(scene=own[name]["patch"] + copy * NEXT_COPY)
            for name, times in zip(names, often, strict=True)
            for copy in range(int(times))
        ]
        found.append(score_groups(pd.concat(rows), protocol).iloc[0])
    return found


def main() -> None:
    """Print a line per protocol and task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=3000)
    parser.add_argument("--aois", type=int, default=120)
    parser.add_argument("--loops", type=int, default=20, help="resamples of the plain loop")
    args = parser.parse_args()
    sizes = {"scenes": args.scenes, "aois": args.aois}
    runs = [full_ledger(name, seed=seed, **sizes) for seed, name in enumerate("ab")]
    rows = len(runs[0].frame)
    print(f"{RESAMPLES} resamples of {args.aois} AOIs, {args.scenes} scenes, {rows} ledger rows")
    drawing = seconds(lambda: weights(args.aois))
    print(f"  draw the weights                             {drawing:8.2f} s")
    for protocol in PROTOCOLS.values():
        one = seconds(lambda protocol=protocol: standings(runs[:1], protocol))
        two = seconds(lambda protocol=protocol: standings(runs, protocol))
        start = time.perf_counter()
        plain_loop(runs[0], protocol, args.loops)
        loop = (time.perf_counter() - start) * RESAMPLES / args.loops
        print(f"protocol {protocol.name}, all four scores")
        print(f"  one run, intervals                           {one:8.2f} s")
        print(f"  two runs, intervals and their difference     {two:8.2f} s")
        print(f"  one run, rows of drawn AOIs put together     {loop:8.0f} s (from {args.loops})")
        print(f"  weights × sums / rows put together:          {loop / one:8.0f} × faster")


if __name__ == "__main__":
    main()
