"""Set up Lightning Fabric's devices, processes and precision."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.plugins.precision.amp import MixedPrecision
from lightning.fabric.strategies.ddp import DDPStrategy
from torch import nn
from torch.optim import Optimizer

from planetcr_models.errors import TrainingError
from planetcr_models.inference import Precision, choose_device, tf32


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How a run is executed; only precision and micro-batches change its results.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda``, or one GPU, ``cuda:N``.
        devices: Per node; each takes an equal share of a batch.
        nodes: Machines, as torchrun or Slurm start them.
        precision: Of training and validation; see :data:`~planetcr_models.inference.Precision`.
        micro_batches: Number of equal parts that a batch is split into, to save memory.
        workers: Loader processes per device.
        save_minutes: Longest training time between two checkpoints.
        quiet: Show nothing on the terminal.
        compile: Compile networks with ``torch.compile``.
        cuda_graphs: Also record their kernels into CUDA graphs, which a GPU replays at once.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Precision = "32"
    micro_batches: int = 1
    workers: int = 0
    save_minutes: float = 10.0
    quiet: bool = False
    compile: bool = False
    cuda_graphs: bool = False


def make_fabric(settings: TrainingSettings) -> Fabric:
    """Set up devices and processes for training.

    Raises:
        ModelError: CUDA is requested and not available.
        TrainingError: More GPUs are requested than available, several of ``cuda:N``, tf32, fp16 or
            CUDA graphs on a CPU, CUDA graphs with micro-batches, nothing that compiles, or a number
            of processes that differs from what torchrun or Slurm has started.
    """
    device = choose_device(settings.device)
    kind = device.type
    if device.index is not None and settings.devices > 1:
        raise TrainingError(f"--device: expected cuda for several devices, got {device}")
    if settings.precision in ("tf32", "fp16") and kind == "cpu":
        raise TrainingError(f"precision: {settings.precision} is for GPUs; on a CPU use bf16 or 32")
    if settings.cuda_graphs and kind == "cpu":
        raise TrainingError("--cuda-graphs: is for GPUs; on a CPU use --compile")
    if settings.cuda_graphs and settings.micro_batches > 1:
        raise TrainingError(
            "--cuda-graphs: a graph overwrites the gradient that micro-batches add to; use one of "
            "the two"
        )
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
    if settings.precision in ("bf16", "fp16"):
        plugins = [_Autocast("bf16-mixed" if settings.precision == "bf16" else "16-mixed", kind)]
    fabric = Fabric(
        accelerator=kind,
        devices=settings.devices if device.index is None else [device.index],
        num_nodes=settings.nodes,
        strategy=DDPStrategy(broadcast_buffers=False) if wanted > 1 else "auto",
        plugins=plugins,
    )
    if settings.compile or settings.cuda_graphs:
        _expect_compiler(fabric.device)
    return fabric


def _processes() -> int | None:
    """Number of processes that torchrun or Slurm has started; None if neither has."""
    if TorchElasticEnvironment.detect():
        return int(os.environ["WORLD_SIZE"])
    if SLURMEnvironment.detect():
        return int(os.environ.get("SLURM_NTASKS", "1"))
    return None


@contextmanager
def fast_arithmetic(precision: Precision) -> Iterator[None]:
    """Set a GPU's arithmetic, and let cuDNN choose among its algorithms by trying them.

    Every step has the same shapes, so that it tries them once.
    """
    convolutions = torch.backends.cudnn
    before, convolutions.benchmark = convolutions.benchmark, True
    try:
        with tf32(enabled=precision == "tf32"):
            yield
    finally:
        convolutions.benchmark = before


def compiler(settings: TrainingSettings) -> Callable[[nn.Module], nn.Module] | None:
    """Choose how networks are compiled for training, if they are."""
    if not (settings.compile or settings.cuda_graphs):
        return None
    mode = "reduce-overhead" if settings.cuda_graphs else None

    def compiled(network: nn.Module) -> nn.Module:
        module: Any = torch.compile(network, mode=mode)
        return module

    return compiled


def _expect_compiler(device: torch.device) -> None:
    """Raise TrainingError if PyTorch cannot compile on this machine."""
    from torch._dynamo.exc import TorchDynamoException

    try:
        torch.compile(torch.neg)(torch.ones(2, device=device))
    except TorchDynamoException as error:
        raise TrainingError(
            f"--compile: PyTorch cannot compile on this machine ({first_line(error)}); install a "
            "C++ compiler such as g++ and Python's headers, or train without it"
        ) from error


def first_line(error: Exception) -> str:
    """First line of an error of PyTorch's compiler, whose text is long."""
    return str(error).strip().partition("\n")[0]


class _Autocast(MixedPrecision):
    """Mixed precision with torch's autocast, without rounding the input images.

    Lightning's own precision plugin rounds them, and with them every sum of image and correction.
    It also refuses to clip the gradients of fused optimizers, which torch's scaler supports.
    """

    def unscale_gradients(self, optimizer: Optimizer) -> None:
        """Divide gradients by the scale of fp16 before they are clipped."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)

    def convert_input(self, data: Any) -> Any:
        """Leave images in float32."""
        return data
