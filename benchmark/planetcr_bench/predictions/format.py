"""Find, check, read and write folders of predictions.

It fails closed: whatever is missing, surplus or invalid is named, never skipped silently.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import rasterio
import tomli_w
from affine import Affine
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from planetcr_bench.constants import (
    DN_PER_REFLECTANCE,
    INPUT_WINDOWS,
    OPTICAL_BANDS,
    OPTICAL_SIZE,
    PRODUCTS,
    UNKNOWN_INPUT,
)
from planetcr_bench.data.grids import crs_name, grid_name, same_crs
from planetcr_bench.data.layout import SceneFiles
from planetcr_bench.data.pixel_checks import (
    DIMMEST,
    IMPOSSIBLE,
    LARGEST_STORED_REFLECTANCE,
    PixelError,
    Tags,
    band_order,
    expect_digital_numbers,
    expect_no_holes,
    expect_reflectance,
    has_scale,
    is_convention,
    number,
    scaled,
    told_scale,
)
from planetcr_bench.data.raster import Header, header_fault, header_of, open_geotiff
from planetcr_bench.data.reading import Raster, read_raster
from planetcr_bench.data.scene import Image
from planetcr_bench.errors import DatasetError, PredictionError
from planetcr_bench.utils.files import atomic_path, atomic_write
from planetcr_bench.utils.folders import IMAGES, affixes, ending, grouped, image_files, told_affixes
from planetcr_bench.utils.untrusted import npy_header, printable, read_toml
from planetcr_bench.utils.validation import FileModel, validate

CARD: Final = "predictions.toml"
"""File beside the predictions that describes where they come from; optional."""

LARGEST_CARD: Final = 64_000
"""Bytes of it."""

CROP_SIZE: Final = 160
"""Side of the centre crop that may be given instead of the whole patch."""

DTYPES: Final = ("uint16", "float16", "float32", "float64")


class Card(FileModel):
    """What ``predictions.toml`` may say.

    Attributes:
        method: Name of the method.
        split: Split that was predicted.
        scale: Value in the files that stands for a reflectance of 1; by default 10 000 for uint16
            and 1 for float.
        dataset: Where the dataset lay.
        fingerprint: Of the split, as ``planetcr-bench check`` prints it.
        simulation: Identity of a simulated split, which another machine simulates again.
        weights: SHA-256 of the weight file, or how else the weights were made.
        code: SHA-256 of the user's file that defines the network.
        options: Options of the network, ``key=value``, separated by commas.
        window: What the network saw, a key of ``INPUT_WINDOWS``.
        precision: Lower precision in which the network ran.
        tiles: Side and overlap of the tiles in which it saw an image.
    """

    model_config = ConfigDict(title="a card of predictions")

    method: str | None = None
    split: str | None = None
    scale: Annotated[float, Field(gt=0, lt=1e9)] | None = None
    dataset: str | None = None
    fingerprint: str | None = None
    simulation: str | None = None
    weights: str | None = None
    code: str | None = None
    options: str | None = None
    window: Literal["official", "whole"] | None = None
    precision: str | None = None
    tiles: str | None = None


@dataclass(frozen=True, slots=True)
class Predictions:
    """A folder of predictions, matched with the scenes of a split and not yet read.

    Attributes:
        folder: The folder.
        card: Content of ``predictions.toml``.
        files: Scene to file, for every scene whose file passed the first check.
        size: Side of the images in pixels, 300 or 160.
        problems: One line per missing, surplus or unusable file.
    """

    folder: Path
    card: Card
    files: dict[SceneFiles, Path]
    size: int
    problems: list[str] = field(default_factory=list)


def input_window_of(predictions: Predictions) -> str:
    """Input window of the network, the tag of its figures: ``160``, ``whole``, or ``unknown``.

    It does not follow from the size of the files: a centre may have been cut out of a whole
    prediction.

    Raises:
        PredictionError: The card says that the network saw the centre alone, but files are larger.
    """
    window = predictions.card.window
    if window == "official" and predictions.files and predictions.size != CROP_SIZE:
        raise PredictionError(
            f"{predictions.folder / CARD}: expected files of {CROP_SIZE} × {CROP_SIZE} pixels from "
            f"a network that saw no more (window = 'official'), got {predictions.size} × "
            f"{predictions.size}; correct the card (window = 'whole' for whole patches)"
        )
    return UNKNOWN_INPUT if window is None else INPUT_WINDOWS[window]


def read_card(folder: Path) -> Card:
    """Read ``predictions.toml``; if it is missing, all values are unknown.

    Raises:
        PredictionError: It cannot be read, has an unknown key, or a value of the wrong type.
    """
    path = folder / CARD
    if not folder.is_dir():
        raise PredictionError(f"{folder}: expected a folder of predictions, found no such folder")
    if not os.path.lexists(path):
        return Card()
    entries = read_toml(path, LARGEST_CARD, error=PredictionError)
    return validate(Card, entries, str(path), error=PredictionError)


def write_card(folder: Path, card: Card) -> None:
    """Write ``predictions.toml`` atomically."""
    entries = card.model_dump(exclude_none=True)
    try:
        atomic_write(folder / CARD, tomli_w.dumps(entries).encode())
    except OSError as error:
        raise _unwritable(folder / CARD, error) from error


def _unwritable(path: Path, error: OSError) -> PredictionError:
    return PredictionError(f"{printable(path)}: cannot be written ({error.strerror}); remove it")


def find_predictions(folder: Path, card: Card, scenes: Sequence[SceneFiles]) -> Predictions:
    """Match the files of a folder with scenes by name and read their headers.

    A file belongs to the scene that it is named after, with or without the name of a product
    before it; sub-folders do not matter.

    Args:
        folder: Folder of predictions.
        card: Content of ``predictions.toml``.
        scenes: Every scene that must have a prediction.

    Returns:
        Usable files and a line per problem; nothing is raised for a bad file.
    """
    candidates, problems, misnamed = _matched(folder, scenes)
    headers: dict[SceneFiles, tuple[Path, int]] = {}
    for scene in scenes:
        paths = candidates.get(scene, [])
        if len(paths) > 1:
            problems.append(
                f"{paths[1]}: expected one prediction of {scene.name}, got also {paths[0]}"
            )
        elif paths:
            try:
                headers[scene] = paths[0], header_size(paths[0])
            except PredictionError as error:
                problems.append(error.message)
        elif scene.name not in misnamed:
            problems.append(f"{folder / scene.name}.tif: expected a prediction, found no such file")
    size = max((size for _, size in headers.values()), default=OPTICAL_SIZE)
    files = {}
    for scene, (path, own) in headers.items():
        if own == size:
            files[scene] = path
        else:
            problems.append(
                f"{path}: expected {size} × {size} pixels like other predictions of the folder, "
                f"got {own} × {own}"
            )
    return Predictions(folder, card, files, size, problems)


def _matched(
    folder: Path, scenes: Sequence[SceneFiles]
) -> tuple[dict[SceneFiles, list[Path]], list[str], set[str]]:
    """Scene to its files; a line per file of no scene; scenes whose files have other names."""
    by_name = {files.name: files for files in scenes}
    candidates: dict[SceneFiles, list[Path]] = {}
    others: dict[str, list[Path]] = {}
    surplus = []
    for path in image_files(folder, error=PredictionError):
        scene = by_name.get(scene_name(path))
        if scene is None:
            surplus.append(path)
        elif ending(path) not in IMAGES:
            others.setdefault(ending(path), []).append(path)
        else:
            candidates.setdefault(scene, []).append(path)
    lines, misnamed = _surplus(folder, surplus, by_name)
    misnamed |= {scene_name(path) for paths in others.values() for path in paths}
    return candidates, [*_other_endings(folder, others), *lines], misnamed


def _other_endings(folder: Path, others: Mapping[str, Sequence[Path]]) -> list[str]:
    """One line per extension that is not an image's, whatever the number of files."""
    lines = []
    for end, paths in others.items():
        first, got = printable(paths[0]), printable(end) or "no ending"
        one = len(paths) == 1
        where = first if one else folder
        more = "" if one else f" in {len(paths)} files, such as {first}"
        lines.append(f"{where}: expected {', '.join(IMAGES)}, got {got}{more}")
    return lines


