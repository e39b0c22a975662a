"""Folders of predictions and a dataset in, Fig. 4 of the paper out: scenes side by side, as images.

Which scenes says ``selection.py``, how a panel looks ``panels.py``, and where it lies ``sheet.py``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from planetcr_bench.constants import (
    DN_PER_REFLECTANCE,
    LAND_COVER,
    OPTICAL_SIZE,
    PAPER_METHODS,
    SAR_BANDS,
    SAR_RANGE_DB,
    UNKNOWN,
)
from planetcr_bench.data.layout import SceneFiles, read_scene, read_track
from planetcr_bench.data.scene import Image, Scene, upsample
from planetcr_bench.errors import DatasetError, PredictionError, UsageError
from planetcr_bench.evaluation.inputs import Dataset, find_dataset
from planetcr_bench.evaluation.loading import Arrays, Job, read_arrays, scene_arrays
from planetcr_bench.evaluation.segmenters import Segmenter
from planetcr_bench.gallery.figure import (
    FORMATS,
    Bar,
    Block,
    Line,
    Sheet,
    fitting_layout,
    save_figure,
    sheet_figure,
)
from planetcr_bench.gallery.panels import (
    ANGLE_SCALES,
    ERROR_SCALES,
    INFRARED,
    PERCENTILES,
    SAR_DB,
    TRUE_COLOUR,
    Panel,
    angle_map,
    colour_map,
    error_map,
    land_cover_panel,
    map_panel,
    optical_panels,
    sar_panel,
    upper_end,
)
from planetcr_bench.gallery.selection import (
    BY_SCORE,
    COLUMN,
    By,
    Select,
    class_shares,
    cloud_cover,
    named_scenes,
    ranked_scenes,
    scene_scores,
    scenes_of_classes,
    spread_scenes,
)
from planetcr_bench.metrics import kernels
from planetcr_bench.metrics.protocols import PROTOCOLS, Protocol
from planetcr_bench.metrics.registry import METRICS
from planetcr_bench.metrics.scores import mae, psnr
from planetcr_bench.metrics.sums import SUMS
from planetcr_bench.predictions.format import (
    Predictions,
    find_predictions,
    input_window_of,
    read_card,
)

ROWS: Final[dict[str, str]] = {
    "infrared": "Infrared",
    "error": "Error",
    "angle": "Angle",
    "segmenter": "Segmenter",
}
"""Further lines of panels under each scene, in their order, and their names on the page."""

BARS: Final[dict[str, tuple[str, Sequence[float]]]] = {
    "error": ("Absolute error [reflectance]", ERROR_SCALES),
    "angle": ("Spectral angle [°]", ANGLE_SCALES),
}
"""Rows of maps: label and possible upper ends of their colour bars."""

BEFORE: Final = ("Cloudy", "SAR VV", "SAR VH", "Land cover")
"""Titles of the columns before those of the methods; the clear image comes after them."""

MOST_FOLDERS: Final = 8
"""As many methods as the paper's Fig. 4 has; a figure with more columns would fit no page."""

MOST_SCENES: Final = 10
"""As many as fit a page where they have the fewest panels."""


@dataclass(frozen=True, slots=True)
class DrawnScene:
    """One scene as it is drawn; all images have the same H and W.

    Attributes:
        scene: Its name.
        cloud_cover: Of the whole patch, in [0, 1].
        cloudy: Reflectance, shape (4, H, W).
        sar_db: Backscatter of VV and VH in dB on the optical grid, shape (2, H, W).
        land_cover: Index into ``LAND_COVER_NAMES``, shape (H, W).
        clear: Reflectance, shape (4, H, W).
        predictions: Reflectance of each folder's image, shape (4, H, W), not clipped.
        scores: MAE (reflectance) and PSNR (dB) of the cloudy image, then of each prediction.
    """

    scene: str
    cloud_cover: float
    cloudy: Image
    sar_db: NDArray[np.float32]
    land_cover: NDArray[np.uint8]
    clear: Image
    predictions: Sequence[Image]
    scores: Sequence[tuple[float, float]]


