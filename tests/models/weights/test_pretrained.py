"""Test weights by name: those that ship with the package, files, and folders of runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from narrow_networks import NARROW, images, narrow
from planetcr_models import (
    create_model,
    create_segmenter,
    list_models,
    list_pretrained,
    load_model,
    save_model,
)
from planetcr_models.errors import CheckpointError, ModelError
from planetcr_models.networks.base import Restorer
from planetcr_models.segmentation.deeplab import Segmenter
from planetcr_models.weights import pretrained
from planetcr_models.weights.cards import read_card
from planetcr_models.weights.sources import find_weights
from stand_ins import NAME, write_network, write_stand_ins


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    write_stand_ins(folder)
    return folder


@pytest.fixture
def package(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of all methods in place of those that ship; free to be broken."""
    folder = Path(shutil.copytree(written, tmp_path / "package"))
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    return folder / NAME


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("name", list_models())
def test_every_method_loads_its_weights_by_their_name(name: str) -> None:
    model = create_model(name, pretrained=NAME)
    assert not model.training
    assert (model.method, model.options) == (name, NARROW[name])
    cloudy, sar = images()
    with torch.no_grad():
        assert torch.equal(model(cloudy, sar), narrow(name).eval()(cloudy, sar))


@pytest.mark.usefixtures("package")
def test_the_segmenter_loads_by_name_too() -> None:
    segmenter = create_segmenter(pretrained=NAME)
    assert not segmenter.training
    assert segmenter.options["decoder_channels"] == 16
    assert create_segmenter(encoder="tu-lcnet_100").training
    with pytest.raises(
        ModelError, match="segmenter with separable=False, decoder_channels=16, got"
    ):
        create_segmenter(pretrained=NAME, separable=False, decoder_channels=16)
    segmenter = create_segmenter(pretrained=NAME, rates=[12, 24, 36])
    assert segmenter.options["rates"] == (12, 24, 36)
    with pytest.raises(ModelError, match="segmenter: has no option blocks; it has bands, classes"):
        create_segmenter(pretrained=NAME, blocks=5)


@pytest.mark.usefixtures("package")
def test_a_file_and_its_card_are_all_that_is_needed(package: Path) -> None:
    assert list_pretrained() == {NAME: tuple(sorted([*list_models(), "segmenter"]))}
    (package.parent / "more").mkdir()
    write_network(package.parent / "more", "glf_cr")
    assert list_pretrained()["more"] == ("glf_cr",)
    assert create_model("glf_cr", pretrained="more").method == "glf_cr"
    assert list(pretrained.pretrained_cards("glf_cr")) == ["more", NAME]


@pytest.mark.usefixtures("package")
def test_options_are_those_of_the_file_or_refused() -> None:
    assert create_model("dsen2_cr", pretrained=NAME, width=8).options == NARROW["dsen2_cr"]
    with pytest.raises(ModelError, match="expected weights of dsen2_cr with width=9, got width=8"):
        create_model("dsen2_cr", pretrained=NAME, width=9)
    with pytest.raises(ModelError, match="dsen2_cr: has no option depth; it has"):
        create_model("dsen2_cr", pretrained=NAME, depth=9)
    with pytest.raises(ModelError, match=r"dsen2-cr: no such model; did you mean 'dsen2_cr'\?"):
        create_model("dsen2-cr", pretrained=NAME)


def test_a_wrong_name_is_answered_with_the_nearest(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match=r"^stand-on: no such file, .*did you mean 'stand-in'\?"):
        create_model("mcgan", pretrained="stand-on")
    with pytest.raises(ModelError, match=r"^imagenet: no such file, and no .*there are stand-in$"):
        create_segmenter(pretrained="imagenet")
    (package / "mcgan.json").unlink()
    with pytest.raises(ModelError, match=r"^stand-in: has no weights of mcgan; it has align_cr, "):
        create_model("mcgan", pretrained=NAME)
    monkeypatch.setattr(pretrained, "FOLDER", package / "none")
    assert list_pretrained() == {}
    with pytest.raises(ModelError, match=r"none ship with this version; give a file, the folder"):
        create_model("mcgan", pretrained=NAME)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    r"glf_cr\.safetensors: damaged: expected the SHA-256 of its card": _flip,
    r"safetensors: damaged: expected the": lambda path: path.write_bytes(path.read_bytes()[:999]),
    r"safetensors: expected a file of weights, found no such file": Path.unlink,
    r"glf_cr\.json: not a card, or damaged": lambda path: path.with_suffix(".json").write_text("{"),
    r"damaged: expected the SHA-256 of its card, None": (
        lambda path: path.with_suffix(".json").write_text("{}")
    ),
}


@pytest.mark.parametrize("words", DAMAGE)
def test_damaged_files_of_the_package_say_how_to_reinstall(package: Path, words: str) -> None:
    DAMAGE[words](package / "glf_cr.safetensors")
    with pytest.raises(CheckpointError, match=f"{words}.*; reinstall planetcr-bench") as refused:
        create_model("glf_cr", pretrained=NAME)
    assert "\n" not in str(refused.value)
    assert create_model("mcgan", pretrained=NAME).method == "mcgan"


