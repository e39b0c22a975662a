"""A folder of predictions in, one checked image per scene out; and the way such a folder is made.

Fail closed: whatever is missing, surplus or not as it must be is named, never skipped in silence.
"""

from __future__ import annotations

import difflib
import os
import tomllib
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final

import numpy as np
import rasterio
import tomli_w
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from planetcr_bench.dataset import Raster, SceneFiles, read_raster
from planetcr_bench.errors import DatasetError, PredictionError
from planetcr_bench.scene import Image
from planetcr_bench.vocabulary import (
    DN_PER_REFLECTANCE,
    INPUT_CROPS,
    OPTICAL_BANDS,
    OPTICAL_SIZE,
    PRODUCTS,
    UNKNOWN_INPUT,
)

CARD: Final = "predictions.toml"
"""File beside the predictions that says where they come from; optional."""

FORMATS: Final = (".tif", ".tiff", ".npy")
NOTES: Final = (".md", ".txt", ".json", ".toml", ".csv", ".log", ".yaml", ".yml", ".xml")
"""Endings of files that may lie beside predictions and are left alone."""

CROP_SIZE: Final = 160
"""Side of the centre crop that may be given instead of the whole patch."""

DTYPES: Final = ("uint16", "float16", "float32", "float64")

LARGEST_BLOCK: Final = 2048
"""Side of the largest tile or strip of a TIFF; a file of a few bytes may declare gigabytes."""

LARGEST_MEAN: Final = 2.0
"""Largest mean |reflectance| of a float image of no declared scale; above it looks like DN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What ``predictions.toml`` may say.

    Attributes:
        method: Name of the method.
        split: Split that was predicted.
        scale: Number in the files that means a reflectance of 1; by default 10 000 for uint16 and
            1 for float.
        dataset: Where the dataset lay.
        fingerprint: Of the split, as ``planetcr-bench check`` prints it.
        simulation: Identity of a simulated split, which another machine simulates again.
        weights: SHA-256 of the network's file of weights, or how else it got them.
        code: SHA-256 of the user's file that makes the network.
        options: Options of the network, ``key=value`` with commas between.
        crop: What the network saw, a key of :data:`~planetcr_bench.vocabulary.INPUT_CROPS`.
        autocast: Lower precision in which the network ran.
        tiles: Side and overlap of the tiles in which it saw an image.
    """

    method: str | None = None
    split: str | None = None
    scale: float | None = None
    dataset: str | None = None
    fingerprint: str | None = None
    simulation: str | None = None
    weights: str | None = None
    code: str | None = None
    options: str | None = None
    crop: str | None = None
    autocast: str | None = None
    tiles: str | None = None


@dataclass(frozen=True, slots=True)
class Predictions:
    """A folder of predictions, matched with the scenes of a split and not yet read.

    Attributes:
        folder: Where they lie.
        card: What ``predictions.toml`` says.
        files: Scene to file, for every scene whose file passed the first check.
        size: Side of the images in pixels, 300 or 160.
        problems: One line per missing, surplus or unusable file.
    """

    folder: Path
    card: Card
    files: dict[SceneFiles, Path]
    size: int
    problems: list[str] = field(default_factory=list)


def input_crop_of(predictions: Predictions) -> str:
    """What the network saw, as figures are tagged: ``160``, ``whole``, or ``unknown``.

    The size of the files does not tell: a centre may have been cut out of a whole prediction.

    Raises:
        PredictionError: The card says that the network saw the centre alone, and files are larger.
    """
    crop = predictions.card.crop
    if crop == "official" and predictions.files and predictions.size != CROP_SIZE:
        raise PredictionError(
            f"{predictions.folder / CARD}: expected files of {CROP_SIZE} × {CROP_SIZE} pixels from "
            f"a network that saw no more (crop = 'official'), got {predictions.size} × "
            f"{predictions.size}; correct the card (crop = 'whole' for whole patches)"
        )
    return UNKNOWN_INPUT if crop is None else INPUT_CROPS[crop]


