"""Test shares of the kinds of land, seamless patches, and parcels that tile the plane."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from planetcr_bench.simulation.land import class_shares, fields_on, kinds_on, levels_of
from planetcr_bench.simulation.noise import Grid
from planetcr_bench.simulation.place import AOI_PX, Place

WHOLE = Grid(0, 0, AOI_PX // 20, AOI_PX // 20, 20)


@pytest.mark.parametrize("number", [1, 7, 12, 662])
def test_an_aoi_has_the_shares_of_land_it_was_given(number: int) -> None:
    place = Place(0, number)
    fields = fields_on(place, WHOLE)
    got = class_shares(kinds_on(place, fields, levels_of(place, fields)))
    crop, range_, forest, town, bare, water = place.shares
    assert_allclose(got, [forest, range_, crop, town, bare, water], atol=0.01)
    assert got.sum() == pytest.approx(1)


def test_neighbouring_windows_share_their_land() -> None:
    place = Place(0, 3)
    fields = fields_on(place, WHOLE)
    levels = levels_of(place, fields)
    both = [fields_on(place, Grid(600, left, 300, 320)) for left in (580, 880)]
    left, right = (kinds_on(place, fields, levels) for fields in both)
    for name in ("open_land", "forest", "town", "water"):
        assert_array_equal(getattr(left, name)[:, 300:], getattr(right, name)[:, :20])
    assert_allclose(both[0].parcels.edge[:, 300:], both[1].parcels.edge[:, :20], atol=1e-3)
    names = [
        np.stack([fields.parcels.column, fields.parcels.row])[:, fields.parcels.label]
        for fields in both
    ]
    assert_array_equal(names[0][:, :, 300:], names[1][:, :, :20])


def test_parcels_are_as_large_as_their_landscape_says() -> None:
    for number in (1, 2, 5, 9):
        place = Place(0, number)
        parcels = fields_on(place, Grid(900, 900, 600, 600)).parcels
        width, length = place.parcel_px
        mean_area = 600 * 600 / len(parcels.column)
        assert 0.4 < mean_area / (width * length) < 2.5
        assert parcels.edge.min() >= 0
        assert parcels.edge.max() < 5 * max(width, length)
        assert parcels.label.max() + 1 == len(parcels.column)
