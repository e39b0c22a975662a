"""Draw a scene before and after, side by side, in one stretch."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.utils.files import atomic_path

SIDE: Final = 1_000
"""Pixels of the longer side of an image."""

_DPI: Final = 150
_GAP: Final = 12
_TITLE: Final = 36
"""Pixels between images, and above each for its title."""

_NARROWEST: Final = 320
"""Pixels that the words need."""

_HATCH: Final = 8
"""Pixels from one hatching line to the next."""


def shape_of(height: int, width: int) -> tuple[int, int]:
    """Height and width of an image of the quicklook."""
    scale = min(1.0, SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def stretch_of(
    image: NDArray[np.float32], clear: NDArray[np.bool_], *, percent: float = 99
) -> NDArray[np.float32]:
    """Darkest and brightest value shown, of each band: 0, and a percentile of clear pixels.

    Args:
        image: Reflectance, shape (3, H, W).
        clear: Pixels that count, shape (H, W); where none does, 0 to 0.3 is shown.
        percent: Share of them that is no brighter than the brightest value.

    Returns:
        Shape (3, 2).
    """
    if clear.sum() < 16:
        return np.array([[0, 0.3]] * 3, np.float32)
    high = np.maximum(np.percentile(image[:, clear], percent, axis=1), 0.01)
    return np.stack([np.zeros(3), high], 1).astype(np.float32)


def write_quicklook(
    path: Path,
    images: dict[str, tuple[NDArray[np.float32], NDArray[np.bool_]]],
    stretch: NDArray[np.float32],
) -> None:
    """Write a PNG file.

    Args:
        path: The file; an existing one is replaced.
        images: Title to reflectance in red, green and blue, shape (3, H, W), and where it has data,
            shape (H, W).
        stretch: Of :func:`stretch_of`.

    Raises:
        OSError: It cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    first = next(iter(images.values()))[0]
    height, width = first.shape[1:]
    side_by_side = width <= 1.5 * height
    rows, columns = (1, len(images)) if side_by_side else (len(images), 1)
    drawn = {name: stretched(*each, stretch) for name, each in images.items()}
    hatched = any(clipped for _, clipped in drawn.values())
    wide, high = (width + _GAP) * columns, (height + _TITLE) * rows + (_TITLE if hatched else 0)
    figure = Figure(figsize=(max(wide, _NARROWEST) / _DPI, high / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    for number, (name, (pixels, _)) in enumerate(drawn.items()):
        row, column = divmod(number, columns)
        left, top = column * (width + _GAP) + _GAP / 2, row * (height + _TITLE) + _TITLE
        box = (left / wide, 1 - (top + height) / high, width / wide, height / high)
        axes = figure.add_axes(box)
        axes.imshow(pixels, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        axes.set_title(name, fontsize=8, loc="left", pad=3)
    if hatched:
        figure.text(_GAP / 2 / wide, 10 / high, "hatched: brighter than shown", fontsize=7)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png")


def stretched(
    image: NDArray[np.float32], valid: NDArray[np.bool_], stretch: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], bool]:
    """Pixels as shown, and whether some are hatched, being brighter than the stretch in all bands.

    Args:
        image: Shape (3, H, W).
        valid: Shape (H, W); other pixels are grey.
        stretch: Of :func:`stretch_of`.

    Returns:
        Shape (H, W, 3); whether more than one pixel in a thousand is hatched.
    """
    low, high = stretch[:, 0, None, None], stretch[:, 1, None, None]
    scaled = (image - low) / (high - low)
    shown = (255 * np.clip(scaled, 0, 1)).astype(np.uint8)
    height, width = valid.shape
    clipped = (scaled > 1).all(0) & valid
    diagonal = np.add.outer(np.arange(height), np.arange(width)) % _HATCH == 0
    shown[:, clipped & diagonal] = 150
    shown[:, ~valid] = 128
    return np.moveaxis(shown, 0, -1), bool(clipped.mean() > 1e-3)
