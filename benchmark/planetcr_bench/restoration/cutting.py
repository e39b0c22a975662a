"""Cut two dates of one place into patches in the layout of Planet-CR."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import tomli_w
from affine import Affine
from numpy.typing import NDArray
from rasterio.warp import transform as to_coordinates

from planetcr_bench.constants import (
    COVER_BINS,
    OPTICAL_BANDS,
    OPTICAL_RESOLUTION_M,
    OPTICAL_SIZE,
    PLANET_CR,
    cover_bin,
)
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.restoration.masks import CloudMask
from planetcr_bench.restoration.optical import OpticalScene
from planetcr_bench.restoration.output import explained, to_numbers
from planetcr_bench.restoration.products import ProductName, recognise
from planetcr_bench.restoration.rasters import Grid, Raster, SceneFileError, open_raster
from planetcr_bench.restoration.sar import SarScene
from planetcr_bench.restoration.stac import UNKNOWN, taken
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.untrusted import printable

Season = Literal["spring", "summer", "fall", "winter"]

_SAR_SIZE: Final = 90
"""Pixels along one side of a SAR or land-cover patch (paper, Sec. 3.1)."""

_PER_SAR: Final = OPTICAL_SIZE / _SAR_SIZE

_DATASET: Final = "dataset.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSettings:
    """What patches are cut from, and which are kept.

    Attributes:
        mask: Usable data mask of the cloudy scene.
        sar: Sentinel-1 image.
        land_cover: WorldCover map.
        product: What the scenes are; None where their names say it.
        split: ``train``, ``val`` or ``test``.
        season: By default that of the cloudy scene's date.
        aoi: Number of the area; by default the next free one.
        max_nodata: Largest share of pixels of a patch that one of the dates lacks.
        per_bin: Most patches of each cloud-cover bin; None for all.
    """

    mask: Path | None = None
    sar: Path | None = None
    land_cover: Path | None = None
    product: ProductName | None = None
    split: str = "test"
    season: Season | None = None
    aoi: int | None = None
    max_nodata: float = 0.0
    per_bin: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What was written.

    Attributes:
        scenes: Names of the patches.
        nodata: Patches left out for lack of data.
        full: Patches left out because their bin was full.
        bins: Patches of each cloud-cover bin.
        lacking: Products that no file was given for.
    """

    scenes: list[str]
    nodata: int
    full: int
    bins: dict[str, int]
    lacking: list[str]


def cut_pair(
    cloudy: Path,
    clear: Path,
    out: Path,
    settings: PairSettings,
    *,
    say: Callable[[str], object] = lambda _: None,
) -> Cut:
    """Write the patches of two scenes that both dates cover, as one area of a dataset.

    Patches of 300 × 300 pixels lie side by side from the upper left corner of the cloudy scene; the
    clear one is resampled to its grid where it has another. Products without a file are left out,
    and the dataset's ``dataset.toml`` then describes it without them.

    Args:
        cloudy: PlanetScope scene.
        clear: Scene of the same place on a date without clouds.
        out: Folder of the dataset, made where it does not exist.
        settings: What else, and which patches.
        say: Receives one line for each thing that was recognised.

    Raises:
        SceneFileError: A file cannot be used, the scenes do not overlap, the area exists, no patch
            is left, or the folder cannot be written.
    """
    if settings.per_bin is not None and settings.mask is None:
        raise SceneFileError("--per-bin: the cloud cover of a patch is not known; give --udm too")
    with ExitStack() as stack:
        source = _open(cloudy, clear, settings, stack, say)
        season = settings.season or season_of(cloudy.name, source.raster)
        lacking = [
            name
            for name, path in (
                ("sar", settings.sar), ("land_cover", settings.land_cover),
                ("cloud_mask", settings.mask),
            )
            if path is None
        ]  # fmt: skip
        if (out / _DATASET).exists():
            _describe(out, lacking)
        aoi = settings.aoi or _next_area(out, settings.split, season)
        staged = out / f".{season}_{aoi}.unfinished"
        stack.enter_context(explained(out))
        stack.callback(_remove_empty, out)
        stack.callback(shutil.rmtree, staged, ignore_errors=True)
        shutil.rmtree(staged, ignore_errors=True)
        made = _write_patches(source, staged, settings, season, aoi)
        if not made.scenes:
            raise SceneFileError(
                f"{printable(cloudy)}: no patch is left: {made.nodata} of them lack data; allow "
                "some with --max-nodata 0.1"
            )
        _describe(out, lacking)
        _publish(staged, out)
    return Cut(
        scenes=made.scenes, nodata=made.nodata, full=made.full, bins=made.bins, lacking=lacking
    )


