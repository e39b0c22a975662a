"""Test metrics of training loops: those of a ledger, in one process and in two."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

import planetcr_bench as pb
from metric_processes import scores_of_two


@pytest.fixture(scope="module")
def pairs(data: Path) -> tuple[Tensor, Tensor]:
    scenes = list(pb.open_dataset(data)[:4])
    images = [torch.tensor(scene.cloudy) for scene in scenes]
    return torch.stack(images), torch.stack([torch.tensor(scene.clear) for scene in scenes])


@pytest.mark.parametrize("protocol", ["full", "official"])
def test_updates_add_up_to_the_ledger(
    data: Path, pairs: tuple[Tensor, Tensor], protocol: str
) -> None:
    metrics = pb.torch.CloudRemovalMetrics(protocol, prefix="val_")
    for part in (slice(0, 1), slice(1, 4)):
        metrics.update(*(images[part] for images in pairs))
    run = pb.evaluate(lambda scene: scene.cloudy, pb.open_dataset(data)[:4], workers=0)
    expected = run.by(protocol=protocol, metrics=["mae", "psnr", "sam_deg", "ssim", "rmse"])
    for name, value in metrics.compute().items():
        column = name.removeprefix("val_")
        assert_allclose(float(value), expected[column].iloc[0], rtol=1e-12)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_seen_has_no_score() -> None:
    assert np.isnan(float(pb.torch.CloudRemovalMetrics().compute()["mae"]))


def gathered(others: Tensor, own: Tensor, group: object) -> list[Tensor]:  # noqa: ARG001
    """States of two processes, as torch.distributed gathers them."""
    return [own, others]


@pytest.mark.parametrize("protocol", ["full", "official"])
def test_states_of_two_processes_add_up_to_one(pairs: tuple[Tensor, Tensor], protocol: str) -> None:
    alone, first, second = (pb.torch.CloudRemovalMetrics(protocol) for _ in range(3))
    alone.update(*pairs)
    first.update(*(images[:1] for images in pairs))
    second.update(*(images[1:] for images in pairs))
    for name, metric in first.items():
        metric.sync(partial(gathered, second[name].sums), distributed_available=lambda: True)
        assert_allclose(metric.sums, alone[name].sums, rtol=1e-13)  # of which compute() is made


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["full", "official"])
def test_two_processes_score_as_one(
    pairs: tuple[Tensor, Tensor], protocol: str, tmp_path: Path
) -> None:
    small = [images[:, :, :170, :170].contiguous() for images in pairs]
    alone = pb.torch.CloudRemovalMetrics(protocol)
    alone.update(*small)
    for scores in scores_of_two(small[0], small[1], protocol, tmp_path):
        for name, value in alone.compute().items():
            assert_allclose(scores[name], float(value), rtol=1e-13)


def test_a_mask_counts(pairs: tuple[Tensor, Tensor]) -> None:
    mask = torch.zeros(300, 300, dtype=torch.bool)
    mask[:100] = True
    metrics = pb.torch.CloudRemovalMetrics(metrics=["mae"])
    metrics.update(*pairs, mask=mask)
    images, clear = (each[..., :100, :] for each in pairs)
    assert_allclose(float(metrics.compute()["mae"]), pb.metrics.mae(images, clear), rtol=1e-12)


def test_wrong_metrics_and_tensors_are_refused(pairs: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(pb.BenchError, match="metrics: expected mae, psnr"):
        pb.torch.CloudRemovalMetrics(metrics=["lpips"])
    with pytest.raises(pb.BenchError, match="protocol: expected official or full"):
        pb.torch.CloudRemovalMetrics("fool")
    with pytest.raises(pb.BenchError, match="looks like digital numbers"):
        pb.torch.CloudRemovalMetrics().update(pairs[0] * 1e4, pairs[1])