def scene_name(path: Path) -> str:
    """Scene that a file is named after, with or without the name of a product before it."""
    for product in PRODUCTS:
        if path.stem.startswith(f"{product}_"):
            return path.stem.removeprefix(f"{product}_")
    return path.stem


def _surplus(
    folder: Path, paths: Sequence[Path], scenes: Mapping[str, SceneFiles]
) -> tuple[list[str], set[str]]:
    """Lines about files of no scene, and the scenes of those with an additional word."""
    seasons = sorted({files.season for files in scenes.values()}, key=len, reverse=True)
    core = re.compile(rf"(?:{'|'.join(map(re.escape, seasons))})_[0-9]+_p_[0-9]+")
    groups, rest = grouped((path, _affixes(path.stem, core, scenes)) for path in paths)
    large = [path for path in rest if path.stem.lower() in scenes]
    lines = [
        f"{printable(path)}: expected files named after the {len(scenes)} scenes of the split, got "
        + ("a surplus one" if path.exists() else "a link that leads nowhere")
        for path in rest
        if path.stem.lower() not in scenes
    ]
    if large:
        lines.append(
            f"{folder}: expected names in small letters, such as {large[0].stem.lower()}, got "
            f"{len(large)} with capitals, such as {printable(large[0].name)}; rename them"
        )
    for (before, behind), files in groups.items():
        first, scene = files[0]
        lines.append(
            f"{folder}: expected files named after scenes, such as {scene}{ending(first)}, got "
            f"{len(files)} with {told_affixes(before, behind)} the scene's name, such as "
            f"{printable(first.name)}; rename or remove them"
        )
    named = {scene for files in groups.values() for _, scene in files}
    return lines, named | {path.stem.lower() for path in large}


