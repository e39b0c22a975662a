"""Align-CR gives the answers of the authors' network, and its ablations are what they claim."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from narrow_networks import images, narrow
from official_files import PARITY, shapes_of, write_checkpoint
from parity.fill import _normal
from plain import PlainAlignCR
from planetcr_models import create_model
from planetcr_models.errors import ModelError
from planetcr_models.networks.base import Restorer, upsample
from planetcr_models.weights.authors import LAYOUTS, load_checkpoint


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Restorer:
    """Through the file that the authors' training would have written."""
    path = tmp_path_factory.mktemp("weights") / "Align_CR.pth"
    model = load_checkpoint("align_cr", write_checkpoint("align_cr", path, shapes_of("align_cr")))
    path.unlink()
    return model


@pytest.fixture
def official(loaded: Restorer) -> Restorer:
    return copy.deepcopy(loaded)


def recorded(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    arrays = np.load(PARITY / "align_cr_64.npz")
    cloudy, sar = (torch.from_numpy(arrays[key]).to(dtype) for key in ("opt_64", "sar_64"))
    return cloudy, sar, torch.from_numpy(arrays["out64_64"])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-6), (torch.float64, 1e-10)])
def test_it_gives_the_results_of_the_authors_network(
    official: Restorer, dtype: torch.dtype, tolerance: float
) -> None:
    cloudy, sar, clear = recorded(dtype)
    assert not official.training
    with torch.no_grad():
        assert_close(official.to(dtype)(cloudy, sar).double(), clear, rtol=0, atol=tolerance)


def test_its_intermediate_features_are_those_of_the_authors(official: Restorer) -> None:
    seen: dict[str, Tensor] = {}
    names = {
        "extract": "SFE_module",
        "extract_sar": "SFE_module_SAR",
        "stages.0.align": "SFAlign.0",
        "reconstruct.smooth": "GFF",
        "reconstruct": "UPNet",
    }
    for ours, theirs in names.items():
        official.get_submodule(ours).register_forward_hook(
            lambda _, __, output, key=theirs: seen.update({key: output})
        )
    cloudy, sar, _ = recorded(torch.float32)
    with torch.no_grad():
        official(cloudy, sar)
    arrays = np.load(PARITY / "align_cr_64.npz")
    for theirs, features in seen.items():
        part = features[..., ::2, ::2] if theirs == "UPNet" else features[:, ::16]  # as recorded
        expected = torch.from_numpy(arrays[f"mid/{theirs}"])
        assert_close(part, expected, rtol=1e-4, atol=1e-4, msg=theirs)


def gradients(network: torch.nn.Module) -> dict[str, Tensor]:
    cloudy, sar, _ = recorded(torch.float64)
    restored = network(cloudy[..., :32, :32], sar[..., :32, :32])
    along = torch.from_numpy(_normal("along", tuple(restored.shape)))
    (restored * along).sum().backward()
    return {key: p.grad for key, p in network.named_parameters() if p.grad is not None}


def test_its_gradients_are_those_of_the_published_formulation(official: Restorer) -> None:
    plain = PlainAlignCR().eval().double()
    theirs = {
        LAYOUTS["align_cr"].theirs(key): value for key, value in official.state_dict().items()
    }
    plain.load_state_dict(theirs)
    expected = gradients(plain)
    ours = gradients(official.double())
    assert len(ours) == 910
    for key, gradient in ours.items():
        name = LAYOUTS["align_cr"].theirs(key)
        scale = expected[name].norm()
        assert (gradient - expected[name]).norm() < 1e-8 * scale, name


@pytest.mark.parametrize("size", [(32, 48), pytest.param((160, 160), marks=pytest.mark.slow)])
def test_it_is_the_published_formulation_at_other_sizes(
    official: Restorer, size: tuple[int, int]
) -> None:
    plain = PlainAlignCR().eval()
    plain.load_state_dict(
        {LAYOUTS["align_cr"].theirs(key): value for key, value in official.state_dict().items()}
    )
    cloudy, sar = images(1, size)
    with torch.no_grad():
        expected = plain(cloudy, upsample(sar, size))
        assert_close(official(cloudy, sar), expected, rtol=0, atol=2e-5)


def test_it_has_the_authors_number_of_parameters() -> None:
    with torch.device("meta"):
        counts = {
            name: sum(p.numel() for p in create_model(name).parameters())
            for name in ("align_cr", "align_cr_no_align", "align_cr_no_sar")
        }
    assert counts == {
        "align_cr": 45_528_532,
        "align_cr_no_align": 16_360_468,
        "align_cr_no_sar": 6_121_260,
    }


def test_its_initial_weights_are_distributed_as_the_authors() -> None:
    torch.manual_seed(0)
    weights = create_model("align_cr").state_dict()
    for key, value in weights.items():
        if key.endswith(("sample.offset.weight", "sample.offset.bias", "sample.bias")):
            assert not value.any(), key
        if key.endswith("position_bias.table"):
            assert 0.015 < value.std() < 0.025, key
        if key.endswith("direction"):
            magnitude = weights[key.replace("direction", "magnitude")]
            assert_close(value.flatten(1).norm(dim=1), magnitude.flatten(), msg=key)


def test_without_alignment_it_is_the_rest() -> None:
    whole, rest = narrow("align_cr"), narrow("align_cr_no_align")
    without = {key: value for key, value in whole.state_dict().items() if ".align." not in key}
    rest.load_state_dict(without)  # the same weights, no more and no fewer
    for stage in whole.stages:
        stage.align = None
    cloudy, sar = images()
    with torch.no_grad():
        assert torch.equal(whole.eval()(cloudy, sar), rest.eval()(cloudy, sar))


def test_without_sar_it_is_the_optical_stream() -> None:
    whole, optical = narrow("align_cr"), narrow("align_cr_no_sar")
    kept = {
        key.replace("attend.optical", "attend.projections"): value
        for key, value in whole.state_dict().items()
        if key.replace("attend.optical", "attend.projections") in optical.state_dict()
    }
    optical.load_state_dict(kept)
    with torch.no_grad():
        for stage in whole.stages:  # gates shut: nothing crosses from SAR
            stage.fuse.gate_optical.weight.zero_()
            stage.fuse.gate_optical.bias.fill_(-1e4)
            stage.attention.attend.gate.weight.zero_()
            stage.attention.attend.gate.bias.fill_(-1e4)
        cloudy, sar = images()
        assert_close(whole.eval()(cloudy, sar), optical.eval()(cloudy, sar), rtol=0, atol=1e-6)


def test_with_zeros_for_sar_it_is_the_whole_network_without_information() -> None:
    whole, blind = narrow("align_cr"), narrow("align_cr", zero_sar=True)
    assert not blind.uses_sar
    blind.load_state_dict(whole.state_dict())
    cloudy, sar = images()
    with torch.no_grad():
        assert torch.equal(blind.eval()(cloudy, sar), whole.eval()(cloudy, torch.zeros_like(sar)))
        assert torch.equal(blind(cloudy, sar), blind(cloudy, 1 - sar))


def test_invalid_options_are_refused() -> None:
    with pytest.raises(ModelError, match="expected a width that 8 heads divide, got 20"):
        create_model("align_cr", width=20)
    with pytest.raises(ModelError, match=r"heads of 1 or more, .* stages=0, layers=5"):
        create_model("align_cr_no_sar", stages=0)
    with pytest.raises(ModelError, match=r"a width of 2 or more .* width=1,"):
        create_model("align_cr", width=1, heads=1)
