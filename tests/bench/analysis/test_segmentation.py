"""Test Tab. 3 against independent scores of the same land-cover maps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import confusion_matrix, jaccard_score, recall_score
from torchmetrics import JaccardIndex

from ledgers import as_planet_cr, make_ledger, make_scene_sums
from planetcr_bench.analysis.segmentation import (
    BINS,
    LEAST_IOU,
    MEASURES,
    check_segmenters,
    class_scores,
    confusion_by_bin,
    recovery,
    segmentation_scores,
    segmenters_of,
    signature,
    transitions,
    without_segmenters,
)
from planetcr_bench.analysis.segmentation_tables import (
    CLEAR,
    CLOUDY,
    class_table,
    hardly_known,
    left_out,
    over_segmenters,
    published_rows,
    rank_table,
    swapped,
    table3,
)
from planetcr_bench.cli.compare import compare
from planetcr_bench.constants import COVER_BINS, LAND_COVER, OPTICAL_BANDS, UNKNOWN
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import GROUPS, SEGMENTER_WIDTH, SUMS, SceneSums, segmenter_columns
from planetcr_bench.report.report import (
    SEGMENTATION_FILES,
    report,
    write_comparison,
    write_tables,
)
from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.report.scores import summary
from planetcr_bench.report.segmentation import segmenter_table, table3_tables
from planetcr_bench.report.table import number, to_markdown
from planetcr_bench.results.aggregate import check_comparable
from planetcr_bench.results.ledger import Ledger, ledger_table, write_ledger

OFFICIAL, FULL = PROTOCOLS["official"], PROTOCOLS["full"]
ONE, TWO, THREE = "aaaaaaaa", "bbbbbbbb", "cccccccc"


# --- from maps to the table -----------------------------------------------------------------------


@dataclass
class Maps:
    """What is true in a scene, and what a segmenter takes each of its images for."""

    cover: float
    truth: np.ndarray
    clear: np.ndarray
    cloudy: np.ndarray
    prediction: np.ndarray


def make_maps(cover: float, *, seed: int = 0, classes: Sequence[int] = range(7)) -> Maps:
    rng = np.random.default_rng([seed, int(100 * cover)])
    truth = rng.choice(classes, (24, 24))

    def misread(labels: np.ndarray, share: float) -> np.ndarray:
        return np.where(rng.random(labels.shape) < share, rng.integers(0, 6, labels.shape), labels)

    clear = misread(np.minimum(truth, 5), 0.4)
    return Maps(cover, truth, clear, misread(clear, 0.8), misread(clear, 0.3))


def ledger_of(scenes: Sequence[Maps], name: str = "method", **provenance: object) -> Ledger:
    """A ledger of one segmenter, each row counted pixel by pixel; all pixels are clear."""
    rows = []
    for index, maps in enumerate(scenes):
        sums, segmented = np.zeros((GROUPS, len(SUMS))), np.zeros((GROUPS, 2, 6, 6), np.int64)
        for truth, clear, cloudy, prediction in zip(
            *(x.ravel() for x in (maps.truth, maps.clear, maps.cloudy, maps.prediction)),
            strict=True,
        ):
            group = 3 * truth + 2
            sums[group, 0] += 1
            segmented[group, 0, clear, prediction] += 1
            segmented[group, 1, clear, cloudy] += 1
        identity = {
            "scene": f"summer_{index}_p_0",
            "split": "test",
            "season": "summer",
            "aoi": f"summer_{index}",
            "patch": 0,
            "cloud_cover": maps.cover,
            "longitude": 0.0,
            "latitude": 0.0,
            "prediction_sha256": "",
        }
        counts = segmented.reshape(GROUPS, SEGMENTER_WIDTH)
        rows.append(
            SceneSums(identity, {"official": sums}, {"official": counts}, bands=OPTICAL_BANDS)
        )
    facts = make_ledger(name, scenes=1, segmenters=(ONE,)).provenance
    frame = ledger_table(rows, [ONE]).to_pandas(ignore_metadata=True)
    count = {"scenes": len(scenes), "expected_scenes": len(scenes)}
    return Ledger(frame, {**facts, **count, "protocols": {"official": "?"}, **provenance})


COVERS = (0.1, 0.15, 0.2, 0.5, 1.0)  # two scenes in the first bin, none in the fourth
SCENES = [
    make_maps(0.1),
    make_maps(0.15, classes=(0, 1, 6)),
    make_maps(0.2, classes=(0, 2, 3)),
    make_maps(0.5, classes=(6,)),
    make_maps(1.0, classes=(1, 4, 5, 6)),
]
BIN_SCENES = dict(zip(BINS, ([0, 1], [2], [], [], [4], range(5)), strict=True))


def pooled(scenes: Sequence[Maps], image: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, clear and image of the known pixels of scenes."""
    parts = [(x.truth.ravel(), x.clear.ravel(), getattr(x, image).ravel()) for x in scenes]
    truth, clear, seen = (np.concatenate(column) for column in zip(*parts, strict=True))
    known = truth != UNKNOWN
    return truth[known], clear[known], seen[known]


