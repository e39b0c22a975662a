"""Measure the coverage of 95 % intervals and the rate of false positives between equal methods.

Worlds are drawn whose true scores are known: AOIs differ in difficulty, patches within them less,
and two methods that are equally good err differently in each AOI. Run as ``python
tests/simulation/interval_coverage.py``; takes minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.analysis.intervals import (
    LEVEL,
    RESAMPLES,
    AoiSums,
    estimate,
    segmenter_sums,
)
from planetcr_bench.analysis.significance import (
    differences,
)
from planetcr_bench.constants import LAND_COVER
from planetcr_bench.metrics.registry import METRICS

AOI_SPREAD, PATCH_SPREAD, METHOD_SPREAD = 0.6, 0.4, 0.2
"""Of the logarithm of the mean squared error: between AOIs, within one, and between two equal
methods' levels in one AOI."""

PATCHES = 25
"""Per AOI, on average."""

SIZE_SPREAD = 0.5
"""Of the logarithm of an AOI's patches where sizes differ."""

MANY = 100_000
"""AOIs of the world that tells the true scores."""

AOIS = (12, 30, 60, 120)

Floats = NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True)
class World:
    """AOIs of a drawn world, and two methods' patches in them.

    Attributes:
        patches: Of each AOI, shape (AOIs,).
        log_error: Of each patch's mean squared error, shape (2, patches).
        cover: Share of each class in each AOI, shape (AOIs, classes).
    """

    patches: NDArray[np.int64]
    log_error: Floats
    cover: Floats


def _equal(rng: Rng, aois: int) -> tuple[Floats, Floats]:
    return rng.normal(0, AOI_SPREAD, aois), np.ones(aois)


def _unequal(rng: Rng, aois: int) -> tuple[Floats, Floats]:
    return rng.normal(0, AOI_SPREAD, aois), np.exp(rng.normal(0, SIZE_SPREAD, aois))


def _heavy(rng: Rng, aois: int) -> tuple[Floats, Floats]:
    spread = np.where(rng.random(aois) < 0.15, 1.3, 0.4)  # as wide in all, kurtosis 9
    return rng.normal(0, spread), np.ones(aois)


def _rare(rng: Rng, aois: int) -> tuple[Floats, Floats]:
    hard = rng.random(aois) < 0.05  # squared errors of 20 times as much
    return rng.normal(0, AOI_SPREAD, aois) + 3 * hard, np.ones(aois)


def _tied(rng: Rng, aois: int) -> tuple[Floats, Floats]:
    common, own = rng.normal(size=(2, aois))
    size = SIZE_SPREAD * (0.7 * common + np.sqrt(1 - 0.7**2) * own)
    return AOI_SPREAD * common, np.exp(size)


WORLDS: dict[str, Callable[[Rng, int], tuple[Floats, Floats]]] = {
    "equal sizes": _equal,
    "unequal sizes": _unequal,
    "heavy tails": _heavy,
    "rare hard AOIs": _rare,
    "size tied to difficulty": _tied,
}
"""AOIs' levels of the logarithm of the squared error, and their relative sizes."""


def draw_world(kind: str, aois: int, rng: Rng) -> World:
    """A world of one of :data:`WORLDS`, of so many AOIs."""
    level, size = WORLDS[kind](rng, aois)
    even = np.exp(SIZE_SPREAD**2 / 2) if size.min() != size.max() else 1  # the mean of sizes
    patches = np.maximum(np.round(PATCHES * size / even), 1).astype(np.int64)
    levels = level + rng.normal(0, METHOD_SPREAD, (2, aois))
    log_error = np.repeat(levels, patches, axis=1)
    log_error += rng.normal(0, PATCH_SPREAD, log_error.shape[1])
    return World(patches, log_error, rng.dirichlet(np.full(len(LAND_COVER), 0.5), aois))


def _ratio(of: Callable[[Floats], Floats], **facts: object) -> Callable[[World, int], AoiSums]:
    """A mean over patches, and what to do with it."""

    def sums(world: World, method: int) -> AoiSums:
        return sums_of(of(world.log_error[method]), world.patches, **facts)

    return sums


def sums_of(
    values: Floats, patches: NDArray[np.int64], *, log: bool = False, decibels: bool = False
) -> AoiSums:
    """AOIs' sums of patches' values, patches of an AOI side by side."""
    top = np.add.reduceat(values, np.concatenate([[0], np.cumsum(patches)[:-1]]))
    parts = np.stack([top, patches], 1)
    metric = METRICS["psnr" if decibels else "mae"]
    names = tuple(map(str, range(len(patches))))
    return AoiSums(names, parts, lambda sums: metric.score(sums[..., 0], sums[..., 1]),
                   parts[:, 1], top, log)  # fmt: skip


