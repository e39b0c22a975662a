"""Test that boards never mix, and that the sums of the page give the scores of the tables."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from boards import numbers, put
from ledgers import make_ledger
from planetcr_bench.analysis.segmentation import segmentation_scores
from planetcr_bench.constants import LAND_COVER
from planetcr_bench.leaderboard.arrays import ArrayStore
from planetcr_bench.leaderboard.boards import (
    ALL,
    AXES,
    Board,
    boards_of,
    cells_of,
    counts_of,
    segmentation_cells_of,
)
from planetcr_bench.leaderboard.entries import Entry, read_entries
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.registry import HEADLINE
from planetcr_bench.results.aggregate import score_groups
from planetcr_bench.results.schema import cover_bins


def entries_of(tmp_path: Path, *ledgers) -> list[Entry]:
    for number, ledger in enumerate(ledgers):
        put(tmp_path / str(number), ledger)
    return read_entries(tmp_path)[0]


def test_tracks_protocols_datasets_and_splits_have_boards_of_their_own(tmp_path: Path) -> None:
    entries = entries_of(
        tmp_path,
        make_ledger("a"),
        make_ledger("b"),
        make_ledger("crop", protocols=("official",)),
        make_ledger("elsewhere", fingerprint="e" * 64),
        make_ledger("other track", track="sim"),
        make_ledger("training", split="train"),
    )
    boards = [
        (board.track, board.protocol.name, [entry.name for entry in board.entries])
        for board in boards_of(entries)
    ]
    assert boards == [
        ("fake", "official", ["a", "b", "crop"]),
        ("fake", "full", ["a", "b"]),
        ("fake (eeeeeeee)", "official", ["elsewhere"]),
        ("fake (eeeeeeee)", "full", ["elsewhere"]),
        ("fake-train", "official", ["training"]),
        ("fake-train", "full", ["training"]),
        ("sim", "official", ["other track"]),
        ("sim", "full", ["other track"]),
    ]


def asked(cells: dict[str, Any], arrays: ArrayStore, name: str, selection: dict[str, str]) -> list:
    """What the page does: choose cells, add, divide."""
    index = numbers(arrays, cells["index"]).reshape(4, -1).T.astype(int)
    chosen = np.ones(len(index), bool)
    for column, (axis, values) in enumerate(AXES.items(), 1):
        wanted = selection[axis]
        if wanted != ALL:
            chosen &= index[:, column] == list(values).index(wanted)
        elif not cells["additive"]:
            chosen &= index[:, column] == len(values)
    scores = []
    for metric in HEADLINE:
        top, bottom = (
            numbers(arrays, cells["sums"][name][f"{part}_{metric}"])[chosen].sum()
            for part in ("top", "bottom")
        )
        ratio = top / bottom if bottom else np.nan
        scores.append(-10 * np.log10(ratio) if metric == "psnr" and cells["additive"] else ratio)
    return scores


def expected(frame: pd.DataFrame, protocol: str, of: str, selection: dict[str, str]) -> list:
    frame = frame.assign(cover_bin=cover_bins(frame))
    for axis, wanted in selection.items():
        if wanted != ALL:
            frame = frame[frame[axis] == wanted]
    if frame[frame["protocol"] == protocol].empty:
        return [np.nan] * len(HEADLINE)
    return score_groups(frame, PROTOCOLS[protocol], of=of)[list(HEADLINE)].iloc[0].tolist()


@pytest.mark.parametrize("protocol", ["official", "full"])
def test_any_selection_of_cells_gives_the_scores_of_its_rows(tmp_path: Path, protocol: str) -> None:
    entries = entries_of(tmp_path, make_ledger("a", scenes=9), make_ledger("b", scenes=9, seed=3))
    board = Board("fake", PROTOCOLS[protocol], tuple(entries))
    arrays = ArrayStore()
    cells = cells_of(board, arrays)
    for choice in product(*([ALL, *values[::2]] for values in AXES.values())):
        selection = dict(zip(AXES, choice, strict=True))
        if protocol == "official" and choice.count(ALL) < 2:
            continue  # the page does not offer it: scene means of two filters are not kept
        for name, of, entry in (
            ("a", "prediction", 0),
            ("b", "prediction", 1),
            ("input", "input", 0),
        ):
            assert_allclose(
                asked(cells, arrays, name, selection),
                expected(entries[entry].ledger.frame, protocol, of, selection),
                rtol=1e-7,
                err_msg=str((name, selection)),
            )


def test_an_incomplete_entry_has_sums_of_its_own_scenes(tmp_path: Path) -> None:
    part = make_ledger("part", scenes=4, complete=False, expected_scenes=9)
    entries = entries_of(tmp_path, make_ledger("whole", scenes=9), part)
    board = Board("fake", PROTOCOLS["full"], tuple(entries))
    arrays = ArrayStore()
    everything = dict.fromkeys(AXES, ALL)
    assert_allclose(
        asked(cells_of(board, arrays), arrays, "part", everything),
        expected(part.frame, "full", "prediction", everything),
        rtol=1e-7,
    )


def test_segmenters_do_not_mix_and_give_tab_3(tmp_path: Path) -> None:
    first, second = (
        make_ledger("a", segmenters=("j1", "j2")),
        make_ledger("b", seed=2, segmenters=("j2",)),
    )
    entries = entries_of(tmp_path, first, second, make_ledger("unsegmented"))
    board = Board("fake", PROTOCOLS["full"], tuple(entries))
    arrays = ArrayStore()
    segmented = segmentation_cells_of(board, arrays)
    assert {segmenter: sorted(facts["predicted"]) for segmenter, facts in segmented.items()} == {
        "j1": ["a", "clear", "cloudy"],
        "j2": ["a", "b", "clear", "cloudy"],
    }
    for name, ledger, image in (("b", second, "prediction"), ("clear", first, "clear")):
        keys = segmented["j2"]["predicted"][name]
        classes = numbers(arrays, segmented["j2"]["index"]).reshape(3, -1)[1]
        truth, hits, seen = (
            np.bincount(classes.astype(int), numbers(arrays, keys[what]), len(LAND_COVER))
            for what in ("truth", "hits", "seen")
        )
        known = segmentation_scores(ledger, "j2", PROTOCOLS["full"], image).loc["overall"]
        assert 100 * hits.sum() / truth.sum() == pytest.approx(known["pa"])
        assert 100 * (hits / (truth + seen - hits)).mean() == pytest.approx(known["miou"])


def test_equal_arrays_are_kept_once(tmp_path: Path) -> None:
    same = [make_ledger(name) for name in ("a", "b")]
    board = Board("fake", PROTOCOLS["full"], tuple(entries_of(tmp_path, *same)))
    arrays = ArrayStore()
    sums = cells_of(board, arrays)["sums"]
    assert sums["a"] == sums["b"]


def test_the_dataset_of_verified_runs_has_the_name_of_the_track(tmp_path: Path) -> None:
    """However many are claimed on another one."""
    for name in ("a", "b", "c"):
        put(tmp_path, make_ledger(name, fingerprint="0" * 64))
    put(tmp_path, make_ledger("known", fingerprint="1" * 64), status="verified")
    boards = boards_of(read_entries(tmp_path)[0])
    names = {board.track: [entry.name for entry in board.entries] for board in boards}
    assert names == {"fake": ["known"], "fake (00000000)": ["a", "b", "c"]}


@pytest.mark.parametrize("protocol", ["official", "full"])
def test_the_counts_of_any_selection_are_those_of_its_rows(tmp_path: Path, protocol: str) -> None:
    part = make_ledger("part", scenes=4, seed=2, complete=False, expected_scenes=9)
    entries = entries_of(tmp_path, make_ledger("a", scenes=9), part)
    arrays = ArrayStore()
    counts = counts_of(Board("fake", PROTOCOLS[protocol], tuple(entries)), arrays)
    index = numbers(arrays, counts["index"]).reshape(4, -1).T.astype(int)
    for entry in entries:
        frame = entry.ledger.frame.assign(cover_bin=cover_bins(entry.ledger.frame))
        frame = frame[frame["protocol"] == protocol]
        scenes = numbers(arrays, counts["scenes"][entry.name])
        for choice in product(*([ALL, *values] for values in AXES.values())):
            rows, chosen = frame, np.ones(len(index), bool)
            for column, (axis, wanted) in enumerate(zip(AXES, choice, strict=True), 1):
                rows = rows if wanted == ALL else rows[rows[axis] == wanted]
                if wanted != ALL or axis != "cover_bin":
                    chosen &= index[:, column] == [*AXES[axis], ALL].index(wanted)
            assert scenes[chosen].sum() == rows["scene"].nunique(), choice
            aois = np.unique(index[chosen & (scenes > 0), 0])
            assert len(aois) == rows["aoi"].nunique(), choice


def test_only_runs_on_3000_test_scenes_are_planet_cr(tmp_path: Path) -> None:
    whole = make_ledger("whole", scenes=2, track="planet-cr", complete=False, expected_scenes=3000)
    few = [
        make_ledger(name, scenes=2, track="planet-cr", fingerprint="0" * 64) for name in ("a", "b")
    ]
    boards = boards_of(entries_of(tmp_path, *few, whole))
    names = {board.track: [entry.name for entry in board.entries] for board in boards}
    assert names == {"planet-cr": ["whole"], "planet-cr (00000000)": ["a", "b"]}
    alone = boards_of(read_entries(tmp_path / "0")[0])
    assert {board.track for board in alone} == {"planet-cr (00000000)"}


def test_no_two_boards_have_one_name(tmp_path: Path) -> None:
    """Runs that contradict each other about one dataset, as strangers' may."""
    few = [
        make_ledger(f"of {count}", scenes=2, complete=False, expected_scenes=count)
        for count in (3, 4, 5)
    ]
    boards = boards_of(entries_of(tmp_path, *few))
    assert len({(board.track, board.protocol.name) for board in boards}) == len(boards) == 6