def expected(truth: np.ndarray, seen: np.ndarray) -> tuple[float, float]:
    """Percent of mIoU over the classes in the truth and of accuracy, by scikit-learn."""
    present = np.unique(truth)
    macro = jaccard_score(truth, seen, labels=present, average="macro", zero_division=0)
    return 100 * macro, 100 * np.mean(truth == seen)


@pytest.fixture(scope="module")
def hand_made() -> Ledger:
    """Not to be changed."""
    return ledger_of(SCENES)


@pytest.mark.parametrize("image", ["clear", "cloudy", "prediction"])
def test_each_bin_scores_as_scikit_learn_scores_its_pooled_maps(
    hand_made: Ledger, image: str
) -> None:
    table = segmentation_scores(hand_made, ONE, OFFICIAL, image)
    for name, numbers in BIN_SCENES.items():
        row = table.loc[name]
        scenes = [SCENES[number] for number in numbers]
        if not scenes:
            assert row[list(MEASURES)].isna().all()
            assert row["scenes"] == row["pixels"] == row["aois"] == 0
            continue
        truth, clear, seen = pooled(scenes, image)
        miou, accuracy = expected(truth, seen)
        assert_allclose((row["miou"], row["pa"]), (miou, accuracy))
        either = 100 * jaccard_score(truth, seen, average="macro", zero_division=0)
        assert_allclose(row["miou_absent_zero"], either)
        agreement = expected(clear, seen)
        assert_allclose((row["miou_agreement"], row["pa_agreement"]), agreement)
        whole, least = expected(truth, clear), expected(truth, pooled(scenes, "cloudy")[2])
        points = row[["miou_discrepancy", "pa_discrepancy"]].to_list()
        assert_allclose(points, (whole[0] - miou, whole[1] - accuracy), atol=1e-10)
        scale = 100 * (miou - least[0]) / (whole[0] - least[0])
        assert_allclose(row["miou_recovery"], scale, atol=1e-10)
        assert row["pixels"] == len(truth)
        assert row["absent"] == tuple(
            name for index, name in enumerate(LAND_COVER) if index not in truth
        )


def test_each_bin_scores_as_torchmetrics_scores_scene_after_scene(hand_made: Ledger) -> None:
    table = segmentation_scores(hand_made, ONE, OFFICIAL, "prediction")
    metric = JaccardIndex(task="multiclass", num_classes=6, average="none", ignore_index=UNKNOWN)
    for maps in SCENES:
        metric.update(torch.from_numpy(maps.prediction), torch.from_numpy(maps.truth))
    assert_allclose(table.at["overall", "miou"], 100 * metric.compute().mean(), rtol=1e-6)


def test_overall_is_the_pool_and_not_the_mean_of_bins(hand_made: Ledger) -> None:
    table = segmentation_scores(hand_made, ONE, OFFICIAL, "prediction")
    bins = table.loc[list(COVER_BINS)]
    weighted = (bins["pa"] * bins["pixels"]).sum() / bins["pixels"].sum()
    assert_allclose(table.at["overall", "pa"], weighted)
    assert abs(table.at["overall", "miou"] - bins["miou"].mean()) > 1


def test_scenes_without_known_land_do_not_count(hand_made: Ledger) -> None:
    table = segmentation_scores(hand_made, ONE, OFFICIAL, "prediction")
    assert table["scenes"].tolist() == [2, 1, 0, 0, 1, 4]
    assert (confusion_by_bin(hand_made, ONE, OFFICIAL, "prediction")[2] == 0).all()


def test_classes_score_as_scikit_learn_scores_them(hand_made: Ledger) -> None:
    truth, _, seen = pooled(SCENES, "prediction")
    table = class_scores(hand_made, ONE, OFFICIAL, "prediction")
    for score, column in ((jaccard_score, "iou"), (recall_score, "recall")):
        assert_allclose(table[column], 100 * score(truth, seen, average=None))
    assert_array_equal(table["pixels"], np.bincount(truth, minlength=6))


