"""Test locations and parameters of AOIs, and that no choice affects another."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from planetcr_bench.constants import SEASONS
from planetcr_bench.simulation.catalogue import LANDSCAPES, PRESETS
from planetcr_bench.simulation.place import Place

ALL = [Place(3, number) for number in range(1, 781)]


def test_every_sixteen_aois_have_every_landscape_and_season() -> None:
    for first in (0, 320, 660, 740):
        some = ALL[first : first + 16]
        landscapes = Counter(place.landscape_name for place in some)
        assert landscapes == {name: landscape.cards for name, landscape in LANDSCAPES.items()}
        assert Counter(place.season for place in some) == dict.fromkeys(SEASONS, 4)


def test_training_and_test_aois_have_different_numbers() -> None:
    assert Counter(place.split for place in ALL) == {"train": 660, "test": 120}
    assert len({place.name for place in ALL}) == 780


def test_no_two_aois_overlap_and_all_lie_in_a_utm_zone() -> None:
    by_zone: dict[int, list[Place]] = {}
    for place in ALL:
        site = place.site
        assert 32601 <= site.epsg <= 32660 or 32701 <= site.epsg <= 32760
        assert 100_000 < site.east < 900_000
        assert 10_800 < site.north < 10_030_000
        by_zone.setdefault(site.epsg, []).append(place)
    for places in by_zone.values():
        for a, b in combinations(places, 2):
            apart = abs(a.site.east - b.site.east), abs(a.site.north - b.site.north)
            assert max(apart) >= 10_800, (a, b)


def test_grids_are_snapped_as_in_the_real_files() -> None:
    """The 3 m grid begins at the multiple of 3 at or left of and above the 10 m grid's corner."""
    for place in ALL[::10]:
        site, (east, north) = place.site, place.site.optical_corner
        assert site.east % 10 == site.north % 10 == east % 3 == north % 3 == 0
        assert 0 <= site.east - east <= 2
        assert 0 <= north - site.north <= 2
        down, right = site.coarse_offset_px
        assert (3 * down, 3 * right) == pytest.approx((north - site.north, site.east - east))


def test_the_sun_stands_in_the_east_before_noon_and_higher_in_summer() -> None:
    for place in ALL:
        assert np.radians(18) <= place.site.sun_elevation < np.radians(75)
        assert place.site.to_sun[1] > 0
        north = place.site.north - (10_000_000 if place.site.epsg > 32700 else 0)
        if abs(north) > 3_500_000:  # beyond 32 degrees: down is south on the image
            assert (place.site.to_sun[0] > 0) == (north > 0)
        assert np.dot(place.site.to_sun, place.cloudy_to_sun) > np.cos(np.radians(25))
    heights = {
        season: np.mean([p.site.sun_elevation for p in ALL if p.season == season])
        for season in SEASONS
    }
    assert heights["summer"] > max(heights["spring"], heights["fall"]) > heights["winter"]


def test_only_the_preset_decides_how_far_sar_is_off() -> None:
    standard = np.array([place.sar_shift_m for place in ALL])
    assert np.abs(standard).max() <= 12
    assert standard.std() == pytest.approx(PRESETS["standard"].shift_std_m, rel=0.1)
    off = np.array([Place(3, number, "misaligned").sar_shift_m for number in range(1, 781)])
    assert np.abs(off).min() >= 25
    assert np.abs(off).max() <= 40
    assert abs((off > 0).mean() - 0.5) < 0.05
    a, b = Place(3, 5), Place(3, 5, "misaligned")
    assert np.array_equal(a.soil, b.soil)
    assert (a.site, a.crops, a.season, a.rivers) == (b.site, b.crops, b.season, b.rivers)


def test_parameters_are_possible_ones() -> None:
    for place in ALL:
        assert place.shares.sum() == pytest.approx(1)
        assert 0.04 <= place.greenness <= 0.98
        assert 0.3 <= place.leaf <= 1
        assert 0 < place.soil.min() < place.soil.max() < 0.6
        for crop in place.crops:
            assert crop.green >= 0
            assert crop.dry >= 0
            assert crop.green + crop.dry <= 1


def test_another_seed_is_another_world() -> None:
    assert Place(3, 5).site != Place(4, 5).site
    assert not np.array_equal(Place(3, 5).soil, Place(4, 5).soil)
