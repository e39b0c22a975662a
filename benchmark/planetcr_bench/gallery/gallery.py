"""Draw scenes and what methods made of them side by side, as Fig. 4 of the paper does.

``selection.py`` chooses scenes, ``scenes.py`` reads them, ``panels.py`` colours images,
``captions.py`` explains them, and ``figure.py`` lays them out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from planetcr_bench.constants import (
    DN_PER_REFLECTANCE,
    LAND_COVER,
    PAPER_METHODS,
    UNKNOWN,
)
from planetcr_bench.data.description import Description
from planetcr_bench.data.masks import OtherMasks, with_masks
from planetcr_bench.data.scene_files import CLOUD_MASK, SceneFiles
from planetcr_bench.errors import DatasetError, UsageError
from planetcr_bench.evaluation.segmenters import Segmenter, expect_bands
from planetcr_bench.figures.style import save_figure
from planetcr_bench.gallery.captions import caption, input_windows, selection, shown_scenes
from planetcr_bench.gallery.figure import (
    PANEL_SIDE,
    PageContent,
    PanelRow,
    ScenePanels,
    draw_page,
    fit_layout,
)
from planetcr_bench.gallery.panels import (
    ANGLE_SCALES,
    ERROR_SCALES,
    INFRARED,
    LONGEST_SIDE,
    Panel,
    Zoom,
    angle_map,
    error_map,
    land_cover_panel,
    map_panel,
    mask_panel,
    optical_panels,
    sar_panels,
    small_enough,
    upper_end,
    zoomed,
)
from planetcr_bench.gallery.scenes import (
    DrawnScene,
    common_protocol,
    find_all_predictions,
    find_common_dataset,
    read_all,
)
from planetcr_bench.gallery.selection import (
    BY_SCORE,
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
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.utils.files import atomic_write

FORMATS: Final = (".png", ".pdf", ".svg")

PANELS: Final[dict[str, str]] = {
    "infrared": "Infrared",
    "error": "Error",
    "angle": "Angle",
    "segmenter": "Segmenter",
    "mask": "Mask",
}
"""Panels that can be drawn under a scene, in their order, and their names on the page."""

MAPS: Final[dict[str, tuple[str, Sequence[float]]]] = {
    "error": ("Absolute error [reflectance]", ERROR_SCALES),
    "angle": ("Spectral angle [°]", ANGLE_SCALES),
}
"""Panels that are maps: label and possible upper ends of their colour bars."""

MOST_FOLDERS: Final = 8
"""As many methods as the paper's Fig. 4 has; a figure with more columns would fit no page."""