def test_a_file_and_the_folder_of_a_run_are_weights_too(tmp_path: Path) -> None:
    path = save_model(narrow("dsen2_cr"), tmp_path / "best.safetensors")
    for source in (path, str(path), tmp_path, str(tmp_path)):
        assert create_model("dsen2_cr", pretrained=source).options == NARROW["dsen2_cr"]
    assert find_weights("dsen2_cr", tmp_path).origin is None
    with pytest.raises(CheckpointError, match="holds the weights of dsen2_cr, not of glf_cr"):
        create_model("glf_cr", pretrained=tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"best\.safetensors: not a safetensors file, or dam"):
        create_model("dsen2_cr", pretrained=tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"found a folder without best\.safetensors$"):
        create_model("dsen2_cr", pretrained=tmp_path)
    save_model(narrow("dsen2_cr"), tmp_path / "last.safetensors")  # stopped in its first epoch
    with pytest.raises(CheckpointError, match=r"not been validated yet, give .*last\.safetensors$"):
        create_model("dsen2_cr", pretrained=tmp_path)
    with pytest.raises(CheckpointError, match=r"no\.safetensors: expected a file of weights, foun"):
        create_model("dsen2_cr", pretrained=tmp_path / "no.safetensors")


@pytest.mark.usefixtures("package")
def test_a_name_means_the_package_and_a_path_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(narrow("dsen2_cr", width=12), NAME)
    assert create_model("dsen2_cr", pretrained=NAME).options["width"] == 8
    assert create_model("dsen2_cr", pretrained=f"./{NAME}").options["width"] == 12
    assert create_model("dsen2_cr", pretrained=Path(NAME)).options["width"] == 12


def test_the_card_of_another_file_is_refused(package: Path) -> None:
    """A file of the card's name that is something else is not looked at."""
    path, card = package / "dsen2_cr.safetensors", package / "dsen2_cr.json"
    for other in ('{"width": 3}', "[", "[]"):
        card.write_text(other)
        assert load_model(path).method == "dsen2_cr"
    card.write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(CheckpointError, match=r"dsen2_cr\.json: the card belongs to another file"):
        load_model(path)


def test_names_and_cards_are_listed_without_pytorch() -> None:
    code = (
        "import sys; from planetcr_models import list_pretrained; list_pretrained();"
        "from planetcr_models.weights.sources import find_weights;"
        "sys.exit('torch' in sys.modules or 'huggingface_hub' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- The files that really ship -----------------------------------------------------------------

SHIPPED = [(name, method) for name, methods in list_pretrained().items() for method in methods]
LARGEST, LARGEST_TOGETHER = 3_000_000, 15_000_000
"""Bytes of one file of weights, and of the whole folder."""


def test_every_file_that_ships_loads_and_matches_its_card() -> None:
    for name, method in SHIPPED:
        card = read_card(pretrained.FOLDER / name / f"{method}.json")
        if method == "segmenter":
            model: Restorer | Segmenter = create_segmenter(pretrained=name)
        else:
            model = create_model(method, pretrained=name)
        assert not model.training
        assert card["method"] == method
        assert card["options"] == json.loads(json.dumps(dict(model.options)))
        assert card["parameters"] == sum(weights.numel() for weights in model.parameters())
        weights = load_file(pretrained.packaged_weights(name, method))
        assert weights.keys() == model.state_dict().keys()


def test_the_files_that_ship_are_small_and_complete() -> None:
    files = [path for path in pretrained.FOLDER.rglob("*") if path.is_file()]
    shipped = {pretrained.FOLDER / name / method for name, method in SHIPPED}
    weights = [path for path in files if path.suffix == ".safetensors"]
    assert {path.with_suffix("") for path in weights} == shipped
    assert {path.suffix for path in files} <= {".safetensors", ".json"}
    assert max((path.stat().st_size for path in weights), default=0) <= LARGEST
    assert sum(path.stat().st_size for path in files) <= LARGEST_TOGETHER
    assert {method for name, method in SHIPPED if name == "sim-v1-small"} == {
        *list_models(),
        "segmenter",
    }


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "expected a name, a file or an address, got an empty text"),
        (True, "expected a name, a file or an address, got True; there are sim-v1-small"),
        ("https://huggingface.co/me/weights", "write the address .* as hf://OWNER/NAME"),
        ("HF://me/weights", "write the address .* as hf://OWNER/NAME"),
        ("hf:/me/weights", "write the address .* as hf://OWNER/NAME"),
        (300 * "x" + ".safetensors", r"xxx…: no such file \(File name too long\)"),
    ],
)
def test_what_cannot_be_weights_is_said(source: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        create_model("dsen2_cr", pretrained=source)
