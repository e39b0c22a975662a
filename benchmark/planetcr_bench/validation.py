"""Scenes and what a network made of them, in memory, in; scores and a picture out, for training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib.style
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from planetcr_bench.arrays import scene_arrays
from planetcr_bench.gallery import (
    TRUE_COLOUR,
    gallery_figure,
    save_gallery,
    scene_row,
    stretch_limits,
    stretched,
)
from planetcr_bench.ledger import SceneSums, ledger_table
from planetcr_bench.measure import measure_scene
from planetcr_bench.predictions import digital_numbers
from planetcr_bench.protocols import PROTOCOLS
from planetcr_bench.scene import Image, Scene
from planetcr_bench.tables import score_groups
from planetcr_bench.vocabulary import DN_PER_REFLECTANCE, LAND_COVER_NAMES

METRICS: Final = ("mae", "psnr", "sam_deg", "ssim")

LAND_COVER_COLOURS: Final = (
    "#006400",
    "#ffbb22",
    "#f096ff",
    "#fa0000",
    "#b4b4b4",
    "#0064c8",
    "#fff",
)
"""WorldCover's: trees, shrubs (for all rangeland), crops, buildings, bare, water; unknown white."""


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
        for metric in METRICS
    }


def draw_restored(scenes: Sequence[Scene], predictions: Sequence[Image], out: Path) -> None:
    """Draw what a network made of a few scenes, as Fig. 4 does, into a PNG file."""
    rows = [scene_row(*pair) for pair in zip(scenes, predictions, strict=True)]
    save_gallery(gallery_figure(rows, ["Restored"], PROTOCOLS["full"]), out)


def draw_maps(scenes: Sequence[Scene], maps: Sequence[NDArray[np.uint8]], out: Path) -> None:
    """Draw clear images, their land cover, and what a judge takes it for, into a PNG file.

    Args:
        scenes: A few.
        maps: Class index of each pixel, shape (H, W).
        out: File to write.
    """
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(6.4, 2.1 * len(scenes) + 0.6), dpi=150, layout="constrained")
        axes = figure.subplots(len(scenes), 3, squeeze=False)
        colours = ListedColormap(LAND_COVER_COLOURS)
        for line, scene, predicted in zip(axes, scenes, maps, strict=True):
            limits = stretch_limits(scene.clear, TRUE_COLOUR)
            line[0].imshow(stretched(scene.clear, limits, TRUE_COLOUR), interpolation="nearest")
            for panel, classes in zip(line[1:], (scene.land_cover, predicted), strict=True):
                panel.imshow(classes, colours, vmin=-0.5, vmax=6.5, interpolation="nearest")
            line[0].set_ylabel(scene.name, fontsize=7)
            for panel in line:
                panel.set_xticks([])
                panel.set_yticks([])
        for panel, title in zip(axes[0], ("Clear", "Land cover", "Judge"), strict=True):
            panel.set_title(title, fontsize=9)
        legend = [
            Patch(facecolor=colour, edgecolor="#404040", linewidth=0.4, label=name)
            for name, colour in zip(LAND_COVER_NAMES, LAND_COVER_COLOURS, strict=True)
        ]
        figure.legend(handles=legend, loc="outside lower center", ncols=7, fontsize=7)
    save_gallery(figure, out)
