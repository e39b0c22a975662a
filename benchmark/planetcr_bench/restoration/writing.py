"""Write a restored scene, its scores and its picture."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from planetcr_bench import __version__
from planetcr_bench.constants import DN_PER_REFLECTANCE, EDGE_M
from planetcr_bench.data.scene import Image
from planetcr_bench.restoration.agreement import BORDER, Scores, measure_window, scores_of
from planetcr_bench.restoration.inputs import Network, RestoreSettings, SceneJob
from planetcr_bench.restoration.masks import CloudMask
from planetcr_bench.restoration.optical import OpticalScene
from planetcr_bench.restoration.output import NODATA, PROVENANCE, to_numbers, write_cog
from planetcr_bench.restoration.quicklook import shape_of, stretch_of, write_quicklook
from planetcr_bench.restoration.rasters import SceneFileError, open_raster
from planetcr_bench.restoration.tiles import TileStore
from planetcr_bench.utils.parallel import track
from planetcr_bench.utils.untrusted import printable

_HIGH: Final = 512
_WIDE: Final = 2048
"""Rows and columns that are written at a time: whole blocks of the file."""

_WINDOW: Final = 1024
"""Side of the windows that are scored."""

JOB: Final = "JOB_SHA256"
"""Tag by which a finished output is recognised."""

_Window = tuple[slice, slice]


def write_scene(
    job: SceneJob,
    network: Network,
    settings: RestoreSettings,
    store: TileStore,
    path: Path,
    job_hash: str,
) -> tuple[dict[str, float], dict[str, Scores]]:
    """Blend the tiles and write the image, and score it against the reference.

    Args:
        job: The scene.
        network: Named in the tags.
        settings: What is kept of the input.
        store: Tiles.
        path: The file; an existing one is replaced.
        job_hash: Of all that determines its pixels, for the tags.

    Returns:
        Share of the pixels with data of each word of ``PROVENANCE`` but nodata; scores by region,
        none without a reference.

    Raises:
        OSError: It cannot be written.
        SceneFileError: The scene cannot be read, or the reference does not fit.
    """
    grid = job.raster.grid
    counts = np.zeros(len(PROVENANCE), np.int64)

    def parts() -> Iterator[tuple[_Window, NDArray[np.uint16]]]:
        windows = list(product(_steps(grid.height, _HIGH), _steps(grid.width, _WIDE)))
        for window in track(iter(windows), "writing", len(windows), quiet=settings.quiet):
            numbers, origin = _restored(job, settings, store, window)
            counts[:] += np.bincount(origin.ravel(), minlength=len(PROVENANCE))
            if settings.provenance:
                numbers = np.concatenate([numbers, origin[None].astype(np.uint16)])
            yield window, numbers

    bands = (*job.bands, *(["provenance"] if settings.provenance else []))
    tags = _tags(job, network, settings) | {JOB: job_hash}
    write_cog(path, parts(), grid, bands, tags)
    scores: dict[str, Scores] = {}
    if job.reference is not None:
        sums = _agreement(job, settings, store, job.reference)
        scores = scores_of(sums, regions=job.mask is not None)
    with_data = max(int(counts[1:].sum()), 1)
    return {
        name: float(count / with_data)
        for name, count in zip(PROVENANCE[1:], counts[1:], strict=True)
    }, scores


def _steps(size: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


def _restored(
    job: SceneJob, settings: RestoreSettings, store: TileStore, window: _Window
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Digital numbers of a window, shape (bands, rows, columns), and their provenance."""
    pixels = job.optical.read(*window)
    restored = store.window((job.rows, job.columns), window, len(job.bands))
    origin = np.where(pixels.whole, np.uint8(2), np.uint8(3))
    if settings.paste_m is not None and job.mask is not None:
        weight = _kept(job, job.mask, settings.paste_m, window) * pixels.whole
        restored = weight * pixels.reflectance + (1 - weight) * restored
        origin[weight == 1] = 1
    origin[~pixels.valid] = 0
    return to_numbers(restored, pixels.valid), origin


def _kept(job: SceneJob, mask: CloudMask, width_m: float, window: _Window) -> Image:
    """Weight of the input: 1 where the mask is clear all around, 0 where it is not clear."""
    grid = job.raster.grid
    reach = max(width_m / grid.pixel_m, 1.0)
    (rows, inner_rows), (columns, inner_columns) = (
        _wider(part, size, int(reach) + 1)
        for part, size in zip(window, (grid.height, grid.width), strict=True)
    )
    clear = mask.clear(rows, columns) & job.optical.read(rows, columns).whole
    if clear.all():
        return np.ones([part.stop - part.start for part in window], np.float32)
    inner = distance_transform_edt(clear)[inner_rows, inner_columns]
    return np.asarray(np.clip((inner - 1) / reach, 0, 1) * (inner > 0), np.float32)


