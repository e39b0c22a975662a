"""Test discriminators against the authors' networks, and their receptive fields."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from parity.fill import expected, filled, image
from planetcr_models.errors import InputError, ModelError
from planetcr_models.training.discriminators import PatchDiscriminator, TwoStemDiscriminator

THEIRS = (
    ("condition", "c0_0.c"),
    ("image", "c0_1.c"),
    *((f"down.{i}.conv", f"c{i + 1}.c") for i in range(3)),
    *((f"down.{i}.norm", f"c{i + 1}.batchnorm") for i in range(3)),
    ("leave", "c4"),
)


def as_the_authors(case: str) -> TwoStemDiscriminator:
    weights = filled("mcgan.json", case)
    model = TwoStemDiscriminator().double()
    for ours, theirs in THEIRS:
        part = {
            key.removeprefix(f"{theirs}."): value
            for key, value in weights.items()
            if key.startswith(f"{theirs}.")
        }
        model.get_submodule(ours).load_state_dict(part)
    return model


def pair() -> tuple[Tensor, Tensor]:
    return image(4, 96, 96, low=-1), image(4, 96, 96, phase=1, low=-1)


def test_it_gives_the_results_of_the_authors_network() -> None:
    case = "mcgan_dis_4_4_eval_96"
    with torch.no_grad():
        logits = as_the_authors(case).eval()(*pair())
    assert_close(logits, expected("mcgan.npz", f"{case}__out0"), rtol=0, atol=1e-10)


def test_it_gives_the_results_of_the_authors_network_in_training() -> None:
    case = "mcgan_dis_4_4_trainmode_batch2_96"
    stacked = torch.cat(pair(), 1)
    batch = torch.cat((stacked, stacked.flip(1)))
    with torch.no_grad():
        logits = as_the_authors(case).train()(batch[:, :4], batch[:, 4:])
    assert_close(logits, expected("mcgan.npz", f"{case}__out0"), rtol=0, atol=1e-10)


def test_the_patch_network_is_pix2pixs() -> None:
    torch.manual_seed(0)
    model = PatchDiscriminator(channels=5, width=4).double().eval()
    cloudy, clear = torch.rand(2, 2, 50, 40).double(), torch.rand(2, 3, 50, 40).double()
    features = torch.cat((cloudy, clear), 1)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    for level, (conv, stride) in enumerate(zip(convolutions, (2, 2, 2, 1, 1), strict=True)):
        features = F.conv2d(features, conv.weight, conv.bias, stride, 1)
        if 1 <= level <= 3:
            norm = norms[level - 1]
            features = (features - norm.running_mean[:, None, None]) * norm.weight[:, None, None]
            features = features / (norm.running_var[:, None, None] + 1e-5).sqrt()
            features = features + norm.bias[:, None, None]
        if level < 4:
            features = torch.where(features > 0, features, 0.2 * features)
    with torch.no_grad():
        assert_close(model(cloudy, clear), features, rtol=0, atol=1e-12)
    assert [conv.bias is not None for conv in convolutions] == [True, False, False, False, True]


def test_they_have_the_published_number_of_parameters() -> None:
    counts = [
        sum(p.numel() for p in model.parameters())
        for model in (
            TwoStemDiscriminator(),
            TwoStemDiscriminator(condition_bands=3, image_bands=3),
            PatchDiscriminator(),
            PatchDiscriminator(channels=6),
        )
    ]
    assert counts == [2_763_969, 2_762_945, 2_772_801, 2_768_705]


@pytest.mark.parametrize(("size", "two_stem", "patch"), [(256, 16, 30), (160, 10, 18), (65, 4, 6)])
def test_logits_are_a_map(size: int, two_stem: int, patch: int) -> None:
    cloudy = torch.rand(1, 4, size, 160)
    logits = TwoStemDiscriminator(width=4)(cloudy, cloudy)
    assert logits.shape == (1, 1, two_stem, 10)
    logits = PatchDiscriminator(width=2)(cloudy, torch.rand(1, 2, size, 160), cloudy)
    assert logits.shape == (1, 1, patch, 18)


@pytest.mark.parametrize(("network", "field"), [("two_stem", 78), ("patch", 70)])
def test_one_logit_sees_that_many_pixels(network: str, field: int) -> None:
    torch.manual_seed(0)
    model = TwoStemDiscriminator(width=4) if network == "two_stem" else PatchDiscriminator(width=2)
    cloudy = torch.rand(1, 4, 160, 160)
    segmented = torch.rand(1, 4 if network == "two_stem" else 6, 160, 160, requires_grad=True)
    logits = model.eval()(cloudy, segmented)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    seen = segmented.grad[0].abs().sum(0) > 0
    assert [int(seen.any(axis).sum()) for axis in (0, 1)] == [field, field]


def test_images_that_do_not_fit_are_refused() -> None:
    two_stem, patch = TwoStemDiscriminator(width=4), PatchDiscriminator(width=2)
    cloudy, sar = torch.rand(2, 4, 40, 40), torch.rand(2, 2, 12, 12)
    with pytest.raises(InputError, match="expected 4 bands of condition and 4 of image, got 4 and"):
        two_stem(cloudy, cloudy[:, :3])
    with pytest.raises(InputError, match=r"one batch size, height and width, got .* and "):
        patch(cloudy, sar, cloudy)
    with pytest.raises(InputError, match="one batch size"):
        two_stem(cloudy, cloudy[:1])
    with pytest.raises(InputError, match="expected 10 channels in all, got 8"):
        patch(cloudy, cloudy)
    with pytest.raises(InputError, match=r"expected images of shape \(B, C, H, W\)"):
        two_stem(cloudy[0], cloudy[0])
    with pytest.raises(InputError, match="24 x 24 pixels or more"):
        patch(cloudy[..., :23], cloudy[:, :2, :, :23], cloudy[..., :23])


def test_invalid_options_are_refused() -> None:
    with pytest.raises(ModelError, match="expected bands of 1 or more and an even width"):
        TwoStemDiscriminator(width=3)
    with pytest.raises(ModelError, match="expected channels and width of 1 or more"):
        PatchDiscriminator(channels=0)
