"""Test that random numbers belong to positions, and their statistics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from planetcr_bench.simulation.noise import (
    Draws,
    Grid,
    fractal,
    key_of,
    noise,
    streaks,
    uniforms,
    white,
)

FIELDS: dict[str, Callable[[int, Grid], np.ndarray]] = {
    "noise": lambda key, grid: noise(key, grid, 9),
    "fractal": lambda key, grid: fractal(key, grid, 40, 3.2, 5),
    "streaks": lambda key, grid: streaks(key, grid, 30, 0.7),
    "white": lambda key, grid: white(key, int(grid.top), int(grid.left), *grid.shape),
}


@pytest.mark.parametrize("name", FIELDS)
@settings(max_examples=20, deadline=None)
@given(
    top=st.integers(-50, 4000),
    left=st.integers(-50, 4000),
    down=st.integers(0, 30),
    right=st.integers(0, 30),
)
def test_a_window_is_a_part_of_the_field_around_it(
    name: str, top: int, left: int, down: int, right: int
) -> None:
    whole = FIELDS[name](7, Grid(top, left, 60, 60))
    part = FIELDS[name](7, Grid(top + down, left + right, 30, 30))
    assert_allclose(part, whole[down : down + 30, right : right + 30], atol=2e-5)


@pytest.mark.parametrize("name", ["noise", "fractal", "streaks"])
def test_fields_have_zero_mean_and_unit_variance(name: str) -> None:
    field = FIELDS[name](3, Grid(0, 0, 500, 500, 8.3))
    assert abs(field.mean()) < 0.05
    assert field.std() == pytest.approx(1, abs=0.05)


def test_white_noise_is_normal_and_its_neighbours_are_independent() -> None:
    field = white(11, 0, 0, 1000, 1000).astype(np.float64)
    moments = [(field**power).mean() for power in (1, 2, 3, 4)]
    assert_allclose(moments, [0, 1, 0, 3], atol=0.03)
    for other in (field[1:, :] * field[:-1, :], field[:, 1:] * field[:, :-1]):
        assert abs(other.mean()) < 0.004
    assert abs((field * white(12, 0, 0, 1000, 1000)).mean()) < 0.004


@pytest.mark.parametrize("beta", [2.5, 3.5])
def test_the_power_of_fractal_noise_falls_as_it_should(beta: float) -> None:
    slopes = []
    for key in range(12):
        field = fractal(key, Grid(0, 0, 512, 512), 256, beta, 7, finest=2)
        power = np.abs(np.fft.rfft(field * np.hanning(512), axis=1)) ** 2
        frequency = np.arange(4, 24)  # well within the octaves: the finest ends at 64
        slope = np.polyfit(np.log(frequency), np.log(power.mean(0)[4:24]), 1)[0]
        slopes.append(slope - 1)  # along a line the power of an isotropic field falls one less
    assert np.mean(slopes) == pytest.approx(-beta, abs=0.35)


def test_streaks_are_longer_than_wide_along_their_angle() -> None:
    field = streaks(5, Grid(0, 0, 300, 300), 60, 0.0)
    along, across = np.abs(np.diff(field, axis=1)).mean(), np.abs(np.diff(field, axis=0)).mean()
    assert across > 2.5 * along


def test_keys_and_draws_are_the_same_on_every_machine() -> None:
    assert key_of(0, 661, "mosaic") == 2428741455
    draws = Draws("0/661")
    assert draws.uniform("haze", 2, 4) == pytest.approx(3.3044560101709344, abs=1e-12)
    numbers = white(key_of(0), 5, 7, 1, 3)[0]
    assert_allclose(numbers, [-0.7789524, 1.8026514, 0.8635331], atol=1e-6)


@given(name=st.text(max_size=5), low=st.floats(-5, 5), span=st.floats(0.1, 5))
def test_draws_stay_in_their_range(name: str, low: float, span: float) -> None:
    draws = Draws(name)
    assert low <= draws.uniform("x", low, low + span) <= low + span
    assert span <= draws.log_uniform("y", span, 3 * span) <= 3 * span
    assert draws.one_of("z", {"a": span, "b": 1}) in {"a", "b"}
    assert sorted(draws.shuffled("cards", list("abcde"))) == list("abcde")


def test_draws_follow_their_weights() -> None:
    names = [Draws(str(i)).one_of("kind", {"often": 3, "seldom": 1}) for i in range(4000)]
    assert names.count("often") / 4000 == pytest.approx(0.75, abs=0.03)
    numbers = np.array([Draws(str(i)).normal("n", 5, 2) for i in range(4000)])
    assert_allclose([numbers.mean(), numbers.std()], [5, 2], atol=0.1)


def test_other_names_give_other_random_numbers() -> None:
    first, second = np.arange(200), np.zeros(200, np.int64)
    numbers = uniforms(9, first, second, 8)
    assert np.unique(numbers).size > 1590
    assert_array_equal(numbers[:, 50:60], uniforms(9, first[50:60], second[50:60], 8))
    assert ((numbers > 0) & (numbers < 1)).all()
    assert numbers.mean() == pytest.approx(0.5, abs=0.03)
