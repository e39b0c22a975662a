"""Test that runs are compared only if they scored the same scenes in the same way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio

from ledgers import as_planet_cr, make_ledger
from paths import RUNS
from planetcr_bench.analysis.error_analysis import ErrorAnalysis, widest_protocol
from planetcr_bench.analysis.segmentation_tables import segmented_runs
from planetcr_bench.analysis.significance import metric_comparisons
from planetcr_bench.api import evaluate
from planetcr_bench.errors import LedgerError, PredictionError, SubmissionError
from planetcr_bench.leaderboard.ledgers import record_errors
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.predictions.card import read_card
from planetcr_bench.report.error_analysis import _SECTIONS
from planetcr_bench.report.report import report, write_comparison
from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.report.scores import (
    cover_table,
    pool_table,
    region_table,
    summary,
    table2_tables,
)
from planetcr_bench.report.segmentation import table3_tables
from planetcr_bench.report.significance import statistic_tables
from planetcr_bench.report.table import Table
from planetcr_bench.results.aggregate import in_paper_order, marked, of_protocol
from planetcr_bench.results.ledger import Ledger, read_ledger
from planetcr_bench.results.published import published_table2, published_table3, refuse_published
from planetcr_bench.submission.pack import pack
from planetcr_bench.submission.record import SentRecord
from scenes import write_dataset

OFFICIAL, FULL = PROTOCOLS["official"], PROTOCOLS["full"]
SEGMENTER = "aaaaaaaa"
ENTRY_CARD = RUNS / "mean-fill/card.toml"

_no_pictures = pytest.mark.usefixtures("nothing_is_drawn", "_without_error_pictures")


@pytest.fixture
def _without_error_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables alone: pictures are most of the time and have tests of their own."""
    monkeypatch.setattr("planetcr_bench.report.error_analysis._picture", lambda *_: [])


# --- Published rows -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"track": "unnamed"}, "expected track 'planet-cr', got 'unnamed'"),
        ({"track": "sim-v1"}, "expected track 'planet-cr', got 'sim-v1'"),
        ({"split": "val"}, "expected split 'test', got 'val'"),
        ({"scenes": 2999, "complete": False}, "expected all 3,000 scenes, got 2,999 of 3,000"),
        ({"scenes": 1, "expected_scenes": 1}, "expected all 3,000 scenes, got 1 of 1"),
        ({"complete": False}, "expected all 3,000 scenes"),
    ],
)
def test_published_rows_stand_beside_the_whole_test_split_of_planet_cr_alone(
    facts: dict[str, object], reason: str, tmp_path: Path
) -> None:
    whole = as_planet_cr(make_ledger("whole", scenes=2, segmenters=(SEGMENTER,)))
    refuse_published([whole])
    other = as_planet_cr(make_ledger("other", scenes=2, segmenters=(SEGMENTER,)), **facts)
    ways: list[Callable[[list[Ledger]], object]] = [
        refuse_published,
        lambda runs: table2_tables(runs, OFFICIAL, published=True),
        lambda runs: table3_tables(runs, OFFICIAL, published=True),
        lambda runs: RunTables(runs, published=True),
        lambda runs: write_comparison(tmp_path, runs, published=True),
    ]
    for way in ways:
        with pytest.raises(LedgerError, match=f"other.*: .*{reason}.*leave out --published"):
            way([whole, other])
    assert not list(tmp_path.iterdir())


def test_published_rows_say_what_their_networks_saw() -> None:
    for table in (published_table2(), published_table3()):
        seen = dict(zip(table["row"], table["input_window"], strict=True))
        assert seen["Align-CR (published)"] == seen["GLF-CR (published)"] == "160"
        assert seen["DSen2-CR (published)"] == "unknown"
    assert pd.isna(seen["Cloud-Free (published)"])


# --- Incomplete runs ------------------------------------------------------------------------


def tables_of(runs: list[Ledger]) -> list[Table]:
    """Every table that is made of runs, in both protocols."""
    analysis = ErrorAnalysis(runs, widest_protocol(runs))
    tables = [table for section in _SECTIONS for table in section.tables(analysis)]
    for protocol in PROTOCOLS.values():
        tables += table2_tables(runs, protocol)
        tables += [table(runs, protocol) for table in (region_table, cover_table, pool_table)]
        tables += table3_tables(runs, protocol, details=True)
        tables += statistic_tables(runs, protocol, metric_comparisons(runs, protocol))
    return tables


def rows_of(tables: list[Table]) -> list[str]:
    """First cells of all rows."""
    return [str(row[0]) for table in tables for row in table.rows]


def test_every_row_of_an_incomplete_run_says_of_how_many_scenes_it_is() -> None:
    part = make_ledger(
        "part", scenes=6, expected_scenes=10, complete=False, segmenters=(SEGMENTER,)
    )
    whole = make_ledger("whole", scenes=10, segmenters=(SEGMENTER,))
    names = rows_of(tables_of([part, whole]))
    of_part = [name for name in names if "part" in name]
    assert len(of_part) > 30
    assert all("part (6 of 10 scenes)" in name for name in of_part)
    assert not any("scenes)" in name for name in names if "part" not in name)


