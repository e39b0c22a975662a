"""Test the evaluation of folders, functions and networks from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import planetcr_bench as pb
from planetcr_bench.predictions.baselines import METHODS
from planetcr_bench.predictions.predict import predict


class Darker(torch.nn.Module):
    def forward(self, cloudy: torch.Tensor, sar: torch.Tensor) -> torch.Tensor:
        assert sar.shape[1:] == (2, 90, 90)
        return cloudy * 0.9


def test_a_function_scores_as_its_files(data: Path, tmp_path: Path) -> None:
    predict("copy-cloudy", data, tmp_path / "copy", quiet=True)
    from_files = pb.evaluate(str(tmp_path / "copy"), str(data), workers=0)
    from_function = pb.evaluate(METHODS["copy-cloudy"], data, workers=0)
    pd.testing.assert_frame_equal(
        from_files.ledger.frame.drop(columns="prediction_sha256"),
        from_function.ledger.frame.drop(columns="prediction_sha256"),
    )
    assert from_files.folder is None
    assert (from_files.name, from_function.name) == ("copy", "copy_cloudy")
    assert list(tmp_path.iterdir()) == [tmp_path / "copy"]


def test_a_network_is_a_function_of_batches(data: Path) -> None:
    scenes = pb.open_dataset(data)
    network = pb.evaluate(Darker(), scenes, batch=4, workers=0)
    function = pb.evaluate(lambda s: torch.tensor(s.cloudy) * 0.9, scenes, workers=0)
    pd.testing.assert_frame_equal(network.ledger.frame, function.ledger.frame)
    assert (network.name, function.name) == ("Darker", "lambda")


def test_a_slice_is_an_incomplete_run(data: Path) -> None:
    run = pb.evaluate(lambda s: s.cloudy, pb.open_dataset(data)[:2], workers=0)
    assert not run.ledger.provenance["complete"]
    assert "2 of 6 scenes" in repr(run)


@pytest.mark.usefixtures("ledgers_alone")
def test_results_are_read_again(data: Path, tmp_path: Path) -> None:
    run = pb.evaluate(
        lambda s: s.cloudy, data, results=str(tmp_path / "results"), name="mine", workers=0
    )
    assert run.folder == tmp_path / "results/fake/mine"
    again = pb.load_run(str(run.folder))
    pd.testing.assert_frame_equal(again.table2(), run.table2())
    assert {path.name for path in run.folder.iterdir()} == {"ledger.parquet", "run.json"}
    assert list(run.folder.parent.iterdir()) == [run.folder]


def test_what_cannot_be_scored_is_refused(data: Path) -> None:
    scenes = pb.open_dataset(data)
    for function, words in (
        (lambda s: s.cloudy[:, :8], r"spring_500_p_1: prediction: expected shape \(4, 300, 300\)"),
        (lambda s: s.cloudy.transpose(1, 2, 0), "bands last"),
        (lambda s: s.cloudy * 1e4, "looks like digital numbers"),
        (lambda s: s.cloudy * np.nan, "NaN or infinite"),
        (3, "expected a folder of predictions, a function of a scene or a network, got 3"),
    ):
        with pytest.raises(pb.BenchError, match=words):
            pb.evaluate(function, scenes, workers=0)
    with pytest.raises(pb.BenchError, match="got a slice"):
        pb.evaluate("preds", scenes[:2])
    with pytest.raises(pb.BenchError, match="--name"):
        pb.evaluate(lambda s: s.cloudy, scenes, name="a/b")
