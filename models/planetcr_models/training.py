"""An objective and patches in, a trained network out: steps, checkpoints, validation, devices.

A run is exact: what a step does follows from the recipe, the data and the step's number alone. The
order of patches, crops, dropout and learning rates are functions of it, so a run that was killed
goes on from its last checkpoint as if nothing had been, and the same batch gives the same losses on
one device or on several, but for rounding.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, Final, Literal, Protocol

import torch
import torch.distributed
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.plugins.precision.amp import MixedPrecision
from lightning.fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from planetcr_models.checkpoint import expect_file, unpickle
from planetcr_models.crops import Batch, Batches, Crops, load
from planetcr_models.errors import TrainingError
from planetcr_models.inference import choose_device
from planetcr_models.journal import Journal
from planetcr_models.objectives import Objective
from planetcr_models.patches import Patches

CHECKPOINT: Final = "last.ckpt"
"""All that a run needs to go on."""

BEST, LAST = "best.safetensors", "last.safetensors"
"""Weights of the epoch with the best criterion, and of the last one."""

FORMAT: Final = "planetcr_models training 1"

Precision = Literal["32", "bf16", "fp16"]

DIVERGED: Final = 10.0
"""Times its lowest that the smoothed loss may rise to."""


class Validation(Protocol):
    """Scores of a network on scenes that it does not learn from."""

    @property
    def criterion(self) -> str:
        """Key of :meth:`scores` whose largest value is the best."""

    @property
    def shown(self) -> Sequence[str]:
        """Keys that are told on the terminal."""

    def __len__(self) -> int: ...

    def measure(self, network: nn.Module, scenes: Sequence[int]) -> list[Any]:
        """Measure scenes by number; what comes out can be sent to other processes."""
        ...

    def scores(self, measured: Sequence[Any]) -> dict[str, float]:
        """Scores of scenes that were measured, by their names in tables and logs."""
        ...

    def picture(self, network: nn.Module, path: Path) -> None:
        """Draw a few scenes into a PNG file."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where and how a run computes; of these, only precision and parts change its numbers.

    Attributes:
        device: ``auto``, ``cpu`` or ``cuda``.
        devices: Of each node; each holds an equal share of a batch.
        nodes: Machines, as torchrun or Slurm start them.
        precision: ``32``, or ``bf16`` or ``fp16`` where the network may compute with less.
        parts: A batch is run through in so many parts, to save memory.
        workers: Processes per device that read.
        save_minutes: Longest time between two checkpoints.
        quiet: Show nothing on the terminal.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Precision = "32"
    parts: int = 1
    workers: int = 0
    save_minutes: float = 10.0
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run.

    Attributes:
        steps: Done, over all of its life.
        epoch: The best, from 1; the last where nothing was validated.
        scores: Of that epoch.
    """

    steps: int
    epoch: int
    scores: dict[str, float]


def make_fabric(settings: Settings) -> Fabric:
    """Devices and processes to train on.

    Raises:
        ModelError: CUDA is asked for and not there.
        TrainingError: More GPUs are asked for than there are, fp16 on a CPU, or another number of
            processes than torchrun or Slurm has started.
    """
    kind = choose_device(settings.device).type
    if settings.precision == "fp16" and kind == "cpu":
        raise TrainingError("precision: fp16 is for GPUs; on a CPU use bf16 or 32")
    there = torch.cuda.device_count() if kind == "cuda" else settings.devices
    if settings.devices > there:
        raise TrainingError(f"devices: expected up to {there} GPUs, got {settings.devices}")
    wanted = settings.devices * settings.nodes
    started = _processes()
    if started not in (None, wanted):
        raise TrainingError(
            f"devices: expected as many as the {started} processes that were started, got {wanted} "
            f"({settings.devices} devices on each of {settings.nodes} nodes)"
        )
    plugins: list[Any] = []
    if settings.precision != "32":
        plugins = [_Autocast("bf16-mixed" if settings.precision == "bf16" else "16-mixed", kind)]
    return Fabric(
        accelerator=kind,
        devices=settings.devices,
        num_nodes=settings.nodes,
        strategy=DDPStrategy(broadcast_buffers=False) if wanted > 1 else "auto",
        plugins=plugins,
    )


def _processes() -> int | None:
    """How many processes torchrun or Slurm has started; None if neither has."""
    if TorchElasticEnvironment.detect():
        return int(os.environ["WORLD_SIZE"])
    if SLURMEnvironment.detect():
        return int(os.environ.get("SLURM_NTASKS", "1"))
    return None


class _Autocast(MixedPrecision):
    """Less precision where torch says that it does no harm; images enter as they are.

    Lightning's own rounds them, and with them every network's sum of image and correction.
    """

    def convert_input(self, data: Any) -> Any:
        """Leave images in float32."""
        return data


def train(
    objective: Objective,
    patches: Patches,
    out: Path,
    *,
    save: Callable[[nn.Module, Path, Mapping[str, float]], object],
    identity: Mapping[str, Any],
    validation: Validation | None = None,
    settings: Settings | None = None,
    fabric: Fabric | None = None,
) -> Outcome:
    """Train, from the beginning or from where an earlier call stopped.

    Args:
        objective: Networks with fresh weights, and their recipe.
        patches: To learn from.
        out: Folder of the run; made where there is none.
        save: Writes weights to a file, with their scores on the validation scenes.
        identity: All that decides the result, beside what ``objective`` says; a run of another
            identity is not gone on with.
        validation: Scored after each epoch.
        settings: See :class:`Settings`.
        fabric: Devices, where they are ready already; else made after ``settings``.

    Returns:
        The best epoch and its scores.

    Raises:
        TrainingError: The folder holds another run, the loss is no number or has run away, or
            memory does not suffice. The last checkpoint is as it was.
        ModelError: A crop, batch or recipe that does not fit.
        KeyboardInterrupt: It was asked to stop, and has written a checkpoint.
        OSError: Something cannot be written; what was there before is intact.
    """
    settings = settings or Settings()
    recipe = objective.recipe
    crops = Crops(patches, crop=recipe.crop, turns=recipe.turns, seed=recipe.seed)
    if fabric is None:
        fabric = make_fabric(settings)
        fabric.launch()
    per_epoch = steps_per_epoch(len(patches), recipe.batch, fabric.world_size, settings.parts)
    if settings.parts > 1 and not objective.divisible:
        raise TrainingError(
            "parts: a GAN's batch normalisation wants its batch whole; use a smaller batch instead"
        )
    run = _Run(objective, out, fabric, dict(identity), recipe.ema)
    run.restore()
    _expect_same_step(fabric, run.step, out)
    total = recipe.epochs * per_epoch
    batches = Batches(
        len(patches),
        batch=recipe.batch,
        seed=recipe.seed,
        first=run.step,
        last=total,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    journal = Journal(
        out if fabric.is_global_zero else None,
        first=run.step,
        steps=total,
        epochs=recipe.epochs,
        batch=recipe.batch,
        quiet=settings.quiet,
    )
    on_gpu = fabric.device.type == "cuda"
    loader = load(crops, batches, workers=settings.workers, pin=on_gpu)
    guard = _Guard(objective.main, out)
    saved = time.monotonic()
    with contextlib.closing(journal), _asked_to_stop() as stop:
        for batch, waited in _timed(loader):
            step, epoch = run.step, run.step // per_epoch + 1
            _seed(recipe.seed, step, fabric.global_rank)
            objective.set_rate(recipe.factor(step, per_epoch))
            with _memory(recipe.batch, settings.parts, divisible=objective.divisible):
                terms = objective.step(fabric.to_device(batch), parts=settings.parts)
            means, stopping = _together(fabric, terms, stop.is_set())
            guard.check(step + 1, means)
            run.stepped()
            rate = recipe.learning_rate * recipe.factor(step, per_epoch)
            journal.step(step + 1, epoch, {**means, "learning_rate": rate}, waited=waited)
            if run.step % per_epoch == 0:
                _finish_epoch(run, epoch, journal, validation, save)
                saved = time.monotonic()
            elif stopping or time.monotonic() - saved > 60 * settings.save_minutes:
                run.save()
                saved = time.monotonic()
            if stopping and run.step < total:
                fabric.barrier()  # who leaves before the checkpoint is written ends all
                raise KeyboardInterrupt
    return Outcome(run.step, run.best.epoch, run.best.scores)


def steps_per_epoch(patches: int, batch: int, world: int, parts: int) -> int:
    """Steps of an epoch.

    Raises:
        ModelError: Too few patches for a batch, or a batch that cannot be cut equally.
    """
    if batch % (world * parts):
        raise TrainingError(
            f"batch: expected a multiple of {world * parts} ({world} devices, {parts} parts each), "
            f"got {batch}"
        )
    return Batches(patches, batch=batch, seed=0, last=0, world=world).steps_per_epoch


@dataclass(frozen=True, slots=True)
class Speed:
    """What :func:`rehearse` measures.

    Attributes:
        steps: Of an epoch.
        loader: Samples per second that can be read, nothing else being done.
        step: Samples per second that can be learnt from, if reading takes no time.
        validation_seconds: After each epoch.
    """

    steps: int
    loader: float
    step: float
    validation_seconds: float


def rehearse(
    objective: Objective,
    patches: Patches,
    validation: Validation | None = None,
    settings: Settings | None = None,
    *,
    seconds: float = 10.0,
) -> Speed:
    """Measure reading, a few steps and the validation of a scene on one device; nothing is kept.

    It sees one device's share of a batch; several devices are taken to be as fast each.

    Args:
        objective: Its weights are changed.
        patches: To learn from.
        validation: Of which one scene is measured.
        settings: See :class:`Settings`.
        seconds: To spend on reading, and again on steps, beyond the first of each.

    Raises:
        ModelError: See :func:`train`.
    """
    settings = settings or Settings()
    world = settings.devices * settings.nodes
    recipe, fabric = objective.recipe, make_fabric(replace(settings, devices=1, nodes=1))
    crops = Crops(patches, crop=recipe.crop, turns=recipe.turns, seed=recipe.seed)
    per_epoch = steps_per_epoch(len(patches), recipe.batch, world, settings.parts)
    total = recipe.epochs * per_epoch
    batches = Batches(
        len(patches), batch=recipe.batch, seed=recipe.seed, last=total + 1, world=world
    )
    on_gpu = fabric.device.type == "cuda"
    loader = iter(load(crops, batches, workers=settings.workers, pin=on_gpu))
    first = fabric.to_device(next(loader))
    reading = _pace(lambda: next(loader), seconds, total)
    objective.prepare(fabric)
    objective.set_rate(recipe.factor(0, per_epoch))

    def step() -> None:
        with _memory(recipe.batch, settings.parts, divisible=objective.divisible):
            objective.step(first, parts=settings.parts)["loss"].item()

    step()
    learning = _pace(step, seconds, total)
    validating = 0.0
    if validation is not None:
        validation.measure(objective.network, [0])  # what is compiled is compiled now
        validating = _pace(lambda: validation.measure(objective.network, [0]), seconds / 2, 4)
    return Speed(
        steps=per_epoch,
        loader=recipe.batch / reading,
        step=recipe.batch / learning,
        validation_seconds=validating * len(validation or ()) / world,
    )


def _pace(act: Callable[[], object], seconds: float, times: int) -> float:
    """Seconds that it takes on average, measured for so long, at most so many times."""
    started, done = time.perf_counter(), 0
    while done < max(times, 1) and (not done or time.perf_counter() - started < seconds):
        act()
        done += 1
    return (time.perf_counter() - started) / done


# --- What lasts -----------------------------------------------------------------------------


@dataclass(slots=True)
class _Best:
    epoch: int = 0
    criterion: float = -math.inf
    scores: dict[str, float] = field(default_factory=dict)


class _Run:
    """A run's state, and its checkpoint file."""

    def __init__(
        self,
        objective: Objective,
        out: Path,
        fabric: Fabric,
        identity: dict[str, Any],
        ema: float,
    ) -> None:
        self.objective, self.out, self.fabric = objective, out, fabric
        self.identity = identity
        self.step, self.best = 0, _Best()
        objective.prepare(fabric)
        self.average = (
            AveragedModel(
                objective.network, multi_avg_fn=get_ema_multi_avg_fn(ema), use_buffers=True
            )
            if ema
            else None
        )

    @property
    def network(self) -> nn.Module:
        """The one that is validated and kept: the averaged one, where there is an average."""
        return self.objective.network if self.average is None else self.average.module

    def stepped(self) -> None:
        self.step += 1
        if self.average is not None:
            self.average.update_parameters(self.objective.network)

    def restore(self) -> None:
        """Go on from the checkpoint, if there is one."""
        path = self.out / CHECKPOINT
        self.out.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            return
        state = read_checkpoint(path)
        expect_same_run(path, state["identity"], self.identity)
        self.step, self.best = state["step"], _Best(**state["best"])
        self.objective.load_state_dict(state["objective"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])

    def expect_numbers(self) -> None:
        """Raise TrainingError before weights that are no numbers take the place of good ones."""
        networks = [*self.objective.networks.values(), self.network]
        broken = [
            name
            for network in networks
            for name, value in network.state_dict().items()
            if not value.isfinite().all()
        ]
        if broken:
            raise TrainingError(
                f"step {self.step}: weights are no numbers any more ({broken[0]}); "
                f"{_advice(self.out)}"
            )

    def save(self) -> None:
        """Write the checkpoint in one step; only one process does."""
        self.expect_numbers()
        if not self.fabric.is_global_zero:
            return
        state = {
            "format": FORMAT,
            "identity": self.identity,
            "step": self.step,
            "best": {
                "epoch": self.best.epoch,
                "criterion": self.best.criterion,
                "scores": self.best.scores,
            },
            "objective": self.objective.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }
        write_checkpoint(self.out / CHECKPOINT, state)


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint so that a kill or a full disk leaves the one before.

    Raises:
        OSError: It cannot be written.
    """
    beside = path.with_name(f".{path.name}.partial")
    try:
        with beside.open("wb") as file:
            try:
                torch.save(state, file)
            except RuntimeError as error:  # what torch makes of a full disk
                raise OSError(f"{path}: cannot be written, the disk may be full") from error
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, without running any code that it may hold.

    Raises:
        CheckpointError: It cannot be read.
        TrainingError: It is none of a training run.
    """
    expect_file(path, "the checkpoint of a training run")
    state = unpickle(path, "checkpoint of a training run")
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise TrainingError(
            f"{path}: expected the checkpoint of a training run of this version, found another "
            "file; choose another --out"
        )
    return state


