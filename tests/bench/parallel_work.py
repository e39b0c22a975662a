"""Provide functions for worker processes, importable by name."""

from __future__ import annotations

import os
import signal
import time

from pydantic import model_validator

from planetcr_bench.leaderboard.ledgers import Record


def blocked(_: int) -> bool:
    """Whether Ctrl-C is blocked in this process."""
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def fail_or_sleep(item: int) -> int:
    if item == 0:
        raise ValueError("zero")
    time.sleep(60)
    return item


class AbortingRecord(Record):
    """Dies as from bytes that crash a library."""

    @model_validator(mode="before")
    @classmethod
    def _abort(cls, _: object) -> object:
        os.abort()