def gallery(
    data: Path,
    folders: Sequence[Path],
    out: Path,
    *,
    split: str | None = None,
    scene_list: Path | None = None,
    names: Sequence[str] = (),
    count: int | None = None,
    select: Select | None = None,
    rank_by: By | None = None,
    panels: Sequence[str] = ("error",),
    segmenter: Segmenter | None = None,
    quiet: bool = False,
) -> list[str]:
    """Draw scenes and what methods made of them.

    Args:
        data: Folder that holds ``train/`` and ``test/``.
        folders: One to eight folders of predictions; a folder's name is the title of its column,
            the paper's name of a method if it is one of ``PAPER_METHODS``.
        out: File to write; its suffix (.png, .pdf or .svg) is the format.
        split: See ``find_dataset``, like ``scene_list``.
        scene_list: Authors' CSV list to take the scenes from.
        names: Scenes to draw, in this order; without any, ``select`` chooses.
        count: How many scenes to choose, by default 5; one for each of the six classes.
        select: ``spread`` (the default): see ``spread_scenes``;
            ``classes``: ``scenes_of_classes``; ``best``, ``median``
            or ``worst``: ``ranked_scenes``, by the first folder.
        rank_by: Score that ranks, by default ``psnr``.
        panels: Lines of panels to draw under each scene, of :data:`ROWS`.
        segmenter: Tells land cover from images; draws the line ``segmenter``.
        quiet: Show no progress.

    Returns:
        Names of the scenes that were drawn, from top to bottom.

    Raises:
        UsageError: Too many folders or scenes, an unknown format, or options that do not go
            together.
        DatasetError: The dataset is broken, or has no scene of a given name.
        PredictionError: A scene that is drawn, or ranked, has no usable prediction.
    """
    check_out(out)
    _check_options(names, count, select, rank_by, panels, segmenter)
    count = len(set(names)) or count or (len(LAND_COVER) if select == "classes" else 5)
    _check_numbers(folders, count)
    dataset = _dataset(data, folders, split, scene_list, quiet=quiet)
    titles, asked = method_titles(folders), _asked(panels, segmenter)
    fitting_layout(_blank_sheet(titles, asked, min(count, len(dataset.scenes))))
    if select in BY_SCORE:
        found = _predictions(folders, dataset.scenes, "ranked or drawn")
        scenes = _ranked(found, dataset.scenes, select, rank_by or "psnr", count, quiet=quiet)
    else:
        scenes = _chosen(dataset.scenes, names, select, count)
        found = _predictions(folders, scenes, "drawn")
    if not scenes:
        raise DatasetError(f"{data}: expected a scene to choose by {select}, found none")
    protocol = _protocol(found)
    drawn = _read_all(scenes, found, protocol)
    how = (
        "chosen by name"
        if names
        else _how(select, rank_by or "psnr", titles[0], protocol, len(scenes))
    )
    note = _shown(dataset, len(scenes), how) + _seen(titles, found, protocol)
    figure = gallery_figure(drawn, titles, protocol, rows=panels, segmenter=segmenter, note=note)
    save_figure(figure, out)
    return [files.name for files in scenes]


def check_out(out: Path) -> None:
    """Refuse a file that could not be written, before the work that it is for.

    Raises:
        UsageError: An unknown format, a folder, or a file in a folder that cannot be written.
    """
    if out.is_dir():
        raise UsageError(f"--out: expected a file, {out} is a folder; give a file in it")
    if out.suffix.lower() not in FORMATS:
        raise UsageError(f"--out: expected a file that ends in {', '.join(FORMATS)}, got {out}")
    nearest = next(folder for folder in out.absolute().parents if os.access(folder, os.F_OK))
    if not nearest.is_dir():
        raise UsageError(f"--out: cannot write {out}, {nearest} is no folder; choose another file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UsageError(
            f"--out: cannot write {out}, {nearest} may not be written to; choose a file elsewhere, "
            "or mend the permissions of that folder"
        )


def _check_numbers(folders: Sequence[Path], scenes: int) -> None:
    if not 1 <= len(folders) <= MOST_FOLDERS:
        raise UsageError(f"expected 1 to {MOST_FOLDERS} folders of predictions, got {len(folders)}")
    if not 1 <= scenes <= MOST_SCENES:
        raise UsageError(f"expected 1 to {MOST_SCENES} scenes, got {scenes}")


