"""Test opened datasets: sequences of scenes, and what xarray takes."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

import planetcr_bench as pb


def test_a_dataset_is_a_sequence_of_scenes(data: Path) -> None:
    scenes = pb.open_dataset(str(data))
    assert len(scenes) == 6
    assert scenes[-1].name == scenes.names[-1]
    assert scenes[scenes.names[2]].aoi == scenes[2].aoi
    assert scenes[1:4].names == scenes.names[1:4]
    assert [scene.name for scene in scenes[:2]] == scenes.names[:2]
    assert len(pb.open_dataset(data, "train")) == 2
    assert "6 scenes of Planet-CR, split 'test'" in repr(scenes)


def test_what_is_not_there_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(pb.BenchError, match="such as spring_500_p_1, got 'winter'"):
        pb.open_dataset(data)["winter"]
    with pytest.raises(pb.BenchError, match="expected a split 'dev'"):
        pb.open_dataset(data, "dev")
    with pytest.raises(pb.BenchError, match="found no such folder"):
        pb.open_dataset(tmp_path / "none")
    with pytest.raises(pb.BenchError, match="none is named"):
        pb.open_dataset()
    with pytest.raises(IndexError):
        pb.open_dataset(data)[6]


def test_a_scene_has_the_grid_of_its_files_in_xarray(data: Path) -> None:
    pytest.importorskip("rioxarray", reason="of the extra xarray, which the extra test brings")
    import rasterio

    scenes = pb.open_dataset(data)
    scene, dataset = scenes[0], scenes[0].to_xarray()
    with rasterio.open(scenes.files[0].path("clear")) as source:
        assert dataset.rio.crs == source.crs
        assert dataset.rio.transform() == source.transform
        assert dataset.rio.bounds() == tuple(source.bounds)
    assert dataset["cloudy"].dims == ("band", "y", "x")
    np.testing.assert_array_equal(dataset["clear"].sel(band="nir"), scene.clear[3])
    assert dataset["sar"].shape == (2, 300, 300)
    assert dataset.attrs["name"] == scene.name


def test_without_xarray_the_extra_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> ModuleSpec | None:
        return None if name == "rioxarray" else ModuleSpec(name, None)

    monkeypatch.setattr("planetcr_bench.utils.extras.find_spec", find_spec)
    with pytest.raises(pb.BenchError, match=r"rioxarray: pip install 'planetcr-bench\[xarray\]'"):
        pb.open_dataset(data)[0].to_xarray()
