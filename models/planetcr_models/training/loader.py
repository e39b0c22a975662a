"""Load batches of random crops, identical for any number of processes."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from multiprocessing import (
    active_children,
    forkserver,
    get_all_start_methods,
    get_context,
    queues,
    resource_tracker,
)
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from planetcr_models.errors import ModelError, TrainingError
from planetcr_models.training.patches import PRODUCTS, Patches

Batch = dict[str, Tensor]
"""``cloudy`` and ``clear`` (B, bands, H, W) and ``sar`` (B, bands, h, w), float32 in [0, 1];
``cloud_mask`` (B, H, W), boolean; ``land_cover`` (B, H, W), uint8. What the dataset lacks is left
out."""

Draw = tuple[int, int]
"""Epoch and patch, which together with the seed determine a crop."""


START_METHOD: Final = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
"""How readers are started; they would inherit CUDA and threads from a fork."""


class Crops(Dataset[Batch]):
    """Random crops of patches, one per patch and epoch.

    Position and orientation of a crop follow from seed, epoch and patch alone, not from the process
    that reads it, nor from what was read before.

    Args:
        patches: Patches to crop.
        crop: Side in optical pixels, a multiple of the patches' ``cell``.
        turns: Flip and rotate by quarter turns at random.
        seed: Of position and orientation.

    Raises:
        ModelError: The crop is larger than the patches, or off their grid.
    """

    def __init__(self, patches: Patches, *, crop: int, turns: bool, seed: int) -> None:
        cell, smallest = patches.cell, patches.smallest
        largest = smallest - smallest % cell
        if cell > 1 and (not cell <= crop <= largest or crop % cell):
            raise ModelError(
                f"crop: expected a multiple of {cell} pixels up to {largest}, so that optical and "
                f"radar pixels are not divided, got {crop}"
            )
        if not 1 <= crop <= largest:
            raise ModelError(
                f"crop: expected at most {largest} pixels, the side of the smallest training "
                f"image, got {crop}; use a smaller --crop"
            )
        self.patches, self.crop, self.turns, self.seed = patches, crop, turns, seed

    def __getitem__(self, draw: Draw) -> Batch:
        """One crop, without the batch axis."""
        epoch, index = draw
        random = np.random.default_rng((self.seed, epoch, index))
        cell = self.patches.cell
        places = [(side - self.crop) // cell + 1 for side in self.patches.size(index)]
        top, left = (int(random.integers(count)) * cell for count in places)
        patch = self.patches.read(index, top=top, left=left, size=self.crop)
        turn = int(random.integers(8)) if self.turns else 0
        products = ((name, getattr(patch, name)) for name in PRODUCTS)
        return {
            name: torch.from_numpy(dihedral(pixels, turn))
            for name, pixels in products
            if pixels is not None
        }


def dihedral(image: np.ndarray[Any, Any], turn: int) -> np.ndarray[Any, Any]:
    """Apply one of the eight symmetries of a square: quarter turns, from 4 on with a flip.

    Args:
        image: Shape (..., H, H).
        turn: 0 to 7; 0 is the identity.
    """
    if turn >= 4:
        image = image[..., ::-1]
    return np.ascontiguousarray(np.rot90(image, turn % 4, axes=(-2, -1)))


class Batches(Sampler[list[Draw]]):
    """Patches of each step in this process.

    Every epoch has a different order, which follows from seed and epoch. The batch of a step is
    divided equally over the processes. The last, incomplete batch of an epoch is dropped.

    Args:
        patches: Number of patches.
        batch: Patches per step, over all processes together.
        seed: Of the order.
        first: First step, counted over all epochs.
        last: Step after the last one.
        rank: Number of this process.
        world: Number of processes.

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
        """Number of complete batches of an epoch."""
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


