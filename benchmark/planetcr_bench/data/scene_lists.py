"""Read and write lists of scenes: those of a user or of the authors, and the lists of splits."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from planetcr_bench.data.description import Description
from planetcr_bench.data.encodings import KINDS, SPLIT
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.data.templates import Template, Value
from planetcr_bench.errors import DatasetError
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.folders import ending
from planetcr_bench.utils.untrusted import read_text

LARGEST_LIST: Final = 200_000_000
"""Largest list of scenes in bytes; those of the authors have about 300 per scene."""

_WORDS: Final = ("no", "one", "two", "three", "four", "five")

Values = tuple[Value, ...]
"""Values of the fields that identify a scene."""


def count_word(count: int) -> str:
    """A small number as a word, any other in digits."""
    return _WORDS[count] if count < len(_WORDS) else str(count)


def read_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Read the rows of a list, each with its place for messages.

    Raises:
        DatasetError: The list cannot be read.
    """
    try:
        text = read_text(path, LARGEST_LIST, error=DatasetError)
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:
        raise DatasetError(f"{path}: cannot be read as a CSV list ({error})") from error
    return ((f"{path}, line {number}", row) for number, row in enumerate(rows, start=1))


def values_of_row(row: Sequence[str], split: str, description: Description, where: str) -> Values:
    """Fields of the scene that a row names.

    Args:
        row: The name of the scene, or the paths of all its files in the order of the products.
        split: Split that the scene must belong to.
        description: Of the dataset.
        where: For messages.

    Raises:
        DatasetError: The row is neither.
    """
    templates = description.all_templates
    known = description.split_values(split)
    if len(row) == 1:
        named = _values_of_name(row[0].strip(), description, where)
        folder = dict(zip(description.scene_fields, named, strict=True)).get(SPLIT)
        if folder not in (None, known[SPLIT]):
            raise DatasetError(f"{where}: expected scenes of {known[SPLIT]}, got {row[0]!r:.200}")
        return named
    if len(row) != len(templates):
        raise DatasetError(f"{where}: expected {len(templates)} columns, got {len(row)}")
    scenes = set()
    for (product, template), cell in zip(templates, row, strict=True):
        values = _values_of_cell(cell, product, template, known, where)
        scenes.add(tuple(values[name] for name in description.scene_fields))
    if len(scenes) != 1:
        raise DatasetError(
            f"{where}: expected {count_word(len(row))} files of one scene, got {len(scenes)} scenes"
        )
    return scenes.pop()


def _values_of_name(name: str, description: Description, where: str) -> Values:
    values = description.values_of(name)
    if values is None:
        raise DatasetError(
            f"{where}: expected a scene's name, {description.scene_template}, got {name!r:.200}"
        )
    return values


def _values_of_cell(
    cell: str, product: str, template: Template, known: Mapping[str, Value], where: str
) -> Mapping[str, Value]:
    """Fields of the path in a cell, from the dataset's folder or from the split's."""
    parts = [part for part in re.split(r"[\\/]", cell.strip()) if part not in ("", ".")]
    within = template.parts[0] == "{split}"
    relative = "/".join(parts)
    for path in (relative, f"{known['split']}/{relative}" if within else ""):
        values = template.match(path, known)
        if values is not None and path.count("/") == template.text.count("/"):
            return values
    name = template.values_of_stem(PurePosixPath(parts[-1]).stem, known) if parts else None
    if name is None:
        raise DatasetError(
            f"{where}: expected the path of a {template.start.strip('_-. ') or product} file, got "
            f"{cell!r:.200}"
        )
    expected = template.format({**{field: f"{{{field}}}" for field in template.fields}, **name})
    if within:
        expected = expected.removeprefix(f"{known['split']}/")
    raise DatasetError(f"{where}: expected {expected}, got {cell!r:.200}")


# --- Lists of splits ------------------------------------------------------------------------


def list_file(file: str, data: Path) -> Path | None:
    """The list of a split; one that is not beside its description is in the dataset's folder."""
    return data / file if (data / file).exists() else None


def listed_scenes(data: Path, split: str, description: Description) -> set[Values]:
    """Scenes that the list of a split names.

    Raises:
        DatasetError: The list is missing, cannot be read, or has a line that names no scene.
    """
    rule = description.splits[split]
    path = list_file(rule.file or "", data) if rule.file else None
    if path is None:
        raise DatasetError(f"{data / (rule.file or '')}: expected the list of the split {split!r}")
    scenes = set()
    for where, row in read_rows(path):
        if rule.first is not None and row[0].strip() != rule.first:
            continue
        cells = [cell.strip() for cell in row[rule.first is not None :]]
        files = [cell for cell in cells if ending(cell) in KINDS]
        named = (_values_in(cell, description) for cell in files or cells)
        values = next((values for values in named if values is not None), None)
        if values is None:
            raise DatasetError(
                f"{where}: expected a scene's name, {description.scene_template}, got "
                f"{', '.join(row)!r:.200}"
            )
        scenes.add(values)
    return scenes


def _values_in(cell: str, description: Description) -> Values | None:
    """Fields of a scene by its name, or by the name of one of its optical files."""
    if not cell:
        return None
    path = PurePosixPath(cell.replace("\\", "/"))
    stem = path.stem if ending(path) in KINDS else path.name
    values = description.values_of(stem)
    if values is not None:
        return values
    for product in ("clear", "cloudy"):
        for template in description.templates(product):
            named = template.values_of_stem(stem, {})
            if named is not None and set(description.scene_fields) <= named.keys():
                return tuple(named[field] for field in description.scene_fields)
    return None


def write_scene_list(path: Path, scenes: Sequence[SceneFiles]) -> None:
    """Write a list like the authors': a column for each product, no header, CRLF.

    Paths are relative to the split's folder.

    Args:
        path: Of the list; nothing is written without scenes.
        scenes: In the order of the list.

    Raises:
        OSError: It cannot be written.
    """
    rows = [
        ",".join(
            files.path(product).relative_to(files.split_folder).as_posix()
            for product in files.description.products
        )
        for files in scenes
    ]
    if rows:
        atomic_write(path, "".join(f"{row}\r\n" for row in rows).encode())
