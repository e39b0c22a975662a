"""Count what a run may spend, in epochs, steps or minutes, and what it has spent."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is.

    Attributes:
        step: Finished steps.
        steps: Steps of the whole run; None if time limits it.
        epoch: Finished epochs.
        fraction: Share of the budget that is spent, in [0, 1].
    """

    step: int
    steps: int | None
    epoch: int
    fraction: float

    @property
    def finished(self) -> bool:
        """Whether the budget is spent."""
        return self.fraction >= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a run may spend, divided into epochs.

    Attributes:
        epochs: Number of equal parts: passes over the training scenes, unless the recipe limits
            steps or minutes.
        steps: Steps of the whole run; None if time limits it.
        seconds: Training time of the whole run; 0 if steps limit it.
    """

    epochs: int
    steps: int | None = None
    seconds: float = 0.0

    @property
    def last_step(self) -> int:
        """A number of steps that the run does not exceed."""
        return sys.maxsize if self.steps is None else self.steps

    def progress(self, step: int, seconds: float = 0.0) -> Progress:
        """Progress after some steps and seconds of training."""
        if self.steps is not None:
            epoch, fraction = step * self.epochs // self.steps, step / self.steps
        else:
            fraction = min(seconds / self.seconds, 1.0)
            epoch = int(fraction * self.epochs)
        return Progress(step=step, steps=self.steps, epoch=epoch, fraction=fraction)
