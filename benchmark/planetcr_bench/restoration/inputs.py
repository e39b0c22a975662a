"""Open a scene and what belongs to it, and divide it into tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from torch import nn

from planetcr_bench.data.scene import Image
from planetcr_bench.predictions.card import Card
from planetcr_bench.restoration.masks import CloudMask
from planetcr_bench.restoration.optical import OpticalScene
from planetcr_bench.restoration.products import ProductName, recognise
from planetcr_bench.restoration.rasters import Raster, SceneFileError, open_raster
from planetcr_bench.restoration.safe import open_optical
from planetcr_bench.restoration.sar import SarScene
from planetcr_bench.utils.untrusted import printable
from planetcr_models.inference import OVERLAP, TILE, InferencePrecision, Sliceable, TileAxis

_SENTINEL_1_M: Final = 10.0
"""Size of a pixel of Sentinel-1 in metres, on whose grid networks are shown SAR."""

_SAMPLE: Final = 256
"""Rows and columns in which the scale of a scene is looked at."""

_BRIGHTEST: Final = 2.0
"""Median reflectance that no scene has, even of clouds alone."""

_CACHE: Final = 512 << 20
"""Bytes of blocks of images that GDAL keeps; by default it takes a twentieth of all memory."""


@dataclass(frozen=True, slots=True)
class NetworkSource:
    """What a network is loaded from, again in each worker of a cluster.

    Attributes:
        method: Of the package, or a user's file and function.
        weights: A name, a file or folder, or an address on the Hub.
        options: ``key=value`` each.
    """

    method: str
    weights: str | None
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What removes the clouds.

    Attributes:
        model: Of ``open_network``.
        card: What it is.
        bands: Names of the bands that it takes.
        pixel_m: Size of the pixels that it was trained on, in metres.
        uses_sar: Whether it looks at SAR.
        source: What it was loaded from; None if it cannot be loaded again.
    """

    model: nn.Module
    card: Card
    bands: tuple[str, ...]
    pixel_m: float
    uses_sar: bool
    source: NetworkSource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreSettings:
    """How scenes are read and written.

    Attributes:
        product: What the scenes and the reference are; None where their names say it.
        metadata: Planet's metadata of radiance; by default the file beside the scene.
        sar: Sentinel-1 image.
        mask: Usable data mask of the scene.
        paste_m: Width in metres over which pixels that the mask calls clear are blended in; None to
            keep none of them.
        provenance: Whether a band says where each pixel comes from.
        reference: Clear image of the same place, to score the result.
        tile: Side of tiles in pixels.
        overlap: Minimum overlap of tiles in pixels.
        batch: Tiles at a time.
        device: As torch names it.
        precision: Of the network.
        stac: Whether a STAC item is written.
        overwrite: Whether existing outputs are replaced.
        cluster: Address of a Dask scheduler whose workers restore the tiles; None for none.
        command: Written into the tags.
        quiet: Show no progress.
    """

    product: ProductName | None = None
    metadata: Path | None = None
    sar: Path | None = None
    mask: Path | None = None
    paste_m: float | None = None
    provenance: bool = False
    reference: Path | None = None
    tile: int = TILE
    overlap: int | None = None
    batch: int = 1
    device: str = "cpu"
    precision: InferencePrecision = "32"
    stac: bool = False
    overwrite: bool = False
    cluster: str | None = None
    command: str = ""
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneJob:
    """A scene that is open for reading, and its tiles.

    Attributes:
        raster: The image.
        optical: Its bands that the network takes.
        sar: On a grid of 10 m over the extent of the scene; zeros for a network without SAR.
        mask: Of the scene, or None.
        reference: Clear image on the grid of the scene, or None.
        bands: Names of the bands.
        rows: Division of the rows into tiles.
        columns: Division of the columns into tiles.
    """

    raster: Raster
    optical: OpticalScene
    sar: Sliceable
    mask: CloudMask | None
    reference: OpticalScene | None
    bands: tuple[str, ...]
    rows: TileAxis
    columns: TileAxis

    def tiles(self) -> list[tuple[int, int]]:
        """Row and column of every tile."""
        return list(product(range(len(self.rows.starts)), range(len(self.columns.starts))))

    def tile_bytes(self) -> int:
        """Bytes of a tile as it is kept."""
        return 4 * len(self.bands) * self.rows.side * self.columns.side


