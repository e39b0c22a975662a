"""Test weights by name and from the Hub, from the command line to the card of predictions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import Cli
from hub_server import COMMIT, serve
from narrow_networks import narrow
from planetcr_bench.networks import segmenter
from planetcr_bench.networks.methods import describe, summaries
from planetcr_bench.predictions.card import read_card
from planetcr_models import list_models, save_model
from planetcr_models.weights import pretrained
from planetcr_models.weights.paths import file_sha256
from stand_ins import NAME, write_network, write_stand_ins

pytestmark = pytest.mark.usefixtures("ledgers_alone", "nothing_is_drawn")


@pytest.fixture
def package(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of one method and a segmenter in place of those that ship."""
    folder = tmp_path_factory.mktemp("package")
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    return write_stand_ins(folder, "dsen2_cr", "segmenter")


def test_a_name_predicts_and_is_in_the_card(
    cli: Cli, data: Path, package: Path, tmp_path: Path
) -> None:
    command = ("predict", "dsen2_cr", "--data", data)
    done = cli(*command, "--weights", NAME)
    assert done.returncode == 0, done.stderr
    card = read_card(tmp_path / "preds/dsen2_cr")
    digest = file_sha256(package / "dsen2_cr.safetensors")
    assert (card.weights, card.pretrained, card.method) == (digest, NAME, "dsen2_cr")
    # the same weights by their path: the predictions are those that are there
    done = cli(*command, "--weights", package / "dsen2_cr.safetensors", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kept"] == 6
    assert read_card(tmp_path / "preds/dsen2_cr").pretrained is None


@pytest.mark.usefixtures("package")
def test_a_file_of_that_name_is_left_and_the_user_is_told(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    save_model(narrow("dsen2_cr", width=12), tmp_path / NAME)
    command = ("predict", "dsen2_cr", "--data", data, "--weights")
    done = cli(*command, NAME, "--out", "named")
    assert done.returncode == 0, done.stderr
    assert f"warning: {NAME}: taken as the weights of this name that ship" in done.stderr
    assert f"write ./{NAME}" in done.stderr
    assert read_card(tmp_path / "named").options == "blocks=2, width=8"
    done = cli(*command, f"./{NAME}", "--out", "file")
    assert (done.returncode, "warning" in done.stderr) == (0, False), done.stderr
    assert read_card(tmp_path / "file").options == "blocks=2, width=12"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["dsen2_cr", "--weights", "stand-on"], 1, "of this name; did you mean 'stand-in'?"),
        (["glf_cr", "--weights", NAME], 1, f"{NAME}: has no weights of glf_cr; it has dsen2_cr"),
        (["dsen2_cr"], 2, f"expected --weights {NAME} or FILE; known weights of its authors: "),
        (["dsen2_cr", "--weights", NAME, "--model-arg", "width=9"], 1, "with width=9, got width=8"),
        (["dsen2_cr", "--weights", "hf://x"], 1, "hf://x: expected hf://OWNER/NAME or"),
        (["dsen2_cr", "--weights", "."], 1, "found a folder without best.safetensors"),
    ],
)
@pytest.mark.usefixtures("package")
def test_mistakes_end_in_one_line(
    cli: Cli, data: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    done = cli("predict", *arguments, "--data", data)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "preds").exists()


def test_a_damaged_file_says_how_to_reinstall(cli: Cli, data: Path, package: Path) -> None:
    path = package / "dsen2_cr.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    done = cli("predict", "dsen2_cr", "--weights", NAME, "--data", data)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "reinstall planetcr-bench" in done.stderr


def test_segmenters_have_names_too(
    cli: Cli, preds: Path, data: Path, package: Path, tmp_path: Path
) -> None:
    facts = segmenter.load(NAME, device="cpu").facts
    assert facts["sha256"] == file_sha256(package / "segmenter.safetensors")
    assert facts["track"] == "sim-v1-demo"
    (package / "segmenter.safetensors").rename(tmp_path / "best.safetensors")
    assert segmenter.load(str(tmp_path), device="cpu").facts["sha256"] == facts["sha256"]
    for command in (("evaluate", preds), ("gallery", data, preds)):
        done = cli(*command, "--segmenter", "stand-on")
        assert done.returncode == 1
        assert "did you mean 'stand-in'?" in done.stderr


def test_models_lists_weights_and_shows_their_cards(cli: Cli, package: Path) -> None:
    listed = cli("models").stdout.splitlines()
    for word in ("dsen2_cr", "segmenter, DeepLabv3+"):
        row = next(line for line in listed if word in line)
        assert row.rstrip().endswith(NAME)
    assert [bool(card["pretrained"]) for card in summaries()] == [
        name == "dsen2_cr" for name in list_models()
    ]
    digest = file_sha256(package / "dsen2_cr.safetensors")
    shown = cli("models", "dsen2_cr").stdout
    for words in (NAME, "1.5 minutes", "psnr_full 20.5", "width=8", "3,068", digest):
        assert words in shown
    assert NAME in cli("models", "segmenter").stdout
    assert describe("dsen2_cr")["pretrained"][NAME]["sha256"] == digest
    both = json.loads(cli("models", "--json").stdout)
    assert both[3]["pretrained"][NAME]["minutes"] == 1.5
    assert NAME not in cli("models", "glf_cr").stdout


def test_weights_come_from_the_hub(program: Cli, data: Path, tmp_path: Path) -> None:
    path = write_network(tmp_path, "dsen2_cr")
    files = {"dsen2_cr.safetensors": path.read_bytes()}
    with serve({"me/weights": files}) as (endpoint, _):
        settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
        command = ("predict", "dsen2_cr", "--data", data, "--weights")
        done = program(*command, "hf://me/weights", "--workers", 0, **settings)
        assert done.returncode == 0, done.stderr
    card = read_card(tmp_path / "preds/dsen2_cr")
    assert card.weights == file_sha256(path)
    assert card.pretrained == f"hf://me/weights/dsen2_cr.safetensors@{COMMIT}"
