"""Folders of predictions and a dataset in, Fig. 4 of the paper out: scenes side by side, as images.

Nothing is flattered: all optical panels of a scene share the stretch of its clear image, and all
errors and all SAR panels of a figure share one scale.
"""

from __future__ import annotations

import difflib
import io
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from planetcr_bench import kernels
from planetcr_bench.arrays import Job, read_arrays, scene_arrays
from planetcr_bench.dataset import SceneFiles, read_product, read_track
from planetcr_bench.errors import DatasetError, PredictionError, UsageError
from planetcr_bench.evaluate import find_dataset
from planetcr_bench.ledger import SUMS
from planetcr_bench.predictions import Predictions, find_predictions, read_card
from planetcr_bench.protocols import PROTOCOLS, Protocol
from planetcr_bench.scene import Image, Scene, backscatter, upsample
from planetcr_bench.scores import mae, psnr
from planetcr_bench.storage import write_whole
from planetcr_bench.vocabulary import OPTICAL_BANDS, OPTICAL_SIZE, SAR_RANGE_DB

FORMATS: Final = (".png", ".pdf", ".svg")

MOST_FOLDERS: Final = 6
MOST_SCENES: Final = 20
"""A figure with more columns or rows than these would fit no page."""

TRUE_COLOUR: Final = ("red", "green", "blue")
INFRARED: Final = ("nir", "red", "green")
"""Bands that red, green and blue on the page stand for."""

PERCENTILES: Final = (2.0, 98.0)
"""Of the clear image's drawn bands: black, and the middle of the range.

White is as far above the upper one as black is below it: a hazy image is brighter than anything in
the clear one, and would otherwise be drawn as a white square.
"""

GAMMA: Final = 0.6
"""Exponent of the stretch; it gives the lower half of the range, the clear image, more shades."""

VV_DB: Final = (-22.0, -2.0)
"""Backscatter of the blackest and the whitest shade of every SAR panel."""

ERROR_SCALES: Final = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
"""Reflectance at the upper end of the error's colour bar: the first that few errors exceed."""

_DPI: Final = 300
_GUTTER, _GAP = 8, 22  # between panels, and between groups of panels, in pixels
_MARGIN, _LABEL = 16, 80  # around the figure, and left of each row
_LINE, _SMALL = 36, 27  # height of a line of text: titles, and what is below panels
_BAR: Final = 22  # height of the colour bar
_CHARACTER: Final = 13  # width of one in the caption, a little more than the average
_TITLE_CHARACTERS: Final = 17
_STYLE: Final[list[Any]] = [
    "default",  # whatever a user's matplotlibrc says, the same images give the same bytes
    {
        "font.family": "DejaVu Sans",
        "font.size": 6,
        "axes.linewidth": 0.4,
        "xtick.major.size": 2,
        "xtick.major.width": 0.4,
        "xtick.major.pad": 1.5,
        "svg.fonttype": "none",
        "svg.hashsalt": "planetcr-bench",
        "pdf.fonttype": 42,
    },
]


@dataclass(frozen=True, slots=True)
class Row:
    """One scene as it is drawn; all images have the same H and W.

    Attributes:
        scene: Name of the scene.
        cloud_cover: Of the whole patch, in [0, 1].
        cloudy: Reflectance, shape (4, H, W).
        vv: VV backscatter in dB on the optical grid, shape (H, W).
        clear: Reflectance, shape (4, H, W).
        predictions: Reflectance of each folder's image, shape (4, H, W), not clipped.
        scores: MAE (reflectance) and PSNR (dB) of the cloudy image, then of each prediction.
    """

    scene: str
    cloud_cover: float
    cloudy: Image
    vv: NDArray[np.float32]
    clear: Image
    predictions: Sequence[Image]
    scores: Sequence[tuple[float, float]]


