"""Two processes that add to the same metrics, over gloo."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import start_processes

SHARES = (slice(0, 1), slice(1, None))
"""Scenes of each process: not as many."""


def _score(rank: int, prediction: Tensor, clear: Tensor, protocol: str, folder: str) -> None:
    from planetcr_bench.torch import CloudRemovalMetrics

    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        metrics = CloudRemovalMetrics(protocol)
        metrics.update(prediction[SHARES[rank]], clear[SHARES[rank]])
        scores = {name: float(value) for name, value in metrics.compute().items()}
        torch.save(scores, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


def scores_of_two(
    prediction: Tensor, clear: Tensor, protocol: str, folder: Path
) -> list[dict[str, float]]:
    """Scores as each of two processes computes them, which saw a share of the scenes."""
    start_processes(
        _score, (prediction, clear, protocol, str(folder)), nprocs=2, start_method="spawn"
    )
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]
