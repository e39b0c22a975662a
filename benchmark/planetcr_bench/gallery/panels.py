"""Turn images, radar, land cover and errors of a scene into panels.

No method is flattered: all optical panels of a scene share the stretch of its clear image, and all
errors, angles and SAR panels of a figure share one scale each.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, to_rgb
from numpy.typing import NDArray

from planetcr_bench.constants import OPTICAL_BANDS, UNKNOWN
from planetcr_bench.data.encodings import Radar
from planetcr_bench.data.resizing import shrink
from planetcr_bench.data.scene import Image
from planetcr_bench.errors import UsageError

TRUE_COLOUR: Final = ("red", "green", "blue")
INFRARED: Final = ("nir", "red", "green")
"""Bands that red, green and blue on the page stand for."""

PERCENTILES: Final = (2.0, 98.0)
"""Of the clear image's drawn bands: black and white."""

WHITE: Final = 0.85
"""Shade of the clear image's white. The rest of the range is left for what is brighter, so that
clouds keep their structure and stand out from a white page."""

BRIGHTEST: Final = 0.98
"""Shade that ever brighter pixels approach."""

SAR_DB: Final = {"vv": (-22.0, -2.0), "vh": (-29.0, -9.0)}
"""Backscatter of the blackest and the whitest shade of every SAR panel of a band; others have the
range that their description gives to networks."""

LAND_COVER_COLOURS: Final = (
    "#006400",
    "#ffbb22",
    "#f096ff",
    "#fa0000",
    "#b4b4b4",
    "#0064c8",
    "#ffffff",
)
"""WorldCover's: trees, shrubs (for all rangeland), crops, buildings, bare, water; unknown white."""

STRIPES: Final = "#a0a0a0"
"""Colour of the stripes of unknown land, which would otherwise be as white as the page."""

ERROR_SCALES: Final = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
"""Reflectance at the upper end of the error's colour bar, of which :func:`upper_end` takes one."""

ANGLE_SCALES: Final = (2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 90.0, 180.0)
"""Degrees at the upper end of the angle's colour bar."""

LONGEST_SIDE: Final = 600
"""Pixels of the longest side of a panel; larger images are drawn smaller."""

COLOUR_MAPS: Final = {"error": "magma", "angle": "viridis"}
"""Grow evenly lighter, also for readers who are red-green blind."""

UNDEFINED: Final = "#c8c8c8"
"""Colour of pixels that have no angle."""

_SOFTNESS: Final = 1.5  # widths of the clear image's range by which brightness is compressed

_INSET: Final = 0.45  # side of an enlarged square at most, in sides of the panel

_RGB: Final = np.array([to_rgb(colour) for colour in LAND_COVER_COLOURS])


@dataclass(frozen=True, slots=True)
class Panel:
    """One image on the page.

    Attributes:
        pixels: Colours in [0, 1], shape (H, W, 3); or numbers to be coloured, shape (H, W).
        below: Short texts under it.
        colours: Colour map of numbers.
        limits: Numbers at its two ends.
        classes: Of land cover, that the legend must explain.
        frames: Squares to be framed: left, top and side in pixels.
    """

    pixels: NDArray[np.floating[Any]]
    below: Sequence[str] = ()
    colours: Colormap | None = None
    limits: tuple[float, float] | None = None
    classes: Sequence[int] = ()
    frames: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True, slots=True)
class Zoom:
    """A square of all panels that is shown larger in one of their corners.

    Attributes:
        x: Its left edge in pixels of the image.
        y: Its upper edge.
        size: Its side.
    """

    x: int
    y: int
    size: int

    @classmethod
    def parse(cls, text: str) -> Zoom:
        """Read ``X,Y,SIZE``.

        Raises:
            UsageError: It is something else.
        """
        if not re.fullmatch(r"\d{1,5},\d{1,5},\d{1,5}", text) or text.endswith(",0"):
            raise UsageError(
                f"--zoom: expected X,Y,SIZE in whole pixels, such as 120,80,40, got {text}"
            )
        return cls(*map(int, text.split(",")))

    def check(self, size: tuple[int, int]) -> None:
        """Refuse a square that is not in an image of this height and width, or hardly smaller.

        Raises:
            UsageError: It does not fit.
        """
        height, width = size
        most = int(_INSET * min(size)) // 2
        if self.x + self.size > width or self.y + self.size > height or self.size > most:
            raise UsageError(
                f"--zoom: expected a square of at most {most} pixels within {width} × {height} "
                f"pixels, got {self.x},{self.y},{self.size}"
            )


