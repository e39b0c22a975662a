"""Write a simulated dataset to disk in the layout of Planet-CR; resumable.

A dataset names itself in ``dataset.toml``. A file gets its name only once it is complete, and a
scene counts only once it has all five files.
"""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import tomli_w
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from planetcr_bench.constants import PLANET_CR
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.data.metadata import (
    METADATA,
    TEST_SCENES,
    VERSION,
    Simulation,
    read_simulation,
)
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.data.scene_lists import write_scene_list
from planetcr_bench.errors import BenchError, DatasetError, UsageError
from planetcr_bench.simulation.catalogue import PRESETS
from planetcr_bench.simulation.place import TEST_AOIS, TRAIN_AOIS, Place
from planetcr_bench.simulation.scene import Quartet, Truth, quartet_of, truth_of
from planetcr_bench.simulation.survey import survey_of, window_of
from planetcr_bench.utils.files import atomic_write, sweep, write_shared
from planetcr_bench.utils.parallel import Workers, run_ordered, track, worker_count

TRAIN_LIMIT: Final = 60_000
"""Training scenes of all 660 AOIs together (paper, Sec. 3.1)."""

FILE_BYTES: Final = {
    "clear": 721_006,
    "cloudy": 721_006,
    "sar": 130_080,
    "land_cover": 8_460,
    "cloud_mask": 90_128,
}
"""Bytes of each file of a scene, as in the official release: nothing is compressed."""

SCENE_BYTES: Final = sum(FILE_BYTES.values())


@dataclass(frozen=True, slots=True)
class Size:
    """Size of a dataset; a smaller one is a subset of a larger one.

    Attributes:
        test_aois: AOIs of the test split.
        test_scenes: Scenes of the test split.
        train_aois: AOIs of the training split.
        train_scenes: Scenes of the training split by default.
    """

    test_aois: int
    test_scenes: int
    train_aois: int
    train_scenes: int

    @property
    def train_limit(self) -> int:
        """Largest number of training scenes."""
        return TRAIN_LIMIT * self.train_aois // TRAIN_AOIS


SIZES: Final = {
    "tiny": Size(test_aois=5, test_scenes=TEST_SCENES["tiny"], train_aois=2, train_scenes=4),
    "demo": Size(test_aois=12, test_scenes=TEST_SCENES["demo"], train_aois=12, train_scenes=60),
    "full": Size(TEST_AOIS, TEST_SCENES["full"], TRAIN_AOIS, 6_600),
}


@dataclass(frozen=True, slots=True)
class Job:
    """Scenes of one AOI that are to be written.

    Attributes:
        place: The AOI.
        scenes: Number of its patches, in the order of its survey.
    """

    place: Place
    scenes: int

    @property
    def name(self) -> str:
        """Name of the AOI."""
        return f"{self.place.season}_{self.place.number}"


def simulate(
    out: Path,
    *,
    size: str = "demo",
    seed: int = 0,
    train: int | None = None,
    preset: str = "standard",
    truth: Path | None = None,
    workers: Workers = None,
    quiet: bool = False,
) -> Simulation:
    """Write a simulated dataset; the same arguments give the same bytes on one machine.

    Args:
        out: Folder to write to: new, empty, or begun by the same command.
        size: Key of :data:`SIZES`.
        seed: Another seed generates a different world.
        train: Training scenes, if not the default of the size; may grow from call to call.
        preset: Key of ``PRESETS``; anything but ``standard`` is a different track.
        truth: Folder for the hidden truth of every scene (``.npz``), outside ``out``.
        workers: See ``Workers``.
        quiet: Show no progress.

    Returns:
        Identity of what was written.

    Raises:
        UsageError: An argument is invalid.
        DatasetError: ``out`` holds something else.
        BenchError: The disk has not enough space, or a file cannot be written.
    """
    simulation = _settings(size, seed, train, preset)
    if truth is not None and truth.resolve().is_relative_to(out.resolve()):
        raise UsageError(
            f"--truth: expected a folder outside the dataset {out}, got {truth}: the truth must "
            "never lie where a method reads"
        )
    jobs = jobs_of(simulation)
    _check_folder(out, simulation)
    if truth is not None:
        _check_folder(truth, simulation)
    _check_room(out, simulation)
    folders = (out,) if truth is None else (out, truth)
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        _write_metadata(folder, simulation)
    total = sum(job.scenes for job in jobs)
    if not isinstance(workers, str):
        workers = worker_count(workers, total)
    written = run_ordered(
        partial(write_aoi, out, truth), jobs, workers=workers, folders=folders, batch=1
    )
    scenes = chain.from_iterable(written)
    names: dict[str, list[SceneFiles]] = {"test": [], "train": []}
    for files in track(scenes, f"Simulate {simulation.track}", total, quiet=quiet):
        names[files.split].append(files)
    for split, some in names.items():
        write_scene_list(out / f"{split}.csv", sorted(some))
    return simulation