def _check_options(
    names: Sequence[str],
    count: int | None,
    select: Select | None,
    by: By | None,
    rows: Sequence[str],
    segmenter: Segmenter | None,
) -> None:
    if names and count:
        raise UsageError(f"--scenes: expected no number beside scenes by --scene, got {count}")
    if names and select:
        raise UsageError(f"--select: expected no choice beside scenes by --scene, got {select}")
    if by and select not in BY_SCORE:
        got = f"--select {select}" if select else "no --select"
        raise UsageError(f"--rank-by: expected --select {', '.join(BY_SCORE)} with it, got {got}")
    if unknown := [row for row in rows if row not in ROWS]:
        raise UsageError(f"--panels: expected {', '.join(ROWS)}, got {', '.join(unknown)}")
    if "segmenter" in rows and segmenter is None:
        raise UsageError("--panels segmenter: expected a segmenter; give its file with --segmenter")


def method_titles(folders: Sequence[Path]) -> list[str]:
    """Names of methods: the paper's where a folder is named as it names the method's run.

    Other names are those of the folders, each with as many of its parents as it takes to tell all
    apart.
    """
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(set(parts)):
            break
    return [PAPER_METHODS.get(name, name) for name in names]


# --- Which scenes ---------------------------------------------------------------------------


def _dataset(
    data: Path,
    folders: Sequence[Path],
    split: str | None,
    scene_list: Path | None,
    *,
    quiet: bool,
) -> Dataset:
    """The one that all folders hold predictions of."""
    if not data.is_dir():
        raise DatasetError(
            f"{data}: expected the folder that holds train/ and test/, got no folder"
        )
    cards = [(folder, read_card(folder)) for folder in folders]
    for folder, card in cards:  # refuses predictions of another split or dataset
        try:
            dataset = find_dataset(
                folder, card, data=data, split=split, scene_list=scene_list, quiet=quiet
            )
        except DatasetError as error:
            if not any("--data" in problem for problem in error.problems):
                raise
            what, _, _ = error.message.partition("; if it lies")
            raise DatasetError(
                f"{what}; give as DATA the dataset that these predictions were made on"
            ) from error
        split = dataset.split
    return dataset


def _predictions(
    folders: Sequence[Path], scenes: Sequence[SceneFiles], what: str
) -> list[Predictions]:
    """Of all folders; refuse those that lack scenes, what else lies in them does not matter."""
    found = [find_predictions(folder, read_card(folder), scenes) for folder in folders]
    lacking: dict[Path, list[str]] = {}
    for one in found:
        missing = [files.name for files in scenes if files not in one.files]
        wanted = re.compile(rf"({'|'.join(missing)})(?!\d)")
        if missing:
            lacking[one.folder] = [
                line
                for line in one.problems
                if wanted.search(line) or line.startswith(f"{one.folder}: ")  # of many files
            ]
    if lacking:
        raise PredictionError(
            f"{', '.join(map(str, lacking))}: expected a prediction of each scene that is {what}; "
            "write these files again, or choose other scenes with --scene",
            [line for lines in lacking.values() for line in lines],
        )
    return found


def _protocol(found: Sequence[Predictions]) -> Protocol:
    """The one that all predictions allow: a centre crop has no whole patch."""
    size = min(predictions.size for predictions in found)
    return PROTOCOLS["full" if size == OPTICAL_SIZE else "official"]


def _chosen(
    scenes: Sequence[SceneFiles], names: Sequence[str], select: Select | None, count: int
) -> list[SceneFiles]:
    if names:
        return named_scenes(scenes, names)
    covers = {files: cloud_cover(files) for files in scenes}
    if select == "classes":
        return scenes_of_classes(covers, {files: class_shares(files) for files in scenes}, count)
    return spread_scenes(covers, count)


def _ranked(
    found: Sequence[Predictions],
    scenes: Sequence[SceneFiles],
    select: Select,
    by: By,
    count: int,
    *,
    quiet: bool,
) -> list[SceneFiles]:
    scores = scene_scores(found[0], _protocol(found), by, quiet=quiet)
    return named_scenes(scenes, ranked_scenes(scores, select, by, count))


