"""What a ledger says can be told from what no measurement gives, by the ledger alone or a second.

Honest are the ledgers of ``results/``, and what is measured here of odd predictions; each lie is a
change to one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from paths import RUNS
from planetcr_bench.api import evaluate
from planetcr_bench.constants import THICKNESS
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_scene
from planetcr_bench.data.scene import Scene
from planetcr_bench.evaluation.runner import measure
from planetcr_bench.leaderboard.consistency import (
    DRIFT,
    OF_THE_INPUT,
    RECORD,
    TIPPED,
    differing,
    ledger_faults,
    misplaced,
    record_faults,
    segmenter_input,
    unclean,
)
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import SEGMENTED_IMAGES, SUMS, segmenter_columns
from planetcr_bench.predictions.format import Card, find_predictions, read_card, write_card
from planetcr_bench.results.ledger import COLUMNS, Ledger, read_ledger
from scenes import write_dataset, write_scene

RESULTS = RUNS
NAMES = sorted(path.parent.name for path in RESULTS.glob("*/ledger.parquet"))
COUNTS = [name for name in SUMS if "pixels" in name or name == "out_of_range"]
TIPPING = COUNTS[1:]
FLOATS = [name for name in SUMS if name not in (*COUNTS, "values")]

Where = dict[str, str]
CELL: Where = {"scene": "fall_663_p_56", "land_cover": "agriculture", "region": "cloud"}
FULL: Where = {**CELL, "protocol": "full"}
CENTRE: Where = {**CELL, "protocol": "official"}
INSIDE: Where = {"scene": "spring_672_p_3", "land_cover": "barren", "region": "edge"}
"""A cell of which every pixel is in the centre."""
ALL_INSIDE: Where = {**INSIDE, "protocol": "full"}
SCENE: Where = {"scene": CELL["scene"]}


def some_scenes(segmenters: int) -> Ledger:
    """Three scenes of a real run, as if they were all."""
    whole = read_ledger(RESULTS / "dsen2_cr_no_sar-narrow")
    chosen = ["fall_663_p_56", "spring_672_p_3", "spring_672_p_16"]
    kept = dict(list(whole.provenance["segmenters"].items())[:segmenters])
    columns = [*COLUMNS, *(name for segmenter in kept for name in segmenter_columns(segmenter))]
    frame = whole.frame.loc[whole.frame["scene"].isin(chosen), columns].reset_index(drop=True)
    frame = frame.astype({name: str for name in frame if frame[name].dtype == "category"})
    return Ledger(frame, {**whole.provenance, "segmenters": kept, "scenes": 3, "expected_scenes": 3,
        "track": "mine", "simulation": None})  # fmt: skip


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return some_scenes(segmenters=0)


@pytest.fixture(scope="module")
def segmented() -> Ledger:
    return some_scenes(segmenters=1)


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return dict(read_ledger(RESULTS / "mean-fill").provenance)


def rows_of(frame: pd.DataFrame, where: Where) -> pd.Series:
    mask = pd.Series(True, frame.index)
    for name, word in where.items():
        mask &= frame[name] == word
    assert mask.any()
    return mask


def tampered(ledger: Ledger, where: Where, **changes: object) -> Ledger:
    """Some rows changed: to a value, or by a function of the column."""
    frame = ledger.frame.copy()
    mask = rows_of(frame, where)
    for column, change in changes.items():
        new = change(frame.loc[mask, column]) if callable(change) else change
        frame.loc[mask, column] = new
    assert not frame.equals(ledger.frame)
    return replace(ledger, frame=frame)


def with_rows(ledger: Ledger, frame: pd.DataFrame) -> Ledger:
    return replace(ledger, frame=frame.reset_index(drop=True))


def plus(number: float) -> Callable[[pd.Series], pd.Series]:
    return lambda column: column + number


def times(number: float) -> Callable[[pd.Series], pd.Series]:
    return lambda column: column * number


# --- Honest ledgers -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_no_run_of_ours_has_a_fault(name: str) -> None:
    run = read_ledger(RESULTS / name)
    assert record_faults(run.provenance) == []
    assert ledger_faults(run) == []
    assert differing(run, run, list(SUMS)) == []


def test_what_hangs_on_the_dataset_alone_is_the_same_in_all_runs() -> None:
    one, other = (read_ledger(RESULTS / name) for name in ("mean-fill", "align_cr-narrow"))
    columns = segmenter_input(one.segmenters)
    assert len(columns) == 36 * len(one.segmenters) > 0
    assert differing(one, other, [*OF_THE_INPUT, *columns]) == []
    assert differing(one, other, ["squared_error", *columns, "ssim"]) != []


ODD: dict[str, Callable[[Scene], np.ndarray]] = {
    "perfect": lambda scene: scene.clear,
    "copy": lambda scene: scene.cloudy,
    "black": lambda scene: np.zeros_like(scene.clear),
    "blinding": lambda scene: np.full_like(scene.clear, 6),
    "negative": lambda scene: -scene.clear,
    "no ndvi": lambda scene: scene.clear * np.float32([1, 1, -1, 1])[:, None, None],
    "huge": lambda scene: np.full_like(scene.clear, 10),
    "tiny": lambda scene: np.full_like(scene.clear, 1e-45),
    "shifted": lambda scene: np.roll(scene.clear, 7, 2),
    "pasted": lambda scene: np.where(scene.cloud_mask, scene.cloudy, scene.clear),
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ledger]:
    """Ten scenes, each with another odd prediction, measured in each way that there is."""
    root = tmp_path_factory.mktemp("odd")
    data = write_dataset(root / "data", test=8)
    for patch, cover in ((1, 0), (2, 1)):
        write_scene(data, aoi=600, patch=patch, cover=cover)
    scenes = zip(find_scenes(data, "test"), ODD.values(), strict=True)
    images = {files.name: predict(read_scene(files)) for files, predict in scenes}
    crops = {name: image[:, 70:230, 70:230] for name, image in images.items()}
    sent = {"whole": images, "crop": crops, "part": dict(list(images.items())[1::3])}
    found = {}
    for way, predictions in sent.items():
        (root / way).mkdir()
        write_card(root / way, Card(scale=1.0))  # of large numbers it must be said
        for name, image in predictions.items():
            np.save(root / way / f"{name}.npy", image)
        found[way], _, _ = evaluate(
            root / way, root / "results", data=data, workers=0, tables=False,
            allow_missing=way == "part", quiet=True,
        )  # fmt: skip
    found["told"] = with_thickness(root / "whole", found["whole"], data)
    return found


def with_thickness(folder: Path, whole: Ledger, data: Path) -> Ledger:
    """The same predictions, as measured by one who knows how thick the clouds are."""
    scenes, rng = find_scenes(data, "test"), np.random.default_rng(0)
    for files in scenes:
        thickness = rng.exponential(8, (300, 300)) * rng.integers(0, 2, (300, 300))
        np.savez(data.parent / f"{files.name}.npz", cloud_thickness=thickness)
    predictions = find_predictions(folder, read_card(folder), scenes)
    table, _ = measure(
        predictions, {}, data.parent / "parts", optical_thickness=data.parent, workers=0, quiet=True
    )
    return Ledger(
        table.to_pandas(ignore_metadata=True), {**whole.provenance, "optical_thickness": True}
    )


def test_the_odd_predictions_are_odd(odd: dict[str, Ledger]) -> None:
    frame = odd["whole"].frame[odd["whole"].frame["protocol"] == "full"]
    sums = frame.groupby("scene", observed=True)[list(SUMS)].sum()
    sums.index = pd.Index(list(ODD))
    pixels = 90_000
    assert sums.at["perfect", "squared_error"] == sums.at["perfect", "worse_pixels"] == 0
    assert sums.at["copy", "prediction_cloudy"] == 0
    assert sums.at["black", "angle_pixels"] == sums.at["black", "ndvi_pixels"] == 0
    assert sums.at["blinding", "out_of_range"] == sums.at["blinding", "values"] == 4 * pixels
    assert sums.at["negative", "angle_deg"] > 179.99 * pixels
    assert sums.at["no ndvi", "ndvi_pixels"] > 0
    assert sums.at["negative", "ssim"] < 0
    assert sums.at["huge", "squared_error"] > 80 * 4 * pixels
    assert {*odd["told"].frame["thickness"]} == {*THICKNESS[1:]}
    assert {*odd["whole"].frame["cloud_cover"]} > {0, 1}
    assert [*odd["crop"].provenance["protocols"]] == ["official"]
    assert not odd["part"].provenance["complete"]


@pytest.mark.parametrize("way", ["whole", "told", "crop", "part"])
def test_whatever_was_predicted_an_honest_run_has_no_fault(
    odd: dict[str, Ledger], way: str
) -> None:
    assert record_faults(odd[way].provenance) == []
    assert ledger_faults(odd[way]) == []


@pytest.mark.parametrize("way", ["whole", "told", "crop", "part"])
def test_the_same_predictions_give_the_same_sums_in_what_two_runs_share(
    odd: dict[str, Ledger], way: str
) -> None:
    """Other rows by optical thickness, fewer scenes or one protocol make no difference."""
    assert differing(odd[way], odd["whole"], list(SUMS)) == []
    assert differing(odd["whole"], odd[way], list(SUMS)) == []


# --- What a ledger says of its run --------------------------------------------------------------


@pytest.mark.parametrize("key", RECORD)
def test_every_key_of_a_record_is_needed(record: dict[str, Any], key: str) -> None:
    less = {name: value for name, value in record.items() if name != key}
    assert record_faults(less) == [f"{key}: expected it to be given, it is missing"]


@pytest.mark.parametrize("key", RECORD)
def test_a_value_of_another_type_is_named(record: dict[str, Any], key: str) -> None:
    (line,) = record_faults({**record, key: []})
    assert line.startswith(f"{key}: expected ")
    assert line.endswith(", got list")


SEGMENTER = {"name": "resnet", "sha256": "ab" * 32}


def segmenter(**facts: object) -> dict[str, object]:
    return {"segmenters": {"a": {**SEGMENTER, **facts}}}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"more": 1}, "more: unknown"),
        # types
        ({"scenes": True}, "scenes: expected int, got bool"),
        ({"expected_scenes": True}, "expected_scenes: expected int, got bool"),
        ({"ledger_schema": True}, "ledger_schema: expected int, got bool"),
        ({"scale": True}, "scale: expected int or float or NoneType, got bool"),
        ({"scale": "1"}, "scale: expected int or float or NoneType, got str"),
        ({"complete": 1}, "complete: expected bool, got int"),
        ({"optical_thickness": 0}, "optical_thickness: expected bool, got int"),
        ({"optical_thickness": None}, "optical_thickness: expected bool, got NoneType"),
        ({"scenes": 108.0}, "scenes: expected int, got float"),
        ({"name": None}, "name: expected str, got NoneType"),
        ({"method": 7}, "method: expected str or NoneType, got int"),
        # patterns
        ({"name": ""}, "name: expected what matches"),
        ({"name": "../name"}, "name: expected what matches"),
        ({"name": ".name"}, "name: expected what matches"),
        ({"name": "a/b"}, "name: expected what matches"),
        ({"name": "n" * 81}, "name: expected what matches"),
        ({"track": "Sim"}, "track: expected what matches"),
        ({"track": "sim_v1"}, "track: expected what matches"),
        ({"track": "-sim"}, "track: expected what matches"),
        ({"split": "tests"}, "split: expected what matches train|val|test, got 'tests'"),
        ({"fingerprint": "F" * 64}, "fingerprint: expected what matches"),
        ({"fingerprint": "f" * 63}, "fingerprint: expected what matches"),
        ({"tool_version": "0.1 0"}, "tool_version: expected what matches"),
        ({"tool_version": "0" * 41}, "tool_version: expected what matches"),
        # protocols
        ({"ledger_schema": 1}, "ledger_schema: expected 3"),
        ({"protocols": {}}, "protocols: none"),
        ({"protocols": {"full": PROTOCOLS["full"].signature("all")}}, "protocols: none"),
        # counts
        ({"scenes": 0, "complete": False}, "scenes: expected 1 to 108, got 0"),
        ({"scenes": -1, "complete": False}, "scenes: expected 1 to 108, got -1"),
        ({"scenes": 109, "complete": False}, "scenes: expected 1 to 108, got 109"),
        ({"scenes": 107}, "complete: expected false for 107 of 108 scenes, got true"),
        ({"scale": 0}, "scale: expected a positive number, got 0"),
        ({"scale": -1.5}, "scale: expected a positive number, got -1.5"),
        ({"scale": 1e9}, "scale: expected a positive number, got 1000000000.0"),
        # segmenters
        (
            {"segmenters": {f"{one}": SEGMENTER for one in range(11)}},
            "segmenters: expected at most 10, got 11",
        ),
        (
            {"segmenters": {"": SEGMENTER}},
            "segmenters: expected a short key with name and sha256, got ''",
        ),
        ({"segmenters": {"a_b": SEGMENTER}}, "segmenters: expected a short key"),
        ({"segmenters": {"A": SEGMENTER}}, "segmenters: expected a short key"),
        ({"segmenters": {"a" * 41: SEGMENTER}}, "segmenters: expected a short key"),
        ({"segmenters": {"a": {"name": "resnet"}}}, "segmenters: expected a short key"),
        ({"segmenters": {"a": {"sha256": "ab"}}}, "segmenters: expected a short key"),
        ({"segmenters": {"a": ["name", "sha256"]}}, "segmenters: expected a short key"),
        (segmenter(name=["resnet"]), "segmenters: expected a short key"),
        (segmenter(sha256=None), "segmenters: expected a short key"),
        # texts
        ({"method": "<b>bold</b>"}, "method: expected plain text"),
        ({"method": "a &amp; b"}, "method: expected plain text"),
        ({"method": "javascript:alert(1)"}, "method: expected plain text"),
        ({"method": "\x1b[31m"}, "method: expected no control characters, got '\\x1b'"),
        ({"method": "two\nlines"}, "method: expected no control characters"),
        ({"method": "\u202eturned"}, "method: expected no control characters"),
        ({"method": "\ud800"}, "method: expected no control characters"),
        ({"method": "m" * 1001}, "method: expected at most 1000 characters, got 1001"),
        (segmenter(name="<i>"), "segmenters.a.name: expected plain text"),
        (
            segmenter(options={"encoder": "<i>"}),
            "segmenters.a.options.encoder: expected plain text",
        ),
        (segmenter(rates=[1, ["<i>"]]), "segmenters.a.rates.1.0: expected plain text"),
        (segmenter(options={"<i>": 1}), "segmenters.a.options: expected plain keys, got '<i>'"),
        (segmenter(options={"\x07": 1}), "segmenters.a.options: expected plain keys, got '\\x07'"),
        (segmenter(options={"o" * 101: 1}), "segmenters.a.options: expected plain keys, got 'ooo"),
        (segmenter(b={"c": {"d": {"e": 1}}}), "segmenters.a.b.c.d.e: expected no deeper nesting"),
        (segmenter(b=[[[[]]]]), "segmenters.a.b.0.0.0: expected no deeper nesting"),
    ],
)
def test_a_lie_of_the_record_is_named_and_nothing_else(
    record: dict[str, Any], change: dict[str, Any], line: str
) -> None:
    (found,) = record_faults({**record, **change})
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("name", "signature", "expected"),
    [
        ("full", "full|v2", "full|window:patch"),
        ("official", PROTOCOLS["full"].signature("all"), "official|window:centre160"),
        ("official", None, "official|window:centre160"),
        ("own", "own|v1", "no such protocol"),
    ],
)
def test_another_way_of_measuring_is_named(
    record: dict[str, Any], name: str, signature: object, expected: str
) -> None:
    protocols = {**record["protocols"], name: signature}
    (line,) = record_faults({**record, "protocols": protocols})
    assert line.startswith(f"protocol {name!r}: expected {expected}")
    assert line.endswith(f", got {signature!r}")


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 1},
        {"scale": 10_000.0},
        {"method": None},
        {"simulation": None, "track": "mine"},
        {"segmenters": {}},
        {"optical_thickness": True},
        {"complete": False},  # a surplus file makes it so
        {"complete": False, "scenes": 1},
        {"protocols": {"official": PROTOCOLS["official"].signature("all")}},
        {"name": "U-Netz 2.0 +x"},
        {"track": "planet-cr-val", "split": "val", "simulation": None},
        segmenter(b={"c": {"d": {}}}, scores={"miou": 0.5, "none": None}),
    ],
)
def test_what_an_honest_run_may_say_is_no_fault(
    record: dict[str, Any], change: dict[str, Any]
) -> None:
    assert record_faults({**record, **change}) == []


def test_all_faults_of_a_record_are_listed_at_once(record: dict[str, Any]) -> None:
    lies = {
        "more": 1, "name": "<b>", "scenes": 109, "optical_thickness": 1, "method": "\x07",
        "scale": 0, "ledger_schema": 1, "segmenters": {"A": SEGMENTER}, "protocols": {"own": ""},
    }  # fmt: skip
    lines = record_faults({key: one for key, one in {**record, **lies}.items() if key != "split"})
    starts = [line.partition(":")[0] for line in lines]
    assert sorted(starts) == sorted([
        "more", "name", "name", "scenes", "complete", "optical_thickness", "method", "scale",
        "ledger_schema",
        "segmenters", "protocols", "protocol 'own'", "split",
    ])  # fmt: skip


def test_an_empty_record_lacks_everything_and_is_no_traceback() -> None:
    assert len(record_faults({})) == len(RECORD)


def test_longer_texts_are_plain_where_they_are_expected() -> None:
    assert unclean(["x" * 2000]) != []
    assert unclean(["x" * 2000], longest=2000) == []
    assert unclean({"a": {"b": 1}}, depth=2) == ["a.b: expected no deeper nesting"]
    assert unclean({"a": {"b": "fine"}, "c": [1, None, True]}, depth=3) == []


# --- What sums can be: one rule at a time -------------------------------------------------------


def test_the_scenes_that_are_tampered_with_are_honest(ledger: Ledger, segmented: Ledger) -> None:
    for one in (ledger, segmented):
        assert ledger_faults(one) == []
        assert record_faults(one.provenance) == []


ERRORS = "distances between prediction, cloudy and clear that none exceeds the other two"
WORDS = "known protocols, classes, regions and thickness"
LEAST = "sums of at least zero, save ssim"
VALUES = "pixels in every row, and 4 values for each"
DEGREES = "longitude and latitude in degrees, both or none"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"absolute_error": np.inf}, "finite sums"),
        ({"ssim": np.nan}, "finite sums"),
        ({"angle_deg": -1e-9}, LEAST),
        ({"out_of_range": -1}, LEAST),
        ({"worse_pixels": -1}, LEAST),
        ({"pixels": 0, "values": 0, "worse_pixels": 0}, VALUES),
        ({"values": plus(1)}, VALUES),
        ({"protocol": "own"}, WORDS),
        ({"land_cover": "ice"}, WORDS),
        ({"region": "Cloud"}, WORDS),
        ({"thickness": "0-1"}, WORDS),
        ({"cloud_cover": 1.01}, "a cloud cover between 0 and 1"),
        ({"cloud_cover": np.nan}, "a cloud cover between 0 and 1"),
        ({"longitude": 180.5}, DEGREES),
        ({"latitude": -91.0}, DEGREES),
        ({"latitude": np.nan}, DEGREES),
        ({"absolute_error": times(20)}, ERRORS),
        ({"prediction_cloudy": times(0.5)}, ERRORS),
        ({"cloudy_clear": times(0.5)}, ERRORS),
        ({"worse_pixels": 28_314}, "no more worse pixels than pixels"),
    ],
)
def test_a_row_that_cannot_be_is_named(
    ledger: Ledger, changes: dict[str, object], rule: str
) -> None:
    assert ledger_faults(tampered(ledger, FULL, **changes)) == [f"expected {rule}"]


def test_no_row_at_all_and_a_row_twice_are_named(ledger: Ledger) -> None:
    assert "expected at least one row" in ledger_faults(with_rows(ledger, ledger.frame[:0]))
    twice = pd.concat([ledger.frame, ledger.frame[:1]])
    assert ledger_faults(with_rows(ledger, twice)) == [
        "expected each scene × protocol × class × region × thickness once"
    ]


ANGLES = "angles of 0 to 180° at no more than all pixels"
NDVI = "NDVI errors of 0 to 2 at no more than all pixels"
SSIM = "SSIM of −1 to 1 at no more than all pixels"
URBAN: Where = {**CENTRE, "land_cover": "urban", "region": "clear"}


@pytest.mark.parametrize(
    ("where", "changes", "rule"),
    [
        (CENTRE, {"squared_error": times(0.1)}, "(Σ|e|)² ≤ n·Σe² of the prediction"),
        (CENTRE, {"squared_error": 0.0}, "(Σ|e|)² ≤ n·Σe² of the prediction"),
        (FULL, {"squared_error": times(1e9)}, "Σe² ≤ (Σ|e|)² of the prediction"),
        (CENTRE, {"input_squared_error": times(0.1)}, "(Σ|e|)² ≤ n·Σe² of the input"),
        (FULL, {"input_squared_error": times(1e9)}, "Σe² ≤ (Σ|e|)² of the input"),
        (URBAN, {"worse_pixels": 0}, "an error above the input's only with worse pixels"),
        (FULL, {"worse_pixels": 28_313}, "an error below the input's only with better pixels"),
        (FULL, {"out_of_range": 4 * 28_313 + 1}, "no more values out of range than values"),
        (FULL, {"angle_pixels": plus(1)}, ANGLES),
        (FULL, {"input_angle_pixels": plus(1)}, ANGLES),
        (FULL, {"angle_deg": 180.1 * 28_313}, ANGLES),
        (FULL, {"angle_pixels": 100}, ANGLES),
        (FULL, {"input_angle_deg": 180.1 * 28_313}, ANGLES),
        (FULL, {"ssim": 1.01 * 26_960}, SSIM),
        (FULL, {"ssim": -1.01 * 26_960}, SSIM),
        (FULL, {"input_ssim": 1.01 * 26_960}, SSIM),
        (FULL, {"input_ssim": -1.01 * 26_960}, SSIM),
        (FULL, {"ndvi_pixels": plus(1)}, NDVI),
        (FULL, {"ndvi_error": 2.01 * 28_313}, NDVI),
    ],
)
def test_a_sum_that_no_pixels_give_is_named_and_nothing_else(
    ledger: Ledger, where: Where, changes: dict[str, object], rule: str
) -> None:
    place = ", ".join(where[name] for name in ("protocol", "land_cover", "region"))
    assert ledger_faults(tampered(ledger, where, **changes)) == [
        f"expected {rule}; broken in 1 rows, first {where['scene']} ({place})"
    ]


def test_ssim_at_more_pixels_than_there_are_is_named(ledger: Ledger) -> None:
    """Taken from another row, so that the scene has as many as it should."""
    moved = tampered(ledger, CENTRE, ssim_pixels=plus(1))
    (line,) = ledger_faults(tampered(moved, {**CENTRE, "region": "edge"}, ssim_pixels=plus(-1)))
    assert line.startswith(f"expected {SSIM}; broken in 1 rows")


NAMED = "scenes named <season>_<aoi>_p_<patch> after their columns"
DIGEST = "a SHA-256 of each prediction"


@pytest.mark.parametrize(
    ("where", "changes", "rule"),
    [
        (SCENE, {"scene": "fall_663_p_57"}, NAMED),
        (SCENE, {"patch": 57}, NAMED),
        (SCENE, {"aoi": "fall_664"}, NAMED),
        (SCENE, {"season": "winter"}, NAMED),
        (SCENE, {"scene": "Fall_1_p_56", "aoi": "Fall_1", "season": "Fall"}, NAMED),
        (SCENE, {"scene": "<b>_1_p_56", "aoi": "<b>_1", "season": "<b>"}, NAMED),
        (SCENE, {"scene": "fall_x_p_56", "aoi": "fall_x"}, NAMED),
        (SCENE, {"scene": "fall_663_p_-1", "patch": -1}, NAMED),
        (SCENE, {"scene": "fall_663_p_5600000", "patch": 5_600_000}, NAMED),
        (SCENE, {"scene": "../fall_1_p_56", "aoi": "../fall_1", "season": "../fall"}, NAMED),
        (SCENE, {"split": "val"}, "scenes of the record's split"),
        ({}, {"split": "train"}, "scenes of the record's split"),
        (SCENE, {"prediction_sha256": ""}, DIGEST),
        (SCENE, {"prediction_sha256": "F" * 64}, DIGEST),
        (SCENE, {"prediction_sha256": "f" * 65}, DIGEST),
    ],
)
def test_a_scene_that_is_none_is_named_and_nothing_else(
    ledger: Ledger, where: Where, changes: dict[str, object], rule: str
) -> None:
    (line,) = ledger_faults(tampered(ledger, where, **changes))
    assert line.startswith(f"expected {rule}; broken in ")


COVER = "expected each scene to have the cloud cover that its pixels under cloud give"


@pytest.mark.parametrize(
    ("where", "changes", "line"),
    [
        (CENTRE, {"cloud_cover": 0.1}, "expected each scene to have one identity in all its rows"),
        (CENTRE, {"longitude": plus(1)}, "expected each scene to have one identity"),
        (CENTRE, {"latitude": plus(1)}, "expected each scene to have one identity"),
        (
            CENTRE,
            {"longitude": np.nan, "latitude": np.nan},
            "expected each scene to have one identity",
        ),
        (CENTRE, {"prediction_sha256": "f" * 64}, "expected each scene to have one identity"),
        (
            {**FULL, "region": "clear"},
            {"pixels": plus(1), "values": plus(4)},
            "expected each scene to have 90000 pixels in protocol full; 1 have not, first fall_663",
        ),
        (
            CENTRE,
            {
                **dict.fromkeys(("pixels", "angle_pixels", "input_angle_pixels"), plus(1)),
                "values": plus(4),
            },
            "expected each scene to have 25600 pixels in protocol official; 1 have not",
        ),
        (
            FULL,
            {"ssim_pixels": plus(-1)},
            "expected each scene to have SSIM at 84100 pixels in protocol full; 1 have not",
        ),
        (
            CENTRE,
            {"ssim_pixels": plus(-1)},
            "expected each scene to have SSIM at 25600 pixels in protocol official; 1 have not",
        ),
        (SCENE, {"cloud_cover": plus(0.001)}, f"{COVER}; 1 have not, first fall_663_p_56"),
        ({}, {"cloud_cover": times(0.99)}, f"{COVER}; 3 have not, first fall_663_p_56"),
    ],
)
def test_what_no_scene_can_be_is_named_and_nothing_else(
    ledger: Ledger, where: Where, changes: dict[str, object], line: str
) -> None:
    (found,) = ledger_faults(tampered(ledger, where, **changes))
    assert found.startswith(line)


def test_a_scene_that_is_hidden_or_of_another_protocol_is_named(ledger: Ledger) -> None:
    frame, record = ledger.frame, ledger.provenance
    assert ledger_faults(with_rows(ledger, frame[frame["scene"] != CELL["scene"]])) == [
        "expected 3 scenes by its record, found 2"
    ]
    only = {"official": record["protocols"]["official"]}
    assert ledger_faults(replace(ledger, provenance={**record, "protocols": only})) == [
        "expected the protocols of its record, found full too"
    ]
    lines = ledger_faults(with_rows(ledger, frame[frame["protocol"] == "official"]))
    assert lines[0].startswith("expected each scene to have 90000 pixels in protocol full; 3 have")
    lines = ledger_faults(with_rows(ledger, frame[~rows_of(frame, {**SCENE, "protocol": "full"})]))
    assert lines[0].startswith("expected each scene to have 90000 pixels in protocol full; 1 have")


def more_than_the_whole(column: str) -> str:
    return (
        f"expected no more {column} in the centre (official) than in the whole (full); "
        "broken in 1 cells, first spring_672_p_3"
    )


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("absolute_error", times(0.99)),
        ("squared_error", times(0.99)),
        ("ndvi_error", times(0.99)),
        ("ndvi_pixels", plus(-1)),
        ("worse_pixels", plus(-1)),
        ("prediction_cloudy", times(0.99)),
        ("cloudy_clear", times(0.99)),
        ("input_squared_error", times(0.99)),
    ],
)
def test_a_part_above_the_whole_is_named_and_nothing_else(
    ledger: Ledger, column: str, change: object
) -> None:
    lines = ledger_faults(tampered(ledger, ALL_INSIDE, **{column: change}))
    assert lines == [more_than_the_whole(column)]


def test_more_out_of_range_in_the_centre_than_in_the_whole_is_named(ledger: Ledger) -> None:
    lines = ledger_faults(tampered(ledger, {**INSIDE, "protocol": "official"}, out_of_range=1))
    assert lines == [more_than_the_whole("out_of_range")]


def test_more_pixels_in_the_centre_than_in_the_whole_are_named(ledger: Ledger) -> None:
    """A pixel is taken from a cell and given to its neighbour, with all that was measured there."""
    counts = ["pixels", "angle_pixels", "input_angle_pixels", "ssim_pixels", "ndvi_pixels"]
    other = {**ALL_INSIDE, "region": "clear"}
    for where, pixels in ((ALL_INSIDE, -1), (other, 1)):
        changes = {**dict.fromkeys(counts, plus(pixels)), "values": plus(4 * pixels)}
        ledger = tampered(ledger, where, **changes)
    ledger = tampered(ledger, {**INSIDE, "protocol": "official"}, ndvi_pixels=plus(-1))
    assert ledger_faults(ledger) == [more_than_the_whole("pixels")]


def test_a_cell_of_the_centre_that_the_whole_lacks_is_named(ledger: Ledger) -> None:
    unknown = tampered(ledger, ALL_INSIDE, land_cover="unknown")
    named = ["pixels", "absolute_error", "squared_error", "ndvi_error", "ndvi_pixels",
             "worse_pixels", "prediction_cloudy", "cloudy_clear",
             "input_squared_error"]  # fmt: skip
    assert ledger_faults(unknown) == [more_than_the_whole(name) for name in named]


def test_rounding_is_no_lie(ledger: Ledger) -> None:
    rng = np.random.default_rng(0)
    changes = {name: lambda one: one * rng.normal(1, 1e-11, len(one)) for name in FLOATS}
    assert ledger_faults(tampered(ledger, {}, **changes)) == []


def test_all_lies_are_listed_at_once(ledger: Ledger) -> None:
    lies = tampered(ledger, FULL, ndvi_error=1e9, angle_deg=1e9)
    lies = tampered(lies, SCENE, prediction_sha256="", cloud_cover=0.5)
    lies = tampered(lies, ALL_INSIDE, worse_pixels=0)
    lies = with_rows(lies, lies.frame[lies.frame["scene"] != "spring_672_p_16"])
    lines = ledger_faults(lies)
    words = [ANGLES, NDVI, DIGEST, "3 scenes by its record", "no more worse_pixels", "cloud cover"]
    for line, word in zip(lines, words, strict=True):
        assert word in line


def test_a_scene_in_two_splits_is_named(ledger: Ledger) -> None:
    again = ledger.frame[ledger.frame["scene"] == CELL["scene"]].assign(split="val")
    lines = ledger_faults(with_rows(ledger, pd.concat([ledger.frame, again])))
    assert lines[0].startswith("expected scenes of the record's split; broken in 30 rows")
    assert lines[1].startswith("expected each scene to have one identity in all its rows; 1 have")


# --- Counts so large that sums of them come out as any ------------------------------------------

MOST = "expected no count above a patch's pixels; broken in"


def test_pixels_whose_sum_wraps_around_are_named(ledger: Ledger) -> None:
    """Four rows of 2⁶² pixels, and so of 2⁶⁴ = 0 values, add nothing to a scene."""
    rows = ledger.frame[rows_of(ledger.frame, {**SCENE, "region": "clear", "land_cover": "urban"})]
    empty = rows.assign(**dict.fromkeys(SUMS, 0)).assign(pixels=2**62)
    more = [empty.assign(thickness=word) for word in THICKNESS[1:5]]
    frame = pd.concat([ledger.frame, *more]).astype(ledger.frame.dtypes)
    assert frame.groupby(["scene", "protocol"])["pixels"].sum().isin([25_600, 90_000]).all()
    assert ledger_faults(with_rows(ledger, frame))[0].startswith(f"{MOST} 8 rows")


def segmenter_counts(ledger: Ledger, image: str) -> list[str]:
    return [name for name in segmenter_columns(ledger.segmenters[0]) if f"_{image}_" in name]


def test_counts_of_a_segmenter_whose_sum_wraps_around_are_named(segmented: Ledger) -> None:
    names = [name for image in SEGMENTED_IMAGES for name in segmenter_counts(segmented, image)[:4]]
    (line,) = ledger_faults(tampered(segmented, FULL, **dict.fromkeys(names, plus(2**62))))
    assert line.startswith(f"{MOST} 1 rows")


def test_a_segmenter_that_read_more_pixels_or_another_clear_image_is_named(
    segmented: Ledger,
) -> None:
    first, second, *_ = prediction = segmenter_counts(segmented, "prediction")
    rule = ["expected one reading of every pixel by each segmenter"]
    assert ledger_faults(tampered(segmented, FULL, **{first: plus(1)})) == rule
    assert ledger_faults(tampered(segmented, FULL, **{first: -1, second: plus(1)})) == rule
    moved = {prediction[0]: plus(-1), prediction[6]: plus(1)}  # to another class of the clear image
    counted = tampered(segmented, FULL, **{prediction[0]: plus(1), prediction[1]: plus(-1)})
    assert ledger_faults(tampered(counted, FULL, **moved)) == rule
    assert ledger_faults(counted) == []


# --- Two ledgers of the same scenes -------------------------------------------------------------


def test_a_drift_of_every_sum_and_some_tipped_pixels_are_let_pass(ledger: Ledger) -> None:
    for sign in (1, -1):
        drifted = dict.fromkeys(FLOATS, times(1 + sign * DRIFT / 2))
        tipped = dict.fromkeys(TIPPING, plus(sign * TIPPED))
        other = tampered(tampered(ledger, {}, **drifted), ALL_INSIDE, **tipped)
        assert differing(other, ledger, list(SUMS)) == []


@pytest.mark.parametrize("column", FLOATS)
def test_a_sum_beyond_the_drift_is_named_and_nothing_else(ledger: Ledger, column: str) -> None:
    far = tampered(ledger, FULL, **{column: times(1 + 4 * DRIFT)})
    (line,) = differing(far, ledger, list(SUMS))
    expected, got = (
        one.frame.loc[rows_of(one.frame, FULL), column].item() for one in (ledger, far)
    )
    place = "fall_663_p_56 (full, agriculture, cloud)"
    assert line == (
        f"{column}: 1 cells differ, first {place}: expected {expected:.8g}, got {got:.8g}"
    )
    assert len(differing(ledger, far, [column])) == 1
    assert differing(far, ledger, [column], drift=10 * DRIFT) == []


@pytest.mark.parametrize("column", TIPPING)
@pytest.mark.parametrize("sign", [1, -1])
def test_many_pixels_of_a_count_are_named(ledger: Ledger, column: str, sign: int) -> None:
    many = tampered(ledger, ALL_INSIDE, **{column: plus(sign * (TIPPED + 1))})
    (line,) = differing(many, ledger, ["ssim", column])
    assert line.startswith(f"{column}: 1 cells differ, first spring_672_p_3 (full, barren, edge)")


def test_no_pixel_of_a_small_cell_may_be_lacking(ledger: Ledger) -> None:
    for column in ("pixels", "values"):
        (line,) = differing(tampered(ledger, ALL_INSIDE, **{column: plus(-1)}), ledger, list(SUMS))
        assert line.startswith(f"{column}: 1 cells differ")


def test_a_segmenter_s_counts_may_tip_and_no_more(segmented: Ledger) -> None:
    (column, *_), columns = (
        segmenter_counts(segmented, "cloudy"),
        segmenter_input(segmented.segmenters),
    )
    for pixels, cells in ((TIPPED, 0), (TIPPED + 1, 1)):
        lines = differing(
            tampered(segmented, ALL_INSIDE, **{column: plus(pixels)}), segmented, columns
        )
        assert len(lines) == cells
        assert all(line.startswith(f"{column}: 1 cells differ") for line in lines)


def test_every_column_that_differs_has_a_line(ledger: Ledger) -> None:
    other = tampered(ledger, SCENE, ssim=times(0.9), angle_deg=times(1.1))
    lines = differing(other, ledger, list(SUMS))
    cells = int(rows_of(ledger.frame, SCENE).sum())
    assert [line.partition(",")[0] for line in lines] == [
        f"angle_deg: {cells} cells differ", f"ssim: {cells} cells differ"
    ]  # fmt: skip


def test_cells_that_only_one_has_are_named(ledger: Ledger) -> None:
    less = with_rows(ledger, ledger.frame[~rows_of(ledger.frame, ALL_INSIDE)])
    line = "cells: 1 are in one of the two only, first spring_672_p_3 (full, barren, edge)"
    assert differing(less, ledger, list(SUMS)) == [line]
    assert differing(ledger, less, OF_THE_INPUT) == [line]


def test_rows_of_other_thickness_and_order_are_the_same_cells(ledger: Ledger) -> None:
    part = ledger.frame.copy()
    for name in SUMS:
        part[name] = part[name] // 3 if part[name].dtype.kind == "i" else part[name] / 3
    rest = ledger.frame.assign(**{name: ledger.frame[name] - part[name] for name in SUMS})
    frame = pd.concat([part.assign(thickness="0-0.25"), rest.assign(thickness="16-")])
    mixed = with_rows(ledger, frame.sample(frac=1, random_state=0))
    assert differing(mixed, ledger, list(SUMS)) == []
    assert differing(ledger, mixed, list(SUMS)) == []
    wrong = tampered(mixed, {**FULL, "thickness": "16-"}, ssim=times(1.01))
    assert [line[:20] for line in differing(wrong, ledger, list(SUMS))] == ["ssim: 1 cells differ"]


def test_only_scenes_and_protocols_that_both_have_are_compared(ledger: Ledger) -> None:
    wrong = tampered(ledger, FULL, ssim=times(0.5))
    others = with_rows(wrong, wrong.frame[wrong.frame["scene"] != CELL["scene"]])
    official = PROTOCOLS["official"].signature("all")
    centre = Ledger(
        wrong.frame[wrong.frame["protocol"] == "official"], {"protocols": {"official": official}}
    )
    none = with_rows(wrong, wrong.frame.assign(scene="fall_1_p_1"))
    for some in (others, centre, none):
        assert differing(some, ledger, list(SUMS)) == []
        assert differing(ledger, some, list(SUMS)) == []
    assert differing(wrong, ledger, list(SUMS)) != []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 67), st.sampled_from(list(SUMS)), st.floats(1.5, 10), st.booleans())
def test_a_sum_of_any_weight_that_was_scaled_is_named(
    ledger: Ledger, row: int, column: str, factor: float, swapped: bool
) -> None:
    scene, protocol, value, pixels = (
        ledger.frame.loc[row, name] for name in ("scene", "protocol", column, "pixels")
    )
    counted = ledger.frame[column].dtype.kind == "i"
    assume(abs(value) > (max(10, pixels / 100) if counted else 1e-5 * pixels))
    frame = ledger.frame.copy()
    frame.loc[row, column] = round(value * factor) if counted else value * factor
    pair = (replace(ledger, frame=frame), ledger)
    (line,) = differing(*(pair[::-1] if swapped else pair), [*{column, "ssim", "angle_pixels"}])
    assert line.startswith(f"{column}: 1 cells differ, first {scene} ({protocol}, ")


# --- What else must agree -----------------------------------------------------------------------


def test_a_copy_of_the_input_has_the_input_s_errors(ledger: Ledger) -> None:
    """Of a row that is the input itself, no error can be better."""
    frame = ledger.frame
    same = {
        "absolute_error": frame["cloudy_clear"], "squared_error": frame["input_squared_error"],
        "angle_deg": frame["input_angle_deg"], "angle_pixels": frame["input_angle_pixels"],
        "prediction_cloudy": 0.0, "worse_pixels": 0,
    }  # fmt: skip
    copied = with_rows(ledger, frame.assign(**same))
    assert ledger_faults(copied) == []
    for column in ("squared_error", "angle_deg"):
        better = with_rows(ledger, copied.frame.assign(**{column: frame[column] * 0.99}))
        assert "the input's own errors of what is the input" in "\n".join(ledger_faults(better))


def test_every_pixel_of_the_official_protocol_has_an_angle(ledger: Ledger) -> None:
    for column in ("angle_pixels", "input_angle_pixels"):
        (line,) = ledger_faults(tampered(ledger, CENTRE, **{column: plus(-1)}))
        assert line.startswith("expected an angle of every pixel in protocol official; broken in 1")


def test_thickness_is_told_if_and_only_if_the_truth_was_given(ledger: Ledger) -> None:
    rule = "expected an optical thickness where the truth was given, and only there; broken in "
    (line,) = ledger_faults(tampered(ledger, {}, thickness=THICKNESS[1]))
    assert line.startswith(rule)
    (line,) = ledger_faults(
        replace(ledger, provenance={**ledger.provenance, "optical_thickness": True})
    )
    assert line.startswith(rule)


def test_a_cloud_cover_that_the_centre_rules_out_is_named(ledger: Ledger) -> None:
    """Of a crop alone, the cover may be anything that the pixels outside of it allow."""
    frame, record = ledger.frame, ledger.provenance
    only = {"official": record["protocols"]["official"]}
    crop = Ledger(frame[frame["protocol"] == "official"], {**record, "protocols": only})
    assert ledger_faults(crop) == []
    cloudy = crop.frame["pixels"].where(crop.frame["region"] == "cloud", 0)
    seen = cloudy.groupby(crop.frame["scene"].astype(str)).sum()
    least, most = seen / 90_000, 1 - (25_600 - seen) / 90_000
    for share, faults in ((least, 0), (most, 0), (least - 0.001, 1), (most + 0.001, 1)):
        covers = crop.frame["scene"].astype(str).map(share)
        possible = covers.between(0, 1)
        told = with_rows(crop, crop.frame.assign(cloud_cover=covers.clip(0, 1)))
        lines = ledger_faults(told)
        assert len(lines) == (faults if possible.any() else 0)
        assert all(COVER in line for line in lines)


def test_scenes_elsewhere_or_under_other_clouds_are_named(ledger: Ledger) -> None:
    assert misplaced(ledger, ledger) == []
    for fact in ("cloud_cover", "longitude", "latitude"):
        moved = tampered(ledger, SCENE, **{fact: plus(0.005)})
        (line,) = misplaced(moved, ledger)
        assert line == f"{fact}: 1 scenes differ, first fall_663_p_56"
    assert misplaced(tampered(ledger, SCENE, cloud_cover=plus(0.005)), ledger, drift=0.01) == []


def test_pixels_of_the_very_same_scenes_are_the_very_same(ledger: Ledger) -> None:
    one = tampered(ledger, FULL, pixels=plus(1))
    (line,) = differing(one, ledger, ["pixels"])
    assert line.startswith("pixels: 1 cells differ")
    assert differing(one, ledger, ["pixels"], drift=0.01) == []
