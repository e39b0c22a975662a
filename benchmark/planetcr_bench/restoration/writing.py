"""Write a restored scene, its scores and its picture."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from planetcr_bench import __version__
from planetcr_bench.constants import DN_PER_REFLECTANCE
from planetcr_bench.data.scene import Image
from planetcr_bench.restoration.agreement import BORDER, Scores, measure_window, scores_of
from planetcr_bench.restoration.inputs import Network, RestoreSettings, SceneJob
from planetcr_bench.restoration.optical import OpticalScene
from planetcr_bench.restoration.output import NODATA, PROVENANCE, to_numbers, write_cog
from planetcr_bench.restoration.quicklook import shape_of, stretch_of, write_quicklook
from planetcr_bench.restoration.rasters import SceneFileError, open_raster
from planetcr_bench.restoration.tiles import TileStore
from planetcr_bench.utils.untrusted import printable

_STRIP: Final = 512
"""Rows that are written at a time."""

_WINDOW: Final = 1024
"""Side of the windows that are scored."""


def write_scene(
    job: SceneJob, network: Network, settings: RestoreSettings, store: TileStore, target: Path
) -> tuple[dict[str, float], dict[str, Scores]]:
    """Blend the tiles and write the image, and score it against the reference.

    Args:
        job: The scene.
        network: Named in the tags.
        settings: What is kept of the input.
        store: Tiles.
        target: The file; an existing one is replaced.

    Returns:
        Share of the pixels with data of each word of ``PROVENANCE`` but nodata; scores by region,
        none without a reference.

    Raises:
        SceneFileError: It cannot be written, or the reference does not fit.
    """
    counts = np.zeros(len(PROVENANCE), np.int64)
    sums = None

    def strips() -> Iterator[tuple[slice, NDArray[np.uint16]]]:
        for top in range(0, job.raster.grid.height, _STRIP):
            rows = slice(top, min(top + _STRIP, job.raster.grid.height))
            numbers, origin = _strip(job, settings, store, rows)
            counts[:] += np.bincount(origin.ravel(), minlength=len(PROVENANCE))
            if settings.provenance:
                numbers = np.concatenate([numbers, origin[None].astype(np.uint16)])
            yield rows, numbers

    bands = (*job.bands, *(["provenance"] if settings.provenance else []))
    tags = _tags(job, network, settings)
    needed = job.raster.grid.height * job.raster.grid.width * len(bands) * 4
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise SceneFileError(
            f"{printable(target)}: expected {needed / 1e9:.1f} GB of free space on its disk, found "
            f"{free / 1e9:.1f} GB; finished tiles are kept, so that the same command goes on"
        )
    write_cog(target, strips(), job.raster.grid, bands, tags, work=store.folder)
    scores: dict[str, Scores] = {}
    if job.reference is not None:
        sums = _agreement(job, settings, store, job.reference)
        scores = scores_of(sums, regions=job.mask is not None)
    with_data = max(int(counts[1:].sum()), 1)
    return {
        name: float(count / with_data)
        for name, count in zip(PROVENANCE[1:], counts[1:], strict=True)
    }, scores


def _strip(
    job: SceneJob, settings: RestoreSettings, store: TileStore, rows: slice
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Digital numbers of some rows, shape (bands, rows, width), and their provenance."""
    columns = slice(0, job.raster.grid.width)
    pixels = job.optical.read(rows, columns)
    restored = store.strip(job.rows, job.columns, rows, len(job.bands))
    origin = np.where(pixels.whole, np.uint8(2), np.uint8(3))
    if settings.paste_m is not None and job.mask is not None:
        weight = _kept(job, settings.paste_m, rows) * pixels.whole
        restored = weight * pixels.reflectance + (1 - weight) * restored
        origin[weight == 1] = 1
    origin[~pixels.valid] = 0
    return to_numbers(restored, pixels.valid), origin


def _kept(job: SceneJob, width_m: float, rows: slice) -> Image:
    """Weight of the input: 1 where the mask is clear all around, 0 where it is not clear."""
    assert job.mask is not None
    grid = job.raster.grid
    reach = max(width_m / grid.pixel_m, 1.0)
    margin = int(reach) + 1
    wide = slice(max(0, rows.start - margin), min(grid.height, rows.stop + margin))
    columns = slice(0, grid.width)
    clear = job.mask.clear(wide, columns) & job.optical.read(wide, columns).whole
    if clear.all():
        return np.ones((rows.stop - rows.start, grid.width), np.float32)
    distance = distance_transform_edt(clear)
    inner = distance[rows.start - wide.start : rows.stop - wide.start]
    return np.asarray(np.clip((inner - 1) / reach, 0, 1) * (inner > 0), np.float32)


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
    total: NDArray[np.float64] | None = None
    for top in range(0, grid.height, _WINDOW):
        rows, inner_rows = _with_margin(top, grid.height)
        numbers, _ = _strip(job, settings, store, rows)
        restored = numbers.astype(np.float32) / DN_PER_REFLECTANCE
        for left in range(0, grid.width, _WINDOW):
            columns, inner_columns = _with_margin(left, grid.width)
            mine, clear = job.optical.read(rows, columns), reference.read(rows, columns)
            sums = measure_window(
                np.stack([restored[:, :, columns], mine.reflectance]),
                clear.reflectance,
                mine.valid & clear.whole,
                None if job.mask is None else job.mask.cloudy(rows, columns),
                grid.pixel_m,
                job.bands,
                (inner_rows, inner_columns),
            )
            total = sums if total is None else total + sums
    assert total is not None
    if not total.sum():
        raise SceneFileError(
            f"{printable(reference.raster.path)}: expected a clear image that overlaps the scene, "
            "they have no pixel in common"
        )
    return total


def _with_margin(start: int, size: int) -> tuple[slice, slice]:
    """A window with its context, and its place in that."""
    stop = min(size, start + _WINDOW)
    wide = slice(max(0, start - _MARGIN), min(size, stop + _MARGIN))
    return wide, slice(start - wide.start, stop - wide.start)


_MARGIN: Final = max(BORDER, 32)
"""Pixels around a window that is scored: context of SSIM, and of the edge of clouds."""


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
    product = job.optical.product
    numbers = job.raster.overview(product.positions(shown, job.raster.path), height, width)
    scale = np.array([product.scale[product.bands.index(name)] for name in shown], np.float32)
    shifted = numbers.astype(np.float32) + np.float32(product.offset)
    before: Image = np.asarray(shifted * scale[:, None, None], np.float32)
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
