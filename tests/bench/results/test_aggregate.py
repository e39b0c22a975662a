"""Test that tables are ratios of sums, pooled as their signature says."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ledgers import make_ledger
from planetcr_bench.constants import COVER_BINS, LAND_COVER
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.report.scores import summary, table2_tables
from planetcr_bench.results.aggregate import (
    check_comparable,
    cover_scores,
    in_paper_order,
    measured_protocols,
    overall_scores,
    region_scores,
    rounding_note,
    score_groups,
    table2,
)
from planetcr_bench.results.ledger import Ledger

OFFICIAL, FULL = PROTOCOLS["official"], PROTOCOLS["full"]


def rows_of(frame: pd.DataFrame, **values: str) -> pd.DataFrame:
    for name, value in values.items():
        frame = frame[frame[name] == value]
    return frame


def test_official_is_the_mean_over_scenes_of_each_scene_s_ratio() -> None:
    frame = make_ledger().frame
    rows = rows_of(frame, protocol="official")
    maes, psnrs = [], []
    for _, scene in rows.groupby("scene", observed=True):
        maes.append(scene["absolute_error"].sum() / scene["values"].sum())
        psnrs.append(-10 * np.log10(scene["squared_error"].sum() / scene["values"].sum()))
    overall = score_groups(frame, OFFICIAL).iloc[0]
    assert_allclose(overall["mae"], np.mean(maes), rtol=1e-12)
    assert_allclose(overall["psnr"], np.mean(psnrs), rtol=1e-12)


def test_full_is_one_ratio_of_all_sums() -> None:
    frame = make_ledger().frame
    rows = rows_of(frame, protocol="full")
    overall = score_groups(frame, FULL).iloc[0]
    assert_allclose(overall["sam_deg"], rows["angle_deg"].sum() / rows["angle_pixels"].sum())
    assert_allclose(overall["ssim"], rows["ssim"].sum() / rows["ssim_pixels"].sum())


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda protocol: protocol.name)
def test_class_figures_are_averaged_as_requested(protocol) -> None:
    frame = make_ledger().frame
    rows = rows_of(frame, protocol=protocol.name, land_cover="water")
    pixels = rows["absolute_error"].sum() / rows["values"].sum()
    scenes = rows.groupby("scene", observed=True)[["absolute_error", "values"]].sum()
    means = (scenes["absolute_error"] / scenes["values"]).mean()
    for pool, expected in (("pixels", pixels), ("scene-mean", means)):
        table = score_groups(frame, protocol, ["land_cover"], pool=pool)
        assert_allclose(table.at["water", "mae"], expected, rtol=1e-12)
    default = score_groups(frame, protocol, ["land_cover"]).at["water", "mae"]
    assert_allclose(default, means if protocol.name == "official" else pixels)


def test_scenes_without_a_class_do_not_count_in_its_mean() -> None:
    ledger = make_ledger()
    table = score_groups(ledger.frame, OFFICIAL, ["land_cover"])
    for land_cover in LAND_COVER:
        rows = rows_of(ledger.frame, protocol="official", land_cover=land_cover)
        assert table.at[land_cover, "scenes"] == rows["scene"].nunique()
        assert table.at[land_cover, "aois"] == rows["aoi"].nunique()


def test_table2_has_the_input_each_method_and_its_gain() -> None:
    table = table2([make_ledger("b"), make_ledger("a", seed=1)], OFFICIAL)
    assert table["row"].tolist() == ["Cloudy (input)", "b", "b: gain", "a", "a: gain"]
    before, after, gain = (table.iloc[index] for index in range(3))
    assert_allclose(gain["mae"], before["mae"] - after["mae"])
    assert_allclose(gain["psnr_forest"], after["psnr_forest"] - before["psnr_forest"])


def test_a_perfect_match_is_100_in_official_and_infinite_in_full() -> None:
    ledger = make_ledger()
    ledger.frame["squared_error"] = 0.0
    assert score_groups(ledger.frame, OFFICIAL).iloc[0]["psnr"] == 100
    assert score_groups(ledger.frame, FULL).iloc[0]["psnr"] == np.inf
    assert summary(ledger)["protocols"]["full"]["overall"]["psnr"] == "inf"


def test_an_absent_class_is_nan_and_not_zero() -> None:
    whole = make_ledger()
    ledger = Ledger(whole.frame[whole.frame["land_cover"] != "urban"], whole.provenance)
    table = table2([ledger], FULL)
    assert table["mae_urban"].isna().all()
    assert (table["scenes_urban"] == 0).all()
    urban = summary(ledger)["protocols"]["full"]["by_class"]["urban"]
    assert urban == {"mae": None, "sam_deg": None, "pixels": 0}


def test_bins_and_regions_keep_their_order_and_empty_ones() -> None:
    ledger = make_ledger(scenes=2)
    bins = cover_scores([ledger], OFFICIAL)
    measured = bins[bins["kind"] == "measured"]
    assert measured["cover_bin"].tolist() == list(COVER_BINS)
    assert measured["scenes"].tolist() == [1, 1, 0, 0, 0]
    assert measured["mae"].isna().tolist() == [False, False, True, True, True]
    assert region_scores([ledger], FULL)["region"].tolist() == ["cloud", "edge", "clear"] * 2


def test_the_overall_figures_are_available_in_both_averages() -> None:
    ledger = make_ledger()
    pixels, scenes = (
        overall_scores([ledger], FULL, pool).iloc[1] for pool in ("pixels", "scene-mean")
    )
    assert pixels["psnr"] < scenes["psnr"]


def test_summary_is_json_of_the_documented_form() -> None:
    result = json.loads(json.dumps(summary(make_ledger()), allow_nan=False))
    assert list(result) == [
        "name", "track", "complete", "input_window", "expected_scenes", "scenes", "aois",
        "protocols",
    ]  # fmt: skip
    assert (result["input_window"], result["expected_scenes"]) == ("unknown", 10)
    assert (result["scenes"], result["aois"]) == (10, 4)
    for name, scores in result["protocols"].items():
        parts = ["signature", "overall", "further", "by_class", "by_cover", "by_region"]
        assert [part for part in scores if part != "sam_floor"] == [*parts, "segmenters"]
        assert ("sam_floor" in scores) == (name == "official")
        assert scores["signature"] == PROTOCOLS[name].signature("all")
        mean = [] if name == "official" else ["psnr_scene_mean"]
        assert list(scores["overall"]) == ["mae", "psnr", "sam_deg", "ssim", *mean]
        assert list(scores["by_class"]) == list(LAND_COVER)
        assert list(scores["by_cover"]) == list(COVER_BINS)
        assert list(scores["by_cover"]["0-20"]) == ["scenes", "mae", "psnr", "sam_deg", "ssim"]
        assert list(scores["by_region"]) == ["cloud", "edge", "clear"]


def test_unmeasured_values_are_null() -> None:
    ledger = make_ledger(protocols=("official",))
    full = summary(ledger)["protocols"]["full"]
    assert set(full["overall"].values()) == {None}
    assert full["by_cover"]["0-20"]["scenes"] == 0
    assert measured_protocols([ledger, make_ledger("b")]) == [OFFICIAL]


@pytest.mark.parametrize("key", ["track", "split", "fingerprint"])
def test_runs_on_different_data_are_not_put_side_by_side(key: str) -> None:
    with pytest.raises(LedgerError, match=f"same {key}"):
        check_comparable([make_ledger("a"), make_ledger("b", **{key: "other"})])


def test_a_dataset_simulated_on_two_machines_is_one_dataset_and_tables_say_so() -> None:
    same = "sim-v1 standard, seed 0, size tiny"
    runs = [
        make_ledger("a", simulation=same),
        make_ledger("b", simulation=same, fingerprint="0" * 64),
    ]
    check_comparable(runs)
    for table in table2_tables(runs, OFFICIAL):
        assert any(same in note and "1 DN" in note for note in table.notes)
    assert rounding_note(runs[:1]) is None
    assert not any("machine" in note for note in table2_tables(runs[:1], OFFICIAL)[0].notes)


def test_runs_without_a_scene_in_common_are_not_taken_for_one_simulation() -> None:
    facts = {"simulation": "sim-v1 standard, seed 0, size tiny"}
    first = make_ledger("a", **facts)
    other = make_ledger("b", fingerprint="0" * 64, **facts)
    elsewhere = other.frame.assign(scene=other.frame["scene"].astype(str) + "0")
    with pytest.raises(LedgerError, match="same fingerprint"):
        check_comparable([first, Ledger(elsewhere, other.provenance)])


@pytest.mark.parametrize(
    "facts",
    [
        {"simulation": "sim-v1 standard, seed 1, size tiny"},
        {"simulation": None},
        {"expected_scenes": 9},
    ],
)
def test_another_seed_or_size_is_another_dataset(facts: dict) -> None:
    first = {"simulation": "sim-v1 standard, seed 0, size tiny"}
    runs = [
        make_ledger("a", **first),
        make_ledger("b", **{**first, "fingerprint": "0" * 64, **facts}),
    ]
    with pytest.raises(LedgerError, match="same fingerprint"):
        check_comparable(runs)


def test_the_same_identity_does_not_make_other_pixels_the_same_simulation() -> None:
    """The error of the untouched input tells: rounding cannot change it by a hundredth."""
    facts = {"simulation": "sim-v1 standard, seed 0, size tiny"}
    other = make_ledger("b", seed=7, fingerprint="0" * 64, **facts)
    with pytest.raises(LedgerError, match="same fingerprint"):
        check_comparable([make_ledger("a", **facts), other])


def test_runs_need_different_names() -> None:
    with pytest.raises(LedgerError, match="twice: a"):
        check_comparable([make_ledger("a"), make_ledger("a")])


def test_methods_of_the_paper_come_in_its_order_after_all_others() -> None:
    names = ["Align-CR", "mine", "glf_cr", "McGAN", "copy-cloudy"]
    ordered = in_paper_order([make_ledger(name, scenes=1) for name in names])
    assert [run.name for run in ordered] == ["mine", "copy-cloudy", "McGAN", "glf_cr", "Align-CR"]


def test_an_incomplete_run_shows_its_coverage_in_every_row() -> None:
    ledger = make_ledger("half", complete=False, expected_scenes=20)
    assert "half (10 of 20 scenes)" in table2([ledger], OFFICIAL)["row"].tolist()


def test_a_scene_is_a_group_like_any_other() -> None:
    frame = make_ledger().frame
    for protocol in PROTOCOLS.values():
        scenes = score_groups(frame, protocol, ["scene"])
        alone = frame[frame["scene"] == scenes.index[3]]
        pd.testing.assert_frame_equal(
            scenes.iloc[[3]].reset_index(drop=True),
            score_groups(alone, protocol).reset_index(drop=True),
        )
