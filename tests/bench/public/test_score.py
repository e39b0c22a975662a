"""Test the scores of one scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import planetcr_bench as pb
from planetcr_bench.metrics.registry import HEADLINE


@pytest.fixture(scope="module")
def scene(data: Path) -> pb.Scene:
    return pb.open_dataset(str(data))[1]


def test_a_scene_scores_as_in_a_ledger(data: Path, scene: pb.Scene) -> None:
    prediction = scene.cloudy * np.float32(0.9)
    scores = pb.score(prediction, scene)
    ledger = pb.evaluate(lambda s: s.cloudy * np.float32(0.9), data, workers=0)
    for protocol in ("full", "official"):
        row = ledger.by("scene", protocol=protocol).loc[scene.name]
        for name in HEADLINE:
            assert_allclose(scores.to_dict(protocol)[name], row[name], rtol=1e-12)
    arrays = pb.score(prediction, scene.clear, scene.cloudy, scene.cloud_mask, scene.land_cover)
    for groups in (("region",), ("land_cover",), ("region", "land_cover")):
        assert arrays.by(*groups).equals(scores.by(*groups))
    assert arrays.to_dict(of="input") == scores.to_dict(of="input")
    assert scores["psnr"] == scores.to_dict()["psnr"]


def test_scores_print_with_units(scene: pb.Scene) -> None:
    scores = pb.score(scene.cloudy, scene)
    assert repr(scores).splitlines()[1].startswith("full: MAE 0.")
    assert " dB, SAM " in repr(scores)
    assert "°, SSIM " in repr(scores)
    assert "<table" in scores._repr_html_()


def test_what_is_not_known_is_not_made_up(scene: pb.Scene) -> None:
    scores = pb.score(scene.cloudy[:, :100, :100], scene.clear[:, :100, :100])
    assert scores.protocols == ["full"]
    assert list(scores.by("region").index) == ["unknown"]
    with pytest.raises(pb.BenchError, match="expected the cloudy image"):
        scores.to_dict(of="input")
    with pytest.raises(pb.BenchError, match="protocol: expected full, got 'official'"):
        scores.to_dict("official")
    with pytest.raises(pb.BenchError, match="a scene or arrays, got both"):
        pb.score(scene.cloudy, scene, scene.cloudy)
    with pytest.raises(pb.BenchError, match="expected one scene, shape"):
        pb.score(np.stack([scene.cloudy] * 2), np.stack([scene.clear] * 2))
    with pytest.raises(pb.BenchError, match="cloud_mask: expected the grid of the clear image"):
        pb.score(scene.cloudy, scene.clear, cloud_mask=np.ones((5, 5), bool))