def _how(select: Select | None, by: By, method: str, protocol: Protocol, count: int) -> str:
    """How scenes were chosen, for the caption."""
    if select == "classes":
        over = "for its land cover" if count == 1 else "evenly over the classes of land cover"
        return f"chosen {over}, of a cloud cover near the median"
    if select not in BY_SCORE:
        one = "that with the cloud cover nearest to 50 %"
        return one if count == 1 else "chosen evenly over cloud cover, seasons and areas"
    score = f"{by.upper()} of {method} (protocol {protocol.name})"
    if select == "median":
        return f"nearest to the median {score}" + ", the nearest first" * (count > 1)
    end = "highest" if (METRICS[COLUMN[by]].better == "higher") == (select == "best") else "lowest"
    return f"with the {end} {score}" + f", the {end} first" * (count > 1)


def _shown(dataset: Dataset, count: int, how: str) -> str:
    """Which scenes these are, for the caption."""
    total, track = len(dataset.scenes), read_track(dataset.folder, dataset.split)
    origin = f"{track} (split {dataset.split})"
    if count < total:
        verb = "is" if count == 1 else "are"
        return f"Shown {verb} {count} of the {total} scenes of {origin}, {how}."
    return f"Shown {'is the only scene' if count == 1 else f'are all {count} scenes'} of {origin}."


def _seen(titles: Sequence[str], found: Sequence[Predictions], protocol: Protocol) -> str:
    """What each network saw, for the caption: official figures hang on it."""
    if protocol.name != "official":
        return ""
    told = (f"{title} {input_window_of(one)}" for title, one in zip(titles, found, strict=True))
    return f" Input window: {', '.join(told)}."


# --- What is drawn --------------------------------------------------------------------------


def _read_all(
    scenes: Sequence[SceneFiles], found: Sequence[Predictions], protocol: Protocol
) -> list[DrawnScene]:
    """Read what is drawn; all predictions that cannot be are named at once."""
    drawn, problems = [], []
    for files in scenes:
        try:
            drawn.append(read_drawn(files, found, protocol))
        except PredictionError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        folders = ", ".join(str(one.folder) for one in found)
        raise PredictionError(
            f"{folders}: expected a prediction of each scene that is drawn",
            [one.message for one in problems],
        )
    return drawn


def read_drawn(files: SceneFiles, found: Sequence[Predictions], protocol: Protocol) -> DrawnScene:
    """Read a scene and its predictions, cut to the protocol's window, and score them.

    Raises:
        DatasetError: The scene is broken.
        PredictionError: A prediction is.
    """
    try:
        arrays = [read_arrays(Job(files, one.files[files]), one.card) for one in found]
    except PredictionError as error:
        raise PredictionError(
            f"{error.message}; write this file again, or choose other scenes with --scene",
        ) from error
    return _drawn(read_scene(files), arrays, protocol)


def drawn_scene(scene: Scene, prediction: Image) -> DrawnScene:
    """A scene and one prediction of the whole patch, both in memory, scored in ``full``."""
    return _drawn(scene, [scene_arrays(scene, prediction)], PROTOCOLS["full"])


def _drawn(scene: Scene, predicted: Sequence[Arrays], protocol: Protocol) -> DrawnScene:
    sums = [
        kernels.measure(arrays.images, arrays.clear, arrays.group, protocol).sum(axis=0)
        for arrays in predicted
    ]
    low, high = (
        np.array(ends, np.float32)[:, None, None] for ends in zip(*SAR_RANGE_DB, strict=True)
    )
    sar_db = upsample(low + scene.sar * (high - low), (OPTICAL_SIZE, OPTICAL_SIZE))
    return DrawnScene(
        scene=scene.name,
        cloud_cover=scene.cloud_cover,
        cloudy=kernels.centre_crop(scene.cloudy, protocol.window),
        sar_db=kernels.centre_crop(sar_db, protocol.window),
        land_cover=kernels.centre_crop(scene.land_cover, protocol.window),
        clear=kernels.centre_crop(scene.clear, protocol.window),
        predictions=[kernels.centre_crop(one.images[0], protocol.window) for one in predicted],
        scores=[
            _scores(sums[0], "cloudy_clear", "input_squared_error", protocol),
            *(_scores(one, "absolute_error", "squared_error", protocol) for one in sums),
        ],
    )


