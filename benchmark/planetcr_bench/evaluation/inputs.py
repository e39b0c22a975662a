"""Find the dataset that predictions belong to."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from planetcr_bench.constants import PLANET_CR
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.data.fingerprint import fingerprint_of
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.masks import OtherMasks, masks_digest, with_masks
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.data.tracks import read_track, simulated_identity
from planetcr_bench.errors import DatasetError, PredictionError
from planetcr_bench.predictions.card import CARD, Card
from planetcr_bench.results.imagery import SCENE, Imagery
from planetcr_bench.utils.parallel import Workers

DATA_VARIABLE: Final = "PLANETCR_DATA"

_THREE_WAYS: Final = (
    "give the dataset with --data FOLDER (of Planet-CR the one that holds train/ and test/)",
    f"or set the environment variable {DATA_VARIABLE} to that folder",
    f'or name it in {CARD} beside the predictions (dataset = "FOLDER")',
)


@dataclass(frozen=True, slots=True)
class Dataset:
    """The scenes that predictions are scored on.

    Attributes:
        folder: Folder that holds ``train/`` and ``test/``.
        split: Split that is scored.
        track: Name of the results' track: the dataset's, with the split unless it is ``test``.
        scenes: All scenes of the split, or of the list that was given.
        fingerprint: Of these scenes.
        simulation: Identity of a simulated split; None for any other dataset.
        imagery: What its images are.
        protocols: Names of those that apply to it.
    """

    folder: Path
    split: str
    track: str
    scenes: list[SceneFiles]
    fingerprint: str
    simulation: str | None
    imagery: Imagery
    protocols: tuple[str, ...]


def find_dataset(
    predictions: Path,
    card: Card,
    *,
    data: Path | None = None,
    split: str | None = None,
    scene_list: Path | None = None,
    dataset: str | Path | None = None,
    masks: OtherMasks | None = None,
    workers: Workers = None,
    quiet: bool = False,
) -> Dataset:
    """Find the dataset that predictions belong to.

    Args:
        predictions: Folder of predictions, for messages.
        card: Content of its ``predictions.toml``.
        data: Dataset folder; else the environment variable, else the card names it.
        split: Split; else the card names it, else ``test``.
        scene_list: Authors' CSV list to take the scenes from.
        dataset: Name or file of its description, else the card names it; see
            ``descriptions.describe``.
        masks: From elsewhere, in place of the dataset's own.
        workers: For the fingerprint.
        quiet: Show no progress.

    Raises:
        DatasetError: None is found, or not the one that the predictions were made on; or a scene
            has no mask in the folder of masks.
    """
    folder, source = _dataset_folder(predictions, card, data)
    if not folder.is_dir():
        ways = _THREE_WAYS if data is None else _THREE_WAYS[:1]
        raise DatasetError(f"{folder}: no such folder, although {source} names it", ways)
    if split is not None and card.split is not None and split != card.split:
        raise PredictionError(
            f"{predictions / CARD}: expected predictions of the split {split!r}, got {card.split!r}"
        )
    split, dataset = split or card.split or "test", dataset or card.description
    scenes = find_scenes(folder, split, scene_list, dataset=dataset)
    fingerprint = fingerprint_of(scenes, workers=workers, quiet=quiet)
    simulation = simulated_identity(folder, split, scene_list)
    same = simulation is not None and card.simulation == simulation  # but for rounding
    if card.fingerprint not in (None, fingerprint) and not same:
        raise DatasetError(
            f"{folder}: expected the dataset of {predictions / CARD}, fingerprint "
            f"{str(card.fingerprint)[:12]}…, got {fingerprint[:12]}…; if it lies elsewhere,",
            _THREE_WAYS,
        )
    track = read_track(folder, split, dataset=dataset)
    track = track if split == "test" else f"{track}-{split}"
    imagery = imagery_of(scenes[0].description)
    if masks is not None:
        scenes = with_masks(scenes, masks)
        digest = masks_digest(scenes, workers=workers, quiet=quiet)
        imagery = replace(imagery, masks=masks.source, masks_sha256=digest)
    return Dataset(
        folder,
        split,
        track,
        scenes,
        fingerprint,
        simulation,
        imagery,
        tuple(scenes[0].description.protocols),
    )


def imagery_of(described: Description) -> Imagery:
    """What the ledger of a described dataset says of its images."""
    usual = load_description(PLANET_CR).signature
    return Imagery(
        tuple(described.bands),
        described.cluster_name if described.cluster else SCENE,
        described.pixel_size,
        described.read_size_of("clear"),
        description=None if described.signature == usual else described.signature,
    )


def _dataset_folder(predictions: Path, card: Card, data: Path | None) -> tuple[Path, str]:
    if data is not None:
        return data, "--data"
    if os.environ.get(DATA_VARIABLE):
        return Path(os.environ[DATA_VARIABLE]), DATA_VARIABLE
    if card.dataset:
        return predictions / card.dataset, str(predictions / CARD)
    raise DatasetError(
        f"{predictions}: expected the dataset of these predictions, none is named", _THREE_WAYS
    )


def data_folder(data: Path | None) -> Path:
    """The dataset that a command without predictions works on.

    Raises:
        DatasetError: Neither the option nor the environment names one.
    """
    if data is None and not os.environ.get(DATA_VARIABLE):
        raise DatasetError("expected a dataset, none is named", _THREE_WAYS[:2])
    return data or Path(os.environ[DATA_VARIABLE])
