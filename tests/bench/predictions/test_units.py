"""Test the detection of wrong units and swapped bands from several images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import Cli
from planetcr_bench.api import evaluate
from planetcr_bench.data.fingerprint import fingerprint_of
from planetcr_bench.data.integrity import check_dataset
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.patches import FilePatches
from planetcr_bench.data.reading import read_product, read_scene
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import BenchWarning, DatasetError, PredictionError
from planetcr_bench.predictions.card import Card, write_card
from planetcr_bench.predictions.folder import Predictions, find_predictions
from planetcr_bench.predictions.predict import predict_with
from planetcr_bench.predictions.units import expect_units, swapped_colours
from planetcr_bench.report.report import report
from planetcr_bench.results.ledger import read_ledger
from planetcr_bench.submission.entry import read_sent_run
from scenes import write_dataset, write_tif


@pytest.fixture(scope="module")
def scenes(data: Path) -> list[SceneFiles]:
    return find_scenes(data, "test")


def folder(
    path: Path, scenes: list[SceneFiles], image: Callable[[SceneFiles], np.ndarray], **card: object
) -> Predictions:
    """A folder with one array per scene."""
    path.mkdir(exist_ok=True)
    for files in scenes:
        np.save(path / f"{files.name}.npy", image(files))
    return find_predictions(path, Card(**card), scenes)


def dn(files: SceneFiles) -> np.ndarray:
    return read_product(files, "clear").pixels


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            lambda files: np.rint(dn(files) / 10_000).astype("u2"),
            "largest value is 1: it looks like",
        ),
        (lambda _: np.zeros((4, 300, 300), "u2"), "reflectance that was cast to whole numbers"),
        (lambda files: np.rint(dn(files) / 100).astype("u2"), "looks like percent or bytes"),
        (lambda files: np.rint(dn(files) / 40).astype("u2"), "looks like percent or bytes"),
        (lambda files: (dn(files) / 1e8).astype("f4"), "divided by 10000 twice"),
    ],
)
def test_a_folder_too_dark_for_its_scale_is_refused(
    tmp_path: Path, scenes: list[SceneFiles], image, message: str
) -> None:
    with pytest.raises(PredictionError, match=message):
        expect_units(folder(tmp_path, scenes[:2], image))
    expect_units(folder(tmp_path, scenes[:2], image, scale=10_000))


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_one_black_image_is_not_taken_for_another_unit(
    tmp_path: Path, scenes: list[SceneFiles], dtype: str
) -> None:
    scale = 1 if dtype == "u2" else 1e-4

    def image(files: SceneFiles) -> np.ndarray:
        return (dn(files) * scale * (files != scenes[0])).astype(dtype)

    expect_units(folder(tmp_path, scenes[:2], image))


def test_images_as_dark_as_their_scenes_are_not_taken_for_another_unit(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", test=1)
    (files,) = find_scenes(tmp_path / "data", "test")
    night = np.minimum(dn(files), 200)
    write_tif(files.path("clear"), night, (0, 0), 3, None)
    expect_units(folder(tmp_path / "preds", [files], lambda _: night))


def test_a_file_that_cannot_be_read_does_not_end_the_search(
    tmp_path: Path, scenes: list[SceneFiles]
) -> None:
    dark = folder(tmp_path, scenes[:2], lambda files: np.rint(dn(files) / 100).astype("u2"))
    dark.files[scenes[0]].write_bytes(b"nonsense")
    with pytest.raises(PredictionError, match="percent or bytes"):
        expect_units(dark)


def test_an_image_of_nan_does_not_end_the_search(tmp_path: Path, scenes: list[SceneFiles]) -> None:
    predictions = folder(tmp_path, scenes, lambda files: np.rint(dn(files) / 10_000).astype("u2"))
    np.save(tmp_path / f"{scenes[0].name}.npy", np.full((4, 300, 300), np.nan, "f4"))
    with pytest.raises(PredictionError, match="cast to whole numbers"):
        expect_units(predictions)


def test_a_folder_of_black_floats_is_black(tmp_path: Path, scenes: list[SceneFiles]) -> None:
    expect_units(folder(tmp_path, scenes[:2], lambda _: np.zeros((4, 300, 300), "f4")))


def noisy(files: SceneFiles) -> np.ndarray:
    rng = np.random.default_rng(files.patch)
    return (read_scene(files).clear + rng.normal(0, 0.01, (4, 300, 300))).astype(np.float32)


def test_red_and_blue_that_are_swapped_are_reported(
    tmp_path: Path, scenes: list[SceneFiles]
) -> None:
    swapped = folder(tmp_path, scenes[:4], lambda files: noisy(files)[[2, 1, 0, 3]])
    assert "red and blue are probably swapped" in swapped_colours(swapped)


@pytest.mark.parametrize(
    "image",
    [
        noisy,
        dn,
        lambda _: np.full((4, 300, 300), 0.2, "f4"),
        lambda files: np.random.default_rng(files.patch).random((4, 300, 300)).astype("f4"),
        lambda files: noisy(files)[[1, 1, 1, 3]],
        lambda files: (noisy(files) * np.array([1.5, 1, 0.6, 1])[:, None, None]).astype("f4"),
        lambda files: noisy(files)[:, ::-1],
    ],
)
def test_a_poor_method_is_not_taken_for_swapped_colours(
    tmp_path: Path, scenes: list[SceneFiles], image
) -> None:
    assert swapped_colours(folder(tmp_path, scenes[:4], image)) == ""


@pytest.mark.usefixtures("ledgers_alone")
def test_evaluate_says_that_colours_are_swapped_where_scores_are_read(
    tmp_path: Path, data: Path, scenes: list[SceneFiles], cli: Cli
) -> None:
    folder(tmp_path / "preds", scenes, lambda files: noisy(files)[[2, 1, 0, 3]])
    done = cli("evaluate", "preds", "--data", data, "--workers", 0)
    assert done.returncode == 0, done.stderr
    warning = "red and blue are probably swapped"
    assert f"warning: preds: {warning}" in done.stderr
    run = json.loads((tmp_path / "results/fake/preds/run.json").read_text(encoding="utf-8"))
    ledger = read_ledger(tmp_path / "results/fake/preds/ledger.parquet")
    assert warning in run["notes"][0]
    assert warning in report(ledger, run)
    sent = read_sent_run(tmp_path / "results/fake/preds/run.json", ledger.provenance)
    assert warning in sent["notes"][0]


def test_evaluate_lists_every_prediction_with_holes(
    tmp_path: Path, data: Path, scenes: list[SceneFiles]
) -> None:
    for number, files in enumerate(scenes):
        pixels = dn(files)
        pixels[:, : 3 * (number % 2)] = 9
        write_tif(tmp_path / f"{files.name}.tif", pixels, (0, 0), 3, None, nodata=9)
    with pytest.raises(PredictionError) as error:
        evaluate(tmp_path, tmp_path / "results", data=data, name="x", workers=0, quiet=True)
    assert len(error.value.problems) == 3
    assert all("900 pixels have its nodata value 9" in line for line in error.value.problems)


def test_evaluate_refuses_a_cast_folder_before_it_measures(
    tmp_path: Path, data: Path, scenes: list[SceneFiles]
) -> None:
    folder(tmp_path / "preds", scenes, lambda files: np.rint(dn(files) / 1e4).astype("u2"))
    kwargs = {"data": data, "workers": 0, "quiet": True, "allow_missing": True}
    with pytest.raises(PredictionError, match="cast to whole numbers"):
        evaluate(tmp_path / "preds", tmp_path / "results", **kwargs)


# --- Datasets ---------------------------------------------------------------------------------


def test_nodata_0_of_a_dataset_is_reported_whenever_it_is_used(tmp_path: Path) -> None:
    write_dataset(tmp_path, test=2)
    scenes = find_scenes(tmp_path, "test")
    pixels = dn(scenes[1])
    pixels[:, :2] = 0
    write_tif(scenes[1].path("clear"), pixels, (0, 0), 3, None, nodata=0)
    for _ in range(2):  # the second time from memory
        with pytest.warns(
            BenchWarning, match=rf"1 of 2 scenes .*nodata 0.*{scenes[1].name} \(600\)"
        ):
            fingerprint_of(scenes, workers=0)


def test_a_dataset_in_another_unit_is_refused_by_all_that_read_it(tmp_path: Path) -> None:
    write_dataset(tmp_path, test=2)
    scenes = find_scenes(tmp_path, "test")
    for files in scenes:
        for product in ("clear", "cloudy"):
            pixels = read_product(files, product).pixels
            write_tif(files.path(product), np.maximum(pixels // 100, 1), (0, 0), 3, None)
    with pytest.raises(DatasetError, match="looks like percent or bytes"):
        fingerprint_of(scenes, workers=0)
    assert any("percent or bytes" in line for line in check_dataset(tmp_path, workers=0).problems)


@pytest.mark.parametrize("command", ["evaluate preds", "predict mean-fill", "check"])
def test_every_command_refuses_codes_that_do_not_exist(
    tmp_path: Path, cli: Cli, command: str
) -> None:
    write_dataset(tmp_path / "data", test=1, train=2)
    (tmp_path / "preds").mkdir()
    write_card(tmp_path / "preds", Card(method="x"))
    for split in ("test", "train"):
        for files in find_scenes(tmp_path / "data", split):
            codes = read_product(files, "land_cover").pixels // 10
            write_tif(files.path("land_cover"), codes, (0, 0), 10, None)
    words = command.split()
    done = cli(*words, *(["data"] if words == ["check"] else ["--data", "data"]))
    assert done.returncode == 1
    assert "expected WorldCover codes, got" in done.stderr + done.stdout
    with pytest.raises(DatasetError, match="expected WorldCover codes, got"):
        FilePatches(find_scenes(tmp_path / "data", "train")).read(0)  # what training reads


def invert(files: SceneFiles) -> None:
    np.save(files.path("cloud_mask"), ~np.load(files.path("cloud_mask")))


def test_inverted_masks_are_reported(tmp_path: Path) -> None:
    write_dataset(tmp_path, test=5)
    scenes = find_scenes(tmp_path, "test")
    sound = check_dataset(tmp_path, workers=0)
    assert sound.ok
    assert not any("look inverted" in line for line in sound.warnings)
    for files in scenes[1:3]:
        invert(files)
    some = check_dataset(tmp_path, workers=0)
    assert some.ok
    (line,) = [line for line in some.warnings if "look inverted" in line]
    assert "(2)" in line
    for files in scenes[3:]:
        invert(files)
    assert any("look inverted" in line for line in check_dataset(tmp_path, workers=0).problems)


def test_radar_bands_that_look_swapped_or_bordered_are_a_warning(tmp_path: Path) -> None:
    write_dataset(tmp_path, test=1)
    (files,) = find_scenes(tmp_path, "test")
    pixels = read_product(files, "sar").pixels[::-1].copy()
    pixels[:, :3] = 0
    write_tif(files.path("sar"), pixels, (0, 0), 10, None)
    warnings = check_dataset(tmp_path, workers=0).warnings
    assert any("VH brighter than VV" in line for line in warnings)
    assert any("0 dB in both bands" in line and "(270 pixels)" in line for line in warnings)


# --- Networks ---------------------------------------------------------------------------------


def test_a_network_that_returns_another_scale_is_refused(tmp_path: Path, data: Path) -> None:
    def tanh(cloudy: np.ndarray, _: np.ndarray) -> np.ndarray:
        return 2 * cloudy - 1

    with pytest.raises(PredictionError, match=r"net: .*write \(x \+ 1\) / 2"):
        predict_with(tanh, data, tmp_path / "a", card=Card(method="net"), workers=0, quiet=True)
    untrained = Card(method="net", weights="random, seed 0")
    assert predict_with(tanh, data, tmp_path / "b", card=untrained, workers=0, quiet=True)[0] == 6
