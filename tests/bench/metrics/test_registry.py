"""Rows of metrics: their formulas against libraries, their laws, and where a new row appears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import error_relative_global_dimensionless_synthesis

from aoi_scores import aoi_sums
from boards import put
from ledgers import FURTHER_SUMS, make_ledger, with_further
from planetcr_bench.analysis.intervals import estimate
from planetcr_bench.constants import OPTICAL_BANDS
from planetcr_bench.leaderboard.entries import read_entries
from planetcr_bench.leaderboard.page import write_board
from planetcr_bench.metrics.further import measure_further
from planetcr_bench.metrics.kernels import measure
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.registry import (
    HEADLINE,
    METRICS,
    SEGMENTATION,
    Metric,
    Of,
    further,
    ratio,
    ratio_of,
)
from planetcr_bench.metrics.sums import SUMS, further_sums
from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.report.scores import summary
from planetcr_bench.results.aggregate import score_groups
from planetcr_bench.results.schema import COLUMNS

FULL = PROTOCOLS["full"]
SIZE = 24
BAND_METRICS = ("bias", "rmse", "psnr", "correlation")
SENTINEL = ("coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir",
            "nir_narrow", "water_vapour", "cirrus", "swir1", "swir2")  # fmt: skip


def made(
    seed: int, *, noise: float = 0.1, bands: int = 4
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Prediction and input, and a clear image."""
    rng = np.random.default_rng(seed)
    clear = rng.uniform(0.05, 0.9, (bands, SIZE, SIZE)).astype(np.float32)
    change = rng.normal(0.02, noise, (2, bands, SIZE, SIZE)).astype(np.float32)
    return clear + change, clear


def scores_of(
    pair: NDArray[np.float32],
    clear: NDArray[np.float32],
    of: Of = "prediction",
    bands: Sequence[str] = OPTICAL_BANDS,
) -> dict[str, float]:
    """All metrics of two images but those of segmenters."""
    group = np.zeros(clear.shape[1:], np.uint8)
    sums = dict(zip(SUMS, measure(pair, clear, group, FULL, bands).sum(0), strict=True))
    more = measure_further(pair, clear, group, FULL, bands).sum(0)
    sums |= dict(zip(further_sums(bands), more, strict=True))
    scores = {}
    for name in (*HEADLINE, *further(bands)):
        score = ratio_of(name, bands).of_sums(sums, FULL, of)
        scores[name] = np.nan if score is None else float(score)
    return scores


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_bands_are_scored_as_numpy_scores_them(seed: int) -> None:
    pair, clear = made(seed)
    for image, of in ((pair[0], "prediction"), (pair[1], "input")):
        scores = scores_of(pair, clear, of)
        for band, p, t in zip(OPTICAL_BANDS, image.astype(float), clear.astype(float), strict=True):
            mse = ((p - t) ** 2).mean()
            assert_allclose(scores[f"bias_{band}"], (p - t).mean(), atol=1e-12)
            assert_allclose(scores[f"rmse_{band}"], np.sqrt(mse), rtol=1e-9)
            assert_allclose(scores[f"psnr_{band}"], -10 * np.log10(mse), rtol=1e-9)
            known = np.corrcoef(p.ravel(), t.ravel())[0, 1]
            assert_allclose(scores[f"correlation_{band}"], known, rtol=1e-9)
        assert_allclose(scores["rmse"], np.sqrt(((image.astype(float) - clear) ** 2).mean()))


