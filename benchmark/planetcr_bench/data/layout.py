"""Find scenes in the official layout and read their files.

Layout: ``<split>/<product>_<season>/<product>_<season>_<aoi>/<product>_<season>_<aoi>_p_<n>``
with ``.npy`` for the cloud mask and ``.tif`` for the other products.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform

from planetcr_bench.constants import (
    OPTICAL_BANDS,
    OPTICAL_SIZE,
    PLANET_CR,
    PLANET_CR_SAMPLES,
    PRODUCTS,
    SAR_RESOLUTION_M,
    SAR_SIZE,
    SPLITS,
    SUFFIX,
    UNNAMED,
)
from planetcr_bench.data.grids import crs_name, crs_text, rotation_name, same_crs
from planetcr_bench.data.metadata import METADATA, read_metadata, read_simulation
from planetcr_bench.data.pixel_checks import NO_TAGS, PixelError, Tags, nodata_pixels
from planetcr_bench.data.product_pixels import MEANT
from planetcr_bench.data.projections import use_own_database
from planetcr_bench.data.raster import (
    Accept,
    Header,
    header_fault,
    header_of,
    image_bands,
    open_geotiff,
    tags_of,
)
from planetcr_bench.data.scene import Scene, backscatter, land_cover_classes, reflectance, upsample
from planetcr_bench.errors import BenchError, DatasetError, SceneError
from planetcr_bench.utils.folders import (
    affixes,
    ending,
    grouped,
    leads_up,
    lies_beside,
    other_spelling,
    told_affixes,
)
from planetcr_bench.utils.untrusted import (
    npy_header,
    open_regular,
    printable,
    read_npy,
    read_text,
)

use_own_database()

_OPTICAL = (4, OPTICAL_SIZE, OPTICAL_SIZE)
EXPECTED: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "planet_cloudfree": (("uint16",), _OPTICAL),
    "planet_cloudy": (("uint16",), _OPTICAL),
    "S1": (("float32", "float64"), (2, SAR_SIZE, SAR_SIZE)),
    "landcover": (("uint8",), (1, SAR_SIZE, SAR_SIZE)),
    "cloudmask": (("bool",), (OPTICAL_SIZE, OPTICAL_SIZE)),
}
"""Accepted dtypes and the shape of each product's file."""

ENDINGS: Final = {".tif": (".tif", ".tiff"), ".npy": (".npy",)}
"""Accepted spellings of the layout's file extensions, in any case."""

LARGEST_LIST: Final = 200_000_000
"""Largest list of scenes in bytes; those of the authors have about 300 per scene."""

LARGEST_TRUTH: Final = 20_000_000
"""Largest file of hidden truth, in bytes."""

_STEM = re.compile(
    rf"(?P<product>{'|'.join(PRODUCTS)})_(?P<season>[a-z]+)"
    r"_(?P<aoi>[0-9]{1,9})_p_(?P<patch>[0-9]{1,9})"
)


@dataclass(frozen=True, slots=True, order=True)
class SceneFiles:
    """Where the five files of one scene lie: its identity, without its pixels.

    Sorts by season, AOI and patch number.
    """

    season: str
    aoi_number: int
    patch: int
    split_folder: str

    @property
    def name(self) -> str:
        """Name that the scene's files share, such as ``summer_33_p_1``."""
        return f"{self.season}_{self.aoi_number}_p_{self.patch}"

    @property
    def aoi(self) -> str:
        """Area of interest, such as ``summer_33``."""
        return f"{self.season}_{self.aoi_number}"

    @property
    def split(self) -> str:
        """Name of the folder that holds the scene's products."""
        return Path(self.split_folder).name

    def path(self, product: str) -> Path:
        """File of one product, with its extension in any case; the usual name if there is none."""
        folder = f"{product}_{self.season}"
        stem = f"{folder}_{self.aoi_number}"
        rule = Path(self.split_folder, folder, stem, f"{stem}_p_{self.patch}{SUFFIX[product]}")
        return rule if os.path.lexists(rule) else other_spelling(rule) or rule


