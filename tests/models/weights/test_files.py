"""Test saving and loading networks, and the refusal of other files."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.testing import assert_close

from narrow_networks import NARROW, images, narrow
from planetcr_models import create_model, list_models
from planetcr_models.errors import CheckpointError, ModelError
from planetcr_models.weights.authors import LAYOUTS
from planetcr_models.weights.files import load_model, load_state, load_weights, save_model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_model(narrow("dsen2_cr"), tmp_path / "net.safetensors")


@pytest.mark.parametrize("name", list_models())
def test_a_network_is_saved_and_loaded_unchanged(name: str, tmp_path: Path) -> None:
    model = narrow(name)
    path = save_model(model, tmp_path / "net.safetensors")
    again = load_model(path)
    assert not again.training
    assert (again.method, again.options) == (name, NARROW[name])
    assert again.state_dict().keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
    cloudy, sar = images()
    with torch.no_grad():
        assert torch.equal(again(cloudy, sar), model.eval()(cloudy, sar))
    assert [file.name for file in tmp_path.iterdir()] == ["net.safetensors"]


def test_double_precision_stays(tmp_path: Path) -> None:
    path = save_model(narrow("dsen2_cr").double(), tmp_path / "net")
    assert load_model(path).head.weight.dtype == torch.float64
    half = save_model(narrow("dsen2_cr").bfloat16(), tmp_path / "half")
    assert load_model(half).head.weight.dtype == torch.float32


def test_a_network_in_any_memory_layout_is_written(tmp_path: Path) -> None:
    last = narrow("dsen2_cr").to(memory_format=torch.channels_last)
    again = load_model(save_model(last, tmp_path / "last"))
    assert torch.equal(again.head.weight, last.head.weight)
    model = narrow("dsen2_cr")
    model.blocks[0].second.weight = model.blocks[0].first.weight
    again = load_model(save_model(model, tmp_path / "tied"))
    assert torch.equal(again.blocks[0].second.weight, model.blocks[0].first.weight)


def test_equal_weights_make_equal_files_that_others_can_read(tmp_path: Path) -> None:
    model = narrow("dsen2_cr")
    files = [save_model(model, tmp_path / f"{number}.safetensors") for number in range(8)]
    assert len({path.read_bytes() for path in files}) == 1
    (tmp_path / "plain").touch()
    assert {path.stat().st_mode for path in files} == {(tmp_path / "plain").stat().st_mode}
    assert_close(load_model(files[0]).state_dict(), model.state_dict())


def test_a_file_is_replaced_in_one_step(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def fail(_weights: object, path: Path, _metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("planetcr_models.weights.checkpoint.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(narrow("dsen2_cr", seed=1), saved)
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


def test_a_network_of_unknown_origin_is_not_written(tmp_path: Path) -> None:
    model = narrow("dsen2_cr")
    model.method = ""
    with pytest.raises(ModelError, match="DSen2CR: expected a network made by create_model"):
        save_model(model, tmp_path / "net")
    assert not any(tmp_path.iterdir())


def change(
    path: Path, changes: dict[str, str] | None = None, **weights: torch.Tensor | None
) -> None:
    """Rewrite a file with other metadata, or weights; None removes one."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        metadata = json.loads(file.read(size))["__metadata__"]
    now = load_file(path) | weights
    save_file({k: v for k, v in now.items() if v is not None}, path, metadata | (changes or {}))


WEIGHT = "head.weight"
BROKEN: dict[str, Callable[[Path], object]] = {
    "net.safetensors: expected a file of weights, found no such file": Path.unlink,
    "not a safetensors file, or damaged; copy": lambda path: path.write_bytes(
        path.read_bytes()[:-100]
    ),
    "or damaged": lambda path: path.write_bytes(b"\xff" * 8 + b"{"),
    "safetensors of another origin; load them into": lambda path: save_file(load_file(path), path),
    "expected format version 1, got 2": lambda path: change(path, {"version": "2"}),
    "states no method and options": lambda path: change(path, {"options": "{"}),
    r"a network that cannot be built \(dsen2_cr: has no option depth": lambda path: change(
        path, {"options": '{"depth": 3}'}
    ),
    r"cannot be built .* got width='x'": lambda path: change(path, {"options": '{"width": "x"}'}),
    r"cannot be built \(unet: no such model": lambda path: change(path, {"method": "unet"}),
    "this dsen2_cr, got others\n  missing: head.weight": lambda path: change(
        path, **{WEIGHT: None}
    ),
    "got others\n  surplus: more": lambda path: change(path, more=torch.zeros(1)),
    r"of another shape: head.weight expected \(8, 6, 3, 3\), got \(1,\)": lambda path: change(
        path, **{WEIGHT: torch.zeros(1)}
    ),
    "holds nan or infinity in head.weight; take": lambda path: change(
        path, **{WEIGHT: torch.full((8, 6, 3, 3), torch.nan)}
    ),
}


@pytest.mark.parametrize("words", BROKEN)
def test_anything_but_such_a_file_is_refused_with_the_reason(saved: Path, words: str) -> None:
    BROKEN[words](saved)
    with pytest.raises(CheckpointError, match=words):
        load_model(saved)


