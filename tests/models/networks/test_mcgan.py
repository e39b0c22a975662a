"""McGAN: what the authors' network answers, and its options."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from narrow_networks import images, narrow
from parity.fill import expected, filled, image, load
from planetcr_models import create_model
from planetcr_models.errors import InputError, ModelError

CASE = "mcgan_gen_4to4_eval_128"
NO_SAR = torch.zeros(1)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return filled("mcgan.json", CASE)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-10), (torch.float32, 5e-6)])
def test_it_gives_the_results_of_the_authors_network(
    weights: dict[str, torch.Tensor], dtype: torch.dtype, error: float, tmp_path: Path
) -> None:
    wrapped = {f"gen.gen.{key}": value.to(dtype) for key, value in weights.items()}
    model = load("mcgan", wrapped, tmp_path)
    with torch.no_grad():
        clear = model(image(4, 128, 128, dtype=dtype), NO_SAR)
    assert clear.dtype == dtype
    theirs = expected("mcgan.npz", f"{CASE}__out0")  # every second row and column
    assert_close(2 * clear[..., ::2, ::2].double() - 1, theirs, rtol=0, atol=error)


@pytest.mark.parametrize(("bands", "parameters"), [(4, 54_418_180), (3, 54_416_451)])
def test_it_has_the_published_number_of_parameters(bands: int, parameters: int) -> None:
    with torch.device("meta"):
        model = create_model("mcgan", bands=bands)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_it_starts_from_narrow_normal_weights() -> None:
    torch.manual_seed(0)
    model = create_model("mcgan", width=16, depth=5)
    kernels = torch.cat([p.flatten() for p in model.parameters() if p.ndim == 4])
    gains = torch.cat([m.weight for m in model.modules() if isinstance(m, nn.BatchNorm2d)])
    biases = torch.cat([p for key, p in model.named_parameters() if key.endswith("bias")])
    assert [x.item() for x in (kernels.mean(), kernels.std())] == pytest.approx([0, 0.02], abs=1e-3)
    assert [x.item() for x in (gains.mean(), gains.std())] == pytest.approx([1, 0.02], abs=5e-3)
    assert not biases.any()


def test_an_image_of_one_final_pixel_trains_in_batches_only() -> None:
    model = narrow("mcgan", depth=6).train()
    cloudy, sar = images(1, (33, 64))
    with pytest.raises(
        InputError, match=r"^mcgan: in training, one image of up to 64 x 64 .* batch of 2 or more"
    ):
        model(cloudy, sar)
    assert model(*images(2, (33, 64))).isfinite().all()
    assert model(*images(1, (33, 65))).isfinite().all()
    assert model.eval()(cloudy, sar).isfinite().all()


def test_dropout_acts_in_training_on_the_three_innermost_levels() -> None:
    model = narrow("mcgan", depth=5, dropout=0.25)
    assert [up.drop.p for up in model.up] == [0.25, 0.25, 0.25, 0, 0]
    pair = images(2)
    with torch.no_grad():
        assert not torch.equal(model(*pair), model(*pair))
        model = narrow("mcgan", depth=5, dropout=0.0)
        assert torch.equal(model(*pair), model(*pair))


def test_300_pixels_are_padded_to_384() -> None:
    model = narrow("mcgan", depth=7).eval()
    seen = []
    model.enter.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[-2:]))
    cloudy, sar = images(1, (300, 40))
    with torch.no_grad():
        assert model(cloudy, sar).shape == cloudy.shape
    assert seen == [(384, 128)]


@pytest.mark.parametrize(
    "options", [{"bands": 0}, {"width": 0}, {"depth": 0}, {"depth": 11}, {"dropout": 1.0}]
)
def test_invalid_options_are_refused(options: dict) -> None:
    with pytest.raises(ModelError, match=r"^mcgan: expected bands and width of 1 or more, a depth"):
        create_model("mcgan", **options)
