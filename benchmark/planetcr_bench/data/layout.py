"""Find the scenes of a dataset in the official layout.

Layout: ``<split>/<product>_<season>/<product>_<season>_<aoi>/<product>_<season>_<aoi>_p_<n>``
with ``.npy`` for the cloud mask and ``.tif`` for the other products.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from planetcr_bench.constants import FOLDERS, PRODUCTS, SPLITS, SUFFIX
from planetcr_bench.data.metadata import METADATA, read_simulation
from planetcr_bench.data.misplaced import (
    ENDINGS,
    Misnamed,
    folder_hint,
    misnamed,
    missing_file,
    nested_split,
    no_scenes,
)
from planetcr_bench.data.projections import use_own_database
from planetcr_bench.errors import DatasetError
from planetcr_bench.utils.folders import ending, leads_up, lies_beside, other_spelling
from planetcr_bench.utils.untrusted import printable, read_text

use_own_database()

LARGEST_LIST: Final = 200_000_000
"""Largest list of scenes in bytes; those of the authors have about 300 per scene."""

_STEM = re.compile(
    rf"(?P<product>{'|'.join(FOLDERS.values())})_(?P<season>[a-z]+)"
    r"_(?P<aoi>[0-9]{1,9})_p_(?P<patch>[0-9]{1,9})"
)


@dataclass(frozen=True, slots=True, order=True)
class SceneFiles:
    """Identity of one scene and the paths of its five files, without pixels.

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
        folder = f"{FOLDERS[product]}_{self.season}"
        stem = f"{folder}_{self.aoi_number}"
        usual = Path(self.split_folder, folder, stem, f"{stem}_p_{self.patch}{SUFFIX[product]}")
        return usual if os.path.lexists(usual) else other_spelling(usual) or usual


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
            f"{data}: expected a folder that holds train/ or test/, found none{folder_hint(data)}"
        )
    return splits


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
    products: dict[SceneFiles, int] = {}
    strays: list[Path] = []
    for bit, product in enumerate(PRODUCTS):
        for season_folder in _folders(root, f"{FOLDERS[product]}_"):
            for aoi_folder in _folders(season_folder.path, f"{season_folder.name}_"):
                scenes, others = _scenes_in(aoi_folder, product, root)
                for files in scenes:
                    products[files] = products.get(files, 0) | 1 << bit
                strays += others
    return products, sorted(strays)


def _scenes_in(
    folder: os.DirEntry[str], product: str, root: str
) -> tuple[Iterable[SceneFiles], list[Path]]:
    """Scenes of which the folder of an AOI has a product, and its strays."""
    names: dict[SceneFiles, list[str]] = {}
    strays: list[Path] = []
    for entry in _entries(folder.path):
        files = _parse(entry.name, product, folder.name, root)
        if files is not None:
            names.setdefault(files, []).append(entry.name)
        elif not (lies_beside(entry.name) or leads_up(Path(entry.path))):
            strays.append(Path(entry.path))
    for files, spellings in names.items():
        if len(spellings) > 1:  # one file, several spellings of its extension
            usual = files.path(product).name
            strays += [Path(folder.path, name) for name in spellings if name != usual]
    return names, strays


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
    _, _, aoi_name = aoi_folder.partition(f"{FOLDERS[product]}_")
    season, _, aoi = aoi_name.rpartition("_")
    if not aoi.isdecimal() or str(int(aoi)) != aoi or str(int(patch)) != patch:
        return None
    return SceneFiles(season, int(aoi), int(patch), root)


ALL_PRODUCTS = (1 << len(PRODUCTS)) - 1


def missing_products(bits: int) -> list[str]:
    """List the products that are missing from a bit set of :func:`find_files`."""
    return [product for bit, product in enumerate(PRODUCTS) if not bits & 1 << bit]


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
    renames = Misnamed([], frozenset(), [])
    if scene_list is not None:
        products = {
            files: present_products(files) for files in read_scene_list(scene_list, data, split)
        }
    else:
        products, strays = find_files(data, split)
        renames = misnamed(data / split, strays)
        if not products:
            raise DatasetError(no_scenes(data, split), renames.lines)
        unfinished = shortfall(data, split, sum(bits == ALL_PRODUCTS for bits in products.values()))
        if unfinished:
            raise DatasetError(unfinished, renames.lines)
    if not products:
        raise DatasetError(f"{scene_list}: expected scenes, found none")
    if not any(products.values()) and nested_split(data / split) is not None:
        raise DatasetError(no_scenes(data, split))
    missing = [
        missing_file(files.path(product))
        for files in sorted(products)
        if products[files] != ALL_PRODUCTS
        for product in missing_products(products[files])
    ]
    if missing and scene_list is not None:
        renames = misnamed(data / split, find_files(data, split)[1])
    problems = [*renames.lines, *(line for line in missing if line not in renames.missing)]
    if missing:
        raise DatasetError(
            f"{data / split}: expected five files for each of {len(products)} scenes; "
            f"`planetcr-bench check` shows the whole state",
            problems,
        )
    return sorted(products)


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
        if match is None or match["product"] != FOLDERS[product]:
            raise DatasetError(
                f"{where}: expected the path of a {FOLDERS[product]} file, got {cell!r:.200}"
            )
        files = SceneFiles(match["season"], int(match["aoi"]), int(match["patch"]), root)
        expected = files.path(product).relative_to(root).with_suffix(SUFFIX[product])
        relative = Path(*parts[parts[0] == split :])
        if relative.with_suffix("") != expected.with_suffix("") or (
            ending(relative) not in ENDINGS[SUFFIX[product]]
        ):
            raise DatasetError(f"{where}: expected {expected}, got {cell!r:.200}")
        scenes.add(files)
    if len(scenes) != 1:
        raise DatasetError(f"{where}: expected five files of one scene, got {len(scenes)} scenes")
    return scenes.pop()


def shortfall(data: Path, split: str, count: int) -> str | None:
    """Report a simulated split without the scenes that it declares; None if it has them.

    Args:
        data: Folder that holds the splits.
        split: Name of the split.
        count: Scenes it has.
    """
    simulation = read_simulation(data)
    expected = simulation.scenes(split) if simulation else None
    if expected is None or count == expected:
        return None
    remedy = (
        "run the same `planetcr-bench simulate` again to resume it"
        if count < expected
        else "simulate it again in an empty folder"
    )
    return f"{data / split}: expected {expected} scenes by {METADATA}, found {count}; {remedy}"
