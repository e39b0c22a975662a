"""Test the detection of clouds, and the masks that it writes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from conftest import Cli
from described import S2, optical_image, write_description, write_s2
from planetcr_bench.data.detectors import S2CLOUDLESS_BANDS, write_masks
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.masks import OtherMasks, with_masks
from planetcr_bench.data.reading import read_product, read_scene
from planetcr_bench.errors import DatasetError, MissingExtraError
from scenes import write_tif

HAS_S2CLOUDLESS = importlib.util.find_spec("s2cloudless") is not None


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Pairs of which the upper half is 0.1 brighter in the cloudy image."""
    clear = optical_image(4, (40, 48))
    cloudy = clear.copy()
    cloudy[:, :20] += 1000
    for name in "ab":
        write_tif(tmp_path / f"data/clear/{name}.tif", clear, (0, 0), 10, "EPSG:32631")
        write_tif(tmp_path / f"data/cloudy/{name}.tif", cloudy, (0, 0), 10, "EPSG:32631")
    return tmp_path / "data"


def difference(data: Path, out: Path, **options: object) -> tuple[int, int]:
    return write_masks(data, out, detector="difference", workers=0, quiet=True, **options)


def test_the_difference_is_found_and_read_as_masks(data: Path, tmp_path: Path) -> None:
    assert difference(data, tmp_path / "masks") == (2, 0)
    scenes = with_masks(find_scenes(data, "test"), OtherMasks(tmp_path / "masks"))
    scene = read_scene(scenes[0])
    assert scene.cloud_mask is not None
    assert scene.cloud_mask[:20].all()
    assert not scene.cloud_mask[20:].any()
    written, clear = read_product(scenes[0], "cloud_mask"), read_product(scenes[0], "clear")
    assert (written.crs, written.transform) == (clear.crs, clear.transform)
    source = "difference of cloudy and clear above 0.04, which uses the reference"
    assert OtherMasks(tmp_path / "masks").source == source


def test_masks_are_resumed_but_never_mixed(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    difference(data, out)
    (out / "a.tif").write_bytes(b"broken")
    assert difference(data, out) == (1, 1)
    with pytest.raises(DatasetError, match="holds masks of pairs of images by difference"):
        difference(data, out, threshold=0.2)
    write_tif(data / "clear/a.tif", optical_image(4, (40, 48), 5), (0, 0), 10, "EPSG:32631")
    with pytest.raises(DatasetError, match="choose a new folder with --out"):
        difference(data, out)
    with pytest.raises(DatasetError, match="expected a new or empty folder"):
        difference(data, data / "clear")


def test_dates_have_masks_of_their_own(tmp_path: Path) -> None:
    optical = {"clear": "clear/{tile}.npy", "cloudy": "cloudy/{tile}_{date}.npy", "scale": 1e4}
    content = {"title": "dates", "bands": ["red"], "scene": "{tile}", "optical": optical,
               "fields": {"tile": "[a-z]+"}}  # fmt: skip
    write_description(tmp_path / "data/dataset.toml", content)
    clear = optical_image(1)
    for name, brighter in (("clear/a", 0), ("cloudy/a_1", 0), ("cloudy/a_2", 1000)):
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"data/{name}.npy", clear + np.uint16(brighter))
    difference(tmp_path / "data", tmp_path / "masks")
    (files,) = with_masks(find_scenes(tmp_path / "data", "test"), OtherMasks(tmp_path / "masks"))
    scene = read_scene(files)
    assert scene.date_masks is not None
    assert scene.date_masks.mean(axis=(1, 2)).tolist() == [0, 1]
    assert scene.cloud_cover == 0


def test_s2cloudless_needs_its_bands_and_its_package(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"detector": "s2cloudless", "workers": 0, "quiet": True}
    monkeypatch.setattr("planetcr_bench.utils.extras.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'planetcr-bench\[masks\]'"):
        write_masks(data, tmp_path / "masks", **options)
    monkeypatch.setattr("planetcr_bench.utils.extras.find_spec", lambda _: True)
    with pytest.raises(DatasetError, match="expected for s2cloudless the bands of Sentinel-2 L1C"):
        write_masks(data, tmp_path / "masks", **options)
    assert not (tmp_path / "masks").exists()


@pytest.mark.skipif(not HAS_S2CLOUDLESS, reason="s2cloudless, of the extra masks, is not installed")
def test_s2cloudless_tells_cloud_from_land(tmp_path: Path) -> None:
    bands = ["coastal", "blue", "green", "red", "edge1", "edge2", "edge3", "nir", "nir_narrow",
             "vapour", "cirrus", "swir1", "swir2"]  # fmt: skip
    assert {*S2CLOUDLESS_BANDS} <= {*bands}
    write_s2(tmp_path / "data")
    write_description(tmp_path / "data/dataset.toml", {**S2, "bands": bands})
    (files,) = find_scenes(tmp_path / "data", "test")
    land = [1300, 1000, 900, 700, 1100, 2200, 2700, 2800, 3000, 900, 15, 1800, 1000]
    cloud = [6500, 6600, 6500, 6800, 6900, 7000, 7100, 7000, 7200, 3500, 400, 5500, 4500]
    pixels = np.empty((13, 40, 48), np.uint16)
    pixels[:, :20], pixels[:, 20:] = np.reshape(cloud, (-1, 1, 1)), np.reshape(land, (-1, 1, 1))
    write_tif(files.path("cloudy"), pixels, (0, 0), 10, None)
    write_masks(tmp_path / "data", tmp_path / "masks", detector="s2cloudless", split="test",
                workers=0, quiet=True)  # fmt: skip
    (masked,) = with_masks([files], OtherMasks(tmp_path / "masks"))
    mask = read_product(masked, "cloud_mask").pixels
    assert mask[:16].all()
    assert not mask[28:].any()


def test_the_command_writes_masks(cli: Cli, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    done = cli("masks", data, "--detector", "difference", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert '"scenes": 2, "kept": 0' in done.stdout
    assert (out / "a.tif").exists()
