"""`make demo`: the main job from nothing to tables, on fake scenes, with the real commands."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from scenes import write_dataset

SCENES = 60
METHODS = ("copy-cloudy", "mean-fill")


def command(*words: str, folder: Path) -> None:
    """Show a command as a user would type it, and run it."""
    print(f"\n$ planetcr-bench {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "planetcr_bench", *words], cwd=folder, check=True)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    print(f"Writing {SCENES} fake scenes to {folder}/data (no real imagery is in this repository)")
    write_dataset(folder / "data", test=SCENES)
    command("check", "data", folder=folder)
    for method in METHODS:
        command("predict", method, "--data", "data", folder=folder)
        command("evaluate", f"preds/{method}", folder=folder)
    command("compare", *(f"results/fake/{method}" for method in METHODS), folder=folder)
    print(
        f"\nAll of it lies in {folder}/. Look at {folder}/results/comparison/fig5.png and at\n"
        f"{folder}/results/fake/mean-fill/report.md. Next: put your own predictions, one file per\n"
        f"scene, into a folder and run: .venv/bin/planetcr-bench evaluate YOUR_FOLDER "
        f"--data {folder}/data"
    )


if __name__ == "__main__":
    main()
