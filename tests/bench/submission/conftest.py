"""Ledgers of a few real scenes, for tests that tamper with copies of them."""

from __future__ import annotations

import pytest

from planetcr_bench.results.ledger import Ledger
from tampering import some_scenes


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return some_scenes(segmenters=0)


@pytest.fixture(scope="module")
def segmented() -> Ledger:
    return some_scenes(segmenters=1)