@dataclass(frozen=True, slots=True)
class Raster:
    """Decoded pixels of one file and where they lie on Earth.

    Attributes:
        pixels: As stored, before any scaling.
        crs: Empty where the file has none.
        transform: None where the file has none.
        tags: What the file says about its pixels.
    """

    pixels: NDArray[Any]
    crs: str = ""
    transform: Affine | None = None
    tags: Tags = NO_TAGS


def read_raster(
    path: Path, accept: Accept | None = None, *, bands: int = len(OPTICAL_BANDS)
) -> Raster:
    """Decode one GeoTIFF or ``.npy`` file as it is stored.

    Args:
        path: The file; its extension, in any case, gives the format.
        accept: Inspects the header, and raises before an unacceptable file is decoded.
        bands: How many are expected; an additional alpha band becomes a mask.

    Raises:
        DatasetError: The file is missing, not a regular file, or cannot be decoded.
    """
    if not os.path.lexists(path):
        raise DatasetError(f"{path}: no such file")
    if ending(path) == ".npy":
        dtype, shape, _, _ = npy_header(path, error=DatasetError)
        if accept is not None:
            accept(Header(dtype.name, shape))
        return Raster(read_npy(path, error=DatasetError))
    with open_geotiff(path, error=DatasetError) as source:
        if accept is not None:
            accept(header_of(source, bands))
        grid = None if source.transform == Affine.identity() else source.transform
        tags = tags_of(source, path, bands)
        return Raster(source.read(image_bands(source, bands)), crs_text(source.crs), grid, tags)


def read_product(files: SceneFiles, product: str) -> Raster:
    """Decode one product of a scene, interpreted by the tags of its file.

    Bands are sorted by their names if the file has any, scale and offset are applied, nodata and
    masks become holes of the SAR image and unknown land cover. Files without tags stay as stored.

    Raises:
        DatasetError: The file is missing, cannot be decoded, differs in dtype or shape from the
            official layout, or has values that the product cannot have; the message names
            file, expected and got.
    """
    path = files.path(product)
    bands = EXPECTED[product][1][0]
    raster = read_raster(path, partial(_expect_layout, path, product), bands=bands)
    if product not in MEANT:
        return raster
    try:
        pixels, tags = MEANT[product](raster.pixels, raster.tags)
    except PixelError as fault:
        raise DatasetError(f"{path}: {fault}") from fault
    return replace(raster, pixels=pixels, tags=tags)


def empty_pixels(raster: Raster) -> int:
    """Count pixels of an optical product with its nodata value 0 in any band."""
    if raster.pixels.all():
        return 0
    empty = nodata_pixels(raster.pixels, raster.tags.nodata)
    return 0 if empty is None else int(empty.any(0).sum())


def _expect_layout(path: Path, product: str, header: Header) -> None:
    dtypes, shape = EXPECTED[product]
    if header.dtype not in dtypes:
        raise DatasetError(f"{path}: expected {' or '.join(dtypes)}, got {header.dtype}")
    fault = header_fault(header, (shape,))
    if fault:
        raise DatasetError(f"{path}: {fault}")


def read_scene(files: SceneFiles) -> Scene:
    """Read the five files of a scene, with the values of the authors' loader.

    Raises:
        DatasetError: A file is missing, unreadable or does not match the official layout.
        SceneError: The products do not share one grid.
    """
    return scene_from_rasters(
        files, {product: read_product(files, product) for product in PRODUCTS}
    )


def scene_from_rasters(files: SceneFiles, rasters: dict[str, Raster]) -> Scene:
    """Turn the decoded products of one scene into a :class:`Scene`.

    Raises:
        SceneError: The products do not share one grid.
    """
    disagreements = grid_disagreements(files, rasters)
    if disagreements:
        raise SceneError(disagreements[0])
    clear = rasters["planet_cloudfree"]
    codes = rasters["landcover"].pixels[0]
    return Scene(
        name=files.name,
        split=files.split,
        season=files.season,
        aoi=files.aoi,
        patch=files.patch,
        cloudy=reflectance(rasters["planet_cloudy"].pixels),
        clear=reflectance(clear.pixels),
        sar=backscatter(rasters["S1"].pixels),
        land_cover=upsample(land_cover_classes(codes), clear.pixels.shape[-2:]),
        cloud_mask=rasters["cloudmask"].pixels,
        crs=clear.crs,
        transform=clear.transform or Affine.identity(),
    )