def _wider(part: slice, size: int, margin: int) -> tuple[slice, slice]:
    """A part of an axis with a margin, and its place in that."""
    wide = slice(max(0, part.start - margin), min(size, part.stop + margin))
    return wide, slice(part.start - wide.start, part.stop - wide.start)


def _tags(job: SceneJob, network: Network, settings: RestoreSettings) -> dict[str, str]:
    card = network.card
    tags = {
        "SOFTWARE": f"planetcr-bench {__version__}",
        "SOURCE": job.raster.path.name,
        "SOURCE_PRODUCT": str(job.optical.product),
        "NETWORK": card.method or "",
        "NETWORK_OPTIONS": card.options or "",
        "WEIGHTS": card.pretrained or "",
        "WEIGHTS_SHA256": card.weights or "",
        "SAR": settings.sar.name if settings.sar and network.uses_sar else "none",
        "MASK": settings.mask.name if settings.mask else "none",
        "PASTE": "none"
        if settings.paste_m is None
        else f"pixels that the mask calls clear are kept, blended over {settings.paste_m:g} m",
        "COMMAND": settings.command,
        "PROCESSED": datetime.now(UTC).isoformat(timespec="seconds"),
        "UNITS": "reflectance × 10000",
    }
    if settings.provenance:
        values = ", ".join(f"{number} {name}" for number, name in enumerate(PROVENANCE))
        tags["PROVENANCE"] = values
    if "TIFFTAG_DATETIME" in job.raster.tags:
        tags["TIFFTAG_DATETIME"] = job.raster.tags["TIFFTAG_DATETIME"]
    return {name: value for name, value in tags.items() if value}


def _agreement(
    job: SceneJob, settings: RestoreSettings, store: TileStore, reference: OpticalScene
) -> NDArray[np.float64]:
    """Sums of the ledger over all pixels that the scene and the reference have."""
    grid = job.raster.grid
    margin = max(
        BORDER, round(EDGE_M / grid.pixel_m) + 1
    )  # context of SSIM, and of edges of clouds
    total: NDArray[np.float64] | None = None
    windows = list(product(_steps(grid.height, _WINDOW), _steps(grid.width, _WINDOW)))
    for window in track(iter(windows), "scoring", len(windows), quiet=settings.quiet):
        (rows, inner_rows), (columns, inner_columns) = (
            _wider(part, size, margin)
            for part, size in zip(window, (grid.height, grid.width), strict=True)
        )
        numbers, _ = _restored(job, settings, store, (rows, columns))
        mine, clear = job.optical.read(rows, columns), reference.read(rows, columns)
        sums = measure_window(
            np.stack([numbers.astype(np.float32) / DN_PER_REFLECTANCE, mine.reflectance]),
            clear.reflectance,
            mine.valid & clear.whole,
            None if job.mask is None else job.mask.cloudy(rows, columns),
            grid.pixel_m,
            job.bands,
            (inner_rows, inner_columns),
        )
        total = sums if total is None else total + sums
    if total is None or not total.sum():
        raise SceneFileError(
            f"{printable(reference.raster.path)}: expected a clear image that overlaps the scene, "
            "they have no pixel in common"
        )
    return total


def draw_scene(job: SceneJob, target: Path, path: Path) -> None:
    """Draw the input and the restored image side by side, in one stretch.

    It is that of the input's clear pixels; without a mask that of the restored image, wide enough
    for three quarters of the input.

    Args:
        job: The scene.
        target: The restored image.
        path: PNG file; an existing one is replaced.
    """
    grid = job.raster.grid
    height, width = shape_of(grid.height, grid.width)
    names = [name for name in ("red", "green", "blue") if name in job.bands]
    shown = names if len(names) == 3 else list(job.bands[:3])
    before = job.optical.overview(shown, height, width)
    with open_raster(target) as restored:
        after = restored.overview([job.bands.index(name) + 1 for name in shown], height, width)
    valid: NDArray[np.bool_] = (after != NODATA).all(0)
    restored_image: Image = after.astype(np.float32) / np.float32(DN_PER_REFLECTANCE)
    stretch = np.fmax(
        stretch_of(restored_image, valid), stretch_of(before, valid, percent=75), dtype=np.float32
    )
    if job.mask is not None:
        rows = (np.arange(height) * grid.height) // height
        columns = (np.arange(width) * grid.width) // width
        sampled = np.stack([job.mask.clear(slice(row, row + 1), slice(0, grid.width))[0, columns]
                            for row in rows.tolist()])  # fmt: skip
        stretch = stretch_of(before, valid & sampled)
    write_quicklook(
        path,
        {"input": (before, valid), "restored": (restored_image, valid)},
        stretch,
    )