def expect_same_run(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise TrainingError unless a checkpoint is of the run that is asked for."""
    other = [
        f"{key}: {there.get(key, 'none')} there, {here.get(key, 'none')} now"
        for key in {**there, **here}
        if there.get(key) != here.get(key)
    ]
    if other:
        raise TrainingError(
            f"{path}: is of another run; choose a new folder with --out, or give the command that "
            "began it",
            other,
        )


def _expect_same_step(fabric: Fabric, step: int, out: Path) -> None:
    """Raise TrainingError unless all processes have read the same checkpoint."""
    steps = torch.as_tensor(fabric.all_gather(torch.tensor(step, device=fabric.device)))
    if steps.min() != steps.max():
        raise TrainingError(
            f"{out / CHECKPOINT}: expected all processes to go on from one step, got "
            f"{sorted(set(steps.tolist()))}; lay the folder where every node can read it"
        )


def _finish_epoch(
    run: _Run,
    epoch: int,
    journal: Journal,
    validation: Validation | None,
    save: Callable[[nn.Module, Path, Mapping[str, float]], object],
) -> None:
    """Validate, keep what is best, write the checkpoint; in this order, for kills may come."""
    fabric, scores, note = run.fabric, dict[str, float](), ""
    if validation is not None:
        mine = range(fabric.global_rank, len(validation), fabric.world_size)
        scores = validation.scores(_gathered(fabric, validation.measure(run.network, mine)))
        criterion = scores[validation.criterion]
        if criterion > run.best.criterion or not run.best.epoch:  # the first may be nan
            run.best = _Best(epoch, criterion, scores)
            note = " · best so far"
    else:
        run.best = _Best(epoch)
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
    journal.epoch(run.step, epoch, scores, shown=shown, note=note)
    run.save()
    fabric.barrier()
    journal.restart()


def _gathered(fabric: Fabric, measured: list[Any]) -> list[Any]:
    """What all processes measured."""
    if fabric.world_size == 1:
        return measured
    parts: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(parts, measured)
    return [one for part in parts for one in part]


# --- One step -------------------------------------------------------------------------------


def _timed(loader: DataLoader[Batch]) -> Iterator[tuple[Batch, float]]:
    """Batches, and the seconds that each was waited for."""
    batches = iter(loader)
    while True:
        started = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - started


def _seed(seed: int, step: int, rank: int) -> None:
    """Make dropout and its like a function of the step, as it must be to go on exactly."""
    torch.manual_seed((seed * 1_000_003 + step) * 4_099 + rank)


def _together(
    fabric: Fabric, terms: Mapping[str, Tensor], stopping: bool
) -> tuple[dict[str, float], bool]:
    """Mean losses over all processes, and whether any of them was asked to stop."""
    values = [*terms.values(), torch.tensor(float(stopping), device=fabric.device)]
    stacked = torch.stack([value.float().reshape(()) for value in values])
    reduced: Any = fabric.all_reduce(stacked, reduce_op="mean")
    *means, stop = reduced.tolist()
    return dict(zip(terms, means, strict=True)), stop > 0


class _Guard:
    """Stops a run whose loss is no number, or has left where it was for good."""

    def __init__(self, main: str, out: Path) -> None:
        self.main, self.out = main, out
        self.smooth = self.lowest = math.inf
        self.seen = 0

    def check(self, step: int, terms: Mapping[str, float]) -> None:
        for name, value in terms.items():
            if not math.isfinite(value):
                raise TrainingError(f"step {step}: {name} is {value}; {_advice(self.out)}")
        value, self.seen = terms[self.main], self.seen + 1
        self.smooth = value if self.seen == 1 else 0.98 * self.smooth + 0.02 * value
        if self.seen >= 100:
            self.lowest = min(self.lowest, self.smooth)
            if self.smooth > DIVERGED * self.lowest:
                raise TrainingError(
                    f"step {step}: training diverged: {self.main}, smoothed, is {self.smooth:.4g} "
                    f"and was {self.lowest:.4g}; {_advice(self.out)}"
                )


def _advice(out: Path) -> str:
    kept = out / CHECKPOINT
    there = f"{kept} is kept as it was before" if kept.exists() else "there is no checkpoint yet"
    return f"{there}; try a lower learning_rate, clip=1, or precision 32, in a new folder"


@contextlib.contextmanager
def _memory(batch: int, parts: int, *, divisible: bool) -> Iterator[None]:
    """Turn a lack of memory into a message that says what helps."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        lacks = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not lacks and "can't allocate memory" not in str(error):
            raise
        parts_help = f", or run it through in parts with --accumulate {2 * parts}"
        raise TrainingError(
            f"memory does not suffice for a batch of {batch}; use a smaller --batch"
            f"{parts_help if divisible else ''}, or a smaller --crop"
        ) from error


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Set once the process is asked to end; a step is finished first, then a checkpoint written."""
    asked = threading.Event()
    before: dict[int, Any] = {}

    def ask(number: int, _: FrameType | None) -> None:
        asked.set()
        signal.signal(number, before[number])  # asked twice, it stops at once

    if threading.current_thread() is threading.main_thread():
        for one in (signal.SIGINT, signal.SIGTERM):
            before[one] = signal.signal(one, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