def gallery(
    folders: Sequence[Path],
    out: Path,
    *,
    data: Path | None = None,
    split: str | None = None,
    scene_list: Path | None = None,
    names: Sequence[str] = (),
    count: int = 5,
    infrared: bool = False,
    quiet: bool = False,
) -> list[str]:
    """Draw scenes and what methods made of them.

    Args:
        folders: One to six folders of predictions; a folder's name is the title of its columns.
        out: File to write; its suffix (.png, .pdf or .svg) is the format.
        data: See :func:`~planetcr_bench.evaluate.find_dataset`, like ``split`` and ``scene_list``.
        split: Split that was predicted.
        scene_list: Authors' CSV list to take the scenes from.
        names: Scenes to draw, in this order; without any, :func:`choose_scenes` does.
        count: How many scenes to choose.
        infrared: Draw near-infrared, red and green instead of red, green and blue.
        quiet: Show no progress.

    Returns:
        Names of the scenes that were drawn, from top to bottom.

    Raises:
        UsageError: Too many folders or scenes, or an unknown format.
        DatasetError: The dataset is not found or broken, or has no scene of a given name.
        PredictionError: A scene that is drawn has no usable prediction in one of the folders.
    """
    _check_request(folders, out, max(len(names), count if not names else 0))
    for folder in folders:  # refuses predictions of another split or dataset
        dataset = find_dataset(
            folder, read_card(folder), data=data, split=split, scene_list=scene_list, quiet=quiet
        )
        data, split = dataset.folder, dataset.split
    if names:
        scenes = named_scenes(dataset.scenes, names)
    else:
        covers = {files: _cloud_cover(files) for files in dataset.scenes}
        scenes = choose_scenes(covers, count)
    found = [_predictions_of(folder, scenes) for folder in folders]
    size = min(predictions.size for predictions in found)
    protocol = PROTOCOLS["full" if size == OPTICAL_SIZE else "official"]
    rows = [read_row(files, found, protocol, size) for files in scenes]
    note = f"Dataset: {read_track(dataset.folder)}, split {dataset.split}."
    figure = gallery_figure(rows, _titles(folders), protocol, infrared=infrared, note=note)
    save_gallery(figure, out)
    return [files.name for files in scenes]


def _check_request(folders: Sequence[Path], out: Path, scenes: int) -> None:
    if out.suffix.lower() not in FORMATS or out.is_dir():
        raise UsageError(f"--out: expected a file that ends in {', '.join(FORMATS)}, got {out}")
    if len(folders) > MOST_FOLDERS:
        raise UsageError(f"expected 1 to {MOST_FOLDERS} folders of predictions, got {len(folders)}")
    if not 1 <= scenes <= MOST_SCENES:
        raise UsageError(f"expected 1 to {MOST_SCENES} scenes, got {scenes}")


