"""The noise floor of the official SAM: measured with every scene, kept, printed, and not forged."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pandas.testing import assert_frame_equal

from ledgers import make_ledger, make_scene_sums
from paths import RUNS
from planetcr_bench.constants import LAND_COVER, OPTICAL_BANDS
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.errors import LedgerError, SubmissionError
from planetcr_bench.evaluation.loading import Job, ScenePixels, read_pixels
from planetcr_bench.evaluation.runner import ResumeStore, measure_scene
from planetcr_bench.metrics import kernels
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import FLOOR_SUMS
from planetcr_bench.predictions.card import Card
from planetcr_bench.report.report import write_tables
from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.report.scores import summary, table2_tables
from planetcr_bench.results.aggregate import floor_groups, floor_row, psnr_scene_mean, table2
from planetcr_bench.results.ledger import Ledger, ledger_table, read_ledger, write_ledger
from planetcr_bench.results.rules import check_rows
from planetcr_bench.results.schema import COLUMNS, schema_of
from planetcr_bench.submission.comparison import differences
from planetcr_bench.submission.entry import read_sent_ledger
from planetcr_bench.submission.pack import write_checked_ledger
from planetcr_bench.submission.plausibility import ledger_errors
from scenes import write_dataset

OFFICIAL, FULL = PROTOCOLS["official"], PROTOCOLS["full"]


def dark_scene(seed: int = 0) -> ScenePixels:
    """A scene whose squared norms lie on both sides of the floor, some of them 0."""
    rng = np.random.default_rng(seed)
    clear = (rng.random((4, 300, 300)) ** 3 * 0.05).astype(np.float32)
    clear[:, 140:150] = 0
    images = np.stack([clear, clear])
    return ScenePixels(
        {"scene": "fall_1_p_1"}, images, clear, rng.integers(0, 21, (300, 300), np.uint8)
    )


# --- Measuring ------------------------------------------------------------------------------------


def test_it_is_what_the_official_sam_gives_for_equal_images() -> None:
    scene = dark_scene()
    angle, floored = kernels.measure_floor(scene.clear, scene.group, OFFICIAL).T
    sums = kernels.measure(scene.images, scene.clear, scene.group, OFFICIAL, OPTICAL_BANDS)
    assert_allclose(angle, sums[:, 4], rtol=1e-9, atol=1e-9)
    norm = np.square(scene.clear[:, 70:230, 70:230].astype(float)).sum(0)
    group = scene.group[70:230, 70:230]
    assert 0.1 < (norm < 2**-10).mean() < 0.9
    for index in range(21):
        assert floored[index] == ((norm < 2**-10) & (group == index)).sum()
    black = replace(scene, clear=np.zeros_like(scene.clear))
    angle, floored = kernels.measure_floor(black.clear, black.group, OFFICIAL).T
    assert_allclose(angle, 90 * floored)
    assert floored.sum() == 160**2


def test_a_protocol_without_a_floor_has_none() -> None:
    scene = dark_scene()
    assert not kernels.measure_floor(scene.clear, scene.group, FULL).any()


def test_it_is_measured_with_every_scene() -> None:
    scene = dark_scene()
    measured = measure_scene(scene, list(PROTOCOLS.values()))
    for name, protocol in PROTOCOLS.items():
        floor = kernels.measure_floor(scene.clear, scene.group, protocol)
        assert_array_equal(measured.floor[name], floor)


# --- The ledger -----------------------------------------------------------------------------------


def test_a_ledger_with_it_survives_the_disk_and_one_without_stays_valid(tmp_path: Path) -> None:
    ledger = make_ledger(floor=True, segmenters=("aaaaaaaa",))
    sums = [make_scene_sums(index, floor=True, segmenters=1) for index in range(10)]
    table = ledger_table(sums, ["aaaaaaaa"])
    assert table.column_names[: len(COLUMNS) + 2] == [*COLUMNS, *FLOOR_SUMS]
    write_ledger(tmp_path / "a.parquet", table, ledger.provenance)
    again = read_ledger(tmp_path / "a.parquet")
    assert again.has_floor
    assert_frame_equal(again.frame, ledger.frame)
    write_checked_ledger(tmp_path / "b.parquet", again)  # as an entry keeps it
    assert_frame_equal(read_ledger(tmp_path / "b.parquet").frame, ledger.frame)
    write_ledger(tmp_path / "old.parquet", table.drop_columns(list(FLOOR_SUMS)), ledger.provenance)
    assert not read_ledger(tmp_path / "old.parquet").has_floor
    half = table.drop_columns(["floored_pixels"])
    write_ledger(tmp_path / "c.parquet", half, ledger.provenance)
    with pytest.raises(LedgerError, match="expected the columns"):
        read_ledger(tmp_path / "c.parquet")


def test_scenes_are_measured_again_that_an_earlier_version_measured_without_it(
    tmp_path: Path,
) -> None:
    scene = find_scenes(write_dataset(tmp_path / "data", test=1, train=0), "test")[0]
    job = Job(scene, scene.path("cloudy"))
    parts = ResumeStore(tmp_path / "parts", {})
    parts.add(measure_scene(read_pixels(job, Card()), list(PROTOCOLS.values())), job.state())
    assert set(FLOOR_SUMS) < set(parts.finish([scene.name]).column_names)
    (part,) = (tmp_path / "parts").glob("part-*.parquet")
    pq.write_table(pq.read_table(part).drop_columns(list(FLOOR_SUMS)), part)
    again = ResumeStore(tmp_path / "parts", {})
    assert again.load({scene.name: job.state()}) == set()
    assert again.finish([scene.name]).num_rows == 0


IMPOSSIBLE = {
    "an angle without a pixel": {"floored_pixels": 0},
    "a pixel without an angle": {"self_angle_deg": 0.0},
    "an angle above 90°": {"self_angle_deg": 1e9},
    "no number": {"self_angle_deg": float("nan")},
    "a negative angle": {"self_angle_deg": -1.0},
    "more than all pixels": {"floored_pixels": 10**9},
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_an_impossible_noise_floor_is_refused(what: str) -> None:
    frame = make_ledger(floor=True, scenes=1).frame
    with pytest.raises(LedgerError, match="a noise floor of 0 to 90°"):
        check_rows(frame.assign(**IMPOSSIBLE[what]), "x")
    check_rows(frame, "x")


def test_a_floor_in_a_protocol_that_has_none_is_refused() -> None:
    frame = make_ledger(floor=True, scenes=1).frame
    official = frame["protocol"] == "official"
    moved = frame.assign(
        self_angle_deg=frame["self_angle_deg"].where(official, 10.0),
        floored_pixels=frame["floored_pixels"].where(official, 1),
    )
    with pytest.raises(LedgerError, match="a noise floor of 0 to 90°"):
        check_rows(moved, "x")


def sent(tmp_path: Path, **changes: object) -> Path:
    """A real ledger with a floor, as a stranger sends it."""
    ledger = read_ledger(RUNS / "mean-fill")
    official = ledger.frame["protocol"] == "official"
    floored = (ledger.frame["pixels"] // 10).where(official, 0)
    frame = ledger.frame.assign(self_angle_deg=15.0 * floored, floored_pixels=floored)
    frame = frame.assign(**changes)
    names = schema_of(ledger.segmenters, floor=True)
    columns = [field for field in names if field.name in frame and changes.get(field.name, 0) != ()]
    path = tmp_path / "ledger.parquet"
    table = pa.Table.from_pandas(frame, pa.schema(columns), preserve_index=False)
    write_ledger(path, table, ledger.provenance)
    return path


def test_a_sent_ledger_may_have_it_or_not(tmp_path: Path) -> None:
    new = read_sent_ledger(sent(tmp_path))
    assert new.has_floor
    old = Ledger(new.frame.drop(columns=list(FLOOR_SUMS)), new.provenance)
    assert differences(new, old, whole=True) == differences(old, new, whole=True) == []


def test_two_floors_are_compared_in_the_columns_that_rounding_leaves(tmp_path: Path) -> None:
    known = read_sent_ledger(sent(tmp_path))
    rounded = replace(known, provenance={**known.provenance, "fingerprint": "0" * 64})
    for column, machine in (("self_angle_deg", known), ("floored_pixels", rounded)):
        frame = known.frame.assign(**{column: 2 * known.frame[column]})
        (line,) = differences(Ledger(frame, machine.provenance), known, whole=False)
        assert line.startswith(f"{column}: ")
    frame = known.frame.assign(self_angle_deg=2 * known.frame["self_angle_deg"])
    assert differences(Ledger(frame, rounded.provenance), known, whole=False) == []


def test_a_sent_ledger_with_half_of_it_or_nonsense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError) as refused:
        read_sent_ledger(sent(tmp_path, self_angle_deg=1.0))
    assert any("a noise floor of 0 to 90°" in line for line in refused.value.problems)
    table = pq.read_table(sent(tmp_path)).drop_columns(["self_angle_deg"])
    pq.write_table(table, tmp_path / "half.parquet")
    with pytest.raises(SubmissionError) as refused:
        read_sent_ledger(tmp_path / "half.parquet")
    assert any(
        "self_angle_deg: expected this column" in problem for problem in refused.value.problems
    )


def test_perfect_pixels_have_the_angle_of_the_clear_image() -> None:
    ledger = make_ledger(floor=True, scenes=1, optical_thickness=False)
    zero = dict.fromkeys(("cloudy_clear", "input_squared_error"), 0.0)
    same = {"prediction_cloudy": ledger.frame["absolute_error"]}
    frame = ledger.frame.assign(**zero, **same)
    right = Ledger(frame.assign(input_angle_deg=frame["self_angle_deg"]), ledger.provenance)
    rule = "input_angle_deg to be self_angle_deg where cloudy_clear is 0"
    assert not any(rule in fault for fault in ledger_errors(right))
    wrong = Ledger(frame.assign(input_angle_deg=1.0), ledger.provenance)
    assert any(rule in fault for fault in ledger_errors(wrong))


# --- Tables ---------------------------------------------------------------------------------------


def test_it_is_pooled_as_sam_is_and_the_share_is_of_all_pixels() -> None:
    frame = make_ledger(floor=True).frame
    rows = frame[frame["protocol"] == "official"]
    water = rows[rows["land_cover"] == "water"]
    water_floor = floor_groups(frame, OFFICIAL, ["land_cover"]).loc["water"]
    sums = water.groupby("scene", observed=True)[[*FLOOR_SUMS, "pixels"]].sum()
    assert_allclose(water_floor["sam_deg"], (sums["self_angle_deg"] / sums["pixels"]).mean())
    assert_allclose(water_floor["under_floor"], sums["floored_pixels"].sum() / sums["pixels"].sum())
    pooled = floor_groups(frame, OFFICIAL, ["land_cover"], pool="pixels").loc["water"]
    assert_allclose(pooled["sam_deg"], sums["self_angle_deg"].sum() / sums["pixels"].sum())
    assert pooled["under_floor"] == water_floor["under_floor"]


def test_tab_2_prints_it_per_class_where_it_was_measured(tmp_path: Path) -> None:
    old, new = make_ledger("old", scenes=4), make_ledger("new", scenes=4, floor=True)
    assert [len(table2_tables([old], protocol)) for protocol in (OFFICIAL, FULL)] == [3, 3]
    assert [len(table2_tables([old, new], protocol)) for protocol in (OFFICIAL, FULL)] == [4, 3]
    table = table2_tables([new], OFFICIAL)[2]
    angles, shares = table.rows
    assert angles[0] == "Cloud-Free against itself [°]"
    assert len(angles) == len(shares) == len(table.header) == 2 + len(LAND_COVER)
    row = floor_row([new], OFFICIAL)
    assert angles[6] == f"{row['sam_deg_water']:.4f}"
    assert shares[6] == f"{100 * row['under_floor_water']:.2f}"
    assert "sam_deg|window:centre160|pool:pixels" in table2_tables([new], OFFICIAL, pool="pixels")[
        2
    ].notes[0]  # fmt: skip
    write_tables(tmp_path, RunTables([new]))
    records = json.loads((tmp_path / "tables/table2.json").read_text())
    (found,) = [record for record in records if record["kind"] == "floor"]
    assert (found["row"], found["protocol"]) == ("Cloud-Free against itself", "official")
    assert found["sam_deg_water"] == row["sam_deg_water"]
    assert all(type(record["scenes"]) is int for record in records)
    assert "Cloud-Free against itself" in (tmp_path / "tables/table2.tex").read_text()


def test_an_incomplete_run_says_of_how_many_scenes_it_is() -> None:
    part = make_ledger("part", scenes=3, complete=False, expected_scenes=9, floor=True)
    row = floor_row([part], OFFICIAL)
    assert row["row"] == "Cloud-Free against itself (3 of 9 scenes)"
    (table,) = (
        candidate for candidate in table2_tables([part], OFFICIAL) if "floor" in candidate.title
    )
    assert all("(3 of 9 scenes)" in line[0] for line in table.rows)


def test_scores_hold_the_floor_or_null() -> None:
    new, old = (summary(make_ledger(floor=floor))["protocols"] for floor in (True, False))
    assert old["official"]["sam_floor"] is None
    floor_scores = new["official"]["sam_floor"]
    assert list(floor_scores) == ["overall", "by_class"]
    assert list(floor_scores["by_class"]) == list(LAND_COVER)
    assert list(floor_scores["overall"]) == ["sam_deg", "under_floor"]
    assert "sam_floor" not in new["full"]


# --- PSNR as a mean over scenes -------------------------------------------------------------------


def with_errors(squared: dict[str, float], name: str = "a") -> Ledger:
    """A run whose mean squared error in each scene is given."""
    ledger = make_ledger(name, scenes=len(squared))
    frame = ledger.frame
    error = frame["scene"].astype(str).map(squared)
    return Ledger(frame.assign(squared_error=error * frame["values"]), ledger.provenance)


SCENES = [f"summer_0_p_{index}" for index in range(3)]


def test_the_mean_over_scenes_may_rank_differently_than_the_pool() -> None:
    steady = with_errors(dict.fromkeys(SCENES, 1e-2))
    moody = with_errors(dict(zip(SCENES, (1e-4, 1e-4, 1e-1), strict=True)), "b")
    scores = table2([steady, moody], FULL).set_index("row")
    assert_allclose(scores.at["a", "psnr_scene_mean"], 20)
    assert_allclose(scores.at["b", "psnr_scene_mean"], (40 + 40 + 10) / 3)
    assert scores.at["b", "psnr"] < scores.at["a", "psnr"]
    gain = scores.loc["b: gain", "psnr_scene_mean"]
    assert_allclose(gain, 30 - scores.at["Cloudy (input)", "psnr_scene_mean"])
    table = table2_tables([steady, moody], FULL)[0]
    assert table.header[-1] == "PSNR, scene mean ↑ [dB]"
    assert [row[-1] for row in table.rows if row[0] in "ab"] == ["20.0000", "30.0000"]
    assert "scene mean: psnr|window:patch|pool:scene-mean|range:1|perfect:inf|v1" in table.notes
    assert table.notes[-1] != table.notes[0]
    assert summary(moody)["protocols"]["full"]["overall"]["psnr_scene_mean"] == pytest.approx(30)
    assert "psnr_scene_mean" not in table2([steady], OFFICIAL)


def test_per_class_it_is_the_mean_over_scenes_that_have_the_class() -> None:
    run = with_errors(dict(zip(SCENES, (1e-4, 1e-2, 1e-1), strict=True)))
    absent = (run.frame["land_cover"] == "urban") & (run.frame["scene"] == SCENES[2])
    part = Ledger(run.frame[~absent], run.provenance)
    assert_allclose(psnr_scene_mean(part.frame, FULL, ["land_cover"])["urban"], 30)
    (row,) = table2([part], FULL).query("kind == 'measured'").to_dict("records")
    assert_allclose(row["psnr_scene_mean_urban"], 30)
    assert_allclose(row["psnr_scene_mean_water"], (40 + 20 + 10) / 3)


def test_a_perfect_scene_makes_the_mean_infinite() -> None:
    run = with_errors(dict(zip(SCENES, (0.0, 1e-2, 1e-1), strict=True)))
    mean = partial(psnr_scene_mean, run.frame)
    assert mean(FULL)["all"] == np.inf
    assert_allclose(mean(OFFICIAL)["all"], (100 + 20 + 10) / 3)
    assert table2_tables([run], FULL)[0].rows[1][-1] == "∞"
    assert isinstance(mean(FULL, ["scene"]), pd.Series)
