"""GLF-CR gives the answers of the authors' network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from narrow_networks import images, narrow
from official_files import PARITY, shapes_of, write_checkpoint
from parity.fill import wave
from plain import PlainGLFCR
from planetcr_models import create_model
from planetcr_models.errors import ModelError
from planetcr_models.layers.dynamic_filter import apply_kernels
from planetcr_models.networks.base import Restorer, upsample
from planetcr_models.networks.glf_cr import DropPath
from planetcr_models.weights.authors import LAYOUTS, load_checkpoint


def batch(image: np.ndarray, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.from_numpy(image)[None].to(dtype)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Restorer:
    path = tmp_path_factory.mktemp("weights") / "GLF_CR.pth"
    return load_checkpoint("glf_cr", write_checkpoint("glf_cr", path, shapes_of("glf_cr")))


@pytest.mark.parametrize("size", [32, 48])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 5e-6)])
def test_it_gives_the_results_of_the_authors_network(
    official: Restorer, size: int, dtype: torch.dtype, tolerance: float
) -> None:
    assert next(official.parameters()).dtype == torch.float64
    model = create_model("glf_cr").to(dtype).eval()
    model.load_state_dict(official.state_dict())
    cloudy, sar = batch(wave(4, size, size), dtype), batch(wave(2, size, size, phase=2), dtype)
    clear = torch.from_numpy(np.load(PARITY / "glf.npz")[f"glfcr_port_4p2_{size}_eval__out0"])
    with torch.no_grad():
        assert_close(model(cloudy, sar).double(), clear, rtol=0, atol=tolerance)


def test_the_original_of_thirteen_bands_loads(tmp_path: Path) -> None:
    shapes = shapes_of("glf_cr") | {
        "SFENet1.weight": (96, 52, 5, 5), "UPNet.2.weight": (13, 64, 3, 3), "UPNet.2.bias": (13,),
    }  # fmt: skip
    path = write_checkpoint("glf_cr", tmp_path / "13.pth", shapes)
    model = load_checkpoint("glf_cr", path)
    assert (model.bands, dict(model.options)) == (13, {"bands": 13})
    assert sum(parameter.numel() for parameter in model.parameters()) == 14_827_373


def test_the_dynamic_filter_alone_gives_the_authors_results() -> None:
    features, kernels = batch(wave(3, 7, 9)), batch(wave(27, 7, 9, phase=1, low=-1))
    expected = torch.from_numpy(np.load(PARITY / "glf.npz")["kernel2d_conv_c3_k3__out"])
    assert_close(apply_kernels(features, kernels), expected, rtol=0, atol=1e-12)


def test_it_is_the_published_formulation_with_all_gradients(official: Restorer) -> None:
    plain = PlainGLFCR().eval().double()
    names = LAYOUTS["glf_cr"].theirs
    plain.load_state_dict({names(key): value for key, value in official.state_dict().items()})
    cloudy, sar = (image.double() for image in images(1, (32, 48)))
    ours, expected = official(cloudy, sar), plain(cloudy, upsample(sar, (32, 48)))
    assert_close(ours, expected, rtol=0, atol=1e-10)
    ours.square().mean().backward()
    expected.square().mean().backward()
    theirs = dict(plain.named_parameters())
    learned = {key: p.grad for key, p in official.named_parameters() if p.grad is not None}
    assert len(learned) == 944
    for key, gradient in learned.items():
        other = theirs[names(key)].grad
        assert other is not None
        assert (gradient - other).norm() < 1e-8 * other.norm(), key


def test_it_has_the_authors_number_of_parameters() -> None:
    with torch.device("meta"):
        model = create_model("glf_cr")
    assert sum(p.numel() for p in model.parameters()) == 14_735_780
    unused = {key: p for key, p in model.named_parameters() if key in model.unused_parameters}
    assert sum(p.numel() for p in unused.values()) == 9_312


def test_layers_are_dropped_in_training_only_and_ever_more_often() -> None:
    model = create_model("glf_cr", width=8, growth=8)
    rates = [module.rate for module in model.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx(np.linspace(0, 0.2, 30))
    deep = narrow("glf_cr", drop_path=0.5)
    cloudy, sar = images()
    with torch.no_grad():
        assert torch.equal(deep.eval()(cloudy, sar), narrow("glf_cr").eval()(cloudy, sar))
        torch.manual_seed(0)
        draws = [deep.train()(cloudy, sar) for _ in range(8)]
    assert any(not torch.equal(draws[0], draw) for draw in draws)


def test_all_that_a_layer_adds_to_its_convolution_may_be_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing = torch.zeros(1, 1, 1, 1)
    monkeypatch.setattr(DropPath, "draw", lambda _, times, __: [nothing] * times)
    layer = narrow("glf_cr").stages[0].layers[1]
    optical, sar = torch.rand(2, 1, 24, 16, 16).unbind()
    for got, conv, image in zip(
        layer(optical, sar), (layer.conv, layer.conv_sar), (optical, sar), strict=True
    ):
        assert_close(got, conv(image).relu())


def test_dropping_keeps_the_mean() -> None:
    torch.manual_seed(0)
    (dropped,) = DropPath(0.25).train().draw(1, torch.ones(20_000, 1, 1, 1))
    assert dropped.shape == (20_000, 1, 1, 1)
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)


def test_invalid_options_are_refused() -> None:
    with pytest.raises(ModelError, match="expected a growth that 8 heads divide, got 20"):
        create_model("glf_cr", growth=20)
    with pytest.raises(ModelError, match=r"expected a drop_path in \[0, 1\), got 1"):
        create_model("glf_cr", drop_path=1)
