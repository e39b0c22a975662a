"""Name the track that results on a dataset belong to."""

from __future__ import annotations

from pathlib import Path

from planetcr_bench.constants import PLANET_CR, PLANET_CR_SAMPLES, PRODUCTS, UNNAMED
from planetcr_bench.data.fingerprint import scene_digest
from planetcr_bench.data.layout import ALL_PRODUCTS, SceneFiles, present_products
from planetcr_bench.data.metadata import read_metadata, read_simulation
from planetcr_bench.data.reading import read_product
from planetcr_bench.errors import DatasetError, SceneError


def read_track(data: Path, split: str | None = None) -> str:
    """Name the track that results on a dataset belong to.

    A dataset names its track in ``dataset.toml`` (``track = "…"``). The official release has no
    such file: it is recognised by the pixels of the scene that its authors publish
    of the split, or of any split where they publish none. Everything else is ``unnamed``.

    Args:
        data: Folder that holds the splits.
        split: The one that is scored.

    Raises:
        DatasetError: ``dataset.toml`` cannot be read or names no valid track.
    """
    track = read_metadata(data).track
    if track is None:
        splits = [split] if split in PLANET_CR_SAMPLES else list(PLANET_CR_SAMPLES)
        return PLANET_CR if any(_is_release(data, name) for name in splits) else UNNAMED
    return track


def _is_release(data: Path, split: str) -> bool:
    """Whether a split contains the scene that the authors publish, pixel by pixel."""
    season, aoi, patch, digest = PLANET_CR_SAMPLES[split]
    files = SceneFiles(season, aoi, patch, str(data / split))
    if present_products(files) != ALL_PRODUCTS:
        return False
    try:
        rasters = {product: read_product(files, product) for product in PRODUCTS}
    except (DatasetError, SceneError):
        return False
    return scene_digest(rasters).hex() == digest


def simulated_identity(data: Path, split: str, scene_list: Path | None = None) -> str | None:
    """Identify the scenes of a split of a simulated dataset.

    Args:
        data: Folder that holds the splits.
        split: Name of the split.
        scene_list: List that the scenes are taken from, if not all of the split are.

    Returns:
        None for scenes of a list, and for any other dataset: only its fingerprint identifies it.

    Raises:
        DatasetError: ``dataset.toml`` is broken.
    """
    simulation = read_simulation(data)
    if simulation is None or simulation.scenes(split) is None or scene_list is not None:
        return None
    if split == "test":
        return simulation.identity
    return f"{simulation.identity}, {simulation.scenes(split)} scenes"
