"""Test that prefixes of wrapped networks are removed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from planetcr_models.errors import CheckpointError
from planetcr_models.weights.files import load_state
from planetcr_models.weights.wrappers import unwrapped

PREFIXES = ("", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module.")


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Linear(2, 2)


class Named(nn.Module):
    """Whose own part is called module, beside another of the same name within."""

    def __init__(self, *, both: bool) -> None:
        super().__init__()
        self.module = nn.Linear(2, 2)
        if both:
            self.weight = nn.Parameter(torch.zeros(2, 2))


def saved(network: nn.Module, prefix: str, folder: Path) -> Path:
    path = folder / "weights.pth"
    torch.save({f"{prefix}{key}": value for key, value in network.state_dict().items()}, path)
    return path


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("kind", ["plain", "named", "both"])
def test_any_network_loads_the_weights_of_its_wrapped_version(
    kind: str, prefix: str, tmp_path: Path
) -> None:
    def make() -> nn.Module:
        return Plain() if kind == "plain" else Named(both=kind == "both")

    theirs, ours = make(), make()
    load_state(ours, saved(theirs, prefix, tmp_path))
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value)


def test_a_partly_compiled_network_loads_unwrapped_weights() -> None:
    tensor = torch.ones(1)
    assert unwrapped({"a.w": tensor, "b.w": tensor}, ["a._orig_mod.w", "b.w"]).keys() == {
        "a._orig_mod.w",
        "b.w",
    }
    assert unwrapped({"a._orig_mod.w": tensor}, ["a.w"]).keys() == {"a.w"}


def test_ambiguous_names_are_left_unchanged() -> None:
    both = {"module.a": torch.ones(1), "a": torch.zeros(1)}
    assert unwrapped(both) == both


def test_a_lightning_checkpoint_is_loaded(tmp_path: Path) -> None:
    theirs, ours = Plain(), Plain()
    weights = {f"model.{key}": value for key, value in theirs.state_dict().items()}
    path = tmp_path / "epoch=3.ckpt"
    torch.save({"epoch": 3, "state_dict": weights, "optimizer_states": [{}]}, path)
    load_state(ours, path)
    assert torch.equal(ours.c.weight, theirs.c.weight)


def test_weights_of_another_network_are_still_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected the weights of this Plain"):
        load_state(Plain(), saved(nn.Linear(2, 2), "module.", tmp_path))
