"""Time scoring, and compare it with a direct implementation on the same scenes.

Our measuring of both protocols against (b) the official formulas written straight down in float32,
once on the centre crop and once on the whole patch: one scene at a time, SSIM as depthwise 11 × 11
convolutions, SAM as einsum, classes as boolean masks. Against the bare time to read the files. And
with the sums behind the further metrics against without them.

    make speed
"""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from stopwatch import seconds
from torch.nn.functional import conv2d

from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_product, read_raster
from planetcr_bench.evaluation.loading import MEASURED, Job, ScenePixels, read_pixels
from planetcr_bench.evaluation.runner import measure_scene
from planetcr_bench.metrics import kernels
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.predictions.card import Card
from planetcr_bench.predictions.predict import predict
from planetcr_bench.utils.parallel import start_worker

# --- (b) the official formulas, straight --------------------------------------------------------


def window() -> torch.Tensor:
    taps = torch.exp(-((torch.arange(11) - 5.5) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()
    return torch.outer(taps, taps).expand(4, 1, 11, 11).contiguous()


def straight_ssim(p: torch.Tensor, t: torch.Tensor, w: torch.Tensor) -> float:
    smooth = functools.partial(conv2d, weight=w, padding=5, groups=4)
    mean_p, mean_t = smooth(p), smooth(t)
    var_p, var_t = smooth(p * p) - mean_p**2, smooth(t * t) - mean_t**2
    covariance = smooth(p * t) - mean_p * mean_t
    top = (2 * mean_p * mean_t + 1e-4) * (2 * covariance + 9e-4)
    return float((top / ((mean_p**2 + mean_t**2 + 1e-4) * (var_p + var_t + 9e-4))).mean())


def straight_sam(p: np.ndarray, t: np.ndarray) -> np.ndarray:
    floor = np.float32(2.0**-10)
    dot = np.einsum("bhw,bhw->hw", p, t)
    norms = np.maximum(np.einsum("bhw,bhw->hw", p, p), floor) * np.maximum(
        np.einsum("bhw,bhw->hw", t, t), floor
    )
    return np.degrees(np.arccos(np.clip(dot / np.sqrt(norms), -1, 1)))


def straight(
    prediction: np.ndarray, clear: np.ndarray, classes: np.ndarray, w: torch.Tensor
) -> list:
    error = np.abs(prediction - clear)
    psnr = 20 * np.log10(1 / np.sqrt(np.mean((prediction - clear) ** 2)))
    angle = straight_sam(prediction, clear)
    figures = [error.mean(), psnr, angle.mean()]
    figures.append(
        straight_ssim(torch.from_numpy(prediction)[None], torch.from_numpy(clear)[None], w)
    )
    for index in range(7):
        mask = classes == index
        if mask.any():
            figures += [error[:, mask].mean(), angle[mask].mean()]
    return figures


def straight_both_windows(scenes: Sequence[ScenePixels], w: torch.Tensor) -> None:
    crop = np.s_[..., 70:230, 70:230]
    for scene in scenes:
        p, t, c = scene.images[0], scene.clear, scene.group // 3
        straight(*(np.ascontiguousarray(array[crop]) for array in (p, t, c)), w)
        straight(p, t, c, w)


# --- Timing -------------------------------------------------------------------------------------


def ours(jobs: Sequence[Job]) -> None:
    """Measure scenes that the process has read before; the first, uncounted run reads them."""
    for job in jobs:
        measure_scene(cached_arrays(job), list(PROTOCOLS.values()))


def without_further(jobs: Sequence[Job]) -> None:
    """The same as :func:`ours` without the sums behind the further metrics."""
    protocols = list(PROTOCOLS.values())
    for job in jobs:
        arrays = cached_arrays(job)
        for protocol in protocols:
            kernels.measure(arrays.images, arrays.clear, arrays.group, protocol, arrays.bands)
            kernels.measure_floor(arrays.clear, arrays.group, protocol)


@functools.cache
def cached_arrays(job: Job) -> ScenePixels:
    return read_pixels(job, Card())


def read_bare(jobs: Sequence[Job]) -> None:
    """Decode exactly the files that a measurement decodes, and do nothing with them."""
    for job in jobs:
        for product in MEASURED:
            read_product(job.scene, product)
        read_raster(job.prediction)


def read_and_measure(jobs: Sequence[Job]) -> None:
    for job in jobs:
        measure_scene(read_pixels(job, Card()), list(PROTOCOLS.values()))


def in_processes(
    function: Callable[[Sequence[Job]], None], jobs: Sequence[Job], processes: int
) -> float:
    """Seconds for all jobs, shared out over warm processes that keep to their share."""
    with ExitStack() as stack:
        pools = [
            stack.enter_context(
                ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=start_worker)
            )
            for _ in range(processes)
        ]

        def once() -> None:
            running = [
                pool.submit(function, jobs[index::processes]) for index, pool in enumerate(pools)
            ]
            for future in running:
                future.result()

        return seconds(once)


def in_turns(first: Callable[[], None], second: Callable[[], None]) -> list[float]:
    """Median seconds of two functions that take turns, so that both meet the same load."""
    first()
    second()
    times = [[seconds(each, repeat=1) for each in (first, second)] for _ in range(9)]
    return np.median(times, axis=0).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.processes)
    with tempfile.TemporaryDirectory() as folder:
        from scenes import write_dataset

        data = write_dataset(Path(folder, "data"), test=options.scenes, train=0)
        out = Path(folder, "preds")
        predict("mean-fill", data, out, quiet=True)
        jobs = [Job(files, out / f"{files.name}.tif") for files in find_scenes(data, "test")]
        report(jobs, options.processes)


def report(jobs: Sequence[Job], processes: int) -> None:
    few = jobs[:24]
    scenes = [cached_arrays(job) for job in few]
    straight_ms = 1e3 / len(few) * seconds(lambda: straight_both_windows(scenes, window()))
    ours_ms = 1e3 / len(few) * in_processes(ours, few, processes)
    one_ms, less_ms = (
        1e3 / len(few) * each for each in in_turns(lambda: ours(few), lambda: without_further(few))
    )
    read_ms = 1e3 / len(jobs) * in_processes(read_bare, jobs, processes)
    whole_ms = 1e3 / len(jobs) * in_processes(read_and_measure, jobs, processes)
    print(f"Milliseconds per scene of 4 × 300 × 300, {processes} cores, medians of 5 runs")
    print(f"  (b) official formulas, straight, float32, crop + patch  {straight_ms:8.2f}")
    print(f"  (a) ours, both protocols, prediction + input, float64   {ours_ms:8.2f}")
    print(f"      the same on one core                                {one_ms:8.2f}")
    print(f"      on one core without the further metrics             {less_ms:8.2f}")
    print(f"  read the files of a scene                               {read_ms:8.2f}")
    print(f"  read and measure                                        {whole_ms:8.2f}")
    print(f"Arithmetic, (b) / (a):               {straight_ms / ours_ms:5.1f} × faster")
    print(f"Arithmetic, with / without the further metrics: {one_ms / less_ms:5.2f}")
    print(
        f"Read and measure / read:             {whole_ms / read_ms:5.2f} (floor 1: reading alone)"
    )
    print(f"Share of the time that reads files:  {100 * read_ms / whole_ms:5.1f} %")


if __name__ == "__main__":
    main()
