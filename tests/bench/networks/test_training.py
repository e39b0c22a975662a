"""Test the training commands as a user runs them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import tomli_w
import torch
import torchvision
from matplotlib import image as mpimg
from typer.testing import CliRunner, Result

from on_devices import on_gpu
from paths import ROOT
from planetcr_bench.cli.app import app
from planetcr_bench.constants import LAND_COVER
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.splits import hold_out, some_scenes
from planetcr_bench.errors import UsageError
from planetcr_bench.networks import dry_run
from planetcr_bench.networks.loading import build_user_network
from planetcr_bench.networks.training import _expect_ours, recipe_of
from planetcr_bench.networks.validation import SegmenterValidation
from planetcr_bench.predictions.card import read_card
from planetcr_bench.utils.json_values import to_json_value
from planetcr_models import load_model
from planetcr_models.errors import TrainingError
from planetcr_models.segmentation.deeplab import load_segmenter
from planetcr_models.training.checkpoint import read_checkpoint
from planetcr_models.training.recipes import L1, RECIPES, Recipe
from planetcr_models.weights.cards import read_card as read_weights_card
from planetcr_models.weights.files import load_state
from programs import planetcr

DOCUMENT = ROOT / "docs/training.md"

NARROW = [
    "--model-arg", "width=8", "--model-arg", "growth=4", "--model-arg", "stages=1",
    "--model-arg", "layers=1",
    "--model-arg", "extractors=1",
]  # fmt: skip
SHORT = ["--epochs", "3", "--batch", "2", "--crop", "40", "--val-scenes", "1"]


def invoked(*arguments: object) -> Result:
    """Run a command in this process: that of ``whole`` is a real one."""
    done = CliRunner().invoke(app, [str(word) for word in arguments])
    assert not isinstance(done.exception, Exception), done.exception
    return done


def refused(*arguments: object) -> tuple[int, str]:
    """Exit code and message of a command that is given something senseless."""
    done = invoked(*arguments)
    return done.exit_code, done.stderr


@pytest.fixture(scope="module")
def whole(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the narrow Align-CR from beginning to end."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done = planetcr("train", "align_cr", "--data", simulated, "--out", out, *NARROW, *SHORT)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("psnr_full") == 3
    assert "samples/s" in done.stderr
    assert f"predict align_cr --data {simulated} --weights {out}/best.safetensors" in done.stdout
    return out


def test_a_run_leaves_weights_tables_curves_and_pictures(whole: Path) -> None:
    there = {path.name for path in whole.iterdir() if not path.name.startswith(".")}
    assert there == {
        "best.safetensors", "last.safetensors", "last.ckpt", "recipe.toml", "steps.csv",
        "epochs.csv", "pictures", "tensorboard",
    }  # fmt: skip
    assert load_model(whole / "best.safetensors").method == "align_cr"
    epochs = (whole / "epochs.csv").read_text().splitlines()
    assert len(epochs) == 4
    for score in ("psnr", "mae", "sam_deg", "ssim"):
        assert f"{score}_full" in epochs[0]
        assert f"{score}_official" in epochs[0]
    for number in (1, 2, 3):
        assert mpimg.imread(whole / "pictures" / f"epoch-00{number}.png").std() > 0.05


@pytest.mark.slow
def test_validation_scores_are_those_of_evaluate(whole: Path, simulated: Path) -> None:
    """Predict and evaluate the held-out scene by the commands: the same figures."""
    scene = read_checkpoint(whole / "last.ckpt")["identity"]
    assert scene["validation_scenes"] == 1
    from planetcr_bench.constants import PRODUCTS
    from planetcr_bench.data.layout import find_scenes
    from planetcr_bench.data.splits import hold_out, some_scenes

    [files] = some_scenes(hold_out(find_scenes(simulated, "train"))[1], 1)
    listed = whole.parent / "list.csv"
    listed.write_text(
        ",".join(str(files.path(product).relative_to(simulated)) for product in PRODUCTS) + "\n"
    )
    common = ["--data", simulated, "--split", "train", "--list", listed]
    preds = whole.parent / "preds"
    weights = whole / "last.safetensors"
    done = planetcr("predict", "align_cr", "--weights", weights, "--out", preds, *common)
    assert done.returncode == 0, done.stderr
    done = planetcr("evaluate", preds, *common, "--results", whole.parent / "results", "--json")
    scores = json.loads(done.stdout)["protocols"]
    header, *_, last = (whole / "epochs.csv").read_text().splitlines()
    row = dict(zip(header.split(","), map(float, last.split(",")), strict=True))
    for protocol in ("full", "official"):
        for metric in ("mae", "psnr", "sam_deg", "ssim"):
            score = scores[protocol]["overall"][metric]
            assert row[f"{metric}_{protocol}"] == pytest.approx(score, rel=1e-6)


@pytest.mark.parametrize("device", [
    pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=on_gpu),
])  # fmt: skip
def test_a_run_on_any_device_predicts_there(device: str, simulated: Path, tmp_path: Path) -> None:
    """The segmenter and a network that sees zeros for SAR: trained, then used."""
    tiny = ["--data", simulated, "--device", device, "--epochs", 1, "--batch", 2, "--crop", 40]
    tiny += ["--val-share", 0]
    blind = ["--model-arg", "zero_sar=true"]
    out, preds = tmp_path / "run", tmp_path / "preds"
    assert invoked("train", "align_cr", "--out", out, *tiny, *NARROW, *blind).exit_code == 0
    assert load_model(out / "best.safetensors").uses_sar is False
    encoder = ["--model-arg", "encoder=resnet18"]
    assert invoked("train", "segmenter", "--out", tmp_path / "s", *tiny, *encoder).exit_code == 0
    weights = ["--weights", out / "best.safetensors", "--out", preds]
    done = invoked("predict", "align_cr", "--data", simulated, "--device", device, *weights)
    assert done.exit_code == 0
    there = ["--device", device, "--segmenter", tmp_path / "s" / "best.safetensors"]
    results = ["--data", simulated, "--results", tmp_path / "results", "--json"]
    scores = json.loads(invoked("evaluate", preds, *results, *there).stdout)
    assert 0 < scores["protocols"]["full"]["overall"]["psnr"] < 60


@pytest.mark.slow
@pytest.mark.parametrize("device", [
    "cpu",
    pytest.param("cuda", marks=[*on_gpu, pytest.mark.skipif(
        torch.cuda.device_count() < 2, reason="needs two GPUs"
    )]),
])  # fmt: skip
def test_two_processes_learn_what_one_does(
    device: str, whole: Path, simulated: Path, tmp_path: Path
) -> None:
    done = planetcr(
        "train", "align_cr", "--data", simulated, "--out", tmp_path / "two", *NARROW, *SHORT,
        "--device", device, "--devices", 2,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("steps in all") == 1  # one of them speaks
    alone, shared = (
        [float(line.split(",")[2]) for line in (out / "steps.csv").read_text().splitlines()[1:]]
        for out in (whole, tmp_path / "two")
    )
    assert alone == pytest.approx(shared, rel=1e-4)
    assert len(alone) == 3
    epochs = [(out / "epochs.csv").read_text().splitlines() for out in (whole, tmp_path / "two")]
    assert [line.split(",")[:2] for line in epochs[0]] == [
        line.split(",")[:2] for line in epochs[1]
    ]


@pytest.mark.slow
def test_a_killed_run_resumes_with_the_same_losses(
    whole: Path, simulated: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    command = ["train", "align_cr", "--data", str(simulated), "--out", str(out), *NARROW, *SHORT]
    process = subprocess.Popen(
        [sys.executable, "-m", "planetcr_bench", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (out / "last.ckpt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert read_checkpoint(out / "last.ckpt")["step"] < 3
    done = planetcr(*command)
    assert done.returncode == 0, done.stderr
    assert (out / "steps.csv").read_text() == (whole / "steps.csv").read_text()
    expected, resumed = (load_model(way / "last.safetensors").state_dict() for way in (whole, out))
    assert all(torch.equal(expected[key], resumed[key]) for key in expected)


def test_the_segmenter_is_trained_and_reports_its_scores(simulated: Path, tmp_path: Path) -> None:
    command = [
        "train", "segmenter", "--data", simulated, "--out", tmp_path / "segmenter", "--epochs", 1,
        "--batch", 2, "--crop", 100, "--model-arg", "encoder=resnet18", "--cache", tmp_path /
        "cache",
        "--json",
    ]  # fmt: skip
    done = invoked(*command)
    assert done.exit_code == 0, done.stderr
    printed = json.loads(done.stdout)
    card = read_weights_card(tmp_path / "segmenter" / "best.safetensors")
    assert card["scores"]["miou"] == pytest.approx(printed["scores"]["miou"])
    assert 0 <= card["scores"]["pixel_accuracy"] <= 1
    held_out = SegmenterValidation(
        some_scenes(hold_out(find_scenes(simulated, "train"))[1], 200), "32"
    )
    segmenter = load_segmenter(tmp_path / "segmenter" / "best.safetensors")
    measured = held_out.measure(segmenter, range(len(held_out)))
    assert card["scores"] == to_json_value(held_out.scores(measured))
    assert list(card["class_pixels"]) == list(LAND_COVER)
    assert list(card["class_pixels"].values()) == sum(measured).sum(1).tolist()
    assert card["options"]["encoder"] == "resnet18"
    assert len(card["training_fingerprint"]) == len(card["sha256"]) == 64
    assert segmenter.mean[3] > segmenter.mean[0] > 0  # near-infrared is brighter than blue
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1
    picture = mpimg.imread(tmp_path / "segmenter" / "pictures" / "epoch-001.png")
    assert picture.std() > 0.05


def test_a_dry_run_reports_speed_and_hours_and_writes_nothing(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    in_a_second = partial(dry_run.measure_speed, seconds=1.0)
    monkeypatch.setattr(dry_run, "measure_speed", in_a_second)
    words = ["dsen2_cr", "--data", simulated, "--model-arg", "width=8", *SHORT, "--dry-run"]
    done = invoked("train", *words)
    assert done.exit_code == 0, done.stderr
    for word in ("loader alone", "step alone", "samples/s", "hours on this machine", "carl"):
        assert word in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_dry_run_says_what_fits_into_a_budget(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "measure_speed", partial(dry_run.measure_speed, seconds=0.2))
    words = ["train", "dsen2_cr", "--data", simulated, "--model-arg", "width=8", "--batch", 2]
    words += ["--crop", 40, "--val-share", 0, "--set", "epochs=3", "--out", tmp_path, "--dry-run"]
    done = invoked(*words, "--steps", 7)
    assert "7 steps, 3.5 passes over the training scenes, in 3 epochs" in done.stdout
    done = invoked(*words, "--minutes", 0.6)
    assert re.search(
        r"0\.6 minutes suffice for about [\d,]+ steps, [\d,.]+ passes over", done.stdout
    )
    assert "about 0.01 hours on this machine" in done.stdout


def test_a_budget_that_is_too_small_is_said(simulated: Path, tmp_path: Path) -> None:
    done = invoked(
        "train", "dsen2_cr", "--data", simulated, "--out", tmp_path / "short", "--minutes", 1e-6,
        "--model-arg", "width=8", "--batch", 2, "--crop", 40, "--val-share", 0,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "the budget of 1e-06 minutes ended after 1 of at least 30 steps" in done.stderr
    assert (tmp_path / "short" / "last.safetensors").exists()


@pytest.mark.slow
def test_two_processes_stop_at_the_same_step_of_a_budget_in_minutes(
    simulated: Path, tmp_path: Path
) -> None:
    done = planetcr(
        "train", "dsen2_cr", "--data", simulated, "--out", tmp_path / "two", "--minutes", 0.02,
        "--model-arg", "width=8", "--batch", 2, "--crop", 40, "--val-scenes", 1,
        "--set", "epochs=2", "--devices", 2,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "two" / "epochs.csv").read_text().splitlines()
    assert 0.02 <= float(rows[-1].rpartition(",")[2]) < 0.05
    state = read_checkpoint(tmp_path / "two" / "last.ckpt")
    assert state["seconds"] == 60 * float(rows[-1].rpartition(",")[2])
    assert rows[-1].startswith(f"{state['step']},2,")


# --- Users' networks ------------------------------------------------------------------------

TINY = ["--steps", "2", "--set", "epochs=1", "--batch", "2", "--crop", "40", "--val-scenes", "1"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The network of the documentation, in the working folder."""
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (tmp_path / "net.py").write_text(code)
    return tmp_path / "net.py"