def read_card(folder: Path) -> Card:
    """Read ``predictions.toml``; an absent one says nothing.

    Raises:
        PredictionError: It cannot be read, has an unknown key, or a value of the wrong type.
    """
    path = folder / CARD
    if not folder.is_dir():
        raise PredictionError(f"{folder}: expected a folder of predictions, found no such folder")
    if not path.exists():
        return Card()
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PredictionError(f"{path}: cannot be read as TOML ({error})") from error
    known = list(asdict(Card()))
    for key, value in entries.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            raise PredictionError(f"{path}: unknown key {key!r}{hint}")
        if key == "scale":
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
                raise PredictionError(
                    f"{path}: expected scale to be a positive number, got {value!r}"
                )
        elif not isinstance(value, str):
            raise PredictionError(f"{path}: expected {key} to be text, got {value!r}")
        elif key == "crop" and value not in INPUT_CROPS:
            raise PredictionError(
                f"{path}: expected crop to be 'official' (the network saw the centre "
                f"{CROP_SIZE} × {CROP_SIZE} alone) or 'whole' (whole patches), got {value!r:.80}"
            )
    return Card(**entries)


def write_card(folder: Path, card: Card) -> None:
    """Write ``predictions.toml`` in one step."""
    entries = {key: value for key, value in asdict(card).items() if value is not None}
    partial = folder / f".{CARD}"
    partial.write_text(tomli_w.dumps(entries), encoding="utf-8")
    partial.replace(folder / CARD)


def find_predictions(folder: Path, card: Card, scenes: Sequence[SceneFiles]) -> Predictions:
    """Match the files of a folder with scenes by name and look at their headers.

    A file belongs to the scene whose name its own is, with or without the name of a product before
    it; sub-folders do not matter.

    Args:
        folder: Folder of predictions.
        card: What ``predictions.toml`` says.
        scenes: Every scene that must have a prediction.

    Returns:
        Usable files and a line per problem; nothing is raised for a bad file.
    """
    by_name = {files.name: files for files in scenes}
    candidates: dict[SceneFiles, list[Path]] = {}
    problems = []
    for path in image_files(folder):
        scene = by_name.get(scene_name(path))
        if scene is None:
            problems.append(_surplus(path, len(scenes)))
        elif path.suffix.lower() not in FORMATS:
            problems.append(
                f"{path}: expected {', '.join(FORMATS)}, got {path.suffix or 'no ending'}"
            )
        else:
            candidates.setdefault(scene, []).append(path)
    headers: dict[SceneFiles, tuple[Path, int]] = {}
    for scene in scenes:
        paths = candidates.get(scene, [])
        if not paths:
            problems.append(f"{folder / scene.name}.tif: expected a prediction, found no such file")
        elif len(paths) > 1:
            problems.append(
                f"{paths[1]}: expected one prediction of {scene.name}, got also {paths[0]}"
            )
        else:
            try:
                headers[scene] = paths[0], header_size(paths[0])
            except PredictionError as error:
                problems.append(error.message)
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


def image_files(folder: Path) -> list[Path]:
    """Files at any depth of a folder, save hidden ones and :data:`NOTES`."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(root, name)
            for name in sorted(names)
            if not name.startswith(".") and not name.lower().endswith(NOTES)
        ]
    return found


def scene_name(path: Path) -> str:
    """Scene that a file's name says, with or without the name of a product before it."""
    for product in PRODUCTS:
        if path.stem.startswith(f"{product}_"):
            return path.stem.removeprefix(f"{product}_")
    return path.stem


def _surplus(path: Path, scenes: int) -> str:
    return f"{path}: expected files named after the {scenes} scenes of the split, got a surplus one"


_UNREADABLE: Final = (
    OSError, ValueError, EOFError, RasterioError, OverflowError, SyntaxError, TokenError, TypeError,
    RecursionError, MemoryError,
)  # fmt: skip
"""What numpy and GDAL say of a broken header; that of a ``.npy`` is a text in Python."""


def header_size(path: Path) -> int:
    """Side of an image, from its header alone.

    Raises:
        PredictionError: Unreadable, or of a dtype or shape that cannot be scored.
    """
    try:
        if path.suffix.lower() == ".npy":
            header = np.load(path, mmap_mode="r", allow_pickle=False)
            dtype, shape, block = header.dtype.name, header.shape, 0
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(path, driver="GTiff") as source:
                    dtype, shape = source.dtypes[0], (source.count, *source.shape)
                    block = max(max(sides) for sides in source.block_shapes)
    except _UNREADABLE as error:
        raise PredictionError(f"{path}: expected an image, cannot be read ({error})") from error
    if dtype not in DTYPES:
        raise PredictionError(f"{path}: expected uint16 or float32, got {dtype}")
    bands = len(OPTICAL_BANDS)
    accepted = [(bands, size, size) for size in (OPTICAL_SIZE, CROP_SIZE)]
    if shape not in accepted:
        turned = "; put the bands first" if (shape[-1:] + shape[:-1]) in accepted else ""
        raise PredictionError(
            f"{path}: expected shape {accepted[0]}, or {accepted[1]} for the centre crop, "
            f"got {shape}{turned}"
        )
    if block > LARGEST_BLOCK:
        raise PredictionError(
            f"{path}: expected tiles of at most {LARGEST_BLOCK} pixels a side, got {block}"
        )
    return int(shape[-1])