def grid_disagreements(files: SceneFiles, rasters: dict[str, Raster]) -> list[str]:
    """Compare the grid of each georeferenced product with the clear image's.

    The optical images must share one grid. The 10 m products of the real release start up to
    2 m away from it, so their corners may differ by up to one SAR pixel.

    Returns:
        One line per product that disagrees, naming the file.
    """
    clear = rasters["planet_cloudfree"]
    lines = []
    for product in ("planet_cloudy", "S1", "landcover"):
        raster = rasters.get(product)
        if raster is None or raster.transform is None or clear.transform is None:
            continue
        path = files.path(product)
        if not same_crs(raster.crs, clear.crs):
            expected, got = crs_name(clear.crs), crs_name(raster.crs)
            lines.append(f"{path}: expected the clear image's CRS {expected}, got {got}")
            continue
        distance = _corner_distance_m(raster, clear)
        limit = 0.01 if product == "planet_cloudy" else SAR_RESOLUTION_M
        if distance > limit:
            lines.append(
                f"{path}: expected corners within {limit:g} m of the clear image's, "
                f"got {distance:.2f} m{_turned(raster)}"
            )
    return lines


def _turned(raster: Raster) -> str:
    rotation = rotation_name(raster.transform) if raster.transform is not None else ""
    return f", {rotation}" if rotation else ""


def _corner_distance_m(a: Raster, b: Raster) -> float:
    return float(np.abs(corners(a) - corners(b)).max())


def corners(raster: Raster) -> NDArray[np.float64]:
    """Coordinates of the first and the last corner of a georeferenced raster, shape (2, 2)."""
    transform = raster.transform or Affine.identity()
    height, width = raster.pixels.shape[-2:]
    return np.array([transform @ (0, 0), transform @ (width, height)], np.float64)


# --- Finding the scenes ---------------------------------------------------------------------


def find_splits(data: Path) -> list[str]:
    """List the splits of a dataset folder.

    Raises:
        DatasetError: There is none; the message says what was expected where.
    """
    if not data.is_dir():
        raise DatasetError(f"{data}: expected a dataset folder, found no such folder")
    splits = [split for split in SPLITS if (data / split).is_dir()]
    if not splits:
        raise DatasetError(
            f"{data}: expected a folder that holds train/ or test/, found none{_where(data)}"
        )
    return splits


def _where(data: Path) -> str:
    """Suggest the folder to give instead of one without a split, as the end of a message."""
    whole = data.resolve()
    above = [folder for folder in whole.parents[:3] if any(map(_holds_products, _splits(folder)))]
    if above:
        return f"; give {'its parent, ' if above[0] == whole.parent else ''}{above[0]}"
    if _holds_products(data):
        return "; move its folders into one named train, val or test, and give what holds that"
    inner = _nested_split(data)
    if inner is None:
        return ""
    if inner.name in SPLITS:
        return f"; give {inner.parent}, which does"
    return f"; {inner} holds the scenes: name it train, val or test, and give what holds it"


def _splits(data: Path) -> list[Path]:
    return [data / split for split in SPLITS]


def _holds_products(folder: Path) -> bool:
    """Whether a folder looks like a split: its product folders end in the number of an AOI."""
    found = folder.glob("planet_cloudfree_*")
    return any(not path.name[-1].isdecimal() and path.is_dir() for path in found)


def _nested_split(folder: Path) -> Path | None:
    """Find the first folder of products, at most three levels below another."""
    level = [folder]
    for _ in range(3):
        level = [inner for outer in level for inner in _inner_folders(outer)]
        for inner in level:
            if _holds_products(inner):
                return inner
    return None


