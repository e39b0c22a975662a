"""Restore the mosaic of a simulated AOI, whose answer is known, and measure seams and memory.

::

    PYTHONPATH=tests/bench python tests/simulation/mosaic.py --out build/mosaic [--method dsen2_cr]

An AOI of ``sim-v1`` is 3,600 × 3,600 pixels, 144 patches without gaps. This script writes
both dates, restores the cloudy one by ``planetcr-bench restore``, and prints

- the PSNR of the mosaic, and that of its patches restored one by one (protocol ``full``);
- the mean step between neighbouring pixels where tiles are blended, as a share of that elsewhere,
  in the restored and in the clear mosaic: a seam would raise the first alone;
- the peak memory of the command and its time for scenes of growing size, the last as large as a
  strip of 25,000 × 10,000 pixels, by a network that looks at no SAR.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from orders import write_image, write_udm2
from planetcr_bench.simulation.place import TRAIN_AOIS, WINDOWS, Place
from planetcr_bench.simulation.scene import Quartet, quartet_of
from planetcr_bench.simulation.survey import survey_of
from planetcr_models import create_model
from planetcr_models.inference import TileAxis, restore_batch

SIDE = 300
TILE, OVERLAP = 512, 96
SIZES = ((2_500, 1_000), (5_000, 4_000), (10_000, 8_000), (25_000, 10_000))
PEAK = """
import resource, sys
from planetcr_bench.cli import main
sys.argv = sys.argv[1:]
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MiB", file=sys.stderr)
"""


def main() -> None:
    """Make the mosaic, restore it, print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--method", default="dsen2_cr")
    parser.add_argument("--weights", default="sim-v1-small")
    parser.add_argument("--sizes", type=int, default=len(SIZES), help="of scenes for memory")
    options = parser.parse_args()
    out: Path = options.out
    quartets = patches()
    scene, clear, mask, sar = write_mosaics(out, quartets)
    done = command(
        "restore", scene, "--udm", mask, "--sar", sar, "--reference", clear,
        "--method", options.method, "--weights", options.weights, "--out", out / "restored",
        "--tile", TILE, "--overlap", OVERLAP, "--overwrite", "--json",
    )  # fmt: skip
    entry = json.loads(done)[0]
    print(f"mosaic, by restore:    {entry['scores']['overall']['psnr'][0]:.3f} dB "
          f"(input {entry['scores']['overall']['psnr'][1]:.3f})")  # fmt: skip
    print(f"patches, one by one:   {patch_psnr(quartets, options.method, options.weights):.3f} dB")
    axis = TileAxis.of(SIDE * WINDOWS, TILE, OVERLAP, multiple=1, margin=OVERLAP * 3 // 8)
    for name, path in (("restored", Path(entry["restored"])), ("clear", clear)):
        print(
            f"step at the borders of tiles, {name}: {step_at_borders(path, axis):.3f} of elsewhere"
        )
    for height, width in SIZES[: options.sizes]:
        began = time.monotonic()
        peak = peak_memory(out, height, width)
        print(f"{height} × {width} pixels: at most {peak} MiB, {time.monotonic() - began:.0f} s")


def patches() -> list[Quartet]:
    """All patches of an AOI, row by row."""
    survey = survey_of(Place(0, TRAIN_AOIS + 1))
    return [quartet_of(survey, patch) for patch in range(1, WINDOWS**2 + 1)]


def mosaic(parts: list[np.ndarray]) -> np.ndarray:
    """Patches of shape (bands, side, side), row by row, as one image."""
    rows = [np.concatenate(parts[at : at + WINDOWS], -1) for at in range(0, len(parts), WINDOWS)]
    return np.concatenate(rows, -2)


def write_mosaics(out: Path, quartets: list[Quartet]) -> tuple[Path, Path, Path, Path]:
    """Write both dates, the mask and SAR."""
    name = "20220614_101530_11_2415_3B_AnalyticMS_SR"
    scene = write_image(out / f"{name}.tif", mosaic([each.cloudy for each in quartets]))
    clear = write_image(out / "clear" / f"{name}.tif", mosaic([each.clear for each in quartets]))
    mask = write_udm2(out, mosaic([each.cloud_mask for each in quartets]))
    sar = write_image(
        out / "s1.tif", mosaic([each.sar for each in quartets]).astype(np.float32), nodata=None,
        transform=Affine(10, 0, 500_001, 0, -10, 5_400_000),
    )  # fmt: skip
    return scene, clear, mask, sar


def patch_psnr(quartets: list[Quartet], method: str, weights: str) -> float:
    """Peak signal-to-noise ratio of all patches, restored one by one."""
    model = create_model(method, pretrained=weights)
    low, high = np.array([[-25, -32.5], [0, 0]], np.float32)[:, :, None, None]
    squared, values = 0.0, 0
    for each in quartets:
        cloudy = np.clip(each.cloudy.astype(np.float32) / 10_000, 0, 1)
        sar = (np.clip(each.sar.astype(np.float32), low, high) - low) / (high - low)
        restored = restore_batch(model, cloudy[None], sar[None])[0]
        squared += float(np.square(restored - each.clear / 10_000).sum())
        values += each.clear.size
    return -10 * np.log10(squared / values)


def step_at_borders(path: Path, axis: TileAxis) -> float:
    """Mean step where two tiles have equal weight, as a share of the mean step elsewhere."""
    with rasterio.open(path) as image:
        values = image.read().astype(np.float32)
    border = np.zeros(values.shape[-1] - 1, bool)
    for tile, start in enumerate(axis.starts[1:], 1):
        middle = (start + axis.starts[tile - 1] + axis.side) // 2 - axis.before
        border[middle - 12 : middle + 12] = True  # the quarter in which tiles are blended
    across = np.abs(np.diff(values, axis=2)).mean((0, 1))
    down = np.abs(np.diff(values, axis=1)).mean((0, 2))
    return float((across[border].mean() + down[border].mean())
                 / (across[~border].mean() + down[~border].mean()))  # fmt: skip


def peak_memory(out: Path, height: int, width: int) -> int:
    """MiB that the command needs at most for a scene of this size."""
    rng = np.random.default_rng(0)
    part = rng.integers(1, 3000, (4, 500, 500), np.uint16)
    scene = write_image(out / f"{height}_SR.tif", np.tile(part, (1, height // 500, width // 500)))
    run = subprocess.run(
        [sys.executable, "-c", PEAK, "planetcr-bench", "restore", scene, "--method", "dsen2_cr",
         "--weights", "sim-v1-small-no-sar", "--out", out / "large", "--overwrite", "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    scene.unlink()
    return int(run.stderr.split()[-2])


def command(*arguments: object) -> str:
    """Run planetcr-bench; what it printed."""
    run = subprocess.run(
        [sys.executable, "-m", "planetcr_bench", *map(str, arguments)],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return run.stdout


if __name__ == "__main__":
    main()
