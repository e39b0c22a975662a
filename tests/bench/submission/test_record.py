"""What an entry says about its run is complete, and true as far as that can be known."""

from __future__ import annotations

from typing import Any

import pytest

from paths import RUNS
from planetcr_bench.leaderboard.ledgers import record_errors
from planetcr_bench.results.ledger import read_ledger
from planetcr_bench.submission.record import SentRecord


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"more": 1}, "unknown key 'more'"),
        ({"track": "sim-v1"}, "track: expected sim-v1-demo by its simulation, got 'sim-v1'"),
        ({"track": "planet-cr"}, "track: expected sim-v1-demo by its simulation"),
        ({"track": "planet-cr", "simulation": None}, "expected_scenes: expected 3000 in its track"),
        ({"simulation": None}, "track: expected a simulation, or another track than"),
        ({"track": "unnamed", "simulation": None}, "track: expected a dataset that has a name"),
        ({"simulation": "my own"}, "simulation: expected its version, preset, seed and size"),
        ({"simulation": "sim-v1 standard, seed 1, size demo"}, "track: expected sim-v1-demo-seed1"),
        (
            {"scenes": 1, "expected_scenes": 1},
            "expected_scenes: expected 108 in its track, got 1",
        ),
        ({"track": "mine", "simulation": None}, None),
        ({"track": "planet-cr-val", "split": "val", "simulation": None}, None),
        ({"track": "sim-v1-demo-val", "split": "val"}, None),
    ],
)
def test_tracks_do_not_mix(change: dict[str, Any], line: str | None) -> None:
    errors = record_errors({**read_ledger(RUNS / "mean-fill").provenance, **change}, SentRecord)
    assert len(errors) == (line is not None)
    assert all(error.startswith(str(line)) for error in errors)