@pytest.mark.usefixtures("ledgers_alone")
def test_the_walk_through_of_the_documentation_is_as_it_says(own: Path, simulated: Path) -> None:
    """Every command of the document, on a tiny dataset and for two steps."""
    section = DOCUMENT.read_text().partition("## Your own network")[2].partition("\n## ")[0]
    commands = [
        shlex.split(line.removeprefix("$ planetcr-bench "), comments=True)
        for line in section.splitlines()
        if line.startswith("$ ")
    ]
    assert [words[0] for words in commands] == [
        "simulate", "train", "predict", "evaluate", "submit", "submit",
    ]  # fmt: skip
    _, train, predict, evaluate, template, pack = (
        [str(simulated) if word == "SIM" else word for word in words] for words in commands
    )
    limit = train.index("--minutes")
    train[limit : limit + 2] = TINY
    done = invoked(*train)
    weights = predict[predict.index("--weights") + 1]
    assert f"build --data {simulated} --weights {weights} --model-arg width=24" in done.stdout
    for words in (predict, evaluate):
        done = invoked(*words)
        assert done.exit_code == 0, done.stderr
    assert Path("results/sim-v1-tiny/net/ledger.parquet").exists()
    assert template[-2:] == [">", "card.toml"]
    card = invoked(*template[:-2]).stdout
    for key in ("method", "licence", "training_data", "extra_data", "hardware"):
        card = re.sub(rf'^{key} = ""', f'{key} = "none"', card, flags=re.MULTILINE)
    Path("card.toml").write_text(card.replace('[""]', '["A. Newcomer"]'))
    done = invoked(*pack)
    assert done.exit_code == 0, done.stderr
    assert Path("submissions/net/ledger.parquet").exists()
    assert read_card(Path("preds/net")).code == hashlib.sha256(own.read_bytes()).hexdigest()


