"""Run a network of the user's session on scenes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from torch import nn

from planetcr_bench.data.scene import Image, Scene
from planetcr_bench.errors import DatasetError
from planetcr_bench.evaluation.functions import Restore
from planetcr_models.inference import choose_device, restore_batch

_GPU_BATCH = 8


def network_function(network: object, device: str, batch: int | None) -> tuple[Restore, int]:
    """A network as a function of scenes, and how many it takes at a time.

    Args:
        network: Takes cloudy images (N, B, H, W) and SAR (N, b, h, w) or None; runs in evaluation
            mode.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        batch: Scenes at a time; by default 1 on the CPU and 8 on a GPU.

    Raises:
        ModelError: No such device.
    """
    assert isinstance(network, nn.Module)
    chosen = choose_device(device)

    def restore(scenes: Sequence[Scene]) -> Iterable[Image]:
        if scenes[0].cloudy.ndim != 3:
            raise DatasetError(
                f"{scenes[0].name}: expected one cloudy image for a network, got several dates"
            )
        radar = [scene.sar for scene in scenes if scene.sar is not None]
        cloudy = np.stack([scene.cloudy for scene in scenes])
        return restore_batch(network, cloudy, np.stack(radar) if radar else None, device=chosen)

    return restore, batch or (1 if chosen.type == "cpu" else _GPU_BATCH)
