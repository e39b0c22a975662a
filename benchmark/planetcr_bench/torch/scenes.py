"""Scenes for a DataLoader: dicts of tensors, as networks see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from planetcr_bench.data.patches import FilePatches
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import DatasetError
from planetcr_models.training.loader import Crops, dihedral
from planetcr_models.training.patches import PRODUCTS

Item: TypeAlias = "dict[str, Tensor | str]"
"""``cloudy`` and ``clear`` (B, H, W) and ``sar`` (b, h, w), float32 in [0, 1]; ``cloud_mask``
(H, W), True for cloud; ``land_cover`` (H, W), uint8, index into ``LAND_COVER_NAMES``; ``name``.
What the dataset does not have is left out of every item, so that all items have the same keys."""


class TorchScenes(Dataset[Item]):
    """The scenes of a split as a map-style dataset; made by ``SceneDataset.torch``.

    A crop and its turn follow from seed, epoch and scene alone: not from the worker that reads it,
    nor from what was read before. Call :meth:`set_epoch` before each epoch for other crops, and
    before the DataLoader starts its workers: persistent workers keep the epoch they started with.

    Args:
        files: The scenes.
        crop: Side of a random crop in optical pixels; None: whole scenes.
        augment: Turn and flip at random; scenes that are not square are flipped and turned by 180°.
        seed: Of crops and turns.

    Raises:
        DatasetError: The scenes have several cloudy images.
        ModelError: The crop is larger than the scenes, or off their grid.
    """

    def __init__(
        self, files: Sequence[SceneFiles], *, crop: int | None, augment: bool, seed: int
    ) -> None:
        described = files[0].description
        if described.has_dates:
            raise DatasetError(
                f"{described.title}: expected one cloudy image per scene, got several dates"
            )
        self.patches = FilePatches(files)
        self.crop, self.augment, self.seed, self.epoch = crop, augment, seed, 0
        self._crops = None
        if crop is not None:
            self._crops = Crops(self.patches, crop=crop, turns=augment, seed=seed)

    def set_epoch(self, epoch: int) -> None:
        """Choose the crops of another epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, index: int) -> Item:
        index = range(len(self))[index]  # negative ones, and IndexError
        tensors = self._whole(index) if self._crops is None else self._crops[self.epoch, index]
        return {**tensors, "name": self.patches.names[index]}

    def _whole(self, index: int) -> dict[str, Tensor]:
        patch = self.patches.read(index)
        turn = 0
        if self.augment:
            height, width = self.patches.size(index)
            random = np.random.default_rng((self.seed, self.epoch, index))
            turn = int(random.integers(8)) if height == width else int(random.integers(4)) * 2
        products = {name: getattr(patch, name) for name in PRODUCTS}
        return {
            name: torch.from_numpy(dihedral(pixels, turn))
            for name, pixels in products.items()
            if pixels is not None
        }

    def __repr__(self) -> str:
        how: dict[str, Any] = {"crop": self.crop, "augment": self.augment, "seed": self.seed}
        return f"<{len(self)} scenes, {', '.join(f'{k}={v}' for k, v in how.items())}>"
