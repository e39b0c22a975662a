"""Provide a segmenter with answers in closed form, without a network or a file."""

from __future__ import annotations

import hashlib

import numpy as np


class ShadeSegmenter:
    """Takes the class from the red band's shade, and counts what it was shown."""

    def __init__(self, shades: float = 20.0, key: str | None = None) -> None:
        self.shades = shades
        self.sha256 = hashlib.sha256(str(shades).encode()).hexdigest()
        self.key = key or self.sha256[:8]
        self.name = f"shade {self.key}"
        self.facts = {"name": self.name, "sha256": self.sha256}
        self.shown: list[tuple[int, ...]] = []

    def classify(self, images: np.ndarray) -> np.ndarray:
        self.shown.append(images.shape)
        red = np.clip(images[:, 2].astype(np.float64), 0, 1)
        return (np.floor(red * self.shades) % 6).astype(np.uint8)
