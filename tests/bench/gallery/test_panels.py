"""Tests of panels: how images and errors become colours."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from planetcr_bench.gallery.panels import (
    BRIGHTEST,
    ERROR_SCALES,
    INFRARED,
    TRUE_COLOUR,
    WHITE,
    stretch_limits,
    stretched,
    upper_end,
)


def make_clear() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.02, 0.2, (4, 300, 300)).astype(np.float32)


def test_the_stretch_of_a_scene_is_2_to_98_percent_of_its_clear_image_alone() -> None:
    clear = make_clear()
    black, white = stretch_limits(clear, TRUE_COLOUR)
    low, high = np.percentile(clear[:3], [2, 98])
    assert_allclose((black, white), [[low] * 3, [high] * 3])  # one range for all keeps the hue
    colours = stretched(clear, (black, white), TRUE_COLOUR)
    assert colours.shape == (300, 300, 3)
    assert_allclose([(colours == 0).mean(), (colours > WHITE).mean()], 0.02, atol=0.001)
    inside = (clear[2] > low) & (clear[2] < high)
    linear = (clear[2] - low) / (high - low)
    assert_allclose(colours[..., 0][inside], WHITE * linear[inside], atol=1e-6)


def test_clouds_keep_their_structure_and_are_never_pure_white() -> None:
    limits = stretch_limits(make_clear(), TRUE_COLOUR)
    cloud = np.linspace(0.2, 1.5, 50, dtype=np.float32)[:, None].repeat(4, 1).T[..., None]
    shades = stretched(cloud, limits, TRUE_COLOUR)
    assert (np.diff(shades, axis=0) > 0).all()
    assert WHITE < shades.min() < shades.max() < BRIGHTEST < 1


def test_infrared_colours_are_nir_red_green_each_with_its_own_range() -> None:
    clear = make_clear() * np.array([1, 1, 1, 4], np.float32)[:, None, None]
    limits = stretch_limits(clear, INFRARED)
    assert_allclose(limits, np.percentile(clear[[3, 2, 1]], [2, 98], axis=(1, 2)), rtol=1e-6)
    colours = stretched(clear, limits, INFRARED)
    for shade, band in zip(colours.transpose(2, 0, 1), (3, 2, 1), strict=True):
        assert np.corrcoef(shade.ravel(), clear[band].ravel())[0, 1] > 0.99


def test_a_flat_clear_image_can_be_drawn() -> None:
    flat = np.full((4, 300, 300), 0.1, np.float32)
    limits = stretch_limits(flat, TRUE_COLOUR)
    assert np.isfinite(stretched(flat, limits, TRUE_COLOUR)).all()


def test_a_scale_ends_where_few_pixels_are_beyond_it() -> None:
    values = np.linspace(0, 0.11, 10_000).reshape(100, 100)
    assert upper_end([values], ERROR_SCALES) == 0.15
    values[:1] = 0.9
    assert upper_end([values[:60]], ERROR_SCALES) == 0.1
    assert upper_end([values * 100], ERROR_SCALES) == 1
    assert upper_end([values * np.nan], ERROR_SCALES) == ERROR_SCALES[0]
    holes = np.where(values < 0.05, np.nan, values)
    assert upper_end([holes, holes * np.nan], ERROR_SCALES) == 0.15
