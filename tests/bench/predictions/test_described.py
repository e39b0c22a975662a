"""Test predictions of datasets of other bands and sizes than Planet-CR."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from described import S2, optical_image, write_description, write_s2
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_product, read_raster
from planetcr_bench.errors import DatasetError, PredictionError, SceneError
from planetcr_bench.predictions.card import Card, read_card
from planetcr_bench.predictions.folder import find_predictions
from planetcr_bench.predictions.format import read_prediction
from planetcr_bench.predictions.predict import predict
from scenes import write_tif


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for patch in (1, 2):
        write_s2(tmp_path / "data", 7, patch, size=(40 * patch, 48))
    write_description(tmp_path / "data/dataset.toml", S2)
    return tmp_path / "data"


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


def test_methods_take_one_date(tmp_path: Path) -> None:
    optical = {"clear": "clear/{tile}.npy", "cloudy": "cloudy/{tile}_{date}.npy", "scale": 1e4}
    content = {"title": "dates", "bands": ["red"], "scene": "{tile}", "optical": optical}
    write_description(tmp_path / "dataset.toml", {**content, "fields": {"tile": "[a-z]+"}})
    for name in ("clear/a", "cloudy/a_1"):
        (tmp_path / name).parent.mkdir()
        np.save(tmp_path / f"{name}.npy", optical_image(1))
    with pytest.raises(DatasetError, match="expected one cloudy image per scene"):
        predict("copy-cloudy", tmp_path, tmp_path / "preds", workers=0, quiet=True)
