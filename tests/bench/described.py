"""Datasets of other layouts than Planet-CR's: their descriptions, and small fake scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tomli_w
from PIL import Image

from planetcr_bench.data.description import Description
from scenes import write_tif

SIMULATED = """track = "sim-v1-tiny"
[simulation]
version = "sim-v1"
preset = "standard"
seed = 0
size = "tiny"
test_scenes = 10
train_scenes = 4
"""
"""The ``dataset.toml`` of a simulated dataset."""

S2_BANDS = [
    "coastal", "blue", "green", "red", "edge1", "edge2", "edge3", "nir", "nir2", "vapour",
    "cirrus", "swir1", "swir2",
]  # fmt: skip

S2 = {
    "title": "Sentinel-2 with 13 bands",
    "track": "thirteen",
    "sensor": "Sentinel-2",
    "resolution": 10.0,
    "bands": S2_BANDS,
    "scene": "ROIs{year}_{season}_{roi}_p{patch}",
    "cluster": "ROIs{year}_{season}_{roi}",
    "fields": {"year": "int", "season": "[a-z]+", "roi": "int", "patch": "int"},
    "splits": {
        "train": {"field": "roi", "values": [1, 2]},
        "test": {"field": "roi", "values": [7, 8]},
    },
    "optical": {
        "clear": "ROIs{year}_{season}_s2/s2_{roi}/ROIs{year}_{season}_s2_{roi}_p{patch}.tif",
        "cloudy": "ROIs{year}_{season}_s2_cloudy/s2_cloudy_{roi}/"
        "ROIs{year}_{season}_s2_cloudy_{roi}_p{patch}.tif",
        "dtype": "uint16",
        "scale": 10_000.0,
    },
    "sar": {
        "path": "ROIs{year}_{season}_s1/s1_{roi}/ROIs{year}_{season}_s1_{roi}_p{patch}.tif",
        "range": [[-25.0, 0.0], [-32.5, 0.0]],
    },
}
"""Three folders with SAR on the optical grid, as SEN12MS-CR has them."""


def description(**changes: object) -> Description:
    """The description of :data:`S2`, changed."""
    return Description.model_validate({**S2, **changes})


def write_description(path: Path, content: dict[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(content))
    return path


def optical_image(bands: int, size: tuple[int, int] = (40, 48), seed: int = 0) -> np.ndarray:
    """Digital numbers of 100 to 4000, shape (bands, *size)."""
    return np.random.default_rng(seed).integers(100, 4000, (bands, *size), np.uint16)


def write_s2(root: Path, roi: int = 7, patch: int = 1, *, size: tuple[int, int] = (40, 48)) -> None:
    """Write the three files of one scene of :data:`S2`."""
    for number, name in enumerate(("s2", "s2_cloudy", "s1")):
        pixels = optical_image(13, size, seed=number)
        if name == "s1":
            pixels = np.random.default_rng(9).normal(-14, 3, (2, *size)).astype(np.float32)
        folder = root / f"ROIs2017_fall_{name}" / f"{name}_{roi}"
        path = folder / f"ROIs2017_fall_{name}_{roi}_p{patch}.tif"
        corner = (300_000 + 10 * size[1] * patch + 50_000 * roi, 5_000_000)
        write_tif(path, pixels, corner, 10, "EPSG:32631")


def write_png(path: Path, seed: int = 0, *, size: tuple[int, int] = (40, 48)) -> np.ndarray:
    """Write an RGB image of bytes; its pixels, shape (3, *size)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(10, 250, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels.transpose(2, 0, 1)
