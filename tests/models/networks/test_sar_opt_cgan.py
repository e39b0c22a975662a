"""SAR-Opt-cGAN: pix2pix written down plainly, windows, and its options."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from narrow_networks import images, narrow
from planetcr_models import create_model
from planetcr_models.errors import ModelError
from planetcr_models.networks.base import upsample
from planetcr_models.networks.sar_opt_cgan import window_offsets


def pix2pix(weights: dict[str, Tensor], image: Tensor, depth: int) -> Tensor:
    """The U-Net in evaluation mode, level by level from outside; without its last tanh."""

    def norm(features: Tensor, name: str) -> Tensor:
        if f"{name}.norm.weight" not in weights:
            return features
        parts = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(features, *(weights[f"{name}.norm.{part}"] for part in parts))

    def inside(features: Tensor, level: int) -> Tensor:
        """What level ``level`` makes of the features above it, at their size."""
        down = weights[f"encoder.{level}.conv.weight"]
        activated = F.leaky_relu(features, 0.2)
        deep = norm(F.conv2d(activated, down, stride=2, padding=1), f"encoder.{level}")
        if level + 1 < depth:
            deep = torch.cat((deep, inside(deep, level + 1)), 1)
        name = f"decoder.{depth - 1 - level}"
        up = weights[f"{name}.conv.weight"]
        return norm(F.conv_transpose2d(F.relu(deep), up, stride=2, padding=1), name)

    first = F.conv2d(image, weights["encoder.0.conv.weight"], stride=2, padding=1)
    both = F.relu(torch.cat((first, inside(first, 1)), 1))
    weight, bias = weights["leave.weight"], weights["leave.bias"]
    return F.conv_transpose2d(both, weight, bias, stride=2, padding=1)


def with_statistics(**options: object) -> torch.nn.Module:
    """A narrow network in float64 whose normalisation has something to do."""
    model = narrow("sar_opt_cgan", **options).double()
    for key, buffer in model.named_buffers():
        if key.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.1, 2)
    return model.eval()


@pytest.mark.parametrize("output", ["tanh", "linear"])
@pytest.mark.parametrize("use_sar", [True, False])
def test_it_is_pix2pix_on_optical_bands_and_sar(use_sar: bool, output: str) -> None:
    model = with_statistics(use_sar=use_sar, output=output)
    cloudy, sar = (image.double() for image in images(2, (32, 32)))
    stacked = torch.cat((cloudy, upsample(sar, (32, 32))), 1) if use_sar else cloudy
    plain = pix2pix(model.state_dict(), 2 * stacked - 1, 5)
    with torch.no_grad():
        clear = model(cloudy, sar)
    assert_close(2 * clear - 1, plain.tanh() if output == "tanh" else plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [({}, 54_419_076), ({"use_sar": False}, 54_417_028), ({"depth": 5}, 16_664_196)],
)
def test_it_has_the_published_number_of_parameters(options: dict, parameters: int) -> None:
    with torch.device("meta"):
        model = create_model("sar_opt_cgan", **options)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_a_large_image_is_a_blend_of_overlapping_windows() -> None:
    """Weights written down anew: a ramp over all 212 common pixels, from 44 to 256."""
    model = with_statistics(width=2, depth=8)
    cloudy, sar = (image.double() for image in images(1, (300, 300)))
    radar = upsample(sar, (300, 300))
    second = ((torch.arange(300).double() + 0.5 - 44) / 212).clamp(0, 1)
    weights = {0: 1 - second, 44: second}
    total = torch.zeros_like(cloudy)
    with torch.no_grad():
        for y, x in product((0, 44), repeat=2):
            window = (..., slice(y, y + 256), slice(x, x + 256))
            weight = torch.outer(weights[y], weights[x])[window]
            total[window] += model(cloudy[window], radar[window]) * weight
        assert_close(model(cloudy, sar), total, rtol=0, atol=1e-12)


def test_a_long_narrow_image_is_reflected_and_windowed() -> None:
    model = with_statistics(depth=6)
    cloudy, sar = (image.double() for image in images(2, (40, 100)))
    radar = upsample(sar, (40, 100))
    with torch.no_grad():
        whole = model(cloudy, sar)
        left = model(cloudy[..., :64], radar[..., :64])
        right = model(cloudy[..., 36:], radar[..., 36:])
    assert_close(whole[..., :36], left[..., :36], rtol=0, atol=1e-12)
    assert_close(whole[..., 64:], right[..., 28:], rtol=0, atol=1e-12)
    ramp = (torch.arange(28).double() + 0.5) / 28
    overlap = left[..., 36:] * (1 - ramp) + right[..., :28] * ramp
    assert_close(whole[..., 36:64], overlap, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(32, 75), (32, 64), (90, 33)])
def test_a_constant_difference_between_windows_becomes_a_smooth_ramp(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each window is a constant, its number: no step is larger than that of the ramp."""
    model = narrow("sar_opt_cgan", depth=5).double().eval()

    def numbers(image: Tensor) -> Tensor:
        count = torch.arange(len(image), dtype=image.dtype)
        return count[:, None, None, None].expand(-1, 4, *image.shape[-2:])

    monkeypatch.setattr(model, "_translate", numbers)
    with torch.no_grad():
        blended = model(*(image.double() for image in images(1, size)))[0, 0]
    offsets = window_offsets(max(size), 32)
    overlap = 32 - max(b - a for a, b in pairwise(offsets))
    in_a_row = len(window_offsets(size[1], 32))
    line, rise = (blended[:, 0], in_a_row) if size[0] > size[1] else (blended[0], 1)
    assert (line[0], line[-1]) == (0, (len(offsets) - 1) * rise)
    steps = line.diff()
    assert steps.min() >= 0
    assert steps.max() < rise / overlap + 1e-12


