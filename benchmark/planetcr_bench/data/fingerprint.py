"""Compute the fingerprint of a split and cache it until a file changes."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import PRODUCTS
from planetcr_bench.data.pixel_checks import too_dark
from planetcr_bench.data.reading import Raster, empty_pixels, read_product
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import BenchWarning, DatasetError
from planetcr_bench.utils.files import cache_folder, cache_write
from planetcr_bench.utils.parallel import Workers, run_ordered, track

SHOWN: Final = 3
"""Number of scenes that a warning names."""


@dataclass(frozen=True, slots=True)
class _Decoded:
    """Result of decoding a scene: its name, digest, largest value and number of nodata pixels."""

    name: str
    digest: bytes
    largest: float
    empty: int


def _decode(files: SceneFiles) -> _Decoded:
    rasters = {product: read_product(files, product) for product in files.description.products}
    optical = rasters["clear"], rasters["cloudy"]
    return _Decoded(
        files.name,
        scene_digest(rasters),
        max(float(raster.pixels.max()) for raster in optical) + files.description.optical.offset,
        sum(empty_pixels(raster) for raster in optical),
    )


def fingerprint_of(
    scenes: Sequence[SceneFiles], *, workers: Workers = None, quiet: bool = False
) -> str:
    """Compute the fingerprint of a split over decoded pixels, whatever the compression.

    Masks from elsewhere do not count: they have a digest of their own, ``masks.masks_digest``.

    The result is cached in the user's cache folder, keyed by the names, sizes and times of the
    files, so only the first call on a dataset decodes it.

    Args:
        scenes: All scenes of the split.
        workers: See ``Workers``.
        quiet: Show no progress.

    Returns:
        64 hexadecimal digits.

    Raises:
        DatasetError: See :func:`read_product`; or all images are too dark to be in DN.

    Warns:
        BenchWarning: Images have pixels of their nodata value 0, which are read as reflectance 0.
    """
    scenes = [files.own for files in scenes]
    cache_file = _cache_file(scenes)
    known = _known_fingerprint(cache_file)
    if known is None:
        folders = {files.split_folder for files in scenes}
        decoded = run_ordered(_decode, scenes, workers=workers, folders=folders)
        known = _summary(
            list(track(decoded, "Fingerprint of the dataset", len(scenes), quiet=quiet)), scenes
        )
        cache_write(cache_file, json.dumps(known).encode())
    if known["note"]:
        warnings.warn(known["note"], BenchWarning, stacklevel=2)
    return known["fingerprint"]


def _summary(decoded: Sequence[_Decoded], scenes: Sequence[SceneFiles]) -> dict[str, str]:
    """Fingerprint and warning of decoded scenes, as they are cached."""
    where = scenes[0].split_folder if scenes else ""
    if scenes:
        fault = too_dark([scene.largest for scene in decoded], scenes[0].description.optical.scale)
        if fault:
            raise DatasetError(f"{where}: {fault}")
    empty = [scene for scene in decoded if scene.empty]
    note = ""
    if empty:
        shown = ", ".join(f"{scene.name} ({scene.empty})" for scene in empty[:SHOWN])
        more = f" and {len(empty) - SHOWN} more" if len(empty) > SHOWN else ""
        note = (
            f"{where}: images of {len(empty)} of {len(decoded)} scenes have pixels with "
            f"nodata 0, which are read as reflectance 0, as by the authors' loader: {shown}"
            f"{more}"
        )
    return {
        "fingerprint": split_fingerprint((scene.name, scene.digest) for scene in decoded),
        "note": note,
    }


def _cache_file(scenes: Sequence[SceneFiles]) -> Path:
    """Cache file of a fingerprint, named after the state of all files of the scenes."""
    state = hashlib.sha256()
    if scenes:
        state.update(scenes[0].description.text.encode())
    for path in _paths(scenes):
        status = path.stat()
        state.update(
            f"{path} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n".encode()
        )
    return cache_folder("fingerprints") / f"{state.hexdigest()}.json"


def _paths(scenes: Sequence[SceneFiles]) -> Iterator[Path]:
    """All files of the scenes."""
    for files in scenes:
        for product in files.description.products:
            for date in files.paths(product):
                yield from (path.resolve() for path in date)


def _known_fingerprint(cache_file: Path) -> dict[str, str] | None:
    try:
        known = json.loads(cache_file.read_text())
        fingerprint, note = known["fingerprint"], known["note"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing, or written by an earlier version, which checked less
    valid = isinstance(fingerprint, str) and len(fingerprint) == 64 and isinstance(note, str)
    return {"fingerprint": fingerprint, "note": note} if valid else None


def pixel_digest(pixels: NDArray[Any]) -> bytes:
    """SHA-256 of decoded pixels with their dtype and shape, the same for any compression."""
    little = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{little.dtype.str} {little.shape} ".encode())
    digest.update(little.data)
    return digest.digest()


def scene_digest(rasters: dict[str, Raster]) -> bytes:
    """SHA-256 over the pixel digests of a scene's products, in the order of ``PRODUCTS``."""
    return hashlib.sha256(
        b"".join(pixel_digest(rasters[name].pixels) for name in PRODUCTS if name in rasters)
    ).digest()


def split_fingerprint(digests: Iterable[tuple[str, bytes]]) -> str:
    """Fingerprint of a split from (scene name, scene digest) pairs in any order."""
    return _fingerprint(f"{name} {digest.hex()}" for name, digest in digests)


def dataset_fingerprint(splits: dict[str, str]) -> str:
    """Fingerprint of a dataset from the fingerprints of its splits."""
    return _fingerprint(f"{split} {fingerprint}" for split, fingerprint in splits.items())


def _fingerprint(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
