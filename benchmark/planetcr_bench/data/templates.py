"""Compile path templates, such as ``{split}/s2_{roi}/p{patch}.tif``: walk folders, name files.

A field stands for a whole number or for text that matches a regular expression, within one folder
or file name. A field that occurs again has the same value again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from planetcr_bench.errors import DatasetError
from planetcr_bench.utils.folders import ending, leads_up, lies_beside, other_spelling, spellings
from planetcr_bench.utils.untrusted import printable

Value = int | str
"""Value of a field."""

Fields = tuple[tuple[str, str], ...]
"""Names of fields, each with ``int`` or a regular expression."""

INTEGER: Final = "int"

_INTEGER: Final = "0|[1-9][0-9]{0,8}"  # without zeros before it, so a number has one spelling

_FIELD: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")


@lru_cache(maxsize=256)
def field_names(template: str) -> tuple[str, ...]:
    """Names of the fields of a template, in the order of their first occurrence.

    Example:
        >>> field_names("{season}_{aoi}/{season}_{aoi}_p_{patch}.tif")
        ('season', 'aoi', 'patch')
    """
    return tuple(dict.fromkeys(_FIELD.findall(template)))


def template_fault(template: str) -> str:
    """Explain why a text is no template of a path; empty if it is one."""
    bare = _FIELD.sub("", template)
    if "{" in bare or "}" in bare:
        return f"expected fields such as {{name}} in lower case, got {template!r}"
    parts = template.split("/")
    if not all(parts) or {".", ".."} & set(parts) or "\\" in template:
        return f"expected a path from the dataset's folder, with / between names, got {template!r}"
    return ""


def existing(path: Path) -> Path:
    """The path with its extension as it is spelled on disk, such as ``.TIF``; else as it is."""
    return path if os.path.lexists(path) else other_spelling(path) or path


@dataclass(frozen=True, slots=True)
class Match:
    """A file that a template matches.

    Attributes:
        values: Of all fields.
        path: The file.
    """

    values: Mapping[str, Value]
    path: str


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template; see :func:`compile_template`.

    Attributes:
        text: The template.
        fields: Kind of each of its fields.
        parts: Its folders and the file.
    """

    text: str
    fields: Mapping[str, str]
    parts: tuple[str, ...]

    @property
    def start(self) -> str:
        """What every file name begins with."""
        return self.parts[-1].partition("{")[0]

    def format(self, values: Mapping[str, Value]) -> str:
        """The relative path of the file with these values."""
        return self.text.format_map(values)

    def match(self, path: str, values: Mapping[str, Value]) -> dict[str, Value] | None:
        """Values of the fields of a relative path, or of the folders that it begins with.

        Args:
            path: As many names as the template has, or fewer.
            values: Fields that are known.

        Returns:
            All known fields; None if the path does not match.
        """
        known = dict(values)
        names = path.split("/")
        if len(names) > len(self.parts):
            return None
        for index, name in enumerate(names):
            new = self._values(self.pattern(index, known), name)
            if new is None:
                return None
            known |= new
        return known

    def pattern(self, index: int, values: Mapping[str, Value]) -> re.Pattern[str]:
        """Pattern of one folder's or file's name, with the known values in it."""
        part = self.parts[index]
        suffix = ending(part) if index == len(self.parts) - 1 else ""
        stem = part[: len(part) - len(suffix)]
        end = "|".join(map(re.escape, spellings(suffix)))
        return re.compile(self._regex(stem, values) + (f"(?i:{end})" if suffix else ""))

    def values_of_stem(self, stem: str, values: Mapping[str, Value]) -> dict[str, Value] | None:
        """All known fields from a file's name without its extension; None if it does not match."""
        new = self._values(self.stem_pattern(values), stem)
        return None if new is None else {**values, **new}

    def stem_pattern(self, values: Mapping[str, Value]) -> re.Pattern[str]:
        """Pattern of the file's name without its extension."""
        part = self.parts[-1]
        return re.compile(self._regex(part[: len(part) - len(ending(part))], values))

    def _regex(self, text: str, values: Mapping[str, Value]) -> str:
        pieces = []
        seen: set[str] = set()
        for position, piece in enumerate(_FIELD.split(text)):
            if position % 2 == 0:
                pieces.append(re.escape(piece))
            elif piece in values:
                pieces.append(re.escape(str(values[piece])))
            elif piece in seen:
                pieces.append(f"(?P={piece})")
            else:
                kind = self.fields[piece]
                pieces.append(f"(?P<{piece}>{_INTEGER if kind == INTEGER else kind})")
                seen.add(piece)
        return "".join(pieces)

    def _values(self, pattern: re.Pattern[str], name: str) -> dict[str, Value] | None:
        match = pattern.fullmatch(name)
        if match is None:
            return None
        return {
            field: int(text) if self.fields[field] == INTEGER else text
            for field, text in match.groupdict().items()
            if field in self.fields
        }

    def walk(self, root: str, values: Mapping[str, Value]) -> tuple[list[Match], list[Path]]:
        """Find all files that match, without looking into folders that do not.

        Args:
            root: Folder that the template starts from.
            values: Fields that are known.

        Returns:
            The files, each once whatever the spellings of its extension; and everything else in
            their folders, except system files and notes.

        Raises:
            DatasetError: A folder cannot be read.
        """
        level: list[tuple[str, dict[str, Value]]] = [(root, dict(values))]
        for index in range(len(self.parts) - 1):
            level = [step for folder in level for step in self.folders(index, *folder)]
        matches: list[Match] = []
        strays: list[Path] = []
        for folder, known in level:
            if self._is_known(-1, known):
                path = existing(Path(folder, self.parts[-1].format_map(known)))
                if os.path.lexists(path):
                    matches.append(Match(known, f"{folder}/{path.name}"))
                continue
            found, others = self._files(folder, known)
            matches += found
            strays += others
        return matches, strays

    def folders(
        self, index: int, folder: str, values: Mapping[str, Value]
    ) -> Iterator[tuple[str, dict[str, Value]]]:
        """Folders in another that match one part of the template, each with all known fields."""
        if self._is_known(index, values):
            path = f"{folder}/{self.parts[index].format_map(values)}"
            if Path(path).is_dir() and not leads_up(Path(path)):
                yield path, dict(values)
            return
        pattern = self.pattern(index, values)
        for entry in entries(folder):
            new = self._values(pattern, entry.name)
            if new is not None and is_folder(entry) and not leads_up(Path(entry.path)):
                yield entry.path, {**values, **new}

    def _is_known(self, index: int, values: Mapping[str, Value]) -> bool:
        return all(name in values for name in field_names(self.parts[index]))

    def _files(self, folder: str, values: Mapping[str, Value]) -> tuple[list[Match], list[Path]]:
        pattern = self.pattern(len(self.parts) - 1, values)
        found: dict[tuple[Value, ...], tuple[dict[str, Value], list[str]]] = {}
        strays: list[Path] = []
        for entry in entries(folder):
            new = self._values(pattern, entry.name)
            if new is not None:
                found.setdefault(tuple(new.values()), (new, []))[1].append(entry.name)
            elif not (lies_beside(entry.name) or leads_up(Path(entry.path))):
                strays.append(Path(entry.path))
        matches = []
        for new, names in found.values():
            known = {**values, **new}
            name = names[0]
            if len(names) > 1:  # one file, several spellings of its extension
                name = existing(Path(folder, self.parts[-1].format_map(known))).name
                strays += [Path(folder, other) for other in names if other != name]
            matches.append(Match(known, f"{folder}/{name}"))
        return matches, strays


@lru_cache(maxsize=256)
def compile_template(template: str, fields: Fields) -> Template:
    """Compile a template.

    Args:
        template: See :func:`template_fault`.
        fields: Kind of its fields; any other matches any text.
    """
    kinds = {name: dict(fields).get(name, ".+") for name in field_names(template)}
    return Template(template, kinds, tuple(template.split("/")))


def entries(folder: str) -> list[os.DirEntry[str]]:
    """Content of a folder.

    Raises:
        DatasetError: It cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError as error:
        raise DatasetError(f"{printable(folder)}: cannot be read ({error.strerror})") from error


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