def _inner_folders(folder: Path) -> list[Path]:
    """List a limited number of folders within another."""
    try:
        inside = sorted(folder.iterdir())[:100]
    except OSError:
        return []
    return [
        path
        for path in inside
        if not (lies_beside(path.name) or path.name.startswith(PRODUCTS) or leads_up(path))
        and path.is_dir()
    ]


def no_scenes(data: Path, split: str) -> str:
    """Explain why a split has no scene, and name the folder to give instead if there is one."""
    inner, remedy = _nested_split(data / split), ""
    if inner is not None:
        give = f"give {inner.parent}, or " if inner.name == split else ""
        remedy = f"; they lie in {inner}: {give}move what is in it to {data / split}"
    return f"{data / split}: expected scenes in the official layout, found none{remedy}"


def find_files(data: Path, split: str) -> tuple[dict[SceneFiles, int], list[Path]]:
    """Walk a split and record which products each scene has.

    Args:
        data: Folder that holds ``train/`` and ``test/``.
        split: Name of the split.

    Returns:
        Scene to bit set of its products (bit i is ``PRODUCTS[i]``), and the files of the product
        folders that do not belong to the layout, except system files and notes.

    Raises:
        DatasetError: A folder cannot be read.
    """
    root = str(data / split)
    found: dict[SceneFiles, int] = {}
    strays: list[Path] = []
    for bit, product in enumerate(PRODUCTS):
        for folder in _folders(root, f"{product}_"):
            for aoi_folder in _folders(folder.path, f"{folder.name}_"):
                names: dict[SceneFiles, list[str]] = {}
                for entry in _entries(aoi_folder.path):
                    files = _parse(entry.name, product, aoi_folder.name, root)
                    if files is not None:
                        names.setdefault(files, []).append(entry.name)
                    elif not (lies_beside(entry.name) or leads_up(Path(entry.path))):
                        strays.append(Path(entry.path))
                for files, spelt in names.items():
                    found[files] = found.get(files, 0) | 1 << bit
                    if len(spelt) > 1:  # one file, several spellings of its extension
                        strays += [
                            Path(aoi_folder.path, name)
                            for name in spelt
                            if name != files.path(product).name
                        ]
    return found, sorted(strays)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DatasetError(f"{printable(folder)}: cannot be read ({error.strerror})") from error


def _folders(folder: str, prefix: str) -> list[os.DirEntry[str]]:
    return [
        entry
        for entry in _entries(folder)
        if entry.name.startswith(prefix)
        and Path(entry.path).is_dir()
        and not leads_up(Path(entry.path))
    ]


def _parse(name: str, product: str, aoi_folder: str, root: str) -> SceneFiles | None:
    prefix, suffix = f"{aoi_folder}_p_", Path(name).suffix
    stem = name.removesuffix(suffix)
    patch = stem[len(prefix) :]
    known = suffix.lower() in ENDINGS[SUFFIX[product]]
    if not (known and stem.startswith(prefix) and patch.isdecimal()):
        return None
    _, _, place = aoi_folder.partition(f"{product}_")
    season, _, aoi = place.rpartition("_")
    if not aoi.isdecimal() or str(int(aoi)) != aoi or str(int(patch)) != patch:
        return None
    return SceneFiles(season, int(aoi), int(patch), root)


@dataclass(frozen=True, slots=True)
class Misnamed:
    """Files of a split whose names share a prefix or suffix that the layout does not have.

    Attributes:
        lines: One per shared prefix or suffix.
        missing: Lines about files that are missing but exist under another name.
        strays: All other files that do not belong to the layout.
    """

    lines: list[str]
    missing: frozenset[str]
    strays: list[Path]


