"""Tensors and compiled loops say the same; what shares a batch changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage

from planetcr_bench.evaluation import gpu
from planetcr_bench.evaluation.loading import Arrays
from planetcr_bench.metrics import kernels
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import GROUPS, SUMS


def arrays(seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    clear = ndimage.gaussian_filter(rng.random((4, 300, 300)), (0, 2, 2)).astype(np.float32)
    images = (clear + rng.normal(0, 0.1, (2, 4, 300, 300))).astype(np.float32)
    images[0, :, :5] = 0
    clear[:, 100:105] = 0
    group = rng.integers(0, GROUPS, (300, 300)).astype(np.uint8)
    return Arrays({"scene": f"fall_{seed}_p_1"}, images, clear, group)


@pytest.fixture(scope="module")
def scenes() -> list[Arrays]:
    return [arrays(seed) for seed in range(3)]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_tensors_agree_with_the_compiled_loops(scenes: list[Arrays], name: str) -> None:
    protocol = PROTOCOLS[name]
    for scene, measured in zip(scenes, gpu.measure(scenes, [protocol], "cpu"), strict=True):
        expected = kernels.measure(scene.images, scene.clear, scene.group, protocol)
        for index, column in enumerate(SUMS):
            assert_allclose(
                measured.sums[name][:, index],
                expected[:, index],
                rtol=1e-9,
                atol=1e-9,
                err_msg=column,
            )


def test_a_batch_gives_the_bits_that_each_scene_gives_alone(scenes: list[Arrays]) -> None:
    protocols = list(PROTOCOLS.values())
    together = gpu.measure(scenes, protocols, "cpu")
    for scene, measured in zip(scenes, together, strict=True):
        (alone,) = gpu.measure([scene], protocols, "cpu")
        for name, sums in alone.sums.items():
            assert (measured.sums[name] == sums).all()


def test_no_scenes_give_no_sums() -> None:
    assert gpu.measure([], list(PROTOCOLS.values()), "cpu") == []