def _affixes(
    stem: str, core: re.Pattern[str], scenes: Mapping[str, SceneFiles]
) -> tuple[str, str, str] | None:
    found = affixes(stem, core)
    return found if found is not None and found[1] in scenes else None


def header_size(path: Path) -> int:
    """Read the side of an image from its header.

    Raises:
        PredictionError: Unreadable, or of a dtype or shape that cannot be scored.
    """
    if ending(path) == ".npy":
        dtype, shape, _, _ = npy_header(path, error=PredictionError)
        header = Header(dtype.name, shape)
    else:
        with open_geotiff(path, error=PredictionError) as source:
            header = header_of(source, len(OPTICAL_BANDS))
    expect_image(path, header)
    return int(header.shape[-1])


def expect_image(path: Path, header: Header) -> None:
    """Refuse a file that cannot be scored, by its header.

    Raises:
        PredictionError: It has another dtype or shape, several pages, or too large tiles.
    """
    if header.dtype not in DTYPES:
        raise PredictionError(
            f"{printable(path)}: expected uint16 or float32, got {printable(header.dtype)}"
        )
    sizes = (OPTICAL_SIZE, CROP_SIZE)
    fault = header_fault(header, tuple((len(OPTICAL_BANDS), size, size) for size in sizes))
    if fault:
        raise PredictionError(f"{printable(path)}: {fault}")


def read_prediction(
    path: Path, card: Card, clear: Raster, *, brightest: float = math.inf
) -> tuple[Image, NDArray[Any]]:
    """Read one prediction.

    Args:
        path: File that :func:`find_predictions` accepted.
        card: Declares the scale, if any.
        clear: The scene's clear image, whose grid a georeferenced prediction must share.
        brightest: Largest reflectance of the scene; only few values may lie above it.

    Returns:
        Reflectance, float32, shape (4, H, W), not clipped; and the pixels as stored.

    Raises:
        PredictionError: Unreadable, not finite, of an unclear scale, of other bands, with nodata or
            hidden pixels, or on another grid.
    """
    try:
        raster = read_raster(path, partial(expect_image, path))
    except DatasetError as error:
        raise PredictionError(error.message) from error
    _check_grid(path, raster, clear)
    try:
        return _meant(raster, card, brightest), raster.pixels
    except PixelError as fault:
        raise PredictionError(f"{path}: {fault}") from fault


def _meant(raster: Raster, card: Card, brightest: float) -> Image:
    """Convert a prediction to reflectance: bands by their names, values by their scale."""
    pixels, tags = raster.pixels, raster.tags
    expect_no_holes(pixels, tags)
    order = band_order(tags.names, OPTICAL_BANDS)
    if not np.isfinite(pixels).all():
        count = int((~np.isfinite(pixels)).sum())
        raise PixelError(f"expected numbers, got {count} values that are NaN or infinite")
    image = _scaled(pixels, tags, card)
    if not np.isfinite(image).all():
        raise PixelError(f"expected values that fit float32, got {np.abs(pixels).max():.3g}")
    if card.scale != 1:
        expect_reflectance(image, brightest=brightest, remedy=_remedy(tags, card))
    elif (largest := float(np.abs(image).max())) > IMPOSSIBLE:
        raise PixelError(
            f"{CARD} declares scale = 1, but its largest value is {number(largest)}, which no "
            "reflectance reaches; remove the scale, or declare the value that stands for 1"
        )
    return image if order is None else np.ascontiguousarray(image[order])