def _settings(size: str, seed: int, train: int | None, preset: str) -> Simulation:
    if size not in SIZES:
        raise UsageError(f"--size: expected {' or '.join(SIZES)}, got {size!r}")
    if preset not in PRESETS:
        raise UsageError(f"--preset: expected {' or '.join(PRESETS)}, got {preset!r}")
    if seed < 0:
        raise UsageError(f"--seed: expected a number of at least 0, got {seed}")
    limit = SIZES[size].train_limit
    train = SIZES[size].train_scenes if train is None else train
    if not 0 <= train <= limit:
        raise UsageError(f"--train: expected 0 to {limit} scenes for size {size}, got {train}")
    return Simulation(
        version=VERSION,
        preset=preset,
        seed=seed,
        size=size,
        test_scenes=SIZES[size].test_scenes,
        train_scenes=train,
    )


def jobs_of(simulation: Simulation) -> list[Job]:
    """Divide scenes over AOIs; the first AOIs get one more if the number does not divide evenly."""
    size = SIZES[simulation.size]
    parts = [
        (TRAIN_AOIS + 1, size.test_aois, simulation.test_scenes),
        (1, size.train_aois, simulation.train_scenes),
    ]
    jobs = []
    for first, aois, scenes in parts:
        each, more = divmod(scenes, aois)
        for index in range(aois):
            place = Place(simulation.seed, first + index, simulation.preset)
            jobs.append(Job(place, each + (index < more)))
    return [job for job in jobs if job.scenes]


def _check_folder(out: Path, simulation: Simulation) -> None:
    """Refuse a folder that holds anything but a part of the same dataset."""
    if out.exists() and not out.is_dir():
        raise DatasetError(f"{out}: expected a folder, found a file")
    if not out.exists() or all(path.name.endswith(".partial") for path in out.iterdir()):
        return
    there = read_simulation(out)
    if there is None:
        raise DatasetError(
            f"{out}: expected a new or empty folder, found other files there; choose another"
        )
    if there.version != simulation.version:
        raise DatasetError(
            f"{out}: holds a dataset of {there.version}, this version of planetcr-bench writes "
            f"{simulation.version}; choose a new folder, or delete this one"
        )
    if there.identity != simulation.identity:
        raise DatasetError(
            f"{out}: holds {there.identity}, expected {simulation.identity}; choose a new folder"
        )
    if there.train_scenes > simulation.train_scenes:
        raise DatasetError(
            f"{out}: holds {there.train_scenes} training scenes, more than the "
            f"{simulation.train_scenes} requested; give --train {there.train_scenes}"
        )


def _check_room(out: Path, simulation: Simulation) -> None:
    """Refuse a disk that is too small, before the work."""
    folder = next(parent for parent in (out, *out.resolve().parents) if parent.is_dir())
    there = sum(_masks_in(out, split) for split in ("test", "train"))
    needed = (simulation.test_scenes + simulation.train_scenes - there) * SCENE_BYTES
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BenchError(
            f"{out}: expected {needed / 1e6:,.0f} MB of free disk space, found {free / 1e6:,.0f}; "
            "choose another disk, a smaller --size or fewer --train scenes"
        )


def _masks_in(out: Path, split: str) -> int:
    """Number of the last files of scenes that are there."""
    description = load_description(PLANET_CR)
    known = description.split_values(split)
    return sum(
        len(template.walk(str(out), known)[0]) for template in description.templates("cloud_mask")
    )