def test_without_a_complete_run_the_dataset_s_own_rows_say_it_too() -> None:
    part = make_ledger(
        "part", scenes=6, expected_scenes=10, complete=False, segmenters=(SEGMENTER,)
    )
    names = rows_of(tables_of([part]))
    assert {"Cloudy (input) (6 of 10 scenes)", "Cloud-Free (6 of 10 scenes)"} <= set(names)
    assert all("(6 of 10 scenes)" in name for name in names)
    assert all("(6 of 10 scenes)" in name for name, *_ in segmented_runs([part]))


@_no_pictures
def test_files_carry_the_coverage_of_an_incomplete_run(tmp_path: Path) -> None:
    part = make_ledger(
        "part", scenes=6, expected_scenes=10, complete=False, segmenters=(SEGMENTER,)
    )
    whole = make_ledger("whole", scenes=10, segmenters=(SEGMENTER,))
    write_comparison(tmp_path, [whole, part])
    for name in ("tables/table2", "tables/table3"):
        rows = {row["row"] for row in json.loads((tmp_path / f"{name}.json").read_text())}
        assert rows == set(pd.read_csv(tmp_path / f"{name}.csv")["row"])
        assert not [row for row in rows if "part" in row and "(6 of 10 scenes)" not in row]
        assert "part (6 of 10 scenes)" in (tmp_path / f"{name}.tex").read_text()
    for row in json.loads((tmp_path / "tables/statistics.json").read_text()):
        assert row["coverage"] == ("6" if row["run"] == "part" else "10") + " of 10 scenes"
    assert summary(part)["expected_scenes"] == 10


# --- What the network saw -------------------------------------------------------------------


def test_runs_of_several_inputs_are_marked_and_of_one_are_not() -> None:
    runs = [make_ledger(name, input_window=crop) for name, crop in
            (("align_cr", "160"), ("mcgan", "whole"), ("old", "unknown"))]  # fmt: skip
    names = [run.name for run in marked(runs)]
    assert names == ["old (input unknown)", "mcgan (input whole)", "align_cr (input 160)"]
    assert [run.name for run in in_paper_order(marked(marked(runs)))] == names
    assert [run.name for run in marked([runs[0], make_ledger("b", input_window="160")])] == [
        "b", "align_cr",
    ]  # fmt: skip
    assert [run.name for run in marked(runs[:1], always=True)] == ["align_cr (input 160)"]
    assert [run.name for run in marked([make_ledger("a"), runs[2]])] == ["a", "old"]


def test_every_table_says_what_the_networks_saw() -> None:
    same_window = [
        make_ledger(name, scenes=6, seed=seed, segmenters=(SEGMENTER,), input_window="160")
        for seed, name in enumerate("ac")
    ]
    for table in tables_of(same_window):
        assert any(note.startswith("Input window: 160 (") for note in table.notes), table.title
    two_windows = [same_window[0], make_ledger("b", scenes=6, segmenters=(SEGMENTER,), seed=1)]
    for table in table2_tables(two_windows, OFFICIAL) + table3_tables(
        two_windows, OFFICIAL, details=True
    ):
        (note,) = [note for note in table.notes if note.startswith("Input windows differ")]
        assert "160 × 160 alone): a; unknown (" in note
    (marked_note,) = {table.notes[-1] for table in table2_tables(marked(two_windows), OFFICIAL)}
    assert "160 × 160 alone); unknown (" in marked_note


@_no_pictures
def test_no_file_of_a_comparison_mixes_inputs_unmarked(tmp_path: Path) -> None:
    runs = [
        make_ledger(name, scenes=6, segmenters=(SEGMENTER,), seed=seed, input_window=crop)
        for seed, (name, crop) in enumerate((("net", "160"), ("fill", "whole")))
    ]
    write_comparison(tmp_path, runs, full=True)
    names = {"net": "net (input 160)", "fill": "fill (input whole)"}
    for file in ("tables/table2.tex", "tables/table3.tex", "report.md"):
        for line in (tmp_path / file).read_text().splitlines():
            for name, shown in names.items():
                if line.startswith((f"| {name}", f"{name} ")):
                    assert shown in line, (file, line)
        assert all(shown in (tmp_path / file).read_text() for shown in names.values())
    for file in ("tables/table2.json", "tables/table3.json", "tables/statistics.json"):
        for row in json.loads((tmp_path / file).read_text()):
            name = str(row.get("row") or row["run"])
            tag = {"net": "160", "fill": "whole"}.get(name.split(" ")[0])
            assert row["input_window"] == tag, (file, row)
    heads = json.loads((tmp_path / "tables/error_analysis.json").read_text())
    assert heads[0]["input_window"] == {"net (input 160)": "160", "fill (input whole)": "whole"}


