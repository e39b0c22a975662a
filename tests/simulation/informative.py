"""Measure what SAR adds under thick cloud, and whether anything leaks the ground truth.

Fits one regression per set of inputs on pixels under thick cloud of training AOIs, and scores it on
test AOIs that share nothing with them: boosted trees on inputs of unit variance. Prints one
Markdown table per preset and one about leaks, over several seeds.

    make informative
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingRegressor

from planetcr_bench.data.scene import nearest_index
from planetcr_bench.simulation.place import TRAIN_AOIS, Place
from planetcr_bench.simulation.radar import sar_image
from planetcr_bench.simulation.scene import Quartet, Truth, quartet_of, truth_of
from planetcr_bench.simulation.surface import surface_of
from planetcr_bench.simulation.survey import survey_of

THICK = 9.0
"""Optical thickness from which a cloud counts as thick: it sends back 40 % of the light."""

OPAQUE = 20.0
PER_SCENE = 200
RADII_PX = (10, 30, 90)
SAR_SIGMAS = (0.7, 1.5, 4.0)
BANDS = "BGRN"
VARIANTS = {
    "surroundings only": ("around",),
    "optical: cloudy pixel and surroundings": ("optical",),
    "+ SAR as delivered": ("optical", "delivered"),
    "+ SAR at its true place": ("optical", "aligned"),
    "+ SAR of another scene (control)": ("optical", "foreign"),
}


@dataclass(frozen=True)
class Samples:
    """Pixels under thick cloud: inputs by name, each (n, features); targets (n, 4)."""

    inputs: dict[str, np.ndarray]
    target: np.ndarray
    border: np.ndarray


def samples_of(place: Place, rank: int) -> Samples | None:
    """Draw pixels under thick cloud from one scene; None where it has too few."""
    survey = survey_of(place)
    patch = survey.patches[rank]
    quartet, truth = quartet_of(survey, patch), truth_of(place, patch)
    thick = np.flatnonzero(truth.cloud_thickness > THICK)
    if thick.size < PER_SCENE or (~quartet.cloud_mask).mean() < 0.05:
        return None
    rng = np.random.default_rng([place.seed, place.number, patch])
    pixels = np.unravel_index(rng.choice(thick, PER_SCENE, replace=False), (300, 300))
    other = survey_of(Place(place.seed, place.number % TRAIN_AOIS + 1))
    foreign = sar_image(surface_of(other, patch))
    optical = optical_inputs(quartet)[:, *pixels].T
    border = ndimage.maximum_filter(truth.codes, 7) != ndimage.minimum_filter(truth.codes, 7)
    return Samples(
        {
            "around": optical[:, 4:],
            "optical": optical,
            "delivered": sar_inputs(quartet.sar, quartet.cloud_mask, None)[:, *pixels].T,
            "aligned": sar_inputs(quartet.sar, quartet.cloud_mask, truth)[:, *pixels].T,
            "foreign": sar_inputs(foreign, quartet.cloud_mask, None)[:, *pixels].T,
        },
        quartet.clear[:, *pixels].T / 1e4,
        border[pixels],
    )


def optical_inputs(quartet: Quartet) -> np.ndarray:
    """The cloudy bands, and means of the visible pixels around at three scales, (n, 300, 300)."""
    cloudy = quartet.cloudy / 1e4
    seen = (~quartet.cloud_mask).astype(float)
    layers = list(cloudy)
    for radius in RADII_PX:
        share = ndimage.uniform_filter(seen, 2 * radius + 1, mode="constant")
        layers.append(share)
        for band in cloudy:
            total = ndimage.uniform_filter(band * seen, 2 * radius + 1, mode="constant")
            mean = band[seen > 0].mean()
            layers.append((total + 1e-3 * mean) / (share + 1e-3))
    return np.stack(layers)


def sar_inputs(sar: np.ndarray, mask: np.ndarray, truth: Truth | None) -> np.ndarray:
    """Smoothed VV and VH relative to where the ground is visible, (6, 300, 300).

    With the truth, each pixel looks where SAR really shows its ground.
    """
    index = nearest_index(300, 90)
    seen = ~mask
    layers = []
    for channel in sar:
        for sigma in SAR_SIGMAS:
            smooth = ndimage.gaussian_filter(channel, sigma)
            if truth is None:
                fine = smooth[index[:, None], index]
            else:
                rows, columns = np.indices((300, 300)) + 0.5 + truth.displacement_m / 3
                places = [rows * 0.3 - 0.5, columns * 0.3 - 0.5]
                fine = ndimage.map_coordinates(smooth, places, order=0, mode="nearest")
            layers.append(fine - fine[seen].mean())
    return np.stack(layers)


# --- Regression -----------------------------------------------------------------------------


def collect(seed: int, preset: str, numbers: Iterable[int]) -> Samples:
    """Samples of five scenes of each AOI, one in each cloud-cover bin."""
    draws = [
        samples_of(Place(seed, number, preset), rank) for number in numbers for rank in range(5)
    ]
    kept = [draw for draw in draws if draw is not None]
    return Samples(
        {
            name: np.concatenate([samples.inputs[name] for samples in kept])
            for name in kept[0].inputs
        },
        np.concatenate([samples.target for samples in kept]),
        np.concatenate([samples.border for samples in kept]),
    )


def fit_and_answer(train: np.ndarray, target: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Boosted trees for each band, on inputs of unit variance; answers for the test inputs."""
    mean, std = train.mean(0), train.std(0) + 1e-9
    first, second = (train - mean) / std, (test - mean) / std
    trees = HistGradientBoostingRegressor(
        max_iter=200, learning_rate=0.06, max_leaf_nodes=15, min_samples_leaf=200,
        l2_regularization=1.0, early_stopping=False, random_state=0,
    )  # fmt: skip
    return np.stack([trees.fit(first, band).predict(second) for band in target.T], 1)