# --- Reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    raster: Raster
    cloudy: OpticalScene
    clear: OpticalScene
    mask: CloudMask | None
    sar: SarScene | None
    land_cover: Raster | None


def _open(
    cloudy: Path,
    clear: Path,
    settings: PairSettings,
    stack: ExitStack,
    say: Callable[[str], object],
) -> _Pair:
    raster = stack.enter_context(open_raster(cloudy))
    grid = raster.grid
    plain = not (grid.transform.b or grid.transform.d) and not grid.crs.is_geographic
    if not plain or abs(grid.pixel_m / OPTICAL_RESOLUTION_M - 1) > 0.01:
        raise SceneFileError(
            f"{printable(cloudy)}: expected pixels of 3 m in a projected coordinate system, as the "
            f"patches have, got {grid}; GDAL's `gdalwarp -t_srs EPSG:326… -tr 3 3` makes them"
        )
    if min(grid.height, grid.width) < OPTICAL_SIZE:
        raise SceneFileError(
            f"{printable(cloudy)}: expected at least {OPTICAL_SIZE} × {OPTICAL_SIZE} pixels, got "
            f"{grid.width} × {grid.height}"
        )
    before = recognise(raster, product=settings.product)
    other = stack.enter_context(open_raster(clear))
    after = recognise(other, product=settings.product)
    say(f"cloudy: {before}; clear: {after}")
    if before.name != after.name:
        raise SceneFileError(
            f"{printable(clear)}: expected what the cloudy scene is, {before}, got {after}"
        )
    if not other.grid.same_as(grid):
        say("  the clear scene is resampled to the grid of the cloudy one")
        other = stack.enter_context(open_raster(clear, like=grid, by="bilinear"))
    coarse = Grid(
        grid.crs,
        grid.transform @ Affine.scale(_PER_SAR),
        int(grid.height / _PER_SAR),
        int(grid.width / _PER_SAR),
    )
    mask = sar = land_cover = None
    if settings.mask is not None:
        mask = CloudMask(stack.enter_context(open_raster(settings.mask)), grid)
    if settings.sar is not None:
        sar = SarScene(stack.enter_context(open_raster(settings.sar, like=coarse, by="bilinear")))
        say(f"  SAR: {sar.unit}, covers {100 * sar.covered:.0f} % of the scene")
    if settings.land_cover is not None:
        land_cover = stack.enter_context(open_raster(settings.land_cover, like=coarse))
        if land_cover.dtype != "uint8":
            raise SceneFileError(
                f"{printable(settings.land_cover)}: expected a WorldCover map of codes in bytes, "
                f"got {land_cover.dtype}"
            )
    return _Pair(
        raster=raster, cloudy=OpticalScene(raster, before, OPTICAL_BANDS, mask),
        clear=OpticalScene(other, after, OPTICAL_BANDS), mask=mask, sar=sar, land_cover=land_cover,
    )  # fmt: skip


