"""Test what the regression on SAR and clear neighbours keeps, recovers and adds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from conftest import Cli
from planetcr_bench.constants import OPTICAL_BANDS
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_scene
from planetcr_bench.data.scene import Scene, upsample
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.predictions import baselines as untrained
from planetcr_bench.predictions.baselines import METHODS, copy_cloudy, mean_fill, sar_regression
from scenes import write_dataset


@pytest.fixture
def scene(data: Path) -> SceneFiles:
    return find_scenes(data, "test")[0]


def make_scene(
    size: tuple[int, int] = (300, 300), *, mask: np.ndarray | None = None, seed: int = 0
) -> Scene:
    """No haze, no speckle: each band is a linear function of VV and VH, on the fine grid."""
    rng = np.random.default_rng(seed)
    cells = tuple(-(-side * 3 // 10) for side in size)
    sar = ndimage.gaussian_filter(rng.standard_normal((2, *cells)), (0, 4, 4))
    sar = (0.5 + 0.1 * sar / sar.std()).clip(0, 1).astype(np.float32)
    mixing = np.array([[0.2, 0.1], [0.3, -0.1], [-0.2, 0.3], [0.5, 0.2]])
    bands = 0.05 + np.einsum("bp,pyx->byx", mixing, sar)
    clear = upsample(bands.clip(0, 1).astype(np.float32), size)
    if mask is None:
        mask = ndimage.gaussian_filter(rng.standard_normal(size), 20) > 0
    cloudy = np.where(mask, np.float32(0.9), clear)
    return Scene(
        name="summer_1_p_1",
        split="test",
        season="summer",
        aoi="summer_1",
        patch=1,
        bands=OPTICAL_BANDS,
        resolution=3.0,
        cloudy=cloudy,
        clear=clear,
        sar=sar,
        land_cover=np.zeros(size, np.uint8),
        cloud_mask=mask,
        crs="",
        transform=Affine.identity(),
    )


def error_under_cloud(scene: Scene, prediction: np.ndarray) -> float:
    return float(np.abs(prediction - scene.clear)[:, scene.cloud_mask].mean(dtype=np.float64))


@pytest.fixture(scope="module")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> list[Scene]:
    """Fifteen scenes on which land cover decides both SAR and reflectance; three per bin."""
    root = write_dataset(tmp_path_factory.mktemp("fakes"), test=15, seed=3)
    return [read_scene(files) for files in find_scenes(root, "test")]


def mean_error(scenes: list[Scene], predictions: list[np.ndarray]) -> float:
    errors = [
        error_under_cloud(scene, image) for scene, image in zip(scenes, predictions, strict=True)
    ]
    return float(np.mean(errors))


@pytest.mark.parametrize("with_sar", [True, False])
def test_pixels_outside_of_the_mask_stay_and_those_under_it_lie_in_the_clear_range(
    fakes: list[Scene], with_sar: bool
) -> None:
    for scene in fakes:
        given = scene.cloudy.copy()
        filled = sar_regression(scene, with_sar=with_sar)
        assert_array_equal(scene.cloudy, given)
        assert filled.dtype == np.float32
        assert_array_equal(filled[:, ~scene.cloud_mask], given[:, ~scene.cloud_mask])
        inside, outside = filled[:, scene.cloud_mask], given[:, ~scene.cloud_mask]
        assert (inside >= outside.min(1)[:, None]).all()
        assert (inside <= outside.max(1)[:, None]).all()


def test_the_same_scene_gives_the_same_pixels(fakes: list[Scene]) -> None:
    assert_array_equal(sar_regression(fakes[2]), sar_regression(fakes[2]))


@pytest.mark.parametrize("size", [(300, 300), (160, 160), (301, 203), (97, 350)])
def test_a_linear_function_of_sar_is_recovered_within_a_quarter_of_mean_fill_s_error(
    size: tuple[int, int],
) -> None:
    scene = make_scene(size)
    error = error_under_cloud(scene, sar_regression(scene))
    assert error < 0.25 * error_under_cloud(scene, mean_fill(scene))
    assert error < 0.008


@pytest.mark.parametrize("clear_pixels", [0, 1, 500])
def test_with_too_few_pixels_to_learn_from_it_is_mean_fill(clear_pixels: int) -> None:
    mask = np.ones((300, 300), bool)
    mask.ravel()[:clear_pixels] = False
    scene = make_scene(mask=mask)
    assert_array_equal(sar_regression(scene), mean_fill(scene))


def test_without_cloud_nothing_changes() -> None:
    scene = make_scene(mask=np.zeros((300, 300), bool))
    assert_array_equal(sar_regression(scene), scene.cloudy)


@pytest.mark.parametrize("size", [(1, 1), (7, 40), (20, 20)])
@pytest.mark.parametrize("with_sar", [True, False])
def test_the_smallest_scenes_are_filled_too(size: tuple[int, int], with_sar: bool) -> None:
    mask = np.zeros(size, bool)
    mask[: size[0] // 2 + 1, : size[1] // 2 + 1] = True
    filled = sar_regression(make_scene(size, mask=mask), with_sar=with_sar)
    assert np.isfinite(filled).all()


def test_a_mask_that_is_its_own_mirror_image_still_leaves_holes_to_learn_from() -> None:
    mask = np.zeros((300, 300), bool)
    mask[90:210, 90:210] = True
    scene = make_scene(mask=mask)
    assert error_under_cloud(scene, sar_regression(scene)) < 0.006


def test_flat_images_give_finite_values() -> None:
    scene = make_scene()
    cloudy = np.where(scene.cloud_mask, 0.9, np.full_like(scene.clear, 0.1))
    flat = replace(scene, sar=np.full_like(scene.sar, 0.5), cloudy=cloudy)
    assert_allclose(sar_regression(flat), 0.1, rtol=1e-6)


def test_it_beats_mean_fill_where_land_cover_decides_sar_and_reflectance(
    fakes: list[Scene],
) -> None:
    regression = mean_error(fakes, [sar_regression(scene) for scene in fakes])
    without = mean_error(fakes, [sar_regression(scene, with_sar=False) for scene in fakes])
    filled = mean_error(fakes, [mean_fill(scene) for scene in fakes])
    assert regression < 0.85 * filled
    assert regression < 0.95 * without


def test_the_sar_image_of_another_location_adds_nothing(fakes: list[Scene]) -> None:
    elsewhere = [
        replace(scene, sar=other.sar)
        for scene, other in zip(fakes, fakes[1:] + fakes[:1], strict=True)
    ]
    shuffled = mean_error(fakes, [sar_regression(scene) for scene in elsewhere])
    without = mean_error(fakes, [sar_regression(scene, with_sar=False) for scene in fakes])
    assert shuffled > 0.99 * without


def test_haze_just_outside_of_the_mask_is_not_learned() -> None:
    """A bright seam of 9 m around the cloud: neither an example nor a neighbour."""
    scene = make_scene()
    seam = ndimage.binary_dilation(scene.cloud_mask, iterations=3) & ~scene.cloud_mask
    hazy = replace(scene, cloudy=np.where(seam, np.float32(0.7), scene.cloudy))
    under = scene.cloud_mask
    assert_array_equal(sar_regression(hazy)[:, under], sar_regression(scene)[:, under])


def test_cells_are_the_means_of_the_pixels_that_upsampling_gives_them() -> None:
    scene = make_scene((301, 203), mask=np.zeros((301, 203), bool))
    cells, clear = untrained._to_cells(scene)
    assert clear.all()
    assert_allclose(upsample(cells, (301, 203)), scene.clear, rtol=1e-6)


def test_the_help_of_predict_names_every_method(cli: Cli, data: Path) -> None:
    text = cli("predict", "--help").stdout
    assert all(method in text for method in METHODS)
    done = cli("predict", "magic", "--data", data)
    assert done.returncode == 2
    assert all(method in done.stderr for method in METHODS)


def test_copy_cloudy_returns_the_input(scene: SceneFiles) -> None:
    loaded = read_scene(scene)
    assert (copy_cloudy(loaded) == loaded.cloudy).all()


def test_mean_fill_touches_cloud_alone(scene: SceneFiles) -> None:
    loaded = read_scene(scene)
    filled = mean_fill(loaded)
    mask = loaded.cloud_mask
    assert (filled[:, ~mask] == loaded.cloudy[:, ~mask]).all()
    expected = loaded.cloudy[:, ~mask].mean(1, dtype=np.float64)
    np.testing.assert_allclose(filled[:, mask], np.tile(expected[:, None], mask.sum()), rtol=1e-6)


@pytest.mark.parametrize("all_cloud", [True, False])
def test_mean_fill_of_no_clear_and_of_no_cloudy_pixel(scene: SceneFiles, all_cloud: bool) -> None:
    loaded = read_scene(scene)
    loaded.cloud_mask[:] = all_cloud
    filled = mean_fill(loaded)
    assert np.isfinite(filled).all()
    if all_cloud:
        np.testing.assert_allclose(filled[:, 0, 0], loaded.cloudy.mean((1, 2)), rtol=1e-5)
    else:
        assert (filled == loaded.cloudy).all()