def test_transitions_are_the_confusion_of_two_classifications(hand_made: Ledger) -> None:
    for image in ("prediction", "cloudy"):
        _, clear, seen = pooled(SCENES, image)
        theirs = confusion_matrix(clear, seen, labels=range(6))
        assert_array_equal(transitions(hand_made, ONE, OFFICIAL, image), theirs)


# --- laws -----------------------------------------------------------------------------------------


SMALL = [make_maps(cover, seed=1) for cover in (0.05, 0.3, 0.7, 0.95)]
WHOLE = ledger_of(SMALL)


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(4)), st.integers(1, 3))
def test_halves_add_up_to_the_total_in_any_order(order: list[int], cut: int) -> None:
    frame = WHOLE.frame
    names = np.array([f"summer_{index}_p_0" for index in order])
    parts = [frame[frame["scene"].isin(part)] for part in (names[:cut], names[cut:])]
    halves = [Ledger(part.iloc[::-1], WHOLE.provenance) for part in parts]
    for image in ("clear", "cloudy", "prediction"):
        total = sum(confusion_by_bin(half, ONE, OFFICIAL, image) for half in halves)
        assert_array_equal(total, confusion_by_bin(WHOLE, ONE, OFFICIAL, image))
    merged = Ledger(pd.concat([half.frame for half in halves]), WHOLE.provenance)
    pd.testing.assert_frame_equal(
        segmentation_scores(merged, ONE, OFFICIAL, "prediction"),
        segmentation_scores(WHOLE, ONE, OFFICIAL, "prediction"),
    )


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_recovery_is_0_for_cloudy_and_100_for_clear(seed: int) -> None:
    maps = make_maps(0.5, seed=seed)
    for seen, at in ((maps.cloudy, 0), (maps.clear, 100)):
        run = ledger_of([Maps(maps.cover, maps.truth, maps.clear, maps.cloudy, seen)])
        row = segmentation_scores(run, ONE, OFFICIAL, "prediction").loc["overall"]
        assert_allclose(row[["miou_recovery", "pa_recovery"]].to_list(), at, atol=1e-9)
        if at == 100:
            assert row["miou_agreement"] == row["pa_agreement"] == 100
            assert row["miou_discrepancy"] == row["pa_discrepancy"] == 0
    for image, at in (("cloudy", 0), ("clear", 100)):
        row = segmentation_scores(run, ONE, OFFICIAL, image).loc["overall"]
        assert_allclose(row[["miou_recovery", "pa_recovery"]].to_list(), at, atol=1e-9)


def test_there_is_no_recovery_where_the_clear_image_scores_no_better() -> None:
    assert np.isnan(recovery([50.0, 60.0, 40.0], clear=40, cloudy=[40, 45, 39.1])).all()
    assert recovery(50.0, clear=40, cloudy=39) == 1100
    maps = make_maps(0.5)
    backwards = Maps(maps.cover, maps.truth, maps.cloudy, maps.clear, maps.prediction)
    table = table3_tables([ledger_of([backwards])], OFFICIAL)[1]
    assert set(table.rows[0][1:]) == {"–"}
    (note,) = [note for note in table.notes if note.startswith("No recovery")]
    assert note == (
        "No recovery in 40–60 % mIoU, 40–60 % PA, Overall mIoU, Overall PA: there segmenter "
        "aaaaaaaa scores less than 1 point higher on Cloud-Free than on Cloudy."
    )


def test_each_protocol_has_its_own_counts() -> None:
    ledger = make_ledger(segmenters=(ONE,), scenes=3)
    for protocol in (OFFICIAL, FULL):
        rows = ledger.frame[ledger.frame["protocol"] == protocol.name]
        known = rows[rows["land_cover"] != "unknown"]
        assert confusion_by_bin(ledger, ONE, protocol, "cloudy")[-1].sum() == known["pixels"].sum()


# --- several runs, several segmenters
# -----------------------------------------------------------------


@pytest.fixture(scope="module")
def runs() -> list[Ledger]:
    """Two complete runs, an incomplete one, and one without a segmenter; not to be changed."""
    return [
        make_ledger("align_cr", segmenters=(ONE, TWO, THREE), scenes=4),
        make_ledger("mine", segmenters=(ONE, TWO, THREE), scenes=4, seed=1),
        make_ledger(
            "part", segmenters=(ONE, TWO, THREE), scenes=3, complete=False, expected_scenes=4
        ),
        make_ledger("unsegmented", scenes=4),
    ]


