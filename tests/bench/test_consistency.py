"""What no measurement can have given: every rule is broken once, honest ledgers break none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judges import ShadeJudge
from planetcr_bench.consistency import (
    OF_THE_INPUT,
    differing,
    judged_input,
    ledger_faults,
    record_faults,
    unclean,
)
from planetcr_bench.dataset import find_scenes, read_scene
from planetcr_bench.evaluate import evaluate
from planetcr_bench.ledger import SUMS, Ledger, judged_columns, read_ledger
from planetcr_bench.predict import predict
from planetcr_bench.simulate.writer import simulate

RESULTS = Path(__file__).parents[2] / "results/sim-v1-small/sim-v1-demo"
RUNS = sorted(path.parent for path in RESULTS.glob("*/ledger.parquet"))


@pytest.fixture(scope="module", autouse=True)
def _ledgers_alone() -> Iterator[None]:
    """Evaluate without drawing."""
    patch = pytest.MonkeyPatch()
    patch.setattr("planetcr_bench.report.write_report", lambda *_, **__: None)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def honest(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Measured on the tiny simulated dataset; read only."""
    folder = tmp_path_factory.mktemp("honest")
    predict("mean-fill", simulated, folder / "preds", quiet=True)
    evaluate(folder / "preds", folder, data=simulated, quiet=True, workers=0)
    return plain(read_ledger(folder / "sim-v1-tiny/preds"))


def plain(ledger: Ledger) -> Ledger:
    """The same, of texts that may be changed."""
    frame = ledger.frame
    texts = {name: str for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)}
    return Ledger(frame.astype(texts), dict(ledger.provenance))


def copy(ledger: Ledger, **facts: object) -> Ledger:
    return Ledger(ledger.frame.copy(), {**ledger.provenance, **facts})


# --- Honest ledgers ---------------------------------------------------------------------------


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_run_of_ours_has_no_fault(run: Path) -> None:
    ledger = read_ledger(run)
    assert record_faults(ledger.provenance) == []
    assert ledger_faults(ledger) == []


def test_runs_of_one_dataset_have_one_input(honest: Ledger) -> None:
    first, second, *_ = map(read_ledger, RUNS)
    columns = [*OF_THE_INPUT, *judged_input(first.judges)]
    assert len(columns) == len(OF_THE_INPUT) + 36 * len(first.judges)
    assert differing(first, second, columns) == []
    assert differing(first, second, ["absolute_error"]) != []
    assert differing(honest, honest, list(SUMS)) == []


def whole(image: np.ndarray) -> np.ndarray:
    return image


def crop(image: np.ndarray) -> np.ndarray:
    return image[:, 70:230, 70:230]


@pytest.mark.parametrize(
    ("images", "cut"),
    [
        (lambda scene: scene.clear, whole),
        (lambda scene: scene.cloudy, whole),
        (lambda scene: scene.cloudy, crop),
        (lambda scene: np.zeros_like(scene.clear), whole),
        (lambda scene: np.full_like(scene.clear, 1.9), whole),
        (lambda scene: -scene.clear, whole),
        (lambda scene: scene.clear + np.float32(1e-6), crop),
        (lambda scene: np.random.default_rng(1).normal(0.5, 0.5, scene.clear.shape), whole),
    ],
    ids=["perfect", "copied", "crop", "zero", "bright", "negative", "almost", "noise"],
)
def test_an_extreme_prediction_is_not_taken_for_a_forgery(
    data: Path, tmp_path: Path, images: Callable, cut: Callable
) -> None:
    (tmp_path / "preds").mkdir()
    for files in find_scenes(data, "test"):
        image = cut(images(read_scene(files))).astype(np.float32)
        np.save(tmp_path / "preds" / f"{files.name}.npy", image)
    judge = ShadeJudge()
    ledger, *_ = evaluate(
        tmp_path / "preds", tmp_path, data=data, judges=[judge], quiet=True, workers=0
    )
    assert record_faults(ledger.provenance) == []
    assert ledger_faults(ledger) == []


