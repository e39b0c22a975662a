"""Compare statistics of simulated and real scenes.

Reads any datasets in the official layout; only aggregate figures of scenes leave it, never pixels.

    make calibrate REAL=path/to/PLANET_CR

prints a Markdown table and writes a figure of the same numbers. A real scene is "inside" where its
figure lies between the 5th and the 95th percentile of the simulated scenes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from planetcr_bench.constants import PRODUCTS
from planetcr_bench.data.discovery import find_splits
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_product
from planetcr_bench.data.scene_files import SceneFiles

BANDS = "BGRN"
SAR_NAMES = ("VV", "VH")


def statistics(files: SceneFiles) -> dict[str, float]:
    """All figures of one scene, by name; optical ones in digital numbers unless said."""
    pixels = {product: read_product(files, product).pixels for product in PRODUCTS}
    clear = pixels["clear"].astype(np.float64)
    cloudy = pixels["cloudy"].astype(np.float64)
    sar, mask = pixels["sar"].astype(np.float64), pixels["cloud_mask"]
    figures = clear_figures(clear) | sar_figures(sar, clear)
    return figures | cloudy_figures(cloudy, clear, mask)


def clear_figures(clear: np.ndarray) -> dict[str, float]:
    out = {f"clear mean {b}": clear[i].mean() for i, b in enumerate(BANDS)}
    out |= {f"clear std {b}": clear[i].std() for i, b in enumerate(BANDS)}
    correlation = np.corrcoef(clear.reshape(4, -1))
    for a, b in ("BG", "GR", "BN", "RN"):
        out[f"clear correlation {a}{b}"] = correlation[BANDS.index(a), BANDS.index(b)]
    for band in "BRN":
        image = clear[BANDS.index(band)]
        out[f"clear spectrum slope {band}"] = spectrum_slope(image, 4, 100)
    for band in "BRN":
        image = clear[BANDS.index(band)]
        out[f"clear spectrum slope, fine {band}"] = spectrum_slope(image, 30, 100)
    for band in "BRN":
        down, right = np.gradient(clear[BANDS.index(band)])
        out[f"clear gradient {band}"] = np.hypot(down, right).mean()
    return out


def cloudy_figures(cloudy: np.ndarray, clear: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    correlation = np.corrcoef(cloudy.reshape(4, -1))[0]
    out = {f"cloudy correlation B{b}": correlation[i] for i, b in enumerate(BANDS) if i}
    out |= {
        f"cloudy spectrum slope {b}": spectrum_slope(cloudy[BANDS.index(b)], 4, 100) for b in "BN"
    }
    for i, band in enumerate(BANDS):
        out[f"cloudy 99th percentile {band}"] = np.percentile(cloudy[i], 99)
    added = cloudy - clear
    for where, name in ((mask, "masked"), (~mask, "unmasked")):
        for i, band in enumerate(BANDS):
            out[f"cloudy − clear, {name} {band}"] = (
                np.median(added[i][where]) if where.any() else np.nan
            )
    out["mask cover [%]"] = 100 * mask.mean()
    out["masked with added blue < 800 [%]"] = (
        100 * (added[0][mask] < 800).mean() if mask.any() else np.nan
    )
    out["unmasked with added blue > 1000 [%]"] = (
        100 * (added[0][~mask] > 1000).mean() if (~mask).any() else np.nan
    )
    error = added / 1e4
    out["input MAE"] = np.abs(error).mean()
    out["input PSNR [dB]"] = -10 * np.log10((error**2).mean())
    norms = np.linalg.norm(cloudy, axis=0) * np.linalg.norm(clear, axis=0)
    angle = np.arccos(np.clip((cloudy * clear).sum(0) / norms, -1, 1))
    out["input SAM [°]"] = np.degrees(angle).mean()
    return out


def sar_figures(sar: np.ndarray, clear: np.ndarray) -> dict[str, float]:
    sar = np.where(np.isfinite(sar), sar, np.nanmean(sar))
    out = {f"SAR mean {n} [dB]": sar[i].mean() for i, n in enumerate(SAR_NAMES)}
    out |= {f"SAR std {n} [dB]": sar[i].std() for i, n in enumerate(SAR_NAMES)}
    for lag in (1, 2, 3):
        out[f"SAR speckle correlation, lag {lag}"] = speckle_correlation(sar[0], lag)
    out |= {f"SAR looks {n}": local_looks(sar[i]) for i, n in enumerate(SAR_NAMES)}
    high = sar - ndimage.gaussian_filter(sar, (0, 4, 4))
    out |= {f"SAR high-pass std {n} [dB]": high[i].std() for i, n in enumerate(SAR_NAMES)}
    out["SAR correlation VV–VH"] = np.corrcoef(sar.reshape(2, -1))[0, 1]
    out["SAR explained by optical (R²)"] = explained(sar[0], clear)
    out["SAR pixels with VV > 0"] = (sar[0] > 0).sum()
    out["SAR pixels with VH < −32.5"] = (sar[1] < -32.5).sum()
    return out


def spectrum_slope(image: np.ndarray, low: float, high: float) -> float:
    """Exponent of the radial power spectrum between two frequencies, cycles per patch."""
    side = image.shape[0]
    window = np.hanning(side)
    power = np.abs(np.fft.rfft2((image - image.mean()) * np.outer(window, window))) ** 2
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) * side
    edges = np.geomspace(low, high, 13)
    where = np.digitize(frequency, edges)
    means = np.array([power[where == i].mean() for i in range(1, 13)])
    centres = np.sqrt(edges[1:] * edges[:-1])
    return np.polyfit(np.log(centres), np.log(means), 1)[0]


def speckle_correlation(channel: np.ndarray, lag: int) -> float:
    """Correlation of neighbours in dB after the landscape, a mean of sigma 4 px, is taken off."""
    high = channel - ndimage.gaussian_filter(channel, 4)
    pairs = [(high[:, lag:], high[:, :-lag]), (high[lag:], high[:-lag])]
    return float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]))


def local_looks(channel: np.ndarray) -> float:
    """Equivalent number of looks: mean² / variance of 7 × 7 windows, the 80th percentile.

    Most windows hold more than speckle; the homogeneous ones, in which alone it is right, have
    the largest values.
    """
    windows = sliding_window_view(10 ** (channel / 10), (7, 7))[::3, ::3]
    return float(np.percentile(windows.mean((2, 3)) ** 2 / windows.var((2, 3)), 80))


def explained(channel: np.ndarray, clear: np.ndarray) -> float:
    """R² of smoothed VV on ten local optical features, at the best of the shifts up to 12 m."""
    target = ndimage.gaussian_filter(channel, 1.5)[4:-4, 4:-4].ravel()
    logs = np.log(np.maximum(clear, 1))
    vegetation = (clear[3] - clear[2]) / (clear[3] + clear[2])
    detail = np.abs(clear - ndimage.gaussian_filter(clear, (0, 2, 2)))
    layers = [*logs, vegetation, vegetation**2, *np.log(detail[[1, 3]] + 10), logs[3] ** 2]
    layers = [standard(ndimage.uniform_filter(layer, 11)) for layer in layers]
    best = 0.0
    for down in range(-4, 5, 2):
        for right in range(-4, 5, 2):
            rows = np.rint((np.arange(90) + 0.5) * 10 / 3 - 0.5).astype(int)
            y, x = np.clip(rows + down, 0, 299), np.clip(rows + right, 0, 299)
            features = [layer[np.ix_(y, x)][4:-4, 4:-4].ravel() for layer in layers]
            matrix = np.stack([np.ones_like(target), *features], 1)
            weights = np.linalg.solve(matrix.T @ matrix, matrix.T @ target)
            best = max(best, 1 - ((target - matrix @ weights) ** 2).mean() / target.var())
    return best


def standard(values: np.ndarray) -> np.ndarray:
    """Zero mean and unit variance."""
    return (values - values.mean()) / values.std()


# --- Report ---------------------------------------------------------------------------------


def scenes_of(data: Path, most: int) -> list[SceneFiles]:
    """Scenes of all splits, thinned evenly."""
    scenes = [files for split in find_splits(data) for files in find_scenes(data, split)]
    return scenes[:: max(1, len(scenes) // most)][:most]


def table(simulated: dict[str, np.ndarray], real: dict[str, dict[str, float]]) -> list[str]:
    names = list(real)
    lines = ["| Figure | " + " | ".join(names) + " | simulated 5 % | 50 % | 95 % | inside |"]
    lines.append("|:--|" + "--:|" * (len(names) + 4))
    total = inside = 0
    for figure, values in simulated.items():
        low, middle, high = np.nanpercentile(values, (5, 50, 95))
        held = [low <= real[name][figure] <= high for name in names]
        total, inside = total + len(held), inside + sum(held)
        cells = [text(real[name][figure]) for name in names] + list(map(text, (low, middle, high)))
        lines.append(f"| {figure} | {' | '.join(cells)} | {sum(held)} of {len(held)} |")
    if names:
        lines += ["", f"{inside} of {total} real figures lie inside."]
    return lines


def text(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def figure(simulated: dict[str, np.ndarray], real: dict[str, dict[str, float]]) -> Figure:
    """Where the real scenes lie among the simulated ones: ranks of every figure."""
    names = list(simulated)
    page = Figure((7, 0.155 * len(names) + 1.1), layout="constrained", dpi=150)
    axes = page.subplots()
    axes.axvspan(5, 95, color="#dddddd", lw=0)
    axes.axvline(50, color="white", lw=1)
    for (name, figures), marker, colour in zip(
        real.items(), "osD^v", ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"), strict=False
    ):
        ranks = [100 * rank(simulated[key], figures[key]) for key in names]
        axes.plot(ranks, range(len(names)), marker, color=colour, ms=4.5, label=name, clip_on=False)
    axes.set_yticks(range(len(names)), names, fontsize=6)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("percentile among the simulated scenes (grey: 5 to 95)", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=3, frameon=False, fontsize=7)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return page


def rank(values: np.ndarray, value: float) -> float:
    known = values[np.isfinite(values)]
    return ((known < value).mean() + (known <= value).mean()) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("simulated", type=Path, help="simulated dataset")
    parser.add_argument("--real", type=Path, help="real dataset, official layout")
    parser.add_argument("--most", type=int, default=200, help="scenes that are read of the first")
    parser.add_argument("--out", type=Path, help="PNG to write")
    options = parser.parse_args()
    rows = [statistics(files) for files in scenes_of(options.simulated, options.most)]
    simulated = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    real = {}
    if options.real:
        real = {f"real {f.split}": statistics(f) for f in scenes_of(options.real, 5)}
    print(f"{len(rows)} simulated scenes\n")
    print("\n".join(table(simulated, real)))
    if options.out:
        figure(simulated, real).savefig(options.out, metadata={"Software": None})


if __name__ == "__main__":
    main()