def _titles(folders: Sequence[Path]) -> list[str]:
    """Names of the folders, each with as many of its parents as it takes to tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(set(parts)):
            break
    return names


# --- Which scenes ---------------------------------------------------------------------------


def choose_scenes(covers: Mapping[SceneFiles, float], count: int) -> list[SceneFiles]:
    """Choose scenes spread over cloud cover, seasons and AOIs; the same ones every time.

    The range of cloud cover is cut into ``count`` equal parts; with five they are the bins of
    Fig. 5. Of the scenes near the middle of a part, one of a season and an AOI that had the fewest
    turns is taken. A part without scenes takes the scene that is nearest to it.

    Args:
        covers: Cloud cover of each scene, in [0, 1].
        count: How many to choose; all, if there are no more.

    Returns:
        Scenes in the order of their cloud cover.
    """
    chosen: list[SceneFiles] = []
    for part in range(count):
        left = [files for files in covers if files not in chosen]
        if left:
            chosen.append(_nearest_scene(left, covers, (part + 0.5) / count, 0.5 / count, chosen))
    return sorted(chosen, key=lambda files: (covers[files], files))


def _nearest_scene(
    left: Sequence[SceneFiles],
    covers: Mapping[SceneFiles, float],
    middle: float,
    reach: float,
    chosen: Sequence[SceneFiles],
) -> SceneFiles:
    def rank(files: SceneFiles) -> tuple[int, int, int, float, SceneFiles]:
        distance = abs(covers[files] - middle)
        ring = 0 if distance <= reach / 2 else 1 if distance < reach else 2
        if ring == 2:  # outside of its part, nothing counts but how far
            return ring, 0, 0, distance, files
        season = sum(files.season == other.season for other in chosen)
        aoi = sum(files.aoi == other.aoi for other in chosen)
        return ring, aoi, season, distance, files

    return min(left, key=rank)


def named_scenes(scenes: Sequence[SceneFiles], names: Sequence[str]) -> list[SceneFiles]:
    """Scenes of the given names, in their order, each once.

    Raises:
        DatasetError: There is no scene of a name; the message has those that are spelled alike.
    """
    by_name = {files.name: files for files in scenes}
    for name in names:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, 3, 0.5)
            hint = f"; did you mean {', '.join(near)}?" if near else f", such as {min(by_name)}"
            raise DatasetError(
                f"--scene: expected one of the {len(scenes)} scenes of {scenes[0].split_folder}, "
                f"got {name!r}{hint}"
            )
    return [by_name[name] for name in dict.fromkeys(names)]


def _cloud_cover(files: SceneFiles) -> float:
    return float(read_product(files, "cloudmask").pixels.mean())


# --- What is drawn --------------------------------------------------------------------------


def _predictions_of(folder: Path, scenes: Sequence[SceneFiles]) -> Predictions:
    """Predictions of the scenes that are drawn; what else lies in the folder does not matter."""
    found = find_predictions(folder, read_card(folder), scenes)
    missing = [files.name for files in scenes if files not in found.files]
    if missing:
        wanted = re.compile(rf"({'|'.join(missing)})(?!\d)")
        raise PredictionError(
            f"{folder}: expected a prediction of each scene that is drawn; mend these files, or "
            "choose other scenes with --scene",
            [problem for problem in found.problems if wanted.search(problem)],
        )
    return found


def read_row(files: SceneFiles, found: Sequence[Predictions], protocol: Protocol, size: int) -> Row:
    """Read a scene and its predictions, cut to the centre where one of them is, and score them.

    Raises:
        DatasetError: The scene is broken.
        PredictionError: A prediction is.
    """
    all_arrays = [read_arrays(Job(files, one.files[files]), one.card) for one in found]
    sums = [
        kernels.measure(arrays.images, arrays.clear, arrays.group, protocol).sum(axis=0)
        for arrays in all_arrays
    ]
    vv = _vv_db(backscatter(read_product(files, "S1").pixels))
    return Row(
        scene=files.name,
        cloud_cover=_cloud_cover(files),
        cloudy=kernels.centre_crop(all_arrays[0].images[1], size),
        vv=kernels.centre_crop(vv, size),
        clear=kernels.centre_crop(all_arrays[0].clear, size),
        predictions=[kernels.centre_crop(arrays.images[0], size) for arrays in all_arrays],
        scores=[
            _scores(sums[0], "cloudy_clear", "input_squared_error", protocol),
            *(_scores(one, "absolute_error", "squared_error", protocol) for one in sums),
        ],
    )


def scene_row(scene: Scene, prediction: Image) -> Row:
    """A scene and one prediction of the whole patch, both in memory, scored in ``full``."""
    protocol = PROTOCOLS["full"]
    arrays = scene_arrays(scene, prediction)
    sums = kernels.measure(arrays.images, arrays.clear, arrays.group, protocol).sum(axis=0)
    return Row(
        scene=scene.name,
        cloud_cover=scene.cloud_cover,
        cloudy=scene.cloudy,
        vv=_vv_db(scene.sar),
        clear=scene.clear,
        predictions=[prediction],
        scores=[
            _scores(sums, "cloudy_clear", "input_squared_error", protocol),
            _scores(sums, "absolute_error", "squared_error", protocol),
        ],
    )


def _vv_db(sar: Image) -> NDArray[np.float32]:
    """VV in decibels on the optical grid, of SAR in [0, 1] on its own."""
    low, high = SAR_RANGE_DB[0]
    return upsample(low + sar[0] * np.float32(high - low), (OPTICAL_SIZE, OPTICAL_SIZE))


def _scores(
    sums: NDArray[np.float64], absolute: str, squared: str, protocol: Protocol
) -> tuple[float, float]:
    """MAE and PSNR from the sums of one scene, named as columns of the ledger."""
    column = dict(zip(SUMS, sums, strict=True))
    decibels = psnr(column[squared], column["values"], perfect=protocol.perfect_psnr)
    return float(mae(column[absolute], column["values"])), float(decibels)


def error_map(prediction: Image, clear: Image) -> NDArray[np.float64]:
    """Mean absolute error over the bands at each pixel: reflectance, shape (H, W)."""
    error: NDArray[np.float64] = np.abs(prediction - clear, dtype=np.float64).mean(axis=0)
    return error


def stretch_limits(
    clear: Image, bands: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Black and white of all optical panels of a scene, from its clear image alone.

    True colour has one range for its three bands, which keeps its hues. Near-infrared is several
    times as bright as red over plants: beside it each band has a range of its own.

    Args:
        clear: Reflectance, shape (4, H, W).
        bands: The three that are drawn.

    Returns:
        Reflectance of black and of white in each band, both of shape (3,).
    """
    axis = (1, 2) if "nir" in bands else None
    black, middle = np.percentile(_drawn(clear, bands), PERCENTILES, axis=axis)
    white = np.maximum(2 * middle - black, black + 1e-4)
    return np.broadcast_to(black, 3), np.broadcast_to(white, 3)