def test_weights_of_another_method_or_of_other_options_are_refused(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="holds the weights of dsen2_cr, not of glf_cr"):
        load_weights("glf_cr", saved)
    assert load_weights("dsen2_cr", saved, width=8, bands=4).options == NARROW["dsen2_cr"]
    with pytest.raises(CheckpointError, match="expected weights of dsen2_cr with width=9, got w"):
        load_weights("dsen2_cr", saved, width=9)


def test_files_of_the_authors_are_read_too(tmp_path: Path) -> None:
    """By their content, whatever they are called."""
    model = create_model("spa_gan", bands=3)
    theirs = {LAYOUTS["spa_gan"].theirs(key): value for key, value in model.state_dict().items()}
    torch.save(theirs, tmp_path / "gen.safetensors")
    again = load_weights("spa_gan", tmp_path / "gen.safetensors")
    assert again.bands == 3
    assert torch.equal(again.enter.weight, model.enter.weight)
    with pytest.raises(CheckpointError, match=r"expected weights of spa_gan with bands=4, got ba"):
        load_weights("spa_gan", tmp_path / "gen.safetensors", bands=4)
    with pytest.raises(CheckpointError, match=r"nowhere\.pth: expected a checkpoint file, fo"):
        load_weights("spa_gan", tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors: expected a file of weights"):
        load_weights("spa_gan", tmp_path / "nowhere.safetensors")


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        save_model(narrow("dsen2_cr"), tmp_path / "none" / "w.safetensors")


@pytest.mark.parametrize("form", ["torch", "safetensors"])
def test_any_network_loads_its_own_weights_and_no_others(form: str, tmp_path: Path) -> None:
    network, other = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3)
    path = tmp_path / "weights"
    write = torch.save if form == "torch" else save_file
    write(network.state_dict(), path)
    fresh = nn.Conv2d(4, 4, 1)
    load_state(fresh, path)
    assert torch.equal(fresh.weight, network.weight)
    write(other.state_dict(), path)
    with pytest.raises(
        CheckpointError, match="weights of this Conv2d, got others\n  of another sh"
    ):
        load_state(fresh, path)


def test_integers_are_refused_as_weights(tmp_path: Path) -> None:
    network = nn.Conv2d(4, 4, 1)
    torch.save({key: value.long() for key, value in network.state_dict().items()}, tmp_path / "w")
    with pytest.raises(CheckpointError, match=r"of another type: weight expected torch\.float32"):
        load_state(network, tmp_path / "w")


def test_a_pickle_that_runs_code_or_holds_something_else_is_refused(tmp_path: Path) -> None:
    network, path = nn.Conv2d(4, 4, 1), tmp_path / "net.pt"
    torch.save(network, path)
    with pytest.raises(CheckpointError, match="holds objects other than weights"):
        load_state(network, path)
    torch.save({"weights": network.state_dict()}, path)
    with pytest.raises(CheckpointError, match="expected a dictionary of weights and nothing else"):
        load_state(network, path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="not a file of weights, or damaged"):
        load_state(network, path)
    with pytest.raises(CheckpointError, match="found a folder"):
        load_state(network, tmp_path)


def test_the_package_is_imported_without_torch_and_names_what_it_has() -> None:
    code = (
        "import sys, planetcr_models; assert 'torch' not in sys.modules;"
        "[getattr(planetcr_models, name) for name in planetcr_models._HOME]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- Strangers' files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        "[" * 100_000,
        '{"width": ' + "[" * 900 + "]" * 900 + "}",
        '{"width": ' + "9" * 5000 + "}",
        '{"width": 1000000000}',
        '{"width": 4000}',
        '{"blocks": 1000000000}',
        '{"blocks": -1}',
        '{"width": true}',
        '{"width": "\\ud800"}',
        '["width"]',
        "7",
        '{"bands": 0}',
        " " * 20_000 + "{}",
    ],
    ids=lambda text: text[:24],
)
def test_a_network_is_built_from_the_options_of_a_file_only_if_its_weights_fit(
    saved: Path, options: str
) -> None:
    metadata = {
        "format": "planetcr_models",
        "version": "1",
        "method": "dsen2_cr",
        "options": options,
    }
    save_file(load_file(saved), saved, metadata)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError):
        load_model(saved)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_weights_other_than_a_regular_file_are_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "net.safetensors"
    if kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
    for load in (
        load_model,
        partial(load_weights, "dsen2_cr"),
        partial(load_state, nn.Linear(1, 1)),
    ):
        with pytest.raises(CheckpointError, match="expected a"):
            load(path)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_smaller_floats_are_loaded_as_float32(tmp_path: Path, kind: torch.dtype) -> None:
    path = save_model(narrow("dsen2_cr"), tmp_path / "net.safetensors")
    change(path, **{key: value.to(kind) for key, value in load_file(path).items()})
    model = load_model(path)
    assert {value.dtype for value in model.parameters()} == {torch.float32}
