"""Test that logs are complete and without duplicates, also after a kill and resuming."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from planetcr_models.training import logger as logger_module
from planetcr_models.training.budget import Budget
from planetcr_models.training.logger import EPOCHS, SHOWN_EVERY, STEPS, Logger, readable_interval


def opened(folder: Path | None, *, first: int = 0, quiet: bool = True) -> Logger:
    budget = Budget(epochs=4, steps=40)
    return Logger(folder, first=first, budget=budget, batch=12, quiet=quiet)


def run(folder: Path | None, first: int, last: int, *, offset: float = 0.0) -> None:
    """Ten steps an epoch; losses are the step's number, scores the epoch's."""
    logger = opened(folder, first=first)
    for step in range(first + 1, last + 1):
        epoch = (step - 1) // 10 + 1
        row = {"loss": step + offset, "learning_rate": 0.1}
        logger.step(step, epoch, row, waited=0.0)
        if step % 10 == 0:
            logger.epoch(step, epoch, {"psnr": epoch + offset})
            logger.restart()
    logger.close()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [*csv.DictReader(file)]


def column(path: Path, name: str) -> list[float]:
    return [float(row[name]) for row in rows(path)]


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    board = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {
        name: [(event.step, event.value) for event in board.Scalars(name)]
        for name in board.Tags()["scalars"]
    }


# --- tables ---------------------------------------------------------------------------------------


def test_every_step_and_every_epoch_is_a_row(tmp_path: Path) -> None:
    run(tmp_path, 0, 25)
    assert (STEPS, EPOCHS) == ("steps.csv", "epochs.csv")
    steps, epochs = rows(tmp_path / STEPS), rows(tmp_path / EPOCHS)
    assert len(steps) == 25
    assert steps[12] == {"step": "13", "epoch": "2", "loss": "13.0", "learning_rate": "0.1"}
    assert [(row["step"], row["epoch"], row["psnr"]) for row in epochs] == [
        ("10", "1", "1.0"),
        ("20", "2", "2.0"),
    ]
    assert [*epochs[0]] == ["step", "epoch", "psnr", "samples_per_second", "waited_for_data"]


def test_a_row_is_there_before_the_next_step(tmp_path: Path) -> None:
    logger = opened(tmp_path)
    for step in (1, 2):
        logger.step(step, 1, {"loss": 0.5}, waited=0.0)
        assert (tmp_path / STEPS).read_text().count("\n") == step + 1
    logger.epoch(2, 1, {"psnr": 3.0})
    assert (tmp_path / EPOCHS).read_text().count("\n") == 2
    logger.close()


def test_lines_end_alike_everywhere(tmp_path: Path) -> None:
    run(tmp_path, 0, 15)
    run(tmp_path, 10, 12)
    for name in (STEPS, EPOCHS):
        assert b"\r" not in (tmp_path / name).read_bytes()


def test_rows_after_the_step_it_resumes_from_are_removed(tmp_path: Path) -> None:
    run(tmp_path, 0, 25)
    run(tmp_path, 20, 32, offset=100)
    assert column(tmp_path / STEPS, "step") == [*range(1, 33)]
    assert column(tmp_path / STEPS, "loss") == [*range(1, 21), *range(121, 133)]
    assert column(tmp_path / EPOCHS, "psnr") == [1, 2, 103]


def test_rows_are_removed_before_anything_new_is_written(tmp_path: Path) -> None:
    run(tmp_path, 0, 25)
    opened(tmp_path, first=15).close()
    assert column(tmp_path / STEPS, "step") == [*range(1, 16)]
    assert column(tmp_path / EPOCHS, "step") == [10]


def test_steps_are_compared_as_numbers(tmp_path: Path) -> None:
    run(tmp_path, 0, 25)
    opened(tmp_path, first=9).close()  # "10" < "9" as text
    assert column(tmp_path / STEPS, "step") == [*range(1, 10)]


def test_a_new_run_drops_all_rows_and_columns(tmp_path: Path) -> None:
    run(tmp_path, 0, 15)
    logger = opened(tmp_path)
    assert (tmp_path / STEPS).read_bytes() == b""
    logger.step(1, 1, {"l1": 0.5}, waited=0.0)
    logger.close()
    assert (tmp_path / STEPS).read_text() == "step,epoch,l1\n1,1,0.5\n"


@pytest.mark.parametrize("half", ["1", "16", "16,2", "16,2,16.", "16,2,16.0,"])
def test_a_half_written_last_line_is_dropped(tmp_path: Path, half: str) -> None:
    run(tmp_path, 0, 15)
    path = tmp_path / STEPS
    before = path.read_text()
    path.write_text(before + half)
    opened(tmp_path, first=15).close()
    assert path.read_text() == before
    path.write_text(before + half)
    run(tmp_path, 15, 17)
    assert column(path, "loss") == [*range(1, 18)]


@pytest.mark.parametrize("half", ["", "st", "step,epoch", "step,epoch,loss,learning_rate"])
def test_a_half_written_header_is_replaced(tmp_path: Path, half: str) -> None:
    (tmp_path / STEPS).write_text(half)
    run(tmp_path, 0, 2)
    assert (tmp_path / STEPS).read_text() == (
        "step,epoch,loss,learning_rate\n1,1,1.0,0.1\n2,1,2.0,0.1\n"
    )


def test_columns_are_those_of_the_first_row(tmp_path: Path) -> None:
    logger = opened(tmp_path)
    logger.step(1, 1, {"loss": 1.0, "l1": 2.0}, waited=0.0)
    logger.step(2, 1, {"l1": 3.0, "loss": 4.0}, waited=0.0)
    logger.close()
    again = opened(tmp_path, first=2)
    again.step(3, 1, {"l1": 5.0, "new": 6.0, "loss": 7.0}, waited=0.0)
    again.step(4, 1, {"loss": 8.0}, waited=0.0)
    again.close()
    assert (tmp_path / STEPS).read_text() == (
        "step,epoch,loss,l1\n1,1,1.0,2.0\n2,1,4.0,3.0\n3,1,7.0,5.0\n4,1,8.0,\n"
    )


def test_nothing_is_left_beside_the_tables(tmp_path: Path) -> None:
    run(tmp_path, 0, 15)
    run(tmp_path, 10, 12)
    assert {path.name for path in tmp_path.iterdir()} == {STEPS, EPOCHS, "tensorboard"}


def test_without_a_folder_nothing_is_written_or_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    logger = opened(None, quiet=False)
    logger.step(10, 1, {"loss": 0.5}, waited=0.0)
    logger.epoch(10, 1, {"psnr": 30.0}, shown=["psnr"])
    logger.close()
    assert [*tmp_path.iterdir()] == []
    assert capfd.readouterr() == ("", "")


# --- speed ----------------------------------------------------------------------------------------


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [1000.0]
    monkeypatch.setattr(logger_module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def later(seconds: float) -> None:
        now[0] += seconds

    return later


def test_speed_counts_the_steps_since_the_clock_was_started(
    tmp_path: Path, pass_time: Callable[[float], None]
) -> None:
    logger = opened(tmp_path)
    for epoch, seconds in ((1, 4.0), (2, 8.0)):
        for step in (1, 2, 3):
            pass_time(seconds)
            logger.step(3 * epoch - 3 + step, epoch, {"loss": 1.0}, waited=1.0)
        pass_time(300.0)  # of validation
        logger.epoch(3 * epoch, epoch, {"psnr": 30.0})
        pass_time(200.0)  # of saving
        logger.restart()
    logger.close()
    assert column(tmp_path / EPOCHS, "samples_per_second") == [3.0, 1.5]  # 12 a step
    assert column(tmp_path / EPOCHS, "waited_for_data") == [0.25, 0.125]


def test_each_epoch_prints_a_line(
    tmp_path: Path,
    pass_time: Callable[[float], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    logger = opened(tmp_path, quiet=False)
    pass_time(6.0)
    logger.step(1, 1, {"loss": 1.0}, waited=3.0)
    logger.epoch(1, 1, {"mae": 0.1, "psnr": 30.12345}, shown=["psnr"], note=" · best so far")
    logger.close()
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "step 1/40 (epoch 1/4): loss 1, 0.167 steps/s, 0:04 h left",
        "epoch 1/4: psnr 30.12, 2.0 samples/s, 50% of the time waiting for data · best so far",
    ]


def test_the_pace_of_a_line_counts_steps_alone(
    tmp_path: Path,
    pass_time: Callable[[float], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    logger = opened(tmp_path, quiet=False)
    for step in (1, 2, 3):
        pass_time(4.0)
        logger.step(step, 1, {"loss": 1.0}, waited=0.0)
        if step == 2:
            pass_time(500.0)  # of validation
            logger.epoch(step, 1, {"psnr": 30.0})
            logger.restart()
    logger.close()
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("step")]
    assert [line.split(", ")[1] for line in lines] == ["0.25 steps/s"] * 3


@pytest.mark.parametrize("line", ["runs/[red]/last.ckpt", "runs/[/red]/last.ckpt", "at :cloud:"])
def test_a_line_is_printed_as_it_is(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, line: str
) -> None:
    logger = opened(tmp_path, quiet=False)
    try:
        logger.epoch(1, 1, {"psnr": 30.0}, note=line)
    finally:
        logger.close()
    [told] = capfd.readouterr().err.splitlines()
    assert told.endswith(line)


def test_a_quiet_logger_prints_nothing_and_writes_everything(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, 0, 10)
    assert capfd.readouterr() == ("", "")
    assert len(rows(tmp_path / STEPS)) == 10


# --- TensorBoard ----------------------------------------------------------------------------------


def test_tensorboard_has_every_tenth_step_and_every_epoch(tmp_path: Path) -> None:
    run(tmp_path, 0, 25)
    drawn = curves(tmp_path)
    assert SHOWN_EVERY == 10
    assert drawn["train/loss"] == [(10, 10.0), (20, 20.0)]
    assert drawn["train/learning_rate"] == [(10, pytest.approx(0.1)), (20, pytest.approx(0.1))]
    assert drawn["epoch/psnr"] == [(10, 1.0), (20, 2.0)]
    assert set(drawn) == {
        *("train/loss", "train/learning_rate", "epoch/psnr"),
        *("epoch/samples_per_second", "epoch/waited_for_data"),
    }


def test_tensorboard_drops_steps_that_are_repeated(tmp_path: Path) -> None:
    run(tmp_path, 0, 35)
    run(tmp_path, 20, 40, offset=100)
    drawn = curves(tmp_path)
    assert drawn["train/loss"] == [(10, 10.0), (20, 20.0), (30, 130.0), (40, 140.0)]
    assert drawn["epoch/psnr"] == [(10, 1.0), (20, 2.0), (30, 103.0), (40, 104.0)]


def test_tables_are_written_without_tensorboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger_module, "find_spec", lambda _: None)
    run(tmp_path, 0, 10)
    assert not (tmp_path / "tensorboard").exists()
    assert len(rows(tmp_path / STEPS)) == 10


# --- lines where there is no terminal -------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 30, 500, 501, 24_000, 750_000])
def test_a_log_gets_about_a_hundred_lines_of_any_run(steps: int) -> None:
    lines = steps / readable_interval(steps)
    assert min(steps, 200) <= lines <= 500


def test_without_a_terminal_steps_are_printed_in_lines(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = opened(tmp_path, first=10, quiet=False)
    for step in range(11, 15):
        logger.step(step, 2, {"loss": 0.25}, waited=0.0)
    logger.close()
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("step")]
    assert len(lines) == 4
    assert lines[0].startswith("step 11/40 (epoch 2/4): loss 0.25, ")
    assert all("steps/s" in line and "h left" in line for line in lines)


# --- a budget in minutes --------------------------------------------------------------------------


def test_time_is_logged_where_it_limits_the_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], pass_time: Callable[[float], None]
) -> None:
    budget = Budget(epochs=2, seconds=1200.0)
    for first in (0, 5):  # the second one resumes
        logger = Logger(
            tmp_path, first=first, budget=budget, batch=12, quiet=False, seconds=60.0 * first
        )
        for step in range(first + 1, first + 6):
            pass_time(60.0)
            logger.step(step, 1, {"loss": 0.5}, waited=0.0, seconds=60.0 * step)
        logger.epoch(first + 5, 1, {"psnr": 30.0})
        logger.close()
    assert column(tmp_path / STEPS, "minutes") == [*range(1, 11)]
    assert column(tmp_path / EPOCHS, "minutes") == [5, 10]
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("step")]
    assert len(lines) == 10
    assert lines[0] == "step 1 (epoch 1/2): loss 0.5, 0.0167 steps/s, 0:19 h left"
    assert lines[-1] == "step 10 (epoch 1/2): loss 0.5, 0.0167 steps/s, 0:10 h left"


def test_a_log_of_a_run_that_time_limits_has_some_hundred_lines(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], pass_time: Callable[[float], None]
) -> None:
    budget = Budget(epochs=2, seconds=3000.0)
    logger = Logger(tmp_path, first=0, budget=budget, batch=12, quiet=False)
    for step in range(1, 3001):
        pass_time(1.0)
        logger.step(step, 1, {"loss": 0.5}, waited=0.0, seconds=float(step))
    logger.close()
    assert 300 <= capfd.readouterr().err.count("h left") <= 302
