"""Boards of other datasets: apart from each other, with their own words and bands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from boards import put
from ledgers import make_ledger
from other_datasets import DATASETS, made_run
from planetcr_bench.leaderboard.compacting import compact_run
from planetcr_bench.leaderboard.entries import read_entries
from planetcr_bench.leaderboard.page import write_board
from planetcr_bench.results.aggregate import DEPENDENT

pytestmark = pytest.mark.usefixtures("ledgers_decoded_here")


def test_each_dataset_has_a_board_with_its_own_words(tmp_path: Path) -> None:
    for dataset in DATASETS:
        for seed, name in enumerate(("first", "second")):
            put(tmp_path / "results", made_run(dataset, name, seed))
    put(tmp_path / "results", make_ledger(scenes=6))
    entries, problems = read_entries(tmp_path / "results")
    assert problems == []
    write_board(tmp_path, entries)
    text = (tmp_path / "index.html").read_text()
    page = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    boards = {board["track"]: board for board in page["boards"] if board["protocol"] == "full"}
    for dataset, kind in DATASETS.items():
        board = boards[dataset.replace(" ", "-")]
        assert board["cluster"] == kind.imagery.cluster
        assert list(board["known"].values()) == [kind.land_cover, kind.masks, kind.masks]
        assert len(board["missing"]) == (not kind.land_cover) + (not kind.masks)
        assert (DEPENDENT in board["remark"]) == (kind.imagery.cluster == "scene")
        assert {f"bias_{band}" for band in kind.imagery.bands} <= set(board["further"])
        assert set(board["further"]) <= set(page["further"])
    assert boards["fake"]["missing"] == []
    markdown = (tmp_path / "leaderboard.md").read_text()
    assert "interval over ROIs" in markdown
    assert markdown.count(DEPENDENT) == 1


def test_runs_of_other_bands_under_one_track_have_boards_of_their_own(tmp_path: Path) -> None:
    for index, dataset in enumerate(DATASETS):
        run = made_run(dataset).with_provenance(name=f"run {index}", track="one")
        put(tmp_path / "results", run)
    entries, problems = read_entries(tmp_path / "results")
    assert problems == []
    write_board(tmp_path, entries)
    boards = json.loads((tmp_path / "leaderboard.json").read_text())["boards"]
    assert [len(board["entries"]) for board in boards if "one" in board["track"]] == [1, 1, 1, 1]


@pytest.mark.parametrize("dataset", DATASETS)
def test_compact_runs_have_the_same_board(dataset: str, tmp_path: Path) -> None:
    texts = []
    for name in ("full", "compact"):
        (tmp_path / name).mkdir()
    for seed, name in enumerate(("first", "second")):
        folder = put(tmp_path / "results", made_run(dataset, name, seed))
        compact_run(folder, tmp_path / "small")
    for results in ("results", "small"):
        entries, problems = read_entries(tmp_path / results)
        assert problems == []
        write_board(tmp_path / "full", entries)
        texts.append((tmp_path / "full" / "leaderboard.md").read_text())
    assert texts[0] == texts[1]
