"""The sky: cover from clear to closed, optics with known limits, and a mask with known faults."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from planetcr_bench.simulation.catalogue import CLOUDS
from planetcr_bench.simulation.noise import Grid
from planetcr_bench.simulation.place import AOI_PX, Place
from planetcr_bench.simulation.sky import (
    cloud_thickness,
    haze_thickness,
    mask_cells,
    mask_on,
    reflected,
    shadow_shift,
    sky_of,
)

WHOLE = Grid(0, 0, 450, 450, 8)


def place_with(family: str) -> Place:
    return next(p for p in (Place(0, n) for n in range(1, 200)) if p.cloud_family_name == family)


def test_reflection_follows_two_streams() -> None:
    assert_allclose(reflected(np.array([0, 1 / 0.075, 1e9], np.float32)), [0, 0.5, 1], atol=1e-6)


@pytest.mark.parametrize("family", CLOUDS)
def test_every_kind_of_cloud_leaves_clear_and_overcast_parts(family: str) -> None:
    place = place_with(family)
    cloudy = cloud_thickness(place, WHOLE) > 0
    windows = cloudy[:432, :432].reshape(12, 36, 12, 36).mean((1, 3))
    assert windows.min() < 0.1
    assert windows.max() > 0.85
    assert 0.25 < cloudy.mean() < 0.75


@pytest.mark.parametrize("family", CLOUDS)
def test_the_mask_finds_thick_cloud_and_misses_thin_cloud(family: str) -> None:
    place = place_with(family)
    grid = Grid(0, 0, AOI_PX // 4, AOI_PX // 4, 4)
    mask = mask_on(mask_cells(place), grid)
    thickness = cloud_thickness(place, grid) + haze_thickness(place, grid)
    thick = thickness > 15
    assert mask[thick].mean() > 0.97 if family != "cirrus" else not thick.any()
    assert mask[thickness < 0.5].mean() < 0.25
    thin = (thickness > 0.7) & (thickness < 1.3)
    if thin.sum() > 1000:
        assert mask[thin].mean() < 0.8


def test_the_mask_is_one_for_the_whole_aoi_and_made_of_cells() -> None:
    place = Place(0, 661)
    cells = mask_cells(place)
    whole = mask_on(cells, Grid(0, 0, AOI_PX, AOI_PX))
    corner = mask_on(cells, Grid(3300, 3300, 300, 300))
    assert_array_equal(corner, whole[3300:, 3300:])
    changes = (whole[:, 1:] != whole[:, :-1]).mean() + (whole[1:] != whole[:-1]).mean()
    assert changes < 0.05  # blocks of some ten pixels, not salt and pepper
    assert 9.5 <= cells.size_px <= 11.5


def test_shadows_fall_away_from_the_sun() -> None:
    for number in range(1, 40):
        place = Place(0, number)
        down, right = shadow_shift(place)
        assert right > 0  # the sun stands in the east: what shades a point lies to its right
        metres = 3 * np.hypot(down, right)
        expected = sky_of(place).base_height_m / np.tan(place.site.sun_elevation)
        assert metres == pytest.approx(expected)
