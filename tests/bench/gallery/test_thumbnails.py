"""The sample pictures of a run: what it shows, and that Planet's images are never in it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from planetcr_bench.api import evaluate
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_product, read_scene
from planetcr_bench.gallery.panels import TRUE_COLOUR, stretch_limits, stretched
from planetcr_bench.gallery.thumbnails import SIDE, sample_strip
from planetcr_bench.predictions.card import Card
from planetcr_bench.predictions.folder import find_predictions
from planetcr_bench.predictions.format import write_prediction
from planetcr_bench.predictions.predict import predict
from planetcr_bench.results.files import SAMPLES


def test_it_shows_cloudy_prediction_and_clear_in_the_stretch_of_clear(
    simulated: Path, tmp_path: Path
) -> None:
    scenes = find_scenes(simulated, "test")[:4]
    for files in scenes:
        clear = read_product(files, "clear")
        write_prediction(tmp_path / f"{files.name}.tif", read_scene(files).clear, clear)
    covers = {files: number / 4 for number, files in enumerate(scenes)}
    strip = sample_strip(find_predictions(tmp_path, Card(), scenes), covers)
    picture = np.asarray(Image.open(io.BytesIO(strip)), float) / 255
    assert picture.shape == (SIDE, 3 * SIDE, 3)
    assert len(strip) < 100_000
    scene = read_scene(scenes[2])  # half under cloud
    limits = stretch_limits(scene.clear, TRUE_COLOUR)
    for column, image in enumerate((scene.cloudy, scene.clear, scene.clear)):
        left = column * SIDE
        seen = picture[:, left : left + SIDE]
        assert abs(seen - stretched(image, limits, TRUE_COLOUR)).mean() < 0.05


@pytest.mark.parametrize("dataset", ["simulated", "data"])
def test_only_simulated_images_are_passed_on(
    dataset: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("planetcr_bench.report.report.write_report", lambda *_, **__: None)
    folder = request.getfixturevalue(dataset)
    predict("copy-cloudy", folder, tmp_path / "preds", quiet=True)
    _, out, _ = evaluate(tmp_path / "preds", tmp_path / "results", data=folder, quiet=True)
    assert (out / SAMPLES).exists() == (dataset == "simulated")
