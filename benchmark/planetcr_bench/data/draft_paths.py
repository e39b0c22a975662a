"""Guess from the names of files which product they are of, and the templates of their paths."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from planetcr_bench.constants import SEASONS
from planetcr_bench.data.encodings import KINDS, SPLIT
from planetcr_bench.data.templates import INTEGER
from planetcr_bench.utils.folders import ending, image_files

WORDS: Final = {
    "cloud_mask": "mask|masks|cloudmask|cloudmasks|udm2?",
    "land_cover": "landcover|land_cover|lc|lulc|worldcover",
    "clear": "clear|clean|label|labels|target|targets|gt|ground_truth|groundtruth|ref|reference"
    "|cloudfree|cloud_free|cloudless|cloud_less|noncloud",
    "cloudy": "cloudy|cloud|clouds|hazy|haze|input|s2_cloudy",
    "sar": "sar|s1|sentinel1|sentinel_1",
}
"""Product to the words in names that mean it, in the order in which they are looked for."""

WEAK: Final = {"clear": "s2|sentinel2|sentinel_2|optical"}
"""Words that decide where no other one does."""

KINDS_OF_TEXT: Final = ("[A-Za-z]+", "[A-Za-z0-9]+", ".+")
"""Regular expressions of fields, the narrowest first."""

SPLITS: Final = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Name of a folder to that of its split."""


@dataclass(frozen=True, slots=True)
class Group:
    """Files of one product whose paths have one template.

    Attributes:
        template: With the names of the fields.
        kinds: Of the fields; see ``description.Description.fields``.
        keys: Values of the fields of each file, to its path.
    """

    template: str
    kinds: dict[str, str]
    keys: dict[tuple[str, ...], str]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields, in the order of the keys."""
        return tuple(self.kinds)


@dataclass(slots=True)
class Paths:
    """What the names in a folder say.

    Attributes:
        groups: Product to the files that it is made of, in order; the clear ones come first.
        date: Name of the field that only the cloudy images have; empty without one.
        splits: Name of a split to its folder.
        unknown: What was not understood, a line each.
    """

    groups: dict[str, list[Group]] = field(default_factory=dict)
    date: str = ""
    splits: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def guess_paths(data: Path) -> Paths:
    """Guess the products and the templates of a folder.

    Raises:
        BenchError: The folder cannot be read.
    """
    relative = [path.relative_to(data).as_posix() for path in image_files(data)]
    files = [path for path in relative if ending(path) in KINDS]
    found, by_product = Paths(), _by_product(files)
    others = [path for path in files if path not in {*_all(by_product)}]
    if others:
        found.unknown.append(f"what {len(others)} files are, such as {others[0]}")
    groups = {product: _groups(paths) for product, paths in by_product.items()}
    clear = groups.pop("clear", [])
    if clear:
        found.groups["clear"] = _together(clear, clear[0], "clear", found)
    for product in [name for name in WORDS if name in groups]:
        found.groups |= _matched(product, groups[product], found) if clear else {}
    if clear and SPLIT in clear[0].names:
        values = {key[clear[0].names.index(SPLIT)] for key in clear[0].keys}
        found.splits = {SPLITS[value.lower()]: value for value in sorted(values)}
    return found


def _all(by_product: Mapping[str, Sequence[str]]) -> list[str]:
    return [path for paths in by_product.values() for path in paths]


def _by_product(files: Sequence[str]) -> dict[str, list[str]]:
    """Product to its files: the deepest folder with one of its words decides, then the name."""
    shared = _shared_folders(files)
    by_product: dict[str, list[str]] = defaultdict(list)
    for path in files:
        *folders, name = path.split("/")
        own = [part for depth, part in enumerate(folders) if shared.get(depth) != part]
        texts = [*reversed(own), Path(name).stem]
        product = next(filter(None, (_product(text, WORDS) for text in texts)), "")
        product = product or next(filter(None, (_product(text, WEAK) for text in texts)), "")
        if product:
            by_product[product].append(path)
    return by_product


def _shared_folders(files: Sequence[str]) -> dict[int, str]:
    """Depth to the folder that all files lie in, which says nothing of a product."""
    common = os.path.commonpath(files) if files else ""
    return dict(enumerate(common.split("/")))


def _product(text: str, words: Mapping[str, str]) -> str:
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower())
    for product, pattern in words.items():
        if re.search(f"(?:^|_)(?:{pattern})(?:_|$)", plain):
            return product
    return ""


# --- Templates ----------------------------------------------------------------------------------


def _groups(paths: Sequence[str]) -> list[Group]:
    """Files of a product by their depth and extension; most files first."""
    alike: dict[tuple[int, str], list[str]] = defaultdict(list)
    for path in paths:
        alike[path.count("/"), ending(path)].append(path)
    ordered = sorted(alike.values(), key=lambda own: (-len(own), own[0].count("/")))
    return [_template(own) for own in ordered]


def _template(paths: Sequence[str]) -> Group:
    """The template of paths of one depth and extension."""
    end = Path(paths[0]).suffix
    columns = [*zip(*(Path(path).with_suffix("").parts for path in paths), strict=True)]
    columns_of = _Columns()
    pieces = [
        columns_of.field(parts, SPLIT)
        if {part.lower() for part in parts} <= SPLITS.keys()
        else columns_of.part(parts)
        for parts in columns[:-1]
    ]
    pieces.append(columns_of.part(columns[-1]))
    if not columns_of.values.keys() - {SPLIT}:  # a single scene
        pieces[-1] = columns_of.single(columns[-1])
    keys = zip(*columns_of.values.values(), strict=True)
    template = "/".join(pieces) + end
    return Group(template, columns_of.kinds, dict(zip(keys, paths, strict=True)))


class _Columns:
    """The fields of a template while it is read, by what their values are."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[str, ...]] = {}
        self.kinds: dict[str, str] = {}

    def part(self, texts: Sequence[str]) -> str:
        """Text of one folder's or file's name in a template."""
        if len(set(texts)) == 1:
            return texts[0]
        split = [re.split(r"([_\-. ]+)", text) for text in texts]
        if len({len(words) for words in split}) > 1:
            return self.field(texts, "name")
        words = [*zip(*split, strict=True)]
        before = ["", "", *(own[0] if len({*own}) == 1 else "" for own in words)]
        return "".join(self._word(own, hint) for own, hint in zip(words, before, strict=False))

    def _word(self, words: Sequence[str], hint: str) -> str:
        if len(set(words)) == 1:
            return words[0]
        letters = re.match(r"[A-Za-z]*", words[0])
        start = letters[0] if letters else ""
        rest = [word.removeprefix(start) for word in words]
        numbered = all(
            w.startswith(start) and r.isdigit() for w, r in zip(words, rest, strict=True)
        )
        if numbered:
            return start + self.field(rest, (start or hint).lower())
        return self.field(words, "")

    def single(self, texts: Sequence[str]) -> str:
        """The name of a single file: its last number is a field, or all of it."""
        match = re.fullmatch(r"(.*?)([0-9]+)([^0-9]*)", texts[0])
        if match is None:
            return self.field(texts, "name")
        return match[1] + self.field([match[2]] * len(texts), "n") + match[3]

    def field(self, values: Sequence[str], hint: str) -> str:
        """The field of these values: a new one, or one that has the same values."""
        column = tuple(values)
        for name, own in self.values.items():
            if own == column:
                return f"{{{name}}}"
        name = self._name(column, hint)
        self.values[name], self.kinds[name] = column, _kind(column)
        return f"{{{name}}}"

    def _name(self, values: Sequence[str], hint: str) -> str:
        if hint == SPLIT:
            return SPLIT
        if {value.lower() for value in values} <= {*SEASONS}:
            hint = "season"
        elif all(re.fullmatch(r"(19|20)\d\d", value) for value in values):
            hint = "year"
        hint = {"p": "patch", "t": "tile"}.get(hint, hint)
        if not re.fullmatch("[a-z][a-z0-9]*", hint) or hint == SPLIT:
            hint = "n" if all(value.isdigit() for value in values) else "name"
        number = next(n for n in range(1, 10**6) if _numbered(hint, n) not in self.values)
        return _numbered(hint, number)


