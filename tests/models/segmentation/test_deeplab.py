"""Test the segmenter: inputs, training and files."""

from __future__ import annotations

import hashlib
import json
import math
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from safetensors.torch import load_file, save_file
from segmentation_models_pytorch import encoders
from torch import nn
from torch.testing import assert_close

from on_devices import every_precision
from parity.fill import HERE, filled, image
from planetcr_models.errors import CheckpointError, InputError, ModelError
from planetcr_models.segmentation.deeplab import (
    FORMAT,
    LIGHT_ENCODERS,
    Segmenter,
    classify,
    load_encoder,
    load_segmenter,
    save_segmenter,
)
from planetcr_models.segmentation.loss import (
    CLASSES,
    class_weights,
    ignored,
    on_label_grid,
    segmentation_loss,
)
from planetcr_models.weights.cards import read_card
from planetcr_models.weights.files import load_model

CASE = "smp_dlv3p_r50_4to6_os{}_eval_64x96"
UNKNOWN = CLASSES


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other take most of the time of networks so small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(*, seed: int = 0, **options: Any) -> Segmenter:
    """A segmenter with the least encoder, in evaluation mode."""
    torch.manual_seed(seed)
    return Segmenter(**({"encoder": "resnet18"} | options)).eval()


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    """Not to be changed."""
    return small()


def pictures(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed))


def labels(*size: int, seed: int = 0, high: int = CLASSES + 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, size, dtype=np.uint8)


# --- the network ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "parameters"),
    [({}, 26_682_006), ({"bands": 3}, 26_678_870), ({"separable": False}, 39_209_622)],
)
def test_it_has_the_published_number_of_parameters(options: dict, parameters: int) -> None:
    with torch.device("meta"):
        model = Segmenter(**options)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.fixture(scope="module")
def recorded() -> dict[str, torch.Tensor]:
    return filled("smp.json", CASE.format(16))


@pytest.mark.parametrize("stride", [16, 8])
def test_it_gives_the_recorded_results(stride: int, recorded: dict[str, torch.Tensor]) -> None:
    with torch.device("meta"):
        model = Segmenter(output_stride=stride)
    model = model.double().to_empty(device="cpu").eval()
    lacking = model.network.load_state_dict(recorded.copy(), strict=False)
    assert not lacking.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in lacking.missing_keys)
    model.set_normalisation(np.zeros(4), np.ones(4))
    with torch.no_grad():
        logits = model(image(4, 64, 96))
    known = json.loads((HERE / "smp.json").read_text())[f"{CASE.format(stride)}/out0"]
    flat = logits.flatten()
    ours = {
        "shape": list(logits.shape),
        "mean": flat.mean().item(),
        "std": flat.std(correction=0).item(),
        "min": flat.min().item(),
        "max": flat.max().item(),
        "l2": flat.norm().item(),
        "first": flat[:4].tolist(),
        "last": flat[-4:].tolist(),
    }
    assert ours.keys() == known.keys()
    for name, value in known.items():
        assert ours[name] == pytest.approx(value, rel=0, abs=1e-8), name


@pytest.mark.parametrize(
    ("size", "pad"),
    [((300, 300), (2, 2, 2, 2)), ((44, 64), (0, 0, 2, 2)), ((37, 50), (7, 7, 5, 6))],
)
def test_images_of_any_size_are_reflect_padded_and_logits_cropped(
    segmenter: Segmenter, size: tuple[int, int], pad: tuple[int, ...]
) -> None:
    picture = pictures(1, 4, *size)
    left, right, top, bottom = pad
    with torch.no_grad():
        whole = segmenter.network(F.pad(picture, pad, mode="reflect"))
        expected = whole[..., top : whole.shape[2] - bottom, left : whole.shape[3] - right]
        logits = segmenter(picture)
    assert logits.shape == (1, CLASSES, *size)
    assert_close(logits, expected, rtol=0, atol=0)


@settings(max_examples=6, deadline=None)
@given(st.integers(32, 50), st.integers(32, 50))
def test_logits_have_the_size_of_the_image(segmenter: Segmenter, height: int, width: int) -> None:
    with torch.no_grad():
        assert segmenter(torch.zeros(1, 4, height, width)).shape == (1, CLASSES, height, width)


