"""Draw Fig. 1(b) to (e) of the paper: products of some scenes side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import numpy as np
from matplotlib.figure import Figure

from planetcr_bench.data.reading import read_scene
from planetcr_bench.data.scene import Image
from planetcr_bench.data.scene_files import CLOUD_MASK, SceneFiles
from planetcr_bench.gallery.captions import drawing_notes
from planetcr_bench.gallery.figure import PageContent, PanelRow, ScenePanels, draw_page
from planetcr_bench.gallery.gallery import input_columns
from planetcr_bench.gallery.panels import (
    LONGEST_SIDE,
    Panel,
    land_cover_panel,
    mask_panel,
    optical_panels,
    sar_panels,
    small_enough,
)
from planetcr_bench.gallery.scenes import decibels
from planetcr_bench.gallery.selection import named_scenes, spread_scenes
from planetcr_bench.overview.charts import source_note
from planetcr_bench.overview.statistics import Statistics


def chosen_scenes(
    statistics: Statistics, count: int, names: Sequence[str] = ()
) -> list[SceneFiles]:
    """Scenes to draw: those of given names, else some spread over cloud cover, seasons and AOIs.

    Raises:
        DatasetError: There is no scene of a name.
    """
    every = list(chain.from_iterable(statistics.files.values()))
    if names:
        return named_scenes(every, names)
    covers = statistics.scenes["cloud_cover"].tolist()
    return spread_scenes(dict(zip(every, covers, strict=True)), min(count, len(every)))


def choice(statistics: Statistics, count: int, names: Sequence[str] = ()) -> str:
    """Say how :func:`chosen_scenes` chose."""
    if names:
        return "chosen by name"
    if statistics.has_masks:
        return "chosen evenly over cloud cover, seasons and areas"
    several = statistics.description.cluster is not None and count > 1
    return "chosen by the hashes of their names" + f", evenly over {statistics.cluster}s" * several


def scenes_figure(
    statistics: Statistics, scenes: Sequence[SceneFiles], *, reason: str = ""
) -> Figure:
    """Clear and cloudy images, SAR, land cover and cloud mask of scenes, as far as they exist.

    Args:
        statistics: Of their dataset.
        scenes: To draw.
        reason: Why these, in words.

    Raises:
        DatasetError: A scene cannot be read.
        UsageError: They do not fit a page.
    """
    described = statistics.description
    dates = max(len(files.paths("cloudy")) for files in scenes)
    has_masks = all(CLOUD_MASK in files.products for files in scenes)
    columns = ["Clear", *input_columns(described, dates), *(["Cloud mask"] if has_masks else [])]
    content = [_panels(files, dates) for files in scenes]
    shrunk = any(max(size) > LONGEST_SIDE for _, size in content)
    notes = drawing_notes(described, shrunk=shrunk)
    count = sum(map(len, statistics.files.values()))
    shown = f"Shown {'is' if len(scenes) == 1 else 'are'} {len(scenes)} of {count:,} scenes"
    text = " ".join([
        f"{shown}{f', {reason}' if len(scenes) < count else ''}.", *notes,
        *(["Cloud mask: cloud is white."] if has_masks else []), source_note(statistics),
    ])  # fmt: skip
    return draw_page(PageContent(columns, [PanelRow()], [panels for panels, _ in content], text))


def _panels(files: SceneFiles, dates: int) -> tuple[ScenePanels, tuple[int, int]]:
    """Panels of one scene, and the size of its images."""
    scene, described = read_scene(files), files.description
    cloudy: list[Image] = list(scene.cloudy) if scene.cloudy.ndim == 4 else [scene.cloudy]
    optical = optical_panels(
        [scene.clear, *cloudy], scene.clear, described.picture_bands, order=described.bands
    )
    missing: list[Panel | None] = [None] * (dates - len(cloudy))
    radar, cover, mask = decibels(scene), scene.land_cover, scene.cloud_mask
    row: list[Panel | None] = [
        *optical,
        *missing,
        *([] if radar is None or described.sar is None else sar_panels(radar, described.sar)),
        *([] if cover is None else [land_cover_panel(cover)]),
        *([] if mask is None else [mask_panel(mask)]),
    ]
    share = scene.cloud_cover
    known = "" if math.isnan(share) else f"cloud cover {100 * share:.0f} %"
    title = ", ".join(filter(None, (f"{files.split}: {files.name}", files.dates, known)))
    small = [panel and small_enough(panel) for panel in row]
    return ScenePanels(title, [small]), np.shape(scene.clear)[1:]