def _numbered(hint: str, number: int) -> str:
    return hint if number == 1 else f"{hint}{number}"


def _kind(values: Sequence[str]) -> str:
    if all(value.isdigit() for value in values):
        plain = all(value == "0" or value[0] != "0" for value in values)
        return INTEGER if plain and max(map(len, values)) <= 9 else "[0-9]+"
    narrow = (kind for kind in KINDS_OF_TEXT if all(re.fullmatch(kind, v) for v in values))
    return next(narrow, KINDS_OF_TEXT[-1])


# --- Products of one scene ----------------------------------------------------------------------


def _together(groups: Sequence[Group], clear: Group, product: str, found: Paths) -> list[Group]:
    """The groups of a product that have the scenes of the clear images."""
    fitting = []
    for group in groups:
        renamed = _renamed(group, clear)
        if renamed is not None and {*clear.keys} <= {*renamed.keys}:
            fitting.append(renamed)
        else:
            path = next(iter(group.keys.values()))
            found.unknown.append(
                f"how {len(group.keys)} files of {product}, such as {path}, belong to scenes"
            )
    return fitting


def _renamed(group: Group, clear: Group) -> Group | None:
    """A group with the names of fields of the clear images; None if it has other fields."""
    if len(group.names) != len(clear.names):
        return None
    new = dict(zip(group.names, clear.names, strict=True))
    return _with_names(group, new, clear)


def _with_names(group: Group, new: Mapping[str, str], clear: Group) -> Group:
    template = re.sub(r"\{(\w+)\}", lambda match: f"{{{new[match[1]]}}}", group.template)
    kinds = {new[name]: kind for name, kind in group.kinds.items()}
    for name in kinds.keys() & clear.kinds.keys():
        kinds[name] = _wider(kinds[name], clear.kinds[name])
    return Group(template, kinds, group.keys)


def _wider(first: str, second: str) -> str:
    order = (INTEGER, "[0-9]+", *KINDS_OF_TEXT)
    return max(first, second, key=order.index)


def _matched(product: str, groups: Sequence[Group], found: Paths) -> dict[str, list[Group]]:
    """The groups of a product that belong to the clear images, perhaps with a date more."""
    clear = found.groups["clear"][0]
    first = groups[0]
    if product == "cloudy" and len(first.names) == len(clear.names) + 1:
        dated = _dated(first, clear)
        if dated is not None:
            found.date = "date"
            return {product: [dated]}
    fitting = _together(groups, clear, product, found)
    return {product: fitting} if fitting else {}


def _dated(group: Group, clear: Group) -> Group | None:
    """The cloudy images, with the field that the clear ones lack as their date."""
    for index in reversed(range(len(group.names))):
        keys = Counter(key[:index] + key[index + 1 :] for key in group.keys)
        if {*keys} >= {*clear.keys}:
            names = [*clear.names[:index], "date", *clear.names[index:]]
            return _with_names(group, dict(zip(group.names, names, strict=True)), clear)
    return None
