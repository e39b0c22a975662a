"""The compiled loops agree with an independent implementation in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage

from planetcr_bench.constants import OPTICAL_BANDS
from planetcr_bench.evaluation.loading import ScenePixels
from planetcr_bench.metrics import kernels
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import GROUPS, SUMS
from torch_oracle import measure


def arrays(seed: int) -> ScenePixels:
    rng = np.random.default_rng(seed)
    clear = ndimage.gaussian_filter(rng.random((4, 300, 300)), (0, 2, 2)).astype(np.float32)
    images = (clear + rng.normal(0, 0.1, (2, 4, 300, 300))).astype(np.float32)
    images[0, :, :5] = 0
    clear[:, 100:105] = 0
    group = rng.integers(0, GROUPS, (300, 300)).astype(np.uint8)
    return ScenePixels({"scene": f"fall_{seed}_p_1"}, images, clear, group)


@pytest.fixture(scope="module")
def scenes() -> list[ScenePixels]:
    return [arrays(seed) for seed in range(3)]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_compiled_loops_agree_with_tensor_operations(scenes: list[ScenePixels], name: str) -> None:
    protocol = PROTOCOLS[name]
    for scene in scenes:
        measured = kernels.measure(scene.images, scene.clear, scene.group, protocol, OPTICAL_BANDS)
        expected = measure(scene, protocol)
        for index, column in enumerate(SUMS):
            assert_allclose(
                measured[:, index], expected[:, index], rtol=1e-9, atol=1e-9, err_msg=column
            )