def _scores(
    sums: NDArray[np.float64], absolute: str, squared: str, protocol: Protocol
) -> tuple[float, float]:
    """MAE and PSNR from the sums of one scene, named as columns of the ledger."""
    column = dict(zip(SUMS, sums, strict=True))
    decibels = psnr(column[squared], column["values"], perfect=protocol.perfect_psnr)
    return float(mae(column[absolute], column["values"])), float(decibels)


# --- The figure -----------------------------------------------------------------------------


def gallery_figure(
    scenes: Sequence[DrawnScene],
    names: Sequence[str],
    protocol: Protocol,
    *,
    rows: Sequence[str] = ("error",),
    segmenter: Segmenter | None = None,
    note: str = "",
) -> Figure:
    """Fig. 4: each scene a block: cloudy, SAR, land cover, predictions, clear; and what is asked.

    Args:
        scenes: At least one; all of one size and with one prediction per name.
        names: Titles of the predictions.
        protocol: The one that the scenes were scored with.
        rows: Lines of panels to draw under each scene, of :data:`ROWS`.
        segmenter: Draws the line ``segmenter``.
        note: First sentence of the caption, such as which scenes these are.

    Returns:
        See ``sheet_figure``.
    """
    asked = _asked(rows, segmenter)
    maps = {row: [_maps(scene, row, protocol) for scene in scenes] for row in asked if row in BARS}
    ends = {row: upper_end(_counting(scenes, maps[row]), BARS[row][1]) for row in maps}
    blocks = []
    for number, scene in enumerate(scenes):
        own = {row: [map_panel(one, row, ends[row]) for one in maps[row][number]] for row in maps}
        own |= {row: _land_panels(scene, row, segmenter) for row in asked if row not in maps}
        rest = [_under_columns(own[row], len(names)) for row in asked]
        title = f"{scene.scene}, cloud cover {100 * scene.cloud_cover:.0f} %"
        blocks.append(Block(title, [_first_line(scene), *rest]))
    grey = any(bool(np.isnan(one).any()) for of_scene in maps.get("angle", ()) for one in of_scene)
    size = scenes[0].clear.shape[-1]
    caption = " ".join([note, *_caption(size, protocol, asked, segmenter, grey=grey)]).strip()
    return sheet_figure(Sheet([*BEFORE, *names, "Clear"], _lines(asked, ends), blocks, caption))


def _blank_sheet(names: Sequence[str], asked: Sequence[str], scenes: int) -> Sheet:
    """As large as the figure of so many scenes will be, to refuse it before anything is measured.

    Only the figure itself knows whether its panels are crops and how long its caption is.
    """
    panel = Panel(np.zeros((OPTICAL_SIZE, OPTICAL_SIZE)), ("0", "0"), classes=range(UNKNOWN))
    rest = [[panel] * (len(names) + (1 if row in BARS else 2)) for row in asked]
    columns = [*BEFORE, *names, "Clear"]
    block = Block("", [[panel] * len(columns), *(_under_columns(r, len(names)) for r in rest)])
    caption = _caption(OPTICAL_SIZE, PROTOCOLS["full"], asked, None, grey=False)
    text = " ".join([caption[0], *caption])  # the note is about as long as the first sentence
    return Sheet(columns, _lines(asked, dict.fromkeys(BARS, 1.0)), [block] * scenes, text)


def _asked(rows: Sequence[str], segmenter: Segmenter | None) -> list[str]:
    """Rows to draw, in their order; a segmenter is given only for its row."""
    return [row for row in ROWS if (row in rows if row != "segmenter" else segmenter is not None)]


def _lines(asked: Sequence[str], ends: Mapping[str, float]) -> list[Line]:
    """What the first line of panels and the rows that are asked for have in common."""
    bars = {row: Bar(colour_map(row), ends[row], BARS[row][0]) for row in asked if row in BARS}
    return [Line(), *(Line(ROWS[row], bars.get(row)) for row in asked)]


def _counting(
    scenes: Sequence[DrawnScene], maps: Sequence[Sequence[NDArray[np.float64]]]
) -> list[NDArray[np.float64]]:
    """Maps that set the scale: of what methods leave, as by that of clouds all would be black.

    A prediction that is the cloudy image, but for rounding, counts only if all are.
    """
    left: list[NDArray[np.float64]] = []
    untouched: list[NDArray[np.float64]] = []
    for scene, (_, *of_methods) in zip(scenes, maps, strict=True):
        for image, values in zip(scene.predictions, of_methods, strict=True):
            change = np.abs(np.clip(image, 0, 1) - scene.cloudy).max()
            (left if change > 1 / DN_PER_REFLECTANCE else untouched).append(values)
    return left or untouched


