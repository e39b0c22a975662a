"""Save and restore everything that a training run needs to resume exactly."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from planetcr_models.errors import TrainingError
from planetcr_models.training.objectives import Objective
from planetcr_models.weights.checkpoint import unpickle
from planetcr_models.weights.paths import atomic_path, expect_file

CHECKPOINT: Final = "last.ckpt"
"""File with everything that a run needs to resume."""

RECIPE: Final = "recipe.toml"
"""File with the command of a run and everything that determines its result."""

FORMAT: Final = "planetcr_models training 2"


@dataclass(slots=True)
class Best:
    """The best epoch, from 1; 0 before the first one."""

    epoch: int = 0
    criterion: float = -math.inf
    scores: dict[str, float] = field(default_factory=dict)


class Run:
    """A run's state, and its checkpoint file.

    Attributes:
        step: Finished steps.
        seconds: Training time, the same in all processes; on a GPU without its latest step.
        best: The best epoch.
    """

    def __init__(
        self,
        objective: Objective,
        out: Path,
        fabric: Fabric,
        identity: dict[str, Any],
        ema: float,
        compiled: Callable[[nn.Module], nn.Module] | None = None,
    ) -> None:
        self.objective, self.out, self.fabric = objective, out, fabric
        self.identity = identity
        self.step, self.seconds, self.best = 0, 0.0, Best()
        objective.prepare(fabric, compiled)
        self.mix = get_ema_multi_avg_fn(ema)
        self.average = (
            AveragedModel(objective.network, multi_avg_fn=self.mix, use_buffers=True)
            if ema
            else None
        )

    @property
    def network(self) -> nn.Module:
        """The network that is validated and saved: the averaged one, if there is an average."""
        return self.objective.network if self.average is None else self.average.module

    def stepped(self) -> None:
        """Count a step and update the average."""
        self.step += 1
        if self.average is None:
            return
        if self.average.n_averaged == 0:  # kept on the CPU
            self.average.update_parameters(self.objective.network)
            return
        # as update_parameters does, which however copies its counter to a GPU and waits for it
        pairs = [*zip(_values(self.average.module), _values(self.objective.network), strict=True)]
        for floats in (True, False):
            some = [pair for pair in pairs if pair[0].is_floating_point() == floats]
            if some:
                self.mix(*map(list, zip(*some, strict=True)), None)
        self.average.n_averaged += 1

    def restore(self) -> None:
        """Resume from the checkpoint, if there is one."""
        path = self.out / CHECKPOINT
        self.out.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            return
        state = read_checkpoint(path)
        expect_same_run(path, state["identity"], self.identity)
        self.step, self.seconds = state["step"], state["seconds"]
        self.best = Best(**state["best"])
        self.objective.load_state_dict(state["objective"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])

    def expect_numbers(self) -> None:
        """Raise TrainingError before NaN weights replace valid ones."""
        networks = [*self.objective.networks.values(), self.network]
        broken = [
            name
            for network in networks
            for name, value in network.state_dict().items()
            if not value.isfinite().all()
        ]
        if broken:
            raise TrainingError(
                f"step {self.step}: weights are NaN or infinite ({broken[0]}); {advice(self.out)}"
            )

    def save(self) -> None:
        """Write the checkpoint atomically, in one process only."""
        self.expect_numbers()
        if not self.fabric.is_global_zero:
            return
        state = {
            "format": FORMAT,
            "identity": self.identity,
            "step": self.step,
            "seconds": self.seconds,
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


def _values(network: nn.Module) -> list[Tensor]:
    """Weights and buffers, without their gradients."""
    return [value.detach() for value in (*network.parameters(), *network.buffers())]


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically: a kill or a full disk leaves the previous one.

    Raises:
        OSError: It cannot be written.
    """
    with atomic_path(path) as beside, beside.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # what torch makes of a full disk
            raise OSError(f"{path}: cannot be written, the disk may be full") from error
        file.flush()
        os.fsync(file.fileno())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without executing code in it.

    Raises:
        CheckpointError: It cannot be read.
        TrainingError: It does not belong to a training run.
    """
    expect_file(path, "the checkpoint of a training run")
    state = unpickle(path, "checkpoint of a training run")
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise TrainingError(
            f"{path}: expected the checkpoint of a training run of this version, found another "
            "file; choose another --out"
        )
    return state


def expect_same_run(path: Path, saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise TrainingError unless a checkpoint belongs to the requested run."""
    changes = [
        f"{key}: {saved.get(key, 'none')} in the checkpoint, {wanted.get(key, 'none')} now"
        for key in {**saved, **wanted}
        if saved.get(key) != wanted.get(key)
    ]
    if changes:
        raise TrainingError(
            f"{path}: belongs to another run; choose a new folder with --out, or repeat the "
            "command that started it",
            changes,
        )


def expect_same_step(fabric: Fabric, step: int, out: Path) -> None:
    """Raise TrainingError unless all processes have read the same checkpoint."""
    steps = torch.as_tensor(fabric.all_gather(torch.tensor(step, device=fabric.device)))
    if steps.min() != steps.max():
        raise TrainingError(
            f"{out / CHECKPOINT}: expected all processes to resume from the same step, got "
            f"{sorted(set(steps.tolist()))}; put the folder on a disk that all nodes share"
        )


def advice(out: Path) -> str:
    """Say what remains of a diverged run, and what to try."""
    path = out / CHECKPOINT
    remains = f"{path} is kept unchanged" if path.exists() else "there is no checkpoint yet"
    return f"{remains}; try a lower learning_rate, clip=1, or precision 32, in a new folder"
