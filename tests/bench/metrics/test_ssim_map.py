"""Test SSIM against formulas and libraries that were written elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage
from skimage.metrics import structural_similarity

from image_pairs import images, total
from planetcr_bench.constants import OPTICAL_BANDS
from planetcr_bench.metrics.kernels import measure
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.ssim_map import gaussian_taps, ssim_maps


def scikit_image_ssim(image: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean and maps (B, H, W), with the settings of Wang et al. (2004)."""
    return structural_similarity(
        image.astype(np.float64),
        target.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=0,
        full=True,
    )


@pytest.mark.parametrize("size", [11, 12, 33, 34, 35, 58, 83])
def test_ssim_is_scikit_image_s_whatever_the_height(size: int) -> None:
    """Lines are filtered in strips and in pairs; the last of both may be short."""
    pair, target, _ = images(size, size)
    maps = ssim_maps(pair, target)
    for similarity, image in zip(maps, pair, strict=True):
        expected = scikit_image_ssim(image, target)[1].mean(axis=0)[5:-5, 5:-5]
        assert_allclose(similarity, expected, rtol=1e-9, atol=1e-12)


def test_official_ssim_is_a_two_dimensional_correlation_with_zero_padding() -> None:
    pair, target, _ = images()
    taps = gaussian_taps(5.5)
    window = np.outer(taps, taps)

    def smooth(plane: np.ndarray) -> np.ndarray:
        return ndimage.correlate(plane, window, mode="constant", cval=0.0)

    maps = []
    for x, y in zip(pair[0].astype(np.float64), target.astype(np.float64), strict=True):
        mean_x, mean_y = smooth(x), smooth(y)
        var_x, var_y = smooth(x * x) - mean_x**2, smooth(y * y) - mean_y**2
        covariance = smooth(x * y) - mean_x * mean_y
        maps.append(
            (2 * mean_x * mean_y + 1e-4)
            * (2 * covariance + 9e-4)
            / ((mean_x**2 + mean_y**2 + 1e-4) * (var_x + var_y + 9e-4))
        )
    assert_allclose(
        ssim_maps(pair, target, centre=5.5, padding=5)[0], np.mean(maps, 0), rtol=1e-9, atol=1e-12
    )


def test_full_ssim_is_scikit_image_s() -> None:
    pair, target, group = images()
    sums = total(measure(pair, target, group, PROTOCOLS["full"], OPTICAL_BANDS))
    for index, column in ((0, "ssim"), (1, "input_ssim")):
        expected = scikit_image_ssim(pair[index], target)[0]
        assert_allclose(sums[column] / sums["ssim_pixels"], expected, rtol=1e-12)
