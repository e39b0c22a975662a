"""Keep finished tiles beside the output, so that a killed run goes on where it was."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator, Mapping
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
        """Keep a tile, shape (bands, side, side); None for one without a valid pixel.

        Raises:
            OSError: It cannot be written.
        """
        content = io.BytesIO()  # np.save to a file says nothing of a full disk
        np.save(content, _EMPTY if tile is None else tile)
        with atomic_path(self._file(index)) as partial:
            partial.write_bytes(content.getbuffer())

    def window(
        self, tiling: tuple[TileAxis, TileAxis], window: tuple[slice, slice], bands: int
    ) -> NDArray[np.float32]:
        """Blend the tiles of a part of the image.

        Args:
            tiling: Division of the rows and of the columns into tiles.
            window: Rows and columns of the image.
            bands: Of a tile.

        Returns:
            Shape (bands, rows, columns of the window); zeros where there is no tile.
        """
        image = np.zeros((bands, *(part.stop - part.start for part in window)), np.float32)
        down, across = (
            list(_overlapping(axis, part)) for axis, part in zip(tiling, window, strict=True)
        )
        for (row, from_rows, to_rows, high), (column, from_columns, to_columns, wide) in product(
            down, across
        ):
            tile = np.load(self._file((row, column)), mmap_mode="r")
            if tile.ndim == 3:
                piece = tile[:, from_rows, from_columns] * (high[:, None] * wide)
                image[:, to_rows, to_columns] += piece
        return image

    def remove_unused(self) -> None:
        """Delete the folder if no tile is finished."""
        if not any(self.folder.glob("*_*.npy")):
            self.remove()

    def remove(self) -> None:
        """Delete all tiles."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _overlapping(
    axis: TileAxis, part: slice
) -> Iterator[tuple[int, slice, slice, NDArray[np.float32]]]:
    """Tiles along an axis that count in a part of it: number, slice of the tile and of the part."""
    for number in range(len(axis.starts)):
        inside, there, weight = axis.weight(number)
        first, last = max(there.start, part.start), min(there.stop, part.stop)
        if first < last:
            within = slice(first - there.start, last - there.start)
            yield (
                number,
                slice(inside.start + within.start, inside.start + within.stop),
                slice(first - part.start, last - part.start),
                weight[within],
            )
