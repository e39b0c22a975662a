"""Time the segmentation of scenes.

DeepLabv3+ with ResNet-50, as the paper's, on predictions in both protocols: with nothing remembered
(prediction, cloudy and clear image of each scene) and with the cloudy and clear images remembered,
as for every further method on a dataset; beside it the time that measuring the same scenes takes.
On a GPU also in bf16. Speed does not depend on the weights, which are random.

    make speed
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from planetcr_bench.data.layout import find_scenes
from planetcr_bench.evaluation.loading import Job, ScenePixels, read_pixels
from planetcr_bench.evaluation.runner import measure_scene
from planetcr_bench.evaluation.segmenters import SegmenterPool
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.networks.segmenter import FileSegmenter, load
from planetcr_bench.predictions.card import read_card
from planetcr_bench.predictions.predict import predict
from planetcr_bench.simulation.writer import simulate
from planetcr_models.segmentation.deeplab import Segmenter, save_segmenter

BOTH = list(PROTOCOLS.values())


def seconds(function: Callable[[int], object], repeat: int = 3) -> float:
    """Median of several runs after one that does not count; each is told its number."""
    times = []
    for number in range(repeat + 1):
        start = time.perf_counter()
        function(number)
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


def read_scenes(folder: Path, count: int) -> list[ScenePixels]:
    simulate(folder / "data", size="tiny", train=0, quiet=True)
    predict("mean-fill", folder / "data", folder / "preds", quiet=True)
    card = read_card(folder / "preds")
    scenes = [
        read_pixels(Job(files, folder / "preds" / f"{files.name}.tif"), card)
        for files in find_scenes(folder / "data", "test")
    ]
    return [scenes[index % len(scenes)] for index in range(count)]


def report(
    segmenter: FileSegmenter, device: str, scenes: Sequence[ScenePixels], measuring: float
) -> None:
    fresh = seconds(
        lambda number: SegmenterPool([segmenter], f"fresh {number}", BOTH).count(scenes)
    )
    SegmenterPool([segmenter], "known", BOTH).count(scenes)
    known = seconds(lambda _: SegmenterPool([segmenter], "known", BOTH).count(scenes))
    for what, took in (("nothing remembered", fresh), ("clear and cloudy remembered", known)):
        print(
            f"  {segmenter.name} on {device}, {what}: {len(scenes) / took:.2f} scenes/s, "
            f"{took / measuring:.1f} x the time of measuring"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--encoder", default="resnet50")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        file = folder / "segmenter.safetensors"
        save_segmenter(Segmenter(encoder=options.encoder), file, {})
        scenes = read_scenes(folder, options.scenes)
        measuring = seconds(lambda _: [measure_scene(scene, BOTH) for scene in scenes])
        print(
            f"{len(scenes)} scenes, both protocols; measuring on one core: "
            f"{len(scenes) / measuring:.1f} scenes/s"
        )
        print(f"segmenting, {torch.get_num_threads()} threads on the CPU:")
        report(load(file, device="cpu"), "CPU", scenes, measuring)
        if torch.cuda.is_available():
            print(f"segmenting, {torch.cuda.get_device_name()}:")
            for precision in ("32", "bf16"):
                report(load(file, device="cuda", precision=precision), "GPU", scenes, measuring)
        else:
            print("segmenting, GPU: none here")


if __name__ == "__main__":
    main()
