"""``planetcr-bench demo``: the main job from nothing to tables and pictures."""

from __future__ import annotations

import io
import shlex
import sys
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from planetcr_bench.utils.extras import NETWORKS

_BASELINES: Final = ("copy-cloudy", "mean-fill", "sar-regression")
_NETWORK: Final = "dsen2_cr"
_WEIGHTS: Final = "sim-v1-small"  # they ship with the package


def demo(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(help="Folder to write to: new, empty, or begun by this command.")
    ] = Path("demo"),
    size: Annotated[
        Literal["tiny", "demo"],
        typer.Option(help="tiny: 10 test scenes, about a minute; demo: 108, a few minutes."),
    ] = "tiny",
) -> None:
    """Simulate a dataset, score baselines and a network on it, and draw them.

    Every command is shown as you would type it. What an earlier call has made is kept.
    """
    run = _Shell(context.find_root().command)
    data, truth, results = (str(folder / name) for name in ("data", "truth", "results"))
    run("simulate", data, "--size", size, "--truth", truth)
    run("check", data)
    network = all(map(find_spec, NETWORKS))
    methods = [*_BASELINES, *[_NETWORK] * network]
    folders = [str(folder / "preds" / method) for method in methods]
    for method, out in zip(methods, folders, strict=True):
        weights = ("--weights", _WEIGHTS) * (method == _NETWORK)
        run("predict", method, "--data", data, "--out", out, *weights)
        run("evaluate", out, "--data", data, "--optical-thickness", truth, "--results", results)
    runs = [str(folder / "results" / f"sim-v1-{size}" / method) for method in methods]
    run("compare", *runs, whole=True)
    run("gallery", data, *folders[1:], "--out", str(folder / "gallery.png"))
    typer.echo(_closing(folder, size, methods))
    if not network:
        typer.echo(
            "\nA network joins where PyTorch is installed (pip install 'planetcr-bench[models]'): "
            "then run the same command again."
        )


class _Shell:
    """Show a command as a user would type it, run it, and show what it prints.

    All run in this process: none is left when it is stopped, and libraries are loaded once.
    """

    def __init__(self, command: Any) -> None:
        self.command = command

    def __call__(self, *words: str, whole: bool = False) -> None:
        """Run one command; ``whole`` shows all that it prints, not its last line alone.

        Raises:
            typer.Exit: The command failed, and has said why.
        """
        typer.echo(f"\n$ planetcr-bench {shlex.join(words)}")
        sys.stdout.flush()
        sys.argv[1:] = words  # which a run records
        with redirect_stdout(io.StringIO()) as printed:
            status = self.command.main(
                list(words), prog_name="planetcr-bench", standalone_mode=False
            )
        lines = printed.getvalue().splitlines()
        typer.echo("\n".join(lines if whole else lines[-1:]))
        if status:
            raise typer.Exit(status)


def _closing(folder: Path, size: str, methods: list[str]) -> str:
    """What was made, and what to do next."""
    rows = {
        folder / "data": "the simulated dataset, in the official layout",
        folder / "truth": "what is hidden under its clouds, for the reports",
        folder / "preds": f"predictions of {', '.join(methods)}",
        folder / "results" / f"sim-v1-{size}": "a folder per method: start with report.html",
        folder / "results" / "comparison": "all of them side by side, in the same form",
        folder / "gallery.png": "cloudy, SAR, land cover, predictions and clear images",
    }
    width = max(len(str(path)) for path in rows) + 2
    lines = "\n".join(f"  {path!s:{width}}{what}" for path, what in rows.items())
    data = shlex.quote(str(folder / "data"))
    return f"""
Made:
{lines}

Next: put predictions of your own into a folder, a file per scene of {folder / "data/test"}, and run
  planetcr-bench evaluate YOUR_FOLDER --data {data}
Real data in the official layout works the same. The open track itself is made by
  planetcr-bench simulate SIM --size full"""
