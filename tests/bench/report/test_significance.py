"""Intervals, ties and paired differences on the page, in files and on the terminal."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from boards import put
from ledgers import as_planet_cr, make_ledger
from planetcr_bench.analysis.significance import (
    MetricComparison,
    detectable_difference,
    metric_comparisons,
)
from planetcr_bench.cli.compare import compare
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.registry import HEADLINE, METRICS
from planetcr_bench.report.latex import to_latex
from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.report.scores import further_table, table2_tables
from planetcr_bench.report.significance import best_of, statistic_frame, statistic_tables
from planetcr_bench.report.table import Table, number, to_markdown
from planetcr_bench.results.aggregate import further_metrics
from planetcr_bench.results.ledger import Ledger

OFFICIAL, FULL = PROTOCOLS["official"], PROTOCOLS["full"]
SEGMENTER = "aaaaaaaa"
INTERVAL = re.compile(r"\d+\.\d+ \[\d+\.\d+, \d+\.\d+\]")


def worse(name: str, factor: float, *, seed: int = 0, scenes: int = 24, **facts) -> Ledger:
    """The same scenes with errors multiplied, within a percent of the factor."""
    base = make_ledger(name, scenes=scenes, **facts)
    factors = factor * np.random.default_rng(seed).normal(1, 0.01, len(base.frame))
    names = ["absolute_error", "squared_error", "angle_deg"]
    errors = {column: base.frame[column] * factors for column in names}
    errors["prediction_cloudy"] = errors["absolute_error"] + base.frame["cloudy_clear"]
    return Ledger(base.frame.assign(**errors, ssim=base.frame["ssim"] / factors), base.provenance)


@pytest.fixture(scope="module")
def runs() -> list[Ledger]:
    """The first two do not differ significantly, the third is worse."""
    return [worse("good", 1, seed=1), worse("also good", 1, seed=2), worse("bad", 1.5, seed=3)]


@pytest.fixture(scope="module")
def told(runs: list[Ledger]) -> list[MetricComparison]:
    return metric_comparisons(runs, FULL, resamples=300)


def column(table: Table, name: str) -> list[str]:
    return [row[list(table.header).index(name)] for row in table.rows]


# --- Tables -------------------------------------------------------------------------------------


def test_scores_have_intervals_letters_and_effective_aois(
    runs: list[Ledger], told: list[MetricComparison]
) -> None:
    table, _ = statistic_tables(runs, FULL, told)
    scores = ["MAE ↓", "PSNR ↑ [dB]", "SAM ↓ [°]", "SSIM ↑"]
    assert table.header == ["Method", *(name for score in scores for name in (score, "AOIs"))]
    assert column(table, "Method") == ["good", "also good", "bad"]
    for row, run in zip(table.rows, runs, strict=True):
        for place, one in enumerate(told):
            found, digits = one.estimates[run.name], METRICS[one.metric].digits
            ends = f"[{found.low:.{digits}f}, {found.high:.{digits}f}]"
            letters = "b" if run.name == "bad" else "a"
            assert row[1 + 2 * place] == f"{found.value:.{digits}f} {ends} {letters}"
            assert row[2 + 2 * place] == f"{found.effective:.1f} of 8"
    assert table.bold == {(row, place) for row in (0, 1) for place in (1, 3, 5, 7)}


def test_notes_say_how_intervals_were_found_and_what_they_cannot_show(
    runs: list[Ledger], told: list[MetricComparison]
) -> None:
    table, pairs = statistic_tables(runs, FULL, told)
    assert table.notes[0] == pairs.notes[0] == FULL.signature("all")
    assert "over 8 AOIs: jackknife" in table.notes[1]
    (degrees,) = {round(one.estimates["good"].freedom, 1) for one in told}
    assert f"Student's t with {degrees:g} degrees of freedom" in table.notes[1]
    assert "widened to the bootstrap-t quantile of 2000 resamples, seed 0" in table.notes[1]
    assert "the leaderboard uses Student's t alone" in table.notes[1]
    assert "not widened" in pairs.notes[1]
    assert any("share a letter" in note for note in table.notes)
    (gaps,) = (note for note in table.notes if note.startswith("Detectable differences"))
    seen = {
        one.metric: [
            number(
                detectable_difference(one.pairs, corrected=corrected),
                digits=METRICS[one.metric].digits,
            )
            for corrected in (False, True)
        ]
        for one in told
    }
    (mae, mae_all), (psnr, psnr_all), (sam, sam_all), (ssim, ssim_all) = seen.values()
    assert gaps == (
        "Detectable differences with 8 AOIs, below which most gaps are not significant "
        f"(in parentheses, Holm-corrected: the first of 3 pairs): MAE {mae} ({mae_all}), "
        f"PSNR {psnr} dB ({psnr_all} dB), SAM {sam}° ({sam_all}°), SSIM {ssim} ({ssim_all})."
    )
    assert all(float(both) >= float(alone) for alone, both in seen.values())


def test_few_aois_are_not_widened_and_say_so() -> None:
    runs = [make_ledger("a", scenes=12), make_ledger("b", scenes=12, seed=1)]
    found = metric_comparisons(runs, FULL, resamples=50)
    assert found[0].estimates == metric_comparisons(runs, FULL, resamples=0)[0].estimates
    table, _ = statistic_tables(runs, FULL, found)
    assert "widened" not in table.notes[1]
    assert "fewer than 8 AOIs, whether that is wide enough" in table.notes[1]
    (gaps,) = (note for note in table.notes if note.startswith("Detectable differences"))
    assert "(" not in gaps  # of one pair there is nothing to correct


def test_every_pair_has_its_difference_and_both_ps(
    runs: list[Ledger], told: list[MetricComparison]
) -> None:
    _, table = statistic_tables(runs, FULL, told)
    assert table.title == "Paired differences, every pair, protocol full"
    names = ["good − also good", "good − bad", "also good − bad"]
    assert column(table, "Runs") == names * len(HEADLINE)
    found = [(one.metric, pair) for one in told for pair in one.pairs]
    for row, (metric, pair) in zip(table.rows, found, strict=True):
        value, low, high = (
            number(end, sign=True, digits=METRICS[metric].digits)
            for end in (pair.value, pair.low, pair.high)
        )
        ps = ["< 0.001" if p < 0.001 else f"{p:.3f}" for p in (pair.p, pair.p_holm)]
        assert row[2:] == [value, f"{low} to {high}", *ps]
        assert ("< 0.001" in ps) == (pair.second == "bad")


@pytest.mark.parametrize(("count", "pairs", "which"), [
    (6, 15, "every pair"), (7, 6, "the best against every other"),
])  # fmt: skip
def test_of_many_runs_the_best_is_set_against_every_other(
    count: int, pairs: int, which: str
) -> None:
    many = [worse(f"run {place}", 1.5 - place / 10, seed=place) for place in range(count)]
    found = metric_comparisons(many, FULL, resamples=100)
    table = statistic_tables(many, FULL, found)[1]
    assert which in table.title
    assert len(table.rows) == pairs * len(HEADLINE)
    if count > 6:
        best = f"run {count - 1}"
        assert all(name.endswith(f" − {best}") for name in column(table, "Runs"))
    assert len(found[0].pairs) == count * (count - 1) // 2  # p is corrected for all of them


def test_one_run_has_intervals_and_nothing_to_compare() -> None:
    run = make_ledger()
    (table,) = statistic_tables([run], FULL, metric_comparisons([run], FULL, resamples=100))
    assert all(INTERVAL.fullmatch(cell) for cell in table.rows[0][1::2])
    assert not table.bold
    assert not any("letter" in note or "Detectable" in note for note in table.notes)


def test_one_aoi_has_no_intervals_and_says_why() -> None:
    runs = [make_ledger("a", scenes=3), make_ledger("b", scenes=3, seed=1)]
    table, pairs = statistic_tables(runs, FULL, metric_comparisons(runs, FULL, resamples=10))
    assert "say nothing about other places" in table.notes[1]
    assert not any("[" in cell for row in table.rows for cell in row)
    assert not any("Detectable" in note for note in table.notes)
    assert {row[3] for row in pairs.rows} == {"– to –"}
    assert set(column(pairs, "p")) == set(column(pairs, "p (Holm)")) == {"–"}


def test_an_incomplete_run_shows_its_coverage_and_no_letter(runs: list[Ledger]) -> None:
    half = worse("half", 1, scenes=12, complete=False, expected_scenes=24)
    mixed = [half, *runs]
    found = metric_comparisons(mixed, OFFICIAL, resamples=100)
    table, pairs = statistic_tables(mixed, OFFICIAL, found)
    assert table.rows[0][0] == "half (12 of 24 scenes)"
    assert all(INTERVAL.fullmatch(cell) for cell in table.rows[0][1::2])
    assert all(cell.endswith(" of 4") for cell in table.rows[0][2::2])
    assert all(cell[-1] in "ab" for row in table.rows[1:] for cell in row[1::2])
    assert 0 not in {row for row, _ in table.bold}
    assert "half is incomplete: 12 of 24 scenes." in table.notes
    assert not any("half" in name for name in column(pairs, "Runs"))


def test_segmenters_have_their_own_columns() -> None:
    runs = [make_ledger(name, segmenters=(SEGMENTER,), seed=seed) for seed, name in enumerate("ab")]
    found = metric_comparisons(runs, FULL, resamples=100)
    table, pairs = statistic_tables(runs, FULL, found)
    assert table.header[-4::2] == ["mIoU ↑ [%]", "PA ↑ [%]"]
    assert "mIoU ↑ [%]" in column(pairs, "score")
    assert set(best_of(found)) == set(HEADLINE)
    two = [
        make_ledger(name, segmenters=(SEGMENTER, "bbbbbbbb"), seed=seed)
        for seed, name in enumerate("ab")
    ]
    table, _ = statistic_tables(two, FULL, metric_comparisons(two, FULL, resamples=100))
    assert table.header[-4::2] == ["mIoU ↑ [%], fake bbbbbbbb", "PA ↑ [%], fake bbbbbbbb"]
    assert any("mIoU by fake bbbbbbbb" in note for note in table.notes)


# --- At full precision --------------------------------------------------------------------------


def test_the_frame_has_a_row_per_run_and_per_pair(told: list[MetricComparison]) -> None:
    frame = statistic_frame(FULL, told)
    assert list(frame) == [
        "protocol", "metric", "segmenter", "aois", "run", "value", "low", "high", "freedom",
        "effective_aois", "letters", "minus", "p", "p_holm",
    ]  # fmt: skip
    assert set(frame["protocol"]) == {"full"}
    assert set(frame["aois"]) == {8}
    for one in told:
        rows = frame[frame["metric"] == one.metric]
        scores = rows[rows["minus"].isna()].set_index("run")
        pairs = rows[rows["minus"].notna()].set_index(["run", "minus"])
        assert (len(scores), len(pairs)) == (3, 3)
        for name, found in one.estimates.items():
            ends = scores.loc[name, ["value", "low", "high"]].tolist()
            assert ends == [found.value, found.low, found.high]
            assert scores.at[name, "effective_aois"] == found.effective
            assert scores.at[name, "freedom"] == found.freedom
            assert scores.at[name, "letters"] == one.letters[name]
        for pair in one.pairs:
            row = pairs.loc[(pair.first, pair.second), ["value", "low", "high", "p", "p_holm"]]
            assert row.tolist() == [pair.value, pair.low, pair.high, pair.p, pair.p_holm]


# --- Bold ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("published", [False, True])
def test_latex_makes_the_best_and_those_tied_with_them_bold(
    runs: list[Ledger], published: bool
) -> None:
    best = best_of(metric_comparisons(runs, OFFICIAL, resamples=300))
    assert best == dict.fromkeys(HEADLINE, best["mae"])
    assert sorted(best["mae"]) == ["also good", "good"]
    whole = [as_planet_cr(run) for run in runs]
    for table in table2_tables(whole, OFFICIAL, published=published, best=best)[:2]:
        bold = {}
        for line in to_latex(table).splitlines():
            cells = line.removesuffix(r" \\").split(" & ")
            places = [place for place, cell in enumerate(cells) if r"\bestscore{" in cell]
            if places:
                bold[cells[0]] = places
        assert bold == {"good": [7, 8], "also good": [7, 8]}
        row = table.rows[[row[0] for row in table.rows].index("good")]
        cells = [rf"\bestscore{{{cell.replace('.', '}{')}}}" for cell in row[7:9]]
        assert rf" {' & '.join(cells)} \\" in to_latex(table)
        assert any("(published)" in row[0] for row in table.rows) == published


def test_each_column_is_bold_by_its_own_score(runs: list[Ledger]) -> None:
    mae, sam, counts = table2_tables(
        runs, FULL, best={"mae": ["good"], "ssim": ["bad"], "psnr": ["also good"]}
    )
    names = [row[0] for row in mae.rows]
    assert mae.bold == {(names.index("good"), 7), (names.index("also good"), 8)}
    assert sam.bold == {(names.index("bad"), 8)}
    assert not counts.bold


def test_published_rows_and_the_input_are_never_bold(runs: list[Ledger]) -> None:
    best = {"mae": ["Align-CR (published)", "Cloudy (input)", "good: gain", "good"]}
    whole = [as_planet_cr(run) for run in runs]
    table = table2_tables(whole, OFFICIAL, published=True, best=best)[0]
    assert set(best["mae"]) <= {row[0] for row in table.rows}
    assert {table.rows[row][0] for row, _ in table.bold} == {"good"}


def test_without_a_comparison_nothing_is_bold(runs: list[Ledger]) -> None:
    assert not any(r"\bestscore" in to_latex(table) for table in RunTables(runs[:1]).table2_tables)
    alone = metric_comparisons(runs[:1], FULL, resamples=100)
    assert best_of(alone) == {metric: [] for metric in HEADLINE}
    assert not any(table.bold for table in table2_tables(runs[:1], FULL, best=best_of(alone)))


def test_markdown_and_latex_keep_the_intervals(
    runs: list[Ledger], told: list[MetricComparison]
) -> None:
    table, _ = statistic_tables(runs, FULL, told)
    assert f"| {table.rows[0][1]} |" in to_markdown(table)
    assert rf"\textbf{{{table.rows[0][1]}}}" in to_latex(table)
    assert to_latex(table).isascii()


# --- The command --------------------------------------------------------------------------------


@pytest.fixture
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables alone: pictures are most of the time and have tests of their own."""
    monkeypatch.setattr("planetcr_bench.report.report.write_error_analysis", lambda *_, **__: [])


