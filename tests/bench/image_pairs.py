"""Random images to measure: a prediction and its input, their target and a group per pixel."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from planetcr_bench.metrics.sums import GROUPS, SUMS


def images(seed: int = 0, size: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prediction and input, target, group, with structure, dark pixels and values out of range."""
    rng = np.random.default_rng(seed)
    target = ndimage.gaussian_filter(rng.random((4, size, size)), (0, 3, 3))
    target[:, :20, :20] = 0.01
    noise = rng.normal(0, 0.1, (2, 4, size, size))
    pair = np.clip(target + noise, -0.2, 1.3).astype(np.float32)
    group = rng.integers(0, GROUPS, (size, size)).astype(np.uint8)
    return pair, target.astype(np.float32), group


def by_name(sums: np.ndarray) -> dict[str, np.ndarray]:
    return {name: sums[..., index] for index, name in enumerate(SUMS)}


def total(sums: np.ndarray) -> dict[str, float]:
    return {name: float(column.sum()) for name, column in by_name(sums).items()}
