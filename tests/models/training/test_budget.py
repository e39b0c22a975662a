"""Test how steps and seconds are counted against a budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from planetcr_models.training.budget import Budget


@given(epochs=st.integers(1, 60), more=st.integers(0, 200))
def test_steps_are_divided_into_epochs_that_differ_by_one_step_at_most(
    epochs: int, more: int
) -> None:
    steps = epochs + more
    budget = Budget(epochs=epochs, steps=steps)
    counts = [budget.progress(step).epoch for step in range(steps + 1)]
    sizes = [counts.count(epoch) for epoch in range(epochs)]
    assert counts[-1] == epochs
    assert sum(sizes) == steps
    assert max(sizes) - min(sizes) <= 1
    assert [budget.progress(step).finished for step in range(steps + 1)] == [
        *[False] * steps,
        True,
    ]


def test_seconds_count_where_there_are_no_steps() -> None:
    budget = Budget(epochs=4, seconds=20.0)
    seconds = (0.0, 4.9, 5.0, 19.9, 20.0, 33.0)
    run = [budget.progress(7, value) for value in seconds]
    assert [progress.epoch for progress in run] == [0, 0, 1, 3, 4, 4]
    assert [progress.finished for progress in run] == [*[False] * 4, True, True]
    assert all(progress.fraction <= 1 for progress in run)
    assert budget.last_step > 10**12