def _scaled(pixels: NDArray[Any], tags: Tags, card: Card) -> Image:
    """Convert pixels to reflectance by the card's scale, the file's tags, or the dtype.

    Raises:
        PixelError: Two of the three contradict each other.
    """
    scale = scale_of(pixels, card)
    if scale >= DIMMEST and pixels.dtype.kind == "u":
        expect_digital_numbers(pixels)
    if has_scale(tags) and not is_convention(tags, scale):
        if card.scale is not None:
            raise PixelError(
                f"its tags say {told_scale(tags)}, but {CARD} declares scale = "
                f"{number(card.scale)}; remove one of the two"
            )
        values = scaled(pixels, tags)
        _expect_not_dimmed(pixels, values, tags)
        return values.astype(np.float32)
    if pixels.dtype.kind == "u":
        return _divided(pixels, np.float32(scale))
    largest = float(np.abs(pixels).max())
    if scale >= DIMMEST and 0 < largest <= LARGEST_STORED_REFLECTANCE:
        raise PixelError(
            f"{CARD} declares scale = {number(scale)}, but its largest value is {largest:.3g}, "
            "which looks like reflectance; remove the scale"
        )
    return _divided(pixels, np.float64(scale))


def _divided(pixels: NDArray[Any], scale: np.floating) -> Image:
    """Divide pixels by the scale; what exceeds float32 becomes infinite."""
    with np.errstate(over="ignore"):
        image: Image = np.divide(pixels, scale).astype(np.float32)
    return image


def scale_of(pixels: NDArray[Any], card: Card) -> float:
    """Value that stands for a reflectance of 1, by the card or else by the dtype."""
    return card.scale or (DN_PER_REFLECTANCE if pixels.dtype.kind == "u" else 1)


def _expect_not_dimmed(pixels: NDArray[Any], values: NDArray[np.float64], tags: Tags) -> None:
    """Refuse reflectance that its tags would scale down again."""
    stored, meant = float(pixels.max()), float(values.max())
    if 0 < stored <= LARGEST_STORED_REFLECTANCE and meant < DIMMEST / DN_PER_REFLECTANCE:
        raise PixelError(
            f"its tags say {told_scale(tags)}, but its largest value is {stored:.3g}, which looks "
            "like reflectance already; remove the tags"
        )


def _remedy(tags: Tags, card: Card) -> str:
    if has_scale(tags):
        return f"; its tags say {told_scale(tags)}"
    if card.scale is not None:
        return f"; {CARD} declares scale = {number(card.scale)}"
    return (
        f"; declare its scale in {CARD} (scale = {DN_PER_REFLECTANCE}, 255 for bytes, 100 for "
        "percent, or scale = 1 if these are reflectances)"
    )


def _check_grid(path: Path, raster: Raster, clear: Raster) -> None:
    if raster.crs and clear.crs and not same_crs(raster.crs, clear.crs):
        raise PredictionError(
            f"{path}: expected the scene's CRS {crs_name(clear.crs)}, got {crs_name(raster.crs)}"
        )
    expected = centre_grid(clear, raster.pixels.shape[-2:])
    if expected is None or raster.transform is None:
        return
    if not raster.transform.almost_equals(expected, 0.01):
        raise PredictionError(
            f"{path}: expected the scene's grid {grid_name(expected)}, got "
            f"{grid_name(raster.transform)}"
        )


def centre_grid(raster: Raster, size: tuple[int, ...]) -> Affine | None:
    """Pixel to coordinates of a raster's centre crop; None without georeference.

    Args:
        raster: The whole raster.
        size: (H, W) of the window.
    """
    if raster.transform is None:
        return None
    whole = raster.pixels.shape[-2:]
    top, left = ((side - window) // 2 for side, window in zip(whole, size, strict=True))
    return raster.transform @ Affine.translation(left, top)


def digital_numbers(image: Image) -> NDArray[np.uint16]:
    """Convert reflectance to stored values: clipped to uint16, rounded to 1 / 10 000."""
    numbers: NDArray[np.uint16] = np.rint(np.clip(image, 0, 6.5535) * DN_PER_REFLECTANCE).astype(
        np.uint16
    )
    return numbers


def write_prediction(path: Path, image: Image, clear: Raster) -> None:
    """Write a prediction for ``evaluate`` atomically.

    Args:
        path: Ends in ``.tif``.
        image: Reflectance, shape (4, H, W); clipped to the range of uint16, rounded to 1 / 10 000.
        clear: Provides CRS and transform; a smaller image is its centre.
    """
    numbers = digital_numbers(image)
    bands, height, width = numbers.shape
    try:
        with atomic_path(path) as unfinished, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                unfinished,
                "w",
                driver="GTiff",
                dtype="uint16",
                count=bands,
                height=height,
                width=width,
                crs=clear.crs or None,
                transform=centre_grid(clear, (height, width)),
                compress="deflate",
                predictor=2,
            ) as target:
                target.write(numbers)
    except RasterioIOError:  # also an OSError, which says more as it is
        raise
    except OSError as error:  # a folder of this name
        raise _unwritable(path, error) from error