@pytest.mark.parametrize(
    "bands",
    [("red", "green", "blue"), ("nir", "b-1", "red"), SENTINEL[1:7], SENTINEL[1:11], SENTINEL],
    ids=lambda bands: f"{len(bands)} bands, {bands[0]} first",
)
def test_images_of_any_bands_are_scored_as_numpy_scores_them(bands: tuple[str, ...]) -> None:
    pair, clear = made(len(bands), bands=len(bands))
    t = clear.astype(float)
    for image, of in ((pair[0].astype(float), "prediction"), (pair[1].astype(float), "input")):
        scores = scores_of(pair, clear, of, bands)
        errors, squares = image - t, ((image - t) ** 2).mean((1, 2))
        expected = {
            "mae": abs(errors).mean(),
            "psnr": -10 * np.log10(squares.mean()),
            "rmse": np.sqrt(squares.mean()),
            "ergas": 100 * np.sqrt((squares / t.mean((1, 2)) ** 2).mean()),
        }
        norms = np.linalg.norm(image, axis=0) * np.linalg.norm(t, axis=0)
        expected["sam_deg"] = np.degrees(np.arccos((image * t).sum(0) / norms)).mean()
        for index, band in enumerate(bands):
            expected[f"bias_{band}"] = errors[index].mean()
            expected[f"rmse_{band}"] = np.sqrt(squares[index])
            expected[f"psnr_{band}"] = -10 * np.log10(squares[index])
            both = np.corrcoef(image[index].ravel(), t[index].ravel())
            expected[f"correlation_{band}"] = both[0, 1]
        maps = [structural_similarity(*each, **LIKE_OURS) for each in zip(image, t, strict=True)]
        expected["ssim"] = np.mean(maps)
        if "red" in bands and "nir" in bands:
            red, nir = bands.index("red"), bands.index("nir")
            of_p, of_t = ((i[nir] - i[red]) / (i[nir] + i[red]) for i in (image, t))
            known = (image[red] + image[nir] > 0) & (t[red] + t[nir] > 0)
            expected["ndvi_error"] = abs(np.clip(of_p, -1, 1) - np.clip(of_t, -1, 1))[known].mean()
        else:
            assert "ndvi_error" not in scores
        for name, value in expected.items():
            assert_allclose(scores[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


LIKE_OURS = {
    "data_range": 1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False,
}  # fmt: skip


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_ergas_is_that_of_torchmetrics_with_a_ratio_of_one(seed: int) -> None:
    pair, clear = made(seed)
    p, t = (torch.from_numpy(image.astype(float))[None] for image in (pair[0], clear))
    expected = error_relative_global_dimensionless_synthesis(p, t, ratio=1)
    assert_allclose(scores_of(pair, clear)["ergas"], float(expected), rtol=1e-9)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_equal_images_are_perfect(seed: int) -> None:
    _, clear = made(seed)
    scores = scores_of(np.stack([clear, clear]), clear)
    for band in OPTICAL_BANDS:
        assert scores[f"bias_{band}"] == scores[f"rmse_{band}"] == 0
        assert scores[f"psnr_{band}"] == np.inf
        assert scores[f"correlation_{band}"] == pytest.approx(1, abs=1e-12)
    assert (
        scores["ergas"] == scores["rmse"] == scores["ndvi_error"] == scores["gradient_error"] == 0
    )
    assert scores["sharpness"] == 1


def test_known_values_of_a_shifted_a_dimmed_a_flat_and_a_smoothed_image() -> None:
    _, clear = made(0)
    shifted = scores_of(np.stack([clear + np.float32(0.25), clear]), clear)
    assert [shifted[f"bias_{band}"] for band in OPTICAL_BANDS] == pytest.approx([0.25] * 4)
    assert shifted["rmse"] == pytest.approx(0.25)
    assert shifted["gradient_error"] == pytest.approx(0, abs=1e-6)
    assert shifted["sharpness"] == pytest.approx(1)
    dimmed = scores_of(np.stack([clear / 2, clear]), clear)
    assert dimmed["correlation_red"] == pytest.approx(1)
    assert dimmed["ndvi_error"] == pytest.approx(0, abs=1e-6)
    assert dimmed["sharpness"] == dimmed["gradient_error"] == 0.5
    flat = scores_of(np.stack([np.full_like(clear, 0.5), clear]), clear)
    assert (flat["sharpness"], flat["gradient_error"]) == (0, 1)
    assert np.isnan(flat["correlation_blue"])
    smoothed = (clear + np.roll(clear, 1, 1) + np.roll(clear, 1, 2)) / 3
    assert scores_of(np.stack([smoothed, clear]), clear)["sharpness"] < 0.8


def test_nothing_measured_is_nan_in_every_metric() -> None:
    for name in (*HEADLINE, *further(OPTICAL_BANDS)):
        metric = ratio_of(name, OPTICAL_BANDS)
        assert np.isnan(metric.score(*(np.zeros(1) for _ in metric.columns))).all(), name


def test_every_column_is_one_of_the_ledger() -> None:
    known = {*COLUMNS, *FURTHER_SUMS}
    for name in (*METRICS, *further(OPTICAL_BANDS)):
        assert known.issuperset(ratio_of(name, OPTICAL_BANDS).columns), name


def test_the_paper_s_metrics_are_the_headline_and_the_others_are_further() -> None:
    assert HEADLINE == ("mae", "psnr", "sam_deg", "ssim")
    assert SEGMENTATION == ("miou", "pa")
    of_bands = {f"{kind}_{band}" for kind in BAND_METRICS for band in OPTICAL_BANDS}
    assert {*METRICS, *of_bands} == {*HEADLINE, *SEGMENTATION, *further(OPTICAL_BANDS)}
    titles = {name: METRICS[name].title for name in (*HEADLINE, "bias_red", "sharpness")}
    assert titles == {
        "mae": "MAE ↓",
        "psnr": "PSNR ↑ [dB]",
        "sam_deg": "SAM ↓ [°]",
        "ssim": "SSIM ↑",
        "bias_red": "Bias, red → 0",
        "sharpness": "Sharpness → 1",
    }


@pytest.mark.parametrize(
    ("better", "best_first"),
    [("higher", [2, 1.5, 0, -1]), ("lower", [-1, 0, 1.5, 2]),
     ("zero", [0, -1, 1.5, 2]), ("one", [1.5, 2, 0, -1])],
)  # fmt: skip
def test_direction_says_which_of_two_scores_is_better(better, best_first: list[float]) -> None:
    metric = Metric("x", "X", "ssim", "pixels", better=better)
    assert sorted([2, -1, 0, 1.5], key=metric.badness) == best_first
    assert metric.gain(best_first[0], best_first[-1]) > 0


def test_gain_between_two_perfect_scores_is_zero() -> None:
    gain = METRICS["psnr"].gain([3, np.inf, np.inf, 1], [1, 2, np.inf, np.inf])
    assert_array_equal(gain, [2, np.inf, 0, -np.inf])


# --- A new row --------------------------------------------------------------------------------


def test_a_row_is_all_that_a_new_metric_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = Metric(
        "worse", "Worse than the input", "worse_pixels", "pixels", unit="%", digits=1,
        possible=(0, 100), finish=lambda worse, pixels: 100 * ratio(worse, pixels),
    )  # fmt: skip
    monkeypatch.setitem(METRICS, "worse", row)
    ledger = make_ledger()
    rows = ledger.frame[ledger.frame["protocol"] == "full"]
    expected = 100 * rows["worse_pixels"].sum() / rows["pixels"].sum()
    protocols = summary(ledger)["protocols"]
    assert protocols["full"]["further"]["worse"] == pytest.approx(expected)
    tables = RunTables([ledger])
    (line,) = (row for row in tables.further_tables[1].rows if row[0].startswith("Worse"))
    overall = estimate(aoi_sums(ledger, FULL, "worse"))
    interval = f"{expected:.1f} [{overall.low:.1f}, {overall.high:.1f}]"
    assert line == ["Worse than the input ↓ [%]", "–", interval]
    intervals = tables.statistic_frame().query("metric == 'worse'").set_index("protocol")
    for protocol in PROTOCOLS.values():
        known = estimate(aoi_sums(ledger, protocol, "worse"))
        assert known.value == pytest.approx(protocols[protocol.name]["further"]["worse"])
        assert 0 <= known.low < known.value < known.high <= 100
        assert intervals.loc[protocol.name, "low"] == known.low
    put(tmp_path / "results", ledger)
    write_board(tmp_path, read_entries(tmp_path / "results")[0])
    text = (tmp_path / "leaderboard.md").read_text()
    assert f"| Worse than the input ↓ [%] | {interval} |" in text
    assert '"worse":{"title":"Worse than the input ↓ [%]"' in (tmp_path / "index.html").read_text()


def test_metrics_without_sums_are_a_dash_and_null() -> None:
    ledger = make_ledger()  # without the sums behind the further metrics
    further_scores = summary(ledger)["protocols"]["full"]["further"]
    assert None not in (further_scores["rmse"], further_scores["ndvi_error"])
    assert (
        further_scores["ergas"] is further_scores["sharpness"] is further_scores["bias_red"] is None
    )
    (table,) = RunTables([ledger]).further_tables[1:]
    cells = {row[0]: row[1:] for row in table.rows}
    assert len(table.header) == 3
    assert "–" not in cells["RMSE ↓"]
    assert cells["NDVI error ↓"][0] == "–"  # of the input it is not known
    assert len(cells) == 2  # a row of dashes says nothing
    assert np.isnan(estimate(aoi_sums(ledger, FULL, "sharpness")).value)
    known = with_further(make_ledger("known", seed=1))
    (table,) = RunTables([known, ledger]).further_tables[1:]
    cells = {row[0]: row[1:] for row in table.rows}
    assert len(cells) == len(further(OPTICAL_BANDS))
    assert cells["ERGAS ↓"][2] == "–"
    assert "–" not in cells["ERGAS ↓"][:2]
    (other,) = RunTables([ledger, known]).further_tables[1:]
    assert {row[0]: row[1] for row in other.rows} == {name: of[0] for name, of in cells.items()}


def test_errors_are_distances_from_the_best_value_times_the_weight() -> None:
    for name, value, error in (
        ("mae", 0.2, 0.2), ("ssim", 0.7, 0.3), ("psnr", 0.01, 0.01), ("bias_red", -0.2, 0.2),
        ("sharpness", 0.4, 0.6), ("correlation_nir", -1, 2), ("ergas", 9, 9),
    ):  # fmt: skip
        assert_allclose(METRICS[name].errors([value, np.nan], [10, 0]), [10 * error, 0])


def test_further_metrics_have_intervals_over_aois() -> None:
    rng = np.random.default_rng(0)
    ledger = make_ledger()
    sums = {"prediction_gradient": rng.uniform(1, 2, len(ledger.frame)), "clear_gradient": 2.0}
    richer = replace(ledger, frame=ledger.frame.assign(**sums))
    for protocol in PROTOCOLS.values():
        score = estimate(aoi_sums(richer, protocol, "sharpness"))
        table = score_groups(richer.frame, protocol, metrics=["sharpness"])
        assert score.value == pytest.approx(table["sharpness"].iloc[0])
        assert 0 < score.low < score.value < score.high < 1.1