def misnamed(folder: Path, strays: Iterable[Path]) -> Misnamed:
    """Separate files whose names share an additional word from other strays.

    Args:
        folder: Of the split, for messages.
        strays: From :func:`find_files`.
    """
    groups, rest = grouped((path, _affixes(path)) for path in strays)
    lines: list[str] = []
    missing: set[str] = set()
    for (before, behind), files in groups.items():
        if len(files) < 2:
            rest += [path for path, _ in files]
            continue
        first, stem = files[0]
        missing |= {_missing(path.with_name(f"{name}{_rule(path)}")) for path, name in files}
        lines.append(
            f"{folder}: expected names such as {stem}{_rule(first)}, got {len(files)} files with "
            f"{told_affixes(before, behind)} it, such as {printable(first)}; rename them"
        )
    return Misnamed(lines, frozenset(missing), sorted(rest))


def _affixes(path: Path) -> tuple[str, str, str] | None:
    core = re.compile(rf"{re.escape(path.parent.name)}_p_(?:0|[1-9][0-9]*)")
    return affixes(path.stem if ending(path) in ENDINGS[_rule(path)] else path.name, core)


def _rule(path: Path) -> str:
    """File extension of the images in the folder of a product."""
    return SUFFIX["cloudmask" if path.parent.name.startswith("cloudmask") else "S1"]


def _missing(path: Path) -> str:
    return f"{path}: no such file"


ALL_PRODUCTS = (1 << len(PRODUCTS)) - 1


def missing_products(found: int) -> list[str]:
    """List the products that are missing from a bit set of :func:`find_files`."""
    return [product for bit, product in enumerate(PRODUCTS) if not found & 1 << bit]


def find_scenes(data: Path, split: str, scene_list: Path | None = None) -> list[SceneFiles]:
    """Find the complete scenes of a split, in a fixed order.

    Args:
        data: Folder that holds ``train/`` and ``test/``.
        split: Name of the split.
        scene_list: Authors' CSV list to take the scenes from, instead of walking the folder.

    Returns:
        Scenes sorted by season, AOI and patch number.

    Raises:
        DatasetError: No such split, no scene, or a scene without all of its products.
    """
    splits = find_splits(data)
    if split not in splits:
        raise DatasetError(f"{data}: expected a split {split!r}, found only {', '.join(splits)}")
    others = Misnamed([], frozenset(), [])
    if scene_list is not None:
        found = {
            files: present_products(files) for files in read_scene_list(scene_list, data, split)
        }
    else:
        found, strays = find_files(data, split)
        others = misnamed(data / split, strays)
        if not found:
            raise DatasetError(no_scenes(data, split), others.lines)
        unfinished = shortfall(data, split, sum(bits == ALL_PRODUCTS for bits in found.values()))
        if unfinished:
            raise DatasetError(unfinished, others.lines)
    if not found:
        raise DatasetError(f"{scene_list}: expected scenes, found none")
    if not any(found.values()) and _nested_split(data / split) is not None:
        raise DatasetError(no_scenes(data, split))
    missing = [
        _missing(files.path(product))
        for files in sorted(found)
        if found[files] != ALL_PRODUCTS
        for product in missing_products(found[files])
    ]
    if missing and scene_list is not None:
        others = misnamed(data / split, find_files(data, split)[1])
    problems = [*others.lines, *(line for line in missing if line not in others.missing)]
    if missing:
        raise DatasetError(
            f"{data / split}: expected five files for each of {len(found)} scenes; "
            f"`planetcr-bench check` shows the whole state",
            problems,
        )
    return sorted(found)


def present_products(files: SceneFiles) -> int:
    """Bit set of the products of a scene whose files exist; bit i is ``PRODUCTS[i]``."""
    return sum(os.path.lexists(files.path(product)) << bit for bit, product in enumerate(PRODUCTS))


