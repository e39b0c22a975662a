"""Read ``dataset.toml``, which names a dataset and how it was simulated."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from planetcr_bench.errors import DatasetError
from planetcr_bench.utils.untrusted import read_toml

METADATA: Final = "dataset.toml"
"""File in the dataset folder that names the dataset; the official release has none."""

VERSION: Final = "sim-v1"
"""Version of the simulated world, raised whenever its pixels change."""

TEST_SCENES: Final = {"tiny": 10, "demo": 108, "full": 3_000}
"""Size to number of test scenes."""


@dataclass(frozen=True, slots=True)
class Simulation:
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


def read_metadata(data: Path) -> dict[str, Any]:
    """Read ``dataset.toml``; empty if there is none.

    Raises:
        DatasetError: ``dataset.toml`` cannot be read.
    """
    path = data / METADATA
    if not os.path.lexists(path):
        return {}
    return read_toml(path, error=DatasetError)


def read_simulation(data: Path) -> Simulation | None:
    """Read the identity of a simulated dataset; None for any other dataset.

    Raises:
        DatasetError: ``dataset.toml`` cannot be read, or its entry ``simulation`` was not written
            by ``planetcr-bench simulate``.
    """
    entry = read_metadata(data).get("simulation")
    if entry is None:
        return None
    known = {field.name: str if field.type == "str" else int for field in fields(Simulation)}
    if not (
        isinstance(entry, dict)
        and entry.keys() == known.keys()
        and all(type(entry[name]) is kind for name, kind in known.items())
    ):
        raise DatasetError(
            f"{data / METADATA}: expected [simulation] with {', '.join(known)}, as `planetcr-bench "
            "simulate` writes it, found otherwise; simulate the dataset again"
        )
    return Simulation(**entry)
