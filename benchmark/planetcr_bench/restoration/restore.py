"""Remove the clouds of a scene with a network, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from planetcr_bench import __version__
from planetcr_bench.errors import UsageError
from planetcr_bench.restoration.agreement import Scores
from planetcr_bench.restoration.inputs import Network, RestoreSettings, SceneJob, open_scene
from planetcr_bench.restoration.rasters import SceneFileError
from planetcr_bench.restoration.tiles import TileStore
from planetcr_bench.restoration.writing import draw_scene, write_scene
from planetcr_bench.utils.files import exclusive_lock
from planetcr_bench.utils.parallel import track
from planetcr_bench.utils.untrusted import printable
from planetcr_models.inference import read_tile, ready


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


def restore_scene(
    scene: Path,
    out: Path,
    network: Network,
    settings: RestoreSettings,
    *,
    say: Callable[[str], object] = lambda _: None,
) -> Restored:
    """Write ``<scene>_restored.tif`` and a quicklook; a stopped run is resumed.

    Memory is bounded by a batch of tiles and a strip of the image, whatever its size. Finished
    tiles lie in a hidden folder beside the output until it is complete.

    Args:
        scene: GeoTIFF; see :func:`recognise`.
        out: Folder to write to.
        network: What removes the clouds.
        settings: How.
        say: Receives one line for each thing that was recognised.

    Raises:
        SceneFileError: The scene, or what belongs to it, cannot be used; the output exists.
        UsageError: Options that contradict each other.
        ModelError: The network cannot take it.
    """
    if settings.paste_m is not None and settings.mask is None:
        raise UsageError("--paste: keeps what a mask calls clear; give --udm too")
    target = out / f"{scene.stem}_restored.tif"
    if target.exists() and not settings.overwrite:
        raise SceneFileError(
            f"{printable(target)}: exists already; --overwrite replaces it, --out chooses another "
            "folder"
        )
    out.mkdir(parents=True, exist_ok=True)
    work = out / f".{target.stem}.unfinished"
    refusal = f"{printable(target)}: another process is writing it"
    with ExitStack() as stack:
        job = open_scene(scene, network, settings, stack, say)
        stack.enter_context(exclusive_lock(out / f".{target.stem}.lock", refusal))
        store = TileStore(work, _identity(scene, network, settings))
        _restore_tiles(job, network, settings, store)
        shares, scores = write_scene(job, network, settings, store, target)
        quicklook = out / f"{scene.stem}_quicklook.png"
        draw_scene(job, target, quicklook)
        if settings.stac:
            from planetcr_bench.restoration.stac import write_item

            write_item(target, quicklook, scene)
        store.remove()
    (out / f".{target.stem}.lock").unlink(missing_ok=True)
    return Restored(path=target, quicklook=quicklook, shares=shares, scores=scores)


def _identity(scene: Path, network: Network, settings: RestoreSettings) -> dict[str, Any]:
    """All that determines the tiles; of large files their size and time of change."""
    files = {"scene": scene, "sar": settings.sar, "mask": settings.mask, "xml": settings.metadata}
    states = {
        name: [str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns]
        for name, path in files.items()
        if path is not None
    }
    return {
        "version": __version__, "files": states, "product": settings.product,
        "network": network.card.model_dump(), "tile": settings.tile, "overlap": settings.overlap,
        "precision": settings.precision,
    }  # fmt: skip


def _restore_tiles(
    job: SceneJob, network: Network, settings: RestoreSettings, store: TileStore
) -> None:
    tiles = job.tiles()
    missing = [index for index in tiles if not store.has(index)]
    done = len(tiles) - len(missing)
    steps = _steps(job, network, settings, store, missing)
    found = any(list(track(steps, "restoring tiles", len(tiles), done=done, quiet=settings.quiet)))
    if not found and not any(store.has_data(index) for index in tiles):
        store.remove()
        raise SceneFileError(f"{printable(job.raster.path)}: all its pixels are nodata")


def _steps(
    job: SceneJob,
    network: Network,
    settings: RestoreSettings,
    store: TileStore,
    missing: Sequence[tuple[int, int]],
) -> Iterator[bool]:
    """Restore tiles; says of each whether it has data."""
    with ready(network.model, settings.device, settings.precision) as run:
        waiting: list[tuple[int, int]] = []
        for index in missing:
            if _has_data(job, index):
                waiting.append(index)
            else:
                store.put(index, None)
                yield False
            if len(waiting) == settings.batch or (waiting and index == missing[-1]):
                images, radar = (
                    torch.stack(
                        [read_tile(who, source, job.rows, job.columns, each) for each in waiting]
                    )
                    for who, source in (("cloudy", job.optical), ("sar", job.sar))
                )
                restored = run(images, radar).float().cpu().numpy()
                for each, tile in zip(waiting, restored, strict=True):
                    store.put(each, tile)
                    yield True
                waiting = []


def _has_data(job: SceneJob, index: tuple[int, int]) -> bool:
    parts = [axis.pixels(at) for axis, at in zip((job.rows, job.columns), index, strict=True)]
    rows, columns = (slice(int(part.min()), int(part.max()) + 1) for part in parts)
    return bool(job.optical.read(rows, columns).valid.any())
