"""What was scored is not scored again, unless something that matters has changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pandas.testing import assert_frame_equal

from fake_segmenters import ShadeSegmenter
from planetcr_bench import api
from planetcr_bench.api import evaluate
from planetcr_bench.errors import PredictionError
from planetcr_bench.predictions.predict import predict
from planetcr_bench.results.ledger import read_ledger
from scenes import write_dataset


class Measured:
    """Counts how often predictions are measured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self._measure = 0, api.measure_scenes
        monkeypatch.setattr(api, "measure_scenes", self)

    def __call__(self, *arguments: object, **options: object) -> object:
        self.count += 1
        return self._measure(*arguments, **options)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    return Measured(monkeypatch)


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Predictions of two scenes."""
    data = write_dataset(tmp_path / "data", test=2, train=0)
    predict("mean-fill", data, tmp_path / "preds", quiet=True)
    return tmp_path / "preds"


@pytest.mark.usefixtures("nothing_is_drawn")
def test_a_run_whose_report_is_gone_is_scored_again(few: Path, measured: Measured) -> None:
    _, out, _ = score(few, tables=True)
    (out / "report.md").unlink()
    score(few, tables=True)
    assert measured.count == 2
    assert (out / "report.md").exists()
    score(few, tables=True)
    assert measured.count == 2


def score(preds: Path, **options: object) -> object:
    options = {"workers": 0, "tables": False, "quiet": True, **options}
    return evaluate(preds, preds.parent / "results", **options)


def change_a_pixel(path: Path) -> None:
    with rasterio.open(path, "r+") as file:
        pixels = file.read()
        pixels[0, 0, 0] += np.uint16(1)
        file.write(pixels)


def test_unchanged_predictions_are_not_scored_again(
    few: Path, measured: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    first, out, _ = score(few)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    again, there, problems = score(few, quiet=False)
    assert (measured.count, there, problems) == (1, out, [])
    assert f"{out}: already scored; --force scores it again" in capsys.readouterr().err
    assert_frame_equal(again.frame, first.frame)
    assert again.provenance == first.provenance
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before


@pytest.mark.parametrize(
    "options",
    [
        {"force": True},
        {"name": "other"},
        {"class_average": "pixels"},
        {"segmenters": [ShadeSegmenter()]},
        {"tables": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_other_options_score_again(
    few: Path, measured: Measured, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planetcr_bench.report.report.write_report", lambda *_, **__: None)
    score(few)
    score(few, **options)
    assert measured.count == 2


def test_a_changed_prediction_is_scored_again(few: Path, measured: Measured) -> None:
    first, *_ = score(few)
    change_a_pixel(min(few.glob("*.tif")))
    second, *_ = score(few)
    assert measured.count == 2
    assert not second.frame["prediction_sha256"].equals(first.frame["prediction_sha256"])


def test_missing_or_changed_results_are_written_again(few: Path, measured: Measured) -> None:
    _, out, _ = score(few)
    shutil.rmtree(out)
    score(few)
    assert measured.count == 2
    (out / "ledger.parquet").write_bytes(b"damaged")
    ledger, *_ = score(few)
    assert measured.count == 3
    assert_frame_equal(read_ledger(out).frame, ledger.frame)


def test_an_incomplete_run_does_not_count_as_a_complete_one(few: Path, measured: Measured) -> None:
    first = min(few.glob("*.tif"))
    first.write_bytes(first.read_bytes()[:-100_000])
    _, _, problems = score(few, allow_missing=True)
    assert score(few, allow_missing=True)[2] == problems != []
    assert measured.count == 1
    with pytest.raises(PredictionError, match=first.name):
        score(few)
