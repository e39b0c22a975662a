"""Cache training patches in one memory-mapped file, which gives the same numbers as their files.

A cache is ``<name>.npy``, one record per scene, and ``<name>.json``, which records what it was made
from. The latter is written last: a cache without it is incomplete. Where scenes differ in size, a
record has room for the largest, and images lie in its upper left corner.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, cast

import filelock
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from planetcr_bench.data.encodings import Scaling
from planetcr_bench.data.fingerprint import fingerprint_of, scene_digest, split_fingerprint
from planetcr_bench.data.patches import Grids, Patches, grids_of, record_dtype, record_of
from planetcr_bench.data.reading import read_rasters
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import BenchError, DatasetError
from planetcr_bench.utils.files import atomic_path, atomic_write
from planetcr_bench.utils.parallel import run_ordered, track
from planetcr_bench.utils.untrusted import check_regular, read_bytes

PACK_VERSION: Final = 1
"""Raised when the fields of a record or the meaning of their values change."""

_LARGEST_PACK: Final = 2**50
_LARGEST_CONTENTS: Final = 2**26

_CACHED_TOGETHER = 4  # scenes; three such batches per worker are in memory


@dataclass(frozen=True)
class CachedPatches(Patches):
    """Patches of a cache, mapped into memory when the first one is read; the numbers of the files.

    Only the path and the fingerprint are sent to other processes; each maps the file itself.

    Attributes:
        path: The ``.npy`` file.
        fingerprint: Of the scenes that the cache must contain.
    """

    path: Path
    fingerprint: str

    def __reduce__(self) -> tuple[type[CachedPatches], tuple[Path, str]]:
        return type(self), (self.path, self.fingerprint)

    def __len__(self) -> int:
        return len(self._opened[0])

    @property
    def names(self) -> list[str]:
        """Name of each scene."""
        return self._opened[1]

    def _records_with(self, index: int) -> tuple[NDArray[np.void], int]:
        return self._opened[0], index

    @property
    def grids(self) -> Sequence[Grids]:
        """Sizes of the images of each scene; one for all if they are equal."""
        return self._opened[3]

    @property
    def scaling(self) -> Scaling:
        """How the optical values of a record become reflectance."""
        return self._opened[2]

    @cached_property
    def _opened(self) -> tuple[NDArray[np.void], list[str], Scaling, Sequence[Grids]]:
        """Records, names, scaling and sizes; the contents are read after the file is mapped.

        So a cache that is replaced in between is refused: the new records are written only after
        the old contents are deleted.
        """
        records = _map(self.path)
        contents = _read_contents(self.path)
        made = (contents.get("version"), contents.get("fingerprint"))
        if made != (PACK_VERSION, self.fingerprint) or "scaling" not in contents:
            raise DatasetError(
                f"{self.path}: expected the cache of the scenes with fingerprint "
                f"{self.fingerprint[:12]}…, found another; it has been replaced, start again"
            )
        names = contents["names"]
        if len(names) != len(records):
            raise _damaged(self.path, f"{len(names)} records", str(len(records)))
        scale, offset, *limits = contents["scaling"]
        scaling = Scaling(scale, offset, (limits[0], limits[1]))
        return records, names, scaling, _grids_in(contents, records.dtype)


def build_cache(
    scenes: Sequence[SceneFiles],
    folder: Path,
    *,
    name: str,
    workers: int | None = None,
    quiet: bool = False,
) -> CachedPatches:
    """Open the cache of the scenes, and build it first if there is none of the same pixels.

    If several processes call this at once, one builds and the others wait. A killed process leaves
    the earlier cache or none, and the next call builds it.

    Args:
        scenes: What to cache, in the order of the indices.
        folder: Folder of the cache; created if needed.
        name: Name of the cache, such as ``train``; a cache of other scenes by that name is
        replaced.
        workers: See ``worker_count``.
        quiet: Show no progress.

    Raises:
        DatasetError: There is no scene, a file of a scene is invalid, or the cache is damaged.
        BenchError: The disk has not enough space, or the folder cannot be written to.
    """
    path = folder / f"{name}.npy"
    if not scenes:
        raise DatasetError(f"{path}: expected scenes to cache, got none")
    with _only_builder(path):
        described = scenes[0].description
        scaling = described.optical.scaling
        grids = grids_of(scenes)
        fingerprint = fingerprint_of(scenes, workers=workers, quiet=quiet)
        contents = {
            "version": PACK_VERSION,
            "fingerprint": fingerprint,
            "count": len(scenes),
            "names": [files.name for files in scenes],
            "scaling": [scaling.scale, scaling.offset, *scaling.limits],
            "sar": described.sar.model_dump_json() if described.sar else None,
            "land_cover": described.land_cover.model_dump_json() if described.land_cover else None,
        }
        if len(grids) > 1:
            contents["sizes"] = json.loads(json.dumps([each.sizes for each in grids]))
        if not path.exists() or _read_contents(path) != contents:
            dtype = record_dtype(described, Grids.largest(grids), _stored(scenes[0]))
            _build(scenes, path, contents, dtype, workers=workers, quiet=quiet)
        cache = CachedPatches(path, fingerprint)
        len(cache)  # a damaged cache is refused here, not in the middle of an epoch
    return cache


@contextmanager
def _only_builder(path: Path) -> Iterator[None]:
    """Wait for other processes; the lock of a killed one is released."""
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield
    finally:
        lock.release()


def _unwritable(path: Path, error: OSError) -> BenchError:
    return BenchError(
        f"{path}: cannot be written ({error.strerror or error}); choose another folder, or train "
        "without a cache: leave out --cache"
    )


def _build(
    scenes: Sequence[SceneFiles],
    path: Path,
    contents: dict[str, Any],
    dtype: np.dtype[np.void],
    *,
    workers: int | None,
    quiet: bool,
) -> None:
    """Write the records in one step, then the file that describes them."""
    try:
        with atomic_path(path) as unfinished:
            _check_room(path, len(scenes), dtype)
            make = partial(_cache_scene, dtype)
            cached = run_ordered(make, scenes, workers=workers, batch=_CACHED_TOGETHER)
            cached = track(cached, f"Cache {path.stem}", len(scenes), quiet=quiet)
            digests = _write_records(unfinished, cached, len(scenes), dtype)
            if split_fingerprint(digests) != contents["fingerprint"]:
                raise DatasetError(
                    f"{scenes[0].split_folder}: expected scenes that do not change, but pixels "
                    "changed while they were cached; run the same command again"
                )
            _contents_path(path).unlink(missing_ok=True)  # it describes the old records
        atomic_write(_contents_path(path), json.dumps(contents).encode())
    except OSError as error:
        raise _unwritable(path, error) from error


def _check_room(path: Path, count: int, dtype: np.dtype[np.void]) -> None:
    """Refuse a disk that is too small, before the work."""
    needed = count * dtype.itemsize
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise BenchError(
            f"{path}: expected {math.ceil(needed / 1e6):,} MB of free disk space for a cache of "
            f"{count} scenes, found {free // 10**6:,}; choose a folder on another disk, or train "
            "without a cache: leave out --cache"
        )


def _stored(files: SceneFiles) -> np.dtype[Any] | None:
    """Data type of the optical images of a scene; None if it is described."""
    described = files.description
    if len(described.dtypes("clear")) == 1:
        return None
    return record_of(read_rasters(files), described).dtype["clear"].base


def _cache_scene(
    dtype: np.dtype[np.void], files: SceneFiles
) -> tuple[str, bytes, NDArray[np.void]]:
    """Name, digest and record of a scene."""
    rasters = read_rasters(files)
    record = record_of(rasters, files.description)
    padded = np.zeros(1, dtype)
    for name in dtype.names or ():
        height, width = record.dtype[name].shape[-2:]
        place = padded[name][..., :height, :width]
        place[...] = record[name]
        if record.dtype[name].base != dtype[name].base and (place != record[name]).any():
            raise DatasetError(
                f"{files.path(name)}: expected {dtype[name].base} for a cache, as described or as "
                f"in the first scene, got {record.dtype[name].base}; train without a cache: leave "
                "out --cache"
            )
    return files.name, scene_digest(rasters), padded


def _grids_in(contents: Mapping[str, Any], record: np.dtype[np.void]) -> Sequence[Grids]:
    """Sizes of the images of a cache: those of its records, unless it says others."""
    if "sizes" in contents:
        return [Grids.of(sizes) for sizes in contents["sizes"]]
    return [Grids.of_arrays({name: record[name].shape for name in record.names or ()})]


def _write_records(
    path: Path,
    cached: Iterator[tuple[str, bytes, NDArray[np.void]]],
    count: int,
    dtype: np.dtype[np.void],
) -> list[tuple[str, bytes]]:
    """Write a ``.npy`` file record by record: unlike a memory map, this fails on a full disk."""
    digests = []
    header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)}
    with path.open("wb") as stream:
        npy.write_array_header_1_0(stream, header)
        for name, digest, record in cached:
            stream.write(record.data.cast("B"))
            digests.append((name, digest))
        stream.flush()
        os.fsync(stream.fileno())
    return digests


def _contents_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _read_contents(path: Path) -> dict[str, Any]:
    """Read the description of a cache; empty if the cache is incomplete."""
    description = _contents_path(path)
    if not os.path.lexists(description):
        return {}
    try:
        contents = json.loads(read_bytes(description, _LARGEST_CONTENTS, error=DatasetError))
    except (ValueError, RecursionError):
        return {}
    return contents if isinstance(contents, dict) else {}


def _map(path: Path) -> NDArray[np.void]:
    if not os.path.lexists(path):
        raise DatasetError(f"{path}: no such cache; start again to rebuild it")
    check_regular(path, _LARGEST_PACK, error=DatasetError)
    try:
        records = np.load(path, mmap_mode="r", allow_pickle=False)
        size = path.stat().st_size
    except Exception as error:  # its header is Python source, which can fail in any way
        raise _damaged(path, "a whole file", str(error)) from error
    if not isinstance(records, np.memmap) or not _is_record(records.dtype) or records.ndim != 1:
        raise _damaged(path, "records of scenes", "something else")
    expected = records.offset + records.nbytes
    if size != expected:
        raise _damaged(path, f"{expected} bytes", str(size))
    return cast("NDArray[np.void]", records.view(np.ndarray))


def _is_record(dtype: np.dtype[Any]) -> bool:
    """Whether a data type is one that ``patches.record_dtype`` gives, of whatever size."""
    kinds = {"sar": "<f4", "cloud_mask": "?", "land_cover": "u1"}
    names = dtype.names or ()
    if names[:2] != ("cloudy", "clear") or not kinds.keys() >= {*names[2:]}:
        return False
    stored = {name: dtype[name].base for name in names}
    others = all(stored[name] == np.dtype(kinds[name]) for name in names[2:])
    return stored["cloudy"] == stored["clear"] and others


def _damaged(path: Path, expected: str, got: str) -> DatasetError:
    return DatasetError(
        f"{path}: damaged cache: expected {expected}, got {got}; delete it and start again to "
        "rebuild it"
    )