def zoomed(panel: Panel, zoom: Zoom) -> Panel:
    """A panel with a square shown larger in the corner that hides least of it, and both framed."""
    height, width = panel.pixels.shape[:2]
    times = int(_INSET * min(height, width)) // zoom.size
    side = times * zoom.size
    corners = [(x, y) for y in (height - side, 0) for x in (width - side, 0)]
    left, top = min(corners, key=lambda corner: _overlap(zoom, corner[0], corner[1], side))
    part = panel.pixels[zoom.y : zoom.y + zoom.size, zoom.x : zoom.x + zoom.size]
    pixels = panel.pixels.copy()
    pixels[top : top + side, left : left + side] = part.repeat(times, axis=0).repeat(times, axis=1)
    return replace(panel, pixels=pixels, frames=[(zoom.x, zoom.y, zoom.size), (left, top, side)])


def _overlap(zoom: Zoom, left: int, top: int, side: int) -> int:
    """Pixels that a square and an enlarged one share."""
    across = min(zoom.x + zoom.size, left + side) - max(zoom.x, left)
    down = min(zoom.y + zoom.size, top + side) - max(zoom.y, top)
    return max(across, 0) * max(down, 0)


def small_enough(panel: Panel) -> Panel:
    """A panel of at most :data:`LONGEST_SIDE` pixels: each the mean of a square of pixels."""
    factor = math.ceil(max(panel.pixels.shape[:2]) / LONGEST_SIDE)
    if factor == 1:
        return panel
    frames = [(x / factor, y / factor, side / factor) for x, y, side in panel.frames]
    panel = replace(panel, frames=frames)
    if panel.pixels.ndim == 2:
        return replace(panel, pixels=shrink(panel.pixels, factor, ""))
    return replace(
        panel, pixels=shrink(panel.pixels.transpose(2, 0, 1), factor, "").transpose(1, 2, 0)
    )


def optical_panels(
    images: Sequence[Image],
    clear: Image,
    bands: Sequence[str],
    texts: Sequence[Sequence[str]] = (),
    *,
    order: Sequence[str] = OPTICAL_BANDS,
) -> list[Panel]:
    """Images of one scene with the stretch of its clear image.

    Args:
        images: Reflectance, each of shape (B, H, W).
        clear: Reflectance, shape (B, H, W).
        bands: The three that are drawn.
        texts: To write below the images; the last ones may be missing.
        order: Names of all bands of the images.
    """
    limits = stretch_limits(clear, bands, order=order)
    below = [*texts, *[()] * (len(images) - len(texts))]
    return [
        Panel(stretched(image, limits, bands, order=order), text)
        for image, text in zip(images, below, strict=True)
    ]


