"""Test the drafts of descriptions: made layouts are read as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import Cli
from described import optical_image, write_png, write_s2
from paths import SHARED
from planetcr_bench.data.draft import draft_description
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_scene
from planetcr_bench.data.scene import Scene
from planetcr_bench.errors import DatasetError
from scenes import write_dataset, write_tif


def drafted(data: Path, split: str = "test") -> tuple[list[Scene], str]:
    """The scenes of a split by the draft of its folder, and the draft."""
    text = draft_description(data).text
    file = data.with_name("draft.toml")
    file.write_text(text)
    return [read_scene(files) for files in find_scenes(data, split, dataset=file)], text


def test_pairs_are_recognised(tmp_path: Path) -> None:
    for index, name in enumerate(("a 1", "b", "c_2_3")):
        write_png(tmp_path / f"data/clear/{name}.png", 2 * index)
        write_png(tmp_path / f"data/cloudy/{name}.png", 2 * index + 1)
    scenes, text = drafted(tmp_path / "data")
    assert [scene.name for scene in scenes] == ["a 1", "b", "c_2_3"]
    assert scenes[0].bands == ["red", "green", "blue"]
    assert "scale = 255.0 # bytes" in text


def test_rice2_is_recognised_with_its_masks(tmp_path: Path) -> None:
    for n in range(3):
        for seed, name in enumerate(("cloud", "label")):
            write_png(tmp_path / f"data/RICE2/{name}/{n}.png", 2 * n + seed)
        mask = np.zeros((40, 48), np.uint8)
        mask[: n + 1] = 255
        (tmp_path / "data/RICE2/mask").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / f"data/RICE2/mask/{n}.png")
    scenes, _ = drafted(tmp_path / "data")
    assert [scene.cloud_cover for scene in scenes] == [(n + 1) / 40 for n in range(3)]


def test_cuhk_cr_is_put_together_from_two_trees(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for n in (1, 2):
            for name in ("cloud", "label"):
                colour = write_png(tmp_path / f"data/CUHK-CR1/{split}/{name}/{n}.png", n)
                nir = tmp_path / f"data/nir/CUHK-CR1/{split}/{name}/{n}.png"
                nir.parent.mkdir(parents=True, exist_ok=True)
                grey = np.repeat(colour[:1], 3, axis=0).transpose(1, 2, 0)
                Image.fromarray(grey).save(nir)
    scenes, text = drafted(tmp_path / "data")
    assert [scene.name for scene in scenes] == ["test_1", "test_2"]
    assert scenes[0].clear.shape == (4, 40, 48)
    assert (scenes[0].clear[3] == scenes[0].clear[0]).all()
    assert "file_bands = [[1, 2, 3], [1]]" in text


def test_sen12ms_cr_is_recognised_in_its_own_layout(tmp_path: Path) -> None:
    for roi, patch in ((7, 1), (7, 2), (8, 1)):
        write_s2(tmp_path / "data", roi, patch)
    scenes, text = drafted(tmp_path / "data")
    assert len(scenes) == 3
    assert len({scene.aoi for scene in scenes}) == 2
    assert scenes[0].bands[-1] == "swir2"
    assert scenes[0].sar is not None
    assert scenes[0].resolution == 10
    assert "guess: 13 bands" in text


def test_planet_cr_is_recognised(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data")
    scenes, _ = drafted(tmp_path / "data")
    expected = [read_scene(files) for files in find_scenes(tmp_path / "data", "test")]
    for scene, own in zip(scenes, expected, strict=True):
        assert scene.name == own.name.replace("_p_", "_")
        assert scene.aoi == own.aoi
        assert scene.land_cover is not None
        assert (scene.land_cover == own.land_cover).all()
        assert (scene.cloud_mask == own.cloud_mask).all()
        assert scene.sar is not None
        assert np.allclose(scene.sar, own.sar)


def test_dates_and_names_of_ones_own_are_recognised(tmp_path: Path) -> None:
    for tile in ("T12TUR", "T09WVQ"):
        for place in (0, 1):
            root, name = tmp_path / "data/training" / tile, f"{tile}_{place}"
            write_tif(root / f"{name}_ground_truth.tif", optical_image(5), (0, 0), 5, None)
            for date in (1, 2, 3):
                pixels = optical_image(5, seed=date)
                write_tif(root / f"{name}_hazy_{date}.tif", pixels, (0, 0), 5, None)
    scenes, text = drafted(tmp_path / "data", "train")
    assert len(scenes) == 4
    assert scenes[0].cloudy.shape == (3, 5, 40, 48)
    assert scenes[0].bands == ["b1", "b2", "b3", "b4", "b5"]
    assert 'train = {folder = "training"}' in text
    assert "Not found out: which 5 bands" in text


def test_a_folder_without_known_words_is_refused_in_one_line(tmp_path: Path) -> None:
    write_png(tmp_path / "before/1.png")
    write_png(tmp_path / "after/1.png")
    with pytest.raises(DatasetError, match="found no clear and no cloudy images"):
        draft_description(tmp_path)
    with pytest.raises(DatasetError, match="found no such folder"):
        draft_description(tmp_path / "none")


def test_the_command_writes_a_draft_that_check_takes(cli: Cli, tmp_path: Path) -> None:
    write_png(tmp_path / "data/label/1.png", 1)
    write_png(tmp_path / "data/cloud/1.png", 2)
    file = tmp_path / "draft.toml"
    done = cli("describe", tmp_path / "data", "--out", file)
    assert done.returncode == 0, done.stderr
    assert "not found out: which scenes are of one place" in done.stderr
    assert cli("check", tmp_path / "data", "--dataset", file).returncode == 0
    again = cli("describe", tmp_path / "data", "--out", file)
    assert again.returncode == 1
    assert "expected a new file" in again.stderr
    assert 'title = "data"' in cli("describe", tmp_path / "data").stdout


@pytest.mark.real
@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="real scenes")
@pytest.mark.parametrize("name", ["sen12mscr", "planet-cr-sample"])
def test_real_folders_are_recognised(name: str, tmp_path: Path) -> None:
    file = tmp_path / "draft.toml"
    file.write_text(draft_description(SHARED / "data" / name).text)
    scene = read_scene(find_scenes(SHARED / "data" / name, "test", dataset=file)[0])
    assert scene.resolution in (3, 10)
