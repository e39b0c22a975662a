"""The plain networks give the answers of the authors' networks, recorded in parity/."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from parity.fill import _normal, rule_a, rule_b, wave
from paths import ROOT
from plain import PlainAlignCR, PlainGLFCR, unfold_filter

PARITY = ROOT / "tests/models/parity"
BUFFERS = ("attn_mask", "relative_position_index")
TOLERANCES = [(torch.float64, 1e-10), (torch.float32, 5e-6)]


def read_json(name: str):
    return json.loads((PARITY / name).read_text())


def published_keys(entries) -> list[str]:
    return [key for key in entries if not key.endswith(BUFFERS)]


def batch(array: np.ndarray, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.from_numpy(array).to(dtype)[None]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def align_cr() -> nn.Module:
    """In float64, with weights that were rounded to float32."""
    network = PlainAlignCR().eval()
    shapes = read_json("align_cr_keys.json")
    weights = {
        key: torch.from_numpy(rule_b(key, shapes[key][0])).float() for key in published_keys(shapes)
    }
    network.load_state_dict(weights, strict=True)
    return network.double()


@pytest.fixture(scope="module")
def glf_cr() -> nn.Module:
    network = PlainGLFCR().double().eval()
    shapes = dict(read_json("glf.json")["keys"])
    weights = {
        key: torch.from_numpy(rule_a(key, shapes[key], gain=0.7)) for key in published_keys(shapes)
    }
    network.load_state_dict(weights, strict=True)
    return network


def align_inputs(dtype: torch.dtype) -> tuple[Tensor, Tensor, np.lib.npyio.NpzFile]:
    fixture = np.load(PARITY / "align_cr_64.npz")
    cloudy, sar = (torch.from_numpy(fixture[name]).to(dtype) for name in ("opt_64", "sar_64"))
    return cloudy, sar, fixture


def glf_inputs(size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return batch(wave(4, size, size), dtype), batch(wave(2, size, size, phase=2), dtype)


@pytest.mark.parametrize(
    ("network", "published"),
    [
        (PlainAlignCR, lambda: read_json("align_cr_keys.json")),
        (PlainGLFCR, lambda: dict(read_json("glf.json")["keys"])),
    ],
)
def test_parameters_have_the_published_names_in_the_published_order(network, published):
    # The order is that of the optimiser's state in a file of the authors.
    with torch.device("meta"):
        names = [name for name, _ in network().named_parameters()]
    assert sorted(names) == sorted(published_keys(published()))
    assert names == published_keys(published())


@pytest.fixture(scope="module")
def align_cr_features(align_cr) -> dict[str, Tensor]:
    """Output of some modules and of the whole, in float64."""
    seen: dict[str, Tensor] = {}

    def cache_write(name: str):
        def hook(_module, _inputs, output):
            parts = output if isinstance(output, tuple) else (output,)
            ending = "[{}]" if len(parts) > 1 else ""
            seen.update({f"mid/{name}{ending.format(i)}": p for i, p in enumerate(parts)})

        return hook

    names = ("SFE_module", "SFE_module_SAR", "SFAlign.0", "RDBs.0", "GFF", "UPNet")
    hooks = [align_cr.get_submodule(n).register_forward_hook(cache_write(n)) for n in names]
    cloudy, sar, _ = align_inputs(torch.float64)
    with torch.no_grad():
        seen["out64_64"] = align_cr(cloudy, sar)
    for hook in hooks:
        hook.remove()
    return seen


def test_align_cr_gives_the_published_results_in_float64(align_cr_features):
    expected = torch.from_numpy(np.load(PARITY / "align_cr_64.npz")["out64_64"])
    torch.testing.assert_close(align_cr_features["out64_64"], expected, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_align_cr_gives_the_published_results_in_float32(align_cr):
    cloudy, sar, fixture = align_inputs(torch.float32)
    with torch.no_grad():
        result = align_cr.float()(cloudy, sar)
    align_cr.double()  # exact: the weights are float32 numbers
    expected = torch.from_numpy(fixture["out64_64"])
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=5e-6)


def test_align_cr_has_the_published_intermediate_features(align_cr_features):
    fixture = np.load(PARITY / "align_cr_64.npz")
    names = [name for name in fixture if name.startswith("mid/")]
    assert len(names) == 7
    for name in names:
        feature = align_cr_features[name]
        upsampled = name == "mid/UPNet"  # as the fixture was thinned
        shown = feature[..., ::2, ::2] if upsampled else feature[:, ::16]
        expected = torch.from_numpy(fixture[name])  # stored in float32
        torch.testing.assert_close(shown.float(), expected, rtol=1e-6, atol=1e-6)


def cotangent_loss(network: nn.Module) -> Tensor:
    """In float64: the output weighted as the recorded gradients ask for."""
    cloudy, sar, _ = align_inputs(torch.float64)
    cotangent = _normal("align_cr/cotangent/64", (1, 4, 64, 64)).astype(np.float32)
    return (network(cloudy, sar) * torch.from_numpy(cotangent)).sum()


@pytest.fixture(scope="module")
def align_cr_gradients(align_cr) -> dict[str, Tensor]:
    names, parameters = zip(*align_cr.named_parameters(), strict=True)
    gradients = torch.autograd.grad(cotangent_loss(align_cr), parameters, allow_unused=True)
    pairs = zip(names, gradients, strict=True)
    return {name: gradient for name, gradient in pairs if gradient is not None}


@pytest.mark.slow
def test_align_cr_has_the_published_gradients(align_cr_gradients):
    # Recorded in float32, where samples near a pixel's edge fall to its other side: one norm of
    # the 910 is 1.08e-3 off. That ours are right, the next test shows without the record.
    norms = {name: float(gradient.norm()) for name, gradient in align_cr_gradients.items()}
    assert norms == pytest.approx(read_json("align_cr_gradnorm_64.json"), rel=1.2e-3)


@pytest.mark.slow
def test_align_cr_has_the_gradients_that_finite_differences_have(align_cr, align_cr_gradients):
    norm = torch.stack([gradient.norm() for gradient in align_cr_gradients.values()]).norm()
    step, losses = 1e-9, []  # wider steps cross the edges of pixels
    with torch.no_grad():
        for sign in (1, -2):  # one step up, then one down
            for name, gradient in align_cr_gradients.items():
                align_cr.get_parameter(name).add_(gradient, alpha=sign * step / float(norm))
            losses.append(float(cotangent_loss(align_cr)))
        for name, gradient in align_cr_gradients.items():
            align_cr.get_parameter(name).add_(gradient, alpha=step / float(norm))
    assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(float(norm), rel=1e-7)


@pytest.mark.parametrize(("size", "dtype", "tolerance"), [
    *((size, *TOLERANCES[0]) for size in (32, 48)),
    *(pytest.param(size, *TOLERANCES[1], marks=pytest.mark.slow) for size in (32, 48)),
])  # fmt: skip
def test_glf_cr_gives_the_published_results(glf_cr, size, dtype, tolerance):
    if dtype == torch.float64:
        network = glf_cr
    else:
        network = PlainGLFCR().eval()
        network.load_state_dict(glf_cr.state_dict())  # rounds
    with torch.no_grad():
        result = network(*glf_inputs(size, dtype))
    expected = np.load(PARITY / "glf.npz")[f"glfcr_port_4p2_{size}_eval__out0"]
    torch.testing.assert_close(result.double(), torch.from_numpy(expected), rtol=0, atol=tolerance)


def test_the_filter_gives_the_published_results():
    features, kernels = batch(wave(3, 7, 9)), batch(wave(27, 7, 9, phase=1, low=-1))
    expected = torch.from_numpy(np.load(PARITY / "glf.npz")["kernel2d_conv_c3_k3__out"])
    torch.testing.assert_close(unfold_filter(features, kernels, taps=3), expected)


def test_stochastic_depth_acts_in_training_only():
    torch.manual_seed(0)
    network, inputs = PlainGLFCR(drop_path=0.2), glf_inputs(32, torch.float32)
    with torch.no_grad():
        assert not torch.equal(network(*inputs), network(*inputs))
        network.eval()
        assert torch.equal(network(*inputs), network(*inputs))
