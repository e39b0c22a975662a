"""Keep finished tiles beside the output, so that a killed run goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.data.scene import Image
from planetcr_bench.utils.files import atomic_path
from planetcr_models.inference import TileAxis

_JOB: Final = "job.json"

_EMPTY: Final = np.zeros(1, np.float32)
"""Stands for a tile without a valid pixel; NumPy cannot map a file of nothing."""


class TileStore:
    """What a network returned for each tile of a scene, one file each.

    Args:
        folder: Beside the output, made where it does not exist.
        job: All that determines the tiles. If another job left tiles here, they are deleted.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, folder: Path, job: Mapping[str, Any]) -> None:
        self.folder = folder
        text = json.dumps(job, sort_keys=True, indent=1)
        path = folder / _JOB
        if not (path.is_file() and path.read_text() == text):
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
            with atomic_path(path) as partial:
                partial.write_text(text)

    def _file(self, index: tuple[int, int]) -> Path:
        return self.folder / f"{index[0]}_{index[1]}.npy"

    def has(self, index: tuple[int, int]) -> bool:
        """Whether a tile is finished."""
        return self._file(index).is_file()

    def has_data(self, index: tuple[int, int]) -> bool:
        """Whether a finished tile has a valid pixel."""
        return bool(np.load(self._file(index), mmap_mode="r").ndim == 3)

    def put(self, index: tuple[int, int], tile: Image | None) -> None:
        """Keep a tile, shape (bands, side, side); None for one without a valid pixel."""
        with atomic_path(self._file(index)) as partial, partial.open("wb") as stream:
            np.save(stream, _EMPTY if tile is None else tile)

    def strip(
        self, rows: TileAxis, columns: TileAxis, part: slice, bands: int
    ) -> NDArray[np.float32]:
        """Blend the tiles of some rows of the image.

        Args:
            rows: Division of the rows into tiles.
            columns: Division of the columns.
            part: Rows of the image.
            bands: Of a tile.

        Returns:
            Shape (bands, rows of the part, width); zeros where there is no tile.
        """
        image = np.zeros((bands, part.stop - part.start, columns.size), np.float32)
        for index in product(range(len(rows.starts)), range(len(columns.starts))):
            down, row, high = rows.weight(index[0])
            first, last = max(row.start, part.start), min(row.stop, part.stop)
            if first >= last:
                continue
            tile = np.load(self._file(index), mmap_mode="r")
            if tile.ndim != 3:
                continue
            across, column, wide = columns.weight(index[1])
            within = slice(first - row.start, last - row.start)
            piece = tile[:, down, across][:, within]
            weight = high[within, None] * wide
            image[:, first - part.start : last - part.start, column] += piece * weight
        return image

    def remove(self) -> None:
        """Delete all tiles."""
        shutil.rmtree(self.folder, ignore_errors=True)
