"""Any described dataset is trained on, predicted and scored by the same commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matplotlib import image as mpimg
from typer.testing import CliRunner

from described import S2, S2_BANDS, description, write_description, write_png, write_s2
from planetcr_bench.cli.app import app
from planetcr_bench.errors import UsageError
from planetcr_bench.networks import reproduction
from planetcr_bench.networks.reproduction import ReproductionConfig, build_steps, load_config
from planetcr_bench.networks.training import _expect_products, _notes, recipe_of
from planetcr_bench.utils.untrusted import read_toml
from planetcr_models import load_model

TINY = ["--model-arg", "width=8", "--steps", 1, "--set", "epochs=1", "--batch", 2]


def said(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(word) for word in arguments])
    assert not isinstance(done.exception, Exception), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three training and two test scenes of 13 bands, with SAR on their grid."""
    root = tmp_path_factory.mktemp("s2")
    for roi, patch in ((1, 1), (1, 2), (2, 1), (7, 1), (8, 1)):
        write_s2(root, roi, patch)
    write_description(root / "dataset.toml", S2)
    return root


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RGB pictures of two sizes, which nothing describes: three to train, two to test."""
    root = tmp_path_factory.mktemp("pairs")
    for number in range(5):
        for product in ("cloudy", "clear"):
            path = root / ("test" if number > 2 else "train") / product / f"{number}.png"
            write_png(path, number + 10 * (product == "clear"), size=(40, 40 + 8 * (number % 2)))
    return root


def test_thirteen_bands_and_sar_from_training_to_scores(sentinel: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["--model-arg", "blocks=1", "--crop", 37, "--data", sentinel, "--out", run]
    code, told, err = said("train", "dsen2_cr", *TINY, *words)
    assert code == 0, err
    assert "loss carl: Sentinel-2 with 13 bands has no cloud masks, so all pixels count as" in err
    assert "psnr_full" in told
    assert "official" not in told
    model = load_model(run / "best.safetensors")
    assert (model.bands, model.trained_on["bands"]) == (13, S2_BANDS)
    assert mpimg.imread(run / "pictures" / "epoch-001.png").std() > 0.05
    identity = read_toml(run / "recipe.toml")["identity"]
    assert (identity["track"], identity["option.bands"]) == ("thirteen", 13)
    preds = tmp_path / "preds"
    words = ["--weights", run, "--data", sentinel, "--out", preds, "--workers", 0]
    code, _, err = said("predict", "dsen2_cr", *words)
    assert code == 0, err
    words = ["--results", tmp_path / "results", "--workers", 0, "--json"]
    code, told, err = said("evaluate", preds, *words)
    assert code == 0, err
    assert json.loads(told)["protocols"]["full"]["overall"]["psnr"] > 0
    words = ["--weights", run, "--data", sentinel, "--out", tmp_path / "x", "--window", "official"]
    code, _, err = said("predict", "dsen2_cr", *words)
    assert (code, "--window official: is of the protocol official, which" in err) == (2, True)
    assert not (tmp_path / "x").exists()


def test_pairs_of_several_sizes_without_sar(pairs: Path, sentinel: Path, tmp_path: Path) -> None:
    run, words = tmp_path / "run", ["--crop", 40, "--data", pairs]
    cache = ["--cache", tmp_path / "cache"]
    code, _, err = said("train", "spa_gan", *TINY, *words, "--out", run, *cache)
    assert code == 0, err
    preds = tmp_path / "preds"
    words = ["--weights", run, "--out", preds, "--workers", 0, "--data"]
    code, _, err = said("predict", "spa_gan", *words, pairs)
    assert code == 0, err
    assert len([*preds.glob("*.tif")]) == 2
    code, _, err = said("predict", "spa_gan", *words, sentinel)
    assert code == 1
    assert "expected a network of 13 bands, as the dataset has, got one of 3" in err


@pytest.mark.parametrize(
    ("name", "words", "code", "says"),
    [
        ("align_cr", [], 2, "align_cr: takes SAR images, and pairs of images has none; without"),
        ("segmenter", [], 2, "segmenter: learns from land cover, and pairs of images has none"),
        ("spa_gan", ["--batch", 2], 1, "crop: expected at most 40 pixels, the side of the smalle"),
        ("spa_gan", ["--set", "attention_target=mask"], 2, "attention_target=mask needs cloud ma"),
        ("spa_gan", ["--model-arg", "bands=4"], 2, "expected bands=3 for pairs of images (red, g"),
    ],
)
def test_what_a_dataset_does_not_allow_is_refused_in_one_line(
    name: str, words: list[object], code: int, says: str, pairs: Path, tmp_path: Path
) -> None:
    done = said("train", name, "--data", pairs, "--out", tmp_path / "run", *words)
    assert (done[0], says in done[2].splitlines()[-1]) == (code, True), done[2]
    assert not (tmp_path / "run").exists()


def test_a_loss_without_masks_says_what_it_does() -> None:
    no_masks = description()
    assert [*_notes(recipe_of("glf_cr", ()), no_masks)] == []
    [note] = _notes(recipe_of("align_cr", ()), no_masks)
    assert note.endswith("has no cloud masks, so all pixels have one weight")
    [note] = _notes(recipe_of("dsen2_cr", ("target_weight=2",)), no_masks)
    assert note.endswith("the loss is 3 × the mean absolute error")


def test_labels_on_their_own_grid_need_sar_there() -> None:
    cover = {"path": "lc/{roi}.tif", "codes": {"water": [80]}, "resolution": 20.0}
    recipe = recipe_of("segmenter", (), Path("cloudseg"))
    names = {"scene": "{roi}", "cluster": None, "fields": {"roi": "int"}}
    optical = {"clear": "c/{roi}.tif", "cloudy": "d/{roi}.tif"}
    described = description(**names, land_cover=cover, optical=optical, sar=None)
    with pytest.raises(UsageError, match="label_grid=10m needs SAR on the grid of land cover"):
        _expect_products("segmenter", recipe, described)


# --- Reproducing ----------------------------------------------------------------------------


def config(pairs: Path, tmp_path: Path, text: str = "", **changes: object) -> ReproductionConfig:
    file = tmp_path / "config.toml"
    file.write_text(text)
    options = {"data": pairs, "out": tmp_path / "o", "results": tmp_path / "r", **changes}
    return load_config(file, ReproductionConfig(**options))


def test_a_reproduction_takes_what_the_dataset_allows(
    pairs: Path, sentinel: Path, tmp_path: Path
) -> None:
    made = config(pairs, tmp_path)
    assert made.methods == ("mcgan", "spa_gan", "align_cr_no_sar")
    assert made.baselines == ("copy-cloudy",)
    described = str(write_description(tmp_path / "own.toml", S2))
    made = config(sentinel, tmp_path, compile=True, dataset=described)
    assert len(made.methods) == 8
    words = reproduction.train_arguments(reproduction.training_request(made, "align_cr"))
    assert "--compile" in words
    assert words[words.index("--dataset") + 1] == described


def test_its_steps_are_those_of_one_protocol(pairs: Path, tmp_path: Path) -> None:
    text = 'methods = ["spa_gan"]\n[spa_gan]\ncompile = true\ncrop = 40\nbatch = 2\n'
    steps = build_steps(config(pairs, tmp_path, text))
    assert [step.name for step in steps] == [
        "train spa_gan", "predict copy-cloudy", "evaluate copy-cloudy", "predict spa_gan",
        "evaluate spa_gan", "compare full",
    ]  # fmt: skip
    assert "--compile" in steps[0].arguments


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[segmenter]\nepochs = 1\n", r"\[segmenter\] learns from land cover, and pairs of im"),
        ('windows = ["official"]\n', "windows: official is of the protocol official, which"),
    ],
)
def test_what_it_does_not_allow_is_refused(
    text: str, says: str, pairs: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=says):
        config(pairs, tmp_path, text)
