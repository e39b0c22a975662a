"""Test networks, ours and the user's own, from the command line to a folder of predictions."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from numpy.testing import assert_array_equal
from torch import nn

from conftest import Cli
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_product, read_scene
from planetcr_bench.data.scene import upsample
from planetcr_bench.errors import BenchError, DatasetError, PredictionError, SceneError, UsageError
from planetcr_bench.networks.loading import InferenceSettings, as_function, open_network
from planetcr_bench.predictions.card import Card, read_card
from planetcr_bench.predictions.format import write_prediction
from planetcr_bench.predictions.network_inputs import batches, read_inputs
from planetcr_bench.predictions.predict import forecast, predict_with
from planetcr_models import create_model, list_models, save_model
from planetcr_models.errors import ModelError
from scenes import write_scene, write_tif

pytestmark = pytest.mark.usefixtures("ledgers_alone")

OWN = '''
import torch
from torch import nn

class Copy(nn.Module):
    """The input, darker, with a weight that does nothing at first."""
    def __init__(self, gain=1.0):
        super().__init__()
        self.gain, self.bias = gain, nn.Parameter(torch.zeros(1))

    def forward(self, cloudy, sar):
        assert sar.shape[-1] in (cloudy.shape[-1], cloudy.shape[-1] * 3 // 10)
        return cloudy * self.gain + self.bias

class Wrong(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.what = what

    def forward(self, cloudy, sar):
        return {"crash": lambda: cloudy @ sar, "shape": lambda: cloudy[:, :3], "none": lambda: None,
                "nan": lambda: cloudy / 0 * 0}[self.what]()

def build(gain=1.0):
    return Copy(gain)

def crash():
    raise RuntimeError("no\\n luck")

def number():
    return 3

def wrong(what):
    return Wrong(what)
'''

NARROW = ["--model-arg", "width=8", "--model-arg", "blocks=1"]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(OWN)
    return path


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read()


def scenes_of(data: Path) -> list[str]:
    return [files.name for files in find_scenes(data, "test")]


def copy(cloudy: np.ndarray, sar: np.ndarray) -> np.ndarray:  # noqa: ARG001
    return cloudy


@pytest.fixture(scope="module")
def copied(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions of :func:`copy` for the six test scenes; read only."""
    folder = tmp_path_factory.mktemp("copied") / "preds"
    run_copy(data, folder)
    return folder


def run_copy(data: Path, out: Path, restore: Callable[..., Any] = copy, **options: Any) -> Any:
    card = options.pop("card", Card(method="copy"))
    options = {"quiet": True, **options}
    return predict_with(restore, data, out, card=card, workers=0, **options)


# --- The command ----------------------------------------------------------------------------


