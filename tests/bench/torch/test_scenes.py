"""Test scenes for a DataLoader."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

import planetcr_bench as pb


def test_items_are_what_networks_see(data: Path) -> None:
    scenes = pb.open_dataset(data)
    item, scene = scenes.torch()[0], scenes[0]
    assert set(item) == {"cloudy", "clear", "sar", "cloud_mask", "land_cover", "name"}
    for name in ("cloudy", "clear", "sar", "cloud_mask", "land_cover"):
        assert torch.equal(item[name], torch.from_numpy(getattr(scene, name)))
    assert item["name"] == scene.name
    assert item["sar"].shape == (2, 90, 90)


def test_crops_follow_from_seed_epoch_and_scene(data: Path) -> None:
    scenes = pb.open_dataset(data)
    first, second = (scenes.torch(160, augment=True, seed=3) for _ in range(2))
    assert torch.equal(first[2]["clear"], second[2]["clear"])
    second.set_epoch(1)
    assert not torch.equal(first[2]["clear"], second[2]["clear"])
    assert not torch.equal(first[2]["clear"], scenes.torch(160, augment=True)[2]["clear"])
    again = pickle.loads(pickle.dumps(second))
    assert torch.equal(again[0]["sar"], second[0]["sar"])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_what_this_process_reads(data: Path, method: str) -> None:
    dataset = pb.open_dataset(data)[:2].torch(100, augment=True)
    loader = DataLoader(dataset, batch_size=2, num_workers=1, multiprocessing_context=method)
    (batch,) = loader
    assert batch["name"] == dataset.patches.names
    assert torch.equal(batch["cloudy"][1], dataset[1]["cloudy"])


def test_crops_off_the_grid_are_refused(data: Path) -> None:
    scenes = pb.open_dataset(data)
    for crop in (7, 310):
        with pytest.raises(Exception, match="crop: expected a multiple of 10 pixels up to 300"):
            scenes.torch(crop)
    with pytest.raises(IndexError):
        scenes.torch()[6]
