"""Find the scenes of a dataset by its description."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import describe
from planetcr_bench.data.metadata import METADATA, read_simulation
from planetcr_bench.data.misplaced import (
    Misnamed,
    folder_hint,
    misnamed,
    missing_file,
    nested_split,
    no_scenes,
    what_is_there,
)
from planetcr_bench.data.projections import use_own_database
from planetcr_bench.data.scene_files import SceneFiles, split_folder
from planetcr_bench.data.scene_lists import list_file, listed_scenes, read_rows, values_of_row
from planetcr_bench.data.templates import Template, Value
from planetcr_bench.errors import DatasetError

use_own_database()

_COUNTS: Final = ("no", "one", "two", "three", "four", "five")

Values = tuple[Value, ...]
"""Values of the fields that identify a scene."""


def find_splits(data: Path, description: Description | None = None) -> list[str]:
    """List the splits of a dataset folder.

    Raises:
        DatasetError: There is none; the message says what was expected where.
    """
    if not data.is_dir():
        raise DatasetError(f"{data}: expected a dataset folder, found no such folder")
    description = description or describe(data)
    splits = [split for split in description.splits if _exists(data, split, description)]
    if not splits:
        needed = [_expected(split, description) for split in description.splits if split != "val"]
        raise DatasetError(
            f"{data}: expected a folder that holds {' or '.join(needed)}, found none"
            f"{folder_hint(data, description)}"
        )
    return splits


def _expected(split: str, description: Description) -> str:
    file = description.splits[split].file
    return file or f"{description.split_values(split)['split']}/"


def _exists(data: Path, split: str, description: Description) -> bool:
    """Whether the folder or the list of a split exists; other splits always do."""
    rule = description.splits[split]
    if rule.file is not None:
        return bool(rule.clusters) or list_file(rule.file, data) is not None
    if not description.has_split_folders:
        return True
    template = description.templates("clear")[0]
    level = [(str(data), description.split_values(split))]
    for index, part in enumerate(template.parts[:-1]):
        level = [step for folder in level for step in template.folders(index, *folder)]
        if "{split}" in part:
            break
    return bool(level)


def find_files(
    data: Path, split: str, description: Description | None = None
) -> tuple[dict[SceneFiles, int], list[Path]]:
    """Walk a split and record which products each scene has.

    Args:
        data: Folder of the dataset.
        split: Name of the split.
        description: Of the dataset; by default found in the folder.

    Returns:
        Scene to bit set of its products (bit i is ``description.products[i]``), and the files in
        the folders of products that do not belong to the layout, except system files and notes.

    Raises:
        DatasetError: A folder or the list of the split cannot be read, or there are two files for
            one product.
    """
    description = description or describe(data)
    bits: dict[Values, int] = {}
    found: dict[Values, list[tuple[str, tuple[str, ...]]]] = {}
    strays: list[tuple[Template, Path]] = []
    for bit, product in enumerate(description.products):
        files, others = _product_files(data, split, description, product)
        strays += others
        for values, paths in files.items():
            bits[values] = bits.get(values, 0) | 1 << bit
            if product in description.own_fields:
                found.setdefault(values, []).append((product, paths))
    products = {
        SceneFiles(values, str(data), split, description, tuple(found.get(values, ()))): bits[
            values
        ]
        for values in _chosen(bits, data, split, description)
    }
    return products, _unmatched(strays, data, split, description)


def _product_files(
    data: Path, split: str, description: Description, product: str
) -> tuple[dict[Values, tuple[str, ...]], list[tuple[Template, Path]]]:
    """Scenes that have a product, with its files within the dataset by date; and strays."""
    names, own = description.scene_fields, description.own_fields.get(product, ())
    templates = description.templates(product)
    strays: list[tuple[Template, Path]] = []
    dates: dict[Values, dict[Values, list[str]]] = {}
    for template in templates:
        matches, others = template.walk(str(data), description.split_values(split))
        strays += [(template, path) for path in others]
        for match in matches:
            values = tuple([match.values[name] for name in names])
            date = tuple([match.values[name] for name in own])
            dates.setdefault(values, {}).setdefault(date, []).append(match.path)
    if own and product != "cloudy":
        _expect_one(dates, product)
    start = len(str(data)) + 1
    files = {
        values: tuple(
            [
                path[start:]
                for _, paths in sorted(by_date.items())
                if len(paths) == len(templates)
                for path in paths
            ]
        )
        for values, by_date in dates.items()
    }
    return {values: paths for values, paths in files.items() if paths}, strays


def _expect_one(dates: Mapping[Values, Mapping[Values, list[str]]], product: str) -> None:
    for by_date in dates.values():
        if len(by_date) > 1:
            first, second, *_ = [paths[0] for _, paths in sorted(by_date.items())]
            raise DatasetError(
                f"{second}: expected one {product} file for its scene, got also {first}"
            )


def _chosen(
    found: Iterable[Values], data: Path, split: str, description: Description
) -> Iterable[Values]:
    """The scenes that belong to a split by its list, a field or their clusters."""
    rule = description.splits[split]
    if rule.field is not None:
        index = description.scene_fields.index(rule.field)
        return [values for values in found if values[index] in rule.values]
    if rule.file is not None and (not rule.clusters or list_file(rule.file, data)):
        listed = listed_scenes(data, split, description)
        return [values for values in found if values in listed]
    if rule.clusters:
        clusters = {*rule.clusters}
        return [
            values
            for values in found
            if SceneFiles(values, str(data), split, description).aoi in clusters
        ]
    return found


def _unmatched(
    strays: Iterable[tuple[Template, Path]], data: Path, split: str, description: Description
) -> list[Path]:
    """Strays of one product that are no files or folders of another."""
    known = description.split_values(split)

    def is_other(template: Template, path: Path) -> bool:
        relative = path.relative_to(data).as_posix()
        others = (each for _, each in description.all_templates if each is not template)
        return any(other.match(relative, known) is not None for other in others)

    return sorted({path for template, path in strays if not is_other(template, path)})


def missing_products(bits: int, description: Description) -> list[str]:
    """List the products that are missing from a bit set of :func:`find_files`."""
    return [product for bit, product in enumerate(description.products) if not bits & 1 << bit]


def all_products(description: Description) -> int:
    """Bit set of all products."""
    return (1 << len(description.products)) - 1


def find_scenes(
    data: Path,
    split: str,
    scene_list: Path | None = None,
    *,
    dataset: str | Path | None = None,
) -> list[SceneFiles]:
    """Find the complete scenes of a split, in a fixed order.

    Args:
        data: Folder of the dataset.
        split: Name of the split.
        scene_list: CSV list to take the scenes from, instead of walking the folder.
        dataset: Name or file of its description; see :func:`describe`.

    Returns:
        Scenes sorted by the values of their fields, such as season, AOI and patch number.

    Raises:
        DatasetError: No such split, no scene, or a scene without all of its products.
    """
    description = describe(data, dataset)
    splits = find_splits(data, description)
    if split not in splits:
        raise DatasetError(f"{data}: expected a split {split!r}, found only {', '.join(splits)}")
    complete = all_products(description)
    renames = Misnamed([], frozenset(), [])
    if scene_list is not None:
        products = _listed(scene_list, data, split, description)
    else:
        products, strays = find_files(data, split, description)
        renames = misnamed(data, split, description, strays)
        if not products:
            raise DatasetError(_no_scenes(data, split, description), renames.lines)
        unfinished = shortfall(data, split, sum(bits == complete for bits in products.values()))
        if unfinished:
            raise DatasetError(unfinished, renames.lines)
    if not products:
        raise DatasetError(f"{scene_list}: expected scenes, found none")
    if not any(products.values()) and nested_split(
        split_folder(data, split, description), description
    ):
        raise DatasetError(no_scenes(data, split, description))
    lacking = [
        (files, product)
        for files in sorted(products)
        if products[files] != complete
        for product in missing_products(products[files], description)
    ]
    if lacking:
        if scene_list is not None:
            strays = find_files(data, split, description)[1]
            renames = misnamed(data, split, description, strays)
        _refuse_missing(data, split, products, lacking, renames)
    faults = [files.date_fault for files in sorted(products) if files.date_fault]
    if faults:
        count = description.optical.dates
        raise DatasetError(f"{data}: expected {count} cloudy images for each scene", faults)
    return sorted(products)


def _no_scenes(data: Path, split: str, description: Description) -> str:
    """Explain why a split has no scene: none belongs to it, or no file matches."""
    rule = description.splits[split]
    known = description.split_values(split)
    if not description.is_optional(split):
        return no_scenes(data, split, description)
    if not any(each.walk(str(data), known)[0] for each in description.templates("clear")):
        return no_scenes(data, split, description)
    by = rule.file or rule.field or f"its {len(rule.clusters)} clusters"
    return f"{data}: expected scenes of the split {split!r}, by {by}, found none"


def _refuse_missing(
    data: Path,
    split: str,
    products: Mapping[SceneFiles, int],
    lacking: list[tuple[SceneFiles, str]],
    renames: Misnamed,
) -> None:
    """Refuse scenes without all of their products.

    Raises:
        DatasetError: Always.
    """
    description = lacking[0][0].description
    lines = [missing_file(files.path(product)) for files, product in lacking]
    problems = [*renames.lines, *(line for line in lines if line not in renames.missing)]
    absent = Counter(product for _, product in lacking)
    for product, count in absent.items():
        if count == len(products) > 1 and not renames.lines:  # the template is wrong
            problems.insert(0, what_is_there(data, split, description, product))
    raise DatasetError(
        f"{split_folder(data, split, description)}: expected {_counted(description)} files for "
        f"each of {len(products)} scenes; `planetcr-bench check` shows the whole state",
        problems,
    )


def _counted(description: Description) -> str:
    count = sum(len(description.paths(product)) for product in description.products)
    return _COUNTS[count] if count < len(_COUNTS) else str(count)


def present_products(files: SceneFiles) -> int:
    """Bit set of the products of a scene whose files exist; see :func:`find_files`."""
    return sum(
        all(os.path.lexists(path) for paths in files.paths(product) for path in paths) << bit
        for bit, product in enumerate(files.description.products)
    )


def _listed(path: Path, data: Path, split: str, description: Description) -> dict[SceneFiles, int]:
    """Scenes of a list, with the bit sets of the products that exist."""
    scenes = read_scene_list(path, data, split, description)
    if not description.own_fields:
        return {files: present_products(files) for files in scenes}
    found = {
        files: (files, bits) for files, bits in find_files(data, split, description)[0].items()
    }
    return dict(found.get(files, (files, 0)) for files in scenes)


def read_scene_list(
    path: Path, data: Path, split: str, description: Description | None = None
) -> list[SceneFiles]:
    """Read a list of scenes, such as one of the authors': no header.

    A line is the name of a scene, or the paths of all its files in the order of the products.
    Paths are relative to the split's folder or to the dataset's.

    Raises:
        DatasetError: The list cannot be read, or a line does not name the files of one scene.
    """
    description = description or describe(data)
    scenes = [
        SceneFiles(values_of_row(row, split, description, where), str(data), split, description)
        for where, row in read_rows(path)
    ]
    repeated = [files.name for files, count in Counter(scenes).items() if count > 1]
    if repeated:
        raise DatasetError(f"{path}: expected each scene once, got twice: {', '.join(repeated)}")
    return scenes


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