@pytest.fixture(scope="module")
def table(runs: list[Ledger]) -> pd.DataFrame:
    return table3(runs, OFFICIAL)


def test_tab_3_has_the_images_and_then_the_methods_in_paper_order(table: pd.DataFrame) -> None:
    rows = table[table["segmenter"] == ONE].drop_duplicates("row")
    names = [CLEAR, CLOUDY, "mine", "part (3 of 4 scenes)", "unsegmented", "align_cr"]
    assert rows["row"].tolist() == names
    assert rows["kind"].tolist() == ["clear", "input", *["measured"] * 4]
    assert len(table) == 6 * 3 * len(BINS)


def test_a_run_without_a_segmenter_has_dashes_and_a_note(
    runs: list[Ledger], table: pd.DataFrame
) -> None:
    assert table.loc[table["row"] == "unsegmented", list(MEASURES)].isna().all(axis=None)
    for printed in table3_tables(runs, OFFICIAL, details=True)[:2]:
        (row,) = [row for row in printed.rows if row[0] == "unsegmented"]
        assert set(row[1:]) == {"–"}
        assert "unsegmented was not segmented; evaluate it again with --segmenter." in printed.notes


def test_the_spread_over_segmenters_spans_their_figures(table: pd.DataFrame) -> None:
    spread = over_segmenters(table).set_index(["segmenter", "row", "cover_bin"])
    each = table.set_index(["segmenter", "row", "cover_bin"])
    for measure in ("miou", "pa_recovery", "miou_agreement"):
        three = [
            each.at[(segmenter, "mine", "overall"), measure] for segmenter in (ONE, TWO, THREE)
        ]
        values = [spread.at[(kind, "mine", "overall"), measure] for kind in spread.index.levels[0]]
        assert_allclose(sorted(values), [min(three), np.mean(three), max(three)])


def test_a_figure_that_one_segmenter_lacks_has_no_mean(table: pd.DataFrame) -> None:
    broken = table.copy()
    hole = (broken["segmenter"] == TWO) & (broken["row"] == "mine")
    broken.loc[hole, "miou_recovery"] = np.nan
    spread = over_segmenters(broken)
    assert spread.loc[spread["row"] == "mine", "miou_recovery"].isna().all()
    assert spread.loc[spread["row"] == "align_cr", "miou_recovery"].notna().any()


def test_one_segmenter_has_no_spread_and_no_ranks() -> None:
    ledgers = [make_ledger(name, segmenters=(ONE,), scenes=2) for name in ("a", "b")]
    tables = table3_tables(ledgers, OFFICIAL, details=True)
    assert [table.title.partition(":")[0].split(" in ")[0] for table in tables] == [
        "Tab. 3", "Recovery", "Fig. 6 as a table", "Agreement", "IoU and recall of each class",
    ]  # fmt: skip
    assert [row[0] for row in tables[0].rows] == [CLEAR, CLOUDY, "a", "b"]


def test_ranks_say_whether_they_depend_on_the_segmenter(
    runs: list[Ledger], table: pd.DataFrame
) -> None:
    ranks = rank_table(runs, table)
    assert sorted(ranks.index) == ["align_cr", "mine"]  # the others are in part or not segmented
    overall = table[table["cover_bin"] == "overall"].set_index(["segmenter", "row"])["miou"]
    for segmenter in (ONE, TWO, THREE):
        better = overall[segmenter, "mine"] > overall[segmenter, "align_cr"]
        assert ranks.at["mine", segmenter] == (1 if better else 2)
    alike = pd.DataFrame({ONE: [1, 2, 3], TWO: [1, 2, 2]}, ["a", "b", "c"])
    assert swapped(alike) == []
    other = alike.assign(**{THREE: [2, 1, 3]})
    assert swapped(other) == [f"a and b (a ahead with {ONE}, {TWO}, b with {THREE})"]


def with_better(ledger: Ledger, segmenter: str) -> Ledger:
    """The same run, but a segmenter classifies its predictions as it does the clear image."""
    frame = ledger.frame.copy()
    names = np.array([x for x in segmenter_columns(segmenter) if "_prediction_" in x]).reshape(6, 6)
    clear = np.stack([frame[list(row)].sum(axis=1) for row in names], 1)
    frame[names.ravel()] = 0
    frame[np.diag(names)] = clear
    return Ledger(frame, ledger.provenance)


