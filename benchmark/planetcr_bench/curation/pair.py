"""Open the products of two dates of one place, and read patches of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import OPTICAL_BANDS, OPTICAL_SIZE
from planetcr_bench.curation.frame import (
    BLOCK_COARSE,
    BLOCK_PX,
    COARSE_SIZE,
    Frame,
    common_frame,
    frame_of_scene,
)
from planetcr_bench.curation.land_cover import LandCoverMap, open_land_cover
from planetcr_bench.restoration.masks import CLOUDY, CloudMask
from planetcr_bench.restoration.optical import OpticalScene
from planetcr_bench.restoration.output import to_numbers
from planetcr_bench.restoration.products import Product, ProductName, recognise
from planetcr_bench.restoration.rasters import Grid, Raster, SceneFileError, open_raster
from planetcr_bench.restoration.sar import SarScene
from planetcr_bench.utils.untrusted import printable

PRODUCT_KEYS: Final = ("sar", "land_cover", "cloud_mask")
"""Products that may be left out, as descriptions call them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFiles:
    """Files of two dates of one place.

    Attributes:
        cloudy: PlanetScope scene.
        clear: Scene of the same place on a date without clouds.
        mask: Usable data mask of the cloudy scene.
        sar: Sentinel-1 image.
        land_cover: WorldCover map, or a folder of its tiles.
        product: What the scenes are; None where their names say it.
        mask_rule: What counts as cloud in UDM2; see ``mask_rules``.
    """

    cloudy: Path
    clear: Path
    mask: Path | None = None
    sar: Path | None = None
    land_cover: Path | None = None
    product: ProductName | None = None
    mask_rule: str = CLOUDY

    @property
    def lacking(self) -> list[str]:
        """Products that there is no file of, as descriptions call them."""
        files = (self.sar, self.land_cover, self.mask)
        return [name for name, path in zip(PRODUCT_KEYS, files, strict=True) if path is None]

    @property
    def given(self) -> list[Path]:
        """All files that are given."""
        files = (self.cloudy, self.clear, self.mask, self.sar, self.land_cover)
        return [path for path in files if path is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two dates of one place, open for reading on common grids.

    Attributes:
        frame: The grids.
        product: What the scenes are.
        cloudy: The cloudy scene on the optical grid.
        clear: The clear one.
        mask: Of clouds, on the optical grid.
        sar: On the coarse grid.
        land_cover: On the coarse grid.
        tags: Those of the files of the cloudy and of the clear scene.
    """

    frame: Frame
    product: Product
    cloudy: OpticalScene
    clear: OpticalScene
    mask: CloudMask | None
    sar: SarScene | None
    land_cover: LandCoverMap | None
    tags: tuple[dict[str, str], dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One patch as it is written.

    Attributes:
        cloudy: Reflectance × 10,000, 0 where a date lacks it, uint16, shape (4, 300, 300).
        clear: Likewise.
        cloud_mask: True where cloudy, shape (300, 300).
        sar: VV and VH in dB, shape (2, 90, 90).
        land_cover: WorldCover codes, uint8, shape (1, 90, 90).
        missing: Share of pixels that a date lacks.
    """

    cloudy: NDArray[np.uint16]
    clear: NDArray[np.uint16]
    cloud_mask: NDArray[np.bool_] | None
    sar: NDArray[np.floating] | None
    land_cover: NDArray[np.uint8] | None
    missing: float

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Product to pixels, without those that there are no files of."""
        names = ("clear", "cloudy", "sar", "land_cover", "cloud_mask")
        arrays = {name: getattr(self, name) for name in names}
        return {name: pixels for name, pixels in arrays.items() if pixels is not None}


def open_pair(
    files: PairFiles,
    stack: ExitStack,
    *,
    like_cloudy: bool,
    say: Callable[[str], object] = lambda _: None,
) -> Pair:
    """Open all files, on common grids.

    Args:
        files: The files.
        stack: Closes them.
        like_cloudy: Keep the grid of the cloudy scene as it is; otherwise the grids are those of
            :func:`~planetcr_bench.curation.frame.common_frame`.
        say: Receives one line for each thing that was recognised.

    Raises:
        SceneFileError: A file cannot be used, or the files do not fit together.
    """
    raster = stack.enter_context(open_raster(files.cloudy))
    other = stack.enter_context(open_raster(files.clear))
    if like_cloudy:
        frame = frame_of_scene(files.cloudy, raster.grid)
    else:
        frame = common_frame((files.cloudy, raster.grid), (files.clear, other.grid))
    before, after = (recognise(each, product=files.product) for each in (raster, other))
    say(f"cloudy: {before}; clear: {after}")
    if before.name != after.name:
        raise SceneFileError(
            f"{printable(files.clear)}: expected what the cloudy scene is, {before}, got {after}"
        )
    native, tags = raster.grid, (raster.tags, other.tags)
    if not other.grid.same_as(frame.optical) and like_cloudy:
        say("  the clear scene is resampled to the grid of the cloudy one")
    raster = _on(raster, frame.optical, stack, by="bilinear")
    other = _on(other, frame.optical, stack, by="bilinear")
    mask = _open_mask(files, native, frame.optical, stack)
    sar = land_cover = None
    if files.sar is not None:
        radar = stack.enter_context(open_raster(files.sar, like=frame.coarse, by="bilinear"))
        sar = SarScene(radar)
        say(f"  SAR: {sar.unit}, covers {100 * sar.covered:.0f} % of the scene")
    if files.land_cover is not None:
        land_cover = open_land_cover(files.land_cover, frame.coarse, stack)
    return Pair(
        frame=frame, product=before, cloudy=OpticalScene(raster, before, OPTICAL_BANDS, mask),
        clear=OpticalScene(other, after, OPTICAL_BANDS), mask=mask, sar=sar,
        land_cover=land_cover, tags=tags,
    )  # fmt: skip


def _on(raster: Raster, grid: Grid, stack: ExitStack, *, by: str) -> Raster:
    """The image on another grid; itself where it has that one."""
    if raster.grid.same_as(grid):
        return raster
    return stack.enter_context(open_raster(raster.path, like=grid, by=by))


def _open_mask(files: PairFiles, native: Grid, grid: Grid, stack: ExitStack) -> CloudMask | None:
    """The mask of the cloudy scene, whose own grid it must have."""
    if files.mask is None:
        return None
    raster = stack.enter_context(open_raster(files.mask))
    mask = CloudMask(raster, native, rule=files.mask_rule)
    if native.same_as(grid):
        return mask
    return CloudMask(_on(raster, grid, stack, by="nearest"), grid, rule=files.mask_rule)


def read_patch(pair: Pair, top: int, left: int) -> Patch:
    """Read a patch of 300 × 300 optical pixels.

    Args:
        pair: Where it lies.
        top: First row, a multiple of ten.
        left: First column, likewise.

    Raises:
        SceneFileError: A file cannot be read.
    """
    rows, columns = (slice(start, start + OPTICAL_SIZE) for start in (top, left))
    before, after = pair.cloudy.read(rows, columns), pair.clear.read(rows, columns)
    both = before.valid & after.valid
    coarse = tuple(
        slice(start, start + COARSE_SIZE)
        for start in (size // BLOCK_PX * BLOCK_COARSE for size in (top, left))
    )
    return Patch(
        cloudy=to_numbers(before.reflectance, both),
        clear=to_numbers(after.reflectance, both),
        cloud_mask=None if pair.mask is None else pair.mask.cloudy(rows, columns),
        sar=None if pair.sar is None else pair.sar.decibels(*coarse),
        land_cover=None if pair.land_cover is None else pair.land_cover.read(*coarse)[None],
        missing=float(1 - both.mean()),
    )
