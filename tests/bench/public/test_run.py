"""Test runs and comparisons from Python."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import planetcr_bench as pb
from paths import ROOT, RUNS

COMPACT = ROOT / "results/sim-v1"
FULL = RUNS


def test_full_and_compact_runs_have_the_same_methods() -> None:
    for folder in (FULL / "mean-fill", COMPACT / "mean-fill"):
        run = pb.load_run(str(folder))
        assert run.folder == folder
        assert len(run.table2()) == 3
        assert {"mae", "pixels"} <= set(run.by("land_cover", "cover_bin").columns)
        assert run.by().loc["all", "psnr"] == run.scores()["psnr"]
        assert r"\begin{tabular}" in run.to_latex()
        assert "<table>" in run._repr_html_()
    assert len(run.fig5().axes) == 4
    assert set(pb.load_run(FULL / "mean-fill").by("season").index) <= {
        "spring", "summer", "fall", "winter",
    }  # fmt: skip


def test_tables_of_segmented_runs() -> None:
    run = pb.load_run(COMPACT / "align_cr-small")
    assert {"miou", "pa"} <= set(run.table3("official").columns)


def test_fig5_on_axes_of_others() -> None:
    run = pb.load_run(COMPACT / "mean-fill")
    figure, axes = plt.subplots(2, 2)
    assert run.fig5(ax=axes) is figure
    assert all(panel.get_title() for panel in axes.flat)
    _, one = plt.subplots()
    run.fig5(ax=one, metric="mae")
    assert one.get_title().startswith("MAE ↓")
    plt.close(one.figure)
    with pytest.raises(pb.BenchError, match="expected one axes, or 4"):
        run.fig5(ax=axes[0])
    plt.close(figure)


def test_a_comparison_takes_runs_and_paths() -> None:
    mean_fill = pb.load_run(COMPACT / "mean-fill")
    both = pb.compare([mean_fill, str(COMPACT / "align_cr-small")])
    table = both.table()
    assert list(table.index) == ["Cloudy (input)", "mean-fill", "align_cr-small"]
    assert table.loc["mean-fill", "psnr"] == mean_fill.scores()["psnr"]
    significance = both.significance("official")
    assert significance["p_holm"].notna().any()
    assert "mean-fill" in both._repr_html_()
    assert "2 runs on sim-v1" in repr(both)


def test_wrong_questions_are_refused(tmp_path: Path) -> None:
    run = pb.load_run(COMPACT / "mean-fill")
    for ask, words in (
        (lambda: run.by("colour"), "by: expected cover_bin or land_cover"),
        (lambda: run.by(metrics=["mse"]), "metrics: expected mae or psnr"),
        (lambda: run.by("scene"), "ledger of scenes"),
        (lambda: run.table2("fool"), "protocol: expected official or full"),
        (lambda: pb.compare([]), "expected one run or more, got none"),
        (lambda: pb.compare([COMPACT / "mean-fill", FULL / "mean-fill"]), "same track"),
        (lambda: pb.load_run(tmp_path), "expected a results folder"),
    ):
        with pytest.raises(pb.BenchError, match=words):
            ask()


def test_scores_are_those_of_the_commands() -> None:
    table = pb.load_run(COMPACT / "mean-fill").table2("official")
    assert isinstance(table, pd.DataFrame)
    assert list(table["kind"])[:3] == ["input", "measured", "gain"]
