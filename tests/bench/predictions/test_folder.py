"""Test matching files with scenes by name, and naming every other file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.predictions.card import Card
from planetcr_bench.predictions.folder import find_predictions
from prediction_files import image, problems_of
from scenes import write_tif


@pytest.fixture
def scene(data: Path) -> SceneFiles:
    return find_scenes(data, "test")[0]


@pytest.mark.parametrize(
    "place",
    [
        "{name}.tif",
        "{name}.tiff",
        "{name}.TIF",
        "{name}.Tiff",
        "deep/er/{name}.tif",
        "planet_cloudfree_{name}.tif",
        "planet_cloudy_{name}.tif",
        "test/planet_cloudfree_{season}/planet_cloudfree_{aoi}/planet_cloudfree_{name}.tif",
    ],
)
def test_a_file_is_matched_by_its_scene_s_name(
    tmp_path: Path, scene: SceneFiles, place: str
) -> None:
    path = tmp_path / place.format(name=scene.name, season=scene.season, aoi=scene.aoi)
    write_tif(path, np.ones((4, 300, 300), np.uint16), (0, 0), 3, None)
    predictions = find_predictions(tmp_path, Card(), [scene])
    assert predictions.files == {scene: path}
    assert not predictions.problems


def test_every_surplus_file_is_named(tmp_path: Path, scene: SceneFiles) -> None:
    write_tif(tmp_path / f"{scene.name}.tif", np.ones((4, 300, 300), "u2"), (0, 0), 3, None)
    for name in ("summer_9_p_9.tif", "thumbnail.png", "sub/x.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in (
        "README.md",
        "train.log",
        ".hidden",
        "predictions.toml",
        f"{scene.name}.tif.aux.xml",
    ):
        (tmp_path / name).touch()
    problems = problems_of(tmp_path, [scene])
    assert len(problems) == 3
    assert all("got a surplus one" in line for line in problems)


def test_litter_beside_predictions_changes_nothing(tmp_path: Path, scene: SceneFiles) -> None:
    np.save(tmp_path / f"{scene.name}.npy", image())
    for name in ("Thumbs.db", "desktop.ini", f"{scene.name}.tfw", f"{scene.name}.tif.ovr"):
        (tmp_path / name).touch()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / f"{scene.name}.npy").touch()
    assert not problems_of(tmp_path, [scene])


def test_predictions_in_linked_folders_are_found_once(tmp_path: Path, scene: SceneFiles) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "preds").mkdir()
    np.save(tmp_path / "disk" / f"{scene.name}.npy", image())
    for name, target in {"a": "../disk", "b": "../disk", "c": ".", "d": ".."}.items():
        (tmp_path / "preds" / name).symlink_to(target)
    predictions = find_predictions(tmp_path / "preds", Card(), [scene])
    assert not predictions.problems
    assert list(predictions.files) == [scene]


def test_a_broken_link_is_named_as_one(tmp_path: Path, scene: SceneFiles) -> None:
    np.save(tmp_path / f"{scene.name}.npy", image())
    (tmp_path / "loop").symlink_to("loop")
    (line,) = problems_of(tmp_path, [scene])
    assert "got a link that leads nowhere" in line


@pytest.mark.parametrize(
    ("pattern", "description"),
    [
        ("{}_pred.tif", "'_pred' behind"),
        ("fake_{}.tif", "'fake_' before"),
        ("my-{}.out.tif", "'my-' before and '.out' behind"),
        ("{}.tif.tif", "'.tif' behind"),
    ],
)
def test_names_that_share_a_beginning_or_an_end_are_one_line(
    tmp_path: Path, data: Path, pattern: str, description: str
) -> None:
    scenes = find_scenes(data, "test")
    for scene in scenes:
        (tmp_path / pattern.format(scene.name)).touch()
    (line,) = problems_of(tmp_path, scenes)
    assert f"got 6 with {description} the scene's name" in line


def test_names_that_differ_in_a_number_are_one_line(tmp_path: Path, data: Path) -> None:
    scenes = find_scenes(data, "test")
    for number, scene in enumerate(scenes):
        (tmp_path / f"{number:03}pred{scene.name}.tif").touch()
    (line,) = problems_of(tmp_path, scenes)
    assert "got 6 with '…pred' before the scene's name" in line


def test_names_in_capitals_are_one_line(tmp_path: Path, data: Path) -> None:
    scenes = find_scenes(data, "test")
    for scene in scenes:
        (tmp_path / f"{scene.name}.tif".upper()).touch()
    (line,) = problems_of(tmp_path, scenes)
    assert "got 6 with capitals" in line


@pytest.mark.parametrize("end", [".png", ".npz", ""])
def test_files_with_an_unsupported_extension_are_one_line(
    tmp_path: Path, data: Path, end: str
) -> None:
    scenes = find_scenes(data, "test")
    for scene in scenes:
        (tmp_path / f"{scene.name}{end}").touch()
    (line,) = problems_of(tmp_path, scenes)
    assert f"expected .tif, .tiff, .npy, got {end or 'no ending'} in 6 files" in line


def test_names_that_share_an_end_hide_no_other_problem(tmp_path: Path, data: Path) -> None:
    scenes = find_scenes(data, "test")
    for scene in scenes[:3]:
        np.save(tmp_path / f"{scene.name}.npy", image())
        (tmp_path / f"{scene.name}_prob.npy").touch()
    (tmp_path / "thumbnail.png").touch()
    problems = problems_of(tmp_path, scenes)
    assert len(problems) == 5
    assert sum("found no such file" in line for line in problems) == 3
    assert sum("got 3 with '_prob' behind" in line for line in problems) == 1


def test_crops_and_whole_patches_do_not_mix(tmp_path: Path, data: Path) -> None:
    first, second = find_scenes(data, "test")[:2]
    np.save(tmp_path / f"{first.name}.npy", image())
    np.save(tmp_path / f"{second.name}.npy", image(size=160))
    (line,) = problems_of(tmp_path, [first, second])
    assert second.name in line
    assert "expected 300 × 300 pixels like other predictions" in line