def test_a_report_and_scores_say_what_the_network_saw() -> None:
    ledger = make_ledger(input_window="160", protocols=("official",))
    run = {
        **ledger.provenance, "predictions": "p", "command": "c", "started": "s", "seconds": 1.0,
        "device": "cpu",
    }  # fmt: skip
    text = report(ledger, run, pictures=False)
    assert "| Input window | 160 (the network saw the centre 160 × 160 alone) |" in text
    assert summary(ledger)["input_window"] == "160"
    assert summary(make_ledger())["input_window"] == "unknown"


def test_a_comparison_can_be_of_one_protocol() -> None:
    both = make_ledger()
    assert set(of_protocol(both, "full").frame["protocol"]) == {"full"}
    assert list(of_protocol(both, "full").provenance["protocols"]) == ["full"]
    with pytest.raises(LedgerError, match="expected protocol full, it was measured in official"):
        of_protocol(make_ledger(protocols=("official",)), "full")


def centres(preds: Path, folder: Path) -> Path:
    """The centre of each prediction, as anybody may cut it out."""
    folder.mkdir()
    for path in preds.glob("*.tif"):
        with rasterio.open(path) as source:
            np.save(folder / f"{path.stem}.npy", source.read()[:, 70:230, 70:230])
    return folder


@pytest.mark.parametrize(
    ("card", "tag"),
    [("", "unknown"), ('window = "whole"', "whole"), ('window = "official"', "160")],
)
def test_a_ledger_carries_what_the_card_says_and_never_guesses_by_size(
    card: str, tag: str, preds: Path, data: Path, tmp_path: Path
) -> None:
    folder = centres(preds, tmp_path / "centres")
    (folder / "predictions.toml").write_text(card)
    _, out, _ = evaluate(
        folder, tmp_path / "results", data=data, workers=0, tables=False, quiet=True
    )
    assert read_ledger(out).provenance["input_window"] == tag
    assert json.loads((out / "run.json").read_text())["input_window"] == tag


def test_a_contradictory_card_is_refused(preds: Path, data: Path, tmp_path: Path) -> None:
    card = preds / "predictions.toml"
    assert read_card(preds).window == "whole"  # predict always says it
    text = card.read_text()
    for value in ("full", "160", ""):
        card.write_text(text.replace('window = "whole"', f'window = "{value}"'))
        with pytest.raises(PredictionError, match="window: expected 'whole' or 'official', got "):
            read_card(preds)
    card.write_text(text.replace('window = "whole"', 'window = "official"'))
    with pytest.raises(PredictionError, match="expected files of 160 × 160 pixels"):
        evaluate(preds, tmp_path / "r", data=data, workers=0, quiet=True)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, None),  # ledgers of earlier versions
        ({"input_window": "whole"}, None),
        ({"input_window": "unknown"}, None),
        ({"input_window": "160"}, "expected input_window whole behind protocol full, got 160"),
        ({"input_window": "official"}, "input_window: expected '160', 'whole' or 'unknown', got "),
        ({"input_window": None}, "input_window: expected '160', 'whole' or 'unknown', got none"),
    ],
)
def test_a_submitted_ledger_may_state_any_consistent_input_window(
    facts: dict[str, object], reason: str | None
) -> None:
    honest = make_ledger(simulation=None, optical_thickness=False, track="mine").provenance
    lines = record_errors({**honest, **facts}, SentRecord)
    assert len(lines) == (reason is not None)
    assert all(line.startswith(str(reason)) for line in lines)


# --- Datasets without a name ----------------------------------------------------------------


def test_predictions_of_a_dataset_without_a_name_are_scored_apart_and_not_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_dataset(tmp_path / "data", test=1, track=None)
    preds = tmp_path / "preds"
    preds.mkdir()
    scene = next(data.rglob("planet_cloudy_*.tif"))
    (preds / scene.name.removeprefix("planet_cloudy_")).write_bytes(scene.read_bytes())
    options = {"data": data, "workers": 0, "quiet": True}
    ledger, *_ = evaluate(preds, tmp_path / "results", tables=False, **options)
    assert ledger.provenance["track"] == "unnamed"
    assert record_errors({**ledger.provenance, "track": "unnamed"}, SentRecord)[0].startswith(
        "track: expected"
    )
    assert record_errors({**ledger.provenance, "split": "val", "track": "unnamed-val"}, SentRecord)
    monkeypatch.setattr(
        "planetcr_bench.submission.pack.evaluate", None
    )  # nothing is measured first
    with pytest.raises(SubmissionError, match=r'has a name, got none; write track = "name" into'):
        pack(preds, ENTRY_CARD, tmp_path / "entry", **options)
    (data / "dataset.toml").write_text('track = "planet-cr"')
    with pytest.raises(TypeError):  # it goes on to measure
        pack(preds, ENTRY_CARD, tmp_path / "entry", **options)
