"""Walk the folders of a dataset by its description, and find splits and the files of scenes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from planetcr_bench.data.completeness import unfinished
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import describe
from planetcr_bench.data.encodings import SPLIT
from planetcr_bench.data.misplaced import folder_hint
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.data.scene_lists import Values, list_file, listed_scenes
from planetcr_bench.data.templates import Template
from planetcr_bench.errors import DatasetError


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
        if line := unfinished(data):
            raise DatasetError(line)
        splits = [split for split in description.splits if split != "val"] or ["val"]
        needed = [_expected(split, description) for split in splits]
        raise DatasetError(
            f"{data}: expected a folder that holds {' or '.join(needed)}, found none"
            f"{folder_hint(data, description)}"
        )
    return splits


def _expected(split: str, description: Description) -> str:
    """The list of a split, or its folder as the description has it."""
    file = description.splits[split].file
    template = description.templates("clear")[0]
    names = {name: f"{{{name}}}" for name in template.fields}
    shown = {**names, **description.split_values(split)}
    end = next((n for n, part in enumerate(template.parts, 1) if f"{{{SPLIT}}}" in part), 0)
    return file or "/".join(template.parts[:end]).format_map(shown) + "/"


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
        for values in scenes_of_split(bits, data, split, description)
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


def scenes_of_split(
    found: Iterable[Values], data: Path, split: str, description: Description
) -> Iterable[Values]:
    """The scenes that belong to a split by its list, a field or clusters; all by its folder.

    Raises:
        DatasetError: The list cannot be read.
    """
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
