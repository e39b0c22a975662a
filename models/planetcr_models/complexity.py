"""Count the multiply-accumulates of a network."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

import planetcr_models.layers.dynamic_filter  # noqa: F401  registers the operator counted below
from planetcr_models.inference import evaluating
from planetcr_models.networks.base import OPTICAL_BANDS, SAR_BANDS, SAR_PER_OPTICAL


def count_macs(model: nn.Module, size: tuple[int, int] = (160, 160)) -> int:
    """Count the multiply-accumulates of restoring one image.

    Convolutions, matrix products and dynamic filters are counted as executed: on the padded image,
    without layers whose results are unused. Normalisation, activations and resampling are not
    counted. Nothing is computed.

    Args:
        model: Left unchanged.
        size: Height and width of the image; SAR is on the grid of Planet-CR, 3 pixels for 10.
    """
    native = [round(side * SAR_PER_OPTICAL[0] / SAR_PER_OPTICAL[1]) for side in size]
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.planetcr.predict_and_filter: _filter_flops}
    )
    with evaluating(model), FakeTensorMode(), torch.no_grad():
        state = {
            name: torch.empty(value.shape, dtype=None if value.is_floating_point() else value.dtype)
            for name, value in model.state_dict(keep_vars=True).items()
        }
        cloudy = torch.empty(1, getattr(model, "bands", OPTICAL_BANDS), *size)
        sar = torch.empty(1, getattr(model, "sar_bands", SAR_BANDS), *native)
        with counter:
            functional_call(model, state, (cloudy, sar))
    return int(counter.get_total_flops()) // 2


def _filter_flops(
    features: torch.Size, hidden: torch.Size, weight: torch.Size, *_: Any, **__: Any
) -> int:
    """Multiply-accumulates of predicting a kernel for every pixel and channel, and filtering."""
    pixels = features[0] * features[2] * features[3]
    return 2 * pixels * weight[0] * (hidden[1] + 1)