MOST_SCENES: Final = 10
"""As many as fit a page where they have the fewest panels."""


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
    panels: Sequence[str] = (),
    zoom: Zoom | None = None,
    segmenter: Segmenter | None = None,
    described: str | Path | None = None,
    masks: OtherMasks | None = None,
    quiet: bool = False,
) -> list[str]:
    """Draw scenes and what methods made of them.

    Args:
        data: Folder of the dataset.
        folders: One to eight folders of predictions, one column each; see :func:`method_titles`.
        out: File to write; its suffix (.png, .pdf or .svg) is the format. The caption is written
            beside it, with the suffix .txt.
        split: See ``find_dataset``, like ``scene_list``.
        scene_list: Authors' CSV list to take the scenes from.
        names: Scenes to draw, in this order; without any, ``select`` chooses.
        count: How many scenes to choose, by default 5; one for each of the six classes.
        select: ``spread`` (the default): see ``spread_scenes``; ``classes``: ``scenes_of_classes``;
            ``best``, ``median`` or ``worst``: ``ranked_scenes``, by the first folder.
        rank_by: Score that ranks, by default ``psnr``.
        panels: Panels to draw under each scene, of :data:`PANELS`.
        zoom: Square of all panels that is also shown larger.
        segmenter: Predicts land cover from images; adds the panels ``segmenter``.
        described: Name or file of the dataset's description; see ``find_dataset``.
        masks: From elsewhere, in place of the dataset's own.
        quiet: Show no progress.

    Returns:
        Names of the scenes that were drawn, from top to bottom.

    Raises:
        UsageError: Too many folders or scenes, an unknown format, options that exclude each
            other, or a request for what the dataset does not have.
        DatasetError: The dataset is broken, or has no scene of a given name.
        PredictionError: A scene that is drawn, or ranked, has no usable prediction.
    """
    check_out(out)
    _check_options(names, count, select, rank_by, panels, segmenter)
    count = len(set(names)) or count or (len(LAND_COVER) if select == "classes" else 5)
    if not 1 <= len(folders) <= MOST_FOLDERS:
        raise UsageError(f"expected 1 to {MOST_FOLDERS} folders of predictions, got {len(folders)}")
    if not 1 <= count <= MOST_SCENES:
        raise UsageError(f"expected 1 to {MOST_SCENES} scenes, got {count}")
    rank_by = rank_by or "psnr"
    dataset = find_common_dataset(
        data, folders, split, scene_list, described=described, quiet=quiet
    )
    dataset = replace(dataset, scenes=with_masks(dataset.scenes, masks))
    _check_products(dataset.scenes[0], select, panels, segmenter)
    titles = method_titles(folders)
    fit_layout(_blank_content(dataset.scenes, titles, panels, segmenter, count))
    if select in BY_SCORE:
        predictions = find_all_predictions(folders, dataset.scenes, "ranked or drawn")
        scores = scene_scores(predictions[0], common_protocol(predictions), rank_by, quiet=quiet)
        scenes = named_scenes(dataset.scenes, ranked_scenes(scores, select, rank_by, count))
    else:
        scenes = _choose(dataset.scenes, names, select, count)
        predictions = find_all_predictions(folders, scenes, "drawn")
    if not scenes:
        raise DatasetError(f"{data}: expected a scene to choose by {select}, got none")
    protocol = common_protocol(predictions)
    drawn = read_all(scenes, predictions, protocol)
    reason = "chosen by name"
    if not names:
        reason = selection(select, rank_by, titles[0], protocol, len(scenes), scenes[0])
    note = shown_scenes(dataset, len(scenes), reason)
    if masks is not None:
        note += f" Cloud masks: {masks.source}."
    if protocol.name == "official":  # what a network saw is part of an official score
        note += f" {input_windows(titles, predictions)}"
    figure = gallery_figure(
        drawn, titles, protocol, panels=panels, zoom=zoom, segmenter=segmenter, note=note
    )
    save_figure(figure, out.with_suffix(""), [out.suffix.removeprefix(".")])
    atomic_write(out.with_suffix(".txt"), f"{figure.get_label()}\n".encode())
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
        raise UsageError(
            f"--out: cannot write {out}, {nearest} is not a folder; choose another file"
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UsageError(
            f"--out: cannot write {out}, {nearest} is not writable; choose a file elsewhere, "
            "or change the permissions of that folder"
        )


def _check_options(
    names: Sequence[str],
    count: int | None,
    select: Select | None,
    rank_by: By | None,
    panels: Sequence[str],
    segmenter: Segmenter | None,
) -> None:
    if names and count:
        raise UsageError(f"--scenes: expected no number together with --scene, got {count}")
    if names and select:
        raise UsageError(f"--select: expected no choice together with --scene, got {select}")
    if rank_by and select not in BY_SCORE:
        got = f"--select {select}" if select else "no --select"
        raise UsageError(f"--rank-by: expected --select {', '.join(BY_SCORE)} with it, got {got}")
    if unknown := [name for name in panels if name not in PANELS]:
        raise UsageError(f"--panels: expected {', '.join(PANELS)}, got {', '.join(unknown)}")
    if "segmenter" in panels and segmenter is None:
        raise UsageError("--panels segmenter: expected a segmenter; give its file with --segmenter")


def _check_products(
    files: SceneFiles,
    select: Select | None,
    panels: Sequence[str],
    segmenter: Segmenter | None,
) -> None:
    """Refuse what a dataset does not have the bands or products for."""
    described = files.description
    title, bands = described.title, ", ".join(described.bands)
    if select == "classes" and described.land_cover is None:
        raise UsageError(f"--select classes: expected land cover, {title} has none")
    if "mask" in panels and CLOUD_MASK not in files.products:
        raise UsageError(
            f"--panels mask: expected cloud masks, {title} has none; --masks takes them from "
            "elsewhere"
        )
    if "infrared" in panels and not {*INFRARED} <= {*described.bands}:
        needed = ", ".join(INFRARED)
        raise UsageError(f"--panels infrared: expected the bands {needed}, {title} has {bands}")
    if segmenter is not None:
        expect_bands(segmenter, described.bands)


def method_titles(folders: Sequence[Path]) -> list[str]:
    """Names of methods: the paper's for folders of ``PAPER_METHODS``, else those of the folders.

    Folders of the same name get as many of their parents as distinguish them.
    """
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(set(parts)):
            break
    return [PAPER_METHODS.get(name, name) for name in names]


def _choose(
    scenes: Sequence[SceneFiles], names: Sequence[str], select: Select | None, count: int
) -> list[SceneFiles]:
    if names:
        return named_scenes(scenes, names)
    covers = {files: cloud_cover(files) for files in scenes}
    if select == "classes":
        return scenes_of_classes(covers, {files: class_shares(files) for files in scenes}, count)
    return spread_scenes(covers, count)


# --- The figure -----------------------------------------------------------------------------


def gallery_figure(
    scenes: Sequence[DrawnScene],
    names: Sequence[str],
    protocol: Protocol,
    *,
    panels: Sequence[str] = (),
    zoom: Zoom | None = None,
    segmenter: Segmenter | None = None,
    note: str = "",
) -> Figure:
    """Draw Fig. 4: of each scene cloudy, SAR, land cover, predictions, clear; and further panels.

    SAR and land cover are drawn where the dataset has them, and all dates of several cloudy images.

    Args:
        scenes: At least one; all of one dataset and with one prediction per name.
        names: Titles of the predictions.
        protocol: The one that the scenes were scored with.
        panels: Panels to draw under each scene, of :data:`PANELS`.
        zoom: Square of all panels that is also shown larger.
        segmenter: Adds the panels ``segmenter``.
        note: First sentence of the caption, such as which scenes these are.

    Returns:
        See ``draw_page``; its label is the caption.

    Raises:
        UsageError: It does not fit a page, or an image does not hold the square.
    """
    panels = _ordered(panels, segmenter)
    maps = {
        name: [_maps(scene, name, protocol) for scene in scenes] for name in panels if name in MAPS
    }
    ends = {name: upper_end(_scale_maps(scenes, maps[name]), MAPS[name][1]) for name in maps}
    described = scenes[0].description
    dates = max(1 + len(scene.other_dates) for scene in scenes)
    inputs = input_columns(described, dates)
    content = []
    for number, scene in enumerate(scenes):
        if zoom:
            zoom.check(scene.clear.shape[1:])
        row = {name: [map_panel(m, name, ends[name]) for m in maps[name][number]] for name in maps}
        if "infrared" in panels:
            row["infrared"] = optical_panels(
                scene.images, scene.clear, INFRARED, order=described.bands
            )
        if "mask" in panels:
            assert scene.cloud_mask is not None  # or it was refused before
            row["mask"] = [mask_panel(scene.cloud_mask)]
        if segmenter:
            classes = segmenter.classify(np.stack(scene.images))
            row["segmenter"] = [land_cover_panel(each) for each in classes]
        further = [_in_columns(row[name], len(names), len(inputs)) for name in panels]
        rows = [_first_row(scene, dates), *further]
        small = [[panel and _drawn(panel, zoom) for panel in panels] for panels in rows]
        content.append(ScenePanels(_title(scene), small))
    undefined = any(np.isnan(m).any() for of_scene in maps.get("angle", ()) for m in of_scene)
    shrunk = any(max(scene.clear.shape) > LONGEST_SIDE for scene in scenes)
    segmenter_name = segmenter.name if segmenter else ""
    sentences = caption(
        described,
        protocol,
        panels,
        segmenter_name,
        dates=dates,
        undefined_angles=undefined,
        shrunk=shrunk,
        zoom=zoom,
    )
    return draw_page(_content(inputs, names, panels, content, f"{note} {sentences}".strip()))


def _drawn(panel: Panel, zoom: Zoom | None) -> Panel:
    return small_enough(zoomed(panel, zoom) if zoom else panel)


def input_columns(described: Description, dates: int) -> list[str]:
    """Titles of the columns before those of the methods; the clear image comes after them."""
    cloudy = ["Cloudy"] if dates == 1 else [f"Cloudy {number + 1}" for number in range(dates)]
    sar = [f"SAR {band.upper()}" for band in described.sar.bands] if described.sar else []
    return [*cloudy, *sar, *(["Land cover"] if described.land_cover else [])]


def _title(scene: DrawnScene) -> str:
    cover = scene.cloud_cover
    known = "" if np.isnan(cover) else f"cloud cover {100 * cover:.0f} %"
    return ", ".join(filter(None, (scene.scene, scene.dates, known)))


def _content(
    inputs: Sequence[str],
    names: Sequence[str],
    panels: Sequence[str],
    scenes: Sequence[ScenePanels],
    text: str,
) -> PageContent:
    rows = [PanelRow(), *(PanelRow(PANELS[name], MAPS.get(name, ("",))[0]) for name in panels)]
    return PageContent([*inputs, *names, "Clear"], rows, scenes, text)


def _blank_content(
    scenes: Sequence[SceneFiles],
    names: Sequence[str],
    panels: Sequence[str],
    segmenter: Segmenter | None,
    count: int,
) -> PageContent:
    """About what a figure of some scenes will show, to refuse it before anything is read."""
    panels = _ordered(panels, segmenter)
    described, dates = scenes[0].description, len(scenes[0].paths("cloudy"))
    size = described.read_size_of("clear") or (PANEL_SIDE, PANEL_SIDE)
    classes = range(UNKNOWN) if described.land_cover or segmenter else ()
    panel = small_enough(Panel(np.zeros(size), ("0", "0"), classes=classes))
    inputs = input_columns(described, dates)
    rows = [
        [panel] * (1 if name == "mask" else len(names) + (1 if name in MAPS else 2))
        for name in panels
    ]
    first = [panel] * (len(inputs) + len(names) + 1)
    blank = ScenePanels("", [first, *(_in_columns(row, len(names), len(inputs)) for row in rows)])
    return _content(inputs, names, panels, [blank] * min(count, len(scenes)), "")


def _ordered(panels: Sequence[str], segmenter: Segmenter | None) -> list[str]:
    """Panels to draw, in their order; a segmenter is given only for its panels."""
    return [
        name
        for name in PANELS
        if (name in panels if name != "segmenter" else segmenter is not None)
    ]


def _scale_maps(
    scenes: Sequence[DrawnScene], maps: Sequence[Sequence[NDArray[np.float64]]]
) -> list[NDArray[np.float64]]:
    """Maps that set the scale: those of predictions, as on that of clouds all would be black.

    A prediction that is the cloudy image, but for rounding, counts only if all are.
    """
    changed: list[NDArray[np.float64]] = []
    untouched: list[NDArray[np.float64]] = []
    for scene, (_, *of_predictions) in zip(scenes, maps, strict=True):
        for image, values in zip(scene.predictions, of_predictions, strict=True):
            change = np.abs(np.clip(image, 0, 1) - scene.cloudy).max()
            (changed if change > 1 / DN_PER_REFLECTANCE else untouched).append(values)
    return changed or untouched


def _maps(scene: DrawnScene, name: str, protocol: Protocol) -> list[NDArray[np.float64]]:
    """How far the cloudy image and each prediction are from the clear one, shape (H, W) each."""
    if name == "error":
        return [error_map(image, scene.clear) for image in scene.images[:-1]]
    floor = protocol.sam_norm_floor
    return [angle_map(image, scene.clear, floor=floor) for image in scene.images[:-1]]


def _first_row(scene: DrawnScene, dates: int) -> list[Panel | None]:
    described = scene.description
    scores = [
        (f"MAE {error:.4f}", f"{decibels:.2f} dB".replace("inf", "∞").replace("-", "−"))
        for error, decibels in scene.scores
    ]
    images = [*scene.images, *scene.other_dates]
    cloudy, *others = optical_panels(
        images, scene.clear, described.picture_bands, scores, order=described.bands
    )
    methods, more = others[: len(scene.images) - 1], others[len(scene.images) - 1 :]
    missing = [None] * (dates - 1 - len(more))
    radar = (
        [] if scene.sar_db is None or not described.sar else sar_panels(scene.sar_db, described.sar)
    )
    return [
        cloudy,
        *more,
        *missing,
        *radar,
        *([] if scene.land_cover is None else [land_cover_panel(scene.land_cover)]),
        *methods,
    ]


def _in_columns(panels: Sequence[Panel], methods: int, inputs: int) -> list[Panel | None]:
    """Put panels of the cloudy image, the methods and perhaps the clear image in their columns."""
    none = [None] * (inputs - 1)
    return [panels[0], *none, *panels[1:], *[None] * (methods + 2 - len(panels))]
