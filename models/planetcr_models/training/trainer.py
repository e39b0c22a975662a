"""Train a network: steps, checkpoints, validation, devices.

A run is deterministic: a step follows from the recipe, the data and its number alone. The order of
patches, crops, dropout and learning rates are functions of it, so a killed run resumes exactly from
its last checkpoint, and the same batch gives the same losses on one device or on several, up to
rounding. Only with a budget in minutes do the rates, and the number of steps, depend on the clock.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final, Protocol

import torch
import torch.distributed
from lightning.fabric import Fabric
from torch import Tensor, nn

from planetcr_models.errors import TrainingError
from planetcr_models.training.checkpoint import Best, Run, advice, expect_same_step
from planetcr_models.training.devices import (
    TrainingSettings,
    compiler,
    fast_arithmetic,
    first_line,
    make_fabric,
)
from planetcr_models.training.loader import Batch, Batches, Crops, load, reading
from planetcr_models.training.logger import Logger
from planetcr_models.training.objectives import Objective
from planetcr_models.training.patches import Patches
from planetcr_models.weights.sources import BEST, LAST

DIVERGED: Final = 10.0
"""Largest ratio of the smoothed loss to its minimum."""


class Validation(Protocol):
    """Scores of a network on scenes that it is not trained on."""

    @property
    def criterion(self) -> str:
        """Key of :meth:`scores` whose largest value is the best."""

    @property
    def shown(self) -> Sequence[str]:
        """Keys that the terminal shows."""

    def __len__(self) -> int: ...

    def measure(self, network: nn.Module, scenes: Sequence[int]) -> list[Any]:
        """Score scenes by number; the result can be sent to other processes."""
        ...

    def scores(self, measured: Sequence[Any]) -> dict[str, float]:
        """Scores of scenes, by their names in tables and logs."""
        ...

    def picture(self, network: nn.Module, path: Path) -> None:
        """Draw a few scenes into a PNG file."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a run.

    Attributes:
        steps: Number of all steps.
        epoch: The best epoch, from 1; the last one without validation.
        scores: Scores of that epoch.
        seconds: Training time, without start-up, validation and saving; not compared.
    """

    steps: int
    epoch: int
    scores: dict[str, float]
    seconds: float = field(default=0.0, compare=False)


def train(
    objective: Objective,
    patches: Patches,
    out: Path,
    *,
    save: Callable[[nn.Module, Path, Mapping[str, float]], object],
    identity: Mapping[str, Any],
    validation: Validation | None = None,
    settings: TrainingSettings | None = None,
    fabric: Fabric | None = None,
) -> Outcome:
    """Train from the beginning, or resume where an earlier call stopped.

    Args:
        objective: Networks with new weights, and their recipe.
        patches: Training patches.
        out: Folder of the run; created if needed.
        save: Writes weights to a file, with their scores on the validation scenes.
        identity: Everything that determines the result, beside ``objective``; a run of another
            identity is not resumed.
        validation: Scored after each epoch.
        settings: See :class:`TrainingSettings`.
        fabric: Devices, if they are set up already; otherwise made from ``settings``.

    Returns:
        The best epoch and its scores.

    Raises:
        TrainingError: The folder holds another run, the loss is NaN or diverges, or there is not
            enough memory. The last checkpoint is unchanged.
        ModelError: An invalid crop, batch or recipe.
        KeyboardInterrupt: It was asked to stop, and has written a checkpoint and its weights.
        OSError: A file cannot be written; its previous version is intact.
    """
    settings = settings or TrainingSettings()
    recipe = objective.recipe
    crops = Crops(patches, crop=recipe.crop, turns=recipe.turns, seed=recipe.seed)
    if fabric is None:
        fabric = make_fabric(settings)
        fabric.launch()
    per_epoch = steps_per_epoch(
        len(patches), recipe.batch, fabric.world_size, settings.micro_batches
    )
    _expect_divisible(objective, settings)
    run = Run(objective, out, fabric, dict(identity), recipe.ema, compiler(settings))
    run.restore()
    expect_same_step(fabric, run.step, out)
    budget = recipe.budget(per_epoch)
    progress = budget.progress(run.step, run.seconds)
    batches = Batches(
        len(patches),
        batch=recipe.batch,
        seed=recipe.seed,
        first=run.step,
        last=run.step if progress.finished else budget.last_step,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    logger = Logger(
        out if fabric.is_global_zero else None,
        first=run.step,
        budget=budget,
        batch=recipe.batch,
        quiet=settings.quiet,
        seconds=run.seconds,
    )
    loader = load(crops, batches, workers=settings.workers, pin=fabric.device.type == "cuda")
    reports = _Reports(run, _Guard(objective.main, out), logger)
    saved, since = run.seconds, None
    with (
        fast_arithmetic(settings.precision),
        contextlib.closing(logger),
        _asked_to_stop() as stop,
        reading(loader) as read,
    ):
        for batch, waited in _timed(read):
            if since is None:  # the first step begins: the time before is start-up
                since = time.monotonic()
            _seed(recipe.seed, run.step, fabric.global_rank)
            factor, epoch = recipe.factor(progress), progress.epoch
            objective.set_rate(factor)
            with enough_memory(recipe.batch, settings.micro_batches, divisible=objective.divisible):
                terms = objective.step(
                    fabric.to_device(batch), micro_batches=settings.micro_batches
                )
            run.stepped()
            row = _Row(
                step=run.step,
                epoch=epoch + 1,
                learning_rate=recipe.learning_rate * factor,
                waited=waited,
            )
            before, since = since, time.monotonic()
            reports.add(row, terms, seconds=since - before, stopping=stop.is_set())
            stopping = reports.read()
            progress = budget.progress(run.step, run.seconds)
            ends, due = progress.epoch > epoch, run.seconds - saved > 60 * settings.save_minutes
            if ends or due:
                stopping = reports.read(everything=True) or stopping
                # with the time of the latest step, from which a resumed run starts
                progress = budget.progress(run.step, run.seconds)
                ends = progress.epoch > epoch
            if ends:
                _finish_epoch(run, progress.epoch, logger, validation, save)
            elif due or stopping:
                _save(run, save)
            if ends or due or stopping:
                saved, since = run.seconds, time.monotonic()
            if progress.finished:
                break
            if stopping:
                fabric.barrier()  # a process that leaves before the checkpoint is written ends all
                raise KeyboardInterrupt
    return Outcome(run.step, run.best.epoch, run.best.scores, run.seconds)


def steps_per_epoch(patches: int, batch: int, world: int, micro_batches: int) -> int:
    """Number of steps per epoch.

    Raises:
        ModelError: Too few patches for a batch, or a batch that cannot be divided equally.
    """
    if batch % (world * micro_batches):
        raise TrainingError(
            f"batch: expected a multiple of {world * micro_batches} ({world} devices, "
            f"{micro_batches} micro-batches each), got {batch}"
        )
    return Batches(patches, batch=batch, seed=0, last=0, world=world).steps_per_epoch


def _expect_divisible(objective: Objective, settings: TrainingSettings) -> None:
    """Raise TrainingError for micro-batches of a network that needs the whole batch."""
    if settings.micro_batches > 1 and not objective.divisible:
        raise TrainingError(
            "micro_batches: a GAN's batch normalisation needs the whole batch; use a smaller "
            "batch instead"
        )


def _finish_epoch(
    run: Run,
    epoch: int,
    logger: Logger,
    validation: Validation | None,
    save: Callable[[nn.Module, Path, Mapping[str, float]], object],
) -> None:
    """Validate, save the best weights, write the checkpoint; in this order, in case of a kill."""
    fabric, scores, note = run.fabric, dict[str, float](), ""
    if validation is not None:
        mine = range(fabric.global_rank, len(validation), fabric.world_size)
        scores = validation.scores(_gathered(fabric, validation.measure(run.network, mine)))
        criterion = scores[validation.criterion]
        least = -math.inf if math.isnan(run.best.criterion) else run.best.criterion
        if criterion > least or not run.best.epoch:  # the first may be nan
            run.best = Best(epoch, criterion, scores)
            note = " · best so far"
    else:
        run.best = Best(epoch)
    run_is_best = run.best.epoch == epoch
    run.expect_numbers()
    if fabric.is_global_zero:
        if validation is not None:
            pictures = run.out / "pictures"
            pictures.mkdir(exist_ok=True)
            validation.picture(run.network, pictures / f"epoch-{epoch:03}.png")
        if run_is_best:
            save(run.network, run.out / BEST, scores)
        save(run.network, run.out / LAST, scores)
    shown = validation.shown if validation is not None else ()
    logger.epoch(run.step, epoch, scores, shown=shown, note=note)
    run.save()
    fabric.barrier()
    logger.restart()


def _save(run: Run, save: Callable[[nn.Module, Path, Mapping[str, float]], object]) -> None:
    """Write the checkpoint between two epochs, and the weights, which have no scores."""
    run.save()
    if run.fabric.is_global_zero:
        save(run.network, run.out / LAST, {})


def _gathered(fabric: Fabric, measured: list[Any]) -> list[Any]:
    """Gather the results of all processes."""
    if fabric.world_size == 1:
        return measured
    parts: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(parts, measured)
    return [scene for part in parts for scene in part]


def _timed(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    """Batches, with the seconds of waiting for each."""
    while True:
        started = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - started


def _seed(seed: int, step: int, rank: int) -> None:
    """Make dropout and the like a function of the step, so that runs resume exactly."""
    torch.manual_seed((seed * 1_000_003 + step) * 4_099 + rank)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """What is known of a step before its losses: its number from 1, epoch and so on."""

    step: int
    epoch: int
    learning_rate: float
    waited: float


LAG: Final = {"cpu": 0, "cuda": 1}
"""Steps by which losses are read late: a GPU that is asked for those of the running step would have
nothing to do when it answers."""


class _Reports:
    """Losses of each step, means over all processes: checked and logged in order, if late on a GPU.

    Args:
        run: Its training time is counted with the losses: that of the first process, so that all
            processes stop at the same step.
        guard: Checks the losses.
        logger: Logs them.
    """

    def __init__(self, run: Run, guard: _Guard, logger: Logger) -> None:
        self.run, self.fabric, self.guard, self.logger = run, run.fabric, guard, logger
        self.pending: deque[tuple[_Row, list[str], Tensor, Callable[[], object]]] = deque()

    def add(
        self, row: _Row, terms: Mapping[str, Tensor], *, seconds: float, stopping: bool
    ) -> None:
        """Add a step, its time, and whether this process was asked to stop; awaits no GPU."""
        shared = seconds * self.fabric.world_size if self.fabric.is_global_zero else 0.0
        own = [torch.full((), value, device=self.fabric.device) for value in (shared, stopping)]
        stacked = torch.stack([value.float().reshape(()) for value in (*terms.values(), *own)])
        if self.fabric.world_size > 1:  # Fabric's all_reduce awaits all GPUs before it
            torch.distributed.all_reduce(stacked)
            stacked /= self.fabric.world_size
        self.pending.append((row, [*terms], *_to_host(stacked)))

    def read(self, *, everything: bool = False) -> bool:
        """Check and log the steps that are due, and return whether any process was asked to stop.

        All processes get the same answer and training time at the same step.

        Args:
            everything: Up to the latest step, as before a checkpoint; also if the answer is yes.

        Raises:
            TrainingError: A loss is NaN or diverges.
        """
        stopping = False
        lag = LAG[self.fabric.device.type]
        while len(self.pending) > (0 if everything or stopping else lag):
            row, names, values, wait = self.pending.popleft()
            wait()
            *losses, seconds, stop = values.tolist()
            self.run.seconds += seconds
            means = dict(zip(names, losses, strict=True))
            self.guard.check(row.step, means)
            means["learning_rate"] = row.learning_rate
            self.logger.step(
                row.step, row.epoch, means, waited=row.waited, seconds=self.run.seconds
            )
            stopping = stopping or stop > 0
        return stopping


def _to_host(values: Tensor) -> tuple[Tensor, Callable[[], object]]:
    """Start to copy values from a GPU; return the copy, and a function that waits for it."""
    if not values.is_cuda:
        return values, lambda: None
    copy = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    copy.copy_(values, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()
    return copy, copied.synchronize


class _Guard:
    """Stops a run whose loss is NaN or diverges."""

    def __init__(self, main: str, out: Path) -> None:
        self.main, self.out = main, out
        self.smooth = self.lowest = math.inf
        self.seen = 0

    def check(self, step: int, terms: Mapping[str, float]) -> None:
        for name, value in terms.items():
            if not math.isfinite(value):
                raise TrainingError(f"step {step}: {name} is {value}; {advice(self.out)}")
        value, self.seen = terms[self.main], self.seen + 1
        self.smooth = value if self.seen == 1 else 0.98 * self.smooth + 0.02 * value
        if self.seen >= 100:
            self.lowest = min(self.lowest, self.smooth)
            if self.smooth > DIVERGED * self.lowest:
                raise TrainingError(
                    f"step {step}: training diverged: {self.main}, smoothed, is {self.smooth:.4g} "
                    f"and was {self.lowest:.4g}; {advice(self.out)}"
                )


@contextlib.contextmanager
def enough_memory(batch: int, micro_batches: int, *, divisible: bool) -> Iterator[None]:
    """Turn a lack of memory into a message with remedies."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        lacks = isinstance(error, torch.OutOfMemoryError | MemoryError)
        _expect_compiled(error)
        if not lacks and "can't allocate memory" not in str(error):
            raise
        split = f", or split it with --micro-batches {2 * micro_batches}"
        raise TrainingError(
            f"not enough memory for a batch of {batch}; use a smaller --batch"
            f"{split if divisible else ''}, or a smaller --crop"
        ) from error


def _expect_compiled(error: Exception) -> None:
    """Raise TrainingError for an error of PyTorch's compiler."""
    from torch._dynamo.exc import TorchDynamoException

    if isinstance(error, TorchDynamoException):
        raise TrainingError(
            f"--compile: PyTorch cannot compile this network ({first_line(error)}); train without "
            "it"
        ) from error


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Set when the process is asked to end; the step is finished and a checkpoint written."""
    asked = threading.Event()
    before: dict[int, Any] = {}

    def ask(number: int, _: FrameType | None) -> None:
        asked.set()
        signal.signal(number, before[number])  # asked twice, it stops at once

    if threading.current_thread() is threading.main_thread():
        for kind in (signal.SIGINT, signal.SIGTERM):
            before[kind] = signal.signal(kind, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
