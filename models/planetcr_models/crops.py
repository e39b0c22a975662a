"""Patches in, batches of random crops out: the same in any number of processes, from any step."""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from multiprocessing import get_all_start_methods
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from planetcr_models.errors import ModelError
from planetcr_models.patches import PRODUCTS, Patches

Batch = dict[str, Tensor]
"""``cloudy`` and ``clear`` (B, bands, H, W) and ``sar`` (B, 2, h, w), float32 in [0, 1];
``cloud_mask`` (B, H, W), boolean; ``land_cover`` (B, H, W), uint8."""

Draw = tuple[int, int]
"""Epoch and patch: what decides a crop, together with the seed."""


class Crops(Dataset[Batch]):
    """Patches as crops at random places, one a patch and epoch.

    Where a crop lies, and how it is turned, follows from seed, epoch and patch alone: not from the
    process that reads it, nor from what was read before.

    Args:
        patches: To crop.
        crop: Side in optical pixels, a multiple of the patches' ``cell``.
        turns: Mirror and turn by quarters at random.
        seed: Of place and turn.

    Raises:
        ModelError: The crop is larger than the patches, or off their grid.
    """

    def __init__(self, patches: Patches, *, crop: int, turns: bool, seed: int) -> None:
        if not patches.cell <= crop <= patches.side or crop % patches.cell:
            largest = patches.side - patches.side % patches.cell
            raise ModelError(
                f"crop: expected a multiple of {patches.cell} pixels up to {largest}, so that "
                f"optical and radar pixels are cut whole, got {crop}"
            )
        self.patches, self.crop, self.turns, self.seed = patches, crop, turns, seed

    def __getitem__(self, draw: Draw) -> Batch:
        """One crop, without the batch axis."""
        epoch, index = draw
        random = np.random.default_rng((self.seed, epoch, index))
        cells = (self.patches.side - self.crop) // self.patches.cell + 1
        top, left = (int(cell) * self.patches.cell for cell in random.integers(cells, size=2))
        patch = self.patches.read(index, top=top, left=left, size=self.crop)
        turn = int(random.integers(8)) if self.turns else 0
        return {name: torch.from_numpy(turned(getattr(patch, name), turn)) for name in PRODUCTS}


def turned(image: np.ndarray[Any, Any], turn: int) -> np.ndarray[Any, Any]:
    """One of the eight ways to lay a square: quarter turns, from 4 on of its mirror image.

    Args:
        image: Shape (..., H, H).
        turn: 0 to 7; 0 leaves it as it is.
    """
    if turn >= 4:
        image = image[..., ::-1]
    return np.ascontiguousarray(np.rot90(image, turn % 4, axes=(-2, -1)))


class Batches(Sampler[list[Draw]]):
    """Which patches each step sees, in this process.

    Every epoch has an order of its own, which follows from seed and epoch. A step's batch is cut
    into equal parts, one a process. The last, incomplete batch of an epoch is dropped.

    Args:
        patches: How many there are.
        batch: Patches of a step, over all processes together.
        seed: Of the order.
        first: Step to begin at, counted over all epochs.
        last: Step to end before.
        rank: This process.
        world: How many processes there are.

    Raises:
        ModelError: Too few patches for a batch, or a batch that cannot be shared equally.
    """

    def __init__(
        self,
        patches: int,
        *,
        batch: int,
        seed: int,
        first: int = 0,
        last: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if patches < batch:
            raise ModelError(
                f"expected training scenes for a batch of {batch}, got {patches}; use a smaller "
                "--batch"
            )
        if batch % world:
            raise ModelError(
                f"batch: expected a multiple of the {world} devices that share it, got {batch}"
            )
        self.patches, self.batch, self.seed = patches, batch, seed
        self.first, self.last, self.rank, self.world = first, last, rank, world

    @property
    def steps_per_epoch(self) -> int:
        """Complete batches of an epoch."""
        return self.patches // self.batch

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[Draw]]:
        share = self.batch // self.world
        for step in range(self.first, self.last):
            epoch, position = divmod(step, self.steps_per_epoch)
            start = position * self.batch + self.rank * share
            order = _order(self.patches, self.seed, epoch)
            yield [(epoch, int(index)) for index in order[start : start + share]]


@functools.lru_cache(2)
def _order(patches: int, seed: int, epoch: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng((seed, epoch)).permutation(patches)


def _outlive_signals(_: int) -> None:
    """Leave it to the run to end its readers: who is asked to stop finishes a step first."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def load(crops: Crops, batches: Batches, *, workers: int, pin: bool) -> DataLoader[Batch]:
    """Read batches, in worker processes that start once for the whole run.

    Args:
        crops: What to read.
        batches: In which order.
        workers: Processes; 0 reads between the steps.
        pin: Lay batches where a GPU can fetch them while it computes.
    """
    context = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
    return DataLoader(
        crops,
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=pin,
        multiprocessing_context=context if workers else None,
        worker_init_fn=_outlive_signals if workers else None,
        prefetch_factor=4 if workers else None,
    )
