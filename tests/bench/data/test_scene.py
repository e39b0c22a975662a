"""Test values against the authors' loader, and the refusal of mixed grids."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from affine import Affine
from numpy.testing import assert_allclose

from planetcr_bench.constants import UNKNOWN, cover_bin
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.data.scene import (
    Scene,
    backscatter,
    land_cover_classes,
    nearest_index,
    reflectance,
    upsample,
)
from planetcr_bench.errors import SceneError

PLANET_CR = load_description("planet-cr")

WORLDCOVER = {10: 0, 20: 1, 30: 1, 40: 2, 50: 3, 60: 4, 80: 5, 90: 5}
"""The authors' mapping."""


def make_scene(**changes: np.ndarray) -> Scene:
    arrays = {
        "cloudy": np.zeros((4, 30, 30), np.float32),
        "clear": np.zeros((4, 30, 30), np.float32),
        "sar": np.zeros((2, 9, 9), np.float32),
        "land_cover": np.zeros((30, 30), np.uint8),
        "cloud_mask": np.zeros((30, 30), np.bool_),
        **changes,
    }
    return Scene(
        name="fall_1_p_2",
        split="test",
        season="fall",
        aoi="fall_1",
        patch=2,
        bands=PLANET_CR.bands,
        resolution=3.0,
        crs="EPSG:32601",
        transform=Affine.identity(),
        **arrays,
    )


def test_reflectance_clips_and_scales() -> None:
    values = reflectance(
        np.array([0, 1, 5000, 10_000, 10_001, 65_535], np.uint16), PLANET_CR.optical.scaling
    )
    assert values.dtype == np.float32
    assert values.tolist() == [0, np.float32(1e-4), 0.5, 1, 1, 1]


def test_backscatter_clips_each_band_to_its_own_range() -> None:
    decibels = np.array([[[-30.0, -25.0, -12.5, 3.0]], [[-40.0, -32.5, -16.25, 3.0]]])
    assert_allclose(backscatter(decibels, PLANET_CR.sar), [[[0, 0, 0.5, 1]], [[0, 0, 0.5, 1]]])


def test_holes_in_the_radar_image_take_the_mean_of_their_band() -> None:
    decibels = np.array([[[np.nan, -10.0, -20.0]], [[-5.0, np.nan, -15.0]]])
    filled = backscatter(decibels, PLANET_CR.sar)
    assert_allclose(filled[0, 0, 0], (25 - 15) / 25)
    assert_allclose(filled[1, 0, 1], (32.5 - 10) / 32.5)


@pytest.mark.parametrize(("size", "source"), [(300, 90), (10, 3), (160, 48), (7, 7), (100, 33)])
def test_upsampling_takes_the_pixel_under_the_centre(size: int, source: int) -> None:
    image = torch.arange(source, dtype=torch.float64)[None, None]
    expected = torch.nn.functional.interpolate(image, size=size, mode="nearest-exact")
    assert nearest_index(size, source).tolist() == expected[0, 0].tolist()


def test_upsampling_repeats_in_threes_and_fours() -> None:
    tens = nearest_index(300, 90).reshape(30, 10)
    assert (tens - 3 * np.arange(30)[:, None] == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]).all()
    image = np.arange(2 * 9 * 9).reshape(2, 9, 9)
    assert (upsample(image, (30, 30))[:, ::10, ::10] == image[:, ::3, ::3]).all()


def test_land_cover_codes_map_to_the_six_classes() -> None:
    codes = np.arange(256, dtype=np.uint8)
    classes = land_cover_classes(codes, PLANET_CR.land_cover)
    for code in codes:
        assert classes[code] == WORLDCOVER.get(int(code), UNKNOWN)


@pytest.mark.parametrize(
    ("cover", "expected"),
    [(0, "0-20"), (0.1999, "0-20"), (0.2, "20-40"), (0.6, "60-80"), (0.8, "80-100"), (1, "80-100")],
)
def test_a_cover_on_an_edge_belongs_to_the_bin_above(cover: float, expected: str) -> None:
    assert cover_bin(cover) == expected


def test_a_scene_knows_its_cloud_cover() -> None:
    mask = np.zeros((30, 30), np.bool_)
    mask[:9] = True
    assert make_scene(cloud_mask=mask).cloud_cover == 0.3
    assert make_scene(cloud_mask=mask).cover_bin == "20-40"


@pytest.mark.parametrize(
    ("what", "array"),
    [
        ("cloudy", np.zeros((4, 30, 29), np.float32)),
        ("clear", np.zeros((3, 30, 30), np.float32)),
        ("land_cover", np.zeros((9, 9), np.uint8)),
        ("cloud_mask", np.zeros((300, 300), np.bool_)),
        ("sar", np.zeros((3, 9, 9), np.float32)),
    ],
)
def test_products_of_mixed_grids_are_refused(what: str, array: np.ndarray) -> None:
    with pytest.raises(SceneError, match=r"fall_1_p_2: expected a .* of shape"):
        make_scene(**{what: array})
