"""Find mistakes in a description that concern several of its keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from planetcr_bench.constants import SPLIT_NAME
from planetcr_bench.data.encodings import KINDS, OPTICAL
from planetcr_bench.data.templates import INTEGER, field_names, template_fault
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.utils.folders import ending
from planetcr_bench.utils.validation import shown

if TYPE_CHECKING:
    from planetcr_bench.data.description import Description


def faults_of(described: Description) -> Iterator[str]:
    """Mistakes, one line each; the first one may cause the others."""
    for product in described.products:
        yield from _path_faults(described, product)
    yield from _band_faults(described)
    yield from _name_faults(described)
    yield from _split_faults(described)
    yield from _protocol_faults(described)
    same = {*described.optical.clear} & {*described.optical.cloudy}
    if same:
        yield f"optical: expected other files of cloudy than of clear, got {min(same)!r} for both"
    for split, known in described.known.items():
        if described.values_of(known.scene) is None:
            expected = f"expected a scene's name, {described.scene_template}"
            yield f"known.{split}: {expected}, got {known.scene!r}"
    paths = (path for product in described.products for path in described.paths(product))
    used = {name for path in paths for name in field_names(path)}
    for name in described.fields:
        if name not in used:
            yield f"fields: expected fields of the templates, got {name!r}"


def _band_faults(described: Description) -> Iterator[str]:
    if len(set(described.bands)) < len(described.bands):
        yield f"bands: expected different names, got {shown(described.bands)}"
    for band in described.picture or []:
        if band not in described.bands:
            yield f"picture: expected three of {', '.join(described.bands)}, got {band!r}"
    if described.optical.dates is not None and not described.has_dates:
        yield "optical.dates: expected a field that only optical.cloudy has, got none"
    chosen = sum(map(len, described.optical.file_bands))
    if chosen and chosen != len(described.bands):
        yield f"optical.file_bands: expected {len(described.bands)} bands in all, got {chosen}"
    if abs(round(1 / described.resize) - 1 / described.resize) > 1e-6:
        yield f"resize: expected 1, 1/2, 1/3, …, got {described.resize:g}"


def _protocol_faults(described: Description) -> Iterator[str]:
    """A protocol that crops needs square images of one size, of which it takes the centre."""
    size = described.read_size_of("clear")
    for name in described.protocols:
        window = PROTOCOLS[name].window
        if window and (size is None or size[0] != size[1] or size[0] < window):
            expected = f"size = a side of {window} pixels or more for {name}"
            yield f"protocols: expected {expected}, got {shown(size and list(size))}"


def _path_faults(described: Description, product: str) -> Iterator[str]:
    where = f"optical.{product}" if product in OPTICAL else f"{product}.path"
    paths = described.paths(product)
    for path in paths:
        if fault := template_fault(path):
            yield f"{where}: {fault}"
        if ending(path) not in KINDS:
            yield f"{where}: expected a file name in {', '.join(KINDS)}, got {path!r}"
        missing = [
            f"{{{name}}}" for name in described.scene_fields if name not in field_names(path)
        ]
        if missing or not described.scene_fields:
            expected = " and ".join(missing) or "fields such as {name}"
            yield f"{where}: expected a template with {expected}, got {path!r}"
        if {*field_names(path)} != {*field_names(paths[0])}:
            yield f"{where}: expected the same fields in all its files, got {path!r}"


def _name_faults(described: Description) -> Iterator[str]:
    fields = ", ".join(described.scene_fields)
    for key, template in (("scene", described.scene), ("cluster", described.cluster or "")):
        fault = template_fault(template) if template else ""
        if fault or "/" in template:
            yield f"{key}: {fault or f'expected a name without /, got {template!r}'}"
        for name in field_names(template):
            if name not in described.scene_fields:
                yield f"{key}: expected fields of the scene ({fields}), got {name!r}"


def _split_faults(described: Description) -> Iterator[str]:
    if not described.splits:
        yield "splits: expected at least one, got none"
    for name, split in described.splits.items():
        if not re.fullmatch(SPLIT_NAME, name):
            yield f"splits: expected names in lower case, got {name!r}"
        if split.field is not None and split.field not in described.scene_fields:
            fields = ", ".join(described.scene_fields)
            yield f"splits.{name}: expected a field of the scene ({fields}), got {split.field!r}"
        for cluster in split.clusters:
            if not described.is_cluster(cluster):
                expected = described.cluster or 'cluster = "…" in the description'
                yield f"splits.{name}: expected clusters, {expected}, got {cluster!r}"
        is_number = described.fields.get(split.field or "") == INTEGER
        for value in split.values:
            if isinstance(value, int) != is_number:
                expected = "whole numbers" if is_number else "texts"
                yield f"splits.{name}.values: expected {expected}, got {shown(value)}"
        if split.folder is not None and not described.has_split_folders:
            yield "splits: expected {split} in the templates of splits with folders, got none"
