"""Read ``dataset.toml``, which names a dataset and how it was simulated."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from pydantic import ConfigDict, field_validator

from planetcr_bench.errors import DatasetError
from planetcr_bench.utils.untrusted import read_toml
from planetcr_bench.utils.validation import FileModel, shown, validate

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


class Metadata(FileModel):
    """What ``dataset.toml`` says.

    Attributes:
        track: Name of the dataset's track; None for a dataset without a name.
        simulation: Identity of a simulated dataset.
    """

    model_config = ConfigDict(title='track = "name", and [simulation] as `simulate` writes it')

    track: str | None = None
    simulation: Simulation | None = None

    @field_validator("track")
    @classmethod
    def _check_track(cls, track: str | None) -> str | None:
        if track is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", track):
            raise ValueError(f"expected a name in lower case, got {shown(track)}")
        return track


def read_metadata(data: Path) -> Metadata:
    """Read ``dataset.toml``; all entries are None if there is none.

    Raises:
        DatasetError: ``dataset.toml`` cannot be read, or has an unknown key or a wrong value.
    """
    path = data / METADATA
    if not os.path.lexists(path):
        return Metadata()
    return validate(Metadata, read_toml(path, error=DatasetError), str(path), error=DatasetError)


def read_simulation(data: Path) -> Simulation | None:
    """Read the identity of a simulated dataset; None for any other dataset.

    Raises:
        DatasetError: See :func:`read_metadata`.
    """
    return read_metadata(data).simulation
