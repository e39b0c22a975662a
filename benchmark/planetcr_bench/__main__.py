"""Run ``planetcr-bench`` as ``python -m planetcr_bench``."""

from planetcr_bench.cli import main

if __name__ == "__main__":
    main()
