"""Explain which folder to give and which files to rename where the layout is not followed."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

from planetcr_bench.constants import PLANET_CR
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.data.scene_files import SceneFiles, split_folder
from planetcr_bench.data.templates import INTEGER, Template, Value, existing
from planetcr_bench.data.variants import catalogue
from planetcr_bench.utils.folders import (
    affixes,
    describe_affixes,
    ending,
    grouped,
    leads_up,
    lies_beside,
    spellings,
)
from planetcr_bench.utils.untrusted import printable

_SHOWN: Final = 3
"""Names of files or folders that a message lists."""


def folder_hint(data: Path, description: Description) -> str:
    """Suggest the folder to give instead of one without a split, as the end of a message."""
    hint = _split_hint if _starts_with_split(description) else _root_hint
    return _other_dataset(data, description) or hint(data, description)


def _split_hint(data: Path, description: Description) -> str:
    """Suggest the folder to give where the folders of splits lie in it."""
    resolved = data.resolve()
    above = [
        folder
        for folder in resolved.parents[:3]
        if any(_holds_products(folder / name, description) for name in _folders(description))
    ]
    *most, last = _folders(description)
    names = f"{', '.join(most)} or {last}" if most else last
    if above:
        return f"; give {'its parent, ' if above[0] == resolved.parent else ''}{above[0]}"
    if _holds_products(data, description):
        return f"; move its folders into one named {names}, and give what holds that"
    inner = nested_split(data, description)
    if inner is None:
        return _describe_it(description)
    if inner.name in _folders(description):
        return f"; give {inner.parent}, which does"
    return f"; {inner} holds the scenes: name it {names}, and give what holds it"


def _other_dataset(data: Path, description: Description) -> str:
    """Name the dataset of the catalogue whose layout a folder has; empty if it is none."""
    own = description.paths("clear")
    for name in catalogue():
        other = load_description(name)
        if other.paths("clear") != own and _has_layout(data, other):
            return f"; it has the layout of {other.title}: give --dataset {name}"
    return ""


def _has_layout(data: Path, description: Description) -> bool:
    """Whether one of the first files is a clear image of a dataset."""
    template = description.templates("clear")[0]
    last = len(template.parts) - 1
    level = [(str(data), description.split_values(split)) for split in description.splits]
    for index in range(last):
        level = [step for f in level for step in islice(template.folders(index, *f), _SHOWN)]
    return any(
        template.pattern(last, values).fullmatch(path.name)
        for folder, values in level
        for path in _inside(Path(folder))
    )


def _describe_it(description: Description) -> str:
    """Advice where a folder is probably not of the dataset that is taken by default."""
    if description.title != load_description(PLANET_CR).title:
        return ""
    return "; another dataset than Planet-CR needs --dataset (`planetcr-bench describe` drafts one)"


def _starts_with_split(description: Description) -> bool:
    """Whether the folders of splits lie in the dataset's own."""
    return description.templates("clear")[0].parts[0] == "{split}"


def _root_hint(data: Path, description: Description) -> str:
    """Suggest the folder to give where paths begin with a folder of all splits, such as RICE1."""
    template = description.templates("clear")[0]
    nameless = dict.fromkeys(template.fields, "")
    has_name = bool(template.parts[0].format_map(nameless)) and len(template.parts) > 1
    above = data.resolve().parents[:3] if has_name else ()
    for folder in above:
        if _holds_products(folder, description):
            return f"; give {'its parent, ' if folder == above[0] else ''}{folder}"
    inner = nested_split(data, description)
    return f"; give {inner}, which does" if inner is not None else ""


def _folders(description: Description) -> list[str]:
    """Names of the folders of splits."""
    return [str(description.split_values(split)["split"]) for split in description.splits]


def _first_parts(description: Description, products: Iterable[str]) -> list[tuple[Template, int]]:
    """Templates of products, with the part that follows the split's folder."""
    return [
        (template, int(template.parts[0] == "{split}"))
        for product in products
        for template in description.templates(product)
    ]


