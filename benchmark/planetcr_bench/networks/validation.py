"""Scenes and what a network made of them, in memory, in; scores and a picture out, for training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import DN_PER_REFLECTANCE
from planetcr_bench.data.scene import Image, Scene
from planetcr_bench.evaluation.loading import scene_arrays
from planetcr_bench.evaluation.runner import measure_scene
from planetcr_bench.gallery.figure import Block, Line, Sheet, save_figure, sheet_figure
from planetcr_bench.gallery.gallery import drawn_scene, gallery_figure
from planetcr_bench.gallery.panels import TRUE_COLOUR, land_cover_panel, optical_panels
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.registry import HEADLINE
from planetcr_bench.metrics.sums import SceneSums
from planetcr_bench.predictions.format import digital_numbers
from planetcr_bench.results.aggregate import score_groups
from planetcr_bench.results.ledger import ledger_table


def measure(scene: Scene, prediction: Image) -> SceneSums:
    """Sums of one scene under both protocols: what ``predict`` and ``evaluate`` would come to.

    Args:
        scene: With its clear image.
        prediction: Of the whole patch, reflectance, shape (4, 300, 300); counts as it would be
            stored, in whole digital numbers of 0 or more.
    """
    stored = np.divide(
        digital_numbers(prediction), np.float32(DN_PER_REFLECTANCE), dtype=np.float32
    )
    return measure_scene(scene_arrays(scene, stored), list(PROTOCOLS.values()))


def overall(measured: Sequence[SceneSums]) -> dict[str, float]:
    """Scores over all scenes, in both protocols, as ``evaluate`` would give them.

    Args:
        measured: At least one scene, in any order.

    Returns:
        ``psnr_full``, ``psnr_official`` and so on; those of ``full`` first.
    """
    in_order = sorted(measured, key=lambda one: str(one.identity["scene"]))
    frame = ledger_table(in_order).to_pandas(ignore_metadata=True)
    return {
        f"{metric}_{name}": float(score_groups(frame, PROTOCOLS[name])[metric].iloc[0])
        for name in ("full", "official")
        for metric in HEADLINE
    }


def draw_restored(scenes: Sequence[Scene], predictions: Sequence[Image], out: Path) -> None:
    """Draw what a network made of a few scenes, as Fig. 4 does, into a PNG file."""
    drawn = [drawn_scene(*pair) for pair in zip(scenes, predictions, strict=True)]
    save_figure(gallery_figure(drawn, ["Restored"], PROTOCOLS["full"]), out)


def draw_maps(scenes: Sequence[Scene], maps: Sequence[NDArray[np.uint8]], out: Path) -> None:
    """Draw clear images, their land cover, and what a segmenter takes it for, into a PNG file.

    Args:
        scenes: A few.
        maps: Class index of each pixel, shape (H, W).
        out: File to write.
    """
    blocks = []
    for scene, seen in zip(scenes, maps, strict=True):
        clear = optical_panels([scene.clear], scene.clear, TRUE_COLOUR)
        pair = (scene.land_cover, seen)
        blocks.append(Block(scene.name, [[*clear, *(land_cover_panel(one) for one in pair)]]))
    save_figure(sheet_figure(Sheet(["Clear", "Land cover", "Segmenter"], [Line()], blocks)), out)
