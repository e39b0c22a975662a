"""Distances on the globe, and how alike patches of one place are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from made_statistics import made_statistics
from planetcr_bench.overview.spatial import correlogram, intraclass, nearest_training, places

KM = 1 / 111.195
"""Degrees of a kilometre along a meridian."""


def patches(aois: int, each: int, values: np.ndarray) -> pd.DataFrame:
    """Patches 1 km apart in a line, of places 1 degree apart."""
    number = np.repeat(np.arange(aois), each)
    step = np.tile(np.arange(each), aois)
    return pd.DataFrame(
        {"aoi": [f"summer_{n}" for n in number], "longitude": 10.0, "latitude": number + step * KM,
         "clear_blue": values.ravel()}
    )  # fmt: skip


def test_the_nearest_training_place_is_found_across_the_antimeridian() -> None:
    table = pd.DataFrame(
        {"split": ["train", "train", "test"], "aoi": ["west", "far", "east"],
         "longitude": [179.5, 0.0, -179.5], "latitude": [0.0, 10.0, 0.0]}
    )  # fmt: skip
    (found,) = nearest_training(made_statistics(table)).to_dict("records")
    assert (found["aoi"], found["nearest"]) == ("east", "west")
    assert found["km"] == pytest.approx(111.195, abs=0.01)


def test_the_centre_of_a_place_is_the_mean_over_its_patches() -> None:
    (centre,) = places(made_statistics(patches(1, 3, np.zeros((1, 3))))).to_dict("records")
    assert centre["latitude"] == pytest.approx(KM)
    assert centre["scenes"] == 3


def test_equal_patches_count_as_one_and_independent_ones_as_themselves() -> None:
    rng = np.random.default_rng(0)
    equal = np.repeat(rng.normal(size=(40, 1)), 6, axis=1)
    alike = intraclass(made_statistics(patches(40, 6, equal))).loc["clear_blue"]
    assert alike["correlation"] == pytest.approx(1)
    assert alike["independent"] == pytest.approx(40)
    noise = intraclass(made_statistics(patches(40, 6, rng.normal(size=(40, 6))))).loc["clear_blue"]
    assert abs(noise["correlation"]) < 0.1
    assert noise["independent"] > 150


def test_a_correlogram_falls_with_distance_as_its_patches_do() -> None:
    rng = np.random.default_rng(1)
    steps = rng.normal(size=(200, 10))
    for step in range(1, 10):  # each patch is 0.7 of the last one
        steps[:, step] = 0.7 * steps[:, step - 1] + np.sqrt(1 - 0.49) * steps[:, step]
    table = correlogram(made_statistics(patches(200, 10, steps)))
    assert table["variable"].unique().tolist() == ["clear_blue"]  # constant bands say nothing
    np.testing.assert_allclose(table["km"], np.arange(1, 10), rtol=0.01)
    np.testing.assert_allclose(table["value"], 0.7 ** np.arange(1, 10), atol=0.1)
    inside = table["value"].between(table["low"], table["high"])
    assert inside.all()


def test_without_neighbours_there_is_no_correlogram() -> None:
    alone = patches(30, 1, np.arange(30.0))
    assert correlogram(made_statistics(alone)).empty
    assert intraclass(made_statistics(alone)).empty
