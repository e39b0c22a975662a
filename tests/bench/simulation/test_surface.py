"""The state of the ground: what stands where, and what it is made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from planetcr_bench.simulation.objects import Town
from planetcr_bench.simulation.place import Place
from planetcr_bench.simulation.surface import (
    MARGIN_PX,
    Surface,
    _shadows,
    hillshade,
    shifted,
    surface_of,
)
from planetcr_bench.simulation.survey import survey_of


@pytest.fixture(scope="module")
def city() -> Surface:
    """A patch of a city."""
    place = next(p for p in (Place(0, n) for n in range(1, 50)) if p.landscape_name == "city")
    survey = survey_of(place)
    some = (surface_of(survey, patch) for patch in survey.patches[:10])
    return max(some, key=lambda s: (s.materials.code[s.top] == 50).mean())


def test_objects_exclude_each_other(city: Surface) -> None:
    objects, town = city.objects, city.objects.town
    assert town is not None
    assert town.buildings.mean() > 0.1
    assert not (town.buildings & (town.streets | objects.crowns)).any()
    assert not (objects.water & (objects.crowns | objects.woods | town.buildings)).any()


def test_what_is_seen_from_above_has_the_code_of_what_stands_there(city: Surface) -> None:
    codes = city.materials.code[city.top]
    assert city.objects.town is not None
    assert set(np.unique(codes[city.objects.town.buildings])) == {50}
    assert set(np.unique(codes[city.objects.crowns])) <= {10}
    assert set(np.unique(codes)) <= {10, 20, 30, 40, 50, 60, 80, 90}


def test_reflectance_is_possible_and_bands_belong_together(city: Surface) -> None:
    image = city.reflectance
    assert image.dtype == np.float32
    assert image.min() >= 0.004
    assert image.max() <= 0.95
    assert np.corrcoef(image[0].ravel(), image[1].ravel())[0, 1] > 0.8


def test_patches_that_touch_share_their_ground() -> None:
    survey = survey_of(Place(0, 6))
    margin = MARGIN_PX
    left, right = surface_of(survey, 30), surface_of(survey, 31)
    inside = np.s_[..., margin:-margin, :]  # where both margins hold, the filters' own rim aside
    ours = left.reflectance[inside][..., 300 + 12 : 368 - 12]
    theirs = right.reflectance[inside][..., 12 : 68 - 12]
    assert_allclose(ours, theirs, atol=2e-3)
    assert_array_equal(left.objects.water[:, 312:356], right.objects.water[:, 12:56])
    kinds = [s.materials.code[s.top] for s in (left, right)]
    assert (kinds[0][:, 312:356] == kinds[1][:, 12:56]).mean() > 0.999


def test_a_mask_moves_by_whole_pixels() -> None:
    mask = np.zeros((5, 5), bool)
    mask[2, 1] = True
    assert shifted(mask, 1, 2)[3, 3]
    assert shifted(mask, -2, -1)[0, 0]
    assert not shifted(mask, 3, 0).any()
    assert shifted(mask, 0, 0)[2, 1]


def test_shade_falls_on_the_side_away_from_the_sun() -> None:
    place = next(p for p in (Place(0, n) for n in range(1, 60)) if p.site.to_sun[1] > 0.9)
    flat = surface_of(survey_of(place), 40)
    mask, nothing = np.zeros(flat.grid.shape, bool), np.zeros(flat.grid.shape, bool)
    mask[100:104, 100:104] = True
    objects = replace(flat.objects, crowns=mask, woods=nothing, water=nothing, town=None)
    light = _shadows(place, objects)
    assert light[100:104, 99].min() == pytest.approx(0.8)  # the sun stands in the east, right
    assert light[100:104, 104].max() == 1
    town = Town(nothing, mask, np.zeros(mask.shape, np.intp), 0.0)
    light = _shadows(place, replace(objects, crowns=nothing, town=town))
    assert light[100:104, 99].min() == pytest.approx(0.62)
    assert light[100:104, 104].max() == 1


def test_slopes_that_face_the_sun_are_brighter() -> None:
    place = next(p for p in (Place(0, n) for n in range(1, 60)) if p.relief > 0.05)
    surface = surface_of(survey_of(place), 40)
    down, right = np.gradient(surface.fields.elevation)
    for to_sun in ((0.0, 1.0), (1.0, 0.0)):
        hill = hillshade(place, surface.fields, np.zeros(surface.grid.shape, bool), to_sun)
        rise = down * to_sun[0] + right * to_sun[1]  # ground that rises to the sun turns away
        assert np.corrcoef(hill.ravel(), rise.ravel())[0, 1] < -0.9
