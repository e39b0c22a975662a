"""Test writing, reading, merging and refusing ledgers."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from ledgers import FURTHER_SUMS, make_ledger, make_scene_sums
from paths import ROOT
from planetcr_bench.constants import OPTICAL_BANDS
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics.sums import FLOOR_SUMS, GROUPS, SUMS
from planetcr_bench.results.ledger import ledger_table, read_ledger, write_ledger
from planetcr_bench.results.schema import COLUMNS


def test_a_ledger_survives_the_disk(tmp_path: Path) -> None:
    ledger = make_ledger()
    table = ledger_table([make_scene_sums(index) for index in range(10)])
    write_ledger(tmp_path / "a.parquet", table, ledger.provenance)
    again = read_ledger(tmp_path / "a.parquet")
    assert_frame_equal(again.frame, ledger.frame)
    assert again.provenance == ledger.provenance


def test_there_is_one_row_per_group_with_pixels() -> None:
    scene = make_scene_sums(3)
    table = ledger_table([scene])
    assert table.num_rows == sum((sums[:, 0] > 0).sum() for sums in scene.sums.values())
    assert table.column_names == list(COLUMNS)
    first = table.slice(0, 1).to_pylist()[0]
    assert (first["land_cover"], first["region"]) == ("forest", "cloud")
    assert first["pixels"] == scene.sums["official"][0, 0]


def test_disjoint_scenes_merge_by_concatenation() -> None:
    scenes = [make_scene_sums(index) for index in range(4)]
    halves = pa.concat_tables([ledger_table(scenes[:2]), ledger_table(scenes[2:])])
    assert_frame_equal(halves.to_pandas(), ledger_table(scenes).to_pandas())


def test_every_column_says_what_it_means() -> None:
    assert all(column.meaning.endswith(".") for column in COLUMNS.values())
    assert make_scene_sums(0).sums["full"].shape == (GROUPS, len(SUMS))


def test_anything_but_a_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="found none"):
        read_ledger(tmp_path)
    (tmp_path / "ledger.parquet").write_bytes(b"no parquet")
    with pytest.raises(LedgerError, match="did not finish"):
        read_ledger(tmp_path)
    with pytest.raises(LedgerError, match="cannot read it"):
        read_ledger(tmp_path / "ledger.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(LedgerError, match="cannot read it"):
        read_ledger(tmp_path / "other.parquet")


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    ledger = make_ledger(ledger_schema=99)
    write_ledger(tmp_path / "a.parquet", ledger_table([make_scene_sums(0)]), ledger.provenance)
    with pytest.raises(LedgerError, match="schema 3, got 99"):
        read_ledger(tmp_path / "a.parquet")


def test_the_documented_columns_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "metrics-and-ledger.md").read_text()
    for each, column in {**COLUMNS, **FLOOR_SUMS, **FURTHER_SUMS}.items():
        band = next((band for band in OPTICAL_BANDS if each.endswith(f"_{band}")), "no band")
        name = each.replace(f"_{band}", "_<band>")
        meaning = column.meaning.replace("|", r"\|")
        assert any(
            line.startswith(f"| `{name}` |") and line.endswith(f"| {meaning} |")
            for line in text.splitlines()
        ), name
