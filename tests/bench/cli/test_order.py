"""Test that no number depends on the order of rows or dictionaries of a ledger."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal
from sklearn.metrics import accuracy_score, jaccard_score, recall_score

from ledgers import make_ledger
from paths import RUNS
from planetcr_bench.analysis.segmentation import class_scores, segmentation_scores, transitions
from planetcr_bench.analysis.segmentation_tables import class_table, table3
from planetcr_bench.constants import COVER_BINS, LAND_COVER, THICKNESS
from planetcr_bench.leaderboard.entries import Entry
from planetcr_bench.leaderboard.page import write_board
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.report.report import report, write_comparison
from planetcr_bench.report.scores import summary
from planetcr_bench.results.ledger import Ledger, in_order, read_ledger, write_ledger
from planetcr_bench.results.schema import IDENTITY, ROW_ORDER, cover_bins, schema_of
from planetcr_bench.submission.entry import read_sent_ledger

OFFICIAL = PROTOCOLS["official"]
ONE, TWO = "aaaaaaaa", "bbbbbbbb"


def shuffled(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The same rows in another order; texts have categories in any order, with unused ones."""
    mixed = frame.take(rng.permutation(len(frame))).reset_index(drop=True)
    for name in IDENTITY:
        if isinstance(mixed[name].dtype, pd.CategoricalDtype):
            unused = ROW_ORDER.get(name, ("unused", "0"))
            names = list(dict.fromkeys([*map(str, mixed[name].cat.categories), *unused]))
            order = rng.permutation(len(names))
            mixed[name] = pd.Categorical(mixed[name].astype(str), [names[at] for at in order])
    return mixed


def write_shuffled(ledger: Ledger, path: Path, seed: int) -> Path:
    """Write a ledger in parts, rows and the dictionaries of each part in any order."""
    rng = np.random.default_rng(seed)
    frame = shuffled(ledger.frame, rng)
    schema = schema_of(ledger.segmenters, floor=ledger.has_floor, further=ledger.has_further)
    middle = len(frame) // 2
    halves = [
        pa.Table.from_pandas(shuffled(half, rng), schema, preserve_index=False)
        for half in (frame.iloc[:middle], frame.iloc[middle:])
    ]
    write_ledger(path, pa.concat_tables(halves), ledger.provenance)
    return path