def test_an_incomplete_run_and_one_by_thickness_are_no_forgeries(tmp_path: Path) -> None:
    data, truth = tmp_path / "data", tmp_path / "truth"
    simulate(data, size="tiny", truth=truth, workers=0, quiet=True)
    predict("copy-cloudy", data, tmp_path / "preds", quiet=True)
    options = {"data": data, "quiet": True, "workers": 0}
    bare, *_ = evaluate(tmp_path / "preds", tmp_path / "bare", **options)
    min((tmp_path / "preds").glob("*.tif")).unlink()
    few, _, problems = evaluate(
        tmp_path / "preds", tmp_path / "few", allow_missing=True, truth=truth, **options
    )
    assert problems
    assert set(few.frame["thickness"]) > {"unknown"} or len(set(few.frame["thickness"])) > 1
    assert ledger_faults(few) == []
    assert record_faults(few.provenance) == []
    assert differing(few, bare, list(SUMS)) == []  # the same cells, cut otherwise


# --- What it says of its run ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"colour": 1}, "colour: unknown"),
        ({"complete": 1}, "complete: expected bool, got int"),
        ({"scenes": True}, "scenes: expected int, got bool"),
        ({"name": None}, "name: expected str, got NoneType"),
        ({"scale": "1"}, "scale: expected int or float or NoneType, got str"),
        ({"scale": 0}, "scale: expected a positive number"),
        ({"scale": float("nan")}, "scale: expected a positive number"),
        ({"name": ".."}, "name: expected what matches"),
        ({"name": "../up"}, "name: expected what matches"),
        ({"name": "a/b"}, "name: expected what matches"),
        ({"name": "a" * 81}, "name: expected what matches"),
        ({"name": "a\n"}, "name: expected what matches"),
        ({"track": ".."}, "track: expected what matches"),
        ({"track": "a/b"}, "track: expected what matches"),
        ({"track": "Planet-CR"}, "track: expected what matches"),
        ({"split": "all"}, "split: expected what matches"),
        ({"fingerprint": "F" * 64}, "fingerprint: expected what matches"),
        ({"tool_version": "0.1; rm"}, "tool_version: expected what matches"),
        ({"protocols": {}}, "protocols: none"),
        ({"protocols": {"official": "mine"}}, "protocol 'official': expected official|window"),
        ({"protocols": {"easy": "mine"}}, "protocol 'easy': expected no such protocol"),
        ({"ledger_schema": 1}, "ledger_schema: expected 2"),
        ({"judges": {f"{n}": {"name": "a", "sha256": "b"} for n in range(11)}}, "at most 10"),
        ({"judges": {"a b": {"name": "a", "sha256": "b"}}}, "judges: expected a short key"),
        ({"judges": {"a": {"name": "a"}}}, "judges: expected a short key"),
        ({"judges": {"a": []}}, "judges: expected a short key"),
        ({"scenes": 0}, "scenes: expected 1 to 10, got 0"),
        ({"scenes": 11}, "scenes: expected 1 to 10, got 11"),
        ({"scenes": 9}, "complete: expected false for 9 of 10 scenes"),
        ({"method": "<script>"}, "method: expected plain text"),
        ({"method": "a\x1b[2J"}, "method: expected no control characters"),
        ({"method": "a" * 1001}, "method: expected at most 1000 characters"),
        ({"judges": {"a": {"name": "<i>", "sha256": "b"}}}, "judges.a.name: expected plain text"),
        ({"judges": {"a": {"name": "a", "sha256": "b", "<b>": 1}}}, "judges.a: expected plain"),
    ],
)
def test_a_fault_of_the_record_is_named(honest: Ledger, facts: dict, reason: str) -> None:
    assert record_faults(honest.provenance) == []
    assert reason in "\n".join(record_faults({**honest.provenance, **facts}))


def test_every_fault_of_the_record_is_listed(honest: Ledger) -> None:
    record = {**honest.provenance, "split": "all", "colour": 1, "scale": "1"}
    del record["truth"]
    assert len(record_faults(record)) == 4
    assert len(record_faults({})) == 15


def test_nesting_without_end_is_refused() -> None:
    deep: object = "<b>"
    for _ in range(1000):
        deep = [deep]
    (line,) = unclean({"judges": deep})
    assert "expected no deeper nesting" in line


# --- What sums can be -------------------------------------------------------------------------


