"""Match the files of a folder of predictions with scenes, by name.

Whatever is missing, surplus or invalid is named, never skipped silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from planetcr_bench.constants import INPUT_WINDOWS, UNKNOWN_INPUT
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import PredictionError
from planetcr_bench.predictions.card import CARD, Card
from planetcr_bench.predictions.format import CROP_SIZE, Form, form_of, header_size
from planetcr_bench.utils.folders import (
    IMAGES,
    affixes,
    describe_affixes,
    ending,
    grouped,
    image_files,
)
from planetcr_bench.utils.untrusted import printable


@dataclass(frozen=True, slots=True)
class Predictions:
    """A folder of predictions, matched with the scenes of a split and not yet read.

    Attributes:
        folder: The folder.
        card: Content of ``predictions.toml``.
        files: Scene to file, for every scene whose file passed the first check.
        size: Side of the images in pixels, 300 or 160; 0 for whole images of a dataset to which
            the official protocol does not apply.
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
    form = form_of(scenes[0].description) if scenes else Form()
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
                headers[scene] = paths[0], header_size(paths[0], form)
            except PredictionError as error:
                problems.append(error.message)
        elif scene.name not in misnamed:
            problems.append(f"{folder / scene.name}.tif: expected a prediction, found no such file")
    if not form.crop:
        return Predictions(folder, card, {s: path for s, (path, _) in headers.items()}, 0, problems)
    size = max((size for _, size in headers.values()), default=(form.size or (0,))[-1])
    files = {}
    for scene, (path, side) in headers.items():
        if side == size:
            files[scene] = path
        else:
            problems.append(
                f"{path}: expected {size} × {size} pixels like other predictions of the folder, "
                f"got {side} × {side}"
            )
    return Predictions(folder, card, files, size, problems)


def _matched(
    folder: Path, scenes: Sequence[SceneFiles]
) -> tuple[dict[SceneFiles, list[Path]], list[str], set[str]]:
    """Scene to its files; a line per file of no scene; scenes whose files have other names."""
    by_name = {files.name: files for files in scenes}
    starts = scenes[0].description.file_starts if scenes else ()
    candidates: dict[SceneFiles, list[Path]] = {}
    others: dict[str, list[Path]] = {}
    surplus = []
    for path in image_files(folder, error=PredictionError):
        scene = by_name.get(scene_name(path, starts))
        if scene is None:
            surplus.append(path)
        elif ending(path) not in IMAGES:
            others.setdefault(ending(path), []).append(path)
        else:
            candidates.setdefault(scene, []).append(path)
    lines, misnamed = _surplus(folder, surplus, by_name)
    misnamed |= {scene_name(path, starts) for paths in others.values() for path in paths}
    return candidates, [*_other_endings(folder, others), *lines], misnamed


def _other_endings(folder: Path, others: Mapping[str, Sequence[Path]]) -> list[str]:
    """One line per extension that is not an image's, whatever the number of files."""
    lines = []
    for end, paths in others.items():
        first, got = printable(paths[0]), printable(end) or "no ending"
        single = len(paths) == 1
        where = first if single else folder
        more = "" if single else f" in {len(paths)} files, such as {first}"
        lines.append(f"{where}: expected {', '.join(IMAGES)}, got {got}{more}")
    return lines


def scene_name(path: Path, starts: Iterable[str]) -> str:
    """Scene that a file is named after, with or without the name of a product before it.

    Args:
        path: The file.
        starts: What names of files of the dataset begin with.
    """
    for start in starts:
        if path.stem.startswith(start):
            return path.stem.removeprefix(start)
    return path.stem


def _surplus(
    folder: Path, paths: Sequence[Path], scenes: Mapping[str, SceneFiles]
) -> tuple[list[str], set[str]]:
    """Lines about files of no scene, and the scenes of those with an additional word."""
    if not scenes:
        return [], set()
    description = next(iter(scenes.values())).description
    core = description.scene_pattern([files.values for files in scenes.values()])
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
            f"{folder}: expected names in lower case, such as {large[0].stem.lower()}, got "
            f"{len(large)} with capitals, such as {printable(large[0].name)}; rename them"
        )
    for (before, behind), files in groups.items():
        first, scene = files[0]
        lines.append(
            f"{folder}: expected files named after scenes, such as {scene}{ending(first)}, got "
            f"{len(files)} with {describe_affixes(before, behind)} the scene's name, such as "
            f"{printable(first.name)}; rename or remove them"
        )
    named = {scene for files in groups.values() for _, scene in files}
    return lines, named | {path.stem.lower() for path in large}


def _affixes(
    stem: str, core: re.Pattern[str], scenes: Mapping[str, SceneFiles]
) -> tuple[str, str, str] | None:
    parts = affixes(stem, core)
    return parts if parts is not None and parts[1] in scenes else None