def _write_metadata(out: Path, simulation: Simulation) -> None:
    entries = {"track": simulation.track, "simulation": simulation.model_dump()}
    text = "# Made by `planetcr-bench simulate`; there is no real imagery in it.\n" + tomli_w.dumps(
        entries
    )
    atomic_write(out / METADATA, text.encode())


# --- One scene ------------------------------------------------------------------------------


def write_aoi(out: Path, truth: Path | None, job: Job) -> list[SceneFiles]:
    """Write the scenes of an AOI, except those that exist.

    Raises:
        BenchError: A file cannot be written.
    """
    return [_write_scene(out, truth, job.place, rank) for rank in range(job.scenes)]


def _write_scene(out: Path, truth: Path | None, place: Place, rank: int) -> SceneFiles:
    survey = survey_of(place)
    patch = survey.patches[rank]
    files = scene_files(out, place, patch)
    if not _is_whole(files):
        write_quartet(files, quartet_of(survey, patch), place)
    if truth is not None and not (truth / f"{files.name}.npz").exists():
        _write_truth(truth / f"{files.name}.npz", truth_of(place, patch))
    return files


def scene_files(out: Path, place: Place, patch: int) -> SceneFiles:
    """Files of a scene in the layout of Planet-CR."""
    values = (place.season, place.number, patch)
    return SceneFiles(values, str(out), place.split, load_description(PLANET_CR))


def _is_whole(files: SceneFiles) -> bool:
    """Whether all five files exist and none is truncated, as by a power failure."""
    products = files.description.products
    paths = [files.path(product) for product in products]
    sizes = [path.stat().st_size if path.is_file() else None for path in paths]
    return sizes == [FILE_BYTES[product] for product in products]


def write_quartet(files: SceneFiles, quartet: Quartet, place: Place) -> None:
    """Write the five files of a scene atomically.

    Raises:
        BenchError: A file cannot be written.
    """
    site = place.site
    window, described = window_of(files.patch), files.description
    fine_m, coarse_m = (described.resolution_of(product) or 0.0 for product in ("clear", "sar"))
    down, right = (round(edge * fine_m) for edge in (window.top, window.left))
    optical = site.optical_corner[0] + right, site.optical_corner[1] - down
    coarse = site.east + right, site.north - down
    nodata = described.optical.nodata
    contents = {
        "clear": _geotiff(quartet.clear, site.epsg, optical, fine_m, nodata=nodata),
        "cloudy": _geotiff(quartet.cloudy, site.epsg, optical, fine_m, nodata=nodata),
        "sar": _geotiff(quartet.sar, site.epsg, coarse, coarse_m),
        "land_cover": _geotiff(quartet.land_cover[None], site.epsg, coarse, coarse_m),
        "cloud_mask": _npy(quartet.cloud_mask),
    }
    for product, content in contents.items():
        _save(files.path(product), content)


def _save(path: Path, content: bytes | memoryview) -> None:
    try:
        write_shared(path, content)
    except OSError as error:
        raise BenchError(
            f"{path}: cannot be written ({error.strerror}); the same command resumes from here "
            "once it can"
        ) from error


def _geotiff(
    pixels: NDArray[Any],
    epsg: int,
    corner: tuple[int, int],
    size_m: float,
    nodata: float | None = None,
) -> bytes:
    """Write a GeoTIFF like the official files: strips, bands interleaved, no compression."""
    bands, height, width = pixels.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", dtype=pixels.dtype, count=bands, height=height, width=width,
            nodata=nodata, interleave="pixel", crs=f"EPSG:{epsg}",
            transform=Affine(size_m, 0, corner[0], 0, -size_m, corner[1]),
        ) as target:  # fmt: skip
            target.write(pixels)
        return bytes(memory.getbuffer())


def _npy(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _write_truth(path: Path, truth: Truth) -> None:
    stream = io.BytesIO()
    arrays = {name: getattr(truth, name) for name in truth.__slots__}
    np.savez_compressed(stream, **arrays)
    _save(path, stream.getbuffer())
