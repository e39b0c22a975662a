"""Turn images, radar, land cover and errors of a scene into panels.

No method is flattered: all optical panels of a scene share the stretch of its clear image, and all
errors, angles and SAR panels of a figure share one scale each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, to_rgb
from numpy.typing import NDArray

from planetcr_bench.constants import OPTICAL_BANDS, UNKNOWN
from planetcr_bench.data.scene import Image

TRUE_COLOUR: Final = ("red", "green", "blue")
INFRARED: Final = ("nir", "red", "green")
"""Bands that red, green and blue on the page stand for."""

PERCENTILES: Final = (2.0, 98.0)
"""Of the clear image's drawn bands: black and white."""

SAR_DB: Final = {"vv": (-22.0, -2.0), "vh": (-29.0, -9.0)}
"""Backscatter of the blackest and the whitest shade of every SAR panel of a band."""

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

COLOUR_MAPS: Final = {"error": "magma", "angle": "viridis"}
"""Grow evenly lighter, also for readers who are red-green blind."""

UNDEFINED: Final = "#c8c8c8"
"""Colour of pixels that have no angle."""

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
    """

    pixels: NDArray[np.floating[Any]]
    below: Sequence[str] = ()
    colours: Colormap | None = None
    limits: tuple[float, float] | None = None
    classes: Sequence[int] = ()


def optical_panels(
    images: Sequence[Image],
    clear: Image,
    bands: Sequence[str],
    texts: Sequence[Sequence[str]] = (),
) -> list[Panel]:
    """Images of one scene with the stretch of its clear image.

    Args:
        images: Reflectance, each of shape (4, H, W).
        clear: Reflectance, shape (4, H, W).
        bands: The three that are drawn.
        texts: To write below the images; the last ones may be missing.
    """
    limits = stretch_limits(clear, bands)
    below = [*texts, *[()] * (len(images) - len(texts))]
    return [
        Panel(stretched(image, limits, bands), text)
        for image, text in zip(images, below, strict=True)
    ]


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
    black, white = np.percentile(_drawn(clear, bands), PERCENTILES, axis=axis)
    white = np.maximum(white, black + 1e-4)
    return np.broadcast_to(black, 3), np.broadcast_to(white, 3)


def stretched(
    image: Image, limits: tuple[NDArray[np.float64], NDArray[np.float64]], bands: Sequence[str]
) -> NDArray[np.float64]:
    """Colours of an image, in [0, 1], shape (H, W, 3); what lies beyond the limits is clipped."""
    black, white = limits
    shades = (_drawn(image, bands).transpose(1, 2, 0) - black) / (white - black)
    colours: NDArray[np.float64] = np.clip(shades, 0, 1)
    return colours


def _drawn(image: Image, bands: Sequence[str]) -> Image:
    return image[[OPTICAL_BANDS.index(band) for band in bands]]


def sar_panel(decibels: NDArray[np.float32], band: str) -> Panel:
    """Backscatter in dB, shape (H, W), of ``vv`` or ``vh``, in grey."""
    return Panel(decibels, colours=mpl.colormaps["gray"], limits=SAR_DB[band])


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
        image: Reflectance, shape (4, H, W).
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