def _holds_products(folder: Path, description: Description) -> bool:
    """Whether a folder looks like a split: what clear images lie in is in it."""
    return any(
        _matches(path, template, index)
        for template, index in _first_parts(description, ["clear"])
        for path in _inside(folder)
    )


def _matches(path: Path, template: Template, index: int) -> bool:
    is_last = index == len(template.parts) - 1
    return template.pattern(index, {}).fullmatch(path.name) is not None and (
        path.is_file() if is_last else path.is_dir()
    )


def nested_split(folder: Path, description: Description) -> Path | None:
    """Find the first folder of products, at most three levels below another."""
    level = [folder]
    for _ in range(3):
        level = [inner for outer in level for inner in _inner_folders(outer, description)]
        for inner in level:
            if _holds_products(inner, description):
                return inner
    return None


def _inside(folder: Path) -> list[Path]:
    """List a limited number of files and folders in another."""
    try:
        return sorted(folder.iterdir())[:100]
    except OSError:
        return []


def _inner_folders(folder: Path, description: Description) -> list[Path]:
    """Folders within another that do not belong to a product."""
    parts = _first_parts(description, description.products)
    starts = tuple(
        start for template, index in parts if (start := template.parts[index].partition("{")[0])
    )
    return [
        path
        for path in _inside(folder)
        if not (lies_beside(path.name) or path.name.startswith(starts) or leads_up(path))
        and path.is_dir()
    ]


def no_scenes(data: Path, split: str, description: Description) -> str:
    """Explain why a split has no scene, and name the folder to give instead if there is one."""
    folder = split_folder(data, split, description)
    inner = nested_split(folder, description)
    hint = _other_dataset(data, description)
    if not hint and not _starts_with_split(description):
        hint = _root_hint(data, description)
    if hint:
        remedy = hint
    elif inner is not None:
        give = f"give {inner.parent}, or " if inner.name == folder.name else ""
        remedy = f"; they lie in {inner}: {give}move what is in it to {folder}"
    else:
        there = what_is_there(data, split, description, "clear")
        remedy = f": {there}{_describe_it(description)}"
    return f"{folder}: expected scenes in {description.layout_name}, found none{remedy}"


def what_is_there(data: Path, split: str, description: Description, product: str) -> str:
    """Say where the template of a product stops matching: what is there, and what was expected."""
    template = description.templates(product)[0]
    level: list[tuple[str, dict[str, Value]]] = [(str(data), description.split_values(split))]
    for index, part in enumerate(template.parts):
        last = index == len(template.parts) - 1
        below = [] if last else [step for f in level for step in template.folders(index, *f)]
        if below:
            level = below
            continue
        folder, values = level[0]
        shown = {name: f"{{{name}}}" for name in template.fields}
        names, others = (
            [
                printable(path.name)
                for path in _inside(Path(folder))
                if not path.name.startswith(".") and path.is_file() == is_file
            ]
            for is_file in (last, not last)
        )
        found = _first_names(names) or "none"
        if not names and others:
            found = f"only {'folders' if last else 'files'}: {_first_names(others)}"
        expected = part.format_map({**shown, **values})
        return (
            f"expected {product} {'files' if last else 'folders'} {expected} in {folder}, found "
            f"{found}{_zeros_hint(template, index, values, names)}"
        )
    raise AssertionError("a template has parts")


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _zeros_hint(
    template: Template, index: int, values: Mapping[str, Value], names: Iterable[str]
) -> str:
    """Explain that whole numbers have no zeros before them, where names would match with these."""
    numbers = [name for name, kind in template.fields.items() if kind == INTEGER]
    digits = replace(template, fields={**template.fields, **dict.fromkeys(numbers, "[0-9]+")})
    pattern = digits.pattern(index, values)
    if not any(pattern.fullmatch(name) for name in names):
        return ""
    return f'; numbers that begin with 0 need {numbers[0]} = "[0-9]+" instead of "int"'


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


