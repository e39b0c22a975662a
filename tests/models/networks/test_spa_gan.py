"""SpA GAN: what the authors' network and their published weights answer, and its options."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from narrow_networks import images, narrow
from parity.fill import HERE, expected, filled, image, load
from planetcr_models import create_model
from planetcr_models.errors import ModelError
from planetcr_models.networks.base import Restorer
from planetcr_models.weights.authors import load_checkpoint

CASE = "spagan_gen_4to4_64x48"
PUBLISHED = "spa_gan_published.npz"
NO_SAR = torch.zeros(1)
BOTH_TYPES = pytest.mark.parametrize(
    ("dtype", "error"), [(torch.float64, 1e-10), (torch.float32, 5e-6)]
)


def published() -> Restorer:
    return load_checkpoint("spa_gan", HERE / "spa_gan_rice2.pth")


def eight_bit(image: Tensor) -> Tensor:
    return (255 * image).round().clamp(0, 255)


def readme_panel() -> Tensor:
    """A part of the cloudy panel of the authors' README, shape (1, 3, 64, 64): blue, green, red."""
    panel = expected(PUBLISHED, "readme_test_0000_cloudy_rgb_u8_256:320")
    return panel.flip(-1).permute(2, 0, 1)[None] / 255


@BOTH_TYPES
def test_it_gives_the_results_of_the_authors_network(
    dtype: torch.dtype, error: float, tmp_path: Path
) -> None:
    weights = filled("spagan.json", CASE, dtype=dtype)
    model = load("spa_gan", {f"gen.gen.{key}": value for key, value in weights.items()}, tmp_path)
    cloudy = image(4, 64, 48, dtype=dtype)
    with torch.no_grad():
        clear, attention = model.restore_with_attention(cloudy, NO_SAR)
        assert torch.equal(model(cloudy, NO_SAR), clear)
    assert clear.dtype == dtype
    for ours, theirs in ((attention, "out0"), (clear, "out1")):
        recorded = expected("spagan.npz", f"{CASE}__{theirs}")  # every second row and column
        assert_close(ours[..., ::2, ::2].double(), recorded, rtol=0, atol=error)


@BOTH_TYPES
def test_the_published_weights_give_the_results_of_the_authors_network(
    dtype: torch.dtype, error: float
) -> None:
    model = published().to(dtype)
    assert model.bands == 3
    with torch.no_grad():
        clear, attention = model.restore_with_attention(image(3, 64, 64, dtype=dtype), NO_SAR)
    theirs = expected(PUBLISHED, "RICE2_64_f64_out"), expected(PUBLISHED, "RICE2_64_f64_att")
    assert_close(clear.double(), theirs[0], rtol=0, atol=error)
    assert_close(attention.double(), theirs[1], rtol=0, atol=error)


def test_the_readme_picture_comes_out_as_published() -> None:
    # The published picture was restored whole, ours from a part of 64 x 64 pixels: only 20 pixels
    # from its border does the missing surrounding no longer show.
    inner = (..., slice(20, -20), slice(20, -20))
    with torch.no_grad():
        clear, attention = published().restore_with_attention(readme_panel(), NO_SAR)
    theirs = expected(PUBLISHED, "readme_test_0000_out_bgr_f32")
    same = eight_bit(clear)[inner] == eight_bit(theirs)[inner]
    assert same.float().mean() >= 0.999
    theirs = expected(PUBLISHED, "readme_test_0000_att4_f32")
    assert_close(attention[inner], theirs[inner], rtol=0, atol=1e-4)


def test_weighting_the_directions_changes_the_result() -> None:
    plain = published()
    weighted = create_model("spa_gan", bands=3, directional=True).eval()
    weighted.load_state_dict(plain.state_dict())
    panel = readme_panel()
    with torch.no_grad():
        change = 255 * (weighted(panel, NO_SAR) - plain(panel, NO_SAR)).abs().max()
    assert change > 30


def test_directions_that_all_count_fully_are_no_weighting() -> None:
    plain, weighted = (narrow("spa_gan", directional=on).eval() for on in (False, True))
    weighted.attention.directions.third.bias.data.fill_(50)  # sigmoid(50) is 1
    with torch.no_grad():
        assert_close(weighted(*images()), plain(*images()), rtol=0, atol=1e-6)


def test_both_rounds_of_the_attention_are_weighted_alike() -> None:
    attention = narrow("spa_gan", directional=True).attention
    weighted_by = []
    for neighbours in (attention.neighbours1, attention.neighbours2):
        neighbours.register_forward_pre_hook(lambda _, inputs: weighted_by.append(inputs[1]))
    features = torch.rand(1, 8, 5, 6)
    attention(features)
    for weights in weighted_by:
        assert torch.equal(torch.cat(weights, 1), attention.directions(features))
    assert len(weighted_by) == 2


@pytest.mark.parametrize("direction", ["up", "right", "down", "left"])
def test_each_direction_has_a_weight_of_its_own(direction: str) -> None:
    neighbours = narrow("spa_gan").attention.neighbours1
    features = torch.rand(1, 8, 5, 6)
    chosen = ["up", "right", "down", "left"].index(direction)
    weights = tuple(torch.full((1, 1, 5, 6), float(i == chosen)) for i in range(4))
    heard = neighbours(features, weights)
    row, column = {"up": (2, 3), "right": (3, 4), "down": (4, 3), "left": (3, 2)}[direction]
    own, neighbour = features[0, :, 3, 3], features[0, :, row, column]
    layer = getattr(neighbours, direction)
    expected_value = (own + layer.weight.flatten() * neighbour + layer.bias).relu()
    assert_close(heard[0, 8 * chosen : 8 * chosen + 8, 3, 3], expected_value)
    assert heard[0, :, 3, 3].count_nonzero() <= 8


@pytest.mark.parametrize("directional", [False, True])
def test_the_unused_parameters_are_those_that_learn_nothing(directional: bool) -> None:
    model = narrow("spa_gan", width=16, directional=directional)
    model(*images()).square().mean().backward()
    idle = {key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert idle == set(model.unused_parameters)
    assert len(idle) == (1 if directional else 7)


def test_it_has_the_published_number_of_parameters_and_unused_ones() -> None:
    counts = [sum(p.numel() for p in create_model("spa_gan", bands=b).parameters()) for b in (3, 4)]
    assert counts == [219_300, 219_876]
    model = create_model("spa_gan")
    assert sum(model.get_parameter(key).numel() for key in model.unused_parameters) == 16_228


def test_it_starts_from_narrow_normal_kernels() -> None:
    torch.manual_seed(0)
    model = create_model("spa_gan")
    for part in (model.blocks, model.attention.neighbours1):
        kernels = torch.cat([p.flatten() for p in part.parameters() if p.ndim == 4])
        assert kernels.std().item() == pytest.approx(0.02, rel=0.25)
    assert model.attention.neighbours1.up.bias.std() > 0.3


@pytest.mark.parametrize("options", [{"bands": 0}, {"width": 0}, {"width": 7}])
def test_invalid_options_are_refused(options: dict) -> None:
    with pytest.raises(
        ModelError, match=r"^spa_gan: expected bands of 1 or more and an even width"
    ):
        create_model("spa_gan", **options)
