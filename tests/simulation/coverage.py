"""How often 95 % intervals hold the truth, when patches of one AOI are alike.

Worlds are drawn whose true scores are known: AOIs differ in difficulty, patches within them less,
and AOIs have 15 to 35 patches. Run as ``python tests/simulation/coverage.py``; takes minutes.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.statistics import LEVEL, AoiSums, differences, estimate, weights

AOI_SPREAD, PATCH_SPREAD = 0.6, 0.4
"""Of the logarithm of the mean squared error, between AOIs and within one."""

VALUES = 360_000
MEAN_LOG = -6.0
METHOD_SPREAD = 0.2
"""Of the logarithm of two equal methods' ratio, between AOIs."""

Floats = NDArray[np.float64]


def pooled_psnr(sums: Floats) -> Floats:
    """Of squared errors and values, shape (..., 2)."""
    return -10 * np.log10(sums[..., 0] / sums[..., 1])


def mean(sums: Floats) -> Floats:
    """Of sums and counts, shape (..., 2)."""
    return sums[..., 0] / sums[..., 1]


TRUTH = {
    "MAE": np.exp(MEAN_LOG / 2 + (AOI_SPREAD**2 + PATCH_SPREAD**2) / 8),
    "PSNR, pixels": -10 * (MEAN_LOG + (AOI_SPREAD**2 + PATCH_SPREAD**2) / 2) / np.log(10),
    "PSNR, scene mean": -10 * MEAN_LOG / np.log(10),
}


@dataclass(frozen=True)
class World:
    """Patches of a drawn world: the AOI of each and the logarithm of its mean squared error."""

    aoi: NDArray[np.int64]
    log_error: Floats


def draw_world(rng: np.random.Generator, aois: int) -> World:
    """A world of so many AOIs."""
    aoi = np.repeat(np.arange(aois), rng.integers(15, 36, aois))
    level = rng.normal(0, AOI_SPREAD, aois)[aoi]
    return World(aoi, MEAN_LOG + level + rng.normal(0, PATCH_SPREAD, len(aoi)))


def score_sums(world: World, metric: str) -> tuple[Floats, object]:
    """Sums per patch of one score, shape (patches, 2), and the score of sums."""
    ones = np.ones(len(world.aoi))
    if metric == "MAE":
        return np.stack([np.exp(world.log_error / 2), ones], 1), mean
    if metric == "PSNR, pixels":
        return np.stack([np.exp(world.log_error), ones], 1) * VALUES, pooled_psnr
    return np.stack([-10 * world.log_error / np.log(10), ones], 1), mean


def aoi_level(world: World, metric: str) -> AoiSums:
    """Sums per AOI, as the benchmark resamples them."""
    patches, score = score_sums(world, metric)
    parts = np.zeros((world.aoi.max() + 1, 2))
    np.add.at(parts, world.aoi, patches)
    return AoiSums(tuple(map(str, range(len(parts)))), parts, score)


def patch_level(world: World, metric: str) -> AoiSums:
    """The mistake: every patch an independent place."""
    patches, score = score_sums(world, metric)
    return AoiSums(tuple(map(str, range(len(patches)))), patches, score)


def coverage(
    aois: int, metric: str, *, worlds: int, resamples: int, seed: int = 0
) -> tuple[float, float]:
    """Share of worlds whose interval holds the truth: resampling AOIs, and resampling patches."""
    rng = np.random.default_rng([seed, aois])
    drawn = weights(aois, resamples=resamples)
    hits = np.zeros(2)
    for _ in range(worlds):
        world = draw_world(rng, aois)
        patches = patch_level(world, metric)
        for way, (sums, chosen) in enumerate(
            [
                (aoi_level(world, metric), drawn),
                (patches, weights(len(patches.aois), resamples=min(resamples, 200), seed=1)),
            ]
        ):
            found = estimate(sums, chosen)
            hits[way] += found.low <= TRUTH[metric] <= found.high
    return float(hits[0] / worlds), float(hits[1] / worlds)


def false_alarms(aois: int, *, worlds: int, resamples: int, seed: int = 0) -> float:
    """Share of worlds in which two equally good methods are told apart in pooled PSNR."""
    rng = np.random.default_rng([seed, aois, 1])
    drawn = weights(aois, resamples=resamples)
    alarms = 0
    for _ in range(worlds):
        world = draw_world(rng, aois)
        runs = {}
        for name in "ab":
            own = rng.normal(0, METHOD_SPREAD, aois)[world.aoi]
            runs[name] = aoi_level(World(world.aoi, world.log_error + own), "PSNR, pixels")
        (pair,) = differences(runs, drawn)
        alarms += pair.p < LEVEL
    return alarms / worlds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=500)
    args = parser.parse_args()
    sizes = {"worlds": args.worlds, "resamples": args.resamples}
    print("| AOIs | score | resampling AOIs | resampling patches | false alarms, paired |")
    print("|--:|:--|--:|--:|--:|")
    for aois in (12, 30, 60, 120):
        alarms = false_alarms(aois, **sizes)
        for metric in TRUTH:
            ours, theirs = coverage(aois, metric, **sizes)
            last = f"{alarms:.1%}" if metric == "PSNR, pixels" else ""
            print(f"| {aois} | {metric} | {ours:.1%} | {theirs:.1%} | {last} |", flush=True)


if __name__ == "__main__":
    main()
