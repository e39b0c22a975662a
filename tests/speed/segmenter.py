"""Time the segmentation of scenes.

DeepLabv3+ with ResNet-50, as the paper's, on predictions in both protocols: with nothing remembered
(prediction, cloudy and clear image of each scene) and with the cloudy and clear images remembered,
as for every further method on a dataset; beside it the time that measuring the same scenes takes.
On a GPU also in bf16. Then the size of light segmenters, and their time on one core (``--sizes``:
only these). Speed does not depend on the weights, which are random.

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
from planetcr_models.segmentation.deeplab import LIGHT_ENCODERS, Segmenter, save_segmenter

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


LIGHT = [
    ("resnet50", 256),
    ("resnet18", 256),
    ("resnet18", 64),
    *((encoder, channels) for encoder in LIGHT_ENCODERS for channels in (256, 64)),
]
"""Encoders and channels of the decoder."""


def compare_sizes(side: int = 300, repeat: int = 5) -> None:
    """Print weights, size of a float16 file, and time per image on one core, interleaved."""
    torch.set_num_threads(1)
    image = torch.rand(1, 4, side, side)
    models = {
        (encoder, channels): Segmenter(encoder=encoder, decoder_channels=channels).eval()
        for encoder, channels in LIGHT
    }
    times: dict[tuple[str, int], list[float]] = {key: [] for key in models}
    with torch.no_grad():
        for _ in range(repeat + 1):
            for key, model in models.items():
                start = time.process_time()
                model(image)
                times[key].append(time.process_time() - start)
    print(f"one image of {side} x {side} on one core, float32, least of {repeat} CPU times:")
    for (encoder, channels), model in models.items():
        weights = sum(p.numel() for p in model.parameters())
        values = sum(v.numel() for v in model.state_dict().values() if v.is_floating_point())
        print(
            f"  {encoder}, decoder_channels={channels}: {weights:,} parameters, "
            f"{2 * values / 1e6:.1f} MB in float16, "
            f"{1e3 * min(times[encoder, channels][1:]):.0f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--decoder-channels", type=int, default=256)
    parser.add_argument("--sizes", action="store_true", help="only compare light segmenters")
    options = parser.parse_args()
    if options.sizes:
        compare_sizes()
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        file = folder / "segmenter.safetensors"
        model = Segmenter(encoder=options.encoder, decoder_channels=options.decoder_channels)
        save_segmenter(model, file, {})
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
    compare_sizes()


if __name__ == "__main__":
    main()
