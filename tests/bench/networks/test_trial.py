"""Test that errors of a user's network appear before it is trained, each in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.patches import FilePatches
from planetcr_bench.errors import BenchError
from planetcr_bench.networks.loading import UserNetwork, build_user_network
from planetcr_bench.networks.trial import try_network
from planetcr_models.training.recipes import USER_RECIPE

NETWORKS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.what = what
        if what != "nothing to train":
            self.first = nn.Conv2d(4, 4, 1)
            self.norm = nn.BatchNorm2d(4)
            self.spare = nn.Conv2d(4, 4, 1)
        if what == "frozen":
            self.spare.requires_grad_(False)
        if what == "listed":
            self.unused_parameters = ["spare.weight", "spare.bias"]
        if what == "misspelt":
            self.unused_parameters = ["spare.weigth"]
        if what == "a number":
            self.unused_parameters = 3
        if what == "lazy":
            self.spare = nn.LazyConv2d(4, 1)

    def forward(self, cloudy, sar):
        match self.what:
            case "nothing to train":
                return cloudy
            case "shape":
                return self.first(cloudy)[:, :3]
            case "fails":
                return self.first(sar)
            case "detached":
                return self.first(cloudy).detach()
            case "in place":
                return torch.exp(self.first(cloudy)).add_(1).mul_(2)
            case "small" if cloudy.shape[-1] > 160:
                raise ValueError("too large")
        return self.norm(self.first(cloudy))

def build(what):
    return Net(what)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(NETWORKS)
    return path


def tried(
    file: Path, data: Path, what: str, *, processes: int = 1, whole: bool = True
) -> UserNetwork:
    torch.manual_seed(0)
    network = build_user_network(f"{file}:build", [f"what={what}"])
    patches = FilePatches(find_scenes(data, "train"))
    recipe = USER_RECIPE.changed(crop=40)
    try_network(network, recipe, patches, device="cpu", processes=processes, whole=whole)
    return network


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("nothing to train", "expected parameters to train, found none"),
        ("shape", r"images of shape \(2, 4, 40, 40\), got \(2, 3, 40, 40\)"),
        ("fails", r"net\.py, line \d+: RuntimeError: Given groups=1"),
        ("detached", "images that depend on its parameters, none of them gets a gradient"),
        ("in place", "backward: RuntimeError: one of the variables needed"),
        ("small", r"net\.py, line \d+: ValueError: too large"),
        ("misspelt", r"names of its parameters in unused_parameters, got 'spare\.weigth'"),
        ("a number", "names of its parameters in unused_parameters, got 3"),
        ("lazy", r"layers of known sizes, got a lazy one without weights, spare\.weight"),
    ],
)
def test_what_cannot_be_trained_is_refused(what: str, reason: str, file: Path, data: Path) -> None:
    with pytest.raises(BenchError, match=reason) as refused:
        tried(file, data, what)
    assert "\n" not in str(refused.value)


def test_whole_patches_are_tried_only_where_they_are_validated(file: Path, data: Path) -> None:
    tried(file, data, "small", whole=False)


def test_several_processes_need_a_gradient_of_each_parameter(file: Path, data: Path) -> None:
    tried(file, data, "any")
    with pytest.raises(BenchError, match=r"unused_parameters: spare\.weight, spare\.bias$"):
        tried(file, data, "any", processes=2)
    for what in ("listed", "frozen"):
        network = tried(file, data, what, processes=2)
        assert network.unused_parameters == ["network.spare.weight", "network.spare.bias"]


def test_a_trial_leaves_the_network_as_it_was(file: Path, data: Path) -> None:
    torch.manual_seed(0)
    before = build_user_network(f"{file}:build", ["what=any"]).state_dict()
    network = tried(file, data, "any")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.network.training
