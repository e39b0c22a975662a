"""Log steps and epochs to CSV files, TensorBoard and the terminal."""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from planetcr_models.training.budget import Budget, Progress
from planetcr_models.weights.paths import atomic_path

STEPS, EPOCHS = "steps.csv", "epochs.csv"
"""Tables of a run: one row per step, one row per epoch."""

SHOWN_EVERY = 10
"""Steps between two points of a TensorBoard curve."""

LINES = 300
"""Lines in the log of a run that time limits."""

LONGEST_SILENCE = 600
"""Longest time between two lines of a log, in seconds."""

_WHOLE: Final = 10**9
"""A run's progress bar when it is full."""


class Logger:
    """Log of a run from some step on; rows of later steps are discarded.

    Args:
        folder: Folder of the run; None in a process that writes nothing.
        first: Next step.
        budget: Of the whole run.
        batch: Images per step.
        quiet: Show nothing on the terminal.
        seconds: Training time before.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        first: int,
        budget: Budget,
        batch: int,
        quiet: bool,
        seconds: float = 0.0,
    ) -> None:
        self.batch, self.budget, self._seconds = batch, budget, seconds
        start = budget.progress(first, seconds)
        quiet = quiet or folder is None
        self._steps = _Sheet(folder and folder / STEPS, first)
        self._epochs = _Sheet(folder and folder / EPOCHS, first)
        self._board: Any = folder and _board(folder / "tensorboard", first)
        self._console = Console(stderr=True, quiet=quiet, markup=False, emoji=False)
        self._started, self._waited, self._since = time.monotonic(), 0.0, 0
        self._stepped = self._started
        columns = (
            TextColumn("{task.description}"), BarColumn(),
            TextColumn("{task.fields[rate]} samples/s", style="progress.data.speed"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        shown = self._console.is_terminal and not quiet
        self._lines = None if quiet or shown else _Lines(self._console, start, budget)
        self._bar = ProgressBar(*columns, console=self._console, disable=not shown)
        self._task = self._bar.add_task(
            f"epoch {start.epoch + 1}/{budget.epochs}",
            total=_WHOLE,
            completed=int(start.fraction * _WHOLE),
            rate="–",
        )
        self._bar.start()

    def step(
        self,
        step: int,
        epoch: int,
        row: Mapping[str, float],
        *,
        waited: float,
        seconds: float = 0.0,
    ) -> None:
        """Log a step.

        Args:
            step: Number of the step, from 1.
            epoch: Its epoch, from 1.
            row: Losses and learning rate.
            waited: Seconds of waiting for its data.
            seconds: Training time of the run so far, logged if time limits it.
        """
        self._since += 1
        self._waited += waited
        self._seconds, self._stepped = seconds, time.monotonic()
        self._steps.add({"step": step, "epoch": epoch, **row, **self._minutes()})
        if self._board is not None and step % SHOWN_EVERY == 0:
            for name, value in row.items():
                self._board.add_scalar(f"train/{name}", value, step)
        loss = next(iter(row.values()))
        progress = self.budget.progress(step, seconds)
        if self._lines is not None:
            self._lines.step(progress, epoch, loss)
        pace = self._since / max(self._stepped - self._started, 1e-9)
        self._bar.update(
            self._task,
            completed=int(progress.fraction * _WHOLE),
            description=f"epoch {epoch}/{self.budget.epochs}  loss {loss:.4g}",
            rate=f"{pace * self.batch:.1f}",
        )

    def epoch(
        self,
        step: int,
        epoch: int,
        scores: Mapping[str, float],
        *,
        shown: Sequence[str] = (),
        note: str = "",
    ) -> None:
        """Log an epoch, with the speed of its steps and the share of time spent waiting for data.

        Args:
            step: Finished steps.
            epoch: Finished epochs.
            scores: Scores of the validation scenes.
            shown: Names of the scores that the terminal shows.
            note: Put at the end of the line.
        """
        seconds = max(self._stepped - self._started, 1e-9)  # without the validation that followed
        speed = {
            "samples_per_second": self._since * self.batch / seconds,
            "waited_for_data": self._waited / seconds,
        }
        self._epochs.add({"step": step, "epoch": epoch, **scores, **speed, **self._minutes()})
        if self._board is not None:
            for name, value in {**scores, **speed}.items():
                self._board.add_scalar(f"epoch/{name}", value, step)
        parts = [f"{name} {value:.4g}" for name, value in scores.items() if name in shown]
        parts.append(
            f"{speed['samples_per_second']:.1f} samples/s, {speed['waited_for_data']:.0%} of the "
            "time waiting for data"
        )
        self._console.print(
            f"epoch {epoch}/{self.budget.epochs}: {', '.join(parts)}{note}",
            highlight=False,
            soft_wrap=True,
        )

    def restart(self) -> None:
        """Start the clock of the next epoch, after work outside its steps."""
        self._started, self._waited, self._since = time.monotonic(), 0.0, 0
        if self._lines is not None:
            self._lines.restart()

    def _minutes(self) -> dict[str, float]:
        """Training time of the run, if it limits the run."""
        return {"minutes": self._seconds / 60} if self.budget.seconds else {}

    def close(self) -> None:
        """Write pending rows."""
        self._bar.stop()
        self._steps.close()
        self._epochs.close()
        if self._board is not None:
            self._board.close()


class _Lines:
    """Lines for logs instead of a progress bar: some hundreds per run.

    Args:
        console: A console that is not a terminal.
        start: Progress before the next step.
        budget: Of the whole run.
    """

    def __init__(self, console: Console, start: Progress, budget: Budget) -> None:
        self._console, self._epochs = console, budget.epochs
        self._start, self._began = start, time.monotonic()
        self._last = self._latest = start
        self._printed = self._began

    def restart(self) -> None:
        """Measure the pace of the next line from here on: what came before was no step."""
        self._last, self._printed = self._latest, time.monotonic()

    def step(self, progress: Progress, epoch: int, loss: float) -> None:
        """Print a step if it is due, or if nothing has been printed for long."""
        now, self._latest = time.monotonic(), progress
        alive = self._last == self._start or now - self._printed > LONGEST_SILENCE
        if not self._due(progress) and not alive:
            return
        pace = (progress.step - self._last.step) / max(now - self._printed, 1e-9)
        done = max(progress.fraction - self._start.fraction, 1e-9)
        left = (1 - progress.fraction) * (now - self._began) / done
        hours, minutes = divmod(round(left / 60), 60)
        of = "" if progress.steps is None else f"/{progress.steps}"
        self._console.print(
            f"step {progress.step}{of} (epoch {epoch}/{self._epochs}): loss {loss:.4g}, "
            f"{pace:.3g} steps/s, {hours}:{minutes:02} h left",
            highlight=False,
            soft_wrap=True,
        )
        self._last, self._printed = progress, now

    def _due(self, progress: Progress) -> bool:
        if progress.steps is not None:
            return progress.step % readable_interval(progress.steps) == 0
        return int(progress.fraction * LINES) > int(self._last.fraction * LINES)


def readable_interval(steps: int) -> int:
    """Steps between two lines, 1, 2 or 5 times a power of ten, for 200 to 500 lines."""
    interval = 1
    for factor in itertools.cycle((2, 2.5, 2)):
        if steps <= 500 * interval:
            break
        interval = round(interval * factor)
    return interval


class _Sheet:
    """A CSV table whose first row determines its columns."""

    def __init__(self, path: Path | None, first: int) -> None:
        self._file: TextIO | None = None
        self._columns: list[str] = []
        if path is not None:
            self._columns = _forget_after(path, first)
            self._file = path.open("a", newline="", encoding="utf-8")

    def add(self, row: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        first = not self._columns
        self._columns = self._columns or list(row)
        table = csv.DictWriter(
            self._file, self._columns, extrasaction="ignore", lineterminator="\n"
        )
        if first:
            table.writeheader()
        table.writerow(row)
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _forget_after(path: Path, step: int) -> list[str]:
    """Remove rows of later steps and an incomplete last row; return the columns."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1].splitlines()
    header, *rows = [*csv.reader(whole)] or [[]]
    kept = [row for row in rows if len(row) == len(header) and int(row[0]) <= step]
    with atomic_path(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *kept] if kept else [])
    return header if kept else []


def _board(folder: Path, first: int) -> Any:
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first + 1)