def test_reflectance_is_clamped_before_it_is_normalised(segmenter: Segmenter) -> None:
    picture = pictures(1, 4, 32, 48) * 3 - 1
    with torch.no_grad():
        assert torch.equal(segmenter(picture), segmenter(picture.clamp(0, 1)))
        assert not torch.equal(segmenter(picture), segmenter.network(picture))


def test_each_band_is_normalised_by_its_own_numbers() -> None:
    model = small()
    mean, std = [0.1, 0.2, 0.3, 0.4], np.array([0.5, 1, 2, 4])
    picture = pictures(1, 4, 32, 32)
    by_hand = torch.stack([(picture[:, i] - mean[i]) / float(std[i]) for i in range(4)], dim=1)
    with torch.no_grad():
        expected = model.network(by_hand)
        model.set_normalisation(mean, std)
        assert_close(model(picture), expected)


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [
        ([0.0] * 3, [1.0] * 4, r"^mean: expected one number per band, shape \(4,\), got \(3,\)"),
        (0.0, [1.0] * 4, r"^mean: expected one number per band, shape \(4,\), got \(\)"),
        ([0.0] * 4, [1.0] * 5, r"^std: expected one number per band"),
        ([0, 0, 0, math.nan], [1.0] * 4, "^mean: expected finite numbers, got"),
        ([0.0] * 4, [1, 1, 0, 1], r"^std: expected finite numbers above 0, got \[1.0, 1.0, 0.0"),
    ],
)
def test_invalid_normalisation_is_refused_and_changes_nothing(
    mean: Any, std: Any, words: str
) -> None:
    with torch.device("meta"):
        model = Segmenter(encoder="resnet18")
    model.mean, model.std = torch.zeros(4), torch.ones(4)
    with pytest.raises(InputError, match=words):
        model.set_normalisation(mean, std)
    assert not model.mean.any()
    assert (model.std == 1).all()


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (torch.zeros(1, 3, 64, 64), r"shape \(B, 4, H, W\), got \(1, 3, 64, 64\)"),
        (torch.zeros(4, 64, 64), r"shape \(B, 4, H, W\), got \(4, 64, 64\)"),
        (torch.zeros(0, 4, 64, 64), r"shape \(B, 4, H, W\), got \(0, 4, 64, 64\)"),
        (torch.zeros(1, 4, 31, 64), "32 x 32 pixels or more, got 31 x 64"),
        (torch.zeros(1, 4, 64, 64, dtype=torch.int16), "as floats, got images of torch.int16"),
    ],
)
def test_invalid_images_are_refused(
    segmenter: Segmenter, picture: torch.Tensor, words: str
) -> None:
    with pytest.raises(InputError, match=f"^segmenter: expected .*{words}"):
        segmenter(picture)


def test_it_trains_on_two_images_or_more() -> None:
    model = small().train()
    with pytest.raises(InputError, match=r"^segmenter: in training, expected a batch of 2 images"):
        model(pictures(1, 4, 32, 32))
    loss = segmentation_loss(model(pictures(2, 4, 32, 32)), torch.from_numpy(labels(2, 32, 32)))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    "options",
    [
        {"bands": 0},
        {"classes": 1},
        {"classes": 257},
        {"output_stride": 32},
        {"rates": (6, 12)},
        {"rates": (0, 6, 12)},
        {"decoder_channels": 0},
        {"decoder_channels": 1025},
    ],
)
def test_invalid_options_are_refused(options: dict) -> None:
    with pytest.raises(ModelError, match=r"^segmenter: expected 1 band or more, 2 to 256 classes"):
        Segmenter(**options)


