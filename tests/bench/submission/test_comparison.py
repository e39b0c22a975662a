"""Two ledgers of the same scenes agree but for what hardware explains, or differ by name."""

from __future__ import annotations

import pandas as pd
import pytest

from paths import RUNS
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import SUMS
from planetcr_bench.results.ledger import Ledger, read_ledger
from planetcr_bench.submission.comparison import (
    DRIFT,
    OF_THE_INPUT,
    TIPPED,
    differing,
    segmenter_counts,
)
from tampering import (
    ALL_INSIDE,
    CELL,
    COUNTS,
    FLOATS,
    FULL,
    SCENE,
    plus,
    read_counts,
    rows_of,
    tampered,
    times,
    with_rows,
)

TIPPING = COUNTS[1:]


def test_what_follows_from_the_dataset_is_the_same_in_all_runs() -> None:
    first, second = (read_ledger(RUNS / name) for name in ("mean-fill", "align_cr-small"))
    columns = segmenter_counts(first.segmenters, of_input=True)
    assert len(columns) == 36 * len(first.segmenters) > 0
    assert differing(first, second, [*OF_THE_INPUT, *columns]) == []
    assert differing(first, second, ["squared_error", *columns, "ssim"]) != []


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
        each.frame.loc[rows_of(each.frame, FULL), column].item() for each in (ledger, far)
    )
    place = "fall_663_p_56 (full, agriculture, cloud)"
    assert line == (
        f"{column}: 1 cells differ, first {place}: expected {expected:.8g}, got {got:.8g}"
    )
    assert len(differing(ledger, far, [column])) == 1
    assert differing(far, ledger, [column], drift=10 * DRIFT) == []


@pytest.mark.parametrize("column", [*TIPPING, "pixels", "values"])
@pytest.mark.parametrize("sign", [1, -1])
def test_pixels_of_a_count_that_no_hardware_tips_are_named(
    ledger: Ledger, column: str, sign: int
) -> None:
    pixels = 1 if column in ("pixels", "values") else TIPPED + 1
    many = tampered(ledger, ALL_INSIDE, **{column: plus(sign * pixels)})
    (line,) = differing(many, ledger, ["ssim", column])
    assert line.startswith(f"{column}: 1 cells differ, first spring_672_p_3 (full, barren, edge)")


def test_a_segmenter_s_counts_may_tip_and_no_more(segmented: Ledger) -> None:
    column, columns = (
        read_counts(segmented, "cloudy")[0],
        segmenter_counts(segmented.segmenters, of_input=True),
    )
    for pixels, cells in ((TIPPED, 0), (TIPPED + 1, 1)):
        other = tampered(segmented, ALL_INSIDE, **{column: plus(pixels)})
        assert len(differing(other, segmented, columns)) == cells


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
    wrong = tampered(mixed, {**FULL, "thickness": "16-"}, ssim=times(1.01))
    assert [line[:20] for line in differing(wrong, ledger, list(SUMS))] == ["ssim: 1 cells differ"]


def test_only_scenes_and_protocols_that_both_have_are_compared(ledger: Ledger) -> None:
    wrong = tampered(ledger, FULL, ssim=times(0.5))
    others = with_rows(wrong, wrong.frame[wrong.frame["scene"] != CELL["scene"]])
    official = {"protocols": {"official": PROTOCOLS["official"].signature("all")}}
    centre = Ledger(wrong.frame[wrong.frame["protocol"] == "official"], official)
    for some in (others, centre, with_rows(wrong, wrong.frame.assign(scene="fall_1_p_1"))):
        assert differing(some, ledger, list(SUMS)) == []
        assert differing(ledger, some, list(SUMS)) == []
    assert differing(wrong, ledger, list(SUMS)) != []


def test_scenes_under_other_clouds_are_named(ledger: Ledger) -> None:
    moved = tampered(ledger, SCENE, cloud_cover=plus(0.005))
    (line,) = differing(moved, ledger, ["cloud_cover"])
    assert line.startswith("cloud_cover: ")
    assert "first fall_663_p_56" in line
    assert differing(moved, ledger, ["cloud_cover"], drift=0.01) == []
