"""The five lines of findings, for every kind of run."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ledgers import copying_input, make_ledger
from other_datasets import each_dataset, made_run
from planetcr_bench.analysis.gains import gains_over_input
from planetcr_bench.analysis.intervals import score_sums
from planetcr_bench.analysis.significance import differences
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.registry import HEADLINE
from planetcr_bench.report.findings import findings
from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.results.ledger import Ledger

FULL = PROTOCOLS["full"]


def lines(*runs: Ledger) -> dict[str, str]:
    return {one.title: one.text for one in findings(RunTables(runs))}


def changed(ledger: Ledger, name: str = "", **columns: object) -> Ledger:
    """The same run with other columns."""
    facts = {**ledger.provenance, **({"name": name} if name else {})}
    return Ledger(ledger.frame.assign(**columns), facts)


def perfect(ledger: Ledger) -> Ledger:
    """A run whose predictions are the clear images."""
    frame = ledger.frame
    nothing = dict.fromkeys(("absolute_error", "squared_error", "angle_deg", "worse_pixels"), 0)
    return changed(
        ledger, **nothing, prediction_cloudy=frame["cloudy_clear"], ssim=frame["ssim_pixels"] * 1.0
    )


def copy_of(ledger: Ledger) -> Ledger:
    """A run whose predictions are the input of another."""
    copied = copying_input(ledger)
    return Ledger(copied.frame, {**copied.provenance, "name": "copy"})


@pytest.fixture(scope="module")
def run() -> Ledger:
    return make_ledger(scenes=24)


def test_gains_are_paired_differences_with_a_run_that_copies_the_input(run: Ledger) -> None:
    copied = copy_of(run)
    first, second = (score_sums(ledger, FULL) for ledger in (run, copied))
    gains = gains_over_input(run, FULL)
    assert [gain.metric for gain in gains] == list(HEADLINE)
    for gain in gains:
        score = gain.metric, None
        (expected,) = differences({"method": first[score], "input": second[score]})
        assert gain.before == pytest.approx(second[score].value)
        assert (gain.pair.value, gain.pair.error, gain.pair.p) == pytest.approx(
            (expected.value, expected.error, expected.p)
        )
        assert gain.pair.p <= gain.pair.p_holm <= min(1, 4 * gain.pair.p)


def test_gains_in_clear_pixels_are_those_of_a_ledger_of_clear_pixels_alone(run: Ledger) -> None:
    clear = Ledger(run.frame[run.frame["region"] == "clear"], run.provenance)
    (own,) = gains_over_input(run, FULL, region="clear", metrics=["mae"])
    (expected,) = gains_over_input(clear, FULL, metrics=["mae"])
    assert (own.before, own.after) == pytest.approx((expected.before, expected.after))
    assert (own.pair.low, own.pair.high) == pytest.approx((expected.pair.low, expected.pair.high))


def test_the_input_itself_differs_in_nothing_and_harms_nothing(run: Ledger) -> None:
    told = lines(copy_of(run))
    assert told["Against the input"].startswith("The predictions are the cloudy input itself")
    assert told["Clear pixels"] == "They are the input's own: nothing is harmed."
    assert "MAE is above" not in told["Worst"]


def test_a_perfect_run_has_no_worst_place_and_no_error(run: Ledger) -> None:
    told = lines(perfect(run))
    assert told["Best"] == told["Worst"] == "Nowhere: MAE is the same in all groups of pixels."
    assert told["Where the error is"].startswith("Nowhere")
    assert re.match(r"Significantly better in MAE \(0\.\d+ → 0\.0000", told["Against the input"])
    assert "not tested in PSNR" in told["Against the input"]
    assert "→ ∞ dB" in told["Against the input"]


def test_one_aoi_has_no_interval_and_no_test(run: Ledger) -> None:
    alone = run.frame["aoi"].iloc[0]
    told = lines(Ledger(run.frame[run.frame["aoi"] == alone], run.provenance))
    assert told["Against the input"].endswith("There is one AOI, so nothing can be tested.")
    assert "one AOI: no interval" in told["Clear pixels"]
    assert "ignificant" not in " ".join(told.values())


@pytest.mark.parametrize(("factor", "verdict"), [(3.0, "Harmed"), (0.2, "Improved")])
def test_clear_pixels_are_harmed_or_improved_with_an_interval(
    run: Ledger, factor: float, verdict: str
) -> None:
    frame = run.frame
    error = np.where(frame["region"] == "clear", factor * frame["cloudy_clear"], 0.0)
    sums = {"absolute_error": error, "prediction_cloudy": error + frame["cloudy_clear"]}
    told = lines(changed(run, **sums))
    assert re.fullmatch(
        rf"{verdict} on average: MAE goes from [\d.]+ to [\d.]+ \([+-][\d.]+, 95 % interval "
        r"[+-][\d.]+ to [+-][\d.]+\); [\d.]+ % of the pixels are worse than in the input\.",
        told["Clear pixels"],
    )
    above = "MAE is above the input's in clear pixels"
    assert (above in told["Worst"]) == (verdict == "Harmed")


def test_groups_that_print_the_same_are_named_together(run: Ledger) -> None:
    frame = run.frame
    error = np.where(frame["region"] == "cloud", 0.5, 0.1) * frame["values"]
    told = lines(
        changed(run, absolute_error=error, prediction_cloudy=error + frame["cloudy_clear"])
    )
    assert "at the edge of cloud and in clear pixels (0.1000)" in told["Best"]
    assert "under cloud (0.5000)" in told["Worst"]


@each_dataset
def test_what_a_dataset_lacks_is_not_spoken_of(dataset: str) -> None:
    ledger, other = made_run(dataset), made_run(dataset, "other", 1)
    known = RunTables([ledger]).known
    for told in (lines(ledger), lines(ledger, other)):
        text = " ".join(told.values())
        assert len(told) == 5
        assert ("cloud cover" in text) == ("under cloud" in text) == known.masks
        assert ("no cloud masks" in told["Clear pixels"]) == (not known.masks)
        assert not re.search(r"\bnan\b|–[,.)]|AOI", text)


def test_several_runs_name_the_best_and_who_ties_with_it(run: Ledger) -> None:
    twin, copy = changed(run, "twin"), copy_of(run)
    told = lines(run, twin, copy)
    assert "not significantly different from twin" in told["Best"]
    assert "the input itself: copy" in told["Against the input"]
    assert len(told) == 5
    bad = make_ledger("part", scenes=24, complete=False, expected_scenes=30)
    assert lines(run, bad)["Best"] == "Fewer than two runs are complete: none is ranked."
