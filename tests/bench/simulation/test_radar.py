"""SAR on hand-made grounds: mean, speckle, and edges where the shift puts them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from planetcr_bench.simulation import radar
from planetcr_bench.simulation.catalogue import LOOKS, NOISE_DB, SHRUB
from planetcr_bench.simulation.objects import Town
from planetcr_bench.simulation.place import Place
from planetcr_bench.simulation.radar import displacement_m, sar_image
from planetcr_bench.simulation.surface import Surface, surface_of
from planetcr_bench.simulation.survey import survey_of


def bare_of_objects(preset: str = "standard", number: int = 4) -> Surface:
    """A patch of one material, flat and without trees or towns."""
    surface = surface_of(survey_of(Place(0, number, preset)), 40)
    nothing = np.zeros(surface.grid.shape, bool)
    fields = replace(
        surface.fields,
        moisture=0 * surface.fields.moisture,
        mosaic=0 * surface.fields.mosaic,
        elevation=0 * surface.fields.elevation,
    )
    objects = replace(surface.objects, crowns=nothing, woods=nothing, water=nothing, town=None)
    return replace(
        surface, fields=fields, objects=objects,
        ground=np.full(surface.grid.shape, SHRUB, np.intp), vigour=0 * surface.vigour,
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


@pytest.fixture
def _silent(monkeypatch: pytest.MonkeyPatch, _smooth: None) -> None:
    """No speckle either, so that an edge can be found to a fraction of a pixel."""
    monkeypatch.setattr(radar, "_speckle", lambda *_: np.ones((90, 90), np.float32))


@pytest.mark.usefixtures("_silent")
@pytest.mark.parametrize("preset", ["standard", "misaligned"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("height", [0.0, 1.5])
def test_an_edge_stands_where_the_displacement_says(preset: str, axis: int, height: float) -> None:
    surface = bare_of_objects(preset)
    fields = replace(surface.fields, elevation=surface.fields.elevation + np.float32(height))
    ground = surface.ground.copy()
    half = slice(surface.margin + 150, None)
    ground[(half, slice(None)) if axis == 0 else (slice(None), half)] = surface.materials.water
    surface = replace(surface, ground=ground, fields=fields)
    image = sar_image(surface)[0].mean(1 - axis)
    power = 10 ** (image / 10)
    level = (power[:5].mean() + power[-5:].mean()) / 2
    crossing = np.interp(-level, -power, np.arange(90) + 0.5)
    seen_m = crossing * 10 + 3 * surface.place.site.coarse_offset_px[axis]
    assert seen_m == pytest.approx(450 + displacement_m(surface)[axis].mean(), abs=1.0)


def place_that_looks(look: int) -> int:
    """An AOI with hills and trees high enough to lean; a look of +1: the radar is on the right."""
    return next(
        n
        for n, place in ((n, Place(0, n)) for n in range(1, 200))
        if place.look == look and place.relief > 0.02 and place.tree_height_m > 8
    )


@pytest.mark.parametrize("look", [-1, 1])
def test_high_ground_is_shown_nearer_to_the_radar(look: int) -> None:
    flat = bare_of_objects(number=place_that_looks(look))
    high = replace(flat, fields=replace(flat.fields, elevation=flat.fields.elevation + 2))
    moved = displacement_m(high)[1] - displacement_m(flat)[1]
    assert (moved * look >= 0).all()


@pytest.mark.usefixtures("_smooth")
@pytest.mark.parametrize("look", [-1, 1])
def test_woods_are_bright_towards_the_radar_and_dark_behind(look: int) -> None:
    flat = bare_of_objects(number=place_that_looks(look))
    middle = flat.margin + 150
    block = np.zeros(flat.grid.shape, bool)
    block[:, middle - 40 : middle + 40] = True
    wooded = replace(flat, objects=replace(flat.objects, woods=block))
    rough = np.zeros(flat.grid.shape, np.float32)
    gain = (radar._power(wooded, 0, rough) / radar._power(flat, 0, rough))[50]
    left, right = gain[middle - 41 : middle - 39].copy(), gain[middle + 39 : middle + 41].copy()
    near, far = (right, left) if look > 0 else (left, right)
    assert near.max() > 1.3
    assert far.min() < 0.7


@pytest.mark.usefixtures("_smooth")
@pytest.mark.parametrize("look", [-1, 1])
def test_slopes_and_walls_that_face_the_radar_are_bright(look: int) -> None:
    flat = bare_of_objects(number=place_that_looks(look))
    middle, rough = flat.margin + 150, np.zeros(flat.grid.shape, np.float32)
    ramp = np.tile(np.arange(flat.grid.width, dtype=np.float32) * np.float32(0.05), (368, 1))
    hill = replace(flat, fields=replace(flat.fields, elevation=ramp))
    gain = radar._power(hill, 0, rough)[50, middle] / radar._power(flat, 0, rough)[50, middle]
    assert (gain < 1) == (look > 0)  # rising to the right, it turns away from a radar there
    block = np.zeros(flat.grid.shape, bool)
    block[:, middle - 40 : middle + 40] = True
    town = Town(np.zeros_like(block), block, np.zeros(block.shape, np.intp), 0.0)
    echo = radar._buildings(flat.place, town)[50]
    walls = np.flatnonzero(echo > 1.5 * np.median(echo[echo > 0]))
    assert walls.size == 1
    assert (walls[0] > middle) == (look > 0)


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
