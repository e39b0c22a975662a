"""Read ``dataset.toml``, which names a dataset, and says what it is and how it was simulated."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ConfigDict, field_validator

from planetcr_bench.data.description import Description, check_track, is_description
from planetcr_bench.data.variants import completed
from planetcr_bench.errors import DatasetError
from planetcr_bench.utils.untrusted import read_toml
from planetcr_bench.utils.validation import FileModel, validate

METADATA: Final = "dataset.toml"
"""File in the dataset folder that names the dataset; the official release has none."""

VERSION: Final = "sim-v1"
"""Version of the simulated world, raised whenever its pixels change."""

TEST_SCENES: Final = {"tiny": 10, "demo": 108, "full": 3_000}
"""Size to number of test scenes."""


class Simulation(FileModel):
    """Identity of a simulated dataset.

    Attributes:
        version: Of the simulated world.
        preset: ``standard`` or ``misaligned``.
        seed: Of the world.
        size: ``tiny``, ``demo`` or ``full``.
        test_scenes: Scenes of the test split.
        train_scenes: Scenes of the training split.
    """

    version: str
    preset: str
    seed: int
    size: str
    test_scenes: int
    train_scenes: int

    @property
    def identity(self) -> str:
        """What determines the scenes of the test split: version, preset, seed and size.

        Two machines that simulate the same identity may differ by rounding, by 1 DN in single
        values; their scores are still comparable.
        """
        return f"{self.version} {self.preset}, seed {self.seed}, size {self.size}"

    @property
    def track(self) -> str:
        """Name of the track: ``sim-v1`` for the full standard world of seed 0, otherwise longer."""
        parts = [
            self.version,
            *([self.size] if self.size != "full" else []),
            *([self.preset] if self.preset != "standard" else []),
            *([f"seed{self.seed}"] if self.seed else []),
        ]
        return "-".join(parts)

    def scenes(self, split: str) -> int | None:
        """Number of scenes that a split must have; None for a split that is not simulated."""
        return {"test": self.test_scenes, "train": self.train_scenes}.get(split)


class _Keys(FileModel):
    """What ``dataset.toml`` may say beside a description."""

    model_config = ConfigDict(
        title='track = "name", dataset = "name", and [simulation] as `simulate` writes it'
    )

    track: str | None = None
    dataset: str | None = None
    simulation: Simulation | None = None

    @field_validator("track")
    @classmethod
    def _check_track(cls, track: str | None) -> str | None:
        return check_track(track)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What ``dataset.toml`` says.

    Attributes:
        track: Name of the dataset's track; None for a dataset without a name.
        simulation: Identity of a simulated dataset.
        dataset: Name or file of its description.
        description: A description that it contains itself.
    """

    track: str | None = None
    simulation: Simulation | None = None
    dataset: str | None = None
    description: Description | None = None


def read_metadata(data: Path) -> Metadata:
    """Read ``dataset.toml``; all entries are None if there is none.

    Raises:
        DatasetError: ``dataset.toml`` cannot be read, or has an unknown key or a wrong value.
    """
    path = data / METADATA
    if not os.path.lexists(path):
        return Metadata()
    content = read_toml(path, error=DatasetError)
    description = None
    if is_description(content):
        own = {key: value for key, value in content.items() if key not in ("dataset", "simulation")}
        content = {key: content[key] for key in content if key not in own or key == "track"}
        if "dataset" in content:
            raise DatasetError(f"{path}: expected dataset = … or a description, got both")
        own = completed(own, path)
        description = validate(Description, own, str(path), error=DatasetError)
    keys = validate(_Keys, content, str(path), error=DatasetError)
    return Metadata(keys.track, keys.simulation, keys.dataset, description)


def read_simulation(data: Path) -> Simulation | None:
    """Read the identity of a simulated dataset; None for any other dataset.

    Raises:
        DatasetError: See :func:`read_metadata`.
    """
    return read_metadata(data).simulation
