"""Write whole simulated AOIs as rasters with their dates, as providers deliver them; resumable.

They are the input of ``planetcr-bench curate``. An AOI is the mosaic of its patches, so that what
is cut from it at a patch is that patch of the simulated benchmark, pixel for pixel.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import tomli_w
from affine import Affine
from numpy.typing import NDArray
from pydantic import ConfigDict
from rasterio.errors import RasterioError
from rasterio.warp import transform
from rasterio.windows import Window

from planetcr_bench.constants import OPTICAL_BANDS, OPTICAL_RESOLUTION_M, OPTICAL_SIZE, SAR_BANDS
from planetcr_bench.data.mask_rules import UDM2_BANDS, UDM2_COUNT
from planetcr_bench.data.metadata import VERSION
from planetcr_bench.data.raster import reason
from planetcr_bench.errors import BenchError, DatasetError, UsageError
from planetcr_bench.simulation.catalogue import PRESETS
from planetcr_bench.simulation.place import (
    SAR_RESOLUTION_M,
    SAR_SIZE,
    TEST_AOIS,
    TRAIN_AOIS,
    WINDOWS,
    Place,
)
from planetcr_bench.simulation.scene import quartet_of
from planetcr_bench.simulation.survey import survey_of
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.parallel import Workers, run_ordered, track, worker_count
from planetcr_bench.utils.untrusted import read_toml
from planetcr_bench.utils.validation import FileModel, validate

TABLE: Final = "aois.csv"
"""List of the AOIs and their files, which ``curate`` reads."""

IDENTITY: Final = "simulation.toml"

_COLUMNS: Final = ("aoi", "season", "cloudy", "clear", "udm", "sar", "landcover")

_GAPS: Final = {"1": 0.25, "2": 0.25, "3": 0.20, "4": 0.12, "5": 0.10, "6": 0.05, "7": 0.03}
"""Days between the dates to their probability; 2.8 on average (paper, Sec. 3.1)."""

_SEASON_STARTS: Final = {"spring": 3, "summer": 6, "fall": 9, "winter": 12}
"""First month of each season of the northern hemisphere."""


class AreasIdentity(FileModel):
    """What determines the pixels of simulated AOIs.

    Attributes:
        version: Of the simulated world.
        preset: Key of ``PRESETS``.
        seed: Of the world.
        side: Patches along one side of each AOI.
    """

    model_config = ConfigDict(title="what `simulate --aois` writes")

    version: str
    preset: str
    seed: int
    side: int


@dataclass(frozen=True, slots=True)
class AreaFiles:
    """Files of one AOI, relative to the folder of all, in the order of the table."""

    cloudy: str
    clear: str
    udm: str
    sar: str
    landcover: str


def simulate_areas(
    out: Path,
    *,
    aois: int,
    seed: int = 0,
    preset: str = "standard",
    side: int = WINDOWS,
    workers: Workers = None,
    quiet: bool = False,
) -> Path:
    """Write AOIs 1, 2, … of a simulated world; the same arguments give the same pixels.

    Args:
        out: Folder to write to: new, empty, or begun by the same command; the number of AOIs may
            grow from call to call.
        aois: How many.
        seed: Another seed generates a different world.
        preset: Key of ``PRESETS``.
        side: Patches along one side of each AOI, from its upper left corner; all by default.
        workers: See ``Workers``.
        quiet: Show no progress.

    Returns:
        The table of the AOIs.

    Raises:
        UsageError: An argument is invalid.
        DatasetError: ``out`` holds something else.
        BenchError: A file cannot be written.
    """
    most = TRAIN_AOIS + TEST_AOIS
    if not 1 <= aois <= most:
        raise UsageError(f"--aois: expected 1 to {most}, got {aois}")
    if not 1 <= side <= WINDOWS:
        raise UsageError(f"--aoi-side: expected 1 to {WINDOWS} patches, got {side}")
    if preset not in PRESETS:
        raise UsageError(f"--preset: expected {' or '.join(PRESETS)}, got {preset!r}")
    identity = AreasIdentity(version=VERSION, preset=preset, seed=seed, side=side)
    _claim(out, identity)
    places = [Place(seed, number, preset) for number in range(1, aois + 1)]
    if not isinstance(workers, str):
        workers = worker_count(workers, aois * side**2)
    written = run_ordered(
        partial(write_area, out, side), places, workers=workers, folders=(out,), batch=1
    )
    files = list(track(written, f"Simulate {aois} AOIs", aois, quiet=quiet))
    stream = io.StringIO(newline="")
    rows = csv.writer(stream)
    rows.writerow(_COLUMNS)
    for place, area in zip(places, files, strict=True):
        rows.writerow((place.number, place.season, *(getattr(area, n) for n in area.__slots__)))
    atomic_write(out / TABLE, stream.getvalue().encode())
    return out / TABLE


def _claim(out: Path, identity: AreasIdentity) -> None:
    """Make the folder, or refuse one that holds anything but a part of the same AOIs."""
    if out.exists() and not out.is_dir():
        raise DatasetError(f"{out}: expected a folder, found a file")
    path = out / IDENTITY
    if path.exists():
        there = validate(
            AreasIdentity, read_toml(path, error=DatasetError), str(path), error=DatasetError
        )
        if there != identity:
            raise DatasetError(
                f"{out}: holds AOIs of {_words(there)}, expected {_words(identity)}; choose a new "
                "folder"
            )
        return
    if out.exists() and any(not item.name.endswith(".partial") for item in out.iterdir()):
        raise DatasetError(
            f"{out}: expected a new or empty folder, found other files there; choose another"
        )
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(path, tomli_w.dumps(identity.model_dump()).encode())


def _words(identity: AreasIdentity) -> str:
    return (
        f"{identity.version} {identity.preset}, seed {identity.seed}, {identity.side} × "
        f"{identity.side} patches"
    )


# --- One AOI --------------------------------------------------------------------------------


def dates_of(place: Place) -> tuple[datetime, datetime]:
    """When an AOI is seen with clouds and without: in its season, at about ten o'clock there."""
    site, draws = place.site, place.draws
    middle = WINDOWS * OPTICAL_SIZE * OPTICAL_RESOLUTION_M / 2
    (longitude, *_), (latitude, *_) = transform(
        f"EPSG:{site.epsg}", "EPSG:4326", [site.east + middle], [site.north - middle]
    )
    month = _SEASON_STARTS[place.season] + (0 if latitude >= 0 else 6)
    start = datetime(2021 + (month - 1) // 12, (month - 1) % 12 + 1, 1, 10, tzinfo=UTC)
    cloudy = start - timedelta(hours=longitude / 15) + timedelta(
        days=2 + int(draws.uniform("day", 0, 85)), seconds=int(draws.uniform("second", 0, 3600))
    )  # fmt: skip
    later = 1 if draws.happens("clear date is later", 0.5) else -1
    gap = timedelta(
        days=later * int(draws.one_of("gap", _GAPS)),
        seconds=int(draws.uniform("minutes", -2400, 2400)),
    )
    return cloudy.replace(microsecond=0), (cloudy + gap).replace(microsecond=0)


def files_of(place: Place) -> AreaFiles:
    """Names of the files of an AOI, as Planet's orders have them."""
    cloudy, clear = (f"{date:%Y%m%d_%H%M%S}_{place.number:02d}_sim1_3B" for date in dates_of(place))
    return AreaFiles(
        *(f"{place.name}/{name}.tif" for name in (
            f"{cloudy}_AnalyticMS_SR_clip", f"{clear}_AnalyticMS_SR_clip", f"{cloudy}_udm2_clip",
            "sentinel-1", "worldcover",
        ))
    )  # fmt: skip


def write_area(out: Path, side: int, place: Place) -> AreaFiles:
    """Write the rasters of an AOI, unless they exist.

    Raises:
        BenchError: A file cannot be written.
    """
    files = files_of(place)
    folder = out / place.name
    if folder.exists():
        return files
    staged = out / f".{place.name}.unfinished"
    shutil.rmtree(staged, ignore_errors=True)
    try:
        staged.mkdir()
        _write_rasters(staged, {n: Path(getattr(files, n)).name for n in files.__slots__},
                       place, side)  # fmt: skip
        staged.rename(folder)
    except (RasterioError, OSError) as problem:
        shutil.rmtree(staged, ignore_errors=True)
        raise BenchError(
            f"{folder}: cannot be written ({reason(problem)}); the same command resumes from here "
            "once it can"
        ) from problem
    return files


def _write_rasters(folder: Path, names: Mapping[str, str], place: Place, side: int) -> None:
    site = place.site
    fine = Affine(OPTICAL_RESOLUTION_M, 0, site.optical_corner[0],
                  0, -OPTICAL_RESOLUTION_M, site.optical_corner[1])  # fmt: skip
    coarse = Affine(SAR_RESOLUTION_M, 0, site.east, 0, -SAR_RESOLUTION_M, site.north)
    optical = {"height": side * OPTICAL_SIZE, "width": side * OPTICAL_SIZE, "transform": fine}
    radar = {"height": side * SAR_SIZE, "width": side * SAR_SIZE, "transform": coarse}
    kinds: dict[str, dict[str, Any]] = {
        "cloudy": {**optical, "count": 4, "dtype": "uint16", "nodata": 0, "predictor": 2},
        "clear": {**optical, "count": 4, "dtype": "uint16", "nodata": 0, "predictor": 2},
        "udm": {**optical, "count": UDM2_COUNT, "dtype": "uint8"},
        "sar": {**radar, "count": 2, "dtype": "float64", "predictor": 3},
        "landcover": {**radar, "count": 1, "dtype": "uint8", "nodata": 0},
    }
    bands = {"cloudy": OPTICAL_BANDS, "clear": OPTICAL_BANDS, "sar": SAR_BANDS,
             "udm": (*UDM2_BANDS, "confidence", "udm1"), "landcover": ("code",)}  # fmt: skip
    cloudy, clear = dates_of(place)
    dates = {"cloudy": cloudy, "udm": cloudy, "clear": clear}
    with ExitStack() as stack:
        images = {}
        for product, options in kinds.items():
            image = stack.enter_context(rasterio.open(
                folder / names[product], "w", driver="GTiff", crs=f"EPSG:{site.epsg}",
                compress="deflate", zlevel=1, photometric="MINISBLACK", interleave="pixel",
                **options,
            ))  # fmt: skip
            image.descriptions = bands[product]
            if product in dates:
                image.update_tags(TIFFTAG_DATETIME=f"{dates[product]:%Y:%m:%d %H:%M:%S}")
            images[product] = image
        for row, strip in enumerate(_strips(place, side)):
            for product, pixels in strip.items():
                height = pixels.shape[1]
                window = Window(0, row * height, pixels.shape[2], height)
                images[product].write(pixels, window=window)


def _strips(place: Place, side: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Rows of patches, each as one image of every product."""
    survey = survey_of(place)
    for row in range(side):
        patches = [quartet_of(survey, row * WINDOWS + column + 1) for column in range(side)]
        images = {
            product: np.concatenate([getattr(patch, product) for patch in patches], axis=-1)
            for product in ("cloudy", "clear", "sar", "land_cover", "cloud_mask")
        }
        yield {
            "cloudy": images["cloudy"], "clear": images["clear"], "sar": images["sar"],
            "landcover": images["land_cover"][None], "udm": _udm2(images["cloud_mask"]),
        }  # fmt: skip


def _udm2(cloudy: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Planet's mask of eight bands: each pixel is clear or cloudy, and none is unusable."""
    bands = np.zeros((UDM2_COUNT, *cloudy.shape), np.uint8)
    bands[UDM2_BANDS.index("clear")] = ~cloudy
    bands[UDM2_BANDS.index("cloud")] = cloudy
    bands[len(UDM2_BANDS)] = 90
    return bands
