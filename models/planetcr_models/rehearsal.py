"""An objective and patches in, how fast it would be trained on this machine out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from planetcr_models.crops import Batches, Crops, load
from planetcr_models.devices import Settings, make_fabric
from planetcr_models.objectives import Objective
from planetcr_models.patches import Patches
from planetcr_models.training import Validation, enough_memory, steps_per_epoch


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
        with enough_memory(recipe.batch, settings.parts, divisible=objective.divisible):
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
