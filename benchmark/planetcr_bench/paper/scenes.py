"""Draw Fig. 4 of a paper: scenes, and what the methods made of them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from planetcr_bench.constants import LAND_COVER_NAMES
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import BenchError
from planetcr_bench.figures.cloud_cover import WIDE_INCH
from planetcr_bench.figures.fonts import text_width, write_all_letters
from planetcr_bench.figures.style import PRINT, PRINT_DPI, new_figure
from planetcr_bench.gallery.panels import (
    LAND_COVER_COLOURS,
    Panel,
    land_cover_panel,
    optical_panels,
    sar_panels,
    small_enough,
)
from planetcr_bench.gallery.scenes import (
    DrawnScene,
    common_protocol,
    find_all_predictions,
    find_common_dataset,
    read_all,
)
from planetcr_bench.gallery.selection import cloud_cover, named_scenes, spread_scenes
from planetcr_bench.paper.figures import PaperFigure, draw_in_both_widths
from planetcr_bench.paper.runs import Runs
from planetcr_bench.paper.words import track_name
from planetcr_bench.report.latex import TextArea
from planetcr_bench.utils.untrusted import printable

SCENES: Final = 4

_GAP_INCH: Final = 0.02
_TITLE_INCH: Final = 0.13  # a line
_CLASS_INCH: Final = 0.75  # an entry of the legend


def draw_scenes(
    out: Path,
    runs: Runs,
    data: Path,
    area: TextArea,
    formats: Sequence[str],
    *,
    names: Sequence[str] = (),
) -> PaperFigure:
    """Draw Fig. 4 from the predictions that ``run.json`` of each run names.

    Args:
        out: Folder of the figures.
        runs: Of the paper.
        data: Folder of the dataset.
        area: Widths of columns and pages.
        formats: Endings of the files.
        names: Scenes to draw; by default some spread over cloud cover.

    Raises:
        BenchError: A run does not say where its predictions are, they are not there, or are not of
            this dataset.
    """
    folders = [_predictions(method.run, method.facts.get("predictions")) for method in runs.methods]
    split = str(runs.ledgers[0].provenance["split"])
    dataset = find_common_dataset(data, folders, split, None, quiet=True)
    fingerprint = runs.ledgers[0].provenance["fingerprint"]
    if dataset.fingerprint != fingerprint:
        raise BenchError(
            f"{printable(data)}: expected the dataset of the runs, fingerprint {fingerprint[:12]}, "
            f"got {dataset.fingerprint[:12]}"
        )
    scenes: Sequence[SceneFiles] = (
        named_scenes(dataset.scenes, names)
        if names
        else spread_scenes({files: cloud_cover(files) for files in dataset.scenes}, SCENES)
    )
    predictions = find_all_predictions(folders, scenes, "drawn")
    drawn = read_all(scenes, predictions, common_protocol(predictions))
    labels = [method.label for method in runs.methods]

    def draw(width_inch: float) -> Figure:
        return scene_figure(drawn, labels, width_inch=width_inch)

    draw_in_both_widths(out, "fig4", draw, area, formats)
    return PaperFigure("fig4", _caption(runs, drawn))


def _predictions(run: str, folder: object) -> Path:
    if not (isinstance(folder, str) and folder and Path(folder).is_dir()):
        raise BenchError(
            f"{printable(run)}: expected its predictions where it was evaluated, "
            f"{printable(folder or 'not stated')}, found no such folder; run this command where "
            "they are, or leave out --data"
        )
    return Path(folder)


def scene_figure(
    scenes: Sequence[DrawnScene], labels: Sequence[str], *, width_inch: float
) -> Figure:
    """Scenes in rows and images in columns; in a narrow figure the other way round.

    Args:
        scenes: At least one, with a prediction for each label.
        labels: What the methods are called.
        width_inch: Of the figure.
    """
    images = [_panels(scene) for scene in scenes]
    described = scenes[0].description
    radar = [f"SAR {described.sar.bands[0].upper()}"] if described.sar else []
    land = ["Land cover"] if described.land_cover else []
    titles = ["Cloudy", *radar, *land, *labels, "Cloud-free"]
    wide = width_inch > WIDE_INCH
    rows, columns = (len(scenes), len(titles)) if wide else (len(titles), len(scenes))
    lines = [textwrap.fill(title, 14) for title in titles]
    longest = max(text_width(line) for name in lines for line in name.splitlines())
    margin = 0.0 if wide else 6.0 * longest / 72 + 0.08
    side = (width_inch - margin - (columns - 1) * _GAP_INCH) / columns
    letters = int(19 * side)
    named = [textwrap.fill(title, max(letters, 6)) for title in titles]
    top = _TITLE_INCH * max(1 + name.count("\n") for name in named) if wide else _TITLE_INCH
    shapes = [scene.clear.shape[1] / scene.clear.shape[2] for scene in scenes]
    classes = sorted({number for own in images for panel in own for number in panel.classes})
    across = min(len(classes), max(1, int(width_inch / _CLASS_INCH)))
    legend = _TITLE_INCH * math.ceil(len(classes) / across) + 0.06 if classes else 0.0
    height = top + (sum(shapes) if wide else rows * max(shapes)) * side + (rows - 1) * _GAP_INCH
    height += legend
    with new_figure({**PRINT, "axes.grid": False, "font.size": 6.5}) as figure:
        figure.set_layout_engine(None)
        figure.set_dpi(PRINT_DPI)
        figure.set_size_inches(width_inch, height)
        y = height - top
        for row in range(rows):
            tall = side * (shapes[row] if wide else max(shapes))
            y -= tall
            for column in range(columns):
                scene, image = (row, column) if wide else (column, row)
                x = margin + column * (side + _GAP_INCH)
                box = (x / width_inch, y / height, side / width_inch, tall / height)
                axes = figure.add_axes(box)
                _draw(axes, images[scene][image])
                if wide and row == 0:
                    axes.set_title(named[image], fontsize=6.5, pad=2, parse_math=False)
                elif not wide and row == 0:
                    axes.set_title(f"({chr(ord('a') + scene)})", fontsize=6.5, pad=2)
                if not wide and column == 0:
                    axes.set_ylabel(
                        lines[image], fontsize=6, rotation=0, ha="right", va="center", labelpad=3
                    ).set_parse_math(False)
                if wide and column == 0:
                    axes.text(
                        0.04, 0.95, f"({chr(ord('a') + scene)})", transform=axes.transAxes,
                        va="top", fontsize=6.5, color="black",
                        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
                    )  # fmt: skip
            y -= _GAP_INCH
        if classes:
            figure.legend(
                handles=[Patch(facecolor=LAND_COVER_COLOURS[number], edgecolor="#606060",
                               linewidth=0.3, label=LAND_COVER_NAMES[number])
                         for number in classes],
                loc="lower center", ncols=across, frameon=False, borderaxespad=0, borderpad=0,
                handlelength=1.2, columnspacing=1.2,
            )  # fmt: skip
        write_all_letters(figure)
    return figure


def _panels(scene: DrawnScene) -> list[Panel]:
    described = scene.description
    cloudy, *others = optical_panels(
        scene.images, scene.clear, described.picture_bands, order=described.bands
    )
    sar = scene.sar_db is not None and described.sar is not None
    radar = sar_panels(scene.sar_db, described.sar)[:1] if sar else []  # type: ignore[arg-type]
    land = [] if scene.land_cover is None else [land_cover_panel(scene.land_cover)]
    return [small_enough(panel) for panel in (cloudy, *radar, *land, *others)]


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(linewidth=0.3, visible=True)
    image = axes.imshow(panel.pixels, panel.colours, aspect="auto", interpolation="none")
    if panel.limits:
        image.set_clim(*panel.limits)


def _caption(runs: Runs, scenes: Sequence[DrawnScene]) -> str:
    names = []
    for number, scene in enumerate(scenes):
        cover = "" if np.isnan(scene.cloud_cover) else f", {100 * scene.cloud_cover:.0f} % cloud"
        names.append(f"({chr(ord('a') + number)}) {scene.scene}{cover}")
    return (
        f"Scenes of {track_name(runs.ledgers[0])}: {'; '.join(names)}. All optical images of a "
        "scene share the stretch of its cloud-free image."
    )