@pytest.mark.parametrize("size", [(32, 32), (20, 32), (31, 18)])
def test_a_single_window_is_what_the_u_net_gives(size: tuple[int, int]) -> None:
    model = with_statistics(depth=5)
    cloudy, sar = (image.double() for image in images(2, (32, 32)))
    cloudy = cloudy[..., : size[0], : size[1]]
    image = torch.cat((cloudy, upsample(sar, size)), 1)
    with torch.no_grad():
        restored = model.restore(cloudy, image[:, 4:])
        assert torch.equal(restored, model._translate(image))


def test_padding_restores_a_large_image_without_windows() -> None:
    options = {"depth": 5, "width": 2}
    padded, windowed = (with_statistics(large=how, **options) for how in ("pad", "windows"))
    cloudy, sar = (image.double() for image in images(1, (64, 40)))
    seen = []
    padded.encoder[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    with torch.no_grad():
        assert not torch.allclose(padded(cloudy, sar), windowed(cloudy, sar))
        small = cloudy[..., :32, :32], sar[..., :10, :10]
        assert_close(padded(*small), windowed(*small), rtol=0, atol=0)
    assert seen[0] == (1, 6, 64, 64)


@pytest.mark.parametrize("side", [16, 256])
@pytest.mark.parametrize("size", [1, 32, 255, 256, 257, 300, 480, 511, 512, 513, 1000])
def test_the_fewest_windows_cover_an_axis_evenly_and_overlap(size: int, side: int) -> None:
    offsets = window_offsets(size, side)
    steps = {after - before for before, after in pairwise(offsets)}
    assert (offsets[0], offsets[-1]) == (0, max(size - side, 0))
    assert max(steps, default=0) <= side - side // 8
    assert max(steps, default=0) - min(steps, default=0) <= 1
    fewer = len(offsets) - 1
    assert fewer == 0 or side + (fewer - 1) * (side - side // 8) < size


def test_the_whole_network_trains_on_one_image() -> None:
    model = narrow("sar_opt_cgan", depth=6).train()
    assert model(*images(1, (33, 64))).isfinite().all()


def test_dropout_acts_from_the_fifth_level_to_the_last_but_one() -> None:
    model = narrow("sar_opt_cgan", depth=8, dropout=0.25)
    assert [decoder.drop.p for decoder in model.decoder] == [0, 0.25, 0.25, 0.25, 0, 0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": 0}, "expected bands, sar_bands and width of 1 or more, a depth of 2 to 10 and"),
        ({"width": 0}, "expected bands, sar_bands and width of 1 or more"),
        ({"depth": 1}, "got bands=4, sar_bands=2, width=64, depth=1"),
        ({"dropout": -0.1}, "dropout=-0.1"),
        ({"output": "relu"}, "expected output to be tanh or linear, got 'relu'"),
        ({"large": "crop"}, "expected large to be windows or pad, got 'crop'"),
    ],
)
def test_invalid_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ModelError, match=f"^sar_opt_cgan: .*{message}"):
        create_model("sar_opt_cgan", **options)
