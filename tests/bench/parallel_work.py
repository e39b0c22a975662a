"""Provide functions for worker processes, importable by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

from pydantic import model_validator

from planetcr_bench.leaderboard.ledgers import Record


def blocked(items: Sequence[int]) -> list[bool]:
    """Whether this process hears of Ctrl-C, once per item."""
    deaf = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return [deaf] * len(items)


def fail_or_sleep(items: Sequence[int]) -> list[int]:
    if 0 in items:
        raise ValueError("zero")
    time.sleep(60)
    return [*items]


class AbortingRecord(Record):
    """Dies as from bytes that crash a library."""

    @model_validator(mode="before")
    @classmethod
    def _abort(cls, _: object) -> object:
        os.abort()
