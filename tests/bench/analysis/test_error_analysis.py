"""Test the error analysis on simulated scenes with closed forms and independent sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from pandas.testing import assert_frame_equal

from ledgers import make_ledger
from planetcr_bench.analysis.error_analysis import (
    TRIANGLE,
    ErrorAnalysis,
    extremes,
    gain,
    signature,
    triangle,
    widest_protocol,
)
from planetcr_bench.constants import COVER_BINS, LAND_COVER, REGIONS, SEASONS, THICKNESS
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_scene
from planetcr_bench.data.scene import Scene
from planetcr_bench.errors import LedgerError
from planetcr_bench.evaluation.loading import scene_pixels
from planetcr_bench.evaluation.runner import measure_scene
from planetcr_bench.metrics.kernels import region_of
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.results.aggregate import score_groups
from planetcr_bench.results.ledger import Ledger, ledger_table

OFFICIAL, FULL = PROTOCOLS["official"], PROTOCOLS["full"]
FLOAT32 = 2e-6
"""Share that rounding predictions to float32 can move."""

Predict = Callable[[Scene], np.ndarray]


@pytest.fixture(scope="module")
def some_scenes(simulated: Path) -> list[Scene]:
    """Four simulated scenes of different cloud cover."""
    scenes = [read_scene(files) for files in find_scenes(simulated, "test")]
    chosen = sorted(scenes, key=lambda scene: scene.cloud_cover)[1:9:2]
    assert chosen[0].cloud_cover < 0.4
    assert chosen[-1].cloud_cover > 0.6
    return chosen


def measured(scenes: Sequence[Scene], predict: Predict) -> Ledger:
    """The ledger of predictions of scenes, by the real kernels."""
    sums = [
        measure_scene(scene_pixels(scene, predict(scene).astype(np.float32)), (OFFICIAL, FULL))
        for scene in scenes
    ]
    frame = ledger_table(sums).to_pandas(ignore_metadata=True)
    return Ledger(frame, make_ledger(scenes=1).provenance)


def noisy(scene: Scene) -> np.ndarray:
    """Half of the cloud removed, and noise on all."""
    rng = np.random.default_rng(scene.patch)
    return 0.5 * (scene.cloudy + scene.clear) + rng.normal(0, 0.05, scene.clear.shape)


def shares_of(ledger: Ledger, by: Sequence[str] = ()) -> np.ndarray:
    return ErrorAnalysis([ledger], FULL).failures(*by)[list(TRIANGLE)].to_numpy()


def expected_shares(scenes: Sequence[Scene], predict: Predict) -> np.ndarray:
    """By another road: the point between cloudy and clear that lies next to each value."""
    sums = np.zeros(3)
    for scene in scenes:
        t, c = scene.clear.astype(float), scene.cloudy.astype(float)
        p = predict(scene).astype(np.float32).astype(float)
        nearest = np.clip(p, np.minimum(c, t), np.maximum(c, t))
        sums += [abs(nearest - t).sum(), abs(nearest - c).sum(), abs(p - nearest).sum()]
    return sums / sums.sum()


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_a_blend_leaves_its_share_of_the_cloud(some_scenes: list[Scene], alpha: float) -> None:
    ledger = measured(some_scenes, lambda s: alpha * s.cloudy + (1 - alpha) * s.clear)
    for by in ([], ["region"], ["cover_bin"], ["land_cover"]):
        shares = shares_of(ledger, by)
        known = np.isfinite(shares).all(axis=1)
        assert known.any()
        assert_allclose(shares[known], np.tile([alpha, 1 - alpha, 0], (known.sum(), 1)), atol=1e-5)


@pytest.mark.parametrize("beta", [0.1, 1.0, 3.0])
def test_values_beyond_the_clear_image_are_hallucination(
    some_scenes: list[Scene], beta: float
) -> None:
    ledger = measured(some_scenes, lambda s: s.clear - beta * (s.cloudy - s.clear))
    expected = [[0, 1 / (1 + beta), beta / (1 + beta)]]
    assert_allclose(shares_of(ledger), expected, atol=FLOAT32)


def test_more_cloud_than_there_was_is_hallucination(some_scenes: list[Scene]) -> None:
    ledger = measured(some_scenes, lambda s: s.cloudy + 0.25 * (s.cloudy - s.clear))
    assert_allclose(shares_of(ledger), [[0.8, 0, 0.2]], atol=FLOAT32)


def test_far_from_both_images_all_but_their_difference_is_hallucination(
    some_scenes: list[Scene],
) -> None:
    far = 2.0
    ledger = measured(some_scenes, lambda s: s.clear + far)
    lift = np.concatenate([(s.cloudy.astype(float) - s.clear).ravel() for s in some_scenes])
    residual, recovery = np.maximum(lift, 0).sum(), np.maximum(-lift, 0).sum()
    sums = np.array([residual, recovery, far * lift.size - residual])
    assert_allclose(shares_of(ledger), [sums / sums.sum()], atol=FLOAT32)
    assert shares_of(ledger)[0, 2] > 0.8


def test_any_prediction_is_split_value_by_value(some_scenes: list[Scene]) -> None:
    assert_allclose(
        shares_of(measured(some_scenes, noisy)), [expected_shares(some_scenes, noisy)], atol=1e-9
    )
    for scene in some_scenes:
        (share,) = shares_of(measured([scene], noisy))
        assert_allclose(share, expected_shares([scene], noisy), atol=1e-9)


def test_three_equal_images_have_no_share(some_scenes: list[Scene]) -> None:
    same = [replace(scene, cloudy=scene.clear) for scene in some_scenes]
    assert np.isnan(shares_of(measured(same, lambda s: s.clear))).all()


# Zero or at least 2**-60: scaled, a number near the smallest float becomes zero.
VALUES = st.lists(st.floats(2**-60, 1) | st.just(0.0), min_size=3, max_size=3)


@given(st.lists(VALUES, min_size=1, max_size=20), st.integers(1, 19))
def test_shares_are_parts_of_one_and_parts_add_up(values: list[list[float]], cut: int) -> None:
    p, c, t = np.array(values).T
    distances = np.stack([abs(p - t), abs(p - c), abs(c - t)])
    shares = triangle(*distances.sum(1))
    if not distances.any():
        assert np.isnan(shares).all()
        return
    assert ((shares >= 0) & (shares <= 1)).all()
    assert shares.sum() == pytest.approx(1)
    parts = [distances[:, :cut].sum(1), distances[:, cut:].sum(1)]
    added = sum(np.nan_to_num(triangle(*part)) * part.sum() for part in parts)
    assert_allclose(added, shares * distances.sum(), atol=1e-9)
    error, way = distances[0].sum(), distances[2].sum()
    products = shares * distances.sum() / 2
    assert_allclose(products[[0, 2]].sum(), error, atol=1e-9)
    assert_allclose(products[[0, 1]].sum(), way, atol=1e-9)


@given(VALUES, st.floats(1e-3, 1e6))
def test_shares_have_no_unit(values: list[float], scale: float) -> None:
    p, c, t = values
    distances = np.array([abs(p - t), abs(p - c), abs(c - t)])
    assert_allclose(triangle(*(scale * distances)), triangle(*distances), atol=1e-9)


def test_rounding_is_tolerated_and_corrupt_sums_are_refused() -> None:
    assert_allclose(triangle(1.0, 1.0, 2.0 + 1e-12), [0.5, 0.5, 0], atol=1e-12)
    assert (triangle(1.0, 1.0, 2.0 + 1e-12) >= 0).all()
    with pytest.raises(LedgerError, match="satisfy the triangle inequality"):
        triangle([0.1, 1.0], [0.1, 1.0], [0.1, 2.001])


@pytest.mark.parametrize("protocol", [OFFICIAL, FULL])
@pytest.mark.parametrize(
    ("pasted", "regions"),
    [("nothing", []), ("clear", ["clear"]), ("clear and edge", ["clear", "edge"])],
)
def test_paste_back_is_exact(
    some_scenes: list[Scene], protocol, pasted: str, regions: list[str]
) -> None:
    kept = [REGIONS.index(region) for region in regions]

    def composite(scene: Scene) -> np.ndarray:
        region = region_of(scene.cloud_mask, 3.0)
        predicted = noisy(scene).astype(np.float32)
        return np.where(np.isin(region, kept), scene.cloudy, predicted)

    built = score_groups(measured(some_scenes, composite).frame, protocol, pool="pixels")
    plain = score_groups(measured(some_scenes, noisy).frame, protocol, pool="pixels")
    paste_back = ErrorAnalysis([measured(some_scenes, noisy)], protocol).paste_back.set_index(
        "pasted"
    )
    assert list(paste_back.index) == ["nothing", "clear", "clear and edge"]
    table = paste_back.loc[pasted]
    for metric, sign in (("mae", -1), ("psnr", 1), ("sam_deg", -1)):
        assert table[metric] == pytest.approx(built[metric].iloc[0], rel=1e-12)
        gained = sign * (built[metric].iloc[0] - plain[metric].iloc[0])
        assert table[f"gain_{metric}"] == pytest.approx(gained, abs=1e-9)


def test_paste_back_gains_where_clear_pixels_got_worse_and_loses_where_better(
    some_scenes: list[Scene],
) -> None:
    regions = ErrorAnalysis([measured(some_scenes, noisy)], FULL).paste_back.set_index("pasted")
    assert regions.loc["clear", "gain_mae"] > 0
    help_ = ErrorAnalysis([measured(some_scenes, lambda s: s.clear)], FULL).paste_back.set_index(
        "pasted"
    )
    assert (help_.loc["clear", ["gain_mae", "gain_sam_deg"]] < 0).all()
    assert help_.loc["clear", "gain_psnr"] == -np.inf
    assert help_.loc["nothing", "gain_psnr"] == 0


def test_change_to_clear_pixels_agrees_with_the_images(some_scenes: list[Scene]) -> None:
    table = ErrorAnalysis([measured(some_scenes, noisy)], FULL).regions.set_index("region")
    assert list(table.index) == [*REGIONS, "all"]
    images = {"region": [], "p": [], "c": [], "t": []}
    for scene in some_scenes:
        images["region"].append(region_of(scene.cloud_mask, 3.0).ravel())
        arrays = zip(
            "pct", (noisy(scene).astype(np.float32), scene.cloudy, scene.clear), strict=True
        )
        for name, image in arrays:
            images[name].append(image.reshape(4, -1).astype(float))
    region = np.concatenate(images["region"])
    p, c, t = (np.concatenate(images[name], axis=1) for name in "pct")
    for name in (*REGIONS, "all"):
        chosen = region == REGIONS.index(name) if name != "all" else region >= 0
        error, before = (abs(image - t)[:, chosen] for image in (p, c))
        line = table.loc[name]
        assert line["pixels"] == chosen.sum()
        assert line["mae"] == pytest.approx(error.mean())
        assert line["input_mae"] == pytest.approx(before.mean())
        assert line["changed"] == pytest.approx(abs(p - c)[:, chosen].mean())
        assert line["worse"] == pytest.approx((error.sum(0) > before.sum(0)).mean())


def test_groups_agree_with_sums_taken_by_hand() -> None:
    ledger = make_ledger(scenes=12)
    rows = ledger.frame[ledger.frame["protocol"] == "full"]
    table = ErrorAnalysis([ledger], FULL).failures("land_cover", "cover_bin")
    assert len(table) == len(LAND_COVER) * len(COVER_BINS)
    for line in table.to_dict("records"):
        low = COVER_BINS.index(line["cover_bin"]) / 5
        part = rows[
            (rows["land_cover"] == line["land_cover"])
            & (rows["cloud_cover"] >= low)
            & (rows["cloud_cover"] < low + 0.2)
        ]
        assert line["pixels"] == part["pixels"].sum()
        assert line["scenes"] == part["scene"].nunique()
        if len(part):
            psnr = -10 * np.log10(part["squared_error"].sum() / part["values"].sum())
            before = -10 * np.log10(part["input_squared_error"].sum() / part["values"].sum())
            assert line["psnr"] == pytest.approx(psnr)
            assert line["gain_psnr"] == pytest.approx(psnr - before)
            assert line["mae"] == pytest.approx(part["absolute_error"].sum() / part["values"].sum())


def test_regions_add_up_to_the_total() -> None:
    ledgers = [make_ledger("one", scenes=7), make_ledger("other", scenes=7, seed=1)]
    table = ErrorAnalysis(ledgers, FULL).regions
    assert list(table["row"]) == ["one"] * 4 + ["other"] * 4
    for _, lines in table.groupby("row"):
        regions, whole = lines[lines["region"] != "all"], lines[lines["region"] == "all"].iloc[0]
        assert regions["pixels"].sum() == whole["pixels"]
        for name in ("mae", "input_mae", "changed", "worse"):
            mean = (regions[name] * regions["pixels"]).sum() / regions["pixels"].sum()
            assert mean == pytest.approx(whole[name])


def test_seasons_and_regions_that_do_not_occur_are_listed_empty() -> None:
    ledger = make_ledger(scenes=4)
    seasons = ErrorAnalysis([ledger], FULL).failures("season").set_index("season")
    assert list(seasons.index) == list(SEASONS)
    assert list(seasons["scenes"]) == [0, 4, 0, 0]
    assert np.isnan(seasons.loc["winter", "mae"])
    clear = Ledger(ledger.frame[ledger.frame["region"] == "clear"], ledger.provenance)
    assert list(ErrorAnalysis([clear], FULL).regions["pixels"] > 0) == [False, False, True, True]
    assert ErrorAnalysis([clear], FULL).paste_back["share"].tolist() == [0, 1, 1]


def test_worst_and_best_scenes_break_ties_by_name_and_are_listed_once() -> None:
    table = pd.DataFrame(
        {
            "row": "m",
            "scene": ["b", "a", "e", "d", "c"],
            "psnr": [20.0, 20.0, np.inf, 30.0, np.inf],
        }
    )
    lines = extremes(table, "psnr", count=2)
    assert list(zip(lines["end"], lines["scene"], strict=True)) == [
        ("worst", "a"),
        ("worst", "b"),
        ("best", "c"),
        ("best", "e"),
    ]
    assert list(extremes(table, "psnr", count=9)["scene"]) == ["a", "b", "d", "c", "e"]


def ends_of(*psnr: float, count: int = 2) -> list[tuple[str, float]]:
    table = pd.DataFrame({"row": "m", "scene": list("abcdefgh")[: len(psnr)], "psnr": psnr})
    lines = extremes(table, "psnr", count=count)
    return list(zip(lines["end"], lines["psnr"], strict=True))


def test_no_figure_is_worst_and_best_at_once() -> None:
    inf = np.inf
    assert ends_of(inf, inf, inf) == []
    assert ends_of(20.0, 20.0) == []
    assert ends_of(20.0) == []
    assert ends_of(inf, 20.0, inf, inf) == [("worst", 20), ("best", inf), ("best", inf)]
    assert ends_of(20.0, 20.0, 20.0, 30.0) == [("worst", 20), ("worst", 20), ("best", 30)]
    assert ends_of(20.0, np.nan, np.nan) == []


def test_each_grouping_of_all_runs_is_added_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    add = ErrorAnalysis._group_sums

    def spy(of: ErrorAnalysis, *by: str) -> pd.DataFrame:
        asked.append(by)
        return add(of, *by)

    monkeypatch.setattr(ErrorAnalysis, "_group_sums", spy)
    analysis = ErrorAnalysis([make_ledger("a", scenes=4), make_ledger("b", scenes=4)], FULL)
    for _ in range(2):
        tables = (
            analysis.regions,
            analysis.triangle,
            analysis.scenes,
            analysis.aois,
            analysis.failures("season"),
        )
        assert all(len(table) for table in tables)
    groupings = [(name,) for name in ("region", "land_cover", "cover_bin", "scene", "aoi")]
    assert sorted(asked) == sorted([(), *groupings, ("season",)])


def test_scenes_know_their_cover_and_prevailing_class() -> None:
    ledger = make_ledger(scenes=5)
    table = ErrorAnalysis([ledger], OFFICIAL).scenes.set_index("scene")
    rows = ledger.frame[ledger.frame["protocol"] == "official"]
    for scene, part in rows.groupby("scene", observed=True):
        pixels = part.groupby("land_cover", observed=True)["pixels"].sum()
        assert pixels[table.loc[scene, "land_cover"]] == pixels.max()
        assert table.loc[scene, "cloud_cover"] == part["cloud_cover"].iloc[0]
        assert table.loc[scene, "pixels"] == part["pixels"].sum()


def test_an_aoi_lies_in_the_middle_of_its_scenes() -> None:
    ledger = make_ledger(scenes=6)
    frame = ledger.frame.assign(longitude=ledger.frame["patch"] % 3 + 10.0)
    frame.loc[frame["aoi"] == "summer_1", ["longitude", "latitude"]] = np.nan
    table = ErrorAnalysis([Ledger(frame, ledger.provenance)], FULL).aois.set_index("aoi")
    assert table.loc["summer_0", "longitude"] == pytest.approx(11)
    assert table.loc["summer_0", "latitude"] == pytest.approx(47)
    assert np.isnan(table.loc["summer_1", ["longitude", "latitude"]].astype(float)).all()
    assert table.loc["summer_1", "cloud_cover"] == pytest.approx((0.7 + 0.9 + 0.1) / 3)
    assert list(table["scenes"]) == [3, 3]


BIN_OF = {"cloud": "4-8", "edge": "0.25-0.5", "clear": "0-0.25"}


def with_truth(ledger: Ledger) -> Ledger:
    """A ledger whose regions have one thickness each."""
    thickness = pd.Categorical(ledger.frame["region"].map(BIN_OF).astype(str), list(THICKNESS))
    return Ledger(ledger.frame.assign(thickness=thickness), ledger.provenance)


def test_thickness_is_a_grouping_of_the_runs_that_know_it() -> None:
    blind, other = make_ledger("blind", scenes=3), make_ledger("told", scenes=3, seed=2)
    assert ErrorAnalysis([blind], FULL).with_optical_thickness is None
    with_thickness = with_truth(other)
    known_runs = ErrorAnalysis([blind, with_thickness], FULL).with_optical_thickness
    assert known_runs is not None
    assert [run.name for run in known_runs.ledgers] == ["told"]
    table = known_runs.failures("thickness")
    assert list(table["thickness"]) == list(THICKNESS[1:])
    by_region = ErrorAnalysis([with_thickness], FULL).failures("region")
    by_region = by_region.assign(thickness=by_region["region"].map(BIN_OF)).drop(columns="region")
    known = table[table["pixels"] > 0].set_index("thickness")
    expected = by_region.set_index("thickness").loc[known.index]
    assert_frame_equal(expected, known, check_index_type=False)


def test_the_triangle_is_given_for_all_pixels_and_for_their_parts() -> None:
    table = ErrorAnalysis([make_ledger(scenes=5)], FULL).triangle
    counts = table.groupby("by", sort=False)["group"].count()
    assert counts.to_dict() == {"all": 1, "region": 3, "land_cover": 6, "cover_bin": 5}
    assert_allclose(table[list(TRIANGLE)].sum(axis=1), 1)


def test_full_is_analysed_where_all_have_it_and_pixels_are_pooled() -> None:
    crop = make_ledger("crop", scenes=2, protocols=("official",))
    assert widest_protocol([make_ledger(scenes=2)]) == FULL
    assert widest_protocol([make_ledger(scenes=2), crop]) == OFFICIAL
    assert signature(OFFICIAL, "mae") == "mae|window:centre160|pool:pixels|v1"


def test_gains_are_positive_where_better() -> None:
    assert_array_equal(
        gain("psnr", [3, np.inf, np.inf, 1], [1, 2, np.inf, np.inf]), [2, np.inf, 0, -np.inf]
    )
    assert_array_equal(gain("mae", [1.0, np.nan], [3.0, 1.0]), [2.0, np.nan])
