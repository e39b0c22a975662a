"""A network and held-out scenes in, its scores and a picture out: what training validates by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from planetcr_bench.constants import LAND_COVER
from planetcr_bench.data.layout import SceneFiles, read_scene
from planetcr_bench.data.scene import Image, Scene
from planetcr_bench.data.splits import some_scenes
from planetcr_bench.metrics.scores import confusion, iou, miou, pixel_accuracy
from planetcr_bench.metrics.sums import SceneSums
from planetcr_bench.networks.validation import draw_maps, draw_restored, measure, overall
from planetcr_models.inference import InferencePrecision, restore_batch
from planetcr_models.segmentation.deeplab import Segmenter, classify

DRAWN: Final = 4
"""Validation scenes in a picture."""


class HeldOutScores(ABC):
    """Scores on whole scenes that are not learnt from.

    Args:
        scenes: At least one.
        precision: As in training.
    """

    criterion: ClassVar[str]
    shown: ClassVar[tuple[str, ...]]

    def __init__(self, scenes: Sequence[SceneFiles], precision: InferencePrecision) -> None:
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


class RestorerScores(HeldOutScores):
    """The benchmark's own scores, in both protocols."""

    criterion = "psnr_full"
    shown = ("psnr_full", "ssim_full", "psnr_official")

    def measure(self, network: nn.Module, scenes: Sequence[int]) -> list[SceneSums]:
        """Sums of scenes by number."""
        return [measure(scene, self._restore(network, scene)) for scene in self._scenes(scenes)]

    def scores(self, measured: Sequence[SceneSums]) -> dict[str, float]:
        """Over all scenes."""
        return overall(measured)

    def picture(self, network: nn.Module, path: Path) -> None:
        """Cloudy, SAR, land cover, restored, clear, error."""
        scenes = self._drawn()
        draw_restored(scenes, [self._restore(network, scene) for scene in scenes], path)

    def _restore(self, network: nn.Module, scene: Scene) -> Image:
        images = restore_batch(
            network, scene.cloudy[None], scene.sar[None], precision=self.precision
        )
        image: Image = np.nan_to_num(images[0], nan=0, posinf=1e3, neginf=-1e3)
        return image


class SegmenterScores(HeldOutScores):
    """mIoU and pixel accuracy of a segmenter on cloud-free images."""

    criterion = "miou"
    shown = ("miou", "pixel_accuracy")

    def measure(self, network: nn.Module, scenes: Sequence[int]) -> list[NDArray[np.int64]]:
        """Confusion matrices of scenes by number."""
        return [
            confusion(self._map(network, scene), scene.land_cover) for scene in self._scenes(scenes)
        ]

    def scores(self, measured: Sequence[NDArray[np.int64]]) -> dict[str, float]:
        """Of the confusion matrix that all scenes have together."""
        matrix = np.sum(measured, axis=0)
        pooled = {"miou": float(miou(matrix)), "pixel_accuracy": float(pixel_accuracy(matrix))}
        classes = zip(LAND_COVER, iou(matrix).tolist(), strict=True)
        return pooled | {f"iou_{name}": value for name, value in classes}

    def picture(self, network: nn.Module, path: Path) -> None:
        """Clear, land cover, what the segmenter sees."""
        scenes = self._drawn()
        draw_maps(scenes, [self._map(network, scene) for scene in scenes], path)

    def _map(self, network: nn.Module, scene: Scene) -> NDArray[np.uint8]:
        assert isinstance(network, Segmenter)
        seen: NDArray[np.uint8] = classify(network, scene.clear[None], precision=self.precision)
        return seen.reshape(scene.land_cover.shape)
