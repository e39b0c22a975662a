"""The commands. Each file reads its options, calls one function and prints; nothing is computed."""

from planetcr_bench.cli.app import main

__all__ = ["main"]
