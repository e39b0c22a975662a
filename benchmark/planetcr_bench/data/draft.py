"""Draft the description of a dataset from what lies in its folder."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import tomli_w
from numpy.typing import NDArray

from planetcr_bench.constants import BAND_NAME, PLANET_CR
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.data.draft_paths import Group, Paths, guess_paths
from planetcr_bench.data.encodings import SPLIT
from planetcr_bench.data.mask_rules import UDM2, UDM2_COUNT
from planetcr_bench.data.pairs import BANDS, SCALES
from planetcr_bench.data.reading import Raster, read_raster
from planetcr_bench.errors import DatasetError
from planetcr_bench.utils.untrusted import parse_toml, printable
from planetcr_bench.utils.validation import validate

SAMPLES: Final = 3
"""Files of a product that are opened."""

_DB: Final = {"vv": [-25.0, 0.0], "vh": [-32.5, 0.0]}
"""Range of SAR bands as Planet-CR has it."""


@dataclass(slots=True)
class Draft:
    """A draft of ``dataset.toml``.

    Attributes:
        lines: Of the file.
        unknown: What could not be found out, a line each.
    """

    lines: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def add(self, key: str, value: object, why: str = "") -> None:
        """Add a key; ``why`` says what it was guessed from."""
        text = tomli_w.dumps({"key": value}).partition("=")[2].strip()
        text = re.sub(r"\s*\n\s*", " ", text).replace("[ ", "[").replace(", ]", "]")
        self.lines.append(f"{key} = {text}" + (f" # {why}" if why else ""))

    @property
    def text(self) -> str:
        """The file: what could not be found out stands at its beginning."""
        head = ["# A draft: every comment says what its line was guessed from."]
        head += [f"# Not found out: {printable(line)}." for line in self.unknown]
        return "\n".join([*head, "", *self.lines]) + "\n"


def draft_description(data: Path) -> Draft:
    """Draft the description of the dataset in a folder.

    Args:
        data: The folder, with cloudy and clear images whose names or folders say which they are.

    Returns:
        A draft that is a valid description.

    Raises:
        DatasetError: There is no such folder, no clear or no cloudy images were recognised, or a
            file cannot be read.
    """
    if not data.is_dir():
        raise DatasetError(f"{printable(data)}: expected a folder, found no such folder")
    paths = guess_paths(data)
    missing = [product for product in ("clear", "cloudy") if product not in paths.groups]
    if missing:
        raise DatasetError(
            f"{printable(data)}: expected folders or files with words such as cloudy and clear in "
            f"their names, whose other words and numbers agree, found no {' and no '.join(missing)}"
            " images; describe the dataset by hand",
            [f"not understood: {line}" for line in paths.unknown],
        )
    draft = Draft(unknown=paths.unknown)
    clear = _samples(data, paths, "clear")
    draft.add("title", data.resolve().name, "name of the folder")
    draft.lines.append('# track = "…"  # name of the track of results, in lower case')
    _add_images(draft, clear)
    _add_scenes(draft, paths)
    kinds = {
        name: kind
        for groups in paths.groups.values()
        for group in groups
        for name, kind in group.kinds.items()
        if name != SPLIT and kind != ".+"
    }
    if kinds:
        draft.lines += ["", "[fields]"]
        for name, kind in kinds.items():
            draft.add(name, kind)
    _add_optical(draft, data, paths, clear)
    for product, add in (
        ("sar", _add_sar), ("land_cover", _add_land_cover), ("cloud_mask", _add_mask)
    ):  # fmt: skip
        if product in paths.groups:
            add(draft, paths.groups[product], _samples(data, paths, product)[0], clear[0])
    validate(Description, parse_toml(draft.text, str(data)), str(data), error=DatasetError)
    return draft


def _samples(data: Path, paths: Paths, product: str) -> list[list[Raster]]:
    """Some scenes of a product, spread over all, as they are stored: a raster for each file."""
    groups = paths.groups[product]
    keys = [key for key in groups[0].keys if all(key in group.keys for group in groups)]
    step = max(1, (len(keys) - 1) // max(1, SAMPLES - 1))
    chosen = keys[::step][:SAMPLES]
    return [[read_raster(data / group.keys[key], bands=None) for group in groups] for key in chosen]


def _images(samples: list[list[Raster]]) -> list[list[NDArray[Any]]]:
    """Their pixels, shape (B, H, W)."""
    return [
        [r.pixels if r.pixels.ndim == 3 else r.pixels[None] for r in rasters] for rasters in samples
    ]


# --- Optical images -----------------------------------------------------------------------------


def _add_images(draft: Draft, clear: list[list[Raster]]) -> None:
    """Resolution and bands of the optical images."""
    first = clear[0][0]
    grid = first.transform
    if grid is not None and first.crs and abs(grid.a) > 0.01:
        draft.add("resolution", abs(float(grid.a)), "pixel of the first clear image, in metres")
    else:
        draft.unknown.append("the size of a pixel: resolution = … in metres")
    names = [name for raster in clear[0] for name in raster.tags.names]
    count = sum(_band_counts(clear))
    given = [name.lower() for name in names]
    if (
        len(names) == count
        and len({*given}) == count
        and all(re.fullmatch(BAND_NAME, name) for name in given)
    ):
        draft.add("bands", given, "names in the first clear image")
        return
    bands = BANDS.get(count)
    if bands is None:
        draft.unknown.append(f"which {count} bands the images have: bands = […]")
    why = f"guess: {count} bands in this order" if bands else f"names of {count} unknown bands"
    draft.add("bands", list(bands or [f"b{number}" for number in range(1, count + 1)]), why)


def _band_counts(clear: list[list[Raster]]) -> list[int]:
    """Bands of each file of an image; a grey picture of three equal channels is one."""
    images = _images(clear)
    counts = []
    for index in range(len(images[0])):
        files = [image[index] for image in images]
        grey = index > 0 and all(
            len(file) == 3 and not np.ptp(file, axis=0).any() for file in files
        )
        counts.append(1 if grey else len(files[0]))
    return counts


def _add_optical(draft: Draft, data: Path, paths: Paths, clear: list[list[Raster]]) -> None:
    draft.lines += ["", "[optical]"]
    for product in ("clear", "cloudy"):
        groups = paths.groups[product]
        templates = [group.template for group in groups]
        scenes = f"{len(groups[0].keys)} files" + (" of each" if len(groups) > 1 else "")
        draft.add(product, templates if len(templates) > 1 else templates[0], scenes)
    if paths.date:
        where = paths.groups["cloudy"][0].names.index(paths.date)
        others = Counter(key[:where] + key[where + 1 :] for key in paths.groups["cloudy"][0].keys)
        if len({*others.values()}) == 1:
            draft.add("dates", next(iter(others.values())), "of every scene")
    stored = [len(image) for image in _images(clear)[0]]
    counts = _band_counts(clear)
    if counts != stored:
        numbers = [list(range(1, count + 1)) for count in counts]
        draft.add("file_bands", numbers, "three equal channels are one band")
    pixels = [image for sample in _images([*clear, *_samples(data, paths, "cloudy")])
              for image in sample]  # fmt: skip
    dtypes = sorted({image.dtype.name for image in pixels})
    draft.add("dtype", dtypes if len(dtypes) > 1 else dtypes[0])
    scale, why = _scale(pixels)
    draft.add("scale", scale, why)
    if why.startswith("guess"):
        draft.unknown.append("for certain which value stands for reflectance 1: optical.scale")


def _scale(images: list[NDArray[Any]]) -> tuple[float, str]:
    """Value that stands for reflectance 1, and why."""
    largest = max(float(image.max()) for image in images)
    typical = max(float(np.percentile(image, 99)) for image in images)
    dtype = images[0].dtype.name
    shown = f"values up to {largest:g}"
    if dtype == "uint8":
        return 255.0, "bytes"
    if images[0].dtype.kind == "f":
        if typical <= 2:
            return 1.0, f"{shown}: reflectance"
        return (255.0 if largest <= 255 else 10_000.0), f"guess: {shown}"
    if largest <= 255:
        return 255.0, f"guess: {shown}, as of bytes"
    usual = SCALES.get(dtype, 10_000.0)
    if typical > 2 * usual:
        return 65_535.0, f"guess: {shown}, as of 16 bits"
    return usual, f"{shown}: reflectance x {usual:g}"


# --- Scenes and splits --------------------------------------------------------------------------


def _add_scenes(draft: Draft, paths: Paths) -> None:
    """Name of a scene, clusters and splits."""
    clear = paths.groups["clear"][0]
    names = [name for name in clear.names if name != SPLIT]
    parts = [f"{{{name}}}" for name in names]
    plain = Counter(_without(clear, SPLIT))
    if any(count > 1 for count in plain.values()):
        draft.add("scene", "_".join([f"{{{SPLIT}}}", *parts]), "splits have equal names")
    else:
        draft.add("scene", "_".join(parts))
    places = Counter(key[:-1] for key in plain)
    if len(names) > 1 and len(places) < len(plain):
        why = f"guess: scenes that differ in {names[-1]} alone are of one place"
        draft.add("cluster", "_".join(parts[:-1]), why)
    else:
        draft.unknown.append("which scenes are of one place: cluster = … for honest intervals")
    if not paths.splits:
        draft.lines.append("# splits: none was recognised, so all scenes are of the split test")
    elif all(name == folder for name, folder in paths.splits.items()):
        draft.add("splits", [*paths.splits], "names of folders")
    else:
        folders = {name: {"folder": folder} for name, folder in paths.splits.items()}
        inner = ", ".join(
            f'{name} = {{folder = "{own["folder"]}"}}' for name, own in folders.items()
        )
        draft.lines.append(f"splits = {{{inner}}} # names of folders")


def _without(group: Group, name: str) -> list[tuple[str, ...]]:
    if name not in group.names:
        return [*group.keys]
    where = group.names.index(name)
    return [key[:where] + key[where + 1 :] for key in group.keys]


# --- Other products -----------------------------------------------------------------------------


def _add_sar(draft: Draft, groups: list[Group], sample: list[Raster], clear: list[Raster]) -> None:
    (image, *_), (optical, *_) = _images([sample])[0], _images([clear])[0]
    templates = [group.template for group in groups]
    bands = sum(len(each) for each in _images([sample])[0])
    if bands > len(_DB):
        draft.unknown.append(f"which {bands} bands {templates[0]} has, so SAR is left out")
        return
    names = [*_DB][:bands]
    draft.lines += ["", "[sar]"]
    draft.add("path", templates if len(templates) > 1 else templates[0])
    draft.add("bands", names, f"guess: {bands} bands in this order")
    power = bool(np.nanmin(image) >= 0)
    draft.add("unit", "power" if power else "dB", f"values from {float(np.nanmin(image)):.3g}")
    draft.add("range", [_DB[name] for name in names], "guess: as of Planet-CR")
    if image.shape[-2:] != optical.shape[-2:]:
        _add_grid(draft, sample[0])


def _add_grid(draft: Draft, raster: Raster) -> None:
    draft.add("size", list(raster.pixels.shape[-2:]), "another grid than the optical images")
    if raster.transform is not None:
        draft.add("resolution", abs(float(raster.transform.a)))


def _add_land_cover(
    draft: Draft, groups: list[Group], sample: list[Raster], clear: list[Raster]
) -> None:
    image, path = sample[0].pixels, groups[0].template
    usual = load_description(PLANET_CR).land_cover
    assert usual is not None
    codes = {code for code, _ in usual.classes}
    if image.dtype != np.uint8 or not {*np.unique(image).tolist()} <= codes:
        draft.unknown.append(
            f"which class each code of the land cover in {path} means, so it is left out; see "
            "land_cover.codes in docs/data.md"
        )
        return
    draft.lines += ["", "[land_cover]"]
    draft.add("path", path)
    draft.add("legend", usual.legend, "guess: its codes")
    if image.shape[-2:] != clear[0].pixels.shape[-2:]:
        _add_grid(draft, sample[0])
    draft.lines += ["", "[land_cover.codes] # guess: as of Planet-CR"]
    for name, own in usual.codes.items():
        draft.add(name, own)


def _add_mask(draft: Draft, groups: list[Group], sample: list[Raster], clear: list[Raster]) -> None:
    image, optical = _images([sample])[0][0], _images([clear])[0][0]
    path = groups[0].template
    if image.shape[-2:] != optical.shape[-2:]:
        draft.unknown.append(f"how the masks {path} lie on the images, so they are left out")
        return
    draft.lines += ["", "[cloud_mask]"]
    draft.add("path", path)
    values = np.unique(image)
    if len(image) == UDM2_COUNT:
        draft.add("rule", UDM2, "guess: eight bands, as UDM2 of Planet has")
    elif len(values) > 2:
        shown = ", ".join(f"{value:g}" for value in values[:8]) + ", …" * (len(values) > 8)
        draft.lines.append(f"# cloud = [...]  # all but 0 counts as cloud; values are {shown}")
        draft.unknown.append(f"which values of {path} mean cloud: cloud_mask.cloud")