def at(
    column: str, change: Callable[[pd.Series], object], row: int = 0
) -> Callable[[Ledger], None]:
    """Change one number; the row, where it matters, is one that has of it."""

    def tamper(ledger: Ledger) -> None:
        frame = ledger.frame
        rows = frame.index[frame[column].astype(bool)] if frame[column].dtype != object else [row]
        frame.loc[rows[0], column] = change(frame.loc[rows[0]])

    return tamper


def scaled(column: str, factor: float) -> Callable[[Ledger], None]:
    return at(column, lambda row: row[column] * factor)


def all_of(**changes: Callable[[pd.DataFrame], object]) -> Callable[[Ledger], None]:
    def tamper(ledger: Ledger) -> None:
        for column, change in changes.items():
            ledger.frame[column] = change(ledger.frame)

    return tamper


def without(protocol: str) -> Callable[[Ledger], Ledger]:
    def tamper(ledger: Ledger) -> Ledger:
        rows = ledger.frame.index[ledger.frame["protocol"] == protocol]
        return Ledger(ledger.frame.drop(index=rows[:1]), ledger.provenance)

    return tamper


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (scaled("squared_error", 1e-6), "(Σ|e|)² ≤ n·Σe² of the prediction; broken in 1 rows"),
        (scaled("squared_error", 1e6), "Σe² ≤ (Σ|e|)² of the prediction"),
        (scaled("input_squared_error", 1e-6), "(Σ|e|)² ≤ n·Σe² of the input"),
        (scaled("input_squared_error", 1e6), "Σe² ≤ (Σ|e|)² of the input"),
        (scaled("absolute_error", 9), "distances between prediction, cloudy and clear"),
        (all_of(out_of_range=lambda frame: frame["values"] + 1), "no more values out of range"),
        (scaled("angle_deg", 1e9), "angles of 0 to 180°"),
        (at("angle_pixels", lambda row: row["pixels"] + 1), "angles of 0 to 180°"),
        (scaled("input_angle_deg", 1e9), "angles of 0 to 180°"),
        (at("ssim", lambda row: 1.01 * row["ssim_pixels"] + 1), "SSIM of −1 to 1"),
        (at("input_ssim", lambda row: -1.01 * row["ssim_pixels"] - 1), "SSIM of −1 to 1"),
        (at("ssim_pixels", lambda row: row["pixels"] + 1), "SSIM of −1 to 1"),
        (at("ndvi_error", lambda row: 2.1 * row["ndvi_pixels"]), "NDVI errors of 0 to 2"),
        (at("ndvi_pixels", lambda row: row["pixels"] + 1), "NDVI errors of 0 to 2"),
        (at("worse_pixels", lambda row: row["pixels"] + 1), "no more worse pixels than pixels"),
        (at("pixels", lambda row: row["pixels"] + 1), "4 values for each"),
        (at("absolute_error", lambda _: -1.0), "sums of at least zero"),
        (at("absolute_error", lambda _: np.inf), "finite sums"),
        (at("cloud_cover", lambda _: 1.5), "a cloud cover between 0 and 1"),
        (at("latitude", lambda _: 91.0), "longitude and latitude in degrees"),
        (all_of(cloud_cover=lambda frame: frame["cloud_cover"] / 2), "cloud cover that its pixels"),
        (at("cloud_cover", lambda row: row["cloud_cover"] / 2), "one identity in all its rows"),
        (at("prediction_sha256", lambda _: "0" * 64), "one identity in all its rows"),
        (all_of(prediction_sha256=lambda _: "../x"), "a SHA-256 of each prediction"),
        (all_of(aoi=lambda _: "summer_1"), "named <season>_<aoi>_p_<patch>"),
        (all_of(season=lambda _: "summer_"), "named <season>_<aoi>_p_<patch>"),
        (all_of(split=lambda _: "train"), "scenes of the record's split"),
        (without("official"), "25600 pixels in protocol official; 1 have not"),
        (without("full"), "90000 pixels in protocol full; 1 have not"),
        (all_of(land_cover=lambda _: "moon"), "known protocols, classes, skies"),
    ],
)
def test_a_rule_that_is_broken_is_named(
    honest: Ledger, tamper: Callable[[Ledger], Ledger | None], reason: str
) -> None:
    forged = copy(honest)
    forged = tamper(forged) or forged
    assert reason in "\n".join(ledger_faults(forged))