def test_a_ranking_that_depends_on_the_segmenter_is_named_in_the_table() -> None:
    plain = [make_ledger(name, segmenters=(ONE, TWO), scenes=3) for name in ("a", "b")]
    for segmenters, verdict in (
        ((ONE, TWO), f"depends on the segmenter: a and b (a ahead with {ONE}, b with {TWO})."),
        ((ONE, ONE), "All segmenters rank the methods alike."),
    ):
        ledgers = [with_better(*pair) for pair in zip(plain, segmenters, strict=True)]
        ranks = table3_tables(ledgers, OFFICIAL)[2]
        assert verdict in ranks.notes[0]
        assert ranks.header == ["Method", f"fake {ONE}", f"fake {TWO}"]
        expected = {(ONE, TWO): [["a", "1", "2"], ["b", "2", "1"]],
                    (ONE, ONE): [["a", "1", "1"], ["b", "1", "1"]]}[segmenters]  # fmt: skip
        assert ranks.rows == expected


def test_a_method_is_compared_with_the_images_of_its_own_scenes(table: pd.DataFrame) -> None:
    part = table[(table["row"] == "part (3 of 4 scenes)") & (table["segmenter"] == ONE)]
    alone = make_ledger("part", segmenters=(ONE, TWO, THREE), scenes=3)
    own = segmentation_scores(alone, ONE, OFFICIAL, "clear")
    theirs = part.set_index("cover_bin")
    assert_allclose(theirs["miou"] + theirs["miou_discrepancy"], own["miou"])


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("segmenters", [(TWO,), (ONE, TWO)])
def test_runs_of_different_segmenters_are_refused(segmenters: tuple[str, ...]) -> None:
    ledgers = [make_ledger("a", segmenters=(ONE,), scenes=1), make_ledger("c", scenes=1)]
    ledgers.append(make_ledger("b", segmenters=segmenters, scenes=1))
    words = (
        f"^b: expected the same segmenters as a, fake {ONE}, got "
        f"{', '.join(f'fake {segmenter}' for segmenter in segmenters)}; .* --segmenter .* "
        "--no-segmenter"
    )
    for refused in (check_segmenters, segmenters_of, lambda runs: table3(runs, OFFICIAL)):
        with pytest.raises(LedgerError, match=words):
            refused(ledgers)
    stripped = [without_segmenters(ledger) for ledger in ledgers]
    assert segmenters_of(stripped) == {}
    assert table3(stripped, OFFICIAL).empty
    assert table3_tables(stripped, OFFICIAL) == []


def test_a_segmenter_of_one_key_and_another_hash_is_another_segmenter() -> None:
    other = {ONE: {"name": "x", "sha256": "0"}}
    run = make_ledger("b", segmenters=(ONE,), scenes=1)
    twin = Ledger(run.frame, {**run.provenance, "segmenters": other})
    with pytest.raises(LedgerError, match="same segmenters"):
        check_segmenters([make_ledger("a", segmenters=(ONE,), scenes=1), twin])


def test_the_order_of_segmenters_does_not_matter() -> None:
    ledgers = [make_ledger("a", segmenters=(ONE, TWO)), make_ledger("b", segmenters=(TWO, ONE))]
    assert list(segmenters_of(ledgers)) == [ONE, TWO]


def test_one_protocol_of_two_signatures_is_refused() -> None:
    other = make_ledger("b", scenes=1)
    other.provenance["protocols"]["full"] += "0"
    with pytest.raises(LedgerError, match=r"^b: expected protocol full as of a, .*; evaluate both"):
        check_comparable([make_ledger("a", scenes=1), other])


# --- text and files -------------------------------------------------------------------------------


def test_tab_3_prints_as_the_paper_prints_it(hand_made: Ledger) -> None:
    table = table3_tables([hand_made], OFFICIAL)[0]
    assert table.header[:3] == ["Method", "0–20 % mIoU", "0–20 % PA"]
    assert table.header[-3:] == ["Overall mIoU", "Overall PA", "Overall mIoU, absent as 0"]
    truth, _, seen = pooled(SCENES, "cloudy")
    cloudy = *expected(truth, seen), 100 * jaccard_score(truth, seen, average="macro")
    assert table.rows[1][-3:] == [number(value, digits=2) for value in cloudy]
    assert table.rows[1][5:9] == ["–"] * 4
    assert table.notes[0] == (
        "mIoU|official|window:centre160|pool:pixels|classes:present in truth|unknown:ignored|"
        "segmenter:aaaaaaaa|v1"
    )
    assert signature("PA", FULL, [ONE, TWO]) == (
        f"PA|full|window:patch|pool:pixels|unknown:ignored|segmenter:{ONE}|segmenter:{TWO}|v1"
    )


