"""Count the parameters and multiply-accumulates of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

import planetcr_models.layers.dynamic_filter  # noqa: F401  registers the operator counted below
from planetcr_models.inference import evaluating
from planetcr_models.networks.base import OPTICAL_BANDS, SAR_BANDS, SAR_PER_OPTICAL


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network costs.

    Attributes:
        parameters: Numbers that training sets, dead ones among them.
        macs: Side of a square image to the multiply-accumulates of restoring one. Twice as many
            are floating-point operations.
    """

    parameters: int
    macs: Mapping[int, int]


COSTS: Final[dict[str, Cost]] = {
    "mcgan": Cost(54_418_180, {160: 24_041_750_528, 300: 54_093_938_688}),
    "spa_gan": Cost(219_876, {160: 5_934_284_800, 300: 20_862_720_000}),
    "sar_opt_cgan": Cost(54_419_076, {160: 6_132_072_448, 300: 24_528_289_792}),
    "dsen2_cr": Cost(18_905_860, {160: 483_773_644_800, 300: 1_700_766_720_000}),
    "glf_cr": Cost(14_735_780, {160: 96_857_702_400, 300: 349_656_305_664}),
    "align_cr_no_sar": Cost(6_121_260, {160: 39_510_835_200, 300: 142_634_115_072}),
    "align_cr_no_align": Cost(16_360_468, {160: 105_474_048_000, 300: 380_761_313_280}),
    "align_cr": Cost(45_528_532, {160: 183_004_569_600, 300: 660_646_496_256}),
}
"""Of each method with default options, as :func:`count_macs` counts; tests count again."""


def count_parameters(model: nn.Module) -> int:
    """How many numbers training sets."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, size: tuple[int, int] = (160, 160)) -> int:
    """Count the multiply-accumulates of restoring one image.

    Convolutions, matrix products and dynamic filters count, as they are carried out: on the image
    as the network extends it, without layers whose result nothing uses. Normalisation, activations
    and resampling do not. Nothing is computed.

    Args:
        model: Left as it is.
        size: Height and width of the image; SAR has its native grid.
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
        sar = torch.empty(1, SAR_BANDS, *native)
        with counter:
            functional_call(model, state, (cloudy, sar))
    return int(counter.get_total_flops()) // 2


def _filter_flops(
    features: torch.Size, hidden: torch.Size, weight: torch.Size, *_: Any, **__: Any
) -> int:
    """Of predicting a kernel for every pixel and channel, and of filtering with it."""
    pixels = features[0] * features[2] * features[3]
    return 2 * pixels * weight[0] * (hidden[1] + 1)
