"""The sums behind the further metrics: against float64 numpy, by laws, and on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from pandas.testing import assert_frame_equal

from ledgers import FURTHER_SUMS, make_ledger
from planetcr_bench.constants import OPTICAL_BANDS
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.errors import LedgerError
from planetcr_bench.evaluation.loading import Job, read_pixels
from planetcr_bench.evaluation.runner import ResumeStore, measure_scene
from planetcr_bench.metrics.further import measure_further
from planetcr_bench.metrics.kernels import centre_crop, measure
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import GROUPS, SUMS, input_column
from planetcr_bench.predictions.card import Card
from planetcr_bench.results.ledger import (
    Ledger,
    further_columns,
    ledger_table,
    read_ledger,
    write_ledger,
)
from planetcr_bench.results.rules import broken_rules, check_rows
from planetcr_bench.submission.pack import write_checked_ledger
from scenes import write_dataset

FULL, OFFICIAL = PROTOCOLS["full"], PROTOCOLS["official"]
Images = NDArray[np.float32]


def made(seed: int, size: int = 40) -> tuple[Images, Images, NDArray[np.uint8]]:
    """Prediction and input, clear, and groups that come in patches, as land cover does."""
    rng = np.random.default_rng(seed)
    pair = rng.uniform(-0.1, 1.1, (2, 4, size, size)).astype(np.float32)
    clear = rng.uniform(-0.1, 1, (4, size, size)).astype(np.float32)
    patches = rng.integers(0, GROUPS, (size // 3 + 1, size // 3 + 1)).astype(np.uint8)
    return pair, clear, np.kron(patches, np.ones((3, 3), np.uint8))[:size, :size]


def by_name(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    return {name: sums[..., index] for index, name in enumerate(FURTHER_SUMS)}


def gradient(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """|∇i| of each pixel that has both neighbours, summed over bands; 0 for the others."""
    size = image.shape[-1]
    gradient = np.zeros((size, size))
    across, down = np.diff(image, axis=2)[:, :-1], np.diff(image, axis=1)[:, :, :-1]
    gradient[:-1, :-1] = (abs(across) + abs(down)).sum(0)
    return gradient


def ndvi(image: NDArray[np.float64]) -> NDArray[np.float64]:
    total = image[2] + image[3]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, np.clip((image[3] - image[2]) / total, -1, 1), np.nan)


def maps_in_numpy(pair: Images, clear: Images) -> dict[str, NDArray[np.float64]]:
    """What each column adds up, pixel by pixel, from the definitions."""
    p, c, t = pair[0].astype(float), pair[1].astype(float), clear.astype(float)
    maps = {}
    for index, band in enumerate(OPTICAL_BANDS):
        for name, image in (("prediction", p), ("cloudy", c), ("clear", t)):
            maps[f"{name}_sum_{band}"] = image[index]
            maps[f"{name}_square_{band}"] = image[index] ** 2
        maps[f"prediction_clear_product_{band}"] = p[index] * t[index]
        maps[f"cloudy_clear_product_{band}"] = c[index] * t[index]
    change = abs(ndvi(c) - ndvi(t))
    return {
        **maps,
        "gradient_error": gradient(p - t),
        "prediction_gradient": gradient(p),
        "clear_gradient": gradient(t),
        "input_gradient_error": gradient(c - t),
        "cloudy_gradient": gradient(c),
        "input_ndvi_error": np.nan_to_num(change),
        "input_ndvi_pixels": np.isfinite(change).astype(float),
    }


@given(st.integers(0, 2**32 - 1), st.integers(2, 45))
@settings(max_examples=25, deadline=None)
def test_every_sum_is_that_of_a_numpy_reference(seed: int, size: int) -> None:
    pair, clear, group = made(seed, size)
    sums = by_name(measure_further(pair, clear, group, FULL, OPTICAL_BANDS))
    maps = maps_in_numpy(pair, clear)
    assert sums.keys() == maps.keys()
    for name, values in maps.items():
        expected = np.bincount(group.ravel(), values.ravel(), GROUPS)
        assert_allclose(sums[name], expected, rtol=1e-11, atol=1e-12, err_msg=name)


def test_official_uses_the_centre_alone_and_no_gradient_reaches_beyond_it() -> None:
    pair, clear, group = made(1, 300)
    centre = measure_further(
        *(centre_crop(a, 160) for a in (pair, clear, group)), FULL, OPTICAL_BANDS
    )
    assert (measure_further(pair, clear, group, OFFICIAL, OPTICAL_BANDS) == centre).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_groups_and_halves_add_up_to_the_total(seed: int) -> None:
    pair, clear, group = made(seed)
    whole = measure_further(pair, clear, np.zeros_like(group), FULL, OPTICAL_BANDS)[0]
    assert_allclose(
        measure_further(pair, clear, group, FULL, OPTICAL_BANDS).sum(0), whole, rtol=1e-11
    )
    halves = np.zeros_like(group)
    halves[20:] = 1
    assert_allclose(
        measure_further(pair, clear, halves, FULL, OPTICAL_BANDS)[:2].sum(0), whole, rtol=1e-11
    )


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_input_is_scored_as_a_prediction_would_be(seed: int) -> None:
    pair, clear, group = made(seed)
    given_input = by_name(measure_further(pair, clear, group, FULL, OPTICAL_BANDS))
    as_prediction = by_name(measure_further(pair[::-1], clear, group, FULL, OPTICAL_BANDS))
    pairs = {ours: input_column(ours) for ours in FURTHER_SUMS if input_column(ours) != ours}
    assert len(pairs) == 3 * len(OPTICAL_BANDS) + 2
    for ours, theirs in pairs.items():
        assert (given_input[theirs] == as_prediction[ours]).all()
    ndvi_error = measure(pair[::-1], clear, group, FULL, OPTICAL_BANDS)[
        :, list(SUMS).index("ndvi_error")
    ]
    assert_allclose(given_input["input_ndvi_error"], ndvi_error, rtol=1e-11)


# --- On disk ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Three scenes whose input is what was predicted, measured as ``evaluate`` does."""
    data = write_dataset(tmp_path_factory.mktemp("data"), test=3, train=0)
    jobs = [Job(files, files.path("cloudy")) for files in find_scenes(data, "test")]
    scenes = [measure_scene(read_pixels(job, Card()), list(PROTOCOLS.values())) for job in jobs]
    table = ledger_table(scenes)
    return Ledger(table.to_pandas(ignore_metadata=True), make_ledger(scenes=3).provenance)


