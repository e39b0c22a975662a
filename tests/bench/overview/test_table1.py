"""Tab. 1: what is published, described and measured."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from paths import ROOT
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.overview.statistics import measure_dataset
from planetcr_bench.overview.table1 import IN_CATALOGUE, table1, table1_frame
from planetcr_bench.results.published import published_table1

REFERENCE = ROOT.parent / "shared/reference/published_table1.csv"


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference is not part of the repository")
def test_published_rows_are_those_of_the_reference() -> None:
    reference = pd.read_csv(REFERENCE, dtype=str, keep_default_na=False)
    frame = table1_frame([])
    rows = frame.loc[frame["kind"] == "published", reference.columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, reference, check_dtype=False)


@pytest.mark.parametrize("title", IN_CATALOGUE)
def test_descriptions_agree_with_the_published_table(title: str) -> None:
    row = published_table1().set_index("dataset").loc[title]
    described = load_description(IN_CATALOGUE[title])
    if described.resolution is not None:
        assert float(row["resolution_m"]) == described.resolution
    assert described.size == (int(row["width_px"]),) * 2
    assert row["sar"] == ("yes" if described.sar else "no")
    assert row["land_cover"] == ("yes" if described.land_cover else "no")


def test_the_dataset_at_hand_is_measured_and_marked(data: Path) -> None:
    table = table1([measure_dataset(data, workers=0, quiet=True)])
    assert table.kinds[-1] == "measured"
    assert table.kinds.count("published") == 8
    row = dict(zip(table.header, table.rows[-1], strict=True))
    assert row["Dataset"].startswith("fake in ")
    assert (row["AOIs"], row["Images"], row["Width [px]"], row["SAR"]) == ("3", "8", "300", "yes")
    assert any("train 2, test 6" in note for note in table.notes)