# --- Tab. 3 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", ["in order", "by name alone"])
def test_tab_3_stays_when_classes_appear_in_another_order(
    kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of the confusion matrix were permuted, and another mIoU was printed."""
    run = read_ledger(RUNS / "align_cr-small")
    segmenter, full = run.segmenters[0], PROTOCOLS["full"]
    frame, provenance = run.frame, run.provenance
    assert set(frame["land_cover"].unique()) == set(LAND_COVER)  # in this case it did so
    table = segmentation_scores(run, segmenter, full, "prediction")
    assert round(table.loc["overall", "miou"], 1) == 29.3
    classes = class_scores(run, segmenter, full, "prediction")
    matrix = transitions(run, segmenter, full)
    if kept == "by name alone":
        monkeypatch.setattr("planetcr_bench.results.ledger.in_order", lambda frame: frame)
    for scene in ("fall", "summer", "winter"):  # first ones, so that others' classes come first
        first = frame["scene"].astype(str).str.startswith(scene)
        rows = pd.concat([frame[first].iloc[::-1], frame[~first]], ignore_index=True)
        names = rows["land_cover"].astype(str)
        other = Ledger(rows.assign(land_cover=pd.Categorical(names, names.unique())), provenance)
        assert_frame_equal(segmentation_scores(other, segmenter, full, "prediction"), table)
        assert_frame_equal(class_scores(other, segmenter, full, "prediction"), classes)
        assert (transitions(other, segmenter, full) == matrix).all()


def counted(ledger: Ledger, segmenter: str, image: str) -> pd.DataFrame:
    """Pixels of known land by scene's bin, true class, class in clear and class in an image."""
    rows = ledger.frame[ledger.frame["protocol"] == "official"]
    rows = rows.assign(
        cover_bin=cover_bins(rows).astype(str), true_class=rows["land_cover"].astype(str)
    )
    names = [name for name in rows if name.startswith(f"segmenter_{segmenter}_{image}_")]
    sums = rows.groupby(["cover_bin", "true_class"])[names].sum().reset_index()
    long = sums.melt(["cover_bin", "true_class"], names, "cell", "pixels")
    long[["before", "after"]] = long["cell"].str.rsplit("_", n=2, expand=True)[[1, 2]]
    keys = ["cover_bin", "true_class", "before", "after"]
    return long[long["true_class"] != "unknown"].groupby(keys, as_index=False)["pixels"].sum()


@pytest.mark.parametrize("name", sorted(path.name for path in RUNS.iterdir()))
def test_tab_3_of_real_runs_is_that_of_scikit_learn_from_shuffled_ledgers(
    name: str, tmp_path: Path
) -> None:
    run = read_ledger(RUNS / name)
    (tmp_path / "a").mkdir()
    mixed = read_ledger(write_shuffled(run, tmp_path / "a" / "ledger.parquet", seed=len(name)))
    seen = {"clear": ("prediction", "before"), "cloudy": ("cloudy", "after")}
    for segmenter in run.segmenters:
        for image in ("clear", "cloudy", "prediction"):
            source, column = seen.get(image, ("prediction", "after"))
            cells = counted(run, segmenter, source)
            ours = segmentation_scores(mixed, segmenter, OFFICIAL, image)
            for cover in (*(COVER_BINS if image == "prediction" else ()), "overall"):
                part = cells if cover == "overall" else cells[cells["cover_bin"] == cover]
                part = part[part["pixels"] > 0]
                weights = {"sample_weight": part["pixels"]}
                present = sorted(set(part["true_class"]))
                both = part["true_class"], part[column]
                miou = jaccard_score(*both, labels=present, average="macro", **weights)
                row = ours.loc[cover, ["miou", "pa"]].to_numpy(float)
                assert_allclose(row, [100 * miou, 100 * accuracy_score(*both, **weights)], 1e-12)
        weights = {"sample_weight": cells["pixels"], "labels": list(LAND_COVER), "average": None}
        table = class_scores(mixed, segmenter, OFFICIAL, "prediction")
        for column, score in (("iou", jaccard_score), ("recall", recall_score)):
            expected = 100 * score(cells["true_class"], cells["after"], zero_division=0, **weights)
            assert_allclose(table[column], expected, 1e-12)


# --- All outputs ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs() -> list[Ledger]:
    """A run and a part of another, with two segmenters and clouds of known thickness."""
    made = [
        make_ledger("a", scenes=12, segmenters=(ONE, TWO), floor=True),
        make_ledger(
            "b", scenes=5, segmenters=(ONE, TWO), seed=2, complete=False, expected_scenes=12
        ),
    ]
    bin_names = [name for name in THICKNESS if name != "unknown"]
    facts = {"simulation": None, "optical_thickness": True, "method": None}
    runs = []
    for run in made:
        bins = [bin_names[at % len(bin_names)] for at in range(len(run.frame))]
        frame = run.frame.assign(thickness=pd.Categorical(bins))
        aois = frame["aoi"].astype(str).str.replace("_", "_1")  # with one digit and with two
        frame["aoi"] = pd.Categorical(aois.where(aois != "summer_13", "summer_9"))
        runs.append(Ledger(frame, {**run.provenance, **facts}))
    return runs


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_same_rows_make_the_same_ledger(runs: list[Ledger], seed: int) -> None:
    for run in runs:
        mixed = shuffled(run.frame, np.random.default_rng(seed))
        assert_frame_equal(Ledger(mixed, run.provenance).frame, run.frame)


def test_rows_in_order_are_left_as_they_are() -> None:
    """What measuring writes is in order, so that no committed ledger and no figure moves."""
    for folder in RUNS.iterdir():
        frame = read_ledger(folder).frame
        assert in_order(frame) is frame
    frame = make_ledger(scenes=12).frame
    assert in_order(frame) is frame


def test_scenes_are_sorted_by_the_value_of_their_numbers() -> None:
    frame = make_ledger(scenes=12).frame
    part = frame.iloc[::-1]
    names = in_order(part)["scene"].cat.categories.tolist()
    assert names == [f"summer_{index // 3}_p_{index}" for index in range(12)]
    odd = pd.DataFrame(
        {"scene": pd.Categorical(["a_10", f"a_{'9' * 5000}", "a_09", "b1", "a_9", "b"])}
    )
    ordered = in_order(odd)["scene"].astype(str).tolist()
    assert ordered == ["a_09", "a_9", "a_10", f"a_{'9' * 5000}", "b", "b1"]


RUN = {
    "predictions": "p", "command": "evaluate p", "started": "now", "seconds": 1.0, "device": "cpu",
}  # fmt: skip


def outputs(runs: Sequence[Ledger], folder: Path) -> dict[str, bytes]:
    """Everything that is made of runs: reports, scores, comparison, board."""
    (folder / "comparison").mkdir(parents=True)
    write_comparison(folder / "comparison", runs, full=True)
    entries = [Entry(run.name, run, {**run.provenance, **RUN}, None, "claimed") for run in runs]
    write_board(folder / "board", entries)
    (folder / "a.md").write_text(report(runs[0], {**runs[0].provenance, **RUN}))
    (folder / "a.json").write_text(json.dumps([summary(run) for run in runs]))
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def differing(runs: Sequence[Ledger], folder: Path) -> tuple[set[str], list[str]]:
    """All files that are made of runs, and those that differ when rows come in another order."""
    expected = outputs(runs, folder / "given")
    mixed = [
        read_ledger(write_shuffled(run, folder / f"{run.name}.parquet", seed))
        for seed, run in enumerate(runs)
    ]
    actual = outputs(mixed, folder / "mixed")
    assert expected.keys() == actual.keys()
    return set(expected), [name for name in expected if expected[name] != actual[name]]


@pytest.mark.usefixtures("nothing_is_drawn")
def test_no_byte_of_a_table_page_or_json_depends_on_the_order_of_rows_or_dictionaries(
    runs: list[Ledger], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planetcr_bench.report.error_analysis._picture", lambda *_: [])
    made, other = differing(runs, tmp_path)
    assert {
        "comparison/tables/table2.csv", "comparison/tables/table3.csv",
        "comparison/tables/statistics.csv", "comparison/tables/error_analysis.json",
        "comparison/report.html", "comparison/report.md", "a.md", "a.json",
        "board/index.html", "board/leaderboard.json", "board/leaderboard.md",
    } < made  # fmt: skip
    assert other == []


@pytest.mark.slow
def test_no_line_of_a_figure_depends_on_the_order_of_rows_or_dictionaries(
    runs: list[Ledger], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Figure.savefig
    monkeypatch.setattr(  # PNG takes longer than all else
        Figure, "savefig", lambda *at, **how: how["format"] == "svg" and save(*at, **how)
    )
    made, other = differing(runs, tmp_path)
    stems = (
        *("fig5", "fig6", "transitions"),
        *("regions", "triangle", "class_cover", "thickness", "aois"),
    )
    assert {f"comparison/figures/{stem}.svg" for stem in stems} < made
    assert other == []


def test_segmenters_have_one_order_whatever_the_record_says() -> None:
    run = make_ledger(segmenters=(ONE, TWO), scenes=3)
    segmenters = dict(reversed(run.provenance["segmenters"].items()))
    other = replace(run, provenance={**run.provenance, "segmenters": segmenters})
    assert other.segmenters == run.segmenters == (ONE, TWO)
    for table in (table3, class_table):
        assert_frame_equal(table([other], OFFICIAL), table([run], OFFICIAL))


def test_a_sent_ledger_is_put_in_order_too(tmp_path: Path) -> None:
    run = read_ledger(RUNS / "mean-fill")
    path = write_shuffled(run, tmp_path / "ledger.parquet", 3)
    assert_frame_equal(read_sent_ledger(path).frame, run.frame)
    assert json.loads(json.dumps(run.provenance))  # plain
