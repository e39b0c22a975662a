"""Run the command line in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys


def planetcr(*arguments: object, threads: int = 1) -> subprocess.CompletedProcess[str]:
    """Run the real command."""
    return subprocess.run(
        [sys.executable, "-m", "planetcr_bench", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=False,
    )