def stretch_limits(
    clear: Image, bands: Sequence[str], *, order: Sequence[str] = OPTICAL_BANDS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Black and white of all optical panels of a scene, from its clear image alone.

    True colour has one range for its three bands, which keeps its hues. Near-infrared is several
    times as bright as red over plants: in any other picture each band has a range of its own.

    Args:
        clear: Reflectance, shape (B, H, W).
        bands: The three that are drawn.
        order: Names of all bands of the image.

    Returns:
        Reflectance of black and of white in each band, both of shape (3,).
    """
    axis = None if is_true_colour(bands) else (1, 2)
    black, white = np.percentile(_drawn(clear, bands, order), PERCENTILES, axis=axis)
    white = np.maximum(white, black + 1e-4)
    return np.broadcast_to(black, 3), np.broadcast_to(white, 3)


def is_true_colour(bands: Sequence[str]) -> bool:
    """Whether a picture has natural colours, for which one range keeps the hues."""
    return tuple(bands) == TRUE_COLOUR


def stretched(
    image: Image,
    limits: tuple[NDArray[np.float64], NDArray[np.float64]],
    bands: Sequence[str],
    *,
    order: Sequence[str] = OPTICAL_BANDS,
) -> NDArray[np.float64]:
    """Colours of an image, shape (H, W, 3), in [0, :data:`BRIGHTEST`].

    Between black and white they grow evenly, up to :data:`WHITE`; what is darker is black, and what
    is brighter is compressed: a cloud ten times as bright as the ground is not a white patch.
    """
    black, white = limits
    shades = (_drawn(image, bands, order).transpose(1, 2, 0) - black) / (white - black)
    beyond = np.maximum(shades - 1, 0)
    colours: NDArray[np.float64] = WHITE * np.clip(shades, 0, 1) + (BRIGHTEST - WHITE) * (
        1 - np.exp(-beyond / _SOFTNESS)
    )
    return colours


def _drawn(image: Image, bands: Sequence[str], order: Sequence[str]) -> Image:
    return image[[order.index(band) for band in bands]]


def sar_limits(sar: Radar) -> dict[str, tuple[float, float]]:
    """Backscatter of the blackest and the whitest shade of each band of a dataset's SAR images."""
    return {
        band: SAR_DB.get(band.lower(), limits)
        for band, limits in zip(sar.bands, sar.range, strict=True)
    }


def sar_panels(decibels: NDArray[np.float32], sar: Radar) -> list[Panel]:
    """Bands of backscatter in dB, shape (B, H, W), in grey."""
    grey = mpl.colormaps["gray"]
    return [
        Panel(band, colours=grey, limits=limits)
        for band, limits in zip(decibels, sar_limits(sar).values(), strict=True)
    ]


def mask_panel(cloud_mask: NDArray[np.bool_]) -> Panel:
    """A cloud mask, shape (H, W): cloud is white."""
    return Panel(cloud_mask.astype(np.float64), colours=mpl.colormaps["gray"], limits=(0, 1))


def land_cover_panel(classes: NDArray[np.uint8]) -> Panel:
    """Class indices, shape (H, W), in the colours of WorldCover; unknown land is striped."""
    colours = _RGB[classes]
    rows, columns = np.indices(classes.shape)
    period = max(classes.shape[0] // 25, 2)
    stripes = (classes == UNKNOWN) & ((rows + columns) % period < period / 4)
    colours[stripes] = to_rgb(STRIPES)
    return Panel(colours, classes=np.unique(classes).tolist())


def map_panel(values: NDArray[np.float64], what: str, upper: float) -> Panel:
    """A map of ``error`` or ``angle``, shape (H, W), from 0 to the upper end of its scale."""
    return Panel(values, colours=colour_map(what), limits=(0, upper))


def colour_map(what: str) -> Colormap:
    """Colours of ``error`` or ``angle``."""
    return mpl.colormaps[COLOUR_MAPS[what]].with_extremes(bad=UNDEFINED)


def error_map(image: Image, clear: Image) -> NDArray[np.float64]:
    """Mean absolute error over the bands at each pixel: reflectance, shape (H, W)."""
    error: NDArray[np.float64] = np.abs(image - clear, dtype=np.float64).mean(axis=0)
    return error


def angle_map(image: Image, clear: Image, *, floor: float = 0.0) -> NDArray[np.float64]:
    """Spectral angle at each pixel, of which SAM is the mean (paper, Sec. 5.2).

    Args:
        image: Reflectance, shape (B, H, W).
        clear: Of the same shape.
        floor: ``sam_norm_floor`` of the protocol.

    Returns:
        Degrees, shape (H, W); nan where one of the spectra is zero and there is no floor.
    """
    spectra = np.stack([image, clear]).astype(np.float64)
    squares = np.maximum((spectra**2).sum(axis=1), floor)
    with np.errstate(invalid="ignore"):
        cosine = spectra.prod(axis=0).sum(axis=0) / np.sqrt(squares.prod(axis=0))
    angle: NDArray[np.float64] = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return angle


def upper_end(maps: Sequence[NDArray[np.float64]], scales: Sequence[float]) -> float:
    """Upper end of a colour bar that a method which fails does not set.

    Args:
        maps: All panels that the bar is for; nan is left out.
        scales: Possible ends, growing.

    Returns:
        The first end that, in at least half of the panels, at most 2 % of pixels exceed.
    """
    finite = [values[np.isfinite(values)] for values in maps]
    highs = [np.percentile(values, 98) for values in finite if values.size]
    middle = np.percentile(highs, 50, method="lower") if highs else 0.0
    return next((scale for scale in scales if middle <= scale), scales[-1])