@pytest.mark.usefixtures("nothing_is_drawn", "_no_pictures")
def test_compare_prints_and_writes_which_differences_are_significant(
    runs: list[Ledger], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [put(tmp_path, run) for run in runs]
    compare(folders, out=tmp_path / "out", verbose=True)
    shown = " ".join(capsys.readouterr().out.split())  # notes are broken into lines
    for words in ("Scores with 95 % intervals over AOIs, protocol official", "good − bad",
                  "Paired differences, every pair, protocol full", "p (Holm)", " of 8",
                  "Detectable differences with 8 AOIs", "7 degrees of freedom"):  # fmt: skip
        assert words in shown
    whole = {protocol.name: metric_comparisons(runs, protocol) for protocol in PROTOCOLS.values()}
    known = further_metrics(runs)
    assert known == ("rmse", "ndvi_error")  # the sums of the others are not in these ledgers
    more = {
        protocol.name: metric_comparisons(runs, protocol, metrics=known, resamples=0)
        for protocol in PROTOCOLS.values()
    }
    page = (tmp_path / "out" / "report.md").read_text()
    for name, found in whole.items():
        for table in statistic_tables(runs, PROTOCOLS[name], found):
            assert to_markdown(table) in page
            assert all(cell in shown for row in table.rows for cell in row)
        table = further_table(runs, PROTOCOLS[name], more[name])
        assert to_markdown(table) in page
        letters = more[name][0].letters
        assert [cell.split(" ")[1] for cell in table.rows[0][2:]] == [letters[r.name] for r in runs]
    frame = pd.concat([
        statistic_frame(PROTOCOLS[name], [*found, *more[name]]) for name, found in whole.items()
    ])  # fmt: skip
    written = pd.read_csv(tmp_path / "out" / "tables/statistics.csv")
    assert list(written) == [*frame, "input_window", "coverage", "minus_input_window"]
    assert set(written["input_window"]) == {"unknown"}
    np.testing.assert_allclose(written["low"], frame["low"], rtol=1e-15)
    records = json.loads((tmp_path / "out" / "tables/statistics.json").read_text())
    assert len(records) == len(frame) == 2 * (4 + 2) * (3 + 3)
    assert [row["p"] for row in records[:6]][:3] == [None] * 3
    assert records[3]["p"] == whole["official"][0].pairs[0].p
    cell = statistic_tables(runs, FULL, whole["full"])[0].rows[0][1]
    assert rf"\textbf{{{cell}}}" in (tmp_path / "out" / "tables/statistics.tex").read_text()
    assert (tmp_path / "out" / "tables/table2.tex").read_text().count(r"\bestscore{") == 16


@pytest.mark.usefixtures("nothing_is_drawn", "_no_pictures")
def test_compare_takes_an_incomplete_run_and_refuses_other_aois(
    runs: list[Ledger], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = (put(tmp_path, run) for run in (runs[0], runs[2]))
    half = worse("half", 1, scenes=12, complete=False, expected_scenes=24)
    compare([good, bad, put(tmp_path, half)], out=tmp_path / "out")
    assert "half (12 of 24 scenes)" in capsys.readouterr().out
    records = json.loads((tmp_path / "out" / "tables/statistics.json").read_text())
    of_half = [row for row in records if row["run"] == "half"]
    assert [row["letters"] for row in of_half] == [None] * 2 * (4 + 2)
    assert {row["coverage"] for row in of_half} == {"12 of 24 scenes"}
    assert all(row["low"] < row["value"] < row["high"] for row in of_half)
    assert "half" not in {row["minus"] for row in records}
    fewer = put(tmp_path, worse("fewer", 1, scenes=12))
    with pytest.raises(LedgerError, match="fewer: expected the AOIs of good"):
        compare([good, fewer], out=tmp_path / "refused")
    assert not list((tmp_path / "refused").iterdir())
