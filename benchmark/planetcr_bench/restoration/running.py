"""Restore the tiles of a scene, in this process or by the workers of a Dask cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, TypeAlias

import torch
from torch import Tensor

from planetcr_bench.data.scene import Image
from planetcr_bench.errors import BenchError
from planetcr_bench.networks.loading import InferenceSettings, is_user_file, user_function
from planetcr_bench.restoration.inputs import (
    Network,
    NetworkSource,
    RestoreSettings,
    SceneJob,
    open_scene,
)
from planetcr_bench.restoration.network import load_network
from planetcr_bench.utils.devices import choose_device
from planetcr_bench.utils.parallel import run_ordered
from planetcr_models.inference import InferencePrecision, read_tile, ready
from planetcr_models.weights.pretrained import is_pretrained

Index: TypeAlias = tuple[int, int]
"""Row and column of a tile."""


@dataclass(frozen=True, slots=True)
class TileBatch:
    """Tiles that a network gets at a time.

    Attributes:
        indices: Their rows and columns.
    """

    indices: tuple[Index, ...]

    @property
    def name(self) -> str:
        """Of its first tile, for messages."""
        row, column = self.indices[0]
        return f"tile {row}, {column}"


Runner: TypeAlias = Callable[[Sequence[TileBatch]], Iterator[list[Image | None]]]
"""Restores batches in order: of each tile what the network returned, shape (bands, side, side);
None for a tile without a valid pixel."""


@contextmanager
def tile_runner(
    scene: Path, job: SceneJob, network: Network, settings: RestoreSettings
) -> Iterator[Runner]:
    """Provide what restores tiles, within a ``with`` block.

    Args:
        scene: The image, which workers of a cluster open themselves.
        job: The same, opened.
        network: What removes the clouds.
        settings: How, and on which cluster.

    Yields:
        See :data:`Runner`. It raises SceneFileError if a file cannot be read, BenchError if workers
        fail or lack what they need, ModelError if the network cannot take a tile.
    """
    if settings.cluster is not None:
        work = _work(scene, network, settings)
        yield partial(run_ordered, work, workers=settings.cluster, folders=work.folders(), batch=1)
        return
    with ready(network.model, settings.device, settings.precision) as run:
        yield partial(map, partial(_restore, job, run))


def _restore(job: SceneJob, run: Callable[..., Tensor], batch: TileBatch) -> list[Image | None]:
    found = [index for index in batch.indices if _has_data(job, index)]
    if not found:
        return [None] * len(batch.indices)
    images, radar = (
        torch.stack([read_tile(who, source, job.rows, job.columns, index) for index in found])
        for who, source in (("cloudy", job.optical), ("sar", job.sar))
    )
    restored = dict(zip(found, run(images, radar).float().cpu().numpy(), strict=True))
    return [restored.get(index) for index in batch.indices]


def _has_data(job: SceneJob, index: Index) -> bool:
    parts = [axis.pixels(at) for axis, at in zip((job.rows, job.columns), index, strict=True)]
    rows, columns = (slice(int(part.min()), int(part.max()) + 1) for part in parts)
    return bool(job.optical.read(rows, columns).valid.any())


# --- In a worker ----------------------------------------------------------------------------------

_ONE_AT_A_TIME: Final = threading.Lock()
"""Threads of a worker share one network, whose mode a run changes."""


@dataclass(frozen=True, slots=True)
class _Work:
    """Restores batches of tiles of a scene, wherever it is called.

    Attributes:
        scene: The image.
        source: Where the network comes from.
        card: What it must be there.
        settings: How it is used.
    """

    scene: Path
    source: NetworkSource
    card: str
    settings: RestoreSettings

    def folders(self) -> list[Path]:
        """Folders that workers must see."""
        settings = self.settings
        given = (self.scene, settings.sar, settings.mask, settings.metadata)
        files = [path for path in given if path is not None] + _files(self.source)
        return sorted({path.parent for path in files})

    def __call__(self, batch: TileBatch) -> list[Image | None]:
        with _ONE_AT_A_TIME, ExitStack() as stack:
            device = choose_device(self.settings.device)
            network = _loaded(self.source, self.card, device, self.settings.precision)
            job = open_scene(self.scene, network, self.settings, stack, lambda _: None)
            with ready(network.model, device, self.settings.precision) as run:
                return _restore(job, run, batch)


def _work(scene: Path, network: Network, settings: RestoreSettings) -> _Work:
    """The work with paths that mean the same to all workers."""
    assert network.source is not None
    sar, mask, metadata = (
        path and path.absolute() for path in (settings.sar, settings.mask, settings.metadata)
    )
    method, weights = network.source.method, network.source.weights
    if is_user_file(method):
        file, function = user_function(method)
        method = f"{file.absolute()}:{function}"
    if weights is not None and _is_file(weights):
        weights = str(Path(weights).absolute())
    return _Work(
        scene.absolute(),
        NetworkSource(method, weights, network.source.options),
        network.card.model_dump_json(),
        replace(settings, sar=sar, mask=mask, metadata=metadata, reference=None, cluster=None),
    )


def _files(source: NetworkSource) -> list[Path]:
    code = [user_function(source.method)[0]] if is_user_file(source.method) else []
    return code + ([Path(source.weights)] if source.weights and _is_file(source.weights) else [])


def _is_file(weights: str) -> bool:
    """Whether weights are a file or folder, and not of the package or the Hub."""
    return not is_pretrained(weights) and Path(weights).exists()


@lru_cache(maxsize=1)
def _loaded(
    source: NetworkSource, card: str, device: str, precision: InferencePrecision
) -> Network:
    """The network of a worker, which stays loaded from one batch to the next."""
    network = load_network(
        source.method, source.weights, options=source.options, has_sar=True,
        settings=InferenceSettings(device=device, precision=precision),
    )  # fmt: skip
    if network.card.model_dump_json() != card:
        raise BenchError(
            f"{source.weights or source.method}: expected the weights and code that the command "
            "has, got others; workers need the same file under the same path"
        )
    return network
