"""Fig. 4 of a paper: drawn from the predictions that the runs name, of their dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from planetcr_bench.api import evaluate
from planetcr_bench.errors import BenchError
from planetcr_bench.figures import style
from planetcr_bench.paper.runs import Runs, read_runs
from planetcr_bench.paper.scenes import draw_scenes
from planetcr_bench.report.latex import IEEE


@pytest.fixture(scope="module")
def runs(predicted: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    results = tmp_path_factory.mktemp("results")
    _, folder, _ = evaluate(predicted, results, tables=False, quiet=True, workers=0)
    return read_runs([folder], labels={"preds": "Ours"})


def test_scenes_are_drawn_in_both_widths(runs: Runs, data: Path, tmp_path: Path) -> None:
    figure = draw_scenes(tmp_path, runs, data, IEEE, ["png"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fig4-column.png", "fig4-page.png"]
    assert figure.caption.count("% cloud") == 4
    assert style.PRINT_DPI == 300


def test_scenes_may_be_named(runs: Runs, data: Path, tmp_path: Path) -> None:
    from planetcr_bench.data.layout import find_scenes

    chosen = [files.name for files in find_scenes(data, "test")][:2]
    figure = draw_scenes(tmp_path, runs, data, IEEE, [], names=chosen)
    assert all(name in figure.caption for name in chosen)


def test_predictions_that_are_not_there_are_named(
    runs: Runs, data: Path, simulated: Path, tmp_path: Path
) -> None:
    (method,) = runs.methods
    for folder in ("gone", None, ""):
        facts = {**method.facts, "predictions": folder}
        lost = type(runs)(
            [type(method)(method.run, method.ledger, None, facts, method.path)],
            None, runs.protocol, False, [],
        )  # fmt: skip
        with pytest.raises(BenchError, match="preds: expected its predictions where"):
            draw_scenes(tmp_path, lost, data, IEEE, ["png"])
    with pytest.raises(BenchError):
        draw_scenes(tmp_path, runs, simulated, IEEE, ["png"])
    assert not list(tmp_path.iterdir())
