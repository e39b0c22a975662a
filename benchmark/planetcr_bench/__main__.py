"""``python -m planetcr_bench``: the same as ``planetcr-bench``."""

from planetcr_bench.cli import main

if __name__ == "__main__":
    main()
