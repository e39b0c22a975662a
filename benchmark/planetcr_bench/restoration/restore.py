"""Remove the clouds of a scene with a network, in bounded memory."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import rasterio
from rasterio.errors import RasterioError

from planetcr_bench import __version__
from planetcr_bench.errors import UsageError
from planetcr_bench.restoration.agreement import Scores
from planetcr_bench.restoration.inputs import Network, RestoreSettings, SceneJob, open_scene
from planetcr_bench.restoration.output import explained
from planetcr_bench.restoration.rasters import SceneFileError
from planetcr_bench.restoration.running import TileBatch, tile_runner
from planetcr_bench.restoration.safe import files_of
from planetcr_bench.restoration.tiles import TileStore
from planetcr_bench.restoration.writing import JOB, draw_scene, write_scene
from planetcr_bench.utils.files import exclusive_lock
from planetcr_bench.utils.parallel import track
from planetcr_bench.utils.untrusted import printable

_RESUMED: Final = "the same command goes on from the tiles that are finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was written for a scene.

    Attributes:
        path: The restored image.
        quicklook: Picture of it beside the input.
        shares: Share of the pixels with data of each word of ``PROVENANCE`` but nodata.
        scores: Against the reference, by region; empty without one.
    """

    path: Path
    quicklook: Path
    shares: dict[str, float]
    scores: dict[str, Scores] = field(default_factory=dict)


def target_of(scene: Path, out: Path) -> Path:
    """The restored image of a scene."""
    return out / f"{scene.stem}_restored.tif"


def restore_scene(
    scene: Path,
    out: Path,
    network: Network,
    settings: RestoreSettings,
    *,
    say: Callable[[str], object] = lambda _: None,
) -> Restored:
    """Write ``<scene>_restored.tif`` and a quicklook; a stopped run is resumed.

    Memory is bounded by a batch of tiles and a window of the image, whatever its size. Finished
    tiles lie in a hidden folder beside the output until it is complete.

    Args:
        scene: GeoTIFF, see :func:`recognise`; or the folder of a Sentinel-2 product.
        out: Folder to write to.
        network: What removes the clouds.
        settings: How.
        say: Receives one line for each thing that was recognised.

    Raises:
        SceneFileError: The scene, or what belongs to it, cannot be used; the output exists, or
            cannot be written.
        UsageError: Options that contradict each other.
        BenchError: Workers of a cluster fail.
        ModelError: The network cannot take it.
    """
    if settings.paste_m is not None and settings.mask is None:
        raise UsageError("--paste: keeps what a mask calls clear; give --udm too")
    target = target_of(scene, out)
    if target.exists() and not settings.overwrite:
        raise SceneFileError(
            f"{printable(target)}: exists already; --overwrite replaces it, --out chooses another "
            "folder"
        )
    with ExitStack() as stack:
        job = open_scene(scene, network, settings, stack, say)
        out.mkdir(parents=True, exist_ok=True)
        stack.enter_context(_alone(target))
        stack.enter_context(explained(target, _RESUMED))
        store = TileStore(
            out / f".{target.stem}.unfinished", _tiles_identity(scene, network, settings)
        )
        stack.callback(store.remove_unused)
        _restore_tiles(scene, job, network, settings, store)
        unfinished = store.folder / target.name
        job_hash = _job_hash(scene, network, settings)
        shares, scores = write_scene(job, network, settings, store, unfinished, job_hash)
        quicklook = out / f"{scene.stem}_quicklook.png"
        draw_scene(job, unfinished, quicklook)
        if settings.stac:
            from planetcr_bench.restoration.stac import write_item

            write_item(unfinished, target, quicklook, scene)
        unfinished.replace(target)
        store.remove()
    return Restored(path=target, quicklook=quicklook, shares=shares, scores=scores)


def is_finished(scene: Path, out: Path, network: Network, settings: RestoreSettings) -> bool:
    """Whether the output of a scene is there, and from the same files and settings."""
    target = target_of(scene, out)
    try:
        with rasterio.open(target) as image:
            return bool(image.tags().get(JOB) == _job_hash(scene, network, settings))
    except (RasterioError, OSError):
        return False


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    lock = target.with_name(f".{target.stem}.lock")
    with exclusive_lock(lock, f"{printable(target)}: another process is writing it"):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _tiles_identity(scene: Path, network: Network, settings: RestoreSettings) -> dict[str, Any]:
    """All that determines the tiles; of large files their size and time of change."""
    files = {"scene": scene, "sar": settings.sar, "mask": settings.mask, "xml": settings.metadata}
    states = {
        name: [
            [str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns]
            for file in files_of(path)
        ]
        for name, path in files.items()
        if path is not None
    }
    return {
        "version": __version__, "files": states, "product": settings.product,
        "network": network.card.model_dump(), "tile": settings.tile, "overlap": settings.overlap,
        "precision": settings.precision,
    }  # fmt: skip


def _job_hash(scene: Path, network: Network, settings: RestoreSettings) -> str:
    """SHA-256 of all that determines the pixels of the output."""
    written = {"paste": settings.paste_m, "provenance": settings.provenance}
    identity = _tiles_identity(scene, network, settings) | written
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _restore_tiles(
    scene: Path, job: SceneJob, network: Network, settings: RestoreSettings, store: TileStore
) -> None:
    tiles = job.tiles()
    missing = [index for index in tiles if not store.has(index)]
    _expect_space(job, store.folder, len(missing))
    starts = range(0, len(missing), settings.batch)
    batches = [TileBatch(tuple(missing[start : start + settings.batch])) for start in starts]
    done = len(tiles) - len(missing)
    with tile_runner(scene, job, network, settings) as run:
        finished = (
            pair
            for batch, restored in zip(batches, run(batches), strict=True)
            for pair in zip(batch.indices, restored, strict=True)
        )
        for index, tile in track(
            finished, f"{scene.name}: tiles", len(tiles), done=done, quiet=settings.quiet
        ):
            store.put(index, tile)
    if not any(store.has_data(index) for index in tiles):
        store.remove()
        raise SceneFileError(f"{printable(job.raster.path)}: all its pixels are nodata")


def _expect_space(job: SceneJob, folder: Path, tiles: int) -> None:
    """Refuse to begin what the disk has no room for: tiles, and an image as large as its pixels."""
    grid = job.raster.grid
    needed = tiles * job.tile_bytes() + 4 * len(job.bands) * grid.height * grid.width
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SceneFileError(
            f"{printable(folder.parent)}: expected {needed / 1e9:.2g} GB of free space on its disk "
            f"for tiles and the image, found {free / 1e9:.2g} GB; {_RESUMED}"
        )