def season_of(name: str, raster: Raster) -> Season:
    """Season of a scene, by its date and hemisphere.

    Args:
        name: Of the file, with the date where its tags have none.
        raster: The scene.

    Raises:
        SceneFileError: Neither says when it was taken.
    """
    when = taken(raster.tags.get("TIFFTAG_DATETIME", ""), name)
    if when == UNKNOWN:
        raise SceneFileError(
            f"{printable(name)}: neither its name nor its tags say when it was taken; give --season"
        )
    month = when.month
    grid = raster.grid
    east, north = grid.transform @ (grid.width / 2, grid.height / 2)
    _, (latitude, *_) = to_coordinates(grid.crs, "EPSG:4326", [east], [north])
    start = 0 if latitude >= 0 else 2
    names: tuple[Season, ...] = ("spring", "summer", "fall", "winter")
    return names[((month - 3) % 12 // 3 + start) % 4]


# --- Writing --------------------------------------------------------------------------------------


def _write_patches(
    source: _Pair, staged: Path, settings: PairSettings, season: Season, aoi: int
) -> Cut:
    height, width = source.raster.grid.height, source.raster.grid.width
    down, across = height // OPTICAL_SIZE, width // OPTICAL_SIZE
    described = load_description(PLANET_CR)
    bins: Counter[str] = Counter()
    scenes: list[str] = []
    nodata = full = 0
    for row in range(down):
        for column in range(across):
            rows, columns = (
                slice(at * OPTICAL_SIZE, (at + 1) * OPTICAL_SIZE) for at in (row, column)
            )
            before, after = source.cloudy.read(rows, columns), source.clear.read(rows, columns)
            both = before.valid & after.valid
            if 1 - both.mean() > settings.max_nodata:
                nodata += 1
                continue
            cloud = None if source.mask is None else source.mask.cloudy(rows, columns)
            name = cover_bin(math.nan if cloud is None else float(cloud.mean()))
            if settings.per_bin is not None and bins[name] >= settings.per_bin:
                full += 1
                continue
            bins[name] += 1
            files = SceneFiles(
                (season, aoi, row * across + column + 1), str(staged), settings.split, described
            )
            images = {
                "cloudy": to_numbers(before.reflectance, both),
                "clear": to_numbers(after.reflectance, both),
            }
            _write(files, source, images, cloud, row, column)
            scenes.append(files.name)
    ordered = {name: bins[name] for name in (*COVER_BINS, "unknown") if bins[name]}
    return Cut(scenes=scenes, nodata=nodata, full=full, bins=ordered, lacking=[])


def _write(
    files: SceneFiles,
    source: _Pair,
    images: dict[str, NDArray[Any]],
    cloud: NDArray[np.bool_] | None,
    row: int,
    column: int,
) -> None:
    grid = source.raster.grid
    corner = grid.transform @ Affine.translation(column * OPTICAL_SIZE, row * OPTICAL_SIZE)
    for product, numbers in images.items():
        _save_tif(files.path(product), numbers, grid, corner, nodata=0)
    rows, columns = (slice(at * _SAR_SIZE, (at + 1) * _SAR_SIZE) for at in (row, column))
    coarse = corner @ Affine.scale(_PER_SAR)
    if source.sar is not None:
        _save_tif(files.path("sar"), source.sar.decibels(rows, columns), grid, coarse)
    if source.land_cover is not None:
        codes = source.land_cover.read([1], rows, columns)
        _save_tif(files.path("land_cover"), codes, grid, coarse)
    if cloud is not None:
        path = files.path("cloud_mask")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, cloud)


def _save_tif(
    path: Path,
    numbers: NDArray[Any],
    grid: Grid,
    transform: Affine,
    nodata: float | None = None,
) -> None:
    import rasterio

    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", dtype=numbers.dtype, count=len(numbers), crs=grid.crs,
        height=numbers.shape[1], width=numbers.shape[2], transform=transform, nodata=nodata,
        interleave="pixel",
    ) as image:  # fmt: skip
        image.write(numbers)


def _publish(staged: Path, out: Path) -> None:
    """Move the folders of a finished area to their places, the one that makes it known last."""
    folders = sorted(
        (path for path in staged.glob("*/*/*") if path.is_dir()),
        key=lambda path: "cloudfree" in path.name,
    )
    for folder in folders:
        target = out / folder.relative_to(staged)
        if target.exists():
            raise SceneFileError(
                f"{printable(target)}: exists already; choose another area with --aoi"
            )
    for folder in folders:
        target = out / folder.relative_to(staged)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _next_area(out: Path, split: str, season: str) -> int:
    folder = out / split / f"planet_cloudfree_{season}"
    numbers = [
        int(number)
        for path in folder.glob(f"planet_cloudfree_{season}_*")
        if (number := path.name.rpartition("_")[2]).isdigit()
    ]
    return max(numbers, default=0) + 1


def _describe(out: Path, lacking: list[str]) -> None:
    """Say in ``dataset.toml`` what the folder is: Planet-CR's layout, with what was given."""
    path = out / _DATASET
    content = {"like": PLANET_CR, "title": "Pairs of own scenes", "track": "own-pairs"}
    text = tomli_w.dumps(content | dict.fromkeys(lacking, False))
    if path.exists():
        if path.read_text() != text:
            raise SceneFileError(
                f"{printable(path)}: describes a dataset of other products; give the same ones as "
                "before, or choose another --out"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(path, text.encode())
