"""Test writing folders of predictions by baselines."""

from __future__ import annotations

from pathlib import Path

import pytest

from planetcr_bench.data.layout import find_scenes
from planetcr_bench.errors import PredictionError
from planetcr_bench.predictions.baselines import DATED, METHODS
from planetcr_bench.predictions.card import Card, read_card
from planetcr_bench.predictions.folder import find_predictions
from planetcr_bench.predictions.predict import predict


def test_predict_resumes_beside_files_with_extensions_in_capitals(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "preds"
    predict("mean-fill", data, out, quiet=True)
    for path in out.glob("*.tif"):
        path.rename(path.with_suffix(".TIF"))
    (out / "Thumbs.db").touch()
    predict("mean-fill", data, out, quiet=True)
    assert not find_predictions(out, Card(), find_scenes(data, "test")).problems


@pytest.mark.parametrize("method", [method for method in METHODS if method not in DATED])
def test_predict_writes_a_folder_that_has_no_problems(
    data: Path, tmp_path: Path, method: str
) -> None:
    out = tmp_path / "preds"
    assert predict(method, data, out, quiet=True) == (6, 0)
    scenes = find_scenes(data, "test")
    (out / f"{scenes[0].name}.tif").write_bytes(b"damaged")
    (out / f"{scenes[1].name}.tif").unlink()
    before = (out / f"{scenes[2].name}.tif").stat().st_mtime_ns
    assert predict(method, data, out, quiet=True) == (2, 4)
    assert (out / f"{scenes[2].name}.tif").stat().st_mtime_ns == before
    card = read_card(out)
    assert not find_predictions(out, card, scenes).problems
    assert (card.method, card.split, card.scale) == (method, "test", None)
    assert len(list(out.iterdir())) == 7


def test_predict_never_mixes_with_what_is_there(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "preds"
    predict("mean-fill", data, out, quiet=True)
    with pytest.raises(PredictionError, match="holds predictions of mean-fill"):
        predict("copy-cloudy", data, out, quiet=True)
    with pytest.raises(PredictionError, match="holds predictions of mean-fill"):
        predict("mean-fill", data, out, split="train", quiet=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.doc").touch()
    with pytest.raises(PredictionError, match="expected a new or empty folder"):
        predict("mean-fill", data, tmp_path / "other", quiet=True)
    with pytest.raises(PredictionError, match="found a file"):
        predict("mean-fill", data, tmp_path / "other" / "thesis.doc", quiet=True)