def read_scene_list(path: Path, data: Path, split: str) -> list[SceneFiles]:
    """Read one of the authors' lists: no header, five columns in the order of ``PRODUCTS``.

    Paths are relative to the split's folder or to the dataset's.

    Raises:
        DatasetError: The list cannot be read, or a line does not name the five files of one scene.
    """
    root = str(data / split)
    scenes = []
    try:
        text = read_text(path, LARGEST_LIST, error=DatasetError)
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:
        raise DatasetError(f"{path}: cannot be read as a CSV list ({error})") from error
    for number, row in enumerate(rows, start=1):
        scenes.append(_scene_of_row(row, root, f"{path}, line {number}"))
    repeated = [files.name for files, count in Counter(scenes).items() if count > 1]
    if repeated:
        raise DatasetError(f"{path}: expected each scene once, got twice: {', '.join(repeated)}")
    return scenes


def _scene_of_row(row: Sequence[str], root: str, where: str) -> SceneFiles:
    if len(row) != len(PRODUCTS):
        raise DatasetError(f"{where}: expected {len(PRODUCTS)} columns, got {len(row)}")
    split = Path(root).name
    scenes = set()
    for product, cell in zip(PRODUCTS, row, strict=True):
        parts = [part for part in re.split(r"[\\/]", cell.strip()) if part not in ("", ".")]
        match = _STEM.fullmatch(Path(parts[-1]).stem) if parts else None
        if match is None or match["product"] != product:
            raise DatasetError(f"{where}: expected the path of a {product} file, got {cell!r:.200}")
        files = SceneFiles(match["season"], int(match["aoi"]), int(match["patch"]), root)
        rule = files.path(product).relative_to(root).with_suffix(SUFFIX[product])
        said = Path(*parts[parts[0] == split :])
        if said.with_suffix("") != rule.with_suffix("") or (
            ending(said) not in ENDINGS[SUFFIX[product]]
        ):
            raise DatasetError(f"{where}: expected {rule}, got {cell!r:.200}")
        scenes.add(files)
    if len(scenes) != 1:
        raise DatasetError(f"{where}: expected five files of one scene, got {len(scenes)} scenes")
    return scenes.pop()


def read_track(data: Path, split: str | None = None) -> str:
    """Name the track that results on a dataset belong to.

    A dataset names itself in ``dataset.toml`` (``track = "…"``) beside its splits. The official
    release has no such file: it is recognised by the pixels of the scene that its authors publish
    of the split, or of any split where they publish none. Everything else is ``unnamed``.

    Args:
        data: Folder that holds the splits.
        split: The one that is scored.

    Raises:
        DatasetError: ``dataset.toml`` cannot be read or names no valid track.
    """
    track = read_metadata(data).get("track")
    if track is None:
        splits = [split] if split in PLANET_CR_SAMPLES else list(PLANET_CR_SAMPLES)
        return PLANET_CR if any(_is_release(data, one) for one in splits) else UNNAMED
    if not isinstance(track, str) or not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", track):
        path = data / METADATA
        raise DatasetError(f'{path}: expected track = "name" in small letters, got {track!r}')
    return track


def _is_release(data: Path, split: str) -> bool:
    """Whether a split contains the scene that the authors publish, pixel by pixel."""
    season, aoi, patch, digest = PLANET_CR_SAMPLES[split]
    files = SceneFiles(season, aoi, patch, str(data / split))
    if present_products(files) != ALL_PRODUCTS:
        return False
    try:
        rasters = {product: read_product(files, product) for product in PRODUCTS}
    except (DatasetError, SceneError):
        return False
    return scene_digest(rasters).hex() == digest


def simulated_identity(data: Path, split: str, scene_list: Path | None = None) -> str | None:
    """Identify the scenes of a split of a simulated dataset.

    Args:
        data: Folder that holds the splits.
        split: Name of the split.
        scene_list: List that the scenes are taken from, if not all of the split are.

    Returns:
        None for scenes of a list, and for any other dataset: only its fingerprint identifies it.

    Raises:
        DatasetError: ``dataset.toml`` is broken.
    """
    simulation = read_simulation(data)
    if simulation is None or simulation.scenes(split) is None or scene_list is not None:
        return None
    if split == "test":
        return simulation.identity
    return f"{simulation.identity}, {simulation.scenes(split)} scenes"


