"""Test reading and refusing ``dataset.toml``."""

from __future__ import annotations

from pathlib import Path

import pytest

from described import SIMULATED
from planetcr_bench.data.integrity import check_dataset
from planetcr_bench.data.metadata import Simulation, read_simulation
from planetcr_bench.data.tracks import simulated_identity
from planetcr_bench.errors import DatasetError


def simulated(**changes: object) -> Simulation:
    entries = {"version": "sim-v1", "preset": "standard", "seed": 0, "size": "full",
               "test_scenes": 3000, "train_scenes": 6600}  # fmt: skip
    return Simulation(**{**entries, **changes})


def test_tracks_and_identities_differ_with_the_settings() -> None:
    make = simulated
    assert make().track == "sim-v1"
    assert make(train_scenes=60_000).identity == make().identity
    others = [
        make(size="demo"),
        make(preset="misaligned"),
        make(seed=2),
        make(version="sim-v2"),
    ]
    assert [other.track for other in others] == [
        "sim-v1-demo", "sim-v1-misaligned", "sim-v1-seed2", "sim-v2",
    ]  # fmt: skip
    assert len({other.identity for other in (make(), *others)}) == 5


def test_a_dataset_without_an_entry_is_not_a_simulation(tmp_path: Path) -> None:
    assert read_simulation(tmp_path) is None
    assert simulated_identity(tmp_path, "test") is None
    (tmp_path / "dataset.toml").write_text('track = "mine"\n')
    assert read_simulation(tmp_path) is None


def test_an_entry_is_read_and_counts_its_scenes(tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text(SIMULATED)
    assert read_simulation(tmp_path) == simulated(size="tiny", test_scenes=10, train_scenes=4)
    assert simulated_identity(tmp_path, "test") == "sim-v1 standard, seed 0, size tiny"
    assert simulated_identity(tmp_path, "train") == "sim-v1 standard, seed 0, size tiny, 4 scenes"


@pytest.mark.parametrize(
    "text",
    [
        SIMULATED.replace("seed = 0", 'seed = "0"'),
        SIMULATED.replace("seed = 0\n", ""),
        SIMULATED + "extra = 1\n",
        'trak = "x"\n',
        SIMULATED.replace("test_scenes = 10", "test_scenes = true"),
        'track = "x"\nsimulation = "sim-v1"\n',
        "[simulation\n",
    ],
)
def test_a_broken_entry_is_refused_by_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text(text)
    with pytest.raises(DatasetError, match=r"dataset.toml"):
        read_simulation(tmp_path)
    (tmp_path / "test").mkdir()
    report = check_dataset(tmp_path, workers=0)
    assert any("dataset.toml" in line for line in report.problems)


def test_an_unknown_key_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    for text, hint in (
        ('trak = "x"', "unknown key 'trak'; did you mean 'track'?"),
        (SIMULATED.replace("preset", "presett"), "unknown key 'presett'; did you mean 'preset'?"),
    ):
        (tmp_path / "dataset.toml").write_text(text)
        with pytest.raises(DatasetError) as refused:
            read_simulation(tmp_path)
        assert any(hint in line for line in [refused.value.message, *refused.value.problems])