def test_a_users_network_resumes_only_with_the_same_file(own: Path, simulated: Path) -> None:
    words = ["train", "net.py:build", "--data", simulated, *TINY, "--val-share", 0]
    assert invoked(*words).exit_code == 0
    before = Path("runs/net/last.ckpt").read_bytes()
    assert invoked("train", f"{own}:build", *words[2:]).exit_code == 0  # another path, one file
    own.write_text(own.read_text() + "# another network\n")
    code, message = refused(*words)
    assert code == 1
    assert re.search(r"code: \w{64} in the checkpoint, \w{64} now", message)
    assert Path("runs/net/last.ckpt").read_bytes() == before


def test_a_network_that_freezes_shares_and_ignores_keeps_to_it(own: Path, simulated: Path) -> None:
    own.write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a, self.b, self.frozen = (nn.Conv2d(4, 4, 1) for _ in range(3))\n"
        "        self.b.weight = self.a.weight\n"
        "        self.frozen.requires_grad_(False)\n"
        "        nn.init.ones_(self.frozen.weight)\n"
        "    def forward(self, cloudy, sar):\n"
        "        return cloudy + self.b(self.a(self.frozen(cloudy)))\n"
        "def build():\n"
        "    return Net().eval()\n"
    )
    words = ["--data", simulated]
    done = invoked("train", "net.py:build", *words, *TINY, "--val-share", 0, "--json")
    assert done.exit_code == 0, done.stderr
    network = build_user_network("net.py:build", [])
    load_state(network.network, "runs/net/best.safetensors")
    state = network.network.state_dict()
    assert torch.equal(state["frozen.weight"], torch.ones(4, 4, 1, 1))
    assert torch.equal(state["a.weight"], state["b.weight"])


