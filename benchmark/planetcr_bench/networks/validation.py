"""Score networks and segmenters on held-out scenes during training, and draw a few of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from planetcr_bench.constants import DN_PER_REFLECTANCE, LAND_COVER
from planetcr_bench.data.reading import read_land_cover, read_scene
from planetcr_bench.data.scene import Image, Scene
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.data.splits import some_scenes
from planetcr_bench.evaluation.loading import scene_pixels
from planetcr_bench.evaluation.runner import measure_scene
from planetcr_bench.figures.style import save_figure
from planetcr_bench.gallery.figure import PageContent, PanelRow, ScenePanels, draw_page
from planetcr_bench.gallery.gallery import gallery_figure
from planetcr_bench.gallery.panels import land_cover_panel, optical_panels
from planetcr_bench.gallery.scenes import drawn_scene
from planetcr_bench.metrics.protocols import PROTOCOLS, Protocol
from planetcr_bench.metrics.registry import HEADLINE
from planetcr_bench.metrics.scores import (
    confusion,
    iou,
    miou,
    miou_absent_zero,
    pixel_accuracy,
)
from planetcr_bench.metrics.sums import SceneSums
from planetcr_bench.predictions.format import dtype_of, to_stored
from planetcr_bench.results.aggregate import score_groups
from planetcr_bench.results.ledger import ledger_table
from planetcr_models.inference import Precision, restore_batch
from planetcr_models.segmentation.deeplab import Segmenter, classify

DRAWN: Final = 4
"""Validation scenes in a picture."""


class SceneValidation(ABC):
    """Validation on whole scenes that a network is not trained on.

    Args:
        scenes: At least one.
        precision: As in training.
    """

    criterion: ClassVar[str]
    shown: ClassVar[tuple[str, ...]]

    def __init__(self, scenes: Sequence[SceneFiles], precision: Precision) -> None:
        self.files, self.precision = scenes, precision

    def __len__(self) -> int:
        return len(self.files)

    @abstractmethod
    def measure(self, network: nn.Module, scenes: Sequence[int]) -> list[Any]:
        """Measure scenes by number."""

    @abstractmethod
    def scores(self, measured: Sequence[Any]) -> dict[str, float]:
        """Over all scenes."""

    @abstractmethod
    def picture(self, network: nn.Module, path: Path) -> None:
        """Draw a few scenes."""

    def _scenes(self, numbers: Sequence[int]) -> Iterator[Scene]:
        return (read_scene(self.files[number]) for number in numbers)

    def _drawn(self) -> list[Scene]:
        return [read_scene(files) for files in some_scenes(self.files, DRAWN)]


class NetworkValidation(SceneValidation):
    """A network's scores in all protocols of the dataset, as ``evaluate`` computes them."""

    criterion = "psnr_full"
    shown = ("psnr_full", "ssim_full", "psnr_official")

    def measure(self, network: nn.Module, scenes: Sequence[int]) -> list[SceneSums]:
        """Sums of scenes by number."""
        names = self.files[0].description.protocols
        protocols = [PROTOCOLS[name] for name in PROTOCOLS if name in names]
        return [
            scene_sums(scene, self._restore(network, scene), protocols)
            for scene in self._scenes(scenes)
        ]

    def scores(self, measured: Sequence[SceneSums]) -> dict[str, float]:
        """Over all scenes."""
        return overall_scores(measured)

    def picture(self, network: nn.Module, path: Path) -> None:
        """Draw cloudy, SAR, land cover, restored, clear, error; or as much as there is."""
        scenes = self._drawn()
        restored = [self._restore(network, scene) for scene in scenes]
        draw_restored(scenes, restored, path)

    def _restore(self, network: nn.Module, scene: Scene) -> Image:
        sar = None if scene.sar is None else scene.sar[None]
        images = restore_batch(network, scene.cloudy[None], sar, precision=self.precision)
        image: Image = np.nan_to_num(images[0], nan=0, posinf=1e3, neginf=-1e3)
        return image