def test_measured_sums_satisfy_all_rules_and_survive_the_disk(
    ledger: Ledger, tmp_path: Path
) -> None:
    assert broken_rules(ledger.frame) == []
    write_checked_ledger(tmp_path / "a.parquet", ledger)  # as an entry keeps it
    again = read_ledger(tmp_path / "a.parquet")
    assert again.has_further
    assert_frame_equal(again.frame, ledger.frame)


def test_ledgers_of_earlier_versions_are_read_without_these_sums(tmp_path: Path) -> None:
    old = make_ledger()
    assert not old.has_further
    write_checked_ledger(tmp_path / "old.parquet", old)
    assert not read_ledger(tmp_path / "old.parquet").has_further


def test_an_incomplete_set_of_these_sums_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    write_checked_ledger(tmp_path / "a.parquet", ledger)
    table = pq.read_table(tmp_path / "a.parquet").drop_columns(["clear_gradient"])
    write_ledger(tmp_path / "b.parquet", table, ledger.provenance)
    with pytest.raises(LedgerError, match="expected the columns") as refused:
        read_ledger(tmp_path / "b.parquet")
    assert refused.value.problems == ("clear_gradient: expected this column, found none",)


def test_two_ledgers_are_compared_in_the_sums_that_both_have(ledger: Ledger) -> None:
    old = make_ledger()
    assert further_columns(ledger, old) == further_columns(old, ledger) == []
    assert further_columns(ledger, ledger) == list(FURTHER_SUMS)
    of_input = further_columns(ledger, ledger, of_input=True)
    assert {"clear_gradient", "cloudy_sum_red", "input_ndvi_error"} < set(of_input)
    assert not any("prediction" in name or name == "gradient_error" for name in of_input)


IMPOSSIBLE = {
    "clear_sum_red": (1.5, "(Σi)² ≤ n·Σi²"),
    "prediction_clear_product_nir": (1.5, "(Σit)² ≤ Σi²·Σt²"),
    "cloudy_square_blue": (1.001, "squared errors that follow from the moments"),
    "gradient_error": (3.0, "none above the sum of the other two"),
    "cloudy_gradient": (-1.0, "gradients of at least zero"),
    "input_ndvi_pixels": (10.0, "NDVI errors of the input"),
    "prediction_sum_green": (np.nan, "finite sums of the further metrics"),
}


@pytest.mark.parametrize("column", IMPOSSIBLE)
def test_impossible_sums_are_refused(ledger: Ledger, column: str) -> None:
    factor, rule = IMPOSSIBLE[column]
    frame = ledger.frame.assign(**{column: ledger.frame[column] * factor})
    assert any(rule in broken for broken in broken_rules(frame))
    with pytest.raises(LedgerError):
        check_rows(frame, "x")


def test_scenes_that_an_earlier_version_measured_are_measured_again(tmp_path: Path) -> None:
    scene = find_scenes(write_dataset(tmp_path / "data", test=1, train=0), "test")[0]
    job = Job(scene, scene.path("cloudy"))
    parts = ResumeStore(tmp_path / "parts", {})
    parts.add(measure_scene(read_pixels(job, Card()), list(PROTOCOLS.values())), job.state())
    assert set(FURTHER_SUMS) < set(parts.finish([scene.name]).column_names)
    (part,) = (tmp_path / "parts").glob("part-*.parquet")
    pq.write_table(pq.read_table(part).drop_columns(list(FURTHER_SUMS)), part)
    assert ResumeStore(tmp_path / "parts", {}).load({scene.name: job.state()}) == set()