def test_better_or_worse_than_the_input_needs_pixels_that_are(honest: Ledger) -> None:
    frame = honest.frame
    for change, rows in (
        (0, frame["absolute_error"] > 1.01 * frame["cloudy_clear"]),
        (1, frame["absolute_error"] < 0.99 * frame["cloudy_clear"]),
    ):
        forged = copy(honest)
        assert rows.any()
        forged.frame.loc[rows, "worse_pixels"] = change * frame.loc[rows, "pixels"]
        lines = "\n".join(ledger_faults(forged))
        assert f"the input's only with {'better' if change else 'worse'} pixels" in lines


def test_more_in_the_centre_than_in_the_whole_is_named(honest: Ledger) -> None:
    forged = copy(honest)
    full = forged.frame["protocol"] == "full"
    for name in ("absolute_error", "prediction_cloudy", "cloudy_clear"):
        forged.frame.loc[full, name] *= 0.01
    for name in ("squared_error", "input_squared_error"):
        forged.frame.loc[full, name] *= 0.0001
    lines = "\n".join(ledger_faults(forged))
    assert "no more absolute_error in the centre (official) than in the whole (full)" in lines
    assert "no more cloudy_clear in the centre" in lines


def test_scenes_are_counted(honest: Ledger) -> None:
    forged = copy(honest, scenes=9, expected_scenes=9)
    assert ledger_faults(forged) == ["expected 9 scenes by its record, found 10"]
    forged = copy(honest, protocols={"official": ""})
    (line, *_) = ledger_faults(forged)
    assert line == "expected the protocols of its record, found full too"


def test_counts_of_a_judge_are_those_of_the_pixels() -> None:
    forged = copy(read_ledger(RUNS[0]))
    column = next(iter(judged_columns(forged.judges[0])))
    forged.frame.loc[0, column] += 1
    assert ledger_faults(forged) == ["expected one reading of every pixel by each judge"]


# --- Two ledgers of the same scenes -----------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(SUMS)), st.integers(0, 10**6), st.floats(1.5, 10))
def test_a_sum_that_is_changed_is_named_with_its_scene(
    honest: Ledger, column: str, place: int, factor: float
) -> None:
    frame = honest.frame
    large = frame.index[frame[column].abs() > 0.01 * frame["pixels"]]
    large = large[frame.loc[large, "pixels"] > 100]
    if not len(large):
        return
    row = large[place % len(large)]
    forged = copy(honest)
    value = frame.loc[row, column] * factor
    forged.frame.loc[row, column] = int(value) if frame[column].dtype.kind == "i" else value
    (line,) = differing(forged, honest, list(SUMS))
    assert line.startswith(f"{column}: 1 cells differ, first {frame.loc[row, 'scene']} (")


def test_what_other_hardware_explains_is_let_pass(honest: Ledger) -> None:
    forged = copy(honest)
    forged.frame["absolute_error"] *= 1 + 5e-5
    forged.frame.loc[forged.frame["worse_pixels"] > 1, "worse_pixels"] -= 2
    assert differing(forged, honest, ["absolute_error", "worse_pixels"]) == []
    forged.frame["absolute_error"] *= 1 + 1e-3
    assert differing(forged, honest, ["absolute_error"])
    assert differing(forged, honest, ["absolute_error"], drift=0.01) == []


def test_cells_that_one_of_the_two_lacks_are_counted(honest: Ledger) -> None:
    less = Ledger(honest.frame.iloc[1:], honest.provenance)
    (line,) = differing(less, honest, OF_THE_INPUT)
    assert line.startswith("cells: 1 are in one of the two only, first ")


def test_only_scenes_and_protocols_of_both_are_compared(honest: Ledger) -> None:
    frame = honest.frame
    first = frame["scene"] == frame.loc[0, "scene"]
    other = frame.copy()
    other.loc[~first, "pixels"] += 7
    own = Ledger(frame[first & (frame["protocol"] == "official")], {"protocols": {"official": ""}})
    other.loc[other["protocol"] == "full", "pixels"] += 7
    assert differing(Ledger(other, honest.provenance), own, OF_THE_INPUT) == []
