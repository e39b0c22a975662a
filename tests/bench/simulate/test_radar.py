"""SAR on hand-made grounds: mean, speckle, and edges where the shift puts them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from planetcr_bench.simulate import radar
from planetcr_bench.simulate.catalogue import LOOKS, NOISE_DB, SHRUB
from planetcr_bench.simulate.place import Place
from planetcr_bench.simulate.radar import displacement_m, sar_image
from planetcr_bench.simulate.surface import Surface, surface_of
from planetcr_bench.simulate.survey import survey_of


def bare_of_objects(preset: str = "standard", number: int = 4) -> Surface:
    """A patch of one material, flat and without trees or towns."""
    found = surface_of(survey_of(Place(0, number, preset)), 40)
    nothing = np.zeros(found.grid.shape, bool)
    fields = replace(
        found.fields,
        moisture=0 * found.fields.moisture,
        mosaic=0 * found.fields.mosaic,
        elevation=0 * found.fields.elevation,
    )
    objects = replace(found.objects, crowns=nothing, woods=nothing, water=nothing, town=None)
    return replace(
        found, fields=fields, objects=objects,
        ground=np.full(found.grid.shape, SHRUB, np.intp), vigour=0 * found.vigour,
        slope_x=0 * found.slope_x,
    )  # fmt: skip


@pytest.fixture
def _smooth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ground whose roughness is the same everywhere."""
    monkeypatch.setattr(radar, "_roughness", lambda _, grid: np.zeros(grid.shape, np.float32))


@pytest.mark.usefixtures("_smooth")
def test_a_flat_ground_has_the_mean_of_its_table_and_the_looks_of_its_channel() -> None:
    surface = bare_of_objects()
    image = 10 ** (sar_image(surface) / 10)
    for channel in range(2):
        table = 10 ** (surface.materials.ground_db[channel, SHRUB] / 10)
        expected = table + 10 ** (NOISE_DB[channel] / 10)
        assert image[channel].mean() == pytest.approx(expected, rel=0.04)
        looks = image[channel].mean() ** 2 / image[channel].var()
        assert looks == pytest.approx(LOOKS[channel], rel=0.1)


@pytest.mark.usefixtures("_smooth")
@pytest.mark.parametrize("preset", ["standard", "misaligned"])
def test_an_edge_stands_where_the_displacement_says(
    preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        radar, "_speckle", lambda *_: np.ones((90, 90), np.float32)
    )  # so that the edge can be found to a fraction of a pixel
    surface = bare_of_objects(preset)
    ground = surface.ground.copy()
    ground[:, surface.margin + 150 :] = surface.materials.water
    image = sar_image(replace(surface, ground=ground))[0].mean(0)
    power = 10 ** (image / 10)
    level = (power[:5].mean() + power[-5:].mean()) / 2
    crossing = np.interp(-level, -power, np.arange(90) + 0.5)
    _, right = surface.place.site.coarse_offset_px
    seen_m = crossing * 10 + 3 * right
    moved_m = displacement_m(surface)[1].mean()
    assert seen_m == pytest.approx(450 + moved_m, abs=1.0)


def test_neighbours_share_speckle_as_in_the_real_samples() -> None:
    place = Place(0, 4)
    surface = surface_of(survey_of(place), 40)
    noise = radar._speckle(surface, 0)
    assert noise.mean() == pytest.approx(1, abs=0.03)
    lags = [np.corrcoef(noise[:, lag:].ravel(), noise[:, :-lag].ravel())[0, 1] for lag in (1, 2, 3)]
    assert_allclose(lags, [0.70, 0.24, 0.04], atol=0.08)  # real: 0.65–0.74, 0.19–0.31, about 0


def test_displacement_is_the_shift_and_a_parallax_along_the_look() -> None:
    for number in (1, 2, 3):
        place = Place(0, number)
        field = displacement_m(surface_of(survey_of(place), 40))
        down, right = place.sar_shift_m
        assert_allclose(field[0], -down, atol=1e-4)
        parallax = field[1] + right
        assert np.abs(parallax).max() <= 3 * (5 * abs(place.parallax_px) + 1)
        assert field.shape == (2, 300, 300)


def test_both_channels_have_speckle_of_their_own() -> None:
    surface = surface_of(survey_of(Place(0, 4)), 40)
    a, b = radar._speckle(surface, 0), radar._speckle(surface, 1)
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.05
