"""Honest ledgers pass, and a sum that no measurement can have given is named.

Honest are the ledgers of ``results/``, and what is measured here of odd predictions; each lie is a
change to one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from other_datasets import each_dataset, made_run
from paths import RUNS
from planetcr_bench.api import evaluate
from planetcr_bench.constants import OPTICAL_BANDS, THICKNESS
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_scene
from planetcr_bench.data.scene import Scene
from planetcr_bench.evaluation.runner import measure_scenes
from planetcr_bench.leaderboard.ledgers import record_errors
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import SEGMENTED_IMAGES, SUMS
from planetcr_bench.predictions.card import Card, read_card, write_card
from planetcr_bench.predictions.folder import find_predictions
from planetcr_bench.results.ledger import Ledger, read_ledger
from planetcr_bench.results.schema import schema_of
from planetcr_bench.submission.comparison import differing
from planetcr_bench.submission.plausibility import ledger_errors
from planetcr_bench.submission.record import SentRecord
from scenes import write_dataset, write_scene
from tampering import (
    ALL_INSIDE,
    CELL,
    CENTRE,
    FLOATS,
    FULL,
    SCENE,
    Where,
    plus,
    read_counts,
    rows_of,
    tampered,
    times,
    with_rows,
)

NAMES = sorted(path.parent.name for path in RUNS.glob("*/ledger.parquet"))


# --- Honest ledgers -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_no_run_of_ours_has_an_error(name: str) -> None:
    run = read_ledger(RUNS / name)
    assert record_errors(run.provenance, SentRecord) == []
    assert ledger_errors(run) == []
    assert differing(run, run, list(SUMS)) == []


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
    ledgers = {}
    for way, predictions in sent.items():
        (root / way).mkdir()
        write_card(root / way, Card(scale=1.0))  # of large numbers it must be said
        for name, image in predictions.items():
            np.save(root / way / f"{name}.npy", image)
        ledgers[way], _, _ = evaluate(
            root / way, root / "results", data=data, workers=0, tables=False,
            allow_missing=way == "part", quiet=True,
        )  # fmt: skip
    ledgers["thick"] = with_thickness(root / "whole", ledgers["whole"], data)
    return ledgers


def with_thickness(folder: Path, whole: Ledger, data: Path) -> Ledger:
    """The same predictions, as measured by one who knows how thick the clouds are."""
    scenes, rng = find_scenes(data, "test"), np.random.default_rng(0)
    for files in scenes:
        thickness = rng.exponential(8, (300, 300)) * rng.integers(0, 2, (300, 300))
        np.savez(data.parent / f"{files.name}.npz", cloud_thickness=thickness)
    predictions = find_predictions(folder, read_card(folder), scenes)
    table, _ = measure_scenes(
        predictions, {}, data.parent / "parts", protocols=[*PROTOCOLS.values()],
        bands=OPTICAL_BANDS, optical_thickness=data.parent, workers=0, quiet=True,
    )  # fmt: skip
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
    assert sums.at["negative", "ssim"] < 0
    assert sums.at["huge", "squared_error"] > 80 * 4 * pixels
    assert {*odd["whole"].frame["cloud_cover"]} > {0, 1}


@pytest.mark.parametrize("way", ["whole", "thick", "crop", "part"])
def test_whatever_was_predicted_an_honest_run_has_no_error(
    odd: dict[str, Ledger], way: str
) -> None:
    """And other rows by optical thickness, fewer scenes or one protocol make no difference."""
    assert record_errors(odd[way].provenance, SentRecord) == []
    assert ledger_errors(odd[way]) == []
    assert differing(odd[way], odd["whole"], list(SUMS)) == []
    assert differing(odd["whole"], odd[way], list(SUMS)) == []


# --- What sums can be: one rule at a time -------------------------------------------------------


def test_the_scenes_that_are_tampered_with_are_honest(ledger: Ledger, segmented: Ledger) -> None:
    assert ledger_errors(ledger) == ledger_errors(segmented) == []


ERRORS = "distances between prediction, cloudy and clear that satisfy the triangle inequality"
WORDS = "known protocols, classes, regions and thickness"
LEAST = "sums of at least zero, save ssim"
VALUES = "pixels in every row, and 4 values for each"
DEGREES = "longitude and latitude in degrees, both or none"
ANGLES = "angles of the {} of 0 to 180° at no more than all pixels"
NDVI = "NDVI errors of 0 to 2 at no more than all pixels"
SSIM = "SSIM of −1 to 1 at no more than all pixels"
SQUARES = "Σe² of the {} from (Σ|e|)² / n to (Σ|e|)²"
NAMED = "scenes named <season>_<aoi>_p_<patch> after their columns"
DIGEST = "a SHA-256 of each prediction"
IDENTITY = "one AOI, cloud cover and prediction of each scene"
PLACE = "one longitude and latitude of each scene"
COVER = "the cloud cover that the pixels of a scene under cloud give"
PIXELS = "pixels of each scene: 25600 in protocol official, 90000 in protocol full"
SSIM_PIXELS = "SSIM pixels of each scene: 25600 in protocol official, 84100 in protocol full"
THICK = "an optical thickness where the truth was given, and only there"
URBAN: Where = {**CENTRE, "land_cover": "urban", "region": "clear"}
CLEAR: Where = {**FULL, "region": "clear"}


@pytest.mark.parametrize(
    ("where", "changes", "rule"),
    [
        # rows
        (FULL, {"absolute_error": np.inf}, "finite sums"),
        (FULL, {"ssim": np.nan}, "finite sums"),
        (FULL, {"angle_deg": -1e-9}, LEAST),
        (FULL, {"worse_pixels": -1}, LEAST),
        (FULL, {"pixels": 0, "values": 0, "worse_pixels": 0}, VALUES),
        (FULL, {"values": plus(1)}, VALUES),
        (FULL, {"protocol": "own"}, WORDS),
        (FULL, {"land_cover": "ice"}, WORDS),
        (FULL, {"region": "<b>"}, WORDS),
        (FULL, {"thickness": "0-1"}, WORDS),
        (FULL, {"cloud_cover": 1.01}, "a cloud cover between 0 and 1"),
        (FULL, {"longitude": 180.5}, DEGREES),
        (FULL, {"latitude": np.nan}, DEGREES),
        (FULL, {"absolute_error": times(22), "squared_error": times(480)}, ERRORS),
        (FULL, {"prediction_cloudy": times(0.5)}, ERRORS),
        (FULL, {"cloudy_clear": times(0.5)}, ERRORS),
        (FULL, {"worse_pixels": 28_314}, "no more worse pixels than pixels"),
        # sums
        (CENTRE, {"squared_error": times(0.1)}, SQUARES.format("prediction")),
        (CENTRE, {"squared_error": 0.0}, SQUARES.format("prediction")),
        (FULL, {"squared_error": times(1e9)}, SQUARES.format("prediction")),
        (CENTRE, {"input_squared_error": times(0.1)}, SQUARES.format("input")),
        (FULL, {"input_squared_error": times(1e9)}, SQUARES.format("input")),
        (URBAN, {"worse_pixels": 0}, "an error above the input's only with worse pixels"),
        (FULL, {"worse_pixels": 28_313}, "an error below the input's only with better pixels"),
        (FULL, {"out_of_range": 4 * 28_313 + 1}, "no more values out of range than values"),
        (FULL, {"angle_pixels": plus(1)}, ANGLES.format("prediction")),
        (FULL, {"angle_deg": 180.1 * 28_313}, ANGLES.format("prediction")),
        (FULL, {"input_angle_pixels": plus(1)}, ANGLES.format("input")),
        (FULL, {"input_angle_deg": 180.1 * 28_313}, ANGLES.format("input")),
        (CENTRE, {"angle_pixels": plus(-1)}, "an angle of every pixel in protocol official"),
        (CENTRE, {"input_angle_pixels": plus(-1)}, "an angle of every pixel in protocol official"),
        (FULL, {"ssim": 1.01 * 26_960}, SSIM),
        (FULL, {"ssim": -1.01 * 26_960}, SSIM),
        (FULL, {"input_ssim": 1.01 * 26_960}, SSIM),
        (FULL, {"ndvi_pixels": plus(1)}, NDVI),
        (FULL, {"ndvi_error": 2.01 * 28_313}, NDVI),
        # scenes
        (SCENE, {"scene": "fall_663_p_57"}, NAMED),
        (SCENE, {"patch": 57}, NAMED),
        (SCENE, {"aoi": "fall_664"}, NAMED),
        (SCENE, {"season": "winter"}, NAMED),
        (SCENE, {"scene": "<b>_1_p_56", "aoi": "<b>_1", "season": "<b>"}, NAMED),
        (SCENE, {"scene": "fall_663_p_-1", "patch": -1}, NAMED),
        (SCENE, {"scene": "../fall_1_p_56", "aoi": "../fall_1", "season": "../fall"}, NAMED),
        (SCENE, {"split": "val"}, "scenes of the record's split"),
        (SCENE, {"prediction_sha256": ""}, DIGEST),
        (SCENE, {"prediction_sha256": "F" * 64}, DIGEST),
        ({}, {"thickness": THICKNESS[1]}, THICK),
        (CENTRE, {"cloud_cover": plus(0.001)}, IDENTITY),
        (CENTRE, {"prediction_sha256": "f" * 64}, IDENTITY),
        (CENTRE, {"longitude": plus(1)}, PLACE),
        (CENTRE, {"longitude": np.nan, "latitude": np.nan}, PLACE),
        (CLEAR, {"pixels": plus(1), "values": plus(4)}, PIXELS),
        (FULL, {"ssim_pixels": plus(-1)}, SSIM_PIXELS),
        (CENTRE, {"ssim_pixels": plus(-1)}, SSIM_PIXELS),
        (SCENE, {"cloud_cover": plus(0.001)}, COVER),
        ({}, {"cloud_cover": times(0.99)}, COVER),
    ],
)
def test_a_lie_is_named_and_nothing_else(
    ledger: Ledger, where: Where, changes: dict[str, object], rule: str
) -> None:
    (line,) = ledger_errors(tampered(ledger, where, **changes))
    assert line.startswith(f"expected {rule}")


def test_no_row_at_all_and_a_row_twice_are_named(ledger: Ledger) -> None:
    assert "expected at least one row" in ledger_errors(with_rows(ledger, ledger.frame[:0]))
    assert ledger_errors(with_rows(ledger, pd.concat([ledger.frame, ledger.frame[:1]]))) == [
        "expected each scene × protocol × class × region × thickness once"
    ]


def test_scenes_and_protocols_are_those_of_the_record(ledger: Ledger) -> None:
    frame, record = ledger.frame, ledger.provenance
    assert ledger_errors(with_rows(ledger, frame[frame["scene"] != CELL["scene"]])) == [
        "expected 3 scenes as its record says"
    ]
    only = {"official": record["protocols"]["official"]}
    assert ledger_errors(replace(ledger, provenance={**record, "protocols": only})) == [
        "expected the protocols of its record",
        "expected each scene in every protocol",
    ]
    lines = ledger_errors(with_rows(ledger, frame[~rows_of(frame, {**SCENE, "protocol": "full"})]))
    assert lines[0] == "expected each scene in every protocol"
    (line,) = ledger_errors(replace(ledger, provenance={**record, "optical_thickness": True}))
    assert line.startswith(f"expected {THICK}; broken in ")


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
def test_a_centre_above_the_whole_is_named_and_nothing_else(
    ledger: Ledger, column: str, change: object
) -> None:
    (line,) = ledger_errors(tampered(ledger, ALL_INSIDE, **{column: change}))
    assert line.startswith(f"expected no more {column} in the centre (official) than in the whole")
    assert line.endswith("; broken in 1 rows, first spring_672_p_3 (official, barren, edge)")


def test_a_cell_of_the_centre_that_the_whole_lacks_is_named(ledger: Ledger) -> None:
    lines = ledger_errors(tampered(ledger, ALL_INSIDE, land_cover="unknown"))
    assert any(line.startswith("expected no more pixels in the centre") for line in lines)


def test_rounding_is_no_lie(ledger: Ledger) -> None:
    rng = np.random.default_rng(0)
    changes = {name: lambda column: column * rng.normal(1, 1e-11, len(column)) for name in FLOATS}
    assert ledger_errors(tampered(ledger, {}, **changes)) == []


def test_all_lies_are_listed_at_once(ledger: Ledger) -> None:
    lies = tampered(ledger, FULL, ndvi_error=1e9, angle_deg=1e9)
    lies = tampered(lies, SCENE, prediction_sha256="", cloud_cover=0.5)
    lies = tampered(lies, ALL_INSIDE, worse_pixels=plus(-1))
    lines = ledger_errors(with_rows(lies, lies.frame[lies.frame["scene"] != "spring_672_p_16"]))
    words = ["3 scenes as its record says", NDVI, "angles of the prediction", DIGEST,
             "cloud cover", "no more worse_"]  # fmt: skip
    for line, word in zip(lines, words, strict=True):
        assert word in line


def test_no_value_of_a_sum_is_more_than_a_refusal(ledger: Ledger) -> None:
    for name in SUMS:
        counted = schema_of().field(name).type == "int64"
        for value in (2**63 - 1, -1) if counted else (float("nan"), 1e150, -1e150):
            assert ledger_errors(replace(ledger, frame=ledger.frame.assign(**{name: value})))


def test_a_copy_of_the_input_has_the_input_s_errors(ledger: Ledger) -> None:
    """Of a row that is the input itself, no error can be better."""
    frame = ledger.frame
    same = {
        "absolute_error": frame["cloudy_clear"], "squared_error": frame["input_squared_error"],
        "angle_deg": frame["input_angle_deg"], "angle_pixels": frame["input_angle_pixels"],
        "prediction_cloudy": 0.0, "worse_pixels": 0,
    }  # fmt: skip
    copied = with_rows(ledger, frame.assign(**same))
    assert ledger_errors(copied) == []
    for column in ("squared_error", "angle_deg"):
        better = with_rows(ledger, copied.frame.assign(**{column: frame[column] * 0.99}))
        rule = f"expected {column} to be input_{column} where prediction_cloudy is 0"
        assert any(line.startswith(rule) for line in ledger_errors(better))


def test_of_a_crop_the_cover_may_be_what_the_pixels_outside_allow(ledger: Ledger) -> None:
    frame, record = ledger.frame, ledger.provenance
    only = {"official": record["protocols"]["official"]}
    crop = Ledger(frame[frame["protocol"] == "official"], {**record, "protocols": only})
    cloudy = crop.frame["pixels"].where(crop.frame["region"] == "cloud", 0)
    seen = cloudy.groupby(crop.frame["scene"].astype(str)).sum()
    least, most = seen / 90_000, 1 - (25_600 - seen) / 90_000
    for share, errors in ((least, 0), (most, 0), (least - 0.001, 1), (most + 0.001, 1)):
        covers = crop.frame["scene"].astype(str).map(share)
        lines = ledger_errors(with_rows(crop, crop.frame.assign(cloud_cover=covers.clip(0, 1))))
        assert len(lines) == (errors if covers.between(0, 1).any() else 0)


# --- Counts so large that sums of them come out as any ------------------------------------------

MOST = "expected no count above a patch's pixels; broken in"


def test_counts_whose_sum_wraps_around_are_named(ledger: Ledger, segmented: Ledger) -> None:
    """Four rows of 2⁶² pixels, and so of 2⁶⁴ = 0 values, add nothing to a scene."""
    rows = ledger.frame[rows_of(ledger.frame, {**SCENE, "region": "clear", "land_cover": "urban"})]
    empty = rows.assign(**dict.fromkeys(SUMS, 0)).assign(pixels=2**62)
    more = [empty.assign(thickness=word) for word in THICKNESS[1:5]]
    frame = pd.concat([ledger.frame, *more]).astype(ledger.frame.dtypes)
    assert frame.groupby(["scene", "protocol"])["pixels"].sum().isin([25_600, 90_000]).all()
    lines = ledger_errors(with_rows(ledger, frame))
    assert any(line.startswith(f"{MOST} 8 rows") for line in lines)
    names = [name for image in SEGMENTED_IMAGES for name in read_counts(segmented, image)[:4]]
    lines = ledger_errors(tampered(segmented, FULL, **dict.fromkeys(names, plus(2**62))))
    assert any(line.startswith(f"{MOST} 1 rows") for line in lines)


def test_a_segmenter_that_read_more_pixels_or_another_clear_image_is_named(
    segmented: Ledger,
) -> None:
    first, second, *_ = prediction = read_counts(segmented, "prediction")
    rule = ["expected one predicted class for every pixel by each segmenter"]
    assert ledger_errors(tampered(segmented, FULL, **{first: plus(1)})) == rule
    assert ledger_errors(tampered(segmented, FULL, **{first: -1, second: plus(1)})) == rule
    moved = {prediction[0]: plus(-1), prediction[6]: plus(1)}  # to another class of the clear image
    counted = tampered(segmented, FULL, **{prediction[0]: plus(1), prediction[1]: plus(-1)})
    assert ledger_errors(tampered(counted, FULL, **moved)) == rule
    assert ledger_errors(counted) == []


@each_dataset
def test_an_honest_run_on_another_dataset_has_no_error(dataset: str) -> None:
    run = made_run(dataset)
    assert record_errors(run.provenance) == []
    assert ledger_errors(run) == []


def test_a_made_up_ledger_of_another_dataset_is_found_out() -> None:
    run = made_run("13 bands")
    one = run.frame["scene"] == "scene 0"
    more = run.frame.assign(pixels=run.frame["pixels"] + one, values=run.frame["values"] + 13 * one)
    assert any("pixels of each scene" in e for e in ledger_errors(replace(run, frame=more)))
    alone = made_run("3 bands alone")
    vegetated = alone.frame.assign(ndvi_pixels=alone.frame["pixels"])
    errors = ledger_errors(replace(alone, frame=vegetated))
    assert any("NDVI of red and near-infrared" in error for error in errors)
