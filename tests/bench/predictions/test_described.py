"""Test predictions of datasets of other bands and sizes than Planet-CR."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import Cli
from described import S2, optical_image, write_description, write_s2
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.masks import OtherMasks
from planetcr_bench.data.reading import read_product, read_raster
from planetcr_bench.errors import DatasetError, PredictionError, SceneError
from planetcr_bench.predictions.card import Card, read_card
from planetcr_bench.predictions.folder import find_predictions
from planetcr_bench.predictions.format import read_prediction
from planetcr_bench.predictions.predict import predict, predict_with
from scenes import write_tif


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for patch in (1, 2):
        write_s2(tmp_path / "s2", 7, patch, size=(40 * patch, 48))
    write_description(tmp_path / "s2/dataset.toml", S2)
    return tmp_path / "s2"


def test_a_baseline_writes_all_bands_of_scenes_of_any_size(data: Path, tmp_path: Path) -> None:
    assert predict("copy-cloudy", data, tmp_path / "preds", workers=0, quiet=True) == (2, 0)
    assert predict("copy-cloudy", data, tmp_path / "preds", workers=0, quiet=True) == (0, 2)
    scenes = find_scenes(data, "test")
    predictions = find_predictions(tmp_path / "preds", read_card(tmp_path / "preds"), scenes)
    assert not predictions.problems
    assert predictions.size == 0
    for files, path in predictions.files.items():
        cloudy, clear = (read_product(files, product) for product in ("cloudy", "clear"))
        image, stored = read_prediction(
            path, predictions.card, clear, bands=files.description.bands
        )
        assert (stored == cloudy.pixels).all()
        assert image.shape == cloudy.pixels.shape
        assert read_raster(path, bands=13).transform == clear.transform


def test_predictions_of_other_bands_or_sizes_are_refused(data: Path, tmp_path: Path) -> None:
    first, second = find_scenes(data, "test")
    write_tif(tmp_path / f"{first.name}.tif", optical_image(4), (0, 0), 10, None)
    write_tif(tmp_path / f"{second.name}.tif", optical_image(13), (0, 0), 10, None)
    found = find_predictions(tmp_path, Card(), [first, second])
    assert [line for line in found.problems if "expected shape (13, 40, 48), got (4, 40" in line]
    with pytest.raises(PredictionError, match=r"expected shape \(13, 80, 48\)"):
        read_prediction(
            found.files[second], Card(), read_product(second, "clear"), bands=S2["bands"]
        )


def test_what_needs_an_absent_product_is_refused_in_one_line(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="expected a cloud mask, but the dataset has none"):
        predict("mean-fill", data, tmp_path / "preds", workers=0, quiet=True)


@pytest.fixture
def dates(tmp_path: Path) -> Path:
    """A scene of three dates, and masks of them: the second date is the clearest."""
    optical = {"clear": "clear/{tile}.npy", "cloudy": "cloudy/{tile}_{date}.npy", "scale": 1e4}
    content = {"title": "dates", "bands": ["red"], "scene": "{tile}", "optical": optical}
    write_description(tmp_path / "data/dataset.toml", {**content, "fields": {"tile": "[a-z]+"}})
    for name in ("clear/a", "cloudy/a_1", "cloudy/a_2", "cloudy/a_3"):
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"data/{name}.npy", optical_image(1, seed=len(name) + ord(name[-1])))
    masks = np.zeros((3, 40, 48), bool)
    masks[0, :20], masks[1, :5], masks[2, :10] = True, True, True
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "masks/a.npy", masks)
    return tmp_path / "data"


def predicted(method: str, data: Path, out: Path, masks: Path | None = None) -> np.ndarray:
    """The prediction of the only scene, as it is stored."""
    others = None if masks is None else OtherMasks(masks)
    predict(method, data, out / method, masks=others, workers=0, quiet=True)
    return read_raster(out / method / "a.tif", bands=1).pixels


def test_baselines_of_one_date_take_the_first(dates: Path, tmp_path: Path) -> None:
    first = np.load(dates / "cloudy/a_1.npy")
    assert (predicted("copy-cloudy", dates, tmp_path) == first).all()
    filled = predicted("mean-fill", dates, tmp_path, tmp_path / "masks")
    assert (filled[:, 20:] == first[:, 20:]).all()
    assert np.ptp(filled[:, :20]) == 0
    assert "folder masks (sha256 " in str(read_card(tmp_path / "mean-fill").masks)


def test_baselines_of_several_dates_need_a_mask_of_each(dates: Path, tmp_path: Path) -> None:
    images = np.stack([np.load(dates / f"cloudy/a_{date}.npy") for date in (1, 2, 3)])
    masks = tmp_path / "masks"
    assert (predicted("least-cloudy", dates, tmp_path, masks) == images[1]).all()
    median = predicted("temporal-median", dates, tmp_path, masks)
    assert (median[:, 20:] == np.median(images[:, :, 20:], axis=0)).all()
    mean = np.mean(images[1:, :, 10:20].astype(float), axis=0)
    assert np.abs(median[:, 10:20] - mean).max() <= 0.51
    assert (median[:, 5:10] == images[1][:, 5:10]).all()
    assert (median[:, :5] == np.median(images[:, :, :5], axis=0)).all()
    with pytest.raises(SceneError, match="expected a cloud mask for each date"):
        predicted("least-cloudy", dates, tmp_path / "without")


def test_dates_and_methods_that_do_not_fit_are_refused(
    data: Path, dates: Path, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="expected several cloudy images per scene for least"):
        predict("least-cloudy", data, tmp_path / "preds", workers=0, quiet=True)
    card = Card(method="net", weights="random")
    with pytest.raises(DatasetError, match="expected one cloudy image per scene for a network"):
        predict_with(lambda cloudy, _: cloudy, dates, tmp_path / "preds", card=card, quiet=True)


def test_a_network_sees_no_masks(cli: Cli, data: Path, tmp_path: Path) -> None:
    done = cli("predict", "dsen2_cr", "--data", data, "--masks", tmp_path)
    assert done.returncode == 2
    assert "--masks: applies to copy-cloudy, mean-fill" in done.stderr


def test_predictions_by_other_masks_are_not_mixed(dates: Path, tmp_path: Path) -> None:
    predicted("mean-fill", dates, tmp_path, tmp_path / "masks")
    np.save(tmp_path / "masks/a.npy", np.zeros((3, 40, 48), bool))
    with pytest.raises(PredictionError, match="made with other settings") as refused:
        predicted("mean-fill", dates, tmp_path, tmp_path / "masks")
    assert refused.value.problems[0].startswith("masks: ")