def _land_panels(scene: DrawnScene, row: str, segmenter: Segmenter | None) -> list[Panel]:
    """Panels of the rows that no colour bar explains."""
    if row == "segmenter" and segmenter:
        return [land_cover_panel(seen) for seen in segmenter.classify(np.stack(_images(scene)))]
    return optical_panels(_images(scene), scene.clear, INFRARED)


def _images(scene: DrawnScene) -> list[Image]:
    return [scene.cloudy, *scene.predictions, scene.clear]


def _maps(scene: DrawnScene, row: str, protocol: Protocol) -> list[NDArray[np.float64]]:
    """How far the cloudy image and each prediction are from the clear one, shape (H, W) each."""
    if row == "error":
        return [error_map(image, scene.clear) for image in _images(scene)[:-1]]
    floor = protocol.sam_norm_floor
    return [angle_map(image, scene.clear, floor=floor) for image in _images(scene)[:-1]]


def _first_line(scene: DrawnScene) -> list[Panel]:
    below = [
        (f"{error:.4f}", f"{decibels:.2f}".replace("inf", "∞").replace("-", "−"))
        for error, decibels in scene.scores
    ]
    cloudy, *others = optical_panels(_images(scene), scene.clear, TRUE_COLOUR, below)
    sar = [sar_panel(one, band) for one, band in zip(scene.sar_db, SAR_BANDS, strict=True)]
    return [cloudy, *sar, land_cover_panel(scene.land_cover), *others]


def _under_columns(panels: Sequence[Panel], methods: int) -> list[Panel | None]:
    """Panels of the cloudy image, the methods and, if there is one, the clear image."""
    none = [None] * (len(BEFORE) - 1)
    return [panels[0], *none, *panels[1:], *[None] * (methods + 2 - len(panels))]


def _caption(
    size: int,
    protocol: Protocol,
    rows: Sequence[str],
    segmenter: Segmenter | None,
    *,
    grey: bool,
) -> list[str]:
    """Sentences that say how everything was drawn."""
    window = "the whole patch" if size == OPTICAL_SIZE else f"the centre {size} × {size} pixels"
    low, high = PERCENTILES
    vv, vh = (f"{SAR_DB[band][0]:g} to {SAR_DB[band][1]:g} dB" for band in SAR_BANDS)
    undefined = " (grey: a spectrum of zeros has none)" if grey else ""
    of_row: dict[str, str] = {
        "infrared": "Infrared: near-infrared, red and green as red, green and blue, each band "
        "stretched between the same percentiles of its own in the clear image.",
        "error": "Error: |image − clear|, mean over the four bands.",
        "angle": f"Angle: spectral angle between image and clear image{undefined}.",
        "segmenter": f"Segmenter: land cover that {segmenter.name if segmenter else 'none'} "
        "tells from the image.",
    }
    optical = (
        "Optical images are in true colour, all of a scene with one stretch, taken from its clear "
        f"image: the {low:g}nd percentile of its red, green and blue values is black, the "
        f"{high:g}th white."
    )
    below = (
        "Below the images: MAE [reflectance] and PSNR [dB] against the clear image, over all four "
        f"bands and {window} (protocol {protocol.name})."
    )
    sar = f"SAR: backscatter from black to white, VV {vv}, VH {vh}.".replace("-", "−")
    land_cover = (
        "Land cover: classes from ESA WorldCover, in its colours (rangeland in that of shrubland)."
    )
    scaled = " and ".join(f"{row}s" for row in BARS if row in rows).capitalize()
    scale = (
        f"{scaled} have one scale{' each' * (' ' in scaled)} in all scenes, whose end is the first "
        "round number that at most 2 % of pixels exceed in at least half of the methods' panels "
        "(those that are the cloudy image left out, unless all are); larger values have the "
        "last colour."
    )
    sentences = [optical, sar, land_cover, below, *(of_row[row] for row in rows)]
    return [*sentences, scale] if scaled else sentences