def _miou(world: World, method: int) -> AoiSums:
    """Of a segmenter that classifies fewer pixels correctly where the error is large."""
    right = sums_of(1 / (1 + np.exp(0.8 * world.log_error[method] - 1.2)), world.patches).parts
    share = (right[:, 0] / right[:, 1])[:, None, None]
    classes = len(LAND_COVER)
    predicted = np.where(np.eye(classes), share, (1 - share) / (classes - 1))
    pixels = 90_000 * world.patches[:, None] * world.cover
    return segmenter_sums(map(str, range(len(pixels))), pixels[:, :, None] * predicted, "miou")


SCORES: dict[str, Callable[[World, int], AoiSums]] = {
    "MAE": _ratio(lambda log_error: 0.04 * np.exp(log_error / 2), log=True),
    "PSNR, pixels": _ratio(lambda log_error: 0.003 * np.exp(log_error), decibels=True),
    "PSNR, scene mean": _ratio(lambda log_error: 25 - 10 * log_error / np.log(10)),
    "SAM": _ratio(lambda log_error: 6 * np.exp(log_error / 2)),
    "SSIM": _ratio(lambda log_error: 1 / (1 + np.exp(log_error - 1.7))),
    "mIoU": _miou,
}
"""Each from a world and one of its two methods, found as the benchmark finds it."""


@cache
def truths(kind: str, many: int = MANY) -> dict[str, float]:
    """Scores of a very large world."""
    world = draw_world(kind, many, np.random.default_rng(1))
    return {score: sums(world, 0).value for score, sums in SCORES.items()}


@dataclass(frozen=True)
class Rates:
    """Shares of worlds.

    Attributes:
        page: Whose interval by Student's t alone, as on the leaderboard's page, holds the truth.
        compare: Whose widened interval does, as ``compare`` prints it.
        alarms: Worlds in which two equally good methods are found to be different.
    """

    page: float
    compare: float
    alarms: float


def rates(
    kind: str, aois: int, *, worlds: int, resamples: int = RESAMPLES, many: int = MANY
) -> dict[str, Rates]:
    """What :class:`Rates` says of every score."""
    rng = np.random.default_rng([0, aois])
    true = truths(kind, many)
    counts = {score: np.zeros(3) for score in SCORES}
    for _ in range(worlds):
        world = draw_world(kind, aois, rng)
        for score, sums in SCORES.items():
            first, second = sums(world, 0), sums(world, 1)
            held = holds(first, true[score])
            wider = held or holds(first, true[score], resamples=resamples)  # never narrower
            (pair,) = differences({"one": first, "other": second})
            counts[score] += held, wider, pair.p < LEVEL
    return {score: Rates(*map(float, count / worlds)) for score, count in counts.items()}


def holds(sums: AoiSums, truth: float, *, resamples: int = 0) -> bool:
    """Whether the interval holds the truth."""
    result = estimate(sums, resamples=resamples)
    return result.low <= truth <= result.high


def patches_as_places(aois: int, *, worlds: int, many: int = MANY) -> float:
    """Coverage if patches are treated as independent: MAE of equal sizes."""
    rng = np.random.default_rng([2, aois])
    true, hits = truths("equal sizes", many)["MAE"], 0
    for _ in range(worlds):
        world = draw_world("equal sizes", aois, rng)
        errors = 0.04 * np.exp(world.log_error[0] / 2)
        hits += holds(sums_of(errors, np.ones(len(errors), np.int64), log=True), true)
    return hits / worlds


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=1000)
    args = parser.parse_args()
    results = {
        (kind, aois): rates(kind, aois, worlds=args.worlds) for kind in WORLDS for aois in AOIS
    }
    print(f"Coverage of 95 % intervals [%], {args.worlds} repetitions: page / compare\n")
    _print(results, lambda scored: f"{100 * scored.page:.1f} / {100 * scored.compare:.1f}")
    print("\nFalse positives at 5 % [%], between equally good methods, of as many pairs\n")
    _print(results, lambda scored: f"{100 * scored.alarms:.1f}")
    mistake = patches_as_places(30, worlds=args.worlds)
    print(f"\nMAE, equal sizes, 30 AOIs, patches treated as independent: coverage {mistake:.1%}")


def _print(results: dict[tuple[str, int], dict[str, Rates]], cell: Callable[[Rates], str]) -> None:
    print(f"| Scenario | AOIs | {' | '.join(SCORES)} |\n|:--|--:|{'--:|' * len(SCORES)}")
    for (kind, aois), scored in results.items():
        print(f"| {kind} | {aois} | {' | '.join(cell(scored[score]) for score in SCORES)} |")


if __name__ == "__main__":
    main()
