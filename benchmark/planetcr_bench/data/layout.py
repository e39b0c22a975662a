"""Find the scenes of a dataset by its description."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from planetcr_bench.data.completeness import shortfall
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import describe
from planetcr_bench.data.discovery import find_files, find_splits, scenes_of_split
from planetcr_bench.data.misplaced import (
    Misnamed,
    absent_products,
    misnamed,
    missing_file,
    nested_split,
    no_scenes,
    repeated_files,
)
from planetcr_bench.data.scene_files import SceneFiles, split_folder
from planetcr_bench.data.scene_lists import (
    count_word,
    read_rows,
    values_of_row,
)
from planetcr_bench.errors import DatasetError


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
        products, renames = _walked(data, split, description)
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


def _walked(
    data: Path, split: str, description: Description
) -> tuple[dict[SceneFiles, int], Misnamed]:
    """Scenes of a split with bit sets of their products, and files of other names.

    Raises:
        DatasetError: No scene, fewer than declared, or two files for one product.
    """
    products, strays = find_files(data, split, description)
    renames = misnamed(data, split, description, strays)
    if not products:
        raise DatasetError(_no_scenes(data, split, description), renames.lines)
    if repeated := repeated_files(renames.strays, data, split, description):
        folder = split_folder(data, split, description)
        raise DatasetError(f"{folder}: expected one file for a product", [*repeated.values()])
    complete = all_products(description)
    unfinished = shortfall(data, split, sum(bits == complete for bits in products.values()))
    if unfinished:
        raise DatasetError(unfinished, renames.lines)
    return products, renames


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
    absent = {} if renames.lines else absent_products(data, split, description, products)
    lines = [
        missing_file(files.path(product)) for files, product in lacking if product not in absent
    ]
    problems = [*absent.values(), *renames.lines]
    problems += [line for line in lines if line not in renames.missing]
    folder = split_folder(data, split, description)
    raise DatasetError(
        f"{folder}: expected {count_word(len(description.all_templates))} files for "
        f"each of {len(products)} scenes; `planetcr-bench check` shows the whole state",
        problems,
    )


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
        DatasetError: The list cannot be read, or a line does not name the files of one scene of the
            split.
    """
    description = description or describe(data)
    scenes = [
        SceneFiles(values_of_row(row, split, description, where), str(data), split, description)
        for where, row in read_rows(path)
    ]
    values = [files.values for files in scenes]
    others = set(values) - set(scenes_of_split(values, data, split, description))
    if others:
        (name, *_) = sorted(files.name for files in scenes if files.values in others)
        raise DatasetError(f"{path}: expected scenes of the split {split!r}, got {name}")
    repeated = [files.name for files, count in Counter(scenes).items() if count > 1]
    if repeated:
        raise DatasetError(f"{path}: expected each scene once, got twice: {', '.join(repeated)}")
    return scenes