def shortfall(data: Path, split: str, found: int) -> str | None:
    """Report a simulated split without the scenes that it declares; None if it has them.

    Args:
        data: Folder that holds the splits.
        split: Name of the split.
        found: Scenes it has.
    """
    simulation = read_simulation(data)
    expected = simulation.scenes(split) if simulation else None
    if expected is None or found == expected:
        return None
    remedy = (
        "run the same `planetcr-bench simulate` again to resume it"
        if found < expected
        else "simulate it again in an empty folder"
    )
    return f"{data / split}: expected {expected} scenes by {METADATA}, found {found}; {remedy}"


# --- Where a scene lies, and what made it --------------------------------------------------


def centre_of(raster: Raster) -> tuple[float, float]:
    """Longitude and latitude of a raster's centre, degrees, to 1e-6; nan without georeference."""
    crs = CRS.from_string(raster.crs) if raster.crs else CRS()
    if raster.transform is None or not (crs.is_projected or crs.is_geographic):
        return math.nan, math.nan
    height, width = raster.pixels.shape[-2:]
    place = raster.transform
    x = place.c + place.a * width / 2 + place.b * height / 2
    y = place.f + place.d * width / 2 + place.e * height / 2
    (longitude,), (latitude,) = transform(crs, "EPSG:4326", [x], [y])[:2]
    known = abs(longitude) <= 180 and abs(latitude) <= 90
    return (round(longitude, 6), round(latitude, 6)) if known else (math.nan, math.nan)


def read_thickness(truth: Path, files: SceneFiles) -> NDArray[np.float32]:
    """Optical thickness of the clouds over a simulated scene, shape (300, 300).

    Args:
        truth: Folder of hidden truth, as ``simulate`` writes it.
        files: The scene.

    Raises:
        DatasetError: There is no such file, or it cannot be read.
    """
    path = truth / f"{files.name}.npz"
    if not os.path.lexists(path):
        raise DatasetError(
            f"{path}: expected the hidden truth of the scene, found none; run the same "
            "`planetcr-bench simulate` with --truth again"
        )
    try:
        with (
            open_regular(path, LARGEST_TRUTH, error=DatasetError) as stream,
            zipfile.ZipFile(stream) as stored,
            stored.open("cloud_thickness.npy") as member,
        ):
            array = np.load(io.BytesIO(member.read(LARGEST_TRUTH)), allow_pickle=False)
        thickness = np.asarray(array, np.float32)
    except BenchError:
        raise
    except Exception as error:  # zipfile and numpy raise any exception for broken bytes
        raise DatasetError(
            f"{path}: expected the hidden truth of a scene, cannot read it"
        ) from error
    if thickness.shape != (OPTICAL_SIZE, OPTICAL_SIZE) or not (thickness >= 0).all():
        raise DatasetError(
            f"{path}: expected an optical thickness of 0 or more, shape (300, 300), found otherwise"
        )
    return thickness


# --- Fingerprints ---------------------------------------------------------------------------


def pixel_digest(pixels: NDArray[Any]) -> bytes:
    """SHA-256 of decoded pixels with their dtype and shape, the same for any compression."""
    little = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{little.dtype.str} {little.shape} ".encode())
    digest.update(little.data)
    return digest.digest()


def scene_digest(rasters: dict[str, Raster]) -> bytes:
    """SHA-256 over the pixel digests of a scene's products, in the order of ``PRODUCTS``."""
    return hashlib.sha256(
        b"".join(pixel_digest(rasters[product].pixels) for product in PRODUCTS)
    ).digest()


def split_fingerprint(digests: Iterable[tuple[str, bytes]]) -> str:
    """Fingerprint of a split from (scene name, scene digest) pairs in any order."""
    return _fingerprint(f"{name} {digest.hex()}" for name, digest in digests)


def dataset_fingerprint(splits: dict[str, str]) -> str:
    """Fingerprint of a dataset from the fingerprints of its splits."""
    return _fingerprint(f"{split} {fingerprint}" for split, fingerprint in splits.items())


def _fingerprint(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