def test_an_encoder_of_another_kind_is_refused() -> None:
    with pytest.raises(
        ModelError, match=r"^segmenter: expected an encoder of resnet18, .*, got vgg16"
    ):
        Segmenter(encoder="vgg16")


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("encoder", LIGHT_ENCODERS)
def test_light_encoders_take_images_of_any_size_and_download_nothing(
    encoder: str, stride: int, offline: Path
) -> None:
    model = small(encoder=encoder, output_stride=stride, decoder_channels=32)
    inner: list[tuple[int, ...]] = []
    model.network.decoder.aspp.register_forward_pre_hook(
        lambda _, inputs: inner.append(tuple(inputs[0].shape[-2:]))
    )
    with torch.no_grad():
        for size in ((32, 48), (37, 50)):
            assert model(pictures(1, 4, *size)).shape == (1, CLASSES, *size)
    assert inner == [(height // stride, width // stride) for height, width in ((32, 48), (48, 64))]
    assert not offline.exists()
    loss = segmentation_loss(
        model.train()(pictures(2, 4, 32, 32)), torch.from_numpy(labels(2, 32, 32))
    )
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_fewer_decoder_channels_make_a_light_segmenter() -> None:
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in Segmenter(encoder="tu-lcnet_100", **options).parameters())
            for options in ({}, {"decoder_channels": 64})
        ]
    assert counts == [2_170_374, 1_231_878]


def test_a_file_from_before_the_width_of_the_decoder_could_be_chosen_is_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "old.safetensors"
    model = small()
    save_segmenter(model, path, {})
    options = {key: v for key, v in model.options.items() if key != "decoder_channels"}
    change(path, {FORMAT: json.dumps({"version": "1", "options": options})})
    picture = pictures(1, 4, 40, 40)
    with torch.no_grad():
        assert torch.equal(load_segmenter(path)(picture), model(picture))


def test_its_options_rebuild_it() -> None:
    wanted = {
        "bands": 5,
        "classes": 3,
        "encoder": "resnet34",
        "output_stride": 8,
        "rates": (3, 6, 9),
        "separable": False,
        "decoder_channels": 48,
    }
    with torch.device("meta"):
        model = Segmenter(**wanted)
        again = Segmenter(**model.options)
    assert model.options == again.options == wanted
    shapes = [{k: v.shape for k, v in x.state_dict().items()} for x in (model, again)]
    assert shapes[0] == shapes[1]
    dilations = [conv[0].dilation for conv in model.network.decoder.aspp[0].convs[1:4]]
    assert dilations == [(3, 3), (6, 6), (9, 9)]


# --- loss and weights -----------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0, 0.25, 3.0, 0.0]])
def test_the_loss_is_torchs_over_known_pixels(weights: list[float] | None) -> None:
    logits = torch.randn(2, CLASSES, 9, 7, dtype=torch.float64)
    cover = torch.from_numpy(labels(2, 9, 7))
    weight = None if weights is None else torch.tensor(weights)
    loss = segmentation_loss(logits, cover, class_weights=weight)
    double = None if weight is None else weight.double()
    theirs = F.cross_entropy(logits, cover.long(), double, ignore_index=UNKNOWN)
    assert (cover == UNKNOWN).any()
    assert_close(loss, theirs)


@pytest.mark.parametrize("weight", [None, torch.zeros(CLASSES)])
def test_the_loss_of_unknown_land_is_zero_and_has_a_gradient(weight: torch.Tensor | None) -> None:
    logits = torch.randn(2, CLASSES, 4, 4, requires_grad=True)
    cover = torch.full((2, 4, 4), 0 if weight is not None else 255, dtype=torch.uint8)
    loss = segmentation_loss(logits, cover, class_weights=weight)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_the_loss_of_half_precision_is_taken_in_single() -> None:
    logits = torch.randn(2, CLASSES, 8, 8).bfloat16()
    cover = torch.from_numpy(labels(2, 8, 8))
    loss = segmentation_loss(logits, cover)
    assert loss.dtype == torch.float32
    assert_close(loss, segmentation_loss(logits.float(), cover))