def test_options_of_a_users_network_may_be_any_python_value(own: Path, simulated: Path) -> None:
    own.write_text(
        "from torch import nn\n"
        "class Net(nn.Conv2d):\n"
        "    def forward(self, cloudy, sar):\n"
        "        return super().forward(cloudy)\n"
        "def build(norm='batch', sizes=()):\n"
        "    assert norm is None\n"
        "    assert sizes == {3, 5}\n"
        "    return Net(4, 4, 1)\n"
    )
    words = ["train", "net.py:build", "--data", simulated, *TINY, "--val-share", 0]
    words += ["--model-arg", "norm=None", "--model-arg", "sizes={3, 5}"]
    for _ in range(2):  # a finished run is recognised
        done = invoked(*words)
        assert done.exit_code == 0, done.stderr
    assert 'option.norm" = "None"' in Path("runs/net/recipe.toml").read_text()


# --- Recipes from files ---------------------------------------------------------------------


def test_a_recipe_comes_from_a_file_and_changes_come_after_it(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    assert recipe_of("net.py:build", []) == Recipe(loss=L1())
    file.write_text('base = "dsen2_cr"\nepochs = 3\nlearning_rate = 1e-3\n')
    recipe = recipe_of("net.py:build", ["epochs=5"], file)
    assert recipe == RECIPES["dsen2_cr"].changed(epochs=5, learning_rate=1e-3)
    for name in ("align_cr", "mcgan", "segmenter"):
        file.write_text(tomli_w.dumps(RECIPES[name].changed(epochs=2).plain()))
        assert recipe_of(name, [], file) == RECIPES[name].changed(epochs=2)


def test_the_recipe_of_a_run_is_such_a_file(whole: Path) -> None:
    recipe = recipe_of("align_cr", [], whole / "recipe.toml")
    assert recipe == RECIPES["align_cr"].changed(epochs=3, batch=2, crop=40)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("net.py:build", 'base = "mcgan"', "one of the losses charbonnier, carl, l1 for a network"),
        ("net.py:build", 'base = "unet"', "expected base to be one of mcgan, .* got 'unet'"),
        ("net.py:build", "base = ['carl']", r"expected base to be one of .* got \['carl'\]"),
        ("net.py:build", "lr = 1e-3", "has no 'lr'; it has loss, epochs"),
        ("net.py:build", "self = 1", "has no 'self'; it has loss, epochs"),
        ("net.py:build", "epochs = [1]", r"expected epochs like 30, got \[1\]"),
        ("net.py:build", "minutes = nan", "expected minutes to be 0 or more, got nan"),
        ("segmenter", 'base = "dsen2_cr"', "a recipe for segmenter, got one with the loss carl"),
        ("align_cr", 'base = "segmenter"', "a recipe for align_cr, got one .* cross_entropy"),
        ("align_cr", "epochs =", "cannot be read as TOML"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(
    name: str, text: str, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=rf"^{re.escape(str(file))}: .*{reason}"):
        recipe_of(name, [], file)


# --- What is refused ------------------------------------------------------------------------


def test_a_dataset_without_training_scenes_is_refused(simulated: Path, tmp_path: Path) -> None:
    shutil.copytree(simulated / "test", tmp_path / "data" / "test")
    code, message = refused(
        "train", "dsen2_cr", "--data", tmp_path / "data", "--out", tmp_path / "o"
    )
    assert code == 1
    assert "expected a split 'train', found only test" in message
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["dsen2_cr", "--crop", "85"], 1, "multiple of 10 pixels up to 300"),
        (["dsen2_cr", "--crop", "310"], 1, "multiple of 10 pixels up to 300"),
        (
            ["dsen2_cr", "--set", "learning_rat=1"],
            2,
            "--set: recipe of dsen2_cr: has no 'learning_rat'; did you mean 'learning_rate'?",
        ),
        (["dsen2_cr", "--set", "epochs=many"], 2, "expected epochs like 30, got 'many'"),
        (["dsen2_cr", "--set", "epochs"], 2, "expected key=value"),
        (["dsen2_cr", "--set", "epochs=2", "--epochs", "3"], 2, "expected epochs once"),
        (["dsen2_cr", "--model-arg", "widht=8"], 2, "did you mean 'width'?"),
        (["dsen-cr"], 2, "did you mean 'dsen2_cr'?"),
        (["segmenter", "--model-arg", "encoder=vgg"], 1, "expected an encoder of resnet18"),
        (["segmenter", "--model-arg", "depth=3"], 2, "segmenter has no 'depth'"),
        (["segmenter", "--batch", "1"], 1, "batch of 2 or more"),
        (["segmenter", "--encoder-weights", "nowhere.pth"], 1, "nowhere.pth: expected"),
        (["dsen2_cr", "--encoder-weights", "x.pth"], 2, "is for the segmenter, not for dsen2_cr"),
        (["dsen2_cr", "--val-share", "1.5"], 2, "--val-share"),
        (["dsen2_cr", "--set", "seed=99999999999"], 2, "expected seed to be up to 2147483647"),
        (["dsen2_cr", "--micro-batches", "5"], 1, "multiple of 5"),
        (["mcgan", "--micro-batches", "2", "--model-arg", "width=4"], 1, "needs the whole batch"),
        (["dsen2_cr", "--batch", "64"], 1, "a batch of 64, got 2"),
        (["nothere.py:build"], 1, "nothere.py: expected a file that makes a network, found no su"),
        (["net.py"], 2, "net.py: expected a file and a function in it, such as net.py:build"),
        (["dsen2_cr", "--minutes", "0"], 2, "--minutes: expected a number above 0, got 0"),
        (["dsen2_cr", "--minutes", "nan"], 2, "--minutes: expected a number above 0, got nan"),
        (["dsen2_cr", "--steps", "-3"], 2, "--steps: expected a number above 0, got -3"),
        (["dsen2_cr", "--steps", "7"], 2, "at least as many steps as epochs, 30,"),
        (
            ["dsen2_cr", "--steps", "7", "--epochs", "3"],
            2,
            "expected one of --epochs, --minutes and --steps, got --epochs and --steps",
        ),
        (["dsen2_cr", "--minutes", "7", "--set", "steps=30"], 2, "minutes or steps, got both"),
        (["dsen2_cr", "--set", "minutes=nan"], 2, "expected minutes like 0.0, got 'nan'"),
        (["dsen2_cr", "--data", "nowhere"], 1, "nowhere: expected a dataset folder"),
    ],
)
def test_invalid_options_are_refused_in_one_sentence(
    words: list[str], code: int, reason: str, simulated: Path, tmp_path: Path
) -> None:
    data = [] if "--data" in words else ["--data", simulated]
    batch = [] if "--batch" in words else ["--batch", "2"]
    exit_code, message = refused("train", *words, *data, *batch, "--out", tmp_path / "out")
    assert (exit_code, reason in message) == (code, True), message
    assert "Traceback" not in message
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_cuda_is_refused(simulated: Path, tmp_path: Path) -> None:
    code, message = refused(
        "train", "dsen2_cr", "--data", simulated, "--out", tmp_path / "o", "--device", "cuda"
    )
    assert code == 1
    assert "PyTorch finds no such GPU; use --device cpu" in message


