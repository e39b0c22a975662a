"""Random predictions, and the problems of a folder of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.predictions.card import Card
from planetcr_bench.predictions.folder import find_predictions


def problems_of(folder: Path, scenes: list[SceneFiles]) -> list[str]:
    return find_predictions(folder, Card(), scenes).problems


def image(seed: int = 0, size: int = 300) -> np.ndarray:
    return np.random.default_rng(seed).random((4, size, size)).astype(np.float32)
