"""Name the track that results on a dataset belong to."""

from __future__ import annotations

from pathlib import Path

from planetcr_bench.constants import UNNAMED
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import describe
from planetcr_bench.data.fingerprint import scene_digest
from planetcr_bench.data.layout import all_products, present_products
from planetcr_bench.data.metadata import read_metadata, read_simulation
from planetcr_bench.data.reading import read_product
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import DatasetError, SceneError


def read_track(data: Path, split: str | None = None, *, dataset: str | Path | None = None) -> str:
    """Name the track that results on a dataset belong to.

    A dataset names its track in ``dataset.toml`` (``track = "…"``), or its description does. The
    release of Planet-CR has no such file: it is recognised by the pixels of the scene that its
    authors publish of the split, or of any split where they publish none. Everything else is
    ``unnamed``.

    Args:
        data: Folder of the dataset.
        split: The one that is scored.
        dataset: Name or file of its description; see ``descriptions.describe``.

    Raises:
        DatasetError: ``dataset.toml`` or the description cannot be read, or names no valid track.
    """
    track = read_metadata(data).track
    if track is not None:
        return track
    description = describe(data, dataset)
    known = description.known
    splits = [split] if split in known else list(known)
    if known and not any(_is_release(data, name, description) for name in splits if name):
        return UNNAMED
    return description.track or UNNAMED


def _is_release(data: Path, split: str, description: Description) -> bool:
    """Whether a split contains the scene that the authors publish, pixel by pixel."""
    known = description.known[split]
    values = description.values_of(known.scene)
    files = SceneFiles(values or (), str(data), split, description)
    if present_products(files) != all_products(description):
        return False
    try:
        rasters = {product: read_product(files, product) for product in description.products}
    except (DatasetError, SceneError):
        return False
    return scene_digest(rasters).hex() == known.sha256


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
