"""Test parameters and multiply-accumulates against counts on the authors' code."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from narrow_networks import narrow
from planetcr_models import create_model, list_models
from planetcr_models.complexity import count_macs
from planetcr_models.layers.blocks import LocalFusion
from planetcr_models.networks.methods import METHODS

AUTHORS = {  # parameters, GFLOP at 160 x 160 of convolutions and matrix products
    "dsen2_cr": (18_905_860, 967.5),
    "glf_cr": (14_735_780, 193.6),
    "align_cr": (45_528_532, 365.94),
    "align_cr_no_align": (16_360_468, 210.9),
    "mcgan": (54_418_180, 48.1),  # of 256 x 256, to which it extends
    "sar_opt_cgan": (54_419_076, 12.3),
}


@pytest.mark.parametrize("name", AUTHORS)
def test_the_cost_is_that_of_the_authors_networks(name: str) -> None:
    """Ours counts the dynamic filters too, but not the gate of the last stage, which is dead."""
    parameters, gflop = AUTHORS[name]
    assert METHODS[name].parameters == parameters
    assert 2e-9 * METHODS[name].macs[160] == pytest.approx(gflop, rel=3e-3)


@pytest.mark.parametrize("name", list_models())
def test_the_costs_in_the_table_are_those_that_are_counted(name: str) -> None:
    """Where a network is the same everywhere, cost grows with the extended image's pixels."""
    with torch.device("meta"):
        model = create_model(name)
    assert METHODS[name].parameters == sum(weights.numel() for weights in model.parameters())
    assert METHODS[name].uses_sar == model.uses_sar
    counted = {side: count_macs(model, (side, side)) for side in _sides(name)}
    for side, macs in METHODS[name].macs.items():
        extended = -(-side // model.multiple) * model.multiple
        if side in counted:
            assert macs == counted[side]
        else:
            assert macs * 32**2 == counted[32] * extended**2


def _sides(name: str) -> tuple[int, ...]:
    """Counting strips and windows of a large image takes long."""
    return (32,) if name.startswith(("align", "glf")) else (160, 300)


def test_a_convolution_and_a_dynamic_filter_are_counted_by_hand() -> None:
    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fuse = nn.Conv2d(6, 8, 3, padding=1), LocalFusion(8)

        def forward(self, cloudy: torch.Tensor, sar: torch.Tensor) -> torch.Tensor:
            sar = F.interpolate(sar, cloudy.shape[-2:])
            features = self.conv(torch.cat((cloudy, sar), 1))
            return self.fuse(features, features, last=True)[0]

    first, enter, refine, gate = 9 * 6 * 8, 9 * 16 * 8, 4 * 9 * 8 * 8, 8 * 8
    predict, apply = 8 * 25 * 8, 8 * 25
    each_pixel = first + enter + refine + predict + apply + gate
    assert count_macs(Tiny(), (40, 50)) == 40 * 50 * each_pixel


def test_counting_does_not_change_the_network() -> None:
    model = narrow("mcgan").train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert count_macs(model, (32, 32)) == count_macs(model.double(), (32, 32))
    model.float()
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