class SegmenterValidation(SceneValidation):
    """A segmenter's mIoU and pixel accuracy on cloud-free images."""

    criterion = "miou"
    shown = ("miou", "miou_absent_zero", "pixel_accuracy")

    @cached_property
    def class_pixels(self) -> dict[str, int]:
        """Pixels of each class of known land in the scenes, on the optical grid."""
        counts = np.zeros(len(LAND_COVER), np.int64)
        for files in self.files:
            known = np.bincount(read_land_cover(files).ravel(), minlength=256)
            counts += known[: len(LAND_COVER)]
        return dict(zip(LAND_COVER, counts.tolist(), strict=True))

    def measure(self, network: nn.Module, scenes: Sequence[int]) -> list[NDArray[np.int64]]:
        """Confusion matrices of scenes by number."""
        return [
            confusion(self._map(network, scene), scene.need_land_cover())
            for scene in self._scenes(scenes)
        ]

    def scores(self, measured: Sequence[NDArray[np.int64]]) -> dict[str, float]:
        """Of the confusion matrix of all scenes together."""
        matrix = np.sum(measured, axis=0)
        pooled = {
            "miou": float(miou(matrix)),
            "miou_absent_zero": float(miou_absent_zero(matrix)),
            "pixel_accuracy": float(pixel_accuracy(matrix)),
        }
        classes = zip(LAND_COVER, iou(matrix).tolist(), strict=True)
        return pooled | {f"iou_{name}": value for name, value in classes}

    def picture(self, network: nn.Module, path: Path) -> None:
        """Draw clear images, land cover and the segmenter's map."""
        scenes = self._drawn()
        picture = self.files[0].description.picture_bands
        draw_maps(scenes, [self._map(network, scene) for scene in scenes], picture, path)

    def _map(self, network: nn.Module, scene: Scene) -> NDArray[np.uint8]:
        assert isinstance(network, Segmenter)
        seen: NDArray[np.uint8] = classify(network, scene.clear[None], precision=self.precision)
        return seen.reshape(scene.clear.shape[1:])


def scene_sums(
    scene: Scene,
    prediction: Image,
    protocols: Sequence[Protocol] = (*PROTOCOLS.values(),),
) -> SceneSums:
    """Sums of one scene under each protocol: those that ``predict`` and ``evaluate`` would give.

    Args:
        scene: With its clear image.
        prediction: Of the whole patch, reflectance, shape (B, H, W); counts as it would be stored.
        protocols: By default all.
    """
    dtype = dtype_of(scene.description)
    stored, scale = to_stored(prediction, dtype), DN_PER_REFLECTANCE if dtype == "uint16" else 1
    read = np.divide(stored, np.float32(scale), dtype=np.float32)
    return measure_scene(scene_pixels(scene, read), protocols)


def overall_scores(measured: Sequence[SceneSums]) -> dict[str, float]:
    """Scores over all scenes, in the protocols they have, as ``evaluate`` would give them.

    Args:
        measured: At least one scene, in any order.

    Returns:
        ``psnr_full``, ``psnr_official`` and so on; those of ``full`` first.
    """
    in_order = sorted(measured, key=lambda sums: str(sums.identity["scene"]))
    frame = ledger_table(in_order).to_pandas(ignore_metadata=True)
    return {
        f"{metric}_{name}": float(score_groups(frame, PROTOCOLS[name])[metric].iloc[0])
        for name in ("full", "official")
        if name in measured[0].sums
        for metric in HEADLINE
    }


def draw_restored(scenes: Sequence[Scene], predictions: Sequence[Image], out: Path) -> None:
    """Draw what a network made of a few scenes, as Fig. 4 does, into a PNG file."""
    drawn = [drawn_scene(*pair) for pair in zip(scenes, predictions, strict=True)]
    figure = gallery_figure(drawn, ["Restored"], PROTOCOLS["full"], panels=["error"])
    save_figure(figure, out.with_suffix(""), ["png"])


def draw_maps(
    scenes: Sequence[Scene],
    maps: Sequence[NDArray[np.uint8]],
    picture: Sequence[str],
    out: Path,
) -> None:
    """Draw clear images, their land cover and a segmenter's maps of it, into a PNG file.

    Args:
        scenes: A few.
        maps: Class index of each pixel, shape (H, W).
        picture: Names of the bands that are shown as red, green and blue.
        out: File to write.
    """
    content = []
    for scene, predicted in zip(scenes, maps, strict=True):
        clear = optical_panels([scene.clear], scene.clear, picture, order=scene.bands)
        land_cover = [land_cover_panel(classes) for classes in (scene.need_land_cover(), predicted)]
        content.append(ScenePanels(scene.name, [[*clear, *land_cover]]))
    page = PageContent(["Clear", "Land cover", "Segmenter"], [PanelRow()], content)
    save_figure(draw_page(page), out.with_suffix(""), ["png"])
