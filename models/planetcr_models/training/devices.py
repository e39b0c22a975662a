"""Set up Lightning Fabric's devices, processes and precision."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.plugins.precision.amp import MixedPrecision
from lightning.fabric.strategies.ddp import DDPStrategy

from planetcr_models.errors import TrainingError
from planetcr_models.inference import choose_device

Precision = Literal["32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How a run is executed; only precision and micro-batches change its results.

    Attributes:
        device: ``auto``, ``cpu`` or ``cuda``.
        devices: Per node; each takes an equal share of a batch.
        nodes: Machines, as torchrun or Slurm start them.
        precision: ``32``, or ``bf16`` or ``fp16`` for mixed precision.
        micro_batches: Number of equal parts that a batch is split into, to save memory.
        workers: Loader processes per device.
        save_minutes: Longest time between two checkpoints.
        quiet: Show nothing on the terminal.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Precision = "32"
    micro_batches: int = 1
    workers: int = 0
    save_minutes: float = 10.0
    quiet: bool = False


def make_fabric(settings: TrainingSettings) -> Fabric:
    """Set up devices and processes for training.

    Raises:
        ModelError: CUDA is requested and not available.
        TrainingError: More GPUs are requested than available, fp16 on a CPU, or a number of
            processes that differs from what torchrun or Slurm has started.
    """
    kind = choose_device(settings.device).type
    if settings.precision == "fp16" and kind == "cpu":
        raise TrainingError("precision: fp16 is for GPUs; on a CPU use bf16 or 32")
    available = torch.cuda.device_count() if kind == "cuda" else settings.devices
    if settings.devices > available:
        raise TrainingError(f"devices: expected up to {available} GPUs, got {settings.devices}")
    wanted = settings.devices * settings.nodes
    started = _processes()
    if started not in (None, wanted):
        raise TrainingError(
            f"devices: expected the number of processes that were started, {started}, got {wanted} "
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
    """Number of processes that torchrun or Slurm has started; None if neither has."""
    if TorchElasticEnvironment.detect():
        return int(os.environ["WORLD_SIZE"])
    if SLURMEnvironment.detect():
        return int(os.environ.get("SLURM_NTASKS", "1"))
    return None


class _Autocast(MixedPrecision):
    """Mixed precision with torch's autocast, without rounding the input images.

    Lightning's own precision plugin rounds them, and with them every sum of image and correction.
    """

    def convert_input(self, data: Any) -> Any:
        """Leave images in float32."""
        return data