def scores(train: Samples, test: Samples, names: tuple[str, ...]) -> np.ndarray:
    """MAE and R² of B, G, R, N; then the R² of red and of NIR within 10 m of a class border."""
    stack = partial(np.concatenate, axis=1)
    answer = fit_and_answer(
        stack([train.inputs[name] for name in names]), train.target,
        stack([test.inputs[name] for name in names]),
    )  # fmt: skip
    error = answer - test.target
    at_border = explained(error[test.border], test.target[test.border])[2:]
    return np.concatenate([np.abs(error).mean(0), explained(error, test.target), at_border])


def explained(error: np.ndarray, target: np.ndarray) -> np.ndarray:
    return 1 - (error**2).mean(0) / target.var(0)


def one_seed(task: tuple[int, str, int]) -> dict[str, np.ndarray]:
    seed, preset, aois = task
    train = collect(seed, preset, range(1, aois + 1))
    test = collect(seed, preset, range(661, 661 + aois // 2))
    return {name: scores(train, test, inputs) for name, inputs in VARIANTS.items()}


# --- Leaks ----------------------------------------------------------------------------------


def leaks_of(seed: int, aois: int) -> dict[str, float]:
    """How much of the hidden pixels the cloudy image holds under opaque cloud, as R²."""
    details: dict[str, list[np.ndarray]] = {"opaque": [], "visible": []}
    for number in range(1, aois + 1):
        place = Place(seed, number)
        survey = survey_of(place)
        for patch in survey.patches[:5]:
            quartet, truth = quartet_of(survey, patch), truth_of(place, patch)
            clear, cloudy = (
                image / 1e4 - ndimage.gaussian_filter(image / 1e4, (0, 3, 3))
                for image in (quartet.clear, quartet.cloudy)
            )
            depth = ndimage.minimum_filter(truth.cloud_thickness, 15)
            height = ndimage.maximum_filter(truth.cloud_thickness, 15)
            for name, where in (("opaque", depth > OPAQUE), ("visible", height < 0.1)):
                if where.sum() > 500:
                    both = np.concatenate([cloudy[:, where], clear[:, where]]).T
                    details[name].append(both[:: max(1, len(both) // 2000)])
    out = {}
    for name, parts in details.items():
        half = len(parts) // 2
        train, test = np.concatenate(parts[:half]), np.concatenate(parts[half:])
        answer = fit_and_answer(train[:, :4], train[:, 4:], test[:, :4])
        for band, value in zip(BANDS, explained(answer - test[:, 4:], test[:, 4:]), strict=True):
            out[f"{name} {band}"] = float(value)
    return out


# --- Report ---------------------------------------------------------------------------------


def report(preset: str, results: list[dict[str, np.ndarray]]) -> None:
    print(f"\n**{preset}**: mean and standard deviation over {len(results)} seeds\n")
    heads = [*(f"MAE {b} ×10⁴" for b in BANDS), *(f"R² {b}" for b in BANDS)]
    heads += ["R² R at borders", "R² N at borders"]
    print("| Inputs | " + " | ".join(heads) + " |")
    print("|:--|" + "--:|" * len(heads))
    for name in VARIANTS:
        values = np.array([result[name] for result in results])
        values[:, :4] *= 1e4
        cells = [
            f"{m:.0f} ± {s:.0f}" if i < 4 else f"{m:.3f} ± {s:.3f}"
            for i, (m, s) in enumerate(zip(values.mean(0), values.std(0, ddof=1), strict=True))
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    gain = [r["+ SAR at its true place"] - r["+ SAR as delivered"] for r in results]
    red, nir = np.array(gain)[:, [6, 7]].T
    print(f"\nTrue place minus as delivered, R² per seed: red {red.round(4)}, NIR {nir.round(4)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aois", type=int, default=100, help="training AOIs; half as many to test")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    seeds = range(options.seeds)
    with ProcessPoolExecutor(options.workers) as pool:
        for preset in ("standard", "misaligned"):
            tasks = [(seed, preset, options.aois) for seed in seeds]
            report(preset, list(pool.map(one_seed, tasks)))
        leaks = list(pool.map(partial(leaks_of, aois=options.aois // 2), seeds))
    print("\n**Leaks**: R² of the clear image's detail (3 px high-pass) from the cloudy one's\n")
    print("| Seed | " + " | ".join(leaks[0]) + " |\n|:--|" + "--:|" * len(leaks[0]))
    for seed, row in zip(seeds, leaks, strict=True):
        print(f"| {seed} | " + " | ".join(f"{value:.3f}" for value in row.values()) + " |")


if __name__ == "__main__":
    main()
