"""`make demo`: the main job from nothing to tables and pictures, with the real commands.

python tests/demo.py FOLDER
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

BASELINES = ("copy-cloudy", "mean-fill", "sar-regression")
NETWORKS = {"dsen2_cr": "sim-v1-small"}
"""Small networks, and the name of their weights, which ship with the package."""

TRACK = "sim-v1-demo"


def command(*words: str, folder: Path, whole: bool = False) -> None:
    """Show a command as a user would type it, run it, and show what it prints.

    Args:
        words: The command's.
        folder: Where it runs.
        whole: Show all of that, not the last line alone.
    """
    print(f"\n$ planetcr-bench {shlex.join(words)}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "planetcr_bench", *words],
        cwd=folder,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
    )
    lines = done.stdout.splitlines()
    print("\n".join(lines if whole else lines[-1:]), flush=True)
    if done.returncode:
        sys.exit(done.returncode)  # the command has said why


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    folder.mkdir(parents=True, exist_ok=True)
    command("simulate", "data", "--size", "demo", "--truth", "truth", folder=folder)
    command("check", "data", folder=folder)
    methods = [*BASELINES, *NETWORKS]
    for method in methods:
        options = ["--weights", NETWORKS[method]] if method in NETWORKS else []
        command("predict", method, "--data", "data", *options, folder=folder)
        truth = ("--optical-thickness", "truth")
        command("evaluate", f"preds/{method}", *truth, folder=folder)
    runs = [f"results/{TRACK}/{method}" for method in methods]
    command("compare", *runs, folder=folder, whole=True)
    pictures = [f"preds/{method}" for method in methods[1:]]
    command("gallery", "data", *pictures, "--out", "gallery.png", folder=folder)
    print(
        f"""
Everything is in {folder}/:
  data/                      the simulated dataset, in the official layout
  truth/                     what is hidden under its clouds, for the report
  preds/                     predictions of {", ".join(methods)}
  results/{TRACK}/       a folder per method: start with report.html
  results/comparison/        all of them side by side, in the same form
  gallery.png                cloudy, SAR, land cover, predictions, clear of five scenes

Next: put your own predictions, one file per scene of data/test, into a folder and run
  .venv/bin/planetcr-bench evaluate YOUR_FOLDER --data {folder}/data
Real data in the official layout works the same. The open track itself is
  .venv/bin/planetcr-bench simulate SIM --size full"""
    )


if __name__ == "__main__":
    main()
