"""Test that an interrupted run is resumed where possible and measured again otherwise."""

from __future__ import annotations

import os
from pathlib import Path

from planetcr_bench.data.layout import find_scenes
from planetcr_bench.evaluation.loading import Job, read_pixels
from planetcr_bench.evaluation.runner import ResumeStore, measure_scene
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.predictions.card import Card
from scenes import write_dataset


def test_a_file_of_another_folder_has_another_state_even_with_equal_size_and_time(
    tmp_path: Path,
) -> None:
    data = write_dataset(tmp_path / "data", test=1, train=0)
    scene = find_scenes(data, "test")[0]
    states = set()
    for folder in ("a", "b"):
        path = tmp_path / folder / "x.npy"
        path.parent.mkdir()
        path.write_bytes(b"equal size")
        os.utime(path, (1, 1))
        states.add(Job(scene, path).state())
    assert len(states) == 2


def test_a_damaged_part_is_dropped_and_its_scenes_are_measured_again(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", test=1, train=0)
    scene = find_scenes(data, "test")[0]
    job = Job(scene, scene.path("cloudy"))
    sums = measure_scene(read_pixels(job, Card()), list(PROTOCOLS.values()))
    folder = tmp_path / "parts"
    first = ResumeStore(folder, {})
    first.add(sums, job.state())
    first.finish([scene.name])
    states = {scene.name: job.state()}
    assert ResumeStore(folder, {}).load(states) == {scene.name}
    (part,) = folder.glob("part-*.parquet")
    part.write_bytes(part.read_bytes()[:500])
    assert ResumeStore(folder, {}).load(states) == set()
    assert not part.exists()
