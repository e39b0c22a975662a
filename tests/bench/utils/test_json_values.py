"""Test that null means not measured, and that infinite numbers are marked."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ledgers import make_ledger
from planetcr_bench.analysis.error_analysis import ErrorAnalysis
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.report.error_analysis import _to_json
from planetcr_bench.report.report import _write_table_files
from planetcr_bench.report.scores import summary
from planetcr_bench.results.aggregate import table2
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.utils.json_values import from_json_value, to_json_value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1.5, 1.5),
        (np.float64(1.5), 1.5),
        (np.int64(3), 3),
        (True, True),
        ("text", "text"),
        (None, None),
        (math.nan, None),
        (np.float32("nan"), None),
        (pd.NA, None),
        (pd.NaT, None),
        (math.inf, "inf"),
        (np.float64("-inf"), "-inf"),
        ({"a": [math.nan, (math.inf,)]}, {"a": [None, ["inf"]]}),
    ],
)
def test_distinct_values_are_written_distinctly(value: object, written) -> None:
    assert to_json_value(value) == written
    assert type(to_json_value(value)) is type(written)
    json.dumps(to_json_value(value), allow_nan=False)


@pytest.mark.parametrize("value", [1.5, -2.0, math.inf, -math.inf, math.nan])
def test_a_number_is_read_back(value: float) -> None:
    assert from_json_value(to_json_value(value)) == pytest.approx(value, nan_ok=True)


def perfect() -> Ledger:
    """A run without any error, so that its PSNR is infinite; of five bins one has no scene."""
    ledger = make_ledger("perfect", scenes=4, segmenters=("j1",))
    errors = ["absolute_error", "squared_error", "angle_deg", "ndvi_error", "prediction_cloudy"]
    frame = ledger.frame.assign(**dict.fromkeys(errors, 0.0))
    return replace(ledger, frame=frame.assign(prediction_cloudy=frame["cloudy_clear"]))


def texts_of(value: Any) -> set[object]:
    if isinstance(value, dict):
        return set().union(*map(texts_of, value.values()))
    if isinstance(value, list):
        return set().union(set(), *map(texts_of, value))
    return {value} if isinstance(value, str) or value is None else set()


def test_scores_tell_perfect_from_not_measured() -> None:
    full = summary(perfect())["protocols"]["full"]
    assert full["overall"]["psnr"] == "inf"
    assert full["by_cover"]["80-100"]["psnr"] is None
    assert full["by_cover"]["0-20"]["psnr"] == "inf"
    assert full["segmenters"]["j1"]["by_cover"]["80-100"]["miou"] is None


def test_tables_and_error_analysis_tell_perfect_from_not_measured(tmp_path: Path) -> None:
    ledger = perfect()
    _write_table_files(tmp_path / "table2", [], table2([ledger], PROTOCOLS["full"]))
    analysis = ErrorAnalysis([ledger], PROTOCOLS["full"])
    (tmp_path / "error_analysis.json").write_text(_to_json(analysis))
    for name in ("table2", "error_analysis"):
        text = (tmp_path / f"{name}.json").read_text()
        assert "inf" in texts_of(json.loads(text)), name
        assert "NaN" not in text
        assert "Infinity" not in text