def test_classes_that_are_in_no_mean_are_named(hand_made: Ledger) -> None:
    (note,) = [
        note
        for note in table3_tables([hand_made], OFFICIAL)[0].notes
        if note.startswith("Excluded from means")
    ]
    assert note == (
        "Excluded from means (not in the truth): 20–40 % rangeland, barren, water; "
        "80–100 % forest, agriculture, urban."
    )
    assert "Scenes / AOIs of known land: 0–20 % 2 / 2, 20–40 % 1 / 1" in "".join(
        table3_tables([hand_made], OFFICIAL)[0].notes
    )


def test_further_absent_classes_of_an_incomplete_run_are_named(hand_made: Ledger) -> None:
    part = ledger_of(SCENES[1:], "part", complete=False, expected_scenes=5)
    notes = table3_tables([hand_made, part], OFFICIAL)[0].notes
    (note,) = [
        note for note in notes if note.startswith("Excluded from means (not in the truth), part")
    ]
    assert "0–20 % agriculture, urban, barren, water" in note
    assert "part is incomplete: 4 of 5 scenes." in notes


def test_a_class_that_is_never_predicted_is_in_no_mean_of_agreement() -> None:
    maps = make_maps(0.5)
    maps.clear[maps.clear == 5] = 4
    run = ledger_of([maps])
    row = segmentation_scores(run, ONE, OFFICIAL, "prediction").loc["overall"]
    assert_allclose(row["miou_agreement"], expected(*pooled([maps], "prediction")[1:])[0])
    assert (row["unpredicted"], row["absent"]) == (("water",), ())
    agreement = table3_tables([run], OFFICIAL, details=True)[3]
    note = (
        "Excluded from means (never predicted by fake aaaaaaaa in a clear image): "
        "40–60 % water; Overall water."
    )
    assert note in agreement.notes
    assert left_out(table3([run], OFFICIAL), "unpredicted")[CLEAR]["overall"] == ("water",)


def knowing_little(run: Ledger, **card: object) -> Ledger:
    facts = {ONE: {**run.provenance["segmenters"][ONE], **card}}
    return Ledger(run.frame, {**run.provenance, "segmenters": facts})


def test_classes_that_the_segmenter_hardly_knows_are_named_with_their_iou() -> None:
    maps = make_maps(0.5, classes=(0, 1, 2, 3))
    maps.clear[:] = np.where(maps.truth == 3, 2, maps.truth)  # urban is never found
    maps.clear[maps.truth == 1] = np.resize([0] * 9 + [1], (maps.truth == 1).sum())
    run = ledger_of([maps])
    iou = 100 * jaccard_score(maps.truth.ravel(), maps.clear.ravel(), average=None)
    assert hardly_known([run], OFFICIAL) == {ONE: {"rangeland": pytest.approx(iou[1]), "urban": 0}}
    assert min(iou[0], iou[2]) > LEAST_IOU > iou[1] > 0
    note = (
        f"Hardly known to fake {ONE} (IoU below 20 % on the clear images): "
        f"rangeland {iou[1]:.1f}, urban 0.0. Differences between methods in these classes are "
        "mostly the segmenter's own errors."
    )
    tables = table3_tables([run], OFFICIAL, details=True)
    assert [note in table.notes for table in tables] == [True, False, False, False, True]
    known = ledger_of([Maps(0.5, maps.truth, maps.truth, maps.cloudy, maps.prediction)])
    assert hardly_known([known], OFFICIAL) == {ONE: {}}
    assert not any("Hardly known" in note for note in table3_tables([known], OFFICIAL)[0].notes)


def test_the_cards_of_segmenters_are_a_table_of_their_own(hand_made: Ledger) -> None:
    scores = {"miou": 0.61, "miou_absent_zero": 0.6, "pixel_accuracy": 0.83, "iou_water": 0.955}
    pixels = {"forest": 12, "water": 3}
    run = knowing_little(hand_made, scores=scores, class_pixels=pixels)
    (table,) = segmenter_table([hand_made, run][1:])
    assert table.header == [
        "Segmenter", "mIoU", "mIoU, absent as 0", "PA", *(f"{name} IoU" for name in LAND_COVER),
    ]  # fmt: skip
    assert table.rows == [[f"fake {ONE}", "61.00", "60.00", "83.00", *["–"] * 5, "95.50"]]
    (note,) = table.notes
    assert note == (
        f"Pixels held out by fake {ONE}: forest 12, rangeland –, agriculture –, urban –, barren –, "
        "water 3."
    )
    assert table in RunTables([run]).table3_tables
    assert segmenter_table([hand_made]) == []


