"""Test losses against the authors' code on generated and real images."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from parity.fill import HERE, wave
from paths import SHARED
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_scene
from planetcr_models.errors import InputError, ModelError
from planetcr_models.training import losses

DATA = SHARED / "data" / "planet-cr-sample"
GOLDEN = json.loads((HERE / "dsen2.json").read_text())


def batch(phase: float) -> Tensor:
    return torch.from_numpy(np.stack([wave(4, 32, 32, phase=phase + f) for f in (0, 0.3)]))


@pytest.fixture
def prediction() -> Tensor:
    return batch(0)


@pytest.fixture
def clear() -> Tensor:
    return batch(1)


@pytest.fixture
def cloudy() -> Tensor:
    return batch(2)


@pytest.fixture
def cloud_mask() -> Tensor:
    masks = wave(1, 32, 32, phase=3)[0] > 0.5, wave(1, 32, 32, phase=4)[0] > 0.6
    return torch.from_numpy(np.stack(masks))


def near(value: float) -> object:
    return pytest.approx(value, rel=0, abs=1e-10)


def test_image_losses_are_the_authors(
    prediction: Tensor, clear: Tensor, cloudy: Tensor, cloud_mask: Tensor
) -> None:
    assert cloud_mask.double().mean((1, 2)).tolist() == GOLDEN["carl_masks_mean"]
    charbonnier = losses.charbonnier(prediction, clear, cloud_mask)
    assert charbonnier.item() == near(GOLDEN["charbonnier_eq8_w5_e1e-3_a045"])
    carl = losses.carl(prediction, clear, cloudy, cloud_mask)
    assert carl.item() == near(GOLDEN["carl_port"]) == near(GOLDEN["carl_keras_formula"])
    assert losses.l1(prediction, clear).item() == near(GOLDEN["l1"])


def test_adversarial_losses_are_the_authors(prediction: Tensor, clear: Tensor) -> None:
    discriminator = losses.adversarial_discriminator(prediction, clear)
    assert discriminator.item() == near(GOLDEN["softplus_D"])
    assert losses.adversarial_generator(prediction).item() == near(GOLDEN["softplus_G"])


def test_half_of_them_is_pix2pixs_cross_entropy(prediction: Tensor, clear: Tensor) -> None:
    fake, real = 40 * prediction - 20, 40 * clear - 20
    entropies = [
        F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
        for logits, label in ((fake, 0.0), (real, 1.0), (fake, 1.0))
    ]
    halved = losses.adversarial_discriminator(fake, real, halved=True)
    assert halved.item() == near(((entropies[0] + entropies[1]) / 2).item())
    assert losses.adversarial_generator(fake).item() == near(entropies[2].item())


def test_attention_targets_are_the_authors(clear: Tensor, cloudy: Tensor) -> None:
    signed = losses.attention_target(clear, cloudy, target="signed")
    assert signed.mean().item() == near(GOLDEN["spa_M_code_on_255scale"])
    mean = losses.attention_target(clear / 4, cloudy / 4).mean()  # of four bands: below 1
    assert mean.item() == near(GOLDEN["spa_M_abs_mean01"])
    scaled = losses.attention_target(255 * clear, 255 * cloudy)
    assert scaled.mean().item() == near(GOLDEN["spa_M_abs_readme_255"])


def test_signed_attention_marks_shadow_and_l1_marks_cloud_too() -> None:
    clear = torch.full((1, 4, 1, 3), 0.5)
    cloudy = clear + torch.tensor([-0.1, 0.1, 0.0])
    assert losses.attention_target(clear, cloudy, target="signed").flatten().tolist() == [1, 0, 0]
    l1 = losses.attention_target(clear, cloudy).flatten().tolist()
    assert l1 == pytest.approx([0.4, 0.4, 0], abs=1e-6)


@pytest.mark.parametrize("target", losses.ATTENTION_TARGETS)
def test_attention_loss_is_the_mean_square_from_its_target(
    target: str, clear: Tensor, cloudy: Tensor, cloud_mask: Tensor
) -> None:
    looked = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)).double()
    wanted = losses.attention_target(clear, cloudy, target=target, cloud_mask=cloud_mask)
    loss = losses.attention(looked, clear, cloudy, target=target, cloud_mask=cloud_mask)
    assert loss.item() == near(F.mse_loss(looked, wanted).item())
    if target == "mask":
        assert torch.equal(wanted[:, 0], cloud_mask.double())


def test_a_mask_may_have_a_band_axis_and_any_type(
    prediction: Tensor, clear: Tensor, cloud_mask: Tensor
) -> None:
    plain = losses.charbonnier(prediction, clear, cloud_mask)
    for mask in (cloud_mask[:, None], cloud_mask.double(), cloud_mask.to(torch.uint8)):
        assert torch.equal(losses.charbonnier(prediction, clear, mask), plain)


def test_a_batch_is_the_mean_of_its_images(
    prediction: Tensor, clear: Tensor, cloudy: Tensor, cloud_mask: Tensor
) -> None:
    each = [
        losses.carl(prediction[i : i + 1], clear[i : i + 1], cloudy[i : i + 1], mask[None])
        + losses.charbonnier(prediction[i : i + 1], clear[i : i + 1], mask[None])
        for i, mask in enumerate(cloud_mask)
    ]
    together = losses.carl(prediction, clear, cloudy, cloud_mask)
    together = together + losses.charbonnier(prediction, clear, cloud_mask)
    assert together.item() == near(sum(each).item() / 2)


@pytest.mark.parametrize("cover", [0.0, 1.0])
def test_a_perfect_prediction_costs_the_charbonnier_floor(cover: float, clear: Tensor) -> None:
    mask = torch.full((2, 32, 32), cover)
    loss = losses.charbonnier(clear, clear, mask)
    assert loss.item() == near((1 + 5 * cover) * 10**-2.7)


def test_every_loss_has_a_gradient_at_a_perfect_prediction(clear: Tensor, cloudy: Tensor) -> None:
    prediction, mask = clear.clone().requires_grad_(), torch.ones(2, 32, 32)
    total = losses.charbonnier(prediction, clear, mask) + losses.l1(prediction, clear)
    (total + losses.carl(prediction, clear, cloudy, mask)).backward()
    assert prediction.grad.isfinite().all()


def test_shapes_that_would_be_broadcast_are_refused(
    prediction: Tensor, clear: Tensor, cloudy: Tensor, cloud_mask: Tensor
) -> None:
    with pytest.raises(InputError, match=r"l1: expected images of one shape .* got prediction"):
        losses.l1(prediction, clear[:1])
    with pytest.raises(InputError, match=r"charbonnier: .*target \(2, 1, 32, 32\)"):
        losses.charbonnier(prediction, clear[:, :1], cloud_mask)
    with pytest.raises(InputError, match=r"carl: .*cloudy \(2, 4, 32, 1\)"):
        losses.carl(prediction, clear, cloudy[..., :1], cloud_mask)
    with pytest.raises(InputError, match=r"l1: .*\(4, 32, 32\)"):
        losses.l1(prediction[0], clear[0])
    for mask in (cloud_mask[0], cloud_mask[:1], cloud_mask[None], cloud_mask[:, :1]):
        with pytest.raises(InputError, match=r"expected a cloud_mask of shape \(2, 32, 32\) or"):
            losses.charbonnier(prediction, clear, mask)
        with pytest.raises(InputError, match="carl: expected a cloud_mask"):
            losses.carl(prediction, clear, cloudy, mask)
    with pytest.raises(InputError, match="attention: expected images of one shape"):
        losses.attention(prediction, clear, cloudy)
    with pytest.raises(InputError, match="expected logits of one shape"):
        losses.adversarial_discriminator(prediction[:1], clear)


def test_an_unknown_attention_target_is_refused(clear: Tensor, cloudy: Tensor) -> None:
    with pytest.raises(ModelError, match="expected one of l1, signed, mask, got 'mse'"):
        losses.attention_target(clear, cloudy, target="mse")
    with pytest.raises(InputError, match="the target 'mask' needs a cloud_mask"):
        losses.attention_target(clear, cloudy, target="mask")


real = pytest.mark.skipif(
    not DATA.is_dir(),
    reason="Planet's pixels may not be redistributed; generated images cover the same formulas",
)


def sample(split: str, region: str) -> tuple[Tensor, Tensor, Tensor]:
    """Cloudy, clear and mask of a published sample, in float64."""
    scene = read_scene(find_scenes(DATA, split)[0])
    part = slice(70, 230) if region == "center160" else slice(None)
    cloudy, clear, mask = (
        torch.from_numpy(np.asarray(array)[..., part, part].astype(np.float64))[None]
        for array in (scene.cloudy, scene.clear, scene.cloud_mask)
    )
    return cloudy, clear, mask


@real
@pytest.mark.real
@pytest.mark.parametrize("name", ["cloudy", "identical"])
@pytest.mark.parametrize("region", ["full300", "center160"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_losses_of_the_real_samples_are_the_authors(split: str, region: str, name: str) -> None:
    golden = json.loads((SHARED / "reference" / "golden_metrics.json").read_text())
    expected = golden["samples"][split][region][name]["loss"]
    cloudy, clear, mask = sample(split, region)
    prediction = cloudy if name == "cloudy" else clear
    charbonnier = losses.charbonnier(prediction, clear, mask)
    assert charbonnier.item() == near(expected["align_charbonnier_f64"])
    carl = losses.carl(prediction, clear, cloudy, mask)
    assert carl.item() == near(expected["dsen2_carl_f64"])
    assert losses.l1(prediction, clear).item() == pytest.approx(expected["glf_l1"], abs=5e-8)


@real
@pytest.mark.real
@pytest.mark.parametrize(
    ("split", "l1", "signed"), [("test", 0.317, 0.002), ("train", 0.410, 0.000)]
)
def test_signed_attention_marks_almost_nothing_in_the_real_samples(
    split: str, l1: float, signed: float
) -> None:
    cloudy, clear, _ = sample(split, "full300")
    means = [losses.attention_target(clear, cloudy, target=t).mean() for t in ("l1", "signed")]
    assert [float(mean) for mean in means] == pytest.approx([l1, signed], abs=5e-4)


def test_without_a_mask_all_pixels_have_one_weight_or_count_as_cloud(
    prediction: Tensor, clear: Tensor, cloudy: Tensor, cloud_mask: Tensor
) -> None:
    none, all_ = torch.zeros_like(cloud_mask), torch.ones_like(cloud_mask)
    plain = losses.charbonnier(prediction, clear, None)
    assert plain.item() == near(losses.charbonnier(prediction, clear, none).item())
    everywhere = losses.carl(prediction, clear, cloudy, None, target_weight=0.5)
    expected = losses.carl(prediction, clear, cloudy, all_, target_weight=0.5)
    assert everywhere.item() == near(expected.item())
    assert everywhere.item() == near(1.5 * losses.l1(prediction, clear).item())
