"""The files of a run and of a comparison: what belongs to them and nothing else."""

from __future__ import annotations

import json
import pkgutil
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fake_segmenters import ShadeSegmenter
from ledgers import make_ledger
from paths import files_in
from planetcr_bench.api import evaluate
from planetcr_bench.cli.terminal import print_headlines, print_tables
from planetcr_bench.predictions.card import read_card
from planetcr_bench.report.page import APPENDIX
from planetcr_bench.report.report import ALWAYS, SOMETIMES, report, write_comparison, write_report
from planetcr_bench.report.scores import summary
from planetcr_bench.results.ledger import Ledger, read_ledger


def run(preds: Path, results: Path, **options) -> tuple[Ledger, Path, list[str]]:
    return evaluate(preds, results, quiet=True, **options)


def test_a_run_publishes_all_its_files_and_leaves_nothing_else(preds: Path, tmp_path: Path) -> None:
    ledger, out, problems = run(preds, tmp_path / "results", command=["planetcr-bench", "x y"])
    assert out == tmp_path / "results" / "fake" / "preds"
    assert not problems
    assert files_in(out) == [
        "figures/fig5.png", "figures/fig5.svg", "figures/regions.png", "figures/regions.svg",
        "ledger.parquet", "report.html", "report.md", "run.json", "scores.json",
        "tables/table2.csv", "tables/table2.json", "tables/table2.tex",
    ]  # fmt: skip
    written = set(files_in(out))
    assert set(ALWAYS) <= written
    assert written <= {*ALWAYS, *SOMETIMES, "ledger.parquet", "run.json"}
    assert [path.name for path in out.parent.iterdir()] == ["preds"]
    facts = json.loads((out / "run.json").read_text())
    assert facts["command"] == "planetcr-bench 'x y'"
    assert facts["fingerprint"] == read_card(preds).fingerprint
    assert (facts["complete"], facts["scenes"], facts["expected_scenes"]) == (True, 6, 6)
    assert json.loads((out / "scores.json").read_text()) == summary(ledger)
    again = read_ledger(out)
    pd.testing.assert_frame_equal(again.frame, ledger.frame)
    assert again.provenance == ledger.provenance


@pytest.mark.usefixtures("nothing_is_drawn")
def test_every_picture_that_a_report_shows_is_there(tmp_path: Path) -> None:
    ledger = make_ledger(segmenters=("aaaaaaaa",))
    facts = {
        **ledger.provenance, "predictions": "p", "command": "c", "started": "s", "seconds": 1.0,
        "device": "cpu",
    }  # fmt: skip
    both = [ledger, make_ledger("other", segmenters=("aaaaaaaa",))]
    short = ["figures/fig5.png", "figures/fig6.png", "figures/regions.png"]
    for full in (False, True):
        for folder in (tmp_path / f"run {full}", tmp_path / f"both {full}"):
            folder.mkdir()
        write_report(tmp_path / f"run {full}", ledger, facts, full=full)
        write_comparison(tmp_path / f"both {full}", both, full=full)
        for folder in (tmp_path / f"run {full}", tmp_path / f"both {full}"):
            text = (folder / "report.md").read_text()
            shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
            assert set(shown) > set(short) if full else shown == short
            assert {Path(name).stem for name in shown} == {
                path.stem for path in folder.rglob("*.png")
            }
            assert "## Where and how it fails" in text
            assert "## Land-cover segmentation" in text
    assert "## Statistical significance" in text


@pytest.mark.usefixtures("nothing_is_drawn")
def test_a_table_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever files, page and terminal show of it."""
    calls = []
    for module, name in (
        ("scores", "table2"), ("run_tables", "table3"), ("run_tables", "cover_scores"),
        ("run_tables", "metric_comparisons"),
    ):  # fmt: skip
        target = f"planetcr_bench.report.{module}.{name}"
        compute = pkgutil.resolve_name(target)

        def counted(*of: Any, name: str = name, compute: Any = compute, **options: Any) -> object:
            calls.append((name, of[1].name, options.get("metrics")))
            return compute(*of, **options)

        monkeypatch.setattr(target, counted)
    runs = [make_ledger(name, segmenters=("aaaaaaaa",)) for name in "ab"]
    tables = write_comparison(tmp_path, runs, full=True)
    print_tables(tables)
    print_headlines(tables)
    assert len(calls) == len(set(calls)) == (4 + 1) * 2  # and comparisons of further metrics


@pytest.mark.usefixtures("nothing_is_drawn")
def test_a_second_run_leaves_nothing_of_the_first_that_does_not_hold_any_more(
    preds: Path, tmp_path: Path
) -> None:
    _, out, _ = run(preds, tmp_path / "results", segmenters=[ShadeSegmenter()])
    assert {"tables/table3.tex", "figures/fig6.png"} <= set(files_in(out))
    assert not (out / "figures/transitions.svg").exists()
    (out / "figures/transitions.svg").write_text("of a full report")
    (out / "figures/thickness.png").write_bytes(b"of a run with truth")
    (out / "mine.txt").write_text("a user's own")
    again, _, _ = run(preds, tmp_path / "results")
    names = set(files_in(out))
    assert "mine.txt" in names
    segmented = {
        "tables/table3.tex", "tables/table3.json",
        *(f"figures/{name}" for name in ("fig6.png", "transitions.svg", "thickness.png")),
    }  # fmt: skip
    assert segmented <= set(SOMETIMES)
    assert names.isdisjoint(segmented)
    assert read_ledger(out).segmenters == again.segmenters == ()


def test_runs_of_different_segmenters_write_nothing(tmp_path: Path) -> None:
    from planetcr_bench.errors import LedgerError

    runs = [make_ledger("a", segmenters=("aaaaaaaa",)), make_ledger("b", segmenters=("bbbbbbbb",))]
    with pytest.raises(LedgerError, match="--no-segmenter"):
        write_comparison(tmp_path, runs)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("nothing_is_drawn")
def test_a_report_leaves_out_what_is_not_known_of_a_run(tmp_path: Path) -> None:
    ledger = make_ledger()
    write_report(tmp_path, ledger, ledger.provenance)
    facts = (tmp_path / "report.md").read_text().partition(f"## {APPENDIX}")[2]
    assert "Dataset fingerprint" in facts
    assert not [word for word in ("Predictions", "Command", "Started", "None") if word in facts]


def test_a_method_s_name_is_text_and_no_markdown() -> None:
    name = r"[a](http://b) ![c](http://d) | `e` \input{f}"
    ledger = make_ledger(method=name)
    run = {**ledger.provenance, "predictions": "p", "command": "c", "started": "s"}
    page = report(ledger, {**run, "seconds": 1.0, "device": "cpu"})
    facts = page.partition(f"## {APPENDIX}")[2]
    line = next(line for line in facts.splitlines() if line.startswith("| Method |"))
    shown = line.removeprefix("| Method | ").removesuffix(" |")
    assert re.sub(r"\\(.)", r"\1", shown) == name
    assert not re.search(r"(?<!\\)[\[\]|`!]", shown)