@pytest.mark.parametrize(
    "card",
    [
        {"scores": "good"},
        {"scores": {"miou": "good", "iou_water": None}},
        {"scores": {"miou": 10**400, "pixel_accuracy": -1}},
        {"class_pixels": [1, 2]},
    ],
    ids=str,
)
def test_a_card_that_says_something_else_is_left_out(hand_made: Ledger, card: dict) -> None:
    assert segmenter_table([knowing_little(hand_made, **card)]) == []


def test_published_rows_stand_apart_and_only_beside_official() -> None:
    ledgers = [as_planet_cr(make_ledger(segmenters=(ONE,), scenes=2))]
    tab3, recovered, gap, *_ = table3_tables(ledgers, OFFICIAL, published=True, details=True)
    assert tab3.kinds == ["clear", "input", "measured", *["published"] * 10]
    assert tab3.breaks() == [3]
    assert tab3.rows[-1][-3:] == ["30.51", "45.78", "–"]
    assert any("not measured here. Input window" in note for note in tab3.notes)
    assert [row[0] for row in recovered.rows][:2] == ["method", "McGAN (published)"]
    assert gap.rows[-1][-2:] == ["12.73", "18.88"]  # 43.24 − 30.51, 64.66 − 45.78
    for table in table3_tables(ledgers, FULL, published=True, details=True):
        assert "published" not in table.kinds


def test_what_follows_from_the_paper_s_figures() -> None:
    rows = published_rows().set_index(["row", "cover_bin"])
    best = rows.loc[("Align-CR (published)", "overall")]
    assert best["miou_recovery"] == pytest.approx(100 * (30.51 - 11.72) / (43.24 - 11.72))
    assert (rows.loc["Cloud-Free (published)", "pa_recovery"] == 100).all()
    assert (rows.loc["Cloudy (published)", "miou_recovery"] == 0).all()


def test_every_table_is_complete_and_signed(runs: list[Ledger]) -> None:
    runs = [as_planet_cr(run, complete=True) for run in runs]
    tables = table3_tables(runs, OFFICIAL, published=True, details=True)
    assert len(tables) == 9  # of which three are of one segmenter each
    for table in tables:
        assert {len(row) for row in table.rows} == {len(table.header)}
        assert len(table.kinds) == len(table.rows)
        assert any(f"segmenter:{ONE}" in note or f"segmenter:{TWO}" in note or f"segmenter:{THREE}"
                   in note for note in table.notes)  # fmt: skip
        assert to_markdown(table)
    both = tables[0].rows, tables[0].kinds
    spread = [row[0] for row, kind in zip(*both, strict=True) if kind == "spread"]
    assert "mine: lowest" in spread
    assert "unsegmented: lowest" not in spread


def test_the_class_table_has_all_rows_of_tab_3(runs: list[Ledger], table: pd.DataFrame) -> None:
    classes = class_table(runs, OFFICIAL)
    assert classes["row"].unique().tolist() == table["row"].unique().tolist()
    assert len(classes) == 6 * 3 * len(LAND_COVER)


def test_summaries_hold_the_scores_of_each_segmenter(hand_made: Ledger) -> None:
    result = json.loads(json.dumps(summary(hand_made), allow_nan=False))["protocols"]
    (segmenter,) = result["official"]["segmenters"].values()
    overall = segmentation_scores(hand_made, ONE, OFFICIAL, "prediction").loc["overall"]
    assert segmenter["overall"] == {**{name: overall[name] for name in MEASURES}, "scenes": 4}
    assert segmenter["by_cover"]["60-80"] == {**dict.fromkeys(MEASURES), "scenes": 0}
    assert list(segmenter["by_cover"]) == list(COVER_BINS)
    assert list(segmenter["by_class"]["water"]) == ["iou", "recall", "pixels"]
    assert set(result["full"]["segmenters"][ONE]["overall"].values()) == {None, 0}
    assert summary(without_segmenters(hand_made))["protocols"]["official"]["segmenters"] == {}


