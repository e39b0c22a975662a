"""Test the contract of every network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from narrow_networks import NARROW, images, narrow
from on_devices import PRECISIONS, every_precision, needs_gpu
from planetcr_models import create_model, list_models
from planetcr_models.errors import InputError, ModelError
from planetcr_models.inference import restore_batch, restore_tiled
from planetcr_models.networks.base import upsample
from planetcr_models.networks.methods import METHODS
from planetcr_models.weights.onnx import export_onnx

every_model = pytest.mark.parametrize("name", list_models())
HEAVY = ("mcgan", "spa_gan", "sar_opt_cgan", "glf_cr", "align_cr_no_align", "align_cr")
every_model_in_time = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in HEAVY else ()) for name in list_models()],
)
"""Of some networks in the slow tests alone, where each takes half a minute."""


def test_the_methods_are_those_of_the_paper() -> None:
    assert list_models() == (
        "mcgan",
        "spa_gan",
        "sar_opt_cgan",
        "dsen2_cr",
        "glf_cr",
        "align_cr_no_sar",
        "align_cr_no_align",
        "align_cr",
    )
    assert set(NARROW) == set(list_models())


def test_an_unknown_name_or_option_is_refused() -> None:
    with pytest.raises(
        ModelError, match=r"allign_cr: no such model; did you mean 'align_cr'\? There are mcgan"
    ):
        create_model("allign_cr")
    with pytest.raises(ModelError, match="glf_cr: has no option depth; it has bands, width"):
        create_model("glf_cr", depth=3)


@every_model
def test_a_value_of_another_type_or_without_sense_is_refused(name: str) -> None:
    for bands in ("4", 4.0, True, None):
        with pytest.raises(ModelError, match=rf"{name}: expected bands=4 or other values of these"):
            create_model(name, bands=bands)
    for bands in (0, -8):
        with pytest.raises(ModelError, match=rf"of 1 or more.*bands={bands}"):
            create_model(name, **NARROW[name] | {"bands": bands})


@every_model
@pytest.mark.parametrize("size", [
    (32, 32), (33, 47), (40, 160),
    *(pytest.param(size, marks=pytest.mark.slow) for size in ((160, 160), (64, 300))),
])  # fmt: skip
def test_any_size_gives_an_image_of_that_size(name: str, size: tuple[int, int]) -> None:
    model = narrow(name).eval()
    cloudy, sar = images(2, size)
    with torch.no_grad():
        clear = model(cloudy, sar)
    assert clear.shape == cloudy.shape
    assert clear.isfinite().all()


@every_model
def test_a_whole_patch_runs(name: str) -> None:
    cloudy, sar = images(1, (300, 300))
    assert sar.shape[-2:] == (90, 90)
    with torch.no_grad():
        assert narrow(name).eval()(cloudy, sar).shape == cloudy.shape


@every_model
def test_every_pixel_of_the_result_depends_on_the_input(name: str) -> None:
    model = narrow(name).eval()
    cloudy, sar = images(1, (33, 47))
    cloudy.requires_grad_()
    corners = model(cloudy, sar)[..., [0, 0, -1, -1], [0, -1, 0, -1]]
    (gradient,) = torch.autograd.grad(corners.sum(), cloudy)
    assert all(gradient[..., row, column].any() for row in (0, -1) for column in (0, -1))


@every_model
def test_sar_is_taken_at_its_own_grid_or_at_the_optical_one(name: str) -> None:
    model = narrow(name).eval()
    cloudy, sar = images(1, (100, 70))
    with torch.no_grad():
        native, optical = model(cloudy, sar), model(cloudy, upsample(sar, (100, 70)))
    assert_close(native, optical, rtol=0, atol=0)


@every_model
def test_any_number_of_bands_and_of_bands_of_sar(name: str) -> None:
    sar_bands = {"sar_bands": 3} if METHODS[name].uses_sar else {}
    model = narrow(name, bands=13, **sar_bands).eval()
    cloudy, radar = images(2, bands=13)[0], torch.rand(2, 3, 20, 26)
    with torch.no_grad():
        assert model(cloudy, radar).shape == cloudy.shape
        if not model.uses_sar:
            assert torch.equal(model(cloudy), model(cloudy, radar))
            return
    for sar, got in ((None, "got none"), (radar[:, :2], r"got \(2, 2, 20, 26\)")):
        with pytest.raises(InputError, match=f"{name}: expected SAR images.*{got}"):
            model(cloudy, sar)
    with pytest.raises(ModelError, match=r"sar_bands=?.* of 1 or more"):
        narrow(name, sar_bands=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dsen2_cr", {"use_sar": False}),
        ("sar_opt_cgan", {"use_sar": False}),
        ("align_cr", {"zero_sar": True}),
    ],
)
def test_an_ablation_without_sar_may_be_called_without(name: str, options: dict) -> None:
    model = narrow(name, **options).eval()
    cloudy, sar = images()
    assert np.array_equal(
        restore_batch(model, cloudy.numpy()), restore_batch(model, cloudy.numpy(), sar.numpy())
    )
    tiled = restore_tiled(model, cloudy[0].numpy(), tile=64)
    assert_close(torch.from_numpy(tiled), model(cloudy)[0].detach(), rtol=0, atol=1e-5)


@every_model
def test_sar_changes_the_result_where_the_method_uses_it(name: str) -> None:
    model = narrow(name).eval()
    cloudy, sar = images()
    with torch.no_grad():
        changed = not torch.equal(model(cloudy, sar), model(cloudy, 1 - sar))
    assert changed == model.uses_sar
    assert model.uses_sar == (name not in {"mcgan", "spa_gan", "align_cr_no_sar"})


@every_model
def test_every_parameter_that_is_used_learns(name: str) -> None:
    model = narrow(name).train()
    model(*images(2)).square().mean().backward()
    idle = {
        key
        for key, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    }
    assert idle == set(model.unused_parameters)


@every_model
def test_a_seed_decides_the_weights_and_the_weights_the_result(name: str) -> None:
    cloudy, sar = images()
    with torch.no_grad():
        first, again, other = (narrow(name, seed=s).eval()(cloudy, sar) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@every_model
def test_an_image_does_not_depend_on_the_others_of_its_batch(name: str) -> None:
    model = narrow(name).eval().double()
    cloudy, sar = (image.double() for image in images(3))
    with torch.no_grad():
        together = model(cloudy, sar)
        alone = torch.cat([model(cloudy[i : i + 1], sar[i : i + 1]) for i in range(3)])
    assert_close(together, alone, rtol=0, atol=1e-12)


@every_model
def test_the_result_has_the_type_of_the_input(name: str) -> None:
    model = narrow(name).eval()
    cloudy, sar = images()
    with torch.no_grad():
        single = model(cloudy, sar)
        double = model.double()(cloudy.double(), sar.double())
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert_close(single.double(), double, rtol=0, atol=1e-5)


@every_model
def test_bfloat16_is_near_float32_and_learns(name: str) -> None:
    model = narrow(name).eval()
    cloudy, sar = images(2)
    with torch.no_grad():
        exact = model(cloudy, sar)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(cloudy, sar)
        rough.square().mean().backward()
    assert rough.dtype == torch.float32
    assert_close(rough, exact, rtol=0, atol=0.05 * float(exact.std()))
    assert all(
        p.grad.isfinite().all() and p.grad.any()
        for key, p in model.named_parameters()
        if key not in model.unused_parameters and p.grad is not None
    )


@every_model
@every_precision
def test_every_device_and_precision_agrees(name: str, device: str, precision: str) -> None:
    model = narrow(name)
    cloudy, sar = (image.numpy() for image in images(2))
    exact = restore_batch(model, cloudy, sar)
    got = restore_batch(model, cloudy, sar, device=device, precision=precision)
    tolerance = PRECISIONS[device][precision] * exact.std()
    assert abs(got - exact).max() <= tolerance
    assert (got == exact).all() == (device == "cpu" and precision == "32")


@every_model
@needs_gpu
def test_features_stay_channels_last_on_a_gpu(name: str) -> None:
    model = narrow(name).cuda().to(memory_format=torch.channels_last)
    strayed: list[str] = []

    def look(key: str) -> Callable[..., None]:
        def check(_module: object, _inputs: object, output: object) -> None:
            wide = isinstance(output, torch.Tensor) and output.ndim == 4 and output.shape[1] > 4
            if wide and not output.is_contiguous(memory_format=torch.channels_last):
                strayed.append(key)

        return check

    for key, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(look(key))
    model(*(image.cuda() for image in images(2)))
    assert not strayed


@every_model
def test_channels_last_gives_the_same(name: str) -> None:
    model = narrow(name).eval()
    cloudy, sar = images(2)
    with torch.no_grad():
        usual = model(cloudy, sar)
        model = model.to(memory_format=torch.channels_last)
        last = model(cloudy.contiguous(memory_format=torch.channels_last), sar)
    assert_close(last, usual, rtol=0, atol=1e-5)


def compiled_agrees(name: str, backend: str) -> None:
    torch._dynamo.reset()
    model = narrow(name).eval().double()  # in float32 a kernel near zero may fall on either side
    cloudy, sar = (image.double() for image in images())
    plain = model(cloudy, sar)
    plain.square().sum().backward()
    expected = {key: p.grad for key, p in model.named_parameters()}
    model.zero_grad()
    compiled = torch.compile(model, backend=backend, fullgraph=True)(cloudy, sar)
    compiled.square().sum().backward()
    assert_close(compiled, plain, rtol=0, atol=1e-10)
    for key, parameter in model.named_parameters():
        if key not in model.unused_parameters:
            assert_close(parameter.grad, expected[key], rtol=1e-6, atol=1e-7, msg=key)


@every_model_in_time
def test_it_compiles_as_one_graph(name: str) -> None:
    compiled_agrees(name, "aot_eager")


@every_model
@pytest.mark.slow
def test_it_compiles_to_machine_code(name: str) -> None:
    compiled_agrees(name, "inductor")


@every_model_in_time
def test_onnx_gives_the_same(name: str, tmp_path: Path) -> None:
    model = narrow(name).train()
    cloudy, sar = images(1, (64, 48))
    path = export_onnx(model, tmp_path / "model.onnx", size=(64, 48))
    assert model.training
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(path)
    (clear,) = session.run(["clear"], {"cloudy": cloudy.numpy(), "sar": sar.numpy()})
    with torch.no_grad():
        assert_close(torch.from_numpy(clear), model.eval()(cloudy, sar), rtol=0, atol=1e-5)


@every_model
def test_it_can_be_copied(name: str) -> None:
    model = narrow(name).eval()
    cloudy, sar = images()
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(model)(cloudy, sar), model(cloudy, sar))


@every_model
def test_images_of_another_shape_are_refused(name: str) -> None:
    model = narrow(name).eval()
    cloudy, sar = images(2)
    with pytest.raises(InputError, match=rf"^{name}: expected cloudy images of shape \(B, 4, H"):
        model(cloudy[:, :3], sar)
    with pytest.raises(InputError, match=rf"^{name}: expected images of 32 x 32 pixels or more"):
        model(cloudy[..., :31], sar)
    with pytest.raises(InputError, match=rf"^{name}: expected reflectance in \[0, 1\] as floats"):
        model((255 * cloudy).byte(), sar)
    if model.uses_sar:
        with pytest.raises(InputError, match=rf"^{name}: expected SAR images of shape \(2, 2, h"):
            model(cloudy, sar[:1])
        with pytest.raises(InputError, match=rf"^{name}: expected SAR in \[0, 1\] as a tensor of"):
            model(cloudy, sar.long())
        with torch.no_grad():
            assert torch.equal(model(cloudy, sar), model(cloudy, sar.double()))
