"""Test which track the results on a dataset belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planetcr_bench.constants import PRODUCTS
from planetcr_bench.data.fingerprint import scene_digest
from planetcr_bench.data.reading import read_product
from planetcr_bench.data.tracks import read_track
from planetcr_bench.errors import DatasetError
from scenes import write_scene


def test_a_track_is_named_by_the_dataset_or_unnamed(tmp_path: Path) -> None:
    assert read_track(tmp_path) == "unnamed"
    (tmp_path / "dataset.toml").write_text("")
    assert read_track(tmp_path) == "unnamed"
    for name in ("sim-v1", "planet-cr"):
        (tmp_path / "dataset.toml").write_text(f'track = "{name}"')
        assert read_track(tmp_path) == name
    for text in ('track = "../x"', "track = 1", "track = ["):
        (tmp_path / "dataset.toml").write_text(text)
        with pytest.raises(DatasetError, match=r"dataset\.toml"):
            read_track(tmp_path)


def test_the_release_is_known_by_the_pixels_of_its_published_scene_of_the_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_scene(tmp_path, "test", "summer", 33, 1)
    write_scene(tmp_path, "train", "fall", 1, 457)
    assert read_track(tmp_path) == "unnamed"  # its names alone prove nothing
    digest = scene_digest({product: read_product(files, product) for product in PRODUCTS}).hex()
    described = files.description
    test = described.known["test"].model_copy(update={"sha256": digest})
    other = described.model_copy(update={"known": {**described.known, "test": test}})
    monkeypatch.setattr("planetcr_bench.data.tracks.describe", lambda *_: other)
    assert [read_track(tmp_path, split) for split in ("test", "train", None)] == [
        "planet-cr", "unnamed", "planet-cr",
    ]  # fmt: skip
    mask = np.load(files.path("cloud_mask"))
    mask[7, 7] ^= True
    np.save(files.path("cloud_mask"), mask)
    assert read_track(tmp_path, "test") == "unnamed"
    files.path("cloudy").write_bytes(b"broken")
    assert read_track(tmp_path, "test") == "unnamed"
    files.path("cloudy").unlink()
    assert read_track(tmp_path, "test") == "unnamed"