def stretched(
    image: Image, limits: tuple[NDArray[np.float64], NDArray[np.float64]], bands: Sequence[str]
) -> NDArray[np.float64]:
    """Colours of an image, in [0, 1], shape (H, W, 3); what lies beyond the limits is clipped."""
    black, white = limits
    shades = (_drawn(image, bands).transpose(1, 2, 0) - black) / (white - black)
    colours: NDArray[np.float64] = np.clip(shades, 0, 1) ** GAMMA
    return colours


def _drawn(image: Image, bands: Sequence[str]) -> Image:
    return image[[OPTICAL_BANDS.index(band) for band in bands]]


def error_scale(rows: Sequence[Row]) -> float:
    """Upper end of the colour bar: of :data:`ERROR_SCALES`, the first that at most 2 % exceed."""
    errors = [error_map(image, row.clear) for row in rows for image in row.predictions]
    high = np.percentile(np.stack(errors), 98)
    return next((scale for scale in ERROR_SCALES if high <= scale), ERROR_SCALES[-1])


# --- The figure -----------------------------------------------------------------------------


class _Grid:
    """Where everything lies, in pixels from the top left corner.

    Panels are drawn at a whole multiple of their pixels, so that none is resampled.

    Args:
        size: Side of the images.
        titles: Of the columns, wrapped.
        folders: How many columns predictions take.
        rows: How many rows there are.
        caption: Is wrapped to the width of the columns left of the errors.
    """

    def __init__(
        self, size: int, titles: Sequence[str], folders: int, rows: int, caption: str
    ) -> None:
        self.panel = size * math.ceil(OPTICAL_SIZE / size)
        self.lefts, left = [], _MARGIN + _LABEL
        for column in range(len(titles)):
            left += _GAP if column in (2, 2 + folders, 3 + folders) else 0
            self.lefts.append(left)
            left += self.panel + _GUTTER
        self.width = left - _GUTTER + _MARGIN
        self.head = _MARGIN + _LINE * max(title.count("\n") + 1 for title in titles)
        self.pitch = self.panel + _SMALL + 12
        self.foot = self.head + rows * self.pitch + 8
        self.first_error = self.lefts[3 + folders]
        characters = (self.first_error - _GAP - self.lefts[0]) // _CHARACTER
        self.caption = textwrap.wrap(caption, characters, break_on_hyphens=False)
        below = max(_SMALL * len(self.caption), _BAR + 2 * _SMALL + 14)
        self.height = self.foot + below + _MARGIN

    def add(self, figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
        """Axes of the given place and size in pixels."""
        x, y = left / self.width, 1 - (top + height) / self.height
        return figure.add_axes((x, y, width / self.width, height / self.height))

    def write(self, figure: Figure, left: float, top: float, text: str, **look: Any) -> None:
        """Text at a place in pixels."""
        figure.text(left / self.width, 1 - top / self.height, text, parse_math=False, **look)


def gallery_figure(
    rows: Sequence[Row],
    names: Sequence[str],
    protocol: Protocol,
    *,
    infrared: bool = False,
    note: str = "",
) -> Figure:
    """Fig. 4: a row per scene; cloudy, SAR, predictions, clear, and the predictions' errors.

    Args:
        rows: At least one; all of one size and with one prediction per name.
        names: Titles of the predictions.
        protocol: The one that the rows were scored with.
        infrared: Draw near-infrared, red and green instead of red, green and blue.
        note: Last sentence of the caption, such as the name of the dataset.

    Returns:
        A figure that belongs to no window and to no pyplot state, 300 pixels an inch.
    """
    wrapped = [textwrap.fill(name, _TITLE_CHARACTERS) for name in names]
    errors = [f"Error of\n{name}" for name in wrapped]
    titles = ["Cloudy", "SAR (VV)", *wrapped, "Clear", *errors]
    size, bands = rows[0].clear.shape[-1], INFRARED if infrared else TRUE_COLOUR
    caption = _caption(bands, protocol, size, note)
    grid = _Grid(size, titles, len(names), len(rows), caption)
    scale = error_scale(rows)
    with matplotlib.style.context(_STYLE):
        figure = Figure(figsize=(grid.width / _DPI, grid.height / _DPI), dpi=_DPI)
        for left, title in zip(grid.lefts, titles, strict=True):
            middle = left + grid.panel / 2
            grid.write(figure, middle, grid.head - 6, title, ha="center", va="bottom", size=7)
        for number, row in enumerate(rows):
            _draw_row(figure, grid, grid.head + number * grid.pitch, row, bands, scale)
        _draw_foot(figure, grid, scale)
    return figure


def _draw_row(
    figure: Figure, grid: _Grid, top: float, row: Row, bands: Sequence[str], scale: float
) -> None:
    limits = stretch_limits(row.clear, bands)
    optical = [stretched(image, limits, bands) for image in (*row.predictions, row.clear)]
    grey = {"cmap": "gray", "vmin": VV_DB[0], "vmax": VV_DB[1]}
    heat = {"cmap": "magma", "vmin": 0, "vmax": scale}
    panels: list[tuple[NDArray[Any], dict[str, Any]]] = [
        (stretched(row.cloudy, limits, bands), {}),
        (row.vv, grey),
        *((image, {}) for image in optical),
        *((error_map(image, row.clear), heat) for image in row.predictions),
    ]
    for left, (image, look) in zip(grid.lefts, panels, strict=True):
        axes = grid.add(figure, left, top, grid.panel, grid.panel)
        axes.imshow(image, interpolation="nearest", **look)
        axes.set_axis_off()
    scored = [grid.lefts[0], *grid.lefts[2 : 2 + len(row.predictions)]]
    for left, (absolute, decibels) in zip(scored, row.scores, strict=True):
        text = f"{absolute:.4f} | {decibels:.2f} dB".replace("inf", "∞")
        where = (left + grid.panel / 2, top + grid.panel + 6)
        grid.write(figure, *where, text, ha="center", va="top")
    label = f"{row.scene}\ncloud {100 * row.cloud_cover:.0f} %"
    where = (_MARGIN + _LABEL - 10, top + grid.panel / 2)
    grid.write(figure, *where, label, ha="right", va="center", rotation=90, multialignment="center")


def _draw_foot(figure: Figure, grid: _Grid, scale: float) -> None:
    """The caption, and below the errors their colour bar."""
    look = {"ha": "left", "va": "top", "color": "#404040", "linespacing": 1.1}
    grid.write(figure, grid.lefts[0], grid.foot, "\n".join(grid.caption), **look)
    width = grid.lefts[-1] + grid.panel - grid.first_error
    axes = grid.add(figure, grid.first_error, grid.foot + 2, width, _BAR)
    colours = ScalarMappable(Normalize(0, scale), "magma")
    bar = figure.colorbar(colours, cax=axes, orientation="horizontal", extend="max")
    bar.set_ticks([0, scale / 2, scale], labels=["0", f"{scale / 2:g}", f"{scale:g}"])
    bar.set_label("error [reflectance]", labelpad=1)


def _caption(bands: Sequence[str], protocol: Protocol, size: int, note: str) -> str:
    window = "the whole patch" if size == OPTICAL_SIZE else f"the centre {size} × {size} pixels"
    low, high = PERCENTILES
    kind, whose = ("infrared", "each band") if "nir" in bands else ("true", "its three bands")
    black, white = (f"{decibels:g} dB".replace("-", "−") for decibels in VV_DB)
    return (
        f"Optical images in {kind} colour ({', '.join(bands).replace('nir', 'near-infrared')}); "
        f"all of a row with one stretch, taken from its clear image: from the {low:g}nd percentile "
        f"of {whose} (black) to twice as far as the "
        f"{high:g}th (white), gamma {GAMMA:g}. SAR: VV backscatter, "
        f"{black} (black) to {white} (white). Below the images: MAE [reflectance] "
        f"| PSNR over all four bands and {window} (protocol {protocol.name}). Error: mean over "
        f"the four bands of |prediction − clear|. {note}"
    ).strip()


def save_gallery(figure: Figure, out: Path) -> None:
    """Write the figure as its suffix says, whole or not at all; the same figure, the same bytes."""
    kind = out.suffix.lower().removeprefix(".")
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    stream = io.BytesIO()
    with matplotlib.style.context(_STYLE):
        figure.savefig(stream, format=kind, dpi=_DPI, metadata=metadata[kind])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, stream.getvalue())
