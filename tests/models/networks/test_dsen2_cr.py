"""DSen2-CR: what the authors' network answers, and its options."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from narrow_networks import images, narrow
from parity.fill import expected, filled, image, load
from planetcr_models import create_model
from planetcr_models.errors import InputError, ModelError

CASE = "dsen2cr_port_4p2_40x36"


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-10), (torch.float32, 5e-6)])
def test_it_gives_the_results_of_the_authors_network(
    dtype: torch.dtype, error: float, tmp_path: Path
) -> None:
    weights = filled("dsen2.json", CASE, dtype=dtype)
    wrapped = {"network": {f"module.{key}": value for key, value in weights.items()}}
    model = load("dsen2_cr", wrapped, tmp_path)
    with torch.no_grad():
        clear = model(image(4, 40, 36, dtype=dtype), image(2, 40, 36, phase=2, dtype=dtype))
    assert clear.dtype == dtype
    assert_close(clear.double(), expected("dsen2.npz", f"{CASE}__out0"), rtol=0, atol=error)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [({}, 18_905_860), ({"use_sar": False}, 18_901_252), ({"bands": 13}, 18_947_341)],
)
def test_it_has_the_published_number_of_parameters(options: dict, parameters: int) -> None:
    with torch.device("meta"):
        model = create_model("dsen2_cr", **options)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_without_sar_it_takes_none() -> None:
    model = narrow("dsen2_cr", use_sar=False).eval()
    cloudy, sar = images()
    assert not model.uses_sar
    assert narrow("dsen2_cr").uses_sar
    with torch.no_grad():
        assert torch.equal(model(cloudy, sar), model(cloudy, sar[:, :, :0]))
    with pytest.raises(InputError, match="expected SAR images"):
        narrow("dsen2_cr")(cloudy, sar[:, :, :0])


def test_it_starts_from_the_cloudy_image_and_a_small_correction() -> None:
    torch.manual_seed(0)
    cloudy, sar = images()
    with torch.no_grad():
        correction = create_model("dsen2_cr", width=64)(cloudy, sar) - cloudy
    assert 0.01 < correction.abs().mean() < 0.25


@pytest.mark.parametrize("scale", [0.0, 0.1])
def test_blocks_add_their_change_times_the_scale(scale: float) -> None:
    model = narrow("dsen2_cr", residual_scale=scale).eval()
    cloudy, sar = images()
    with torch.no_grad():
        before = model(cloudy, sar)
        for block in model.blocks:
            block.second.bias.add_(1)
        changed = not torch.equal(before, model(cloudy, sar))
    assert changed == (scale != 0)


@pytest.mark.parametrize("options", [{"bands": 0}, {"width": 0}, {"blocks": -1}])
def test_invalid_options_are_refused(options: dict) -> None:
    with pytest.raises(ModelError, match=r"^dsen2_cr: expected bands, width and sar_bands of"):
        create_model("dsen2_cr", **options)
