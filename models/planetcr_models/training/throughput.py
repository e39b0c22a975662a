"""Estimate how fast an objective trains on this machine."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from lightning.fabric import Fabric

from planetcr_models.errors import TrainingError
from planetcr_models.training.devices import (
    TrainingSettings,
    compiler,
    fast_arithmetic,
    make_fabric,
)
from planetcr_models.training.loader import Batch, Batches, Crops, load, reading
from planetcr_models.training.objectives import Objective
from planetcr_models.training.patches import Patches
from planetcr_models.training.recipes import Recipe
from planetcr_models.training.trainer import Validation, enough_memory, steps_per_epoch

MOST_BYTES: Final = 3 << 30
"""Most memory of a CPU that a dry run takes; what larger steps need is estimated."""

SMALL: Final = 80
"""Side of the smallest crop that is tried, in pixels."""

_STATE: Final = 3  # a gradient and Adam's two moments, beside each weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Result of :func:`estimate_throughput`.

    Attributes:
        steps: Steps per epoch.
        loader: Samples per second that all devices together can read.
        step: Samples per second that they can train on, without the time for reading.
        scene_seconds: Time to validate one scene on one device.
        validation_seconds: Time of the validation after each epoch.
        device: Name of the device.
        tried_images: Images of the largest batch that was tried.
        tried_crop: Side of its crops, in pixels.
        peak_bytes: Peak memory of the process, or of the GPU; 0 if unknown.
        step_bytes: Expected memory of a step of the recipe on each device, likewise.
        memory_bytes: Memory of the device, likewise.
    """

    steps: int
    loader: float
    step: float
    scene_seconds: float
    validation_seconds: float
    device: str = ""
    tried_images: int = 0
    tried_crop: int = 0
    peak_bytes: int = 0
    step_bytes: int = 0
    memory_bytes: int = 0

    def steps_per_second(self, *, batch: int, cached: bool = False) -> float:
        """Estimate the pace of a run.

        Args:
            batch: Images per step, over all devices together.
            cached: Ignore the time for reading.
        """
        return (self.step if cached else min(self.loader, self.step)) / batch

    def hours(self, recipe: Recipe, *, cached: bool = False) -> float:
        """Estimate the duration of a run.

        Args:
            recipe: Its epochs, batch, and budget.
            cached: Ignore the time for reading.
        """
        budget = recipe.budget(self.steps)
        seconds = budget.seconds
        if budget.steps is not None:
            seconds = budget.steps / self.steps_per_second(batch=recipe.batch, cached=cached)
        return (seconds + recipe.epochs * self.validation_seconds) / 3600

    def total_steps(self, recipe: Recipe, *, cached: bool = False) -> int:
        """Estimate the steps of a run, at least one; exact unless the recipe limits minutes.

        Args:
            recipe: Its epochs, batch, and budget.
            cached: Ignore the time for reading.
        """
        budget = recipe.budget(self.steps)
        if budget.steps is not None:
            return budget.steps
        pace = self.steps_per_second(batch=recipe.batch, cached=cached)
        return max(1, round(budget.seconds * pace))


