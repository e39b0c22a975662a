"""Test the publication of a run's weights with their card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors.torch import load_file

from narrow_networks import images, narrow
from planetcr_models import create_model, create_segmenter, save_model
from planetcr_models.errors import CheckpointError, ModelError
from planetcr_models.segmentation.deeplab import Segmenter, save_segmenter
from planetcr_models.training.publish import LIMIT, main, publish
from planetcr_models.weights.cards import read_card
from planetcr_models.weights.paths import file_sha256

RECIPE: dict[str, Any] = {
    "version": "0.1.0",
    "command": "planetcr-bench train NAME --data /home/me/SIM --out runs/NAME --cache=/tmp/me",
    "identity": {
        "track": "sim-v1-demo",
        "training_scenes": 40,
        "training_fingerprint": "ab",
        "validation_scenes": 4,
        "validation_fingerprint": "cd",
        "batch": 4,
        "learning_rate": 1e-3,
        "seed": 7,
        "option.width": 8,
    },
}
EPOCHS = "step,epoch,psnr_full,ssim_full,samples_per_second,waited_for_data\n"
ROWS = "10,1,20.5,,2.0,0.1\n20,2,21.5,0.5,4.0,0.1\n30,3,21.0,0.6,1.0,0.1\n"


def write_run(folder: Path, name: str) -> Path:
    """A run as `planetcr-bench train` leaves it, of ten steps per epoch and batches of four."""
    folder.mkdir()
    if name == "segmenter":
        torch.manual_seed(0)
        segmenter = Segmenter(encoder="tu-mobilenetv3_small_100", decoder_channels=16)
        save_segmenter(segmenter, folder / "best.safetensors", {"class_pixels": {"forest": 9}})
    else:
        save_model(narrow(name), folder / "best.safetensors")
    identity = {"name": name, **RECIPE["identity"]}
    (folder / "recipe.toml").write_text(tomli_w.dumps({**RECIPE, "identity": identity}))
    criterion = "miou" if name == "segmenter" else "psnr_full"
    (folder / "epochs.csv").write_text(EPOCHS.replace("psnr_full", criterion) + ROWS)
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "run", "dsen2_cr")


@pytest.fixture
def run(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "run"))


def test_a_card_says_what_was_trained_how_and_how_well(run: Path, tmp_path: Path) -> None:
    card = publish(run, tmp_path / "out", licence="MIT")
    weights = tmp_path / "out" / "dsen2_cr.safetensors"
    assert card == read_card(weights) == json.loads(weights.with_suffix(".json").read_text())
    assert len(list(weights.parent.iterdir())) == 2
    model = create_model("dsen2_cr", pretrained=weights)
    expected = {
        "method": "dsen2_cr",
        "track": "sim-v1-demo",
        "training_scenes": 40,
        "recipe": {"batch": 4, "learning_rate": 1e-3, "seed": 7},
        "command": "planetcr-bench train NAME --data SIM --out runs/NAME --cache=me",
        "minutes": round((10 / 2 + 10 / 4 + 10 / 1) * 4 / 60, 1),
        "steps": 30,
        "epoch": 2,
        "seed": 7,
        "scores": {"psnr_full": 21.5, "ssim_full": 0.5},
        "options": {"width": 8, "blocks": 2},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "precision": "float16",
        "licence": "MIT",
        "version": "0.1.0",
        "sha256": file_sha256(weights),
    }
    assert card.items() >= expected.items()


@pytest.mark.parametrize("name", ["mcgan", "dsen2_cr", "align_cr"])
def test_float16_halves_the_file_and_changes_next_to_nothing(name: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", name)
    card = publish(run, tmp_path / "half")
    path = tmp_path / f"half/{name}.safetensors"
    half, whole = create_model(name, pretrained=path), create_model(name, pretrained=run)
    large = [value for value in load_file(path).values() if value.ndim > 1]
    assert {value.dtype for value in large} == {torch.float16}
    assert all(value.dtype == torch.float32 for value in half.parameters())
    cloudy, sar = images()
    with torch.no_grad():
        difference = float((half(cloudy, sar) - whole(cloudy, sar)).abs().max())
    assert 0 < difference < LIMIT
    assert 0 < card["largest_difference"] < LIMIT


def test_float32_changes_nothing(run: Path, tmp_path: Path) -> None:
    assert publish(run, tmp_path, precision="float32")["largest_difference"] == 0
    assert (tmp_path / "dsen2_cr.safetensors").read_bytes() == (
        run / "best.safetensors"
    ).read_bytes()


def test_a_segmenter_is_published_with_its_card(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "segmenter")
    card = publish(run, tmp_path / "out")
    assert card["scores"] == {"miou": 21.5, "ssim_full": 0.5}
    assert card["class_pixels"] == {"forest": 9}
    segmenter = create_segmenter(pretrained=tmp_path / "out" / "segmenter.safetensors")
    assert segmenter.options["decoder_channels"] == card["options"]["decoder_channels"] == 16
    assert 0 < card["largest_difference"] < LIMIT


def test_minutes_that_limit_a_run_are_on_its_card(run: Path, tmp_path: Path) -> None:
    (run / "epochs.csv").write_text(
        "step,epoch,psnr_full,samples_per_second,minutes\n10,1,20.0,2.0,0.5\n20,2,21.0,2.0,1.0\n"
    )
    card = publish(run, tmp_path / "out")
    assert (card["minutes"], card["scores"]) == (1.0, {"psnr_full": 21.0})


def test_without_validation_the_last_epoch_is_the_best(run: Path, tmp_path: Path) -> None:
    (run / "epochs.csv").write_text(
        "step,epoch,samples_per_second,waited_for_data\n10,1,2.0,0.1\n20,2,2.0,0.1\n"
    )
    card = publish(run, tmp_path / "out")
    assert (card["epoch"], card["scores"]) == (2, {})


def test_a_first_epoch_that_is_nan_is_not_the_best(run: Path, tmp_path: Path) -> None:
    (run / "epochs.csv").write_text(EPOCHS + "10,1,nan,,2.0,0.1\n20,2,3.5,0.5,2.0,0.1\n")
    assert publish(run, tmp_path / "out")["epoch"] == 2
    (run / "epochs.csv").write_text(EPOCHS + "10,1,nan,inf,2.0,0.1\n")
    assert publish(run, tmp_path / "out")["scores"] == {"psnr_full": None, "ssim_full": None}


def test_weights_that_float16_cannot_hold_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "dsen2_cr")
    model = narrow("dsen2_cr")
    with torch.no_grad():
        model.tail.weight.mul_(1e4)
    save_model(model, run / "best.safetensors")
    with pytest.raises(
        ModelError, match=r"float16 changes a random image by .*; publish it in float32"
    ):
        publish(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert publish(run, tmp_path / "out", precision="float32")["precision"] == "float32"


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("best.safetensors", None, "found no such file"),
        ("best.safetensors", "x", "not a safetensors file, or damaged"),
        ("recipe.toml", None, "expected the recipe of a training run, found no such file"),
        ("recipe.toml", "=", "not the recipe of a training run, or damaged"),
        ("recipe.toml", "identity = 3", "not the recipe of a training run, or damaged"),
        ("recipe.toml", "[identity]\nname = 'a'", "expected command, version, name and batch"),
        ("epochs.csv", None, "expected the table of epochs of a training run, found no such file"),
        ("epochs.csv", EPOCHS, "expected a finished epoch, found none; train further"),
        ("epochs.csv", EPOCHS + "a,b", "not the table of epochs, or damaged"),
    ],
)
def test_an_incomplete_run_is_refused_and_nothing_is_written(
    run: Path, tmp_path: Path, file: str, content: str | None, words: str
) -> None:
    (run / file).unlink()
    if content is not None:
        (run / file).write_text(content)
    with pytest.raises(CheckpointError, match=words) as refused:
        publish(run, tmp_path / "out")
    assert file in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_the_command_prints_one_line_or_one_error(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run), "--out", str(tmp_path / "out"), "--precision", "float32"]) == 0
    said = capsys.readouterr().out
    assert "dsen2_cr.safetensors: 0.0" in said
    assert "float32 changes a random image by at most 0.0e+00" in said
    assert main([str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