def absent_products(
    data: Path, split: str, description: Description, products: Mapping[SceneFiles, int]
) -> dict[str, str]:
    """Products that no scene of a split has, as by a wrong template, each with what is there.

    Args:
        data: Folder of the dataset.
        split: Name of the split.
        description: Of the dataset.
        products: From ``layout.find_files``; a single scene may just lack a file.
    """
    if len(products) < 2:
        return {}
    return {
        product: f"{data}: {what_is_there(data, split, description, product)}"
        for bit, product in enumerate(description.products)
        if not any(bits & 1 << bit for bits in products.values())
    }


def repeated_files(
    strays: Iterable[Path], data: Path, split: str, description: Description
) -> dict[Path, str]:
    """Files among strays that differ from another only in the spelling of their extension.

    Args:
        strays: From ``layout.find_files``.
        data: Folder of the dataset.
        split: Name of the split.
        description: Of the dataset.

    Returns:
        File to a line about it.
    """
    known, lines = description.split_values(split), {}
    for path in strays:
        relative = path.relative_to(data).as_posix()
        for product, template in description.all_templates:
            values = template.match(relative, known)
            if values is not None:
                other = existing(data / template.format(values))
                lines[path] = f"{path}: expected one {product} file for its scene, got also {other}"
    return lines


def of_products(
    strays: Iterable[Path],
    products: Collection[str],
    data: Path,
    split: str,
    description: Description,
) -> set[Path]:
    """Files among strays that lie where files of some products are expected."""
    known = description.split_values(split)
    templates = [each for product in products for each in description.templates(product)]
    return {path for path in strays if _template_of(path, data, known, description)[0] in templates}


def misnamed(data: Path, split: str, description: Description, strays: Iterable[Path]) -> Misnamed:
    """Separate files whose names share an additional word from other strays.

    Args:
        data: Folder of the dataset.
        split: Name of the split.
        description: Of the dataset.
        strays: From ``layout.find_files``.
    """
    known = description.split_values(split)
    templates = {path: _template_of(path, data, known, description) for path in strays}
    groups, rest = grouped((path, _affixes(path, *templates[path])) for path in templates)
    lines: list[str] = []
    missing: set[str] = set()
    folder = split_folder(data, split, description)
    for (before, behind), files in groups.items():
        if len(files) < 2:
            rest += [path for path, _ in files]
            continue
        ends = {path: ending(templates[path][0].text) for path, _ in files}
        first, stem = files[0]
        missing |= {missing_file(path.with_name(f"{name}{ends[path]}")) for path, name in files}
        lines.append(
            f"{folder}: expected names such as {stem}{ends[first]}, got {len(files)} files with "
            f"{describe_affixes(before, behind)} it, such as {printable(first)}; rename them"
        )
    return Misnamed(lines, frozenset(missing), sorted(rest))


def _template_of(
    path: Path, data: Path, known: dict[str, Value], description: Description
) -> tuple[Template, dict[str, Value]]:
    """Template of the product whose folder a file lies in, and the fields of that folder."""
    parent = path.parent.relative_to(data).as_posix()
    templates = [template for _, template in description.all_templates]
    for template in templates:
        depth = len(template.parts) - 1
        values = known if depth == 0 else template.match(parent, known)
        if values is not None and (0 if parent == "." else parent.count("/") + 1) == depth:
            return template, dict(values)
    return templates[0], dict(known)


def _affixes(
    path: Path, template: Template, values: dict[str, Value]
) -> tuple[str, str, str] | None:
    is_image = ending(path) in spellings(ending(template.text))
    return affixes(path.stem if is_image else path.name, template.stem_pattern(values))


def missing_file(path: str | os.PathLike[str]) -> str:
    """Message about a file that is missing."""
    return f"{path}: no such file"