class _NoSar:
    """SAR of a network that looks at none: zeros."""

    def __init__(self, height: int, width: int) -> None:
        self.shape = (2, height, width)

    def __getitem__(self, index: Any) -> Image:
        _, rows, columns = index
        return np.zeros((2, rows.stop - rows.start, columns.stop - columns.start), np.float32)


def open_scene(
    scene: Path,
    network: Network,
    settings: RestoreSettings,
    stack: ExitStack,
    say: Callable[[str], object],
) -> SceneJob:
    """Open a scene, its mask, SAR and reference.

    Args:
        scene: The image.
        network: Says which bands are read, and whether SAR is.
        settings: Name the other files.
        stack: Closes them.
        say: Receives one line for each thing that was recognised.

    Raises:
        SceneFileError: One of them cannot be used.
        ModelError: Tiles that are not larger than their overlap.
    """
    stack.enter_context(rasterio.Env(GDAL_CACHEMAX=_CACHE))
    raster = stack.enter_context(open_optical(scene))
    grid = raster.grid
    image = recognise(raster, product=settings.product, metadata=settings.metadata)
    level = raster.tags.get("PROCESSING_LEVEL")
    say(f"{scene.name}: {image}{f', {level}' if level else ''}; {grid.width} × {grid.height} "
        f"pixels of {grid.pixel_m:.3g} m")  # fmt: skip
    if image.name in ("planet-radiance", "planet-toa"):
        say("  turned into reflectance at the top of the atmosphere; networks learned from surface "
            "reflectance, so expect worse results than from that")  # fmt: skip
    if not 0.7 < grid.pixel_m / network.pixel_m < 1.4:
        say(f"  warning: the network was trained on pixels of {network.pixel_m:g} m")
    mask = None
    if settings.mask is not None:
        mask = CloudMask(stack.enter_context(open_raster(settings.mask)), grid)
        say(f"  mask: {mask.name}")
    optical = OpticalScene(raster, image, network.bands, mask)
    _expect_reflectance(optical, network.bands)
    sar: Sliceable = _NoSar(grid.height, grid.width)
    if network.uses_sar:
        assert settings.sar is not None
        native = [round(side * grid.pixel_m / _SENTINEL_1_M) for side in (grid.height, grid.width)]
        like = grid.resampled(max(native[0], 1), max(native[1], 1))
        radar = SarScene(stack.enter_context(open_raster(settings.sar, like=like, by="bilinear")))
        beyond = "" if radar.covered > 0.99 else "; elsewhere its nearest values are shown"
        say(f"  SAR: {radar.unit}, covers {100 * radar.covered:.0f} % of the scene{beyond}")
        sar = radar
    reference = None
    if settings.reference is not None:
        clear = stack.enter_context(open_optical(settings.reference, like=grid))
        same = recognise(clear, product=settings.product)
        reference = OpticalScene(clear, same, network.bands)
        _expect_reflectance(reference, network.bands)
    multiple = int(getattr(network.model, "multiple", 1))
    overlap = min(OVERLAP, settings.tile // 4) if settings.overlap is None else settings.overlap
    margin = overlap * 3 // 8  # what is left out of tiles where they overlap
    rows, columns = (
        TileAxis.of(side, settings.tile, overlap, multiple, margin=margin)
        for side in (grid.height, grid.width)
    )
    return SceneJob(
        raster=raster, optical=optical, sar=sar, mask=mask, reference=reference,
        bands=network.bands, rows=rows, columns=columns,
    )  # fmt: skip


def _expect_reflectance(optical: OpticalScene, bands: Sequence[str]) -> None:
    """Refuse numbers of another scale, which clipping would turn into white.

    Raises:
        SceneFileError: The typical pixel is far brighter than any land or cloud.
    """
    grid = optical.raster.grid
    sample = optical.overview(bands, min(grid.height, _SAMPLE), min(grid.width, _SAMPLE))
    typical = np.median(sample[sample > 0]) if (sample > 0).any() else 0.0
    if typical > _BRIGHTEST:
        raise SceneFileError(
            f"{printable(optical.raster.path)}: expected reflectance, about 0 to 1 when scaled, "
            f"got {typical:.3g} (median); floats count as they are, integers × "
            f"{optical.product.scale[0]:g}; `gdal_translate -a_scale` writes another into the tags"
        )