def estimate_throughput(
    objective: Objective,
    patches: Patches,
    validation: Validation | None = None,
    settings: TrainingSettings | None = None,
    *,
    seconds: float = 8.0,
) -> Speed:
    """Measure reading, a few steps and the validation of a scene on one device.

    Steps start with one image and grow to a device's share of a batch while time and memory last;
    beyond that, time and memory are extrapolated from the largest step by the number of pixels.
    Several GPUs are assumed to be equally fast; several processes on a CPU share it.

    Args:
        objective: Its weights are changed.
        patches: Training patches.
        validation: One of its scenes is measured.
        settings: See :class:`TrainingSettings`.
        seconds: Time for reading, and again for steps, beyond the first of each.

    Raises:
        ModelError: See :func:`train`; there is not enough memory for one image.
    """
    settings = settings or TrainingSettings()
    world = settings.devices * settings.nodes
    recipe, fabric = objective.recipe, make_fabric(replace(settings, devices=1, nodes=1))
    crops = Crops(patches, crop=recipe.crop, turns=recipe.turns, seed=recipe.seed)
    per_epoch = steps_per_epoch(len(patches), recipe.batch, world, settings.micro_batches)
    total = recipe.epochs * per_epoch
    batches = Batches(
        len(patches), batch=recipe.batch, seed=recipe.seed, last=total + 1, world=world
    )
    on_gpu = fabric.device.type == "cuda"
    with reading(load(crops, batches, workers=settings.workers, pin=on_gpu)) as read:
        share = next(read)
        reading_seconds = _pace(lambda: next(read), seconds / 2, total)
    part = {name: values[: len(values) // settings.micro_batches] for name, values in share.items()}
    with fast_arithmetic(settings.precision):
        objective.prepare(fabric, compiler(settings))
        objective.set_rate(recipe.factor(recipe.budget(per_epoch).progress(0)))
        trial = _try_steps(objective, fabric, part, seconds)
    at_once = world if on_gpu else settings.nodes  # on a CPU they share one device
    scene = 0.0
    if validation is not None:
        forward = trial.image_seconds * math.prod(patches.size(0)) / recipe.crop**2 / 3
        scene = forward if forward > seconds / 2 else _scene_seconds(objective, validation, seconds)
    return Speed(
        steps=per_epoch,
        loader=recipe.batch / reading_seconds,
        step=at_once / trial.image_seconds,
        scene_seconds=scene,
        validation_seconds=scene * len(validation or ()) / at_once,
        device=_device_name(fabric),
        tried_images=trial.images,
        tried_crop=trial.crop,
        peak_bytes=trial.peak_bytes,
        step_bytes=trial.step_bytes,
        memory_bytes=_memory(fabric),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """The largest step that was tried.

    Attributes:
        images: Number of images.
        crop: Their side.
        image_seconds: Time per image of the recipe.
        peak_bytes: Peak memory.
        step_bytes: Expected memory of the whole share.
    """

    images: int
    crop: int
    image_seconds: float
    peak_bytes: int
    step_bytes: int


def _try_steps(objective: Objective, fabric: Fabric, share: Batch, seconds: float) -> _Trial:
    """Try ever larger parts of a device's share of a batch, while time and memory last."""
    images, crop = len(share["cloudy"]), share["cloudy"].shape[-1]
    base, limit = _taken(fabric), _limit(fabric)
    base += _STATE * sum(
        parameter.numel() * parameter.element_size()
        for network in objective.networks.values()
        for parameter in network.parameters()
    )
    trial: _Trial | None = None
    for number, side in _sizes(images, crop):
        fraction = number * side**2 / (images * crop**2)
        if trial is not None:
            predicted = base + (trial.step_bytes - base) * fraction
            longer = trial.image_seconds * images * fraction
            if (limit and predicted > limit) or longer > seconds:
                break
        batch = fabric.to_device(_smaller(share, number, side))
        try:
            took = _step_seconds(objective, batch, number, seconds)
        except TrainingError:
            if trial is None:
                raise
            break
        except Exception as error:  # of a step that is too small, as for batch normalisation
            if (number, side) == (images, crop) and not isinstance(error, ValueError):
                raise
            continue
        peak = _peak(fabric)
        trial = _Trial(
            images=number,
            crop=side,
            image_seconds=took / (images * fraction),
            peak_bytes=peak,
            step_bytes=round(base + max(0, peak - base) / fraction) if peak else 0,
        )
    if trial is None:
        raise TrainingError(
            f"batch: expected enough images for batch normalisation, got {images}; use a larger "
            "--batch, or fewer --micro-batches"
        )
    return trial


def _sizes(images: int, crop: int) -> Iterator[tuple[int, int]]:
    """Images and the side of each, from the smallest step to the recipe's."""
    if crop > SMALL:
        yield 1, SMALL
    number = 1
    while number < images:
        yield number, crop
        number *= 2
    yield images, crop


def _smaller(batch: Batch, images: int, side: int) -> Batch:
    """The first images of a batch, and the first corner of each."""
    whole = batch["cloudy"].shape[-1]
    return {
        name: values[
            :images, ..., : values.shape[-2] * side // whole, : values.shape[-1] * side // whole
        ]
        for name, values in batch.items()
    }


def _step_seconds(objective: Objective, batch: Batch, images: int, seconds: float) -> float:
    """Seconds per step, without the slower first one if steps are short."""

    def step() -> None:
        with enough_memory(images, 1, divisible=objective.divisible):
            next(iter(objective.step(batch).values())).item()

    first = _pace(step, 0, 1)
    return first if first > seconds / 2 else _pace(step, seconds / 2, 100)


def _scene_seconds(objective: Objective, validation: Validation, seconds: float) -> float:
    validation.measure(objective.network, [0])  # compiles what is compiled
    return _pace(lambda: validation.measure(objective.network, [0]), seconds / 2, 4)


def _pace(act: Callable[[], object], seconds: float, times: int) -> float:
    """Average duration in seconds, measured for a limited time and number of calls."""
    started, done = time.perf_counter(), 0
    while done < max(times, 1) and (not done or time.perf_counter() - started < seconds):
        act()
        done += 1
    return (time.perf_counter() - started) / done


# --- The machine ----------------------------------------------------------------------------


def _device_name(fabric: Fabric) -> str:
    if fabric.device.type == "cuda":
        return f"{fabric.device} ({torch.cuda.get_device_name(fabric.device)})"
    return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"


def _memory(fabric: Fabric) -> int:
    """Memory of a device in bytes."""
    if fabric.device.type == "cuda":
        return torch.cuda.mem_get_info(fabric.device)[1]
    with suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0


def _limit(fabric: Fabric) -> int:
    """Memory that a trial may use, in bytes; 0 if unknown."""
    if fabric.device.type == "cuda":
        return torch.cuda.mem_get_info(fabric.device)[0]
    with suppress(AttributeError, ValueError, OSError):
        return min(MOST_BYTES, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    return MOST_BYTES


def _taken(fabric: Fabric) -> int:
    """Memory in use, in bytes."""
    if fabric.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(fabric.device)
        return torch.cuda.memory_allocated(fabric.device)
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _peak(fabric: Fabric) -> int:
    """Peak memory in bytes; 0 if unknown."""
    if fabric.device.type == "cuda":
        return torch.cuda.max_memory_allocated(fabric.device)
    with suppress(ImportError):
        import resource

        unit = 1 if platform.system() == "Darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return 0
