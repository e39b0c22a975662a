"""Test loading checkpoints of the authors' code, and the errors for other files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from parity.fill import HERE, filled, load
from planetcr_models import create_model, list_models
from planetcr_models.errors import CheckpointError, ModelError
from planetcr_models.weights.authors import LAYOUTS, load_checkpoint

RICE2 = HERE / "spa_gan_rice2.pth"
NEEDLESS = {"attn_mask": torch.zeros(2, 2), "deep.relative_position_index": torch.zeros(3)}


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """SpA GAN's, four bands, in float32, under the authors' names."""
    return filled("spagan.json", "spagan_gen_4to4_64x48", dtype=torch.float32)


def empty(file: str, network: str) -> dict[str, Tensor]:
    """Weights of the right names and shapes, all zero, which take no space."""
    names = json.loads((HERE / file).read_text())[f"{network}/keys"]
    return {key: torch.zeros(()).expand(shape) for key, shape in names}


def prefixed(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in weights.items()}


@pytest.mark.parametrize("outer", [False, True])
@pytest.mark.parametrize("prefix", ["", "module.", "gen.gen.", "module.gen.gen."])
def test_prefixes_of_wrappers_are_optional(
    outer: bool, prefix: str, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    content = prefixed(prefix, weights | NEEDLESS)
    wrapped = {"network": content, "optimizer": {"lr": 1e-4}, "epoch": "best"}
    model = load("spa_gan", wrapped if outer else content, tmp_path)
    assert not model.training
    assert (model.method, model.bands) == ("spa_gan", 4)
    assert torch.equal(model.leave.weight, weights["conv_out.0.weight"])
    assert torch.equal(model.blocks[16].third.weight, weights["res_block17.group1.conv3.weight"])


def test_the_published_file_has_three_bands() -> None:
    model = load_checkpoint("spa_gan", str(RICE2))
    assert (model.bands, model.options) == (3, {"bands": 3})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
    ],
)
def test_the_type_is_kept_but_never_below_float32(
    written: torch.dtype, read: torch.dtype, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    model = load("spa_gan", {key: value.to(written) for key, value in weights.items()}, tmp_path)
    assert {p.dtype for p in model.parameters()} == {read}
    kept = weights["conv_in.0.weight"].to(written).to(read)
    assert torch.equal(model.enter.weight, kept)


def test_a_file_of_thirteen_bands_makes_a_network_of_thirteen(tmp_path: Path) -> None:
    content = empty("dsen2.json", "dsen2cr_port_4p2_40x36")
    content["head.0.weight"] = torch.zeros(()).expand(256, 15, 3, 3)
    content["body.16.weight"] = torch.zeros(()).expand(13, 256, 3, 3)
    content["body.16.bias"] = torch.zeros(13)
    assert load("dsen2_cr", {"network": content}, tmp_path).bands == 13


def test_different_numbers_of_input_and_output_bands_are_refused(tmp_path: Path) -> None:
    content = empty("mcgan.json", "mcgan_gen_4to4_eval_128")
    content["dc7.weight"], content["dc7.bias"] = torch.zeros(3, 128, 3, 3), torch.zeros(3)
    with pytest.raises(CheckpointError) as caught:
        load("mcgan", prefixed("gen.gen.", content), tmp_path)
    assert "dc7.weight expected (4, 128, 3, 3), got (3, 128, 3, 3)" in str(caught.value)
    assert "missing" not in str(caught.value)


def test_batch_counters_are_optional(tmp_path: Path) -> None:
    content = empty("mcgan.json", "mcgan_gen_4to4_eval_128")
    counts = [key for key in content if key.endswith("num_batches_tracked")]
    assert counts
    content |= dict.fromkeys(counts, torch.tensor(7))
    assert load("mcgan", content, tmp_path).down[3].norm.num_batches_tracked == 7


def test_missing_surplus_and_misshapen_weights_are_named_as_the_authors_name_them(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    content = dict(weights)
    del content["SAM1.conv_out.weight"], content["SAM1.irnn2.left_weight.bias"]
    content["SAM1.conv9.weight"] = torch.zeros(3)
    content["SAM1.conv1.bias"] = torch.zeros(1)  # would be broadcast
    with pytest.raises(CheckpointError) as caught:
        load("spa_gan", prefixed("gen.gen.", content), tmp_path)
    first, *problems = str(caught.value).splitlines()
    assert first.startswith(
        f"{tmp_path / 'spa_gan.pth'}: does not hold the weights of spa_gan; is "
    )
    assert problems == [
        "  missing: SAM1.irnn2.left_weight.bias, SAM1.conv_out.weight",
        "  surplus: SAM1.conv9.weight",
        "  of another shape: SAM1.conv1.bias expected (32,), got (1,)",
    ]


def test_many_names_are_counted(weights: dict[str, Tensor], tmp_path: Path) -> None:
    content = {key: value for key, value in weights.items() if "res_block" not in key}
    with pytest.raises(CheckpointError, match=r"missing: (res_\S+, ){4}res_\S+ and 46 more$"):
        load("spa_gan", content, tmp_path)


def test_a_file_of_another_method_is_recognised(weights: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"weights of dsen2_cr; is it of spa_gan\?"):
        load("dsen2_cr", weights, tmp_path)


def test_prefixes_of_some_names_only_are_removed(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    content = prefixed("module.", weights)
    content["conv_in.0.weight"] = content.pop("module.conv_in.0.weight")
    loaded = load("spa_gan", content, tmp_path).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in weights.items() if key in loaded)
    content["conv_in.0.weight2"] = content.pop("conv_in.0.weight")
    with pytest.raises(CheckpointError, match=r"surplus: conv_in.0.weight2"):
        load("spa_gan", content, tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_weights_are_refused(value: float, weights: dict[str, Tensor], tmp_path: Path) -> None:
    broken = weights["SAM1.conv2.weight"].clone()
    broken[3, 4] = value
    with pytest.raises(
        CheckpointError, match=r"spa_gan.pth: holds nan or infinity in SAM1.conv2.w"
    ):
        load("spa_gan", weights | {"SAM1.conv2.weight": broken}, tmp_path)


@pytest.mark.parametrize("kind", ["published", "zip"])
def test_a_file_cut_anywhere_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "whole.pth"
    if kind == "zip":
        torch.save(torch.load(RICE2, "cpu", weights_only=True), path)
    whole = (path if kind == "zip" else RICE2).read_bytes()
    cut = tmp_path / "cut.pth"
    for size in (1, 2, 3, 9, 17, 100, 1000, *range(5000, len(whole), 60_000), len(whole) - 1):
        cut.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"cut\.pth: not a PyTorch checkpoint, or dam"):
            load_checkpoint("spa_gan", cut)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; copy or download it again"),
        (b"<!DOCTYPE html><html></html>", "not a PyTorch checkpoint, or damaged"),
        (b"PK\x03\x04 not really", "not a PyTorch checkpoint, or damaged"),
        (b"\x89HDF\r\n\x1a\n and the rest of it", "found a Keras file"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"other\.pth: .*{message}"):
        load_checkpoint("spa_gan", path)


def test_safetensors_are_refused_by_name(weights: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    safetensors.torch.save_file(weights, path)
    with pytest.raises(CheckpointError, match="found a safetensors file"):
        load_checkpoint("spa_gan", path)


@pytest.mark.parametrize("cast", [Tensor.long, Tensor.bool])
def test_weights_of_another_kind_of_number_are_refused(
    cast: Callable[[Tensor], Tensor], weights: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save({key: cast(value) for key, value in weights.items()}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="holds something else under"):
        load_checkpoint("spa_gan", tmp_path / "w.pth")


def test_a_path_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read: File name too long"):
        load_checkpoint("spa_gan", tmp_path / ("w" * 300))


def test_a_path_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a checkpoint file, found no such file"):
        load_checkpoint("spa_gan", tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="expected a checkpoint file, found a folder"):
        load_checkpoint("spa_gan", tmp_path)


class Surprise:
    def __reduce__(self) -> tuple:
        return print, ("executed",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"network": Surprise()}, "holds objects other than weights, .* for safety"),
        (torch.zeros(3), "expected a dictionary of weights, got a Tensor"),
        ([1, 2], "expected a dictionary of weights, got a list"),
        ({}, "expected a dictionary of weights, got an empty one"),
        ({"network": None}, "expected a dictionary of weights, got a NoneType"),
        ({"state_dict": {}, "epoch": 3}, "or one under the key 'network', but holds something"),
        ({7: torch.zeros(1)}, "holds something else under 7; save the network's state_dict"),
        ({"a": torch.zeros(2).to_sparse()}, "holds something else under a;"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "holds something else under a;"),
    ],
)
def test_other_contents_are_refused_and_never_executed(
    content: object, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CheckpointError, match=rf"spa_gan\.pth: .*{message}"):
        load("spa_gan", content, tmp_path)
    assert "executed" not in capsys.readouterr().out


def test_a_method_without_such_files_and_an_unknown_one_are_refused() -> None:
    with pytest.raises(ModelError, match="sar_opt_cgan: its authors' code writes no such files; "):
        load_checkpoint("sar_opt_cgan", RICE2)
    with pytest.raises(ModelError, match="spagan: no such model; there are loaders for mcgan, spa"):
        load_checkpoint("spagan", RICE2)
    assert set(LAYOUTS) <= set(list_models())


@pytest.mark.parametrize("name", ["mcgan", "spa_gan", "dsen2_cr"])
def test_no_two_weights_have_one_name(name: str) -> None:
    with torch.device("meta"):
        ours = create_model(name).state_dict()
    theirs = [LAYOUTS[name].theirs(key) for key in ours]
    assert len(set(theirs)) == len(theirs)
    assert not set(theirs) & set(ours)