def test_files_of_segmented_runs_come_and_go(tmp_path: Path) -> None:
    ledgers = [
        as_planet_cr(make_ledger(name, segmenters=(ONE, TWO), scenes=2), input_window="whole")
        for name in ("a", "b")
    ]
    write_tables(tmp_path, RunTables(ledgers, published=True))
    tables = [f"tables/table3.{suffix}" for suffix in ("csv", "json", "tex")]
    assert all((tmp_path / name).stat().st_size > 500 for name in tables)
    frame = pd.read_csv(tmp_path / "tables/table3.csv")
    kinds = {ONE, TWO, "mean", "lowest", "highest", "published"}
    assert set(frame["segmenter"]) == kinds
    exact = table3(ledgers, OFFICIAL)
    both = frame[(frame["protocol"] == "official") & (frame["segmenter"] == ONE)]
    assert_array_equal(both["miou"], exact.loc[exact["segmenter"] == ONE, "miou"])
    records = json.loads((tmp_path / "tables/table3.json").read_text())
    assert len(records) == len(frame)
    assert records[0]["signature"] == signature("mIoU", OFFICIAL, [ONE])
    assert isinstance(records[0]["scenes"], int)
    tags = {(row["kind"], row["input_window"]) for row in records}
    assert tags == {
        ("clear", None), ("input", None), ("measured", "whole"), ("published", None),
        ("published", "160"), ("published", "unknown"),
    }  # fmt: skip
    write_tables(tmp_path, RunTables([without_segmenters(ledger) for ledger in ledgers]))
    assert not any((tmp_path / name).exists() for name in SEGMENTATION_FILES)
    assert (tmp_path / "tables/table2.tex").exists()


def test_refused_runs_leave_the_files_as_they_were(tmp_path: Path) -> None:
    ledgers = [make_ledger("a", segmenters=(ONE,)), make_ledger("b", segmenters=(TWO,))]
    with pytest.raises(LedgerError, match="same segmenters"):
        write_comparison(tmp_path, ledgers)
    assert not list(tmp_path.iterdir())


def on_disk(folder: Path, name: str, segmenters: Sequence[str]) -> Path:
    """Results of a run, as evaluate writes them."""
    results = folder / name
    results.mkdir()
    facts = as_planet_cr(make_ledger(name, scenes=2, segmenters=segmenters)).provenance
    sums = [make_scene_sums(index, segmenters=len(segmenters)) for index in range(2)]
    write_ledger(results / "ledger.parquet", ledger_table(sums, segmenters), facts)
    (results / "run.json").write_text("{}")
    return results


@pytest.mark.usefixtures("nothing_is_drawn")
@pytest.mark.usefixtures("nothing_is_drawn")
def test_compare_shows_tab_3_refuses_to_mix_segmenters_and_can_leave_them_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c = (on_disk(tmp_path, name, segmenters) for name, segmenters in
               (("a", [ONE]), ("b", [TWO]), ("c", [])))  # fmt: skip
    out = tmp_path / "out"
    compare([a, c], out=out, published=True, full=True, verbose=True)
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("Tab. 2 (a)", "Tab. 3: mIoU and PA in %, protocol official", "Recovery in %",
                  "30.51", "c (input unknown) was not segmented"):  # fmt: skip
        assert words in shown
    assert (out / "figures/transitions.svg").exists()
    with pytest.raises(LedgerError, match="--no-segmenter"):
        compare([a, b], out=out)
    compare([a, b], out=out, no_segmenter=True)
    assert "Tab. 3" not in capsys.readouterr().out
    assert not (out / "tables/table3.tex").exists()


def test_the_report_of_a_segmented_run_has_its_own_section(hand_made: Ledger) -> None:
    run = {
        **hand_made.provenance, "predictions": "p", "command": "c", "started": "s", "seconds": 1.0,
        "device": "cpu",
    }  # fmt: skip
    text = report(hand_made, run)
    assert "## Land-cover segmentation" in text
    assert "](figures/fig6.png)" in text
    assert "**Tab. 3: mIoU and PA in %, protocol official**" in text
    assert "Land-cover segmentation" not in report(without_segmenters(hand_made), run)


def test_the_dataset_s_own_rows_come_from_the_run_that_covers_most() -> None:
    part = make_ledger("part", segmenters=(ONE,), scenes=4, expected_scenes=10, complete=False)
    whole = make_ledger("whole", segmenters=(ONE,), scenes=10)
    alone = table3([whole], FULL).set_index(["row", "cover_bin"])
    both = table3([part, whole], FULL).set_index(["row", "cover_bin"])
    for name in ("Cloud-Free", "Cloudy"):
        assert_allclose(both.loc[name, "miou"], alone.loc[name, "miou"], rtol=0)
        assert both.loc[(name, "overall"), "scenes"] == 10