def test_a_folder_with_other_files_is_left_alone(simulated: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    words = ["train", "dsen2_cr", "--data", simulated, "--batch", 2]
    code, message = refused(*words, "--out", tmp_path)
    assert code == 1
    assert "expected a new or empty folder" in message
    assert {path.name for path in tmp_path.iterdir()} <= {"thesis.txt", ".lock"}
    code, message = refused(*words, "--out", tmp_path / "thesis.txt")
    assert code == 1
    assert "expected a folder, found a file" in message


def test_weights_without_a_checkpoint_are_not_overwritten(
    whole: Path, simulated: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tidied"
    shutil.copytree(whole, out)
    (out / "last.ckpt").unlink()
    before = (out / "best.safetensors").read_bytes()
    code, message = refused("train", "dsen2_cr", "--data", simulated, "--out", out, "--batch", 2)
    assert code == 1
    assert "contains weights but no last.ckpt" in message
    assert (out / "best.safetensors").read_bytes() == before


def test_a_run_killed_before_its_first_checkpoint_starts_again(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    shutil.copytree(whole, out)
    identity = read_checkpoint(out / "last.ckpt")["identity"]
    (out / "last.ckpt").unlink()
    with pytest.raises(TrainingError, match=r"contains weights but no last\.ckpt"):
        _expect_ours(out, identity)  # three epochs would be lost
    epochs = (out / "epochs.csv").read_text().splitlines(keepends=True)
    (out / "epochs.csv").write_text("".join(epochs[:2]))
    _expect_ours(out, identity)
    with pytest.raises(TrainingError, match=r"contains weights but no last\.ckpt"):
        _expect_ours(out, {**identity, "seed": 5})


def test_other_encoder_weights_are_another_run(simulated: Path, tmp_path: Path) -> None:
    weights = tmp_path / "encoder.pth"
    words = [
        "train",
        "segmenter",
        "--data",
        simulated,
        "--out",
        tmp_path / "segmenter",
        "--batch",
        2,
    ]
    words += ["--crop", 40, "--epochs", 1, "--model-arg", "encoder=resnet18", "--val-share", 0]
    words += ["--encoder-weights", weights, "--json"]
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), weights)
    assert CliRunner().invoke(app, [str(word) for word in words]).exit_code == 0
    card = read_weights_card(tmp_path / "segmenter" / "best.safetensors")
    assert card["encoder_weights"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), weights)
    code, message = refused(*words)
    assert code == 1
    assert "encoder_weights: " in message


