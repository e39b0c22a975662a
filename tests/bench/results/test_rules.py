"""Test that rows which scoring cannot have written are refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ledgers import make_ledger
from planetcr_bench.errors import LedgerError
from planetcr_bench.results.rules import check_rows

BREAKAGES = {
    "finite": lambda frame: frame.assign(absolute_error=np.nan),
    "at least zero": lambda frame: frame.assign(squared_error=-1.0),
    "pixels in every row": lambda frame: frame.assign(pixels=0),
    "4 values": lambda frame: frame.assign(values=frame["pixels"] * 3),
    "known protocols": lambda frame: frame.assign(region="dusk"),
    "once": lambda frame: pd.concat([frame, frame]),
    "cloud cover": lambda frame: frame.assign(cloud_cover=1.5),
    "thickness": lambda frame: frame.assign(thickness="9"),
    "longitude": lambda frame: frame.assign(longitude=200.0),
    "both or none": lambda frame: frame.assign(latitude=float("nan")),
    "worse pixels": lambda frame: frame.assign(worse_pixels=frame["pixels"] + 1),
    "the triangle inequality": lambda frame: frame.assign(
        absolute_error=frame["prediction_cloudy"] + 1.1 * frame["cloudy_clear"]
    ),
    "at least one row": lambda frame: frame.iloc[:0],
}


@pytest.mark.parametrize("rule", BREAKAGES)
def test_impossible_rows_are_refused(rule: str) -> None:
    with pytest.raises(LedgerError, match=rule) as refusal:
        check_rows(BREAKAGES[rule](make_ledger().frame), "some/ledger.parquet")
    assert "some/ledger.parquet" in str(refusal.value)
