"""Provide functions for worker processes, importable by name."""

from __future__ import annotations

import os
import signal
import time


def blocked(_: int) -> bool:
    """Whether Ctrl-C is blocked in this process."""
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def fail_or_sleep(item: int) -> int:
    if item == 0:
        raise ValueError("zero")
    time.sleep(60)
    return item


def abort(_: object) -> list[str]:
    """Die as from bytes that crash a library."""
    os.abort()