@pytest.mark.slow
def test_a_refused_folder_ends_all_processes_with_one_message(
    simulated: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = planetcr(
        "train", "dsen2_cr", "--data", simulated, "--out", tmp_path, "--batch", 2,
        "--model-arg", "width=8", "--devices", 2,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("expected a new or empty folder") == 1
    assert "Traceback" not in done.stderr


def test_a_run_of_another_method_is_not_overwritten(whole: Path, simulated: Path) -> None:
    before = (whole / "last.ckpt").read_bytes()
    code, message = refused("train", "glf_cr", "--data", simulated, "--out", whole, "--batch", 2)
    assert code == 1
    assert "last.ckpt: belongs to another run" in message
    assert "name: align_cr in the checkpoint, glf_cr now" in message
    assert (whole / "last.ckpt").read_bytes() == before


def test_the_recipe_of_every_method_is_printed() -> None:
    for name in ("align_cr", "segmenter"):
        done = CliRunner().invoke(app, ["models", name])
        assert done.exit_code == 0
        assert "learning_rate = " in done.stdout
    done = CliRunner().invoke(app, ["models", "align_cr", "--json"])
    recipe = json.loads(done.stdout)["recipe"]
    assert (recipe["epochs"], recipe["batch"], recipe["scale.align"]) == (30, 12, 0.1)
