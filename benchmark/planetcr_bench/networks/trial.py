"""Try a user's network before it is trained, so that its errors appear at once."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.utils.data import default_collate

from planetcr_bench.data.patch_cache import CachedPatches
from planetcr_bench.data.patches import FilePatches
from planetcr_bench.errors import BenchError
from planetcr_bench.networks.loading import UserNetwork
from planetcr_models.inference import restore_batch
from planetcr_models.training.loader import Crops
from planetcr_models.training.recipes import Recipe
from planetcr_models.training.trainer import enough_memory


def try_network(
    network: UserNetwork,
    recipe: Recipe,
    patches: FilePatches | CachedPatches,
    *,
    device: str,
    processes: int,
    whole: bool,
) -> None:
    """Run a network forwards and backwards on a crop or two; its weights stay as they are.

    Args:
        network: In training mode.
        recipe: Of its training.
        patches: Training patches.
        device: Where to run it.
        processes: Of the run; with several, each trained weight needs a gradient.
        whole: Restore a whole patch too, as validation does.

    Raises:
        BenchError: It fails, returns images of another shape, or has nothing to train.
        ModelError: An invalid crop, or not enough memory.
    """
    unused = set(network.unused_parameters)
    trained = {key: value for key, value in network.named_parameters() if key not in unused}
    if not trained:
        raise BenchError(f"{network.name}: expected parameters to train, found none")
    before = copy.deepcopy(network.state_dict())
    crops = Crops(patches, crop=recipe.crop, turns=False, seed=recipe.seed)
    batch = default_collate([crops[0, 0]] * min(2, recipe.batch))
    radar = batch["sar"].to(device) if "sar" in batch else None
    network.to(device)
    try:
        with enough_memory(len(batch["cloudy"]), 1, divisible=False):
            _backward(network, batch["cloudy"].to(device), radar)
        idle = [key for key, value in trained.items() if value.grad is None]
        if len(idle) == len(trained):
            raise BenchError(
                f"{network.name}: expected images that depend on its parameters, none of them gets "
                "a gradient"
            )
        if idle and processes > 1:
            names = ", ".join(key.removeprefix("network.") for key in idle)
            raise BenchError(
                f"{network.name}: expected each parameter to get a gradient, as several devices "
                f"need it; list those that do not in an attribute unused_parameters: {names}"
            )
        if whole:
            patch = patches.read(0)
            sar = None if patch.sar is None else patch.sar[None]
            restore_batch(network, patch.cloudy[None], sar)
    finally:
        network.zero_grad(set_to_none=True)
        network.to("cpu").load_state_dict(before)


def _backward(network: UserNetwork, cloudy: Tensor, sar: Tensor | None) -> None:
    restored = network(cloudy, sar)
    if not restored.requires_grad:
        return
    try:
        restored.float().mean().backward()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise network.error(error, "backward") from error