def read_prediction(path: Path, card: Card, clear: Raster) -> tuple[Image, NDArray[Any]]:
    """Read one prediction.

    Args:
        path: File that :func:`find_predictions` accepted.
        card: Gives the scale, if it is declared.
        clear: The scene's clear image, whose grid a georeferenced prediction must share.

    Returns:
        Reflectance, float32, shape (4, H, W), not clipped; and the pixels as stored.

    Raises:
        PredictionError: Unreadable, not finite, of an unclear scale, or on another grid.
    """
    try:
        raster = read_raster(path)
    except DatasetError as error:
        raise PredictionError(error.message) from error
    pixels = raster.pixels
    _check_grid(path, raster, clear)
    if pixels.dtype.kind == "u":
        scale = card.scale or DN_PER_REFLECTANCE
        return np.divide(pixels, np.float32(scale), dtype=np.float32), pixels
    if not np.isfinite(pixels).all():
        count = int((~np.isfinite(pixels)).sum())
        raise PredictionError(
            f"{path}: expected numbers, got {count} values that are NaN or infinite"
        )
    if card.scale is None:
        mean = float(np.abs(pixels).mean(dtype=np.float64))
        if mean > LARGEST_MEAN:
            raise PredictionError(
                f"{path}: expected reflectance in [0, 1], got a float image of mean {mean:.4g} "
                f"that looks like digital numbers; declare its scale in {CARD} (scale = 10000, or "
                "scale = 1 if these are reflectances)"
            )
    with np.errstate(over="ignore"):
        image = (pixels / np.float64(card.scale or 1)).astype(np.float32)
    if not np.isfinite(image).all():
        raise PredictionError(
            f"{path}: expected values that fit float32, got {np.abs(pixels).max():.3g}"
        )
    return image, pixels


def _check_grid(path: Path, raster: Raster, clear: Raster) -> None:
    if raster.crs and clear.crs and raster.crs != clear.crs:
        raise PredictionError(f"{path}: expected the scene's CRS {clear.crs}, got {raster.crs}")
    expected = centre_grid(clear, raster.pixels.shape[-2:])
    if expected is None or raster.transform is None:
        return
    if not raster.transform.almost_equals(expected, 0.01):
        raise PredictionError(
            f"{path}: expected the scene's grid {_grid(expected)}, got {_grid(raster.transform)}"
        )


def centre_grid(raster: Raster, size: tuple[int, ...]) -> Affine | None:
    """Pixel to coordinates of a raster's centre crop; None where it has no georeference.

    Args:
        raster: The whole.
        size: (H, W) of the crop.
    """
    if raster.transform is None:
        return None
    whole = raster.pixels.shape[-2:]
    top, left = ((side - crop) // 2 for side, crop in zip(whole, size, strict=True))
    return raster.transform @ Affine.translation(left, top)


def _grid(transform: Affine) -> str:
    return (
        f"(corner {transform.c:.2f}, {transform.f:.2f}; pixel {transform.a:g}, {transform.e:g} m)"
    )


def digital_numbers(image: Image) -> NDArray[np.uint16]:
    """Reflectance as it is stored: clipped to what uint16 holds, rounded to 1 / 10 000."""
    numbers: NDArray[np.uint16] = np.rint(np.clip(image, 0, 6.5535) * DN_PER_REFLECTANCE).astype(
        np.uint16
    )
    return numbers


def write_prediction(path: Path, image: Image, clear: Raster) -> None:
    """Write a prediction as ``evaluate`` takes it, in one step.

    Args:
        path: Ends in ``.tif``.
        image: Reflectance, shape (4, H, W); clipped to what uint16 holds, rounded to 1 / 10 000.
        clear: Gives CRS and transform; an image that is smaller is its centre.
    """
    numbers = digital_numbers(image)
    bands, height, width = numbers.shape
    partial = path.with_name(f".{path.name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            partial,
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
    partial.replace(path)
