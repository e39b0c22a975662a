"""The commands. Each file reads its options, calls one function and prints; nothing is computed."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line; the entry point of ``planetcr-bench``."""
    try:
        from planetcr_bench.cli.app import app
        from planetcr_bench.cli.environment import adapt

        adapt()
        app(prog_name="planetcr-bench", args=sys.argv[1:])
    except KeyboardInterrupt:  # before a command began
        print("stopped", file=sys.stderr)
        sys.exit(130)
    finally:
        gc.freeze()  # all memory goes with the process: to look for garbage in it takes 0.4 s