def test_a_network_predicts_a_split_and_is_scored(
    cli: Cli, simulated: Path, tmp_path: Path
) -> None:
    model = create_model("dsen2_cr", width=8, blocks=1)
    weights = save_model(model, tmp_path / "w.safetensors")
    done = cli("predict", "dsen2_cr", "--weights", weights, "--data", simulated, "--batch", 3)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("10 predictions in preds/dsen2_cr; next: planetcr-bench evaluate")
    card = read_card(tmp_path / "preds/dsen2_cr")
    assert (card.method, card.options) == ("dsen2_cr", "blocks=1, width=8")
    assert re.fullmatch("[0-9a-f]{64}", card.weights or "")
    files = find_scenes(simulated, "test")[3]
    scene = read_scene(files)
    with torch.no_grad():
        cloudy, sar = (torch.from_numpy(x)[None] for x in (scene.cloudy, scene.sar))
        expected = model.eval()(cloudy, sar)[0].clamp(0, 6.5535).numpy() * 10_000
    written = pixels(tmp_path / f"preds/dsen2_cr/{files.name}.tif")
    assert np.abs(written - expected).max() < 0.51
    done = cli("evaluate", "preds/dsen2_cr", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["complete"]


def test_the_official_crop_is_what_the_network_sees_and_all_that_is_written(
    cli: Cli, data: Path, tmp_path: Path, own: Path
) -> None:
    done = cli("predict", f"{own}:build", "--data", data, "--window", "official", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "method": f"{own}:build", "out": "preds/net", "scenes": 6, "kept": 0
    }  # fmt: skip
    for files in find_scenes(data, "test"):
        with rasterio.open(tmp_path / f"preds/net/{files.name}.tif") as source:
            cloudy = read_product(files, "cloudy")
            assert cloudy.transform is not None
            assert source.transform.almost_equals(cloudy.transform @ Affine.translation(70, 70))
            assert_array_equal(source.read(), cloudy.pixels[:, 70:230, 70:230].clip(max=10_000))
    done = cli("evaluate", "preds/net", "--json")
    assert done.returncode == 0, done.stderr
    protocols = json.loads(done.stdout)["protocols"]
    assert protocols["official"]["overall"]["mae"] > 0
    assert protocols["full"]["overall"]["mae"] is None


def test_untrained_weights_are_marked(cli: Cli, tmp_path: Path) -> None:
    write_scene(tmp_path)
    command = ["predict", "dsen2_cr", "--data", ".", *NARROW, "--tile", 160]
    done = cli(*command, "--weights", "random", "--seed", 7)
    assert done.returncode == 0, done.stderr
    card = read_card(tmp_path / "preds/dsen2_cr")
    assert (card.method, card.weights) == ("dsen2_cr (untrained)", "random, seed 7")
    assert card.tiles == "160, overlap 40"
    done = cli(*command, "--weights", "random")
    assert done.returncode == 1
    assert "weights: random, seed 7 in the folder, random, seed 0 now" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["dsen2_cr"], 2, "FILE; known weights of its authors: published for 13 bands"),
        (["dsen_cr"], 2, "dsen_cr: no such method; did you mean 'dsen2_cr'?"),
        (["dsen2_cr", "--weights", "no.pth"], 1, "no.pth: expected a checkpoint file, found no s"),
        (["dsen2_cr", "--weights", "random", "--overlap", 9], 2, "--overlap applies to tiles"),
        (["mean-fill", "--window", "official"], 2, "--window applies to networks; mean-fill"),
        (["net.py:wrong", "--model-arg", "what=crash"], 1, "net.py, line 21: RuntimeError: Th"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("own")
def test_mistakes_end_in_one_message(
    cli: Cli, data: Path, arguments: list[object], code: int, words: str
) -> None:
    done = cli("predict", *arguments, "--data", data)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_without_pytorch_networks_say_what_to_install(program: Cli, tmp_path: Path) -> None:
    """A package that cannot be found stands for one that is not installed."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u; f = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'torch' else f(name, *a)\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    assert program("models", PYTHONPATH=path).returncode == 0
    for command in (["models", "align_cr"], ["predict", "align_cr"]):
        done = program(*command, PYTHONPATH=path)
        assert done.returncode == 1
        assert "networks need torch: pip install 'planetcr-bench[models]'" in done.stderr


def test_the_table_of_models_fits_and_the_card_of_one_has_its_options(cli: Cli) -> None:
    done = cli("models", "--json")
    cards = json.loads(done.stdout)
    assert [card["name"] for card in cards] == list(list_models())
    assert {tuple(card["inputs"]) for card in cards} == {("cloudy",), ("cloudy", "sar")}
    for card in cards:
        assert all(card[key] for key in ("title", "paper", "licence", "weights", "provenance"))
        assert 0 < card["macs"]["160"] < card["macs"]["300"]
        assert card["options"]["bands"] == 4
    table = cli("models").stdout
    assert all(name in table for name in list_models())
    assert all(word in table for word in ("Grohnfeldt", "et al. 2018", "1,701", "54.42 M"))
    assert max(map(len, table.splitlines())) <= 160
    sheet = cli("models", "align_cr").stdout
    assert "45,528,532" in sheet
    assert "stages=6" in sheet


# --- The user's own network -----------------------------------------------------------------


def opened(name: str, *options: str, weights: Path | None = None) -> tuple[nn.Module, Card]:
    return open_network(
        name,
        weights=weights,
        options=options,
        seed=0,
        settings=InferenceSettings(),
        described=load_description("planet-cr"),
    )


def test_a_user_network_takes_options_and_weights(own: Path, tmp_path: Path) -> None:
    model, card = opened(f"{own}:build", "gain=0.5")
    assert (card.method, card.options) == ("net.py:build", "gain=0.5")
    cloudy, sar = np.ones((1, 4, 40, 40), np.float32), np.ones((1, 2, 12, 12), np.float32)
    assert as_function(model, InferenceSettings())(cloudy, sar).mean() == pytest.approx(0.5)
    torch.save({"bias": torch.full((1,), 0.25)}, tmp_path / "w.pt")
    model, filled = opened(f"{own}:build", weights=tmp_path / "w.pt")
    tiled = as_function(model, InferenceSettings(tile=32, overlap=8))(cloudy, sar)
    assert tiled == pytest.approx(1.25)
    assert card.code == filled.code == hashlib.sha256(OWN.encode()).hexdigest()
    assert card.weights != filled.weights
    torch.save({"biass": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="surplus: biass"):
        opened(f"{own}:build", weights=tmp_path / "w.pt")


def test_a_user_network_may_import_modules_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside_net.py").write_text("from torch import nn\nclass Net(nn.Module): pass\n")
    (tmp_path / "main.py").write_text("from beside_net import Net\n")
    assert opened(f"{tmp_path / 'main.py'}:Net")[1].method == "main.py:Net"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("net.py:crash", [], r"net.py, line 28: RuntimeError: no luck"),
        ("net.py:number", [], r"net.py:number: expected it to return a torch.nn.Module, got 3"),
        ("net.py:build", ["size=3"], r"net.py:build: TypeError: build\(\) got an unexpected"),
        ("net.py:bild", [], r"net.py: has no function 'bild'; did you mean 'build'\?"),
        ("net.py:zzz", [], r"net.py: has no function 'zzz'; it has Copy, Wrong, build, crash"),
        ("none.py:build", [], r"none.py: no such file"),
        ("broken.py:build", [], r"broken.py, line 2: SyntaxError: "),
        ("needy.py:build", [], r"needy.py, line 1: ModuleNotFoundError: No module named 'nowhere'"),
        ("exits.py:build", [], r"exits.py, line 2: SystemExit: 3"),
    ],
)
def test_an_error_in_a_user_network_is_named_by_file_and_line(
    own: Path, name: str, options: list[str], words: str
) -> None:
    (own.parent / "broken.py").write_text("import torch\ndef build(:\n")
    (own.parent / "needy.py").write_text("import nowhere\n")
    (own.parent / "exits.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(BenchError, match=words) as caught:
        opened(f"{own.parent / name}", *options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("crash", r"net.py, line 21: RuntimeError: The size of tensor"),
        ("shape", r"return images of shape \(1, 4, 40, 40\), got \(1, 3, 40, 40\)"),
        ("none", r"net.py:wrong: expected forward to return a tensor of floats, got NoneType"),
    ],
)
def test_an_error_in_forward_is_named_by_file_and_line(own: Path, what: str, words: str) -> None:
    model, _ = opened(f"{own}:wrong", f"what={what}")
    cloudy, sar = np.ones((1, 4, 40, 40), np.float32), np.ones((1, 2, 12, 12), np.float32)
    for settings in (InferenceSettings(), InferenceSettings(tile=64)):
        with pytest.raises(BenchError, match=words):
            as_function(model, settings)(cloudy, sar)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("net.py", [], "expected a file and a function in it, such as net.py:build"),
        ("net:build", [], "expected a file and a function in it"),
        ("net.py:build", ["gain"], "expected key=value, such as width=32, got 'gain'"),
        ("net.py:build", ["gain=1", "gain=2"], "expected gain once"),
        ("align_cr", ["wdth=3"], r"has no 'wdth'; did you mean 'width'\? It has bands, width"),
        ("align_cr", ["width=true"], "expected width like 96, got true"),
        ("align_cr", ["width=wide"], "expected width like 96, got 'wide'"),
        ("align_cr", ["align=1"], "expected align like true, got 1"),
        ("align-cr", [], "did you mean 'align_cr'"),
        ("mean-fil", [], "did you mean 'mean-fill'"),
    ],
)
@pytest.mark.usefixtures("own")
def test_wrong_usage_exits_with_two_and_bad_files_with_one(
    name: str, options: list[str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        opened(name, *options)


def test_settings_determine_what_the_network_sees() -> None:
    class Sees(nn.Module):
        def forward(self, cloudy: torch.Tensor, sar: torch.Tensor) -> torch.Tensor:
            seen.append((*cloudy.shape, sar.shape[-1]))
            return cloudy

    cloudy, sar = np.ones((2, 4, 100, 40), np.float32), np.ones((2, 2, 30, 12), np.float32)
    for settings, expected in (
        (InferenceSettings(), [(2, 4, 100, 40, 12)]),
        (InferenceSettings(tile=60, overlap=20, batch=3), [(2, 4, 60, 40, 40)] * 2),
        (InferenceSettings(tile=60, overlap=20, batch=1), [(1, 4, 60, 40, 40)] * 4),
    ):
        seen: list[tuple[int, ...]] = []
        assert_array_equal(as_function(Sees(), settings)(cloudy, sar), cloudy)
        assert seen == expected


def test_random_weights_depend_on_the_seed_alone() -> None:
    def weights(seed: int) -> torch.Tensor:
        model, _ = open_network(
            "dsen2_cr", weights=Path("random"), options=["width=4", "blocks=0"], seed=seed,
            settings=InferenceSettings(), described=load_description("planet-cr"),
        )  # fmt: skip
        return model.head.weight

    first, again, other = weights(1), weights(1), weights(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_options_reach_the_network_and_other_bands_are_refused(tmp_path: Path) -> None:
    model, card = open_network(
        "sar_opt_cgan",
        weights=Path("random"),
        options=["width=4", "depth=3", "use_sar=false", "output=linear", "dropout=0"],
        seed=0,
        settings=InferenceSettings(precision="bf16"),
        described=load_description("planet-cr"),
    )
    assert model.options == {
        "width": 4, "depth": 3, "use_sar": False, "output": "linear", "dropout": 0
    }  # fmt: skip
    assert card.precision == "bf16"
    three = save_model(create_model("spa_gan", bands=3, width=8), tmp_path / "three.safetensors")
    with pytest.raises(
        BenchError, match="expected a network of 4 bands, as the dataset has, got o"
    ):
        opened("spa_gan", weights=three)


# --- Predicting with any function -----------------------------------------------------------


def test_a_stopped_run_resumes_and_drops_half_written_files(data: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def stops(cloudy: np.ndarray, sar: np.ndarray) -> np.ndarray:  # noqa: ARG001
        seen.append(len(cloudy))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return cloudy

    with pytest.raises(KeyboardInterrupt):
        run_copy(data, tmp_path / "preds", stops, batch=2)
    first, *others = sorted((tmp_path / "preds").glob("*.tif"))
    assert len(others) == 3
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    assert run_copy(data, tmp_path / "preds", batch=4) == (3, 3)
    assert first.read_bytes() == whole
    assert run_copy(data, tmp_path / "preds") == (0, 6)
    assert sorted(path.stem for path in (tmp_path / "preds").glob("*.tif")) == sorted(
        scenes_of(data)
    )
    write_prediction(first, np.ones((4, 160, 160), np.float32), read_inputs_of(data).cloudy)
    assert run_copy(data, tmp_path / "preds") == (1, 5)


def read_inputs_of(data: Path, size: int = 300) -> Any:
    return read_inputs(find_scenes(data, "test")[0], size)


@pytest.mark.parametrize(
    "other",
    [
        {"card": Card(method="other")},
        {"card": Card(method="copy", weights="ab" * 32)},
        {"card": Card(method="copy", options="width=3")},
        {"card": Card(method="copy", code="cd" * 32)},
        {"card": Card(method="copy", precision="bf16")},
        {"card": Card(method="copy", tiles="64, overlap 0")},
        {"window": "official"},
        {"split": "train"},
    ],
)
def test_predictions_of_different_settings_never_share_a_folder(
    data: Path, copied: Path, tmp_path: Path, other: dict[str, Any]
) -> None:
    shutil.copytree(copied, tmp_path / "preds")
    with pytest.raises(
        PredictionError, match="predictions of copy that were made with other settings"
    ):
        run_copy(data, tmp_path / "preds", **other)
    assert run_copy(data, tmp_path / "preds") == (0, 6)


def test_a_folder_without_predictions_yet_can_be_used(data: Path, tmp_path: Path) -> None:
    def crashes(*_: np.ndarray) -> np.ndarray:
        raise BenchError("crash")

    with pytest.raises(BenchError, match="crash"):
        run_copy(data, tmp_path / "preds", crashes, card=Card(method="first"))
    assert run_copy(data, tmp_path / "preds") == (6, 0)


def test_invalid_results_of_a_network_are_refused_by_name(data: Path, tmp_path: Path) -> None:
    names = scenes_of(data)

    def broken(cloudy: np.ndarray, sar: np.ndarray) -> np.ndarray:  # noqa: ARG001
        cloudy[1, 2, 3, 4:6] = (np.nan, np.inf)
        return cloudy

    with pytest.raises(PredictionError, match="copy: expected a number for every pixel") as caught:
        run_copy(data, tmp_path / "preds", broken, batch=3)
    assert caught.value.problems == (f"{names[1]}: NaN or infinite numbers: 2",)
    assert not any((tmp_path / "preds").glob("*.tif"))
    with pytest.raises(PredictionError, match=r"expected images of shape \(2, 4, 300, 300\), got"):
        run_copy(data, tmp_path / "small", lambda cloudy, _: cloudy[..., 1:], batch=2)


def test_workers_read_ahead_and_change_nothing(data: Path, copied: Path, tmp_path: Path) -> None:
    predict_with(copy, data, tmp_path / "many", card=Card(method="copy"), workers=2, quiet=True)
    for name in scenes_of(data):
        alone, many = (folder / f"{name}.tif" for folder in (copied, tmp_path / "many"))
        assert alone.read_bytes() == many.read_bytes()


def test_a_crop_comes_with_the_sar_that_lies_under_it(data: Path) -> None:
    whole, crop = read_inputs_of(data), read_inputs_of(data, 160)
    assert crop.sar.shape == (2, 48, 48)
    assert_array_equal(crop.cloudy.pixels, whole.cloudy.pixels[:, 70:230, 70:230])
    expected = upsample(whole.sar, (300, 300))[:, 70:230, 70:230]
    assert_array_equal(upsample(crop.sar, (160, 160)), expected)
    with pytest.raises(SceneError, match=r"S1.*expected a grid on which 150 of 300 optical pixels"):
        read_inputs_of(data, 150)


def test_products_of_two_locations_are_refused(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    sar = read_product(files, "sar").pixels
    write_tif(files.path("sar"), sar, (0, 0), 10, "EPSG:32601")
    with pytest.raises(SceneError, match=r"S1_summer_500_p_1.* expected the clear image's CRS"):
        read_inputs(files)


def test_a_batch_holds_scenes_of_one_shape(data: Path) -> None:
    large, small = read_inputs_of(data), read_inputs_of(data, 160)
    order = [large, large, large, small, small, large]
    assert [len(batch) for batch in batches(iter(order), 2)] == [2, 1, 2, 1]


def test_a_network_gets_the_pixels_that_are_scored(data: Path) -> None:
    files = find_scenes(data, "test")[1]
    scene, inputs = read_scene(files), read_inputs(files)
    assert_array_equal(inputs.cloudy.pixels, scene.cloudy)
    assert_array_equal(inputs.sar, scene.sar)
    assert inputs.cloudy.transform == scene.transform


def test_a_scene_without_sar_or_georeference(tmp_path: Path) -> None:
    files = write_scene(tmp_path)
    for product in ("clear", "cloudy", "sar"):
        write_tif(files.path(product), read_product(files, product).pixels, (0, 0), 3, None)
    assert run_copy(tmp_path, tmp_path / "preds", window="official") == (1, 0)
    files.path("sar").write_bytes(b"II*\0nonsense")
    with pytest.raises(DatasetError, match=r"S1_summer_500_p_1\.tif: cannot be read"):
        read_inputs(files)


def test_slow_scenes_are_announced(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert forecast(40, 3000) == "about 40 s per scene, 3,000 scenes: 33 hours"
    assert forecast(40, 10) == "about 40 s per scene, 10 scenes: 7 minutes"
    assert not forecast(1, 100_000)
    monkeypatch.setattr(
        "planetcr_bench.predictions.predict.forecast", lambda _, scenes: f"{scenes} to do"
    )
    run_copy(simulated, tmp_path / "out", quiet=False)
    assert capsys.readouterr().err.count(f"{len(scenes_of(simulated))} to do") == 1
