"""WorldCover at 10 m on hand-made grounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planetcr_bench.simulation.land_cover import fine_codes, worldcover
from planetcr_bench.simulation.place import Place
from planetcr_bench.simulation.surface import surface_of
from planetcr_bench.simulation.survey import survey_of


def test_one_material_has_one_code_everywhere() -> None:
    surface = surface_of(survey_of(Place(0, 4)), 40)
    flat = replace(surface, top=np.full_like(surface.top, surface.materials.water))
    assert set(np.unique(worldcover(flat))) == {80}


def test_a_straight_border_is_found_within_a_pixel() -> None:
    surface = surface_of(survey_of(Place(0, 4)), 40)
    top = np.full_like(surface.top, surface.materials.water)
    top[: surface.margin + 150] = surface.materials.paved
    codes = worldcover(replace(surface, top=top))
    rows = (codes == 50).sum(0)
    assert np.abs(rows - 45).max() <= 2


def test_what_is_thinner_than_a_pixel_vanishes() -> None:
    surface = surface_of(survey_of(Place(0, 4)), 40)
    top = np.full_like(surface.top, surface.materials.beach)
    top[:, surface.margin + 100] = surface.materials.paved  # a road of 3 m
    assert (worldcover(replace(surface, top=top)) == 50).mean() < 0.002


def test_the_map_agrees_with_the_ground_mostly_but_not_everywhere() -> None:
    shares = []
    for number in (1, 3, 7):
        survey = survey_of(Place(0, number))
        surface = surface_of(survey, survey.patches[0])
        fine = fine_codes(surface)[surface.inner]
        index = (2 * np.arange(300) + 1) * 90 // 600
        shares.append((worldcover(surface)[index[:, None], index] == fine).mean())
    assert 0.6 < np.mean(shares) < 0.97