class _BatchesOrErrors(Dataset[Any]):
    """Batches, or the error of a reader, which is raised by the process that waits for it.

    Args:
        crops: Crops to read.
    """

    def __init__(self, crops: Crops) -> None:
        self.crops = crops

    def __getitems__(self, draws: list[Draw]) -> Batch | Exception:
        """The crops of a batch."""
        try:
            return dict(default_collate([self.crops[draw] for draw in draws]))
        except Exception as error:  # noqa: BLE001  # raised by the process that waits
            return error


def _identity(batch: Any) -> Any:
    return batch


def load(crops: Crops, batches: Batches, *, workers: int, pin: bool) -> DataLoader[Any]:
    """Read batches, in worker processes that start once for the whole run; see :func:`reading`.

    Args:
        crops: Crops to read.
        batches: Their order.
        workers: Number of processes; 0 reads between the steps.
        pin: Use pinned memory, from which a GPU copies while it computes.
    """
    return DataLoader(
        _BatchesOrErrors(crops),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_identity,
        pin_memory=pin,
        multiprocessing_context=START_METHOD if workers else None,
        worker_init_fn=_prepare_reader if workers else None,
        prefetch_factor=4 if workers else None,
    )


def _prepare_reader(_: int) -> None:
    """Make a reader ignore Ctrl-C, and end it if a batch cannot be sent.

    The run finishes its step before it ends its readers. Without the latter, the run would wait
    for ever where shared memory is too small.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # the only hook of a queue that cannot send, and not a public one
    queues.Queue._on_queue_feeder_error = staticmethod(_exit)  # type: ignore[attr-defined]  # noqa: SLF001


def _exit(*_: object) -> None:
    os._exit(1)


@contextmanager
def reading(loader: DataLoader[Any]) -> Iterator[Iterator[Batch]]:
    """Yield batches one by one; no reader outlives the block, whatever ends it.

    Raises:
        TrainingError: Readers cannot be started, or end prematurely.
        Exception: Any error of reading a patch.
    """
    others = set(active_children())
    batches = _batches(loader)
    try:
        yield batches
    finally:
        batches.close()
        for reader in set(active_children()) - others:
            reader.kill()  # they ignore other signals, and Python would wait for them at its end
            reader.join(1)


def _batches(loader: DataLoader[Any]) -> Generator[Batch, None, None]:
    with _reader_errors(loader.num_workers):
        if loader.num_workers:
            if START_METHOD == "forkserver":
                _start_forkserver()
            _try_queues(loader.num_workers)
        batches = iter(loader)
    try:
        while True:
            with _reader_errors(loader.num_workers):
                batch = next(batches, None)
                if isinstance(batch, Exception):
                    raise batch
            if batch is None:
                return
            yield batch
    finally:
        if loader.num_workers:  # at once: a traceback may hold on to it
            batches._shutdown_workers()  # type: ignore[attr-defined]  # noqa: SLF001


@contextmanager
def _reader_errors(workers: int) -> Iterator[None]:
    """Explain in one line why readers fail."""
    try:
        yield
    except (OSError, EOFError, RuntimeError) as error:
        text = str(error)
        signs = ("DataLoader", "shared memory", "shm", "Too many open files")
        starts = isinstance(error, OSError) and error.filename is None
        if not workers or not (starts or any(sign in text for sign in signs)):
            raise
        first_line = text.partition("\n")[0].partition(" for file")[0]
        reason = getattr(error, "strerror", None) or first_line
        raise TrainingError(
            f"--loader-workers {workers}: the processes that read training scenes fail ({reason}); "
            "usually shared memory is too small: give the container more (docker run "
            "--shm-size=8g), or use fewer --loader-workers; 0 reads without any"
        ) from error


def _try_queues(workers: int) -> None:
    """Raise OSError where queues cannot be made: a loader that is half made prints a traceback."""
    context = get_context(START_METHOD)
    tried = [context.Queue() for _ in range(workers + 1)], context.Event()
    del tried


def _start_forkserver() -> None:
    """Start the process that forks the readers, so that it does not receive Ctrl-C."""
    resource_tracker.ensure_running()  # unblocks the signal when it starts
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