@pytest.mark.parametrize(
    ("cover", "weight", "words"),
    [
        (torch.zeros(2, 9, 9, dtype=torch.uint8), None, r"^land_cover: .* of shape \(2, 8, 8\)"),
        (torch.zeros(2, 8, 8), None, r"^land_cover: .* whole numbers, .* got torch\.float32"),
        (torch.zeros(2, 8, 8).long(), torch.ones(7), r"^class_weights: expected shape \(6,\), got"),
    ],
)
def test_land_cover_that_does_not_match_the_logits_is_refused(
    cover: torch.Tensor, weight: torch.Tensor | None, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        segmentation_loss(torch.zeros(2, CLASSES, 8, 8), cover, class_weights=weight)


@pytest.mark.parametrize("turn", range(4))
def test_labels_return_to_the_grid_they_came_from(turn: int) -> None:
    coarse = torch.from_numpy(labels(2, 48, 48))
    nearest = torch.from_numpy((2 * np.arange(160) + 1) * 48 // 320)  # of the loader
    fine = torch.rot90(coarse[:, nearest][:, :, nearest], turn, (1, 2)).flip(2)
    logits, again = on_label_grid(torch.zeros(2, CLASSES, 160, 160), fine, (48, 48))
    assert again.dtype == torch.uint8
    assert torch.equal(again, torch.rot90(coarse, turn, (1, 2)).flip(2))
    assert logits.shape == (2, CLASSES, 48, 48)


def test_logits_are_those_at_the_centres_of_the_label_grid() -> None:
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    plane = (2 * y + 3 * x)[None, None]  # linear: exact under bilinear interpolation
    logits, _ = on_label_grid(plane, torch.zeros(1, 20, 30, dtype=torch.uint8), (6, 9))
    rows, columns = ((np.arange(n) + 0.5) * 10 / 3 - 0.5 for n in (6, 9))
    expected = 2 * rows[:, None] + 3 * columns
    assert_close(logits[0, 0].double().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_indices_other_than_classes_are_ignored() -> None:
    mask = ignored(torch.tensor([-1, 0, 5, 6, 7, 255]))
    assert mask.tolist() == [True, False, False, True, True, True]
    assert ignored(torch.tensor([2, 3]), 3).tolist() == [False, True]


def test_rare_classes_weigh_more_by_the_root_of_their_frequency() -> None:
    weights = class_weights([400, 100, 0, 25])
    assert weights.dtype == torch.float32
    assert weights[2] == 0
    assert_close(weights[1] / weights[0], torch.tensor(2.0))
    assert_close(weights[3] / weights[0], torch.tensor(4.0))
    assert_close(weights.sum() / 3, torch.tensor(1.0))
    assert_close(class_weights(np.array([4, 1, 0, 0.25])), weights)  # of any total


@pytest.mark.parametrize("counts", [[0, 0], [1, -1], [1, math.nan], [[1, 2]], []])
def test_invalid_counts_are_refused(counts: list) -> None:
    with pytest.raises(InputError, match=r"^counts: expected pixels per class"):
        class_weights(counts)


# --- classification -------------------------------------------------------------------------------


def test_it_classifies_in_evaluation_mode_and_restores_its_mode() -> None:
    model = small()
    model.train()
    model.network.decoder.eval()
    modes = [module.training for module in model.modules()]
    statistics = model.network.encoder.bn1.running_mean.clone()
    pixels = pictures(2, 4, 40, 52).numpy()
    classes = classify(model, pixels)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(model.network.encoder.bn1.running_mean, statistics)
    assert (classes.shape, classes.dtype) == ((2, 40, 52), np.uint8)
    with torch.no_grad():
        assert_array_equal(classes, model.eval()(torch.from_numpy(pixels)).argmax(1))
    assert len(np.unique(classes)) > 1


def test_it_classifies_arrays_of_any_layout(segmenter: Segmenter) -> None:
    pixels = pictures(1, 4, 32, 32).numpy()
    expected = classify(segmenter, pixels)
    assert_array_equal(classify(segmenter, pixels.astype(">f4")), expected)
    assert_array_equal(classify(segmenter, np.asfortranarray(pixels)), expected)
    pixels.flags.writeable = False
    assert_array_equal(classify(segmenter, pixels.astype(np.float64)), expected)
    assert_array_equal(classify(segmenter, pixels, device="cpu"), expected)
    assert (classify(segmenter, pixels, precision="bf16") == expected).mean() > 0.8


@every_precision
def test_every_device_and_precision_sees_the_same_classes(device: str, precision: Any) -> None:
    pixels, model = pictures(2, 4, 40, 52).numpy(), small()
    expected = classify(model, pixels)
    seen = classify(model, pixels, device=device, precision=precision)
    assert (seen == expected).mean() >= (0.99 if precision == "32" else 0.8)


def test_images_that_it_cannot_classify_are_refused(segmenter: Segmenter) -> None:
    pixels = pictures(1, 4, 32, 32).numpy()
    pixels[0, 0, 3, 3] = np.nan
    with pytest.raises(InputError, match=r"^images: expected finite reflectance, got nan"):
        classify(segmenter, pixels)
    with pytest.raises(
        InputError, match=r"^segmenter: expected reflectance .* got images of torch"
    ):
        classify(segmenter, np.zeros((1, 4, 32, 32), np.uint16))
    with pytest.raises(ModelError, match=r"^precision: expected one of 32, .* fp16, got 'fp8'"):
        classify(segmenter, np.zeros((1, 4, 32, 32), np.float32), precision="fp8")
    with pytest.raises(ModelError, match=r"^device: expected auto, cpu"):
        classify(segmenter, np.zeros((1, 4, 32, 32), np.float32), device="tpu")


# --- an encoder's first weights -------------------------------------------------------------------


@pytest.fixture(scope="module")
def resnet() -> torchvision.models.ResNet:
    torch.manual_seed(3)
    return torchvision.models.resnet18(weights=None)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of huggingface_hub, on a machine without a network."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("form", ["pth", "safetensors", "an older pth", "ckpt"])
def test_an_encoder_loads_weights_of_torchvision(
    form: str, resnet: torchvision.models.ResNet, tmp_path: Path
) -> None:
    path = tmp_path / f"resnet18.{form.rpartition(' ')[2]}"
    state = resnet.state_dict()
    if form.startswith("an older"):
        state = {key: v for key, v in state.items() if not key.endswith("num_batches_tracked")}
    content = {"state_dict": state} if form == "ckpt" else state  # as Lightning writes it
    (save_file if form == "safetensors" else torch.save)(content, path)
    model = small()
    decoder = {key: value.clone() for key, value in model.network.decoder.state_dict().items()}
    assert load_encoder(model, path if form == "pth" else str(path)) == path
    ours = model.network.encoder.state_dict()
    for key, value in state.items():
        if not key.startswith(("fc.", "conv1.")):
            assert torch.equal(ours[key], value), key
    assert all(torch.equal(model.network.decoder.state_dict()[k], v) for k, v in decoder.items())
    red, green, blue = resnet.conv1.weight.unbind(1)
    kernels = torch.stack((blue, green, red, (red + green + blue) / 3), dim=1) * 3 / 4
    assert_close(ours["conv1.weight"], kernels)


def test_a_grey_image_gives_the_recorded_result(
    resnet: torchvision.models.ResNet, tmp_path: Path
) -> None:
    torch.save(resnet.state_dict(), tmp_path / "r.pth")
    grey = pictures(1, 1, 64, 64)
    with torch.no_grad():
        expected = resnet.conv1(grey.expand(-1, 3, -1, -1))
        for bands in (3, 4, 6):
            model = small(bands=bands)
            load_encoder(model, tmp_path / "r.pth")
            answer = model.network.encoder.conv1(grey.expand(-1, bands, -1, -1))
            assert_close(answer, expected, rtol=1e-4, atol=1e-5)


def test_files_of_other_networks_are_refused_and_change_nothing(
    resnet: torchvision.models.ResNet, tmp_path: Path
) -> None:
    path = tmp_path / "r.pth"
    model = small()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = resnet.state_dict()
    with torch.device("meta"):
        deeper = torchvision.models.resnet34(weights=None).state_dict()
    zeros = {key: torch.zeros(()).expand(value.shape) for key, value in deeper.items()}
    others = {
        r"expected a file of weights, found no such file": None,
        r"the weights of a resnet18 as .*got others.*\n  surplus: layer1\.2\.conv1\.weight": zeros,
        r"others.*\n  missing: layer4\.1\.bn2\.bias$": {
            key: value for key, value in state.items() if key != "layer4.1.bn2.bias"
        },
        r"shape: conv1\.weight expected \(64, 3, 7, 7\), got \(64, 4, 7, 7\)": (
            state | {"conv1.weight": torch.zeros(64, 4, 7, 7)}
        ),
        r"holds nan or infinity in bn1\.weight": state
        | {"bn1.weight": torch.full((64,), torch.inf)},
        r"expected a dictionary of weights and nothing else": {"model": state, "epoch": 90},
        r"holds objects other than weights": resnet,
    }
    for words, content in others.items():
        if content is not None:
            torch.save(content, path)
        with pytest.raises(CheckpointError, match=words):
            load_encoder(model, path)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())


def test_colours_need_three_bands(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^segmenter: expected 3 bands or more, .* got 2"):
        load_encoder(small(bands=2), tmp_path / "r.pth")


def test_imagenet_means_what_the_local_cache_holds(
    offline: Path, resnet: torchvision.models.ResNet
) -> None:
    model = small()
    with pytest.raises(CheckpointError, match=r"^imagenet: .*resnet18.* nothing is downloaded"):
        load_encoder(model, "imagenet")
    settings_ = encoders.encoders["resnet18"]["pretrained_settings"]["imagenet"]
    folder = offline / f"models--{settings_['repo_id'].replace('/', '--')}"
    file = folder / "snapshots" / settings_["revision"] / "model.safetensors"
    file.parent.mkdir(parents=True)
    save_file(resnet.state_dict(), file)
    (file.parent / "config.json").write_text("{}")
    assert load_encoder(model, "imagenet") == file
    assert torch.equal(model.network.encoder.bn1.weight, resnet.bn1.weight)
    theirs = encoders.get_encoder("resnet18", weights="imagenet")  # the library finds it there too
    key = "layer4.1.conv2.weight"
    assert torch.equal(model.network.encoder.state_dict()[key], theirs.state_dict()[key])
    with pytest.raises(CheckpointError, match=r"^imagenet: expected a file of weights, found no"):
        load_encoder(model, Path("imagenet"))


@pytest.fixture(scope="module")
def lcnet() -> nn.Module:
    torch.manual_seed(4)
    return timm.create_model("lcnet_100", pretrained=False)


def test_a_light_encoder_loads_weights_of_timm(lcnet: nn.Module, tmp_path: Path) -> None:
    save_file(lcnet.state_dict(), tmp_path / "lcnet.safetensors")
    model = small(encoder="tu-lcnet_100")
    load_encoder(model, tmp_path / "lcnet.safetensors")
    ours, theirs = model.network.encoder.model.state_dict(), lcnet.state_dict()
    assert set(theirs) - set(ours) == {
        f"{head}.{kind}" for head in ("conv_head", "classifier") for kind in ("weight", "bias")
    }
    assert all(torch.equal(ours[key], theirs[key]) for key in ours if key != "conv_stem.weight")
    grey = pictures(1, 1, 64, 64)
    with torch.no_grad():
        expected = lcnet.conv_stem(grey.expand(-1, 3, -1, -1))
        stem = model.network.encoder.model.conv_stem
        assert_close(stem(grey.expand(-1, 4, -1, -1)), expected, rtol=1e-4, atol=1e-5)
    other = small(encoder="tu-mobilenetv3_small_100")
    with pytest.raises(CheckpointError, match="weights of a mobilenetv3_small_100 as timm names"):
        load_encoder(other, tmp_path / "lcnet.safetensors")


def test_imagenet_weights_of_timm_are_found_in_the_local_cache(
    offline: Path, lcnet: nn.Module
) -> None:
    model = small(encoder="tu-lcnet_100")
    words = r"^imagenet: expected model\.safetensors of timm/lcnet_100\.ra2_in1k in .* timm's file"
    with pytest.raises(CheckpointError, match=words):
        load_encoder(model, "imagenet")
    folder = offline / "models--timm--lcnet_100.ra2_in1k"
    file = folder / "snapshots" / "abc" / "model.safetensors"
    file.parent.mkdir(parents=True)
    save_file(lcnet.state_dict(), file)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    assert load_encoder(model, "imagenet") == file
    assert torch.equal(model.network.encoder.model.bn1.weight, lcnet.bn1.weight)


# --- files ----------------------------------------------------------------------------------------

CARD = {"data": "a1b2", "track": "simulated", "miou": 0.43, "iou": [0.5, None], "options": "?"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str, str]:
    """Weights, card and hash of a segmenter whose every buffer has been set."""
    model = small(rates=(1, 2, 3))
    model.set_normalisation([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8])
    path = tmp_path_factory.mktemp("segmenter") / "segmenter.safetensors"
    digest = save_segmenter(model, path, CARD)
    return path.read_bytes(), path.with_suffix(".json").read_text(), digest


@pytest.fixture
def saved(written: tuple[bytes, str, str], tmp_path: Path) -> Path:
    path = tmp_path / "segmenter.safetensors"
    path.write_bytes(written[0])
    path.with_suffix(".json").write_text(written[1])
    return path


def test_a_segmenter_is_saved_and_loaded_unchanged(tmp_path: Path) -> None:
    model = small(rates=(1, 2, 3), classes=4).train()
    model.set_normalisation([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8])
    path = tmp_path / "segmenter.safetensors"
    digest = save_segmenter(model, path, CARD)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "segmenter.json",
        "segmenter.safetensors",
    ]
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    again = load_segmenter(path)
    assert not again.training
    assert again.options == model.options
    assert again.state_dict().keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    picture = pictures(1, 4, 40, 40)
    with torch.no_grad():
        assert torch.equal(again(picture), model.eval()(picture))


def test_the_same_segmenter_has_the_same_hash(
    written: tuple[bytes, str, str], tmp_path: Path
) -> None:
    model = small(rates=(1, 2, 3))
    model.set_normalisation([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8])
    assert save_segmenter(model, tmp_path / "other.safetensors", {}) == written[2]
    model.mean += 1e-3
    assert save_segmenter(model, tmp_path / "other.safetensors", {}) != written[2]


def test_a_card_holds_the_given_facts_and_its_segmenter(
    saved: Path, written: tuple[bytes, str, str]
) -> None:
    card = read_card(saved)
    assert card == read_card(saved.with_suffix(".json"))
    options = {"encoder": "resnet18", "rates": [1, 2, 3], "bands": 4, "classes": CLASSES}
    options |= {"output_stride": 16, "separable": True, "decoder_channels": 256}
    assert card == CARD | {"options": options, "sha256": written[2]}


@pytest.mark.parametrize(
    "entry", [math.nan, np.arange(3), Path("x"), [1, {"deep": -math.inf}]], ids=str
)
def test_a_card_that_json_cannot_hold_is_refused_and_not_written(
    entry: object, segmenter: Segmenter, saved: Path, written: tuple[bytes, str, str]
) -> None:
    with pytest.raises(ModelError, match=r"^card: expected JSON values .* None for nan"):
        save_segmenter(segmenter, saved, {"miou": entry})
    assert saved.read_bytes() == written[0]
    assert saved.with_suffix(".json").read_text() == written[1]
    assert len(list(saved.parent.iterdir())) == 2


def test_a_full_disk_leaves_the_old_segmenter(
    segmenter: Segmenter,
    saved: Path,
    written: tuple[bytes, str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: object, path: Path, __: object) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("planetcr_models.weights.checkpoint.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_segmenter(segmenter, saved, {})
    assert saved.read_bytes() == written[0]
    assert len(list(saved.parent.iterdir())) == 2
    assert load_segmenter(saved).options["rates"] == (1, 2, 3)


def test_an_open_segmenter_stays_readable_while_it_is_replaced(
    segmenter: Segmenter, saved: Path, written: tuple[bytes, str, str]
) -> None:
    with saved.open("rb") as weights, saved.with_suffix(".json").open() as card:
        digest = save_segmenter(segmenter, saved, {})
        assert weights.read() == written[0]
        assert card.read() == written[1]
    assert read_card(saved)["sha256"] == digest


def test_weights_cannot_be_saved_under_the_name_of_the_card(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"segmenter\.json: is the name of the card"):
        save_segmenter(segmenter, tmp_path / "segmenter.json", {})
    with pytest.raises(FileNotFoundError):
        save_segmenter(segmenter, tmp_path / "none" / "segmenter.safetensors", {})
    assert not any(tmp_path.iterdir())


def test_a_segmenter_needs_no_card_and_refuses_that_of_another(saved: Path) -> None:
    card = saved.with_suffix(".json")
    text = card.read_text()
    other = dict(json.loads(text), sha256="0" * 64)
    card.write_text(json.dumps(other))
    with pytest.raises(
        CheckpointError, match=r"segmenter\.json: the card belongs to another file than se"
    ):
        load_segmenter(saved)
    card.write_text("{}")
    with pytest.raises(CheckpointError, match="the card belongs to another file"):
        load_segmenter(saved)
    card.write_text("[]")
    with pytest.raises(CheckpointError, match="expected a card of weights, got a list"):
        load_segmenter(saved)
    card.write_bytes(b"\xff{")
    with pytest.raises(CheckpointError, match="not a card, or damaged"):
        read_card(saved)
    card.unlink()
    with pytest.raises(
        CheckpointError, match=r"segmenter\.json: expected a card of weights, found"
    ):
        read_card(saved)
    assert isinstance(load_segmenter(saved), Segmenter)


def change(
    path: Path, new_metadata: dict[str, str] | None = None, **weights: torch.Tensor | None
) -> None:
    """Rewrite a file: other metadata, or weights (None removes one), and no card."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        metadata = json.loads(file.read(size))["__metadata__"]
    now = load_file(path) | weights
    save_file({k: v for k, v in now.items() if v is not None}, path, new_metadata or metadata)
    path.with_suffix(".json").unlink()


BROKEN: dict[str, Callable[[Path], object]] = {
    "expected a file of weights, found no such file": Path.unlink,
    "not a safetensors file, or damaged": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "the card belongs to another file": lambda path: path.write_bytes(
        path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])
    ),
    r"save_segmenter writes it, found safetensors of another origin": lambda path: change(
        path, {"format": "planetcr_models"}
    ),
    "expected format version 1, got 2": lambda path: change(
        path, {FORMAT: '{"version": "2", "options": {}}'}
    ),
    r"states no version and options; save": lambda path: change(path, {FORMAT: "{"}),
    r"cannot be built \(segmenter: expected an encoder": lambda path: change(
        path, {FORMAT: '{"version": "1", "options": {"encoder": "vgg16"}}'}
    ),
    r"cannot be built \(.* unexpected keyword argument 'blocks'": lambda path: change(
        path, {FORMAT: '{"version": "1", "options": {"blocks": 3}}'}
    ),
    r"cannot be built \(segmenter: .* got 4, 6, 16, \(12, 24, 36\) and 1000000000\)": lambda path: (
        change(path, {FORMAT: '{"version": "1", "options": {"decoder_channels": 1000000000}}'})
    ),
    r"cannot be built \(segmenter: expected at most 100 bands, got 1000000000\)": lambda path: (
        change(path, {FORMAT: '{"version": "1", "options": {"bands": 1000000000}}'})
    ),
    "weights of this Segmenter, got others\n  missing: mean": lambda path: change(path, mean=None),
    r"of another shape: std expected \(4,\), got \(3,\)": lambda path: change(
        path, std=torch.ones(3)
    ),
    "holds nan or infinity in mean": lambda path: change(path, mean=torch.full((4,), torch.nan)),
}


@pytest.mark.parametrize("words", BROKEN)
def test_anything_but_a_segmenter_is_refused_with_the_reason(saved: Path, words: str) -> None:
    BROKEN[words](saved)
    with pytest.raises(CheckpointError, match=words):
        load_segmenter(saved)


def test_a_segmenter_is_not_loaded_as_a_network(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="safetensors of another origin"):
        load_model(saved)
