"""Test scores of scenes whose answers follow from how they were changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from planetcr_bench.constants import LAND_COVER, UNKNOWN
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_scene
from planetcr_bench.data.scene import Scene
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.simulation.place import Place
from planetcr_bench.simulation.scene import truth_of

OFFSETS = np.array((0.01, 0.02, 0.03, 0.05, 0.08, 0.13, 0.0))
"""Added to every band of each class; the last is that of unknown pixels."""

pytestmark = pytest.mark.usefixtures("ledgers_alone")

Predict = Callable[[Scene], np.ndarray]


@pytest.fixture
def measured(
    simulated: Path, tmp_path: Path, scores: Callable[..., dict]
) -> Callable[[Predict], dict]:
    """Write a prediction of every test scene, and measure them by the command."""

    def run(predict: Predict) -> dict:
        folder = tmp_path / "preds"
        folder.mkdir()
        for files in find_scenes(simulated, "test"):
            np.save(folder / f"{files.name}.npy", predict(read_scene(files)))
        return scores(folder, "--data", simulated)["protocols"]

    return run


def scenes_of(simulated: Path) -> list[Scene]:
    return [read_scene(files) for files in find_scenes(simulated, "test")]


def test_the_clear_image_itself_is_perfect(measured: Callable[[Predict], dict]) -> None:
    result = measured(lambda scene: scene.clear)
    full, official = (result[name]["overall"] for name in ("full", "official"))
    assert (full["mae"], full["psnr"], full["sam_deg"]) == (0, "inf", pytest.approx(0, abs=1e-5))
    assert full["ssim"] == pytest.approx(1, abs=1e-12)
    assert (official["mae"], official["psnr"]) == (0, 100)
    floor = result["official"]["sam_floor"]  # which is what SAM says of equal images
    assert official["sam_deg"] == pytest.approx(floor["overall"]["sam_deg"], rel=1e-6)
    for name, scores in result["official"]["by_class"].items():
        assert scores["sam_deg"] == pytest.approx(floor["by_class"][name]["sam_deg"], abs=1e-6)
    assert floor["by_class"]["water"]["sam_deg"] > 10  # dark, and so far from itself
    assert 0.1 < floor["by_class"]["water"]["under_floor"] < 1
    for group in (*result["full"]["by_cover"].values(), *result["full"]["by_region"].values()):
        assert group["mae"] == 0


def test_a_known_offset_per_class_is_each_class_s_error(
    simulated: Path, measured: Callable[[Predict], dict]
) -> None:
    result = measured(lambda scene: scene.clear + OFFSETS[scene.land_cover].astype(np.float32))
    for index, name in enumerate(LAND_COVER):
        for protocol in ("full", "official"):
            got = result[protocol]["by_class"][name]["mae"]
            assert got == pytest.approx(OFFSETS[index], abs=1e-7), (protocol, name)
    scenes = scenes_of(simulated)
    pixels = np.sum([np.bincount(s.land_cover.ravel(), minlength=UNKNOWN + 1) for s in scenes], 0)
    overall = result["full"]["overall"]
    assert overall["mae"] == pytest.approx(pixels @ OFFSETS / pixels.sum(), abs=1e-7)
    mean_square = pixels @ OFFSETS**2 / pixels.sum()
    assert overall["psnr"] == pytest.approx(-10 * np.log10(mean_square), abs=1e-4)
    crops = [s.land_cover[70:230, 70:230] for s in scenes]
    squares = [(OFFSETS[crop] ** 2).mean() for crop in crops]
    expected = np.mean([-10 * np.log10(square) for square in squares])
    assert result["official"]["overall"]["psnr"] == pytest.approx(expected, abs=1e-4)


def test_keeping_the_clouds_has_the_error_of_the_input_there_and_none_elsewhere(
    simulated: Path, measured: Callable[[Predict], dict]
) -> None:
    result = measured(lambda scene: np.where(scene.cloud_mask, scene.cloudy, scene.clear))
    regions = result["full"]["by_region"]
    assert regions["clear"]["mae"] == regions["edge"]["mae"] == 0
    scenes = scenes_of(simulated)
    error = np.concatenate([(s.cloudy - s.clear)[:, s.cloud_mask].ravel() for s in scenes])
    error = error.astype(np.float64)
    assert regions["cloud"]["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-9)
    assert regions["cloud"]["psnr"] == pytest.approx(-10 * np.log10((error**2).mean()), rel=1e-9)
    covered = sum(s.cloud_mask.sum() for s in scenes) / (len(scenes) * 90_000)
    assert result["full"]["overall"]["mae"] == pytest.approx(
        covered * np.abs(error).mean(), rel=1e-9
    )


def test_a_brighter_image_of_the_same_colours_has_no_spectral_angle(
    measured: Callable[[Predict], dict],
) -> None:
    result = measured(lambda scene: scene.clear * np.float32(1.25))
    assert result["full"]["overall"]["sam_deg"] == pytest.approx(0, abs=2e-2)
    assert result["full"]["overall"]["mae"] > 0.01


def test_errors_follow_the_hidden_thickness_of_the_cloud(simulated: Path) -> None:
    """The truth tells what the mask cannot: the input's error grows with optical thickness."""
    by_thickness: dict[int, list[float]] = {}
    for files in find_scenes(simulated, "test"):
        scene, truth = read_scene(files), truth_for(files)
        error = np.abs(scene.cloudy - scene.clear).mean(0)
        steps = np.digitize(truth.cloud_thickness, (0.01, 2, 8, 20))
        for step in np.unique(steps):
            by_thickness.setdefault(int(step), []).append(float(error[steps == step].mean()))
    means = [np.mean(by_thickness[step]) for step in sorted(by_thickness)]
    assert len(means) == 5
    assert means == sorted(means)


def truth_for(files: SceneFiles):
    return truth_of(Place(0, files.fields["aoi"]), files.patch)
