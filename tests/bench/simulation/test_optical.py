"""Both optical dates on hand-made grounds and skies, whose answers are known in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from planetcr_bench.simulation import optical, sky
from planetcr_bench.simulation.catalogue import BACKSCATTERED, HAZE_COLOUR
from planetcr_bench.simulation.noise import Grid
from planetcr_bench.simulation.optical import (
    Clouds,
    changed_surface,
    clear_image,
    clouds_over,
    cloudy_image,
)
from planetcr_bench.simulation.place import Place
from planetcr_bench.simulation.scene import truth_of
from planetcr_bench.simulation.surface import Surface, surface_of
from planetcr_bench.simulation.survey import survey_of


@pytest.fixture(scope="module")
def surface() -> Surface:
    """Any patch, with a ground of one reflectance per band."""
    survey = survey_of(Place(0, 1))
    surface = surface_of(survey, 30)
    flat = np.empty_like(surface.reflectance)
    flat[:] = np.array((0.05, 0.08, 0.10, 0.30))[:, None, None]
    return replace(surface, reflectance=flat)


def layer(thickness: float = 0, haze: float = 0, sunlight: float = 1) -> Clouds:
    return Clouds(
        *(np.full((300, 300), value, np.float32) for value in (thickness, haze, sunlight, 1))
    )


def test_a_flat_ground_has_its_reflectance_and_the_noise_of_the_sensor(surface: Surface) -> None:
    image = clear_image(surface) / 1e4
    haze = surface.place.clear_haze * np.array((1.2, 1, 0.85, 0.5))
    expected = np.array((0.05, 0.08, 0.10, 0.30)) + haze
    assert_allclose(image.mean((1, 2)), expected, atol=6e-5)
    noise = (np.array((11, 9, 10, 14)) / 1e4 + 0.006 * expected) * np.hypot(0.86, 0.5)
    assert_allclose(image.std((1, 2)), noise, rtol=0.03)


def test_without_cloud_the_ground_is_seen_as_it_is(surface: Surface) -> None:
    image = cloudy_image(surface, surface.reflectance, layer()) / 1e4
    assert_allclose(image.mean((1, 2)), [0.05, 0.08, 0.10, 0.30], atol=2e-5)


def test_a_cloud_without_end_shows_nothing_of_the_ground(surface: Surface) -> None:
    dark = np.full_like(surface.reflectance, 0.01)
    images = [
        cloudy_image(surface, ground, layer(1e7)).astype(int)
        for ground in (surface.reflectance, dark)
    ]
    assert np.abs(images[0] - images[1]).max() <= 1
    bright = sky.sky_of(surface.place).brightness
    assert images[0][0].mean() / 1e4 == pytest.approx(bright, rel=0.06)  # its colour is uneven


@pytest.mark.parametrize("thickness", [0.5, 3.0, 12.0])
def test_a_flat_layer_follows_the_two_stream_formula(surface: Surface, thickness: float) -> None:
    """Only the cloud's own light is uneven, by some percent; the ground's part is exact."""
    bright = cloudy_image(surface, surface.reflectance, layer(thickness, 0.4)) / 1e4
    black = cloudy_image(surface, 0 * surface.reflectance, layer(thickness, 0.4)) / 1e4
    for band, ground in enumerate((0.05, 0.08, 0.10, 0.30)):
        scaled = BACKSCATTERED * (thickness + 0.4 * float(HAZE_COLOUR[band]))
        back = scaled / (1 + scaled)
        through = (1 - back) * (1 - 0.3 * back) / (1 - 0.9 * back * ground)
        got = (bright[band] - black[band]).mean()
        assert got == pytest.approx(through * ground, abs=1e-4)


def test_haze_is_blue(surface: Surface) -> None:
    added = (
        cloudy_image(surface, surface.reflectance, layer(haze=1.5)) / 1e4
        - (surface.reflectance[:, *surface.inner])
    )
    means = added.mean((1, 2))
    assert means[0] > means[1] > means[2] > means[3]


def test_a_deep_shadow_keeps_the_light_of_the_sky(surface: Surface) -> None:
    image = cloudy_image(surface, surface.reflectance, layer(sunlight=0)) / 1e4
    expected = np.array((0.45, 0.34, 0.27, 0.20)) * (0.05, 0.08, 0.10, 0.30)
    assert_allclose(image.mean((1, 2)), expected, atol=1e-4)


def test_details_fade_before_the_mean_does(surface: Surface) -> None:
    ground = surface.reflectance.copy()
    ground[:, ::2] *= 1.5
    contrast = []
    for thickness in (0.0, 2.0, 6.0):
        image = cloudy_image(surface, ground, layer(thickness)).astype(float)[3]
        contrast.append(np.abs(image[::2].mean() - image[1::2].mean()))
    back = BACKSCATTERED * 2 / (1 + BACKSCATTERED * 2)
    through = (1 - back) * (1 - 0.3 * back) / (1 - 0.9 * back * 0.375)
    assert contrast[1] / contrast[0] == pytest.approx(np.exp(-1) * through, rel=0.02)
    assert contrast[2] < 0.05 * contrast[0]


def test_the_side_of_a_cloud_that_faces_the_sun_is_brighter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def round_cloud(_: Place, grid: Grid, **__: float) -> np.ndarray:
        distance = np.hypot(grid.y - 1650, grid.x - 1650)
        return np.maximum(0, 20 - distance / 4).astype(np.float32)

    monkeypatch.setattr(optical, "cloud_thickness", round_cloud)
    place = Place(0, 1)
    shading = clouds_over(place, Grid(1500, 1500, 300, 300)).shading
    down, right = place.cloudy_to_sun
    near = shading[round(150 + 40 * down), round(150 + 40 * right)]
    far = shading[round(150 - 40 * down), round(150 - 40 * right)]
    assert near > 1.005
    assert far < 0.995


def test_the_dates_differ_by_the_change_and_not_by_its_opposite() -> None:
    place = Place(0, 2)
    surface = surface_of(survey_of(place), 40)
    clear = clear_image(surface) / 1e4
    cloudy = cloudy_image(surface, changed_surface(surface), layer()) / 1e4
    change = truth_of(place, 40).change
    for band in range(4):
        difference = (cloudy - clear)[band]
        assert np.corrcoef(difference.ravel(), change[band].ravel())[0, 1] > 0.5
        haze = place.clear_haze * (1.2, 1, 0.85, 0.5)[band]  # is in the clear image alone
        assert difference.mean() == pytest.approx(change[band].mean() - haze, abs=0.001)


def test_some_fields_were_worked_between_the_dates_in_half_of_the_aois() -> None:
    shares = []
    for number in range(1, 17):
        surface = surface_of(survey_of(Place(0, number)), 40)
        field = surface.kinds.open_land == 0
        shares.append(optical._worked_fields(surface)[field].mean() if field.any() else 0)
    assert 3 <= np.count_nonzero(shares) <= 13
    assert max(shares) < 0.5


def test_the_shadow_is_the_cloud_displaced_from_the_sun() -> None:
    place = next(p for p in (Place(0, n) for n in range(1, 60)) if p.cloud_family.casts_shadow)
    grid = Grid(1500, 1500, 300, 300)
    clouds = clouds_over(place, grid)
    above = sky.cloud_thickness(place, grid.moved(*sky.shadow_shift(place)))
    assert np.corrcoef(clouds.sunlight.ravel(), above.ravel())[0, 1] < -0.8
    assert clouds.sunlight[above > 5].mean() < 0.75
    assert clouds.sunlight.max() <= 1


def test_other_clouds_leave_the_clear_image_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    survey = survey_of(Place(0, 2))
    before = clear_image(surface_of(survey, 40))
    monkeypatch.setattr(optical, "cloud_thickness", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(optical, "haze_thickness", lambda *_: 1 / 0)
    assert_array_equal(before, clear_image(surface_of(survey, 40)))
